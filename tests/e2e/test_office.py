"""The office on the real stack: recipients told, a restriction's end told before it, a refusal only a person reads."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from installation import Installation, Make, event, raw
from patience import ended
from test_choices import ask, read, state, told
from test_erase import cases, erased

from calllog_guard.core.cases.deadlines import months_after
from calllog_guard.core.cases.working_days import calendar_of
from calllog_guard.core.crypto.jose import new_pair, open_sealed

pytestmark = pytest.mark.real

TOLD = """
[version.tenant.iocom.recipients.invoicing]
key = "keys/invoicing.pub.pem"
told = ["erased", "restricted", "lifting"]
[version.tenant.iocom.person_notices]
key = "keys/gateway.pub.pem"
told = ["erased", "lifting", "refused"]
"""


def with_recipients(guard: Installation) -> Installation:
    """The installation with a recipient and a mail gateway."""
    for name in ("invoicing", "gateway"):
        private, public = new_pair(signs=False)
        (guard.directory / "keys" / f"{name}.pem").write_bytes(private)
        (guard.directory / "keys" / f"{name}.pub.pem").write_bytes(public)
    path = guard.directory / "policy.toml"
    path.write_text(path.read_text() + TOLD)
    return guard


def notices(guard: Installation) -> list[dict[str, Any]]:
    """The notices, the first of each name; what each says, to whom it is for."""
    found: dict[str, dict[str, Any]] = {}
    for record in guard.records("privacy.notices", 1):
        notice = json.loads(record.value)
        found.setdefault(f"{notice['case']} {notice['to']} {notice['kind']}", notice)
    for notice in found.values():
        name = "gateway" if notice["to"] == "person" else "invoicing"
        pem = (guard.directory / "keys" / f"{name}.pem").read_bytes()
        notice["says"] = json.loads(open_sealed(pem, notice["jwe"]))
    return list(found.values())


def names(guard: Installation) -> list[str]:
    """The notices by addressee and kind."""
    return [f"{notice['to']}/{notice['kind']}" for notice in notices(guard)]


def test_a_recipient_is_told_of_an_erasure_and_acknowledges_it(make: Make) -> None:
    guard = with_recipients(make())
    guard.start("all")
    guard.publish("calllog.events", [raw(event("c1", "alice@example.org", "bob@example.org"))])
    guard.settled(lambda: len(guard.live()) == 2, "both legs")
    assert len(read(guard)) == 2
    ask(guard, "erase-0001", "alice@example.org", ticket="DSR-118")
    guard.settled(lambda: erased(guard, "erase-0001"), "tombstoned")
    guard.settled(lambda: len(names(guard)) == 2, "told whom the records went to")
    assert sorted(names(guard)) == ["invoicing/erased", "person/erased"]
    assert {notice["says"]["subjects"][0] for notice in notices(guard)} == {"alice@example.org"}
    assert b"alice" not in b"".join(record.value for record in guard.records("privacy.notices", 1))
    case = cases(guard)["erase-0001"]["case"]
    ask(guard, "noticed-01", type="clock", case=case, event="noticed", to="invoicing")
    guard.settled(
        lambda: cases(guard)["erase-0001"]["notices"]["invoicing/erased"]["acknowledged_at"] is not None, "on record"
    )
    shown = guard.cli("case", "show", case)
    assert "invoicing/erased" in shown
    assert "not acknowledged" in shown
    assert guard.cli("case", "list", "--type", "erase").startswith(case)
    assert guard.cli("case", "list", "--waiting-for-me", "officer-1").strip() == ""
    made = json.loads(guard.cli("report", "--json"))
    assert [(each["to"], each["acknowledged"]) for each in made["notices"]] == [("invoicing", 1), ("person", 0)]
    out = guard.directory / "report.html"
    guard.cli("report", "--html", str(out))
    for text in (out.read_text(), guard.cli("report"), json.dumps(made)):
        assert "alice" not in text
        assert "erase" in text


def test_whoever_was_given_nothing_of_a_person_hears_nothing_of_them(make: Make) -> None:
    """Art. 19: each recipient to whom the personal data have been disclosed, and nobody else."""
    guard = with_recipients(make())
    path = guard.directory / "policy.toml"
    told = 'told = ["erased", "restricted", "lifting"]\n'
    helpdesk = '[version.tenant.iocom.recipients.helpdesk]\nkey = "keys/invoicing.pub.pem"\n' + told
    billing, support = 'actors = ["billing-1"]\n', 'actors = ["support-1"]\n'
    path.write_text(path.read_text().replace(told, told + billing) + helpdesk + support)
    guard.start("all")
    guard.publish("calllog.events", [raw(event("c1", "alice@example.org"))])
    guard.settled(lambda: len(guard.live()) == 1, "alice")
    assert len(read(guard)) == 1
    guard.publish("calllog.events", [raw(event("c2", "bob@example.org"))])
    guard.settled(lambda: len(guard.live()) == 2, "bob, whom nobody has read")
    ask(guard, "erase-0001", "alice@example.org", "bob@example.org")
    ask(guard, "erase-0002", "nobody@example.org")
    guard.settled(lambda: erased(guard, "erase-0001") and "erase-0002" in cases(guard), "erased")
    mine = [each for each in notices(guard) if each["case"] == cases(guard)["erase-0001"]["case"]]
    assert {each["to"]: each["says"]["subjects"] for each in mine} == {
        "person": ["alice@example.org", "bob@example.org"],
        "helpdesk": ["alice@example.org"],
    }
    assert {each["to"] for each in notices(guard) if each not in mine} <= {"person"}
    assert cases(guard)["erase-0001"]["sealed"] is None
    assert "given to   helpdesk" in guard.cli("case", "show", cases(guard)["erase-0001"]["case"])


def test_killed_between_the_notice_and_the_flag_the_end_of_a_restriction_is_told_before_it_ends(make: Make) -> None:
    guard = with_recipients(make())
    for role in ("protector", "keeper"):
        guard.start(role)
    first = guard.start("desk")
    guard.publish("calllog.events", [raw(event("c1", "alice@example.org"))])
    guard.settled(lambda: len(guard.live()) == 1, "stored: whoever is not known yet is put before an officer")
    assert len(read(guard)) == 1
    ask(guard, "restrict-1", "alice@example.org", type="restrict")
    guard.settled(lambda: "invoicing/restricted" in names(guard), "restricted, and told whom the records went to")
    first.terminate()
    ended(first)
    killed = guard.start("desk", DEVELOPMENT="crash-at=notices.before")
    ask(guard, "lift-00001", "alice@example.org", type="lift")
    assert ended(killed) == -9
    assert "person/lifting" in names(guard)
    assert read(guard) == [], "still restricted"
    guard.start("desk")
    guard.settled(lambda: state(guard, "lift-00001") == ("waiting", "notice"), "the person is being told")
    assert read(guard) == [], "and still restricted"
    assert "waits until person/lifting is acknowledged" in guard.cli("case", "show", cases(guard)["lift-00001"]["case"])
    assert sorted(names(guard)) == ["invoicing/restricted", "person/lifting"]
    told(guard, "lift-00001")
    guard.settled(lambda: state(guard, "lift-00001") == ("closed", None), "lifted")
    assert len(read(guard)) == 1
    assert sorted(names(guard)) == ["invoicing/lifting", "invoicing/restricted", "person/lifting"]


def test_a_refusal_and_an_answer_reach_the_person_and_nobody_else_reads_them(make: Make) -> None:
    guard = with_recipients(make())
    guard.start("desk")
    ask(guard, "unknown-01", "alice@example.org", identity="unverified")
    ask(guard, "complain-1", "alice@example.org", type="complain", ground="Too slow.")
    guard.settled(lambda: len(cases(guard)) == 2, "both cases")
    found = {name: each["case"] for name, each in cases(guard).items()}
    ask(guard, "refuse-001", key="officer-1", type="refuse", case=found["unknown-01"], ground="Nobody knows you here.")
    ask(guard, "answer-001", key="officer-1", type="approve", case=found["complain-1"], ground="Faster from now on.")
    guard.settled(lambda: state(guard, "complain-1") == ("closed", None), "answered")
    guard.settled(lambda: state(guard, "unknown-01") == ("refused", None), "refused")
    said = {notice["kind"]: notice["says"] for notice in notices(guard)}
    assert sorted(said) == ["answered", "received", "refused"]
    assert "remedies" not in said.pop("received")
    assert said["refused"]["ground"] == "Nobody knows you here."
    assert said["answered"]["ground"] == "Faster from now on."
    assert all("ico.org.uk" in each["remedies"]["authority"] for each in said.values())
    written = [record for name in ("cases", "notices", "receipts") for record in guard.records(f"privacy.{name}", 1)]
    everything = b"".join(record.value for record in written)
    assert not any(word in everything for word in (b"Nobody", b"Faster", b"slow", b"alice"))


def test_without_a_gateway_a_lift_is_refused_and_the_command_ends_with_it(make: Make, tmp_path: Path) -> None:
    """Nobody would tell the person: the restriction stays (Art. 18(3))."""
    guard = make()
    guard.start("desk")
    who = tmp_path / "who.txt"
    who.write_text("alice@example.org\n")
    key = ("--subject", f"@{who}", "--key", str(guard.directory / "keys" / "backend-1.pem"))
    guard.cli("request", "lift", *key, "--wait", code=4)
    assert [letter["reason"] for letter in guard.dead()] == ["nobody_to_tell"]
    assert cases(guard) == {}


def test_a_letter_is_due_from_its_own_day_and_a_proof_by_post_counts_from_its(make: Make, tmp_path: Path) -> None:
    """As somebody enters on Monday what has come since Wednesday."""
    guard = make()
    guard.start("desk")
    who, key = tmp_path / "who.txt", ["--key", str(guard.directory / "keys" / "backend-1.pem"), "--json"]
    who.write_text("alice@example.org\n")
    today = datetime.now(ZoneInfo("Europe/London")).date()  # noqa: TID251 - tests run on the real clock
    letter, post = (str(today - timedelta(days)) for days in (5, 2))
    erase = ["request", "erase", "--subject", f"@{who}", "--identity", "unverified", *key]
    for wrong in (
        ["--received-at", str(today + timedelta(1))],
        ["--received-at", "2020-01-01"],
        ["--received-at", "x"],
    ):
        guard.cli(*erase, *wrong, code=2)
    case = json.loads(guard.cli(*erase, "--received-at", letter))["case"]
    found = json.loads(guard.cli("case", "show", case, "--json"))
    days = calendar_of("uk")
    due = days.on_or_after(months_after(today - timedelta(5), 1)).isoformat()
    assert (found["due"], found["law_due"]) == (due, due), "the law's time runs: nobody was asked"
    shown = guard.cli("case", "show", case)
    assert "nobody has asked: time runs" in shown
    assert "awaited (request clock --event verify)" in shown
    clock = ["request", "clock", "--case", case, *key]
    guard.cli(*clock, "--event", "ask_identity", "--received-at", str(today - timedelta(4)))
    assert json.loads(guard.cli("case", "show", case, "--json"))["law_due"] is None
    guard.cli(*clock, "--event", "verify", "--received-at", post)
    found = json.loads(guard.cli("case", "show", case, "--json"))
    assert found["law_due"] == days.on_or_after(months_after(today - timedelta(2), 1)).isoformat()
    assert found["due"] == due
    old = json.loads(guard.cli(*erase, "--received-at", "2026-01-02", "--long-ago"))
    assert old["due"] == "2026-02-02"
