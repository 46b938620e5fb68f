"""`report --month M`, officer's page: cases, deadlines, erasures, objectives, holds, disclosures, access, brakes."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Final, NamedTuple

import click

from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import enter
from calllog_guard.cli._case_read import all_cases
from calllog_guard.cli._options import Args, command, file, flag, key
from calllog_guard.cli._output import say, show, the_world
from calllog_guard.cli._unread import Unread
from calllog_guard.cli.case import filed_of
from calllog_guard.core.audit.accesses import Account, Doubt, read_access
from calllog_guard.core.audit.month_lines import HoldLine, PolicyLine, Report
from calllog_guard.core.audit.month_report import Month, Sources, report
from calllog_guard.core.audit.month_statement import KEY, STATEMENTS, Statement
from calllog_guard.core.cases.case import Case
from calllog_guard.core.cases.notices import Filed
from calllog_guard.core.codec import decode, encode, from_ms
from calllog_guard.core.decisions.hold import Terms
from calllog_guard.core.identifiers import HoldId, unb64
from calllog_guard.core.policy.actors import Judge
from calllog_guard.core.stream.proofs import DESK
from calllog_guard.core.topics import Topic
from calllog_guard.errors import (
    ConfigurationError,
    EntryCorruptError,
    EpochUnknownError,
    MessageError,
    NewerFormError,
    RecordError,
    StateRefusedError,
)
from calllog_guard.reports.month import month_markdown, month_page
from calllog_guard.workers.desk.cases.terms import calendar, limits
from calllog_guard.workers.keys.hold_store import Safe, terms_of

_MONTH: Final = re.compile(r"\d{4}-\d\d\Z", re.ASCII)


def first_of(text: str | None, today: date) -> date:
    """
    The first day of a month as it is written.

    Raises:
        ConfigurationError: No month.

    """
    if text is None:
        return today.replace(day=1)
    try:
        if _MONTH.match(text):
            return date.fromisoformat(f"{text}-01")
    except ValueError:
        pass
    raise ConfigurationError("--month is no month: write it as 2026-11")


def holds_of(cases: Sequence[Case], terms: Mapping[HoldId, Terms | None]) -> list[HoldLine]:
    """The holds that officers ordered; None stands for terms that went with the release."""
    return [
        HoldLine(
            hold=found.name if found else case.ticket or case.case,
            case=case.case,
            state="held" if found else "released",
            basis=found.basis if found else None,
            review_at=found.review_at if found else None,
        )
        for case in cases
        if case.type == "hold" and case.hold and case.state != "refused"
        for found in [terms.get(HoldId(case.hold))]
    ]


async def _terms(shared: AppContext, cases: Sequence[Case]) -> dict[HoldId, Terms | None]:
    safe = Safe(shared.ring(shared.tenant))
    try:
        entries, _ = await safe.readable([HoldId(case.hold) for case in cases if case.type == "hold" and case.hold])
    finally:
        await shared.keystore.close()
    return {name: terms_of(entry) if entry.secret else None for name, entry in entries.items()}


class Accesses(NamedTuple):
    """What is believed, and why the rest is not, with when it was appended and how many records it claims."""

    believed: list[Account]
    doubted: list[tuple[str, datetime, int]]


async def _accesses(shared: AppContext) -> Accesses:
    settings = shared.settings
    topic, places = settings.topic(Topic.ACCESS), list(range(settings.few_partitions))
    actors = shared.policy.actors(shared.tenant)
    dead, cases = settings.topic(Topic.DEAD), settings.topic(Topic.CASES)
    judge = Judge(actors, shared.vault.guard_id(), topic, dead=dead, cases=cases)
    found, seen, unread = Accesses([], []), set[bytes](), Unread(Topic.ACCESS)
    for record in await shared.log.read_all(topic, places):
        if record.value is None:
            continue
        with unread.passing(record):
            appended = from_ms(record.timestamp)
            try:
                account = _once(judge.account(record.value, record.partition, record.timestamp), seen)
            except RecordError as error:
                if error.reason == Doubt.UNREADABLE and not actors.must_prove(appended):
                    raise
                found.doubted.append((error.reason, appended, _claimed(record.value)))
            else:
                found.believed.append(account)
    unread.tell()
    return found


def _once(account: Account, seen: set[bytes]) -> Account:
    """
    An access that is not there already.

    Raises:
        RecordError: It is.

    """
    if account.name in seen:
        raise RecordError(Doubt.REPLAYED)
    seen |= {account.name} - {b""}
    return account


def _claimed(raw: bytes) -> int:
    """How many records an access that nobody believes says were opened."""
    try:
        return max(0, read_access(raw).opened)
    except (MessageError, NewerFormError):
        return 0


def _filed(shared: AppContext, cases: Sequence[Case]) -> dict[str, Filed]:
    """Whom disclosures were for, as far as it opens."""
    found: dict[str, Filed] = {}
    for case in cases:
        try:
            filed = filed_of(shared, case)
        except (MessageError, EntryCorruptError, EpochUnknownError, NewerFormError):
            say(f"whom case {case.case} was for does not open, and is left out")
        else:
            found |= {} if filed is None else {case.case: filed}
    return found


async def _statement(shared: AppContext, month: str) -> tuple[Statement, bytes] | None:
    """The statement of a month with its signed form, if the desk wrote one; what no desk of ours wrote is skipped."""
    home = shared.home
    records = await shared.log.read_all(shared.settings.topic(Topic.RECEIPTS), [home])
    key, unread, proofs = f"{KEY}{month}".encode(), Unread(Topic.RECEIPTS), shared.vault.proofs(shared.tenant)
    found: tuple[Statement, bytes] | None = None
    for record in records:
        if record.key == key and record.value is not None:
            with unread.passing(record):
                said = proofs.read(record, DESK, lambda each: decode(STATEMENTS, _claims(each.value)))
                found = said, record.value
    unread.tell()
    return found


def _claims(token: bytes) -> bytes:
    try:
        return unb64(token.split(b".")[1])
    except (ValueError, IndexError):
        raise MessageError("not_a_jws") from None


async def made(shared: AppContext, month: str | None, officer: Path | None = None) -> Report:
    """The report of a month; with an officer's key secret holds are in it."""
    now, tenant = shared.clock.now(), shared.tenant
    table = shared.policy.at(now.date()).tenant[tenant]
    first = first_of(month, calendar(table).day(now))
    if first > now.date():
        raise ConfigurationError(f"--month {month} has not begun")
    cases = list((await all_cases(shared, officer)).values())
    settings = shared.settings
    said, accesses = await _statement(shared, f"{first:%Y-%m}"), await _accesses(shared)
    sources = Sources(
        tenant=tenant,
        cases=cases,
        filed=_filed(shared, cases),
        holds=holds_of(cases, await _terms(shared, cases)),
        secrets=any(case.secret for case in cases),
        accesses=accesses.believed,
        asked=shared.policy.actors(tenant).must_prove(now),
        doubted=accesses.doubted,
        policies=[
            PolicyLine(effective=each.effective.isoformat(), change=each.change) for each in shared.policy.history
        ],
        limits=limits(table),
        accepted=await shared.accepted(),
        prolonged=await shared.prolonged(),
        statement=said[0] if said is not None else None,
        objectives={"absent": settings.objective_value_s, "gone": settings.objective_key_s},
    )
    return report(sources, Month(first=first, calendar=calendar(table)), now)


@command("report", one_of={("--markdown", "--json", "--statement", "--html"): False})
@click.option("--month", metavar="YYYY-MM", help="default: the present one")
@key("an officer's private key: secret holds too, and the report says so")
@flag("--markdown", help="Markdown to stdout (the default)")
@flag("--statement", help="the signed statement of the month to stdout: what went by which rule, what is left")
@file("--html", metavar="OUT", help="a page with charts, without scripts; fetches nothing")
async def month(args: Args) -> int:
    """Show the report."""
    shared = the_world()
    first_of(args.month, shared.clock.now().date())
    await enter(shared)
    if args.statement:
        month = f"{first_of(args.month, shared.clock.now().date()):%Y-%m}"
        said = await _statement(shared, month)
        if said is None:
            raise StateRefusedError(
                f"no statement of {month} is signed: the desk signs it once the month is over and every keeper has "
                "closed it; worker keeper and worker desk must run, and the stored forms be of level 2 (tenant upgrade)"
            )
        print(said[1].decode())  # noqa: T201 - data to stdout
        return 0
    found = await made(shared, args.month, args.key)
    if args.html is not None:
        descriptor = os.open(args.html, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(month_page(found))
        say(str(args.html))
        return 0
    show(args, json.loads(encode(found)), month_markdown(found).rstrip("\n"))
    return 0
