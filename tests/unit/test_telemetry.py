"""Every line that a process logs is ours: JSON with time and role, quoting nothing, and few during a silence."""

import json
import subprocess
import sys
from datetime import datetime
from typing import Any

import pytest

from calllog_guard.telemetry import Falling

_CANARY = "alice@example.org"
_LOUD = f"""
import asyncio, logging, sys, threading, warnings
import structlog
from calllog_guard import telemetry

telemetry.configure("protector")
telemetry.configure("protector")  # twice does no harm
name = {_CANARY!r}
logging.getLogger("aiokafka.conn").error("no answer of %s for %s", "10.0.0.1:9092", name)
logging.getLogger("aiokafka.conn").warning("fetched %r", name)
logging.getLogger("aiokafka.consumer").debug("Adding %s", name)
logging.getLogger("kafka.client").error("a bad %d", name)  # its own text cannot even be made
warnings.warn(name, RuntimeWarning)
class Bad:
    def __del__(self):
        raise ValueError(name)
Bad()
thread = threading.Thread(target=lambda: int(name)); thread.start(); thread.join()
async def go():
    asyncio.get_running_loop().set_exception_handler(telemetry.in_loop)
    task = asyncio.create_task(lost(name)); await asyncio.sleep(0); del task
async def lost(of):
    raise LookupError(of)
asyncio.run(go())
import gc; gc.collect()
log = structlog.get_logger()
for pause in (0.05, 0.1, 0.2):
    log.warning("unit waits", why="the keystore does not answer", next_try_s=pause)
log.info("unit", records=3)
log.info("unit", records=3)
telemetry.tell_rest(whole=True)
int(name)
"""


def lines() -> list[dict[str, Any]]:
    """What a process logs in which every library is loud."""
    done = subprocess.run([sys.executable, "-c", _LOUD], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == ""
    assert _CANARY not in done.stderr
    assert "10.0.0.1" not in done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


@pytest.mark.slow
def test_every_line_has_a_time_and_a_role_and_foreign_ones_tell_kind_and_place_alone() -> None:
    found = lines()
    for line in found:
        assert line["role"] == "protector"
        assert datetime.fromisoformat(line["time"]).utcoffset() is not None
    foreign = {line["kind"]: line for line in found if line["event"] == "library"}
    errors = {kind: line.get("error") for kind, line in foreign.items()}
    assert errors == {
        "aiokafka.conn": None,
        "kafka.client": None,
        "warnings": "RuntimeWarning",
        "unraisable": "ValueError",
        "thread": "ValueError",
        "asyncio": "LookupError",
        "python": "ValueError",
    }
    assert all(set(line) <= {"event", "level", "role", "time", "kind", "at", "error"} for line in foreign.values())
    assert all(line["at"].startswith("<string>:") for line in foreign.values())


@pytest.mark.slow
def test_a_line_and_its_end_are_one_write() -> None:
    """The roles of `worker all` write to one stderr, unbuffered in a container: lines may fall between two writes."""
    program = """
import sys
from calllog_guard import telemetry
import structlog
class Counted:
    def write(self, text): written.append(text)
    def flush(self): pass
written = []
sys.stderr = Counted()
telemetry.configure("desk")
structlog.get_logger().error("silent: everything waits", server="Kafka")
print(len(written), written[0].endswith("\\n"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "1 True\n"


def test_what_repeats_is_told_once_and_the_rest_is_counted() -> None:
    found = lines()
    assert [line["event"] for line in found].count("unit waits") == 1
    assert [line["event"] for line in found].count("unit") == 2, "work is told line by line"
    assert {line["of"]: line["left_out"] for line in found if line["event"] == "left out"} == {
        "unit waits": 2,
        "aiokafka.conn": 1,
    }


class _Watch:
    at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.mark.slow
def test_half_an_hour_of_786_lines_a_second_becomes_eight() -> None:
    """0, 10, 30, 70, 150, 310, 630, 1230 s; each says how many were left out before it."""
    watch = _Watch()
    falling, told, left = Falling(watch), [0], 0
    told.clear()
    for number in range(1800 * 786):
        watch.at = number / 786
        many = falling.left_out(("aiokafka.conn",))
        if many is not None:
            told.append(round(watch.at))
            left += many
    assert told == [0, 10, 30, 70, 150, 310, 630, 1230]
    assert left + falling.rest(whole=True)["aiokafka.conn"] + len(told) == 1800 * 786


def test_what_comes_again_after_a_quiet_time_is_told_at_once() -> None:
    watch = _Watch()
    falling = Falling(watch)
    assert [falling.left_out(("unit waits",)) for _ in range(3)] == [0, None, None]
    watch.at = 19
    assert not falling.rest(), "it may still go on"
    watch.at = 20
    assert falling.rest() == {"unit waits": 2}, "it has ended, and nothing else would tell how many there were"
    watch.at = 300
    assert falling.left_out(("unit waits",)) == 0
    watch.at = 311
    assert falling.left_out(("unit waits",)) == 0


def test_any_number_of_different_lines_takes_bounded_memory() -> None:
    falling = Falling(_Watch())
    for number in range(5000):
        assert falling.left_out((str(number),)) == 0
    assert falling.left_out(("4999",)) is None
    assert falling.left_out(("0",)) == 0
