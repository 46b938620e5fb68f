"""One person is erased, shown and held as one, whichever form a call, request or file has; others never."""

import gc
import json
from pathlib import Path
from types import FunctionType, ModuleType

import pytest
from guard_world import GuardWorld

from calllog_guard.core.crypto.leg_envelope import open_leg, parse_header
from calllog_guard.core.identity.rules import AS_WRITTEN
from calllog_guard.core.records import Output

PAIRS = {
    "the case of an address": ("Carol@Example.org", "carol@example.org"),
    "letters that are put together": ("jose\u0301@example.org", "jos\u00e9@example.org"),
    "a mark at the end": ("clean@example.org", "clean@example.org\u200b"),
    "a mark of the file": ("clean@example.org", "\ufeffclean@example.org"),
    "blanks around it": ("clean@example.org", "\u00a0clean@example.org "),
    "full width": ("\uff41\uff4c\uff49\uff43\uff45\uff20example.org", "alice@example.org"),
    "a telephone and a spreadsheet": ("tel:+44-1632-960961", "+44 1632 960961"),
    "a SIP telephone": ("sip:alice@example.org:5060;transport=tls", "Alice@example.org"),
    "a directory": ("F47AC10B-58CC-4372-A567-0E02B2C3D479", "{f47ac10b-58cc-4372-a567-0e02b2c3d479}"),
}
STRANGERS = {
    "the Kelvin sign": ("kate@example.org", "\u212aate@example.org"),
    "a dotted capital": ("i@example.org", "\u0130@example.org"),
    "a sharp s": ("strasse@example.org", "stra\u00dfe@example.org"),
    "a national number": ("+441632960961", "01632960961"),
    "an extension": ("+441632960961", "tel:+441632960961;ext=12"),
    "opaque ids": ("User-1", "user-1"),
}


@pytest.fixture
async def world(tmp_path: Path) -> GuardWorld:
    """A new tenant, with the rules of new tenants."""
    return await GuardWorld(tmp_path).start()


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("turned", [False, True])
async def test_an_erasure_under_one_form_takes_what_was_stored_under_another(
    world: GuardWorld, pair: tuple[str, str], *, turned: bool
) -> None:
    stored, asked = reversed(pair) if turned else pair
    await world.call("c1", stored, "bob@example.org")
    await world.run()
    assert len(world.legs()) == 2
    await world.ask("erase-0001", "erase", asked)
    await world.run()
    assert len(world.legs()) == 1, "only the other party's"
    await world.call("c1", stored, "bob@example.org", days_ago=2)
    await world.run()
    assert len(world.legs()) == 1, "and the fence keeps it out under every form"


@pytest.mark.parametrize("pair", STRANGERS.values(), ids=STRANGERS)
@pytest.mark.parametrize("turned", [False, True])
async def test_an_erasure_never_touches_whoever_is_somebody_else(
    world: GuardWorld, pair: tuple[str, str], *, turned: bool
) -> None:
    stored, asked = reversed(pair) if turned else pair
    await world.call("c1", stored)
    await world.run()
    before = world.legs()
    await world.ask("erase-0001", "erase", asked)
    await world.run()
    assert world.legs() == before


async def test_one_person_twice_in_a_call_is_told_by_the_form_that_counts(world: GuardWorld) -> None:
    await world.call("c1", "Carol@example.org", "carol@EXAMPLE.org")
    await world.run()
    assert (world.dead(), len(world.legs())) == (["duplicate_party"], 1)


async def test_a_party_is_removed_under_any_form(world: GuardWorld) -> None:
    await world.call("c1", "Carol@example.org", "bob@example.org")
    await world.run()
    event = json.loads((world.log.records["calllog.events", 0])[0].value or b"")
    event["parties"] = [event["parties"][1] | {"role": "host"}]
    event["removed"] = ["mailto:carol@example.org"]
    await world.log.write([Output("calllog.events", 0, b"c1", json.dumps(event).encode())])
    await world.run()
    assert len(world.legs()) == 1


@pytest.mark.parametrize(
    "bad", ["Alice <alice@example.org>", "4.41632E+11", "\ufb01ona@example.org", "a\ufffd@example.org"]
)
async def test_what_has_no_canonical_form_is_a_dead_letter_in_calls_and_in_requests(
    world: GuardWorld, bad: str
) -> None:
    """Stored, nobody would reach it; asked for, nobody would be meant."""
    await world.call("c1", bad)
    await world.run()
    await world.ask("erase-0001", "erase", bad)
    await world.run()
    letters = [json.loads(each.value or b"") for each in world.log.records["calllog.dead", 0]]
    assert [each["at_pointer"] for each in letters] == ["/parties/0/id", "/subjects/0"]
    assert not world.legs()


async def test_two_forms_in_one_request_are_one_person_once(world: GuardWorld) -> None:
    """Else everything that is decided, counted or given would be twice."""
    await world.call("c1", "carol@example.org")
    await world.run()
    await world.ask("erase-0001", "erase", "Carol@example.org", "carol@example.org", "mailto:carol@example.org")
    await world.run()
    assert len(world.case("erase-0001").decisions) == 1


async def test_what_the_policy_says_of_case_changes_nothing_for_a_tenant(tmp_path: Path) -> None:
    """Whoever was stored in mixed case was not found any more once a policy had begun to lower-case."""
    from guard_world import POLICY  # noqa: PLC0415

    later = POLICY.replace('regime = "uk"', 'regime = "uk"\nlowercase_email = true')
    world = await GuardWorld(
        tmp_path, POLICY + later.replace("2020-01-01", "2026-11-26").replace("First.", "Later."), rules=(AS_WRITTEN,)
    ).start()
    await world.call("c1", "Carol@Example.org")
    await world.run()
    world.clock.at = world.clock.at.replace(day=27)
    await world.ask("erase-0001", "erase", "carol@example.org")
    await world.ask("erase-0002", "erase", "Carol@Example.org")
    await world.run()
    assert not world.legs()
    assert world.case("erase-0002").legs != world.case("erase-0001").legs


async def test_no_identifier_stays_in_the_memory_of_what_seals(world: GuardWorld) -> None:
    """Kept for the next call they would outlive every erasure."""
    await world.call("c1", "canary@example.org")
    await world.run()
    sealer = world.protector._sealer
    seen, left = {id(world), id(world.log)}, list[object](vars(sealer).values())
    while left:
        each = left.pop()
        assert not (isinstance(each, str) and "canary" in each)
        if id(each) not in seen and type(each).__module__ != "types":
            seen.add(id(each))
            left += [] if isinstance(each, type | ModuleType | FunctionType) else gc.get_referents(each)
            left += each if isinstance(each, dict) else ()  # whose names that are texts the collector leaves out


async def test_a_leg_says_the_identifier_as_it_came(world: GuardWorld) -> None:
    """What the person gets is what was collected, and another set of rules can be worked out from it."""
    await world.call("c1", "Carol@Example.org")
    await world.run()
    (value,) = world.legs().values()
    keys = next(iter([await world.ring().keys_of(parse_header(value).kid)]))  # type: ignore[arg-type]
    assert keys is not None
    text = open_leg(value, keys.current_link.data_key(keys.current))
    assert b'"subject":"Carol@Example.org"' in text
