"""An ingest on the fakes of `guard_world`, with a source of each platform that sends webhooks."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from guard_world import PARTITIONS, TENANT, GuardWorld
from platforms import PLATFORMS, SECRET, URL, Sent, key_of

from calllog_guard.adapters.kafka.log import key_partition
from calllog_guard.adapters.mappings.files import mapping
from calllog_guard.core.codec import DEAD, Dead, decode
from calllog_guard.core.crypto.jose import open_sealed
from calllog_guard.core.records import Output
from calllog_guard.core.sessions.moment import Moment, MomentEnvelope, head_of
from calllog_guard.core.webhooks.intake import IngestSource
from calllog_guard.core.webhooks.signatures import SourceKeys
from calllog_guard.ports.log import Writer
from calllog_guard.ports.webhooks import WebhookReply, WebhookRequest
from calllog_guard.workers.ingest.context import IngestContext
from calllog_guard.workers.ingest.receiver import Receiver
from calllog_guard.workers.ingest.worker import Ingest
from calllog_guard.workers.keys.tenants.moment_sealing import MomentSealer

SCHEME_OF = {
    "zoom": "zoom",
    "zoom-phone": "zoom",
    "livekit": "livekit",
    "jaas": "jaas",
    "jitsi": "bearer",
    "daily": "daily",
    "freeswitch": "basic",
    "twilio": "twilio",
    "bigbluebutton": "bigbluebutton",
}
"""How the webhooks of each mapping are signed."""
RAW, EVENTS, MOMENTS, LETTERS = "calllog.notifications", "calllog.events", "calllog.moments", "calllog.dead"
IDS = {"basic": "pbx", "livekit": "APIkey"}


def sources(**mappings: Any) -> dict[str, IngestSource]:
    """A source of each platform; another mapping for some."""
    return {
        name: IngestSource(
            name,
            mappings.get(name) or mapping(name, {}),
            scheme,
            SourceKeys([key_of(scheme)], 300, IDS.get(scheme, "")),
            URL,
        )
        for name, scheme in SCHEME_OF.items()
    }


class IngestWorld(GuardWorld):
    """An installation that takes in what platforms report."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **settings)
        self.clock.at = datetime(2025, 12, 1, 9, tzinfo=UTC)
        self.vault.upgrade(TENANT, at=self.clock.at, partitions=PARTITIONS)
        self.vault.moments.renew(self.clock.at)
        self.halted: list[Exception] = []

    def ingest_context(self, writer: Writer | None = None, **mappings: Any) -> IngestContext:
        """What an ingest works with."""
        sealer = MomentSealer(TENANT, (MOMENTS, PARTITIONS), self.vault.moment_names(TENANT), self.vault.moments.newest)

        async def partitions(_: str) -> int:
            return PARTITIONS

        found = IngestContext.of(
            self.context(),
            sources=sources(**mappings),
            events=lambda: EVENTS,
            partitions=partitions,
            place=key_partition,
            moment=sealer.record,
        )
        found.dead.sources = frozenset(found.sources)
        return found if writer is None else replace(found, writer=writer)

    def receiver(self, writer: Writer | None = None, **mappings: Any) -> Receiver:
        """What answers webhooks."""
        return Receiver(self.ingest_context(writer, **mappings), self.halted.append)

    def ingest(self, writer: Writer | None = None) -> Ingest:
        """What reads raw notifications."""
        return Ingest(self.ingest_context(writer), (RAW,))

    def signed(self, name: str, body: bytes) -> WebhookRequest:
        """A webhook as its platform sends it now."""
        scheme = SCHEME_OF[name]
        sent: Sent = PLATFORMS[scheme](body, key_of(scheme, SECRET), int(self.clock.at.timestamp()))
        return WebhookRequest(f"/{name}", sent.query, sent.headers, sent.body)

    async def post(self, name: str, body: bytes, receiver: Receiver | None = None) -> WebhookReply:
        """Send one."""
        return await (receiver or self.receiver()).receive(self.signed(name, body))

    def lying(self, topic: str) -> list[Any]:
        """Every record of a topic."""
        return [each for (name, _), some in sorted(self.log.records.items()) if name == topic for each in some]

    def events(self) -> list[dict[str, Any]]:
        """The events that were published."""
        return [json.loads(each.value) for each in self.lying(EVENTS)]

    def moments(self) -> list[Moment]:
        """The moments that were written, opened."""
        found = []
        for each in self.lying(MOMENTS):
            head = head_of(each.value)
            seed = self.vault.moments.secret(f"moments-{head.number}")
            found.append(MomentEnvelope.to_open(head, seed).open(TENANT, each.key.decode(), each.value))
        return found

    def letters(self) -> list[tuple[Dead, bytes]]:
        """The dead letters, opened."""
        pem = (self.folder / "operator-1.pem").read_bytes()
        found = [decode(DEAD, each.value) for each in self.lying(LETTERS)]
        return [(each, open_sealed(pem, each.jwe)) for each in found]


class Silent:
    """A writer behind which no broker acknowledges, until it is told to."""

    def __init__(self, beneath: Writer) -> None:
        self.beneath, self.answers = beneath, False
        self.error: Exception | None = None
        self.tried: list[Output] = []

    async def write(self, outputs: Sequence[Output]) -> None:
        """See Writer."""
        self.tried += outputs
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        if not self.answers:
            await asyncio.Event().wait()
        await self.beneath.write(outputs)

    async def withdraw(self) -> None:
        """See Writer."""
