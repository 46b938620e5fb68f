"""
Decisions: what is to be enforced.

Rules: 1. Ids derive from tenant, requester and `jti`, so that a repeat replaces itself, and nobody else's does.
       2. The lookup is only sealed, or the ledger would name the erased to whoever holds the pepper.
       3. A task is sealed beside the lookup; what stands for ever (`standing_rules.py`) under the person's key.
       4. Version 2 seals generations of 64 bits, and says in which tenure of a desk it was made.
Source: docs/explanation/design.md, docs/reference/messages.md.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag

from calllog_guard.core.codec import Day, EpochText, Id, Internal, TenantName, Utc, decode, to_ms
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.identifiers import ID_BYTES, CaseId, DecisionId, Lookup, Pseudonym, Tenant, b64, id_text, unb64
from calllog_guard.core.requests.types import DecisionType
from calllog_guard.core.stream.proofs import DESK, Proofs
from calllog_guard.errors import RecordError

_ENTRIES: Final = {1: struct.Struct(">I32s"), 2: struct.Struct(">Q32s")}
"""By version: generation and lookup."""
_NONCE: Final = 12
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class Decision(Internal, frozen=True, kw_only=True):
    """
    A standing rule about one person, or one task.

    Args:
        entry: Generation, lookup and task, sealed under the epoch's ledger key.
        range: `sealed` when the decision covers some days only; which ones stands in `rule`.
        rule: What stands for ever, sealed under the person's key (`standing_rules.py`).
        tenure: Of the desk that made it: what a paused desk has still written comes before what its successor wrote.

    """

    major: ClassVar[int] = 2
    v: Literal[1, 2] = 1
    decision: Id
    type: DecisionType
    tenant: TenantName
    case: Id
    pseudonym: Id
    entry: str
    epoch: EpochText
    cut_off: Utc
    range: Literal["sealed"] | None = None
    pol: Day
    at: Utc
    rule: str | msgspec.UnsetType = msgspec.UNSET
    tenure: Annotated[int, msgspec.Meta(ge=1, lt=1 << 62)] | msgspec.UnsetType = msgspec.UNSET

    @property
    def turn(self) -> tuple[int, datetime]:
        """
        By what decisions, taken as the ledger has them, are put into the order in which they hold.

        Of one desk's the later made, wherever it lies: an old one appended again changes nothing. The first
        release's say no tenure, and stand as they lie.
        """
        return (0, _NEVER) if self.tenure is msgspec.UNSET else (self.tenure, self.at)

    @property
    def total(self) -> bool:
        """Whether it erases the person, not some days only."""
        return self.type == "erase" and self.range is None


def version_at(forms: int) -> Literal[1, 2]:
    """The version of the decisions that are written at a level of forms."""
    return 1 if forms == 1 else 2


DECISIONS: Final = msgspec.json.Decoder(Decision)


def digest(*parts: str) -> str:
    """An id of ours from what it derives from."""
    return id_text(hashlib.sha256("\0".join(parts).encode()).digest()[:ID_BYTES])


OWNED: Final = 2
"""From this level of forms on a `jti` is its requester's; before, its first user had it for the whole tenant."""


def request_name(iss: str, jti: str, forms: int = OWNED) -> str:
    """What a request is known by: no other requester has this name, and none of the first release has a line break."""
    return f"{iss}\n{jti}" if forms >= OWNED else jti


def case_id(tenant: Tenant, request: str) -> CaseId:
    """The case of a request, by its name."""
    return CaseId(digest("case", tenant, request))


def decision_id(tenant: Tenant, request: str, index: int, generation: int) -> DecisionId:
    """The decision about one subject of a request, in one generation."""
    return DecisionId(digest("decision", tenant, request, str(index), str(generation)))


def decision_in(record: Any, proofs: Proofs) -> Decision:
    """
    The decision in a record that a desk of ours wrote; whether it can still be carried out is told by its seal.

    Raises:
        MessageError: No decision of ours.
        NewerFormError: A later release of ours wrote it.

    """
    return proofs.read(record, DESK, lambda each: decode(DECISIONS, each.value))


UNSEEN: Final = ("ledger", "unseen")
"""By level of forms, the epoch key's use that names nobody's pseudonyms: the first release took that of entries."""


def unseen_pseudonym(key: Secret, decision: DecisionId) -> Pseudonym:
    """A pseudonym for a person of whom nothing is stored: the same on a repeat, and like any other to an outsider."""
    return Pseudonym(id_text(hmac.digest(key.expose(), decision.encode(), hashlib.sha256)[:ID_BYTES]))


@dataclass(frozen=True, slots=True)
class Entry:
    """What a decision seals: whose it is, and what is to be done once (JSON of its type)."""

    lookup: Lookup
    generation: int
    task: bytes = b""


def bound(decision: Decision) -> bytes:
    """What the sealed parts are tied to: moved to another person, case or time, they do not open."""
    names = (decision.tenant, decision.case, decision.type, decision.pseudonym, decision.decision)
    form = [] if decision.v == 1 else [f"v{decision.v}"]
    form += [] if decision.tenure is msgspec.UNSET else [f"tenure {decision.tenure}"]
    return "\n".join((*names, str(to_ms(decision.cut_off)), decision.range or "null", *form)).encode()


def seal_entry(decision: Decision, entry: Entry, key: Secret, nonce: bytes) -> Decision:
    """The decision with its entry sealed; what the decision says is the AAD."""
    content = _ENTRIES[decision.v].pack(entry.generation, unb64(entry.lookup.encode())) + entry.task
    sealed = nonce + key.aes().encrypt(nonce, content, bound(decision))
    return msgspec.structs.replace(decision, entry=b64(sealed).decode())


def open_entry(decision: Decision, key: Secret) -> Entry:
    """
    What a decision seals.

    Raises:
        RecordError: Changed, or another decision's: whoever wrote it does not have the ledger's key.

    """
    try:
        raw = unb64(decision.entry.encode("ascii"))
        content = key.aes().decrypt(raw[:_NONCE], raw[_NONCE:], bound(decision))
        generation, lookup = _ENTRIES[decision.v].unpack_from(content)
    except (InvalidTag, ValueError, struct.error):
        raise RecordError("bad_decision") from None
    return Entry(Lookup(b64(lookup).decode()), generation, content[_ENTRIES[decision.v].size :])
