"""
A partition as it lies on a broker's disk: segments, and what the cleaner or a deletion has left under another name.

Each file is read twice over: as record batches (which opens compressed ones), and as bytes (which misses nothing that is torn).
Source: Kafka's on-disk record format, message format v2, through aiokafka's parser.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import ahocorasick_rs
from aiokafka.record.memory_records import MemoryRecords

from calllog_guard.core.absence import Look, Sighting, marks

_BLOCK: Final = 1 << 24
_OVERLAP: Final = 64


def folders(log_dirs: list[Path], topic: str, partition: int) -> list[list[Path]]:
    """Per log directory that has the partition, its folders: the live one, and those on their way out."""
    name = f"{topic}-{partition}"
    found = [[each, *directory.glob(f"{name}.*")] for directory in log_dirs if (each := directory / name).is_dir()]
    return [[path for path in some if path.is_dir()] for some in found]


def look_at_replica(paths: list[Path], names: list[bytes]) -> Look:
    """What one replica's files show of some pseudonyms; files that vanish while we look are replaced by ones we look at."""
    look = Look({name: Sighting() for name in names})
    patterns = marks(names)
    automaton = ahocorasick_rs.BytesAhoCorasick(list(patterns))
    owners = list(patterns.values())
    for path in sorted(file for folder in paths for file in folder.iterdir() if file.is_file()):
        bytewise, parsed = look.blank(), look.blank()
        try:
            for block in _blocks(path):
                for hit in automaton.find_matches_as_indexes(block):
                    name, value = owners[hit[0]]
                    bytewise.seen[name].keys += not value
                    bytewise.seen[name].values += value
            if ".log" in path.name:
                _parse(path.read_bytes(), parsed)
        except FileNotFoundError:
            continue
        look.merge(parsed.most(bytewise))
    return look


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        tail = b""
        while block := file.read(_BLOCK):
            yield tail + block
            tail = block[-_OVERLAP:]


def _parse(content: bytes, look: Look) -> None:
    try:
        records = MemoryRecords(content)
        while records.has_next():
            for record in records.next_batch():
                look.record(record.key, record.value)
    except Exception:  # noqa: BLE001 - torn or foreign bytes end the parse; the byte scan has seen them
        return
