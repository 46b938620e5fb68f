"""
The auditor: keeps compaction running, trims plain text, watches the settings, and observes absence from outside.

Rules: 1. A certificate rests on an observation, not a schedule.  2. None while a governed setting drifts, a replica
       is out of sync, a log cleaner stops, or the keystore's file holds deleted entries.  3. Two auditors at once only
       repeat results, never contradict them.
Source: docs/explanation/design.md, docs/adr/0007-absence-is-observed.md.
"""

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import structlog

from calllog_guard.core.crypto.subject_secrets import floor_month, month_text
from calllog_guard.core.decisions.decision import decision_in
from calllog_guard.core.decisions.outcome import DONE, TO_DESK, Observed, Outcome, is_result, legs_part
from calllog_guard.core.profile import RELEASE_0_1
from calllog_guard.core.records import Output
from calllog_guard.core.retention.removals import RATCHET_KEY, Marked
from calllog_guard.core.stream.proofs import TOGETHER
from calllog_guard.core.topics import LATER, Topic
from calllog_guard.errors import KeystoreUnsafeError, MessageError, RecordError
from calllog_guard.metrics import Counters, Gauges
from calllog_guard.ports.log import TopicPartition
from calllog_guard.ports.process import Duty
from calllog_guard.workers.auditor.context import AuditorContext
from calllog_guard.workers.auditor.lags import Lags
from calllog_guard.workers.auditor.observation import LookResult, Observation
from calllog_guard.workers.auditor.open_decision import Watched
from calllog_guard.workers.auditor.upkeep import Upkeep
from calllog_guard.workers.keys.rotation import UNREADABLE
from calllog_guard.workers.runtime.delivery import Unit
from calllog_guard.workers.runtime.parallel import unhurried

log: Final = structlog.get_logger()
_ALONE: Final = timedelta(days=1)
"""For so long, and up to twice, a result waits for its decision."""
_STATED_FROM: Final = 2
"""From this level of forms on months are stated."""


def _alone(watched: dict[bytes, Watched]) -> set[bytes]:
    """Where results are known and no decision."""
    return {key for key, each in watched.items() if each.decision is None}


def _forget_alone(watched: dict[bytes, Watched], keys: Collection[bytes]) -> None:
    for key in _alone(watched).intersection(keys):
        del watched[key]


class Auditor:
    """The role that reads the ledger and looks at everything from outside."""

    name = "auditor"

    def __init__(self, context: AuditorContext, lags: Lags) -> None:
        settings, self._context = context.settings, context
        self._settings, self._home, self._events = settings, context.home, context.events
        self._ring, self._keystore, self._admin = context.ring, context.keystore, context.admin
        self._outcome_key, self._lags, self._agree = context.outcome_key, lags, context.agree
        self._clock, self._log, self._writer = context.clock, context.log, context.writer
        self._count, self._level = context.count, context.level
        self._legs, self._decisions = settings.topic(Topic.LEGS), settings.topic(Topic.DECISIONS)
        self._outcomes = settings.topic(Topic.OUTCOMES)
        self.topics: tuple[str, ...] = (self._decisions,)
        self._observation = Observation(self._legs, context)
        self._watched: dict[int, dict[bytes, Watched]] = {}
        self._upkeep = Upkeep(context, self._watched)
        self._walked, self._cleaners = context.walked, context.cleaners
        self._sound = False
        self._rewrite_from = 0.0
        self._floor = 0
        self._walk_at = 0.0
        self._turned_to = -1
        self._missed: set[tuple[str, bool]] = set()
        self._drifts, self._states = set[str](), set[str]()
        self._alone: dict[int, set[bytes]] = {}
        self._settled_at = context.clock.now()
        self.duties = (
            Duty("heartbeat", settings.heartbeat_s, self._upkeep.beat),
            Duty("trim", settings.trim_s, self._upkeep.trim),
            Duty("watch", settings.watch_s, self._watch),
            Duty("lags", settings.watch_s, self._look_at_lags),
            Duty("observe", settings.observe_s, self._observe),
            Duty("walk", settings.walk_s, self._walk),
        )

    # --- the ledger -------------------------------------------------------------------------------------------------

    async def assigned(self, partitions: Sequence[int]) -> dict[TopicPartition, int]:
        """See Role: what waits for an observation is read anew from the ledger."""
        self._watched.clear()
        starts = await self._log.starts(self._decisions, partitions)
        found: dict[int, dict[bytes, Watched]] = {partition: {} for partition in partitions}
        async for record in unhurried(await self._log.read_all(self._decisions, partitions), TOGETHER):
            self._note(record, found)
            starts[record.partition] = record.offset + 1
        self._watched.update(found)
        for watched in self._watched.values():  # all there is was read: a decision that is to be observed is among it
            _forget_alone(watched, watched.keys())
        return {TopicPartition(self._decisions, partition): offset for partition, offset in starts.items()}

    async def revoked(self, partitions: Sequence[int]) -> None:
        """See Role."""
        for partition in partitions:
            self._watched.pop(partition, None)

    async def unit(self, unit: Unit) -> None:
        """See Role."""
        for records in unit.values():
            for record in records:
                if record.partition in self._watched:  # beyond those is nobody's ledger
                    self._note(record, self._watched)

    def _note(self, record: Any, found: dict[int, dict[bytes, Watched]]) -> None:
        if not record.key or record.key[:1] == b"~" or record.value is None:
            return
        name, _, result = record.key.decode("ascii", "replace").rpartition(".")
        key = name.encode() if is_result(record.key) else record.key
        watched = found[record.partition].setdefault(key, Watched())
        try:
            if not is_result(record.key):
                decision = decision_in(record, self._ring.guard.proofs)
                if record.key != f"{decision.pseudonym}.{decision.decision}".encode():
                    raise RecordError("bad_decision")
                watched.decision = decision
            elif record.key.endswith(DONE):
                watched.done = self._outcome_key.read(record.value, record.key)
            else:
                outcome = self._outcome_key.read(record.value, record.key)
                if legs_part(record.key) is None:
                    watched.reported.add(result)
                else:
                    watched.named.update(dict.fromkeys(outcome.tokens or ()))
        except MessageError as error:
            self._count(Counters.unreadable[error.reason], 1)
        if watched.decision is not None and not set(watched.stages) - watched.reported:
            # the order of a compacted topic is that of offsets: a result never stands before its decision
            found[record.partition].pop(key)

    async def beat(self) -> None:
        """See Upkeep."""
        await self._upkeep.beat()

    # --- duties -----------------------------------------------------------------------------------------------------

    async def idle(self) -> None:
        """See Role."""
        now = asyncio.get_running_loop().time()
        if not self._walk_at:  # from the first moment on: who never succeeds gets old, too
            self._upkeep.beat_at = self._walk_at = now
        self._level(Gauges.heartbeat_age_s, now - self._upkeep.beat_at)
        self._level(Gauges.walk_age_s, now - self._walk_at if 0 in self._watched else 0)
        watched = [each for some in self._watched.values() for each in some.values()]
        self._level(Gauges.watched_erasures, sum(each.decision is not None for each in watched))

    async def _watch(self) -> None:
        """Compare every governed setting with what the bound needs; any drift withholds certificates."""
        self._sound = False  # until this look has ended well
        cleaning = await self._cleaning()
        await self._upkeep.look()
        self._observation.beyond = self._upkeep.beyond(self._legs)
        findings = await asyncio.to_thread(self._admin.check, self._context.keep_days, self._events())
        # an installation of the first release has none, and needs none before its upgrade
        spare = set(map(self._settings.topic, LATER)) if self._ring.forms <= RELEASE_0_1 else set()
        missed = [each for each in findings if not each.good and each.withholds and each.topic not in spare]
        drifted = sorted({each.setting for each in missed})
        blocked = await asyncio.to_thread(self._admin.blocked, self._legs, sorted(self._watched))
        try:
            await self._keystore.check()
        except KeystoreUnsafeError as error:
            drifted.append("keystore")
            log.error("the keystore's settings have drifted", why=str(error))  # noqa: TRY400 - the text says it
        for setting in {*drifted, *self._drifts}:
            self._level(Gauges.governed_drift[setting], float(setting in drifted))
        self._drifts.update(drifted)
        self._level(Gauges.cleaner_blocked_partitions, len(blocked))
        if drifted:
            log.error("governed settings have drifted: no certificates", settings=drifted)
        if blocked:
            log.error("an open transaction holds compaction back: no certificates", partitions=blocked)
        self._sound = cleaning and not drifted and not blocked

    async def _look_at_lags(self) -> None:
        """The owner of partition 0 looks at what is unread."""
        if 0 in self._watched:
            await self._lags.look()

    async def _cleaning(self) -> bool:
        """Whether every cleaner that is shown works; a page that is silent says nothing good of its broker."""
        shown = await self._cleaners.look()
        known = [cleaner for cleaner in shown if cleaner is not None]
        figures = {
            Gauges.cleaner_uncleanable: sum(cleaner.uncleanable for cleaner in known),
            Gauges.cleaner_dead_threads: sum(cleaner.dead for cleaner in known),
            Gauges.cleaner_silent_pages: len(shown) - len(known),
        }
        for which, value in figures.items():
            self._level(which, value)
        self._level(Gauges.cleaner_delay_s, max((cleaner.delay_s for cleaner in known), default=0))
        working = all(cleaner is not None and cleaner.works for cleaner in shown)
        if not working:
            log.error(
                "a log cleaner has stopped, or its page is silent: no certificates",
                **{str(which): value for which, value in figures.items()},
            )
        return working

    async def _walk(self) -> bool:
        """The owner of partition 0 walks the keystore; whether that was done, or is somebody else's."""
        if 0 not in self._watched:
            return True
        if not await self._agree():
            return False
        done = await self._walked()
        self._level(Gauges.epochs_alive, len(done.kept))
        for state in {*done.states, *self._states}:
            self._level(Gauges.keystore_entries[state], done.states.get(state, 0))
        self._states.update(done.states)
        self._walk_at = asyncio.get_running_loop().time()
        if done.states[UNREADABLE]:
            log.error(
                "entries of the keystore cannot be used: restore them, or erase whose they are",
                entries=done.states[UNREADABLE],
            )
        log.info(
            "walked",
            epoch=done.epoch,
            rewrapped=done.rewrapped,
            destroyed=done.destroyed,
            kept=done.kept,
            entries=done.states,
        )
        await self._turned()
        return True

    async def _turned(self) -> None:
        """From which month on keys are kept now, into the ledger, for the statement of the month."""
        now = self._clock.now()
        floor = floor_month(now, self._context.keep_days)
        if self._ring.forms >= _STATED_FROM and floor != self._turned_to:
            mark = self._outcome_key.vouched(Marked(month=month_text(floor), at=now), RATCHET_KEY)
            await self._writer.write([Output(self._decisions, 0, RATCHET_KEY, mark)])
            self._turned_to = floor

    # --- observation ------------------------------------------------------------------------------------------------

    async def _observe(self) -> bool:
        """One pass over each partition in which an erasure may have come to be seen gone; whether it could be done."""
        await self._after_replay()
        now = self._clock.now()
        self._settle(now)
        waiting = {
            partition: {key: each for key, each in watched.items() if each.done is not None and each.stages}
            for partition, watched in self._watched.items()
        }
        await self._rewrite([each for found in waiting.values() for each in found.values() if not each.rewritten])
        self._alarm(now, [each for watched in self._watched.values() for each in watched.values()])
        due = [
            number for number, found in waiting.items() if any(self._may_be_gone(each, now) for each in found.values())
        ]
        if not due or not self._sound:
            return True
        if not await self._agree():
            return False
        replicas = await asyncio.to_thread(self._admin.replicas, self._legs)
        for partition in due:
            ripe = {key: each for key, each in waiting[partition].items() if self._ripe(each, now)}
            places = [replicas[each] for each in (partition, *self._observation.beyond)]
            await self._look(partition, ripe, replicas[partition][0], min(in_sync for _, in_sync in places))
        return True

    def _settle(self, now: datetime) -> None:
        """
        Forget results of which no decision came within a day: theirs is settled, or nothing is to be observed of it.

        Not at once: of a decision that was written anew the log may keep the second alone, behind its result.
        """
        if now - self._settled_at >= _ALONE:
            for partition, watched in self._watched.items():
                _forget_alone(watched, self._alone.get(partition, set()))
            self._alone = {partition: _alone(watched) for partition, watched in self._watched.items()}
            self._settled_at = now

    def _may_be_gone(self, each: Watched, now: datetime) -> bool:
        """Whether a look may tell something new: a tombstone's key stays for as long as the topic keeps tombstones."""
        kept = timedelta(milliseconds=self._settings.tombstone_keep_ms)
        if each.done is None or not self._ripe(each, now):
            return False
        return "absent" not in each.reported or each.done.at + kept <= now

    def _ripe(self, each: Watched, now: datetime) -> bool:
        """Whether no producer may still hold a unit begun before the erasure, and the keystore's file is rewritten."""
        after = timedelta(seconds=self._settings.absence_after_s)
        return each.rewritten and each.done is not None and each.whole and each.done.at + after <= now

    def _alarm(self, now: datetime, watched: list[Watched]) -> None:
        """Whoever is not seen absent in time, and whoever's legs the keeper has not even tombstoned in time."""
        settings = self._settings
        ages = [
            ((now - (each.done or each.decision).at).total_seconds(), "absent" in each.reported, each.decision.decision)
            for each in watched
            if each.decision is not None and each.stages
        ]
        self._level(Gauges.erase_unobserved_oldest_s, max((age for age, absent, _ in ages if not absent), default=0))
        overdue = {
            (name, absent)
            for age, absent, name in ages
            if age > (settings.objective_key_s if absent else settings.objective_value_s)
        }
        self._level(Gauges.erasures_overdue, len(overdue))
        self._count(Counters.objective_missed, len(overdue - self._missed))
        self._missed |= overdue
        if overdue:
            log.error("erasures are overdue: their bytes are not seen gone within the objective", erasures=len(overdue))

    async def _after_replay(self) -> None:
        """A restored keystore's file holds what was erased since: rewritten after the replay, also for the done."""
        floor = (await self._ring.view([])).floor
        if floor == self._floor:
            return
        for each in (each for watched in self._watched.values() for each in watched.values()):
            each.rewritten = False
        await self._keystore.rewrite()
        self._floor = floor
        log.info("the keystore's file is written anew after a replay", floor=floor)

    async def _rewrite(self, fresh: list[Watched]) -> None:
        """Have the keystore's file rewritten once for all that were erased since."""
        self._level(Gauges.aof_rewrite_pending, len(fresh))
        now = asyncio.get_running_loop().time()
        if not fresh or now < self._rewrite_from:
            return
        await self._keystore.rewrite()
        self._rewrite_from = now + self._settings.aof_rewrite_min_s
        outputs = [
            self._told(self._outcome(each.done, "rewritten", None))
            for each in fresh
            if each.decision and each.decision.total and each.done and not each.reported
        ]
        await self._writer.write(outputs)
        for each in fresh:
            each.rewritten = True
        self._level(Gauges.aof_rewrite_pending, 0)

    async def _look(self, partition: int, watched: dict[bytes, Watched], replicas: int, in_sync: int) -> None:
        if in_sync < replicas:
            log.warning("a replica is out of sync: no certificates", partition=partition, in_sync=in_sync)
            return
        if self._observation.rests(partition):
            return
        names = [name for each in watched.values() for name in each.names]
        seen = await self._observation.look(partition, names, replicas, in_sync)
        if seen is not None:
            await self._report(partition, watched, seen)

    async def _report(self, partition: int, watched: dict[bytes, Watched], found: LookResult) -> None:
        outputs: list[Output] = []
        for key, each in watched.items():
            if each.decision is None or each.done is None:
                continue
            how = (*found.observed.how, "keystore:rewritten") if each.decision.total else found.observed.how
            seen, by = each.seen(found.looks), msgspec.structs.replace(found.observed, how=how)
            for stage in seen:
                if stage not in each.reported and ("absent" in seen or "absent" in each.reported):
                    outcome, place = self._outcome(each.done, stage, by), key + b"." + stage.encode()
                    kept = self._outcome_key.vouched(outcome, place)
                    outputs += [self._told(outcome), Output(self._decisions, partition, place, kept)]
        if outputs:
            await self._writer.write(outputs)

    def _outcome(self, done: Outcome, stage: Any, observed: Observed | None) -> Outcome:
        return msgspec.structs.replace(
            done,
            stage=stage,
            by="auditor",
            up_to=observed.to if observed else done.up_to,
            at=self._clock.now(),
            observed=observed or msgspec.UNSET,
            tokens=msgspec.UNSET,
        )

    def _told(self, outcome: Outcome) -> Output:
        """An outcome on its way to the desk."""
        value = self._outcome_key.vouched(outcome, TO_DESK)
        return Output(self._outcomes, self._home, outcome.case.encode(), value)
