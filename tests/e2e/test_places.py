"""Every command that writes or opens something looks first whether the policy allows the place."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from in_process import Done, command
from installation import Installation, Make
from reference import tree
from test_policy_live import next_version, today

from calllog_guard.cli._options import PROGRAM

pytestmark = pytest.mark.real
_CASE = "A" * 22
_OFFLINE = "reads and writes files of this machine alone"
_LOOKS = "shows what is there: neither writes nor opens anything"
ELSEWHERE = {
    "stack up": _OFFLINE,
    "stack down": _OFFLINE,
    "stack status": _OFFLINE,
    "init": _OFFLINE,
    "completion": _OFFLINE,
    "demo": "a stack of its own, on this machine",
    "topics check": _LOOKS,
    "topics rights": _LOOKS,
    "tenant list": _LOOKS,
    "policy check": _LOOKS,
    "policy print": _LOOKS,
    "dead list": _LOOKS,
    "keystore guard": _LOOKS,
    "keystore rights": _OFFLINE,
    "keystore policies": _OFFLINE,
    "doctor": "tells it as one of its lines: test_policy_live.py",
    "worker": "test_policy_live.py",
    "console": "test_console_live.py",
    **dict.fromkeys(("source check", "source list", "source show"), _OFFLINE),
    "scan": "looks for what must not be there, wherever that is",
    "key new": _OFFLINE,
    "key register": _OFFLINE,
    "key revoke": _OFFLINE,
    "key rotate": "the KMS alone, and one of files lies nowhere else",
    "export reference": "the KMS alone, and one of files lies nowhere else",
    "key public": _OFFLINE,
    "receipt verify": _OFFLINE,
    "notice open": _OFFLINE,
}


def leaves() -> Iterator[str]:
    """Every command, as `case list`."""
    for path, verb in tree():
        name, actions = path.removeprefix(f"{PROGRAM} "), [each for each in verb.params if each.name == "action"]
        if not isinstance(verb, click.Group):
            choices = [choice for each in actions for choice in each.type.choices]  # type: ignore[attr-defined]
            yield from (
                [f"{name} {choice}" for choice in choices] or ["request" if name.startswith("request") else name]
            )


def commands(guard: Installation, folder: Path) -> list[list[str]]:
    """One call of each command that writes or opens."""
    keys = guard.directory / "keys"
    backend, officer, operator = (str(keys / f"{name}.pem") for name in ("backend-1", "officer-1", "operator-1"))
    who, calls = folder / "who.txt", folder / "calls.csv"
    who.write_text("alice@example.org\n")
    calls.write_text("timestamp,caller,callee,duration\n60,alice@example.org,bob@example.org,120\n")
    ground = folder / "ground.txt"
    ground.write_text("It was asked for twice.\n")
    decided = [
        ["case", each, _CASE, "--key", officer, "--ground", f"@{ground}"] for each in ("approve", "refuse", "extend")
    ]
    letters = [["dead", each, "0:0", "--key", operator] for each in ("open", "replay")]
    return [
        ["topics", "create"],
        ["topics", "accept", guard.topic("calllog.legs"), "--key", officer],
        ["expiry", "--key", officer],
        *(["tenant", each, "iocom"] for each in ("create", "upgrade", "separate", "identity")),
        ["policy", "publish", "--key", officer],
        ["emit", str(calls)],
        ["import", str(calls), "--columns", "start=timestamp,caller=caller,callee=callee,duration=duration",
         "--start", "2026-01-01", "--no-erased-list"],
        ["read", "--purpose", "service", "--actor", "support-1"],
        *letters,
        ["request", "erase", "--subject", f"@{who}", "--key", backend],
        ["case", "list"],
        ["case", "show", _CASE],
        *decided,
        ["report"],
        ["export", "open", str(folder / "answer"), "--case", _CASE, "--key", operator],
        ["keystore", "status"],
        ["keystore", "walk"],
        ["rebuild", "--partition", "0"],
    ]  # fmt: skip


def test_every_command_that_writes_or_opens_refuses_servers_outside_the_allowed_hosts(
    make: Make, tmp_path: Path
) -> None:
    """What a command tells or stores abroad is told and stored there, whether or not a worker would ever start."""
    guard = make()
    policy, good = guard.directory / "policy.toml", (guard.directory / "policy.toml").read_text()
    outside = re.sub(r"allowed_hosts = \[.*?\]", 'allowed_hosts = ["*.london.example.net"]', good)
    policy.write_text(outside)
    tried = commands(guard, tmp_path)
    names = {" ".join(each[:2]) if " ".join(each[:2]) in set(leaves()) else each[0] for each in tried}
    assert names | ELSEWHERE.keys() == set(leaves()), "a new command says which of both it is"
    assert not names & ELSEWHERE.keys()
    second = next_version(guard, today())
    own = {"policy": {"CALLLOG_GUARD_POLICY": str(second)}}

    def run(words: list[str]) -> Done:
        return command(words, guard.environment | own.get(words[0], {}))

    ends = {topic: len(guard.records(topic, 1)) for topic in ("privacy.requests", "privacy.access", "privacy.policy")}
    for words in tried:
        done = run(words)
        assert (done.code, "outside the policy's allowed_hosts: 127.0.0.1 is none of" in done.err) == (2, True), (
            words,
            done.err,
        )
    assert ends == {topic: len(guard.records(topic, 1)) for topic in ends}, "nothing was written"
    assert guard.live() == {}
    policy.write_text(outside.replace('"*.london.example.net"', '"*.london.example.net", "127.0.0.1"'))
    for words in (["tenant", "create", "iocom"], ["read", "--purpose", "service", "--actor", "support-1"]):
        assert run(words)[0] == 0, words


def test_the_version_that_allows_the_place_can_be_published_there(make: Make) -> None:
    """Or nobody could ever move: it is the remedy that the refusal names."""
    guard = make()
    policy, good = guard.directory / "policy.toml", (guard.directory / "policy.toml").read_text()
    policy.write_text(re.sub(r"allowed_hosts = \[.*?\]", 'allowed_hosts = ["*.london.example.net"]', good))
    second = next_version(guard, today(), ('["*.london.example.net"]', '["127.0.0.1", "localhost"]'))
    guard.environment["CALLLOG_GUARD_POLICY"] = str(second)
    guard.cli("policy", "publish", "--key", str(guard.directory / "keys" / "officer-1.pem"))
    guard.environment["CALLLOG_GUARD_POLICY"] = str(policy)
    guard.cli("read", "--purpose", "service", "--actor", "support-1")
