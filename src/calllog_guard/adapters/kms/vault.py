"""
HashiCorp Vault or OpenBao, transit engine: one key per epoch, derived with the epoch's name as context.

The context is key derivation's, which every version binds; an older one would ignore `associated_data` in silence.
Rules: 1. A key may be deleted only just before its deletion.  2. Wrapping looks for the key first: transit makes a
       missing one on the fly; a destroyed epoch must not come back so.  3. A token in a file is reread.
Source: Vault's HTTP API of the transit engine; tried on Vault 1.14.0 (`make vault`).
"""

from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import hvac
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, VaultError
from requests import RequestException

from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.errors import EntryCorruptError, EpochUnknownError, GuardError, KmsForbiddenError, KmsSilentError

_TIMEOUT_S: Final = (2, 3)
"""To connect, to read."""
_ERRORS: Final[tuple[tuple[type[Exception], type[GuardError], str], ...]] = (
    (InvalidPath, EpochUnknownError, "the KMS does not know the epoch {}"),
    (InvalidRequest, EntryCorruptError, "a blob wrapped under {} does not open"),
    (Forbidden, KmsForbiddenError, "the KMS does not let this token use {}, or the token has lapsed: check its policy"),
    (VaultError, KmsSilentError, "the KMS refused or failed: check its seal, the token and its policy"),
    (RequestException, KmsSilentError, "the KMS does not answer"),
    (OSError, KmsSilentError, "no token for the KMS: is the agent running that renews it?"),
)
"""The first that fits. A sealed server or a token that lapsed says nothing about the epoch: wait."""


@contextmanager
def _ours(name: str) -> Iterator[None]:
    try:
        yield
    except (VaultError, OSError) as error:  # what requests raises is an OSError too
        kind, text = next((ours, text) for theirs, ours, text in _ERRORS if isinstance(error, theirs))
        word = "" if not issubclass(kind, KmsSilentError) else f" ({type(error).__name__})"
        raise kind(text.format(name) + word) from None


class VaultKms:
    """
    See Kms.

    Args:
        token_file: Where an agent keeps a valid token; None takes VAULT_TOKEN of the environment.
        delay_days: How long snapshots of the server's storage are kept, since they hold its keys.

    """

    def __init__(
        self, url: str, prefix: str, *, mount: str = "transit", token_file: Path | None = None, delay_days: int
    ) -> None:
        self.delay_days: Final = delay_days
        self._prefix, self._mount, self._token_file = prefix, mount, token_file
        self._client: Any = hvac.Client(url=url, timeout=_TIMEOUT_S)

    @property
    def _transit(self) -> Any:
        if self._token_file is not None:
            self._client.token = self._token_file.read_text("utf-8").strip()
        return self._client.secrets.transit

    def _key(self, name: str) -> dict[str, str]:
        return {"name": f"{self._prefix}-{name}", "mount_point": self._mount}

    def _context(self, name: str) -> str:
        return b64encode(f"{self._prefix}/{name}".encode()).decode()

    def create_epoch(self, name: str) -> None:
        """See Kms."""
        with _ours(name):
            self._transit.create_key(**self._key(name), key_type="aes256-gcm96", derived=True)

    def wrap(self, name: str, secret: Secret) -> bytes:
        """See Kms."""
        plain = b64encode(secret.expose()).decode()
        with _ours(name):
            self._transit.read_key(**self._key(name))
            made = self._transit.encrypt_data(**self._key(name), plaintext=plain, context=self._context(name))
        return str(made["data"]["ciphertext"]).encode("ascii")

    def unwrap(self, name: str, blob: bytes) -> Secret:
        """See Kms."""
        text = blob.decode("ascii", "replace")
        with _ours(name):
            try:
                opened = self._transit.decrypt_data(**self._key(name), ciphertext=text, context=self._context(name))
            except (
                InvalidRequest
            ):  # one answer for a missing key and for a bad blob: the first is told by asking for it
                self._transit.read_key(**self._key(name))
                raise
        return Secret(b64decode(opened["data"]["plaintext"]))

    def epochs(self) -> list[str]:
        """See Kms."""
        start = self._key("")["name"]
        with _ours("any"):
            try:
                names = self._transit.list_keys(mount_point=self._mount)["data"]["keys"]
            except InvalidPath:  # the answer of a mount without keys
                return []
        return sorted(name.removeprefix(start) for name in names if name.startswith(start))

    def destroy_epoch(self, name: str) -> None:
        """See Kms."""
        with _ours(name):
            try:
                self._transit.read_key(**self._key(name))
            except InvalidPath:
                return
            self._transit.update_key_configuration(**self._key(name), deletion_allowed=True)
            self._transit.delete_key(**self._key(name))
