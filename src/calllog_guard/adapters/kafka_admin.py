"""
Governed topics: what each must be, made and checked through kafka-python.

Source: design section 5; `facts.md` (Kafka): each setting bounds how long an erased value can survive.
"""

from dataclasses import dataclass
from typing import Any, Final

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from calllog_guard.errors import LogSilentError
from calllog_guard.settings import Settings

_DAY_MS: Final = 86_400_000
_MARGIN_DAYS: Final = 31


@dataclass(frozen=True, slots=True)
class Governed:
    """A topic as it must be."""

    name: str
    partitions: int
    settings: dict[str, str]


@dataclass(frozen=True, slots=True)
class Finding:
    """One setting of one topic: a line of `topics check`."""

    topic: str
    setting: str
    wanted: str
    found: str

    @property
    def good(self) -> bool:
        """Whether it is as it must be."""
        return self.wanted == self.found


def governed(settings: Settings, keep_days: int) -> list[Governed]:
    """Every topic; `keep_days` is the longest lawful period of any purpose."""
    lag = str(settings.compaction_lag_ms)
    stamp = {"message.timestamp.type": "LogAppendTime"}
    compact = stamp | {
        "max.compaction.lag.ms": lag,
        "min.compaction.lag.ms": "0",
        "segment.ms": lag,
        "segment.jitter.ms": "0",
        "delete.retention.ms": str(settings.tombstone_keep_ms),
        "min.cleanable.dirty.ratio": "0.1",
        "file.delete.delay.ms": str(min(60_000, max(500, settings.compaction_lag_ms // 4))),
    }
    legs = compact | {
        "cleanup.policy": "compact,delete",
        "retention.ms": str((keep_days + _MARGIN_DAYS) * _DAY_MS),
        "max.message.bytes": str(1 << 20),
    }
    forever = compact | {"cleanup.policy": "compact"}

    def kept(days: int) -> dict[str, str]:
        return stamp | {"cleanup.policy": "delete", "retention.ms": str(days * _DAY_MS)}

    few, many = settings.few_partitions, settings.partitions
    events = stamp | {
        "cleanup.policy": "delete",
        "retention.ms": str(settings.events_keep_h * 3_600_000),
        "max.message.bytes": str(16 << 20),
    }
    shapes: list[tuple[str, int, dict[str, str]]] = [
        ("calllog.events", many, events),
        ("calllog.legs", many, legs),
        ("calllog.held", many, forever),
        ("calllog.dead", few, kept(settings.dead_keep_days) | {"max.message.bytes": str(24 << 20)}),
        ("privacy.requests", few, kept(7) | {"max.message.bytes": str(1 << 20)}),
        ("privacy.decisions", many, forever),
        ("privacy.outcomes", few, kept(settings.cases_keep_days)),
        ("privacy.cases", few, forever),
        ("privacy.policy", 1, forever),
        ("privacy.receipts", few, kept(settings.receipts_keep_days)),
        ("privacy.notices", few, kept(7)),
        ("privacy.exports", few, kept(settings.exports_keep_days)),
        ("privacy.access", few, kept(settings.access_keep_days)),
    ]
    return [Governed(settings.topic(name), partitions, each) for name, partitions, each in shapes]


class KafkaTopics:
    """Administration of the governed topics."""

    def __init__(self, settings: Settings, options: dict[str, Any]) -> None:
        self._settings = settings
        try:
            self._admin: Any = KafkaAdminClient(bootstrap_servers=settings.kafka, **options)
        except Exception as error:  # noqa: BLE001 - the client has no common class for not reaching a broker
            raise LogSilentError(f"Kafka at {settings.kafka} does not answer ({type(error).__name__})") from None

    def close(self) -> None:
        """Disconnect."""
        self._admin.close()

    def create(self, keep_days: int) -> list[str]:
        """Make those that are missing; their names."""
        present = set(self._admin.list_topics())
        missing = [topic for topic in governed(self._settings, keep_days) if topic.name not in present]
        if missing:
            self._admin.create_topics(
                {
                    topic.name: {
                        "num_partitions": topic.partitions,
                        "replication_factor": self._settings.replicas,
                        "configs": topic.settings,
                    }
                    for topic in missing
                },
                wait_for_metadata=True,
            )
        return [topic.name for topic in missing]

    def check(self, keep_days: int) -> list[Finding]:
        """Each governed setting: wanted and found."""
        findings: list[Finding] = []
        wanted = governed(self._settings, keep_days)
        present = set(self._admin.list_topics())
        there = [topic for topic in wanted if topic.name in present]
        counts = {
            each["name"]: len(each["partitions"]) for each in self._admin.describe_topics([t.name for t in there])
        }
        resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in there]
        found = self._admin.describe_configs(resources, config_filter="all")
        for topic in wanted:
            if topic.name not in present:
                findings.append(Finding(topic.name, "exists", "yes", "no"))
                continue
            findings.append(Finding(topic.name, "partitions", str(topic.partitions), str(counts[topic.name])))
            values = _values(found, topic.name)
            findings.extend(
                Finding(topic.name, name, value, values.get(name, "")) for name, value in topic.settings.items()
            )
        return findings


def _values(found: Any, topic: str) -> dict[str, str]:
    (entries,) = (named[topic] for named in found.values() if topic in named)
    return {name: str(each["value"]) for name, each in entries.items()}
