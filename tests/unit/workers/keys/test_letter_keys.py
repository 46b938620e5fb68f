"""Dead letters are sealed to a key per week, whose private half is destroyed once none of its letters can live."""

import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sizes import EACH_WRITE

from calllog_guard.adapters.kms.local import FileRing, LocalKms
from calllog_guard.adapters.memory.fakes import MemoryKms, MemoryRing
from calllog_guard.app import context as world_module
from calllog_guard.app.context import AppContext
from calllog_guard.core.codec import DEAD, decode, to_ms
from calllog_guard.core.crypto.jose import content_type, new_pair, open_sealed, sealed_to
from calllog_guard.core.stream.arrival import REMNANT, REMNANTS, arrival
from calllog_guard.core.stream.letters import LETTERS, MOMENTS, WEEK, LetterKey, kid_of, number_in, packed, unpacked
from calllog_guard.errors import (
    EntryCorruptError,
    EpochUnknownError,
    KmsSilentError,
    MessageError,
    NewerFormError,
    RequestRefusedError,
)
from calllog_guard.settings import Settings
from calllog_guard.workers.keys.tenants.letter_keys import LIFE_S, LetterKeys
from calllog_guard.workers.keys.tenants.wrapped_secrets import ROOT
from calllog_guard.workers.runtime.dead_letters import DeadLetters, OperatorKey

AT = datetime(2026, 11, 24, 9, tzinfo=UTC)
KEPT = timedelta(days=8, minutes=10)
OPERATOR, PUBLIC = new_pair(signs=False)
OTHER, _ = new_pair(signs=False)
GOLDEN = bytes([1]) + bytes(range(32)) + (1_764_000_000_123).to_bytes(8, "big")


class DiedError(BaseException):
    """The process ends here."""


class Place:
    """A KMS, the folder beside it, and processes that use them; the writer dies before or after its write `at`."""

    def __init__(self) -> None:
        self.kms, self.ring = MemoryKms(), MemoryRing()
        self.kms.create_epoch(ROOT)
        self.at, self.after, self.writes, self.seconds = 0, False, 0, 0.0

    def _write(self, write: Callable[[], Any]) -> Any:
        self.writes += 1
        if self.writes == self.at and not self.after:
            raise DiedError
        done = write()
        if self.writes == self.at:
            raise DiedError
        return done

    def create_epoch(self, name: str) -> None:
        """See Kms."""
        self._write(lambda: self.kms.create_epoch(name))

    def destroy_epoch(self, name: str) -> None:
        """See Kms."""
        self._write(lambda: self.kms.destroy_epoch(name))

    def put_new(self, name: str, blob: bytes) -> bool:
        """See Ring."""
        return bool(self._write(lambda: self.ring.put_new(name, blob)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ring if name == "get" else self.kms, name)

    def process(self, kind: str = LETTERS) -> LetterKeys:
        """Letter keys as a new process has them."""
        place: Any = self
        return LetterKeys(place, place, ROOT, lambda: self.seconds, kind=kind)


def letter(keys: LetterKeys, payload: bytes = b"payload", most: int = 100) -> Any:
    """A dead letter, as a worker writes it."""

    class Now:
        def now(self) -> datetime:
            return AT

    dead = DeadLetters("calllog.dead", OperatorKey(PUBLIC, "ops"), Now(), 1, most, week=keys.newest)
    output = dead.of(arrival(("calllog.events", 0), 7, 0, b"k", payload), MessageError("not_json"))
    return decode(DEAD, output.value or b"")


def opened(keys: LetterKeys, dead: Any) -> bytes:
    """What it holds."""
    return open_sealed(OPERATOR, open_sealed(keys.private(dead.kid), dead.jwe).decode())


# --- letters ----------------------------------------------------------------------------------------------------------


def test_a_letter_opens_with_both_keys_and_with_neither_alone() -> None:
    place = Place()
    keys = place.process()
    keys.renew(AT)
    dead = letter(keys)
    assert (dead.kid, sealed_to(dead.jwe)) == ("letters-1", "letters-1")
    assert opened(place.process(), dead) == b"payload"
    inner = open_sealed(keys.private("letters-1"), dead.jwe).decode()
    assert sealed_to(inner) == "ops", "the operator's key is called as its file is"
    for pem, token in ((OPERATOR, dead.jwe), (OTHER, dead.jwe), (OTHER, inner), (keys.private("letters-1"), inner)):
        with pytest.raises(RequestRefusedError):
            open_sealed(pem, token)


def test_a_remnant_is_told_before_anything_is_opened() -> None:
    place = Place()
    keys = place.process()
    keys.renew(AT)
    dead = letter(keys, b"x" * 101)
    assert content_type(dead.jwe) == REMNANT
    assert decode(REMNANTS, opened(keys, dead)).bytes == 101
    assert content_type(letter(keys).jwe) == ""


def test_without_a_week_letters_are_the_first_releases() -> None:
    dead = letter(Place().process())
    assert (dead.kid, open_sealed(OPERATOR, dead.jwe)) == ("ops", b"payload")


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_a_key_lasts_a_week_and_workers_follow_within_their_bound() -> None:
    place = Place()
    walker, worker = place.process(), place.process()
    assert worker.newest() is None
    first = walker.renew(AT)
    assert worker.newest() is None, "not asked again so soon"
    place.seconds += LIFE_S + 1
    assert worker.newest() == first
    assert walker.renew(AT + WEEK - timedelta(seconds=1)) == first
    second = walker.renew(AT + WEEK)
    assert (second.number, second.since) == (2, AT + WEEK)
    place.seconds += LIFE_S + 1
    assert worker.newest() == second


def test_a_key_is_destroyed_when_no_letter_sealed_to_it_lives_and_not_before() -> None:
    place = Place()
    keys = place.process()
    keys.renew(AT)
    dead = letter(keys)
    assert keys.destroy(AT + timedelta(days=999), KEPT) == [], "the newest never"
    keys.renew(AT + WEEK)
    end = AT + WEEK + KEPT
    assert keys.destroy(end - timedelta(milliseconds=1), KEPT) == []
    assert opened(place.process(), dead) == b"payload"
    assert keys.destroy(end, KEPT) == ["letters-1"]
    with pytest.raises(EpochUnknownError):
        keys.private("letters-1")
    assert keys.destroy(end, KEPT) == []
    place.seconds += LIFE_S + 1
    assert opened(keys, letter(keys)) == b"payload"


@given(st.lists(st.tuples(st.integers(-4000, 4000), st.booleans()), max_size=12))
@pytest.mark.slow
def test_no_order_of_clocks_destroys_a_key_in_use(steps: list[tuple[int, bool]]) -> None:
    """The brokers' time rises a day a step; the own clock is off at will. A letter lives its days by the brokers'."""
    place, brokers = Place(), AT
    keys = place.process()
    keys.renew(brokers)
    living: list[tuple[datetime, Any]] = []
    for off, early in steps:
        brokers += timedelta(days=1 if early else 5)
        own = brokers + timedelta(days=off)
        keys.renew(max(own, brokers))
        keys.destroy(min(own, brokers), KEPT)
        place.seconds += LIFE_S + 1
        living = [each for each in living if each[0] + timedelta(days=8) > brokers]
        living.append((brokers, letter(keys)))
        assert [opened(keys, dead) for _, dead in living] == [b"payload"] * len(living)
    assert len(keys.look()) <= len(steps) + 1


def test_a_wrong_clock_costs_one_key_more_and_no_week() -> None:
    place = Place()
    keys = place.process()
    keys.renew(AT + timedelta(days=4000))
    assert keys.renew(AT).number == 2
    assert keys.renew(AT + timedelta(days=1)).number == 2
    assert keys.renew(AT + WEEK).number == 3


# --- kills ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True])
def test_a_walk_that_dies_anywhere_is_made_good_by_the_next(*, after: bool) -> None:
    for at in range(1, 50, EACH_WRITE):
        place = Place()
        keys = place.process()
        keys.renew(AT)
        keys.renew(AT + WEEK)
        dead = letter(keys)
        place.writes, place.at, place.after = 0, at, after
        now = AT + 3 * WEEK
        try:
            place.process().renew(now)
            place.process().destroy(now, KEPT)
        except DiedError:
            worker = place.process()
            assert opened(worker, letter(worker)) == b"payload", "whatever a worker finds meanwhile can be used"
            assert opened(worker, dead) == b"payload"
            place.at = 0
            place.process().renew(now)
            place.process().destroy(now, KEPT)
        else:
            assert at > 4
            return
        assert [key.number for key in place.process().look()] == [1, 2, 3]
        assert [name for name in place.kms.epochs() if number_in(name)] == ["letters-2", "letters-3"]
    raise AssertionError("writes do not end")


def test_two_walks_at_once_make_one_key() -> None:
    place = Place()
    one, other = place.process(), place.process()
    assert one.renew(AT) == other.renew(AT)
    first, second = one.renew(AT + WEEK), other.renew(AT + WEEK + timedelta(seconds=1))
    assert first == second


# --- who may not ------------------------------------------------------------------------------------------------------


def test_a_key_that_the_kms_does_not_vouch_for_seals_nothing() -> None:
    """Whoever could put one there would read every letter."""
    place = Place()
    mine = LetterKey(1, secrets.token_bytes(32), AT)
    for proof in (b"", place.kms.wrap(ROOT, place.kms.unwrap(ROOT, place.kms.wrap(ROOT, secret())))):
        place.ring = MemoryRing()
        place.ring.put_new("letters.1.public", packed(mine) + proof)
        with pytest.raises(EntryCorruptError, match="who may not"):
            place.process().newest()


def secret() -> Any:
    """Some secret."""
    from calllog_guard.core.crypto.subject_secrets import Secret  # noqa: PLC0415

    return Secret.mint()


def test_a_key_of_another_number_is_none() -> None:
    place = Place()
    keys = place.process()
    keys.renew(AT)
    place.ring.put_new("letters.2.public", place.ring.get("letters.1.public") or b"")
    with pytest.raises(EntryCorruptError):
        place.process().look()


def test_while_nobody_can_tell_which_key_is_the_newest_nothing_is_sealed() -> None:
    """An old one may be destroyed before its letter is read."""
    place = Place()
    keys = place.process()
    keys.renew(AT)
    place.seconds += LIFE_S + 1

    def silent(_: str) -> bytes:
        raise KmsSilentError("silent")

    place.ring.get = silent  # type: ignore[method-assign,assignment]
    with pytest.raises(KmsSilentError):
        letter(keys)


def test_the_golden_bytes_are_read() -> None:
    key, content, proof = unpacked(3, GOLDEN + b"proof")
    assert (key.number, key.public, key.kid, content, proof) == (3, bytes(range(32)), "letters-3", GOLDEN, b"proof")
    assert packed(key) == GOLDEN
    for bad in (b"", b"\0" + GOLDEN[1:], GOLDEN[:40], GOLDEN[:33] + b"\xff" * 8):
        with pytest.raises(EntryCorruptError):
            unpacked(3, bad)
    with pytest.raises(NewerFormError):
        unpacked(3, b"\2" + GOLDEN[1:])


@given(st.text())
def test_only_our_names_have_a_number(name: str) -> None:
    number = number_in(name)
    assert number is None or kid_of(number) == name


def test_files_are_enough(tmp_path: Path) -> None:
    """The development KMS and its folder."""
    kms = LocalKms(tmp_path)
    kms.create_epoch(ROOT)
    keys = LetterKeys(kms, FileRing(tmp_path), ROOT)
    keys.renew(AT)
    assert opened(LetterKeys(LocalKms(tmp_path), FileRing(tmp_path), ROOT), letter(keys)) == b"payload"


# --- the walk ---------------------------------------------------------------------------------------------------------


class Walking:
    """What the walk of an installation asks of the world."""

    def __init__(self, place: Place) -> None:
        self.keys, self.moments, self.beat, self.own = place.process(), place.process(MOMENTS), AT, AT
        self.moments_ms = int(timedelta(days=3).total_seconds() * 1000)
        self.kept_ms: int | None = int(timedelta(days=7).total_seconds() * 1000)
        self.forms, self.beats = 2, True

    async def newest(self, *_: Any) -> list[Any]:
        """See Log."""
        return [SimpleNamespace(timestamp=to_ms(self.beat))] if self.beats else []

    def kept_ms_of(self, topics: Sequence[str]) -> dict[str, int]:
        """See Topics: a topic that keeps for ever is not named."""
        letters, moments = topics
        return ({} if self.kept_ms is None else {letters: self.kept_ms}) | {moments: self.moments_ms}

    async def walk(self) -> list[str]:
        """One walk; the keys that are alive then."""
        vault = SimpleNamespace(
            letters=self.keys,
            moments=self.moments,
            heartbeats=lambda _: SimpleNamespace(ours=None),
            profile=lambda _: SimpleNamespace(forms=self.forms),
        )
        shared: Any = SimpleNamespace(
            settings=Settings(),
            options={},
            vault=vault,
            tenant="iocom",
            log=self,
            clock=SimpleNamespace(now=lambda: self.own),
        )
        topics: Any = SimpleNamespace(kept_ms=self.kept_ms_of, close=lambda: None)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(world_module, "KafkaTopics", lambda *_: topics)
            await AppContext.letter_keys(shared)
        return [name for name in self.keys._kms.epochs() if number_in(name)]


async def test_the_walk_destroys_by_the_clock_that_is_behind() -> None:
    """Ten years ahead, the own one would destroy what operators still need; so would a broker's."""
    walking = Walking(Place())
    assert await walking.walk() == ["letters-1"]
    walking.beat = walking.own = AT + WEEK
    assert await walking.walk() == ["letters-1", "letters-2"]
    walking.own = AT + timedelta(days=4000)
    assert "letters-1" in await walking.walk()
    walking.own, walking.beat = AT + WEEK, AT + timedelta(days=4000)
    assert "letters-1" in await walking.walk()
    walking.own = walking.beat = AT + WEEK + timedelta(days=8, minutes=11)
    assert "letters-1" not in await walking.walk()


@pytest.mark.parametrize("longer", [timedelta(days=30), None])
async def test_the_walk_waits_for_as_long_as_the_topic_keeps_letters(longer: timedelta | None) -> None:
    walking = Walking(Place())
    await walking.walk()
    walking.kept_ms = None if longer is None else int(longer.total_seconds() * 1000)
    walking.beat = walking.own = AT + WEEK
    await walking.walk()
    walking.beat = walking.own = AT + WEEK + timedelta(days=30)
    assert "letters-1" in await walking.walk()


async def test_the_keys_of_moments_go_when_their_topic_has_forgotten_what_is_sealed_to_them() -> None:
    """Each kind has its own names and its own time: an old copy of the log opens for nobody."""
    walking = Walking(Place())

    def alive() -> list[str]:
        return [name for name in walking.moments._kms.epochs() if number_in(name, MOMENTS)]

    await walking.walk()
    walking.beat = walking.own = AT + WEEK
    assert await walking.walk() == ["letters-1", "letters-2"]
    assert alive() == ["moments-1", "moments-2"]
    sealed = walking.moments.secret("moments-1")
    assert sealed != walking.keys.secret("letters-1")
    walking.beat = walking.own = AT + WEEK + timedelta(days=4)
    await walking.walk()
    assert alive() == ["moments-1", "moments-2"], "the last of it, its file, and a worker that learns late"
    walking.beat = walking.own = AT + WEEK + timedelta(days=4, minutes=11)
    assert await walking.walk() == ["letters-1", "letters-2"]
    assert alive() == ["moments-2"]
    with pytest.raises(EpochUnknownError):
        walking.moments.secret("moments-1")


async def test_an_installation_of_the_first_release_has_no_such_keys() -> None:
    """Its command would not open what is sealed to them."""
    walking = Walking(Place())
    walking.forms = 1
    assert await walking.walk() == []
    walking.forms, walking.beats = 2, False
    assert await walking.walk() == [], "nobody tells what time it is for the brokers"
