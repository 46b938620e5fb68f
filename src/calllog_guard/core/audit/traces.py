"""
Every form in which an identifier might lie somewhere: what `scan` and the canary tests look for.

Plain, UTF-16, base64 in its three phases (standard and URL-safe), hex, URL, JSON escapes, SHA-1, SHA-256, MD5.
"""

import base64
import hashlib
import json
from typing import Final
from urllib.parse import quote

_SHORTEST: Final = 5


def _base64_core(raw: bytes, phase: int) -> bytes:
    """The characters of a base64 text that do not depend on what stands before and after `raw`."""
    text = base64.b64encode(b"\0" * phase + raw)
    first = (phase * 8 + 5) // 6
    last = (phase + len(raw)) * 8 // 6
    return text[first:last]


def base64_phases(raw: bytes) -> list[bytes]:
    """The three texts, one of which base64 of anything that contains `raw` must contain."""
    return [_base64_core(raw, phase) for phase in range(3)]


def traces(identifier: str) -> dict[bytes, str]:
    """Byte strings to look for, each with the name of its form; forms too short to tell anything are left out."""
    raw = identifier.encode()
    forms: dict[bytes, str] = {raw: "plain", raw.hex().encode(): "hex", raw.hex().upper().encode(): "hex"}
    forms[identifier.encode("utf-16-le")] = forms[identifier.encode("utf-16-be")] = "utf-16"
    for core in base64_phases(raw):
        forms[core] = forms[core.translate(bytes.maketrans(b"+/", b"-_"))] = "base64"
    forms.setdefault(quote(identifier, safe="").encode(), "url")
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in identifier if ord(letter) <= 0xFFFF)  # noqa: PLR2004
    forms.setdefault(json.dumps(identifier)[1:-1].encode(), "json")
    forms[escaped.encode()] = "json"
    for name in ("sha1", "sha256", "md5"):
        digest = hashlib.new(name, raw, usedforsecurity=False).digest()
        forms[digest] = forms[digest.hex().encode()] = name
        forms[base64.b64encode(digest).rstrip(b"=")] = forms[base64.urlsafe_b64encode(digest).rstrip(b"=")] = name
    return {form: name for form, name in forms.items() if len(form) >= _SHORTEST}
