"""Ways in which one entry of the keystore can be of no use."""

from collections.abc import Callable, Iterator, MutableMapping
from typing import Final

Damage = Callable[[bytes], bytes]


def flipped(at: int) -> Damage:
    """One bit changed, counted from the end where `at` is negative."""

    def damage(raw: bytes) -> bytes:
        changed = bytearray(raw)
        changed[at] ^= 1
        return bytes(changed)

    return damage


def renamed(name: bytes) -> Damage:
    """Another name in the place of its epoch."""
    return lambda raw: raw.replace(b"2026-W48", name)


DAMAGES: Final[dict[str, Damage]] = {
    "its version": flipped(0),
    "its second byte": flipped(1),
    "its middle": flipped(40),
    "its seal": flipped(-1),
    "empty": lambda _: b"",
    "one byte": lambda raw: raw[:1],
    "cut in its head": lambda raw: raw[:30],
    "cut in its seal": lambda raw: raw[:-1],
    "longer": lambda raw: raw + b"\0",
    "an epoch that is destroyed": renamed(b"2020-W01"),
    "an epoch that is a path": renamed(b"../../ro"),
    "an epoch with a zero byte": renamed(b"2026\0W48"),
    "an epoch that is no text": renamed(b"\xff" * 8),
    "text": lambda _: b"not an entry of ours at all, but some text of somebody else",
}


def each_damage(entries: MutableMapping[bytes, bytes], place: bytes) -> Iterator[str]:
    """Put every damage in the place of an entry, one after the other, and the good entry back in the end."""
    good = entries[place]
    for name, damage in DAMAGES.items():
        entries[place] = damage(good)
        assert entries[place] != good, name
        yield name
    entries[place] = good
