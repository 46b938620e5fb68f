"""Faust as a host: what it starts and stops, and when its timers have their turns."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from calllog_guard.adapters.kafka.consumer import REBALANCE_MS
from calllog_guard.adapters.process import hosting
from calllog_guard.adapters.process.hosting import Host, Process, _Hosted
from calllog_guard.errors import LogSilentError, PositionConflictError
from calllog_guard.ports.process import Duty, HostedWork

QUICK_S = 0.001
HOUR_S = 3600.0


class Working(HostedWork):
    """HostedWork that notes what becomes of it."""

    def __init__(self, duties: Sequence[Duty] = (), *, unit: asyncio.Event | None = None) -> None:
        self.duties, self.notes, self.why = duties, list[str](), list[Exception]()
        self.unit, self.asked = unit or asyncio.Event(), asyncio.Event()

    async def show(self) -> None:
        """See HostedWork."""
        self.notes.append("shown")

    async def hide(self) -> None:
        """See HostedWork."""
        self.notes.append("hidden")

    async def start(self) -> None:
        """See HostedWork."""
        self.notes.append("started")

    async def run(self) -> int:
        """See HostedWork: one unit."""
        try:
            await self.asked.wait()
            await self.unit.wait()
        except asyncio.CancelledError:
            self.notes.append("cancelled")
            raise
        self.notes.append("ran")
        return 70

    def stop(self, why: Exception | None = None) -> None:
        """See HostedWork."""
        self.notes.append("stopped")
        self.why += [why] if why else []
        self.asked.set()

    async def close(self) -> None:
        """See HostedWork."""
        self.notes.append("closed")


def hosted(work: Working) -> Any:
    """The service of some work, and the host that it tells its code."""
    asked = list[str]()
    host = SimpleNamespace(work=work, code=0, error=None, process=SimpleNamespace(ask=lambda: asked.append("asked")))
    return _Hosted(host)  # type: ignore[arg-type]


async def turns(answers: Sequence[bool | Exception | None], every_s: float = QUICK_S) -> Working:
    """HostedWork with one duty, after it has given these answers, and none was given while another was awaited."""
    left, busy = list(answers), False
    done = asyncio.Event()

    async def turn() -> bool | None:
        nonlocal busy
        assert not busy
        busy = True
        await asyncio.sleep(QUICK_S * 3)
        busy = False
        if len(left) == 1:
            done.set()
        answer = left.pop(0) if left else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    work = Working([Duty("walk", every_s, turn)])
    work.unit.set()
    service = hosted(work)
    await service.start()
    await asyncio.wait_for(done.wait(), 20)
    await asyncio.sleep(QUICK_S)
    await service.stop()
    return work


async def test_a_duty_is_done_at_once_and_never_twice_at_once() -> None:
    """A keystore walk is due once an hour: what begins with a pause never comes where workers are restarted often."""
    assert (await turns([None], HOUR_S)).why == []
    assert (await turns([True, None, True])).why == []


async def test_what_could_not_be_done_yet_is_tried_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk that waits for the clocks to be measured would otherwise come an hour later."""
    monkeypatch.setattr(hosting, "_SOON_S", QUICK_S)
    assert (await turns([False, False, True], HOUR_S)).why == []


async def test_a_duty_that_meets_silence_waits_for_its_next_turn() -> None:
    with capture_logs() as lines:
        assert (await turns([LogSilentError("silent"), None])).why == []
    assert [line for line in lines if line["event"] == "duty waits"] == [
        {"event": "duty waits", "duty": "walk", "why": "silent", "log_level": "warning"}
    ]


@pytest.mark.parametrize("error", [PositionConflictError("both"), ZeroDivisionError()])
async def test_any_other_error_of_a_duty_ends_the_work(error: Exception) -> None:
    """It is carried out, as an error of the work itself: Faust would take it for a crash and quote it."""
    assert (await turns([None, error])).why == [error]


async def test_a_running_unit_ends_before_anything_is_closed() -> None:
    """Faust itself cancels what a stopping service runs."""
    work = Working()
    service = hosted(work)
    await service.start()
    stopping = asyncio.create_task(service.stop())
    for _ in range(20):
        await asyncio.sleep(0)
    assert work.notes == ["started", "stopped"]
    work.unit.set()
    await stopping
    assert work.notes == ["started", "stopped", "ran", "closed"]
    assert service.host.code == 70


async def test_a_unit_that_does_not_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long before the group gives its partitions to another."""
    assert hosting._ORDERLY_S * 1000 < REBALANCE_MS
    monkeypatch.setattr(hosting, "_ORDERLY_S", QUICK_S)
    work = Working()
    service = hosted(work)
    await service.start()
    with capture_logs() as lines:
        await service.stop()
    assert work.notes == ["started", "stopped", "cancelled", "closed"]
    assert [line["event"] for line in lines] == ["the end is forced: what was not acknowledged is done again"]


async def test_faust_makes_no_client_of_kafka_and_starts_our_pages_first(tmp_path: Path) -> None:
    """It never sees a record and never moves an offset: there is nothing with which it could."""
    work = Working()
    work.unit.set()
    host = Host("it", work, str(tmp_path))
    host.process = SimpleNamespace(ask=lambda: None)
    await host.start()
    await host.stop()
    assert work.notes == ["shown", "started", "stopped", "ran", "closed", "hidden"]
    assert (host._consumer, host._producer, host._transport, host._http_client) == (None, None, None, None)
    assert (host.conf.worker_redirect_stdouts, host.conf.datadir) == (False, tmp_path)


async def test_no_option_of_fausts_command_opens_anything(tmp_path: Path) -> None:
    """Its debugging console would let whoever reaches the port look at everything."""
    host = Host("it", Working(), str(tmp_path))
    host.conf.web_enabled = False
    process = Process(host, debug=True, quiet=False, loglevel="debug", redirect_stdouts=True, console_port=50101)
    assert (process.debug, process.override_logging, process.redirect_stdouts) == (False, False, False)
    assert host.boot_strategy._should_enable_web()


def test_what_the_environment_says_to_others_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster puts `WEB_PORT=tcp://…` into every container when it has a service of that name."""
    elsewhere = {"APP_DATADIR": "/elsewhere", "BROKER_URL": "kafka://other", "WEB_PORT": "tcp://10.0.0.1:80"}
    for name, value in (elsewhere | {"DJANGO_SETTINGS_MODULE": "nothing.settings"}).items():
        monkeypatch.setenv(name, value)
    host = Host("it", Working(), str(tmp_path))
    assert (host.conf.datadir, host.fixups) == (tmp_path, [])
    assert "other" not in str(host.conf.broker)


@pytest.mark.usefixtures("signals")
def test_a_program_that_hosts_work_and_goes_on_is_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last resort is for what is stuck: whoever has come to the end is none of it."""
    work, exits = Working(), list[int]()
    work.unit.set()
    work.asked.set()
    monkeypatch.setattr(hosting, "_LAST_S", 0.2)
    monkeypatch.setattr("os._exit", exits.append)
    assert Host("h", work, str(tmp_path)).lived() == 70
    for each in threading.enumerate():
        if each.name == "signals":
            each.join()
    assert exits == []
