"""`doctor`: everything that must hold before the workers run, a line per check, with what to do where it does not."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

from calllog_guard.adapters.http_cleaner import HttpCleaners, pages
from calllog_guard.adapters.kafka_admin import KafkaTopics
from calllog_guard.bootstrap import World
from calllog_guard.commands.setup import show, the_world
from calllog_guard.errors import Fate, GuardError
from calllog_guard.law import check_places, check_retention, follow_published


@dataclass(frozen=True, slots=True)
class Line:
    """One check: what was found, what is wanted, and what to do."""

    check: str
    verdict: str
    found: str
    wanted: str
    remedy: str


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    verb = verbs.add_parser("doctor", help="check settings, policy, keys, Kafka and Redis; exit 1 if anything is bad")
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=lambda args: asyncio.run(doctor(args)))


async def _checked(check: str, ask: Callable[[], Awaitable[str]], wanted: str, remedy: str) -> Line:
    try:
        return Line(check, "ok", await ask(), wanted, "")
    except GuardError as error:
        return Line(check, "silent" if error.fate is Fate.RETRY else "bad", str(error), wanted, remedy)


async def _topics(shared: World) -> list[Line]:
    admin = KafkaTopics(shared.settings, shared.options)
    try:
        findings = await asyncio.to_thread(admin.check, shared.keep_days, shared.events)
    except GuardError as error:
        return [Line("kafka", "silent", str(error), "an answer", "start Kafka, or mend CALLLOG_GUARD_KAFKA")]
    finally:
        admin.close()
    bad = [
        Line(f"{each.topic} {each.setting}", "bad", each.found, each.wanted, "set it with Kafka's own tools")
        for each in findings
        if not each.good
    ]
    return bad or [Line("governed settings", "ok", f"{len(findings)} as wanted", "all as wanted", "")]


async def _cleaners(shared: World) -> list[Line]:
    found = pages(shared.settings.cleaner_pages)
    wanted, remedy = "a cleaner that works", 'see the README: "When certificates are withheld"'
    lines: list[Line] = []
    for page, cleaner in zip(found, await HttpCleaners(found).look(), strict=True):
        if cleaner is None:
            lines.append(Line(f"cleaner {page}", "silent", "no cleaner shown", wanted, remedy))
            continue
        text = f"{cleaner.uncleanable} uncleanable partitions, {cleaner.dead} dead threads, {cleaner.delay_s} s late"
        lines.append(Line(f"cleaner {page}", "ok" if cleaner.works else "bad", text, wanted, remedy))
    return lines


async def doctor(args: argparse.Namespace) -> int:
    """See the module."""
    shared = the_world()
    tenant = shared.tenant

    async def kms() -> str:
        alive = await asyncio.to_thread(shared.vault.epochs)
        return f"{len(alive)} epochs alive; what it destroys is final after {shared.vault.delay_days} days"

    async def secrets() -> str:
        await asyncio.to_thread(shared.vault.warm, tenant)
        return "pepper, receipt key and every epoch open"

    async def ledger() -> str:
        found = await shared.anchored()
        return "no anchor yet" if found is None else f"tenant {tenant}'s, with {shared.settings.topic('calllog.legs')}"

    async def operator() -> str:
        shared.dead_letters()
        return shared.settings.operator_key

    async def store() -> str:
        await shared.keystore.check()
        return "as wanted"

    async def guard() -> str:
        await shared.ring(tenant).view([])
        return "the one that was seen"

    async def policy() -> str:
        followed = await follow_published(shared)
        refused = f", refused: {', '.join(followed.refused.values())}" if followed.refused else ""
        return f"{len(followed.versions)} versions, {len(followed.accepted)} published{refused}"

    lines = [
        await _checked("policy", policy, "readable, and what is published", "start Kafka; calllog-guard topics create"),
        await _checked("residency", lambda: check_places(shared), "inside allowed_hosts", "move it, or name it"),
        await _checked("retention", lambda: check_retention(shared), "as long as keep", "raise retention.ms"),
        await _checked("operator key", operator, "a public key", "calllog-guard init, or set OPERATOR_KEY"),
        await _checked("KMS", kms, "an answer", "start it, or mend CALLLOG_GUARD_KMS, its credentials, its rights"),
        await _checked("KMS secrets", secrets, "all open", f"calllog-guard tenant create {tenant}, or mend KMS, RING"),
        await _checked("ledger", ledger, "this installation's", "mend TENANT, the prefixes, KMS, RING"),
        *await _topics(shared),
        *await _cleaners(shared),
        await _checked(
            "keystore settings", store, "keeps and forgets as promised", "mend redis.conf, start Redis again"
        ),
        await _checked(
            "keystore guard", guard, "the past that was seen", "start keepers; never copy an old keystore back"
        ),
        *(
            Line("development", "warned", word, "", "never in production: unset CALLLOG_GUARD_DEVELOPMENT")
            for word in sorted(shared.settings.off)
        ),
    ]
    await shared.keystore.close()
    text = [
        f"{line.verdict:7} {line.check}: {line.found}"
        + (f" (wanted {line.wanted}: {line.remedy})" if line.remedy else "")
        for line in lines
    ]
    show(args, [asdict(line) for line in lines], "\n".join(text))
    verdicts = {line.verdict for line in lines}
    return 1 if "bad" in verdicts else 3 if "silent" in verdicts else 0
