"""`emit` publishes events, `read` opens legs for a purpose."""

import argparse
import asyncio
import csv
import json
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from calllog_guard.adapters.kafka_log import read_all
from calllog_guard.bootstrap import World
from calllog_guard.commands.setup import say, the_world
from calllog_guard.core.calls.leg import Leg, read_leg
from calllog_guard.core.crypto.envelope import LegHeader, open_leg, parse_header
from calllog_guard.core.crypto.secrets import month_from
from calllog_guard.core.ids import Pseudonym, Tenant, b64
from calllog_guard.core.tombstone import Output
from calllog_guard.core.wire import Access, encode
from calllog_guard.errors import ConfigurationError, GuardError, RecordError, StateRefusedError
from calllog_guard.law import follow_published
from calllog_guard.workers.keyring import Keyring

_BATCH: Final = 500
COLUMNS: Final = "start=timestamp,caller=caller,callee=callee,duration=duration"


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verbs."""
    verb = verbs.add_parser(
        "emit", help="publish events from NDJSON of the event schema, or from CSV with a column map"
    )
    verb.add_argument("file", metavar="FILE", type=Path)
    verb.add_argument("--columns", default=COLUMNS, help=f"CSV: which column is what (default {COLUMNS})")
    verb.add_argument("--start", type=date.fromisoformat, help="CSV: the day that second 0 falls on, as 2026-11-01")
    verb.add_argument("--limit", type=int, help="stop after so many events")
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=lambda args: asyncio.run(emit(args)))
    verb = verbs.add_parser("read", help="open legs for a purpose, as an actor of the policy; the access is recorded")
    verb.add_argument("--purpose", required=True)
    verb.add_argument("--actor", required=True)
    verb.add_argument("--json", action="store_true", help="accepted everywhere; lines are JSON in any case")
    verb.set_defaults(run=lambda args: asyncio.run(read(args)))


# --- emit -----------------------------------------------------------------------------------------------------------


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


# --- read -----------------------------------------------------------------------------------------------------------


class Reader:
    """Opens legs for one purpose; every refusal is counted by its reason."""

    def __init__(self, shared: World, tenant: Tenant, purpose: str, actor: str) -> None:
        table = shared.policy.at(shared.clock.now().date()).tenant[tenant]
        rights = table.actors.get(actor)
        if rights is None or purpose not in rights.purposes:
            raise StateRefusedError(f"the policy does not let {actor} read for {purpose}")
        self._bit = 1 << (table.purposes[purpose].number - 1)
        self._shows, self._purpose = table.purposes[purpose].shows, purpose
        self._ring: Keyring = shared.ring(tenant)
        self._pepper = shared.vault.pepper(tenant)
        self.refused: dict[str, int] = {}
        self.opened = 0

    def _refuse(self, why: str) -> None:
        self.refused[why] = self.refused.get(why, 0) + 1

    async def line(self, key: bytes, value: bytes) -> dict[str, Any] | None:
        """What the purpose may see of a leg; None when it may not."""
        try:
            header = parse_header(value)
            if key.decode() != f"{header.kid}.{header.rid}":
                self._refuse("unreadable")
                return None
            if not header.pur & self._bit:
                self._refuse("purpose")
                return None
            return await self._opened(header, value)
        except RecordError:
            self._refuse("unreadable")
            return None

    async def _opened(self, header: LegHeader, value: bytes) -> dict[str, Any] | None:
        keys = await self._ring.keys_of(Pseudonym(header.kid))
        if keys is None:
            self._refuse("erased")
            return None
        view = await self._ring.view([keys.lookup])
        person = self._ring.person(keys.lookup, view.raw[keys.lookup])
        if person is None or person.pseudonym != header.kid:
            self._refuse("erased")
            return None
        if person.closed:
            self._refuse("restricted")
            return None
        opened = (await self._ring.open({keys.lookup: person}))[keys.lookup]
        leg = read_leg(open_leg(value, opened.data_key(month_from(header.mon))))
        self.opened += 1
        return self._shown(header, leg, keys.lookup)

    def _shown(self, header: LegHeader, leg: Leg, lookup: str) -> dict[str, Any]:
        import hashlib  # noqa: PLC0415
        import hmac  # noqa: PLC0415

        secret = self._pepper.expose()
        person = b64(hmac.digest(secret, f"person\0{self._purpose}\0{lookup}".encode(), hashlib.sha256)[:16]).decode()
        start = leg.joined_at or leg.started_at
        end = leg.left_at or leg.ended_at or start
        seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
        known = {
            "role": leg.role,
            "started_at": leg.started_at,
            "duration_s": int(seconds),
            "kind": leg.kind,
            "outcome": leg.outcome,
            "parties": leg.parties,
            "subject": leg.subject,
        }
        return {"op": "put", "token": header.rid, "person": person} | {n: known[n] for n in self._shows if n in known}


async def read(args: argparse.Namespace) -> int:
    """Open what a purpose may see; nothing is shown before the access is on record."""
    shared = the_world()
    await follow_published(shared)
    tenant = shared.tenant
    await shared.look_back()
    reader = Reader(shared, tenant, args.purpose, args.actor)
    topic = shared.settings.topic("calllog.legs")
    writer = shared.writer()
    await writer.start()
    try:
        for partition in range(shared.settings.partitions):
            records = await read_all(shared.settings.kafka, shared.options, topic, [partition])
            if not records:
                continue
            state = {record.key: record.value for record in records if record.key[:1] != b"~"}
            before, refused_before = reader.opened, dict(reader.refused)
            lines = [await reader.line(key, value) for key, value in state.items() if value is not None]
            access = Access(
                v=1,
                actor=args.actor,
                purpose=args.purpose,
                case=None,
                topic=topic,
                partition=partition,
                from_=records[0].offset,
                to=records[-1].offset,
                opened=reader.opened - before,
                refused={why: many - refused_before.get(why, 0) for why, many in reader.refused.items()},
                at=shared.clock.now(),
            )
            place = partition % shared.settings.few_partitions
            await writer.write(
                [Output(shared.settings.topic("privacy.access"), place, args.actor.encode(), encode(access))]
            )
            for line in lines:
                if line is not None:
                    print(json.dumps(line))  # noqa: T201
    except GuardError:
        sys.stdout.flush()
        raise
    finally:
        await writer.stop()
        await shared.keystore.close()
    say(f"{reader.opened} opened, refused: {reader.refused or 'none'}")
    return 0
