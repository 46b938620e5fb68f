"""
Gives a person, or an authority that two officers approved, the legs that were asked for: opened, and sealed to the asker's key.

Rules: 1. Parts are written as they are made, so that memory stays bounded; a repeat writes the same keys.
       2. Nothing but the sealed parts leaves; the outcome names their digests.  3. Nothing stored is an answer too.
Source: design section 10 (`access`, `portability`, `disclose`); GDPR Art. 15, 20.
"""

import hashlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

import msgspec

from calllog_guard.core.calls.leg import Leg, read_leg
from calllog_guard.core.crypto.envelope import open_leg, parse_header
from calllog_guard.core.crypto.opened import Opened
from calllog_guard.core.crypto.sealed import seal_to_key
from calllog_guard.core.crypto.secrets import month_from
from calllog_guard.core.ids import Pseudonym, Tenant, b64
from calllog_guard.core.requests.export import (
    LEGS_PER_PART,
    TASKS,
    About,
    ExportedLeg,
    ForPurpose,
    OpenedBy,
    Part,
    Task,
    count_of,
)
from calllog_guard.core.requests.fields import ReplyKey
from calllog_guard.core.requests.rules import Span
from calllog_guard.core.retention.purpose import Purpose, due_day
from calllog_guard.core.tombstone import Output
from calllog_guard.core.wire import Access, decode, encode
from calllog_guard.errors import LegMovedError, MessageError
from calllog_guard.policy import Policy
from calllog_guard.ports import Clock, Facts
from calllog_guard.settings import Settings
from calllog_guard.workers.enforce import Enforcer, Work
from calllog_guard.workers.tools import Tools

_ACCESSES: Final = msgspec.json.Decoder(Access)
ReadAll = Callable[[str, Sequence[int]], Awaitable[list[Any]]]
_PORTABLE: Final = frozenset({"contract", "consent"})
"""Art. 20(1)(a): what is processed on consent or a contract."""


def about(policy: Policy, tenant: Tenant, clock: Clock, opened_by: tuple[OpenedBy, ...] = ()) -> About:
    """The policy's facts, as they are now."""
    version = policy.at(clock.now().date())
    table = version.tenant[tenant]
    return About(
        purposes=tuple(
            ForPurpose(name=name, basis=each.basis, keep=each.keep, then=each.then)
            for name, each in table.purposes.items()
        ),
        recipients=tuple(table.recipients),
        keep={name: each.keep for name, each in table.purposes.items()},
        opened_by=opened_by,
        policy=version.effective.isoformat(),
    )


def sealed_part(settings: Settings, home: int, part: Part, key: ReplyKey) -> tuple[Output, str]:
    """A part for the topic of exports, with the digest of what is written: SHA-256 in base64url."""
    jwk: dict[str, str | list[str]] = {"kty": key.kty, "crv": key.crv, "x": key.x}
    value = seal_to_key(jwk, key.kid or part.case, encode(part)).encode()
    name = f"{part.case}.{part.part}".encode()
    output = Output(settings.topic("privacy.exports"), home, name, value)
    return output, b64(hashlib.sha256(value).digest()).decode()


def nothing(settings: Settings, home: int, case: str, facts: About, task: Task) -> tuple[Output, str]:
    """The answer when nothing is stored."""
    return sealed_part(settings, home, Part(case=case, part=task.first, parts=1, about=facts, legs=()), task.key)


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
    """A leg as the person sees it."""
    return ExportedLeg(
        **{name: getattr(leg, name) for name in ExportedLeg.__struct_fields__ if hasattr(leg, name)},
        purposes=tuple(each.name for each in purposes if facts.mask & each.bit),
        kept_until=due_day(facts.day, facts.mask, purposes).isoformat(),
    )


class Exporter:
    """The keeper's effect for `access`, `portability` and `disclose`."""

    def __init__(self, tools: Tools, enforcer: Enforcer, read_all: ReadAll) -> None:
        self._t, self._enforcer, self._read_all = tools, enforcer, read_all

    async def export(self, work: Work) -> bool:
        """Write all parts of one identifier, then the outcome with their digests."""
        t, decision = self._t, work.decision
        task = read_task(work.entry.task)
        opened = await self._enforcer.opened(Pseudonym(decision.pseudonym))
        purposes = t.policy.at(t.clock.now().date()).tenant[t.tenant].listed()
        rows = wanted(work.shard.index.legs_of(decision.pseudonym) if opened else [], task.range)
        if decision.type == "portability":
            rows = [row for row in rows if portable(row[0], purposes)]
        held = await self._held(work, task, {key[23:] for _, key in rows}, purposes)
        facts = about(t.policy, t.tenant, t.clock, await self._opened_by(work.shard.partition))
        digests: list[str] = []
        total = len(rows) + len(held)
        for number, some in parts_of(total, task):
            legs = await self._legs(work.shard.partition, rows[some], opened, purposes)
            legs += held[max(0, some.start - len(rows)) : max(0, some.stop - len(rows))]
            many = count_of(total)
            part = Part(case=decision.case, part=number, parts=many, about=facts, legs=legs)
            output, digest = sealed_part(t.settings, t.home, part, task.key)
            await t.writer.write([output])
            digests.append(digest)
        await self._enforcer.report(work, "exported", (), total, tuple(digests))
        return True

    async def _held(
        self, work: Work, task: Task, live: Collection[bytes], purposes: tuple[Purpose, ...]
    ) -> tuple[ExportedLeg, ...]:
        """What is left under holds that may be told of, and nowhere else, each leg once."""
        found: dict[bytes, ExportedLeg] = {}
        for facts, key, leg in await self._enforcer.copies.given(work.shard, task.holds, work.entry.lookup):
            if key[23:] not in live and (task.range is None or task.range.covers(facts.day)):
                found[key[23:]] = exported(facts, leg, purposes)
        return tuple(found[token] for token in sorted(found))

    async def _legs(
        self, partition: int, rows: Sequence[tuple[Facts, bytes]], keys: Opened | None, purposes: tuple[Purpose, ...]
    ) -> tuple[ExportedLeg, ...]:
        """
        The legs of one part, opened.

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
                legs.append(exported(facts, read_leg(open_leg(values[key], keys.data_key(month))), purposes))
            except (
                MessageError
            ) as error:  # its month is over, or it is not what our protector wrote: the others are given
                self._t.count("unreadable_" + error.reason, 1)
        return tuple(legs)

    async def _opened_by(self, partition: int) -> tuple[OpenedBy, ...]:
        """Who has opened records of a partition, from the record of accesses; the last time of each actor and purpose."""
        last: dict[tuple[str, str], OpenedBy] = {}
        places = list(range(self._t.settings.few_partitions))
        for record in await self._read_all(self._t.settings.topic("privacy.access"), places):
            if record.value is None or (record.key or b"").startswith(b"~"):
                continue
            try:
                access = decode(_ACCESSES, record.value)
            except MessageError:
                continue  # not written by a reader of ours
            if access.topic == self._t.legs and access.partition == partition and access.opened:
                name = (access.actor, access.purpose)
                if name not in last or last[name].last < access.at:
                    last[name] = OpenedBy(actor=access.actor, purpose=access.purpose, last=access.at)
        return tuple(last[name] for name in sorted(last))


def parts_of(total: int, task: Task) -> list[tuple[int, slice]]:
    """The number of each part, and which of the legs are in it."""
    many = count_of(total)
    return [(task.first + n, slice(n * LEGS_PER_PART, (n + 1) * LEGS_PER_PART)) for n in range(many)]
