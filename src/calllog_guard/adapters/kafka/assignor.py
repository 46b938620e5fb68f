"""
Which member of a group reads which partition, where several topics belong together.

Source: docs/contributing/architecture.md; aiokafka's assignors.
"""

from collections.abc import Mapping
from typing import Any

from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

__all__ = ["RangePartitionAssignor", "TogetherAssignor"]


class TogetherAssignor(RangePartitionAssignor):  # type: ignore[misc]
    """
    Partitions of one number go to one member, however many each topic has.

    The library's own goes topic by topic: where one topic has more partitions than another, equal numbers part company.
    It keeps the name of the library's: members of earlier releases know no other, and a member that offers two joins
    twice, each time a new generation; two such members may keep a group from its work without end (aiokafka, #1168).
    """

    @classmethod
    def assign(
        cls, cluster: Any, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Ranges of the numbers that every topic has; a number beyond goes with its remainder modulo their count."""
        topics = sorted({topic for each in members.values() for topic in each.subscription})
        numbers = {topic: cluster.partitions_for_topic(topic) or set() for topic in topics}
        common = min((len(some) for some in numbers.values()), default=0)
        names = sorted(members)
        owner = {number: names[number * len(names) // common] for number in range(common)}
        mine: dict[str, list[tuple[str, list[int]]]] = {name: [] for name in names}
        for topic in topics:
            for name in names:
                own = [number for number in sorted(numbers[topic]) if common and owner[number % common] == name]
                if own:
                    mine[name].append((topic, own))
        return {name: ConsumerProtocolMemberAssignment(cls.version, mine[name], b"") for name in names}
