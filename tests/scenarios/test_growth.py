"""What a request costs does not grow with what is there already: work is counted, not time."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from desk_world import CANARY, DeskWorld

from calllog_guard.core.crypto.entries import EPOCH_KEY
from calllog_guard.ports.log import TopicPartition
from calllog_guard.workers.keys.rotation import epoch_of

HOLD = {"id": "matter-1", "authority": "police", "basis": "legal_claims", "review_at": "2027-11-24T09:00:00Z"}
REQUESTS = TopicPartition("privacy.requests", 0)


class Passed(dict[str, Any]):
    """A dict that counts how often somebody went through all of it."""

    passes = 0

    def __iter__(self) -> Iterator[str]:
        """See dict."""
        self.passes += 1
        return super().__iter__()

    def values(self) -> Any:
        """See dict."""
        self.passes += 1
        return super().values()

    def items(self) -> Any:
        """See dict."""
        self.passes += 1
        return super().items()


def watched(world: DeskWorld) -> Passed:
    """The desk's cases, counted from now on."""
    world.book._cases = found = Passed(world.book._cases)
    return found


async def test_no_request_looks_at_every_case_there_is(tmp_path: Path) -> None:
    """A burst of requests about as many cases would cost its square."""
    world = await DeskWorld(tmp_path).start()
    await world.ask("first-0001", CANARY, type="object", purposes=["fraud"])
    await world.ask("first-0002", CANARY, type="restrict")
    await world.later(seconds=1)
    cases, refused = watched(world), {"case": world.id_of("first-0001"), "ground": "Not shown."}
    kinds: dict[str, dict[str, Any]] = {
        "object": {"purposes": ["fraud"]},
        "refuse": refused,
        "clock": {"case": refused["case"], "event": "noticed", "to": "person"},
        "hold": {"hold": HOLD},
        "lift": {},
        "restrict": {},
        "release": {"hold": {"id": "matter-1"}},
        "erase": {},
    }
    for kind, more in kinds.items():
        subjects = () if kind in {"refuse", "clock", "release"} else (CANARY,)
        by = "officer-1" if kind in {"refuse", "hold", "release"} else "backend-1"
        world.send(f"{kind}-later", *subjects, by=by, type=kind, **more)
        before = cases.passes
        await world.desk.unit({REQUESTS: [world.asked[-1]]})
        await world.desk.idle()
        assert (kind, cases.passes - before) == (kind, 0)
    assert world.reasons() == []


async def test_sealing_the_cases_anew_looks_at_none_twice(tmp_path: Path) -> None:
    """Once a week, portion by portion: behind each portion what is renewed already was passed over again."""
    world = await DeskWorld(tmp_path).start()
    for at in range(5):
        await world.ask(f"object-000{at}", CANARY, type="object", purposes=["fraud"])
    world.at += timedelta(days=7)
    world.vault.create_epoch(epoch_of(world.at))
    world.keystore.entries[EPOCH_KEY] = epoch_of(world.at).encode()
    cases = watched(world)
    assert [await world.book.renew(2) for _ in range(4)] == [2, 2, 1, 0]
    assert {case.epoch for case in world.book.every()} == {epoch_of(world.at)}
    assert cases.passes == 1, "the test's own"
