"""
The tally of a partition: its count of one month into the cells of one month of calls, sealed until the month closes.

Rules: 1. It holds no person and no leg beside those of its last batch, which name what a crash may have left half done.
       2. It is sealed, because small counts are personal data; tied to its tenant, partition and months.
Source: docs/how-to/write-the-policy.md; vectors in `tests/vectors/stored_v1.json`.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import Final, Literal, NamedTuple

from cryptography.exceptions import InvalidTag

from calllog_guard.core.codec import Internal
from calllog_guard.core.crypto.subject_secrets import Month, Secret, month_from, month_of, month_text
from calllog_guard.core.identifiers import EpochName, Tenant
from calllog_guard.core.retention.statistics import DURATIONS, KINDS, PARTIES, TAG_BYTES, Cell, CellCount, K
from calllog_guard.errors import EntryCorruptError, NewerFormError

_VERSION: Final = 1
_NONCE: Final = 12
_CLEAR: Final = 2
_HEAD: Final = struct.Struct(">HH")
_CELL: Final = struct.Struct(">BBBBIB")
_BATCH: Final = struct.Struct(">45sQ")
_FULL: Final = 255
_START: Final = "~cells."
START: Final = _START.encode()
"""Begins the key of whatever counting keeps in the ledger, where nobody but workers writes."""


class TallyName(NamedTuple):
    """The month in which legs lapsed, and the month of their calls: a tally is as small as the cells of one month."""

    lapsed: Month
    called: Month

    @property
    def key(self) -> bytes:
        """Its record key in the ledger."""
        return f"{_START}{month_text(self.lapsed)}.{month_text(self.called)}".encode()


CLOSED_KEY: Final = f"{_START}closed".encode()
"""The last month into which a partition counts no more."""
PUBLISHED_KEY: Final = f"{_START}published".encode()
"""The last month whose cells are published; in partition 0."""
FORGOTTEN_KEY: Final = f"{_START}forgotten".encode()
"""The last month whose tallies are tombstoned; in partition 0."""


class Mark(Internal, frozen=True, kw_only=True):
    """A month up to which something is done, as `2026-11`."""

    v: Literal[1] = 1
    month: str


def name_from(key: bytes) -> TallyName | None:
    """The tally of a record key; None when it is no tally's."""
    parts = key.decode("ascii", "replace").removeprefix(_START).split(".")
    if not key.startswith(START) or len(parts) != len(TallyName._fields):
        return None
    try:
        found = TallyName(*(month_from(part) for part in parts))
    except ValueError:
        return None
    return found if found.key == key else None


@dataclass(frozen=True, slots=True)
class Tally:
    """
    What one partition has counted into the cells of one month of calls.

    Args:
        batch: Record keys and offsets of the legs counted last: whoever finds one of them still there after a crash
            removes it and does not count it again.
        rest: What a later minor release has put behind them.

    """

    cells: Mapping[Cell, CellCount] = field(default_factory=dict)
    batch: Mapping[bytes, int] = field(default_factory=dict)
    rest: bytes = b""

    def counted(self, legs: Iterable[tuple[Cell, bytes | None]], batch: Mapping[bytes, int]) -> "Tally":
        """
        The tally after some more legs, each with its person's tag; they become its batch.

        A guest's has none: ten of them may be one human, so they stand for nobody.
        """
        cells = dict(self.cells)
        for cell, tag in legs:
            before = cells.get(cell, CellCount())
            tags = None if before.tags is None else before.tags | ({tag} if tag is not None else frozenset())
            cells[cell] = CellCount(before.legs + 1, tags if tags is not None and len(tags) < K else None)
        return Tally(cells, dict(batch), self.rest)


@dataclass(frozen=True, slots=True)
class TallyPlace:
    """Where a tally lies: moved anywhere else it does not open."""

    tenant: Tenant
    partition: int
    name: TallyName

    @property
    def bound(self) -> bytes:
        """The place as additional data."""
        return b"tally\n" + self.tenant.encode() + b"\n" + str(self.partition).encode() + b"\n" + self.name.key


def seal_tally(tally: Tally, place: TallyPlace, epoch: EpochName, key: Secret, nonce: bytes) -> bytes:
    """A tally under the tenant's epoch key for tallies."""
    rows = sorted(tally.cells.items())
    batch = sorted(tally.batch.items())
    parts = [_HEAD.pack(len(rows), len(batch))]
    for cell, count in rows:
        words = (KINDS.index(cell.kind), DURATIONS.index(cell.duration), PARTIES.index(cell.parties))
        tags = sorted(count.tags or ())
        parts += [_CELL.pack(cell.day.day, *words, count.legs, _FULL if count.tags is None else len(tags)), *tags]
    parts += [*(_BATCH.pack(*row) for row in batch), tally.rest]
    clear = bytes([_VERSION, len(epoch)]) + epoch.encode()
    return clear + nonce + key.aes().encrypt(nonce, b"".join(parts), clear + place.bound)


def tally_epoch(raw: bytes) -> EpochName:
    """
    The epoch under which a tally is sealed.

    Raises:
        EntryCorruptError: None of ours.
        NewerFormError: A later release's: halt.

    """
    if raw[:1] > bytes([_VERSION]):
        raise NewerFormError("a tally", raw[0], _VERSION)
    if raw[:1] != bytes([_VERSION]) or len(raw) < _CLEAR or not raw[2 : 2 + raw[1]].isascii():
        raise EntryCorruptError("a tally of an unknown version")
    return EpochName(raw[2 : 2 + raw[1]].decode("ascii"))


def open_tally(raw: bytes, place: TallyPlace, key: Secret) -> Tally:
    """
    What a partition has counted.

    Raises:
        EntryCorruptError: Changed in any bit, or another's.

    """
    end = 2 + raw[1]
    try:
        content = key.aes().decrypt(raw[end : end + _NONCE], raw[end + _NONCE :], raw[:end] + place.bound)
    except (InvalidTag, ValueError):
        raise EntryCorruptError("a tally does not open") from None
    rows, batch = _HEAD.unpack_from(content)
    at, cells = _HEAD.size, {}
    for _ in range(rows):
        day, kind, duration, parties, legs, tags = _CELL.unpack_from(content, at)
        at += _CELL.size
        cell = Cell(
            date(place.name.called // 12, place.name.called % 12 + 1, day),
            KINDS[kind],
            DURATIONS[duration],
            PARTIES[parties],
        )
        ends = range(at, at + (0 if tags == _FULL else tags) * TAG_BYTES + 1, TAG_BYTES)
        cells[cell] = CellCount(legs, None if tags == _FULL else frozenset(content[a:b] for a, b in pairwise(ends)))
        at = ends[-1]
    end = at + batch * _BATCH.size
    return Tally(cells, dict(_BATCH.iter_unpack(content[at:end])), content[end:])


def month_before(day: date) -> Month:
    """The month that is over on a day."""
    return Month(month_of(day.year, day.month) - 1)
