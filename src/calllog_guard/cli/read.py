"""`read` opens legs for a purpose, once or for as long as it likes."""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Final

import click
import msgspec
import structlog

from calllog_guard import telemetry
from calllog_guard.adapters.process import endings as patience
from calllog_guard.adapters.process.freed_memory import keep_overwritten
from calllog_guard.app.reader import Reader
from calllog_guard.cli._options import Args, command, file, flag, key
from calllog_guard.cli._output import say
from calllog_guard.core.calls.view import Line
from calllog_guard.errors import GuardError, exit_code
from calllog_guard.ports.process import HostedWork
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
    from calllog_guard.adapters.process.hosting import Host  # noqa: PLC0415 - takes long to load

    telemetry.configure("reader")
    return Host("calllog-guard-reader", _Follower(args), from_environment(os.environ).state_dir).lived()


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
    """What may be seen now; whatever ends it, what had been opened by then is said, nothing of what was not read."""
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


class _Follower(HostedWork):
    """What may be seen, and what changes, until the end is asked for."""

    def __init__(self, args: Args) -> None:
        self._args = args
        self._reading: asyncio.Task[None] | None = None

    async def show(self) -> None:
        """See HostedWork: the reader serves its pages itself."""
        self._reader = _reader(self._args, log.info)
        self._batches = aiter(self._reader.batches())

    async def run(self) -> int:
        """See HostedWork."""
        overwriting = asyncio.create_task(keep_overwritten(from_environment(os.environ).cache_s))
        self._reading = asyncio.create_task(self._printed())
        try:
            await asyncio.wait({self._reading})
            if not self._reading.cancelled():
                self._reading.result()
        except GuardError as error:
            log.error("ended", why=str(error), kind=type(error).__name__)  # noqa: TRY400 - a trace may quote data
            return exit_code(error)
        except BrokenPipeError:  # whoever read our output has seen enough
            return 0
        finally:
            overwriting.cancel()
            await patience.ended(self._batches.aclose(), _LEAVE_S)
        refused = {str(why): many for why, many in self._reader.refused.items()}
        log.info("stopped", opened=self._reader.opened, refused=refused)
        return 0

    async def _printed(self) -> None:
        async for lines in self._batches:
            _print(lines)

    def stop(self, why: Exception | None = None) -> None:
        """See HostedWork: nothing is lost of what was not printed."""
        del why
        if self._reading is not None:
            self._reading.cancel()
