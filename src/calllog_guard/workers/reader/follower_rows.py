"""
What a follower remembers of legs and copies, and what follows from it for the table.

Rules: 1. Where there is a copy, it speaks and its leg is silent: copies precede the legs' end; both lapse together.
       2. An erased person's leg stays if law keeps it for the purpose: by its tombstone a copy is there, or never.
Source: docs/adr/0004-a-hold-is-a-copy.md.
"""

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from calllog_guard.core.calls.view import Line, Remove
from calllog_guard.core.decisions.hold import kept_id
from calllog_guard.core.identifiers import INTERNAL_KEY, Tenant, split_key
from calllog_guard.core.retention.read_access import MAY_END, Refusal
from calllog_guard.ports.state import Cursor, Shown, ShownLeg
from calllog_guard.workers.reader.session import Right, Verdict

Name = tuple[str, str]
"""Of a leg or a copy in the cursor: of its person or its hold, and its token."""


@dataclass(slots=True)
class Step:
    """
    Lines to hand out, with what the cursor remembers.

    Args:
        given: What is remembered before the lines are handed out.
        kept: What is remembered once they are taken, as is `dropped`.

    """

    lines: list[Line] = field(default_factory=list)
    given: list[ShownLeg] = field(default_factory=list)
    kept: list[ShownLeg] = field(default_factory=list)
    dropped: list[Name] = field(default_factory=list)

    def hides(self, row: ShownLeg, refusal: Refusal | None, *, silent: bool = False) -> None:
        """
        A leg may not be seen any more, or is no more; `silent` where its copy may be seen.

        Where that may end, the cursor knows before the removal is handed out: who dies over it, and starts after that,
        must put the leg again.
        """
        if row.shown is not Shown.HIDDEN and not silent:
            self.lines.append(Remove(token=row.token))
            if refusal in MAY_END:
                self.given.append(msgspec.structs.replace(row, shown=Shown.PERHAPS))
        if refusal in MAY_END:
            self.kept.append(msgspec.structs.replace(row, shown=Shown.HIDDEN))
        else:
            self.dropped.append((row.name, row.token))


def seen(verdict: Verdict, shown: Shown) -> ShownLeg:
    """What is remembered of a leg."""
    header, record = verdict.header, verdict.record
    if header is None:
        raise AssertionError("only what has a header is remembered")
    return ShownLeg(header.kid, header.rid, record.partition, record.offset, header.day, header.pol, shown)


def unknown(verdict: Verdict, row: ShownLeg | None) -> ShownLeg:
    """What is remembered of a leg whose key is missing: it comes once that is found; its row stays until then."""
    return seen(verdict, Shown.HIDDEN if row is None or row.shown is Shown.HIDDEN else Shown.PERHAPS)


class Remembered:
    """The rows of one follower's cursor."""

    def __init__(self, cursor: Cursor, tenant: Tenant) -> None:
        self._cursor, self._tenant = cursor, tenant

    def _hold(self, row: ShownLeg, right: Right) -> str:
        """The hold under which a copy lies, or would lie."""
        return kept_id(self._tenant, right.purpose.number, row.day[:7], row.partition)

    def is_copy(self, row: ShownLeg, right: Right) -> bool:
        """Whether a row is a copy, not a leg."""
        return right.copies and row.name == self._hold(row, right)

    def rows(self, keys: Iterable[bytes | None]) -> dict[bytes, ShownLeg]:
        """What the cursor remembers of some records, by their keys; nothing of junk and internal keys."""
        names: dict[str, list[str]] = defaultdict(list)
        for key in keys:
            with suppress(ValueError):
                name, token = split_key(key or INTERNAL_KEY)
                names[name].append(token)
        found = [row for name, tokens in names.items() for row in self._cursor.at(name, tokens)]
        return {f"{row.name}.{row.token}".encode(): row for row in found}

    def outlives(self, row: ShownLeg, refusal: Refusal | None, right: Right) -> bool:
        """Whether a leg stays although its person is erased: a copy will come, or is gone by its tombstone's time."""
        erased = refusal is Refusal.ERASED and row.shown is not Shown.HIDDEN
        return erased and right.purpose.survives_erasure and row.name != self._hold(row, right)

    def silent(self, rows: Iterable[ShownLeg], right: Right) -> set[Name]:
        """The legs among these for which a copy speaks."""
        if not right.copies:
            return set()
        by_hold: dict[str, dict[str, str]] = defaultdict(dict)
        for row in rows:
            hold = self._hold(row, right)
            if row.name != hold:
                by_hold[hold][row.token] = row.name
        copies = [copy for hold, legs in by_hold.items() for copy in self._cursor.at(hold, list(legs))]
        return {(by_hold[copy.name][copy.token], copy.token) for copy in copies if copy.shown is not Shown.HIDDEN}
