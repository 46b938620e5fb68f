"""
What a removal looks like in the log: the key of the record, and no value.

Tombstones go to the partition of the record that they remove; a tombstone elsewhere removes nothing.
"""

import msgspec

from calllog_guard.core.identifiers import Pseudonym, partition_of


class Output(msgspec.Struct, frozen=True, gc=False):
    """
    One record to be written.

    Args:
        topic: Full topic name.
        partition: Always explicit: no client's default partitioner decides over a person's records.
        value: None is a tombstone.

    """

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def tombstone(topic: str, key: bytes, partitions: int) -> Output:
    """The tombstone of a record whose key begins with its person's pseudonym."""
    return Output(topic, partition_of(Pseudonym(key[:22].decode()), partitions), key, None)
