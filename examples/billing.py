"""
Keeps a billing table in SQLite true: every call that billing may see is a row, and what must go goes within a second.

    . run/stack.env; . guard/calllog-guard.env
    python examples/billing.py --table billing.db --cursor billing.cursor

Stop it as you like (Ctrl-C, kill -9, power): started again, it goes on where it ended. Two reasons: each batch of
lines is one transaction of ours, committed before the next is asked for; and a line is applied by its token, so one
that comes twice does no harm. Erased, expired, restricted: it sees a removal, never the reason. If the policy says
that billing survives an erasure by law, an erased person's rows stay until the law's period ends, then go too.
"""

import argparse
import sqlite3
import sys
from collections.abc import Sequence

from calllog_guard import Line, Put, Reader, Remove, Reset
from calllog_guard.errors import GuardError, StateRefusedError

TABLE = """
create table if not exists billing (token text primary key, person text, role text, started_at text, duration_s int);
"""


def opened(path: str) -> sqlite3.Connection:
    """The table; what is deleted from it is overwritten in its file."""
    base = sqlite3.connect(path, isolation_level=None)
    base.executescript("pragma journal_mode = wal; pragma synchronous = full; pragma secure_delete = on;" + TABLE)
    return base


def apply(base: sqlite3.Connection, lines: Sequence[Line]) -> None:
    """One batch, whole or not at all."""
    base.execute("begin")
    for line in lines:
        if isinstance(line, Put):
            row = (line.token, line.person, line.role, line.started_at, line.duration_s)
            base.execute("insert or replace into billing values (?, ?, ?, ?, ?)", row)
        elif isinstance(line, Remove):
            base.execute("delete from billing where token = ?", (line.token,))
        else:  # Reset: what there is follows anew
            base.execute("delete from billing")
    base.execute("commit")
    if not all(isinstance(line, Put) for line in lines):
        base.execute("pragma wal_checkpoint(truncate)")  # or the deleted rows would live on in the write-ahead log


def main() -> int:
    """Follow until stopped."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--table", required=True, help="the SQLite file with the table")
    options.add_argument("--cursor", required=True, help="where the reader remembers what the table was given")
    options.add_argument("--actor", default="billing-1", help="whose credential this is, as in the policy")
    args = options.parse_args()
    base = opened(args.table)
    try:
        reader = Reader(
            purpose="billing",
            actor=args.actor,
            follow=True,
            cursor=args.cursor,
            told=lambda text: print(text, file=sys.stderr),
        )
        for lines in reader.batches():
            apply(base, lines)
    except StateRefusedError as error:
        apply(base, [Reset()])
        print(f"{error}: the table is emptied", file=sys.stderr)
        return 4
    except GuardError as error:
        print(f"the table stays as it is: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 0
    finally:
        base.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
