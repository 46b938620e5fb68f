"""What ends, ends whole: no server and no worker outlives the command that ran it, however that command is ended."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from patience import PATIENCE_S, ended, until
from sizes import every

from calllog_guard.devstack.distribution import redis_server

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("java")]
_CLI = (sys.executable, "-m", "calllog_guard.cli")
_BEGUN: list["subprocess.Popen[str]"] = []


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """What a failing test has begun is ended: it would run on beside all others."""
    yield
    for each in _BEGUN:
        each.terminate()
        each.wait()
    _BEGUN.clear()


def begun(*words: str, cwd: Path) -> "subprocess.Popen[str]":
    """One of our commands in a process group of its own, as a terminal would start it."""
    command = [*_CLI, *words]
    with (cwd / "out.txt").open("a") as out:
        made = subprocess.Popen(command, stdout=out, stderr=out, cwd=cwd, text=True, start_new_session=True)
    _BEGUN.append(made)
    return made


def run(*words: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """One of our commands, to its end."""
    return subprocess.run([*_CLI, *words], capture_output=True, text=True, check=False, timeout=PATIENCE_S, cwd=cwd)


class Family:
    """The processes that a command has started, also those that it has left behind since."""

    def __init__(self, pid: int) -> None:
        self._head, self._seen = psutil.Process(pid), set[psutil.Process]()

    def look(self) -> set[psutil.Process]:
        """All that were seen so far."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._seen.update(self._head.children(recursive=True))
        return self._seen

    def have(self, *words: str) -> bool:
        """Whether each word stands in the command line of one that runs."""
        lines = [_line(each) for each in self.look()]
        return all(any(word in line for line in lines) for word in words)

    def alive(self) -> list[str]:
        """The command lines of those that still run."""
        return [_line(each) for each in self._seen if _line(each)]


def _line(process: psutil.Process) -> str:
    try:
        return "" if process.status() == psutil.STATUS_ZOMBIE else " ".join(process.cmdline())[-200:]
    except psutil.NoSuchProcess:
        return ""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in which no stack is left."""
    yield tmp_path
    run("stack", "down", "--dir", "run", cwd=tmp_path)


def servers(found: dict[str, int]) -> list[psutil.Process]:
    """The servers of a stack, by what `stack up` told of it."""
    return [each for each in psutil.Process(found["pid"]).children(recursive=True) if _line(each)]


def up(folder: Path) -> dict[str, int]:
    """A stack that runs beside us; what it says."""
    done = run("stack", "up", "--dir", "run", "--detach", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    return found


def test_down_returns_when_the_servers_have_ended(folder: Path) -> None:
    """Whoever starts the next stack, or removes the folder, would meet the last one's servers."""
    left = servers(up(folder))
    assert len(left) == 2
    done = run("stack", "down", "--dir", "run", cwd=folder)
    assert (done.returncode, [_line(each) for each in left]) == (0, ["", ""]), done.stderr


def test_down_ends_a_stack_that_stands_still(folder: Path) -> None:
    """Servers and supervisor alike: whoever cannot hear is woken first."""
    found = up(folder)
    left = servers(found)
    os.kill(found["pid"], signal.SIGSTOP)
    for each in left:
        each.suspend()
    done = run("stack", "down", "--dir", "run", cwd=folder)
    assert (done.returncode, [_line(each) for each in left]) == (0, ["", ""]), done.stderr
    assert run("stack", "status", "--dir", "run", cwd=folder).returncode == 3


_DEAF = """\
#!{python}
import signal, subprocess, sys
from calllog_guard.devstack.offspring import ends_with_us

signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.exit(subprocess.call([{real!r}, *sys.argv[1:]], preexec_fn=ends_with_us()))
"""


@pytest.mark.long
def test_a_server_that_does_not_heed_is_killed_and_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded, and no secret: what was not ended in order may have to recover."""
    deaf = folder / "bin" / "redis-server"
    deaf.parent.mkdir()
    deaf.write_text(_DEAF.format(python=sys.executable, real=redis_server()))
    deaf.chmod(0o755)
    monkeypatch.setenv("PATH", f"{deaf.parent}{os.pathsep}{os.environ['PATH']}")
    left = servers(up(folder))
    assert len(left) == 3
    done = run("stack", "down", "--dir", "run", cwd=folder)
    assert (done.returncode, [_line(each) for each in left]) == (0, ["", "", ""]), done.stderr
    assert done.stderr.splitlines() == ["redis did not end by itself and was killed"]


def test_a_stack_whose_supervisor_was_killed_is_down_when_its_servers_are(folder: Path) -> None:
    """The lock is theirs too: what is free has ended."""
    found = up(folder)
    left = servers(found)
    os.kill(found["pid"], signal.SIGKILL)
    assert run("stack", "down", "--dir", "run", cwd=folder).returncode == 0
    assert [_line(each) for each in left] == ["", ""]


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("number", every([signal.SIGTERM, signal.SIGINT], signal.SIGINT))
def test_a_start_that_is_interrupted_leaves_nothing(folder: Path, number: signal.Signals, *, detached: bool) -> None:
    """As soon as a server is there, long before it answers."""
    one = begun("stack", "up", "--dir", "run", *(["--detach"] if detached else []), cwd=folder)
    family = Family(one.pid)
    until(lambda: family.have("kafka.Kafka"), "a broker that starts")
    one.send_signal(number)
    assert ended(one) == 128 + number
    assert family.alive() == []


def test_a_stack_that_is_still_starting_goes_down(folder: Path) -> None:
    """It has told nobody its addresses yet; its lock says who it is."""
    one = begun("stack", "up", "--dir", "run", cwd=folder)
    family = Family(one.pid)
    until(lambda: family.have("kafka.Kafka"), "a broker that starts")
    assert run("stack", "down", "--dir", "run", cwd=folder).returncode == 0
    assert family.alive() == []
    assert ended(one) == 128 + signal.SIGTERM


def _ended(pid: int, how: str) -> int:
    """End a command as a supervisor, a terminal or a crash does; what it should end with."""
    number = signal.SIGTERM if how == "TERM" else signal.SIGKILL if how == "KILL" else signal.SIGINT
    (os.killpg if how == "ctrl-c" else os.kill)(pid, number)
    return -number if how == "KILL" else 128 + number


STRUCK = """
import os, signal
from calllog_guard.devstack.offspring import begun, unwound_by_signals

strikes = [signal.SIGINT]
os.register_at_fork(after_in_parent=lambda: strikes and os.kill(os.getpid(), strikes.pop()))
with unwound_by_signals():
    child = begun(["sleep", "600"])
    print("goes on")
"""


def test_a_signal_that_comes_while_a_child_starts_is_not_lost() -> None:
    """What is raised in a hook around a fork is printed, and that is all."""
    done = subprocess.run(
        [sys.executable, "-c", STRUCK], capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert (done.returncode, done.stdout) == (128 + signal.SIGINT, ""), done.stderr


@pytest.mark.parametrize("how", every(["TERM", "INT", "ctrl-c", "KILL"], "TERM"))
def test_a_demo_that_is_ended_leaves_neither_workers_nor_servers(tmp_path: Path, how: str) -> None:
    """They would run on for ever, on a folder that is gone."""
    demo = begun("demo", cwd=tmp_path)
    family = Family(demo.pid)
    until(lambda: family.have("kafka.Kafka", "worker protector", "worker auditor"), "a demo with workers")
    expected = _ended(demo.pid, how)
    assert ended(demo) == expected, (tmp_path / "out.txt").read_text()[-2000:]
    until(lambda: not family.alive(), "the kernel ends whoever is left")
