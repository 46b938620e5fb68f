"""`policy check|publish|print`: what a change does, the signed change to every worker, the record of processing."""

import argparse
import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from calllog_guard.adapters.kafka_log import read_each
from calllog_guard.commands.setup import say, show, the_world
from calllog_guard.core.crypto.envelope import parse_header
from calllog_guard.core.identity import folds_case
from calllog_guard.core.ids import Tenant
from calllog_guard.core.policy.differences import Difference, Stored, differences, lapsing
from calllog_guard.core.policy.facts import lacking
from calllog_guard.core.policy.form import Version
from calllog_guard.core.policy.publication import LATE, Publication, follow, signed_by, topic_key, with_keys
from calllog_guard.core.policy.record import markdown, record
from calllog_guard.core.policy.versions import in_force
from calllog_guard.core.tombstone import Output
from calllog_guard.core.wire import to_ms
from calllog_guard.errors import ConfigurationError, RecordError, StateRefusedError
from calllog_guard.law import follow_published, kept_days
from calllog_guard.policy import Policy, load_policy
from calllog_guard.world import World

_LENGTHEN: Final = "--lengthen"


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    verb = verbs.add_parser("policy", help="what a change of policy does; publish it; write the record of processing")
    actions = verb.add_subparsers(metavar="ACTION", required=True)
    check = actions.add_parser(
        "check",
        help="differences between the version in force and the next, or between two files",
        description="Compares the version in force with the next one of the policy file, or the newest version of "
        "--against FILE with the newest of the policy file. Exit 1 if a period gets longer and --lengthen is not said. Tells "
        "what answers to persons would lack, because the newest version does not say it.",
    )
    check.add_argument("--against", type=Path, metavar="FILE", help="the policy file to compare with")
    check.add_argument(_LENGTHEN, action="store_true", help="longer periods are meant: they are no finding")
    check.add_argument("--legs", action="store_true", help="read the legs (headers alone) and count what falls due")
    check.add_argument("--json", action="store_true")
    check.set_defaults(run=lambda args: asyncio.run(run_check(args)))
    publish = actions.add_parser(
        "publish",
        help="sign the newest version of the file; every worker follows it within seconds",
        description="Signs a version of the policy file (the newest, or that of --effective DAY) with an officer's key and "
        "writes it to privacy.policy. The officer must be one of the version before; the day must not be past.",
    )
    publish.add_argument("--key", type=Path, required=True, metavar="PEM", help="an officer's private key")
    publish.add_argument("--effective", type=date.fromisoformat, metavar="DAY", help="which version of the file")
    publish.add_argument(_LENGTHEN, action="store_true", help="longer periods are meant; the signed text says so")
    publish.add_argument("--json", action="store_true")
    publish.set_defaults(run=lambda args: asyncio.run(run_publish(args)))
    printing = actions.add_parser("print", help="the record of processing (GDPR Art. 30), as Markdown or JSON")
    printing.add_argument("--markdown", action="store_true", help="the default")
    printing.add_argument("--json", action="store_true")
    printing.add_argument("--published", action="store_true", help="with what is published: asks Kafka")
    printing.set_defaults(run=lambda args: asyncio.run(run_print(args)))


# --- check ----------------------------------------------------------------------------------------------------------


def _check_identity(shared: World, policy: Policy) -> None:
    """
    Whether the versions leave it as it is who is one person: that belongs to the tenant, and no policy changes it.

    Raises:
        StateRefusedError, ConfigurationError: Which version would not.

    """
    tenant = shared.tenant
    if not shared.vault.profile(tenant).number:
        policy.legacy_identity(tenant)
        return
    for version in policy.versions:
        table = version.tenant.get(tenant)
        if table is not None and table.lowercase_email and not folds_case(shared.vault.identity(tenant)):
            raise StateRefusedError(
                f"version {version.effective}, lowercase_email: the tenant was made with rules by which the case of an address tells "
                "people apart, and no policy changes them: take the line away (tenant list shows the rules)"
            )


def _compared(shared: World, against: Path | None) -> tuple[tuple[Version, ...], tuple[Version, ...]] | None:
    """The law as it is and as it would be; None when no next version waits."""
    versions, today = shared.policy.versions, shared.clock.now().date()
    if against is not None:
        return load_policy(against).versions, versions
    later = [version for version in versions if version.effective > today]
    if not later:
        return None
    now = shared.policy.at(today)
    return tuple(each for each in versions if each.effective <= now.effective), (
        *(each for each in versions if each.effective <= later[0].effective),
    )


async def run_check(args: argparse.Namespace) -> int:
    """See the parser."""
    shared = the_world()
    if args.legs:
        await follow_published(shared)
    _check_identity(shared, shared.policy)
    pair = _compared(shared, args.against)
    newest = shared.policy.versions[-1]
    unsaid = [f"tenant {name}: {line}" for name, table in newest.tenant.items() for line in lacking(table)]
    for line in unsaid:
        say(f"not said in version {newest.effective}, {line}")
    if pair is None:
        nothing = {"differences": [], "legs": {}, "unsaid": unsaid}
        show(args, nothing, "no version of the policy file waits for its day: nothing changes")
        return 0
    before, after = pair
    found = differences(before[-1], after[-1])
    counted = await _lapsing(shared, before, after) if args.legs else {}
    lengthened = [each for each in found if each.what == "lengthened"]
    if args.json:
        data = {
            "from": before[-1].effective.isoformat(),
            "to": after[-1].effective.isoformat(),
            "differences": [each._asdict() for each in found],
            "legs": counted,
            "unsaid": unsaid,
        }
        show(args, data, "")
    else:
        _table(before[-1], after[-1], found, counted)
    if lengthened and not args.lengthen:
        say(
            f"{len(lengthened)} periods get longer: that needs the word {_LENGTHEN}, here and when it is published; "
            "legs that are stored already keep their shorter period"
        )
        return 1
    return 0


def _table(before: Version, after: Version, found: list[Difference], counted: Mapping[str, Mapping[str, int]]) -> None:
    table = Table(
        "tenant", "what", "where", "before", "after", title=f"Policy: {before.effective} to {after.effective}"
    )
    colours = {"lengthened": "red", "dropped": "yellow", "shortened": "yellow"}
    for each in found:
        table.add_row(*each, style=colours.get(each.what))
    out = Console()
    out.print(table if found else "the versions say the same")
    for tenant, numbers in counted.items():
        out.print(
            f"{tenant}: {numbers['legs']} legs stored; on {numbers['on']}, {numbers['due_by_change']} fall due by the "
            f"change, {numbers['due_anyway']} without it",
            highlight=False,
        )


async def _lapsing(shared: World, before: tuple[Version, ...], after: tuple[Version, ...]) -> dict[str, dict[str, Any]]:
    legs = await stored_legs(shared)
    day = max(shared.clock.now().date(), after[-1].effective)
    tenant = shared.tenant
    return {tenant: lapsing(before, after, tenant, legs, day)._asdict() | {"on": day.isoformat()}}


class Headers:
    """The latest header of each leg of a partition."""

    def __init__(self) -> None:
        self.live: dict[bytes, Stored] = {}
        self.foreign = 0

    def note(self, record: Any) -> None:
        """Take in one record."""
        if record.key is None or record.key[:1] == b"~":
            return
        self.live.pop(record.key, None)
        if record.value is not None:
            try:
                header = parse_header(record.value)
                self.live[record.key] = (date.fromisoformat(header.day), header.pur, header.pol)
            except (RecordError, ValueError):
                self.foreign += 1


async def stored_legs(shared: World) -> Mapping[Stored, int]:
    """The legs that are stored, counted by what decides about them: their headers are in clear, nothing is opened."""
    topic, partitions = shared.settings.topic("calllog.legs"), range(shared.settings.partitions)
    counted: Counter[Stored] = Counter()
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("partitions of legs", total=len(partitions))
        for partition in partitions:
            headers = Headers()
            await read_each(shared.settings.kafka, shared.options, topic, [partition], headers.note)
            counted.update(headers.live.values())
            if headers.foreign:
                say(f"{topic}/{partition}: {headers.foreign} records are no legs and are not counted")
            bar.advance(task)
    return counted


# --- publish --------------------------------------------------------------------------------------------------------


async def run_publish(args: argparse.Namespace) -> int:
    """See the parser."""
    shared = the_world()
    file, tenant = shared.policy.versions, shared.tenant
    wanted = args.effective or file[-1].effective
    version = next((each for each in file if each.effective == wanted), None)
    if version is None:
        raise ConfigurationError(
            f"the policy file has no version of {wanted}; it has {', '.join(str(each.effective) for each in file)}"
        )
    # What is published stands on what was before: the file without this version, and what was published earlier.
    rest = Policy(tuple(each for each in file if each.effective != wanted), Path(shared.settings.policy).parent)
    shared.policy = rest
    followed = await follow_published(shared, whole=False)
    before = in_force([each for each in rest.versions if each.effective < wanted], wanted)
    if before is None or tenant not in before.tenant:
        raise StateRefusedError(
            f"there is no version before {wanted}: the first one is the file's, and needs no publication"
        )
    claims = Publication(
        tenant=tenant,
        effective=wanted,
        change=version.change,
        at=shared.clock.now(),
        lengthen=args.lengthen,
        policy=with_keys(version.tenant[tenant], rest.public_key),
    )
    _check_identity(shared, Policy((*rest.versions, version), Path(shared.settings.policy).parent))
    _left_behind(followed.holes(shared.clock.now().date()), version, args)
    token = signed_by(args.key.read_bytes(), before.tenant[tenant], rest.public_key, claims).encode()
    await _agreed(shared, rest, token)
    writer = shared.writer()
    await writer.start()
    try:
        topic = shared.settings.topic("privacy.policy")
        await writer.write([Output(topic, 0, topic_key(tenant, wanted), token)])
    finally:
        await writer.stop()
    lines = [each._asdict() for each in differences(before, version) if each.tenant == tenant]
    data = {
        "tenant": tenant,
        "effective": wanted.isoformat(),
        "before": before.effective.isoformat(),
        "differences": lines,
    }
    if set(version.tenant[tenant].events) != set(before.tenant[tenant].events):
        say(
            "it names other topics of events: calllog-guard topics create makes them; restart the protectors on its day"
        )
    show(
        args, data, f"tenant {tenant}: version {wanted} is published over {before.effective}, {len(lines)} differences"
    )
    return 0


def _left_behind(missed: Sequence[Publication], version: Version, args: argparse.Namespace) -> None:
    """A version that nobody follows was a promise all the same: a longer period than its own is said as deliberately as any."""
    for each in missed:
        say(
            f"version {each.effective} was published and is not followed: its record came after its day; see the README"
        )
        promised = Version(effective=each.effective, change=each.change, tenant={each.tenant: each.policy})
        longer = [line.where for line in differences(promised, version) if line.what == "lengthened"]
        if longer and not args.lengthen:
            raise StateRefusedError(
                f"{', '.join(longer)}: longer than in version {each.effective}, which was published: say {_LENGTHEN} if it is "
                "meant, or put that version into the policy file first"
            )


_WHY: Final = {
    "lengthens_unsaid": f"a period gets longer (see policy check): say {_LENGTHEN} if it is meant",
    LATE: "its day is past: give it today's date or a later one",
    "takes_effect_in_the_past": "its day is past: give it today's date or a later one",
    "retention_too_short": "the topic of the legs forgets earlier than this version: raise its retention.ms first",
    "contradicts": "it contradicts versions that are published: policy print --published shows them",
}


async def _agreed(shared: World, rest: Policy, token: bytes) -> None:
    """Judge it as every worker will, before anybody sees it."""
    days = await kept_days(shared)
    followed = follow(rest.versions, {token: to_ms(shared.clock.now())}, rest.public_key, days)
    reason = followed.refused.get(token)
    if reason is not None:
        raise StateRefusedError(f"no worker would follow this version ({reason}): {_WHY.get(reason, 'see the README')}")


# --- print ----------------------------------------------------------------------------------------------------------


async def run_print(args: argparse.Namespace) -> int:
    """See the parser."""
    shared = the_world()
    if args.published:
        await follow_published(shared)
    today = shared.clock.now().date()
    names = sorted(shared.policy.at(today).tenant)
    records = [record(shared.policy.versions, Tenant(name), today) for name in names]
    found = [each for each in records if each is not None]
    show(args, found, "\n".join(markdown(each) for each in found).rstrip("\n"))
    return 0
