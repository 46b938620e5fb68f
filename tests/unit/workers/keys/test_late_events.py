"""How late events may come, by the keystore: fences dropped under one limit keep out nobody under a higher one."""

import pytest

from calllog_guard.adapters.memory.fakes import MemoryKeystore
from calllog_guard.errors import ConfigurationError, EntryCorruptError
from calllog_guard.workers.keys.people.late_events import KEY, LateLimit, Limit, limit_entry, read_limit


async def test_a_limit_above_the_one_under_which_fences_were_dropped_is_refused() -> None:
    keystore = MemoryKeystore()
    limit = LateLimit(keystore)
    await limit.work_under(10)
    await limit.work_under(35)
    assert await limit.drop_under(35)
    with pytest.raises(ConfigurationError, match="is 36, and fences of erased people were dropped under 35"):
        await limit.work_under(36)
    await limit.work_under(35)
    assert read_limit(keystore.entries[KEY]) == Limit(35, 35)


async def test_until_a_fence_is_dropped_the_limit_may_rise() -> None:
    limit = LateLimit(MemoryKeystore())
    for days in (10, 35, 400, 3):
        await limit.work_under(days)
    assert await limit.least(35) == 400, "a lower one lets no fence go any sooner"


async def test_no_fence_is_dropped_under_a_lower_limit_than_a_protector_works_under() -> None:
    limit = LateLimit(MemoryKeystore())
    await limit.work_under(400)
    assert not await limit.drop_under(35)
    assert await limit.drop_under(400)
    await limit.work_under(400)


async def test_of_several_drops_the_lowest_limit_counts() -> None:
    keystore = MemoryKeystore()
    limit = LateLimit(keystore)
    assert await limit.drop_under(50)
    assert await limit.drop_under(35)
    assert await limit.drop_under(60)
    with pytest.raises(ConfigurationError):
        await limit.work_under(36)


async def test_what_somebody_wrote_over_it_stops_the_worker() -> None:
    keystore = MemoryKeystore()
    keystore.entries[KEY] = b"0"
    with pytest.raises(EntryCorruptError):
        await LateLimit(keystore).work_under(35)


def test_the_form_is_as_it_was() -> None:
    assert limit_entry(Limit(400, 35)).hex() == "010000019000000023"
    assert read_limit(None) == Limit()
