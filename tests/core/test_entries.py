"""Entries of the keystore: what is sealed comes back, and every changed bit is noticed."""

import pytest

from calllog_guard.core.crypto.entries import Keys, Person, open_keys, open_person, seal_keys, seal_person
from calllog_guard.core.crypto.secrets import IdentitySecret, Link, Month, Secret
from calllog_guard.core.ids import EpochName, Lookup, Pseudonym
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


@pytest.mark.parametrize("person", [LIVE, GONE], ids=["live", "gone"])
def test_person_comes_back_and_no_bit_may_change(person: Person) -> None:
    entry = seal_person(person, b"place", KEY, NONCE)
    assert open_person(entry, b"place", KEY) == person
    for position in range(len(entry)):
        changed = entry[:position] + bytes([entry[position] ^ 1]) + entry[position + 1 :]
        with pytest.raises(EntryCorruptError):
            open_person(changed, b"place", KEY)
    with pytest.raises(EntryCorruptError):
        open_person(entry, b"elsewhere", KEY)


def test_keys_come_back_and_no_bit_may_change() -> None:
    entry = seal_keys(KEYS, b"place", KEY, NONCE)
    assert open_keys(entry, b"place", KEY) == KEYS
    for position in range(len(entry)):
        changed = entry[:position] + bytes([entry[position] ^ 1]) + entry[position + 1 :]
        with pytest.raises(EntryCorruptError):
            open_keys(changed, b"place", KEY)


def test_gone_entry_names_nobody() -> None:
    assert seal_person(GONE, b"place", KEY, NONCE)[-16:] != seal_person(LIVE, b"place", KEY, NONCE)[-16:]
    assert len(seal_person(LIVE, b"place", KEY, NONCE)) - len(seal_person(GONE, b"place", KEY, NONCE)) == 16
