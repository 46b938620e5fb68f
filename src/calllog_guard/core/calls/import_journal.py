"""
What became of an old log's events: counts and places, never content.

The same value is the journal of a running import (where to go on) and, when finished, its manifest.
Rules: 1. No name, no identifier, no field's value: line numbers, offsets, and words of our own.
       2. What a batch adds is added once, when all its legs are acknowledged.
Source: docs/how-to/import.md; `schemas/manifest.json`.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Final, Literal, NamedTuple, TypeVar

import msgspec

from calllog_guard.core.codec import Day, Internal, Rewritten, TenantName, Utc

Count = Annotated[int, msgspec.Meta(ge=0)]
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Fingerprint = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$")]


class FileSource(Rewritten, frozen=True, kw_only=True, tag="file"):
    """A file by its SHA-256: its name may name somebody."""

    sha256: Digest
    bytes: Count
    format: Literal["ndjson", "csv", "mapped"]


class TopicSource(Rewritten, frozen=True, kw_only=True, tag="topic"):
    """An old topic; `id` is Kafka's, so that one made anew under the same name is another source."""

    topic: str
    id: str
    trimmed: bool


class Refused(Internal, frozen=True, kw_only=True, omit_defaults=True):
    """Where a refused record lies: a line of a file, or partition and offset; and why."""

    line: Count | None = None
    partition: Count | None = None
    offset: Count | None = None
    reason: str
    at_pointer: str = ""


class Skipped(NamedTuple):
    """What a mapping skips: a message that is no call, or a party that is nobody; by the mapping's own words."""

    why: str


class Events(Rewritten, frozen=True, kw_only=True):
    """What became of the events: `read` is the sum of the others."""

    read: Count = 0
    accepted: Count = 0
    born_expired: Count = 0
    refused: Count = 0


class Legs(Rewritten, frozen=True, kw_only=True):
    """
    What became of the parties of accepted and born-expired events.

    Args:
        stored: Sealed and acknowledged.
        removed: Tombstoned: named in `removed`, or of somebody with no purpose left.
        born_expired: The last purpose has already lapsed: never stored.
        erased: Behind a fence: the person is gone, or was erased later than the call.
        listed: In the company's own list of people erased so long ago that their fence has lapsed.
        no_purpose: No purpose covers such a leg.
        no_key: The person was minted with keys that do not reach back to that month.

    """

    stored: Count = 0
    removed: Count = 0
    born_expired: Count = 0
    erased: Count = 0
    listed: Count = 0
    no_purpose: Count = 0
    no_key: Count = 0


class Manifest(Rewritten, frozen=True, kw_only=True):
    """
    How far an import is, and what became of what it read.

    Args:
        positions: By partition (a file has one, 0): the offset, or the number of lines or rows, to go on from.
        refused: How many events, and parties of accepted events, by reason; `refused_at` lists their places in the
            finished manifest.
        skipped: Messages and parties that a mapping skipped, by its own words; no events, and not refused.
        mended: Times of accepted events that were mended: `skew`, `leap_second`.
        lost: Records of a topic that were cut off before they were read, at most; only by leave (`--skip-lost`).
        refused_bytes: How much of the list of places belongs to what is settled.
        erased: The company's list: how many, and its fingerprint under the tenant's pepper; None when there was none.

    """

    v: Literal[1] = 1
    tenant: TenantName
    source: FileSource | TopicSource
    erased: tuple[Count, Fingerprint] | None
    policies: tuple[Day, ...] = ()
    positions: dict[int, Count] = msgspec.field(default_factory=dict)
    events: Events = Events()
    legs: Legs = Legs()
    refused: dict[str, Count] = msgspec.field(default_factory=dict)
    refused_bytes: Count = 0
    skipped: dict[str, Count] | msgspec.UnsetType = msgspec.UNSET
    mended: dict[str, Count] | msgspec.UnsetType = msgspec.UNSET
    lost: Count | msgspec.UnsetType = msgspec.UNSET
    began_at: Utc
    finished_at: Utc | None = None
    refused_at: tuple[Refused, ...] | msgspec.UnsetType = msgspec.UNSET


T = TypeVar("T", Events, Legs)
MANIFESTS: Final = msgspec.json.Decoder(Manifest)


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What one settled batch adds."""

    policy: str
    positions: Mapping[int, int]
    events: Events
    legs: Legs
    refused: tuple[Refused, ...]
    skipped: Mapping[str, int] = msgspec.field(default_factory=dict)
    mended: Mapping[str, int] = msgspec.field(default_factory=dict)


def _sum(one: T, other: T) -> T:
    counted = msgspec.to_builtins(other)
    return msgspec.structs.replace(one, **{name: getattr(one, name) + many for name, many in counted.items()})


def advanced(manifest: Manifest, batch: Batch, refused_bytes: int) -> Manifest:
    """The manifest after one more settled batch; `refused_bytes`: the length of the list of places with it."""
    refused = dict(manifest.refused)
    for each in batch.refused:
        refused[each.reason] = refused.get(each.reason, 0) + 1
    skipped = dict(Counter(manifest.skipped or {}) + Counter(batch.skipped))
    mended = dict(Counter(manifest.mended or {}) + Counter(batch.mended))
    return msgspec.structs.replace(
        manifest,
        policies=tuple(dict.fromkeys((*manifest.policies, batch.policy))),
        positions=manifest.positions | dict(batch.positions),
        events=_sum(manifest.events, batch.events),
        legs=_sum(manifest.legs, batch.legs),
        refused=refused,
        skipped=skipped or msgspec.UNSET,
        mended=mended or msgspec.UNSET,
        refused_bytes=refused_bytes,
    )
