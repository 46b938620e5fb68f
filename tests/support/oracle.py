"""
Who may be shown what, told a second time: no code of ours, one person and leg at a time, by the words of the policy.

What was asked is an ordered list of wishes; how many were carried out is known as a range (a worker may have died
over one of them), and a leg may be shown if any number in that range allows it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from dateutil.relativedelta import relativedelta

PERIODS = {
    "P5D": relativedelta(days=5),
    "P20D": relativedelta(days=20),
    "P1M": relativedelta(months=1),
    "P90D": relativedelta(days=90),
}
NUMBERS = {"service": 1, "billing": 2, "quality": 3, "fraud": 4, "offers": 5}
BY_CONSENT = {"offers"}
Law = dict[str, str]
"""The purposes of a policy version with their periods."""


@dataclass
class Wish:
    """One request about one person; `began` and `ended` are when the desk first took it up, and when it had done it."""

    who: str
    kind: str
    asked: datetime
    purpose: str = ""
    span: tuple[date, date] | None = None
    about: "Wish | None" = None
    began: datetime | None = None
    ended: datetime | None = None


@dataclass
class Told:
    """What was decided about one person up to some wish."""

    restricted: bool = False
    reviews: list[Wish] = field(default_factory=list)
    objected: set[str] = field(default_factory=set)
    withdrawn: set[str] = field(default_factory=set)
    consented: set[str] = field(default_factory=set)
    spans: list[tuple[date, date]] = field(default_factory=list)
    cut: tuple[datetime, datetime] | None = None

    def hears(self, wish: Wish) -> None:
        """One more wish is granted."""
        kind, purpose = wish.kind, wish.purpose
        if kind == "erase":
            self._erased(wish)
        elif kind == "restrict":
            self.restricted = True
        elif kind == "lift":
            self.restricted = False  # by a backend: an objection is considered all the same
        else:
            self._chosen(wish, kind, purpose)

    def _chosen(self, wish: Wish, kind: str, purpose: str) -> None:
        if kind == "object" and purpose == "fraud":
            self.reviews.append(wish)
        elif kind == "object":
            self.objected.add(purpose)
        elif kind in {"approve", "refuse"} and wish.about:
            self.reviews = [each for each in self.reviews if each is not wish.about]
            if kind == "approve":
                self.objected.add(wish.about.purpose)
        elif kind == "withdraw":
            self.withdrawn.add(purpose)
            self.consented.discard(purpose)
        elif kind == "consent":
            self.consented.add(purpose)
            self.withdrawn.discard(purpose)

    def _erased(self, wish: Wish) -> None:
        if wish.span is not None:
            self.spans.append(wish.span)
            return
        began, ended = wish.began or wish.asked, wish.ended or wish.began or wish.asked
        if self.cut and self.cut[0] >= wish.asked:
            return  # already gone by a later moment
        self.cut = (began, ended)
        self.restricted, self.reviews, self.spans = False, [], []
        self.withdrawn, self.consented = set(), set()

    def forbids(self, purpose: str) -> bool:
        """Whether this person's data may not be used for a purpose now."""
        lacks = purpose in BY_CONSENT and purpose not in self.consented
        return self.restricted or bool(self.reviews) or purpose in self.objected | self.withdrawn or lacks


@dataclass
class Sealing:
    """One time that a leg was written: under which law, and what its person had decided then, as far as is known."""

    at: date
    version: int
    purposes: list[set[str]]


@dataclass
class Leg:
    """One party of one call; the newest sealing is certain when there is one only."""

    who: str
    call: str
    start: datetime
    role: str
    outcome: str
    published: list[datetime] = field(default_factory=list)
    waiting: list[datetime] = field(default_factory=list)
    sealings: list[Sealing] = field(default_factory=list)
    lost: bool = False

    def covered(self, purpose: str) -> bool:
        """Whether the purpose wants such a leg at all."""
        return purpose != "billing" or (self.role == "host" and self.outcome == "answered")


class Oracle:
    """All that was asked, and all calls."""

    def __init__(self, laws: list[tuple[date, Law]]) -> None:
        self.laws = laws
        self.wishes: list[Wish] = []
        self.legs: dict[tuple[str, str], Leg] = {}

    def law_at(self, day: date) -> int:
        """The number of the version in force."""
        return max(number for number, (first, _) in enumerate(self.laws) if first <= day)

    def states(self, who: str) -> Iterator[Told]:
        """What may have been decided about a person: after the wishes that are done, and after each that is not."""
        mine = [wish for wish in self.wishes if wish.who == who]
        done = sum(wish.ended is not None for wish in mine)
        told = Told()
        for wish in mine[:done]:
            told.hears(wish)
        yield told
        for wish in mine[done:]:
            told = Told()
            for each in mine[: mine.index(wish) + 1]:
                told.hears(each)
            yield told

    # --- the protector ----------------------------------------------------------------------------------------------

    def sealed(self, now: datetime, *, certain: bool) -> None:
        """What was published so far has been sealed, or may have been."""
        number = self.law_at(now.date())
        for leg in self.legs.values():
            for published in leg.waiting:
                found = {frozenset(self._purposes(leg, told, published, number)) for told in self.states(leg.who)}
                sealing = Sealing(now.date(), number, [set(each) for each in found])
                leg.sealings = [sealing] if certain else [*leg.sealings, sealing]
            if certain:
                leg.waiting.clear()

    def _purposes(self, leg: Leg, told: Told, published: datetime, number: int) -> set[str]:
        """For what a leg is stored; nothing behind the fence."""
        if told.cut and min(leg.start, published) <= told.cut[0]:
            return {"~unchanged"}
        law = self.laws[number][1]
        return {
            name
            for name in law
            if leg.covered(name)
            and name not in told.objected | told.withdrawn
            and (name not in BY_CONSENT or name in told.consented)
        }

    # --- readers ----------------------------------------------------------------------------------------------------

    def may(self, leg: Leg, purpose: str, today: date) -> bool:
        """Whether it can be right that a reader gets this leg for this purpose now."""
        kept = any(
            any(purpose in found or "~unchanged" in found for found in sealing.purposes)
            and self.reaches(leg, purpose, sealing.version, today)
            for sealing in leg.sealings
        )
        return kept and any(not told.forbids(purpose) and not _erased(leg, told) for told in self.states(leg.who))

    def reaches(self, leg: Leg, purpose: str, version: int, today: date) -> bool:
        """Whether every law since then still keeps it for this purpose."""
        laws = [law for _, law in self.laws[version : self.law_at(today) + 1]]
        day = leg.start.date()
        return all(purpose in law and today <= day + PERIODS[law[purpose]] for law in laws)

    def must(self, leg: Leg, purpose: str, today: date) -> bool:
        """Whether a reader has to get it once everything has come to rest; only what is certain is demanded."""
        (told,) = list(self.states(leg.who))[:1]
        touched = any(
            wish.who == leg.who and wish.kind in {"object", "withdraw", "approve"} and wish.purpose == purpose
            for wish in self.wishes
        )
        if touched or leg.lost or leg.waiting or len(leg.sealings) != 1 or len(leg.sealings[0].purposes) != 1:
            return False
        if any(wish.who == leg.who and wish.kind == "erase" for wish in self.wishes):
            cuts = [wish.ended for wish in self.wishes if wish.who == leg.who and wish.kind == "erase"]
            if any(cut is None or min(leg.start, *leg.published) <= cut for cut in cuts):
                return False
        (stored,) = leg.sealings[0].purposes
        lives = self.reaches(leg, purpose, leg.sealings[0].version, today)
        return purpose in stored and lives and not told.forbids(purpose)

    def gone_by_range(self, leg: Leg) -> bool:
        """Whether an erasure of some days took it, at rest."""
        (told,) = list(self.states(leg.who))[:1]
        return any(first <= leg.start.date() <= last for first, last in told.spans)


def _erased(leg: Leg, told: Told) -> bool:
    """Whether every time it was published lies behind the fence."""
    return told.cut is not None and all(min(leg.start, each) <= told.cut[0] for each in leg.published)


def policy_text(laws: list[tuple[date, Law]], then: dict[str, Any]) -> str:
    """The laws as a policy file."""
    bases = {
        "service": "contract",
        "billing": "legal_duty",
        "quality": "legitimate_interests",
        "fraud": "legitimate_interests",
        "offers": "consent",
    }
    parts = []
    for first, law in laws:
        parts.append(
            f'[[version]]\neffective = {first}\nchange = "x"\n'
            '[version.tenant.iocom]\nregime = "uk"\nevents = ["calllog.events"]\n'
            "erasures_per_hour = 100000\nobjections_per_hour = 100000\nchanges_per_hour = 100000\n"
        )
        for name, keep in law.items():
            parts.append(
                f"[version.tenant.iocom.purposes.{name}]\nnumber = {NUMBERS[name]}\n"
                f'basis = "{bases[name]}"\nkeep = "{keep}"\n'
                f'then = "{then[name]}"\nshows = ["call", "subject", "role"]\n'
            )
            if name == "quality":
                parts.append('on_objection = "grant"\n')
            if name == "billing":
                parts.append('when = { roles = ["host"], outcomes = ["answered"] }\n')
        parts.append(
            '[version.tenant.iocom.requesters.backend-1]\nrole = "backend"\nkey = "backend-1.pub.pem"\n'
            '[version.tenant.iocom.requesters.officer-1]\nrole = "officer"\nkey = "officer-1.pub.pem"\n'
            f"[version.tenant.iocom.actors.all-1]\npurposes = {list(law)}\n"
            '[version.tenant.iocom.person_notices]\nkey = "operator-1.pub.pem"\ntold = ["lifting"]\n'
        )
    return "\n".join(parts)
