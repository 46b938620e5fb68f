"""
Webhooks: checked on the raw body, mapped, written, and answered once the broker has acknowledged.

Rules: 1. The signature comes first: of a request that nobody signed nothing is parsed, kept or told.
       2. 2xx means acknowledged.  What is not acknowledged in time is 503: the platform sends it again, and taken twice
          it changes nothing.  3. A refused message is a dead letter and a 200: sent again it would be refused again.
Source: docs/reference/ingest.md.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import structlog

from calllog_guard import telemetry
from calllog_guard.core.codec import to_ms
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.core.topics import Topic
from calllog_guard.core.webhooks.intake import IngestSource
from calllog_guard.core.webhooks.signatures import Signed, check_signature, handshake, is_trial
from calllog_guard.core.webhooks.source_names import naming
from calllog_guard.errors import Fate, GuardError, MessageError, WebhookRefusedError
from calllog_guard.metrics import Counters, Summaries
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.ports.webhooks import WebhookReply, WebhookRequest
from calllog_guard.workers.ingest.context import IngestContext
from calllog_guard.workers.ingest.intake import IngestWork, MessageIntake

log: Final = structlog.get_logger()
_NOWHERE: Final = -1
"""The offset of a message that lay in no topic."""
_TAKEN: Final = WebhookReply(HTTPStatus.OK)
_AGAIN: Final = WebhookReply(HTTPStatus.SERVICE_UNAVAILABLE)
_UNSIGNED: Final = WebhookReply(HTTPStatus.UNAUTHORIZED, b"not signed by a secret of this source\n")


class Receiver:
    """The WebhookService of one ingest; `halt` is told of what no further message may follow."""

    def __init__(self, context: IngestContext, halt: Callable[[Exception], None]) -> None:
        self._at, self._intake, self._halt = context, MessageIntake(context), halt
        self._sources = {f"/{name}": each for name, each in context.sources.items() if each.scheme}
        self._steps = CrashPoints(context.settings.off)
        self.most_bytes = context.settings.ingest_body_bytes

    def refuses(self, path: str, content_type: str) -> int:
        """See WebhookService."""
        source = self._sources.get(path)
        if source is None:
            return HTTPStatus.NOT_FOUND
        return 0 if source.takes(content_type) else HTTPStatus.UNSUPPORTED_MEDIA_TYPE

    def turned_away(self, status: int) -> None:
        """See WebhookService."""
        self._at.count(Counters.webhooks["", int(status)], 1)

    async def receive(self, request: WebhookRequest) -> WebhookReply:
        """See WebhookService."""
        now, source = asyncio.get_running_loop().time, self._sources[request.path]
        began = now()
        reply = await self._answered(source, request)
        self._at.count(Counters.webhooks[source.name, int(reply.status)], 1)
        self._at.count(Summaries.webhook_seconds, int((now() - began) * 1e6))
        return reply

    async def _answered(self, source: IngestSource, request: WebhookRequest) -> WebhookReply:
        try:
            if (asked := self._checked(source, request)) is not None:
                return asked
            async with asyncio.timeout(self._at.settings.ingest_answer_s):
                await self._take(source, request.body)
        except WebhookRefusedError as error:
            self._at.count(Counters.webhooks_refused[source.name, error.reason], 1)
            return _UNSIGNED
        except TimeoutError:
            log.warning("webhook waits", source=source.name, why="Kafka has not acknowledged in time")
            self._intake.forget()
            return _AGAIN
        except GuardError as error:
            if error.fate is Fate.RETRY:
                log.warning("webhook waits", source=source.name, why=str(error))
            else:
                self._halt(error)
            self._intake.forget()
            return _AGAIN
        except Exception as error:  # noqa: BLE001 - a defect; its text may quote the message, its kind and place do not
            at = telemetry.place(error.__traceback__)
            log.error("webhook failed", source=source.name, kind=type(error).__name__, at=at)  # noqa: TRY400
            return _AGAIN
        return _TAKEN

    def _checked(self, source: IngestSource, request: WebhookRequest) -> WebhookReply | None:
        """
        The answer to a question of the platform's; None: it is a message, and signed.

        Raises:
            WebhookRefusedError: It is not signed.

        """
        if is_trial(source.scheme, request.body):
            return _TAKEN
        scheme = source.signed
        if scheme is None:
            raise AssertionError("a source without a scheme has no path")
        signed = Signed(url=source.url, query=request.query, headers=request.headers, body=request.body)
        secret = check_signature(scheme, signed, source.keys, self._at.clock.now().timestamp())
        asked = handshake(source.scheme, request.body, secret)
        return None if asked is None else WebhookReply(HTTPStatus.OK, asked, "application/json")

    async def _take(self, source: IngestSource, body: bytes) -> None:
        at = self._at
        topic, now_ms = at.settings.topic(Topic.NOTIFICATIONS), to_ms(at.clock.now())
        record = Arrival(topic, at.home, _NOWHERE, None, body, now_ms, naming(source.name), len(body))
        work = await self._intake.work(source, record)
        try:
            await self._written(work)
        except MessageError as error:
            await self._written(self._intake.refused(source.name, record, error))

    async def _written(self, work: IngestWork) -> None:
        self._steps.reached("ingest.mapped")
        await self._at.writer.write(work.outputs)
        self._steps.reached("ingest.written")
        self._intake.told(work)
