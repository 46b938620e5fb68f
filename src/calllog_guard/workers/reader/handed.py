"""
Lines of legs that another consumer has read: it brings records, and remembers nothing for us.

Rules: 1. Of several records of one leg the last counts.
       2. Nobody knows what was shown before: what may not be seen is removed. Removing what never came is harmless.
       3. A key that is missing removes nothing.
       4. A purpose that keeps copies by law is for who reads both topics (`workers/reader/follower.py`): here an erased
          person's tombstone would remove what law keeps.
Not here: what a new standing, policy or day takes back between two records of a leg; a follower sees that.
"""

from collections.abc import Sequence
from contextlib import suppress

from calllog_guard.core.calls.view import Line, Remove
from calllog_guard.core.identifiers import split_key
from calllog_guard.core.retention.read_access import Refusal
from calllog_guard.errors import StateRefusedError
from calllog_guard.ports.log import Record
from calllog_guard.workers.reader.session import Reading


async def lines_of(reading: Reading, records: Sequence[Record]) -> list[tuple[Record, Line]]:
    """
    A line of each leg among some records, with the record that it is of; the access is on record.

    Raises:
        KeystoreSilentError, KeystoreGuardedError, LogSilentError: Nothing is known and nothing was said; wait.
        StateRefusedError: The policy does not let this errand read, or keeps copies for its purpose.

    """
    right = await reading.entitled()
    if right.copies:
        raise StateRefusedError(
            f"the policy keeps copies for {right.purpose.name} by law: read with Reader(follow=True), which knows them"
        )
    lines: list[tuple[Record, Line]] = []
    for verdict in await reading.judged(list({record.key: record for record in records}.values())):
        if verdict.line is not None:
            lines.append((verdict.record, verdict.line))
        elif verdict.refusal is not Refusal.UNKNOWN:
            with suppress(ValueError):  # junk: no leg has its key
                lines.append((verdict.record, Remove(token=split_key(verdict.record.key or b"")[1])))
    return lines
