"""Dead letters are bounded: beyond a size they hold a digest, sealed like a payload."""

import hashlib
from datetime import UTC, datetime

import pytest

from calllog_guard.core.codec import DEAD, Dead, decode
from calllog_guard.core.crypto.jose import content_type, new_pair, open_sealed
from calllog_guard.core.stream.arrival import LATEST_MS, REMNANT, REMNANTS, TOO_LARGE, Arrival, arrival, lost, remnant
from calllog_guard.core.stream.replay import first_appended_ms
from calllog_guard.errors import MessageError
from calllog_guard.workers.runtime.dead_letters import DeadLetters, OperatorKey

PRIVATE, PUBLIC = new_pair(signs=False)
PLACE = ("calllog.events", 3)


class Noon:
    """A clock that stands."""

    def now(self) -> datetime:
        """See Clock."""
        return datetime(2026, 11, 24, 12, tzinfo=UTC)


def letter(record: Arrival, most: int = 1000) -> Dead:
    """What becomes of a record that is refused."""
    output = DeadLetters("calllog.dead", OperatorKey(PUBLIC), Noon(), 1, most).of(
        record, MessageError("unknown_field", "/parties")
    )
    assert output.value is not None
    assert len(output.value) < 2 * most + 1000
    return decode(DEAD, output.value)


def test_a_payload_that_fits_is_kept_whole() -> None:
    dead = letter(arrival(PLACE, 7, 0, None, b"x" * 1000))
    assert open_sealed(PRIVATE, dead.jwe) == b"x" * 1000
    assert content_type(dead.jwe) == ""


def test_a_larger_one_is_its_length_and_digest_and_these_are_sealed() -> None:
    """A digest in clear would tell whoever can guess a payload that the guess is right."""
    payload = b"x" * 1001
    dead = letter(arrival(PLACE, 7, 0, None, payload))
    assert content_type(dead.jwe) == REMNANT
    left = decode(REMNANTS, open_sealed(PRIVATE, dead.jwe))
    assert (left.of, left.bytes, left.sha256) == ("value", 1001, hashlib.sha256(payload).hexdigest())
    assert (dead.reason, dead.topic, dead.partition, dead.offset) == ("unknown_field", *PLACE, 7)


def test_what_could_not_be_unpacked_is_told_as_the_border_left_it() -> None:
    left = remnant(TOO_LARGE, b"packed", "batch")
    dead = letter(lost(PLACE, 7, left, 0))
    assert decode(REMNANTS, open_sealed(PRIVATE, dead.jwe)) == left


@pytest.mark.parametrize("at_ms", [-(1 << 63), -1, 0, 1 << 40, 1 << 62, (1 << 63) - 1])
@pytest.mark.parametrize(
    "header", [None, b"", b"0:0@" + b"9" * 5000, b"0:0@" + b"9" * 15, b"@", b"0:0@\xd9\xa1", b"0:0@-1", b"\xff@1"]
)
def test_no_time_and_no_header_of_a_record_keeps_its_letter_from_being_written(
    at_ms: int, header: bytes | None
) -> None:
    """A replay header can only make a record older; what is none of ours makes it older than every fence."""
    record = arrival(PLACE, 0, at_ms, None, b"x", [("clg-replay", header), ("content-type", None)])
    assert 0 <= first_appended_ms(record.timestamp, record.headers) <= min(max(at_ms, 0), LATEST_MS)
    assert letter(record).appended_at is not None
