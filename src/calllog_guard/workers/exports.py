"""
Gives a person, or an authority that two officers approved, the legs that were asked for: opened, and sealed to the asker's key.

Rules: 1. Parts are written as they are made, so that memory stays bounded; a repeat writes the same keys.
       2. Nothing but the sealed parts leaves; the outcome names their digests.  3. Nothing stored is an answer too.
Source: design section 10 (`access`, `portability`, `disclose`); GDPR Art. 15, 20.
"""

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal

import msgspec

from calllog_guard.core.answers import person
from calllog_guard.core.answers.about import About, OpenedBy
from calllog_guard.core.answers.parts import LEGS_PER_PART, TASKS, ExportedLeg, Part, Task, count_of
from calllog_guard.core.answers.readers import opened_by
from calllog_guard.core.calls.leg import Leg, read_leg
from calllog_guard.core.crypto.envelope import open_leg, parse_header
from calllog_guard.core.crypto.opened import Opened
from calllog_guard.core.crypto.sealed import seal_to_key
from calllog_guard.core.crypto.secrets import month_from
from calllog_guard.core.ids import INTERNAL_KEY, Pseudonym, b64
from calllog_guard.core.requests.fields import ReplyKey
from calllog_guard.core.requests.rules import Span
from calllog_guard.core.retention.purpose import Purpose, due_day
from calllog_guard.core.tombstone import Output
from calllog_guard.core.wire import Access, decode, encode
from calllog_guard.errors import LegMovedError, MessageError
from calllog_guard.ports import Facts
from calllog_guard.settings import Settings
from calllog_guard.workers.enforce import Enforcer, Work
from calllog_guard.workers.tools import Tools

_ACCESSES: Final = msgspec.json.Decoder(Access)
ReadAll = Callable[[str, Sequence[int]], Awaitable[list[Any]]]
_PORTABLE: Final = frozenset({"contract", "consent"})
"""Art. 20(1)(a): what is processed on consent or a contract."""
_KINDS: Final[dict[str, Literal["access", "portability", "disclosure"]]] = {
    "access": "access",
    "portability": "portability",
    "disclose": "disclosure",
}


def sealed_part(settings: Settings, home: int, part: Part, key: ReplyKey) -> tuple[Output, str]:
    """A part for the topic of exports, with the digest of what is written: SHA-256 in base64url."""
    jwk: dict[str, str | list[str]] = {"kty": key.kty, "crv": key.crv, "x": key.x}
    value = seal_to_key(jwk, key.kid or part.case, encode(part)).encode()
    name = f"{part.case}.{part.part}".encode()
    output = Output(settings.topic("privacy.exports"), home, name, value)
    return output, b64(hashlib.sha256(value).digest()).decode()


def read_task(raw: bytes) -> Task:
    """
    What an export's decision seals.

    Raises:
        MessageError: Not what our desk writes.

    """
    return decode(TASKS, raw)


def wanted(rows: Sequence[tuple[Facts, bytes]], span: Span | None) -> list[tuple[Facts, bytes]]:
    """The rows of the days that were asked for, the oldest first."""
    return sorted((row for row in rows if span is None or span.covers(row[0].day)), key=lambda row: row[0].day)


def portable(facts: Facts, purposes: Sequence[Purpose]) -> bool:
    """Whether a leg is kept for a purpose that rests on consent or a contract."""
    return any(facts.mask & each.bit and each.basis in _PORTABLE for each in purposes)


def exported(facts: Facts, leg: Leg, purposes: tuple[Purpose, ...]) -> ExportedLeg:
    """
    A leg as the person sees it.

    Args:
        purposes: Those that may still keep it, with the periods that it was promised.

    """
    mine = [each for each in purposes if facts.mask & each.bit]
    return ExportedLeg(
        **msgspec.structs.asdict(leg),
        purposes=tuple(each.name for each in mine),
        kept_until=due_day(facts.day, facts.mask, purposes).isoformat(),
        until={each.name: due_day(facts.day, each.bit, (each,)).isoformat() for each in mine},
    )


@dataclass(frozen=True, slots=True)
class _Scope:
    """What one export is about: the records to be given, by why others are left out, and what may keep each."""

    rows: Sequence[tuple[Facts, bytes]]
    held: tuple[ExportedLeg, ...]
    left_out: Counter[str]
    about: About


class Exporter:
    """The keeper's effect for `access`, `portability` and `disclose`."""

    def __init__(self, tools: Tools, enforcer: Enforcer, read_all: ReadAll) -> None:
        self._t, self._enforcer, self._read_all = tools, enforcer, read_all

    async def export(self, work: Work) -> bool:
        """Write all parts of one identifier, then the outcome with their digests."""
        t, decision = self._t, work.decision
        task = read_task(work.entry.task)
        opened = await self._enforcer.opened(Pseudonym(decision.pseudonym))
        scope = await self._scope(work, task, opened)
        digests: list[str] = []
        total = len(scope.rows) + len(scope.held)
        for number, some in parts_of(total, task):
            legs = await self._legs(work.shard.partition, scope.rows[some], opened, scope.left_out)
            legs += scope.held[max(0, some.start - len(scope.rows)) : max(0, some.stop - len(scope.rows))]
            many = count_of(total)
            part = Part(
                case=decision.case, part=number, parts=many, about=scope.about, legs=legs, left_out=dict(scope.left_out)
            )
            output, digest = sealed_part(t.settings, t.home, part, task.key)
            await t.writer.write([output])
            digests.append(digest)
        await self._enforcer.report(work, "exported", (), total, tuple(digests))
        return True

    async def _scope(self, work: Work, task: Task, opened: Opened | None) -> _Scope:
        t, kind = self._t, work.decision.type
        every = work.shard.index.legs_of(work.decision.pseudonym) if opened else []
        rows = wanted(every, task.range)
        left_out = Counter[str]()
        if kind != "disclose":  # how much there is beside what an authority may see is none of its business
            left_out["other_days"] = len(every) - len(rows)
        if kind == "portability":
            asked, rows = rows, [row for row in rows if portable(row[0], self._purposes(row[0].policy))]
            left_out["not_portable"] = len(asked) - len(rows)
        held = await self._held(work, task, {key[23:] for _, key in rows})
        today = t.clock.now().date()
        version = t.policy.at(today)
        about = person.plain(version.tenant[t.tenant], t.tenant, version.effective.isoformat())
        about = msgspec.structs.replace(about, kind=_KINDS[kind], at=t.clock.now())
        if kind == "access":
            records = {facts.offset: facts.day for facts, _ in every}
            readers = await self._opened_by(work.shard.partition, records)
            about = msgspec.structs.replace(about, opened_by=readers)
        else:
            about = msgspec.structs.replace(about, recipients=())
        return _Scope(rows, held, left_out, about)

    def _purposes(self, stored: str) -> tuple[Purpose, ...]:
        """What may still keep a leg that was stored under a version: a lengthened period does not reach it."""
        return self._t.policy.purposes_since(self._t.tenant, stored, self._t.clock.now().date())

    async def _held(self, work: Work, task: Task, live: Collection[bytes]) -> tuple[ExportedLeg, ...]:
        """What is left under holds that may be told of, and nowhere else, each leg once."""
        found: dict[bytes, ExportedLeg] = {}
        for facts, key, leg in await self._enforcer.copies.given(work.shard, task.holds, work.entry.lookup):
            if key[23:] not in live and (task.range is None or task.range.covers(facts.day)):
                found[key[23:]] = exported(facts, leg, self._purposes(facts.policy))
        return tuple(found[token] for token in sorted(found))

    async def _legs(
        self, partition: int, rows: Sequence[tuple[Facts, bytes]], keys: Opened | None, left_out: Counter[str]
    ) -> tuple[ExportedLeg, ...]:
        """
        The legs of one part, opened; what does not open is counted in `left_out`.

        Raises:
            LegMovedError: One was replaced meanwhile; the export is made again.

        """
        if keys is None or not rows:
            return ()
        values = await self._t.fetch(self._t.legs, partition, {key: facts.offset for facts, key in rows})
        if missing := [key for _, key in rows if key not in values]:
            raise LegMovedError(missing)
        legs: list[ExportedLeg] = []
        for facts, key in rows:
            try:
                month = month_from(parse_header(values[key]).mon)
                leg = read_leg(open_leg(values[key], keys.data_key(month)))
                legs.append(exported(facts, leg, self._purposes(facts.policy)))
            except (
                MessageError
            ) as error:  # its month is over, or it is not what our protector wrote: the others are given
                self._t.count("unreadable_" + error.reason, 1)
                left_out["unreadable"] += 1
        return tuple(legs)

    async def _opened_by(self, partition: int, records: Mapping[int, date]) -> tuple[OpenedBy, ...]:
        """Who has opened the records of a person, as far as it is on record."""
        places = list(range(self._t.settings.few_partitions))
        found = await self._read_all(self._t.settings.topic("privacy.access"), places)
        mine = [each for each in accesses(found) if each.topic == self._t.legs and each.partition == partition]
        return tuple(opened_by(mine, records))


def accesses(records: Sequence[Any]) -> Iterator[Access]:
    """What the record of accesses says that readers of ours have opened."""
    for record in records:
        if record.value is None or (record.key or INTERNAL_KEY)[:1] == INTERNAL_KEY:
            continue
        try:
            yield decode(_ACCESSES, record.value)
        except MessageError:
            continue  # not written by a reader of ours


def parts_of(total: int, task: Task) -> list[tuple[int, slice]]:
    """The number of each part, and which of the legs are in it."""
    many = count_of(total)
    return [(task.first + n, slice(n * LEGS_PER_PART, (n + 1) * LEGS_PER_PART)) for n in range(many)]
