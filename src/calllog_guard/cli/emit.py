"""`emit` publishes events."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Final

import click

from calllog_guard.adapters.disk.old_logs import LogFile, events_of
from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import NO_KEYSTORE, enter
from calllog_guard.cli._mapping import mapping_of, plain_dialect, with_mapping
from calllog_guard.cli._options import Args, argument, columns, command, flag, start
from calllog_guard.cli._output import say, show, the_world
from calllog_guard.client.aio import BATCH
from calllog_guard.client.transport import Transport
from calllog_guard.core.calls.csv_rows import columns_of
from calllog_guard.core.calls.event import LegForm
from calllog_guard.core.calls.import_journal import Skipped
from calllog_guard.core.calls.leg import REFERRED
from calllog_guard.core.calls.reading import checked, whole
from calllog_guard.core.identifiers import Tenant
from calllog_guard.errors import ConfigurationError, MessageError

_TOLD: Final = 10
"""Bad rows that are told one by one."""

_CURES: Final = {
    "not_json at /": "each line is one event in JSON: `jq -c . FILE` puts each event on one line",
    "wrong_value at /": "a list is no event: `jq -c '.[]' FILE` makes a line of each of its events",
    "unknown_field at /": "a platform's own messages need --mapping: `calllog-guard source list` names them",
    "bad_row at /start": "a start is a time with its offset, as 2026-11-24T09:00:00+01:00, or seconds since --start",
    "bad_row at /duration": "a duration is a whole number of seconds",
}
"""What to do about rows that newcomers often have."""

Row = tuple[int, bytes, bytes | MessageError | Skipped]
"""The line it lies in (from 1), the call's id, and the event or why there is none, or that the mapping skips it."""


def _many(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise click.BadParameter("no number of rows")
    return int(text)


def _rows(shared: AppContext, args: Args) -> Iterator[Row]:
    """The rows of the file; an event that every protector would refuse is none, whenever it comes."""
    tenant, most = shared.tenant, shared.settings.event_max_bytes
    identity, skew_ms = shared.vault.identity(tenant), round(shared.settings.event_skew_s * 1000)
    form: LegForm = 1 if shared.vault.profile(tenant).forms < REFERRED else 2
    first = args.start or shared.clock.now().date() - timedelta(days=30)
    name = args.file.stem if form == 1 else ""
    file = LogFile(args.file, most, columns_of(args.columns), tenant, name, first, begin=0)
    found = events_of(file._replace(mapping=mapping_of(args), dialect=plain_dialect(args)))
    for _, line, raw in found if args.limit is None else islice(found, args.limit):
        yield line, *_judged(raw, tenant, identity, form, skew_ms)


def _judged(
    raw: bytes | MessageError | Skipped, tenant: Tenant, identity: Sequence[str], form: LegForm, skew_ms: int
) -> tuple[bytes, bytes | MessageError | Skipped]:
    if not isinstance(raw, bytes):
        return b"", raw
    try:
        event = whole(checked(raw, identity, form, skew_ms)).event
    except MessageError as error:
        return b"", error
    return event.call_id.encode(), raw if event.tenant == tenant else MessageError("foreign_tenant", "/tenant")


def _checked(shared: AppContext, args: Args) -> tuple[Counter[str], Counter[str]]:
    """
    Why rows are bad, and what is skipped; the first bad ones are told, by line and reason, never by content.

    Raises:
        ConfigurationError: There are some, and they were not to be left out: nothing is published.

    """
    rows = 0
    bad: Counter[str] = Counter()
    cures: dict[str, None] = {}
    skipped: Counter[str] = Counter()
    for line, _, event in _rows(shared, args):
        if isinstance(event, Skipped):
            skipped[event.why] += 1
            continue
        rows += 1
        if isinstance(event, MessageError):
            bad[event.reason] += 1
            cures |= {_CURES[str(event)]: None} if str(event) in _CURES else {}
            if bad.total() <= _TOLD:
                say(f"line {line}: {event}")
    if bad and not args.skip_bad:
        for cure in cures:
            say(cure)
        raise ConfigurationError(
            f"{bad.total()} of {rows} rows are no events, so nothing was published: mend them, or leave them out with "
            "--skip-bad"
        )
    return bad, skipped


@command("emit")
@argument("file", metavar="FILE", type=Path, help="NDJSON of the event schema, CSV, or messages of a platform")
@with_mapping()
@columns
@start
@click.option("--topic", help="which of the tenant's topics of events (default: the first that the policy names)")
@click.option("--limit", metavar="N", type=_many, help="only the first so many rows")
@flag("--skip-bad", help="publish the others where rows are no events; exit 1")
async def emit(args: Args) -> int:
    """Publish a file to a topic of the tenant's events, by the law in force: all of it or, with bad rows, none."""
    shared = the_world()
    bad, skipped = _checked(shared, args)
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
    told = {"published": sent} | ({"refused": bad.total(), "reasons": dict(bad)} if bad else {})
    lines = [f"skipped: {why} {many}" for why, many in sorted(skipped.items())]
    lines += [f"refused: {reason} {many}" for reason, many in sorted(bad.items())]
    show(args, told | ({"skipped": dict(skipped)} if skipped else {}), "\n".join([f"{sent} events published", *lines]))
    return int(bool(bad))
