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
            raise ConfigurationError(f"unknown setting {variable}; the names are listed in the README")
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
