"""`request TYPE`: signs and sends a request of a person, an officer or an authority's desk, and follows its case."""

import json
from copy import copy
from pathlib import Path
from typing import Any, Final, cast, get_args

import click
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import NO_KEYSTORE, enter
from calllog_guard.cli._case_read import is_order
from calllog_guard.cli._options import (
    SEALED,
    Args,
    Command,
    Kinds,
    command,
    file,
    flag,
    key,
    sealing,
    waiting,
)
from calllog_guard.cli._output import say, show, the_world
from calllog_guard.cli._requests import sign_request, subjects_of, text_of, would_refuse
from calllog_guard.cli._sent import TAKEN_S, RequestWatch
from calllog_guard.cli.case import text
from calllog_guard.core.cases.case import Case
from calllog_guard.core.cases.received_day import received_moment
from calllog_guard.core.codec import encode, time_text
from calllog_guard.core.identifiers import b64
from calllog_guard.core.requests.fields import ClockEvent, Notify
from calllog_guard.core.requests.request import BY_EVENT
from calllog_guard.core.requests.types import TYPES, Kind, NoticeKind
from calllog_guard.errors import ConfigurationError, WorkersSilentError
from calllog_guard.workers.desk.cases.terms import calendar

_OPTIONS: Final = {
    "subjects": "--subject @FILE",
    "range": "--from DAY --to DAY",
    "purposes": "--purpose NAME",
    "facts": "--facts @FILE.json",
    "ground": "--ground @FILE",
    "hold": "--hold @FILE.json",
    "reply_key": "--reply-key PEM",
    "case": "--case ID",
    "event": "--event EVENT",
    "time": "--time TIME",
    "wording": "--wording @FILE",
    "authority": "--authority NAME",
    "basis": "--basis TEXT",
    "notify": "--notify WHEN",
    "review_at": "--review-at TIME",
    "to": "--to-whom NAME",
    "notice": "--notice KIND",
}


_ALWAYS: Final = "--key --ticket --received-at --long-ago --dry-run --seal --plain --wait --timeout --json"


def _json_of(option: str, name: str | None) -> Any:
    if name is None:
        return None
    try:
        return msgspec.json.decode(text_of(option, name))
    except msgspec.DecodeError:
        raise ConfigurationError(f"{option} @FILE: the file is no JSON") from None


def reply_key(path: Path | None) -> dict[str, str] | None:
    """A public key in PEM as the JWK of a request."""
    if path is None:
        return None
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, X25519PublicKey):
        raise ConfigurationError("--reply-key is no X25519 public key in PEM: calllog-guard key new makes a pair")
    return {"kty": "OKP", "crv": "X25519", "x": b64(key.public_bytes_raw()).decode()}


def _type(args: Args) -> Kind:
    """The type that a command sends: their names differ where a word joins others."""
    return cast("Kind", args.command.replace("-", "_"))


def _claims(args: Args) -> dict[str, Any]:
    subjects = subjects_of("--subject", args.subject) if args.subject else None
    days = {name: day for name, day in (("from", args.first), ("to", args.last)) if day}
    claims = {
        "type": _type(args),
        "subjects": subjects,
        "identity": args.identity if subjects else None,
        "ticket": args.ticket,
        "range": days or None,
        "purposes": args.purpose or None,
        "facts": _json_of("--facts", args.facts),
        "ground": text_of("--ground", args.ground) if args.ground else None,
        "hold": _json_of("--hold", args.hold),
        "reply_key": reply_key(args.reply_key),
        "case": args.case,
        "event": args.event,
        "time": args.time,
        "wording": text_of("--wording", args.wording) if args.wording else None,
        "authority": args.authority,
        "basis": args.basis,
        "notify": args.notify,
        "review_at": args.review_at,
        "to": args.to_whom,
        "notice": args.notice,
    }
    lacking = [_OPTIONS[name] for name in TYPES[_type(args)].must if name in _OPTIONS and claims.get(name) is None]
    if lacking:
        raise ConfigurationError(f"request {args.command} needs {', '.join(lacking)}")
    if args.event == "extend" and args.received_at:
        raise ConfigurationError("--received-at: an extension is told as it is sent, and counts from then")
    return claims


def _received(shared: AppContext, args: Args) -> dict[str, str]:
    """The claim that says when it came, if that was not now."""
    if args.received_at is None:
        return {}
    now = shared.clock.now()
    zone = calendar(shared.policy.at(now.date()).tenant[shared.tenant]).zone
    return {"received_at": time_text(received_moment(args.received_at, zone=zone, now=now, long_ago=args.long_ago))}


_RESTS: Final = frozenset({"waiting", "refused", "closed", "observing"})
"""Where the workers have nothing to do but to look."""


request: Final = Kinds("request")


@key("the private key of a registered requester", required=True)
@click.option("--subject", metavar="@FILE", help="one subject id per line, all of one person; identities never in argv")
@click.option(
    "--identity", type=click.Choice(["verified", "unverified"]), default="verified", help="whether it is sure who asks"
)
@click.option("--ticket", metavar="WORD", help="your own reference, not an identity")
@click.option(
    "--received-at",
    metavar="DAY",
    help="when it came, as 2026-06-25 (in the tenant's zone) or RFC 3339; default: now. Due dates count from it; of a "
    "`clock` event: when that happened",
)
@flag("--long-ago", help="--received-at is more than a month past, and meant")
@click.option("--from", "first", metavar="DAY", help="only calls that began on or after this day (UTC)")
@click.option("--to", "last", metavar="DAY", help="only calls that began on or before this day (UTC)")
@click.option("--purpose", multiple=True, metavar="NAME", help="a purpose of the policy (repeatable)")
@click.option("--facts", metavar="@FILE", help="JSON: call_id, and of role, joined_at, left_at what is corrected")
@click.option("--ground", metavar="@FILE", help="why, in words")
@click.option(
    "--hold",
    metavar="@FILE",
    help="JSON: id, authority, basis, review_at, and optionally range, secret; of a disclosure the id alone",
)
@file("--reply-key", metavar="PEM", help="the X25519 public key that the answer is sealed to")
@click.option("--case", metavar="CASE", help="the case that is acted on")
@click.option("--event", type=click.Choice(get_args(ClockEvent)), help="what has happened")
@click.option("--time", metavar="TIME", help="when consent was given (RFC 3339)")
@click.option("--wording", metavar="@FILE", help="what was consented to, in words")
@click.option("--authority", metavar="NAME", help="the authority's name")
@click.option("--basis", metavar="TEXT", help="the law that demands it")
@click.option("--notify", type=click.Choice(get_args(Notify)), help="when the person is told of a disclosure")
@click.option("--review-at", metavar="TIME", help="when to look again whether the person may be told (RFC 3339)")
@click.option("--to-whom", metavar="NAME", help="clock noticed: who has received a notice, `person` or a recipient")
@click.option(
    "--notice", type=click.Choice(get_args(NoticeKind)), help="clock noticed: which; without it all that it was sent"
)
@flag(
    "--dry-run",
    help="send nothing: say what a desk would say, by the policy of this machine; exit 4 where it would refuse",
)
@sealing
@waiting("show the stages as they come, up to where the workers rest")
async def send(args: Args) -> int:
    """Sign and send a request, and say what became of it; with --wait up to where its case rests."""
    claims, shared = _claims(args), the_world()
    if args.dry_run:
        return _tried(shared, args, claims | _received(shared, args))
    sign_request(
        shared, args, claims | _received(shared, args)
    )  # what is typed wrong is said before any server is asked
    await enter(shared, NO_KEYSTORE, whole=False)
    signed, acts = sign_request(shared, args, claims | _received(shared, args)), TYPES[_type(args)].ends is None
    name = args.case if acts else signed.case(shared.tenant, shared.vault.profile(shared.tenant).forms)
    follows = args.wait and not acts

    def mine(case: Case) -> bool:
        return case.case == name and (not acts or signed.acted(case))

    def done(case: Case) -> bool:
        return not follows or case.state in _RESTS

    order = await is_order(shared, args.key, _type(args), args.case, hold=args.hold is not None)
    async with RequestWatch(shared, signed, args.key, order=order) as sent:
        case = await sent.until(mine, done, args.timeout if args.wait else TAKEN_S, tell=args.wait)
    if args.wait and (case is None or not done(case)):
        what = f"case {name} is still {case.state}" if case else "no desk has taken the request"
        who = "keeper" if case else "desk"
        raise WorkersSilentError(f"{what} after {args.timeout:.0f} s: is `calllog-guard worker {who}` running?")
    if case is None:
        say("no desk has taken it yet: the case opens, with its due date, when one runs")
    told = {"case": name, "request": signed.jti, "taken": case is not None, "due": case.due if case else None}
    show(args, json.loads(encode(case)) if case and follows else told, text(case) if case else f"case {name}")
    return 4 if follows and case is not None and case.state == "refused" else 0


def _tried(shared: AppContext, args: Args, claims: dict[str, Any]) -> int:
    """Say what a desk would say; nothing is sent."""
    found = would_refuse(shared, args, claims)
    if found is None:
        show(args, {"refused": None}, "a desk would take this request; nothing was sent")
        return 0
    text = f"a desk would refuse this request: {found.reason} at {found.pointer or '/'}: {found.remedy}"
    show(args, {"refused": {"reason": found.reason, "at_pointer": found.pointer, "remedy": found.remedy}}, text)
    return 4


_ALL: Final = command("request")(send)


def _taken(kind: Kind) -> dict[str, str]:
    """The options that a type takes, from the table that the desk checks, each with its mark."""
    needs, events = TYPES[kind], BY_EVENT.values() if kind == "clock" else ()
    may = [*needs.may, *(name for each in events for name in (*each.must, *each.may))]
    found = {word: "" for name in may for word in _OPTIONS.get(name, "").split() if word.startswith("--")}
    found |= {_OPTIONS[name].split()[0]: "needed: " for name in needs.must if name in _OPTIONS}
    return dict.fromkeys(_ALWAYS.split(), "") | found | ({"--identity": ""} if "--subject" in found else {})


def _command(kind: Kind) -> Command:
    """A type; its help shows what it takes, and what it does not take the desk's own check refuses."""
    taken, params = _taken(kind), list[Any](map(copy, _ALL.params))
    for each in params:
        each.hidden, each.help = each.opts[0] not in taken, taken.get(each.opts[0], "") + each.help
    whose = f"Signed with the key of a requester: {' or '.join(sorted(TYPES[kind].roles))}."
    more: dict[str, Any] = {"help": TYPES[kind].help, "about": whose, "one_of": SEALED, "params": params}
    return Command(kind.replace("_", "-"), callback=send, **more)


for _kind in get_args(Kind):
    request.add_command(_command(_kind))
