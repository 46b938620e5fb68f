"""
What a person is told beside their records: all that the right of access lists, as data; pages and tables show it.

Rules: 1. What cannot be told (a secret hold, a disclosure that law forbids to tell) is not in it, nor is a gap.
       2. Recipients are this person's; those the policy only allows are apart.  3. What the policy leaves unsaid is
          None, and a page says that it is not stated.
Source: docs/reference/messages.md; GDPR Art. 12(4), 15(1)(a)-(h), 15(2), 19, 20(1); UK GDPR Art. 22A; DPA 2018 s.164A.
"""

from typing import Literal

import msgspec

from calllog_guard.core.cases.case_owner import Reason
from calllog_guard.core.codec import Day, Id, Internal, Utc
from calllog_guard.core.requests.types import AnswerKind


class ForPurpose(Internal, frozen=True, kw_only=True):
    """
    Why something is kept: name, legal basis, how long (ISO 8601 from the call's end), what happens then.

    Args:
        why: What for, in words; None where the policy says none.
        law: The basis with its article.
        survives_erasure: A law has it kept even after an erasure.

    """

    name: str
    basis: str
    keep: str
    then: str
    why: str | None = None
    law: str = ""
    survives_erasure: bool = False


class NotInUse(Internal, frozen=True, kw_only=True):
    """A purpose of the policy for which nothing of this person is used, and why not."""

    name: str
    why: str | None
    because: Literal["no_consent", "withdrawn", "objected"]


class OpenedBy(Internal, frozen=True, kw_only=True):
    """
    Who has opened records for which purpose, and when last.

    Args:
        first: When first; None in answers of earlier releases.
        days: On how many days, at least.
        records: How many of this person's present records were opened; 0 where only records stored beside are known.
        proven: Whether the reader signed it; False: written before readers had to. Absent where no reader has a key.

    """

    actor: str
    purpose: str
    last: Utc
    first: Utc | None = None
    days: int = 0
    records: int = 0
    proven: bool | msgspec.UnsetType = msgspec.UNSET


class PermittedReader(Internal, frozen=True, kw_only=True):
    """Who may open records under the policy, for which purposes."""

    actor: str
    purposes: tuple[str, ...]


class ToldRecipient(Internal, frozen=True, kw_only=True):
    """A recipient who was told of an act about this person (Art. 19), of what, in which case."""

    to: str
    kind: str
    case: Id
    at: Utc
    acknowledged_at: Utc | None


class ToldDisclosure(Internal, frozen=True, kw_only=True):
    """A disclosure of which the person may be told."""

    case: Id
    authority: str
    basis: str
    at: Utc | None
    told_at: Utc | None
    records: int


class Controller(Internal, frozen=True, kw_only=True):
    """Who answers for the data; `officer` is the data protection officer, `none` where none has to be designated."""

    name: str | None
    contact: str | None
    officer: str | None


class Choice(Internal, frozen=True, kw_only=True):
    """A choice of the person: its purposes, its case and time, where a case is left, and whether it still holds."""

    case: Id | None
    purposes: tuple[str, ...]
    at: Utc | None
    holds: bool


class ConsentOnRecord(Internal, frozen=True, kw_only=True):
    """A consent: when it was given, and the digest of its words (SHA-256, base64url), to compare with the text."""

    case: Id
    purposes: tuple[str, ...]
    given_at: Utc
    wording: str
    holds: bool


class Restriction(Internal, frozen=True, kw_only=True):
    """A restriction that holds now, and since when if a case says it; during an objection's review, or asked for."""

    because: Literal["requested", "objection_considered"]
    since: Utc | None
    case: Id | None


class OwnRequest(Internal, frozen=True, kw_only=True):
    """
    A request of this person, with its dates and what became of it.

    Args:
        waits_for: What it waits for, while it does.
        ended_at: When it was answered, carried out or refused.
        reasons: What the officers told the person.

    """

    case: Id
    type: str
    state: str
    waits_for: str | None
    received_at: Utc
    due: Day
    extended: bool
    ended_at: Utc | None
    ticket: str | None
    purposes: tuple[str, ...] = ()
    some_days: bool = False
    reasons: tuple[Reason, ...] = ()


class PersonRight(Internal, frozen=True, kw_only=True):
    """A right of the person: its article, what it means, the purposes that it concerns (none: all)."""

    right: str
    article: str
    means: str
    purposes: tuple[str, ...] = ()


class Complaint(Internal, frozen=True, kw_only=True):
    """To whom a person may go who is not content."""

    company: str | None
    authority: str
    court: str


class Abroad(Internal, frozen=True, kw_only=True):
    """Whom data go to in another country, and what protects them there (Art. 15(2), 46)."""

    to: str
    country: str
    safeguard: str


class Where(Internal, frozen=True, kw_only=True):
    """Where the data lie: in words, the hosts beyond which no worker starts; no `abroad`: the policy is silent."""

    stored_in: str | None
    hosts: tuple[str, ...]
    abroad: tuple[Abroad, ...] | None


class KeptByLaw(Internal, frozen=True, kw_only=True):
    """
    Copies that law has kept apart, as far as that may be told: on which basis, under which order.

    Args:
        purpose: For what a law obliges to keep them, and `until` when.

    """

    basis: str
    hold: str | None
    purpose: str | msgspec.UnsetType = msgspec.UNSET
    until: Day | msgspec.UnsetType = msgspec.UNSET


class About(Internal, frozen=True, kw_only=True):
    """
    Everything that is told beside the records.

    Args:
        kind: Which right is answered; of portability and of a disclosure only what concerns them is filled.
        zone: In which the pages write times (IANA).
        subjects: The identifiers that were asked about.
        linked: How many more identifiers of the same person it tells of.
        titles: Who actors and recipients are, in words, by the names of their keys.
        opened_by: Of the partition of this part's records.
        unproven: How many access records claim to be about these, and are believed by nobody: they name nobody here.
        calls: How records name their call: by reference; absent: by its id, as in tenants of the first level of forms.
        groups: The first number of each group of parts that belongs to the answer.

    """

    purposes: tuple[ForPurpose, ...]
    recipients: tuple[str, ...]
    keep: dict[str, str]
    opened_by: tuple[OpenedBy, ...] = ()
    policy: Day
    authority: str | None = None
    kind: AnswerKind = "access"
    tenant: str | None = None
    regime: Literal["uk", "eu"] | None = None
    zone: str = "UTC"
    at: Utc | None = None
    received_at: Utc | None = None
    controller: Controller | None = None
    subjects: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    not_in_use: tuple[NotInUse, ...] = ()
    titles: dict[str, str] = msgspec.field(default_factory=dict)
    readers: tuple[PermittedReader, ...] = ()
    told: tuple[ToldRecipient, ...] = ()
    disclosures: tuple[ToldDisclosure, ...] = ()
    restrictions: tuple[Restriction, ...] = ()
    objections: tuple[Choice, ...] = ()
    withdrawals: tuple[Choice, ...] = ()
    consents: tuple[ConsentOnRecord, ...] = ()
    requests: tuple[OwnRequest, ...] = ()
    kept_by_law: tuple[KeptByLaw, ...] = ()
    rights: tuple[PersonRight, ...] = ()
    complaint: Complaint | None = None
    statement: str | None = None
    source: str | None = None
    automated_decisions: str | None = None
    where: Where | None = None
    groups: tuple[int, ...] = ()
    calls: Literal["reference"] | msgspec.UnsetType = msgspec.UNSET
    unproven: int | msgspec.UnsetType = msgspec.UNSET
    linked: int | msgspec.UnsetType = msgspec.UNSET
