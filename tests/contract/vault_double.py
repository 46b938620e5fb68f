"""
A small HTTP server that answers as a real Vault 1.14.0 was recorded to answer, for runs without Go.

Recorded with `make vault`'s server, by status and text: keys made twice (200), a missing key read (404, no text),
decrypted by (400, `encryption key not found`), deleted (400); encrypted by (200: **made**); no context (400); another
context or a changed blob (400, `cipher: message authentication failed`); deletion too early (400), after (204); a list
of no keys (404); a wrong token (403). The same tests run on the real server: what this double gets wrong, they show.
"""

import hashlib
import json
import secrets
import threading
from base64 import b64decode, b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Answer = tuple[int, dict[str, Any] | None]
_NO_CONTEXT = (
    "missing 'context' for key derivation; the key was created using a derived key, which means additional, "
    "per-request information must be included in order to perform operations with the key"
)


def _bad(status: int, *errors: str) -> Answer:
    return status, {"errors": list(errors)}


def _good(data: dict[str, Any]) -> Answer:
    return 200, {"request_id": "", "lease_id": "", "data": data, "warnings": None, "auth": None}


class Transit:
    """The engine: keys by name, each with whether it may be deleted."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[bytes, bool]] = {}

    def answer(self, verb: str, path: list[str], body: dict[str, Any]) -> Answer:
        """What the server says to a request below `/v1/transit/`."""
        what, name, *rest = (*path, "")
        work = {
            ("LIST", "keys"): lambda: _good({"keys": sorted(self.keys)}) if self.keys else _bad(404),
            ("GET", "keys"): lambda: self._key(name, make=False),
            ("POST", "keys"): lambda: self._config(name, body) if "config" in rest else self._key(name, make=True),
            ("DELETE", "keys"): lambda: self._delete(name),
            ("POST", "encrypt"): lambda: self._encrypt(name, body),
            ("POST", "decrypt"): lambda: self._decrypt(name, body),
        }.get((verb, what))
        return work() if work else _bad(404)

    def _config(self, name: str, body: dict[str, Any]) -> Answer:
        if name not in self.keys:
            return _bad(400, f"no existing key named {name} could be found")
        self.keys[name] = (self.keys[name][0], bool(body["deletion_allowed"]))
        return self._key(name, make=False)

    def _key(self, name: str, *, make: bool) -> Answer:
        if make:
            self.keys.setdefault(name, (secrets.token_bytes(32), False))
        return _good({"name": name, "type": "aes256-gcm96", "derived": True}) if name in self.keys else _bad(404)

    def _delete(self, name: str) -> Answer:
        if name not in self.keys:
            return _bad(400, f"error deleting policy {name}: could not delete key; not found")
        if not self.keys[name][1]:
            return _bad(400, f"error deleting policy {name}: deletion is not allowed for this key")
        del self.keys[name]
        return 204, None

    def _derived(self, name: str, context: str) -> AESGCM:
        return AESGCM(hashlib.sha256(self.keys[name][0] + b64decode(context)).digest())

    def _encrypt(self, name: str, body: dict[str, Any]) -> Answer:
        if not body.get("context"):
            return _bad(400, _NO_CONTEXT)
        self._key(name, make=True)
        nonce = secrets.token_bytes(12)
        sealed = nonce + self._derived(name, body["context"]).encrypt(nonce, b64decode(body["plaintext"]), None)
        return _good({"ciphertext": "vault:v1:" + b64encode(sealed).decode(), "key_version": 1})

    def _decrypt(self, name: str, body: dict[str, Any]) -> Answer:
        if name not in self.keys:
            return _bad(400, "encryption key not found")
        if not body.get("context"):
            return _bad(400, _NO_CONTEXT)
        text = str(body["ciphertext"])
        if not text.startswith("vault:"):
            return _bad(400, "invalid ciphertext: no prefix")
        try:
            raw = b64decode(text.removeprefix("vault:v1:"), validate=True)
            plain = self._derived(name, body["context"]).decrypt(raw[:12], raw[12:], None)
        except (InvalidTag, ValueError):
            return _bad(400, "cipher: message authentication failed")
        return _good({"plaintext": b64encode(plain).decode()})


class VaultDouble:
    """The double on a port of its own, in a thread."""

    def __init__(self, token: str) -> None:
        transit = Transit()

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            def _handle(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = self.path.strip("/").split("/")
                known = self.headers.get("X-Vault-Token") == token and path[:2] == ["v1", "transit"]
                status, content = (
                    transit.answer(self.command, path[2:], json.loads(raw or b"{}"))
                    if known
                    else _bad(403, "permission denied")
                )
                text = b"" if content is None else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_DELETE = do_LIST = _handle  # noqa: N815 - the library's names

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
