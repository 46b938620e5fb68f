"""A process that is asked to end ends, in whatever state the asking finds it, and its exit code says how it was."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from patience import PATIENCE_S
from sizes import every

_BOUNDS = """
import asyncio, signal, sys, threading, time
from calllog_guard import telemetry
from calllog_guard.adapters.process import hosting
from calllog_guard.cli import program
from calllog_guard.errors import ConfigurationError, LogSilentError, PositionConflictError
from calllog_guard.ports.process import Duty

hosting._ORDERLY_S = 0.5
hosting._LAST_S = 8
telemetry.configure("keeper")

def told():
    print("there", flush=True)

class Works:
    duties = ()
    def __init__(self): self.asked, self.why = asyncio.Event(), None
    async def show(self): pass
    async def hide(self): pass
    async def start(self): pass
    async def run(self):
        told(); await self.asked.wait(); return 0
    def stop(self, why=None):
        self.why = why; self.asked.set()
    async def close(self): print("closed", flush=True)

"""
_STATES = {
    "works, and ends in order": """
class It(Works): pass
""",
    "halts on its way out": """
class It(Works):
    async def run(self):
        told(); await self.asked.wait(); return 70
""",
    "waits for what never comes": """
class It(Works):
    async def run(self):
        told(); await asyncio.Event().wait()
""",
    "still waits for a server at its start": """
class It(Works):
    async def start(self):
        told(); await asyncio.Event().wait()
""",
    "does not heed a cancellation": """
class It(Works):
    async def run(self):
        told()
        while True:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                pass
""",
    "leaves a task that does not heed one": """
async def deaf():
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            pass

class It(Works):
    async def run(self):
        self.kept = asyncio.create_task(deaf()); await asyncio.sleep(0)
        told(); await self.asked.wait(); return 0
""",
    "waits for a thread": """
class It(Works):
    async def run(self):
        told(); await asyncio.to_thread(time.sleep, 1000)
""",
    "is stuck in its loop": """
class It(Works):
    async def run(self):
        told()
        while True:
            time.sleep(1000)
""",
}
_FORCED = {"waits for what never comes", "does not heed a cancellation", "waits for a thread", "is stuck in its loop"}
_END = """
import calllog_guard.cli
calllog_guard.cli.main = lambda: hosting.Host("it", It(), sys.argv[1]).lived()
program()
"""


@pytest.mark.parametrize("signals", every(["TERM", "INT TERM INT"], "INT TERM INT"))
@pytest.mark.parametrize("state", _STATES)
def test_whatever_it_waits_for_it_ends(tmp_path: Path, state: str, signals: str) -> None:
    """A second signal neither hurries nor hinders."""
    command = [sys.executable, "-c", _BOUNDS + _STATES[state] + _END, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert process.stdout.readline() == "there\n"
            began = time.monotonic()
            for name in signals.split():
                process.send_signal(signal.Signals[f"SIG{name}"])
            code = process.wait(PATIENCE_S)
            took = time.monotonic() - began
        finally:
            process.kill()
        told = [json.loads(line)["event"] for line in process.stderr.read().splitlines()]
    assert code == (70 if "halts" in state else 0)
    assert took < 20, "the bounds of this test add up to 9 s"
    assert any("forced" in each for each in told) == (state in _FORCED), told
    stuck = state in {"is stuck in its loop", "does not heed a cancellation"}
    assert any("stuck" in each for each in told) == stuck, "the last resort is for who needs it"


_CANARY = "alice.canary@example.org"
_QUOTES = """
CANARY = "alice.canary" + "@example.org"

def quoted(what):
    subject_id, key = CANARY, CANARY.encode()
    raise ValueError(f"no such {subject_id}")
"""
_TROUBLES = {
    "is told SIGUSR1, SIGUSR2, and to end": (
        "USR1 USR2 TERM",
        0,
        "async def run(self): x = CANARY; return await Works.run(self)",
    ),
    "is told SIGQUIT": ("QUIT", -signal.SIGQUIT, "async def run(self): x = CANARY; return await Works.run(self)"),
    "has a defect": ("", 70, "async def run(self): x = CANARY; told(); quoted(x)"),
    "halts": ("", 70, "async def run(self): x = CANARY; told(); return 70"),
    "has a defect at its start": ("", 70, "async def start(self): x = CANARY; told(); quoted(x)"),
    "has a defect at its end": ("TERM", 0, "async def close(self): x = CANARY; quoted(x)"),
    "refuses to start": ("", 2, "async def start(self): x = CANARY; told(); raise ConfigurationError('no key')"),
    "cannot serve its pages": ("", 2, "async def show(self): x = CANARY; told(); raise ConfigurationError('no port')"),
}


@pytest.mark.parametrize("command", every(["ours", "faust"], "faust"))
@pytest.mark.parametrize("trouble", _TROUBLES)
def test_nothing_of_a_frame_is_told_whatever_happens(tmp_path: Path, trouble: str, command: str) -> None:
    """Names and keys of people are in the frames: Faust would print them at SIGUSR1, debug at SIGUSR2, log traces."""
    signals, expected, method = _TROUBLES[trouble]
    folder, state = tmp_path / "here", tmp_path / "state"
    folder.mkdir()
    way = (
        "hosting.Process(host, debug=True, loglevel='debug').execute_from_commandline()"
        if command == "faust"
        else "host.lived()"
    )
    program = (
        f"{_BOUNDS}{_QUOTES}class It(Works):\n    {method}\n\nhost = hosting.Host('it', It(), sys.argv[1])\n"
        f"import calllog_guard.cli\ncalllog_guard.cli.main = lambda: {way}\nprogram()\n"
    )
    line = [sys.executable, "-c", program, str(state)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert process.stdout.readline() == "there\n"
            for name in signals.split():
                process.send_signal(signal.Signals[f"SIG{name}"])
            code = process.wait(PATIENCE_S)
        finally:
            process.kill()
        out, err = process.stdout.read(), process.stderr.read()
    assert code == expected, err
    assert "canary" not in out + err
    assert [path for path in tmp_path.rglob("*") if path != folder] == [], "no folder, no core file"
    lines = [json.loads(line) for line in err.splitlines()]
    assert ("there" in out, out.replace("closed\n", "")) == (False, ""), "nothing is started a second time"
    assert all({"event", "role", "time"} <= line.keys() for line in lines)
