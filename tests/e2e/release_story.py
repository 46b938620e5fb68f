"""
The life of an installation, told with a release's own program on a real stack, and frozen as that release's fixture.

`make fixture` runs it with this release; `make fixture WHEEL=….whl` with another, by absolute path.
What is pending in the end is pending on purpose: the next releases must finish it.
The beginning lies in the past (workers' clock put back), so that there is an old epoch and a closed month.
"""

import argparse  # noqa: TID251 - a script beside the tests
import json
import os
import signal
import subprocess
import sys
import tempfile
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from installation import event, of_release, raw
from redis import Redis
from releases import Patient, freeze, releases
from test_choices import ask, read, state, told
from test_erase import cases
from test_preserve import order

from calllog_guard.cli.request import reply_key
from calllog_guard.core.crypto.jose import new_pair
from calllog_guard.devstack.supervisor import Stack

PAST_DAYS = 45
_DAY = 24 * 60
_PAST = """
import sys
from datetime import UTC, datetime, timedelta
from calllog_guard.adapters import memory
from calllog_guard.cli import main
memory.SystemClock.now = lambda self: datetime.now(UTC) - timedelta(days=int(sys.argv[1]))
sys.exit(main(sys.argv[2:]))
"""
"""A command of the release, with its clock put back."""
POLICY = """\
# only calls that nobody answered lapse, or a fixture would be another one after three months
[[version]]
effective = 2026-01-01
change = "First version."
[version.tenant.iocom]
regime = "uk"
events = ["EVENTS"]
lowercase_email = true
erasures_per_hour = 10000
allowed_hosts = ["127.0.0.1", "::1", "localhost"]
[version.tenant.iocom.purposes.service]
number = 1
basis = "contract"
keep = "P20Y"
when = { roles = ["host", "caller"] }
[version.tenant.iocom.purposes.billing]
number = 2
basis = "legal_duty"
keep = "P20Y"
survives_erasure = true
when = { roles = ["host"], outcomes = ["answered"] }
shows = ["started_at", "duration_s", "role"]
[version.tenant.iocom.purposes.research]
number = 3
basis = "consent"
keep = "P20Y"
[version.tenant.iocom.purposes.quality]
number = 4
basis = "legitimate_interests"
keep = "P90D"
then = "anonymise"
on_objection = "grant"
when = { outcomes = ["missed"] }
[version.tenant.iocom.purposes.fraud]
number = 5
basis = "legitimate_interests"
keep = "P20Y"
on_objection = "review"
when = { outcomes = ["answered"] }
[version.tenant.iocom.requesters.backend-1]
role = "backend"
key = "keys/backend-1.pub.pem"
[version.tenant.iocom.requesters.officer-1]
role = "officer"
key = "keys/officer-1.pub.pem"
[version.tenant.iocom.requesters.officer-2]
role = "officer"
key = "keys/officer-2.pub.pem"
[version.tenant.iocom.actors.support-1]
purposes = ["service"]
[version.tenant.iocom.actors.billing-1]
purposes = ["billing"]
[version.tenant.iocom.recipients.invoicing]
key = "keys/invoicing.pub.pem"
told = ["erased", "rectified", "restricted"]
[version.tenant.iocom.person_notices]
key = "keys/gateway.pub.pem"
told = ["erased", "lifting", "refused", "extended", "disclosed"]
"""
SETTINGS = {
    "EVENT_LATE_DAYS": "9000",
    "HEARTBEAT_S": "2",
    "WALK_S": "100000",
    "EPOCH_DAYS": "7",
    "CASES_KEEP_DAYS": "9000",
    "RECEIPTS_KEEP_DAYS": "9000",
    "ACCESS_KEEP_DAYS": "9000",
    "EXPORTS_KEEP_DAYS": "9000",
    "DEAD_KEEP_DAYS": "9000",
}


def person(name: str) -> str:
    """Someone's subject id."""
    return f"{name}@example.org"


class Story:
    """One installation from its creation to the moment in which it is frozen."""

    def __init__(self, stack: Stack, directory: Path, release: Path, name: str) -> None:
        self.guard = _Made(stack, directory, release, name, **SETTINGS)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.told: dict[str, Any] = {}
        self.old_entries: dict[bytes, bytes] = {}

    # --- workers ------------------------------------------------------------------------------------------------------

    def start(self, *roles: str, **settings: str) -> None:
        """Start workers."""
        self.running |= {role: self.guard.start(role, None, process=False, **settings) for role in roles}

    def stop(self, *roles: str) -> None:
        """End workers in their own order."""
        for role in roles or tuple(self.running):
            worker = self.running.pop(role)
            worker.terminate()
            assert worker.wait(150) == 0, f"{role}: {self.guard.log.read_text()[-2000:]}"

    def past(self, role: str) -> None:
        """Start a worker whose clock is put back."""
        environment = os.environ | self.guard.environment | of_release(self.guard.release)
        command = [sys.executable, "-c", _PAST, str(PAST_DAYS), "worker", role]
        with self.guard.log.open("ab") as log:
            self.running[role] = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.guard.workers.append(self.running[role])

    # --- steps --------------------------------------------------------------------------------------------------------

    def calls(self, *names: str, **more: Any) -> None:
        """Two calls of each with another party, and their legs stored."""
        events = [
            raw(event(f"{name}-{n}", person(name), "other@example.org", **more)) for name in names for n in (1, 2)
        ]
        before = len(self.guard.live())
        self.guard.publish("calllog.events", events)
        self.guard.settled(lambda: len(self.guard.live()) == before + 2 * len(events), f"legs of {names}")

    def asked(self, jti: str, *names: str, until: tuple[str, str | None] | str, **more: Any) -> None:
        """A request, and where its case must come to: state and what it waits for, or a stage."""
        ask(self.guard, jti, *map(person, names), **more)
        if isinstance(until, str):
            self.guard.settled(lambda: until in cases(self.guard).get(jti, {}).get("stages", {}), f"{jti}: {until}")
        else:
            self.guard.settled(lambda: state(self.guard, jti) == until, f"{jti}: {until}")

    def case(self, jti: str) -> str:
        """The case of a request."""
        return str(cases(self.guard)[jti]["case"])

    def the_old_month(self) -> None:
        """An epoch of seven weeks ago, and a month whose lapsed legs wait to be published."""
        self.past("protector")
        self.past("keeper")
        age = (PAST_DAYS + 100) * _DAY
        guests = [person(f"guest-{n}") for n in range(12)]
        calls = [
            raw(event(f"old-{n}", person("old-host"), guest, minutes_ago=age, outcome="missed"))
            for n, guest in enumerate(guests)
        ]
        self.guard.publish("calllog.events", calls)
        self.guard.settled(lambda: len(self.guard.records("calllog.legs")) >= 24, "the old legs")
        self.guard.settled(lambda: len(self.guard.live()) == 12, "the guests' are counted and gone")
        self.stop()
        self.calls_before_the_walk()

    def calls_before_the_walk(self) -> None:
        """People under the old epoch, and the walk into a new one."""
        self.start("protector")
        self.calls("epoch-a", "epoch-b")
        self.stop()
        with Redis.from_url(self.guard.environment["CALLLOG_GUARD_KEYSTORE"]) as redis:
            kept = {key: redis.get(key) for key in redis.scan_iter("clg:iocom:*")}
        self.old_entries = {key: value for key, value in kept.items() if value is not None}
        self.guard.cli("keystore", "walk")

    def counted(self) -> None:
        """Legs that lapse in this month: counted, and not published before it is over."""
        guests = [person(f"young-guest-{n}") for n in range(4)]
        more: dict[str, Any] = {"minutes_ago": 100 * _DAY, "outcome": "missed"}
        calls = [raw(event(f"young-{n}", person("old-host"), guest, **more)) for n, guest in enumerate(guests)]
        before = len(self.guard.live())
        self.guard.publish("calllog.events", calls)
        self.guard.settled(lambda: len(self.guard.records("calllog.legs")) > before, "the legs")
        self.guard.settled(lambda: len(self.guard.live()) == before + 4, "the guests' are counted and gone")

    def decided(self) -> None:
        """What is done and over."""
        self.calls(
            "alice", "bob", "carol", "dave", "erin", "frank", "gina", "henry", "ida", "ivan", "judy", "ken", "lea"
        )
        self.calls("mia", "nia", "olga", "peter", "quinn", "rosa", "sam", "tina")
        self.asked("hold-00001", "bob", key="officer-1", type="hold", hold=order("claim-17"), until=("closed", None))
        secret = order("claim-18", secret=True)
        ask(self.guard, "hold-00002", person("carol"), key="officer-1", type="hold", hold=secret)
        self.asked("hold-00003", "dave", key="officer-1", type="hold", hold=order("claim-19"), until=("closed", None))
        self.asked("release-01", key="officer-1", type="release", hold={"id": "claim-19"}, until=("closed", None))
        self.asked("restrict-1", "frank", type="restrict", ground="accuracy", until=("closed", None))
        self.asked("restrict-2", "gina", type="restrict", until=("closed", None))
        self.asked("object-001", "ida", type="object", purposes=["quality"], until="tombstoned")
        wording = {"time": "2026-11-24T10:00:00Z", "wording": "Yes, for research."}
        self.asked("consent-01", "ivan", type="consent", purposes=["research"], until=("closed", None), **wording)
        self.asked("consent-02", "judy", type="consent", purposes=["research"], until=("closed", None), **wording)
        self.asked("withdraw-1", "judy", type="withdraw", purposes=["research"], until="tombstoned")
        facts = {"call_id": "ken-1", "role": "guest"}
        self.asked("rectify-01", "ken", type="rectify", facts=facts, until="rewritten")
        days = {"from": "2026-01-01", "to": date(2026, 2, 1).isoformat()}
        self.asked("range-0001", "judy", range=days, until="tombstoned")
        self.asked("erase-0001", "erin", ticket="DSR-118", until="gone")
        back = [raw(event("erin-is-back", person("erin"), minutes_ago=0))]
        live = len(self.guard.live())
        self.guard.publish("calllog.events", back)
        self.guard.settled(lambda: len(self.guard.live()) == live + 1, "who returns is somebody new")
        self.asked("object-003", "henry", type="object", purposes=["fraud"], until=("waiting", "officer"))
        no = {"case": self.case("object-003"), "ground": "Compelling."}
        ask(self.guard, "refuse-001", key="officer-1", type="refuse", **no)
        self.guard.settled(lambda: state(self.guard, "object-003")[0] == "refused", "refused by a human")
        if state(self.guard, "object-003")[1] == "notice":  # from the second level of forms on
            told(self.guard, "object-003")
        self.guard.settled(lambda: state(self.guard, "object-003") == ("refused", None), "and its restriction ended")
        self.asked("complain-1", "lea", type="complain", ground="Too slow.", until=("waiting", "officer"))
        ask(self.guard, "noticed-01", type="clock", case=self.case("erase-0001"), event="noticed", to="invoicing")

    def exported(self) -> None:
        """Copies of one's data, and disclosures to an authority."""
        key = reply_key(self.guard.directory / "keys" / "operator-1.pub.pem")
        self.asked("access-001", "lea", type="access", reply_key=key, until=("closed", None))
        self.asked("carry-0001", "lea", type="portability", reply_key=key, until=("closed", None))
        order = {"authority": "Court", "basis": "Order 7", "reply_key": key}
        later = {"notify": "when_lifted", "review_at": "2027-06-01T00:00:00Z"}
        self.asked(
            "disclose-1", "nia", key="officer-1", type="disclose", until=("waiting", "second_officer"), **order, **later
        )
        self.asked("approve-01", key="officer-2", type="approve", case=self.case("disclose-1"), until=("", None))
        self.guard.settled(lambda: "exported" in cases(self.guard)["disclose-1"]["stages"], "disclosed")
        waits = ("waiting", "second_officer")
        self.asked("disclose-2", "mia", key="officer-1", type="disclose", notify="before", until=waits, **order)

    def sealed(self) -> None:
        """Requests sealed to the desk's first and second key."""
        for kid, jti, name in (("iocom-desk", "restrict-3", "ivan"), ("iocom-desk-2", "lift-00001", "gina")):
            if kid.endswith("2"):
                self.guard.cli("key", "rotate", "iocom-desk")
            subject = self.guard.directory / "subject.txt"
            subject.write_text(person(name))
            key = str(self.guard.directory / "keys" / "backend-1.pem")
            kind = jti.partition("-")[0]
            answer = self.guard.cli("request", kind, "--key", key, "--subject", f"@{subject}", "--wait", "--json")
            self.told[jti] = json.loads(answer.splitlines()[-1])
            subject.unlink()

    def waiting(self) -> None:
        """What waits for somebody."""
        self.asked("object-002", "henry", type="object", purposes=["fraud"], until=("waiting", "officer"))
        self.asked("erase-0002", "olga", identity="unverified", until=("waiting", "identity"))
        extend = self.guard.directory / "ground.txt"
        extend.write_text("There is a great deal.")
        officer = str(self.guard.directory / "keys" / "officer-1.pem")
        self.guard.cli("case", "extend", self.case("erase-0002"), "--ground", f"@{extend}", "--key", officer, "--wait")
        extend.unlink()

    def letters(self) -> None:
        """Dead letters of events and requests, one of them replayed; an old log taken in; a published policy."""
        shoe = raw(event("shoe", person("alice"), "other@example.org", shoe=9))
        self.guard.publish("calllog.events", [shoe, b"\xff not json"])
        self.guard.publish("privacy.requests", [b"no request"])
        self.guard.settled(lambda: len(self.guard.dead()) == 3, "three letters")
        key = ("--key", str(self.guard.directory / "keys" / "operator-1.pem"))
        live = len(self.guard.live())
        self.guard.cli("dead", "replay", "--reason", "unknown_field", *key, "--drop-field", "shoe")
        self.guard.settled(lambda: len(self.guard.live()) == live + 2, "the replayed call's legs")
        old = self.guard.directory / "old.ndjson"
        old.write_bytes(b"\n".join(raw(event(f"taken-{n}", person("alice"), minutes_ago=60 * _DAY)) for n in range(3)))
        self.guard.cli("import", str(old), "--no-erased-list")
        old.unlink()
        first = (self.guard.directory / "policy.toml").read_text()
        today = datetime.now(UTC).date()  # noqa: TID251 - the servers' clock is real
        second = first.replace("effective = 2026-01-01", f"effective = {today}").replace("First", "Next")
        path = self.guard.directory / "next.toml"
        path.write_text(
            first + second.replace('shows = ["started_at", "duration_s", "role"]', 'shows = ["started_at"]')
        )
        own, self.guard.environment["CALLLOG_GUARD_POLICY"] = self.guard.environment["CALLLOG_GUARD_POLICY"], str(path)
        self.guard.cli("policy", "publish", "--key", str(self.guard.directory / "keys" / "officer-1.pem"))
        self.guard.environment["CALLLOG_GUARD_POLICY"] = own

    def pending(self) -> None:
        """What is decided and not done: tombstoned and unobserved, half enforced, not begun; an export, a hold too."""
        key = reply_key(self.guard.directory / "keys" / "operator-1.pub.pem")
        self.stop("auditor")
        self.sealed()  # nobody trims them from here on
        self.asked("erase-0003", "tina", until="tombstoned")
        self.stop("keeper")
        self.asked("erase-0004", "sam", until="fenced")
        # half of this is how long an index may be gone on with: so it has rows when it is frozen
        dying = self.guard.start("keeper", None, DEVELOPMENT="crash-at=enforce.destroyed", TOMBSTONE_KEEP_MS="600000")
        assert dying.wait(150) == -signal.SIGKILL
        self.asked("erase-0005", "peter", until="fenced")
        ask(self.guard, "hold-00004", person("quinn"), key="officer-1", type="hold", hold=order("claim-20"))
        self.guard.settled(lambda: bool(cases(self.guard).get("hold-00004", {}).get("decisions")), "the pending hold")
        ask(self.guard, "access-002", person("rosa"), type="access", reply_key=key)
        self.guard.settled(lambda: bool(cases(self.guard).get("access-002", {}).get("decisions")), "the pending export")

    def followed(self) -> None:
        """A follower that was stopped: its cursor."""
        words = ["read", "--purpose", "service", "--actor", "support-1", "--follow", "--cursor"]
        cursor = self.guard.directory / "state" / "cursor"
        command = [sys.executable, "-m", "calllog_guard.cli", *words, str(cursor)]
        environment = os.environ | self.guard.environment | of_release(self.guard.release)
        lines = self.guard.directory / "lines.log"
        with lines.open("wb") as out:
            follower = subprocess.Popen(command, env=environment, stdout=out)
            wanted = len(read(self.guard))
            self.guard.settled(lambda: lines.read_bytes().count(b"\n") >= wanted, "the follower has read")
            follower.terminate()
            follower.wait(150)

    def tell(self) -> None:
        """All of it, up to the moment in which it is frozen."""
        self.the_old_month()
        self.start("protector", "desk", "keeper", "auditor")
        self.guard.settled(lambda: self.guard.records("calllog.statistics", 1) != [], "the closed month is published")
        for chapter in (
            self.counted,
            self.decided,
            self.exported,
            self.waiting,
            self.letters,
            self.followed,
            self.pending,
        ):
            chapter()
        self.told["service"] = sorted(read(self.guard), key=json.dumps)
        self.told["billing"] = sorted(read(self.guard, "billing", "billing-1"), key=json.dumps)
        self.told["cases"] = {jti: [case["state"], case["waits_for"]] for jti, case in cases(self.guard).items()}
        self.stop("protector")
        self.guard.publish("calllog.events", [raw(event("late", person("alice"), "other@example.org"))])
        key = ("--key", str(self.guard.directory / "keys" / "operator-1.pem"))
        self.guard.cli("dead", "replay", "--reason", "not_json", *key)
        self.stop()
        self.a_walk_that_was_stopped()

    def a_walk_that_was_stopped(self) -> None:
        """Some of those whom nothing has changed since lie under the old epoch still."""
        with Redis.from_url(self.guard.environment["CALLLOG_GUARD_KEYSTORE"]) as redis:
            redis.mset(dict(sorted(self.old_entries.items())[::3]))


class _Made(Patient):
    """As `init` makes it, with this story's policy, officers and recipients, created in the past."""

    def cli(self, *words: str, code: int | None = 0, process: bool = False) -> str:
        """See Installation."""
        if words[0] == "topics" and not (self.directory / "keys" / "officer-2.pem").exists():
            self._keys()
        if words[:2] != ("tenant", "create"):
            return super().cli(*words, code=code, process=process)
        environment = os.environ | self.environment | of_release(self.release)
        done = subprocess.run([sys.executable, "-c", _PAST, str(PAST_DAYS), *words], env=environment, check=True)
        return str(done.returncode)

    def _keys(self) -> None:
        for name, signs in (("officer-2", True), ("invoicing", False), ("gateway", False)):
            private, public = new_pair(signs=signs)
            (self.directory / "keys" / f"{name}.pem").write_bytes(private)
            (self.directory / "keys" / f"{name}.pub.pem").write_bytes(public)
        (self.directory / "policy.toml").write_text(POLICY.replace("EVENTS", f"c{self.name}.events"))


def main() -> int:
    """Tell the story with the release in a wheel, and freeze it."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("wheel", type=Path)
    args = words.parse_args()
    release = args.wheel.name.split("-")[1]
    if release in releases():
        words.error(f"the release {release} is frozen already: raise `version` in pyproject.toml, or remove its folder")
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder) / "stack") as stack:
        with zipfile.ZipFile(args.wheel) as packed:
            packed.extractall(Path(folder) / "release")
        name = "r" + release.replace(".", "")
        story = Story(stack, Path(folder) / "in", Path(folder) / "release", name)
        try:
            story.tell()
            print(freeze(story.guard, release, args.wheel, story.told))  # noqa: T201
        except BaseException:
            print(story.guard.log.read_text()[-4000:], file=sys.stderr)  # noqa: T201
            raise
        finally:
            for worker in story.guard.workers:
                if worker.poll() is None:
                    worker.kill()
                    worker.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
