"""
What is wrong with one entry of the keystore is told of that entry, and halts nobody else's work.

Source: docs/adr/0011-one-persons-matter.md.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from calllog_guard.core.identifiers import Lookup
from calllog_guard.errors import EntryCorruptError, EntryUnreadableError, EpochUnknownError

Unreadable = dict[Lookup, EntryUnreadableError]
"""Whose entries are of no use, and why."""


@contextmanager
def of_one(what: str) -> Iterator[None]:
    """Tell of one entry alone that it does not open."""
    try:
        yield
    except EntryCorruptError:
        raise EntryUnreadableError(f"{what} does not authenticate", "entry_corrupt") from None
    except EpochUnknownError:
        raise EntryUnreadableError(f"{what} names an epoch that is destroyed", "entry_unknown_epoch") from None
