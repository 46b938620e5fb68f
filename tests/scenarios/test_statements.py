"""A month's evidence: every leg that ever was is accounted for, and the signed statement says so."""

import json
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from guard_world import POLICY, TENANT, Crash, GuardWorld
from sizes import EACH_WRITE

from calllog_guard.cli import main
from calllog_guard.core.audit.month_report import Month, Sources, report
from calllog_guard.core.audit.month_statement import STATEMENTS, Statement
from calllog_guard.core.cases.working_days import calendar_of
from calllog_guard.core.codec import decode
from calllog_guard.core.crypto.jose import receipt_pem, verify
from calllog_guard.core.identifiers import b64, unb64
from calllog_guard.core.records import Output
from calllog_guard.reports.month import month_markdown

SHORT = POLICY.replace('keep = "P90D"', 'keep = "P10D"').replace('keep = "P60D"', 'keep = "P5D"')
ALICE = "alice@example.org"
KEY = b"~removed.2026-11"
OVER = datetime(2026, 12, 1, 0, 30, tzinfo=UTC)


def statements(world: GuardWorld) -> list[Statement]:
    """The statements that were signed, each once."""
    public = receipt_pem(world.vault.receipt_key(TENANT))[1]
    found = [each for each in world.log.records["privacy.receipts", 0] if (each.key or b"").startswith(b"statement.")]
    assert len({each.value for each in found}) == len({each.key for each in found}), "repeats are the same"
    return [
        decode(STATEMENTS, verify(public, value.decode()))
        for value in dict.fromkeys(each.value or b"" for each in found)
    ]


async def to(world: GuardWorld, moment: datetime) -> None:
    """Everybody works at a time."""
    for minutes in (0, 5):  # the desk looks again behind the keepers
        world.clock.at = moment + timedelta(minutes=minutes)
        await world.run(rounds=200)


@pytest.fixture
async def world(tmp_path: Path) -> GuardWorld:
    """See GuardWorld."""
    return await GuardWorld(tmp_path, SHORT, sweep_s=60).start()


async def test_a_month_says_what_went_by_which_rule_and_what_is_left(world: GuardWorld) -> None:
    await world.call("c1", ALICE, "bob@example.org", days_ago=5, outcome="missed")
    await world.call("c2", "carol@example.org", days_ago=1)
    await world.run()
    await to(world, datetime(2026, 11, 30, 9, tzinfo=UTC))
    assert statements(world) == [], "not before the month is over"
    await to(world, OVER)
    (found,) = statements(world)
    assert (found.month, found.partitions, found.of) == ("2026-11", 4, 4)
    assert [(line.rule, line.legs) for line in found.expired] == [("service P10D, then delete", 2)]
    assert (found.alive, found.removed, found.held) == (1, (), ())


async def test_what_a_request_removed_stands_under_its_case_and_copies_under_what_keeps_them(world: GuardWorld) -> None:
    await world.call("c1", ALICE, "bob@example.org")
    await world.call("c2", "dora@example.org")
    await world.run()
    await world.hold("hold-00001", "claim-17", "dora@example.org")
    await world.hold("hold-00002", "claim-18", "bob@example.org", secret=True)
    await world.run()
    await world.ask("erase-0001", "erase", ALICE)
    await world.run()
    await to(world, OVER)
    (found,) = statements(world)
    assert [(line.case, line.type, line.legs) for line in found.removed] == [
        (world.case("erase-0001").case, "erase", 1)
    ]
    assert {(line.purpose, line.case, line.copies) for line in found.held} == {
        ("billing", None, 1),
        (None, world.case("hold-00001").case, 1),
    }
    assert found.alive == 2


async def test_a_secret_hold_moves_no_byte_of_a_statement(tmp_path: Path) -> None:
    """Design section 14: whatever a role may read is the same with and without."""
    told: list[bytes] = []
    for secret in (False, True):
        world = await GuardWorld(tmp_path / str(secret), SHORT, sweep_s=60).start()
        await world.call("c1", ALICE, "bob@example.org", days_ago=5, outcome="missed")
        await world.run()
        if secret:
            await world.hold("hold-00001", "claim-17", ALICE, secret=True)
            await world.run()
        await to(world, datetime(2026, 11, 30, 9, tzinfo=UTC))
        await to(world, OVER)
        (found,) = statements(world)
        told.append(
            json.dumps([str(found.expired), str(found.removed), found.alive, str(found.held), found.sentence]).encode()
        )
    assert told[0] == told[1]


@pytest.mark.parametrize("moment", [datetime(2026, 11, 30, 9, tzinfo=UTC), OVER], ids=["sweep", "close"])
@pytest.mark.parametrize("rebuild", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.slow
async def test_wherever_a_process_dies_nothing_is_counted_twice_or_not_at_all(
    tmp_path: Path, moment: datetime, *, after: bool, rebuild: bool
) -> None:
    for at in range(1, 60, EACH_WRITE):
        world = await GuardWorld(tmp_path / str(at), SHORT, sweep_s=60).start()
        for number in range(5):
            await world.call(f"c{number}", f"p{number}@example.org", days_ago=5, outcome="missed")
        await world.call("c9", ALICE, days_ago=1)
        await world.run()
        if moment == OVER:
            await to(world, datetime(2026, 11, 30, 9, tzinfo=UTC))
        world.fuse.at, world.fuse.after, world.fuse.count = at, after, 0
        died = False
        try:
            await to(world, moment)
        except Crash:
            died = True
            await world.restart(rebuild=rebuild)
        world.fuse.at = -1
        await to(world, moment)
        await to(world, OVER + timedelta(minutes=20))
        (found,) = statements(world)
        assert sum(line.legs for line in found.expired) == 5, at
        assert found.alive == 1
        if not died:
            break
    else:
        raise AssertionError("the story has no end")


async def test_who_is_restricted_when_a_keeper_comes_back_is_not_counted_twice(world: GuardWorld) -> None:
    await world.call("c1", ALICE, days_ago=5, outcome="missed")
    await world.run()
    await to(world, datetime(2026, 11, 30, 9, tzinfo=UTC) - timedelta(days=2))
    world.clock.at = datetime(2026, 11, 30, 9, tzinfo=UTC)
    world.fuse.at, world.fuse.after, world.fuse.count = 1, True, 0  # counted, and dead
    with pytest.raises(Crash):
        await world.run()
    await world.restart()
    await world.ask("restrict-1", "restrict", ALICE)
    await world.step("desk")
    await world.run()
    await world.ask("lift-00001", "lift", ALICE)
    await world.run(rounds=200)
    await to(world, OVER)
    (found,) = statements(world)
    assert sum(line.legs for line in found.expired) + found.alive == 1


async def test_the_desk_waits_for_every_partition(world: GuardWorld) -> None:
    await world.call("c1", ALICE, days_ago=5, outcome="missed")
    await world.run()
    world.clock.at = OVER
    for _ in range(3):
        await world.step("desk")
    assert statements(world) == []
    await to(world, OVER)
    assert len(statements(world)) == 1
    await world.restart()
    await to(world, OVER + timedelta(hours=2))
    assert len(statements(world)) == 1


async def test_the_desk_signs_a_month_once(world: GuardWorld) -> None:
    await world.run()
    await to(world, OVER)
    for hours in (2, 4):
        await world.restart()
        await to(world, OVER + timedelta(hours=hours))
    keys = [each.key for each in world.log.records["privacy.receipts", 0]]
    assert keys.count(b"statement.2026-11") == 1


async def test_a_statement_is_checked_offline_and_a_changed_one_is_bad(
    world: GuardWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await world.run()
    await to(world, OVER)
    (record,) = world.log.records["privacy.receipts", 0]
    file, key = tmp_path / "statement.jws", tmp_path / "receipts.pub.pem"
    key.write_bytes(receipt_pem(world.vault.receipt_key(TENANT))[1])
    command = ["receipt", "verify", str(file), "--key", str(key)]
    file.write_bytes(record.value or b"")
    assert main([*command, "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    assert (checked["verdict"], checked["claims"]["month"]) == ("good", "2026-11")
    head, claims, signature = (record.value or b"").split(b".")
    more = b64(unb64(claims).replace(b'"alive":0', b'"alive":1')).rstrip(b"=")
    file.write_bytes(b".".join([head, more, signature]))
    assert main(command) == 1


async def test_the_report_shows_what_the_statement_says(world: GuardWorld) -> None:
    await world.call("c1", ALICE, days_ago=5, outcome="missed")
    await world.run()
    await to(world, datetime(2026, 11, 30, 9, tzinfo=UTC))
    await to(world, OVER)
    (said,) = statements(world)
    sources = Sources(
        tenant=TENANT, cases=[], filed={}, holds=[], accesses=[], policies=[], limits={}, objectives={}, statement=said
    )
    month = Month(first=said.at.date().replace(month=11), calendar=calendar_of("uk"))
    page = month_markdown(report(sources, month, world.clock.at))
    assert "| lapsed | service P10D, then delete | 1 |" in page
    unsigned = report(replace(sources, statement=None), month, world.clock.at)
    assert "The statement of this month is not signed yet." in month_markdown(unsigned)


async def test_a_count_of_another_partition_is_none(world: GuardWorld) -> None:
    """Its MAC says who wrote it, not where."""
    await world.call("c1", ALICE, days_ago=5, outcome="missed")
    await world.run()
    await to(world, datetime(2026, 11, 30, 9, tzinfo=UTC))
    counts = [world.log.records["privacy.decisions", place] for place in range(4)]
    key = b"~removed.2026-11"
    real = [
        (place, each)
        for place, lane in enumerate(counts)
        for each in lane
        if each.key == key and b"P10D" in (each.value or b"")
    ]
    ((place, count),) = real
    await world.log.write([Output("privacy.decisions", (place + 1) % 4, key, count.value)])
    await world.restart()
    await to(world, OVER)
    (found,) = statements(world)
    assert [line.legs for line in found.expired] == [1]


def closed(world: GuardWorld, partition: int) -> bytes:
    """A partition's count of November as it was closed."""
    lane = world.log.records["privacy.decisions", partition]
    return next(each.value or b"" for each in lane if each.key == KEY and b"closed_at" in (each.value or b""))


async def test_a_count_that_no_keeper_wrote_is_believed_by_nobody(world: GuardWorld) -> None:
    await world.run()
    world.clock.at = OVER
    for _ in range(5):
        await world.step("keeper")
    forged = closed(world, 1).replace(b'"rules":{}', b'"rules":{"none":7}')
    assert forged != closed(world, 1)
    await world.log.write([Output("privacy.decisions", 1, KEY, forged)])
    await to(world, OVER + timedelta(minutes=10))
    (found,) = statements(world)
    assert (found.expired, found.partitions) == ((), 4)


async def test_while_one_partition_counts_nothing_is_signed(world: GuardWorld) -> None:
    await world.run()
    opened = {place: list(world.log.records["privacy.decisions", place]) for place in range(4)}
    world.clock.at = OVER
    for _ in range(5):
        await world.step("keeper")
    world.log.records["privacy.decisions", 3] = opened[3]  # its keeper was killed before
    for _ in range(3):
        world.clock.at += timedelta(minutes=5)
        await world.step("desk")
    assert statements(world) == []


async def test_at_the_first_level_of_forms_nothing_is_counted(tmp_path: Path) -> None:
    """A keeper of the first release takes such a record for a decision."""
    world = await GuardWorld(tmp_path, SHORT, forms=1, sweep_s=60).start()
    await world.call("c1", ALICE, days_ago=5, outcome="missed")
    await world.run()
    await to(world, OVER)
    assert world.legs() == {}
    assert statements(world) == []
    lanes = [lane for (topic, _), lane in world.log.records.items() if topic == "privacy.decisions"]
    assert not any((each.key or b"").startswith(b"~removed") for lane in lanes for each in lane)


class Oracle:
    """What a month of traffic must have come to, reckoned apart from the code: a leg per call and person."""

    def __init__(self) -> None:
        self.legs: dict[tuple[str, str], datetime] = {}
        self.erased: Counter[str] = Counter()

    def erase(self, jti: str, who: str) -> None:
        """A person's legs go."""
        mine = [name for name in self.legs if name[1] == who]
        self.erased[jti] += len(mine)
        for name in mine:
            self.legs.pop(name)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.slow
async def test_thirty_days_of_traffic_are_accounted_for_to_the_last_leg(tmp_path: Path, seed: int) -> None:
    """Alive, expired by which rule, erased by which case, held for whom."""
    chance = random.Random(seed)  # noqa: S311 - a test's traffic
    world = await GuardWorld(tmp_path, SHORT, sweep_s=60).start()
    world.clock.at = datetime(2026, 12, 1, 9, tzinfo=UTC)
    people = [f"person-{number}@example.org" for number in range(12)]
    oracle, stored, expired, held, ordered = Oracle(), 0, 0, dict[str, int](), set[tuple[str, str]]()
    for day in range(30):
        for number in range(3):
            two = chance.sample(people, 2)
            name, outcome = f"call-{day}-{number}", chance.choice(["answered", "missed"])
            await world.call(name, *two, days_ago=0, outcome=outcome)
            for at, who in enumerate(two):
                stored += 1
                if day > 7 and who == people[0]:
                    ordered.add((name, who))
                if not (outcome == "answered" and at == 0):  # the host's answered calls are billed for six years
                    oracle.legs[name, who] = world.clock.at
                else:
                    oracle.legs[name, who] = world.clock.at + timedelta(days=5000)
        await world.run(rounds=200)
        if day % 6 == 3:
            who, jti = chance.choice(people), f"erase-{day:04}"
            kept = sum(
                name[1] == who and since > world.clock.at + timedelta(days=1000) for name, since in oracle.legs.items()
            )
            held["billing"] = held.get("billing", 0) + kept
            oracle.erase(jti, who)
            await world.ask(jti, "erase", who)
            await world.run(rounds=200)
        if day == 7:
            ordered |= {name for name in oracle.legs if name[1] == people[0]}
            await world.hold("hold-00001", "claim-17", people[0])
            await world.hold("hold-00002", "claim-18", people[1], secret=True)
            await world.run(rounds=200)
        if day == 10:
            await world.restart(rebuild=True)
        world.clock.at += timedelta(days=1)
        due = [
            name for name, since in oracle.legs.items() if since.date() + timedelta(days=11) <= world.clock.at.date()
        ]
        expired += len(due)
        for leg in due:
            oracle.legs.pop(leg)
        await world.run(rounds=200)
    await to(world, datetime(2027, 1, 1, 0, 30, tzinfo=UTC))
    due = [name for name, since in oracle.legs.items() if since.date() + timedelta(days=11) <= world.clock.at.date()]
    (found,) = [each for each in statements(world) if each.month == "2026-12"]
    lines = {line.rule: line.legs for line in found.expired}
    assert lines == {"service P10D, then delete": expired}
    assert {line.case: line.legs for line in found.removed} == {
        world.case(jti).case: legs for jti, legs in oracle.erased.items()
    }
    by_order = {world.case("hold-00001").case: len(ordered)} if ordered else {}
    wanted = {name: some for name, some in (held | by_order).items() if some}
    assert {line.purpose or line.case: line.copies for line in found.held} == wanted, "of the secret order nothing"
    assert stored == found.alive + sum(lines.values()) + sum(line.legs for line in found.removed)
    assert found.alive == len(oracle.legs), due
