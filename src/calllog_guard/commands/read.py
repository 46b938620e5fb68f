"""`read` opens legs for a purpose, once or for as long as it likes."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import structlog

from calllog_guard import telemetry
from calllog_guard.adapters.process import endings as patience
from calllog_guard.adapters.process.freed_memory import keep_overwritten
from calllog_guard.app.reader import Reader
from calllog_guard.commands.lifetime import lived, unless
from calllog_guard.commands.setup import say
from calllog_guard.core.calls.view import Line
from calllog_guard.errors import GuardError, exit_code
from calllog_guard.settings import from_environment

log: Final = structlog.get_logger()
_LEAVE_S: Final = 8.0
_ABOUT = """\
Prints a line of JSON per leg that the purpose may see now: {"op":"put","token":...,"person":...} with the fields that the purpose
lists. The access is on record (privacy.access) before the lines come out; what may not be seen is counted there by its reason.
A read that the policy does not allow is on record as well, as denied. Once the policy registers an actor's key, whoever reads proves
who they are: --key PEM, or CALLLOG_GUARD_ACTOR_KEY, names the private key that signs the record.

With --follow it goes on: a put replaces what its token stood for, {"op":"remove","token":...} takes it away (erased, expired,
restricted, objected to), {"op":"reset"} means: empty your table, everything follows anew. With --cursor FILE a later start goes on
where this one ended, unless so long has passed that removals may have been missed: then it begins with a reset. The cursor moves
once lines are written to stdout; a job that stores them safely uses calllog_guard.Reader, as examples/billing.py does.

With --http HOST:PORT a follower serves /health (503 while it waits) and /metrics: calllog_guard_reads_total{purpose,result}, with the
result opened or why not.

While the keystore or Kafka is silent a follower waits and removes nothing (RETRY_MAX_S, then exit 3); what it says meanwhile is
lines of JSON on stderr. SIGTERM and Ctrl-C end it with 0. Exit 4: the policy does not let this actor read for this purpose, or not any more, or the key
is not this actor's: empty the table.
"""


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "read",
        help="open legs for a purpose, as an actor of the policy; the access is recorded",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("--purpose", required=True, help="as in the policy")
    verb.add_argument("--actor", required=True, help="as in the policy: whose credential this is")
    verb.add_argument(
        "--key",
        metavar="PEM",
        type=Path,
        help="the actor's private key, which signs the access record; default: ACTOR_KEY",
    )
    verb.add_argument("--follow", action="store_true", help="go on with what changes, until stopped")
    verb.add_argument("--cursor", metavar="FILE", type=Path, help="with --follow: remember here what was shown")
    verb.add_argument(
        "--http", metavar="HOST:PORT", help="with --follow: serve /health and /metrics here; port 0 for any"
    )
    verb.add_argument("--partition", metavar="N", type=int, action="append", help="only this one; may be repeated")
    verb.add_argument("--case", metavar="C", help="the case that this access is for")
    verb.add_argument("--json", action="store_true", help="accepted everywhere; lines are JSON in any case")
    verb.set_defaults(run=read)


def read(args: argparse.Namespace) -> int:
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


def _reader(args: argparse.Namespace, told: Callable[[str], None]) -> Reader:
    return Reader(
        purpose=args.purpose,
        actor=args.actor,
        key=args.key,
        case=args.case,
        partitions=args.partition,
        follow=args.follow,
        cursor=args.cursor,
        http=args.http,
        told=told,
    )


def _print(lines: Sequence[Line]) -> None:
    sys.stdout.buffer.write(msgspec.json.Encoder().encode_lines(lines))
    sys.stdout.flush()


async def _once(args: argparse.Namespace) -> int:
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


async def _followed(args: argparse.Namespace, asked: asyncio.Event) -> int:
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
