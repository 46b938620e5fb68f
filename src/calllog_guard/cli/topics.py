"""`topics create|check|rights|accept`: the governed topics, who may do what with them, and what is lost of them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from calllog_guard.adapters.kafka.admin.extents import KafkaExtents
from calllog_guard.adapters.kafka.admin.topics import KafkaTopics
from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import NO_KEYSTORE, check_places, enter, follow_published
from calllog_guard.app.roles import reads
from calllog_guard.cli._officers import officers_word
from calllog_guard.cli._options import Args, VerbGroup, argument, key
from calllog_guard.cli._output import say, show, the_world
from calllog_guard.core.officers.acceptances import ACCEPTED, Acceptance, Accepted
from calllog_guard.core.rights.grants import acl_commands, grants
from calllog_guard.core.stream.beginnings import Gap
from calllog_guard.errors import ConfigurationError, Fate, GuardError, StateRefusedError
from calllog_guard.settings import ROLES
from calllog_guard.workers.runtime.beginnings import standing

topics: Final = VerbGroup("topics")


def _compared(args: Args) -> int:
    """Make the topics that are missing, if that is asked for, and compare all with what is wanted."""
    make = args.command == "create"
    shared = the_world()
    asyncio.run(_counted(shared, make=make))
    admin = KafkaTopics(shared.settings, shared.options)
    try:
        made = admin.create(shared.keep_days, shared.events) if make else []
        asyncio.run(follow_published(shared, whole=not make))
        if make:
            asyncio.run(check_places(shared, NO_KEYSTORE))
            made += admin.create(shared.keep_days, shared.events)  # what a published version names besides
            say(f"{len(made)} topics made")
        findings = admin.check(shared.keep_days, shared.events)
    finally:
        admin.close()
    rows = [
        {
            "topic": f.topic,
            "setting": f.setting,
            "wanted": f.wanted,
            "found": f.found,
            "verdict": f.verdict,
        }
        for f in findings
    ]
    widths = "{topic:24} {setting:28} {wanted:>16} {found:>16} {verdict}"
    show(args, rows, "\n".join(widths.format(**row) for row in rows))
    return int(any(not finding.good for finding in findings))


topics.command("create", help="make those that are missing, then compare")(_compared)
topics.command("check", help="compare each setting with what is wanted; exit 1 where one differs")(_compared)


async def _counted(shared: AppContext, *, make: bool) -> None:
    """Refuse a PARTITIONS that is not the installation's; what is silent hinders nobody who only looks."""
    try:
        if shared.vault.made:
            await shared.check_partitions()
    except GuardError as error:
        if error.fate is not Fate.RETRY or make:
            raise
    finally:
        await shared.keystore.close()


@topics.command("rights", help="the rights of every user, for Kafka's own tool")
def rights(args: Args) -> int:
    """The commands that give every user its rights, with this installation's names; nothing is asked of Kafka."""
    shared = the_world()
    names = shared.settings.topic, shared.settings.calllog_prefix, shared.events
    show(args, [grant._asdict() for grant in grants(*names)], "\n".join(acl_commands(*names)))
    return 0


# --- accept ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lost:
    """A gap of a partition, for all who read it; `officer` accepted it, and its workers have not met that yet."""

    gap: Gap
    roles: tuple[str, ...]
    officer: str | None

    def row(self) -> dict[str, Any]:
        """For JSON."""
        gap = self.gap
        found = {name: getattr(gap, name) for name in ("topic", "partition", "kind", "was", "id", "to", "records")}
        return found | {"from": gap.from_, "roles": list(self.roles), "accepted_by": self.officer}

    def text(self) -> str:
        """For people."""
        many = "an unknown number of records" if self.gap.records is None else f"at most {self.gap.records} records"
        by = f"; accepted by {self.officer}, waits for the worker" if self.officer else ""
        return f"{self.gap}: {many}, not read by {', '.join(self.roles)}; goes on at offset {self.gap.to}{by}"


async def _lost(shared: AppContext, topic: str, partition: int | None, signed: Sequence[Accepted]) -> list[Lost]:
    """What is lost of a topic, by partition."""
    found: dict[tuple[Any, ...], list[tuple[str, Gap]]] = {}
    extents, known = KafkaExtents(shared.settings, shared.options), set[str]()
    numbers: set[int] = set()
    try:
        for role in ROLES:
            mine = reads(shared, role)
            known |= set(mine.named)
            if topic not in mine.named:
                continue
            there = await standing(mine, shared.keystore, extents, keep=False)
            numbers |= {spot.partition for spot in there.reached if spot.topic == topic}
            for gap in there.judged(())[1]:
                if gap.topic == topic and partition in {None, gap.partition}:
                    own = (
                        gap.from_ if gap.kind == "cut_short" else 0
                    )  # what was read of it, and is gone, is each role's own
                    found.setdefault((gap.partition, gap.kind, gap.was, gap.id, own), []).append((role, gap))
    finally:
        await asyncio.to_thread(extents.close)
    if topic not in known:
        raise ConfigurationError(f"no worker reads {topic}: it is none of {', '.join(sorted(known))}")
    if partition is not None and partition not in numbers:
        raise ConfigurationError(f"{topic} has no partition {partition}: it has {len(numbers)}, from 0")
    return [_together([gap for _, gap in each], [role for role, _ in each], signed) for each in found.values()]


def _together(gaps: Sequence[Gap], roles: Sequence[str], signed: Sequence[Accepted]) -> Lost:
    """One gap for all roles: from the first offset that one of them has not read."""
    gap = min(gaps, key=lambda each: each.from_)
    covering = [
        each.officer
        for each in signed
        for span in each.claims.spans
        if (each.claims.topic, each.claims.id, span.partition, span.was) == (gap.topic, gap.id, gap.partition, gap.was)
        and span.from_ <= gap.from_
        and gap.to <= span.to
    ]
    return Lost(gap, tuple(dict.fromkeys(roles)), covering[-1] if covering else None)


@topics.command("accept", help="show what is lost of a topic, and accept its new beginning")
@argument("topic", metavar="TOPIC", help="the whole name, as the halted worker says it")
@click.option("--partition", type=int, metavar="N", help="only this one")
@key("an officer's private key: accept what is shown")
async def accept(args: Args) -> int:
    """Show what is lost; with an officer's key accept it."""
    shared = the_world()
    try:
        await enter(shared, whole=False)
        found = sorted(
            await _lost(shared, args.topic, args.partition, await shared.accepted()),
            key=lambda each: each.gap.partition,
        )
        fresh = [each for each in found if each.officer is None]
        if args.key is not None and not found:
            raise StateRefusedError(f"nothing is lost of {args.topic}: there is nothing to accept")
        text = "\n".join(each.text() for each in found) or f"nothing is lost of {args.topic}"
        show(args, {"topic": args.topic, "gaps": [each.row() for each in found]}, text)
        if args.key is None:
            return int(bool(fresh))
        await _accept(shared, args, fresh)
    finally:
        await shared.keystore.close()
    return 0


async def _accept(shared: AppContext, args: Args, fresh: Sequence[Lost]) -> None:
    if not fresh:
        say("all of it is accepted already: start the worker, or wait for its supervisor")
        return
    (known,) = {each.gap.id for each in fresh}
    spans = tuple(each.gap.span for each in fresh)
    claims = Acceptance(tenant=shared.tenant, topic=args.topic, id=known, spans=spans, at=shared.clock.now())
    kid = await officers_word(shared, args.key, ACCEPTED, claims)
    say(f"accepted by {kid}: {len(spans)} partitions of {args.topic} go on when their workers start")
