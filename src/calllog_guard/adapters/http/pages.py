"""
`/health` and `/metrics` of a worker, or of a reader that follows.

Alive means: the servers answer, and no retry lasts longer than RETRY_MAX_S.  Ready means: partitions are assigned, their seeks
confirmed, and nothing waits.  Labels are roles, reasons and fates; no metric knows a person.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

from calllog_guard.errors import ConfigurationError

_PREFIX: Final = "calllog_guard_"
_LEAVE_S: Final = 1.0
_STAGE_N: Final = "erase_stage_n_"
_LABELLED: Final = {
    "dead_": ("dead", ("reason",), "Messages that became dead letters"),
    "suppressed_": ("events_suppressed", ("reason",), "Parties of events that left no leg"),
    "records_": ("records", ("fate",), "Records by what became of them"),
    "answer_": (
        "keystore_answers",
        ("answer",),
        "What the keystore said of persons: live, erased, unknown, missing (a live person's key), unavailable, corrupt",
    ),
    "parked_": (
        "parked",
        ("reason",),
        "Parts of calls that wait for their person's entries, by what is wrong with these",
    ),
    "unreadable_": ("unreadable", ("reason",), "Records that are none of ours, passed over"),
    "lost_": (
        "records_lost",
        ("topic", "partition"),
        "Records that were gone before they were read, at most; see topics accept",
    ),
    "reads_": ("reads", ("purpose", "result"), "Legs and copies that readers opened, or were refused for which reason"),
    "access_unproven_": (
        "access_unproven",
        ("reason",),
        "Records of accesses that are believed by nobody: their actor had to prove them and has not",
    ),
    "policy_refused_": ("policy_refused", ("reason",), "Published policy versions that changed nothing"),
}
_PLAIN: Final = {
    "units": "Polls handled, with all outputs acknowledged",
    "units_repeated": "Units done again because a person entry changed meanwhile",
    "retries": "Waits for something silent",
    "secrets_minted": "Persons given new secrets",
    "legs_written": "Legs written",
    "taken_up": "Parts of calls that waited for their person's entries, and wait no more",
    "objective_missed": "Erasures whose bytes were not seen gone within the objective, each counted once per objective",
    "decisions_waited": "Decisions that could not be carried out for one person's entry, one hold's or one case's, when they began to wait",
    "decisions_failed": "Decisions that cannot be carried out at all: an officer must look",
    "cases_waited": "Granted cases that could not be carried out for one person's entry, when they began to wait",
    "cases_restored": "Cases written again, because something older or none of ours was written behind them",
    "counter_leaps": "How often the keystore's counter was far above all that were seen: somebody has written it, and nobody believes it",
    "erased_unreadable": "Erasures of people whose key could not be used, so that nothing of theirs was copied for the law",
    "legs_moved": "Decisions that waited because a leg was replaced while it was read",
    "legs_lost": "Legs of the index that are not in the log: a broker has lost them",
    "legs_renewed": "Old legs of restricted people that were appended again, before the topic forgets them",
    "legs_expired": "Legs tombstoned because their last purpose lapsed",
    "legs_counted": "Lapsing legs counted for statistics before they were tombstoned",
    "cells_published": "Cells of statistics published, each with ten people or more behind it",
    "cells_untold": "Cells of statistics that are never published: fewer people stand behind them",
    "tallies_lost": "Sealed counts that open no more, and so count nothing",
    "on_sight_tombstones": "Legs of erased persons tombstoned on sight",
    "guard_replayed": "Decisions applied again to a keystore that was restarted or restored",
    "guard_choices_lost": "Decisions against the use of records that a restored keystore does not know, whose people are restricted now",
    "guard_keys_lost": "People with legs whose key a restored keystore does not have",
    "sweeps_held_back": "How often a sweep would have taken more of a partition at once than it may by itself",
    "clocks_apart": "How often the own clock and the brokers' began to differ by more than CLOCK_APART_S",
    "heartbeats": "Heartbeats written",
    "trimmed_partitions": "Partitions of plaintext topics cut behind what is committed",
    "observed_partitions": "Looks at a partition by the observation of absence",
    "observed_records": "Records read by the observation of absence, from the log and from disks",
    "observed_bytes": "Bytes read by the observation of absence, from the log and from disks",
}
_LABELLED_LEVELS: Final = {
    "unread_age_s_": (
        "unread_age_s",
        ("topic",),
        "How long the oldest record that its group has not read has been waiting",
    ),
    "unread_near_end_": (
        "unread_near_end",
        ("topic",),
        "Whether it nears the end of the time for which its topic keeps it",
    ),
    "retention_prolonged_": (
        "retention_prolonged",
        ("topic",),
        "By what part of its time a topic is kept longer, while something unread is in it",
    ),
    "policy_info_": ("policy_info", ("version",), "The policy version in force"),
    "governed_drift_": (
        "governed_drift",
        ("setting",),
        "Governed settings that are (1) or were (0) not as the bound needs",
    ),
    "keystore_entries_": ("keystore_entries", ("state",), "Entries of the keystore, as the last walk met them"),
    "cases_open_": ("cases_open", ("type", "waits_for"), "Cases in which an answer is owed"),
}
"""The values of several labels are joined by a slash."""
_LEVELS: Final = {
    "watched_erasures": "Erasures whose last trace is not yet seen gone",
    "erase_unobserved_oldest_s": "Age of the oldest erasure that is not yet seen absent",
    "erasures_overdue": "Erasures whose bytes are not seen gone within the objective, now",
    "observe_seconds": "How long the last look at a partition took",
    "parked_parts": "Parts of calls that wait for their person's entries, now",
    "parked_people": "Whose parts these are: how many people",
    "parked_oldest_s": "For how long the oldest of them has waited",
    "decisions_waiting": "Decisions that wait for one person's entry, one hold's or an upgrade, now",
    "people_unjudged": "People whose legs came when the rules about them could not be read, and are judged once they can",
    "cases_waiting": "Granted cases that wait for one person's entry, now",
    "guard_lag": "Partitions whose ledger is not yet replayed against the present run of the keystore",
    "heartbeat_age_s": "Since the last heartbeat was written",
    "clock_ahead_s": "How far the own clock was ahead of the broker from which it differs most, when last compared",
    "walk_age_s": "Since the last keystore walk ended, where this worker walks",
    "trim_lag_records": "Records of plaintext topics that all have consumed and that are still there",
    "sweep_held_back_records": "Lapsed records that a sweep would take at once, and that wait for an officer: calllog-guard expiry",
    "sweep_overdue_records": "Lapsed legs that the last portion of a sweep had to leave to the next, at least",
    "sweep_oldest_overdue_s": "How long the oldest of them is overdue",
    "cleaner_blocked_partitions": "Partitions in which an open transaction holds compaction back",
    "cleaner_uncleanable": "Partitions that a broker's log cleaner has given up",
    "cleaner_dead_threads": "Threads of the brokers' log cleaners that died",
    "cleaner_silent_pages": "Brokers whose page of CLEANER_PAGES is silent or shows no log cleaner",
    "cleaner_delay_s": "The longest that a log waits for its cleaning beyond max.compaction.lag.ms",
    "epochs_alive": "Epochs whose wrapping key is not destroyed",
    "partitions_with_gaps": "Partitions of which records are gone unread, which no officer has accepted yet",
    "partitions_beyond": "Partitions beyond those that topics were created with, which nobody reads",
    "records_beyond": "Offsets that lie in them",
    "topics_missing": "Topics of events that Kafka does not have",
    "topics_larger": "Topics with more partitions than they were created with, which nobody reads",
    "lag_records": "Records between what is handled and the ends of the assigned partitions",
    "committed_age_s": "How long the committed offset stands still while there is lag",
    "aof_rewrite_pending": "Erasures whose keys may still lie in the keystore's file",
    "cases_overdue": "Cases in which an answer is owed and whose due date is over",
    "case_next_due_s": "Until the next due date, below zero once it is over; 0 too when no case is open",
    "brake_engaged": "Brakes that are engaged: requests under them wait for an officer",
    "notices_unacknowledged_oldest_s": "Age of the oldest notice that nobody has acknowledged",
    "notices_overdue": "Notices that were to be acknowledged by now",
}


_OF_THE_LOG: Final = frozenset({"lag_records"})
"""What nobody knows while the brokers are silent: not a number."""


class Health(Protocol):
    """What the pages say of their process."""

    @property
    def alive(self) -> bool:
        """Whether the committed offset can move."""

    @property
    def ready(self) -> bool:
        """Whether work that came now would be done."""

    @property
    def why(self) -> str:
        """Why it is not alive, or not ready."""

    @property
    def blind(self) -> bool:
        """Whether nothing is known of the log now."""


class Numbers(Collector):
    """The counters of a worker as Prometheus reads them."""

    def __init__(self, role: str, counts: Counter[str], levels: Mapping[str, float], health: Health) -> None:
        self._role, self._counts, self._levels, self._health = role, counts, levels, health

    def collect(self) -> Iterator[Any]:
        """See Collector."""
        gauge = GaugeMetricFamily(_PREFIX + "alive", "Whether the committed offset can move", labels=["role"])
        gauge.add_metric([self._role], float(self._health.alive))
        yield gauge
        spent = SummaryMetricFamily(_PREFIX + "unit_seconds", "Time of a unit, waits included", labels=["role"])
        spent.add_metric([self._role], self._counts["units"], self._counts["unit_us"] / 1e6)
        yield spent
        for name, text in _PLAIN.items():
            plain = CounterMetricFamily(_PREFIX + name, text, labels=["role"])
            plain.add_metric([self._role], self._counts[name])
            yield plain
        for name, value in sorted(self._levels.items()):
            if name in _LEVELS:
                unknown = name in _OF_THE_LOG and self._health.blind
                level = GaugeMetricFamily(_PREFIX + name, _LEVELS[name], labels=["role"])
                level.add_metric([self._role], math.nan if unknown else value)
                yield level
        for start, (name, labels, text) in _LABELLED_LEVELS.items():
            level = GaugeMetricFamily(_PREFIX + name, text, labels=["role", *labels])
            for key, value in sorted(self._levels.items()):
                if key.startswith(start):
                    level.add_metric([self._role, *key.removeprefix(start).split("/")], value)
            yield level
        yield self._stages()
        for start, (name, labels, text) in _LABELLED.items():
            family = CounterMetricFamily(_PREFIX + name, text, labels=["role", *labels])
            for key, many in sorted(self._counts.items()):
                if key.startswith(start):
                    family.add_metric([self._role, *key.removeprefix(start).split("/", len(labels) - 1)], many)
            yield family

    def _stages(self) -> SummaryMetricFamily:
        """How long erasures took to each stage."""
        text = (
            "Seconds to this stage of an erasure: absent and gone since the tombstones, others since the stage before"
        )
        found = SummaryMetricFamily(_PREFIX + "erase_stage_seconds", text, labels=["role", "stage"])
        for key, many in sorted(self._counts.items()):
            if key.startswith(_STAGE_N):
                stage = key.removeprefix(_STAGE_N)
                found.add_metric([self._role, stage], many, self._counts[f"erase_stage_ms_{stage}"] / 1000)
        return found


class Pages:
    """The two pages of one process."""

    def __init__(self, role: str, counts: Counter[str], levels: Mapping[str, float], health: Health) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(Numbers(role, counts, levels, health))
        self._role, self._health_of = role, health
        self._runner: web.AppRunner | None = None

    async def start(self, address: str) -> str:
        """
        Serve on `host:port`, port 0 for any; the address that was taken.

        Raises:
            ConfigurationError: The address is taken or is none.

        """
        host, _, port = address.rpartition(":")
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_LEAVE_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, int(port)).start()
        except (OSError, ValueError):
            raise ConfigurationError(
                f"cannot serve on {address}: set CALLLOG_GUARD_HTTP, or a reader's http, to a free host:port, or to :0"
            ) from None
        taken = self._runner.addresses[0]
        return f"{taken[0]}:{taken[1]}"

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _health(self, _: web.Request) -> web.Response:
        it = self._health_of
        said = {"role": self._role, "alive": it.alive, "ready": it.ready} | ({"why": it.why} if it.why else {})
        return web.json_response(said, status=200 if it.alive and it.ready else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": "text/plain; version=0.0.4"})
