"""`expiry`: what lapses at once, and an officer's word that lets it go."""

import argparse
import asyncio
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import track

from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import enter
from calllog_guard.commands.officers import officers_word
from calllog_guard.commands.setup import say, show, the_world
from calllog_guard.core.crypto.leg_envelope import parse_header
from calllog_guard.core.identifiers import INTERNAL_KEY
from calllog_guard.core.officers.confirmations import CONFIRMED, Confirmation, let_go
from calllog_guard.core.retention.purposes import due_day
from calllog_guard.core.retention.sweep_brake import DAYS_MOST, FEW, too_much
from calllog_guard.core.topics import Topic
from calllog_guard.errors import RecordError, StateRefusedError

_TEXT: Final = f"""\
Keepers remove what has lapsed by themselves. Where more than {DAYS_MOST} days of calls, more than {FEW} records and more than SWEEP_SHARE of
a partition would go at once, they remove nothing of it and say so: a clock that runs ahead or a period shortened by mistake would
empty the log. This shows, without --key, what has lapsed as of today by the policy in force; with --key an officer lets it go. The
word holds for the version of the policy in force and for what lapses up to today by this machine's clock; keepers read it within
SWEEP_S, and it stands in the policy's topic for ever. The copies that law keeps are held back and let go likewise.

  calllog-guard expiry                          # what would go; exit 1 if a keeper waits for a word
  calllog-guard expiry --key officer-1.pem      # it may go; exit 4 if nothing waits
"""


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "expiry",
        help="what lapses at once and waits for an officer; with an officer's key: let it go",
        description=_TEXT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("--key", type=Path, metavar="PEM", help="an officer's private key: let go what is shown")
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=lambda args: asyncio.run(expiry(args)))


async def expiry(args: argparse.Namespace) -> int:
    """Show what has lapsed; with an officer's key let it go."""
    shared = the_world()
    try:
        await enter(shared)
        today = shared.clock.now().date()
        version = shared.policy.at(today).label
        free = let_go(await shared.confirmed(), today, lambda day: shared.policy.at(day).label)
        rows = [
            await _partition(shared, number, today, free)
            for number in track(
                range(shared.settings.partitions),
                description="partitions",
                console=Console(stderr=True),
                transient=True,
            )
        ]
        waits = any(row["waits"] for row in rows)
        heads = "{partition:>9} {legs:>10} {lapsed:>10} {days:>6}  {waits}"
        lines = [heads.format(partition="partition", legs="legs", lapsed="lapsed", days="days", waits="waits")]
        text = "\n".join([*lines, *(heads.format(**row | {"waits": "yes" if row["waits"] else "no"}) for row in rows)])
        found = {"policy": version, "as_of": today.isoformat(), "let_go_up_to": free and free.isoformat()}
        show(args, found | {"partitions": rows}, text)
        if args.key is None:
            return int(waits)
        if not waits:
            raise StateRefusedError(
                "no partition of the legs waits for a word: keepers remove what lapses by themselves"
            )
        claims = Confirmation(tenant=shared.tenant, up_to=today.isoformat(), policy=version, at=shared.clock.now())
        kid = await officers_word(shared, args.key, CONFIRMED, claims)
        say(f"let go by {kid}: keepers remove what has lapsed up to {today} by policy {version} in their next round")
    finally:
        await shared.keystore.close()
    return 0


async def _partition(shared: AppContext, number: int, today: date, free: date | None) -> dict[str, Any]:
    """How many legs there are, how many of them have lapsed, of how many days, and whether a keeper waits for a word."""
    live: dict[bytes, tuple[date, int, str]] = {}

    def seen(record: Any) -> None:
        key = record.key or b""
        if record.value is None or key.startswith(INTERNAL_KEY):
            live.pop(key, None)
            return
        try:
            header = parse_header(record.value)
            live[key] = date.fromisoformat(header.day), header.pur, header.pol
        except (RecordError, ValueError):  # none of ours: keepers tell of it
            live.pop(key, None)

    settings = shared.settings
    await shared.log.read_each(settings.topic(Topic.LEGS), [number], seen)
    due: Counter[date] = Counter()
    left: Counter[date] = Counter()
    for (day, purposes, policy), many in Counter(live.values()).items():
        if due_day(day, purposes, shared.policy.purposes_since(shared.tenant, policy, today)) <= today:
            due[day] += many
            if free is None or due_day(day, purposes, shared.policy.purposes_since(shared.tenant, policy, free)) > free:
                left[day] += many
    waits = too_much(left, len(live), settings.sweep_share)
    return {"partition": number, "legs": len(live), "lapsed": sum(due.values()), "days": len(due), "waits": waits}
