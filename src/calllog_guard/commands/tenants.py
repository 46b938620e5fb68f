"""
`tenant create|list`: whom this installation serves.

An installation is one tenant's: topics, keystore and wrapping keys are its own, and what is another's is refused before anything is written.
"""

import argparse
import asyncio
from pathlib import Path
from typing import Any, Final

from calllog_guard.adapters.kafka_newest import holds_any
from calllog_guard.commands.setup import show, the_world
from calllog_guard.core.anchor import ANCHOR
from calllog_guard.core.crypto.entries import EPOCH_KEY, GUARD_KEY
from calllog_guard.core.crypto.sealed import desk_pem, public_forms, receipt_pem
from calllog_guard.core.ids import EpochName, Tenant
from calllog_guard.core.tombstone import Output
from calllog_guard.core.wire import encode
from calllog_guard.errors import ConfigurationError, StateRefusedError
from calllog_guard.workers.guard import guard_entry
from calllog_guard.workers.walk import epoch_of
from calllog_guard.world import World

_ID: Final = len(guard_entry(b"")) - 8
"""Of a guard entry: version and id, before the counter."""
_NOT_MADE: Final = "not made: calllog-guard tenant create"
_ELSEWHERE: Final = "served elsewhere: CALLLOG_GUARD_TENANT"


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "tenant",
        help="create T: pepper, receipt key, desk key, first epoch, guard entry (again: what a newer release adds); list: each tenant of the policy, and whether it is made",
    )
    verb.add_argument("action", choices=["create", "list"])
    verb.add_argument("tenant", nargs="?")
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=run_tenant)


def run_tenant(args: argparse.Namespace) -> int:
    """Make one tenant, or list all."""
    if args.action == "list":
        return list_tenants(args)
    if not args.tenant:
        raise ConfigurationError("name the tenant: calllog-guard tenant create T")
    return asyncio.run(create_tenant(args))


def list_tenants(args: argparse.Namespace) -> int:
    """The tenants of the policy in force: regime, events, requesters, the receipt key's fingerprint once made; who is served here."""
    shared = the_world()
    rows: list[dict[str, Any]] = []
    for name, table in shared.policy.at(shared.clock.now().date()).tenant.items():
        try:
            fingerprint = public_forms(receipt_pem(shared.vault.receipt_key(Tenant(name)))[1])[2]
        except ConfigurationError:  # the KMS keeps nothing of it yet
            fingerprint = None
        here = shared.settings.tenant in {"", name}
        row = {"tenant": name, "here": here, "regime": table.regime, "events": list(table.events)}
        row["desk_keys"] = shared.vault.desk_kids(Tenant(name))
        rows.append(row | {"requesters": sorted(table.requesters), "receipt_key": fingerprint})
    lines = (
        f"{row['tenant']:16} {row['regime']} {row['receipt_key'] or (_NOT_MADE if row['here'] else _ELSEWHERE)}"
        f" {' '.join(row['events'])} {' '.join(row['requesters'])}"
        for row in rows
    )
    show(args, rows, "\n".join(lines))
    return 0


async def _own(shared: World) -> bool:
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
    if entry is not None and (first or entry[:_ID] != guard_entry(vault.guard_id())[:_ID]):
        raise StateRefusedError(
            "the keystore holds another installation's entries, or RING has lost this one's: set CALLLOG_GUARD_KEYSTORE to a "
            "database of its own"
        )
    if not first:
        return await shared.anchored() is None
    for name in ("privacy.decisions", "calllog.legs"):
        if await holds_any(settings.kafka, shared.options, settings.topic(name), range(settings.partitions)):
            raise StateRefusedError(
                f"{settings.topic(name)} holds another installation's records, or RING has lost this one's keys: set "
                "CALLLOG_GUARD_CALLLOG_PREFIX and CALLLOG_GUARD_PRIVACY_PREFIX to prefixes of its own, then topics create"
            )
    return True


async def create_tenant(args: argparse.Namespace) -> int:
    """Make a tenant's secrets, the first epoch, and the guard with its anchor in the ledger; repeatable."""
    shared, tenant = the_world(), Tenant(args.tenant)
    if tenant not in shared.policy.at(shared.clock.now().date()).tenant:
        raise StateRefusedError(f"the policy names no tenant {tenant}: add [version.tenant.{tenant}] first")
    if tenant != shared.tenant:
        raise StateRefusedError(
            f"this installation serves {shared.tenant}; {tenant} needs one of its own: see the README: Scale"
        )
    try:
        epoch, path, desk = await _make(shared, tenant)
    finally:
        await shared.keystore.close()
    show(
        args,
        {"tenant": tenant, "epoch": epoch, "receipt_key": str(path), "desk_key": str(desk)},
        f"tenant {tenant}: epoch {epoch}, receipts by {path}, requests may be sealed to {desk}",
    )
    return 0


async def _make(shared: World, tenant: Tenant) -> tuple[EpochName, Path, Path]:
    """The current epoch, and where the public halves of the receipt key and of the desk's key lie."""
    unanchored = await _own(shared)
    shared.vault.create_tenant(tenant)
    epoch = epoch_of(shared.clock.now())
    shared.vault.create_epoch(epoch)
    guard_id = shared.vault.guard_id()
    path = Path(shared.settings.policy).parent / "keys" / f"{tenant}-receipts.pub.pem"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(receipt_pem(shared.vault.receipt_key(tenant))[1])
    desk = write_desk_key(shared, tenant)[0]
    writer = shared.writer()
    await writer.start()
    try:
        if unanchored:
            topics = (shared.settings.topic("privacy.decisions"), shared.settings.topic("calllog.legs"))
            places = [(topic, number) for topic in topics for number in range(shared.settings.partitions)]
            places.append((shared.settings.topic("privacy.policy"), 0))  # for those who have no right to the ledger
            await writer.write([Output(*place, ANCHOR, encode(shared.anchor)) for place in places])
        if await shared.keystore.swap({GUARD_KEY: (None, guard_entry(guard_id))}, {}):
            await shared.ring(tenant).guard.open_at_once(shared.settings.partitions)
        await shared.keystore.swap({EPOCH_KEY: (None, epoch.encode())}, {})
    finally:
        await writer.stop()
    return epoch, path, desk


def write_desk_key(shared: World, tenant: Tenant) -> tuple[Path, bytes]:
    """Write the public half of the desk's newest key beside the receipt key's: the file, and what is in it."""
    kid = shared.vault.desk_kids(tenant)[-1]
    public = desk_pem(shared.vault.desk_key(tenant, kid) or b"")[1]
    path = Path(shared.settings.policy).parent / "keys" / f"{kid}.pub.pem"
    path.write_bytes(public)
    return path, public
