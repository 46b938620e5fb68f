"""
Every number that a process counts or shows: its name, its meaning, its labels; the unit is in the name.

Rules: 1. A number is declared here, once.  Who counts names the attribute: a name that is not declared fails mypy.
       2. No label names a person.
       3. Values belong to one `Metrics`, one per process.  Nothing is registered globally.
Not here: the page that serves them (`adapters/http/pages.py`), the table of them (`docs/reference/metrics.md`).
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, TypeVar

_US: Final = 1_000_000


class Metric:
    """A number: one that has no labels, or one of a `Labelled` family with the values of its labels."""

    def __init__(self, meaning: str, name: str = "", values: tuple[str, ...] = ()) -> None:
        self.meaning, self.name, self.values = meaning, name, values
        self.labels: tuple[str, ...] = ()

    def __set_name__(self, _owner: type, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return "_".join(filter(None, (self.name, "/".join(self.values))))

    __repr__ = __str__


class CounterMetric(Metric):
    """A number that only grows."""


class SummaryMetric(CounterMetric):
    """How often something happened and how long it took in all; it grows by microseconds."""


class GaugeMetric(Metric):
    """A present value; it is on the page once it was set."""


M = TypeVar("M", bound=Metric)


class Labelled(Generic[M]):
    """A family of numbers, `family[value]` or `family[value, value]`: the same number each time."""

    def __init__(self, kind: type[M], meaning: str, *labels: str) -> None:
        self.kind, self.meaning, self.labels = kind, meaning, labels
        self.name, self._known = "", dict[tuple[str, ...], M]()

    def __set_name__(self, _owner: type, name: str) -> None:
        self.name = name

    def __getitem__(self, values: str | tuple[object, ...]) -> M:
        each = (values,) if isinstance(values, str) else tuple(map(str, values))
        found = self._known.get(each)
        if found is None:
            if len(each) != len(self.labels):
                raise ValueError(f"{self.name} has {len(self.labels)} labels, {len(each)} are given")
            found = self._known[each] = self.kind(self.meaning, self.name, tuple(map(str, each)))
        return found


class Counters:
    """What only grows."""

    units = CounterMetric("Polls handled, with all outputs acknowledged")
    units_repeated = CounterMetric("Units done again because a person entry changed meanwhile")
    retries = CounterMetric("Waits for something silent")
    secrets_minted = CounterMetric("Persons given new secrets")
    legs_written = CounterMetric("Legs written")
    taken_up = CounterMetric("Parts of calls that waited for their person's entries, and wait no more")
    objective_missed = CounterMetric("Erasures not seen gone within the objective, once per objective")
    decisions_waited = CounterMetric("Decisions that began to wait for an entry of the keystore")
    decisions_failed = CounterMetric("Decisions that cannot be carried out at all: an officer must look")
    cases_waited = CounterMetric("Granted cases that began to wait for a person's entry")
    cases_restored = CounterMetric("Cases written again behind an older state, or one that is none of ours")
    counter_leaps = CounterMetric("Counters of the keystore far above all that were seen: nobody believes them")
    erased_unreadable = CounterMetric("Erasures without copies for the law: the person's key could not be used")
    legs_moved = CounterMetric("Decisions that waited because a leg was replaced while it was read")
    legs_lost = CounterMetric("Legs of the index that are not in the log: a broker has lost them")
    legs_renewed = CounterMetric("Old legs of restricted people appended again, before the topic forgets them")
    legs_expired = CounterMetric("Legs tombstoned because their last purpose lapsed")
    legs_counted = CounterMetric("Lapsing legs counted for statistics before they were tombstoned")
    cells_published = CounterMetric("Cells of statistics published, each with ten people or more behind it")
    cells_untold = CounterMetric("Cells of statistics that are never published: fewer people stand behind them")
    tallies_lost = CounterMetric("Sealed counts that open no more, and so count nothing")
    on_sight_tombstones = CounterMetric("Legs of erased persons tombstoned on sight")
    guard_replayed = CounterMetric("Decisions applied again to a keystore that was restarted or restored")
    guard_choices_lost = CounterMetric("Choices that a restored keystore forgot; their people are restricted now")
    guard_keys_lost = CounterMetric("People with legs whose key a restored keystore does not have")
    sweeps_held_back = CounterMetric("Sweeps that would take more of a partition at once than they may")
    clocks_apart = CounterMetric("How often the own clock and the brokers' began to differ by more than CLOCK_APART_S")
    heartbeats = CounterMetric("Heartbeats written")
    trimmed_partitions = CounterMetric("Partitions of plaintext topics cut behind what is committed")
    observed_partitions = CounterMetric("Looks at a partition by the observation of absence")
    observed_records = CounterMetric("Records read by the observation of absence, from the log and from disks")
    observed_bytes = CounterMetric("Bytes read by the observation of absence, from the log and from disks")
    legs_removed = CounterMetric("Legs tombstoned because an event names their party as removed")
    calls_reused = CounterMetric("Legs that replaced one of the same call id, of another day")
    revisions_superseded = CounterMetric("Legs that went because a newer revision of theirs is there")
    dead = Labelled(CounterMetric, "Messages that became dead letters", "reason")
    events_suppressed = Labelled(CounterMetric, "Parties of events that left no leg", "reason")
    events_mended = Labelled(CounterMetric, "Times of events that were mended: skew, leap_second", "reason")
    records = Labelled(CounterMetric, "Records by what became of them", "fate")
    keystore_answers = Labelled(CounterMetric, "What the keystore said of persons", "answer")
    parked = Labelled(CounterMetric, "Parts of calls that began to wait for their person's entries", "reason")
    moments = Labelled(CounterMetric, "Joins, leaves, begins and ends that were read to be paired", "what")
    stays = Labelled(CounterMetric, "Stays that were told as events: open, exact, estimated", "how")
    unreadable = Labelled(CounterMetric, "Records that are none of ours, passed over", "reason")
    records_lost = Labelled(CounterMetric, "Records gone before they were read, at most", "topic", "partition")
    reads = Labelled(CounterMetric, "Legs and copies that readers opened or were refused", "purpose", "result")
    access_unproven = Labelled(CounterMetric, "Records of accesses that their actor did not prove", "reason")
    webhooks = Labelled(CounterMetric, "Webhooks by what they were answered", "source", "status")
    webhooks_refused = Labelled(CounterMetric, "Webhooks that their platform has not signed", "source", "reason")
    notifications_taken = Labelled(CounterMetric, "Events and moments made of platforms' messages", "source")
    notifications_skipped = Labelled(
        CounterMetric, "Items of platforms' messages that a rule of the mapping skips", "source", "reason"
    )
    policy_refused = Labelled(CounterMetric, "Published policy versions that changed nothing", "reason")


class Summaries:
    """What takes time."""

    unit_seconds = SummaryMetric("Time of a unit, waits included")
    webhook_seconds = SummaryMetric("Time from a webhook's last byte to its answer")
    erase_stage_seconds = Labelled(
        SummaryMetric,
        "Time of an erasure to a stage, from the one before; absent and gone from the tombstones",
        "stage",
    )


class Gauges:
    """Present values."""

    alive = GaugeMetric("Whether the committed offset can move")
    watched_erasures = GaugeMetric("Erasures whose last trace is not yet seen gone")
    erase_unobserved_oldest_s = GaugeMetric("Age of the oldest erasure that is not yet seen absent")
    erasures_overdue = GaugeMetric("Erasures whose bytes are not seen gone within the objective, now")
    observe_seconds = GaugeMetric("How long the last look at a partition took")
    parked_parts = GaugeMetric("Parts of calls that wait for their person's entries, now")
    parked_people = GaugeMetric("Whose parts these are: how many people")
    parked_oldest_s = GaugeMetric("For how long the oldest of them has waited")
    decisions_waiting = GaugeMetric("Decisions that wait for one person's entry, one hold's or an upgrade, now")
    people_unjudged = GaugeMetric("People whose new legs wait until the rules about them can be read")
    cases_waiting = GaugeMetric("Granted cases that wait for one person's entry, now")
    guard_lag = GaugeMetric("Partitions whose ledger is not yet replayed against the present run of the keystore")
    heartbeat_age_s = GaugeMetric("Since the last heartbeat was written")
    clock_ahead_s = GaugeMetric("How far the own clock was ahead of the broker that differs most")
    walk_age_s = GaugeMetric("Since the last keystore walk ended, where this worker walks")
    trim_lag_records = GaugeMetric("Records of plaintext topics that all have consumed and that are still there")
    sweep_held_back_records = GaugeMetric("Lapsed records that wait for an officer: calllog-guard expiry")
    sweep_overdue_records = GaugeMetric("Lapsed legs left to the next portion of a sweep, at least")
    sweep_oldest_overdue_s = GaugeMetric("How long the oldest of them is overdue")
    cleaner_blocked_partitions = GaugeMetric("Partitions in which an open transaction holds compaction back")
    cleaner_uncleanable = GaugeMetric("Partitions that a broker's log cleaner has given up")
    cleaner_dead_threads = GaugeMetric("Threads of the brokers' log cleaners that died")
    cleaner_silent_pages = GaugeMetric("Brokers whose page of CLEANER_PAGES is silent or shows no log cleaner")
    cleaner_delay_s = GaugeMetric("The longest that a log waits for its cleaning beyond max.compaction.lag.ms")
    epochs_alive = GaugeMetric("Epochs whose wrapping key is not destroyed")
    partitions_with_gaps = GaugeMetric("Partitions of which records are gone unread, which no officer has accepted yet")
    partitions_beyond = GaugeMetric("Partitions beyond those that topics were created with, which nobody reads")
    records_beyond = GaugeMetric("Offsets that lie in them")
    topics_missing = GaugeMetric("Topics of events that Kafka does not have")
    topics_larger = GaugeMetric("Topics with more partitions than they were created with, which nobody reads")
    lag_records = GaugeMetric("Records between what is handled and the ends of the assigned partitions")
    committed_age_s = GaugeMetric("How long the committed offset stands still while there is lag")
    aof_rewrite_pending = GaugeMetric("Erasures whose keys may still lie in the keystore's file")
    cases_overdue = GaugeMetric("Cases in which an answer is owed and whose due date is over")
    case_next_due_s = GaugeMetric("Until the next due date, below zero once it is over; 0 too when no case is open")
    brake_engaged = GaugeMetric("Brakes that are engaged: requests under them wait for an officer")
    notices_unacknowledged_oldest_s = GaugeMetric("Age of the oldest notice that nobody has acknowledged")
    notices_overdue = GaugeMetric("Notices that were to be acknowledged by now")
    unread_age_s = Labelled(GaugeMetric, "Age of the oldest record that its group has not read", "topic")
    unread_near_end = Labelled(GaugeMetric, "Whether that record nears the end of its topic's time", "topic")
    retention_prolonged = Labelled(
        GaugeMetric, "By what part of its time a topic is kept longer for what is unread", "topic"
    )
    policy_info = Labelled(GaugeMetric, "The policy version in force", "version")
    governed_drift = Labelled(GaugeMetric, "Governed settings that are (1) or were (0) not as they must be", "setting")
    keystore_entries = Labelled(GaugeMetric, "Entries of the keystore, as the last walk met them", "state")
    cases_open = Labelled(GaugeMetric, "Cases in which an answer is owed", "type", "waits_for")


Row = Metric | Labelled[Any]
Increment = Callable[[CounterMetric, int], None]
SetGauge = Callable[[GaugeMetric, float], None]
ROWS: Final[tuple[Row, ...]] = tuple(
    each
    for table in (Gauges, Summaries, Counters)
    for each in vars(table).values()
    if isinstance(each, Metric | Labelled)
)
"""Every declared number."""


def kind_of(row: Row) -> type[Metric]:
    """What a declared number is."""
    return row.kind if isinstance(row, Labelled) else type(row)


class Metrics:
    """The values of one process."""

    def __init__(self) -> None:
        self._values: dict[Metric, float] = {}
        self._times: dict[Metric, int] = {}

    def count(self, which: CounterMetric, by: int) -> None:
        """Add to a number that grows."""
        self._values[which] = self._values.get(which, 0) + by
        if isinstance(which, SummaryMetric):
            self._times[which] = self._times.get(which, 0) + 1

    def level(self, which: GaugeMetric, value: float) -> None:
        """Show a present value."""
        self._values[which] = value

    def alone(self, which: GaugeMetric) -> None:
        """Show 1 for this one of its family, and no other."""
        self._values = {each: value for each, value in self._values.items() if each.name != which.name} | {which: 1}

    def totals(self) -> dict[str, float]:
        """What has grown, for the last line of a process."""
        return {str(each): value for each, value in self._values.items() if isinstance(each, CounterMetric)}

    def rows(self) -> Iterator[tuple[Row, list[tuple[Metric, tuple[float, ...]]]]]:
        """Each declared number that the page shows, with its values: of a summary how often, and seconds."""
        by_name: dict[str, list[Metric]] = {}
        for each in self._values:
            by_name.setdefault(each.name, []).append(each)
        for row in ROWS:
            found = sorted(by_name.get(row.name, ()), key=lambda each: each.values)
            if not found and isinstance(row, CounterMetric):
                found = [row]
            if found or isinstance(row, Labelled):
                yield row, [(each, self._value(each)) for each in found]

    def _value(self, which: Metric) -> tuple[float, ...]:
        value = self._values.get(which, 0)
        return (self._times.get(which, 0), value / _US) if isinstance(which, SummaryMetric) else (value,)
