"""
Who has opened a hundred people's records, in a hundred days of accesses: by the index, and by reading all for each.

A partition of 200,000 legs, read whole once a day, 5,000 legs each: 4,000 signed accesses. No Kafka: measured is what
the keeper does with the records that it is handed. Figures are CPU seconds of this process.
"""

import resource
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from calllog_guard.adapters.rocksdb.rows import RocksRows
from calllog_guard.core.answers.readers import LegOffsets, Opening, opened_by, which_of
from calllog_guard.core.audit.accesses import Account, ActorKey, digest, place_of, proves, read_access
from calllog_guard.core.codec import Access
from calllog_guard.core.stream.offsets import pack
from calllog_guard.workers.keeper.enforcement.access_index import AccessIndex

LEGS, BATCH, DAYS, PEOPLE, EACH = 200_000, 5000, 100, 100, 40
START = datetime(2026, 1, 1, 3, tzinfo=UTC)
PLACE = place_of(bytes(16), "privacy.access", 0)


def spent() -> float:
    """CPU seconds so far."""
    found = resource.getrusage(resource.RUSAGE_SELF)
    return found.ru_utime + found.ru_stime


def check(right: object) -> None:
    """A figure of something else is none."""
    if not right:
        raise SystemExit("what was measured is wrong")


def accesses(key: ActorKey) -> list[bytes]:
    """The topic, as the actor has written it."""
    spans = [(first, pack(range(first, first + BATCH), first)) for first in range(0, LEGS, BATCH)]
    return [
        key.vouched(
            Access(
                v=1, actor="billing-1", purpose="billing", case=None, topic="calllog.legs", partition=0, from_=first,
                to=first + BATCH - 1, opened=BATCH, refused={}, at=START + timedelta(days=day, seconds=number),
                which=which,
            ),
            PLACE,
        )
        for day in range(DAYS)
        for number, (first, which) in enumerate(spans)
    ]  # fmt: skip


def main() -> None:
    """Print a line for each figure."""
    key = ActorKey(Ed25519PrivateKey.generate())
    topic = accesses(key)
    step = LEGS // EACH
    people = [LegOffsets({person + step * n: date(2025, 12, 1) for n in range(EACH)}) for person in range(PEOPLE)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        began = spent()
        index = AccessIndex(lambda: RocksRows(path), "these", START)
        for offset, raw in enumerate(topic):
            access = read_access(raw)
            check(proves(raw, access, PLACE, key.public))
            index.add(0, offset, Account(access, proven=True, name=digest(raw)))
            if offset % BATCH == 0:
                index.commit(0, offset + 1)
        index.commit(0, len(topic))
        print(f"index made of {len(topic):,} accesses: {spent() - began:.1f} s")  # noqa: T201
        index.close()
        began = spent()
        index = AccessIndex(lambda: RocksRows(path), "these", START)
        size = sum(file.stat().st_size for file in path.iterdir())
        print(f"opened again after a restart: {spent() - began:.2f} s, 0 accesses read, {size / 1e6:.0f} MB")  # noqa: T201
        began = spent()
        found = [opened_by(index.openings(legs.days), legs) for legs in people]
        print(f"{PEOPLE} people with {EACH} legs each, by the index: {spent() - began:.1f} s")  # noqa: T201
        index.close()
    began = spent()
    whole = [read_access(raw) for raw in topic]
    openings = [
        Opening(each.actor, each.purpose, proven, each.at, each.to, (which_of(each) or set()) & people[0].days.keys())
        for each in whole
        for proven in [True]
    ]
    check(opened_by(openings, people[0]) == found[0])
    print(f"one of them, by all accesses: {spent() - began:.1f} s, {len(topic):,} accesses read")  # noqa: T201


if __name__ == "__main__":
    main()
