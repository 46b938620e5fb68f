"""The client for programs without asyncio: the same as `aio`, on an event loop in a thread of its own."""

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar, Unpack

from calllog_guard.client.aio import (
    FOLLOW_S,
    AsyncCases,
    AsyncClient,
    AsyncPrivacy,
    AsyncPublisher,
    AsyncReceipts,
    ClientOptions,
)
from calllog_guard.client.cases import CaseStage
from calllog_guard.client.checks import Event, Problem
from calllog_guard.client.requests import Draft, Requests
from calllog_guard.client.signing import SignedRequest
from calllog_guard.core.cases.receipt import Receipt
from calllog_guard.core.policy.active import TenantPolicy

T = TypeVar("T")
_END: Final = object()


class Loop:
    """An event loop in a thread; begins when first used."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="calllog-guard", daemon=True)
            self._thread.start()
        waiting = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return waiting.result()
        except BaseException:
            waiting.cancel()
            raise

    def stop(self) -> None:
        """End the thread."""
        loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


class Publisher:
    """See `AsyncPublisher`."""

    def __init__(self, inner: AsyncPublisher, loop: Loop) -> None:
        self._inner, self._loop = inner, loop

    def check(self, events: Iterable[Event]) -> None:
        """Whether a protector would take events; raises InvalidEventError. Nothing is sent."""
        self._inner.check(events)

    def send(self, *events: Event, topic: str | None = None) -> None:
        """Publish some events: all of them, or none where one would be refused (InvalidEventError)."""
        self._loop.run(self._inner.send(*events, topic=topic))

    def send_all(self, events: Iterable[Event], topic: str | None = None) -> int:
        """Publish as many events as there are, in batches; how many they were."""
        return self._loop.run(self._inner.send_all(events, topic))


class Privacy(Requests[str]):
    """See `AsyncPrivacy`: each function sends a request and returns the id of its case."""

    def __init__(self, inner: AsyncPrivacy, loop: Loop) -> None:
        self._inner, self._loop = inner, loop

    def _made(self, draft: Draft) -> str:
        return self.send(draft)

    def check(self, draft: Draft, policy: TenantPolicy | None = None) -> Problem | None:
        """Why a desk would refuse a request, or None. Nothing is sent."""
        return self._inner.check(draft, policy)

    def sign(self, draft: Draft) -> SignedRequest:
        """The record of a request; nothing is sent."""
        return self._inner.sign(draft)

    def send(self, draft: Draft) -> str:
        """Send a request; the id of its case. The same `jti` again is the same request."""
        return self._loop.run(self._inner.send(draft))


class Cases:
    """See `AsyncCases`."""

    def __init__(self, inner: AsyncCases, loop: Loop) -> None:
        self._inner, self._loop = inner, loop

    def follow(self, case: str, *, until: str | None = None, timeout_s: float = FOLLOW_S) -> Iterator[CaseStage]:
        """The stages of a case as they come, up to `until`, its certificate or end; WorkersSilentError on time-out."""
        stages = self._inner.follow(case, until=until, timeout_s=timeout_s)

        async def following() -> Any:
            return await anext(stages, _END)

        try:
            while (stage := self._loop.run(following())) is not _END:
                yield stage
        finally:
            self._loop.run(stages.aclose())


class Receipts:
    """See `AsyncReceipts`."""

    def __init__(self, inner: AsyncReceipts, loop: Loop) -> None:
        self._inner, self._loop = inner, loop

    def fetch(self, case: str) -> list[bytes]:
        """The receipts of a case as they were signed, in order."""
        return self._loop.run(self._inner.fetch(case))

    def verified(self, case: str, stage: str | None = None) -> Receipt:
        """The receipt of a stage, or the latest of the case, its signature good."""
        return self._loop.run(self._inner.verified(case, stage))

    def fetch_export(self, case: str, directory: str | Path) -> int:
        """Fetch the receipt and the sealed parts of an answer into a folder, for `open_export`; how many parts."""
        return self._loop.run(self._inner.fetch_export(case, directory))


class Client:
    """A backend's way to one tenant of an installation; takes what `AsyncClient` takes."""

    def __init__(self, kafka: str = "localhost:9092", **words: Unpack[ClientOptions]) -> None:
        self._inner, self._loop = AsyncClient(kafka, **words), Loop()
        self.publisher = Publisher(self._inner.publisher, self._loop)
        self.privacy = Privacy(self._inner.privacy, self._loop)
        self.cases = Cases(self._inner.cases, self._loop)
        self.receipts = Receipts(self._inner.receipts, self._loop)

    def start(self) -> Self:
        """Connect; see `AsyncClient.start`."""
        self._loop.run(self._inner.start())
        return self

    def close(self) -> None:
        """Disconnect."""
        self._loop.run(self._inner.close())
        self._loop.stop()

    def __enter__(self) -> Self:
        """Connect."""
        try:
            return self.start()
        except BaseException:
            self._loop.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        self.close()
