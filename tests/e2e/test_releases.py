"""Releases beside each other on the real stack: each reads what the other wrote; fixtures of releases are opened."""

import asyncio
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from installation import event, raw
from patience import ended
from releases import Fixture, Patient, Thawed, forms, releases
from test_choices import ask, read, state
from test_erase import cases
from test_preserve import held, order

import calllog_guard
from calllog_guard.adapters.kafka.log import KafkaLog
from calllog_guard.cli.request import reply_key
from calllog_guard.core.crypto.jose import verify
from calllog_guard.core.crypto.leg_envelope import parse_header
from calllog_guard.core.decisions.outcome import TO_DESK
from calllog_guard.core.identifiers import Tenant, b64, is_id, unb64
from calllog_guard.core.profile import FORMS
from calllog_guard.devstack.supervisor import Stack

pytestmark = [pytest.mark.real, pytest.mark.timeout(3600)]
ROLES = ("protector", "desk", "keeper", "auditor")


@pytest.fixture(scope="module")
def own_stack(java: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:  # noqa: ARG001
    """A stack of this module's: a fixture's topics have their names, whoever puts them there."""
    with Stack(tmp_path_factory.mktemp("releases")) as running:
        yield running


def later_minor(folder: Path) -> Path:
    """A copy of this release as a later minor one would be: every internal message has a field more."""
    shutil.copytree(Path(calllog_guard.__file__).parent, folder / "calllog_guard")
    path = folder / "calllog_guard" / "core" / "codec.py"
    text = path.read_text()
    mark = "class Internal(Message, frozen=True, kw_only=True):\n"
    assert text.count(mark) == 1
    # declared with a default, and written all the same
    path.write_text(
        text.replace(mark, mark + '    later: dict[str, int] = msgspec.field(default_factory=lambda: {"minor": 2})\n')
    )
    return folder


class Beside:
    """One installation whose roles are run by two releases in turn."""

    def __init__(self, guard: Patient) -> None:
        self.guard = guard
        self.running: dict[str, Any] = {}
        self.number = 0

    def run(self, programs: Mapping[str, Path | None]) -> None:
        """Start every role with the release that is named for it."""
        self.running = {role: self.guard.start(role, programs[role]) for role in ROLES}

    def stop(self) -> None:
        """End all in their own order; none had halted."""
        for role, worker in self.running.items():
            assert worker.poll() is None, f"{role} halted: {self.guard.log.read_text()[-2000:]}"
            worker.terminate()
        for role, worker in self.running.items():
            assert ended(worker) == 0, f"{role}: {self.guard.log.read_text()[-2000:]}"

    def round(self) -> None:
        """Calls, a hold and a restriction, an erasure up to its certificate, something waiting, and its answer."""
        guard, self.number = self.guard, self.number + 1
        tag = f"{self.number:05}"
        people = [f"{name}-{tag}@example.org" for name in ("erased", "held", "closed", "waits")]
        before = len(guard.live())
        guard.publish("calllog.events", [raw(event(f"c-{tag}-{name}", name, "guest@example.org")) for name in people])
        guard.settled(lambda: len(guard.live()) == before + 8, "all legs")
        ask(guard, f"hold-{tag}", people[1], key="officer-1", type="hold", hold=order(f"claim-{tag}"))
        ask(guard, f"rest-{tag}", people[2], type="restrict")
        ask(guard, f"late-{tag}", people[3], identity="unverified")
        ask(guard, f"gone-{tag}", people[0])
        guard.settled(lambda: state(guard, f"hold-{tag}") == ("closed", None), "copied")
        guard.settled(lambda: state(guard, f"rest-{tag}") == ("closed", None), "restricted")
        guard.settled(lambda: state(guard, f"late-{tag}") == ("waiting", "identity"), "waits")
        if self.number > 1:
            former = f"late-{self.number - 1:05}"
            ask(guard, f"know-{tag}", type="clock", case=cases(guard)[former]["case"], event="verify")
            guard.settled(lambda: "tombstoned" in cases(guard)[former]["stages"], "what the other desk let wait")
        guard.settled(lambda: "absent" in cases(guard)[f"gone-{tag}"]["stages"], "absent")
        assert len(held(guard)) == self.number
        assert read(guard)
        assert guard.dead() == []


def alternate(guard: Patient, one: Path | None, other: Path | None, rounds: int) -> None:
    """Two releases share the roles, and change places after each round: each finds the other's records readable."""
    beside = Beside(guard)
    for number in range(rounds):
        programs = [one, other] if number % 2 else [other, one]
        beside.run({role: programs[at % 2] for at, role in enumerate(ROLES)})
        beside.round()
        beside.stop()
    assert not re.search(r"unreadable|bad_leg|bad_case|bad_decision|forged", guard.log.read_text())


@pytest.fixture(params=releases())
def fixture(request: pytest.FixtureRequest) -> Fixture:
    """Each frozen release."""
    return Fixture(request.param)


@pytest.mark.long
def test_two_releases_side_by_side_in_both_orders(own_stack: Stack, tmp_path: Path, fixture: Fixture) -> None:
    """On a tenant of the earlier one: this one writes its forms until `tenant upgrade`."""
    program = fixture.program(tmp_path / "program")
    guard = Patient(own_stack, tmp_path / "in", program)
    try:
        guard.release = None
        rounds = int(os.environ.get("RELEASE_ROUNDS", "2"))
        alternate(guard, program, None, rounds)
        for release in (program, None):
            guard.release = release
            assert json.loads(guard.cli("keystore", "status", "--json"))["states"]
        assert forms(guard) == fixture.forms
        guard.release = program
        told = read(guard)
        guard.release = None
        assert read(guard) == told, "both releases' readers are shown the same"
        upgraded(guard, rounds)
        if fixture.forms < FORMS:
            refused(guard, program)
    finally:
        guard.stop()


def upgraded(guard: Patient, rounds: int) -> None:
    """Raise the tenant beside running workers; what waited under the older forms is done under the newer ones."""
    beside = Beside(guard)
    beside.number = rounds
    beside.run(dict.fromkeys(ROLES))
    beside.round()  # every role has read with this release before the tenant is raised, as the documentation asks
    guard.cli("tenant", "upgrade", "iocom")
    beside.round()
    guard.cli("keystore", "walk")
    beside.round()
    beside.stop()
    assert forms(guard) == FORMS


def refused(guard: Patient, program: Path) -> None:
    """Programs of the earlier release that were forgotten: each ends, did nothing, and this one does what it met."""
    live, before = len(guard.live()), everything(guard)
    guard.publish("calllog.events", [raw(event("met", "met@example.org", "guest@example.org"))])
    ask(guard, "met-00001", "met@example.org", type="restrict")
    for role in ROLES:
        told = guard.log.stat().st_size
        assert ended(guard.start(role, program)) == 70, f"{role}: {guard.log.read_text()[-2000:]}"
        assert halted(guard, told)["kind"] in {"GuardMovedError", "NewerFormError"}, role
    written = Counter(topic.partition(".")[2] for topic, _, _ in everything(guard) - before)
    assert written <= Counter(cases=1, receipts=1), "its desk may have said that the request has come"
    guard.release = program
    guard.cli("read", "--purpose", "service", "--actor", "support-1", code=70)
    guard.release = None
    beside = Beside(guard)
    beside.run(dict.fromkeys(ROLES))
    guard.settled(lambda: len(guard.live()) == live + 2, "the call that they met")
    ends = {("closed", None), ("waiting", "officer")}  # the desk may be faster than the call by which they are known
    guard.settled(lambda: state(guard, "met-00001") in ends, "the request that they met")
    beside.stop()


def halted(guard: Patient, told: int) -> dict[str, Any]:
    """The line of a halt, behind so many bytes of the log; what a client library says after it is no line of ours."""
    lines = guard.log.read_bytes()[told:].decode().splitlines()
    (last,) = [each for line in lines if line[:1] == "{" and (each := json.loads(line))["event"] == "halt"]
    return dict(last)


def everything(guard: Patient) -> set[tuple[str, int, int]]:
    """Where each record of the topics that workers write lies, without heartbeats."""
    many = dict.fromkeys(("calllog.legs", "calllog.held", "privacy.decisions"), guard.partitions)
    one = dict.fromkeys(("calllog.dead", "privacy.outcomes", "privacy.cases", "privacy.receipts"), 1)
    found = [record for name, count in (many | one).items() for record in guard.records(name, count)]
    return {(each.topic, each.partition, each.offset) for each in found}


@pytest.mark.long
def test_a_later_minor_release_beside_this_one(own_stack: Stack, tmp_path: Path) -> None:
    """It adds a field to every message; whoever does not know it passes it over, and keeps it in what is rewritten."""
    later = later_minor(tmp_path / "later")
    guard = Patient(own_stack, tmp_path / "in")
    try:
        alternate(guard, later, None, int(os.environ.get("RELEASE_ROUNDS", "2")))
        written = {
            name: [json.loads(r.value) for r in guard.records(name) if r.value] for name in ("privacy.decisions",)
        }
        assert {"later" in each for each in written["privacy.decisions"]} == {True, False}, "both have written"
        first = [case for case in cases(guard).values() if case["jti"].endswith("00001")]
        assert all("later" in case for case in first), "this release's desk has rewritten them, and kept it"
    finally:
        guard.stop()


LATER = (
    ("privacy.outcomes", "desk", "Outcome"),
    ("privacy.cases", "desk", "Case"),
    ("calllog.legs", "keeper", "LegHeader"),
    ("privacy.decisions", "keeper", "Decision"),
    ("privacy.decisions", "auditor", "Decision"),
)
"""Where a later major version lies, who reads it, and what they call it; in the order in which one hides another."""


def of_version(value: bytes, version: int) -> bytes:
    """The same message, or the same leg's header, of another version."""
    if value[:1] == b"{":
        return json.dumps(json.loads(value) | {"v": version}).encode()
    header, _, rest = value.partition(b".")
    return b64(json.dumps(json.loads(unb64(header)) | {"v": version}).encode()) + b"." + rest


@pytest.mark.long
def test_a_later_major_version_halts_whoever_reads_it(own_stack: Stack, tmp_path: Path) -> None:
    """Not a dead letter, not passed over: what it decided would be lost. Only what our own programs wrote does so."""
    guard = Patient(own_stack, tmp_path / "in")
    try:
        beside = Beside(guard)
        beside.run(dict.fromkeys(ROLES))
        beside.round()
        beside.stop()
        for name, role, kind in LATER:
            count = guard.partitions if name in {"calllog.legs", "privacy.decisions"} else 1
            record = next(each for each in guard.records(name, count) if each.value and each.key[:1] != b"~")
            later = of_version(record.value, 9)
            if name == "privacy.outcomes":
                later = guard.vault.outcome_key(Tenant("iocom"))._sealed(later, TO_DESK)
            proof = "desk" if name in {"privacy.cases", "privacy.decisions"} else None
            guard.publish(name, [later], partition=record.partition, key=record.key, role=proof)
            told = guard.log.stat().st_size
            assert ended(guard.start(role)) == 70, f"{role} and {name}"
            last = halted(guard, told)
            assert last["kind"] == "NewerFormError"
            assert f"a message of the kind {kind} has the version 9" in last["why"]
        guard.cli("read", "--purpose", "service", "--actor", "support-1", code=70)
        assert guard.dead() == []
    finally:
        guard.stop()


# --- fixtures ---------------------------------------------------------------------------------------------------------


def test_this_release_goes_on_where_an_earlier_one_was_stopped(
    own_stack: Stack, tmp_path: Path, fixture: Fixture
) -> None:
    """Topics, keystore, wrapped keys and state of that release: every leg is read, every pending case is finished."""
    guard, told = Thawed(own_stack, tmp_path / "in", fixture), fixture.manifest["told"]
    try:
        waiting = {jti for jti, (at, _) in told["cases"].items() if at in {"enforcing", "observing"}}
        assert len(waiting) >= 5
        for role in ROLES:
            guard.start(role)
        guard.settled(lambda: not any(state(guard, jti)[0] == "enforcing" for jti in waiting), "enforced")
        erasures = [jti for jti in waiting if jti.startswith("erase")]
        guard.settled(lambda: all("absent" in cases(guard)[jti]["stages"] for jti in erasures), "certified")
        by_officers(guard)
        # what came last before the end, and was not handled then: a call of two, and a replay that is no event
        guard.settled(lambda: len(guard.dead()) == letters(fixture) + 1, "the replayed letter")
        service = changes(told["service"], read(guard))
        billing = changes(told["billing"], read(guard, "billing", "billing-1"))
        public = (guard.directory / "keys" / "iocom-receipts.pub.pem").read_bytes()
        receipts = [verify(public, each.value.decode()) for each in guard.records("privacy.receipts", 1)]
        assert len(receipts) > sum(each.topic == fixture.topic("privacy.receipts") for each in fixture.records())
        assert forms(guard) == fixture.forms, "nothing is raised unasked"
        raise_and_go_on(guard)
        # the late call's host; whose objection was refused; of whom law keeps copies made since. gone: the erased since
        assert (service, billing) == (([1, 2], [2]), ([1, 2, 2], []))
    finally:
        guard.stop()


def changes(before: list[Any], now: list[Any]) -> tuple[list[int], list[int]]:
    """How many lines have come and gone, by person."""
    come = Counter(line["person"] for line in now if line not in before)
    gone = Counter(line["person"] for line in before if line not in now)
    return sorted(come.values()), sorted(gone.values())


def letters(fixture: Fixture) -> int:
    """The dead letters that a fixture had."""
    topic = fixture.topic("calllog.dead")
    return sum(each.topic == topic and (each.key or b"")[:1] != b"~" for each in fixture.records())


def by_officers(guard: Patient) -> None:
    """What waited for somebody goes on: requests that an earlier desk sealed in its cases."""
    known = {"type": "clock", "event": "verify"}
    ask(guard, "verify-001", case=cases(guard)["erase-0002"]["case"], **known)
    ask(guard, "approve-02", key="officer-2", type="approve", case=cases(guard)["disclose-2"]["case"])
    ask(guard, "refuse-002", key="officer-1", type="refuse", case=cases(guard)["object-002"]["case"], ground="No.")
    guard.settled(lambda: "tombstoned" in cases(guard)["erase-0002"]["stages"], "erased")
    guard.settled(lambda: state(guard, "object-002") == ("refused", None), "refused")
    guard.settled(lambda: "exported" in cases(guard)["disclose-2"]["stages"], "disclosed")


def secret_cases(guard: Patient) -> tuple[set[str], int]:
    """The secret cases as officers see them (of ours the name of their hold), how many are left where backends read."""
    officer = str(guard.directory / "keys" / "officer-1.pem")
    found = json.loads(guard.cli("case", "list", "--key", officer, "--json"))
    ours = {case["jti"] if case["jti"].startswith("hold-") else "claim-90" for case in found if case["secret"]}
    records = asyncio.run(KafkaLog(guard.stack.kafka, {}).read_all(guard.topic("privacy.cases"), [0]))
    last = {record.key: record.value for record in records if (record.key or b"").startswith(b"~case.")}
    return ours, sum(value is not None for value in last.values())


def ordered(guard: Patient, who: str) -> tuple[str, ...]:
    """What an officer types to order a secret hold."""
    subject, hold = guard.directory / "who.txt", guard.directory / "hold.json"
    subject.write_text(who)
    hold.write_text(json.dumps(order("claim-90", secret=True)))
    key = str(guard.directory / "keys" / "officer-1.pem")
    return "--key", key, "--subject", f"@{subject}", "--hold", f"@{hold}", "--wait"


def raise_and_go_on(guard: Patient) -> None:
    """The documented command beside running workers; then people of the earlier release are erased; new ones come."""
    ids = guard.directory / "ids.txt"
    ids.write_text("ken-2\n")
    guard.cli("export", "reference", str(ids), code=4)
    guard.cli("tenant", "upgrade", "iocom")
    assert forms(guard) == FORMS
    assert is_id(json.loads(guard.cli("export", "reference", str(ids), "--json"))[0]["call"])
    guard.settled(
        lambda: secret_cases(guard) == ({"hold-00002"}, 0), "the secret case is moved from where backends read"
    )
    guard.cli("request", "hold", *ordered(guard, "nia@example.org"))
    guard.settled(lambda: secret_cases(guard)[0] == {"hold-00002", "claim-90"}, "a running desk takes orders")
    live, old = len(guard.live()), leg_versions(guard)
    assert old.keys() == {1}
    guard.publish("calllog.events", [raw(event("new", "newcomer@example.org", "bob@example.org"))])
    guard.settled(lambda: len(guard.live()) == live + 2, "legs at the new level")
    new_forms(guard)
    ask(guard, "rectify-02", "ken@example.org", type="rectify", facts={"call_id": "ken-2", "role": "guest"})
    reply = reply_key(guard.directory / "keys" / "operator-1.pub.pem")
    ask(guard, "access-003", "lea@example.org", type="access", reply_key=reply)
    ask(guard, "erase-0006", "bob@example.org")
    guard.settled(lambda: "rewritten" in cases(guard).get("rectify-02", {}).get("stages", {}), "corrected")
    guard.settled(lambda: state(guard, "access-003") == ("closed", None), "copied out")
    guard.settled(lambda: "absent" in cases(guard).get("erase-0006", {}).get("stages", {}), "certified")
    guard.settled(
        lambda: leg_versions(guard)[2] >= 2, "the newcomer's call and the corrected leg name no call by its id"
    )
    public = (guard.directory / "keys" / "iocom-receipts.pub.pem").read_bytes()
    told = [json.loads(verify(public, each.value.decode())) for each in guard.records("privacy.receipts", 1)]
    bounds = [each["bounds"] for each in told if each["request"] == "erase-0006" and each["stage"] == "absent"]
    assert all("clear_calls" in each for each in bounds), "others' legs of the first level are left, and it is said"
    assert bounds
    guard.cli("keystore", "walk")
    assert read(guard)
    assert all(worker.poll() is None for worker in guard.workers)


def new_forms(guard: Patient) -> None:
    """What level 2 alone knows of calls, beside the legs of the first level and on top of one of them."""
    live, dead = set(guard.live()), len(guard.dead())
    whole = event("moved", "mia@example.org", "newcomer@example.org")
    mia, late = whole["parties"][0], {"id": "newcomer@example.org", "role": "caller"}
    parts = [{**late, "session": "s1"}, {**late, "session": "s2"}, {"guest": True, "role": "guest"}, {"role": "guest"}]
    recurs = {"occurrence": "w48", "party_count": 20_000}
    guard.publish(
        "calllog.events", [raw({**whole, "ended_at": None, "parties": [mia, *parts], "revision": 7} | recurs)]
    )
    guard.settled(lambda: len(set(guard.live()) - live) == 3, "a leg for each session, none for the guest")
    guard.settled(lambda: len(guard.dead()) == dead + 1, "the party without an id")
    first = set(guard.live())
    for revision in (6, 8):
        guard.publish("calllog.events", [raw({**whole, "parties": [mia], "revision": revision} | recurs)])
    guard.settled(
        lambda: (len(set(guard.live()) - first), len(first - set(guard.live()))) == (1, 1), "the newest stands"
    )
    assert live <= set(guard.live()), "legs of the first level stay"


def leg_versions(guard: Patient) -> Counter[int]:
    """How many living legs have which version."""
    return Counter(parse_header(value).v for value in guard.live().values())
