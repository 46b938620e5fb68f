"""Numbers and names in the keystore's clear: what is none of ours is an error that names the key, and quotes none."""

from pathlib import Path

import pytest
from test_rotation import World

from calllog_guard.core.crypto.entries import EPOCH_KEY, FLOOR_KEY, IDENTITY_KEY, applied_key, number_at
from calllog_guard.errors import EntryCorruptError, GuardError

JUNK = [b"junk", b"\xff\xfe", b"9" * 5000, b" 1_0", b"-1", "٣".encode()]
IDS = ["text", "bytes", "digits", "python", "below", "arabic"]


@pytest.mark.parametrize("place", [FLOOR_KEY, IDENTITY_KEY, EPOCH_KEY], ids=["floor", "identity", "epoch"])
@pytest.mark.parametrize("junk", JUNK, ids=IDS)
async def test_what_is_none_of_ours_stops_a_walk_and_names_its_key(tmp_path: Path, place: bytes, junk: bytes) -> None:
    world = World(tmp_path)
    await world.fill()
    world.keystore.entries[place] = junk
    with pytest.raises(GuardError, match=place.decode()) as stopped:
        await world.walk().run({})
    assert junk.decode("utf-8", "replace") not in str(stopped.value)


@pytest.mark.parametrize("junk", JUNK, ids=IDS)
async def test_how_far_a_ledger_is_applied_is_a_number_or_an_error_of_ours(tmp_path: Path, junk: bytes) -> None:
    world = World(tmp_path)
    await world.fill()
    world.keystore.entries[applied_key(1)] = junk
    world.keystore.run = b"another"
    with pytest.raises(EntryCorruptError, match="clg:~applied:1 in the keystore is no number"):
        await world.ring.guard.unguarded([0, 1])


@pytest.mark.parametrize("junk", JUNK, ids=IDS)
async def test_a_floor_is_raised_from_a_number_alone(tmp_path: Path, junk: bytes) -> None:
    world = World(tmp_path)
    await world.fill()
    world.keystore.entries[FLOOR_KEY] = junk
    with pytest.raises(EntryCorruptError, match="clg:~floor in the keystore is no number"):
        await world.ring.guard.raise_floor()


@pytest.mark.parametrize(("raw", "wanted"), [(None, 7), (b"0", 0), (b"12", 12), (str(2**64 - 1).encode(), 2**64 - 1)])
def test_a_number_of_ours_is_read(raw: bytes | None, wanted: int) -> None:
    assert number_at(FLOOR_KEY, raw, 7) == wanted
