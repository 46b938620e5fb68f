"""A process that is asked to end ends, in whatever state the asking finds it, and its exit code says how it was."""

import json
import signal
import subprocess
import sys
import time

import pytest
from patience import PATIENCE_S
from sizes import every

_BOUNDS = """
import asyncio, signal, sys, threading, time
from calllog_guard import telemetry
from calllog_guard.adapters.process import endings as patience
from calllog_guard.cli import _lifetime as lifetime
from calllog_guard.cli import program

lifetime._ORDERLY_S = lifetime._FORCED_S = 0.5
lifetime._LAST_S = 8
telemetry.configure("keeper")

def told():
    print("there", flush=True)

"""
_STATES = {
    "works, and ends in order": """
async def work(asked):
    told(); await asked.wait(); return 0
""",
    "halts on its way out": """
async def work(asked):
    told(); await asked.wait(); return 70
""",
    "waits for what never comes": """
async def work(asked):
    told(); await asyncio.Event().wait()
""",
    "does not heed a cancellation": """
async def work(asked):
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

async def work(asked):
    global kept
    kept = asyncio.create_task(deaf()); await asyncio.sleep(0)
    told(); await asked.wait(); return 0
""",
    "waits for a thread": """
async def work(asked):
    told(); await asyncio.to_thread(time.sleep, 1000)
""",
    "is stuck in its loop": """
async def work(asked):
    told()
    while True:
        time.sleep(1000)
""",
}
_END = """
import calllog_guard.cli
calllog_guard.cli.main = lambda: patience.run(lifetime.lived(work))
program()
"""


@pytest.mark.parametrize("signals", every(["TERM", "INT TERM INT"], "INT TERM INT"))
@pytest.mark.parametrize("state", _STATES)
def test_whatever_it_waits_for_it_ends(state: str, signals: str) -> None:
    """A second signal neither hurries nor hinders."""
    command = [sys.executable, "-c", _BOUNDS + _STATES[state] + _END]
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
    assert took < 20, "the bounds of this test add up to 8 s"
    forced = "in order" not in state and "halts" not in state and "leaves" not in state
    assert any("forced" in each for each in told) == forced, told
    assert any("stuck" in each for each in told) == ("stuck" in state), "the last resort is for who needs it"
