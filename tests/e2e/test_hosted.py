"""A worker under Faust on the real stack: its two command lines are one program, an end midway loses nothing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from installation import Make, event, raw
from patience import PATIENCE_S, ended, frozen

from calllog_guard.settings import ROLES

pytestmark = pytest.mark.real
_FAUST = (sys.executable, "-m", "faust", "--debug", "-A", "calllog_guard.app", "worker", "-l", "debug", "--without-web")


def test_fausts_command_line_runs_the_same_program(make: Make, tmp_path: Path) -> None:
    """With every option that would have Faust tell more, serve less or open a console."""
    guard, folder = make(), tmp_path / "here"
    folder.mkdir()
    environment = os.environ | guard.environment | {"CALLLOG_GUARD_ROLE": "protector"}
    with guard.log.open("ab") as log, (tmp_path / "banner").open("wb") as out:
        worker = subprocess.Popen(_FAUST, env=environment, cwd=folder, stdout=out, stderr=log)
    guard.workers.append(worker)
    guard.publish("calllog.events", [raw(event("c1", "alice@example.org", "bob@example.org"))])
    guard.settled(lambda: len(guard.live()) == 2, "both legs")
    guard.settled(lambda: '"ready": true' in guard.page("/health"), "it is ready")
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        worker.send_signal(number)
    assert ended(worker) == 0
    banner = (tmp_path / "banner").read_text()
    assert "calllog-guard-protector" in banner
    assert guard.stack.kafka not in banner, "Faust does not even know where Kafka is"
    lines = [json.loads(line) for line in guard.log.read_text().splitlines()]
    assert {line["role"] for line in lines} == {"protector"}
    assert [line["event"] for line in lines if line["event"] in {"started", "stopped"}] == ["started", "stopped"]
    assert "alice" not in banner + guard.log.read_text()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("role", ["", "reader"])
def test_fausts_command_line_refuses_as_ours_does(role: str, tmp_path: Path) -> None:
    environment = os.environ | {"CALLLOG_GUARD_ROLE": role}
    done = subprocess.run(
        _FAUST, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert line["event"] == "refused to start"
    assert ", ".join(ROLES) in line["why"]


def test_an_end_in_the_middle_of_a_unit_loses_nothing_and_repeats_nothing(make: Make) -> None:
    """Faust would cancel it there; the unit ends, its offset is committed, and then the process ends."""
    guard = make()
    guard.publish("calllog.events", [raw(event(f"c{number}", f"p{number}", f"q{number}")) for number in range(50)])
    asked = guard.start("protector", DEVELOPMENT="stop-at=protect.sealed")
    guard.settled(lambda: frozen(asked.pid), "it stands still in the middle of a unit")
    asked.terminate()
    asked.send_signal(signal.SIGCONT)
    assert ended(asked) == 0
    guard.start("protector")
    guard.publish("calllog.events", [raw(event("last", "p0", "q0"))])
    guard.settled(lambda: len(guard.live()) == 102, "every party's leg")
    assert len(guard.records("calllog.legs")) == 102, "none was written twice"
