"""Records as anybody may send them: key, value, headers, times, sizes, compression by dice, each with its outcome."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from raw_batches import CODECS, Raw

VALUES: list[Any] = [
    "",
    None,
    True,
    -1,
    0,
    1 << 70,
    1.5,
    1e308,
    [],
    {},
    "\ud800",
    "\x00",
    "~",
    "A" * 300,
    "9999-12-31T23:59:59Z",
]
HEADERS: list[tuple[bytes, bytes | None]] = [
    (b"content-type", None),
    (b"content-type", b"application/cloudevents+json"),
    (b"content-type", b"\xff\xfe"),
    (b"clg-replay", None),
    (b"clg-replay", b""),
    (b"clg-replay", b"0:0@" + b"9" * 5000),
    (b"clg-replay", b"calllog.events:0:0@-1"),
    (b"\xff\xfe", b"no text"),
    (b"", None),
    (b"traceparent", b"\x00" * 1000),
]
KEYS = [b"", b"k", b"\xff" * 45, b"k" * 300, b"k" * 70_000, b"A" * 22 + b"." + b"B" * 22]
JUNK: list[bytes | None] = [
    None,
    b"",
    b"\x00\x00\x00",
    b"{}",
    b"null",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"1" * 10_000,
    b'"' + b"\\u0000" * 5000 + b'"',
    b"\xef\xbb\xbf{}",
    b"eyJhbGciOiJub25lIn0.e30.",
    b"." * 1000,
    b"x" * 600_000,
]
TIMES = [0, -1, 1, 1 << 62, -(1 << 62)]
BOMB = b" " * (30 << 20)


@dataclass(frozen=True)
class Sent:
    """
    A record and what must become of it.

    Args:
        fate: `good` is carried out, `letter` is a dead letter, `either` is one of the two.

    """

    record: Raw
    fate: str


Good = Callable[[int], bytes]
"""The bytes of a message that is in order, by a number that nobody else has."""


class Dice:
    """Sequences of batches, repeatable by their seed."""

    def __init__(self, seed: int, good: Good, *, bombs: float = 0.0) -> None:
        self._dice, self._good, self._bombs, self._number = random.Random(seed), good, bombs, 0  # noqa: S311 - seeded
        self._before: list[bytes] = []

    def batches(self, many: int) -> list[tuple[list[Sent], str]]:
        """So many batches of one to six records, each with its codec."""
        codecs = sorted(CODECS)
        return [
            ([self._one() for _ in range(self._dice.randrange(1, 7))], self._dice.choice(codecs)) for _ in range(many)
        ]

    def _one(self) -> Sent:
        dice = self._dice
        if dice.random() < self._bombs:
            return Sent(Raw(BOMB, b"bomb"), "letter")
        way = dice.randrange(8)
        if way < 3:
            return Sent(self._dressed(self._fresh(), harmless=True), "good")
        if way == 3 and self._before:
            return Sent(self._dressed(dice.choice(self._before), harmless=True), "either")
        if way == 4:
            return Sent(self._dressed(dice.choice(JUNK)), "letter")
        if way == 5:
            return Sent(self._dressed(dice.randbytes(dice.randrange(1, 400)) + b"\xff"), "letter")
        return Sent(self._dressed(self._damaged(self._fresh())), "either")

    def _fresh(self) -> bytes:
        self._number += 1
        made = self._good(self._number)
        self._before.append(made)
        return made

    def _dressed(self, value: bytes | None, *, harmless: bool = False) -> Raw:
        """The value under some key, with some headers and a time; harmless ones change nothing for a good message."""
        dice = self._dice
        headers = [
            each
            for each in dice.choices(HEADERS, k=dice.randrange(3))
            if not harmless or b"cloudevents" not in (each[1] or b"")
        ]
        return Raw(value, dice.choice(KEYS), headers, 1_000 if harmless else dice.choice(TIMES))

    def _damaged(self, value: bytes) -> bytes:
        dice = self._dice
        raw = bytearray(value)
        way = dice.randrange(5)
        at = dice.randrange(len(raw))
        if way == 0:
            raw[at] ^= 1 << dice.randrange(8)
        elif way == 1:
            del raw[at:]
        elif way == 2:
            raw[at:at] = dice.randbytes(dice.randrange(1, 30))
        elif way == 3:
            raw[at:at] = raw[dice.randrange(len(raw)) :]
        else:
            return self._other_field(value)
        return bytes(raw)

    def _other_field(self, value: bytes) -> bytes:
        """JSON with one field that is another, gone, or new."""
        try:
            content = json.loads(value)
        except ValueError:
            return value[:-1]
        name = self._dice.choice([*content, "zip"])
        if self._dice.random() < 0.3:
            content.pop(name, None)
        else:
            content[name] = self._dice.choice(VALUES)
        return json.dumps(content).encode()


def no_record(dice: random.Random) -> Raw:
    """Bytes in the place of a record that are none; a broker of today refuses them."""
    return Raw(body=dice.choice([b"", b"\0\x02", b"\xff" * 30]))


def accepted(letters: Mapping[int, str], sent: Mapping[int, Sent]) -> list[bytes]:
    """
    The values that became no letter, by offset; asserts that each has its fate.

    Args:
        letters: The reason by offset.

    """
    for offset, each in sent.items():
        assert each.fate != "good" or offset not in letters, f"a good record is a letter at {offset}: {letters[offset]}"
        assert each.fate != "letter" or offset in letters, f"nobody tells what became of {offset}: {each.record!r:.300}"
    return [each.record.value or b"" for offset, each in sent.items() if offset not in letters]
