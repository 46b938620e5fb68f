"""
The policy and the world: what is published, where data may lie, and whether the log keeps it long enough.

Asked by every worker before it starts, by `doctor`, and by every command that writes or opens something.
Source: docs/how-to/write-the-policy.md; GDPR Art. 44.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from calllog_guard.adapters.disk.policy_floor import SeenLaw
from calllog_guard.adapters.kafka.admin.topics import KafkaTopics
from calllog_guard.adapters.kafka.log import Tail
from calllog_guard.adapters.kafka.writer import KafkaWriter
from calllog_guard.app.context import AppContext
from calllog_guard.core.policy.changes.chain import FollowedPolicy
from calllog_guard.core.policy.changes.publication import is_publication
from calllog_guard.core.policy.form import Version
from calllog_guard.core.policy.residency import host_of, outside
from calllog_guard.core.topics import Topic
from calllog_guard.errors import ConfigurationError, KeystoreUnsafeError, RequestRefusedError
from calllog_guard.metrics import Gauges
from calllog_guard.settings import PREFIX, ROLES, UNSAFE_KEYSTORE, Settings
from calllog_guard.workers.runtime.policy_updates import PolicyHooks, PolicySource

_TELLS: Final = "auditor"
"""The role that writes a dead letter for a refused publication; the others log it."""


def make_state_dir(settings: Settings) -> None:
    """
    Make the folder of what workers keep.

    Raises:
        ConfigurationError: It cannot be made.

    """
    try:
        Path(settings.state_dir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{PREFIX}STATE_DIR cannot be made: {error.strerror}") from None


async def _asked(shared: AppContext, ask: Callable[[KafkaTopics], Any]) -> Any:
    admin = KafkaTopics(shared.settings, shared.options)
    try:
        return await asyncio.to_thread(ask, admin)
    finally:
        admin.close()


async def kept_days(shared: AppContext) -> int | None:
    """For how long the topic of the legs keeps them; None: for ever."""
    topic = shared.settings.topic(Topic.LEGS)
    found: int | None = await _asked(shared, lambda admin: admin.kept_days(topic))
    return found


def seen_law(shared: AppContext) -> SeenLaw:
    """Which law this machine has followed, for this installation and tenant."""
    name = f"{shared.settings.topic(Topic.POLICY)}.{shared.tenant}"
    return SeenLaw(Path(shared.settings.state_dir) / "law" / name)


def policy_source(shared: AppContext, role: str, writer: KafkaWriter, tail: Tail) -> PolicySource:
    """What keeps a worker's policy up with what is published."""
    seen = seen_law(shared)

    async def letter(record: Any, error: RequestRefusedError) -> None:
        await writer.write([shared.dead_letters().of(record, error)])

    def show(version: Version) -> None:
        shared.metrics.alone(Gauges.policy_info[version.label])
        if role in ROLES:  # a program that reads may have no folder of its own
            seen.keep(version.order)

    hooks = PolicyHooks(
        kept_days=partial(kept_days, shared),
        seen=seen.newest,
        show=show,
        letter=letter if role == _TELLS else None,
        count=shared.metrics.count,
    )
    return PolicySource(shared.policy, tail, shared.clock, hooks)


def policy_tail(shared: AppContext) -> Tail:
    """The policy's topic."""
    return Tail(shared.settings.kafka, shared.options, shared.settings.topic(Topic.POLICY))


async def follow_published(shared: AppContext, *, whole: bool = True) -> FollowedPolicy:
    """
    Be the law of this moment, for a command that runs once.

    Args:
        whole: False for who is about to publish what mends it.

    Raises:
        ConfigurationError: See Followed.check_whole: no worker would begin under this law.

    """
    records = await shared.log.read_all(shared.settings.topic(Topic.POLICY), [0])
    seen: dict[bytes, int] = {}
    for record in records:
        if is_publication(record):
            seen.setdefault(record.value or b"", record.timestamp)
    followed = shared.policy.follow(seen, await kept_days(shared))
    if whole:
        followed.check_whole(seen_law(shared).newest(), shared.clock.now().date())
    return followed


def kms_hosts(settings: Settings) -> list[str]:
    """The host of a remote KMS (`scheme://host:port?…`, or AWS' own, `awskms:region`); a KMS of files has none."""
    address = urlsplit(settings.kms)
    if address.scheme == "local":
        return []
    if address.hostname:
        return [address.hostname]
    return [f"kms.{address.path}.amazonaws.com"]


async def _kafka_hosts(shared: AppContext) -> list[str]:
    return [*map(host_of, shared.settings.kafka.split(",")), *await _asked(shared, KafkaTopics.hosts)]


async def _redis_hosts(shared: AppContext) -> list[str]:
    return await shared.keystore.hosts()


async def _kms_hosts(shared: AppContext) -> list[str]:
    return kms_hosts(shared.settings)


_PLACES: Final = {"Kafka": _kafka_hosts, "Redis": _redis_hosts, "KMS": _kms_hosts}
"""Every host to which data or keys go, by server: as configured, as advertised, as copied to."""
NO_KEYSTORE: Final = ("Kafka", "KMS")
"""The servers of a command that asks no keystore: its user may have none."""


def check_lawful(shared: AppContext) -> list[str]:
    """
    Whether no present or future version says what it should not; what it says, where an earlier release has taken it.

    Raises:
        ConfigurationError: What no new version may say: where, and what to do.

    """
    today = shared.clock.now().date()
    if refused := shared.policy.unlawful(today, shared.policy.here().lawful_from):
        raise ConfigurationError("; ".join(refused))
    return shared.policy.unlawful(today)


async def check_places(
    shared: AppContext, servers: Iterable[str] = tuple(_PLACES), policy: Version | None = None
) -> str:
    """
    Whether everything lies where the policy allows.

    Args:
        servers: Those that are used.
        policy: Another version than the one in force: one that is about to be published.

    Raises:
        ConfigurationError: Which server lies elsewhere.

    """
    law = policy or shared.policy.at(shared.clock.now().date())
    patterns = law.tenant[shared.tenant].allowed_hosts
    found = {server: await _PLACES[server](shared) for server in servers}
    for server, hosts in found.items():
        away = outside(hosts, patterns)
        if away:
            raise ConfigurationError(
                f"{server} lies outside the policy's allowed_hosts: {', '.join(away)} is none of "
                f"{', '.join(patterns)}; use a server inside, or publish a policy that names this one"
            )
    return ", ".join(sorted({host for hosts in found.values() for host in hosts}))


async def enter(shared: AppContext, servers: Iterable[str] = tuple(_PLACES), *, whole: bool = True) -> None:
    """
    Begin a command that writes or opens something: under the law of this moment, and where that allows.

    Args:
        servers: See check_places.
        whole: See follow_published.

    Raises:
        ConfigurationError: Which server lies elsewhere; nothing was written or opened.

    """
    await follow_published(shared, whole=whole)
    await check_places(shared, servers)


async def check_keystore(shared: AppContext) -> str | None:
    """
    Whether the keystore keeps and forgets as promised; what is unsafe of it, where DEVELOPMENT lets it be.

    Raises:
        KeystoreUnsafeError: Which setting, found and wanted.

    """
    try:
        await shared.keystore.check()
    except KeystoreUnsafeError as error:
        if UNSAFE_KEYSTORE not in shared.settings.off:
            raise
        return str(error)
    return None


async def check_retention(shared: AppContext) -> str:
    """
    Whether the log keeps legs for as long as the policy does.

    Raises:
        ConfigurationError: By how much it forgets earlier.

    """
    days, wanted = await kept_days(shared), shared.keep_days
    if days is not None and days < wanted:
        raise ConfigurationError(
            f"{shared.settings.topic(Topic.LEGS)} keeps records for {days} days, the policy keeps legs for {wanted}: "
            f"raise its retention.ms (topics check says to what), or shorten keep"
        )
    return "for ever" if days is None else f"{days} days for {wanted}"
