"""What each governed topic must be, and when a finding is good."""

import pytest

from calllog_guard.adapters.kafka.admin.topics import TopicFinding, governed
from calllog_guard.core.topics import Topic
from calllog_guard.errors import ConfigurationError
from calllog_guard.settings import Settings


@pytest.mark.parametrize(("replicas", "in_sync"), [(1, "1"), (2, "1"), (3, "2")])
def test_with_three_replicas_two_must_have_a_record(replicas: int, in_sync: str) -> None:
    """A tombstone that one broker alone has is lost with that broker, and the value is back."""
    topics = governed(Settings(replicas=replicas), 90, ["calllog.events"])
    assert len(topics) == len(Topic)
    assert {topic.settings["min.insync.replicas"] for topic in topics} == {in_sync}
    assert {topic.settings["unclean.leader.election.enable"] for topic in topics} == {"false"}


def test_the_topics_of_events_are_those_that_the_policy_names_and_none_of_ours() -> None:
    """What is written there is plain text: it is trimmed, and kept for hours alone."""
    topics = {topic.name: topic for topic in governed(Settings(), 90, ["calls.east", "calls.west"])}
    assert "calllog.events" not in topics
    assert topics["calls.east"].settings == topics["calls.west"].settings
    assert topics["calls.west"].partitions == topics["calllog.legs"].partitions
    assert topics["calls.west"].settings["cleanup.policy"] == "delete"
    assert topics["calls.west"].settings["retention.ms"] == "86400000"
    with pytest.raises(ConfigurationError, match=r"calllog\.legs among its events"):
        governed(Settings(), 90, ["calllog.events", "calllog.legs"])


@pytest.mark.parametrize(
    ("wanted", "found", "good"),
    [
        ("at least 2", "2", True),
        ("at least 2", "1", False),
        ("at most 60000", "300000", False),
        ("at most 60000", "60000", True),
        ("at most 60000", "", False),
        ("true", "true", True),
        ("true", "false", False),
    ],
)
def test_a_finding_is_good_within_its_bound_only(wanted: str, found: str, good: bool) -> None:  # noqa: FBT001
    assert TopicFinding("broker 1", "a.setting", wanted, found).good == good
