"""The keeper's index is rebuilt from the topics alone, refused while a keeper holds it, taken over by the next."""

import json

import pytest
from installation import Make, event, raw
from patience import ended
from signing import claims, signed
from test_erase import erased

from calllog_guard.settings import Settings
from calllog_guard.workers.keeper.worker import index_path

pytestmark = pytest.mark.real


def test_an_index_is_rebuilt_and_the_keeper_goes_on_from_it(make: Make) -> None:
    guard = make(PARTITIONS="1")
    guard.start("protector")
    guard.start("desk")
    keeper = guard.start("keeper")
    guard.publish("calllog.events", [raw(event(f"c{n}", "alice@example.org", f"p{n}")) for n in range(30)])
    guard.settled(lambda: len(guard.live()) == 60, "all legs")
    guard.publish("privacy.requests", [signed(guard.directory, claims("index-0001", "alice@example.org"))])
    guard.settled(lambda: erased(guard, "index-0001"), "erased")
    guard.cli("rebuild", "--partition", "0", code=4)
    guard.cli("rebuild", "--partition", "1", code=2)
    keeper.terminate()
    assert ended(keeper) == 0
    guard.publish("privacy.requests", [signed(guard.directory, claims("index-0002", "p7"))])
    guard.settled(lambda: len(guard.records("privacy.decisions")) > 2, "the second decision")
    before = guard.live()
    found = json.loads(guard.cli("rebuild", "--partition", "0", "--json"))
    assert (found["rows"], found["waiting"]) == (30, 1)
    assert index_path(Settings(state_dir=str(guard.directory / "state"), calllog_prefix=f"c{guard.name}."), 0).is_dir()
    assert guard.live() == before, "reading again takes nobody's leg"
    guard.start("keeper")
    guard.settled(lambda: erased(guard, "index-0002") and len(guard.live()) == 29, "the keeper goes on from it")
