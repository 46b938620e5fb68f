"""
The console as a process: `calllog-guard console`, beside the workers and with rights of its own.

Rules: 1. It serves on this machine alone: before it stands a proxy that speaks TLS, or nobody else.
       2. It has no key of the KMS' but what vouches for profiles, no keystore, no officer's key, no right to orders.
       3. While the log is silent it shows what it has, and says so; what must be on record is not shown.
Source: docs/how-to/console.md; `core/topics.py` (the rights of `console`).
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import structlog

from calllog_guard.adapters.http.identity_provider import HttpIdentityProvider
from calllog_guard.adapters.http.web import WebRequest, WebResponse, WebServer
from calllog_guard.adapters.kafka.log_reader import KafkaLogReader
from calllog_guard.adapters.kafka.writer import KafkaWriter
from calllog_guard.adapters.process.endings import ended
from calllog_guard.app.context import AppContext, world
from calllog_guard.app.preflight import NO_KEYSTORE, check_places, policy_source, policy_tail
from calllog_guard.app.reader import actor_key_at
from calllog_guard.console.followed import Followed, KnownBy
from calllog_guard.console.pages import LogState, Office
from calllog_guard.console.recorded import ViewRecorder
from calllog_guard.console.relay import Relay, desk_key_in
from calllog_guard.console.sign_in.door import Door
from calllog_guard.console.sign_in.openid import OpenId
from calllog_guard.console.sign_in.provider_file import ProviderForm, is_loopback, provider_in
from calllog_guard.console.sign_in.sessions import SignedIn, SignInLinks, Throttle
from calllog_guard.console.site import HEADERS, Site
from calllog_guard.console.tasks.answer_page import SealedParts
from calllog_guard.core.audit.accesses import ActorKey
from calllog_guard.core.cases.secret_cases import ORDERED
from calllog_guard.core.codec import decode
from calllog_guard.core.identifiers import unb64
from calllog_guard.core.officers.acceptances import Accepted
from calllog_guard.core.officers.prolongations import Prolonged
from calllog_guard.core.policy.actors import Judge
from calllog_guard.core.requests.sealing import MOST_BYTES
from calllog_guard.core.stream.anchor import ANCHOR, ANCHORS
from calllog_guard.core.stream.proofs import AUDIT
from calllog_guard.core.topics import Topic
from calllog_guard.errors import ConfigurationError, LogSilentError
from calllog_guard.ports.process import Duty, HostedWork
from calllog_guard.reports.catalogue import catalogue_in
from calllog_guard.settings import PREFIX, Settings
from calllog_guard.workers.runtime.retry import answered

log: Final = structlog.get_logger()
_POLICY_S: Final = 1.0
_ACK_S: Final = 10.0
"""So long a page waits until its view is on record; then it is not shown."""
_LEAVE_S: Final = 7.0
_PAUSE_S: Final = 1.0
_FORM_BYTES: Final = MOST_BYTES + 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleOptions:
    """
    How a console is served.

    Args:
        http: `host:port` on this machine.
        url: How browsers reach it, where a proxy stands before it; None: by `http`.
        officers: Who gets links, printed by `tell`.
        openid: The file that names the identity provider.
        languages: Compiled catalogues: pages are shown in the language that a browser asks for.

    """

    http: str
    url: str | None
    officers: Sequence[str]
    tell: Callable[[str], None]
    openid: Path | None = None
    languages: Sequence[Path] = ()


def checked_address(http: str, url: str | None) -> None:
    """
    Whether a console may be served there.

    Raises:
        ConfigurationError: Others could reach it without TLS, or the address is none.

    """
    host, _, port = http.rpartition(":")
    if not is_loopback(host) or not port.isdecimal():
        raise ConfigurationError(
            f"--http {http}: the console speaks no TLS and is served on this machine alone, as 127.0.0.1:6070; let a "
            "proxy on this machine stand before it, and name its address with --url"
        )
    if url is not None:
        parts = urlsplit(url)
        plain = parts.scheme == "http" and is_loopback(parts.hostname or "")
        if not _is_origin(url) or not (parts.scheme == "https" or plain):
            raise ConfigurationError(
                f"--url {url}: name scheme and host as browsers have them: https://console.example"
            )


def _is_origin(url: str) -> bool:
    """Whether it is what browsers send as `Origin`, and its host what they send as `Host`: RFC 6454, 6.2."""
    parts = urlsplit(url)
    try:
        usual = {"https": 443, "http": 80}.get(parts.scheme) == parts.port
    except ValueError:
        return False
    whole = url == f"{parts.scheme}://{parts.netloc}" and url == url.lower() and url.isascii()
    return whole and bool(parts.hostname) and "@" not in parts.netloc and not usual


class Console(HostedWork):
    """The console, from the first look at its settings to its leave of Kafka."""

    def __init__(self, settings: Settings, options: ConsoleOptions) -> None:
        self._settings, self._options = settings, options
        self._goodbyes: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._stopped = asyncio.Event()
        self._site: Site | None = None
        self._provider: tuple[ProviderForm, str] | None = None
        self._server = WebServer(self._answer, _FORM_BYTES, HEADERS)

    async def show(self) -> None:
        """See HostedWork: what is typed or set wrong is said before any server is asked."""
        checked_address(self._options.http, self._options.url)
        self._languages = [catalogue_in(path) for path in self._options.languages]
        if self._options.openid is not None:
            self._provider = provider_in(self._options.openid)
        elif not self._options.officers:
            raise ConfigurationError("nobody could sign in: name an --officer, or the provider's file with --openid")
        self._shared = world(self._settings)
        key = actor_key_at(self._settings)
        if key is None:
            raise ConfigurationError(
                f"{PREFIX}ACTOR_KEY names no key: the console signs which officer was shown which case; make one with "
                "calllog-guard key new console-1 --role actor, and enter it into the policy (docs/how-to/console.md)"
            )
        self._key: ActorKey = key
        self._address = await self._server.start(self._options.http)

    async def hide(self) -> None:
        """See HostedWork."""
        await self._server.stop()

    async def start(self) -> None:
        """See HostedWork."""
        shared = self._shared
        await _answering(lambda: asyncio.to_thread(shared.vault.profile, shared.tenant))
        if shared.vault.profile(shared.tenant).forms < ORDERED:
            raise ConfigurationError(
                f"tenant {shared.tenant} writes the forms of an earlier release, whose records of accesses name no "
                f"officer: calllog-guard tenant upgrade {shared.tenant}"
            )
        settings, options = self._settings, shared.options
        views, requests = (KafkaWriter(settings.kafka, options, ack_s=_ACK_S) for _ in range(2))
        tail, reader = policy_tail(shared), KafkaLogReader(settings.kafka, options)
        self._goodbyes += [views.stop, requests.stop, tail.stop, reader.close]
        source = policy_source(shared, "console", views, tail)
        for ask in (views.start, requests.start, source.catch_up, partial(check_places, shared, NO_KEYSTORE)):
            await _answering(ask)
        guard = await _answering(partial(_guard, shared))
        self._followed = self._following(reader, guard)
        recorder = self._recorder(views, guard)
        recorder.actor()
        self._check_officers()
        log.info("reads the cases")
        await _answering(self._followed.catch_up)
        self._pulse = LogState(shared.clock.now())
        relay = Relay(writer=requests, tenant=shared.tenant, requests=settings.topic(Topic.REQUESTS), home=shared.home)
        self._open(recorder, relay)
        self.duties = [Duty("policy", _POLICY_S, source.look)]

    async def run(self) -> int:
        """See HostedWork."""
        while not self._stopped.is_set():
            try:
                await self._followed.more()
                self._pulse.silent_since = None
            except LogSilentError as error:
                self._pulse.silent_since = self._pulse.silent_since or self._shared.clock.now()
                log.warning("waits", why=str(error))
                with suppress(LogSilentError):
                    await self._followed.begin()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopped.wait(), _PAUSE_S)
        log.info("stopped")
        return 0

    def stop(self, why: Exception | None = None) -> None:
        """See HostedWork."""
        if why is not None:
            log.error("halt", why=str(why), kind=type(why).__name__)
        self._stopped.set()

    async def close(self) -> None:
        """See HostedWork."""
        await asyncio.gather(*(ended(goodbye(), _LEAVE_S) for goodbye in self._goodbyes))

    # --- what it is made of -----------------------------------------------------------------------------------------

    def _following(self, reader: KafkaLogReader, guard: bytes) -> Followed:
        shared, settings = self._shared, self._settings
        names = [settings.topic(name) for name in (Topic.ACCESS, Topic.DEAD, Topic.CASES)]

        def known() -> KnownBy:
            judge = Judge(shared.policy.actors(shared.tenant), guard, names[0], dead=names[1], cases=names[2])
            table = shared.policy.at(shared.clock.now().date()).tenant[shared.tenant]
            return KnownBy(shared.vault.proofs(shared.tenant), judge, table.calendar)

        return Followed(reader, settings, shared.home, known)

    def _recorder(self, writer: KafkaWriter, guard: bytes) -> ViewRecorder:
        shared, settings = self._shared, self._settings
        return ViewRecorder(
            writer=writer,
            clock=shared.clock,
            key=self._key,
            guard=guard,
            actors=lambda: shared.policy.actors(shared.tenant),
            access=settings.topic(Topic.ACCESS),
            cases=settings.topic(Topic.CASES),
            home=shared.home,
        )

    def _check_officers(self) -> None:
        shared, day = self._shared, self._shared.clock.now().date()
        for officer in self._options.officers:
            if shared.policy.officer_key(shared.tenant, officer, day) is None:
                table = shared.policy.at(day).tenant[shared.tenant]
                known = ", ".join(name for name, each in table.requesters.items() if each.role == "officer")
                raise ConfigurationError(f"--officer {officer} is no officer of the policy in force; it has {known}")
        for officer in self._provider[0].officers.values() if self._provider else ():
            if shared.policy.officer_key(shared.tenant, officer, day) is None:
                log.warning("the provider's file names somebody who is no officer of the policy", officer=officer)

    def _open(self, recorder: ViewRecorder, relay: Relay) -> None:
        """Let officers in."""
        shared, settings, now = self._shared, self._settings, self._shared.clock.now
        keys = Path(settings.policy).parent / "keys"
        receipts = keys / f"{shared.tenant}-receipts.pub.pem"
        office = Office(
            tenant=shared.tenant,
            policy=shared.policy,
            clock=shared.clock,
            followed=self._followed,
            recorder=recorder,
            relay=relay,
            desk=lambda: desk_key_in(keys, shared.tenant),
            receipts_key=lambda: receipts.read_bytes() if receipts.is_file() else None,
            parts=SealedParts(log=shared.log, exports=settings.topic(Topic.EXPORTS), home=shared.home).of,
            changes=partial(_changes, shared),
            objectives={"absent": settings.objective_value_s, "gone": settings.objective_key_s},
            heartbeat_s=settings.heartbeat_s,
            pulse=self._pulse,
            languages=self._languages,
        )
        url = self._options.url or f"http://{self._address}"
        door = Door(
            url=url,
            officers=self._options.officers,
            links=SignInLinks(now),
            sessions=SignedIn(now),
            guesses=Throttle(now),
            tell=self._options.tell,
            openid=OpenId(*self._provider, HttpIdentityProvider(), url, now) if self._provider else None,
        )
        self._site = Site(office, door)
        log.info("started", serves=door.url, cases=len(self._followed.cases.rows))
        door.announce()

    async def _answer(self, request: WebRequest) -> WebResponse:
        if self._site is None:
            body = b"the console reads the cases: try again soon\n"
            return WebResponse(
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                kind="text/plain",
                body=body,
                headers={**HEADERS, "Retry-After": "5"},
            )
        return await self._site.answer(request)


async def _guard(shared: AppContext) -> bytes:
    """
    The id of the installation, as it stands beside the policy, proven by our auditor's signer.

    Raises:
        ConfigurationError: There is none.

    """
    proofs = shared.vault.proofs(shared.tenant)
    for record in await shared.log.read_all(shared.settings.topic(Topic.POLICY), [0]):
        if record.key == ANCHOR and record.value is not None and proofs.proven(record, AUDIT):
            return unb64(decode(ANCHORS, record.value).guard.encode())
    raise ConfigurationError(
        f"{shared.settings.topic(Topic.POLICY)} does not say whose it is: calllog-guard tenant create {shared.tenant}"
    )


async def _changes(shared: AppContext) -> tuple[Sequence[Accepted], Sequence[Prolonged]]:
    """What officers and auditors changed, by the topic of policies."""
    return await shared.accepted(), await shared.prolonged()


async def _answering(ask: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Wait at start for what does not answer; anything else refuses to start."""
    return await answered(ask, lambda error: log.warning("waits", why=str(error)))
