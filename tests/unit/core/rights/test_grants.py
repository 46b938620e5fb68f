"""Who may do what: the table keeps what the documentation promises, and the documentation shows the table."""

import json
import re
from pathlib import Path

import pytest
from doc_tables import entries_table, rights_table
from documents import DOCUMENTED

from calllog_guard.adapters.kafka.admin.topics import governed
from calllog_guard.cli import main
from calllog_guard.core.rights.grants import ENTRIES, KEYSTORE_USERS, USERS, grants, rights
from calllog_guard.core.rights.redis_rules import rules
from calllog_guard.core.topics import Topic
from calllog_guard.settings import Settings


def holders(topic: str, letter: str) -> set[str]:
    """Who has a right to a topic."""
    return {user for user, letters in rights()[Topic(topic)].items() if letter in letters}


def test_the_documentation_shows_the_table() -> None:
    """`tools/doc_tables.py` prints it; paste it between the markers."""
    _, _, rest = DOCUMENTED.partition("<!-- grants -->\n")
    assert rest.partition("<!-- /grants -->")[0] == rights_table()


def test_the_documentation_shows_the_entries_of_the_keystore() -> None:
    _, _, rest = DOCUMENTED.partition("<!-- entries -->\n")
    assert rest.partition("<!-- /entries -->")[0] == entries_table()


@pytest.mark.parametrize("release", [(6, 2), (7, 0), (7, 2), (9, 1)])
def test_readers_write_nothing_and_protectors_delete_nothing(release: tuple[int, int]) -> None:
    """Of any server: whoever finds a reader's password destroys nobody."""
    for user in ("reader", "officer"):
        assert not re.search(
            r"\+(set|mset|msetnx|del|watch|wait|scan|eval|bgrewriteaof|@)", rules(user, release=release)
        )
    for user in ("protector", "operator", "desk"):
        assert "+del" not in rules(user, release=release)
    for user in KEYSTORE_USERS:
        assert not re.search(r"eval|fcall|function|script|flush|config\|set|\+@", rules(user, release=release))


def test_whoever_makes_keys_writes_over_none() -> None:
    found = rules("protector", "iocom")
    assert "(+msetnx ~clg:iocom:key:*)" in found
    assert not re.search(r"\([^)]*\+mset [^)]*:key:", found)


def test_keys_go_by_keepers_and_the_auditors_walk_alone() -> None:
    assert {user for user, letters in ENTRIES["clg:TENANT:key:*"].items() if "D" in letters} == {"keeper", "auditor"}


def test_an_older_server_is_asked_nothing_that_it_does_not_know() -> None:
    assert "%R~" not in rules("reader", release=(6, 2))
    assert "waitaof" not in rules("keeper", release=(7, 0))


def test_the_command_prints_a_user_of_each_role(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["init", str(tmp_path)]) == 0
    monkeypatch.setenv("CALLLOG_GUARD_POLICY", str(tmp_path / "policy.toml"))
    capsys.readouterr()
    assert main(["keystore", "rights"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines] == list(KEYSTORE_USERS)
    assert f"ACL SETUSER reader on >PASSWORD {rules('reader', 'iocom')}" in lines
    assert main(["keystore", "rights", "--server", "6.2", "--json"]) == 0
    said = capsys.readouterr()
    assert {each["rules"] for each in json.loads(said.out)} == {rules(user, "iocom", (6, 2)) for user in KEYSTORE_USERS}
    assert "use 7.0 or later" in said.err


def test_every_governed_topic_is_in_the_table() -> None:
    assert sorted(rights()) == sorted(topic.name for topic in governed(Settings(), 1, ["calllog.events"]))


@pytest.mark.parametrize("topic", ["privacy.requests", "privacy.decisions", "privacy.outcomes", "calllog.held"])
def test_what_tells_of_secret_holds_is_read_by_desk_keeper_and_auditor_alone(topic: str) -> None:
    assert holders(topic, "R") <= {"desk", "keeper", "auditor"}


def test_only_officers_publish_policies_beside_the_auditors_heartbeats_and_the_anchor() -> None:
    """Neither is a publication: what is not signed by an officer is refused by all."""
    assert holders("privacy.policy", "W") == {"officer", "auditor", "operator"}


def test_only_protector_and_keeper_write_legs_beside_the_auditors_heartbeats_and_the_anchor() -> None:
    assert holders("calllog.legs", "W") == {"protector", "keeper", "auditor", "operator"}


def test_records_are_deleted_by_the_auditor_in_plaintext_topics_alone() -> None:
    assert {(topic, user) for topic in rights() for user in holders(topic, "X")} == {
        ("calllog.events", "auditor"),
        ("calllog.notifications", "auditor"),
        ("privacy.requests", "auditor"),
    }


def test_nobody_may_alter_anything_but_how_long_plain_text_waits_or_everything() -> None:
    found = list(grants(lambda name: name, "calllog.", ["calllog.events"]))
    altering = {"AlterConfigs"}
    assert {each.operation for each in found} - altering == {
        "Read",
        "Write",
        "Describe",
        "DescribeConfigs",
        "Create",
        "Delete",
    }
    assert {(each.user, each.kind, each.name) for each in found if each.operation in altering} == {
        ("auditor", "Topic", "calllog.events"),
        ("auditor", "Topic", "calllog.notifications"),
        ("auditor", "Topic", "privacy.requests"),
    }


def test_the_commands_have_this_installations_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an SRE copies is what the workers will ask for, events' topics of the policy included."""
    assert main(["init", str(tmp_path)]) == 0
    policy = tmp_path / "policy.toml"
    policy.write_text(policy.read_text().replace('["calllog.events"]', '["calls.london", "calls.paris"]'))
    monkeypatch.setenv("CALLLOG_GUARD_CALLLOG_PREFIX", "eu.calllog.")
    monkeypatch.setenv("CALLLOG_GUARD_POLICY", str(policy))
    capsys.readouterr()
    assert main(["topics", "rights"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        "kafka-acls.sh --add --allow-principal User:keeper "
        "--operation Read --operation Write --operation DescribeConfigs --topic eu.calllog.legs" in lines
    )
    assert "kafka-acls.sh --add --allow-principal User:desk --operation Read --group eu.calllog.guard-desk" in lines
    assert "kafka-acls.sh --add --allow-principal User:auditor --operation DescribeConfigs --cluster" in lines
    for events in ("calls.london", "calls.paris"):
        assert f"kafka-acls.sh --add --allow-principal User:protector --operation Read --topic {events}" in lines
    assert main(["topics", "rights", "--json"]) == 0
    assert {each["user"] for each in json.loads(capsys.readouterr().out)} == set(USERS)
