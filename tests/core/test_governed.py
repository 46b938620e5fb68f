"""What each governed topic must be, and when a finding is good."""

import pytest

from calllog_guard.adapters.kafka_admin import Finding, governed
from calllog_guard.settings import Settings


@pytest.mark.parametrize(("replicas", "in_sync"), [(1, "1"), (2, "1"), (3, "2")])
def test_with_three_replicas_two_must_have_a_record(replicas: int, in_sync: str) -> None:
    """A tombstone that one broker alone has is lost with that broker, and the value is back."""
    topics = governed(Settings(replicas=replicas), 90)
    assert len(topics) == 14
    assert {topic.settings["min.insync.replicas"] for topic in topics} == {in_sync}
    assert {topic.settings["unclean.leader.election.enable"] for topic in topics} == {"false"}


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
    assert Finding("broker 1", "a.setting", wanted, found).good == good
