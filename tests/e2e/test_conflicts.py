"""
Rights that meet: each row of `conflicts.csv` is one person's story with its lawful outcome and its article.

Rows run side by side on one installation, in steps. `stored` counts live legs, `service`, `billing` what readers
get, `held` the copies, `exported` the legs given; `done` means observing or closed. `nobody` begins a story of
whom nobody knows; `told` are the told recipients (Art. 19; `-`: none), where a row has it: readers of all records are
`helpdesk` (all) and `invoicing` (what is for billing); `post.` before a request is a letter days in the post; the step
`told`: the gateway has told the person of what waits for that.
"""

import csv
import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from installation import Installation, Make, by_law, event, raw
from kafka_tools import ends, handled
from signing import claims, signed
from sizes import size
from test_choices import with_purposes
from test_erase import cases
from test_exports import asker

from calllog_guard.core.crypto.jose import open_sealed

pytestmark = pytest.mark.real
ROWS = list(csv.DictReader(Path(__file__).with_name("conflicts.csv").read_text().splitlines(), delimiter="|"))
EACH = size("EACH_CONFLICT", 4, 1)
"""Every how many rows are told at once: whoever runs the test often tells them all."""
_DAY = 24 * 60
_CALLS = frozenset({"call", "missed", "late", "new"})
_POST = "post."
_POST_DAYS = 12
_CHOICES = {"object", "withdraw", "consent"}
_CLOCK = {"verify": {"event": "verify"}, "told": {"event": "noticed", "to": "person"}}
_ACTS = {"approve", "refuse", "second", *_CLOCK}

RECIPIENTS = "".join(
    f'[version.tenant.iocom.recipients.{name}]\nkey = "keys/operator-1.pub.pem"\n'
    f'told = ["erased", "rectified", "restricted", "lifting"]\nactors = [{actors}]\n'
    for name, actors in (("invoicing", '"billing-1"'), ("helpdesk", '"support-1"'), ("court", ""))
)


def test_there_are_enough_conflicts() -> None:
    assert len(ROWS) >= 160
    assert all(row["why"] for row in ROWS)


class Story:
    """One row: its person, what was asked so far, and what is known of their legs."""

    def __init__(self, guard: Installation, number: int, row: dict[str, str]) -> None:
        self.guard, self.row, self.steps = guard, row, row["steps"].split(";")
        self.who = f"row-{number:03d}@example.org"
        self.name = f"row-{number:03d}"
        self.asked: list[str] = []
        self.calls = 0
        self.posted = datetime.now(UTC).replace(microsecond=0) - timedelta(days=_POST_DAYS)  # noqa: TID251 - real time

    def events(self, at: int) -> list[bytes]:
        """The call of a step, if it is one."""
        word, _, days = (self.steps[at] if at < len(self.steps) else "").partition("@")
        if word not in _CALLS:
            return []
        ages = {"new": 0.0, "late": 20.0}
        minutes = ages.get(word, 10.0) + float(days or 0) * _DAY
        self.calls += 1
        more: dict[str, Any] = (
            {} if word == "call" or (word in {"new", "late"} and self.steps[0] == "call") else {"outcome": "missed"}
        )
        return [raw(event(f"{self.name}-{self.calls}", self.who, minutes_ago=minutes, **more))]

    def request(self, at: int, found: dict[str, dict[str, Any]]) -> list[bytes]:
        """The request of a step, if it is one, in view of the cases."""
        if at >= len(self.steps) or self.steps[at].partition("@")[0] in {*_CALLS, "nobody"}:
            return []
        word, _, arg = self.steps[at].partition(":")
        jti = f"{self.name}-{at}-{word}"[:60]
        key, more = self._claims(word.removeprefix(_POST), arg, found)
        if word.startswith(_POST):
            more["received_at"] = self.posted.isoformat()
        subjects = (self.who,) if more.pop("about", True) else ()
        if more["type"] not in {"approve", "refuse", "clock"}:
            self.asked.append(jti)
        return [signed(self.guard.directory, claims(jti, *subjects, iss=key, **more), key=key)]

    def _claims(self, word: str, arg: str, found: dict[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
        hold = {"id": self.name, "authority": "Court", "basis": "Claim", "review_at": "2027-01-01T00:00:00Z"}
        if word in _CHOICES:
            more = {"time": "2026-11-24T10:00:00Z", "wording": "Yes."} if word == "consent" else {}
            return "backend-1", {"type": word, "purposes": [arg], **more}
        if word.startswith("range"):
            return "backend-1", {"type": "erase", "range": self._span(word.removeprefix("range"))}
        if word in _ACTS:
            wanted = {"told": ("waits_for", "notice")}.get(word, ("state", "waiting"))
            waiting = [jti for jti in self.asked if jti in found and found[jti][wanted[0]] == wanted[1]]
            case = {"case": found[waiting[-1]]["case"], "about": False}
            if word in _CLOCK:
                return "backend-1", {"type": "clock", **_CLOCK[word], **case}
            reasoned = word == "refuse" or any(step.endswith("complain") for step in self.steps)
            ground = {"ground": "As the file says."} if reasoned else {}
            return ("officer-2" if word == "second" else "officer-1"), {
                "type": word.replace("second", "approve"),
                **ground,
                **case,
            }
        officers: dict[str, dict[str, Any]] = {
            "hold": {"type": "hold", "hold": hold},
            "hold2": {"type": "hold", "hold": hold | {"id": f"{self.name}-2"}},
            "holdsecret": {"type": "hold", "hold": hold | {"secret": True}},
            "release": {"type": "release", "hold": {"id": self.name}, "about": False},
            "disclose": {
                "type": "disclose",
                "authority": "Court",
                "basis": "Order",
                "notify": "before",
                "reply_key": asker(self.guard),
                **({"range": {"to": arg}} if arg else {}),
            },
        }
        if word in officers:
            return "officer-1", officers[word]
        others: dict[str, dict[str, Any]] = {
            "unverified": {"type": "erase", "identity": "unverified"},
            "access": {"type": "access", "reply_key": asker(self.guard)},
            "carry": {"type": "portability", "reply_key": asker(self.guard)},
            "rectify": {"type": "rectify", "facts": {"call_id": f"{self.name}-1", "role": "caller"}},
            "complain": {"type": "complain", "ground": "Too slow."},
        }
        role, _, plain = word.rpartition("-")
        return f"{role or 'backend'}-1", others.get(word, {"type": plain})

    @staticmethod
    def _span(days: str) -> dict[str, str]:
        today = datetime.now(UTC).date()  # noqa: TID251 - tests run on the real clock
        first, last = (today - timedelta(int(each)) for each in days.split("-"))
        return {"from": first.isoformat(), "to": last.isoformat()}

    def expected(self) -> dict[str, Any]:
        """What the row says."""
        numbers = {name: int(self.row[name]) for name in ("stored", "service", "billing", "held")}
        exported = int(self.row["exported"]) if self.row["exported"] else None
        return numbers | {"exported": exported, "states": [each for each in self.row["states"].split(",") if each]}


class Whole:
    """Everything that an outsider, a reader and the asker see of all rows."""

    def __init__(self, guard: Installation) -> None:
        self.guard = guard
        self.people: dict[str, str] = {}
        self.tokens: dict[str, str] = {}
        self.ordered: dict[str, str] = {}

    def _read(self, purpose: str, actor: str) -> Counter[str]:
        lines = [
            json.loads(line) for line in self.guard.cli("read", "--purpose", purpose, "--actor", actor).splitlines()
        ]
        puts = [line for line in lines if line["op"] == "put"]
        self.tokens |= {line["token"]: line["subject"] for line in puts}
        return Counter(line["subject"] for line in puts)

    def learn(self) -> None:
        """Whose pseudonym is whose, from what a reader is shown while it is."""
        self._read("service", "support-1")
        self._read("billing", "billing-1")
        for jti, case in cases(self.guard).items():
            if case["type"] == "hold":
                self.ordered[case["hold"]] = jti[: len("row-000")] + "@example.org"
        for record in self.guard.records("calllog.legs"):
            pseudonym, _, token = record.key.decode().partition(".")
            if token in self.tokens:
                self.people[pseudonym] = self.tokens[token]
        for record in self.guard.records("calllog.legs"):
            pseudonym, _, token = record.key.decode().partition(".")
            if pseudonym in self.people:
                self.tokens.setdefault(token, self.people[pseudonym])

    def seen(self) -> dict[str, Counter[str]]:
        """Counts by subject."""
        service, billing = self._read("service", "support-1"), self._read("billing", "billing-1")
        self.learn()
        stored = Counter(self.people.get(key.decode().partition(".")[0], "?") for key in self.guard.live())
        state: dict[bytes, bytes | None] = {record.key: record.value for record in self.guard.records("calllog.held")}
        copies = [key.decode().partition(".") for key, value in state.items() if value is not None]
        held = Counter(self.ordered.get(hold) or self.tokens.get(token, "?") for hold, _, token in copies)
        return {"stored": stored, "service": service, "billing": billing, "held": held}

    def exported(self) -> dict[str, int]:
        """Legs given, by case."""
        pem = (self.guard.directory / "keys" / "operator-1.pem").read_bytes()
        found: Counter[str] = Counter()
        for record in self.guard.records("privacy.exports", 1):
            part = json.loads(open_sealed(pem, record.value.decode()))
            found[part["case"]] += len(part["legs"])
            found[part["case"]] += 0
        return found


def _quiet(guard: Installation, stories: list[Story], wanted: dict[Any, int]) -> bool:
    """Whether what was said has been taken up, every case rests and nothing moves any more."""
    if not handled(guard, wanted, "protector", "desk"):
        return False
    found = cases(guard)
    known = [found[jti] for story in stories for jti in story.asked if jti in found]
    resting = all(case["state"] in {"waiting", "closed", "refused", "observing"} for case in known)
    if not resting:
        return False
    moves = ("calllog.legs", "calllog.held", "privacy.decisions", "privacy.outcomes")
    before = [len(guard.records(name, None if name != "privacy.outcomes" else 1)) for name in moves]
    said = ends(guard, "calllog.legs", "privacy.decisions", "privacy.outcomes")
    guard.settled(lambda: handled(guard, said, "keeper", "desk"), "what was decided is done")
    return before == [len(guard.records(name, None if name != "privacy.outcomes" else 1)) for name in moves]


@pytest.mark.timeout(1800)
def test_each_conflict_has_its_lawful_outcome(make: Make) -> None:
    guard = with_purposes(make(EVENT_LATE_DAYS="400"))
    path = guard.directory / "policy.toml"
    text = path.read_text().replace('keep = "P90D"\n', 'keep = "P90D"\nshows = ["subject", "role"]\n')
    text = by_law(text).replace('shows = ["started_at", "duration_s", "role"]', 'shows = ["subject", "role"]')
    path.write_text(
        text.replace(
            "erasures_per_hour = 10000",
            "erasures_per_hour = 10000\nobjections_per_hour = 10000\nexports_per_hour = 10000\ndisclosures_per_hour = "
            "10000\nchanges_per_hour = 10000",
        )
    )
    path.write_text(path.read_text() + RECIPIENTS)
    guard.start("all")
    first = random.randrange(EACH)  # noqa: S311 - of the seed of the run
    stories = [Story(guard, number, row) for number, row in list(enumerate(ROWS))[first::EACH]]
    whole = Whole(guard)
    for at in range(max(len(story.steps) for story in stories)):
        calls = [each for story in stories for each in story.events(at)]
        guard.publish("calllog.events", calls)
        found = cases(guard)
        guard.publish("privacy.requests", [each for story in stories for each in story.request(at, found)])
        said = ends(guard, "calllog.events", "privacy.requests")
        guard.settled(partial(_quiet, guard, stories, said), f"round {at} rests")
        whole.learn()
    seen, exported, found = whole.seen(), whole.exported(), cases(guard)
    wrong = []
    for story in stories:
        given = [exported[found[jti]["case"]] for jti in story.asked if jti in found and found[jti]["case"] in exported]
        states = [found[jti]["state"] for jti in story.asked if jti in found]
        wanted = story.expected()
        got: dict[str, Any] = {name: counts[story.who] for name, counts in seen.items()}
        late = [found[jti] for jti in story.asked if f"-{_POST}" in jti and jti in found]
        assert all(datetime.fromisoformat(case["received_at"]) == story.posted for case in late), story.row["steps"]
        got |= {"exported": given[-1] if given else None, "states": _folded(states, wanted["states"])}
        if story.row["told"]:
            wanted["told"] = {each for each in story.row["told"].split(",") if each != "-"}
            got["told"] = _told(guard, {found[jti]["case"] for jti in story.asked if jti in found})
        if got != wanted:
            wrong.append(
                f"{story.row['steps']}: { ({k: (got[k], wanted[k]) for k in got if got[k] != wanted[k]}) } "
                f"{story.row['why']}"
            )
    assert not wrong, "\n".join(wrong)


def _told(guard: Installation, names: set[str]) -> set[str]:
    """The recipients who were told of some cases."""
    found = map(json.loads, (record.value for record in guard.records("privacy.notices", 1)))
    return {each["to"] for each in found if each["case"] in names and each["to"] != "person"}


def _folded(states: list[str], wanted: list[str]) -> list[str]:
    """`done` where the row says so and it is observing or closed; a case whose outcome is refused leaves none."""
    if len(states) != len(wanted):
        return states
    return [
        "done" if want == "done" and state in {"observing", "closed"} else state
        for state, want in zip(states, wanted, strict=True)
    ]
