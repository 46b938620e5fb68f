"""`policy check|publish|print`: what a change does, the signed change to every worker, the record of processing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from calllog_guard.adapters.disk.policy_file import key_files, load_policy
from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import NO_KEYSTORE, check_places, follow_published
from calllog_guard.cli._countersign import LENGTHEN, agreed_by_all, countersigned, word_of
from calllog_guard.cli._options import Args, VerbGroup, day_of, file, flag, key
from calllog_guard.cli._output import progress, say, show, the_world
from calllog_guard.core.crypto.leg_envelope import parse_header
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.identity.rules import folds_case
from calllog_guard.core.policy.active import Policy
from calllog_guard.core.policy.changes.chain import UNLAWFUL
from calllog_guard.core.policy.changes.differences import Difference, Stored, differences, effects, lapsing
from calllog_guard.core.policy.changes.grave import SECOND, grave
from calllog_guard.core.policy.changes.publication import Publication, topic_key, with_keys
from calllog_guard.core.policy.facts import lacking
from calllog_guard.core.policy.form import Version
from calllog_guard.core.policy.lawful import advice, unlawful
from calllog_guard.core.policy.record import markdown, record
from calllog_guard.core.policy.versions import change_at, in_force
from calllog_guard.core.records import Output
from calllog_guard.core.topics import Topic
from calllog_guard.errors import ConfigurationError, RecordError, StateRefusedError

policy: Final = VerbGroup("policy")


# --- check ----------------------------------------------------------------------------------------------------------


Law = tuple[Version, ...]


def _check_identity(shared: AppContext, policy: Policy) -> None:
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
                f"version {version.effective}, lowercase_email: the tenant was made with rules by which the case of an "
                "address tells "
                "people apart, and no policy changes them: take the line away (tenant list shows the rules)"
            )


def _compared(shared: AppContext, against: Path | None, wanted: date | None) -> tuple[Law, Law] | None:
    """The policy before a version and with it, keys in their places; None without a version of today or a later day."""
    versions, today = tuple(map(shared.policy.inlined, shared.policy.versions)), shared.clock.now().date()
    if against is not None:
        other = load_policy(against)
        return tuple(map(other.inlined, other.versions)), versions
    change = change_at(versions, today, wanted)
    if change is None:
        if wanted is not None:
            raise ConfigurationError(f"there is no version of {wanted} that another one precedes")
        return None
    waiting = [f"{each}" for each in versions if each.effective > max(today, change[1].effective)]
    if waiting and wanted is None:
        say(f"{', '.join(waiting)}: waits too; see it with --effective DAY")
    before = tuple(each for each in versions if each.effective < change[1].effective)
    return before, (*before, change[1])


def _unlawful(shared: AppContext) -> list[str]:
    """What no new version may say; what an earlier release took into force is not asked when a newer one waits."""
    today, taken = shared.clock.now().date(), shared.policy.here().lawful_from
    return shared.policy.unlawful(today, min(taken, shared.policy.versions[-1].effective, today + timedelta(1)))


@policy.command("check", help="differences between the version in force and the next, or between two files")
@file("--against", help="the policy file to compare with")
@click.option("--effective", type=day_of, metavar="DAY", help="the version of that day instead")
@flag(LENGTHEN, help="longer periods are meant: they are no finding")
@flag("--legs", help="read the legs (headers alone) and count what falls due")
async def check(args: Args) -> int:
    """As its help says."""
    shared = the_world()
    if args.legs:
        await follow_published(shared)
    _check_identity(shared, shared.policy)
    pair = _compared(shared, args.against, args.effective)
    newest = shared.policy.versions[-1]
    unsaid = [f"tenant {name}: {line}" for name, table in newest.tenant.items() for line in lacking(table)]
    wrong, advised = _unlawful(shared), list(advice(newest, shared.settings.event_late_days))
    for line in unsaid:
        say(f"not said in version {newest.effective}, {line}")
    for line in advised:
        say(f"rarely meant in version {newest.effective}, {line}")
    for line in wrong:
        say(f"cannot be published: {line}")
    told = {"unsaid": unsaid, "unlawful": wrong, "advice": advised}
    if pair is None:
        nothing: dict[str, Any] = {"differences": [], "legs": {}} | told
        show(args, nothing, "no version of the policy file waits for its day: nothing changes")
        return int(bool(wrong))
    before, after = pair
    found = differences(before[-1], after[-1])
    counted = await _lapsing(shared, before, after) if args.legs else {}
    lengthened = [each for each in found if each.what == "lengthened"]
    heavy = [
        line
        for name, table in after[-1].tenant.items()
        if name in before[-1].tenant
        for line in grave(before[-1].tenant[name], table)
    ]
    for line in heavy:
        say(
            f"grave: {line}; two officers sign it, and a day lies before it (one officer's word is enough where there "
            "is one)"
        )
    told["grave"] = heavy
    told["effects"] = list(effects(before[-1], after[-1]))
    for line in told["effects"]:
        say(line)
    if args.json:
        data = {
            "from": before[-1].effective.isoformat(),
            "to": after[-1].effective.isoformat(),
            "revision": after[-1].number,
            "differences": [each._asdict() for each in found],
            "legs": counted,
        } | told
        show(args, data, "")
    else:
        _table(before[-1], after[-1], found, counted)
    if lengthened and not args.lengthen:
        say(
            f"{len(lengthened)} periods get longer: that needs the word {LENGTHEN}, here and when it is published; "
            "legs that are stored already keep their shorter period"
        )
        return 1
    return int(bool(wrong))


def _table(before: Version, after: Version, found: list[Difference], counted: Mapping[str, Mapping[str, int]]) -> None:
    table = Table("tenant", "what", "where", "before", "after", title=f"Policy: {before} to {after}")
    colours = {"lengthened": "red", "dropped": "yellow", "shortened": "yellow"}
    for each in found:
        table.add_row(each.tenant, each.what, each.where, each.before, each.after, style=colours.get(each.what))
    out = Console()
    out.print(table if found else "the versions say the same")
    for tenant, numbers in counted.items():
        out.print(
            f"{tenant}: {numbers['legs']} legs stored; on {numbers['on']}, {numbers['due_by_change']} fall due by the "
            f"change, {numbers['due_anyway']} without it",
            highlight=False,
        )


async def _lapsing(
    shared: AppContext, before: tuple[Version, ...], after: tuple[Version, ...]
) -> dict[str, dict[str, Any]]:
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


async def stored_legs(shared: AppContext) -> Mapping[Stored, int]:
    """The legs that are stored, counted by what decides about them: their headers are in clear, nothing is opened."""
    topic, partitions = shared.settings.topic(Topic.LEGS), range(shared.settings.partitions)
    counted: Counter[Stored] = Counter()
    for partition in progress(partitions, "partitions of legs"):
        headers = Headers()
        await shared.log.read_each(topic, [partition], headers.note)
        counted.update(headers.live.values())
        if headers.foreign:
            say(f"{topic}/{partition}: {headers.foreign} records are no legs and are not counted")
    return counted


# --- publish --------------------------------------------------------------------------------------------------------


_FIRST: Final = (
    "there is no version before {}: the first one is the file's, and needs no publication. Workers read it as they "
    "start: restart them"
)


@policy.command("publish", help="sign the newest version of the file; every worker follows it within seconds")
@key("an officer's private key", required=True)
@click.option("--effective", type=day_of, metavar="DAY", help="which version of the file")
@flag(LENGTHEN, help="longer periods are meant; the signed text says so")
async def publish(args: Args) -> int:
    """As its help says."""
    shared = the_world()
    file, tenant = shared.policy.file, shared.tenant
    wanted = args.effective or file[-1].effective
    version = next((each for each in reversed(file) if each.effective == wanted), None)
    if version is None:
        raise ConfigurationError(
            f"the policy file has no version of {wanted}; it has {', '.join(str(each.effective) for each in file)}"
        )
    if len(file) == 1:
        raise StateRefusedError(_FIRST.format(wanted))
    # What is published stands on what was before: the file without this version, and what was published earlier.
    rest = Policy(tuple(each for each in file if each is not version), key_files(Path(shared.settings.policy).parent))
    rest.here, shared.policy = shared.policy.here, rest
    followed = await follow_published(shared, whole=False)
    before = in_force([each for each in rest.versions if each.effective < wanted], wanted)
    if before is None or tenant not in before.tenant:
        raise StateRefusedError(_FIRST.format(wanted))
    for line in unlawful(version, rest.public_key):
        raise StateRefusedError(f"no worker would follow this version ({UNLAWFUL}): {line}")
    claims = Publication(
        tenant=tenant,
        effective=wanted,
        revision=version.revision,
        change=version.change,
        at=shared.clock.now(),
        lengthen=args.lengthen,
        policy=with_keys(version.tenant[tenant], rest.public_key),
    )
    version = rest.inlined(version)
    _replaced(rest, version, shared.clock.now().date(), args)
    _check_identity(shared, Policy((*rest.versions, version), key_files(Path(shared.settings.policy).parent)))
    _left_behind(followed.holes(shared.clock.now().date()), version, args)
    signed = countersigned(args.key.read_bytes(), before.tenant[tenant], rest.public_key, claims, followed)
    if signed.done:
        text = f"tenant {tenant}: version {version} is published, and signed by two: nothing to do"
        show(args, {"tenant": tenant, "published": True}, text)
        return 0
    waits = await agreed_by_all(shared, rest, signed)
    try:
        await check_places(shared, NO_KEYSTORE)
    except ConfigurationError:  # the version that allows this place is the cure
        await check_places(shared, NO_KEYSTORE, version)
    writer = shared.writer()
    await writer.start()
    try:
        topic = shared.settings.topic(Topic.POLICY)
        await writer.write([Output(topic, 0, topic_key(tenant, wanted, version.number), signed.token)])
    finally:
        await writer.stop()
    lines = [each._asdict() for each in differences(rest.inlined(before), version) if each.tenant == tenant]
    data = {
        "tenant": tenant,
        "effective": wanted.isoformat(),
        "revision": version.number,
        "before": before.effective.isoformat(),
        "differences": lines,
        "waits_for": SECOND if waits else None,
        "grave": signed.found,
    }
    if set(version.tenant[tenant].events) != set(before.tenant[tenant].events):
        say(
            "it names other topics of events: calllog-guard topics create makes them; restart the protectors on its day"
        )
    if word := word_of(signed, str(version), str(before), waits=waits):
        say(word)
    show(args, data, f"tenant {tenant}: version {version} is published over {before}, {len(lines)} differences")
    return int(waits)


def _replaced(rest: Policy, version: Version, today: date, args: Args) -> None:
    """A version that follows another of its day, as when a mistake is corrected: what that one has done stays done."""
    was = next((each for each in rest.versions if each.effective == version.effective), None)
    if was is None:
        return
    if was.number >= version.number:
        more = f"revision = {was.number + 1}"
        told = f"version {was} is published already; with {more} beside its day both stand in the change log"
        if was.number > version.number:
            raise StateRefusedError(f"{told}, and without it this one is the law of no day")
        say(told)
    if version.effective > today:
        return
    say(f"version {was} is in force today: what it dropped or shortened may be gone, and does not come back")
    longer = [line.where for line in differences(rest.inlined(was), version) if line.what == "lengthened"]
    if longer and not args.lengthen:
        raise StateRefusedError(
            f"{', '.join(longer)}: longer than in version {was}, which is in force: say {LENGTHEN} if it is meant"
        )


def _left_behind(missed: Sequence[Publication], version: Version, args: Args) -> None:
    """A version nobody follows was a promise all the same: a period longer than its own needs the same word as any."""
    for each in missed:
        say(
            f"version {each.effective} was published and is not followed: its record came after its day; see the "
            "documentation"
        )
        promised = Version(effective=each.effective, change=each.change, tenant={each.tenant: each.policy})
        longer = [line.where for line in differences(promised, version) if line.what == "lengthened"]
        if longer and not args.lengthen:
            raise StateRefusedError(
                f"{', '.join(longer)}: longer than in version {each.effective}, which was published: say {LENGTHEN} if "
                "it is meant, or put that version into the policy file first"
            )


# --- print ----------------------------------------------------------------------------------------------------------


@policy.command("print", help="the record of processing (GDPR Art. 30), as Markdown or JSON")
@flag("--markdown", help="the default")
@flag("--published", help="with what is published: asks Kafka")
async def print_record(args: Args) -> int:
    """As its help says."""
    shared = the_world()
    if args.published:
        await follow_published(shared)
    today = shared.clock.now().date()
    names = sorted(shared.policy.at(today).tenant)
    policy = shared.policy
    records = [record(policy.history, Tenant(name), today, policy.inlined) for name in names]
    found = [each for each in records if each is not None]
    show(args, found, "\n".join(markdown(each) for each in found).rstrip("\n"))
    return 0
