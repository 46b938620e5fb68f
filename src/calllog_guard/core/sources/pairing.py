"""
From joins and leaves to stays: when somebody was in a call, from moments that come late, twice, in any order, or never.

In: the moments of one session, and the ends of its call.  Out: its stays, and what they change of those told before.
Rules: 1. What is known is a set of moments: their order and number of times do not matter.
       2. Moments are paired by when they were, not by when they came.
       3. What is not known is estimated, and said to be.  4. Nobody is named here: a session has a key.
Not here: where moments are kept, who they are of (the worker of sessions).
Source: docs/reference/mapping.md, `NotificationRule`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from calllog_guard.core.codec import to_ms
from calllog_guard.core.sources.notification import Notification
from calllog_guard.errors import MessageError

MOST_MOMENTS: Final = 200
"""Of one session: whoever comes and goes more often under one id was made up to fill the state."""


class SessionMoments(NamedTuple):
    """
    What is known of one session, in milliseconds since 1970, each in order and once.

    Args:
        joined: When it began; platforms that keep a session's id over a lost connection say so several times.
        left: When it ended.

    """

    joined: tuple[int, ...] = ()
    left: tuple[int, ...] = ()

    def with_join(self, at_ms: int) -> "SessionMoments":
        """
        Another beginning.

        Raises:
            MessageError: `too_many`; the notification is dead-lettered.

        """
        return self._replace(joined=_with(self.joined, at_ms))

    def with_leave(self, at_ms: int, joined_ms: int | None = None) -> "SessionMoments":
        """
        Another end, with its beginning where the platform says it.

        Raises:
            MessageError: `too_many`; the notification is dead-lettered.

        """
        known = self if joined_ms is None else self.with_join(joined_ms)
        return known._replace(left=_with(known.left, at_ms))


def noted(known: SessionMoments, told: Notification) -> SessionMoments:
    """
    What is known of a session with one more of its notifications; one of a whole call changes nothing.

    Raises:
        MessageError: `too_many`; the notification is dead-lettered.

    """
    if told.what == "joined":
        return known.with_join(to_ms(told.at))
    if told.what == "left":
        return known.with_leave(to_ms(told.at), None if told.joined_at is None else to_ms(told.joined_at))
    return known


class Timed(NamedTuple):
    """
    One stay of a session.

    Args:
        left_ms: None while it goes on.
        estimated: The beginning or the end is not known: it is the best that the other moments say.

    """

    joined_ms: int
    left_ms: int | None
    estimated: bool = False


class Changes(NamedTuple):
    """What a further moment changes: stays to be told, anew or again, and the beginnings of those that never were."""

    told: tuple[Timed, ...]
    gone: tuple[int, ...]


def _with(moments: tuple[int, ...], at_ms: int) -> tuple[int, ...]:
    if at_ms in moments:
        return moments
    if len(moments) >= MOST_MOMENTS:
        raise MessageError("too_many", "/session")
    return tuple(sorted((*moments, at_ms)))


def stays(moments: SessionMoments, ends: Iterable[int], now_ms: int, limit_ms: int) -> list[Timed]:
    """
    The stays of a session, in order.

    Args:
        ends: When its call ended: several times, where somebody came back to it.
        limit_ms: How long a stay may be of which no end is known; a leave without its beginning waits as long for it.

    """
    found = list(_paired(moments))
    later = [*(stay.joined_ms for stay in found[1:]), None]
    closing = sorted(ends)
    made = []
    for stay, following in zip(found, later, strict=False):  # `later` has one more where there is no stay
        if stay.left_ms is not None:
            if not stay.estimated or now_ms - stay.left_ms >= limit_ms:
                made.append(stay)
            continue
        made.append(_closed(stay.joined_ms, following, closing, now_ms, limit_ms))
    return made


def _paired(moments: SessionMoments) -> Iterator[Timed]:
    """Each beginning with the first end that is not before it, unless the next beginning comes between."""
    joined: int | None = None
    left = set(moments.left)
    for at in sorted({*moments.joined, *left}):
        begins, ends = at in moments.joined, at in left
        if ends and joined is not None:
            yield Timed(joined, at)
            joined, ends = None, False
        if begins and joined is not None:
            yield Timed(joined, None)
        if begins and ends:
            yield Timed(at, at)
        elif begins:
            joined = at
        elif ends:
            yield Timed(at, at, estimated=True)
    if joined is not None:
        yield Timed(joined, None)


def _closed(joined: int, following: int | None, ends: Sequence[int], now: int, limit: int) -> Timed:
    """A stay of which no end is known: by the call's end, the next beginning or the limit, whichever is first."""
    latest = joined + limit if now - joined >= limit else None
    known = [
        each for each in (following, next((end for end in ends if end >= joined), None), latest) if each is not None
    ]
    return Timed(joined, min(known), estimated=True) if known else Timed(joined, None)


def changes(before: Sequence[Timed], after: Sequence[Timed]) -> Changes:
    """What is to be told after some more was learned; a stay is the same if it began at the same time."""
    known = {stay.joined_ms: stay for stay in before}
    still = {stay.joined_ms for stay in after}
    told = tuple(stay for stay in after if known.get(stay.joined_ms) != stay)
    return Changes(told, tuple(begun for begun in known if begun not in still))
