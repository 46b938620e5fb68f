"""
Faust as the host of a process: its services, timers, pages and command line, and nothing of its Kafka.

Rules: 1. Faust never sees a record and never moves an offset: no consumer and no producer of its own is even made.
       2. The running unit may end, for some seconds; then it is left: nothing of it is committed, and it is done again.
       3. Whatever state the end finds us in, it comes within 30 s: what is stuck ends with the process.
       4. A second signal changes nothing, SIGUSR1 and SIGUSR2 do nothing, and no trace of ours gets into a log.
       5. What was asked for is exit 0; a halt stays a halt, also on the way out.  6. Nothing is ever restarted.
Source: faust-streaming 0.15.3, mode-streaming 0.7.1: what is overridden is public; docs/adr/0018-faust-hosts.md.
"""

import asyncio
import contextlib
import logging
import os
import signal
import threading
from typing import Any, Final, NoReturn

import faust
import structlog
from mode import Service

from calllog_guard import telemetry
from calllog_guard.adapters.process.endings import ended, run
from calllog_guard.errors import Fate, GuardError, exit_code
from calllog_guard.ports.process import Duty, HostedWork

log: Final = structlog.get_logger()
_ORDERLY_S: Final = 10.0
"""Below the rebalance time-out, so that nobody else is given the partitions of a unit that is still running."""
_LAST_S: Final = 25.0
"""Below the 30 s that container platforms wait before they kill."""
_SOON_S: Final = 5.0
_UNUSED: Final = (
    "Table",
    "SetTable",
    "GlobalTable",
    "SetGlobalTable",
    "TableManager",
    "Topic",
    "Router",
    "PartitionAssignor",
    "LeaderAssignor",
)
"""Faust would load them at its start."""
_NOBODY: Final = "kafka://faust-reads-no-topic.invalid"
"""Its own setting has a default that is an address; this one leads nowhere."""


class _Boot(faust.App.BootStrategy):  # type: ignore[misc]
    """Our pages, and no client of Faust's own."""

    enable_kafka = False
    enable_sensors = False
    enable_web = True


class Host(faust.App):  # type: ignore[misc]
    """
    The app of one process.

    Args:
        name: Of what runs in it.
        state_dir: Its data folder, in which it makes nothing.
        http: Where its pages are.

    """

    BootStrategy = _Boot

    def __init__(self, name: str, work: HostedWork, state_dir: str, http: str = "") -> None:
        super().__init__(
            name,
            broker=_NOBODY,
            canonical_url=f"http://{http}",
            datadir=state_dir,
            worker_redirect_stdouts=False,
            Worker=Process,
            env={},  # `WEB_PORT` and many more may be there for anybody else
            **dict.fromkeys(_UNUSED, object),
        )
        self.work, self.code = work, 0
        self.error: Exception | None = None
        logging.getLogger("mode.timers").setLevel(logging.ERROR)  # a duty that takes longer than its pause is none
        self.web_server(_Pages(work))
        self.finalize()

    def _init_fixups(self) -> list[Any]:
        """Nothing that is installed beside us changes Faust."""
        return []

    def lived(self) -> int:
        """Run until the work has ended by itself or somebody asks for its end; the exit code."""
        return Process(self).lived()

    async def on_first_start(self) -> None:
        """No folder is made: Faust keeps nothing here."""

    async def on_start(self) -> None:
        """No consumer is made either, which Faust would draw into its picture of services."""

    async def on_started(self) -> None:
        """
        The pages first, so that they tell what the work waits for; there are no tables to recover.

        The work is added as `@app.service` adds one at its end, without its look at every module, which takes long.
        """
        await self.on_started_init_web_server()
        if not self.should_stop:
            await self.on_init_extra_service(_Hosted(self))


class _Pages(Service):  # type: ignore[misc]
    """The pages of the process, in place of Faust's own."""

    def __init__(self, work: HostedWork) -> None:
        super().__init__()
        self._work = work

    async def on_start(self) -> None:
        await self._work.show()

    async def on_stop(self) -> None:
        await self._work.hide()


class _Hosted(Service):  # type: ignore[misc]
    """The work of the process, and its timers."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host, self._work, self._ran, self._running = host, host.work, asyncio.Event(), False

    async def on_start(self) -> None:
        """Get ready, or leave it when the end is asked for meanwhile."""
        if (await self.wait(self._work.start())).stopped:
            log.info("stopped", before="it had started")
        else:
            self._running = True

    @Service.task  # type: ignore[untyped-decorator]
    async def _run(self) -> None:
        try:
            self.host.code = await self._work.run()
        except Exception as error:  # noqa: BLE001 - Faust would log its whole trace
            self.host.error, self.host.code = error, 70
        finally:
            self._ran.set()
            self.host.process.ask()

    async def on_started(self) -> None:
        """Begin with the timers."""
        for duty in self._work.duties if self._running else ():
            self.add_future(self._timer(duty))

    async def _timer(self, duty: Duty) -> None:
        """Do it at once, and then again and again: Faust's timers would begin with a pause."""
        try:
            await self._turn(duty)
            async for _ in self.itertimer(duty.every_s, name=duty.name):
                await self._turn(duty)
        except Exception as error:  # noqa: BLE001 - whatever it is, the work ends with it
            self._work.stop(error)

    async def _turn(self, duty: Duty) -> None:
        try:
            while not self.should_stop and await duty.work() is False:
                await self.sleep(min(_SOON_S, duty.every_s))
        except GuardError as error:
            if error.fate is not Fate.RETRY:
                raise
            log.warning("duty waits", duty=duty.name, why=str(error))

    async def on_stop(self) -> None:
        """Let the running unit end: Faust would cancel it at once."""
        self._work.stop()
        if self._running and not await ended(self._ran.wait(), _ORDERLY_S):
            log.warning("the end is forced: what was not acknowledged is done again")

    async def on_shutdown(self) -> None:
        """Nothing runs any more."""
        await self._work.close()


class Process(faust.Worker):  # type: ignore[misc]
    """Faust's process, without what it would do to our log, our signals and our exit code."""

    app: Host

    def __init__(self, app: Host, *services: Any, **options: Any) -> None:
        ours = {"debug": False, "quiet": True, "override_logging": False, "redirect_stdouts": False, "loop": None}
        super().__init__(app, *services, **options | ours)
        self.spinner = None  # it would ask an output that may be closed whether it is a terminal
        self._ending: asyncio.Future[None] | None = None
        self._over = threading.Event()
        self._heard, self._asked = os.pipe()
        os.set_blocking(self._asked, False)
        app.process = self

    def lived(self) -> int:
        """See Host."""
        try:
            return run(self._life())
        except GuardError as error:
            log.error("refused to start", why=str(error), kind=type(error).__name__)  # noqa: TRY400 - a trace may quote data
            return exit_code(error)
        except Exception as error:  # noqa: BLE001 - a defect; its text may quote data, its kind and place do not
            log.error("halt", kind=type(error).__name__, at=telemetry.place(error.__traceback__))  # noqa: TRY400
            return 70
        finally:
            self._over.set()
            telemetry.tell_rest(whole=True)

    def execute_from_commandline(self) -> NoReturn:
        """End with our exit code, whatever a thread waits for; Faust would wait a second, and turn a 70 into a 1."""
        os._exit(self.lived())

    async def _life(self) -> int:
        self.loop = self.app.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(telemetry.in_loop)
        try:
            await self.start()
        except BaseException:
            self.app.code = 70
            raise
        finally:
            self.ask()
            await self._end()
        if found := self.app.error or self.crash_reason:
            raise found
        return self.app.code

    def ask(self) -> None:
        """Ask for the end, as a signal does."""
        os.write(self._asked, b"\0")

    def _end(self) -> "asyncio.Future[None]":
        if self._ending is None:
            self._ending = asyncio.ensure_future(self.stop())
        return self._ending

    def install_signal_handlers(self) -> None:
        """
        Hear of the signals in a thread of their own.

        A loop that is stuck would hear of none, and a handler may interrupt anything, another handler too. Faust's own
        show the variables of every frame at SIGUSR1, and open a debugger at SIGUSR2.
        """
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda *_: None)
        for each in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(each, signal.SIG_IGN)
        signal.set_wakeup_fd(self._asked, warn_on_full_buffer=False)
        threading.Thread(target=self._hear, name="signals", daemon=True).start()

    def _hear(self) -> None:
        os.read(self._heard, 1)
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself meanwhile
            self.loop.call_soon_threadsafe(self._end)
        if not self._over.wait(_LAST_S):
            log.error("the end is forced: something is stuck")
            os._exit(self.app.code)
