"""`emit` publishes events."""

import argparse
import asyncio
import csv
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from calllog_guard.commands.setup import say, the_world
from calllog_guard.core.ids import Tenant
from calllog_guard.core.tombstone import Output
from calllog_guard.errors import ConfigurationError

_BATCH: Final = 500
COLUMNS: Final = "start=timestamp,caller=caller,callee=callee,duration=duration"


def day_of(text: str) -> date:
    """A day as an argument."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("no day: write it as 2026-11-01") from None


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verbs."""
    verb = verbs.add_parser(
        "emit", help="publish events from NDJSON of the event schema, or from CSV with a column map"
    )
    verb.add_argument("file", metavar="FILE", type=Path)
    verb.add_argument("--columns", default=COLUMNS, help=f"CSV: which column is what (default {COLUMNS})")
    verb.add_argument("--start", type=day_of, help="CSV: the day that second 0 falls on, as 2026-11-01")
    verb.add_argument("--limit", type=int, help="stop after so many events")
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=lambda args: asyncio.run(emit(args)))


def csv_events(path: Path, tenant: Tenant, columns: str, first: date) -> Iterator[tuple[bytes, bytes]]:
    """Call id and event of each row: seconds since the first day, caller, callee, seconds (-1: missed)."""
    names = dict(pair.split("=", 1) for pair in columns.split(","))
    base = datetime(first.year, first.month, first.day, tzinfo=UTC)
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file)):
            try:
                start = base + timedelta(seconds=int(row[names["start"]]))
                duration = int(row[names["duration"]])
                people = (row[names["caller"]], row[names["callee"]])
            except (KeyError, ValueError):
                raise ConfigurationError(f"{path.name}, row {number + 2}: not {columns}; give --columns") from None
            call = f"{path.stem}-{number}"
            event = {
                "tenant": tenant,
                "call_id": call,
                "kind": "audio",
                "outcome": "answered" if duration >= 0 else "missed",
                "started_at": start.isoformat(),
                "ended_at": (start + timedelta(seconds=max(duration, 0))).isoformat(),
                "parties": [
                    {"id": f"user-{who}@example.org", "role": role}
                    for who, role in zip(people, ("caller", "callee"), strict=True)
                ],
            }
            yield call.encode(), json.dumps(event).encode()


def ndjson_events(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Call id and event of each line; what is wrong with a line is the protector's to say."""
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                try:
                    call = str(json.loads(line).get("call_id", ""))
                except (ValueError, AttributeError, RecursionError):
                    call = ""
                yield call.encode(errors="replace"), line.strip()


async def emit(args: argparse.Namespace) -> int:
    """Publish a file to the tenant's events topic."""
    shared = the_world()
    tenant = shared.tenant
    topic = shared.policy.at(shared.clock.now().date()).tenant[tenant].events[0]
    if args.file.suffix == ".csv":
        first = args.start or shared.clock.now().date() - timedelta(days=30)
        rows = csv_events(args.file, tenant, args.columns, first)
    else:
        rows = ndjson_events(args.file)
    writer = shared.writer()
    await writer.start()
    sent = 0
    batch: list[Output] = []
    try:
        for call, event in rows:
            if args.limit is not None and sent + len(batch) >= args.limit:
                break
            partition = sum(call) % shared.settings.partitions
            batch.append(Output(topic, partition, call, event))
            if len(batch) >= _BATCH:
                await writer.write(batch)
                sent += len(batch)
                batch = []
                say(f"{sent} events published")
        await writer.write(batch)
        sent += len(batch)
    finally:
        await writer.stop()
    print(json.dumps({"published": sent}) if args.json else f"{sent} events published")  # noqa: T201
    return 0
