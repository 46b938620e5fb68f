"""The border: whatever lies in a batch becomes arrivals, one for each record, and nothing that follows is lost."""

import hashlib
import random
import struct
import tracemalloc

import pytest
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st
from raw_batches import CODECS, Raw, batch, varint

from calllog_guard.adapters.kafka.batches import UNPACKED_MOST, arrivals, holds, split
from calllog_guard.core.stream.arrival import (
    LATEST_MS,
    RECORD_MOST,
    TOO_LARGE,
    UNREADABLE,
    Arrival,
    arrival,
    content,
)
from calllog_guard.errors import MessageError

PLACE = ("calllog.events", 0)
GOOD = Raw(b"{}", b"call", [(b"content-type", b"application/json")], 1_000)


def read(raw: bytes, start: int = 0) -> list[Arrival]:
    """What a fetch of these bytes comes to, when every batch in it holds."""
    found: list[Arrival] = []
    for each in split(raw):
        assert each is not None
        assert holds(each)
        found += arrivals(PLACE, each, start)
    return found


texts = st.text(max_size=20).map(str.encode)
records = st.builds(
    Raw,
    st.none() | st.binary(max_size=200),
    st.none() | st.binary(max_size=50),
    st.lists(st.tuples(texts, st.none() | st.binary(max_size=20)), max_size=3),
    st.integers(0, LATEST_MS),
)


@given(
    st.lists(records, min_size=1, max_size=8),
    st.sampled_from(sorted(CODECS)),
    st.integers(0, 1 << 40),
    st.sampled_from([0, 8]),
)
@pytest.mark.slow
def test_what_is_in_order_is_read_as_the_library_reads_it(
    some: list[Raw], codec: str, base: int, attributes: int
) -> None:
    """The library is the oracle for batches that it can read; the attribute says whose time the records bear."""
    raw = batch(some, codec, base=base, attributes=attributes)
    theirs = [
        (each.offset, each.timestamp, each.key, each.value, tuple(each.headers), each.timestamp_type == 0)
        for each in MemoryRecords(raw).next_batch()
    ]
    ours = [(each.offset, each.timestamp, each.key, each.value, each.headers, each.senders) for each in read(raw, base)]
    assert ours == theirs
    assert len(ours) == len(some)


@given(st.lists(records, min_size=1, max_size=6), st.sampled_from(sorted(CODECS)), st.data())
def test_a_record_that_is_none_is_one_arrival_and_the_others_are_read(
    some: list[Raw], codec: str, data: st.DataObject
) -> None:
    """A header's name that is no UTF-8 leaves the record readable; a body that is no record leaves its place."""
    at = data.draw(st.integers(0, len(some) - 1))
    bad = data.draw(st.sampled_from([Raw(b"v", b"k", [(b"\xff\xfe", b"x")]), Raw(body=b"\0\x02"), Raw(body=b"")]))
    mixed = [*some[:at], bad, *some[at:]]
    found = read(batch(mixed, codec, base=7), 7)
    assert [each.offset for each in found] == list(range(7, 7 + len(mixed)))
    assert [each.value for each in found[:at]] == [each.value for each in some[:at]]
    assert [each.value for each in found[at + 1 :]] == [each.value for each in some[at:]]
    if bad.body is None:
        assert found[at].headers == (("\\xff\\xfe", b"x"),)
        assert content(found[at]) == b"v"
    else:
        with pytest.raises(MessageError, match=UNREADABLE):
            content(found[at])


@given(st.binary(max_size=300), st.sampled_from(sorted(CODECS)), st.integers(1, 5), st.integers(-3, 9))
def test_bytes_that_are_no_records_are_as_many_arrivals_as_the_batch_tells(
    body: bytes, codec: str, count: int, last: int
) -> None:
    """The checksum holds, so the producer meant it: each record is told, none is made up, nothing raises."""
    found = read(batch((), codec, body=body, count=count, last=last))
    assert len({each.offset for each in found}) == len(found) <= count
    assert all(0 <= each.offset <= max(last, 0) for each in found)


@pytest.mark.parametrize("codec", sorted(CODECS))
@pytest.mark.parametrize("count", [-1, -(2**31)])
def test_a_number_of_records_below_zero_hides_none(codec: str, count: int) -> None:
    """As many arrivals as the batch has places: its checksum holds, so its producer meant something."""
    good = Raw(b"v", b"k")
    found = read(batch((good, good), codec, count=count, last=2))
    assert [each.offset for each in found] == [0, 1, 2]
    assert [content(each) for each in found[:2]] == [b"v", b"v"]
    assert len(read(batch((), codec, body=b"junk", count=count, last=2))) == 3


@given(st.binary(max_size=400))
def test_nothing_that_was_fetched_raises(raw: bytes) -> None:
    """What is no batch, what is half of one, what has a length below zero."""
    for each in split(raw):
        assert each is None or isinstance(holds(each), bool)


def test_a_flipped_bit_is_no_batch() -> None:
    """Wherever it lies behind the checksum."""
    raw = batch([GOOD], "zstd")
    for at in range(17, len(raw)):
        broken = bytearray(raw)
        broken[at] ^= 1
        (found,) = split(bytes(broken))
        assert found is None or not holds(found)
    (other,) = split(raw[:16] + b"\x03" + raw[17:])
    assert other is not None
    assert not holds(other)


def test_reading_begins_in_the_middle_of_a_batch() -> None:
    """A fetch from an offset begins with the batch that holds it; a bad record changes nothing about that."""
    some = [GOOD, Raw(b"1", headers=[(b"\xff", None)]), Raw(body=b"\0"), Raw(b"3")]
    raw = batch(some, base=10)
    for start in range(10, 15):
        assert [each.offset for each in read(raw, start)] == list(range(start, 14))


@pytest.mark.parametrize("codec", sorted(CODECS))
@pytest.mark.slow
def test_thirty_megabytes_of_spaces_are_a_digest_and_their_neighbours_are_read(codec: str) -> None:
    """Thirty kilobytes in the log; what is kept of them is their length and digest."""
    bomb = b" " * (30 << 20)
    found = read(batch([Raw(b"before"), Raw(bomb, b"key"), Raw(b"after")], codec))
    assert [each.value for each in found] == [b"before", b"", b"after"]
    left = found[1].remnant
    assert left is not None
    assert (left.reason, left.bytes, left.sha256) == (TOO_LARGE, len(bomb), hashlib.sha256(bomb).hexdigest())
    assert found[1].key == b"key"
    with pytest.raises(MessageError, match=TOO_LARGE):
        content(found[1])


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd", "snappy"])
@pytest.mark.slow
def test_what_unpacks_without_end_takes_a_bounded_memory(codec: str) -> None:
    """Two hundred megabytes behind one good record: that one is read, each other told with the batch's digest."""
    raw = batch([Raw(b"good"), *[Raw(b" " * (20 << 20)) for _ in range(10)]], codec)
    tracemalloc.start()
    found = [(each.offset, len(each.value or b""), each.remnant) for each in read(raw)]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [offset for offset, _, _ in found] == list(range(11))
    assert found[0][1] == 4
    assert found[-1][2] is not None
    assert (found[-1][2].of, found[-1][2].bytes) == ("batch", len(raw))
    assert most < 3 * UNPACKED_MOST


def test_a_codec_that_kafka_does_not_have_leaves_its_records_one_by_one() -> None:
    """No broker takes such a batch today; one that does tomorrow must not stop us."""
    raw = batch([Raw(b"1"), Raw(b"2")], attributes=5)
    assert [(each.offset, each.remnant and each.remnant.reason) for each in read(raw)] == [
        (0, UNREADABLE),
        (1, UNREADABLE),
    ]


@pytest.mark.parametrize(("at_ms", "seen"), [(-1, 0), (-(1 << 62), 0), (1 << 62, LATEST_MS), (5, 5)])
def test_no_time_of_a_record_is_beyond_what_can_be_named(at_ms: int, seen: int) -> None:
    assert arrival(PLACE, 0, at_ms, None, b"").timestamp == seen


def test_a_record_of_headers_alone_is_bounded_too() -> None:
    """What counts is all that it takes, not its value."""
    bomb = [(b"x" * 1000, b"y" * (1 << 20)) for _ in range(30)]
    (found,) = read(batch([Raw(b"v", b"k", bomb)], "gzip"))
    assert (found.remnant and found.remnant.reason, found.headers) == (TOO_LARGE, ())
    assert found.size > RECORD_MOST


def test_random_damage_raises_nothing() -> None:
    """Batches whose checksum holds after the damage: what a malicious producer can send past a careless broker."""
    dice = random.Random(13)  # noqa: S311 - repeatable
    for _ in range(3000):
        some = [Raw(dice.randbytes(dice.randrange(40)), None, [(b"a", b"b")]) for _ in range(dice.randrange(1, 5))]
        raw = bytearray(batch(some, dice.choice(sorted(CODECS))))
        for _ in range(dice.randrange(1, 4)):
            raw[dice.randrange(61, len(raw))] = dice.randrange(256)
        body = bytes(raw[61:])
        found = read(batch((), body=body, attributes=raw[22] & 7, count=len(some), last=len(some) - 1))
        assert [each.offset for each in found] == sorted({each.offset for each in found})
        assert len(found) <= len(some)


@given(
    st.lists(st.integers(-(1 << 40), 1 << 40) | st.integers(-2, 6), min_size=1, max_size=5),
    st.sampled_from(["none", "zstd"]),
    st.integers(0, 3),
)
def test_a_record_that_claims_another_place_hides_no_other_and_leads_nowhere(
    deltas: list[int], codec: str, emptied: int
) -> None:
    """Behind a claimed offset beyond the log nothing would be read; one claimed twice would hide the second."""
    bodies = [
        Raw(body=b"\0" + varint(0) + varint(delta) + varint(-1) + varint(1) + b"v" + varint(0)) for delta in deltas
    ]
    last = len(deltas) - 1 + emptied
    found = read(batch(bodies, codec, base=100, last=last), 100)
    offsets = [each.offset for each in found]
    assert offsets == sorted(set(offsets))
    assert len(offsets) == len(deltas)
    assert 100 <= offsets[0] <= offsets[-1] <= 100 + last
    assert [each.value for each in found if each.remnant is None] == [b"v"] * sum(
        each.remnant is None for each in found
    )


def test_lengths_that_lie_are_not_believed() -> None:
    """A record that claims two gigabytes, and a batch whose first record claims a length below zero."""
    lie = b"\0" + varint(0) + varint(0) + varint(1 << 31) + b"x"
    found = read(batch([Raw(body=lie), Raw(b"next")]))
    assert [each.value for each in found] == [b"", b"next"]
    (rest,) = split(struct.pack(">qi", 0, -5) + b"x" * 80)
    assert rest is None
