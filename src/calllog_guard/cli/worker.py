"""
`worker ROLE`: runs one worker, as many processes as wanted; `worker all` runs one of each.

Rules: 1. Whatever it waits for, it says so, on its pages too, and ends when it is asked to.  2. Every line of its log is JSON with
          time and role.  3. The workers of `all` do not outlive it.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import structlog

from calllog_guard import telemetry
from calllog_guard.adapters.process import endings as patience
from calllog_guard.adapters.process.freed_memory import keep_overwritten
from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import (
    check_keystore,
    check_lawful,
    check_places,
    check_retention,
    policy_source,
    policy_tail,
)
from calllog_guard.app.roles import serve
from calllog_guard.cli._lifetime import lived, unless
from calllog_guard.cli._options import Args, argument, command, flag
from calllog_guard.cli._output import the_world
from calllog_guard.core.codec import time_text
from calllog_guard.core.rights.grants import DOMAIN_OF
from calllog_guard.devstack.offspring import ends_with_us
from calllog_guard.errors import ConfigurationError, GuardError, exit_code
from calllog_guard.settings import PREFIX, ROLES, UNSAFE_KEYSTORE, from_environment
from calllog_guard.workers.runtime.delivery import Delivery
from calllog_guard.workers.runtime.periodic import Duty
from calllog_guard.workers.runtime.process.health import Health
from calllog_guard.workers.runtime.process.self_test import probe
from calllog_guard.workers.runtime.retry import answered

log: Final = structlog.get_logger()
_POLICY_S: Final = 1.0
"""How often a worker looks for published policies: the records are already there, so a look costs nothing."""
_LEAVE_S: Final = 7.0
_KILL_S: Final = 30.0
"""Longer than a worker takes to end, whatever its state."""

Goodbye = Callable[[], Coroutine[Any, Any, None]]


@command("worker")
@argument("role", type=click.Choice([*ROLES, "all"]), help="what it does; all: a process of each")
@flag("--json", help="accepted everywhere; log lines are JSON in any case")
def worker(args: Args) -> int:
    """Run until SIGTERM or SIGINT; 70 after a halt."""
    telemetry.configure(args.role)
    try:
        settings = from_environment(os.environ)
        telemetry.configure(args.role, settings.log_level)
        if args.role in {"keeper", "all"}:
            _made(Path(settings.state_dir))
        return patience.run(lived(_all if args.role == "all" else partial(_one, args.role)))
    except GuardError as error:
        log.error("refused to start", why=str(error), kind=type(error).__name__)  # noqa: TRY400 - a trace may quote data
        return exit_code(error)
    finally:
        telemetry.tell_rest(whole=True)


def _made(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{PREFIX}STATE_DIR cannot be made: {error.strerror}") from None


async def _one(name: str, asked: asyncio.Event) -> int:
    shared = the_world()
    shared.vault.domains.own = DOMAIN_OF[name]
    for word in sorted(shared.settings.off):
        log.warning("development", off=word)
    probe()
    shared.dead_letters()  # what needs no server is refused before any is waited for
    goodbyes: list[Goodbye] = [shared.keystore.close]
    try:
        worker = await unless(asked, _started(shared, name, goodbyes))
        if worker is None:
            log.info("stopped", before="it had started")
            return 0
        return await _worked(shared, worker, asked)
    finally:
        await asyncio.gather(*(patience.ended(goodbye(), _LEAVE_S) for goodbye in goodbyes))


async def _started(shared: AppContext, name: str, goodbyes: list[Goodbye]) -> Delivery:
    """A worker that has all it needs; how each server is taken leave of is noted as soon as there is something to leave."""
    working: list[Delivery] = []
    pulse, kafka = shared.pulse(lambda: [place for each in working for place in each.places])
    goodbyes += [pulse.stop, kafka.close]
    health = Health(pulse)
    address = await _shown(shared, name, health, goodbyes)
    pulse.start()
    await _answering(lambda: asyncio.to_thread(shared.vault.warm, shared.tenant))
    await asyncio.to_thread(_domains, shared)
    await _answering(partial(_keystore, shared, name))
    writer = shared.writer()
    await _answering(writer.start)
    tail = policy_tail(shared)
    goodbyes += [writer.stop, tail.stop]
    source = policy_source(shared, name, writer, tail)

    async def lawful() -> None:
        for line in check_lawful(shared):
            log.warning("the policy says what no new version may say", what=line)

    checks = (
        shared.look_back,
        source.catch_up,
        lawful,
        partial(check_places, shared),
        partial(check_retention, shared),
        *((shared.check_late,) if name == "protector" else ()),
    )
    for check in checks:
        await _answering(check)
    worker = serve(shared, name, writer, [Duty("policy", _POLICY_S, source.look)])
    goodbyes.append(worker.close)
    await _answering(worker.start)
    working.append(worker)
    health.work = worker
    log.info("started", at=time_text(shared.clock.now()), pid=os.getpid(), pages=address)
    return worker


async def _shown(shared: AppContext, name: str, health: Health, goodbyes: list[Goodbye]) -> str:
    """Serve the pages: from the first moment on, for somebody may want to know what is waited for; their address."""
    from calllog_guard.adapters.http.pages import Pages  # noqa: PLC0415 - takes long to load, and no other command serves

    pages = Pages(name, shared.metrics, health)
    goodbyes.append(pages.stop)
    address = await pages.start(shared.settings.http)
    log.info("starts", pid=os.getpid(), serves=address)
    return address


async def _worked(shared: AppContext, worker: Delivery, asked: asyncio.Event) -> int:
    """Run the worker until its end is asked for; the exit code."""

    async def stop() -> None:
        await asked.wait()
        worker.stop()

    duties = (shared.vault.keep_fresh(), keep_overwritten(shared.settings.cache_s), stop())
    beside = [asyncio.create_task(each) for each in duties]
    try:
        await worker.run()
    except GuardError as error:
        log.error("halt", why=str(error), kind=type(error).__name__)  # noqa: TRY400 - a trace may quote data
        return 70
    except Exception as error:  # noqa: BLE001 - a defect halts; its text may quote data, its place does not
        log.error("halt", kind=type(error).__name__, at=telemetry.place(error.__traceback__))  # noqa: TRY400
        return 70
    finally:
        for task in beside:
            task.cancel()
    log.info("stopped", **shared.metrics.totals())
    return 0


def _domains(shared: AppContext) -> None:
    """Say loudly what these credentials open beside what is this role's."""
    others = shared.vault.domains.beyond(shared.tenant)
    if not shared.vault.domains.apart(shared.tenant):
        log.warning("trust domains are not separated: every role opens what is the desk's", remedy="tenant separate")
    elif others:
        log.warning(
            "the KMS lets this role open what is others': whoever has its credentials, too",
            domains=", ".join(others),
            remedy="calllog-guard keystore policies",
        )


async def _keystore(shared: AppContext, name: str) -> None:
    beyond = await shared.keystore.beyond(name)
    if beyond:
        log.warning(
            "the keystore's user can do more than this role: whoever has its password, too",
            can=", ".join(beyond),
            remedy="calllog-guard keystore rights",
        )
    unsafe = await check_keystore(shared)
    if unsafe:
        log.warning("the keystore is unsafe: nothing is certified", why=unsafe, off=UNSAFE_KEYSTORE)


async def _answering(ask: Callable[[], Awaitable[object]]) -> None:
    """Wait at start for what does not answer; anything else refuses to start."""
    await answered(ask, lambda error: log.warning("waits", why=str(error)))


async def _all(asked: asyncio.Event) -> int:
    """One worker of each role; when one ends, all do."""
    host, _, port = from_environment(os.environ).http.rpartition(":")
    children = []
    for number, name in enumerate(ROLES):
        own = os.environ | {f"{PREFIX}HTTP": f"{host}:{int(port) + number if int(port) else 0}"}
        command = (sys.executable, "-m", "calllog_guard.cli", "worker", name)
        children.append(
            await asyncio.create_subprocess_exec(*command, env=own, preexec_fn=ends_with_us(signal.SIGTERM))
        )
    waits = [asyncio.create_task(child.wait()) for child in children]
    stop = asyncio.create_task(asked.wait())
    await asyncio.wait([*waits, stop], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    was_asked = asked.is_set()
    if not was_asked:
        log.error(
            "a worker ended by itself: all are stopped",
            role=next(n for n, w in zip(ROLES, waits, strict=True) if w.done()),
        )
    for child in children:
        if child.returncode is None:
            child.terminate()
    await asyncio.wait(waits, timeout=_KILL_S)
    for child in children:
        if child.returncode is None:
            child.kill()
    codes = await asyncio.gather(*waits)
    well = {0, -signal.SIGTERM}  # who is ended before it listens to signals has begun nothing
    return 0 if was_asked and well.issuperset(codes) else 70
