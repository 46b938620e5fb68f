"""
A request in another partition than its tenant's: taken to the right one by a desk, once, with its first place and time.

Rules: 1. Its place and time stand in the record's key, which the desk's proof covers: nobody else makes one older.
       2. What bears no proof has its own place and time.  3. A route in a wrong partition again goes no further.
Source: docs/how-to/send-an-erasure.md; `proofs.py`.
"""

import re
from typing import Final

import msgspec

from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import LATEST_MS, Arrival
from calllog_guard.core.stream.proofs import DESK, Proofs

_KEY: Final = re.compile(rb"~routed\.([0-9]{1,10})\.([0-9]{1,19})\.([0-9]{1,15})\Z")


def routed(record: Arrival, home: int) -> Output:
    """A request as it is written into its tenant's partition."""
    key = b"~routed.%d.%d.%d" % (record.partition, record.offset, record.timestamp)
    return Output(record.topic, home, key, record.value)


def is_routed(record: Arrival, proofs: Proofs) -> bool:
    """Whether a desk of ours has taken it here."""
    return _KEY.match(record.key or b"") is not None and proofs.proven(record, DESK)


def first(record: Arrival, proofs: Proofs) -> Arrival:
    """The record as it first lay, where a desk of ours has taken it here; else as it is."""
    found = _KEY.match(record.key or b"")
    if found is None or not proofs.proven(record, DESK):
        return record
    partition, offset, at_ms = map(int, found.groups())
    return msgspec.structs.replace(
        record, partition=partition, offset=offset, timestamp=min(at_ms, record.timestamp, LATEST_MS)
    )
