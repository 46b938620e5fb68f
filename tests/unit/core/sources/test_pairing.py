"""Joins and leaves, late, twice, in any order or never: the stays are those that were, and what is estimated says so."""

from datetime import UTC, datetime
from functools import reduce
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sizes import size

from calllog_guard.core.codec import to_ms
from calllog_guard.core.sources.notification import Notification
from calllog_guard.core.sources.pairing import MOST_MOMENTS, Changes, SessionMoments, Timed, changes, noted, stays
from calllog_guard.errors import MessageError

HOUR = 3_600_000
LIMIT = 24 * HOUR
LATE = 1000 * HOUR


def known(*joined: int, left: tuple[int, ...] = ()) -> SessionMoments:
    """What is known of a session."""
    found = SessionMoments()
    for at in joined:
        found = found.with_join(at)
    for at in left:
        found = found.with_leave(at)
    return found


def test_a_leave_that_comes_first_is_paired_by_its_time() -> None:
    """JaaS promises no order; a leave of Zoom comes up to a minute and a half late."""
    early = SessionMoments().with_leave(9000)
    assert stays(early, (), 9000, LIMIT) == []
    assert stays(early.with_join(1000), (), 9000, LIMIT) == [Timed(1000, 9000)]


def test_a_leave_that_comes_after_the_next_join_ends_the_stay_before_it() -> None:
    assert stays(known(1000, 5000, left=(4000,)), (), 6000, LIMIT) == [Timed(1000, 4000), Timed(5000, None)]


@pytest.mark.parametrize(
    ("ends", "now", "expected"),
    [
        ((), 2000, Timed(1000, None)),
        ((8000,), 9000, Timed(1000, 8000, estimated=True)),
        ((500, 8000, 9000), 9000, Timed(1000, 8000, estimated=True)),
        ((500,), 2000, Timed(1000, None)),
        ((), 1000 + LIMIT, Timed(1000, 1000 + LIMIT, estimated=True)),
        ((1000 + 2 * LIMIT,), LATE, Timed(1000, 1000 + LIMIT, estimated=True)),
    ],
)
def test_a_stay_without_a_leave_ends_with_the_call_or_by_the_limit(
    ends: tuple[int, ...], now: int, expected: Timed
) -> None:
    """BigBlueButton sends no leave for those inside when the meeting ends; Zoom ends a meeting again after a re-join."""
    assert stays(known(1000), ends, now, LIMIT) == [expected]


def test_a_stay_whose_leave_was_lost_ends_when_the_same_session_joins_again() -> None:
    found = stays(known(1000, 5000, left=(9000,)), (20_000,), LATE, LIMIT)
    assert found == [Timed(1000, 5000, estimated=True), Timed(5000, 9000)]


def test_a_leave_whose_join_never_comes_is_a_moment_that_is_estimated() -> None:
    assert stays(known(left=(5000,)), (), 5000 + LIMIT, LIMIT) == [Timed(5000, 5000, estimated=True)]


def test_a_leave_that_says_when_its_session_began_needs_no_join() -> None:
    assert stays(SessionMoments().with_leave(9000, 1000), (), 9000, LIMIT) == [Timed(1000, 9000)]


def test_joining_and_leaving_in_the_same_instant_is_a_stay() -> None:
    assert stays(known(1000, left=(1000,)), (), 1000, LIMIT) == [Timed(1000, 1000)]
    assert stays(known(1000, 5000, left=(5000,)), (), 5000, LIMIT) == [Timed(1000, 5000), Timed(5000, None)]


def test_what_is_learned_later_corrects_what_was_told() -> None:
    """An estimate that was wrong is told again; a stay that never was is taken back."""
    estimated = stays(known(1000), (8000,), 9000, LIMIT)
    exact = stays(known(1000, left=(4000,)), (8000,), 9000, LIMIT)
    assert changes(estimated, exact) == Changes((Timed(1000, 4000),), ())
    alone = stays(known(left=(5000,)), (), LATE, LIMIT)
    joined = stays(known(1000, left=(5000,)), (), LATE, LIMIT)
    assert changes(alone, joined) == Changes((Timed(1000, 5000),), (5000,))
    assert changes(exact, exact) == Changes((), ())


def test_a_session_has_an_end_of_moments() -> None:
    """A stranger's webhook must not fill the state."""
    full = known(*range(MOST_MOMENTS))
    assert full.with_join(0) == full
    with pytest.raises(MessageError, match="too_many"):
        full.with_join(MOST_MOMENTS)


def test_notifications_of_a_session_are_its_moments_and_those_of_a_call_are_none() -> None:
    at, left = datetime(2026, 11, 24, 9, tzinfo=UTC), datetime(2026, 11, 24, 10, tzinfo=UTC)
    told = [
        Notification("left", "c", left, session="s", joined_at=at),
        Notification("ended", "c", left),
        Notification("joined", "c", left, session="s"),
        Notification("started", "c", at),
    ]
    found = reduce(noted, told, SessionMoments())
    assert found == SessionMoments((to_ms(at), to_ms(left)), (to_ms(left),))


@st.composite
def sessions(draw: Any) -> list[tuple[int, int]]:
    """The stays of one session, one after the other; one of no length, behind a lost leave, could be told apart by nobody."""
    gaps = draw(st.lists(st.tuples(st.integers(1, HOUR), st.integers(1, HOUR)), min_size=1, max_size=6))
    found, at = [], 0
    for gap, long in gaps:
        found.append((at + gap, at + gap + long))
        at += gap + long
    return found


@pytest.mark.slow
@settings(max_examples=size("HISTORIES", 100, 10_000), deadline=None)
@given(st.lists(sessions(), min_size=1, max_size=6), st.floats(0, 0.3), st.randoms(use_true_random=False))
def test_stays_are_those_of_the_history_however_it_is_told(
    history: list[list[tuple[int, int]]], lost: float, dice: Random
) -> None:
    """Shuffled, up to five times each, some leaves lost: exact where nothing was lost, estimated where it was."""
    end = max(left for session in history for _, left in session)
    gone = {(number, left) for number, session in enumerate(history) for _, left in session if dice.random() < lost}
    moments = [(number, "joined", at) for number, session in enumerate(history) for at, _ in session]
    moments += [
        (number, "left", at) for number, session in enumerate(history) for _, at in session if (number, at) not in gone
    ]
    told = [each for each in [*moments, (-1, "ended", end)] for _ in range(dice.randint(1, 5))]
    dice.shuffle(told)

    found = [SessionMoments() for _ in history]
    ends: set[int] = set()
    published: list[dict[int, Timed]] = [{} for _ in history]
    shown: list[list[Timed]] = [[] for _ in history]
    for number, what, at in told:
        if what == "ended":
            ends.add(at)
        else:
            found[number] = found[number].with_join(at) if what == "joined" else found[number].with_leave(at)
        for each in range(len(history)):
            now = stays(found[each], ends, LATE, LIMIT)
            step = changes(shown[each], now)
            shown[each] = now
            for begun in step.gone:
                del published[each][begun]
            published[each] |= {stay.joined_ms: stay for stay in step.told}

    for number, session in enumerate(history):
        begins = [at for at, _ in session[1:]]
        wanted = {
            at: Timed(at, following if (number, left) in gone else left, estimated=(number, left) in gone)
            for (at, left), following in zip(session, [*begins, end], strict=True)
        }
        assert published[number] == wanted
