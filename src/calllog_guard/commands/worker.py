"""`worker ROLE`: runs one worker, as many processes as wanted; `worker all` runs one of each."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from calllog_guard.bootstrap import ROLES, serve
from calllog_guard.commands.setup import say, the_world
from calllog_guard.core.wire import time_text
from calllog_guard.errors import ConfigurationError, Fate, GuardError
from calllog_guard.law import check_keystore, check_lawful, check_places, check_retention, policy_source, policy_tail
from calllog_guard.settings import PREFIX, UNSAFE_KEYSTORE, from_environment
from calllog_guard.workers.duties import Duty
from calllog_guard.workers.probe import probe
from calllog_guard.world import World

_POLICY_S: Final = 1.0
"""How often a worker looks for published policies: the records are already there, so a look costs nothing."""


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    verb = verbs.add_parser("worker", help="run a worker: protector, desk, keeper, or one of each with all")
    verb.add_argument("role", choices=[*ROLES, "all"])
    verb.add_argument("--json", action="store_true", help="accepted everywhere; log lines are JSON in any case")
    verb.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT; 70 after a halt."""
    settings = from_environment(os.environ)
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
    )
    if args.role in {"keeper", "all"}:
        try:
            Path(settings.state_dir).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"{PREFIX}STATE_DIR cannot be made: {error.strerror}") from None
    return asyncio.run(_all() if args.role == "all" else _one(args.role))


async def _one(name: str) -> int:
    shared = the_world()
    log = structlog.get_logger().bind(role=name)
    for word in sorted(shared.settings.off):
        log.warning("development", off=word)
    probe()
    shared.dead_letters()  # what needs no server is refused before any is waited for
    await _answering(lambda: asyncio.to_thread(shared.vault.warm, shared.tenant), log)
    await _answering(partial(_keystore, shared, log), log)
    writer = shared.writer()
    await _answering(writer.start, log)

    async def lawful() -> None:
        for line in check_lawful(shared):
            log.warning("the policy says what no new version may say", what=line)

    tail = policy_tail(shared)
    source = policy_source(shared, name, writer, tail)
    try:
        for check in (
            shared.look_back,
            source.catch_up,
            lawful,
            partial(check_places, shared),
            partial(check_retention, shared),
        ):
            await _answering(check, log)
    except GuardError:  # refused to start: leave no connection behind
        await tail.stop()
        await writer.stop()
        await shared.keystore.close()
        raise
    worker = serve(shared, name, writer, [Duty("policy", _POLICY_S, source.look)])
    from calllog_guard.adapters.http_pages import Pages  # noqa: PLC0415 - takes long to load, and no other command serves

    pages = Pages(name, shared.counts, shared.levels, lambda: worker.alive, lambda: worker.ready)
    address = await pages.start(shared.settings.http)
    await _answering(worker.start, log)
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, worker.stop)
    fresh = asyncio.create_task(shared.vault.keep_fresh())
    log.info("started", at=time_text(shared.clock.now()), pid=os.getpid(), pages=address)
    try:
        await worker.run()
    except GuardError as error:
        log.error("halt", why=str(error), kind=type(error).__name__)  # noqa: TRY400 - a trace may quote data
        return 70
    except Exception as error:  # noqa: BLE001 - a defect halts; its text may quote data, its place does not
        trace = error.__traceback__
        while trace and trace.tb_next:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}" if trace else ""
        log.error("halt", kind=type(error).__name__, at=place)  # noqa: TRY400
        return 70
    finally:
        fresh.cancel()
        with contextlib.suppress(Exception):  # the exit code tells what happened, not a failing goodbye
            await tail.stop()
            await pages.stop()
            await writer.stop()
            await shared.keystore.close()
    log.info("stopped", **shared.counts)
    return 0


async def _keystore(shared: World, log: Any) -> None:
    unsafe = await check_keystore(shared)
    if unsafe:
        log.warning("the keystore is unsafe: nothing is certified", why=unsafe, off=UNSAFE_KEYSTORE)


async def _answering(ask: Any, log: Any) -> None:
    """Wait at start for what does not answer; anything else refuses to start."""
    while True:
        try:
            await ask()
        except GuardError as error:
            if error.fate is not Fate.RETRY:
                raise
            log.warning("waits", why=str(error))
            await asyncio.sleep(1)
        else:
            return


async def _all() -> int:
    host, _, port = from_environment(os.environ).http.rpartition(":")
    children = []
    for number, name in enumerate(ROLES):
        own = os.environ | {f"{PREFIX}HTTP": f"{host}:{int(port) + number if int(port) else 0}"}
        command = (sys.executable, "-m", "calllog_guard.cli", "worker", name)
        children.append(await asyncio.create_subprocess_exec(*command, env=own))
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stopping.set)
    waits = [asyncio.create_task(child.wait()) for child in children]
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait([*waits, stop], return_when=asyncio.FIRST_COMPLETED)
    asked = stopping.is_set()
    stop.cancel()
    for child in children:
        if child.returncode is None:
            child.terminate()
    codes = await asyncio.gather(*waits)
    if not asked:
        say("a worker ended by itself; all are stopped")
    return 0 if asked and not any(codes) else 70
