"""
Which cases a request or a pause has to look at, so that none looks at all there are: a burst would cost its square.

Rules: 1. Who asks sees what a pass over every case would have shown, in the same order.  2. What the brakes count
          is left behind once it is an hour old, and never counted again.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from heapq import heappop, heappush
from typing import Final

from calllog_guard.core.cases.case import Case
from calllog_guard.core.requests.types import RESTRICTS, TYPES, Kind

_HOUR: Final = timedelta(hours=1)


def _considered(case: Case) -> bool:
    """Whether a case may restrict somebody until an officer has decided, or until the person was told."""
    ends = case.state == "waiting" or (case.state == "refused" and "refused" not in case.stages)
    return not case.secret and bool(case.decisions) and (case.considered or (case.type in RESTRICTS and ends))


def _brake(kind: str) -> str | None:
    row = TYPES.get(kind)  # type: ignore[call-overload]
    return row.brake if row is not None else None


class BegunCases:
    """How many people each requester named in cases begun within the hour, by brake; secret ones not."""

    def __init__(self) -> None:
        self._counted: dict[str, Case] = {}
        self._ends: list[tuple[datetime, str]] = []
        self._people: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def put(self, case: Case) -> None:
        """A case was begun, or has changed since."""
        brake = _brake(case.type)
        if case.begun and brake and not case.secret:
            before = self._drop(case.case)
            self._counted[case.case] = case
            self._people[brake][case.asked_by] += case.named
            if before is None or before.begun_at != case.begun_at:
                heappush(self._ends, (case.begun_at, case.case))

    def _drop(self, name: str) -> Case | None:
        case = self._counted.pop(name, None)
        if case is not None:
            self._people[_brake(case.type) or ""][case.asked_by] -= case.named
        return case

    def people(self, kind: Kind, now: datetime, beside: Mapping[str, Case]) -> Counter[str]:
        """Within the hour before a moment; `beside` are cases that are being written, as they are by then."""
        while self._ends and self._ends[0][0] <= now - _HOUR:
            at, name = heappop(self._ends)
            if name in self._counted and self._counted[name].begun_at == at:
                self._drop(name)
        brake = TYPES[kind].brake
        found = Counter(self._people[brake]) if brake else Counter[str]()
        for case in beside.values() if brake else ():
            if _brake(case.type) != brake:
                continue
            if (before := self._counted.get(case.case)) is not None:
                found[before.asked_by] -= before.named
            if case.begun and not case.secret and case.begun_at > now - _HOUR:
                found[case.asked_by] += case.named
        return +found


class CaseIndex:
    """The few cases of each kind, by name, in the order in which they came to the desk."""

    def __init__(self) -> None:
        self._holds: dict[str, Case] = {}
        self._considered: dict[str, Case] = {}
        self._sealed: defaultdict[str, dict[str, Case]] = defaultdict(dict)

    def put(self, before: Case | None, case: Case) -> None:
        """A case as it is from now on, and as it was."""
        name = case.case
        if case.type == "hold" and case.hold:
            self._holds[name] = case
        elif before is not None:
            self._holds.pop(name, None)
        if _considered(case):
            self._considered[name] = case
        elif before is not None:
            self._considered.pop(name, None)
        if before is not None and before.epoch is not None and before.epoch != case.epoch:
            self._unseal(before.epoch, name)
        if case.epoch is not None:
            self._sealed[case.epoch][name] = case

    def drop(self, case: Case) -> None:
        """A case is forgotten."""
        self._holds.pop(case.case, None)
        self._considered.pop(case.case, None)
        if case.epoch is not None:
            self._unseal(case.epoch, case.case)

    def _unseal(self, epoch: str, name: str) -> None:
        self._sealed[epoch].pop(name, None)
        if not self._sealed[epoch]:
            del self._sealed[epoch]

    def holds(self) -> list[Case]:
        """Those of holds, secret ones too."""
        return list(self._holds.values())

    def considered(self) -> list[Case]:
        """Those by which somebody is restricted until an officer has decided or the person was told; no secret one."""
        return list(self._considered.values())

    def sealed_before(self, epoch: str) -> Iterator[Case]:
        """Those of which a part is sealed under another epoch; not to be changed meanwhile."""
        for other, cases in self._sealed.items():
            if other != epoch:
                yield from cases.values()
