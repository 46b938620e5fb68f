"""
What becomes of each party of a call: a leg, a tombstone, or nothing, by what is known of the person.

Rules: 1. Behind the fence nothing is stored: an event dated or appended up to the cut-off leaves no leg, also after a return.
       2. Who has no purpose left is not minted.  3. A person comes back only by an event that began and was appended later.
Source: design sections 8 and 9 (late and returning).
"""

from enum import Enum

from calllog_guard.core.crypto.entries import Person


class Fated(Enum):
    """What becomes of one party's part."""

    STORE = "store"
    MINT = "mint"
    REMOVE = "remove"
    ERASED = "erased"
    NO_PURPOSE = "no_purpose"


def fate_of(person: Person | None, mask: int, started_ms: int, appended_ms: int, *, returns: bool = True) -> Fated:
    """
    Decide for one party.

    Args:
        person: None when never seen.
        mask: The purposes left after the person's own choices.
        started_ms: When the call began; `appended_ms` is when its record was first appended.
        returns: Whether a call may bring a person who is gone back at all.

    """
    if person is not None and person.cut_off and min(started_ms, appended_ms) <= person.cut_off:
        return Fated.ERASED
    if person is not None and person.pseudonym is None and not returns:
        return Fated.ERASED
    if person is None or person.pseudonym is None:
        return Fated.MINT if mask else Fated.NO_PURPOSE
    return Fated.STORE if mask else Fated.REMOVE
