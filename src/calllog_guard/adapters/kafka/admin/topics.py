"""
Governed topics: what each must be, made and checked through kafka-python.

Source: docs/reference/topics.md: each setting bounds how long an erased value can survive.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from calllog_guard.adapters.kafka.admin.client import AdminClient, library, resource, spot
from calllog_guard.core.retention.purposes import GRACE_DAYS
from calllog_guard.core.topics import OURS, TABLE, Topic, TopicRow
from calllog_guard.errors import ConfigurationError, LogRefusedError
from calllog_guard.ports.administration import Trim
from calllog_guard.settings import Settings

_DAY_MS: Final = 86_400_000
_SAFE_REPLICAS: Final = 3
_COMPARED: Final[dict[str, Callable[[int, int], bool]]] = {"at least": operator.ge, "at most": operator.le}


@dataclass(frozen=True, slots=True)
class Governed:
    """A topic as it must be."""

    name: str
    partitions: int
    settings: dict[str, str]
    fixed: bool = True
    """Whether it must keep this count; topics of events may have any."""
    most: float = 1
    """How many times its `retention.ms` the auditor may make it, while something unread is in it."""


PARTITIONS: Final = "partitions"
FOREIGN: Final = "records in partitions beyond"
"""The setting of a finding: what lies in partitions that a topic was not created with, which nobody reads."""


@dataclass(frozen=True, slots=True)
class TopicFinding:
    """One setting of one topic: a line of `topics check`; wanted is a value, `at least N`, `at most N` or `N to M`."""

    topic: str
    setting: str
    wanted: str
    found: str

    @property
    def verdict(self) -> str:
        """`ok`, `bad`; `warned` where a topic has more partitions than at creation, or is kept longer for a while."""
        least, is_range, _ = self.wanted.partition(" to ")
        told = self.setting == FOREIGN or (is_range and self.found != least)
        return "bad" if not self.good else "warned" if told else "ok"

    @property
    def withholds(self) -> bool:
        """See Finding: what lies beyond is looked at with the rest."""
        return self.setting != FOREIGN

    @property
    def good(self) -> bool:
        """Whether it is as it must be."""
        least, is_range, most = self.wanted.partition(" to ")
        if is_range:
            return self.found.isdecimal() and int(least) <= int(self.found) <= int(most)
        how, _, bound = self.wanted.rpartition(" ")
        if how in _COMPARED:
            return self.found.isdecimal() and _COMPARED[how](int(self.found), int(bound))
        return self.wanted == self.found


def _settings(row: TopicRow, settings: Settings, keep_ms: int | None) -> dict[str, str]:
    """Kafka's settings of a topic."""
    lag = str(settings.compaction_lag_ms)
    quick = {
        "segment.ms": lag,
        "segment.jitter.ms": "0",
        "file.delete.delay.ms": str(min(60_000, max(500, settings.compaction_lag_ms // 4))),
    }
    found = {
        "cleanup.policy": row.cleanup,
        "message.timestamp.type": "LogAppendTime",
        # a tombstone that one broker alone has seen, or a leader that never saw it, would bring a value back
        "min.insync.replicas": "2" if settings.replicas >= _SAFE_REPLICAS else "1",
        "unclean.leader.election.enable": "false",
        # a file goes when its youngest record has lapsed: a day's file keeps its oldest a day longer, not a week
        "segment.ms": str(_DAY_MS),
        "segment.jitter.ms": "0",
    }
    if row.plain or row.cleanup != "delete":
        found |= quick
    if row.cleanup != "delete":
        found |= {
            "max.compaction.lag.ms": lag,
            "min.compaction.lag.ms": "0",
            "delete.retention.ms": str(settings.tombstone_keep_ms),
            "min.cleanable.dirty.ratio": "0.1",
        }
    if keep_ms is not None:
        found["retention.ms"] = str(keep_ms)
    if row.most_bytes:
        found["max.message.bytes"] = str(row.most_bytes)
    return found


def governed(settings: Settings, keep_days: int, events: Sequence[str]) -> list[Governed]:
    """
    Every topic.

    Args:
        keep_days: The longest lawful period of any purpose.
        events: The topics of events, as the policy names them: whole names, which no prefix changes.

    Raises:
        ConfigurationError: One of them is a topic of ours, with other promises.

    """
    legs_ms = (keep_days + GRACE_DAYS) * _DAY_MS

    def as_wanted(topic: Topic, name: str) -> Governed:
        row = TABLE[topic]
        kept = legs_ms if topic is Topic.LEGS else settings.kept_ms(topic)
        return Governed(
            name,
            settings.partitions_of(topic),
            _settings(row, settings, kept),
            fixed=topic is not Topic.EVENTS,
            most=settings.prolong_most if row.plain else 1,
        )

    ours = [as_wanted(topic, settings.topic(topic)) for topic in OURS]
    if clash := {topic.name for topic in ours} & set(events):
        raise ConfigurationError(
            f"the policy names {', '.join(sorted(clash))} among its events, which this installation writes itself: "
            "name another"
        )
    return [*(as_wanted(Topic.EVENTS, name) for name in events), *ours]


_READ_COMMITTED: Final = 1
_BROKER: Final = {
    "log.cleaner.enable": "true",
    "log.cleaner.threads": "at least 2",
    "log.cleaner.backoff.ms": "at most 15000",
    "log.retention.check.interval.ms": "at most 60000",
    "auto.create.topics.enable": "false",
}


class KafkaTopics(AdminClient):
    """
    Administration of the governed topics; synchronous.

    Every method raises LogSilentError when Kafka does not answer, or refuses.
    """

    def create(self, keep_days: int, events: Sequence[str]) -> list[str]:
        """Make those that are missing; their names."""
        with self.admin() as admin:
            present = set(admin.list_topics())
            missing = [topic for topic in governed(self._settings, keep_days, events) if topic.name not in present]
            if missing:
                admin.create_topics(
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

    def check(self, keep_days: int, events: Sequence[str]) -> list[TopicFinding]:
        """See Topics: each governed setting of each topic, and of each broker, wanted and found."""
        findings: list[TopicFinding] = []
        wanted = governed(self._settings, keep_days, events)
        with self.admin() as admin:
            present = set(admin.list_topics())
            there = [topic for topic in wanted if topic.name in present]
            shapes = {each["name"]: each["partitions"] for each in admin.describe_topics([t.name for t in there])}
            beyond = _beyond(admin, [topic for topic in there if topic.fixed], shapes)
            resources = [resource("TOPIC", topic.name) for topic in there]
            found = admin.describe_configs(resources, config_filter="all")
            cluster = admin.describe_cluster()["brokers"]
            nodes = [str(each["broker_id"]) for each in cluster if not each.get("is_fenced")]
            brokers = [resource("BROKER", node) for node in nodes]
            settings = admin.describe_configs(brokers, config_filter="all")
        for topic in wanted:
            if topic.name not in present:
                findings.append(TopicFinding(topic.name, "exists", "yes", "no"))
                continue
            shape = shapes[topic.name]
            copies = min(len(each["replica_nodes"]) for each in shape)
            findings += _partitions(topic, len(shape), beyond.get(topic.name, 0))
            findings.append(TopicFinding(topic.name, "replicas", str(self._settings.replicas), str(copies)))
            values = _values(found, topic.name)
            findings.extend(
                TopicFinding(topic.name, name, _span(topic, name, value), values.get(name, ""))
                for name, value in topic.settings.items()
            )
        findings.extend(  # a broker that is down has a disk, and settings that nobody knows
            TopicFinding(f"broker {each['broker_id']}", "up", "yes", "no") for each in cluster if each.get("is_fenced")
        )
        for node in nodes:
            values = _values(settings, node)
            findings.extend(
                TopicFinding(f"broker {node}", name, value, values.get(name, "")) for name, value in _BROKER.items()
            )
        return findings

    def hosts(self) -> list[str]:
        """The hosts of the brokers as the cluster advertises them: where records are really sent."""
        with self.admin() as admin:
            return [str(each["host"]) for each in admin.describe_cluster()["brokers"]]

    def kept_days(self, topic: str) -> int | None:
        """For how many whole days a topic keeps its records; None: for ever."""
        with self.admin() as admin:
            found = admin.describe_configs([resource("TOPIC", topic)], config_filter="all")
        milliseconds = int(_values(found, topic)["retention.ms"])
        return None if milliseconds < 0 else milliseconds // _DAY_MS

    def kept_ms(self, topics: Sequence[str]) -> dict[str, int]:
        """See Topics."""
        if not topics:
            return {}
        with self.admin() as admin:
            found = admin.describe_configs([resource("TOPIC", topic) for topic in topics], config_filter="all")
        values = {topic: _values(found, topic) for topic in topics}
        kept = {
            topic: int(each["retention.ms"]) for topic, each in values.items() if "delete" in each["cleanup.policy"]
        }
        return {topic: milliseconds for topic, milliseconds in kept.items() if milliseconds >= 0}

    def keep(self, topic: str, retention_ms: int) -> None:
        """See Topics; the library returns errors, so that it is read back."""
        config = library("kafka.admin").ConfigResource
        kind = library("kafka.admin").ConfigResourceType.TOPIC
        with self.admin() as admin:
            admin.alter_configs([config(kind, topic, {"retention.ms": str(retention_ms)})], incremental=True)
        if self.kept_ms([topic]) != {topic: retention_ms}:
            raise LogRefusedError(f"Kafka does not let this user set retention.ms of {topic}: grant AlterConfigs on it")

    def replicas(self, topic: str) -> dict[int, tuple[int, int]]:
        """See Topics."""
        with self.admin() as admin:
            (found,) = admin.describe_topics([topic])
        return {
            each["partition_index"]: (len(each["replica_nodes"]), len(each["isr_nodes"]))
            for each in found["partitions"]
        }

    def trim(self, topic: str, partitions: Sequence[int], groups: Sequence[str], before_ms: int) -> dict[int, Trim]:
        """See Topics."""
        places = [spot(topic, partition) for partition in partitions]
        offset_spec = library("kafka.admin").OffsetSpec
        with self.admin() as admin:
            committed = admin.list_group_offsets(dict.fromkeys(groups, places))
            at = admin.list_partition_offsets(dict.fromkeys(places, before_ms))
            first = admin.list_partition_offsets(dict.fromkeys(places, offset_spec.EARLIEST))
            ends = admin.list_partition_offsets(dict.fromkeys(places, offset_spec.LATEST))
            cuts: dict[Any, int] = {}
            done: dict[int, Trim] = {}
            for place in places:
                offsets = [committed.get(group, {}).get(place) for group in groups]
                known = [each.offset for each in offsets if each is not None and each.offset >= 0]
                start = first[place].offset
                if len(known) < len(groups) or not groups:  # never without each group's word
                    done[place.partition] = Trim(cut=False, behind=ends[place].offset - start)
                    continue
                younger = at[place].offset if place in at and at[place] is not None else -1
                cut = min(known) if younger < 0 else min(*known, younger)
                if cut > start:
                    cuts[place] = cut
                done[place.partition] = Trim(cut=cut > start, behind=min(known) - max(cut, start))
            if cuts:
                admin.delete_records(cuts)
        return done

    def describe(self, topic: str) -> tuple[str, list[int], dict[str, str]] | None:
        """Id, partitions and settings of any topic; None when there is none."""
        with self.admin() as admin:
            if topic not in set(admin.list_topics()):
                return None
            (found,) = admin.describe_topics([topic])
            values = _values(admin.describe_configs([resource("TOPIC", topic)], config_filter="all"), topic)
        return str(found.get("topic_id", "")), sorted(each["partition_index"] for each in found["partitions"]), values

    def cut(self, topic: str, offsets: dict[int, int]) -> None:
        """Delete the records of some partitions below an offset; Kafka frees whole segments, never the active one."""
        with self.admin() as admin:
            admin.delete_records({spot(topic, partition): offset for partition, offset in offsets.items()})

    def blocked(self, topic: str, partitions: Sequence[int]) -> list[int]:
        """See Topics: what was appended before must be stable now."""
        places = [spot(topic, partition) for partition in partitions]
        with self.admin() as admin:
            latest = dict.fromkeys(places, library("kafka.admin").OffsetSpec.LATEST)
            ends = admin.list_partition_offsets(latest)
            stable = admin.list_partition_offsets(latest, isolation_level=_READ_COMMITTED)
        return [place.partition for place in places if stable[place].offset < ends[place].offset]


def _span(topic: Governed, name: str, value: str) -> str:
    """What a setting may be: the auditor prolongs the time of a topic while something unread would else be lost."""
    longer = name == "retention.ms" and topic.most > 1
    return f"{value} to {int(int(value) * topic.most)}" if longer else value


def _partitions(topic: Governed, found: int, beyond: int) -> list[TopicFinding]:
    """How many partitions a topic has; more than it was created with are a warning, records in them a finding."""
    wanted = f"at least {topic.partitions if topic.fixed else 1}"
    findings = [TopicFinding(topic.name, PARTITIONS, wanted, str(found))]
    if topic.fixed and found > topic.partitions:
        findings.append(TopicFinding(topic.name, FOREIGN, "0", str(beyond)))
    return findings


def _beyond(admin: Any, topics: Sequence[Governed], shapes: Mapping[str, Any]) -> dict[str, int]:
    """How many offsets lie in partitions beyond those that topics were created with."""
    spots = [
        spot(topic.name, number) for topic in topics for number in range(topic.partitions, len(shapes[topic.name]))
    ]
    if not spots:
        return {}
    spec, found = library("kafka.admin").OffsetSpec, dict[str, int]()
    first = admin.list_partition_offsets(dict.fromkeys(spots, spec.EARLIEST))
    end = admin.list_partition_offsets(dict.fromkeys(spots, spec.LATEST))
    for at in spots:
        found[at.topic] = found.get(at.topic, 0) + end[at].offset - first[at].offset
    return found


def _values(found: Any, name: str) -> dict[str, str]:
    """The settings of a topic or broker; Kafka shows none to who has no right to them, and says nothing."""
    (entries,) = (named[name] for named in found.values() if name in named)
    if not entries:
        raise LogRefusedError(f"Kafka does not show this user the settings of {name}: grant DescribeConfigs on it")
    return {name: str(each["value"]) for name, each in entries.items()}
