"""
The accesses to one partition of legs, found by the offsets of somebody's legs: an index that survives a restart.

Rules: 1. Nobody stands in it: legs by offset, actors by their keys' names.  2. It can always be rebuilt from the topic,
          and is where it is of another topic, or by other registered keys, or over a month old: what the topic has
          forgotten it forgets, too.  3. One write for what was read at once, with how far that was.
Rows: `p` -> the head; `b` block id -> line, time, the block's opened offsets; `a` day id -> line, time, last offset
looked at; `m` day -> the least of these; `u` id -> line, time, of accesses not saying so; `c` digest -> a signed
record that is there; `x` id -> a disbelieved access. A block is 1,024 offsets, an id the access' partition and offset.
"""

import struct
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from typing import Final

import msgspec

from calllog_guard.core.answers.readers import LATE, Opening, which_of
from calllog_guard.core.audit.accesses import Account, read_access
from calllog_guard.core.codec import NOBODY, Access
from calllog_guard.ports.state import Rows

_BLOCK: Final = 1024
_BLOCK_KEY: Final = struct.Struct(">cQ")
_ID: Final = struct.Struct(">IQ")
_LINE: Final = struct.Struct(">Hq")
_TO: Final = struct.Struct(">q")
_DAY: Final = struct.Struct(">cI")
_FEW: Final = _BLOCK // 16
"""Offsets of two bytes each below this number; from it on a bit for each of the block."""
_MOST_DOUBTED: Final = 1000
"""Of accesses that nobody believes: whoever writes one writes a million. Beyond, they are counted and no more."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO: Final = timedelta(microseconds=1)
_FAR: Final = (1 << 63) - 2
"""Beyond every offset."""
_NO_BITS: Final[Mapping[str, int]] = {}
_MOST_LINES: Final = 10_000
"""Of different actors and purposes: whoever writes one of nobody's writes a million, while no proof is due."""
_DOUBTED_BYTES: Final = 16_384
"""Of an access that nobody believes; one of ours has at most 5,000 offsets."""
_LIFE: Final = timedelta(days=30)


class Head(msgspec.Struct):
    """
    How far the topic is in the index, and what cannot be found in it.

    Args:
        of: The topics and registered keys that it is made of.
        next: By partition of the topic of accesses, the first offset that is not in it.
        lines: Actor, purpose, and whether it is proven: rows name them by their place here.
        lost: Before which day accesses may be missing.

    """

    of: str
    began: datetime
    next: dict[int, int] = {}
    lines: list[tuple[str, str, bool]] = []
    lost: date = date.min
    unread: bool = False
    doubted: int = 0


_HEADS: Final = msgspec.msgpack.Decoder(Head)


class AccessIndex:
    """The accesses to one partition of legs; changes gather until `commit`."""

    def __init__(self, open_rows: Callable[[], Rows], of: str, now: datetime) -> None:
        self._rows = open_rows()
        head = _head(self._rows.get(b"p"))
        if head is None or head.of != of or now - head.began > _LIFE:
            self._rows.destroy()
            self._rows, head = open_rows(), Head(of, now, {}, [])
        self.head = head
        self._number = {line: number for number, line in enumerate(head.lines)}
        self._least = {_DAY.unpack(key)[1]: _TO.unpack(raw)[0] for key, raw in self._rows.begin(b"m")}
        self._fresh: dict[bytes, bytes] = {}

    # --- changes ----------------------------------------------------------------------------------------------------

    def has(self, name: bytes) -> bool:
        """Whether a signed record of this digest is there."""
        return b"c" + name in self._fresh or self._rows.get(b"c" + name) is not None

    def add(self, place: int, offset: int, account: Account) -> None:
        """Take in an access that is believed."""
        access, proven, name = account
        if name:
            self._fresh[b"c" + name] = b""
        if not access.opened:
            return
        own = _ID.pack(place, offset)
        head = _LINE.pack(self._line((access.actor, access.purpose, proven)), (access.at - _EPOCH) // _MICRO)
        offsets = which_of(access)
        if offsets is None:
            self._fresh[b"u" + own] = head
            return
        day, to = access.at.astimezone(UTC).date().toordinal(), max(-1, min(access.to, _FAR))
        self._fresh[_DAY.pack(b"a", day) + own] = head + _TO.pack(to)
        if to < self._least.get(day, _FAR + 1):
            self._least[day] = to
            self._fresh[_DAY.pack(b"m", day)] = _TO.pack(to)
        blocks: dict[int, list[int]] = defaultdict(list)
        for each in (each for each in offsets if 0 <= each <= _FAR):  # whatever anybody says of the others
            blocks[each // _BLOCK].append(each % _BLOCK)
        for block, some in blocks.items():
            self._fresh[_BLOCK_KEY.pack(b"b", block) + own] = head + _packed(some)

    def doubt(self, place: int, offset: int, raw: bytes) -> None:
        """Remember an access that nobody believes, to say how much of it there is."""
        if self.head.doubted < _MOST_DOUBTED and len(raw) <= _DOUBTED_BYTES:
            self.head.doubted += 1
            self._fresh[b"x" + _ID.pack(place, offset)] = raw

    def commit(self, place: int, after: int) -> None:
        """Write what was taken in, and that the topic is read up to there."""
        if self.head.next.get(place) == after and not self._fresh:
            return
        self.head.next[place] = after
        self._rows.write(self._fresh | {b"p": msgspec.msgpack.encode(self.head)})
        self._fresh.clear()

    def close(self) -> None:
        """Let go of it: whoever opens it next goes on from it."""
        self._rows.close()

    def destroy(self) -> None:
        """Delete it."""
        self._rows.destroy()

    def _line(self, line: tuple[str, str, bool]) -> int:
        if line not in self._number and len(self._number) >= _MOST_LINES:
            line = NOBODY, NOBODY, line[2]
        if line not in self._number:
            self._number[line] = len(self.head.lines)
            self.head.lines.append(line)
        return self._number[line]

    # --- answers (committed rows only) ------------------------------------------------------------------------------

    def openings(self, records: Mapping[int, date], bits: Mapping[str, int] = _NO_BITS) -> Iterator[Opening]:
        """What may say that somebody's records were opened, by their offsets; `bits` of the purposes."""
        offsets = sorted(records)
        opened: dict[bytes, tuple[bytes, set[int]]] = {}
        for block, own in _blocks(offsets).items():
            for key, raw in self._rows.begin(_BLOCK_KEY.pack(b"b", block)):
                if mine := _among(own, raw[_LINE.size :]):
                    opened.setdefault(key[_BLOCK_KEY.size :], (raw, set()))[1].update(
                        block * _BLOCK + at for at in mine
                    )
        for raw, mine in opened.values():
            found = self._opening(raw, _FAR, mine)
            yield found._replace(bit=bits.get(found.purpose, 0))
        for _, raw in self._rows.begin(b"u") if offsets else ():
            yield self._opening(raw, _FAR, None)
        for day in self._days(offsets, records):
            for key, raw in self._rows.begin(_DAY.pack(b"a", day)):
                if key[_DAY.size :] not in opened:
                    yield self._opening(raw, _TO.unpack_from(raw, _LINE.size)[0], set())

    def doubted(self) -> Iterator[Access]:
        """The accesses that nobody believes."""
        return (read_access(raw) for _, raw in self._rows.begin(b"x"))

    def _opening(self, raw: bytes, to: int, mine: set[int] | None) -> Opening:
        number, micros = _LINE.unpack_from(raw)
        actor, purpose, proven = self.head.lines[number]
        return Opening(actor, purpose, proven, _EPOCH + micros * _MICRO, to, mine)

    def _days(self, offsets: Sequence[int], records: Mapping[int, date]) -> list[int]:
        """The days of accesses behind which an older call was written anew (`core/answers/readers.py`, rule 2)."""
        oldest = list(accumulate((records[offset] for offset in reversed(offsets)), min))[::-1]
        found = []
        for day, to in self._least.items():
            later = bisect_right(offsets, to)
            if later < len(offsets) and oldest[later] + LATE < date.fromordinal(day):
                found.append(day)
        return found


def _head(raw: bytes | None) -> Head | None:
    """What a head says; None where there is none that this release knows: the index is made anew."""
    try:
        return None if raw is None else _HEADS.decode(raw)
    except msgspec.DecodeError:
        return None


def _blocks(offsets: Sequence[int]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = defaultdict(set)
    for offset in offsets:
        found[offset // _BLOCK].add(offset % _BLOCK)
    return found


def _packed(some: Sequence[int]) -> bytes:
    if len(some) < _FEW:
        return struct.pack(f">{len(some)}H", *some)
    return sum(1 << each for each in some).to_bytes(_BLOCK // 8, "big")


def _among(own: set[int], raw: bytes) -> set[int]:
    """Those that were opened of some offsets of a block."""
    if len(raw) < _BLOCK // 8:
        return own.intersection(struct.unpack(f">{len(raw) // 2}H", raw))
    bits = int.from_bytes(raw, "big")
    return {each for each in own if bits >> each & 1}
