"""`read` opens legs for a purpose, once or for as long as it likes."""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final

import click
import msgspec
import structlog

from calllog_guard import telemetry
from calllog_guard.adapters.process import endings as patience
from calllog_guard.adapters.process.freed_memory import keep_overwritten
from calllog_guard.app.reader import Reader
from calllog_guard.cli._lifetime import lived, unless
from calllog_guard.cli._options import Args, command, file, flag, key
from calllog_guard.cli._output import say
from calllog_guard.core.calls.view import Line
from calllog_guard.errors import GuardError, exit_code
from calllog_guard.settings import from_environment

log: Final = structlog.get_logger()
_LEAVE_S: Final = 8.0


@command("read")
@click.option("--purpose", metavar="P", required=True, help="as in the policy")
@click.option("--actor", metavar="A", required=True, help="as in the policy: whose credential this is")
@key("the actor's private key, which signs the access record; default: ACTOR_KEY")
@flag("--follow", help="go on with what changes, until stopped")
@file("--cursor", help="with --follow: remember here what was shown")
@click.option("--http", metavar="HOST:PORT", help="with --follow: serve /health and /metrics here; port 0 for any")
@click.option("--partition", metavar="N", type=int, multiple=True, help="only this one; may be repeated")
@click.option("--case", metavar="C", help="the case that this access is for")
@flag("--json", help="accepted everywhere; lines are JSON in any case")
def read(args: Args) -> int:
    """Print the lines."""
    if not args.follow:
        return patience.run(_once(args))
    telemetry.configure("reader")
    try:
        return patience.run(lived(partial(_followed, args)))
    except GuardError as error:
        log.error("ended", why=str(error), kind=type(error).__name__)  # noqa: TRY400 - a trace may quote data
        return exit_code(error)
    finally:
        telemetry.tell_rest(whole=True)


def _reader(args: Args, told: Callable[[str], None]) -> Reader:
    return Reader(
        purpose=args.purpose,
        actor=args.actor,
        key=args.key,
        case=args.case,
        partitions=args.partition or None,
        follow=args.follow,
        cursor=args.cursor,
        http=args.http,
        told=told,
    )


def _print(lines: Sequence[Line]) -> None:
    sys.stdout.buffer.write(msgspec.json.Encoder().encode_lines(lines))
    sys.stdout.flush()


async def _once(args: Args) -> int:
    """What may be seen now; whatever ends it, what had been opened by then is said, and nothing of what was not read."""
    reader, whole = _reader(args, say), False
    try:
        async with aclosing(aiter(reader.batches())) as batches:
            async for lines in batches:
                _print(lines)
        whole = True
    finally:
        if whole or reader.opened or reader.refused:
            refused = ", ".join(f"{why} {many}" for why, many in sorted(reader.refused.items()))
            say(f"{reader.opened} opened, refused: {refused or 'none'}{'' if whole else '; then it broke off'}")
    return 0


async def _followed(args: Args, asked: asyncio.Event) -> int:
    """What may be seen, and what changes, until the end is asked for."""
    reader = _reader(args, log.info)
    batches = aiter(reader.batches())
    overwriting = asyncio.create_task(keep_overwritten(from_environment(os.environ).cache_s))
    try:
        while (lines := await unless(asked, anext(batches, None))) is not None:
            _print(lines)
    finally:
        overwriting.cancel()
        await patience.ended(batches.aclose(), _LEAVE_S)
    log.info("stopped", opened=reader.opened, refused={str(why): many for why, many in reader.refused.items()})
    return 0
