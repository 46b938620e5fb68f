"""Entries of the keystore: what is sealed comes back, and every changed bit is noticed."""

from dataclasses import replace

import pytest

from calllog_guard.core.crypto.entries import (
    GENERATION_MOST,
    HOLDS_MOST,
    Keys,
    Person,
    Rest,
    open_keys,
    open_person,
    seal_keys,
    seal_person,
)
from calllog_guard.core.crypto.rewrap import Rewrapper, raised
from calllog_guard.core.crypto.subject_secrets import IdentitySecret, Link, Month, Secret
from calllog_guard.core.identifiers import EpochName, Lookup, Pseudonym
from calllog_guard.errors import EntryCorruptError

KEY, NONCE, EPOCH = Secret(bytes(32)), bytes(12), EpochName("2026-W48")
LIVE = Person(generation=3, pseudonym=Pseudonym("A" * 22), cut_off=7, restricted=True, objected=5, epoch=EPOCH)
GONE = Person(generation=3, pseudonym=None, cut_off=9, epoch=EPOCH)
KEYS = Keys(
    generation=3,
    lookup=Lookup("A" * 43),
    identity=IdentitySecret(b"i" * 32),
    floor=Month(24_310),
    floor_link=Link(b"f" * 32),
    current=Month(24_322),
    current_link=Link(b"c" * 32),
    holds=(b"h" * 16,),
    epoch=EPOCH,
)


LATER = Rest(flags=1 << 31, clear=b"clear", sealed=b"sealed")
LARGE = GENERATION_MOST[2]
BOTH = pytest.mark.parametrize("forms", [1, 2])


@BOTH
@pytest.mark.parametrize("person", [LIVE, GONE], ids=["live", "gone"])
def test_person_comes_back_and_no_bit_may_change(person: Person, forms: int) -> None:
    if forms == 2:
        person = replace(person, generation=LARGE, rest=LATER)
    entry = seal_person(person, b"place", KEY, NONCE, forms)
    assert open_person(entry, b"place", KEY) == person
    for position in range(len(entry)):
        changed = entry[:position] + bytes([entry[position] ^ 1]) + entry[position + 1 :]
        with pytest.raises(EntryCorruptError):
            open_person(changed, b"place", KEY)
        with pytest.raises(EntryCorruptError):
            open_person(entry[:position], b"place", KEY)
    with pytest.raises(EntryCorruptError):
        open_person(entry, b"elsewhere", KEY)


@BOTH
def test_keys_come_back_and_no_bit_may_change(forms: int) -> None:
    keys = KEYS if forms == 1 else replace(KEYS, generation=LARGE, rest=Rest(clear=b"clear", sealed=b"sealed"))
    entry = seal_keys(keys, b"place", KEY, NONCE, forms)
    assert open_keys(entry, b"place", KEY) == keys
    for position in range(len(entry)):
        changed = entry[:position] + bytes([entry[position] ^ 1]) + entry[position + 1 :]
        with pytest.raises(EntryCorruptError):
            open_keys(changed, b"place", KEY)
        with pytest.raises(EntryCorruptError):
            open_keys(entry[:position], b"place", KEY)


@BOTH
def test_as_many_holds_as_the_form_has_room_for(forms: int) -> None:
    keys = replace(KEYS, holds=tuple(number.to_bytes(16, "big") for number in range(HOLDS_MOST[forms])))
    assert open_keys(seal_keys(keys, b"place", KEY, NONCE, forms), b"place", KEY) == keys


@pytest.mark.parametrize("version", [0, 3, 255])
def test_an_entry_of_another_version_is_not_guessed_at(version: int) -> None:
    """The tenant's profile says that a later release writes; here one entry is damaged, and its neighbours are not."""
    for entry in (seal_person(LIVE, b"place", KEY, NONCE), seal_keys(KEYS, b"place", KEY, NONCE)):
        for opened in (open_person, open_keys):
            with pytest.raises(EntryCorruptError, match=f"version {version}: this release reads 1 to 2"):
                opened(bytes([version]) + entry[1:], b"place", KEY)


def test_what_a_later_release_added_stays_when_an_entry_is_written_anew() -> None:
    """Also by a process that has not yet seen the upgrade: it writes no older form over a newer one."""
    entry = seal_person(replace(LIVE, rest=LATER), b"place", KEY, NONCE, 2)
    changed = replace(open_person(entry, b"place", KEY), restricted=False)
    again = seal_person(changed, b"place", KEY, NONCE, 1)
    assert (again[0], open_person(again, b"place", KEY).rest) == (2, LATER)
    sealed = seal_keys(replace(KEYS, rest=Rest(clear=b"c", sealed=b"s")), b"place", KEY, NONCE, 2)
    unmarked = replace(open_keys(sealed, b"place", KEY), holds=())
    assert open_keys(seal_keys(unmarked, b"place", KEY, NONCE, 1), b"place", KEY) == unmarked


def test_what_a_later_release_sealed_about_a_person_goes_with_the_person() -> None:
    entry = seal_person(replace(LIVE, rest=LATER), b"place", KEY, NONCE, 2)
    gone = open_person(entry, b"place", KEY).erased(9, EPOCH)
    again = open_person(seal_person(gone, b"place", KEY, NONCE, 2), b"place", KEY)
    assert again.rest == Rest(flags=LATER.flags, clear=LATER.clear)


def test_entries_are_raised_without_being_taken_apart_and_never_lowered() -> None:
    wrapper = Rewrapper(lambda _: KEY, lambda size: NONCE[:size])
    for kind, old, new in (
        ("who", seal_person(LIVE, b"place", KEY, NONCE), seal_person(LIVE, b"place", KEY, NONCE, 2)),
        ("who", seal_person(GONE, b"place", KEY, NONCE), seal_person(GONE, b"place", KEY, NONCE, 2)),
        ("key", seal_keys(KEYS, b"place", KEY, NONCE), seal_keys(KEYS, b"place", KEY, NONCE, 2)),
    ):
        taken = wrapper.take(kind, b"place", old)
        assert wrapper.put(kind, b"place", taken) == old
        assert wrapper.put(kind, b"place", raised(kind, taken, 2)) == new
        risen = wrapper.take(kind, b"place", new)
        assert raised(kind, risen, 1) == raised(kind, risen, 2) == risen
        assert (taken.holds == risen.holds) if kind == "key" else (taken.pseudonym == risen.pseudonym)
        with pytest.raises(EntryCorruptError):
            wrapper.take(kind, b"place", b"\x03" + new[1:])


def test_gone_entry_names_nobody() -> None:
    assert seal_person(GONE, b"place", KEY, NONCE)[-16:] != seal_person(LIVE, b"place", KEY, NONCE)[-16:]
    assert len(seal_person(LIVE, b"place", KEY, NONCE)) - len(seal_person(GONE, b"place", KEY, NONCE)) == 16
