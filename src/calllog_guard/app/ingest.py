"""
The ways in of platforms' messages, put together: what makes records of them, and the server of webhooks.

Rules: 1. Webhooks have a producer of their own: what is not acknowledged within INGEST_ANSWER_S is withdrawn, and
          the platform sends it again.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from calllog_guard.adapters.http.webhooks import WebhookServer
from calllog_guard.adapters.kafka.log import key_partition
from calllog_guard.adapters.kafka.writer import KafkaWriter
from calllog_guard.adapters.mappings.ingest_file import ingest_sources
from calllog_guard.app.context import AppContext
from calllog_guard.core.topics import Topic
from calllog_guard.core.webhooks.intake import IngestSource
from calllog_guard.errors import ConfigurationError
from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.ingest.context import IngestContext
from calllog_guard.workers.ingest.receiver import Receiver
from calllog_guard.workers.keys.tenants.moment_sealing import MomentSealer

log: Final = structlog.get_logger()
MOMENTS_FROM: Final = 2
"""The level of stored forms from which on moments, and sessions of one person, have a form."""
_SHARE: Final = 0.9
"""Of the time for an answer that its writing may take."""


def sources_of(shared: AppContext) -> Mapping[str, IngestSource]:
    """
    The sources of `ingest.toml`.

    Raises:
        ConfigurationError: It is wrong, or the tenant's forms know no moments.

    """
    found = ingest_sources(Path(shared.settings.ingest))
    if (forms := shared.vault.profile(shared.tenant).forms) < MOMENTS_FROM:
        raise ConfigurationError(
            f"tenant {shared.tenant} is at level {forms} of stored forms, and platforms' messages need level "
            f"{MOMENTS_FROM}: calllog-guard tenant upgrade {shared.tenant}"
        )
    return found


def ingest_context(
    shared: AppContext, context: WorkerContext, writer: KafkaWriter, sources: Mapping[str, IngestSource]
) -> IngestContext:
    """What makes records of platforms' messages: in a worker, and where a dead letter is mapped anew."""
    settings, tenant, vault = shared.settings, shared.tenant, shared.vault
    context.dead.sources = frozenset(sources)
    place = settings.topic(Topic.MOMENTS), settings.partitions_of(Topic.MOMENTS)
    sealer = MomentSealer(tenant, place, vault.moment_names(tenant), vault.moments.newest)
    return IngestContext.of(
        context,
        sources=sources,
        events=lambda: shared.policy.at(shared.clock.now().date()).tenant[tenant].events[0],
        partitions=writer.partitions,
        place=key_partition,
        moment=sealer.record,
    )


class Webhooks:
    """The server of webhooks of one process, where a source has any; `halt` ends the process."""

    def __init__(self, shared: AppContext, halt: Callable[[Exception], None]) -> None:
        settings = shared.settings
        writer = self._writer = KafkaWriter(settings.kafka, shared.options, settings.ingest_answer_s * _SHARE)
        whole = shared.context(shared.ring(shared.tenant), writer)
        context = ingest_context(shared, whole, writer, sources_of(shared))
        self._sources = [name for name, each in context.sources.items() if each.scheme]
        self._server, self._address = WebhookServer(Receiver(context, halt)), settings.ingest_http

    async def start(self) -> None:
        """
        Connect, and listen.

        Raises:
            LogSilentError: Kafka does not answer; try again.
            ConfigurationError: The address is taken.

        """
        if self._sources:
            await self._writer.start()
            log.info("takes webhooks", serves=await self._server.start(self._address), sources=self._sources)

    async def stop(self) -> None:
        """Take no more, and answer those at work."""
        await self._server.stop()

    async def close(self) -> None:
        """Disconnect."""
        await self._writer.stop()
