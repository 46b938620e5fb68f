"""
A published version: one tenant's tables with the keys in them, signed by an officer, self-contained.

Rules: 1. An officer of the version before must have signed it: the version before has the latest earlier day.
       2. What it lengthens it says by `lengthen`, inside the signature.  3. It takes effect no earlier than the day its
          record was appended, or whoever has a key that was an officer's once could rewrite the past.
       4. Of one day the highest revision holds; of one revision the published before the file's; of two published ones
          the later signed. So a mistake is corrected on its day; the earlier revision stays in topic and change log.
       5. The result depends on what was published alone, not on the order of reading: compaction keeps no order
          between the first and the last word about a version.
       6. What is grave two officers sign, and a day lies before it (`grave.py`).
       7. Who begins under an older law than one published breaks promises that others keep: if a version was signed
          in time but appended late (a topic restored, mirrored, remade), it is not followed, and nobody begins
          without it.
Source: docs/reference/topics.md, docs/how-to/write-the-policy.md; RFC 7515.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, Final, Literal

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from calllog_guard.core.codec import BEAT, BEATS, Message, TenantName, Utc, decode
from calllog_guard.core.crypto.jose import kid_of, sign
from calllog_guard.core.identifiers import unb64
from calllog_guard.core.officers.acceptances import ACCEPTANCES, ACCEPTED
from calllog_guard.core.officers.confirmations import CONFIRMATIONS, CONFIRMED
from calllog_guard.core.officers.prolongations import CHANGES, PROLONGED
from calllog_guard.core.policy.form import Revision, TenantPolicy
from calllog_guard.core.stream.anchor import ANCHOR, ANCHORS
from calllog_guard.errors import (
    ConfigurationError,
    MessageError,
    NewerFormError,
    RequestRefusedError,
    StateRefusedError,
)

KeyOf = Callable[[str], bytes]


class Publication(Message, frozen=True, kw_only=True):
    """
    The claims of a published version; `key` fields hold PEM texts.

    Args:
        lengthen: Longer periods are meant.
        first: The same text as another officer has signed it, where two must.

    """

    v: Literal[1] = 1
    tenant: TenantName
    effective: date
    revision: Revision | msgspec.UnsetType = msgspec.UNSET
    change: str
    at: Utc
    lengthen: bool = False
    first: str | msgspec.UnsetType = msgspec.UNSET
    policy: TenantPolicy

    @property
    def number(self) -> int:
        """See Version."""
        return 1 if self.revision is msgspec.UNSET else self.revision


_EPOCH: Final = datetime.fromtimestamp(0, UTC)
PUBLICATIONS: Final = msgspec.json.Decoder(Publication)


_BESIDE: Final[dict[bytes, msgspec.json.Decoder[Any]]] = {BEAT: BEATS, ANCHOR: ANCHORS}
_SIGNED: Final[dict[bytes, msgspec.json.Decoder[Any]]] = {
    ACCEPTED: ACCEPTANCES,
    PROLONGED: CHANGES,
    CONFIRMED: CONFIRMATIONS,
}
"""By what their keys begin with: claims in a signed text, whoever signed it."""


def is_publication(record: Any) -> bool:
    """Whether a record of the policy's topic would be a version: all but what we keep beside it, told by content."""
    if record.value is None:
        return False
    key = record.key or b""
    if key in _BESIDE:
        return not _reads(_BESIDE[key], record.value)
    signed = (kind for start, kind in _SIGNED.items() if key.startswith(start))
    return not any(_reads(kind, record.value, signed=True) for kind in signed)


def _reads(kind: msgspec.json.Decoder[Any], value: bytes, *, signed: bool = False) -> bool:
    try:
        decode(kind, _payload(value.decode("ascii", "replace")) if signed else value)
    except MessageError:
        return False
    except NewerFormError:
        return True
    return True


def topic_key(tenant: str, effective: date, number: int = 1) -> bytes:
    """The record key `tenant.version`, behind it the revision beyond the first: compaction keeps each."""
    return f"{tenant}.{effective.isoformat()}{f'.{number}' if number > 1 else ''}".encode()


def with_keys(table: TenantPolicy, key_of: KeyOf) -> TenantPolicy:
    """The table with each key's text in place of its file's name; the checks refuse a private key in a file."""
    replace = msgspec.structs.replace

    def inlined(name: str) -> str:
        public = load_pem_public_key(key_of(name))
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    notices = table.person_notices
    return replace(
        table,
        requesters={name: replace(each, key=inlined(each.key)) for name, each in table.requesters.items()},
        actors={
            name: replace(each, key=inlined(each.key)) if isinstance(each.key, str) else each
            for name, each in table.actors.items()
        },
        recipients={name: replace(each, key=inlined(each.key)) for name, each in table.recipients.items()},
        person_notices=None if notices is None else replace(notices, key=inlined(notices.key)),
    )


def keys_of(table: TenantPolicy) -> list[str]:
    """Every `key` in a table."""
    notices = () if table.person_notices is None else (table.person_notices,)
    actors = [each.key for each in table.actors.values() if isinstance(each.key, str)]
    return [*(each.key for each in (*table.requesters.values(), *table.recipients.values(), *notices)), *actors]


def signed_by(private_pem: bytes, before: TenantPolicy, key_of: KeyOf, claims: Publication) -> str:
    """
    The publication, signed; the signer is the officer of the version before whose key this is.

    Raises:
        StateRefusedError: No officer's.

    """
    try:
        own = load_pem_private_key(private_pem, None).public_key()
        mine = own.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError("--key is no private key in PEM without a password") from None
    for name, each in before.requesters.items():
        public = load_pem_public_key(key_of(each.key))
        if each.role == "officer" and public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == mine:
            return sign(private_pem, name, msgspec.json.encode(claims))
    raise StateRefusedError(
        "the key is no officer's of the version before: sign with the key of a requester whose role there is officer"
    )


def agreed(claims: Publication) -> Publication:
    """What of a publication officers agree on: all but when each has signed it, and who was the first."""
    return msgspec.structs.replace(claims, at=_EPOCH, first=msgspec.UNSET)


def claims_of(token: bytes) -> Publication:
    """What a token claims; nothing of it is believed before `Chain.accept`."""
    try:
        text = token.decode("ascii")
        kid_of(text)
        content = _payload(text)
    except UnicodeDecodeError:
        raise RequestRefusedError("not_a_jws") from None
    return decode(PUBLICATIONS, content)


def _payload(text: str) -> bytes:
    parts = text.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - the parts of RFC 7515
        raise RequestRefusedError("not_a_jws")
    try:
        return unb64(parts[1].encode())
    except ValueError:
        raise RequestRefusedError("not_a_jws") from None
