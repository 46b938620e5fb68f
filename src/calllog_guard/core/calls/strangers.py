"""
Parties of whom nobody knows who they are: guests without an identifier, and services that are nobody.

Rules: 1. A guest has an id of this call alone, made under the tenant's key: nobody can guess it, and no text is it.
       2. Two guests who might be two people never share one. Where that cannot be told, a guest only counts.
       3. Told again, a guest is the same one.  4. Who is skipped neither counts nor leaves a leg.
Source: docs/how-to/publish-an-event.md, docs/how-to/write-the-policy.md.
"""

from collections.abc import Sequence

import msgspec

from calllog_guard.core.calls.event import CheckedEvent, Given, Party, Skips, call_of
from calllog_guard.core.crypto.subject_secrets import CallKey
from calllog_guard.core.identifiers import SubjectId
from calllog_guard.core.identity.rules import canonical
from calllog_guard.errors import MessageError


def without_skipped(given: Given, skips: Skips | None, identity: Sequence[str]) -> Given:
    """An event without the parties that are skipped; what is removed stays named."""
    if skips is None:
        return given
    parties = given.event.parties
    kept = [index for index, party in enumerate(parties) if not _skipped(party, skips, identity)]
    if len(kept) == len(parties):
        return given
    known = given.places.get("parties") or range(len(parties))
    return msgspec.structs.replace(
        given,
        event=msgspec.structs.replace(given.event, parties=tuple(parties[index] for index in kept)),
        places=given.places | {"parties": [known[index] for index in kept]},
        skipped=len(parties) - len(kept),
    )


def _skipped(party: Party, skips: Skips, identity: Sequence[str]) -> bool:
    if party.id is None:
        return False
    try:
        return skips.match(canonical(party.id, identity))
    except MessageError:  # it is refused, by its place
        return False


def with_guests(checked: CheckedEvent, calls: CallKey) -> CheckedEvent:
    """
    An event in which each guest who can be told apart is a party under an id of their own.

    A session tells a guest from others, and so does the order among the guests of an event that tells of the whole call
    and names somebody. Another event of the same call, which names others, has other guests.
    """
    event = checked.event
    call, named = call_of(event), checked.names[: len(event.parties)]
    found: dict[SubjectId, Party] = {}
    number = 0
    for party in checked.guests:
        if party.session is not None:
            told: tuple[str, ...] = ("session", party.session)
        elif named and checked.whole:
            told = ("place", str(number), *named)
            number += 1
        else:
            continue
        guest = calls.guest(call, told)
        found[guest] = msgspec.structs.replace(party, id=guest, guest=False)
    return msgspec.structs.replace(
        checked,
        event=msgspec.structs.replace(event, parties=(*event.parties, *found.values())),
        names=[*named, *found, *checked.names[len(named) :]],
        guests=(),
    )
