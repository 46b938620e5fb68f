"""`source check|list|show`: mappings of platforms' messages; needs neither Kafka nor Redis nor any setting."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import click

from calllog_guard.adapters.mappings.files import mapping_file, shipped, text_of_mapping
from calllog_guard.adapters.mappings.mapped_logs import messages
from calllog_guard.cli._mapping import mapping_of, with_mapping
from calllog_guard.cli._options import Args, VerbGroup, argument
from calllog_guard.cli._output import show
from calllog_guard.core.calls.reading import checked as read_strictly
from calllog_guard.core.identity.rules import DEFAULT, REFUSED
from calllog_guard.core.sources.check import REMEDIES, Checked, Spot, checked
from calllog_guard.core.sources.mapping import MappedItem
from calllog_guard.errors import ConfigurationError, MessageError, UnmappedError
from calllog_guard.settings import Settings

source: Final = VerbGroup("source")
_SHOWN: Final = 20
_NO_EVENT: Final = "a protector refuses such an event: see docs/how-to/publish-an-event.md"
_CLASSES: Final = {
    "call": "a whole call",
    "session": "one person's session",
    "notification": "a join, a leave or an end",
}


@source.command("list", help="the mappings that are shipped, and what each takes")
def listed(args: Args) -> int:
    """Each shipped mapping with what a message of it is."""
    files = {name: mapping_file(text_of_mapping(name), {}) for name in shipped()}
    rows = [
        {
            "name": name,
            "title": each.title,
            "tells": each.tells,
            "form": each.input.form,
            "documentation": each.documentation,
        }
        for name, each in files.items()
    ]
    text = "\n".join(f"{row['name']:22} {row['title']:34} {row['form']:5} {_CLASSES[row['tells']]}" for row in rows)
    show(args, rows, text)
    return 0


@source.command("show", help="print a mapping, to read it or to change a copy of it")
@argument("name", metavar="NAME", help="of `source list`")
def shown(args: Args) -> int:
    """The text of a mapping."""
    text = text_of_mapping(args.name)
    show(args, {"name": args.name, "text": text}, text.rstrip("\n"))
    return 0


@source.command("check", help="show what a mapping makes of a sample; nothing is sent")
@argument("sample", metavar="SAMPLE", type=Path, help="a file with messages of the platform, as they come")
@with_mapping(required=True)
@click.option("--tenant", default="tenant", metavar="T", help="whose events these would be")
@click.option(
    "--limit", type=click.IntRange(min=1), default=_SHOWN, metavar="N", help=f"only the first messages ({_SHOWN})"
)
def check(args: Args) -> int:
    """Show what is taken, dropped, skipped and refused of the messages of a file."""
    if not args.sample.is_file():
        raise ConfigurationError("there is no such sample, or it is no file")
    found = mapping_of(args)
    assert found is not None  # noqa: S101 - the option is needed
    told: list[dict[str, Any]] = []
    for _, line, message in islice(messages(args.sample, found), args.limit):
        if isinstance(message, MessageError):
            report = Checked((MappedItem(refused=(UnmappedError(message.reason, message.pointer),)),), (), ())
        else:
            report = checked(found, message, args.tenant)
        told.append({"line": line} | _told(report))
    if not told:
        raise ConfigurationError("the sample holds no message")
    if args.json:
        show(args, told, "")
    else:
        _print(told)
    return int(
        any(each["refused"] for each in told) or not any(each["events"] or each["notifications"] for each in told)
    )


def _told(report: Checked) -> dict[str, Any]:
    """What became of a message, for JSON."""
    results = report.results
    return {
        "rule": next((each.rule for each in results if each.rule), None),
        "taken": _spots(report.read),
        "dropped": _spots(report.dropped),
        "skipped": [why for each in results for why in each.skipped],
        "refused": [
            _refusal(error) for error in (*(bad for each in results for bad in each.refused), *_judged(results))
        ],
        "events": [each.event for each in results if each.event is not None],
        "notifications": [each.notification.told() for each in results if each.notification is not None],
    }


def _judged(results: tuple[MappedItem, ...]) -> Iterator[UnmappedError]:
    """What a protector would refuse of the events, by the rules of identity of a new tenant."""
    for event in (each.event for each in results if each.event is not None):
        try:
            raw = json.dumps(event).encode()
            found = read_strictly(raw, DEFAULT, 2, round(Settings().event_skew_s * 1000))
            errors: list[MessageError] = [each.error for each in found.wrong]
        except MessageError as error:
            errors = [error]
        yield from (UnmappedError(each.reason, each.pointer, source="the event") for each in errors)


def _spots(spots: tuple[Spot, ...]) -> list[dict[str, str]]:
    return [{"place": place, "kind": kind} for place, kind in spots]


def _refusal(error: UnmappedError) -> dict[str, str]:
    found = {"reason": error.reason, "at_pointer": error.pointer, "from": error.source, "found": error.found}
    return found | {"remedy": REMEDIES.get(error.reason) or REFUSED.get(error.reason) or _NO_EVENT}


def _print(told: list[dict[str, Any]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - takes long to load

    console = Console(soft_wrap=False, highlight=False)
    for each in told:
        console.print(_table(each))
        for made in (*each["events"], *each["notifications"]):
            console.print_json(json.dumps(made))


def _table(each: dict[str, Any]) -> Any:
    from rich.table import Table  # noqa: PLC0415 - takes long to load
    from rich.text import Text  # noqa: PLC0415

    table = Table(title=f"line {each['line']}: {each['rule'] or 'no rule takes it'}", title_justify="left")
    for name in ("", "place", "what"):
        table.add_column(name, overflow="fold")
    for row in _rows(each):
        table.add_row(*map(Text, row))
    return table


def _rows(each: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for word in ("taken", "dropped"):
        yield from ((word, spot["place"], spot["kind"]) for spot in each[word])
    yield from (("skipped", "", why) for why in each["skipped"])
    for bad in each["refused"]:
        found = f"{bad['reason']}: found {bad['found']}" if bad["found"] else bad["reason"]
        yield "refused", f"{bad['at_pointer'] or '/'} from {bad['from'] or 'the message'}", f"{found}; {bad['remedy']}"
