"""
One worker as a process: `calllog-guard worker ROLE` and `faust -A calllog_guard.app worker` are the same program.

Rules: 1. Whatever it waits for, it says so, on its pages too.  2. Every line of its log is JSON with time and role.
"""

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog

from calllog_guard import telemetry
from calllog_guard.adapters.http.pages import Pages
from calllog_guard.adapters.process import process_memory
from calllog_guard.adapters.process.endings import ended
from calllog_guard.adapters.process.freed_memory import keep_overwritten
from calllog_guard.adapters.process.hosting import Host
from calllog_guard.app.context import AppContext, world
from calllog_guard.app.preflight import (
    check_keystore,
    check_lawful,
    check_places,
    check_retention,
    make_state_dir,
    policy_source,
    policy_tail,
)
from calllog_guard.app.roles import serve
from calllog_guard.core.codec import time_text
from calllog_guard.core.rights.grants import DOMAIN_OF, SHARERS
from calllog_guard.errors import ConfigurationError, GuardError, exit_code
from calllog_guard.ports.process import Duty, HostedWork
from calllog_guard.settings import INGEST, PREFIX, ROLES, SESSIONS, UNSAFE_KEYSTORE, Settings, from_environment
from calllog_guard.workers.runtime.delivery import Delivery
from calllog_guard.workers.runtime.process.health import Health
from calllog_guard.workers.runtime.process.self_test import probe
from calllog_guard.workers.runtime.retry import answered

if TYPE_CHECKING:
    from calllog_guard.app.ingest import Webhooks

log: Final = structlog.get_logger()
_POLICY_S: Final = 1.0
"""How often a worker looks for published policies: the records are already there, so a look costs nothing."""
_LEAVE_S: Final = 7.0


def host(role: str, settings: Settings) -> Host:
    """
    The process of one worker.

    Raises:
        ConfigurationError: It has no folder for what it keeps.

    """
    if role in {"keeper", SESSIONS}:
        make_state_dir(settings)
    return Host(f"calllog-guard-{role}", Worker(role, settings), settings.state_dir, settings.http)


@functools.cache
def app() -> Host:
    """The process of the worker that the environment names, as Faust's own command line wants it."""
    process_memory.close()
    telemetry.configure("worker")
    try:
        settings = from_environment(os.environ)
        if not settings.role:
            raise ConfigurationError(f"{PREFIX}ROLE must say which worker this is: {', '.join(ROLES)}")
        telemetry.configure(settings.role, settings.log_level)
        return host(settings.role, settings)
    except GuardError as error:
        log.error("refused to start", why=str(error), kind=type(error).__name__)  # noqa: TRY400 - a trace may quote data
        raise SystemExit(exit_code(error)) from None


class Worker(HostedWork):
    """One role, from the first look at its settings to its leave of the last server."""

    def __init__(self, role: str, settings: Settings) -> None:
        self._role, self._settings = role, settings
        self._goodbyes: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._delivery: Delivery | None = None
        self._pages: Pages | None = None
        self._webhooks: Webhooks | None = None

    async def show(self) -> None:
        """See HostedWork: from the first moment on, for somebody may want to know what is waited for."""
        shared = self._shared = world(self._settings)
        shared.vault.domains.own = DOMAIN_OF[self._role]
        for word in sorted(shared.settings.off):
            log.warning("development", off=word)
        probe()
        shared.dead_letters()  # what needs no server is refused before any is waited for
        pulse, kafka = shared.pulse(lambda: self._delivery.places if self._delivery else [])
        self._goodbyes += [shared.keystore.close, pulse.stop, kafka.close]
        self._health = Health(pulse)
        self._pages = Pages(self._role, shared.metrics, self._health)
        self._address = await self._pages.start(self._settings.http)
        log.info("starts", pid=os.getpid(), serves=self._address)
        pulse.start()

    async def hide(self) -> None:
        """See HostedWork."""
        if self._pages is not None:
            await self._pages.stop()

    async def start(self) -> None:
        """See HostedWork; how each server is taken leave of is noted as soon as there is something to leave."""
        shared, name = self._shared, self._role
        await _answering(lambda: asyncio.to_thread(shared.vault.warm, shared.tenant))
        await asyncio.to_thread(_domains, shared)
        await _answering(partial(_keystore, shared, name))
        writer = shared.writer()
        await _answering(writer.start)
        tail = policy_tail(shared)
        self._goodbyes += [writer.stop, tail.stop]
        source = policy_source(shared, name, writer, tail)

        async def lawful() -> None:
            for line in check_lawful(shared):
                log.warning("the policy says what no new version may say", what=line)

        checks = (
            # whoever knows nobody opens, seals and mints nothing that an older keystore could bring back
            shared.look_back if DOMAIN_OF[name] in SHARERS else shared.check_partitions,
            source.catch_up,
            lawful,
            partial(check_places, shared),
            partial(check_retention, shared),
            *((shared.check_late,) if name == "protector" else ()),
        )
        for check in checks:
            await _answering(check)
        delivery = serve(shared, name, writer, [Duty("policy", _POLICY_S, source.look)])
        self._goodbyes.append(delivery.close)
        await _answering(delivery.start)
        if name == INGEST:
            await self._open(delivery)
        self._delivery = self._health.work = delivery
        self.duties = delivery.duties
        log.info("started", at=time_text(shared.clock.now()), pid=os.getpid(), pages=self._address)

    async def _open(self, delivery: Delivery) -> None:
        from calllog_guard.app.ingest import Webhooks  # noqa: PLC0415 - takes long to load, and is of one role

        self._webhooks = Webhooks(self._shared, delivery.stop)
        self._goodbyes.append(self._webhooks.close)
        await _answering(self._webhooks.start)

    async def run(self) -> int:
        """See HostedWork: 70 after a halt."""
        shared, delivery = self._shared, self._delivery
        if delivery is None:
            raise AssertionError("it has not started")
        beside = [
            asyncio.create_task(each) for each in (shared.vault.keep_fresh(), keep_overwritten(self._settings.cache_s))
        ]
        try:
            await delivery.run()
        except GuardError as error:
            log.error("halt", why=str(error), kind=type(error).__name__)  # noqa: TRY400 - a trace may quote data
            return 70
        finally:
            if self._webhooks is not None:
                await self._webhooks.stop()
            for task in beside:
                task.cancel()
        log.info("stopped", **shared.metrics.totals())
        return 0

    def stop(self, why: Exception | None = None) -> None:
        """See HostedWork."""
        if self._delivery is not None:
            self._delivery.stop(why)

    async def close(self) -> None:
        """See HostedWork."""
        await asyncio.gather(*(ended(goodbye(), _LEAVE_S) for goodbye in self._goodbyes))


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
