"""
Reading for a purpose: a batch of records in, a verdict on each out, and the access on record before anything is said.

Steps (numbered for the crash tests): 1 opened, 2 recorded.
Rules: 1. Persons are read afresh for every batch, and again once its access record is acknowledged: if one has
          changed in between, the batch is judged again, so that nobody's leg comes out after the fence.
       2. No verdict is given to anyone before the access record is acknowledged.
       3. A server's silence is an error of its own, never a verdict.
Source: docs/explanation/design.md, docs/explanation/keystore.md, docs/how-to/write-the-policy.md.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from typing import Final, NamedTuple

import msgspec

from calllog_guard.core.audit.accesses import ActorKey, place_of
from calllog_guard.core.calls.leg import read_leg, referred
from calllog_guard.core.calls.view import Put, put
from calllog_guard.core.codec import DENIED, NOBODY, Access, encode
from calllog_guard.core.crypto.leg_envelope import open_leg
from calllog_guard.core.crypto.subject_secrets import month_from
from calllog_guard.core.identifiers import INTERNAL_KEY, Tenant
from calllog_guard.core.policy.active import Policy
from calllog_guard.core.records import Output
from calllog_guard.core.retention.purposes import Purpose
from calllog_guard.core.retention.read_access import Refusal, has_lapsed
from calllog_guard.core.stream.offsets import pack
from calllog_guard.core.topics import Topic
from calllog_guard.errors import ConfigurationError, MessageError, RecordError, StateRefusedError
from calllog_guard.metrics import Counters, Increment
from calllog_guard.ports.clock import Clock
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.ports.log import Record, Writer
from calllog_guard.settings import Settings
from calllog_guard.workers.reader.sources import EntryState, Errand, Header, Holder, Source

_AHEAD: Final = timedelta(days=31)
"""Events are not dated after now and EVENT_AHEAD_S; this bounds what a forged header costs, and no more."""
WHICH: Final = 2
"""From this level of forms on an access says which records were opened, and in which read."""
BATCH: Final = 5000
"""Records judged at once: bounds every MGET, and the time between a person's two readings."""


class Right(NamedTuple):
    """
    What the policy in force lets an errand see; made anew for every batch.

    Args:
        since: What may still keep a leg that was stored under a version.
        law: Another object when a version was published.
        copies: Whether there may be copies for this purpose: only who needs them must be able to read `calllog.held`.

    """

    purpose: Purpose
    today: date
    since: Callable[[str], tuple[Purpose, ...]]
    law: object
    copies: bool

    @property
    def meaning(self) -> str:
        """What must stay the same for what was shown to stay true; a shorter period is looked at by itself."""
        it = self.purpose
        return f"{it.number} {it.basis} {sorted(it.roles)} {sorted(it.outcomes)} {it.shows}"


class Hand(NamedTuple):
    """With what an actor signs, and in which installation."""

    key: ActorKey
    guard: bytes


def right_of(policy: Policy, errand: Errand, now: datetime, hand: Hand | None = None) -> Right:
    """
    What the policy lets an errand see now.

    Raises:
        ConfigurationError: No version of the policy knows such a purpose.
        StateRefusedError: The actor may not read for this purpose, or the version in force has it no more, or not yet;
            or whoever reads does not prove to be this actor.

    """
    today = now.date()
    table = policy.at(today).tenant[errand.tenant]
    rights = table.actors.get(errand.actor)
    if errand.purpose not in table.purposes:
        tables = [each.tenant.get(errand.tenant) for each in policy.versions]
        if any(each is not None and errand.purpose in each.purposes for each in tables):
            raise StateRefusedError(f"the policy in force has no purpose {errand.purpose}; another version has it")
        known = ", ".join(sorted(table.purposes))
        raise ConfigurationError(f"the policy in force knows no purpose {errand.purpose!r}; it knows {known}")
    if rights is None or errand.purpose not in rights.purposes:
        raise StateRefusedError(f"the policy does not let {errand.actor} read for {errand.purpose}")
    policy.actors(errand.tenant).check(errand.actor, rights, hand.key.public if hand else None, now)
    purpose = next(each for each in table.listed() if each.name == errand.purpose)
    since = cache(
        lambda version: policy.purposes_since(errand.tenant, version, today)
    )  # asked for every day of a batch
    return Right(purpose, today, since, policy.versions, policy.keeps_copies(errand.tenant, purpose.number, today))


def names_of(policy: Policy, tenant: Tenant) -> set[str]:
    """Every actor and purpose that a version of the policy names."""
    tables = [version.tenant[tenant] for version in policy.versions if tenant in version.tenant]
    return {name for table in tables for name in (*table.actors, *table.purposes)}


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What becomes of a record: a line, or a refusal; neither for a tombstone. `revision` is its leg's, -1 for none."""

    record: Record
    header: Header | None
    line: Put | None
    refusal: Refusal | None
    revision: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderContext:
    """What a reader works with; `hand` signs what it opens, where it has a key."""

    settings: Settings
    policy: Policy
    clock: Clock
    writer: Writer
    hand: Hand | None = None
    count: Increment = lambda _name, _by: None


class Reading:
    """One errand over one source."""

    def __init__(self, errand: Errand, source: Source, context: ReaderContext) -> None:
        self.errand, self.source, self.context, settings = errand, source, context, context.settings
        self._policy, self._writer, self._clock = context.policy, context.writer, context.clock
        self._access, self._partitions = settings.topic(Topic.ACCESS), settings.partitions
        self._access_partitions, self._steps = settings.few_partitions, CrashPoints(settings.off)
        self._hand, self._count = context.hand, context.count
        self.opened = 0
        self.refused: Counter[Refusal] = Counter()

    def right(self) -> Right:
        """See `right_of`: now."""
        return right_of(self._policy, self.errand, self._clock.now(), self._hand)

    async def entitled(self) -> Right:
        """See `right_of`: now; who is not let read is on record before they hear it."""
        try:
            return self.right()
        except (ConfigurationError, StateRefusedError):
            named = names_of(self._policy, self.errand.tenant)
            actor, purpose = (each if each in named else NOBODY for each in (self.errand.actor, self.errand.purpose))
            denied = Access(
                v=1,
                actor=actor,
                purpose=purpose,
                case=self.errand.case,
                topic=self.source.topic,
                partition=-1,
                from_=-1,
                to=-1,
                opened=0,
                refused={DENIED: 1},
                at=self._clock.now(),
                read=self._read,
            )
            await self._writer.write([self._output(denied, 0)])
            raise

    def _output(self, access: Access, place: int) -> Output:
        """An access as it is written to a partition; signed by whoever has a key, but not with somebody else's."""
        value = encode(access)
        if self._hand is not None and self._is_mine(self._hand.key):
            value = self._hand.key.vouched(access, place_of(self._hand.guard, self._access, place))
        return Output(self._access, place, access.actor.encode(), value)

    def _is_mine(self, key: ActorKey) -> bool:
        return self._policy.actors(self.errand.tenant).named(key.public, self._clock.now()) == self.errand.actor

    @property
    def _read(self) -> str | msgspec.UnsetType:
        return self.errand.read if self.source.forms >= WHICH else msgspec.UNSET

    async def judged(self, records: Sequence[Record]) -> list[Verdict]:
        """
        A verdict on each record, in their order; the access is on record.

        Raises:
            KeystoreSilentError, KeystoreGuardedError, LogSilentError: Nothing is known and nothing was said; wait.

        """
        right = await self.entitled()
        sifted = sift(records, self.errand.tenant, self.source, right)
        names = list({header.kid for _, header, refusal in sifted if header is not None and refusal is None})
        while True:
            holders = await self.source.holders(names)
            before = await self.source.standings(holders, right.purpose)
            verdicts = [
                Verdict(record, header, None, refusal)
                if header is None or refusal is not None
                else self._verdict(record, header, holders.get(header.kid), before, right)
                for record, header, refusal in sifted
            ]
            if await self.source.met():
                continue
            self._steps.reached("read.opened")
            await self._record(verdicts)
            self._steps.reached("read.recorded")
            if not names or await self.source.unchanged(holders, before):
                self._counted(verdicts)
                return verdicts

    def _counted(self, verdicts: Sequence[Verdict]) -> None:
        """For the metrics by purpose and result, `opened` or a refusal. A copy an officer ordered has no verdict."""
        opened = sum(verdict.line is not None for verdict in verdicts)
        refused = Counter(verdict.refusal for verdict in verdicts if verdict.refusal is not None)
        self.opened += opened
        self.refused.update(refused)
        for result, many in (("opened", opened), *refused.items()):
            self._count(Counters.reads[self.errand.purpose, result], many)

    def _verdict(
        self, record: Record, header: Header, holder: Holder | None, standings: Mapping[str, EntryState], right: Right
    ) -> Verdict:
        refusal = Refusal.UNKNOWN if holder is None else standings[header.kid].refusal
        if holder is None or refusal is not None:
            return Verdict(record, header, None, refusal)
        return Verdict(record, header, *self._opened(record, header, holder, right))

    def _opened(
        self, record: Record, header: Header, holder: Holder, right: Right
    ) -> tuple[Put, None, int] | tuple[None, Refusal]:
        if holder.place % self._partitions != record.partition:
            # a copy where no tombstone of its person reaches
            return None, Refusal.UNREADABLE
        try:
            leg = read_leg(open_leg(record.value or b"", holder.data_key(month_from(header.mon))))
            if not right.purpose.covers(leg.role, leg.outcome):
                return None, Refusal.PURPOSE
            if (refusal := self.source.against(header, leg)) is not None:
                return None, refusal
            if header.v == 1:
                leg = referred(leg, header.v, self.source.calls)
            revision = leg.revision if isinstance(leg.revision, int) else -1
            return put(leg, header.rid, holder.person(leg), right.purpose.shows), None, revision
        except MessageError as error:
            return None, Refusal.LAPSED if error.reason == "lapsed" else Refusal.UNREADABLE
        except (ValueError, TypeError):  # it opens, and says what no protector writes; these errors' texts quote it
            return None, Refusal.UNREADABLE

    async def _record(self, verdicts: Sequence[Verdict]) -> None:
        """Acknowledged on return: who opened what of each partition, and how many were refused for which reason."""
        by_partition: dict[int, list[Verdict]] = defaultdict(list)
        for verdict in verdicts:
            by_partition[verdict.record.partition].append(verdict)
        outputs = []
        for partition, found in by_partition.items():
            offsets = [verdict.record.offset for verdict in found]
            refused = Counter(str(verdict.refusal) for verdict in found if verdict.refusal is not None)
            opened = [verdict.record.offset for verdict in found if verdict.line is not None]
            access = Access(
                v=1,
                actor=self.errand.actor,
                purpose=self.errand.purpose,
                case=self.errand.case,
                topic=self.source.topic,
                partition=partition,
                from_=min(offsets),
                to=max(offsets),
                opened=len(opened),
                refused=dict(refused),
                at=self._clock.now(),
                which=pack(opened, min(offsets)) if self.source.forms >= WHICH else msgspec.UNSET,
                read=self._read,
            )
            outputs.append(self._output(access, partition % self._access_partitions))
        if outputs:
            await self._writer.write(outputs)


Sifted = tuple[Record, Header | None, Refusal | None]


def sift(records: Iterable[Record], tenant: Tenant, source: Source, right: Right) -> list[Sifted]:
    """
    Each record with its header, and what the header alone says against it; internal keys are left out.

    A header is not authenticated before its record is opened: a day to come, or a month that is not the day's, would
    have the ratchet turned for nothing.
    """
    horizon = (right.today + _AHEAD).isoformat()
    lapsed: dict[tuple[str, str], Refusal | None] = {}
    sifted: list[Sifted] = []
    for record in records:
        key = record.key or b""
        if key[:1] == INTERNAL_KEY:
            continue
        if record.value is None:
            sifted.append((record, None, None))
            continue
        try:
            header = source.parse(record.value)
            if not source.meant(header, record.partition, right.purpose):
                continue
            when = header.day, header.pol
            if header.day > horizon or header.mon != header.day[:7]:
                raise RecordError("bad_day")
            if when not in lapsed:
                is_over = has_lapsed(header.day, right.purpose, right.since(header.pol), right.today)
                lapsed[when] = Refusal.LAPSED if is_over else None
        except (MessageError, ValueError):
            sifted.append((record, None, Refusal.UNREADABLE))
            continue
        if key != f"{header.kid}.{header.rid}".encode() or header.top != source.topic or header.ten != tenant:
            sifted.append((record, None, Refusal.UNREADABLE))
        elif not header.pur & right.purpose.bit:
            sifted.append((record, header, Refusal.PURPOSE))
        else:
            sifted.append((record, header, lapsed[when]))
    return sifted
