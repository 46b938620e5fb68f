"""
What counts as one person is erased as one, all else is never touched: by dice, 100 people and 100 strangers at a time.

`make properties` runs 20,000 cases; here a few hundred. People, forms, strangers come from `id_forms.py`, without the
rules. After each hundred every stored byte is looked through.
"""

import codecs
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from guard_world import GuardWorld
from id_forms import Human, form, human, stranger

from calllog_guard.adapters.disk.trace_search import Hunter
from calllog_guard.core.calls.leg import read_leg
from calllog_guard.core.crypto.leg_envelope import open_leg, parse_header
from calllog_guard.core.crypto.subject_secrets import month_from
from calllog_guard.core.identifiers import Pseudonym
from calllog_guard.core.identity.id_file import identifiers

TOGETHER, TABLE = 100, 10
CASES = int(os.environ.get("IDENTITY_CASES", "200"))
PLAIN = {"calllog.events", "privacy.requests"}
LONG = 10
"""What is shorter stands in keys and ciphertexts by chance."""


def spelled(one: Human, rng: random.Random) -> str:
    """The identifier in one of its forms; a tab is refused in records, and belongs to no identifier in files."""
    return form(one, rng).replace("\t", " ")


def pairs(rng: random.Random) -> Iterator[tuple[Human, Human]]:
    """People and strangers, no two of whom are one."""
    met: set[str] = set()
    while len(met) < 2 * TOGETHER:
        one = human(rng)
        other = stranger(one, rng)
        if not met & {one.plain, other.plain}:
            met |= {one.plain, other.plain}
            yield one, other


def written(lines: list[str], number: int) -> bytes:
    """A file of identifiers as three systems write it: a spreadsheet, an editor on Windows, a script."""
    ends = ("\r\n", "\r\n", "\n")[number % 3]
    text = ends.join([*lines, "", "  ", ""])
    raw = (codecs.BOM_UTF8 + text.encode(), text.encode("utf-16"), text.encode())
    return raw[number % 3]


async def stored(world: GuardWorld) -> list[str]:
    """The identifier in every leg."""
    legs = world.legs()
    owners = await world.ring().owners([Pseudonym(key[:22].decode()) for key in legs])
    found: list[str] = []
    for key, value in legs.items():
        opened = owners[Pseudonym(key[:22].decode())][1]
        found.append(read_leg(open_leg(value, opened.data_key(month_from(parse_header(value).mon)))).subject)
    return sorted(found)


def everything(world: GuardWorld) -> Iterator[tuple[str, bytes]]:
    """Every byte that is stored, but the topics that are plaintext by their nature."""
    for (topic, _), records in world.log.records.items():
        if topic not in PLAIN:
            yield topic, b"\n".join((each.key or b"") + b"\n" + (each.value or b"") for each in records)
    yield "keystore", b"\n".join(key + b"\n" + raw for key, raw in world.keystore.entries.items())
    for path in world.folder.rglob("*"):
        if path.is_file():
            yield "files", path.read_bytes()


@pytest.mark.parametrize("number", range(CASES // TOGETHER))
@pytest.mark.slow
async def test_whatever_is_one_person_is_erased_as_one_and_nobody_else_is_touched(tmp_path: Path, number: int) -> None:
    rng = random.Random(number)  # noqa: S311 - dice, not secrets
    world, cast, calls = await GuardWorld(tmp_path).start(), list(pairs(rng)), list[list[str]]()
    for at in range(0, TOGETHER, TABLE):
        for _ in range(2):
            calls.append([spelled(each, rng) for pair in cast[at : at + TABLE] for each in pair])
            await world.call(f"call-{len(calls)}", *calls[-1])
    await world.run()
    assert world.dead() == []
    assert len(world.legs()) == 4 * TOGETHER
    assert len({key[:22] for key in world.legs()}) == 2 * TOGETHER, "two forms are one person, two people are two"

    asked = identifiers(written([spelled(one, rng) for one, _ in cast], number), "--subject")
    assert len(asked) == TOGETHER
    await world.ask("erase-0001", "erase", *(text for _, text in asked))
    await world.run()
    assert (world.dead(), world.case("erase-0001").unknown) == ([], ())
    assert await stored(world) == sorted(text for call in calls for text in call[1::2]), (
        "the strangers' legs, and no other"
    )

    await world.call("late", *(spelled(one, rng) for one, _ in cast[:TABLE]), days_ago=2)
    await world.ask("erase-0002", "erase", *(spelled(one, rng) for one, _ in cast))
    await world.run()
    assert len(world.legs()) == 2 * TOGETHER, "the fence keeps every form out"
    assert len(world.case("erase-0002").unknown or ()) == TOGETHER, "and by then nobody is known"

    names = {text for call in calls for text in call} | {each.plain for pair in cast for each in pair}
    hunter = Hunter([name for name in names if len(name) >= LONG])
    assert {place: hits for place, content in everything(world) if (hits := hunter.hits(content))} == {}
