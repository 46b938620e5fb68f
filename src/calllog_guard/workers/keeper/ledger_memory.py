"""
What a keeper remembers of the ledger for ever: which decisions are done, and who is erased. It only grows.

Rules: 1. An erasure that is done takes 54 bytes and the slack of their tables, no object of its own.  2. Nothing is
          ever taken out: whoever was erased is tombstoned on sight as long as the ledger says so.
Why nothing goes: `docs/explanation/growth.md`.
"""

from typing import Final

from calllog_guard.core.identifiers import id_bytes

_KEY_BYTES: Final = 32
"""Of a decision's key: two ids."""
_LETTERS: Final = 22
"""Of a pseudonym, which each leg is looked up by: as text, which is there already."""
_FIRST: Final = 64
"""Slots; doubled when two thirds are full."""


class NameTable:
    """Names of one length in one block of memory: a set that takes half as much again as what it holds."""

    __slots__ = ("_block", "_empty", "_many", "_mask", "_size")

    def __init__(self, size: int) -> None:
        """`size` of each name, in bytes; one of zeros alone is never held."""
        self._size, self._empty = size, bytes(size)
        self._block, self._mask, self._many = bytearray(size * _FIRST), _FIRST - 1, 0

    def __len__(self) -> int:
        return self._many

    @property
    def size_bytes(self) -> int:
        """Of the block."""
        return len(self._block)

    def _place(self, name: bytes) -> int:
        """Where a name lies, or would: Python's own hash, for names that an attacker could choose."""
        size, here, mask, empty = self._size, self._block.startswith, self._mask, self._empty
        at = hash(name) & mask
        while not here(name, at * size) and not here(empty, at * size):
            at = at + 1 & mask
        return at * size

    def __contains__(self, name: bytes) -> bool:
        if not self._many or len(name) != self._size:
            return False
        return not self._block.startswith(self._empty, self._place(name))

    def add(self, name: bytes) -> bool:
        """Hold a name; whether it can be held."""
        if len(name) != self._size or name == self._empty:
            return False
        at = self._place(name)
        if self._block.startswith(self._empty, at):
            self._block[at : at + self._size] = name
            self._many += 1
            if self._many * 3 > (self._mask + 1) * 2:
                self._grow()
        return True

    def _grow(self) -> None:
        size, before = self._size, self._block
        self._mask = self._mask * 2 + 1
        self._block = bytearray(size * (self._mask + 1))
        for at in range(0, len(before), size):
            name = bytes(before[at : at + size])
            if name != self._empty:
                place = self._place(name)
                self._block[place : place + size] = name


def _packed(text: str) -> bytes:
    """Ids with a dot between them as their bytes; none where they are not written as we write them."""
    try:
        return b"".join(map(id_bytes, text.split(".")))  # of each text one value, and the other way round
    except ValueError:
        return b""


class DoneDecisions:
    """The ledger keys of decisions whose result is in the ledger."""

    def __init__(self) -> None:
        self._table, self._others = NameTable(_KEY_BYTES), set[str]()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (_packed(name) in self._table or name in self._others)

    def __len__(self) -> int:
        return len(self._table) + len(self._others)

    def add(self, name: str) -> None:
        """A decision is done."""
        if not self._table.add(_packed(name)):
            self._others.add(name)


class ErasedPeople:
    """Whose total erasure was decided: those still to be carried out, by pseudonym, and who is gone."""

    def __init__(self) -> None:
        self._open: dict[str, set[str]] = {}
        self._gone, self._others = NameTable(_LETTERS), set[str]()

    def __contains__(self, pseudonym: object) -> bool:
        return isinstance(pseudonym, str) and (pseudonym in self._open or self._was_done(pseudonym))

    def _was_done(self, pseudonym: str) -> bool:
        return pseudonym.encode() in self._gone or (bool(self._others) and pseudonym in self._others)

    def note(self, pseudonym: str, name: str, *, done: bool) -> None:
        """A total erasure was read."""
        if not done:
            self._open.setdefault(pseudonym, set()).add(name)
        elif pseudonym not in self._open:
            self._keep(pseudonym)

    def finished(self, pseudonym: str, name: str) -> None:
        """A decision is done, if it was one of these."""
        left = self._open.get(pseudonym)
        if left is not None:
            left.discard(name)
            if not left:
                del self._open[pseudonym]
                self._keep(pseudonym)

    def _keep(self, pseudonym: str) -> None:
        if not self._gone.add(pseudonym.encode()):
            self._others.add(pseudonym)

    def gone(self, pseudonym: str) -> bool:
        """Whether all erasures of somebody are done, and there was one."""
        return self._was_done(pseudonym) and pseudonym not in self._open
