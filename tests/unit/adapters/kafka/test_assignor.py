"""Partitions of one number go to one member, whatever the counts of their topics are."""

from types import SimpleNamespace

import pytest

from calllog_guard.adapters.kafka.assignor import RangePartitionAssignor, TogetherAssignor


def assigned(counts: dict[str, int], members: int) -> dict[str, dict[str, list[int]]]:
    """What each member gets of each topic."""
    cluster = SimpleNamespace(partitions_for_topic=lambda topic: set(range(counts[topic])) if counts[topic] else None)
    names = [f"member-{number}" for number in range(members)]
    found = TogetherAssignor.assign(cluster, {name: TogetherAssignor.metadata(sorted(counts)) for name in names})
    return {name: {topic: list(numbers) for topic, numbers in found[name].assignment} for name in names}


@pytest.mark.parametrize("members", [1, 2, 3, 5, 9])
@pytest.mark.parametrize(
    "counts",
    [{"requests": 4, "outcomes": 4}, {"requests": 7, "outcomes": 4}, {"requests": 4, "outcomes": 9}, {"legs": 12}],
)
def test_numbers_stay_together_and_each_partition_has_one_owner(counts: dict[str, int], members: int) -> None:
    """A desk or keeper whose two topics were parted would halt, for ever."""
    found = assigned(counts, members)
    common = min(counts.values())
    for topic, many in counts.items():
        assert sorted(number for each in found.values() for number in each.get(topic, [])) == list(range(many))
    for each in found.values():
        shares = [{number for number in each.get(topic, []) if number < common} for topic in counts]
        assert all(share == shares[0] for share in shares)
        assert abs(len(shares[0]) - common / members) < 1
        assert all(number % common in shares[0] for topic in counts for number in each.get(topic, []))


def test_a_topic_that_is_missing_leaves_everybody_without() -> None:
    assert assigned({"requests": 4, "outcomes": 0}, 2) == {"member-0": {}, "member-1": {}}


def test_members_of_earlier_releases_can_be_in_the_group() -> None:
    assert TogetherAssignor.name == RangePartitionAssignor.name
