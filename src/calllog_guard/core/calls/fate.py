"""
What becomes of each party of a call: a leg, a tombstone, or nothing, by what is known of the person.

Rules: 1. Behind the fence nothing is stored: what is dated or appended up to the cut-off leaves no leg, even
          after a return.
       2. Who has no purpose left is not minted.  3. A person comes back only by an event begun and appended later.
Source: docs/explanation/keystore.md, docs/explanation/design.md.
"""

from typing import Literal

from calllog_guard.core.crypto.entries import Person

Fated = Literal["store", "mint", "remove", "erased", "no_purpose"]
"""What becomes of one party's part."""


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
        return "erased"
    if person is not None and person.pseudonym is None and not returns:
        return "erased"
    if person is None or person.pseudonym is None:
        return "mint" if mask else "no_purpose"
    return "store" if mask else "remove"
