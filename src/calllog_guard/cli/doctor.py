"""`doctor`: everything that must hold before the workers run, a line per check, with what to do where it does not."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from calllog_guard.adapters.http.cleaners import HttpCleaners, pages
from calllog_guard.adapters.kafka.admin.topics import FOREIGN, PARTITIONS, KafkaTopics
from calllog_guard.adapters.process import process_memory
from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import check_keystore, check_lawful, check_places, check_retention, follow_published
from calllog_guard.cli._options import Args, command
from calllog_guard.cli._output import show, the_world
from calllog_guard.core.calls.parked import PARKED_FROM, waiting_now
from calllog_guard.core.topics import Topic
from calllog_guard.errors import Fate, GuardError, IdentityMovedError, StateRefusedError
from calllog_guard.workers.desk.decisions.subjects import Subjects


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One check: what was found, what is wanted, and what to do."""

    check: str
    verdict: str
    found: str
    wanted: str
    remedy: str


_CHECK_S: Final = 10.0
"""A check that takes longer tells by that what is wrong."""
_REQUEST_MS: Final = 8_000
"""The libraries' patience with a server that takes connections and says nothing; below the bound of a check."""

Lines = Awaitable[list[Diagnosis]]


async def _checked(check: str, ask: Callable[[], Awaitable[str]], wanted: str, remedy: str) -> list[Diagnosis]:
    try:
        return [Diagnosis(check, "ok", await asyncio.wait_for(ask(), _CHECK_S), wanted, "")]
    except TimeoutError:
        return [Diagnosis(check, "silent", f"no answer within {_CHECK_S:.0f} s", wanted, remedy)]
    except GuardError as error:
        return [Diagnosis(check, "silent" if error.fate is Fate.RETRY else "bad", str(error), wanted, remedy)]


_SET: Final = "set it with Kafka's own tools"
_REMEDIES: Final = {
    FOREIGN: 'see the documentation: "More partitions than at creation"',
    PARTITIONS: "delete the topic, then calllog-guard topics create; what it held is gone",
    "exists": "calllog-guard topics create",
}


async def _topics(shared: AppContext) -> list[Diagnosis]:
    admin, remedy = KafkaTopics(shared.settings, shared.options), "start Kafka, or mend CALLLOG_GUARD_KAFKA"
    try:
        asked = asyncio.to_thread(admin.check, shared.keep_days, shared.events)
        findings = await asyncio.wait_for(asked, _CHECK_S)
    except TimeoutError:
        return [Diagnosis("kafka", "silent", f"no answer within {_CHECK_S:.0f} s", "an answer", remedy)]
    except GuardError as error:
        return [Diagnosis("kafka", "silent", str(error), "an answer", remedy)]
    finally:
        admin.close()
    told = [
        Diagnosis(
            f"{each.topic} {each.setting}", each.verdict, each.found, each.wanted, _REMEDIES.get(each.setting, _SET)
        )
        for each in findings
        if each.verdict != "ok"
    ]
    bad = any(each.verdict == "bad" for each in told)
    return (
        told
        if bad
        else [*told, Diagnosis("governed settings", "ok", f"{len(findings)} as wanted", "all as wanted", "")]
    )


async def _cleaners(shared: AppContext) -> list[Diagnosis]:
    found = pages(shared.settings.cleaner_pages)
    wanted, remedy = "a cleaner that works", 'see the documentation: "When certificates are withheld"'
    lines: list[Diagnosis] = []
    for page, cleaner in zip(found, await HttpCleaners(found).look(), strict=True):
        if cleaner is None:
            lines.append(Diagnosis(f"cleaner {page}", "silent", "no cleaner shown", wanted, remedy))
            continue
        text = f"{cleaner.uncleanable} uncleanable partitions, {cleaner.dead} dead threads, {cleaner.delay_s} s late"
        lines.append(Diagnosis(f"cleaner {page}", "ok" if cleaner.works else "bad", text, wanted, remedy))
    return lines


def _checks(shared: AppContext) -> list[Lines]:
    """What is asked once the policy is known; all at the same time, told in this order."""
    tenant = shared.tenant

    async def kms() -> str:
        alive = await asyncio.to_thread(shared.vault.epochs)
        return f"{len(alive)} epochs alive; what it destroys is final after {shared.vault.delay_days} days"

    async def secrets() -> str:
        await asyncio.to_thread(shared.vault.warm, tenant)
        return "pepper, receipt key and every epoch open"

    async def counted() -> str:
        await shared.check_partitions()
        return str(shared.settings.partitions)

    async def ledger() -> str:
        found = await shared.anchored()
        return "no anchor yet" if found is None else f"tenant {tenant}'s, with {shared.settings.topic(Topic.LEGS)}"

    async def operator() -> str:
        shared.dead_letters()
        return shared.settings.operator_key

    async def guard() -> str:
        await shared.ring(tenant).view([])
        return "the one that was seen"

    async def identity() -> str:
        try:
            await Subjects(shared.ring(tenant)).settled()
        except IdentityMovedError as error:
            raise StateRefusedError(str(error)) from None
        return ", ".join(shared.vault.identity(tenant))

    return [
        _checked("residency", lambda: check_places(shared), "inside allowed_hosts", "move it, or name it"),
        _checked("retention", lambda: check_retention(shared), "as long as keep", "raise retention.ms"),
        _checked("operator key", operator, "a public key", "calllog-guard init, or set OPERATOR_KEY"),
        _checked("KMS", kms, "an answer", "start it, or mend CALLLOG_GUARD_KMS, its credentials, its rights"),
        _checked("KMS secrets", secrets, "all open", f"calllog-guard tenant create {tenant}, or mend KMS, RING"),
        _domains(shared),
        _checked("partitions", counted, "as at creation", "set CALLLOG_GUARD_PARTITIONS to what the installation has"),
        _checked("ledger", ledger, "this installation's", "mend TENANT, the prefixes, KMS, RING"),
        _topics(shared),
        _cleaners(shared),
        _keystore(shared),
        _users(shared),
        _checked("keystore guard", guard, "the past that was seen", "start keepers; never copy an old keystore back"),
        _parked(shared),
        *_sources(shared),
        _checked("identity", identity, "everybody known by these rules", f"calllog-guard tenant identity {tenant}"),
    ]


def _sources(shared: AppContext) -> list[Lines]:
    """Whether an ingest would start with what `ingest.toml` says; nothing, where nobody wrote one."""
    path = Path(shared.settings.ingest)
    if not path.exists():
        return []

    async def ask() -> str:
        from calllog_guard.adapters.mappings.ingest_file import ingest_sources  # noqa: PLC0415 - takes long to load

        found = await asyncio.to_thread(ingest_sources, path)
        return ", ".join(f"{name} ({each.scheme or 'topic alone'})" for name, each in found.items())

    return [_checked("sources", ask, "mappings and secrets that can be used", f"mend {path}")]


async def _parked(shared: AppContext) -> list[Diagnosis]:
    waits: list[str] = []

    async def ask() -> str:
        forms = (await asyncio.to_thread(shared.vault.profile, shared.tenant)).forms
        if forms < PARKED_FROM:
            return f"none before level {PARKED_FROM} of stored forms: `tenant upgrade`"
        topic, partitions = shared.settings.topic(Topic.PARKED), range(shared.settings.partitions)
        reasons, since = waiting_now(await shared.log.read_all(topic, partitions))
        if reasons:
            told = ", ".join(f"{many} {reason}" for reason, many in sorted(reasons.items()))
            waits.append(f"{told}; the oldest since {since:%Y-%m-%d %H:%M} UTC" if since else told)
        return waits[0] if waits else "nothing waits"

    remedy = "restore the keystore, or erase these people; see the documentation"
    lines = await _checked("parked parts", ask, "nothing waits", "start Kafka; calllog-guard topics create")
    return [replace(line, verdict="warned", remedy=remedy) for line in lines] if waits else lines


async def _keystore(shared: AppContext) -> list[Diagnosis]:
    unsafe: list[str] = []

    async def ask() -> str:
        unsafe.extend(filter(None, [await check_keystore(shared)]))
        return unsafe[0] if unsafe else "as wanted"

    wanted, remedy = "keeps and forgets as promised", "mend redis.conf, start Redis again"
    lines = await _checked("keystore settings", ask, wanted, remedy)
    return [replace(line, verdict="warned", remedy=remedy) for line in lines] if unsafe else lines


async def _domains(shared: AppContext) -> list[Diagnosis]:
    """Whether each trust domain's secrets are under its own key, and whose these credentials open."""
    domains, tenant = shared.vault.domains, shared.tenant
    found: list[bool] = []

    async def ask() -> str:
        found.append(await asyncio.to_thread(domains.apart, tenant))
        opened = await asyncio.to_thread(domains.beyond, tenant)
        if not found[0]:
            return "one key for all: every role opens what is the desk's"
        return f"apart; these credentials open what is for {', '.join(opened) or 'nobody alone'}"

    wanted, remedy = "apart", f"calllog-guard tenant separate {tenant}"
    lines = await _checked("trust domains", ask, wanted, remedy)
    return [replace(line, verdict="warned", remedy=remedy) for line in lines] if found == [False] else lines


async def _users(shared: AppContext) -> list[Diagnosis]:
    """Whether the keystore's user is one role's: a user of no role's name can do what whoever asks here can do."""
    name = urlsplit(shared.settings.keystore).username or ""
    beyond: list[str] = []

    async def ask() -> str:
        beyond.extend(await shared.keystore.beyond(name))
        return f"one user for all: it can {', '.join(beyond)}" if beyond else f"{name}: held to its role"

    wanted, remedy = (
        "a user of each role",
        "calllog-guard keystore rights prints them; see the documentation: Prepare Redis",
    )
    lines = await _checked("keystore users", ask, wanted, remedy)
    if any(line.verdict == "silent" for line in lines):  # as the line before says
        return []
    return [replace(line, verdict="warned", remedy=remedy) for line in lines] if beyond else lines


async def _told(args: Args, asked: Lines) -> list[Diagnosis]:
    """The lines of a check, shown as soon as they are there."""
    lines = await asked
    for line in [] if args.json else lines:
        remedy = f" (wanted {line.wanted}: {line.remedy})" if line.remedy else ""
        show(args, None, f"{line.verdict:7} {line.check}: {line.found}{remedy}")
        sys.stdout.flush()
    return lines


@command("doctor")
async def doctor(args: Args) -> int:
    """See the module."""
    shared = the_world()
    shared.options.setdefault("request_timeout_ms", _REQUEST_MS)

    async def policy() -> str:
        followed = await follow_published(shared)
        refused = f", refused: {', '.join(followed.refused.values())}" if followed.refused else ""
        told = "".join(f"; no new version may say: {line}" for line in check_lawful(shared))
        return f"{len(followed.versions)} versions, {len(followed.accepted)} published{refused}{told}"

    wanted, remedy = "readable, lawful, and what is published", "start Kafka; calllog-guard topics create, policy check"
    lines = await _told(args, _checked("policy", policy, wanted, remedy))
    for asked in [asyncio.ensure_future(each) for each in _checks(shared)]:
        lines += await _told(args, asked)
    await shared.keystore.close()
    words = sorted(shared.settings.off)
    lines += await _told(args, _memory())
    lines += await _told(args, _development(words))
    if args.json:
        show(args, [asdict(line) for line in lines], "")
    verdicts = {line.verdict for line in lines}
    return 1 if "bad" in verdicts else 3 if "silent" in verdicts else 0


async def _memory() -> list[Diagnosis]:
    ways, disks = process_memory.open_to(), process_memory.swaps()
    dumps = Diagnosis("memory", "ok", "no core dumps, no debugger but root's", "the same", "")
    if ways:
        dumps = replace(
            dumps, verdict="warned", found=f"open to {', '.join(ways)}", remedy="run it where only root looks"
        )
    if not disks:
        return [dumps]
    remedy = "swapoff -a, or encrypt it under a key that is new at every start"
    return [dumps, Diagnosis("swap", "warned", f"memory may be written to {', '.join(disks)}", "none", remedy)]


async def _development(words: Sequence[str]) -> list[Diagnosis]:
    remedy = "never in production: unset CALLLOG_GUARD_DEVELOPMENT"
    return [Diagnosis("development", "warned", word, "", remedy) for word in words]
