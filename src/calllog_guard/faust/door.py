"""
Legs opened inside a Faust agent: batches by Faust's own `take`, judged by the rules and the code of `Reader`.

Rules: 1. An access is on record before a line comes out.
       2. A batch is acknowledged to Faust once its last line was taken: who is killed gets its lines again.
       3. Whoever leaves the loop before, by an error or not, ends the app: Faust would acknowledge what comes next and
          so jump what was left (docs/how-to/use-faust.md).
       4. While Kafka or the keystore is silent it waits, up to RETRY_MAX_S, and Faust waits behind it.
"""

import os
import sys
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, TypedDict, Unpack

from faust import Topic
from faust.streams import _current_event as _at_hand  # what `faust.current_event()` tells, and tables go by

from calllog_guard.app.reader import Reader
from calllog_guard.core.calls.view import Reset
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.core.topics import Topic as Ours
from calllog_guard.errors import ConfigurationError, StateRefusedError
from calllog_guard.faust.records import PutRecord, RemoveRecord, record_of
from calllog_guard.settings import Settings, from_environment

MOST: Final = 1000
_LEFT: Final = "a loop over opened() was left before its time: what it was given is not acknowledged"
WITHIN_S: Final = 0.2
"""A batch waits so long for more: the time that a lone record takes to come out."""


class _LegsTopic(Topic):  # type: ignore[misc]  # the library ships no types
    """A topic that Faust reads and never makes: `calllog-guard topics create` does."""

    async def declare(self) -> None:
        """See Faust."""


class DoorOptions(TypedDict, total=False):
    """How legs are opened; each is said in words at `Reader`."""

    key: str | os.PathLike[str] | None
    case: str | None
    settings: Settings | None
    told: Callable[[str], None] | None


def legs(app: Any, settings: Settings | None = None) -> Any:
    """
    The topic of legs for an app's agents: as bytes, and never made by Faust.

    Args:
        settings: The process' environment when None.

    """
    found = from_environment(os.environ) if settings is None else settings
    raw = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
    return _LegsTopic(app, topics=[found.topic(Ours.LEGS)], allow_empty=True, **raw)


def _check(stream: Any) -> None:
    """
    Whether a stream hands out legs as they lie in their topic, in order.

    Raises:
        ConfigurationError: It is of another kind.

    """
    raw = "raw"
    if (stream.channel.key_serializer, stream.channel.value_serializer) != (raw, raw):
        raise ConfigurationError("the agent's topic hands out no raw bytes: make it with calllog_guard.faust.legs(app)")
    if stream.concurrency_index is not None:
        raise ConfigurationError("an agent with concurrency acknowledges what it has not done: leave concurrency out")


@asynccontextmanager
async def _ending(app: Any) -> AsyncGenerator[Callable[[], None], None]:
    """A block whose end before its time is the app's end."""
    ended = False

    def done() -> None:
        nonlocal ended
        ended = True

    try:
        yield done
    finally:
        if not ended and not app.should_stop:
            error = sys.exception()
            await app.crash(error if isinstance(error, Exception) else StateRefusedError(_LEFT))


def _arrival(message: Any) -> Arrival:
    return Arrival(message.topic, message.partition, message.offset, message.key, message.value)


async def opened(
    stream: Any,
    *,
    purpose: str,
    actor: str,
    most: int = MOST,
    within_s: float = WITHIN_S,
    **options: Unpack[DoorOptions],
) -> AsyncGenerator[PutRecord | RemoveRecord, None]:
    """
    Lines of a stream's legs for one purpose: a PutRecord for what it may see, a RemoveRecord for what it may not.

    While a line is at hand, Faust's `current_event()` is the leg's: a table that is changed then is changed in the
    leg's partition.

    Args:
        stream: Of an agent over `legs(app)`, without concurrency.
        most: Records judged at once.
        options: As of `calllog_guard.Reader`: `key`, `case`, `settings`, `told`.

    Raises:
        ConfigurationError, StateRefusedError, KeystoreSilentError, KeystoreGuardedError, LogSilentError: As `Reader`;
            the app ends, too.

    """
    _check(stream)
    async with _ending(stream.app) as done:
        reader = Reader(purpose=purpose, actor=actor, follow=True, **options)
        async with reader.handed() as lines, aclosing(stream.noack_take(most, within_s)) as batches:
            async for events in batches:
                at = {(event.message.partition, event.message.offset): event for event in events}
                for record, line in await lines([_arrival(event.message) for event in events]):
                    _at_hand.set(weakref.ref(at[record.partition, record.offset]))
                    if not isinstance(line, Reset):
                        yield record_of(line)
                for event in events:
                    await stream.ack(event)
        done()
