"""Access, portability and disclosure on the real stack: the person's legs, sealed to the asker, nobody else's."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from installation import Installation, Make, event, raw
from signing import claims, signed
from test_choices import ask, state, told, with_purposes
from test_erase import cases

from calllog_guard.cli.request import reply_key

pytestmark = pytest.mark.real


def asker(guard: Installation) -> dict[str, str]:
    """The operator's key pair serves as the asker's."""
    found = reply_key(guard.directory / "keys" / "operator-1.pub.pem")
    assert found is not None
    return found


def opened(guard: Installation, jti: str, page: str = "What we keep about your calls") -> dict[str, Any]:
    """What the asker gets, compared with what was signed."""
    folder, keys = guard.directory / jti, guard.directory / "keys"
    named = ("--key", str(keys / "operator-1.pem"), "--receipts-key", str(keys / "iocom-receipts.pub.pem"))
    told = guard.cli("export", "open", str(folder), *named, "--case", cases(guard)[jti]["case"], "--json")
    assert json.loads(told)["receipt"] == "good"
    found: dict[str, Any] = json.loads((folder / "export.json").read_text())
    assert len((folder / "legs.csv").read_text().splitlines()) == 1 + len(found["legs"])
    assert page in (folder / "index.html").read_text()
    return found


def references(guard: Installation, *ids: str) -> list[str]:
    """By what records name some calls: what an officer asks for when a person names a reference."""
    path = guard.directory / "ids.txt"
    path.write_text("\n".join(ids))
    return [row["call"] for row in json.loads(guard.cli("export", "reference", str(path), "--json"))]


def test_a_person_gets_their_own_legs_and_no_other_party(make: Make) -> None:
    guard = make()
    guard.start("all")
    calls = [raw(event(f"c{n}", "alice@example.org", f"p{n}@example.org")) for n in range(5)]
    guard.publish("calllog.events", calls)
    guard.settled(lambda: len(guard.live()) == 10, "all legs")
    guard.cli("read", "--purpose", "service", "--actor", "support-1")
    ask(guard, "access-001", "alice@example.org", type="access", reply_key=asker(guard))
    guard.settled(lambda: state(guard, "access-001") == ("closed", None), "exported")
    found = opened(guard, "access-001")
    assert sorted(leg["call"] for leg in found["legs"]) == sorted(references(guard, *[f"c{n}" for n in range(5)]))
    assert found["about"]["calls"] == "reference"
    assert {leg["subject"] for leg in found["legs"]} == {"alice@example.org"}
    assert {"service", "billing"} == {name for leg in found["legs"] for name in leg["purposes"]}
    assert [each["actor"] for each in found["about"]["opened_by"]] == ["support-1"]
    assert {each["name"] for each in found["about"]["purposes"]} == {"service", "billing"}
    everything = json.dumps(found) + "".join(path.read_text() for path in (guard.directory / "access-001").glob("*.*"))
    assert not any(f"p{n}@" in everything for n in range(5)), "nobody else is in it"
    on_log = b"".join(record.value for record in guard.records("privacy.exports", 1))
    assert b"alice" not in on_log
    receipt = next(
        r for r in guard.records("privacy.receipts", 1) if r.key.decode() == cases(guard)["access-001"]["case"]
    )
    assert receipt is not None


def test_of_whom_nothing_is_stored_the_answer_says_so_and_a_missing_part_is_seen(make: Make) -> None:
    guard = make()
    guard.start("all")
    ask(guard, "access-002", "nobody@example.org", type="portability", reply_key=asker(guard))
    guard.settled(lambda: state(guard, "access-002") == ("closed", None), "answered")
    assert opened(guard, "access-002", "Your call data, to take away")["legs"] == []
    empty = guard.directory / "empty"
    key = str(guard.directory / "keys" / "operator-1.pem")
    guard.cli("export", "open", str(empty), "--key", key, code=4)
    (part,) = (guard.directory / "access-002").glob("*.jwe")
    shutil.copy(part, empty / "part-1.jwe")
    guard.cli("export", "open", str(empty), "--key", key)
    Path(empty / "part-1.jwe").write_text("a.b.c.d.e")
    guard.cli("export", "open", str(empty), "--key", key, code=2)


@pytest.mark.long
def test_only_what_rests_on_consent_or_contract_is_carried_away(make: Make) -> None:
    guard = make()
    path = guard.directory / "policy.toml"
    path.write_text(path.read_text().replace('"contract"', '"legitimate_interests"'))
    guard.start("all")
    guard.publish("calllog.events", [raw(event("c1", "alice@example.org", outcome="missed"))])
    guard.settled(lambda: len(guard.live()) == 1, "the leg")
    ask(guard, "carry-0001", "alice@example.org", type="portability", reply_key=asker(guard))
    ask(guard, "access-003", "alice@example.org", type="access", reply_key=asker(guard))
    guard.settled(lambda: state(guard, "carry-0001")[0] == state(guard, "access-003")[0] == "closed", "exported")
    assert len(opened(guard, "carry-0001", "Your call data, to take away")["legs"]) == 0
    assert len(opened(guard, "access-003")["legs"]) == 1


def test_a_disclosure_needs_two_different_officers(make: Make) -> None:
    guard = with_purposes(make())
    guard.start("all")
    guard.publish("calllog.events", [raw(event("c1", "alice@example.org", "bob@example.org"))])
    guard.settled(lambda: len(guard.live()) == 2, "both legs")
    terms = {"authority": "Court", "basis": "Order 7", "notify": "before", "reply_key": asker(guard)}
    ask(guard, "disclose-1", "alice@example.org", key="officer-1", type="disclose", **terms)
    guard.settled(lambda: state(guard, "disclose-1") == ("waiting", "second_officer"), "waits for another")
    case = cases(guard)["disclose-1"]["case"]
    ask(guard, "approve-11", key="officer-1", type="approve", case=case)
    guard.settled(lambda: [letter["reason"] for letter in guard.dead()] == ["same_officer"], "not the same one")
    assert not guard.records("privacy.exports", 1)
    ask(guard, "approve-12", key="officer-2", type="approve", case=case)
    guard.settled(lambda: state(guard, "disclose-1") == ("waiting", "notice"), "announced")
    assert not guard.records("privacy.exports", 1), "nothing is given before the person was told"
    told(guard, "disclose-1")
    guard.settled(lambda: state(guard, "disclose-1") == ("closed", None), "disclosed")
    found = opened(guard, "disclose-1", "Disclosure of call records")
    assert [leg["call"] for leg in found["legs"]] == references(guard, "c1")
    assert found["disclosure"]["approvals"] == ["officer-1", "officer-2"]
    assert [len(each) for each in cases(guard)["disclose-1"]["digests"].values()] == [1, 1]
    again = signed(guard.directory, claims("approve-12", iss="officer-2", type="approve", case=case), key="officer-2")
    guard.publish("privacy.requests", [again])
    guard.settled(lambda: min(letter["reason"] for letter in guard.dead()) == "replayed", "an act is no replay's")
