"""The journeys of docs/contributing/architecture.md: short lists of files, each of which is entered."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from guard_world import GuardWorld

import calllog_guard

SRC = Path(calllog_guard.__file__).parent
PAGE = (Path(__file__).parents[2] / "docs" / "contributing" / "architecture.md").read_text("utf-8")
BESIDE = ("adapters/", "workers/auditor/", "workers/runtime/", "core/audit/")
"""Not in this world: its log and keystore are fakes, its roles are driven by hand, and nobody audits."""


def listed(number: int) -> list[str]:
    """The files of a journey's table, in order, each once."""
    part = re.split(r"^## ", PAGE.partition(f"## Journey {number}:")[2], maxsplit=1, flags=re.MULTILINE)[0]
    rows = [line for line in part.splitlines() if line.startswith("|")]
    return list(dict.fromkeys(re.findall(r"`([\w/]+\.py)`", "\n".join(rows))))


@contextmanager
def entered() -> Iterator[set[str]]:
    """The files whose functions are called meanwhile."""
    found: set[str] = set()

    def called(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(SRC)):
            found.add(frame.f_code.co_filename[len(str(SRC)) + 1 :])

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        yield found
    finally:
        sys.setprofile(before)


@pytest.mark.parametrize(("number", "most"), [(1, 10), (2, 25)])
def test_a_journey_is_short_and_its_files_exist(number: int, most: int) -> None:
    files = listed(number)
    assert most // 2 < len(files) <= most
    assert [name for name in files if not (SRC / name).exists()] == []


async def test_an_event_enters_the_files_that_are_listed(tmp_path: Path) -> None:
    world = await GuardWorld(tmp_path).start()
    await world.call("one", "a", "b")
    with entered() as found:
        await world.run()
    assert [name for name in listed(1) if name not in found and not name.startswith(BESIDE)] == []


async def test_an_erasure_enters_the_files_that_are_listed(tmp_path: Path) -> None:
    world = await GuardWorld(tmp_path).start()
    await world.call("one", "a", "b")
    await world.run()
    await world.ask("request-1", "erase", "a")
    with entered() as found:
        await world.run()
    assert world.case("request-1").stages.keys() >= {"fenced", "destroyed", "tombstoned"}
    assert [name for name in listed(2) if name not in found and not name.startswith(BESIDE)] == []
