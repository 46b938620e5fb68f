"""`emit` publishes events."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Final

import click

from calllog_guard.adapters.disk.old_logs import LogFile, events_of
from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import NO_KEYSTORE, enter
from calllog_guard.cli._options import Args, argument, columns, command, flag, start
from calllog_guard.cli._output import say, show, the_world
from calllog_guard.client.aio import BATCH
from calllog_guard.client.transport import Transport
from calllog_guard.core.calls.csv_rows import columns_of
from calllog_guard.core.calls.event import EVENTS, check_event
from calllog_guard.core.codec import decode
from calllog_guard.core.identifiers import Tenant
from calllog_guard.errors import ConfigurationError, MessageError

_TOLD: Final = 10
"""Bad rows that are told one by one."""


Row = tuple[int, bytes, bytes | MessageError]
"""The line it lies in (from 1), the call's id, and the event or why there is none."""


def _many(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise click.BadParameter("no number of rows")
    return int(text)


def _rows(shared: AppContext, args: Args) -> Iterator[Row]:
    """The rows of the file; an event that every protector would refuse is none, whenever it comes."""
    tenant, most = shared.tenant, shared.settings.event_max_bytes
    identity = shared.vault.identity(tenant)
    first = args.start or shared.clock.now().date() - timedelta(days=30)
    found = events_of(LogFile(args.file, most, columns_of(args.columns), tenant, args.file.stem, first, begin=0))
    for _, line, raw in found if args.limit is None else islice(found, args.limit):
        yield line, *_judged(raw, tenant, identity)


def _judged(raw: bytes | MessageError, tenant: Tenant, identity: Sequence[str]) -> tuple[bytes, bytes | MessageError]:
    if isinstance(raw, MessageError):
        return b"", raw
    try:
        event = decode(EVENTS, raw)
        check_event(event, identity)
    except MessageError as error:
        return b"", error
    return event.call_id.encode(), raw if event.tenant == tenant else MessageError("foreign_tenant", "/tenant")


def _checked(shared: AppContext, args: Args) -> int:
    """
    How many rows are bad; the first of them are told, by line and reason, never by content.

    Raises:
        ConfigurationError: There are some, and they were not to be left out: nothing is published.

    """
    bad = rows = 0
    for line, _, event in _rows(shared, args):
        rows += 1
        if isinstance(event, MessageError):
            bad += 1
            if bad <= _TOLD:
                say(f"line {line}: {event}")
    if bad and not args.skip_bad:
        raise ConfigurationError(
            f"{bad} of {rows} rows are no events, so nothing was published: mend them, or leave them out with --skip-bad"
        )
    return bad


@command("emit")
@argument("file", metavar="FILE", type=Path, help="NDJSON of the event schema, or CSV")
@columns
@start
@click.option("--topic", help="which of the tenant's topics of events (default: the first that the policy names)")
@click.option("--limit", metavar="N", type=_many, help="only the first so many rows")
@flag("--skip-bad", help="publish the others where rows are no events; exit 1")
async def emit(args: Args) -> int:
    """Publish a file to a topic of the tenant's events, by the law in force: all of it or, with bad rows, none."""
    shared = the_world()
    bad = _checked(shared, args)
    await enter(shared, NO_KEYSTORE)
    topics = shared.policy.at(shared.clock.now().date()).tenant[shared.tenant].events
    topic = args.topic or topics[0]
    if topic not in topics:
        raise ConfigurationError(f"no worker reads events from {topic}: the policy in force names {', '.join(topics)}")
    good = ((call, event) for _, call, event in _rows(shared, args) if isinstance(event, bytes))
    kafka, sent = Transport(shared.settings.kafka, shared.options), 0
    await kafka.start()
    try:
        while batch := list(islice(good, BATCH)):
            await kafka.publish(topic, batch)
            sent += len(batch)
            if len(batch) == BATCH:
                say(f"{sent} events published")
    finally:
        await kafka.stop()
    show(args, {"published": sent} | ({"refused": bad} if bad else {}), f"{sent} events published")
    return int(bad > 0)
