"""
Every topic: its key, its partitions, its settings, who reads it, who writes it.

The one table of it: rights, `topics check`, what each role reads, heartbeats and the documentation derive from it.
Rules: 1. Nobody but desk, keeper and auditor reads requests, decisions, outcomes and copies: they tell of secret holds.
       2. Officers alone read orders beside the desk.
       3. `X` is for DeleteRecords.  Kafka takes it for the right to delete the topic too: brokers must run with
          `delete.topic.enable=false`.
       4. A topic that is partitioned by pseudonym keeps its partition count for ever.
Source: docs/reference/topics.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

Partitions = Literal["many", "few", "one"]
"""As PARTITIONS says, a quarter of it (the topics that are partitioned by tenant), or a single one."""
REQUESTS_KEEP_DAYS: Final = 7
"""How long requests and notices stay in their topics; requests are trimmed long before."""
_MIB: Final = 1 << 20


class Topic(StrEnum):
    """The topics by their default names."""

    EVENTS = "calllog.events"
    NOTIFICATIONS = "calllog.notifications"
    MOMENTS = "calllog.moments"
    LEGS = "calllog.legs"
    HELD = "calllog.held"
    STATISTICS = "calllog.statistics"
    PARKED = "calllog.parked"
    DEAD = "calllog.dead"
    REQUESTS = "privacy.requests"
    DECISIONS = "privacy.decisions"
    OUTCOMES = "privacy.outcomes"
    ORDERS = "privacy.orders"
    CASES = "privacy.cases"
    POLICY = "privacy.policy"
    RECEIPTS = "privacy.receipts"
    NOTICES = "privacy.notices"
    EXPORTS = "privacy.exports"
    ACCESS = "privacy.access"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRow:
    """
    One topic.

    Args:
        rights: The letters of `grants.OPERATIONS` by user: who reads (R), writes (W), deletes (X), alters (A).
        cleanup: Kafka's `cleanup.policy`.
        kept: The setting that says how long, or days; None: for ever, or as long as the longest purpose of legs.
        kept_times: How many times as long as that, and `kept_more_h` so many hours more.
        most_bytes: Of a record, where it is not Kafka's default.
        plain: Whether records lie there readable and go soon: its segments roll fast, the auditor may prolong its time.
        follow: The roles that read it on from where their group was.
        whole: The roles that read it from its beginning at each assignment.
        beaten: Whether auditors write heartbeats into each of its partitions.
        later: Whether an installation of the first release has none of it before its upgrade.
        proven: Whether the desk proves what it writes there: programs of ours believe it.

    """

    key: str
    value: str
    partitions: Partitions
    rights: Mapping[str, str]
    cleanup: Literal["compact", "delete", "compact,delete"]
    kept: str | int | None = None
    kept_times: int = 1
    kept_more_h: int = 0
    most_bytes: int = 0
    plain: bool = False
    follow: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    beaten: bool = False
    later: bool = False
    proven: bool = False


# fmt: off
TABLE: Final[Mapping[Topic, TopicRow]] = {
    Topic.EVENTS: TopicRow(
        key="any; the call id, or the order of one call's events is lost", value="a call event, JSON",
        partitions="many",
        rights={"protector": "R", "ingest": "W", "sessions": "W", "auditor": "WXA", "operator": "W", "backend": "W"},
        cleanup="delete", kept="events_keep_h", most_bytes=16 * _MIB, plain=True, follow=("protector",),
    ),
    Topic.NOTIFICATIONS: TopicRow(
        key="any; the header `clg-source` names the source", value="a platform's message as it came", partitions="many",
        rights={"ingest": "R", "auditor": "WXA", "operator": "W", "backend": "W"},
        cleanup="delete", kept="events_keep_h", most_bytes=16 * _MIB, plain=True, follow=("ingest",), later=True,
    ),
    # whoever has lost a session's state reads it again: what began a limit before the oldest that is open is there yet
    Topic.MOMENTS: TopicRow(
        key="keyed hash of source and call", value="a join, a leave, a begin or an end, sealed", partitions="many",
        rights={"ingest": "W", "sessions": "R", "auditor": "W", "operator": "W"},
        cleanup="delete", kept="session_limit_h", kept_times=2, kept_more_h=24, later=True, follow=("sessions",),
    ),
    Topic.LEGS: TopicRow(
        key="pseudonym.token", value="JWE of the leg; null: a tombstone", partitions="many",
        rights={"protector": "W", "keeper": "RW", "auditor": "RW", "operator": "W", "officer": "R", "reader": "R"},
        cleanup="compact,delete", most_bytes=_MIB, follow=("keeper",), beaten=True,
    ),
    Topic.HELD: TopicRow(
        key="hold.token", value="JWE under the hold's secret", partitions="many",
        rights={"keeper": "RW", "auditor": "W"},
        cleanup="compact", whole=("keeper",), beaten=True,
    ),
    Topic.STATISTICS: TopicRow(
        key="tenant.month.day.kind.duration.parties", value="counts of ten people or more, JSON", partitions="few",
        rights={"keeper": "RW", "officer": "R"},
        cleanup="compact", whole=("keeper",),
    ),
    # what was taken up is compacted away; what nobody took up goes by its age
    Topic.PARKED: TopicRow(
        key="digest of place and lookup", value="a part of a call, sealed", partitions="many",
        rights={"protector": "RW", "auditor": "W", "operator": "R"},
        cleanup="compact,delete", kept="dead_keep_days", later=True,
    ),
    Topic.DEAD: TopicRow(
        key="none", value="where it lay, why, and the payload sealed to the operator's key", partitions="few",
        rights=dict.fromkeys(("protector", "desk", "keeper", "auditor", "ingest", "sessions"), "W")
        | {"operator": "RW"},
        cleanup="delete", kept="dead_keep_days", most_bytes=24 * _MIB,
    ),
    Topic.REQUESTS: TopicRow(
        key="tenant", value="a signed JWT", partitions="few",
        rights={"desk": "RW", "auditor": "WXA", "operator": "W", "backend": "W", "officer": "W", "console": "W"},
        cleanup="delete", kept=REQUESTS_KEEP_DAYS, most_bytes=_MIB, plain=True, follow=("desk",), beaten=True,
    ),
    # a result names the records that it removed, of a heavy user many
    Topic.DECISIONS: TopicRow(
        key="pseudonym.decision id", value="JSON: the ledger", partitions="many",
        rights={"desk": "RW", "keeper": "RW", "auditor": "RW", "operator": "W"},
        cleanup="compact", most_bytes=8 * _MIB, follow=("keeper", "auditor"), whole=("desk", "keeper", "auditor"),
        beaten=True, proven=True,
    ),
    Topic.OUTCOMES: TopicRow(
        key="case id, in the tenant's partition", value="JSON", partitions="few",
        rights={"desk": "R", "keeper": "W", "auditor": "W"},
        cleanup="delete", kept="cases_keep_days", most_bytes=8 * _MIB, follow=("desk",),
    ),
    Topic.ORDERS: TopicRow(
        key="case id, in the tenant's partition", value="orders about holds, secret cases and their parts, sealed",
        partitions="few",
        rights={"desk": "RW", "keeper": "W", "auditor": "W", "officer": "RW"},
        cleanup="compact", follow=("desk",), whole=("desk",), beaten=True, later=True, proven=True,
    ),
    Topic.CASES: TopicRow(
        key="case id, in the tenant's partition", value="JSON, no identity", partitions="few",
        rights={"desk": "RW", "auditor": "RW", "backend": "R", "officer": "R", "console": "R"},
        cleanup="compact", whole=("desk",), beaten=True, proven=True,
    ),
    Topic.POLICY: TopicRow(
        key="tenant.version", value="a signed policy", partitions="one",
        rights=dict.fromkeys(("auditor", "officer", "operator"), "RW")
        | dict.fromkeys(("protector", "desk", "keeper", "backend", "reader", "ingest", "sessions"), "R")
        | {"console": "R"},
        cleanup="compact", whole=("protector", "desk", "keeper", "auditor", "ingest", "sessions"),
    ),
    Topic.RECEIPTS: TopicRow(
        key="case id", value="JWS", partitions="few",
        rights={"desk": "W", "backend": "R", "officer": "R", "console": "R"},
        cleanup="delete", kept="receipts_keep_days", proven=True,
    ),
    Topic.NOTICES: TopicRow(
        key="case id", value="JSON, sealed to its recipient", partitions="few",
        rights={"desk": "W", "recipient": "R"},
        cleanup="delete", kept=REQUESTS_KEEP_DAYS,
    ),
    Topic.EXPORTS: TopicRow(
        key="case id.part", value="JWE to the requester's key", partitions="few",
        rights={"desk": "W", "keeper": "W", "backend": "R", "console": "R"},
        cleanup="delete", kept="exports_keep_days",
    ),
    Topic.ACCESS: TopicRow(
        key="actor", value="who opened what, for which purpose", partitions="few",
        rights={"keeper": "R", "operator": "W", "officer": "R", "reader": "W", "console": "RW"},
        cleanup="delete", kept="access_keep_days",
    ),
}
# fmt: on
OURS: Final = tuple(topic for topic in Topic if topic is not Topic.EVENTS)
"""What no backend publishes events to."""
LATER: Final = tuple(topic for topic, row in TABLE.items() if row.later)
"""What an installation of the first release has none of before its upgrade."""
