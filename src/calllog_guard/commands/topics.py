"""`topics create|check|rights|accept`: the governed topics, who may do what with them, and what is lost of them."""

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from calllog_guard.adapters.kafka.admin.extents import KafkaExtents
from calllog_guard.adapters.kafka.admin.topics import KafkaTopics
from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import NO_KEYSTORE, check_places, enter, follow_published
from calllog_guard.app.roles import reads
from calllog_guard.commands.officers import officers_word
from calllog_guard.commands.setup import say, show, the_world
from calllog_guard.core.officers.acceptances import ACCEPTED, Acceptance, Accepted
from calllog_guard.core.rights.grants import acl_commands, grants
from calllog_guard.core.stream.beginnings import Gap
from calllog_guard.errors import ConfigurationError, Fate, GuardError, StateRefusedError
from calllog_guard.settings import ROLES
from calllog_guard.workers.runtime.beginnings import standing

_ACCEPT: Final = """\
A worker halts where records are gone that it has not read: retention or DeleteRecords took them, or the topic was deleted and made
anew. This shows, without --key, what is gone and where reading would go on; with --key an officer signs that it is lost. The word
stands in the policy's topic for ever, and in `report`; halted workers go on at their next start, others meet no halt.

  calllog-guard topics accept calllog.events                                     # what is gone; exit 1 if something is
  calllog-guard topics accept calllog.events --partition 3 --key officer-1.pem   # accepted; exit 4 if nothing is gone
"""


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    verb = verbs.add_parser("topics", help="governed topics: create, check, rights; accept: what is lost of one")
    actions = verb.add_subparsers(metavar="ACTION", required=True)
    for name, text in (
        ("create", "make those that are missing, then compare"),
        ("check", "compare each setting with what is wanted; exit 1 where one differs"),
    ):
        each = actions.add_parser(name, help=text)
        each.add_argument("--json", action="store_true")
        each.set_defaults(run=run_topics, action=name)
    rights = actions.add_parser("rights", help="the rights of every user, for Kafka's own tool")
    rights.add_argument("--json", action="store_true")
    rights.set_defaults(run=show_rights)
    accept = actions.add_parser(
        "accept",
        help="show what is lost of a topic, and accept its new beginning",
        description=_ACCEPT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    accept.add_argument("topic", metavar="TOPIC", help="the whole name, as the halted worker says it")
    accept.add_argument("--partition", type=int, metavar="N", help="only this one")
    accept.add_argument("--key", type=Path, metavar="PEM", help="an officer's private key: accept what is shown")
    accept.add_argument("--json", action="store_true")
    accept.set_defaults(run=lambda args: asyncio.run(accept_beginning(args)))


def run_topics(args: argparse.Namespace) -> int:
    """Make or check the governed topics."""
    shared = the_world()
    asyncio.run(_counted(shared, args.action))
    admin = KafkaTopics(shared.settings, shared.options)
    try:
        made = admin.create(shared.keep_days, shared.events) if args.action == "create" else []
        asyncio.run(follow_published(shared, whole=args.action == "check"))
        if args.action == "create":
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


async def _counted(shared: AppContext, action: str) -> None:
    """Refuse a PARTITIONS that is not the installation's; what is silent hinders nobody who only looks."""
    try:
        if shared.vault.made:
            await shared.check_partitions()
    except GuardError as error:
        if error.fate is not Fate.RETRY or action == "create":
            raise
    finally:
        await shared.keystore.close()


def show_rights(args: argparse.Namespace) -> int:
    """The commands that give every user its rights, with this installation's names; nothing is asked of Kafka."""
    shared = the_world()
    names = shared.settings.topic, shared.settings.calllog_prefix, shared.events
    show(args, [grant._asdict() for grant in grants(*names)], "\n".join(acl_commands(*names)))
    return 0


# --- accept ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lost:
    """A gap of a partition, for everybody who reads it; `officer` has accepted it, and its workers have not met that yet."""

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


async def accept_beginning(args: argparse.Namespace) -> int:
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


async def _accept(shared: AppContext, args: argparse.Namespace, fresh: Sequence[Lost]) -> None:
    if not fresh:
        say("all of it is accepted already: start the worker, or wait for its supervisor")
        return
    (known,) = {each.gap.id for each in fresh}
    spans = tuple(each.gap.span for each in fresh)
    claims = Acceptance(tenant=shared.tenant, topic=args.topic, id=known, spans=spans, at=shared.clock.now())
    kid = await officers_word(shared, args.key, ACCEPTED, claims)
    say(f"accepted by {kid}: {len(spans)} partitions of {args.topic} go on when their workers start")
