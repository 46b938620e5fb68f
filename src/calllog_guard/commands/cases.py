"""`case list|show`: the life of cases, without identities; `case approve|refuse|extend`: an officer's word, signed and sent."""

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, get_args

from calllog_guard.adapters.kafka_log import read_all, tenant_partition
from calllog_guard.bootstrap import World
from calllog_guard.commands.case_view import table, whole
from calllog_guard.commands.setup import say, show, the_world
from calllog_guard.commands.signed import add_seal, kid_of_key, send, text_of
from calllog_guard.core.crypto.secrets import Secret
from calllog_guard.core.ids import EpochName
from calllog_guard.core.requests.case import CASES, Case, State, WaitsFor
from calllog_guard.core.requests.machine import RULES
from calllog_guard.core.requests.notice import FILED, Filed
from calllog_guard.core.requests.office import Filter, chosen, days_left
from calllog_guard.core.requests.part import open_part
from calllog_guard.core.requests.secret import PREFIX, open_case
from calllog_guard.core.wire import decode, encode, time_text
from calllog_guard.errors import ConfigurationError, MessageError, StateRefusedError
from calllog_guard.workers.terms import calendar

_ACTS: Final[dict[str, dict[str, str]]] = {
    "approve": {"type": "approve"},
    "refuse": {"type": "refuse"},
    "extend": {"type": "clock", "event": "extend"},
}
_WAIT_S: Final = 120


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "case", help="cases: state, what they wait for, due date, stages; an officer's approve, refuse, extend"
    )
    verb.add_argument("action", choices=["list", "show", *_ACTS])
    verb.add_argument("case", nargs="?")
    verb.add_argument("--receipts", type=Path, metavar="DIR", help="show: write the case's receipts into DIR")
    verb.add_argument(
        "--key",
        type=Path,
        help="an officer's private key (PEM): to approve, refuse, extend; to list and show secret holds too",
    )
    verb.add_argument(
        "--ground",
        metavar="@FILE",
        help="refuse, extend: why, in words for the person; approve of a complaint: the answer",
    )
    add_seal(verb)
    wanted = verb.add_argument_group("list: only cases")
    wanted.add_argument("--type", choices=[kind for kind, rule in RULES.items() if rule.ends], help="of this type")
    wanted.add_argument("--state", choices=get_args(State), help="in this state")
    wanted.add_argument("--waits-for", choices=get_args(WaitsFor), help="that wait for this")
    wanted.add_argument("--due-within", type=int, metavar="DAYS", help="due within so many days, or overdue")
    wanted.add_argument(
        "--waiting-for-me", metavar="KEYID", help="that this officer may decide: as a second officer never one's own"
    )
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=lambda args: asyncio.run(cases(args)))


async def all_cases(shared: World, officer: Path | None = None) -> dict[str, Case]:
    """Every case by its id, as its topic has it now; secret ones only for who holds an officer's key."""
    home = tenant_partition(shared.tenant, shared.settings.few_partitions)
    topic = shared.settings.topic("privacy.cases")
    key = shared.vault.case_key(shared.tenant) if officer and is_officer(shared, officer) else None
    records = await read_all(shared.settings.kafka, shared.options, topic, [home])
    found = [case for record in records if record.value is not None and (case := _readable(record, key)) is not None]
    return {case.case: case for case in found}


def is_officer(shared: World, path: Path) -> bool:
    """Whether a private key is an officer's."""
    table = shared.policy.at(shared.clock.now().date()).tenant[shared.tenant]
    return table.requesters[kid_of_key(shared, path.read_bytes())].role == "officer"


def _readable(record: Any, key: Secret | None) -> Case | None:
    try:
        if record.key.startswith(PREFIX):
            return open_case(record.key, record.value, key) if key else None
        return None if record.key[:1] == b"~" else decode(CASES, record.value)
    except MessageError as error:
        say(f"a record of privacy.cases is no case ({error.reason}): offset {record.offset}")
        return None


def filed_of(shared: World, case: Case) -> Filed | None:
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
    return f"{case.case} {case.type} {case.state}{waits}{why} due {case.due} {stages}"


_SETTLED: Final = frozenset({"waiting", "refused", "closed", "observing"})


async def followed(shared: World, name: str, states: Sequence[str] = (), officer: Path | None = None) -> Case:
    """Tell a case's stages as they come, until it rests."""
    end, told = time.monotonic() + _WAIT_S, 0
    while time.monotonic() < end:
        case = (await all_cases(shared, officer)).get(name)
        if case is not None:
            for stage, at in list(case.stages.items())[told:]:
                say(f"{stage} {time_text(at)}")
            told = len(case.stages)
            if case.state in (states or _SETTLED):
                return case
        await asyncio.sleep(0.05)
    raise StateRefusedError(f"case {name} did not get to `tombstoned` within {_WAIT_S} s: are desk and keeper running?")


async def _act(shared: World, args: argparse.Namespace) -> int:
    if args.key is None or args.case is None:
        raise ConfigurationError(f"case {args.action} CASE --key PEM: a case and an officer's key are needed")
    claims: dict[str, Any] = _ACTS[args.action] | {"case": args.case}
    if args.ground:
        claims["ground"] = text_of("--ground", args.ground)
    await send(shared, args, claims)
    show(args, {"case": args.case, "sent": args.action}, f"{args.action} sent for case {args.case}")
    return 0


async def cases(args: argparse.Namespace) -> int:
    """Show one case or all, or act on one."""
    if args.action == "show" and not args.case:
        raise ConfigurationError("case show CASE: name the case; `calllog-guard case list` shows all")
    if args.action == "list" and args.case:
        raise ConfigurationError("case list shows all; `calllog-guard case show CASE` shows one")
    shared = the_world()
    if args.action in _ACTS:
        return await _act(shared, args)
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
        home = tenant_partition(shared.tenant, shared.settings.few_partitions)
        topic = shared.settings.topic("privacy.receipts")
        for record in await read_all(shared.settings.kafka, shared.options, topic, [home]):
            if record.key == case.case.encode():
                path = args.receipts / f"{case.case}-{record.offset}.jws"
                path.write_bytes(record.value)
                say(str(path))
        for number, token in enumerate(case.told):
            path = args.receipts / f"{case.case}-{number}.jws"
            path.write_text(token, "ascii")
            say(str(path))
    filed = filed_of(shared, case)
    told = {"days_left": days_left(case, today)} | ({"disclosure": json.loads(encode(filed))} if filed else {})
    show(args, json.loads(encode(case)) | told, whole(case, today, filed))
    return 0
