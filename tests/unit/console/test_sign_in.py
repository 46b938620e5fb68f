"""Who is signed in: a link once, a session for its time, a token for its session, guesses for a while."""

from datetime import datetime, timedelta

import pytest
from desk_world import START

from calllog_guard.console.sign_in.sessions import (
    GUESSED_IN,
    GUESSES,
    IDLE,
    LINK_LIFE,
    LONGEST,
    SignedIn,
    SignInLinks,
    Throttle,
)

SECOND = timedelta(seconds=1)


class Hand:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        """The time."""
        return self.at


@pytest.fixture
def clock() -> Hand:
    """A clock."""
    return Hand()


def test_a_link_lets_its_officer_in_once(clock: Hand) -> None:
    links = SignInLinks(clock.now)
    code = links.new("officer-1")
    assert links.taken(code) == "officer-1"
    assert links.taken(code) is None
    assert links.taken("") is None


def test_a_link_ends_with_its_time_and_with_a_newer_one(clock: Hand) -> None:
    links = SignInLinks(clock.now)
    old, other = links.new("officer-1"), links.new("officer-2")
    new = links.new("officer-1")
    assert links.taken(old) is None
    clock.at += LINK_LIFE
    assert links.taken(new) is None
    assert links.taken(other) is None


def test_a_session_ends_when_nobody_uses_it(clock: Hand) -> None:
    sessions = SignedIn(clock.now)
    cookie = sessions.begin("officer-1")
    for _ in range(3):
        clock.at += IDLE - SECOND
        assert sessions.found(cookie) is not None
    clock.at += IDLE
    assert sessions.found(cookie) is None
    clock.at -= IDLE
    assert sessions.found(cookie) is None, "it stays over"


def test_a_session_ends_after_its_longest_time_however_much_it_is_used(clock: Hand) -> None:
    sessions, began = SignedIn(clock.now), clock.at
    cookie = sessions.begin("officer-1")
    while clock.at < began + LONGEST - IDLE:
        clock.at += IDLE - SECOND
        assert sessions.found(cookie) is not None
    clock.at = began + LONGEST
    assert sessions.found(cookie) is None


def test_a_cookie_that_this_process_did_not_sign_is_nobodys(clock: Hand) -> None:
    sessions, others = SignedIn(clock.now), SignedIn(clock.now)
    cookie = sessions.begin("officer-1")
    name, _, mac = cookie.partition(".")
    for forged in (name, f"{name}.", f"{name}.{mac[:-1]}", f"{name}x.{mac}", "", ".", others.begin("officer-1"), "é.é"):
        assert sessions.found(forged) is None
    assert sessions.found(cookie) is not None


def test_a_token_is_of_one_session(clock: Hand) -> None:
    sessions = SignedIn(clock.now)
    one, other = sessions.begin("officer-1"), sessions.begin("officer-1")
    assert sessions.bears(one, sessions.token(one))
    assert not sessions.bears(one, sessions.token(other))
    assert not sessions.bears(one, "")
    assert not sessions.bears("", sessions.token(""))
    assert not sessions.bears(one, "é")


def test_signing_out_ends_the_session_and_no_other(clock: Hand) -> None:
    sessions = SignedIn(clock.now)
    one, other, third = sessions.begin("officer-1"), sessions.begin("officer-1"), sessions.begin("officer-2")
    sessions.end(one)
    assert sessions.found(one) is None
    assert sessions.found(other) is not None
    sessions.end_all("officer-1")
    assert sessions.found(other) is None
    assert sessions.found(third) is not None


def test_sessions_do_not_grow_without_end(clock: Hand) -> None:
    sessions = SignedIn(clock.now)
    first = sessions.begin("officer-1")
    for _ in range(100):
        clock.at += SECOND
        sessions.begin("officer-1")
    assert len(sessions._found) == 100
    assert sessions.found(first) is None


def test_nobody_is_heard_after_too_many_guesses_for_some_minutes(clock: Hand) -> None:
    guesses = Throttle(clock.now)
    for _ in range(GUESSES):
        assert not guesses.too_many("127.0.0.1")
        guesses.note("127.0.0.1")
    assert guesses.too_many("127.0.0.1")
    assert not guesses.too_many("::1")
    clock.at += GUESSED_IN
    assert not guesses.too_many("127.0.0.1")


def test_guesses_from_everywhere_do_not_fill_the_memory(clock: Hand) -> None:
    guesses = Throttle(clock.now)
    for number in range(3000):
        guesses.note(str(number))
    assert len(guesses._done) <= 1000
