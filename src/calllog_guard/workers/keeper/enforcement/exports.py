"""
Gives a person, or an authority two officers approved, the requested legs: opened, and sealed to the asker's key.

Rules: 1. Parts are written as they are made, so that memory stays bounded; a repeat writes the same keys.
       2. Nothing but the sealed parts leaves; the outcome names their digests.  3. Nothing stored is an answer too.
Source: docs/explanation/cases.md; GDPR Art. 15, 20.
"""

import asyncio
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import msgspec

from calllog_guard.core.answers import person
from calllog_guard.core.answers.about import About
from calllog_guard.core.answers.parts import LEGS_PER_PART, TASKS, ExportedLeg, Part, Task
from calllog_guard.core.answers.readers import LegOffsets
from calllog_guard.core.calls.leg import Leg, read_leg, referred
from calllog_guard.core.codec import decode
from calllog_guard.core.crypto.key_bytes import KeyBytes
from calllog_guard.core.crypto.leg_envelope import open_leg, parse_header
from calllog_guard.core.crypto.subject_secrets import month_from
from calllog_guard.core.identifiers import ID_LETTERS, HoldId, record_key, shown_subject
from calllog_guard.core.requests.types import TYPES, AnswerKind
from calllog_guard.core.retention.purposes import Purpose, due_day
from calllog_guard.errors import LegMovedError, MessageError
from calllog_guard.metrics import Counters
from calllog_guard.ports.state import LegFacts
from calllog_guard.workers.keeper.context import KeeperContext
from calllog_guard.workers.keeper.decision_work import Ended, Work
from calllog_guard.workers.keeper.enforcement.enforcer import Enforcer
from calllog_guard.workers.runtime.answer_parts import sealed_part

_PORTABLE: Final = frozenset({"contract", "consent"})
"""Art. 20(1)(a): what is processed on consent or a contract."""
_ROW: Final = struct.Struct(">I22s")
"""A leg's day and its token: thirty bytes for each of hundreds of thousands."""
_PART_BYTES: Final = 1_000_000
"""Of a record of every broker's default size."""
_TOKEN: Final = ID_LETTERS
_NAME: Final = ID_LETTERS + 1
_KINDS: Final[dict[str, AnswerKind]] = {kind: row.answer for kind, row in TYPES.items() if row.answer}


def read_task(raw: bytes) -> Task:
    """
    What an export's decision seals.

    Raises:
        MessageError: Not what our desk writes.

    """
    return decode(TASKS, raw)


def portable(facts: LegFacts, purposes: Sequence[Purpose]) -> bool:
    """Whether a leg is kept for a purpose that rests on consent or a contract."""
    return any(facts.mask & each.bit and each.basis in _PORTABLE for each in purposes)


def exported(facts: LegFacts, leg: Leg, purposes: tuple[Purpose, ...]) -> ExportedLeg:
    """
    A leg as the person sees it.

    Args:
        purposes: Those that may still keep it, with the periods that it was promised.

    """
    mine = [each for each in purposes if facts.mask & each.bit]
    known = {name: getattr(leg, name) for name in Leg.__struct_fields__ if name in ExportedLeg.__struct_fields__}
    return ExportedLeg(
        **known | {"subject": shown_subject(leg.subject)},
        purposes=tuple(each.name for each in mine),
        kept_until=due_day(facts.day, facts.mask, purposes).isoformat(),
        until={each.name: due_day(facts.day, each.bit, (each,)).isoformat() for each in mine},
    )


@dataclass(slots=True)
class Scope:
    """
    What one export is about, and how far it is given: kept from turn to turn.

    Args:
        rows: The legs that are to be given, packed so that they sort by day.
        records: The offsets of all with their days; `purposes` with the masks they were sealed with, where known.
        held: The copies that are to be given beside them, by token, each with its hold.
        left_out: How many are not given, by the reason why.
        holds: Of which copies are still to be looked at, and behind which of them.

    """

    task: Task
    about: About | None = None
    rows: list[bytes] = field(default_factory=list)
    records: dict[int, date] = field(default_factory=dict)
    purposes: dict[int, int] = field(default_factory=dict)
    held: dict[bytes, HoldId] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    holds: list[tuple[HoldId, bytes]] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    copies: list[bytes] = field(default_factory=list)
    per_part: int = field(default_factory=lambda: LEGS_PER_PART)

    @property
    def total(self) -> int:
        """How many records are given."""
        return len(self.rows) + len(self.copies)

    @property
    def parts(self) -> int:
        """In how many parts; nothing stored is said in one, too."""
        return max(1, -(-self.total // self.per_part))


class Exporter:
    """The keeper's effect for `access`, `portability` and `disclose`: it looks first, then gives part after part."""

    def __init__(self, tools: KeeperContext, enforcer: Enforcer) -> None:
        self._t, self._enforcer = tools, enforcer

    async def export(self, work: Work) -> Ended:
        """Write the parts of one identifier, then the outcome with their digests."""
        keys = await self._enforcer.keys(work)
        if work.decision.type == "disclose" and keys is not None and keys.holds:
            return Ended.WAITS  # its copies are still to be made, and an erasure may have fenced the person already
        opened = await self._enforcer.arrivals.opened(work.pseudonym) if keys is not None else None
        scope = work.progress.scope
        if not isinstance(scope, Scope):
            task = read_task(work.entry.task)
            scope = work.progress.scope = Scope(task, holds=[(HoldId(each), b"") for each in task.holds])
            if task.law:
                while not await self._enforcer.copies.catch_up(work.shard):
                    pass
                scope.holds += [(each, b"") for each in self._enforcer.copies.by_law(work.shard)]
        if scope.about is None and not (await self._looked(work, scope, opened)):
            return Ended.MORE
        if scope.task.look is True:
            await self._enforcer.results.looked(work, scope.total)
            return Ended.DONE
        while len(scope.digests) < scope.parts:
            await self._give(work, scope, opened)
            if work.over and len(scope.digests) < scope.parts:
                return Ended.MORE
        await self._enforcer.results.report(work, "exported", (), scope.total, tuple(scope.digests))
        return Ended.DONE

    # --- looking ----------------------------------------------------------------------------------------------------

    async def _looked(self, work: Work, scope: Scope, opened: KeyBytes | None) -> bool:
        """Whether all that there is of a person has been looked at."""
        while opened is not None and (rows := self._enforcer.next_rows(work)):
            for facts, key in rows:
                self._see(work, scope, facts, key)
            self._enforcer.took(work, rows)
            if work.over:
                return False
        while scope.holds:
            await self._see_copies(work, scope)
            if work.over:
                return False
        scope.rows = sorted(set(scope.rows))
        live = {row[_ROW.size - _TOKEN :] for row in scope.rows}
        scope.copies = sorted(scope.held.keys() - live)
        scope.about = await self._about(work, scope)
        return True

    def _see(self, work: Work, scope: Scope, facts: LegFacts, key: bytes) -> None:
        if not facts.mask:
            return  # it stands in place of a leg that was removed
        kind, span = work.decision.type, scope.task.range
        scope.records[facts.offset] = facts.day
        if not work.shard.took_purposes(work.pseudonym):
            scope.purposes[facts.offset] = facts.mask
        if span is not None and not span.covers(facts.day):
            # how much there is beside what an authority may see is none of its business
            scope.left_out["other_days"] += kind != "disclose"
        elif kind == "portability" and not portable(facts, self._purposes(facts.policy)):
            scope.left_out["not_portable"] += 1
        else:
            scope.rows.append(_ROW.pack(facts.day.toordinal(), key[_NAME:]))

    async def _see_copies(self, work: Work, scope: Scope) -> None:
        """What is left under a hold that may be told of, and nowhere else, each leg once."""
        hold, after = scope.holds[0]
        if not after:
            while not await self._enforcer.copies.catch_up(work.shard):
                pass
        mine, onward = await self._enforcer.copies.about(work.shard, hold, after, work.entry.lookup)
        for facts, key in mine:
            if scope.task.range is None or scope.task.range.covers(facts.day):
                scope.held[key[_NAME:]] = hold
        scope.holds[:1] = [] if onward is None else [(hold, onward)]  # only now: what fails is looked at again

    def _purposes(self, stored: str) -> tuple[Purpose, ...]:
        """What may still keep a leg that was stored under a version: a lengthened period does not reach it."""
        return self._t.policy.purposes_since(self._t.tenant, stored, self._t.clock.now().date())

    async def _about(self, work: Work, scope: Scope) -> About:
        t, kind = self._t, work.decision.type
        version = t.policy.at(t.clock.now().date())
        about = person.plain(version.tenant[t.tenant], t.tenant, version.effective.isoformat())
        about = msgspec.structs.replace(about, kind=_KINDS[kind], at=t.clock.now())
        if t.ring.calls is not None:
            about = msgspec.structs.replace(about, calls="reference")
        if kind != "access":
            return msgspec.structs.replace(about, recipients=())
        now = asyncio.get_running_loop().time()
        mine = LegOffsets(scope.records, scope.purposes)
        readers = await self._enforcer.readership.opened_by(work.shard.partition, mine, now)
        scope.records.clear()
        scope.purposes.clear()
        return msgspec.structs.replace(
            about, opened_by=tuple(readers.lines), unproven=readers.unproven or msgspec.UNSET
        )

    # --- giving -----------------------------------------------------------------------------------------------------

    async def _give(self, work: Work, scope: Scope, opened: KeyBytes | None) -> None:
        """Write the next part; where it is too large for its topic all are made anew, smaller."""
        if scope.about is None:
            raise AssertionError("nothing is given before all was looked at")
        number = len(scope.digests)
        some = slice(number * scope.per_part, (number + 1) * scope.per_part)
        legs = await self._legs(work, scope.rows[some], opened, scope.left_out)
        behind = slice(max(0, some.start - len(scope.rows)), max(0, some.stop - len(scope.rows)))
        legs += await self._copies(work, scope.copies[behind], scope.held)
        part = Part(
            case=work.decision.case,
            part=scope.task.first + number,
            parts=scope.parts,
            about=scope.about,
            legs=legs,
            left_out=dict(scope.left_out),
        )
        secret = scope.task.secret is True
        output, digest = sealed_part(self._t.settings, self._t.home, part, scope.task.key, secret=secret)
        if len(output.value or b"") > _PART_BYTES and scope.per_part > 1:
            scope.per_part //= 2
            scope.digests.clear()
            scope.left_out["unreadable"] = 0
            return
        await self._t.writer.write([output])
        scope.digests.append(digest)

    async def _legs(
        self, work: Work, rows: Sequence[bytes], keys: KeyBytes | None, left_out: Counter[str]
    ) -> tuple[ExportedLeg, ...]:
        """
        The legs of one part, opened; what does not open is counted in `left_out`, what has gone meanwhile is not there.

        Raises:
            LegMovedError: One was replaced meanwhile; the part is made again.

        """
        names = [record_key(work.pseudonym, row[_ROW.size - _TOKEN :].decode()) for row in rows]
        there = {key: facts for key in names if (facts := work.shard.index.facts(key)) is not None}
        if keys is None or not there:
            return ()
        places = {key: facts.offset for key, facts in there.items()}
        values = await self._t.log.fetch(self._t.legs, work.shard.partition, places)
        if missing := [key for key in there if key not in values]:
            raise LegMovedError(missing)
        legs: list[ExportedLeg] = []
        for key, facts in there.items():
            try:
                header = parse_header(values[key])
                leg = read_leg(open_leg(values[key], keys.data_key(month_from(header.mon))))
                leg = referred(leg, header.v, self._t.ring.calls)
                legs.append(exported(facts, leg, self._purposes(facts.policy)))
            except (
                MessageError
            ) as error:  # its month is over, or it is not what our protector wrote: the others are given
                self._t.count(Counters.unreadable[error.reason], 1)
                left_out["unreadable"] += 1
        return tuple(legs)

    async def _copies(
        self, work: Work, tokens: Sequence[bytes], holds: Mapping[bytes, HoldId]
    ) -> tuple[ExportedLeg, ...]:
        """The copies of one part, in the order of their tokens."""
        found: dict[bytes, ExportedLeg] = {}
        for hold in dict.fromkeys(holds[token] for token in tokens):
            keys = [f"{hold}.{token.decode()}".encode() for token in tokens if holds[token] == hold]
            rows = [(facts, key) for key in keys if (facts := work.shard.held.facts(key)) is not None]
            legs = await self._enforcer.copies.opened(work.shard, hold, rows)
            for facts, key in rows:
                if key in legs:
                    found[key[_NAME:]] = exported(facts, legs[key], self._purposes(facts.policy))
        return tuple(found[token] for token in tokens if token in found)
