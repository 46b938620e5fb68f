"""
Whether a leg may be opened for one purpose, and if not, why not.

In: the leg's header facts, the purpose as the policy has it now, the person's entry as it is now.
Out: None when it may, else one `Refusal`.
Rules: 1. Header ∩ policy in force ∩ the person's own choices; each of them alone can refuse.
       2. Only a person entry that is gone, or names a later pseudonym, means erased; a missing one means unknown.
       3. A leg whose purpose has lapsed is not opened for it, whether or not the sweep has come by.
Source: docs/explanation/keystore.md, docs/how-to/write-the-policy.md; GDPR Art. 5(1)(b), 5(1)(e), 7(3), 18, 21.
"""

from datetime import date
from enum import StrEnum
from typing import Final

from calllog_guard.core.crypto.entries import Person
from calllog_guard.core.retention.purposes import Purpose, due_day


class Refusal(StrEnum):
    """Why a leg is not opened; the words of the access record. Silence of a server is none of them: it is an error."""

    ERASED = "erased"
    RESTRICTED = "restricted"
    UNKNOWN = "unknown"
    PURPOSE = "purpose"
    LAPSED = "lapsed"
    OBJECTED = "objected"
    WITHDRAWN = "withdrawn"
    NOT_CONSENTED = "not_consented"
    UNREADABLE = "unreadable"


MAY_END: Final = frozenset({Refusal.RESTRICTED, Refusal.OBJECTED, Refusal.WITHDRAWN, Refusal.NOT_CONSENTED})
"""What a person or an officer can take back: the leg may be shown again, without a new record of it."""


def refusal_of(person: Person | None, pseudonym: str, purpose: Purpose) -> Refusal | None:
    """What the person's entry says against opening the legs of a pseudonym for a purpose; None when nothing."""
    if person is None:
        return Refusal.UNKNOWN
    if person.pseudonym != pseudonym:
        return Refusal.ERASED
    lacks_consent = purpose.basis == "consent" and not person.consented & purpose.bit
    against = (
        (person.closed, Refusal.RESTRICTED),
        (person.objected & purpose.bit, Refusal.OBJECTED),
        (person.withdrawn & purpose.bit, Refusal.WITHDRAWN),
        (lacks_consent, Refusal.NOT_CONSENTED),
    )
    return next((refusal for applies, refusal in against if applies), None)


def has_lapsed(day: str, purpose: Purpose, since: tuple[Purpose, ...], today: date) -> bool:
    """
    Whether a purpose no longer reaches back to a call.

    Args:
        day: Of the call's start, UTC, as in the leg's header.
        since: The purposes that may still keep the leg, by all versions it has lived under.

    Raises:
        ValueError: No day of the calendar; the leg is not one of ours.

    """
    if not any(each.bit == purpose.bit for each in since):
        return True
    return due_day(date.fromisoformat(day), purpose.bit, since) <= today
