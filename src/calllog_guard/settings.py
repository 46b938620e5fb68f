"""
Settings: environment variables `CALLLOG_GUARD_…`, checked as a whole before anything starts.

Rules: 1. An unknown name is refused: a typing error must not end a protection.  2. `…_FILE` reads a secret from a file.
       3. What weakens a protection is named in DEVELOPMENT and warned about at every start.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from calllog_guard.core.addresses import is_brokers, is_page, is_prefix, is_redis
from calllog_guard.core.topics import TABLE, Topic
from calllog_guard.errors import ConfigurationError

T = TypeVar("T", str, int, float)
PREFIX: Final = "CALLLOG_GUARD_"
UNSAFE_KEYSTORE: Final = "unsafe-keystore"
"""Workers start on a Redis whose settings may lose or keep secrets, and say so; nothing is certified on it."""
DEBUG_LOG: Final = "debug-log"
"""LOG_LEVEL may be debug."""
CRASH_AT: Final = "crash-at="
"""The process dies at the step of that name; for tests."""
STOP_AT: Final = "stop-at="
"""The process is frozen at the step of that name, once, until somebody wakes it; for tests."""
LEVELS: Final = ("debug", "info", "warning", "error")
INGEST: Final = "ingest"
"""The role that takes in what platforms report; of those who name sources alone."""
SESSIONS: Final = "sessions"
"""The role that pairs joins and leaves; likewise."""
FIRST_ROLES: Final = ("protector", "desk", "keeper", "auditor")
"""Those of every installation, as of the first release's."""
ROLES: Final = (*FIRST_ROLES, INGEST, SESSIONS)
"""What a worker can be."""
_HOUR_MS: Final = 3_600_000


_REDIS_FORM: Final = "redis://host:port/number, rediss://… with TLS, or unix://path"


class Allowed(NamedTuple):
    """What a setting may be, in words and as a test."""

    words: str
    good: Callable[[Any], bool]


class Spec(NamedTuple):
    """What a setting is for, and what it may be."""

    help: str
    allowed: Allowed


_ANY: Final = Allowed("", lambda _: True)
_ABOVE_ZERO: Final = Allowed("above 0", lambda number: number > 0)
_FROM_ZERO: Final = Allowed("0 or more", lambda number: number >= 0)
_FROM_ONE: Final = Allowed("1 or more", lambda number: number >= 1)
_SHARE: Final = Allowed("above 0 and below 1", lambda number: 0 < number < 1)
_BROKERS: Final = Allowed("host:port, separated by commas", is_brokers)
_REDIS: Final = Allowed(_REDIS_FORM, is_redis)
_REDISES: Final = Allowed(_REDIS_FORM, lambda text: all(map(is_redis, filter(None, text.split(",")))))
_PAGE: Final = Allowed("host:port, with port 0 for any", is_page)
_TOPICS: Final = Allowed("letters, digits, '.', '-' and '_', as names of topics are", is_prefix)
_ROLE: Final = Allowed(f"one of {', '.join(ROLES)}", lambda text: text in {"", *ROLES})
_LEVEL: Final = Allowed(f"one of {', '.join(LEVELS)}", lambda text: text in LEVELS)


def _setting(default: T, help: str, allowed: Allowed | None = None) -> T:  # noqa: A002 - what it is called everywhere
    """One field, and all that is known of it: where nothing is said, any text, or any number above 0."""
    allowed = allowed or (_ANY if isinstance(default, str) else _ABOVE_ZERO)
    return dataclasses.field(default=default, metadata={"spec": Spec(help, allowed)})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting: default, meaning, bounds; units are in the names (S, MS, H, DAYS, BYTES)."""

    kafka: str = _setting("localhost:9092", "Kafka's brokers, host:port, separated by commas", _BROKERS)
    kafka_security: str = _setting("{}", "TLS and passwords for Kafka, as a JSON object of client options")
    keystore: str = _setting("redis://localhost:6379/0", "Redis that holds people's secrets", _REDIS)
    keystore_replicas: int = _setting(0, "How many replicas of Redis must have a write before it counts", _FROM_ZERO)
    keystore_replica_urls: str = _setting(
        "", "Where workers reach these replicas; empty: as the master names them", _REDISES
    )
    kms: str = _setting("local:./kms", "The wrapping keys: local:FOLDER (development), awskms:REGION, vault://HOST")
    ring: str = _setting("", "Folder of wrapped keys that all workers share; empty: the folder of a local KMS")
    epoch_cache_s: float = _setting(300, "How long an opened wrapping key may be used before the KMS is asked again")
    policy: str = _setting("./policy.toml", "The policy file")
    tenant: str = _setting("", "Whom this process serves; needed only where the policy names several tenants")
    role: str = _setting("", "Which worker `faust -A calllog_guard.app worker` runs", _ROLE)
    state_dir: str = _setting("./state", "Local folder for what a worker can build anew: index, places, journals")
    operator_key: str = _setting("./keys/operator-1.pub.pem", "The public key to which dead letters are sealed")
    actor_key: str = _setting("", "The private key of the actor that reads, a PEM file: with it accesses are signed")
    calllog_prefix: str = _setting("calllog.", "How topics of calls and consumer groups begin", _TOPICS)
    privacy_prefix: str = _setting("privacy.", "How topics of requests begin", _TOPICS)
    partitions: int = _setting(48, "Partitions of legs, copies and decisions; fixed for ever at creation")
    replicas: int = _setting(3, "Replicas of each topic at its creation; from 3 on two must have a write")
    unit_records: int = _setting(1000, "The most records that are handled as one unit")
    unit_bytes: int = _setting(4_194_304, "The most bytes of a unit, unpacked")
    unit_parties: int = _setting(10_000, "The most parties of calls in a unit")
    unit_wait_ms: int = _setting(100, "How long a poll waits for records")
    commit_ms: int = _setting(1000, "How often offsets are committed")
    session_ms: int = _setting(45_000, "After how long of silence Kafka gives a worker's partitions to another")
    cache_s: int = _setting(60, "How long a person's opened key may stay in a worker's memory")
    cache_entries: int = _setting(50_000, "The most people whose opened keys a worker keeps in memory")
    silent_s: float = _setting(10, "After how long of silence a worker says that it is not alive, or not ready")
    clock_apart_s: float = _setting(300, "How far clock and brokers may differ before nothing irreversible is done")
    retry_max_s: float = _setting(
        300, "After how long of retries a worker says that it is not alive; it goes on trying"
    )
    unit_max_s: float = _setting(300, "How long a unit may try to write to Kafka before the worker halts")
    sweep_s: float = _setting(900, "How often keepers look for what has lapsed")
    sweep_records: int = _setting(10_000, "The most records that one portion of a sweep takes")
    sweep_share: float = _setting(0.25, "Above what share of a partition a sweep waits for an officer")
    event_late_days: int = _setting(35, "How old a call may be when its event arrives")
    event_skew_s: float = _setting(
        5, "How far clocks may differ: who left this much before joining left at once (level 2)", _FROM_ZERO
    )
    event_ahead_s: int = _setting(300, "How far in the future a time of an event may lie, by the broker's clock")
    event_max_bytes: int = _setting(262_144, "The largest event")
    events_keep_h: int = _setting(24, "How long topics of events keep plain text at most")
    session_limit_h: int = _setting(
        24, "After how many hours somebody has left a call whose leave never came, nor the call's end"
    )
    dead_keep_days: int = _setting(7, "How long dead letters are kept")
    exports_keep_days: int = _setting(30, "How long sealed answers can be fetched")
    receipts_keep_days: int = _setting(2190, "How long receipts are kept in their topic")
    cases_keep_days: int = _setting(1095, "How long a case is remembered after its end")
    access_keep_days: int = _setting(1095, "How long it is remembered who opened what")
    compaction_lag_ms: int = _setting(
        3_600_000, "How long Kafka may wait before it compacts: most of the time to absence"
    )
    tombstone_keep_ms: int = _setting(86_400_000, "How long a tombstone stays for slow readers")
    heartbeat_s: float = _setting(600, "How often the auditor writes into each partition, so that it is compacted")
    trim_s: float = _setting(60, "How often the auditor cuts the topics of plain text behind the workers")
    trim_behind_s: float = _setting(3600, "How far behind the workers it cuts", _FROM_ZERO)
    trim_groups: str = _setting("", "Your own groups that must have read the events before it cuts, by commas")
    lag_share: float = _setting(0.5, "After what share of a topic's time something unread is an alarm", _SHARE)
    prolong_most: float = _setting(4, "How many times longer a topic may keep what is unread; 1: never", _FROM_ONE)
    watch_s: float = _setting(300, "How often the auditor compares settings and looks at lags")
    observe_s: float = _setting(600, "How long a partition rests after a look at it")
    absence_after_s: float = _setting(300, "From the last tombstone to the observation; not below UNIT_MAX_S")
    log_dirs: str = _setting("", "The brokers' log directories where this machine can read them, separated as in PATH")
    cleaner_pages: str = _setting("", "Metrics pages of the brokers that show the log cleaner, by commas")
    walk_s: float = _setting(3600, "How often the auditor walks the keystore")
    epoch_days: int = _setting(7, "After how many days a new wrapping key is made")
    backup_window_days: int = _setting(14, "For how long a backup of the keystore may have to be restored", _FROM_ZERO)
    aof_rewrite_min_s: float = _setting(
        300, "The least time between two rewrites of Redis' append-only file", _FROM_ZERO
    )
    objective_value_s: float = _setting(5400, "Within what time an erased value should be seen gone; later is an alarm")
    objective_key_s: float = _setting(
        108_000, "Within what time the tombstone's key should be seen gone; later is an alarm"
    )
    http: str = _setting("127.0.0.1:6066", "Where a worker serves /health and /metrics; port 0 takes any", _PAGE)
    ingest: str = _setting("./ingest.toml", "The file that names the sources of `worker ingest`")
    ingest_http: str = _setting("127.0.0.1:6080", "Where `worker ingest` takes webhooks; port 0 takes any", _PAGE)
    ingest_body_bytes: int = _setting(524_288, "The largest body of a webhook")
    ingest_answer_s: float = _setting(3, "Within what time a webhook is answered: taken, or to be sent again")
    log_level: str = _setting("info", "debug, info, warning or error", _LEVEL)
    development: str = _setting("", "Protections that are off, faults that are staged; warned about at start")

    def topic(self, name: str) -> str:
        """The full name of `calllog.legs` and its like, with this installation's prefixes."""
        if name not in TABLE:
            raise ConfigurationError(f"no topic of ours is called {name}")
        family, _, rest = name.partition(".")
        return (self.calllog_prefix if family == "calllog" else self.privacy_prefix) + rest

    def partitions_of(self, topic: Topic) -> int:
        """How many partitions a topic is created with."""
        return {"many": self.partitions, "few": self.few_partitions, "one": 1}[TABLE[topic].partitions]

    def kept_ms(self, topic: Topic) -> int | None:
        """How long a topic keeps its records; None: for ever, or as long as the policy says."""
        kept = TABLE[topic].kept
        if kept is None or isinstance(kept, int):
            return kept and kept * 24 * _HOUR_MS
        hours = int(getattr(self, kept)) * (1 if unit_of(kept) == "hours" else 24)
        return (hours * TABLE[topic].kept_times + TABLE[topic].kept_more_h) * _HOUR_MS

    @property
    def few_partitions(self) -> int:
        """The partition count of topics that are partitioned by tenant."""
        return max(1, self.partitions // 4)

    @property
    def off(self) -> frozenset[str]:
        """The protections that are off, or the faults that are staged, by name."""
        return frozenset(filter(None, (word.strip() for word in self.development.split(","))))


SPECS: Final[Mapping[str, Spec]] = {field.name: field.metadata["spec"] for field in dataclasses.fields(Settings)}
"""What is known of each setting beside its default."""
UNITS: Final[Mapping[str, str]] = {
    "ms": "milliseconds",
    "s": "seconds",
    "seconds": "seconds",
    "h": "hours",
    "days": "days",
    "bytes": "bytes",
    "share": "share",
}


def unit_of(name: str) -> str:
    """The unit of a setting or a metric: the last word of its name."""
    return UNITS.get(name.rpartition("_")[2], "")


def _content(variable: str, name: str) -> str:
    """What is in the file that a `…_FILE` names."""
    try:
        return Path(name).read_text("utf-8").strip()
    except OSError as error:
        raise ConfigurationError(f"{variable} names a file that cannot be read: {error.strerror}") from None
    except ValueError:  # no UTF-8, or a name that none can have
        raise ConfigurationError(f"{variable} names a file that is no UTF-8 text") from None


def _check_words(settings: Settings) -> None:
    if any(
        word not in {UNSAFE_KEYSTORE, DEBUG_LOG} and not word.startswith((CRASH_AT, STOP_AT)) for word in settings.off
    ):
        raise ConfigurationError(
            f"{PREFIX}DEVELOPMENT may name {UNSAFE_KEYSTORE}, {DEBUG_LOG}, {CRASH_AT}STEP and {STOP_AT}STEP, separated "
            "by commas, and nothing else"
        )
    if settings.log_level == "debug" and DEBUG_LOG not in settings.off:
        raise ConfigurationError(
            f"{PREFIX}LOG_LEVEL debug is for development only: name {DEBUG_LOG} in {PREFIX}DEVELOPMENT"
        )


def _value(variable: str, text: str, kind: Callable[[str], Any], allowed: Allowed) -> Any:
    """A value of its kind and within its bounds; only a number is told, for any other value may hold a password."""
    if kind is str:
        if not allowed.good(text):
            raise ConfigurationError(f"{variable} must be {allowed.words}")
        return text
    wanted = f"{variable} must be a {'whole ' if kind is int else ''}number, {allowed.words}"
    try:
        value = kind(text)
    except ValueError:
        raise ConfigurationError(f"{wanted}, and is none") from None
    if not allowed.good(value) or value == math.inf:
        raise ConfigurationError(f"{wanted}, and is {value}")
    return value


def from_environment(environment: Mapping[str, str]) -> Settings:
    """
    The settings of an environment.

    Raises:
        ConfigurationError: An unknown name, or a value of the wrong kind or out of its bounds.

    """
    kinds: dict[str, Any] = {field.name: field.type for field in dataclasses.fields(Settings)}
    found: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX):
            continue
        name, value = variable.removeprefix(PREFIX).lower(), text
        if name.endswith("_file") and name.removesuffix("_file") in kinds:
            name, value = name.removesuffix("_file"), _content(variable, text)
        if name not in kinds:
            raise ConfigurationError(f"unknown setting {variable}; the names are listed in docs/reference/settings.md")
        found[name] = _value(variable, value, kinds[name], SPECS[name].allowed)
    settings = Settings(**found)
    _check_words(settings)
    return settings
