"""
The one door to the call log for programs: `calllog_guard.Reader`, asynchronous or plain.

In: who reads (an actor of the policy), for which purpose; settings and policy as for the workers.
Out: lines (`Put`, `Remove`, `Reset`), each after its access is on record.
Answers: what may not be seen is counted by its reason in `refused`; silence is an exception, never a removal.
"""

import asyncio
import os
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypedDict, TypeVar, Unpack

import structlog

from calllog_guard import telemetry
from calllog_guard.adapters.kafka.admin.extents import KafkaExtents
from calllog_guard.adapters.kafka.log_reader import KafkaLogReader
from calllog_guard.adapters.process.endings import ended
from calllog_guard.adapters.sqlite_cursor import SqliteCursor
from calllog_guard.app.context import AppContext, world
from calllog_guard.app.preflight import check_places, policy_source, policy_tail
from calllog_guard.core.audit.accesses import ActorKey, actor_key
from calllog_guard.core.calls.view import Line
from calllog_guard.core.identifiers import ID_BYTES, b64, is_id
from calllog_guard.core.retention.read_access import Refusal
from calllog_guard.core.rights.grants import DOMAIN_OF
from calllog_guard.core.topics import Topic
from calllog_guard.errors import ConfigurationError, LogRefusedError
from calllog_guard.metrics import Counters
from calllog_guard.ports.log import LogReader, Record, Writer
from calllog_guard.settings import PREFIX, Settings, from_environment
from calllog_guard.workers.keys.hold_store import Safe
from calllog_guard.workers.keys.people.homes import Homes
from calllog_guard.workers.reader.follower import LAP_S, Following
from calllog_guard.workers.reader.follower_position import Trail
from calllog_guard.workers.reader.handed import lines_of
from calllog_guard.workers.reader.once import snapshot
from calllog_guard.workers.reader.session import Hand, ReaderContext, Reading
from calllog_guard.workers.reader.sources import Errand, Kept, People, Source
from calllog_guard.workers.runtime.process.health import Health
from calllog_guard.workers.runtime.retry import answered

log: Final = structlog.get_logger()
UNPROVEN: Final = (
    "nobody proves who reads: no actor of tenant {tenant} has a registered key, and whoever may write privacy.access "
    "may write accesses in any name: calllog-guard key new ACTOR --role actor, then key register"
)
_LEAVE_S: Final = 7.0
Goodbye = Callable[[], Coroutine[Any, Any, None]]
Handed = Callable[[Sequence[Record]], Awaitable[list[tuple[Record, Line]]]]
T = TypeVar("T")


class Begun(NamedTuple):
    """An errand under way: what reads its legs and its copies, how it is, and what is left at its end."""

    shared: AppContext
    reading: Reading
    kept: Reading
    health: Health
    look: Callable[[], Awaitable[None]]
    goodbyes: list[Goodbye]


class Stream(Generic[T]):
    """
    Something to iterate over, with `async for` or, in a program without an event loop, with `for`.

    Who leaves an `async for` early closes the iterator, as with any: `async with contextlib.aclosing(aiter(stream))`.
    """

    def __init__(self, start: Callable[[], AsyncGenerator[T, None]]) -> None:
        self._start = start

    def __aiter__(self) -> AsyncGenerator[T, None]:  # noqa: PYI058 - who leaves early must be able to close it
        return self._start()

    def __iter__(self) -> Iterator[T]:
        with asyncio.Runner() as runner:
            items = self._start()

            async def following() -> T:
                return await anext(items)

            try:
                while True:
                    yield runner.run(following())
            except StopAsyncIteration:
                return
            finally:
                runner.run(items.aclose())


class Options(TypedDict, total=False):
    """How a Reader reads; each is said in words there."""

    key: str | os.PathLike[str] | None
    case: str | None
    partitions: Sequence[int] | None
    follow: bool
    cursor: str | os.PathLike[str] | None
    http: str | None
    settings: Settings | None
    told: Callable[[str], None] | None


class Reader(Stream[Line]):
    """
    Legs for one purpose, as lines.

    Without `follow`: a `Put` for every leg the purpose may see now. With it: endless lines that keep a table true;
    the first is `Reset` unless a cursor is resumed. A line counts as taken when the next is asked for; with a cursor a
    crash repeats lines and loses none, so apply them by token. Whoever stores many at once iterates over `batches()`.

    Args:
        key: The actor's private key, a PEM file; ACTOR_KEY when None. Needed once the policy has an actor's key.
        case: The case that the access is for, if it is for one; goes on record.
        partitions: Of `calllog.legs`; all when None. Jobs that share the work take different ones, each with a cursor.
        cursor: A file of this reader alone; without one, every start begins anew, and memory grows by 140 bytes a leg.
        settings: The process' environment when None.
        http: `host:port`, to serve `/health` and `/metrics` on while following; none by default.
        told: Is called with a sentence when the reader waits.

    Raises:
        ConfigurationError: No such purpose, partition or case; another purpose's cursor; an address in use; settings or
            policy are wrong.
        StateRefusedError: The policy does not let this actor read for this purpose, or the reader does not prove to
            be this actor: empty the table. On record, too.
        KeystoreSilentError, KeystoreGuardedError, LogSilentError: Unavailable; nothing is known, nothing was removed.

    """

    def __init__(self, *, purpose: str, actor: str, **options: Unpack[Options]) -> None:
        super().__init__(self._lines)
        if unknown := sorted(options.keys() - Options.__annotations__.keys()):
            raise TypeError(f"Reader has no option {unknown[0]}")
        settings, key, case = options.get("settings"), options.get("key"), options.get("case")
        partitions, follow, cursor = options.get("partitions"), options.get("follow", False), options.get("cursor")
        http, told = options.get("http"), options.get("told")
        self._settings = from_environment(os.environ) if settings is None else settings
        self._key = actor_key_at(self._settings if key is None else Path(key))
        read = b64(secrets.token_bytes(ID_BYTES)).decode()
        self._errand = Errand(tenant=world(self._settings).tenant, purpose=purpose, actor=actor, case=case, read=read)
        self._partitions = list(range(self._settings.partitions) if partitions is None else dict.fromkeys(partitions))
        if beyond := [each for each in self._partitions if not 0 <= each < self._settings.partitions]:
            raise ConfigurationError(f"no partition {beyond[0]}: there are {self._settings.partitions}, from 0")
        if case is not None and not is_id(case):
            raise ConfigurationError("a case is 22 characters of base64url: see calllog-guard case list")
        if cursor is not None and not follow:
            raise ConfigurationError("a cursor is for following: ask to follow, or leave it out")
        if http is not None and not follow:
            raise ConfigurationError("pages are for following: ask to follow, or leave the address out")
        self._follow, self._cursor, self._http = follow, cursor, http
        self._told, self._warn = told or _nobody, told or log.warning
        if not structlog.is_configured():  # its own default is stdout, where the lines of a command go
            telemetry.configure("reader", hooks=False)
        self._reading: Reading | None = None
        self._kept: Reading | None = None

    @property
    def opened(self) -> int:
        """How many legs were opened since the iteration began."""
        return sum(each.opened for each in (self._reading, self._kept) if each)

    @property
    def refused(self) -> Counter[Refusal]:
        """How many were not, by reason."""
        both = [each.refused for each in (self._reading, self._kept) if each]
        return sum(both, Counter[Refusal]())

    def batches(self) -> Stream[list[Line]]:
        """The same lines, as many at once as were judged at once: store them in one transaction."""
        return Stream(self._batches)

    async def _lines(self) -> AsyncGenerator[Line, None]:
        async with aclosing(self._batches()) as batches:
            async for batch in batches:
                for line in batch:
                    yield line

    @asynccontextmanager
    async def handed(self) -> AsyncGenerator[Handed, None]:
        """
        For whom another consumer reads the legs: a function that gives a line for each leg of some records, with it.

        The function raises what iterating raises; it waits for what is silent where this reader follows.
        """
        async with self._begun() as begun:
            now = asyncio.get_running_loop().time
            next_look = now()

            async def lines(records: Sequence[Record]) -> list[tuple[Record, Line]]:
                nonlocal next_look
                if now() >= next_look:
                    await self._answered(begun.shared, begun.look)
                    next_look = now() + LAP_S
                found: list[tuple[Record, Line]] = []

                async def ask() -> None:
                    found[:] = await lines_of(begun.reading, records)

                await self._answered(begun.shared, ask)
                return found

            yield lines

    async def _batches(self) -> AsyncGenerator[list[Line], None]:
        async with self._begun() as begun, AsyncExitStack() as leaves:
            shared, settings = begun.shared, self._settings
            log, held = [KafkaLogReader(settings.kafka, shared.options) for _ in range(2)]
            begun.goodbyes.extend((log.close, held.close))
            if self._follow:
                extents = KafkaExtents(settings, shared.options)
                leaves.push_async_callback(asyncio.to_thread, extents.close)
                cursor = SqliteCursor(Path(self._cursor) if self._cursor is not None else None)
                leaves.callback(cursor.close)
                trail = replace(self._trail(log, held, await self._ledger(shared), extents), look=begun.look)
                followed = Following(begun.reading, begun.kept, trail, cursor, partial(self._waits, shared))
                begun.health.work = followed
                made = followed.batches()
            else:
                made = snapshot(begun.reading, log, self._partitions, self._told, begun.kept)
            async with aclosing(made) as batches:
                async for lines in batches:
                    yield lines

    @asynccontextmanager
    async def _begun(self) -> AsyncGenerator[Begun, None]:
        """The errand, let in and on record, with what it reads by; it is left with the block."""
        shared = world(self._settings)
        shared.vault.domains.own = DOMAIN_OF["reader"]
        writer, law = shared.writer(), policy_tail(shared)
        fresh = asyncio.create_task(shared.vault.keep_fresh())
        goodbyes = [law.stop, writer.stop, shared.keystore.close]
        try:
            health = await self._shown(shared, goodbyes)
            source = policy_source(shared, "reader", writer, law)
            for ask in (writer.start, source.catch_up, shared.look_back, partial(check_places, shared)):
                await self._answered(shared, ask)
            reading = self._reading = self._made(shared, writer)
            kept = self._kept = self._made(shared, writer, kept=True)
            await reading.entitled()
            if not shared.policy.actors(shared.tenant).must_prove(shared.clock.now()):
                self._warn(UNPROVEN.format(tenant=shared.tenant))
            yield Begun(shared, reading, kept, health, source.look, goodbyes)
        finally:
            fresh.cancel()
            await asyncio.gather(*(ended(goodbye(), _LEAVE_S) for goodbye in goodbyes))

    async def _answered(self, shared: AppContext, ask: Callable[[], Awaitable[object]]) -> None:
        """At its start too a follower waits for what is silent; a plain read does not."""
        most_s = self._settings.retry_max_s if self._follow else 0.0
        await answered(ask, lambda error: self._waits(shared, f"waits, nothing is removed: {error}"), most_s=most_s)

    def _waits(self, shared: AppContext, text: str) -> None:
        shared.metrics.count(Counters.retries, 1)
        self._told(text)

    async def _shown(self, shared: AppContext, goodbyes: list[Goodbye]) -> Health:
        """How this follower is, on pages from its first moment on where an address was given for them."""
        pulse, kafka = shared.pulse(list)
        health = Health(pulse)
        if self._http is not None:
            from calllog_guard.adapters.http.pages import Pages  # noqa: PLC0415 - slow, and most readers serve nothing

            pages = Pages("reader", shared.metrics, health)
            goodbyes += [pages.stop, pulse.stop, kafka.close]
            self._told(f"serves /health and /metrics on {await pages.start(self._http)} from now on")
            pulse.start()
        return health

    async def _ledger(self, shared: AppContext) -> str | None:
        """The ledger, when this user may read it: it tells at once whose standing changes, and of holds."""
        topic = self._settings.topic(Topic.DECISIONS)
        # through a connection of its own: a client asks again and again for what it was refused
        asking = KafkaLogReader(self._settings.kafka, shared.options)

        async def ask() -> None:
            await asking.bounds([(topic, 0)])

        try:
            await self._answered(shared, ask)
        except LogRefusedError:
            self._told(f"this user may not read {topic}: what is decided about a person shows within a minute")
            return None
        finally:
            await asking.close()
        return topic

    def _trail(self, log: LogReader, held: LogReader, ledger: str | None, extents: KafkaExtents) -> Trail:
        settings = self._settings
        return Trail(
            log=log,
            held=held,
            legs=settings.topic(Topic.LEGS),
            copies=settings.topic(Topic.HELD),
            ledger=ledger,
            partitions=sorted(self._partitions),
            keep_ms=settings.tombstone_keep_ms,
            ids=extents.known_as,
        )

    def _source(self, shared: AppContext, *, kept: bool) -> Source:
        tenant, settings, purpose = self._errand.tenant, self._settings, self._errand.purpose
        ring, pepper = shared.ring(tenant), shared.vault.pepper(tenant)
        if kept:
            safe = Safe(ring)
            homes, topic = Homes(ring, writes=False), settings.topic(Topic.HELD)
            return Kept(topic, ring, safe, homes, pepper, self._errand)
        topic = settings.topic(Topic.LEGS)
        return People(topic, ring, pepper, purpose, cache_entries=settings.cache_entries)

    def _made(self, shared: AppContext, writer: Writer, *, kept: bool = False) -> Reading:
        context = ReaderContext(
            settings=self._settings,
            policy=shared.policy,
            clock=shared.clock,
            writer=writer,
            hand=None if self._key is None else Hand(self._key, shared.vault.guard_id()),
            count=shared.metrics.count,
        )
        return Reading(self._errand, self._source(shared, kept=kept), context)


def _nobody(_text: str) -> None:
    """Nobody is told."""


def actor_key_at(named: Settings | Path) -> ActorKey | None:
    """
    The actor's private key in a file, or in the one that the setting names; None where none is named.

    Raises:
        ConfigurationError: It cannot be read, or does not sign.

    """
    told = "--key" if isinstance(named, Path) else f"{PREFIX}ACTOR_KEY"
    path = named if isinstance(named, Path) else Path(named.actor_key) if named.actor_key else None
    if path is None:
        return None
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{told}: the file cannot be read: {error.strerror}") from None
    return actor_key(pem, told)
