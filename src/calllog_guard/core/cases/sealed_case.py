"""
The parts of a case that are sealed: its request while it is needed, and whom a disclosure was for.

Sealed under the epoch's key of cases; case and part are the AAD, so that nothing opens elsewhere.
Source: docs/explanation/design.md.
"""

from typing import Final, Literal

from cryptography.exceptions import InvalidTag

from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.identifiers import b64, unb64
from calllog_guard.errors import EntryCorruptError

NONCE: Final = 12
PartName = Literal["request", "filed"]


def _aad(case: str, part: PartName) -> bytes:
    return case.encode() if part == "request" else f"{case}\n{part}".encode()


def seal_part(case: str, part: PartName, content: bytes, key: Secret, nonce: bytes) -> str:
    """A part as it stands in the case."""
    return b64(nonce + key.aes().encrypt(nonce, content, _aad(case, part))).decode()


def open_part(case: str, part: PartName, sealed: str | None, key: Secret) -> bytes:
    """
    The content of a part.

    Raises:
        EntryCorruptError: Changed, or another case's: the desk halts.

    """
    try:
        raw = unb64((sealed or "").encode("ascii"))
        return key.aes().decrypt(raw[:NONCE], raw[NONCE:], _aad(case, part))
    except (InvalidTag, ValueError):
        raise EntryCorruptError("the sealed part of a case does not open") from None
