"""Faust programs that read through our door, on the real stack: killed, they end up with what a Reader sees."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from installation import Installation, Make, event, raw
from patience import ended

from calllog_guard import Put, Reader
from calllog_guard.devstack.kafka_server import free_port
from calllog_guard.settings import from_environment

pytestmark = pytest.mark.real
SESSION_S = "10"
"""After so many seconds Kafka gives the partitions of who was killed to the next; Faust's own choice is a minute."""
USAGE = Path(__file__).parents[2] / "examples" / "faust_usage.py"


class Usage:
    """The example as a process."""

    def __init__(self, guard: Installation, folder: Path) -> None:
        self._port, self._log = free_port(), folder / "usage.log"
        words = ["--datadir", str(folder / "data"), "worker", "-l", "debug", "--web-port", str(self._port)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", USAGE, *words],
                env=os.environ | guard.environment | {"BROKER_SESSION_TIMEOUT": SESSION_S},
                cwd=folder, stdout=log, stderr=log,
            )  # fmt: skip

    def minutes(self) -> dict[str, float]:
        """What its page shows; nothing while it starts."""
        assert self.process.poll() is None, self.said()
        try:
            with urllib.request.urlopen(f"http://localhost:{self._port}/minutes/") as answer:
                return dict(json.loads(answer.read())["iocom"])
        except (urllib.error.URLError, ConnectionError):
            return {}

    def said(self) -> str:
        """All that it and those before it have logged."""
        return self._log.read_text()


def seen(guard: Installation) -> dict[str, float]:
    """The minutes of each day that a Reader sees now."""
    found: Counter[str] = Counter()
    reader = Reader(purpose="billing", actor="billing-1", settings=from_environment(guard.environment))
    for line in reader:
        assert isinstance(line, Put)
        found[str(line.started_at)[:10]] += int(line.duration_s or 0)
    return {day: round(seconds / 60, 2) for day, seconds in found.items()}


def calls(first: int, last: int) -> list[bytes]:
    """Calls of several days, of few people, each once as a host."""
    made: list[dict[str, Any]] = [
        event(f"c{n}", f"host{n % 7}@example.org", f"guest{n % 5}@example.org", minutes_ago=60 + 700 * (n % 9))
        for n in range(first, last)
    ]
    return [raw(each) for each in made]


def test_a_table_of_faust_is_what_a_reader_sees_after_kills_and_an_erasure(make: Make, tmp_path: Path) -> None:
    """Lines are repeated to who was killed, none is lost, and what is erased leaves the table."""
    guard = make()
    guard.start("all")
    guard.publish("calllog.events", calls(0, 60))
    guard.settled(lambda: len(guard.live()) == 120, "two legs of each call")
    first = Usage(guard, tmp_path)
    guard.settled(lambda: sum(first.minutes().values()) > 0, first.said)
    first.process.send_signal(signal.SIGKILL)
    ended(first.process)
    guard.publish("calllog.events", calls(60, 90))
    second = Usage(guard, tmp_path)
    (tmp_path / "who").write_text("host3@example.org")
    guard.settled(lambda: len(guard.live()) == 180, "the legs of the later calls")
    everything = seen(guard)
    guard.settled(lambda: second.minutes() == everything, lambda: f"{second.minutes()} {everything} {second.said()}")
    key = str(guard.directory / "keys" / "backend-1.pem")
    guard.cli("request", "erase", "--subject", f"@{tmp_path / 'who'}", "--key", key, "--wait")
    expected = seen(guard)
    assert sum(expected.values()) < sum(everything.values())
    guard.settled(lambda: second.minutes() == expected, lambda: f"{second.minutes()} {expected} {second.said()}")
    second.process.terminate()
    ended(second.process)
    accesses = [json.loads(record.value) for record in guard.records("privacy.access", 1)]
    assert sum(each["opened"] for each in accesses) > 0
    assert "@example.org" not in second.said(), "no line that Faust logs shows whom it is about"


JOB = """
import os, faust
from calllog_guard.faust import legs, opened
from calllog_guard.settings import from_environment
settings = from_environment(os.environ)
app = faust.App(f"{settings.calllog_prefix}job", broker=f"kafka://{settings.kafka}", web_enabled=False)
taken = 0
@app.agent(legs(app))
async def job(stream):
    global taken
    async for line in opened(stream, purpose="service", actor="support-1", most=10):
        taken += 1
        if taken == int(os.environ["FAILS_AT"]):
            raise RuntimeError("of the job")
        with open("tokens", "a") as file:
            print(line.token, file=file)
app.main()
"""


@pytest.mark.long
def test_an_agent_that_raises_ends_its_app_and_started_again_has_lost_nothing(make: Make, tmp_path: Path) -> None:
    """Stock Faust acknowledges what its agent had not done, and goes on behind it."""
    guard = make()
    guard.start("protector")
    guard.publish("calllog.events", calls(0, 30))
    guard.settled(lambda: len(guard.live()) == 60, "two legs of each call")
    (tmp_path / "job.py").write_text(JOB)
    log = tmp_path / "job.log"

    def job(fails_at: int) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-W", "ignore", "job.py", "--datadir", "data", "worker", "-l", "info"]
        environment = os.environ | guard.environment | {"FAILS_AT": str(fails_at)}
        with log.open("ab") as file:
            return subprocess.Popen(words, env=environment, cwd=tmp_path, stdout=file, stderr=file)

    def tokens() -> list[str]:
        return (tmp_path / "tokens").read_text().split() if (tmp_path / "tokens").exists() else []

    assert ended(job(25)) != 0, log.read_text()[-3000:]
    assert len(tokens()) == 24
    again = job(0)
    legs = {key.decode().partition(".")[2] for key in guard.live()}
    guard.settled(lambda: set(tokens()) == legs, lambda: f"{len(tokens())} {log.read_text()[-3000:]}")
    again.terminate()
    ended(again)
