"""
The one door to the call log for programs: `calllog_guard.Reader`, asynchronous or plain.

In: who reads (an actor of the policy), for which purpose; settings and policy as for the workers.
Out: lines (`Put`, `Remove`, `Reset`), each after its access is on record.
Answers: what may not be seen is counted by its reason in `refused`; silence is an exception, never a removal.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Generic, TypeVar

import structlog

from calllog_guard.adapters.kafka_reader import KafkaLogReader
from calllog_guard.adapters.sqlite_cursor import SqliteCursor
from calllog_guard.bootstrap import World, world
from calllog_guard.core.calls.event import canonical
from calllog_guard.core.calls.view import Line
from calllog_guard.core.ids import Lookup, is_id
from calllog_guard.core.retention.access import Refusal
from calllog_guard.errors import ConfigurationError, LogRefusedError
from calllog_guard.law import policy_source, policy_tail
from calllog_guard.ports import Cursor, LogReader, Writer
from calllog_guard.settings import Settings, from_environment
from calllog_guard.workers.delivery import Steps
from calllog_guard.workers.following import Following
from calllog_guard.workers.reading import Reading
from calllog_guard.workers.safe import Safe
from calllog_guard.workers.snapshot import snapshot
from calllog_guard.workers.sources import Errand, Kept, People, Source

T = TypeVar("T")


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


class Reader(Stream[Line]):
    """
    Legs for one purpose, as lines.

    Without `follow`: a `Put` for every leg that the purpose may see now. With it: lines without end that keep a table true;
    the first is `Reset` unless a cursor is resumed. A line counts as taken when the next one is asked for; with a cursor a
    crash repeats lines and loses none, so apply them by token. Whoever stores many at once iterates over `batches()`.

    Args:
        case: The case that the access is for, if it is for one; goes on record.
        partitions: Of `calllog.legs`; all when None. Jobs that share the work take different ones, each with its own cursor.
        cursor: A file of this reader alone; without one, every start begins anew and the memory grows by about 140 bytes a leg.
        settings: The process' environment when None.
        told: Is called with a sentence when the reader waits.

    Raises:
        ConfigurationError: No such purpose, partition or case; a cursor of another purpose; settings or policy are wrong.
        StateRefusedError: The policy does not, or not any more, let this actor read for this purpose: empty the table.
        KeystoreSilentError, KeystoreGuardedError, LogSilentError: Unavailable; nothing is known and nothing was removed.

    """

    def __init__(
        self,
        *,
        purpose: str,
        actor: str,
        case: str | None = None,
        partitions: Sequence[int] | None = None,
        follow: bool = False,
        cursor: str | os.PathLike[str] | None = None,
        settings: Settings | None = None,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(self._lines)
        self._settings = from_environment(os.environ) if settings is None else settings
        self._errand = Errand(tenant=world(self._settings).tenant, purpose=purpose, actor=actor, case=case)
        self._partitions = list(range(self._settings.partitions) if partitions is None else dict.fromkeys(partitions))
        if unknown := [each for each in self._partitions if not 0 <= each < self._settings.partitions]:
            raise ConfigurationError(f"no partition {unknown[0]}: there are {self._settings.partitions}, from 0")
        if case is not None and not is_id(case):
            raise ConfigurationError("a case is 22 characters of base64url: see calllog-guard case list")
        if cursor is not None and not follow:
            raise ConfigurationError("a cursor is for following: ask to follow, or leave it out")
        self._follow, self._cursor, self._told = follow, cursor, told
        if not structlog.is_configured():  # its own default is stdout, where the lines of a command go
            structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
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

    async def _batches(self) -> AsyncGenerator[list[Line], None]:
        shared, settings = world(self._settings), self._settings
        writer, log, law = shared.writer(), KafkaLogReader(settings.kafka, shared.options), policy_tail(shared)
        fresh = asyncio.create_task(shared.vault.keep_fresh())
        cursor: SqliteCursor | None = None
        try:
            await writer.start()
            source = policy_source(shared, "reader", writer, law)
            await source.catch_up()
            await shared.look_back()
            reading = self._reading = self._made(shared, writer)
            reading.right()
            if self._follow:
                cursor = SqliteCursor(Path(self._cursor) if self._cursor is not None else None)
                made = (await self._following(shared, reading, log, cursor, source.look)).batches()
            else:
                if self._keeps(shared):  # else it has no copies, and need have no right to that topic
                    self._kept = self._made(shared, writer, kept=True)
                made = snapshot(reading, log, self._partitions, self._told, self._kept)
            async with aclosing(made) as batches:
                async for lines in batches:
                    yield lines
        finally:
            fresh.cancel()
            for stop in (law.stop, writer.stop, log.close, shared.keystore.close):
                await stop()
            if cursor is not None:
                cursor.close()

    def _keeps(self, shared: World) -> bool:
        """Whether the purpose keeps copies by law, in any version that made some."""
        named = [
            each.tenant[self._errand.tenant] for each in shared.policy.versions if self._errand.tenant in each.tenant
        ]
        return any(
            purpose.survives_erasure
            for table in named
            for name, purpose in table.purposes.items()
            if name == self._errand.purpose
        )

    async def _ledger(self, options: Mapping[str, Any]) -> str | None:
        """The ledger, when this user may read it: it tells at once whose standing changes, and of holds."""
        topic = self._settings.topic("privacy.decisions")
        asking = KafkaLogReader(
            self._settings.kafka, options
        )  # of its own: a client asks again and again for what it was refused
        try:
            await asking.bounds([(topic, 0)])
        except LogRefusedError:
            self._told(
                f"this user may not read {topic}: what is decided about a person shows within a minute, not at once"
            )
            return None
        finally:
            await asking.close()
        return topic

    async def _following(
        self, shared: World, reading: Reading, log: LogReader, cursor: Cursor, look: Callable[[], Awaitable[None]]
    ) -> Following:
        return Following(
            reading,
            log,
            cursor,
            shared.clock,
            ledger=await self._ledger(shared.options),
            partitions=self._partitions,
            keep_ms=self._settings.tombstone_keep_ms,
            retry_max_s=self._settings.retry_max_s,
            told=self._told,
            look=look,
        )

    def _source(self, shared: World, *, kept: bool) -> Source:
        tenant, settings, purpose = self._errand.tenant, self._settings, self._errand.purpose
        ring, pepper = shared.ring(tenant), shared.vault.pepper(tenant)
        if kept:
            safe = Safe(tenant, shared.keystore, ring, shared.vault)
            lowercase = shared.policy.at(shared.clock.now().date()).tenant[tenant].lowercase_email

            def lookup(text: str) -> Lookup:
                return pepper.lookup(tenant, canonical(text, lowercase_email=lowercase))

            return Kept(settings.topic("calllog.held"), safe, lookup, pepper, self._errand)
        topic = settings.topic("calllog.legs")
        return People(topic, ring, pepper, purpose, cache_entries=settings.cache_entries)

    def _made(self, shared: World, writer: Writer, *, kept: bool = False) -> Reading:
        settings = self._settings
        return Reading(
            self._errand,
            self._source(shared, kept=kept),
            shared.policy,
            writer,
            shared.clock,
            access=settings.topic("privacy.access"),
            partitions=settings.partitions,
            access_partitions=settings.few_partitions,
            steps=Steps(settings.off),
        )
