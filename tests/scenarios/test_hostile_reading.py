"""Who can write to `calllog.legs` and `calllog.held` without a key: readers skip it, count it, say nothing of it."""

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from downstream import Downstream, plain, readings
from guard_world import PARTITIONS, POLICY, TENANT, GuardWorld
from reading_world import World

from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.leg_envelope import LegHeader, parse_header, seal_leg
from calllog_guard.core.crypto.subject_secrets import month_from
from calllog_guard.core.identifiers import CallId, b64, unb64
from calllog_guard.core.records import Output
from calllog_guard.core.retention.read_access import Refusal
from calllog_guard.metrics import Counters
from calllog_guard.workers.reader.sources import People

BOTH = POLICY.replace('purposes = ["billing"]', 'purposes = ["billing", "service"]')
MANY, SEED = 3000, 11
MARK = "mallory-was-here"
VALUES: list[Any] = [
    MARK,
    "",
    None,
    True,
    -1,
    1 << 70,
    1.5,
    [],
    {},
    "A" * 22,
    "9999-12",
    "9999-12-31",
    "2026-13",
    "0000-00-00",
]
BYTES = [b"", b"\xff", b".....", b"{}", b"null", MARK.encode(), b"A" * 3, b"eyJ", b"[" * 100_000]


def forged(dice: random.Random, key: bytes, value: bytes) -> tuple[bytes | None, bytes]:
    """A record, changed in one or two ways."""
    parts = value.split(b".")
    header: Any = json.loads(unb64(parts[0]))
    for _ in range(dice.choice([1, 1, 2])):
        way = dice.randrange(7)
        if way == 0:
            header[dice.choice([*header, "zip", "crit"])] = dice.choice(VALUES)
        elif way == 1:
            header.pop(dice.choice(list(header)))
        elif way == 2:
            parts[dice.randrange(1, 5)] = dice.choice(BYTES)
        elif way == 3:
            parts = parts[: dice.randrange(1, 5)]
            break
        elif way == 4:
            header["rid"] = b64(dice.randbytes(16)).decode()
            key = f"{header.get('kid', 'A' * 22)}.{header['rid']}".encode()
        elif way == 5:
            header |= {"mon": "2098-07", "day": dice.choice(["2098-07-01", header.get("day", "2026-01-01")])}
        else:
            return dice.choice([None, *BYTES, key, key + b"x"]), dice.choice(BYTES)
        header = header or {"v": 1}
    return key, b".".join([b64(json.dumps(header).encode()), *parts[1:]])


@pytest.mark.slow
async def test_thousands_of_forged_records_change_no_line_and_end_no_reader(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """They stand beside the true ones, never in their place: who overwrites a key has deleted what it stood for."""
    world = await GuardWorld(tmp_path, BOTH).start()
    for days in (10, 40):
        await world.call(f"b{days}", "bob", "carol", days_ago=days)
    await world.run()
    await world.ask("erase-001", "erase", "bob")
    await world.run()
    jobs = [Downstream(world, purpose).start() for purpose in ("billing", "service")]
    wanted = {job.purpose: await plain(world, job.purpose) for job in jobs}
    assert {name: len(rows) for name, rows in wanted.items()} == {"billing": 2, "service": 2}
    dice = random.Random(SEED)  # noqa: S311 - repeatable
    true = [(topic, *each) for topic, live in (("legs", world.legs()), ("held", world.held())) for each in live.items()]
    keys, outputs = {key for _, key, _ in true}, list[Output]()
    for _ in range(MANY):
        _, key, value = dice.choice(true)
        name, text = forged(dice, key, value)
        if name not in keys:
            place = dice.randrange(PARTITIONS)
            outputs += [Output(topic, place, name, text) for topic in ("calllog.legs", "calllog.held")]
    await world.log.write(outputs)
    for job in jobs:
        await job.until_true()
        await job.for_(0.3)
        assert (job.table.rows, job.removed()) == (wanted[job.purpose], set())
        assert await plain(world, job.purpose) == wanted[job.purpose]
        assert job.counts[Counters.reads[job.purpose, "unreadable"]] > MANY / 10
        await job.ends()
        told = b"".join(output.value or b"" for output in job.accesses.outputs)
        assert MARK.encode() not in told
        assert MARK.encode() not in (tmp_path / f"cursor-{job.purpose}").read_bytes()
    assert MARK not in caplog.text + "".join(capfd.readouterr())


async def test_a_forged_month_turns_no_ratchet(tmp_path: Path) -> None:
    """A header costs nothing to forge; 8,000 years of a ratchet would cost the reader a second, and memory each."""
    world = await GuardWorld(tmp_path, BOTH).start()
    await world.call("c1", "bob")
    await world.run()
    (record,) = [each for place in range(PARTITIONS) for each in world.log.records["calllog.legs", place]]
    header, (_, _, rest) = parse_header(record.value or b""), (record.value or b"").partition(b".")
    changes = [{"mon": "9999-12"}, {"day": "2099-01-01", "mon": "2099-01"}, {"mon": "2026-10"}, {}]
    forgeries = [b64(encode(msgspec.structs.replace(header, **change))) + b"." + rest for change in changes]
    source = readings(world)[0].source
    assert isinstance(source, People)
    legs, _ = readings(world)
    legs.source = source
    verdicts = await legs.judged([msgspec.structs.replace(record, value=value) for value in forgeries])
    assert [verdict.refusal for verdict in verdicts] == [Refusal.UNREADABLE] * 3 + [None]
    (lookup,) = source._ring._cache
    opened = source._ring._cache.get(lookup)
    assert opened is not None
    assert list(opened.months) == [month_from(header.mon)]


@pytest.mark.parametrize(
    "change",
    [
        {"started_at": "yesterday"},
        {"ended_at": "2026-11-20T10:00:00"},
        {"joined_at": MARK, "left_at": MARK},
        {"subject": "\ud800"},
        {"parties": MARK},
    ],
)
async def test_what_opens_and_is_no_leg_is_unreadable(tmp_path: Path, change: dict[str, Any]) -> None:
    """A defect of some release that sealed it must not end the readers of all others."""
    world = World(tmp_path)
    await world.ring.guard.open_at_once(2)
    await world.leg("bob", "c1")
    person, lookup = await world.person("alice"), world.lookup("alice")
    opened = (await world.ring.open({lookup: person}))[0][lookup]
    day, token = "2026-11-20", opened.token_key.token(CallId("c9"))
    leg: dict[str, Any] = {
        "call": "c9",
        "role": "host",
        "joined_at": None,
        "left_at": None,
        "kind": "video",
        "outcome": "answered",
    }
    leg |= {"started_at": f"{day}T10:00:00Z", "ended_at": None, "parties": 2, "subject": "alice"} | change
    header = LegHeader(
        kid=opened.pseudonym, mon=day[:7], day=day, rid=token, pur=7, pol="2026-01-01", ten=TENANT, top="calllog.legs"
    )
    value = seal_leg(header, json.dumps(leg).encode(), opened.data_key(month_from(day)), b"\1" * 12)
    await world.leg("alice", "c9", value=value)
    for purpose in ("billing", "service"):
        reading = world.reading(purpose)
        assert len(await world.all(reading)) == 1
        assert reading.refused == {"unreadable": 1}
