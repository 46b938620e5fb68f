"""What a request costs does not grow with what is there already: work is counted, not time."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from desk_world import CANARY, TENANT, DeskWorld
from guard_world import POLICY, GuardWorld
from test_objections import FRAUD

from calllog_guard.core.crypto.entries import EPOCH_KEY
from calllog_guard.core.crypto.subject_secrets import IdentitySecret, Secret
from calllog_guard.ports.log import TopicPartition
from calllog_guard.workers.desk.cases.case_owners import Owners
from calllog_guard.workers.keys.people.naming import Naming
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


async def questions(world: GuardWorld, others: int) -> int:
    """How often the keystore is asked while one objection is refused and so many others are before an officer."""
    await world.start()
    for number in range(others + 1):
        await world.call(f"call-{number}", f"p{number}@example.org")
    await world.run()
    for number in range(others + 1):
        await world.ask(f"object-000{number}", "object", f"p{number}@example.org", purposes=["fraud"])
    await world.run()
    case, asked = world.id_of("object-0000"), world.keystore.calls
    await world.ask("refuse-0001", "refuse", key="officer-1", case=case, ground="Not shown.")
    await world.step("desk")
    await world.ask("told-00001", "clock", case=case, event="noticed", to="person")
    await world.step("desk")
    assert world.case("object-0000").state == "refused"
    return world.keystore.calls - asked


async def test_the_end_of_an_objection_asks_the_keystore_as_often_however_many_others_there_are(tmp_path: Path) -> None:
    """Each question is a round trip: with a thousand objections before an officer, a refusal took half a second."""
    few, many = (GuardWorld(tmp_path / name, POLICY + FRAUD) for name in ("few", "many"))
    assert await questions(few, 1) == await questions(many, 8)


class Derived(IdentitySecret):
    """Counts how often its key of tags is derived."""

    many = 0

    def case_tags_key(self) -> Secret:
        """See IdentitySecret."""
        Derived.many += 1
        return super().case_tags_key()


async def test_whose_cases_are_a_persons_is_asked_of_each_by_one_key(tmp_path: Path) -> None:
    """A case names nobody, so all are tried: to derive the key for each took ten times as long as its tag."""
    world = await DeskWorld(tmp_path).start()
    for number in range(4):
        await world.ask(f"erase-000{number}", CANARY, type="erase", identity="unverified")
    (alice,) = await Owners(world.ring(), world.desk._o.decider).identities(
        [Naming(TENANT, world.vault).lookup(CANARY)]
    )
    assert alice is not None
    found = await Owners(world.ring(), world.desk._o.decider).of(world.book, [Derived(alice.expose())])
    assert len(found) == 4
    Derived.many = 0
    found = await Owners(world.ring(), world.desk._o.decider).of(world.book, [Derived(bytes(range(32)))])
    assert (found, Derived.many) == ({}, 1)
