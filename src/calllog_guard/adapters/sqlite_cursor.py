"""
What a follower remembers, in one SQLite file (or in memory): its bookmark, and the legs it was shown.

Rules: 1. Bookmark and legs change in one transaction.  2. What is dropped leaves the files: overwritten in the database
          (`secure_delete`), and the write-ahead log is emptied after it.
       3. One reader at a time: the file stays locked.
About 140 bytes a leg; no value, no field of a leg, no name but pseudonym and token, and of a copy the month's hold.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from calllog_guard.errors import ConfigurationError, NewerFormError
from calllog_guard.ports.state import Bookmark, Shown, ShownLeg

_VERSION: Final = 1
_NAMES: Final = 500
_COLUMNS: Final = "name, token, part, at, day, pol, shown"
_SETUP: Final = """
pragma locking_mode = exclusive;
pragma journal_mode = wal;
pragma synchronous = normal;
pragma secure_delete = on;
pragma cache_size = -65536;
pragma wal_autocheckpoint = 4096;
"""
_TABLES: Final = f"""
create table bookmark (one integer primary key check (one = 1), text blob not null);
create table leg (name text, token text, part int, at int, day text, pol text, shown int, primary key (name, token))
without rowid;
pragma user_version = {_VERSION};
"""
_bookmarks: Final = msgspec.json.Decoder(Bookmark)


@contextmanager
def _own_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, msgspec.MsgspecError) as error:
        raise ConfigurationError(
            f"the cursor {name} cannot be used ({type(error).__name__}: {error}): it is another reader's now, or no "
            "cursor; name another file, or delete it to begin anew"
        ) from None


class SqliteCursor:
    """The Cursor port; without a path it lives in memory and every start begins anew."""

    def __init__(self, path: Path | None = None) -> None:
        self._name = str(path) if path else "in memory"
        if path is not None:
            path.touch(mode=0o600)
        with _own_errors(self._name):
            self._base = sqlite3.connect(path or ":memory:", timeout=0, isolation_level=None)
            self._base.executescript(_SETUP)
            version = self._base.execute("pragma user_version").fetchone()[0]
            tables = self._base.execute("select count(*) from sqlite_master").fetchone()[0]
            if version == 0 and tables == 0:
                self._base.executescript(_TABLES)
            elif version > _VERSION:
                raise NewerFormError(f"the cursor {self._name}", version, _VERSION)
            elif version != _VERSION:
                raise ConfigurationError(f"{self._name} is no cursor of version {_VERSION}: name another file")
            self._base.execute("begin exclusive")
            self._base.execute("commit")

    def bookmark(self) -> Bookmark | None:
        """See Cursor."""
        with _own_errors(self._name):
            row = self._base.execute("select text from bookmark").fetchone()
            return None if row is None else _bookmarks.decode(row[0])

    def _seen(self, where: str, *values: object) -> list[ShownLeg]:
        with _own_errors(self._name):
            rows = self._base.execute(f"select {_COLUMNS} from leg where {where}", values)  # noqa: S608 - our own words
            return [
                ShownLeg(name, token, part, at, day, pol, Shown(shown))
                for name, token, part, at, day, pol, shown in rows
            ]

    def at(self, name: str, tokens: Sequence[str]) -> list[ShownLeg]:
        """See Cursor."""
        found: list[ShownLeg] = []
        for start in range(0, len(tokens), _NAMES):
            some = tokens[start : start + _NAMES]
            found += self._seen(f"name = ? and token in ({', '.join('?' * len(some))})", name, *some)
        return found

    def of(self, names: Sequence[str]) -> list[ShownLeg]:
        """See Cursor."""
        found: list[ShownLeg] = []
        for start in range(0, len(names), _NAMES):
            some = names[start : start + _NAMES]
            found += self._seen(f"name in ({', '.join('?' * len(some))})", *some)
        return found

    def names_after(self, name: str, most: int) -> list[str]:
        """See Cursor."""
        with _own_errors(self._name):
            wanted = "select distinct name from leg where name > ? order by name limit ?"
            return [row[0] for row in self._base.execute(wanted, (name, most))]

    def days(self) -> list[tuple[str, str]]:
        """See Cursor."""
        with _own_errors(self._name):
            return self._base.execute("select distinct day, pol from leg").fetchall()

    def of_day(self, day: str, policy: str) -> list[ShownLeg]:
        """See Cursor."""
        return self._seen("day = ? and pol = ?", day, policy)

    def save(self, bookmark: Bookmark, kept: Sequence[ShownLeg], dropped: Sequence[tuple[str, str]]) -> None:
        """See Cursor."""
        rows = map(msgspec.structs.astuple, kept)
        with _own_errors(self._name):
            self._base.execute("begin")
            self._base.executemany("delete from leg where name = ? and token = ?", dropped)
            self._base.executemany("insert or replace into leg values (?, ?, ?, ?, ?, ?, ?)", rows)
            self._base.execute("insert or replace into bookmark values (1, ?)", (msgspec.json.encode(bookmark),))
            self._base.execute("commit")
            if dropped:
                self._base.execute("pragma wal_checkpoint(truncate)").fetchall()

    def clear(self) -> None:
        """See Cursor."""
        with _own_errors(self._name):
            self._base.executescript("begin; delete from leg; delete from bookmark; commit;")
            self._base.execute("pragma wal_checkpoint(truncate)").fetchall()

    def close(self) -> None:
        """See Cursor."""
        self._base.close()
