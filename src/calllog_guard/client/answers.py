"""
Receipts and answers, checked and opened offline: needs neither Kafka nor Redis nor any setting.

Rules: 1. Nothing of a receipt is handed out before its signature is good.  2. A part is a record: what is larger is
          none.  3. An answer is whole, of one case, or it is none.
Source: docs/how-to/answer-access.md; `schemas/receipt.json`, `schemas/export.json`.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from calllog_guard.adapters.disk.private_files import write_once
from calllog_guard.core.answers.parts import PARTS, Part
from calllog_guard.core.answers.refused_request import REFUSED_REQUESTS, RefusedRequest
from calllog_guard.core.answers.whole import Answer, Sealed, whole
from calllog_guard.core.audit.month_statement import STATEMENTS, Statement
from calllog_guard.core.cases.receipt import RECEIPTS, Receipt
from calllog_guard.core.codec import decode
from calllog_guard.core.crypto.jose import open_sealed, public_forms, verify
from calllog_guard.core.identifiers import b64, unb64
from calllog_guard.errors import ConfigurationError, MessageError, StateRefusedError

MOST_BYTES: Final = 16 << 20
"""A part is a record of a topic; what is larger is none."""
RECEIPT: Final = "receipt-exported.jws"
_PART: Final = re.compile(rb"\.([1-9][0-9]{0,11})\Z")


@dataclass(frozen=True, slots=True)
class Export:
    """An answer to a person or an authority, opened."""

    answer: Answer
    parts: Sequence[Sealed]


def receipts_key(key: str | Path | bytes) -> bytes:
    """
    A tenant's public receipt key, from its file or as it is.

    Raises:
        ConfigurationError: Another kind of key, or none.

    """
    pem = key if isinstance(key, bytes) else Path(key).read_bytes()
    try:
        signs = public_forms(pem)[1]["crv"] == "Ed25519"
    except ValueError:
        signs = False
    if not signs:
        where = "the key" if isinstance(key, bytes) else key
        raise ConfigurationError(f"{where} is no Ed25519 public key in PEM: a tenant's is keys/TENANT-receipts.pub.pem")
    return pem


def read_claims(content: bytes) -> Receipt | Statement | RefusedRequest:
    """
    The claims of a receipt, of the statement of a month, or of the answer to a refused request.

    Raises:
        MessageError: None of ours.

    """
    with suppress(MessageError):
        return decode(STATEMENTS, content)
    with suppress(MessageError):
        return decode(REFUSED_REQUESTS, content)
    return decode(RECEIPTS, content)


def refusal(token: bytes, key: bytes | None) -> RefusedRequest | None:
    """The claims of the answer to a refused request, checked where there is a key; None for anything else."""
    try:
        raw = verify(key, token.decode("ascii", "replace")) if key else unb64(token.split(b".")[1])
        return decode(REFUSED_REQUESTS, raw)
    except (MessageError, ValueError, IndexError):
        return None


def verify_receipt(token: bytes | str, key: str | Path | bytes) -> Receipt:
    """
    The claims of a receipt whose signature is good.

    Args:
        key: The tenant's public receipt key: its file, or the PEM itself.

    Raises:
        MessageError: Not signed by this key, or no receipt: `bad_signature` and its like.
        ConfigurationError: The key is none.

    """
    text = token.decode("ascii", "replace") if isinstance(token, bytes) else token
    return decode(RECEIPTS, verify(receipts_key(key), text.strip()))


def unverified(token: bytes) -> Receipt | None:
    """The claims of a receipt, its signature not yet checked; None for anything else."""
    try:
        return decode(RECEIPTS, unb64(token.split(b".")[1]))
    except (MessageError, ValueError, IndexError):
        return None


def digest_of(value: bytes) -> str:
    """A part as the receipt names it."""
    return b64(hashlib.sha256(value).digest()).decode()


def content_of(path: Path) -> bytes:
    """
    A file of an answer.

    Raises:
        StateRefusedError: Larger than any part.

    """
    if path.stat().st_size > MOST_BYTES:
        raise StateRefusedError(f"{path} is larger than any part: take it away")
    return path.read_bytes()


def open_export(directory: str | Path, key: str | Path | bytes, case: str | None = None) -> Export:
    """
    The answer in a folder of sealed parts (`*.jwe`).

    Args:
        key: The private X25519 key that the answer was asked for with: its file, or the PEM itself.
        case: Of which case it must be.

    Raises:
        StateRefusedError: None, not all, of several cases, or what no keeper writes.
        ConfigurationError: One does not open with this key.

    """
    directory, pem = Path(directory), key if isinstance(key, bytes) else Path(key).read_bytes()
    files = sorted(directory.glob("*.jwe"))
    if not files:
        raise StateRefusedError(f"no .jwe files in {directory}: name the case with --case, or put the parts there")
    parts: list[tuple[Part, Sealed]] = []
    for path in files:
        raw = content_of(path)
        try:
            part = decode(PARTS, open_sealed(pem, raw.decode("ascii", "replace")))
        except MessageError as error:
            raise ConfigurationError(f"{path.name} cannot be opened with --key ({error})") from None
        parts.append((part, Sealed(file=path.name, hexadecimal=hashlib.sha256(raw).hexdigest(), digest=digest_of(raw))))
    try:
        answer = whole([part for part, _ in parts])
    except MessageError as error:
        raise StateRefusedError(f"{directory} holds no answer of ours ({error}): one folder for each case") from None
    if case is not None and answer.case != case:
        raise StateRefusedError(f"{directory} has parts of another case than {case}: one folder for each")
    if answer.lacking:
        shown = ", ".join(map(str, answer.lacking[:20])) + (", …" if len(answer.lacking) > 20 else "")  # noqa: PLR2004
        raise StateRefusedError(f"{len(answer.lacking)} parts are missing beside {answer.parts} that are here: {shown}")
    return Export(answer, [sealed for _, sealed in sorted(parts, key=lambda pair: pair[0].part)])


class ChosenParts(NamedTuple):
    """Of an answer the parts by their numbers, the digests that a receipt names, and that receipt."""

    parts: dict[int, bytes]
    digests: frozenset[str]
    receipt: bytes | None


def chosen_parts(start: bytes, receipts: Iterable[bytes], records: Iterable[tuple[bytes, bytes]]) -> ChosenParts:
    """
    Of several parts of one number the one in the receipt, or the last.

    Args:
        start: What the keys of its parts begin with.

    """
    digests, receipt = frozenset[str](), None
    for token in receipts:
        claims = unverified(token)
        if claims is not None and claims.stage == "exported":
            digests, receipt = frozenset(claims.digests), token
    found: dict[int, bytes] = {}
    for key, value in records:
        name = _PART.search(key) if key.startswith(start) else None
        if name and (int(name[1]) not in found or digest_of(found[int(name[1])]) not in digests):
            found[int(name[1])] = value
    return ChosenParts(found, digests, receipt)


def write_parts(
    directory: Path, start: bytes, receipts: Iterable[bytes], records: Iterable[tuple[bytes, bytes]]
) -> int:
    """Write the parts of an answer and its receipt; see `chosen_parts`."""
    chosen = chosen_parts(start, receipts, records)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number, value in chosen.parts.items():
        write_once(directory / f"part-{number}.jwe", [value])
    if chosen.receipt is not None:
        write_once(directory / RECEIPT, [chosen.receipt])
    return len(chosen.parts)
