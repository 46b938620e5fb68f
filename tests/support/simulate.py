"""
`make simulate`: two policies a year apart, a simulated clock over call data, an oracle that counts who must be alive.

Ours: events decoded, purposes put on each leg as the protector does, the keeper's index on disk, its sweep each day.
The oracle: one leg at a time, `dateutil` for the periods, no code of ours. Both tell for each day the legs alive.
"""

import argparse  # noqa: TID251 - a script beside the tests
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from dateutil.relativedelta import relativedelta
from policies import policy_of, version

from calllog_guard.adapters.disk.old_logs import LogFile, csv_rows
from calllog_guard.adapters.rocksdb.index import RocksIndex
from calllog_guard.cli._options import COLUMNS
from calllog_guard.cli.demo import made_calls
from calllog_guard.core.calls.csv_rows import columns_of
from calllog_guard.core.calls.event import Limits
from calllog_guard.core.calls.reading import read_event
from calllog_guard.core.codec import to_ms
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.identity.rules import DEFAULT
from calllog_guard.core.policy.active import Policy
from calllog_guard.core.retention.expiry import lapsed
from calllog_guard.core.retention.purposes import mask_for
from calllog_guard.errors import MessageError
from calllog_guard.ports.state import LegFacts, Position

TENANT = Tenant("iocom")
FIRST, SECOND = date(2026, 1, 1), date(2027, 1, 1)
MOST = 10_000
_DAY_MS = 86_400_000
PURPOSE = """\
[version.tenant.iocom.purposes.{name}]
number = {number}
basis = "{basis}"
keep = "{keep}"
{when}
"""
CALLERS = 'when = { roles = ["caller"], outcomes = ["answered"] }'
MISSED = 'when = { outcomes = ["missed"] }'
BEFORE = [
    ("service", 1, "contract", "P90D", ""),
    ("billing", 2, "legal_duty", "P6M", CALLERS),
    ("quality", 3, "legitimate_interests", "P4M", ""),
    ("missed", 4, "legitimate_interests", "P1M10D", MISSED),
]
AFTER = [  # shorter, longer, dropped (quality), longer in days than in months, new
    ("service", 1, "contract", "P30D", ""),
    ("billing", 2, "legal_duty", "P1Y", CALLERS),
    ("missed", 4, "legitimate_interests", "P60D", MISSED),
    ("fraud", 5, "legitimate_interests", "P2M", CALLERS),
]


def simulated_policy(directory: Path) -> Policy:
    """Both versions as a checked file."""
    texts = [
        version(
            str(day),
            purposes="".join(
                PURPOSE.format(name=n, number=number, basis=basis, keep=keep, when=when)
                for n, number, basis, keep, when in rows
            ),
        )
        for day, rows in ((FIRST, BEFORE), (SECOND, AFTER))
    ]
    return policy_of(directory, *texts)


@dataclass(frozen=True, slots=True)
class Part:
    """One party of one call, as both sides get it."""

    day: date
    role: str
    outcome: str


def parts(calls: Path, first: date) -> Iterator[Part]:
    """Every party of every call of a CSV whose second 0 is the start of `first`."""
    limits = Limits(ahead_ms=0, late_ms=3 * _DAY_MS, max_bytes=1 << 18)
    for _, _, raw in csv_rows(LogFile(calls, 0, columns_of(COLUMNS), TENANT, calls.stem, first)):
        if isinstance(raw, MessageError):
            raise raw
        at = datetime.fromisoformat(json.loads(raw)["started_at"])
        appended = to_ms(at) + 2 * _DAY_MS  # the call is over
        event = read_event(raw, tenant=TENANT, identity=DEFAULT, appended_ms=appended, limits=limits).event
        for party in event.parties:
            yield Part(event.started_at.astimezone(UTC).date(), party.role, event.outcome)


# --- ours -----------------------------------------------------------------------------------------------------------


def ours(policy: Policy, found: list[Part], index: RocksIndex, until: date) -> list[int]:
    """Legs alive at the end of each day from FIRST on."""
    of_day: dict[date, list[Part]] = {}
    for part in found:
        of_day.setdefault(part.day, []).append(part)
    alive, made, counts, day = 0, 0, [], FIRST
    while day <= until:
        law = policy.at(day)
        purposes = law.tenant[TENANT].listed()
        for part in of_day.get(day, ()):
            mask = mask_for(purposes, part.role, part.outcome)
            if mask:
                made += 1
                index.put(b"%022d.%022d" % (made, made), LegFacts(day, mask, law.effective.isoformat()))
                alive += 1
        index.commit(Position(0, 0, "simulated", 0))
        alive -= swept(policy, index, day)
        counts.append(alive)
        day += timedelta(1)
    return counts


def swept(policy: Policy, index: RocksIndex, day: date) -> int:
    """The sweeps of one day, as many as it takes; how many legs went."""
    gone = 0
    while True:
        due = lapsed(
            index.groups(), index.keys_with, lambda stored: policy.purposes_since(TENANT, stored, day), day, MOST
        )
        for key in due:
            index.remove(key)
        index.commit(Position(0, 0, "simulated", 0))
        gone += len(due)
        if len(due) < MOST:
            return gone


# --- the oracle -----------------------------------------------------------------------------------------------------

MONTHS = {
    "P90D": relativedelta(days=90),
    "P30D": relativedelta(days=30),
    "P60D": relativedelta(days=60),
    "P6M": relativedelta(months=6),
    "P1Y": relativedelta(years=1),
    "P4M": relativedelta(months=4),
    "P2M": relativedelta(months=2),
    "P1M10D": relativedelta(months=1, days=10),
}


def wanted(row: tuple[str, int, str, str, str], part: Part) -> bool:
    """Whether a purpose covers a part."""
    if row[4] == CALLERS:
        return part.role == "caller" and part.outcome == "answered"
    return row[4] != MISSED or part.outcome == "missed"


def oracle(found: list[Part], until: date) -> list[int]:
    """The same numbers, leg by leg: a leg lives while one purpose is left that each law since then still grants."""
    born, died = Counter[date](), Counter[date]()
    for part, many in Counter(found).items():
        rows = BEFORE if part.day < SECOND else AFTER
        mine = {row[0]: part.day + MONTHS[row[3]] for row in rows if wanted(row, part)}
        if not mine:
            continue
        last = max(mine.values())
        if part.day < SECOND <= last:  # the second law comes while it lives
            then = {row[0]: part.day + MONTHS[row[3]] for row in AFTER}
            kept = [min(end, then[name]) for name, end in mine.items() if name in then]
            last_before = SECOND - timedelta(1)
            last = max([last_before, *kept])
        born[part.day] += many
        died[last + timedelta(1)] += many
    alive, counts, day = 0, [], FIRST
    while day <= until:
        alive += born[day] - died[day]
        counts.append(alive)
        day += timedelta(1)
    return counts


# --- both -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Result:
    """What both sides counted."""

    legs: int
    days: int
    mine: list[int]
    other: list[int]
    seconds: float


def spread(calls: Path, target: Path, *, days: int) -> None:
    """The calls of a file, drawn out over so many days: who, how long and in which order stay, the rhythm does not."""
    lines = calls.read_text("utf-8").splitlines()
    rows = [line.split(",") for line in lines[1:]]
    at = lines[0].split(",").index("timestamp")
    last = max((int(row[at]) for row in rows), default=0) or 1
    for row in rows:
        row[at] = str(int(row[at]) * days * 86_400 // (last + 1))
    target.write_text("\n".join([lines[0], *(",".join(row) for row in rows)]) + "\n", "utf-8")


def simulate(calls: Path, directory: Path, days: int = 540) -> Result:
    """
    Run both sides.

    Args:
        calls: CSV as for `emit`; laid from FIRST on, drawn out over `days`, so that the second law comes amid them.

    """
    drawn = directory / "drawn.csv"
    spread(calls, drawn, days=days)
    found = list(parts(drawn, FIRST))
    until = max(part.day for part in found) + timedelta(400)
    index = RocksIndex(directory / "index")
    try:
        began = time.perf_counter()
        mine = ours(simulated_policy(directory), found, index, until)
        return Result(len(found), len(mine), mine, oracle(found, until), time.perf_counter() - began)
    finally:
        index.destroy()


def main() -> int:
    """Simulate, and print what was compared; 1 when a day differs."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--calls", type=Path, help="CSV of timestamp,caller,callee,duration; else made calls")
    words.add_argument("--days", type=int, default=540, help="draw the calls out over so many days")
    args = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        calls = args.calls or Path(folder) / "calls.csv"
        if args.calls is None:
            made_calls(calls)
        result = simulate(calls, Path(folder), args.days)
    wrong = [number for number, (a, b) in enumerate(zip(result.mine, result.other, strict=True)) if a != b]
    told: dict[str, Any] = {
        "legs": result.legs,
        "days": result.days,
        "most_alive": max(result.mine),
        "alive_on_the_day_before_and_of_the_second_policy": [
            result.mine[(SECOND - FIRST).days - 1 + n] for n in (0, 1)
        ],
        "alive_at_the_end": result.mine[-1],
        "days_that_differ": len(wrong),
        "seconds": round(result.seconds, 1),
    }
    print(json.dumps(told, indent=2))  # noqa: T201
    return int(bool(wrong))


def thinned(calls: Path, share: float, seed: int = 3) -> None:
    """Keep a share of a file's calls, for a short version."""
    dice = random.Random(seed)  # noqa: S311 - made data
    head, *rows = calls.read_text("utf-8").splitlines()
    calls.write_text("\n".join([head, *(row for row in rows if dice.random() < share)]) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
