"""
The client for asyncio: one connection to an installation's Kafka, and what a backend does through it.

Rules: 1. A request is sealed unless `plain` says otherwise.  2. A receipt is handed out once its signature is good.
       3. Every wait has an end, and its error says who is being waited for.
Source: docs/how-to/send-an-erasure.md, docs/how-to/publish-an-event.md.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Required, Self, TypedDict, Unpack

from calllog_guard.client.answers import receipts_key, unverified, verify_receipt, write_parts
from calllog_guard.client.cases import Answered, CaseStage, CaseView
from calllog_guard.client.checks import Event, InvalidEventError, Problem, check, checked_event
from calllog_guard.client.requests import Draft, Requests
from calllog_guard.client.signing import RequesterKey, SealingKey, SignedRequest, Signer
from calllog_guard.core.calls.event import LegForm, Limits
from calllog_guard.core.cases.receipt import Receipt
from calllog_guard.core.codec import to_ms
from calllog_guard.core.decisions.decision import OWNED
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.identity.rules import DEFAULT
from calllog_guard.core.policy.active import TenantPolicy
from calllog_guard.core.requests.request import AUDIENCE
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.core.topics import Topic
from calllog_guard.errors import ConfigurationError, MessageError, StateRefusedError, WorkersSilentError
from calllog_guard.settings import Settings

if TYPE_CHECKING:
    from calllog_guard.client.transport import Transport

BATCH: Final = 500
_POLL_MS: Final = 200
FOLLOW_S: Final = 7200.0
"""A certificate comes after about an hour and a quarter under production settings."""


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - a sender has no clock but its own


@dataclass(kw_only=True)
class Connection:
    """Whom a client talks to, and as whom; see `AsyncClient` for the words."""

    settings: Settings
    tenant: Tenant
    options: Mapping[str, Any]
    key: RequesterKey | None
    seal: SealingKey | None
    plain: bool
    receipts: bytes | None
    audience: str
    identity: Sequence[str]
    forms: int
    found: "Transport | None" = None
    sent: dict[str, tuple[str, tuple[int, int]]] = field(default_factory=dict)

    @property
    def transport(self) -> "Transport":
        """The connection to Kafka."""
        if self.found is None:
            raise ConfigurationError("the client is not connected: use it in a `with` block, or call start()")
        return self.found

    @property
    def home(self) -> bytes:
        """The key whose partition has the tenant's requests, cases and receipts."""
        return self.tenant.encode()

    def signer(self) -> Signer:
        """
        Who signs.

        Raises:
            ConfigurationError: No key, or none to seal to.

        """
        if self.key is None:
            raise ConfigurationError(
                "requests are signed: give the client key=, a registered requester's private key (PEM)"
            )
        if self.seal is None and not self.plain:
            raise ConfigurationError(
                f"requests are sealed: give the client desk=, the file {self.tenant}-desk.pub.pem, or say plain=True"
            )
        return Signer(tenant=self.tenant, key=self.key, seal=self.seal, audience=self.audience)


class AsyncPublisher:
    """Publishes call events: each is checked as a protector would, and lies in the partition of its call."""

    def __init__(self, connection: Connection) -> None:
        self._at = connection
        settings = connection.settings
        day_ms = 86_400_000
        ahead, late = int(settings.event_ahead_s * 1000), settings.event_late_days * day_ms
        skew, most = round(settings.event_skew_s * 1000), settings.event_max_bytes
        self._limits = Limits(ahead_ms=ahead, late_ms=late, max_bytes=most, skew_ms=skew)

    def check(self, events: Iterable[Event]) -> list[tuple[bytes, bytes]]:
        """
        The records of events; nothing is sent.

        Raises:
            InvalidEventError: A protector would refuse one.

        """
        at, now_ms = self._at, to_ms(_now())
        form: LegForm = 1 if at.forms == 1 else 2
        records = []
        for index, event in enumerate(events):
            try:
                records.append(checked_event(event, at.tenant, now_ms, self._limits, at.identity, form))
            except MessageError as error:
                raise InvalidEventError(index, error) from None
        return records

    async def send(self, *events: Event, topic: str | None = None) -> None:
        """
        Publish some events; returns once Kafka has acknowledged all of them.

        Raises:
            InvalidEventError: One would be refused: none was sent.
            LogSilentError: Kafka does not answer; send them again: the same call id replaces what was stored.

        """
        await self._at.transport.publish(topic or self._at.settings.topic(Topic.EVENTS), self.check(events))

    async def send_all(self, events: Iterable[Event], topic: str | None = None) -> int:
        """Publish as many events as there are, in batches; how many they were. Raises as `send`, of one batch."""
        waiting, many = iter(events), 0
        while batch := list(islice(waiting, BATCH)):
            await self.send(*batch, topic=topic)
            many += len(batch)
        return many


class AsyncPrivacy(Requests[Awaitable[str]]):
    """Signs, seals and sends requests; each function returns the id of the request's case."""

    def __init__(self, connection: Connection) -> None:
        self._at = connection

    def _made(self, draft: Draft) -> Awaitable[str]:
        return self.send(draft)

    def check(self, draft: Draft, policy: TenantPolicy | None = None) -> Problem | None:
        """
        Why a desk would refuse a request, or None. Nothing is sent.

        Args:
            policy: The tenant's policy in force, where you have it: who may ask for what, and which purposes there are.

        """
        try:
            check(self._at.signer().request(draft, _now()), policy, self._at.identity)
        except MessageError as error:
            return Problem.of(error)
        return None

    def sign(self, draft: Draft) -> SignedRequest:
        """
        The record of a request; nothing is sent.

        Raises:
            ConfigurationError: The desk would refuse it.

        """
        return self._at.signer().sign(draft, _now())

    async def send(self, draft: Draft) -> str:
        """
        Send a request; the id of the case that it opens or acts on. The same `jti` again is the same request.

        Raises:
            ConfigurationError: The desk would refuse it.
            LogSilentError: Kafka does not answer; send it again with the same `jti`.

        """
        held = draft.claims.get("hold")
        if isinstance(held, Mapping) and held.get("secret"):
            raise ConfigurationError(
                "a secret hold is ordered with `calllog-guard request hold`, which writes to privacy.orders: sent from "
                "here it would show"
            )
        signed, at = self.sign(draft), self._at
        place = await at.transport.append(at.settings.topic(Topic.REQUESTS), at.home, signed.token)
        own = signed.case(at.tenant, at.forms)
        case = str(draft.claims.get("case") or own)
        at.sent[case] = own, place
        return case


class AsyncCases:
    """Follows cases."""

    def __init__(self, connection: Connection) -> None:
        self._at = connection

    async def follow(
        self, case: str, *, until: str | None = None, timeout_s: float = FOLLOW_S
    ) -> AsyncGenerator[CaseStage, None]:
        """
        The stages of a case, those reached and those that it reaches, up to `until`, or to its certificate or end.

        Raises:
            RefusedError: The desk has refused the request.
            WorkersSilentError: The time is over; the error says who is being waited for.

        """
        at, view = self._at, CaseView(case)
        topics = [at.settings.topic(Topic.CASES), at.settings.topic(Topic.RECEIPTS)]
        refused = Answered(*at.sent.get(case, (case, (0, -1))), key=at.receipts)
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        async with at.transport.watching(topics, at.home) as watch:
            while loop.time() < end:
                found = await watch.more(_POLL_MS)
                if not found and (view.latest is None or refused.case != case):
                    refused.judge()
                for record in found:
                    if record.topic == topics[1]:
                        refused.note(record)
                        continue
                    for stage in view.stages(record):
                        yield stage
                        if stage.name == until or (until is None and stage.final):
                            return
        raise _late(view, timeout_s)


def _late(view: CaseView, seconds: float) -> WorkersSilentError:
    found = view.latest
    if found is None:
        return WorkersSilentError(
            f"no desk has taken the request of case {view.case} after {seconds:.0f} s: is `calllog-guard worker desk` "
            "running?"
        )
    if found.waits_for:
        return WorkersSilentError(
            f"case {view.case} waits for {found.waits_for}: `calllog-guard case show` says since when"
        )
    return WorkersSilentError(
        f"case {view.case} is still {found.state} after {seconds:.0f} s: is `calllog-guard worker keeper` running?"
    )


class AsyncReceipts:
    """Fetches receipts and answers, and verifies them with the tenant's public key."""

    def __init__(self, connection: Connection) -> None:
        self._at = connection

    async def fetch(self, case: str) -> list[bytes]:
        """The receipts of a case as they were signed, in order."""
        records = await self._records(Topic.RECEIPTS)
        return [each.value or b"" for each in records if each.key == case.encode() and unverified(each.value or b"")]

    async def verified(self, case: str, stage: str | None = None) -> Receipt:
        """
        The receipt of a stage, or the latest of the case, its signature good.

        Raises:
            StateRefusedError: There is none.
            MessageError: It is not signed by the tenant's key.

        """
        if self._at.receipts is None:
            raise ConfigurationError(
                f"give the client receipts=, the tenant's public key {self._at.tenant}-receipts.pub.pem"
            )
        found = [verify_receipt(token, self._at.receipts) for token in await self.fetch(case)]
        wanted = [each for each in found if each.case == case and (stage is None or each.stage == stage)]
        if not wanted:
            what = f"no receipt of the stage {stage}" if stage else "no receipt"
            raise StateRefusedError(f"case {case} has {what} yet: cases.follow shows how far it is")
        return wanted[-1]

    async def fetch_export(self, case: str, directory: str | Path) -> int:
        """Fetch the receipt and the sealed parts of an answer into a folder, for `open_export`; how many parts."""
        receipts = await self.fetch(case)
        parts = [(each.key or b"", each.value or b"") for each in await self._records(Topic.EXPORTS)]
        return write_parts(Path(directory), f"{case}.".encode(), receipts, parts)

    async def _records(self, topic: Topic) -> list[Arrival]:
        found = await self._at.transport.read(self._at.settings.topic(topic), self._at.home)
        return [record for record in found if record.key and record.value is not None]


class ClientOptions(TypedDict, total=False):
    """
    What a client is told beside the servers.

    `tenant` is the tenant's name. `key` is a registered requester's private key (PEM file), `name` its name by policy
    (default: the file's name). `desk` is the desk's public key that seals requests, as `keys/iocom-desk.pub.pem`;
    `plain=True` sends them unsealed. `receipts` is the public receipt key, as `keys/iocom-receipts.pub.pem`; `security`
    are Kafka's client options for TLS, SASL, as in CALLLOG_GUARD_KAFKA_SECURITY. `audience` is the policy's, if any;
    `identity` are the tenant's rules of identifiers; `settings` has names of topics and limits other than defaults,
    in place of `kafka`; `forms` is the tenant's level of forms, where it is not upgraded.
    """

    tenant: Required[str]
    key: str | Path | RequesterKey
    name: str
    desk: str | Path | SealingKey
    plain: bool
    receipts: str | Path | bytes
    security: Mapping[str, Any]
    audience: str
    identity: Sequence[str]
    settings: Settings
    forms: int


class AsyncClient:
    """A backend's way to a tenant of an installation: `kafka` are its bootstrap servers, `words` a `ClientOptions`."""

    def __init__(self, kafka: str = "localhost:9092", **words: Unpack[ClientOptions]) -> None:
        tenant, key, desk, receipts = (
            Tenant(words["tenant"]),
            words.get("key"),
            words.get("desk"),
            words.get("receipts"),
        )
        if isinstance(key, str | Path):
            key = RequesterKey.read(key, words.get("name", ""))
        self._at = Connection(
            settings=words.get("settings") or Settings(kafka=kafka),
            tenant=tenant,
            options=words.get("security") or {},
            key=key,
            seal=SealingKey.read(desk, tenant) if isinstance(desk, str | Path) else desk,
            plain=words.get("plain", False),
            receipts=receipts_key(receipts) if receipts is not None else None,
            audience=words.get("audience", AUDIENCE),
            identity=words.get("identity", DEFAULT),
            forms=words.get("forms", OWNED),
        )
        self.publisher, self.privacy = AsyncPublisher(self._at), AsyncPrivacy(self._at)
        self.cases, self.receipts = AsyncCases(self._at), AsyncReceipts(self._at)

    async def start(self) -> Self:
        """
        Connect.

        Raises:
            LogSilentError: Kafka does not answer, or refuses (LogRefusedError).

        """
        from calllog_guard.client.transport import Transport  # noqa: PLC0415 - no Kafka library before it is used

        made = Transport(self._at.settings.kafka, self._at.options)
        await made.start()
        self._at.found = made
        return self

    async def close(self) -> None:
        """Disconnect."""
        found, self._at.found = self._at.found, None
        if found is not None:
            await found.stop()

    async def __aenter__(self) -> Self:
        """Connect."""
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        await self.close()
