"""
Notices: what recipients of the data are told (Art. 19) and what the person is told; each sealed to whom it is for.

Rules: 1. A notice's name is case, addressee and kind: a repeat is the same notice; readers keep the first of a name.
       2. Reasons (`ground`) go to the person alone; a recipient learns what it must do and about whom.
       3. What is said beside the sealed part tells of nobody.
Source: docs/explanation/cases.md, docs/reference/messages.md; GDPR Art. 12(3), 12(4), 18(3), 19.
"""

from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from calllog_guard.core.codec import Compact, Day, Id, IdText, Internal, Rewritten, TenantName, Utc
from calllog_guard.core.requests.fields import Facts, Ground, Name, Notify, Range, Short
from calllog_guard.core.requests.request import Request
from calllog_guard.core.requests.types import TYPES, NoticeKind

PERSON: Final = "person"
"""The addressee that is the mail gateway of the persons; no recipient may be called so."""
ACT_DAYS: Final = 7
"""How long an addressee has to acknowledge; no law gives a number, Art. 19 says `communicate`, this is ours."""


class Remedies(Internal, frozen=True, kw_only=True):
    """Where a person may go who is not content with an answer (Art. 12(4))."""

    authority: str
    court: Literal["You may also seek a remedy from a court."] = "You may also seek a remedy from a court."


class KeptFor(Internal, frozen=True, kw_only=True, omit_defaults=True):
    """Why a law keeps copies of a person's calls beyond their erasure, if it does, and until when at the latest."""

    purpose: Name
    why: str | None = None
    basis: Literal["legal_duty"] = "legal_duty"
    until: Day


class Words(Internal, frozen=True, kw_only=True, omit_defaults=True):
    """
    What a notice says, inside its seal.

    Args:
        ticket: The backend's own reference; `request` is its `jti`: how the gateway knows the person where
            `subjects` are no longer kept.
        ground: The officer's words to the person; `authority` and `basis` those of a disclosure.
        due: Until when the answer is promised now.
        text: The letter to its reader, as plain text: who sends it on need add nothing.
        nothing: Nobody was known, or nothing was found that the request could be carried out on.
        kept: Of an erasure: what a law obliges to keep all the same (Art. 17(3)(b), 12(4)).

    """

    v: Literal[1]
    kind: NoticeKind
    tenant: TenantName
    case: Id
    subjects: tuple[IdText, ...] = ()
    range: Range | None = None
    facts: Facts | None = None
    purposes: tuple[Name, ...] = ()
    ticket: Name | None = None
    request: str | None = None
    ground: Ground | None = None
    authority: Short | None = None
    basis: Short | None = None
    due: Day | None = None
    remedies: Remedies | None = None
    act_by: Utc
    at: Utc
    text: str | msgspec.UnsetType = msgspec.UNSET
    nothing: bool | msgspec.UnsetType = msgspec.UNSET
    kept: tuple[KeptFor, ...] | msgspec.UnsetType = msgspec.UNSET


class Notice(Internal, frozen=True, kw_only=True):
    """A notice as it lies in its topic; `jwe` holds the words."""

    v: Literal[1] = 1
    case: Id
    to: Name
    kind: NoticeKind
    act_by: Utc
    jwe: Compact


class Sent(Rewritten, frozen=True, kw_only=True):
    """What a case remembers of a notice."""

    sent_at: Utc
    act_by: Utc
    acknowledged_at: Utc | None = None


class Filed(Internal, frozen=True, kw_only=True):
    """What stays known of a disclosure when its request is gone: for the officers' report, sealed in the case."""

    v: Literal[1] = 1
    authority: Short
    basis: Short
    notify: Notify


NOTICES: Final = msgspec.json.Decoder(Notice)
WORDS: Final = msgspec.json.Decoder(Words)
FILED: Final = msgspec.json.Decoder(Filed)


def name_of(to: str, kind: NoticeKind) -> str:
    """The name of a notice within its case."""
    return f"{to}/{kind}"


def act_by(at: datetime, days: int = ACT_DAYS) -> datetime:
    """Until when a notice of this moment is to be acknowledged."""
    return at + timedelta(days=days)


def waited_for(kind: str) -> str:
    """The name of the notice that a case of some type waits for."""
    return name_of(PERSON, "disclosed" if kind == "disclose" else "lifting")


def told_before(request: Request, *, ends_review: bool = False) -> NoticeKind | None:
    """
    What must have been told before a request is carried out: the end of a restriction (Art. 18(3)), a disclosure.

    Args:
        ends_review: An objection is decided, for whose sake the person was restricted.

    """
    if request.type == "object":
        return "lifting" if ends_review else None
    if request.type == "disclose" and request.notify == "when_lifted":
        return None
    return TYPES[request.type].before


def for_recipient(words: Words) -> Words:
    """What a recipient of the data may read of it."""
    return msgspec.structs.replace(
        words,
        ticket=None,
        request=None,
        ground=None,
        authority=None,
        basis=None,
        due=None,
        remedies=None,
        kept=msgspec.UNSET,
    )


def waiting(notices: dict[str, Sent]) -> dict[str, Sent]:
    """The notices that nobody has acknowledged."""
    return {name: sent for name, sent in notices.items() if sent.acknowledged_at is None}


def acknowledged(notices: dict[str, Sent], to: str, kind: NoticeKind | None, at: datetime) -> dict[str, Sent] | None:
    """The notices once an addressee has acknowledged one kind, or all; None when there is none to it."""
    start = f"{to}/"
    names = [name for name in notices if (name == name_of(to, kind) if kind else name.startswith(start))]
    if not names:
        return None
    new = {name: msgspec.structs.replace(notices[name], acknowledged_at=at) for name in names}
    return notices | {name: each for name, each in new.items() if notices[name].acknowledged_at is None}
