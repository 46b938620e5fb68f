"""What a look at a broker's disk must not miss: names that change, bytes that are torn, batches that are compressed."""

import base64
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from calllog_guard.adapters.disk import segment_search
from calllog_guard.adapters.disk.segment_files import Replica, look_at_replica, replicas
from calllog_guard.adapters.kafka.batches import UNPACKED_MOST
from calllog_guard.core.audit.absence import Sighting
from calllog_guard.errors import LogSilentError

NAME, OTHER = b"A" * 22, b"B" * 21 + b"A"
LEG = NAME + b"." + OTHER
PLAIN, GZIP, SNAPPY, LZ4, ZSTD = range(5)
SEGMENT = "00000000000000000000.log"


def batch(records: Sequence[tuple[bytes, bytes | None]], codec: int = PLAIN) -> bytes:
    """A record batch as a broker stores it."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    for offset, (key, value) in enumerate(records):
        builder.append(offset, 1, key, value, [])
    return bytes(builder.build())


def partition(tmp_path: Path, **files: bytes) -> Replica:
    """A partition's folder with some files, `_` for the dots of their names."""
    folder = tmp_path / "calllog.legs-0"
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name.removeprefix("s").replace("_", ".")).write_bytes(content)
    (found,) = replicas([tmp_path], "calllog.legs", 0)
    return found


def seen(replica: Replica) -> tuple[int, int, int]:
    """Values and keys of NAME, and what could not be read."""
    look = look_at_replica(replica, [NAME, OTHER])
    return look.seen[NAME].values, look.seen[NAME].keys, look.unread


@pytest.mark.parametrize("name", ["log", "log_deleted", "log_cleaned", "log_swap"])
@pytest.mark.parametrize("codec", [PLAIN, GZIP, SNAPPY, LZ4, ZSTD])
def test_values_and_tombstones_are_counted_under_every_name_and_codec(tmp_path: Path, name: str, codec: int) -> None:
    content = batch([(LEG, b"x" * 300), (OTHER, b"y"), (LEG, None)], codec) + batch([(LEG, b"z")], codec)
    look = look_at_replica(partition(tmp_path, **{f"s000_{name}": content}), [NAME])
    assert look.seen[NAME] == Sighting(values=2, keys=3)
    assert (look.records, look.size_bytes, look.unread) == (4, len(content), 0)


def test_bytes_betray_a_leg_in_any_file_whatever_its_name(tmp_path: Path) -> None:
    header = base64.urlsafe_b64encode(msgspec.json.encode({"alg": "dir", "kid": NAME.decode()}))
    left = tmp_path / "calllog.legs-0.f00-delete"
    left.mkdir()
    (left / "00000.log").write_bytes(NAME)
    replica = partition(tmp_path, s000_log_deleted=b"torn" + header + b"..", s000_snapshot=b"..")
    assert seen(replica) == (1, 1, 1)


def test_a_mark_that_lies_across_two_blocks_is_seen(tmp_path: Path) -> None:
    block = segment_search._BLOCK
    assert seen(partition(tmp_path, s000_snapshot=b"-" * (block - 11) + NAME + b"-" * block))[1] == 1


def test_a_batch_that_lies_across_two_blocks_is_seen(tmp_path: Path) -> None:
    filler = batch([(OTHER, b"y" * 500_000)])
    many = segment_search._BLOCK // len(filler)
    assert seen(partition(tmp_path, s000_log=filler * many + batch([(LEG, b"x" * 500_000)]) + filler)) == (1, 1, 0)


def test_what_is_left_of_a_moved_partition_is_looked_at_and_is_no_replica(tmp_path: Path) -> None:
    """A reassignment renames the folder; the bytes stay until the deletion comes round."""
    folder = tmp_path / "calllog.legs-0.0123-delete"
    folder.mkdir()
    (folder / SEGMENT).write_bytes(batch([(LEG, b"x")]))
    (found,) = replicas([tmp_path], "calllog.legs", 0)
    look = look_at_replica(found, [NAME])
    assert (look.seen[NAME].values, look.live) == (1, False)


def test_another_partition_with_a_similar_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "calllog.legs-01").mkdir()
    assert replicas([tmp_path], "calllog.legs", 0) == []


def test_space_laid_out_in_advance_and_a_batch_half_written_are_no_finding(tmp_path: Path) -> None:
    whole = batch([(OTHER, b"y" * 100)])
    assert seen(
        partition(tmp_path, s000_log=whole + b"\0" * 5000, s001_log=whole + whole[:70], s002_log=whole[:9])
    ) == (
        0,
        0,
        0,
    )


@pytest.mark.parametrize(
    "content",
    [
        batch([(OTHER, b"y")]) + b"\x01" * 5000,
        batch([(OTHER, b"y" * 500)], GZIP)[:-30],
        batch([(OTHER, b"y" * 500)], ZSTD)[:-5] + b"\xff" * 5,
    ],
    ids=["bytes that are no batch", "a compressed batch cut off", "a compressed batch with a wrong checksum"],
)
def test_what_cannot_be_read_in_full_is_said(tmp_path: Path, content: bytes) -> None:
    """It may hold anything in compressed form: such a look proves no absence."""
    assert seen(partition(tmp_path, s000_log=content)) == (0, 0, 1)


def test_a_directory_that_was_named_and_is_not_there_proves_nothing(tmp_path: Path) -> None:
    with pytest.raises(LogSilentError, match="LOG_DIRS"):
        replicas([tmp_path / "nowhere"], "calllog.legs", 0)


class Renaming(Replica):
    """A broker that cleans while we look: the segment is swapped for a cleaned one after the first listing."""

    listed = 0

    def files(self) -> list[Path]:
        """See Replica."""
        folder, found = self.directory / self.name, super().files()
        if not Renaming.listed:
            Renaming.listed = 1
            (folder / SEGMENT).rename(folder / f"{SEGMENT}.deleted")
            (folder / f"{SEGMENT}.swap").rename(folder / SEGMENT)
        return found


def test_a_segment_that_is_renamed_while_we_look_is_still_read(tmp_path: Path) -> None:
    """The cleaner puts a new file under the old name; the old bytes lie on under another for a while."""
    folder = tmp_path / "calllog.legs-0"
    folder.mkdir()
    (folder / SEGMENT).write_bytes(batch([(LEG, b"x")]))
    (folder / f"{SEGMENT}.swap").write_bytes(batch([(OTHER, b"y")]))
    assert seen(Renaming(tmp_path, "calllog.legs-0"))[0] == 1


def test_the_file_that_is_written_to_is_read_once(tmp_path: Path) -> None:
    class Growing(Replica):
        def files(self) -> list[Path]:
            with (self.directory / self.name / SEGMENT).open("ab") as file:
                file.write(batch([(OTHER, b"y")]))
            return super().files()

    folder = tmp_path / "calllog.legs-0"
    folder.mkdir()
    look = look_at_replica(Growing(tmp_path, folder.name), [NAME])
    assert (look.unread, look.records) == (0, 1)


def test_a_record_is_looked_for_by_itself_and_with_its_person_at_once(tmp_path: Path) -> None:
    """Of a person who lives only some records must go."""
    sibling = NAME + b"." + b"C" * 22
    content = batch([(LEG, b"x"), (sibling, b"y"), (LEG, None)]) + batch([(LEG, b"z")], GZIP)
    look = look_at_replica(partition(tmp_path, s000_log=content), [NAME, LEG])
    assert look.seen[LEG] == Sighting(values=2, keys=3)
    assert look.seen[NAME] == Sighting(values=3, keys=4)


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
@pytest.mark.slow
def test_a_mark_behind_thirty_megabytes_is_found_and_the_memory_is_bounded(tmp_path: Path, codec: int) -> None:
    """Little in the log, gigabytes unpacked: what is searched is found, what is not is never taken for absence."""
    mark = base64.urlsafe_b64encode(b'{"kid":"' + NAME)
    within = batch([(OTHER, b" " * (30 << 20) + mark)], codec)
    beyond = batch([(OTHER, b" " * (70 << 20)), (LEG, b"z")], codec)
    tracemalloc.start()
    assert seen(partition(tmp_path, s000_log=within)) == (1, 0, 0)
    assert seen(partition(tmp_path, s000_log=beyond))[2] == 1
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 * UNPACKED_MOST
