"""One table says everything of a topic: no other file names one."""

import ast
from pathlib import Path

import pytest

import calllog_guard
from calllog_guard.core.rights.grants import USERS
from calllog_guard.core.topics import TABLE, Topic
from calllog_guard.errors import ConfigurationError
from calllog_guard.settings import ROLES, Settings

SOURCES = Path(calllog_guard.__file__).parent


@pytest.mark.slow
def test_no_other_file_names_a_topic() -> None:
    named = {
        f"{path.relative_to(SOURCES)}:{node.lineno}"
        for path in SOURCES.rglob("*.py")
        if path != SOURCES / "core" / "topics.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in set(Topic)
    }
    assert not named


def test_every_topic_has_a_row() -> None:
    assert list(TABLE) == list(Topic)


@pytest.mark.parametrize("topic", list(Topic))
def test_whoever_reads_a_topic_has_the_right_to(topic: Topic) -> None:
    row = TABLE[topic]
    assert set(row.rights) <= set(USERS)
    assert {*row.follow, *row.whole} <= set(ROLES)
    assert all("R" in row.rights.get(role, "") for role in (*row.follow, *row.whole))
    assert all("W" in row.rights["auditor"] for _ in [topic] if row.beaten)
    assert all("W" in row.rights["desk"] for _ in [topic] if row.proven)


@pytest.mark.parametrize("topic", list(Topic))
def test_a_topic_is_kept_as_its_row_says(topic: Topic) -> None:
    kept, compacted = Settings().kept_ms(topic), "compact" in TABLE[topic].cleanup
    assert kept is None or kept >= 3_600_000
    assert kept is not None or compacted, "what is not compacted must end by its age"


def test_a_name_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"no topic of ours is called calllog\.calls"):
        Settings().topic("calllog.calls")


def test_each_role_reads_on_what_it_works_on() -> None:
    """By hand: the groups' committed offsets lie under these names; a topic that leaves the list is not read."""
    followed = {role: {topic.value for topic, row in TABLE.items() if role in row.follow} for role in ROLES}
    assert followed == {
        "protector": {"calllog.events"},
        "desk": {"privacy.requests", "privacy.outcomes", "privacy.orders"},
        "keeper": {"calllog.legs", "privacy.decisions"},
        "auditor": {"privacy.decisions"},
        "ingest": {"calllog.notifications"},
        "sessions": {"calllog.moments"},
    }
