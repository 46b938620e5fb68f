"""`case list|show`: the cases, without identities; `case approve|refuse|extend`: an officer's word, signed, sent."""

import json
from pathlib import Path
from typing import Any, Final, get_args

import click

from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import NO_KEYSTORE, enter
from calllog_guard.cli._case_read import all_cases, is_officer
from calllog_guard.cli._case_view import matched, table, whole
from calllog_guard.cli._options import SEALED, Args, argument, command, file, key, sealing, waiting
from calllog_guard.cli._output import say, show, the_world
from calllog_guard.cli._requests import has_orders, sign_request, text_of
from calllog_guard.cli._sent import TAKEN_S, RequestWatch
from calllog_guard.cli._unread import Unread
from calllog_guard.core.cases.case import Case, State, WaitsFor
from calllog_guard.core.cases.case_filter import Filter, chosen, days_left
from calllog_guard.core.cases.case_states import ROWS, Event
from calllog_guard.core.cases.notices import FILED, Filed
from calllog_guard.core.cases.sealed_case import open_part
from calllog_guard.core.codec import decode, encode, time_text
from calllog_guard.core.identifiers import EpochName
from calllog_guard.core.requests.types import TYPES
from calllog_guard.core.topics import Topic
from calllog_guard.errors import ConfigurationError, StateRefusedError, WorkersSilentError
from calllog_guard.workers.desk.cases.terms import calendar

_ACTS: Final[dict[str, dict[str, str]]] = {
    "approve": {"type": "approve"},
    "refuse": {"type": "refuse"},
    "extend": {"type": "clock", "event": "extend"},
}
_EVENTS: Final[dict[str, Event]] = {"approve": "approve", "refuse": "refuse", "extend": "extend"}


def filed_of(shared: AppContext, case: Case) -> Filed | None:
    """Whom a disclosure is for; it stands sealed in the case."""
    if case.filed is None:
        return None
    key = shared.vault.epoch_key(EpochName(case.epoch or ""), shared.tenant, "cases")
    return decode(FILED, open_part(case.case, "filed", case.filed, key))


def text(case: Case) -> str:
    """A case as one line."""
    stages = " ".join(f"{name}={time_text(at)}" for name, at in case.stages.items())
    waits = f" (waits for {case.waits_for})" if case.waits_for else ""
    why = f" ({case.refusal})" if case.refusal else ""
    nobody = f" (known: {matched(case)})" if matched(case) else ""
    return f"{case.case} {case.type} {case.state}{waits}{why}{nobody} due {case.due} {stages}"


def _checked(case: Case | None, action: str) -> Case:
    """
    The case, if an officer may do this with it now.

    Raises:
        StateRefusedError: The desk would make a dead letter of it.

    """
    if case is None:
        raise StateRefusedError(
            "there is no such case, or no desk has opened it yet: `calllog-guard case list` shows all"
        )
    if ((case.state, case.waits_for), _EVENTS[action]) not in ROWS:
        waits = f" and waits for {case.waits_for}" if case.waits_for else ""
        raise StateRefusedError(f"case {case.case} is {case.state}{waits}: there is nothing to {action}")
    return case


async def _act(shared: AppContext, args: Args) -> int:
    if args.key is None or args.case is None:
        raise ConfigurationError(f"case {args.action} CASE --key PEM: a case and an officer's key are needed")
    claims: dict[str, Any] = _ACTS[args.action] | {"case": args.case}
    if args.ground:
        claims["ground"] = text_of("--ground", args.ground)
    sign_request(shared, args, claims)  # what is typed wrong is said before any server is asked
    if not is_officer(shared, args.key):
        raise StateRefusedError("only an officer decides about a case, and --key is another's")
    await enter(shared, NO_KEYSTORE, whole=False)
    signed = sign_request(shared, args, claims)
    found = _checked((await all_cases(shared, args.key)).get(args.case), args.action)
    order = found.secret and has_orders(shared)

    def mine(case: Case) -> bool:
        return case.case == args.case and signed.acted(case)

    async with RequestWatch(shared, signed, args.key, order=order) as sent:
        case = await sent.until(mine, lambda _: True, args.timeout if args.wait else TAKEN_S)
    if case is None and args.wait:
        raise WorkersSilentError(
            f"no desk has taken it after {args.timeout:.0f} s: is `calllog-guard worker desk` running?"
        )
    if case is None:
        say("no desk has taken it yet: it is done when one runs")
    data = {"case": args.case, "sent": args.action, "taken": case is not None, "state": case.state if case else None}
    show(args, data, text(case) if case else f"{args.action} sent for case {args.case}")
    return 0


async def _receipts(shared: AppContext, case: Case, folder: Path) -> None:
    """Write the receipts of a case into a folder."""
    home = shared.home
    unread, topic = Unread(Topic.RECEIPTS), shared.settings.topic(Topic.RECEIPTS)
    for record in await shared.log.read_all(topic, [home]):
        if record.key == case.case.encode() and record.value is None:
            unread.note(f"{record.partition}:{record.offset}")
        elif record.key == case.case.encode():
            path = folder / f"{case.case}-{record.offset}.jws"
            path.write_bytes(record.value or b"")
            say(str(path))
    unread.tell()
    for number, token in enumerate(case.told):
        path = folder / f"{case.case}-{number}.jws"
        path.write_text(token, "ascii")
        say(str(path))


@command("case", one_of=SEALED)
@argument("action", type=click.Choice(["list", "show", *_ACTS]))
@argument("case", metavar="[CASE]", required=False, help="the case's id; list takes none")
@file("--receipts", metavar="DIR", help="show: write the case's receipts into DIR")
@key("an officer's private key: to approve, refuse, extend; to list and show secret holds too")
@click.option(
    "--ground",
    metavar="@FILE",
    help="refuse, extend: why, in words for the person; approve of a complaint: the answer",
)
@sealing
@click.option(
    "--type", type=click.Choice([kind for kind, rule in TYPES.items() if rule.ends]), help="list: only of this type"
)
@click.option("--state", type=click.Choice(get_args(State)), help="list: only in this state")
@click.option("--waits-for", type=click.Choice(get_args(WaitsFor)), help="list: only those that wait for this")
@click.option("--due-within", type=int, metavar="DAYS", help="list: only due within so many days, or overdue")
@click.option(
    "--waiting-for-me",
    metavar="KEYID",
    help="list: only what this officer may decide: as a second officer never one's own",
)
@waiting("approve, refuse, extend: until the desk has taken it")
async def case(args: Args) -> int:
    """Show one case or all, or act on one."""
    if args.action == "show" and not args.case:
        raise ConfigurationError("case show CASE: name the case; `calllog-guard case list` shows all")
    if args.action == "list" and args.case:
        raise ConfigurationError("case list shows all; `calllog-guard case show CASE` shows one")
    shared = the_world()
    if args.action in _ACTS:
        return await _act(shared, args)
    await enter(shared, NO_KEYSTORE, whole=False)
    found = await all_cases(shared, args.key)
    now = shared.clock.now()
    today = calendar(shared.policy.at(now.date()).tenant[shared.tenant]).day(now)
    if args.action == "list":
        wanted = Filter(
            kind=args.type,
            state=args.state,
            waits_for=args.waits_for,
            due_within=args.due_within,
            officer=args.waiting_for_me,
        )
        listed = chosen(found.values(), wanted, today)
        data = [json.loads(encode(case)) | {"days_left": days_left(case, today)} for case in listed]
        show(args, data, "" if args.json else table(listed, today))
        return 0
    case = found.get(args.case)
    if case is None:
        raise StateRefusedError("there is no such case: `calllog-guard case list` shows all")
    if args.receipts:
        args.receipts.mkdir(parents=True, exist_ok=True)
        await _receipts(shared, case, args.receipts)
    filed = filed_of(shared, case)
    told = {"days_left": days_left(case, today)} | ({"disclosure": json.loads(encode(filed))} if filed else {})
    show(args, json.loads(encode(case)) | told, whole(case, today, filed))
    return 0
