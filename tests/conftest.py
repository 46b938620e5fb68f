"""The real stack, once per run, and the rule that a build machine skips nothing."""

import gc
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from calllog_guard.devstack.supervisor import Stack

_CLIENTS = ("kafka-io", "calllog-guard")
"""The threads of kafka-python, and of the client library."""
_skipped = pytest.StashKey[list[str]]()
# how long an example takes is the machine's affair: beside other work it says nothing about the code
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


def pytest_configure(config: pytest.Config) -> None:
    """Keep the list of what was skipped."""
    config.stash[_skipped] = []
    config.pluginmanager.register(_NothingSkipped(config), "nothing-skipped")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what asks for servers; of two processes none is left with a file of them at the end."""
    for item in items:
        if "java" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real)
    if hasattr(config, "workerinput"):
        real = {item.path for item in items if item.get_closest_marker("real")}
        items.sort(key=lambda item: item.path not in real)


def pytest_collection_finish() -> None:
    """What was collected stays: no collection of garbage need look through it."""
    gc.collect()
    gc.freeze()


class _NothingSkipped:
    """Under CI a skipped test is a failed session."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note every test that was skipped; an expected failure is none."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self._config.stash[_skipped].append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note every module that was skipped as a whole."""
        if report.skipped:
            self._config.stash[_skipped].append(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the session."""
        if os.environ.get("CI") and self._config.stash[_skipped] and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say why."""
        if os.environ.get("CI") and self._config.stash[_skipped]:
            terminalreporter.write_line(f"CI is set and tests were skipped: {self._config.stash[_skipped]}", red=True)


@pytest.fixture(scope="session")
def java() -> None:
    """Skip without Java; under CI fail."""
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java") or (home and (Path(home) / "bin" / "java").exists()):
        return
    if os.environ.get("CI"):
        pytest.fail("no java found, and CI must run every test")
    pytest.skip("no java found")


@pytest.fixture(scope="session")
def stack(java: None, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Stack]":  # noqa: ARG001
    """A real Kafka and a real Redis, shared by the session."""
    from calllog_guard.devstack.supervisor import Stack  # noqa: PLC0415  (kafka-python warns at its import)

    with Stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(autouse=True, scope="module")
def nothing_left() -> Iterator[None]:
    """No client outlives its file: its thread draws random numbers in the midst of another's test, and asks for ever."""
    before = set(threading.enumerate())
    yield
    left = [each.name for each in set(threading.enumerate()) - before if each.name.startswith(_CLIENTS)]
    assert left == []


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """A test may have the log go to a stderr that ends with it."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def struck(stack: "Stack") -> "Iterator[Stack]":
    """The stack, for a test that freezes or ends its servers: they are there again afterwards."""
    yield stack
    for child in stack.children.values():
        child.thaw()
        child.start()


@pytest.fixture
def signals() -> Iterator[None]:
    """The handlers of this process, as they were before."""
    ours = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
    before = {each: signal.getsignal(each) for each in ours}
    yield
    signal.set_wakeup_fd(-1)
    for each, handler in before.items():
        signal.signal(each, handler)
