"""What every command says and needs: data on stdout, talk on stderr, how far it is, and the installation."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from calllog_guard.app.context import AppContext, world
from calllog_guard.cli._options import Args
from calllog_guard.settings import from_environment

T = TypeVar("T")


def say(text: str) -> None:
    """Talk goes to stderr."""
    print(text, file=sys.stderr)  # noqa: T201


def show(args: Args, data: Any, text: str) -> None:
    """Data goes to stdout, as JSON when asked."""
    print(json.dumps(data) if args.json else text)  # noqa: T201


def progress(things: Sequence[T], what: str) -> Iterable[T]:
    """The things one by one; how far they are is shown meanwhile."""
    from rich.console import Console  # noqa: PLC0415 - takes long to load
    from rich.progress import track  # noqa: PLC0415

    return track(things, description=what, console=Console(stderr=True), transient=True)


def the_world() -> AppContext:
    """The world of this process' environment."""
    return world(from_environment(os.environ))
