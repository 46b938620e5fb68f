"""
A poll, cut into units: each is handled as one, and its offset moves when its outputs are acknowledged.

A poll is bounded by its records (UNIT_RECORDS) and bytes (`adapters/kafka/fetches.py`); the cost of handling is not.
Rules: 1. The order of a partition stays.  2. A record that is beyond a bound by itself is a unit by itself.
Source: docs/adr/0011-one-persons-matter.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from calllog_guard.core.stream.arrival import Arrival

Place = TypeVar("Place")


def parties(record: Arrival) -> int:
    """At most so many parties are in an event: each is a JSON object, however it is written."""
    return record.value.count(b"{") if record.value else 0


def units(
    poll: Mapping[Place, Sequence[Arrival]], most_bytes: int, most_parties: int
) -> Iterator[dict[Place, list[Arrival]]]:
    """The units of a poll, in its order."""
    unit: dict[Place, list[Arrival]] = {}
    size = heads = 0
    for place, records in poll.items():
        for record in records:
            more = parties(record)
            if unit and (size + record.size > most_bytes or heads + more > most_parties):
                yield unit
                unit, size, heads = {}, 0, 0
            unit.setdefault(place, []).append(record)
            size, heads = size + record.size, heads + more
    if unit:
        yield unit
