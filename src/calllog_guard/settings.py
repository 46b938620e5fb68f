"""
Settings: environment variables `CALLLOG_GUARD_…`, checked as a whole before anything starts.

Rules: 1. An unknown name is refused: a typing error must not switch a protection off.  2. `…_FILE` reads a secret from a file.
       3. What weakens a protection is named in DEVELOPMENT and warned about at every start.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from calllog_guard.core.addresses import is_brokers, is_page, is_prefix, is_redis
from calllog_guard.errors import ConfigurationError

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
_MAY_BE_ZERO: Final = frozenset({"trim_behind_s", "aof_rewrite_min_s", "backup_window_days", "keystore_replicas"})
ROLES: Final = ("protector", "desk", "keeper", "auditor")
"""What a worker can be."""
REQUESTS_KEEP_DAYS: Final = 7
"""How long requests and notices stay in their topics; requests are trimmed long before."""
_GOVERNED: Final = ("calllog", "privacy")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting, with its default; units are in the names (S, MS, H, DAYS, BYTES)."""

    kafka: str = "localhost:9092"
    kafka_security: str = "{}"
    keystore: str = "redis://localhost:6379/0"
    keystore_replicas: int = 0
    keystore_replica_urls: str = ""
    kms: str = "local:./kms"
    ring: str = ""
    epoch_cache_s: float = 300
    policy: str = "./policy.toml"
    tenant: str = ""
    state_dir: str = "./state"
    operator_key: str = "./keys/operator-1.pub.pem"
    actor_key: str = ""
    calllog_prefix: str = "calllog."
    privacy_prefix: str = "privacy."
    partitions: int = 48
    replicas: int = 3
    unit_records: int = 1000
    unit_bytes: int = 4_194_304
    unit_parties: int = 10_000
    unit_wait_ms: int = 100
    commit_ms: int = 1000
    session_ms: int = 45_000
    cache_s: int = 60
    cache_entries: int = 100_000
    silent_s: float = 10
    clock_apart_s: float = 300
    retry_max_s: float = 300
    unit_max_s: float = 300
    sweep_s: float = 900
    sweep_records: int = 10_000
    sweep_share: float = 0.25
    event_late_days: int = 35
    event_ahead_s: int = 300
    event_max_bytes: int = 262_144
    events_keep_h: int = 24
    dead_keep_days: int = 7
    exports_keep_days: int = 30
    receipts_keep_days: int = 2190
    cases_keep_days: int = 1095
    access_keep_days: int = 1095
    compaction_lag_ms: int = 3_600_000
    tombstone_keep_ms: int = 86_400_000
    heartbeat_s: float = 600
    trim_s: float = 60
    trim_behind_s: float = 3600
    trim_groups: str = ""
    lag_share: float = 0.5
    prolong_most: float = 4
    watch_s: float = 300
    observe_s: float = 600
    absence_after_s: float = 300
    log_dirs: str = ""
    cleaner_pages: str = ""
    walk_s: float = 3600
    epoch_days: int = 7
    backup_window_days: int = 14
    aof_rewrite_min_s: float = 300
    objective_value_s: float = 5400
    objective_key_s: float = 108_000
    http: str = "127.0.0.1:6066"
    log_level: str = "info"
    development: str = ""

    def topic(self, name: str) -> str:
        """The full name of `calllog.legs` and its like, with this installation's prefixes."""
        family, _, rest = name.partition(".")
        if family not in _GOVERNED or not rest:
            raise ConfigurationError(f"no topic of ours is called {name}")
        return (self.calllog_prefix if family == "calllog" else self.privacy_prefix) + rest

    @property
    def few_partitions(self) -> int:
        """The partition count of topics that are partitioned by tenant."""
        return max(1, self.partitions // 4)

    @property
    def off(self) -> frozenset[str]:
        """The protections that are off, or the faults that are staged, by name."""
        return frozenset(filter(None, (word.strip() for word in self.development.split(","))))


MEANINGS: Final[Mapping[str, str]] = {
    "kafka": "Kafka's brokers, host:port, separated by commas",
    "kafka_security": "TLS and passwords for Kafka, as a JSON object of client options",
    "keystore": "Redis that holds people's secrets",
    "keystore_replicas": "How many replicas of Redis must have a write before it counts",
    "keystore_replica_urls": "Where workers reach these replicas, separated by commas; empty: as the master names them",
    "kms": "Who holds the wrapping keys: local:FOLDER (development), awskms:REGION or vault://HOST",
    "ring": "Folder of wrapped keys that all workers share; empty: the folder of a local KMS",
    "epoch_cache_s": "How long a wrapping key that was opened may be used before the KMS is asked again",
    "policy": "The policy file",
    "tenant": "Whom this process serves; needed only where the policy names several tenants",
    "state_dir": "Folder on a local disk for what a worker can build anew: the keeper's index, places, journals",
    "operator_key": "The public key to which dead letters are sealed",
    "actor_key": "The private key of the actor that reads, a PEM file: with it accesses are signed",
    "calllog_prefix": "What stands before the names of the topics of calls, and of consumer groups",
    "privacy_prefix": "What stands before the names of the topics of requests",
    "partitions": "Partitions of legs, copies and decisions; fixed for ever when the topics are created",
    "replicas": "Replicas of each topic when it is created; from 3 on two must have a write before it counts",
    "unit_records": "The most records that are handled as one unit",
    "unit_bytes": "The most bytes of a unit, unpacked",
    "unit_parties": "The most parties of calls in a unit",
    "unit_wait_ms": "How long a poll waits for records",
    "commit_ms": "How often offsets are committed",
    "session_ms": "After how long without a sign of life Kafka gives a worker's partitions to another",
    "cache_s": "How long a person's opened key may stay in a worker's memory",
    "cache_entries": "The most people whose opened keys a worker keeps in memory",
    "silent_s": "After how long without an answer a worker says that it is not alive, or not ready",
    "clock_apart_s": "By how much the clock may differ from the brokers' before nothing irreversible is done",
    "retry_max_s": "After how long of retries a worker says that it is not alive; it goes on trying",
    "unit_max_s": "How long a unit may try to write what it has handed to Kafka before the worker halts",
    "sweep_s": "How often keepers look for what has lapsed",
    "sweep_records": "The most records that one portion of a sweep takes",
    "sweep_share": "Above what share of a partition a sweep waits for an officer",
    "event_late_days": "How old a call may be when its event arrives",
    "event_ahead_s": "How far in the future a time of an event may lie, by the broker's clock",
    "event_max_bytes": "The largest event",
    "events_keep_h": "How long topics of events keep plain text at most",
    "dead_keep_days": "How long dead letters are kept",
    "exports_keep_days": "How long sealed answers can be fetched",
    "receipts_keep_days": "How long receipts are kept in their topic",
    "cases_keep_days": "How long a case is remembered after its end",
    "access_keep_days": "How long it is remembered who opened what",
    "compaction_lag_ms": "How long Kafka may wait before it compacts: most of the time until bytes are gone",
    "tombstone_keep_ms": "How long a tombstone stays for slow readers",
    "heartbeat_s": "How often the auditor writes into each partition, so that quiet ones are compacted",
    "trim_s": "How often the auditor cuts the topics of plain text behind the workers",
    "trim_behind_s": "How far behind the workers it cuts",
    "trim_groups": "Your own consumer groups that must have read the events too before it cuts, separated by commas",
    "lag_share": "After what share of a topic's time something unread is an alarm",
    "prolong_most": "How many times longer the auditor may let a topic keep what is unread; 1: never",
    "watch_s": "How often the auditor compares settings and looks at lags",
    "observe_s": "How long a partition rests after a look at it",
    "absence_after_s": "How long after the last tombstone the observation of absence begins; not below UNIT_MAX_S",
    "log_dirs": "The brokers' log directories where this machine can read them, separated as in PATH",
    "cleaner_pages": "Addresses of the brokers' metrics pages that show the log cleaner, separated by commas",
    "walk_s": "How often the auditor walks the keystore",
    "epoch_days": "After how many days a new wrapping key is made",
    "backup_window_days": "For how long a backup of the keystore may have to be restored",
    "aof_rewrite_min_s": "The least time between two rewrites of Redis' append-only file",
    "objective_value_s": "Within what time an erased value should be seen gone; later is an alarm",
    "objective_key_s": "Within what time the tombstone's key should be seen gone; later is an alarm",
    "http": "Where a worker serves /health and /metrics; port 0 takes any",
    "log_level": "debug, info, warning or error",
    "development": "Protections that are off and faults that are staged, by name; warned about at every start",
}
"""What each setting is for, as the reference page shows it."""


def _content(variable: str, name: str) -> str:
    """What is in the file that a `…_FILE` names."""
    try:
        return Path(name).read_text("utf-8").strip()
    except OSError as error:
        raise ConfigurationError(f"{variable} names a file that cannot be read: {error.strerror}") from None
    except ValueError:  # no UTF-8, or a name that none can have
        raise ConfigurationError(f"{variable} names a file that is no UTF-8 text") from None


_REDIS: Final = "redis://host:port/number, rediss://… with TLS, or unix://path"
_TOPICS: Final = "letters, digits, '.', '-' and '_', as names of topics are"
_ADDRESSES: Final[tuple[tuple[str, Callable[[str], bool], str], ...]] = (
    ("kafka", is_brokers, "host:port, separated by commas"),
    ("keystore", is_redis, _REDIS),
    ("keystore_replica_urls", lambda text: all(map(is_redis, filter(None, text.split(",")))), _REDIS),
    ("http", is_page, "host:port, with port 0 for any"),
    ("calllog_prefix", is_prefix, _TOPICS),
    ("privacy_prefix", is_prefix, _TOPICS),
)


def _check_addresses(settings: Settings) -> None:
    """Nothing of the value is told: it may hold a password."""
    for name, good, wanted in _ADDRESSES:
        if not good(getattr(settings, name)):
            raise ConfigurationError(f"{PREFIX}{name.upper()} must be {wanted}")


def _check_words(settings: Settings) -> None:
    if settings.lag_share >= 1:
        raise ConfigurationError(f"{PREFIX}LAG_SHARE must be below 1: a share of the time for which a topic is kept")
    if settings.prolong_most < 1:
        raise ConfigurationError(f"{PREFIX}PROLONG_MOST must be 1 (never longer) or more")
    if settings.log_level not in LEVELS:
        raise ConfigurationError(f"{PREFIX}LOG_LEVEL must be one of {', '.join(LEVELS)}")
    if any(
        word not in {UNSAFE_KEYSTORE, DEBUG_LOG} and not word.startswith((CRASH_AT, STOP_AT)) for word in settings.off
    ):
        raise ConfigurationError(
            f"{PREFIX}DEVELOPMENT may name {UNSAFE_KEYSTORE}, {DEBUG_LOG}, {CRASH_AT}STEP and {STOP_AT}STEP, separated by commas, and "
            "nothing else"
        )
    if settings.log_level == "debug" and DEBUG_LOG not in settings.off:
        raise ConfigurationError(
            f"{PREFIX}LOG_LEVEL debug is for development only: name {DEBUG_LOG} in {PREFIX}DEVELOPMENT"
        )


def from_environment(environment: Mapping[str, str]) -> Settings:
    """
    The settings of an environment.

    Raises:
        ConfigurationError: An unknown name, or a value of the wrong kind.

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
        try:
            found[name] = kinds[name](value)
        except ValueError:
            raise ConfigurationError(f"{variable} must be a number") from None
        if name in _MAY_BE_ZERO and found[name] == 0:
            continue
        if kinds[name] is not str and not (math.isfinite(found[name]) and found[name] > 0):
            raise ConfigurationError(f"{variable} must be above zero")
    settings = Settings(**found)
    _check_addresses(settings)
    _check_words(settings)
    return settings
