"""
`tenant create|list|upgrade|separate|identity`: whom this installation serves, its stored forms, how it knows people.

An installation is one tenant's: topics, keystore and wrapping keys are its own; another's are refused before any write.
"""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click

from calllog_guard.adapters.kafka.admin.extents import KafkaExtents
from calllog_guard.adapters.kafka.admin.topics import KafkaTopics
from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import check_places, enter, follow_published
from calllog_guard.app.roles import reads
from calllog_guard.cli._identity import carried_over, identity_of, named_rules
from calllog_guard.cli._options import Args, argument, command, dry_run
from calllog_guard.cli._output import show, the_world
from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.entries import EPOCH_KEY, GUARD_KEY
from calllog_guard.core.crypto.jose import desk_pem, public_forms, receipt_pem
from calllog_guard.core.identifiers import EpochName, Tenant
from calllog_guard.core.identity.rules import DEFAULT, legacy_identity
from calllog_guard.core.profile import CHANGES, FORMS
from calllog_guard.core.records import Output
from calllog_guard.core.rights.grants import DOMAINS
from calllog_guard.core.stream.anchor import ANCHOR
from calllog_guard.core.stream.letters import LETTERS_FROM
from calllog_guard.core.stream.proofs import AUDIT
from calllog_guard.core.topics import Topic
from calllog_guard.errors import ConfigurationError, KmsForbiddenError, StateRefusedError
from calllog_guard.settings import FIRST_ROLES
from calllog_guard.workers.keys.restore_guard import guard_entry, read_guard
from calllog_guard.workers.keys.rotation import epoch_of
from calllog_guard.workers.runtime.beginnings import take_over

_AN_EPOCH: Final = timedelta(days=7)
"""Until the next epoch's name: what is sealed before it is opened as before."""
_NOT_MADE: Final = "not made: calllog-guard tenant create"
_ELSEWHERE: Final = "served elsewhere: CALLLOG_GUARD_TENANT"


@command("tenant")
@argument("action", type=click.Choice(["create", "list", "upgrade", "separate", "identity"]))
@argument("tenant", metavar="[T]", required=False, help="the tenant's name; list takes none")
@click.option(
    "--identity",
    metavar="RULES",
    help=f"by which rules two identifiers are one person; create: default, {','.join(DEFAULT)}; identity: carry "
    "everybody over to these",
)
@dry_run
def tenant(args: Args) -> Any:
    """Make or raise one tenant, or list all."""
    if args.action == "list":
        return list_tenants(args)
    if not args.tenant:
        raise ConfigurationError(f"name the tenant: calllog-guard tenant {args.action} T")
    if args.action == "identity":
        return identity_of(*_named(args), args)
    each = {"create": create_tenant, "upgrade": upgrade_tenant, "separate": separate_tenant}
    return each[args.action](args)


def list_tenants(args: Args) -> int:
    """The tenants of the policy in force: regime, events, requesters, receipt key's fingerprint; who is served."""
    shared = the_world()
    rows: list[dict[str, Any]] = []
    for name, table in shared.policy.at(shared.clock.now().date()).tenant.items():
        try:
            fingerprint = public_forms(receipt_pem(shared.vault.receipt_key(Tenant(name)))[1])[2]
        except ConfigurationError:  # the KMS keeps nothing of it yet
            fingerprint = None
        except KmsForbiddenError:  # the desk's alone; its public half lies beside the policy
            fingerprint = _published(shared, name)
        here = shared.settings.tenant in {"", name}
        row = {"tenant": name, "here": here, "regime": table.regime, "events": list(table.events)}
        row["desk_keys"] = shared.vault.desk_kids(Tenant(name))
        row["forms"] = shared.vault.profile(Tenant(name)).forms if fingerprint else None
        row["identity"] = list(shared.vault.identity(Tenant(name))) if fingerprint else None
        rows.append(row | {"requesters": sorted(table.requesters), "receipt_key": fingerprint})
    lines = (
        f"{row['tenant']:16} {row['regime']} {row['receipt_key'] or (_NOT_MADE if row['here'] else _ELSEWHERE)}"
        f" {_forms_text(row['forms'])}{' '.join(row['events'])} {' '.join(row['requesters'])}"
        for row in rows
    )
    show(args, rows, "\n".join(lines))
    return 0


def _forms_text(forms: int | None) -> str:
    if forms is None:
        return ""
    return (
        f"forms {forms} " if forms == FORMS else f"forms {forms} (of an earlier release: calllog-guard tenant upgrade) "
    )


async def _own(shared: AppContext) -> bool:
    """
    Whether this is the first time; keys, keystore and topics must then be nobody's, and ours ever after.

    Raises:
        StateRefusedError, ConfigurationError: Which of them is another installation's.

    """
    settings, vault, first = shared.settings, shared.vault, not shared.vault.made
    if not vault.alone(shared.tenant):
        raise StateRefusedError(
            "KMS and RING hold the keys of another installation, which destroys epochs by its own entries alone: set "
            "CALLLOG_GUARD_RING to a folder of its own, and in CALLLOG_GUARD_KMS another folder or prefix"
        )
    (entry,) = await shared.keystore.read([GUARD_KEY])
    guard = read_guard(entry)
    if entry is not None and (first or guard is None or guard.guard_id != vault.guard_id()):
        raise StateRefusedError(
            "the keystore holds another installation's entries, or RING has lost this one's: set "
            "CALLLOG_GUARD_KEYSTORE to a database of its own"
        )
    if not first:
        return await shared.anchored() is None
    for name in (Topic.DECISIONS, Topic.LEGS):
        topic, partitions = settings.topic(name), range(settings.partitions)
        if await shared.log.starts(topic, partitions) != await shared.log.ends(topic, partitions):
            raise StateRefusedError(
                f"{settings.topic(name)} holds another installation's records, or RING has lost this one's keys: set "
                "CALLLOG_GUARD_CALLLOG_PREFIX and CALLLOG_GUARD_PRIVACY_PREFIX to prefixes of its own, then topics "
                "create"
            )
    return True


def _named(args: Args) -> tuple[AppContext, Tenant]:
    """
    The world, and the tenant that is named.

    Raises:
        StateRefusedError: It is not the one that is served here.

    """
    shared, tenant = the_world(), Tenant(args.tenant)
    if tenant not in shared.policy.at(shared.clock.now().date()).tenant:
        raise StateRefusedError(f"the policy names no tenant {tenant}: add [version.tenant.{tenant}] first")
    if tenant != shared.tenant:
        raise StateRefusedError(
            f"this installation serves {shared.tenant}; {tenant} needs one of its own: see the documentation: Scale"
        )
    return shared, tenant


def _legacy(shared: AppContext, tenant: Tenant) -> tuple[str, ...]:
    """The rules by which the policy in force has people known until now."""
    return legacy_identity(lowercase_email=shared.policy.at(shared.clock.now().date()).tenant[tenant].lowercase_email)


def _contradicted(shared: AppContext, tenant: Tenant) -> tuple[tuple[str, ...], ...]:
    """The rules of a policy that said something else at another time: some people were stored by them."""
    others = (legacy_identity(lowercase_email=each) for each in shared.policy.lowercases_email(tenant))
    return tuple(each for each in others if each != _legacy(shared, tenant))


async def upgrade_tenant(args: Args) -> int:
    """Raise a tenant to the forms of this release; repeatable."""
    shared, tenant = _named(args)
    before = shared.vault.profile(tenant)
    if not shared.vault.made:
        raise StateRefusedError(f"tenant {tenant} is not made: calllog-guard tenant create {tenant}")
    lines = [text for level, text in CHANGES if level > before.forms]
    if not args.dry_run:
        await _raise(shared, tenant)
    after = shared.vault.profile(tenant)
    head = f"tenant {tenant}: forms {before.forms}, {'would become' if args.dry_run else 'now'} {FORMS}"
    told = {"tenant": tenant, "before": before.forms, "forms": after.forms, "profile": after.number, "changes": lines}
    show(args, told, "\n".join([head if lines else f"tenant {tenant}: forms {before.forms}, the newest", *lines]))
    return 0


async def separate_tenant(args: Args) -> int:
    """Let the trust domains of an installation of an earlier release be apart; repeatable."""
    shared, tenant = _named(args)
    before = shared.vault.profile(tenant)
    if before.forms < FORMS:
        raise StateRefusedError(f"tenant {tenant} writes older forms: calllog-guard tenant upgrade {tenant} first")
    apart, epoch = shared.vault.domains.apart(tenant), before.separated or epoch_of(shared.clock.now() + _AN_EPOCH)
    try:
        await shared.look_back()
        await enter(shared)
        if not args.dry_run:
            after = shared.vault.separate(tenant, EpochName(epoch))
            epoch = after.separated or epoch
            await shared.ring(tenant).guard.tell_profile()
    finally:
        await shared.keystore.close()
    told = {"tenant": tenant, "before": apart, "apart": apart or not args.dry_run, "from": epoch}
    word = "would be" if args.dry_run else "are"
    text = (
        f"tenant {tenant}: its secrets {word} wrapped for {', '.join(DOMAINS)}; cases and decisions from {epoch} on\n"
        "give each role the right to its own keys alone: calllog-guard keystore policies"
    )
    show(args, told, text)
    return 0


async def _raise(shared: AppContext, tenant: Tenant) -> None:
    """
    Topics that are new, and how far each role has read; then the profile, then the guard's entry.

    A crash in between is made good by the next heartbeat.
    """
    try:
        await shared.look_back()
        await enter(shared)
        await _missing_topics(shared)
        if shared.vault.profile(tenant).forms < FORMS:
            await _taken_over(shared)
        now, many = shared.clock.now(), shared.settings.partitions
        shared.vault.upgrade(tenant, _legacy(shared, tenant), now, many, former=_contradicted(shared, tenant))
        for keys in (shared.vault.letters, shared.vault.moments):
            keys.renew(now)
        await shared.ring(tenant).guard.tell_profile()
        await carried_over(shared, tenant, shared.vault.identity(tenant))
    finally:
        await shared.keystore.close()


async def _missing_topics(shared: AppContext) -> None:
    topics = KafkaTopics(shared.settings, shared.options)
    try:
        await asyncio.to_thread(topics.create, shared.keep_days, shared.events)
    finally:
        await asyncio.to_thread(topics.close)


async def _taken_over(shared: AppContext) -> None:
    extents = KafkaExtents(shared.settings, shared.options)
    try:
        for role in FIRST_ROLES:  # the first release has no other
            await take_over(reads(shared, role), shared.keystore, extents)
    finally:
        await asyncio.to_thread(extents.close)


def _published(shared: AppContext, tenant: str) -> str | None:
    path = Path(shared.settings.policy).parent / "keys" / f"{tenant}-receipts.pub.pem"
    return public_forms(path.read_bytes())[2] if path.is_file() else None


async def create_tenant(args: Args) -> int:
    """Make a tenant's secrets, the first epoch, and the guard with its anchor in the ledger; repeatable."""
    shared, tenant = _named(args)
    try:
        epoch, path, desk = await _make(shared, tenant, named_rules(args.identity or "default"))
    finally:
        await shared.keystore.close()
    show(
        args,
        {"tenant": tenant, "epoch": epoch, "receipt_key": str(path), "desk_key": str(desk)},
        f"tenant {tenant}: epoch {epoch}, receipts by {path}, requests may be sealed to {desk}",
    )
    return 0


async def _make(shared: AppContext, tenant: Tenant, identity: tuple[str, ...]) -> tuple[EpochName, Path, Path]:
    """The current epoch, and where the public halves of the receipt key and of the desk's key lie."""
    if not shared.vault.made:
        for line in shared.policy.unlawful(shared.clock.now().date()):
            raise ConfigurationError(line)
    else:
        await follow_published(shared, whole=False)
    await check_places(shared)
    unanchored = await _own(shared)
    if not unanchored:
        await shared.check_partitions()
    now = shared.clock.now()
    epoch = epoch_of(now)
    shared.vault.create_tenant(tenant, identity, now, shared.settings.partitions, apart_from=epoch)
    shared.vault.create_epoch(epoch)
    if shared.vault.profile(tenant).forms >= LETTERS_FROM:
        for keys in (shared.vault.letters, shared.vault.moments):
            keys.renew(shared.clock.now())
    guard_id = shared.vault.guard_id()
    path = Path(shared.settings.policy).parent / "keys" / f"{tenant}-receipts.pub.pem"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(receipt_pem(shared.vault.receipt_key(tenant))[1])
    desk = write_desk_key(shared, tenant)[0]
    writer = shared.writer()
    await writer.start()
    try:
        if unanchored:
            topics = (shared.settings.topic(Topic.DECISIONS), shared.settings.topic(Topic.LEGS))
            places = [(topic, number) for topic in topics for number in range(shared.settings.partitions)]
            places.append((shared.settings.topic(Topic.POLICY), 0))  # for those who have no right to the ledger
            anchors = [Output(*place, ANCHOR, encode(shared.anchor)) for place in places]
            await writer.write(shared.vault.vouched(tenant, AUDIT, anchors))
        profile = shared.vault.profile(tenant).number
        if await shared.keystore.swap({GUARD_KEY: (None, guard_entry(guard_id, 0, profile))}, {}):
            await shared.ring(tenant).guard.open_at_once(shared.settings.partitions)
        await shared.keystore.swap({EPOCH_KEY: (None, epoch.encode())}, {})
    finally:
        await writer.stop()
    return epoch, path, desk


def write_desk_key(shared: AppContext, tenant: Tenant) -> tuple[Path, bytes]:
    """Write the public half of the desk's newest key beside the receipt key's: the file, and what is in it."""
    kid = shared.vault.desk_kids(tenant)[-1]
    public = desk_pem(shared.vault.desk_key(tenant, kid) or b"")[1]
    path = Path(shared.settings.policy).parent / "keys" / f"{kid}.pub.pem"
    path.write_bytes(public)
    return path, public
