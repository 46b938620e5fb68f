"""The options that name a mapping of a platform's messages, and its settings."""

import hashlib
from typing import Any, Final

import click

from calllog_guard.adapters.mappings.files import mapping, text_of_mapping
from calllog_guard.cli._options import Args, Shared
from calllog_guard.core.sources.inputs import dialect_of
from calllog_guard.core.sources.mapping import Mapping
from calllog_guard.core.sources.model import Dialect


def _setting(text: str) -> tuple[str, str]:
    name, given, value = text.partition("=")
    if not given:
        raise click.BadParameter("give NAME=VALUE, as zone=Europe/London")
    return name, value


_dialect: Final = click.option(
    "--dialect",
    multiple=True,
    type=_setting,
    metavar="NAME=VALUE",
    help="CSV: how it is written: delimiter, quote, escape, header, encoding, skip_lines (repeatable)",
)


_SETS: Final = "--mapping: a setting of it: zone, twice, country (repeatable)"
_set: Final = click.option("--set", multiple=True, type=_setting, metavar="NAME=VALUE", help=_SETS)


def with_mapping(*, required: bool = False) -> Shared[Any]:
    """The options of a command that reads messages of platforms."""
    what = "the messages are a platform's, and become events so: a name of `source list`, or a file"
    named = click.option("--mapping", metavar="NAME_OR_FILE", required=required, help=what)
    return lambda run: named(_set(_dialect(run)))


def mapped_anew(run: Any) -> Any:
    """The options of a command that maps messages a second time."""
    what = "of letters of a platform's messages: map them by this, and not as `ingest.toml` says now"
    return click.option("--mapping", metavar="NAME_OR_FILE", help=what)(_set(run))


def mapping_of(args: Args) -> Mapping | None:
    """
    The mapping that is named, if one is.

    Raises:
        ConfigurationError: There is none by that name, or it is wrong.

    """
    return mapping(args.mapping, dict(args.set), dict(args.dialect)) if args.mapping else None


def plain_dialect(args: Args) -> Dialect:
    """
    How a file of CSV is written that no mapping describes.

    Raises:
        ConfigurationError: It says what no dialect has.

    """
    return dialect_of({} if args.mapping else dict(args.dialect))


def mapping_mark(args: Args) -> tuple[str, ...]:
    """What tells two mappings apart, and two ways to read CSV: another one makes an import anew."""
    said = tuple(sorted(map("=".join, args.dialect)))
    if not args.mapping:
        return said
    return (*said, hashlib.sha256(text_of_mapping(args.mapping).encode()).hexdigest(), *sorted(map("=".join, args.set)))
