"""
Legs of restricted people are appended anew before Kafka's own retention takes them.

The topic of legs forgets what was appended before the longest period and GRACE_DAYS. Whatever lives is swept before
that; people under restriction are not swept, and what they may need for a claim must not go by age either.

Rules: 1. A leg is rewritten under its own key, byte for byte, once half of the grace is used up: none is opened but a
          leg that still names its call by its id, which gets the call's reference.
       2. No protector writes such a leg any more, so nothing newer is covered: it is older than any period.
Source: docs/explanation/cases.md; GDPR Art. 18(2).
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import msgspec

from calllog_guard.core.calls.leg import form_of, renewed
from calllog_guard.core.codec import to_ms
from calllog_guard.core.crypto.key_bytes import KeyBytes
from calllog_guard.core.crypto.leg_envelope import open_leg, parse_header, seal_leg
from calllog_guard.core.crypto.subject_secrets import CallKey, month_from
from calllog_guard.core.identifiers import Pseudonym
from calllog_guard.core.records import Output
from calllog_guard.core.retention.purposes import GRACE_DAYS
from calllog_guard.errors import EntryUnreadableError, MessageError
from calllog_guard.metrics import Counters
from calllog_guard.workers.keeper.context import KeeperContext
from calllog_guard.workers.keeper.held_copies import opened_of
from calllog_guard.workers.keeper.partition import Shard
from calllog_guard.workers.keys.people.view import fresh_nonce

_DAY_MS: Final = 86_400_000
_AT_ONCE: Final = 500
"""Legs whose values are in memory together."""
_TURN: Final = 20
"""Portions after which others have their turn."""


class Renewal:
    """Renews the legs of one keeper's partitions."""

    def __init__(self, tools: KeeperContext) -> None:
        self._t = tools
        self._at: dict[int, tuple[str, bytes]] = {}

    async def renew(self, shard: Shard) -> bool:
        """Append old legs of restricted people again, say if more remain; the index follows their reading."""
        t = self._t
        start, at = self._at.pop(shard.partition, ("", b""))
        people = sorted(each for each in shard.restricted if each >= start)
        if not people:
            return False
        days = t.policy.keep_days(t.tenant) + GRACE_DAYS // 2
        first_young = await t.log.offset_at(t.legs, shard.partition, to_ms(t.clock.now()) - days * _DAY_MS)
        portions = 0
        for person in people:
            at = at if person == start else b""
            while rows := shard.index.legs_after(person, at, _AT_ONCE):
                if portions == _TURN:
                    self._at[shard.partition] = person, at
                    return True
                portions, at = portions + 1, rows[-1][1]
                old = {key: facts.offset for facts, key in rows if facts.offset < first_young}
                values = await t.log.fetch(t.legs, shard.partition, old)
                legs = await self._referred(person, values)
                await t.writer.write([Output(t.legs, shard.partition, key, value) for key, value in legs.items()])
                t.count(Counters.legs_renewed, len(legs))
        return False

    async def _referred(self, person: str, values: Mapping[bytes, bytes]) -> Mapping[bytes, bytes]:
        """The legs of a person; those of an older version in the present one, where the person's key is usable."""
        calls = self._t.ring.calls
        if calls is None or all(_is_newest(value, calls) for value in values.values()):
            return values
        keys = None
        with suppress(EntryUnreadableError):
            keys = await self._t.ring.keys_of(Pseudonym(person))
        if keys is None:
            return values
        opened = opened_of(Pseudonym(person), keys)
        return {key: _rewritten(value, opened, calls) for key, value in values.items()}


def _is_newest(value: bytes, calls: CallKey) -> bool:
    try:
        return parse_header(value).v == form_of(calls)
    except MessageError:  # no leg: it goes with the person
        return True


def _rewritten(value: bytes, opened: KeyBytes, calls: CallKey) -> bytes:
    """A leg in the version that is written now; one that does not open stays as it is."""
    try:
        header = parse_header(value)
        key = opened.data_key(month_from(header.mon))
        text, form = renewed(open_leg(value, key), header.v, calls)
    except MessageError:
        return value
    return value if form == header.v else seal_leg(msgspec.structs.replace(header, v=form), text, key, fresh_nonce())
