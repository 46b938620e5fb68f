"""
`tenant identity` shows by which rules people of a tenant are known, and carries everybody over to others.

A change is refused nowhere else but here, and undone by nothing: identifiers joined into one person cannot be parted.
"""

from dataclasses import asdict
from typing import Any

from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import enter
from calllog_guard.cli._options import Args
from calllog_guard.cli._output import say, show
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.identity.rules import (
    AS_WRITTEN,
    DEFAULT,
    LOWERCASE_EMAIL,
    RULES,
    in_order,
    narrower,
    unknown_rules,
)
from calllog_guard.errors import ConfigurationError, StateRefusedError
from calllog_guard.workers.keys.hold_store import Safe
from calllog_guard.workers.keys.identity_change import Carried, CarryOver, IdentityChangeNeeds

_FORMS = 2


def named_rules(text: str) -> tuple[str, ...]:
    """
    The rules of identity that an argument names, in their order.

    Raises:
        ConfigurationError: One of them is none, or none is named.

    """
    given = [name.strip() for name in text.split(",") if name.strip()]
    if text == "default":
        return DEFAULT
    if not given or (unknown := unknown_rules(given)):
        what = f"there is no rule {', '.join(unknown)}" if given else "no rule is named"
        raise ConfigurationError(
            f"--identity: {what}; take some of {','.join(RULES)}, or one of {AS_WRITTEN}, {LOWERCASE_EMAIL} alone"
        )
    return in_order(given)


async def identity_of(shared: AppContext, tenant: Tenant, args: Args) -> int:
    """Show the rules; with `--identity RULES` carry everybody over to them, or go on with it."""
    profile = shared.vault.profile(tenant)
    if profile.forms < _FORMS:
        raise StateRefusedError(f"tenant {tenant} has no rules of its own yet: calllog-guard tenant upgrade {tenant}")
    wanted = named_rules(args.identity) if args.identity else profile.identity
    if lost := narrower(profile.identity, wanted):
        raise StateRefusedError(
            f"--identity: people who are one by {', '.join(lost)} cannot be told apart again: name these rules as well"
        )
    try:
        await shared.look_back()
        await enter(shared)
        carried = await carried_over(shared, tenant, wanted, dry=args.dry_run)
    finally:
        await shared.keystore.close()
    rules = shared.vault.identity(tenant)
    told: dict[str, Any] = {
        "tenant": tenant,
        "identity": list(rules),
        "before": [list(each) for each in shared.vault.former(tenant)],
    }
    lines = [f"tenant {tenant} knows people by {', '.join(rules)}"]
    if carried is not None:
        told["carried"] = asdict(carried)
        lines.append(_sentence(carried, dry=args.dry_run))
    show(args, told, "\n".join(lines))
    return 0


async def carried_over(
    shared: AppContext, tenant: Tenant, wanted: tuple[str, ...], *, dry: bool = False
) -> Carried | None:
    """Let rules be in force, and carry everybody over to them; None where nothing is to be done."""
    ring = shared.ring(tenant)
    if wanted != shared.vault.identity(tenant):
        if not dry:
            shared.vault.know(tenant, wanted, shared.clock.now())
    elif (await ring.view([])).carried >= len(shared.vault.former(tenant)):
        return None
    if not dry:
        await ring.guard.tell_profile()
    writer = shared.writer()
    await writer.start()
    needs = IdentityChangeNeeds(
        tenant=tenant,
        ring=ring,
        safe=Safe(ring),
        writer=writer,
        policy=shared.policy,
        settings=shared.settings,
        clock=shared.clock,
        log=shared.log,
        told=say,
    )
    try:
        return await CarryOver(needs, dry=wanted if dry else None).run()
    finally:
        await writer.stop()


def _sentence(carried: Carried, *, dry: bool) -> str:
    would = "would be" if dry else "were"
    lines = [
        f"of {carried.people} people with records, {carried.led} {would} found under another key",
        f"{carried.joined} {would} one person with somebody else" * bool(carried.joined),
        f"of these, {carried.erased} had asked for erasure under another form: their records up to then {would} removed"
        * bool(carried.erased),
        f"{carried.refused} have identifiers that these rules refuse: they are found by the former rules"
        * bool(carried.refused),
        f"{carried.unopened} have records that do not open" * bool(carried.unopened),
    ]
    return "\n".join(filter(None, lines))
