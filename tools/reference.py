"""
Write docs/reference/ from the code: commands, settings, metrics, topics, messages.

`make reference` writes; `make check` and tests/unit/project/test_docs.py fail where a page is not what the code says.
"""

import dataclasses
import json
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click
from contract_page import contract
from doc_tables import cell, entries_table, rights_table, secrets_table
from ingest_page import INGEST_LEAD, ingest_lines
from mapping_page import MAPPING_LEAD, mapping_lines

from calllog_guard.adapters.disk.old_logs import FILES
from calllog_guard.adapters.http.pages import PREFIX as PAGE_PREFIX
from calllog_guard.adapters.kafka.admin.topics import governed
from calllog_guard.cli import root
from calllog_guard.cli._options import PROGRAM
from calllog_guard.core.calls.formats import VALUES
from calllog_guard.core.requests.types import TYPES
from calllog_guard.core.rights.grants import USERS
from calllog_guard.core.topics import TABLE, Topic
from calllog_guard.metrics import ROWS, kind_of
from calllog_guard.settings import PREFIX, SPECS, Settings, unit_of

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = ROOT / "docs" / "reference"
_MADE: Final = "<!-- Made by `make reference` from the code; do not edit. -->"
_EXITS: Final = (
    (0, "done"),
    (1, "a finding: the command worked, and what it found needs you"),
    (2, "usage or configuration: mend the command, the settings or the policy"),
    (3, "unavailable: a server does not answer; try again"),
    (4, "refused by state: there is nothing of that kind to do"),
    (70, "halt: a worker will not go on, or a defect; the last line says why"),
)
_GRANTS: Final = {"always": "an officer", "by_purpose": "an officer, if a purpose says review", "two": "two officers"}
_EXAMPLE_KEEP_DAYS: Final = 184
_WIDTH: Final = 120
_CONTRACT: Final = (
    "Topics, keys, messages and rights of an installation with the default names: `schemas/asyncapi.yaml` (AsyncAPI 3) "
    "for people. How a request is signed and sealed: [Send an erasure from your code](../how-to/send-an-erasure.md)."
)


def page(title: str, lead: str, lines: Sequence[str]) -> str:
    """A whole page."""
    text = "\n".join([f"# {title}", "", _MADE, "", lead, "", *lines]).rstrip("\n")
    return "\n".join(_wrapped(text.splitlines())) + "\n"


def _wrapped(lines: Sequence[str]) -> Iterator[str]:
    """Prose in lines of at most _WIDTH characters; tables, headings and fenced lines stay as they are."""
    fenced = False
    for line in lines:
        fenced ^= line.startswith("```")
        if fenced or len(line) <= _WIDTH or line.startswith(("|", "#", "<")):
            yield line
        else:
            yield from textwrap.wrap(line, _WIDTH, break_long_words=False, break_on_hyphens=False)


def settings() -> str:
    """Every setting with its default, its unit, its bounds and its meaning."""
    lines = ["| setting | default | unit | allowed | meaning |", "|---|---|---|---|---|"]
    for field in dataclasses.fields(Settings):
        spec, unit = SPECS[field.name], unit_of(field.name)
        default = f"`{field.default}`" if field.default != "" else "empty"
        name = f"`{PREFIX}{field.name.upper()}`"
        lines.append(f"| {name} | {default} | {unit} | {cell(spec.allowed.words)} | {cell(spec.help)} |")
    lead = (
        "Settings are environment variables. An unknown name is refused. "
        "The same name with `_FILE` behind it reads the value from a file."
    )
    return page("Settings", lead, lines)


def metrics() -> str:
    """Every metric with its kind, its unit, its labels and its meaning."""
    lines = ["| metric | kind | unit | labels beside `role` | meaning |", "|---|---|---|---|---|"]
    for row in sorted(ROWS, key=lambda each: each.name):
        kind = kind_of(row).__name__.removesuffix("Metric").lower()
        name = PAGE_PREFIX + row.name + ("_total" if kind == "counter" else "")
        unit = unit_of(row.name)
        lines.append(
            f"| `{name}` | {kind} | {unit} | {' '.join(f'`{each}`' for each in row.labels)} | {cell(row.meaning)} |"
        )
    lead = "Each worker serves these at `/metrics` of `CALLLOG_GUARD_HTTP`. No label names a person."
    return page("Metrics", lead, lines)


def topics() -> str:
    """Every topic with its key, its users, its settings under the defaults, and the rights."""
    lines = ["| topic | key | value | written by | read by |", "|---|---|---|---|---|"]
    for topic, row in TABLE.items():
        by = (", ".join(user for user in USERS if letter in row.rights.get(user, "")) for letter in "WR")
        lines.append(f"| `{topic}` | {cell(row.key)} | {cell(row.value)} | {' | '.join(by)} |")
    lines += ["", "## Settings", "", "| topic | partitions | settings |", "|---|---|---|"]
    for made in governed(Settings(), _EXAMPLE_KEEP_DAYS, [Topic.EVENTS]):
        many = f"{made.partitions}" if made.fixed else f"{made.partitions}, or any other number"
        told = "<br>".join(f"`{name}={value}`" for name, value in sorted(made.settings.items()))
        lines.append(f"| `{made.name}` | {many} | {told} |")
    letters = "R read, W write, D describe, S describe the settings, A alter them, C create, X delete records."
    lines += ["", "## Rights", "", letters, "", rights_table()]
    letters = "R read, N make where there is none, W write, D delete, S set the mark by which copies are counted."
    lines += ["", "## Rights to the keystore", "", letters, "", entries_table()]
    lead = "U: which trust domain of the KMS opens what lies wrapped beside it."
    lines += ["", "## Trust domains", "", lead, "", secrets_table()]
    lead = "Names, partitions and settings as they are with the default settings and a longest purpose of half a year."
    return page("Topics and rights", lead, lines)


def tree(verb: click.Command = root, path: str = PROGRAM) -> Iterator[tuple[str, click.Command]]:
    """Every command below one, with how it is called."""
    if not isinstance(verb, click.Group):
        return
    for name in verb.list_commands(click.Context(verb)):
        below = verb.get_command(click.Context(verb), name)
        assert below is not None  # noqa: S101 - it is listed
        yield f"{path} {name}", below
        yield from tree(below, f"{path} {name}")


def _rows(verb: click.Command) -> Iterator[str]:
    for each in verb.params:
        if getattr(each, "hidden", False):
            continue
        name = each.make_metavar(click.Context(verb))
        if isinstance(each, click.Option):
            name = ", ".join(f"`{word}`" for word in each.opts) + ("" if each.is_flag else f" `{name}`")
        else:
            name = f"`{name}`"
        needed = "needed: " if each.required and isinstance(each, click.Option) else ""
        yield f"| {cell(name)} | {cell(needed + (getattr(each, 'help', '') or ''))} |"


def _section(path: str, verb: click.Command) -> Iterator[str]:
    text, calls = verb.taught(path)  # type: ignore[attr-defined]  # each of ours has it
    first, _, more = text.partition("\n\n")
    yield from ("", f"{'#' * len(path.split())} {path.removeprefix(PROGRAM).strip()}", "", cell(first))
    if more:
        yield from ("", more)
    if rows := list(_rows(verb)):
        yield from ("", "| word or option | meaning |", "|---|---|", *rows)
    if calls:
        whole = re.sub(r"^    (?=\S)", "$ ", re.sub(r" \\\n +", " ", calls), flags=re.MULTILINE)
        yield from ("", "```console", *(line.removeprefix("        ") for line in whole.splitlines()), "```")


def commands() -> str:
    """Every verb with its words and options, calls with what comes of them, and the exit codes."""
    lines = ["| exit code | meaning |", "|---|---|", *(f"| {code} | {text} |" for code, text in _EXITS)]
    for path, verb in tree():
        lines += _section(path, verb)
    lead = "`calllog-guard VERB`. Data goes to stdout, talk to stderr. `calllog-guard VERB --help` shows the same."
    return page("Commands", lead, lines)


def messages() -> str:
    """Every message with its schema and what it is."""
    lines = ["| schema | what it is |", "|---|---|"]
    for path in sorted((ROOT / "schemas").glob("*.json")):
        schema = json.loads(path.read_text("utf-8"))
        text = schema.get("description") or schema["$defs"][schema["$ref"].rpartition("/")[2]]["description"]
        lines.append(f"| `schemas/{path.name}` | {cell(re.split(r'(?<=[.]) ', text)[0])} |")
    lead = "JSON Schema 2020-12 of every message lies in `schemas/`, exported from the types by `make schemas`."
    return page("Messages", lead, lines)


def request_types() -> str:
    """Every type of request, as its row says."""
    lines = [
        "| type | what it does | needs | may have | from | waits for | brake | ends as | stages | stands as | told |",
        "|" + "---|" * 11,
    ]
    for kind, row in TYPES.items():
        waits = [*(["identity"] if row.identity else []), *([_GRANTS[row.officer]] if row.officer != "never" else [])]
        columns = (
            cell(row.help),
            _codes(row.must),
            _codes(row.may),
            ", ".join(sorted(row.roles)),
            ", ".join(waits),
            row.brake or "",
            row.ends or "acts on a case",
            ", ".join(row.stages) + (f"; of some days: {', '.join(row.ranged)}" if row.ranged else ""),
            row.rule or (f"an answer: {row.answer}" if row.answer else ""),
            ", ".join(filter(None, (row.before and f"{row.before} (before)", row.notice))),
        )
        lines.append(f"| `{kind}` | {' | '.join(columns)} |")
    lead = "What each type says, who may send it, and what becomes of it. A dot leads into `hold`."
    return page("Request types", lead, lines)


def formats() -> str:
    """Every format of events."""
    lines = ["| of | format | known by |", "|---|---|---|"]
    lines += [f"| records of a topic | `{each.name}` | {cell(each.known_by)} |" for each in VALUES]
    lines += [f"| files of `emit` and `import` | `{each.name}` | {cell(each.known_by)} |" for each in FILES]
    return page("Formats of events", "The first format that matches is taken.", lines)


def _codes(names: Sequence[str]) -> str:
    return " ".join(f"`{name}`" for name in names)


def pages() -> dict[str, str]:
    """Every page by its file name."""
    return {
        "commands.md": commands(),
        "settings.md": settings(),
        "metrics.md": metrics(),
        "topics.md": topics(),
        "messages.md": messages(),
        "request-types.md": request_types(),
        "formats.md": formats(),
        "asyncapi.md": page("The contract", _CONTRACT, list(contract())),
        "ingest.md": page("Sources of webhooks", INGEST_LEAD, list(ingest_lines())),
        "mapping.md": page("Mapping files", MAPPING_LEAD, list(mapping_lines())),
    }


def stale() -> list[str]:
    """The pages that are not what the code says."""
    return [name for name, text in pages().items() if (PAGES / name).read_text("utf-8") != text]


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        if found := stale():
            sys.exit(f"docs/reference: {', '.join(found)} not as the code says: run `make reference` and commit it")
    else:
        for file, text in pages().items():
            (PAGES / file).write_text(text, "utf-8")
