"""The command line as a newcomer and an operator use it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from installation import Make
from patience import PATIENCE_S
from signing import claims, signed

from calllog_guard.adapters.disk.trace_search import Hunter

pytestmark = pytest.mark.real


def stack(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run `calllog-guard stack`."""
    command = [sys.executable, "-m", "calllog_guard.cli", "stack", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)


def test_stack_goes_up_once_and_down(java: None, tmp_path: Path) -> None:  # noqa: ARG001
    folder = str(tmp_path / "a folder")
    assert stack("status", "--dir", folder).returncode == 3
    up = stack("up", "--dir", folder, "--detach", "--json")
    assert up.returncode == 0, up.stderr
    found = json.loads(up.stdout)
    assert found["env"]["CALLLOG_GUARD_KAFKA"] == found["kafka"]
    assert stack("up", "--dir", folder).returncode == 4
    assert json.loads(stack("status", "--dir", folder, "--json").stdout)["pid"] == found["pid"]
    assert stack("down", "--dir", folder).returncode == 0
    assert stack("status", "--dir", folder).returncode == 3


def test_from_csv_to_a_verified_receipt(make: Make, tmp_path: Path) -> None:
    guard = make(TRIM_S="3600")  # what was sent is looked at below
    calls = tmp_path / "calls.csv"
    calls.write_text(
        "timestamp,caller,callee,duration\n0,user-1,user-2,60\n3600,user-1,user-3,-1\n7200,user-2,user-3,5\n"
    )
    guard.start("all")
    assert json.loads(guard.cli("emit", str(calls), "--json")) == {"published": 3}
    guard.settled(lambda: len(guard.live()) == 6, "all legs")
    lines = [
        json.loads(line) for line in guard.cli("read", "--purpose", "billing", "--actor", "billing-1").splitlines()
    ]
    assert len(lines) == 2, "billing covers the callers of answered calls"
    assert all(set(line) == {"op", "token", "person", "role", "started_at", "duration_s"} for line in lines)
    guard.cli("read", "--purpose", "billing", "--actor", "support-1", code=4)
    accesses = [json.loads(record.value) for record in guard.records("privacy.access", 1)]
    assert sum(access["opened"] for access in accesses) == 2
    who = tmp_path / "who.txt"
    who.write_text("user-1\n")
    key = str(guard.directory / "keys" / "backend-1.pem")
    guard.cli("request", "erase", "--subject", "user-1", "--key", key, code=2)
    case = json.loads(guard.cli("request", "erase", "--subject", f"@{who}", "--key", key, "--wait", "--json"))
    assert case["state"] in {"observing", "closed"}, "an auditor may have been faster"
    sent = [record.value for record in guard.records("privacy.requests", 1)]
    assert [value.count(b".") for value in sent] == [4], "sealed to the desk's key, which lies beside the policy"
    assert json.loads(guard.cli("case", "list", "--json"))[0]["case"] == case["case"]
    guard.cli("case", "show", case["case"], "--receipts", str(tmp_path / "receipts"))
    public = str(guard.directory / "keys" / "iocom-receipts.pub.pem")
    stages = []
    for path in sorted((tmp_path / "receipts").iterdir()):
        verdict = json.loads(guard.cli("receipt", "verify", str(path), "--key", public, "--json"))
        stages.append(verdict["claims"]["stage"])
        other = str(guard.directory / "keys" / "backend-1.pub.pem")
        guard.cli("receipt", "verify", str(path), "--key", other, code=1)
    assert {"accepted", "destroyed", "fenced", "tombstoned"} <= set(stages)

    def scanned() -> int:
        files = ["--log-dir", str(guard.stack.broker_log_dir)]
        found = json.loads(guard.cli("scan", "--case", case["case"], *files, "--json", code=None))
        assert any(place["where"].startswith("files ") for place in found["places"])
        return int(found["findings"])

    guard.settled(lambda: scanned() == 0, "the values have left the log and the disk")
    assert "user-1" not in guard.log.read_text()


def test_identity_and_brake_make_a_case_wait_and_nobody_is_touched(make: Make) -> None:
    guard = make()
    policy = guard.directory / "policy.toml"
    policy.write_text(policy.read_text().replace("erasures_per_hour = 10000", "erasures_per_hour = 1"))
    guard.start("desk")
    requests = [claims("wait-00001", "a@x.org", identity="unverified"), claims("wait-00002", "b@x.org")]
    requests.append(claims("wait-00003", "c@x.org"))
    guard.publish("privacy.requests", [signed(guard.directory, each) for each in requests])

    def waits() -> dict[str, str | None]:
        cases = json.loads(guard.cli("case", "list", "--json"))
        return {case["jti"]: case["waits_for"] for case in cases}

    wanted = {"wait-00001": "identity", "wait-00002": None, "wait-00003": "officer"}
    guard.settled(lambda: waits() == wanted, "two cases wait")
    assert len(guard.records("privacy.decisions")) == 1


def test_what_was_sent_says_what_became_of_it(make: Make, tmp_path: Path) -> None:
    """A program that reads `sent` and 0 would believe in acts that the desk made dead letters of."""
    guard = make()
    (tmp_path / "who").write_text("alice@example.org\n")
    (tmp_path / "why").write_text("Reasons.")
    keys = {name: ["--key", str(guard.directory / "keys" / f"{name}.pem")] for name in ("backend-1", "officer-1")}
    why = ["--ground", f"@{tmp_path / 'why'}"]
    erase = ["request", "erase", "--subject", f"@{tmp_path / 'who'}", *keys["backend-1"], "--json"]
    untaken = json.loads(guard.cli(*erase))
    assert (untaken["taken"], untaken["due"]) == (False, None)
    guard.cli(*erase, "--wait", "--timeout", "1", code=3)
    guard.start("desk")
    guard.settled(lambda: len(json.loads(guard.cli("case", "list", "--json"))) == 2, "both are taken now")
    guard.cli(*erase, "--wait", "--timeout", "1", code=3)  # no keeper runs
    told = json.loads(guard.cli("request", "complain", *why, *keys["backend-1"], "--json"))
    shown = json.loads(guard.cli("case", "show", told["case"], "--json"))
    assert (told["taken"], told["due"], shown["waits_for"]) == (True, shown["due"], "officer")
    wrong = json.dumps({"id": "h-1", "authority": "a", "basis": "b", "review_at": "2099-01-01T00:00:00Z"})
    (tmp_path / "hold").write_text(wrong)
    guard.cli(*erase[:1], "hold", *erase[2:], "--hold", f"@{tmp_path / 'hold'}", code=4)  # a backend may not
    for case, key in (("A" * 22, "officer-1"), (told["case"], "backend-1"), (untaken["case"], "officer-1")):
        guard.cli("case", "approve", case, *why, *keys[key], code=4)
    assert not [letter for letter in guard.dead() if letter["reason"] != "wrong_role"], "nothing was sent in vain"
    guard.publish("privacy.decisions", [b"junk"], key=b"x" * 45)
    assert json.loads(guard.cli("scan", "--case", untaken["case"], "--json"))["findings"] == 0
    decided = {record.key for record in guard.records("privacy.decisions") if record.key != b"x" * 45}
    assert json.loads(guard.cli("keystore", "status", "--json"))["lag"] == len(decided) > 0, "no keeper runs"
    done = json.loads(guard.cli("case", "approve", told["case"], *why, *keys["officer-1"], "--wait", "--json"))
    assert (done["taken"], done["state"] in {"enforcing", "closed"}) == (True, True)
    guard.cli("case", "refuse", told["case"], *why, *keys["officer-1"], code=4)


def test_wrong_settings_are_refused_with_what_to_do() -> None:
    environment = os.environ | {"CALLLOG_GUARD_UNIT_RECORD": "5"}
    command = [sys.executable, "-m", "calllog_guard.cli", "topics", "check"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unknown setting CALLLOG_GUARD_UNIT_RECORD" in done.stderr


def test_what_emit_maps_is_told_by_reason_and_leaves_no_trace(make: Make, tmp_path: Path) -> None:
    """The events are the topic's; names, and whatever was refused or skipped, lie nowhere and are never shown."""
    guard = make()
    one = {"room": "r-1", "user_id": "ana@example.org", "user_name": "A Name", "session_id": "s-1", "duration": 60}
    told = [
        {"type": "participant.left", "payload": one | {"joined_at": 1764493200.123}},
        {"type": "participant.left", "payload": one | {"joined_at": "Weekly", "user_id": "bo@example.org"}},
        {"type": "participant.joined", "payload": one | {"user_id": "cy@example.org"}},
    ]
    sample = tmp_path / "told.ndjson"
    sample.write_text("".join(json.dumps(each) + "\n" for each in told))
    words = ("emit", str(sample), "--mapping", "daily")
    done = guard.run(*words, "--skip-bad", "--json")
    assert (done.code, json.loads(done.out)) == (
        1,
        {
            "published": 1,
            "refused": 1,
            "reasons": {"wrong_value": 1},
            "skipped": {"of a type that the mapping does not take": 1},
        },
    )
    shown = guard.run(*words, "--skip-bad")
    assert "refused: wrong_value 1" in shown.out
    log = b"\n".join(record.value for record in guard.records("calllog.events"))
    sample.unlink()
    left = [path.read_bytes() for path in guard.directory.rglob("*") if path.is_file()]
    assert left
    said = [text.encode() for text in (done.out, done.err, shown.out, shown.err)]
    never = ["A Name", "Weekly", "bo@example.org", "cy@example.org"]
    assert Hunter([*never, "ana@example.org"]).hits(b"\n".join([*left, *said])) == []
    assert Hunter(never).hits(log) == []
    assert Hunter(["ana@example.org"]).hits(log)
