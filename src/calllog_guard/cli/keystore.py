"""`keystore status|walk|guard|rights|policies`: entries, walk, restore guard, Redis users, rights to the KMS."""

from contextlib import aclosing
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import click
from rich.console import Console
from rich.progress import Progress

from calllog_guard.adapters.kafka.log import places_of
from calllog_guard.adapters.kms.schemes import PREFIX
from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import enter
from calllog_guard.app.roles import needed_epochs, walk
from calllog_guard.cli._options import Args, argument, command
from calllog_guard.cli._output import say, show, the_world
from calllog_guard.core.crypto.entries import applied_key
from calllog_guard.core.decisions.decision import decision_in
from calllog_guard.core.decisions.outcome import is_result
from calllog_guard.core.requests.types import HOLDS
from calllog_guard.core.rights.grants import KEYSTORE_USERS
from calllog_guard.core.rights.kms_policies import POLICIES, PRINTED
from calllog_guard.core.rights.redis_rules import FINE_SINCE, WAITAOF_SINCE, acl_lines, rules
from calllog_guard.core.stream.proofs import Proofs
from calllog_guard.core.topics import Topic
from calllog_guard.errors import ConfigurationError, MessageError


def _release(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    try:
        return int(major), int(minor or 0)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no release: 7.2 is one") from None


def rights(args: Args) -> int:
    """The users of Redis with their rules; nothing is asked of it."""
    tenant, release = the_world().tenant, args.server
    found = [{"user": user, "rules": rules(user, tenant, release)} for user in KEYSTORE_USERS]
    show(args, found, "\n".join(acl_lines(tenant, release)))
    if release < FINE_SINCE:
        say("Redis before 7.0 cannot keep a user that may write from writing over any entry: use 7.0 or later")
    return 0


def policies(args: Args) -> int:
    """The policies of the KMS, one of each domain; nothing is asked of it."""
    address = urlsplit(the_world().settings.kms)
    kind = args.kms or address.scheme
    if kind not in POLICIES:
        raise ConfigurationError(
            f"CALLLOG_GUARD_KMS is {kind}:, whose keys have no policies: name one with --kms "
            f"({', '.join(sorted(POLICIES))}), or let the folder of each domain belong to its user alone"
        )
    options = dict(parse_qsl(address.query)) if args.kms in {None, address.scheme} else {}
    names = {"prefix": options.get("prefix", PREFIX)} | ({"mount": options["mount"]} if "mount" in options else {})
    domains = [args.domain] if args.domain else PRINTED
    found = {domain: POLICIES[kind](domain, **names) for domain in domains}
    show(
        args,
        found,
        "\n".join(f"# {each}\n{text}" for each, text in found.items()) if not args.domain else found[args.domain],
    )
    return 0


async def lag(shared: AppContext) -> int:
    """
    How many decisions the keystore does not say yet that it has had applied: a backup of now would need them again.

    What a secret hold would move is not counted.
    """
    settings, partitions = shared.settings, range(shared.settings.partitions)
    found = await shared.keystore.read([applied_key(partition) for partition in partitions])
    waiting, proofs = 0, shared.vault.proofs(shared.tenant)
    places = places_of(settings.topic(Topic.DECISIONS), partitions)
    starts = {place: int(offset or 0) for place, offset in zip(places, found, strict=True)}
    async with aclosing(shared.log.portions(starts, settings.unit_records)) as portions:
        async for _, portion in portions:
            waiting += sum(_counts(record, proofs) for records in portion.values() for record in records)
    return waiting


def _counts(record: Any, proofs: Proofs) -> bool:
    key = record.key
    if record.value is None or not key or key[:1] == b"~" or is_result(key):
        return False
    try:
        return decision_in(record, proofs).type not in HOLDS
    except MessageError:  # not written by a desk
        return False


@command("keystore")
@argument("action", type=click.Choice(["status", "walk", "guard", "rights", "policies"]))
@click.option(
    "--server",
    type=_release,
    default=".".join(map(str, WAITAOF_SINCE)),
    metavar="RELEASE",
    help="rights: of Redis (default 7.2; so it is for every Valkey)",
)
@click.option(
    "--kms", type=click.Choice(sorted(POLICIES)), help="policies: for which KMS (default: that of CALLLOG_GUARD_KMS)"
)
@click.option("--domain", type=click.Choice(PRINTED), help="policies: of this one alone, as the KMS takes it")
def keystore(args: Args) -> Any:
    """What is asked of the keystore, or printed for it."""
    return {"rights": rights, "policies": policies}.get(args.action, _asked)(args)


async def _asked(args: Args) -> int:
    """See the module; `guard` exits with 1 while partitions wait for their replay."""
    shared = the_world()
    try:
        await shared.look_back()
        if args.action == "guard":
            _, missing = await shared.ring(shared.tenant).guard.unguarded(range(shared.settings.partitions))
            text = (
                "the guard is down" if not missing else f"the guard is up: {len(missing)} partitions wait for keepers"
            )
            show(args, {"waiting": sorted(missing)}, text)
            return int(bool(missing))
        await enter(shared)
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("entries", total=None)
            walking = walk(shared, lambda many: bar.advance(task, many))
            if args.action == "status":
                look = await walking.looked()
                alive = shared.vault.epochs()
                lines = [f"{state}: {many}" for state, many in sorted(look.states.items())]
                lines += [f"{epoch}: {look.entries[epoch]} entries" for epoch in sorted({*alive, *look.entries})]
                behind = await lag(shared)
                lines.append(f"lag: {behind} decisions wait for keepers")
                told = {"entries": look.entries, "states": look.states, "epochs": alive, "lag": behind}
                show(args, told, "\n".join(lines))
                return 0
            done = await walking.run(await needed_epochs(shared))
    finally:
        await shared.keystore.close()
    text = (
        f"{done.rewrapped} re-wrapped into {done.epoch}, {done.advanced} ratchets advanced, "
        f"{done.orphans} orphans removed, {done.fences} lapsed fences dropped, {done.contested} left to the next walk"
    )
    kept = "".join(f"\nkept {epoch}: {why}" for epoch, why in done.kept.items())
    gone = "".join(f"\ndestroyed {epoch}" for epoch in done.destroyed)
    show(args, asdict(done), text + gone + kept)
    return 0
