"""`request TYPE`: signs and sends a request of a person, an officer or an authority's desk, and follows its case."""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import NO_KEYSTORE, enter
from calllog_guard.commands.case_read import is_order
from calllog_guard.commands.cases import text
from calllog_guard.commands.sent import TAKEN_S, RequestWatch, add_wait
from calllog_guard.commands.setup import say, show, the_world
from calllog_guard.commands.signed import add_seal, sign_request, subjects_of, text_of
from calllog_guard.core.cases.case import Case
from calllog_guard.core.cases.received_day import received_moment
from calllog_guard.core.codec import encode, time_text
from calllog_guard.core.decisions.decision import case_id, request_name
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


def _epilog() -> str:
    """Which type needs which options, from the table that the desk checks."""
    lines = ["what each type needs (and, in brackets, may say):"]
    for kind, needs in TYPES.items():
        must = [_OPTIONS[name] for name in needs.must if name in _OPTIONS]
        may = [f"[{_OPTIONS[name]}]" for name in needs.may if name in _OPTIONS]
        lines.append(f"  {kind:12} {' '.join([*must, *may])}  ({', '.join(sorted(needs.roles))})")
    lines.append("what an event of `clock` needs in addition:")
    for event, more in BY_EVENT.items():
        must = [_OPTIONS[name] for name in more.must]
        may = [f"[{_OPTIONS[name]}]" for name in more.may]
        lines.append(f"  {event:12} {' '.join([*must, *may])}")
    return "\n".join(lines)


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "request",
        help="send a signed request: erase, access, object, hold, approve, ...",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("type", metavar="TYPE", choices=get_args(Kind), help=", ".join(get_args(Kind)))
    verb.add_argument("--key", type=Path, required=True, help="the private key (PEM) of a registered requester")
    verb.add_argument(
        "--subject", metavar="@FILE", help="one subject id per line, all of one person; identities never in argv"
    )
    verb.add_argument("--identity", choices=["verified", "unverified"], default="verified")
    verb.add_argument("--ticket", help="your own reference, not an identity")
    verb.add_argument(
        "--received-at",
        metavar="DAY",
        help="when it came, as 2026-06-25 (in the tenant's zone) or RFC 3339; default: now. Due dates count from it; of a "
        "`clock` event: when that happened",
    )
    verb.add_argument("--long-ago", action="store_true", help="--received-at is more than a month past, and meant")
    verb.add_argument("--from", dest="first", metavar="DAY", help="only calls that began on or after this day (UTC)")
    verb.add_argument("--to", dest="last", metavar="DAY", help="only calls that began on or before this day (UTC)")
    verb.add_argument("--purpose", action="append", metavar="NAME", help="a purpose of the policy (repeatable)")
    verb.add_argument(
        "--facts", metavar="@FILE", help="JSON: call_id, and of role, joined_at, left_at what is corrected"
    )
    verb.add_argument("--ground", metavar="@FILE", help="why, in words")
    verb.add_argument(
        "--hold",
        metavar="@FILE",
        help="JSON: id, authority, basis, review_at, and optionally range, secret; of a disclosure the id alone",
    )
    verb.add_argument(
        "--reply-key", type=Path, metavar="PEM", help="the X25519 public key that the answer is sealed to"
    )
    verb.add_argument("--case", help="the case that is acted on")
    verb.add_argument("--event", choices=get_args(ClockEvent))
    verb.add_argument("--time", help="when consent was given (RFC 3339)")
    verb.add_argument("--wording", metavar="@FILE", help="what was consented to, in words")
    verb.add_argument("--authority", help="the authority's name")
    verb.add_argument("--basis", help="the law that demands it")
    verb.add_argument("--notify", choices=get_args(Notify), help="when the person is told of a disclosure")
    verb.add_argument("--review-at", help="when to look again whether the person may be told (RFC 3339)")
    verb.add_argument(
        "--to-whom", metavar="NAME", help="clock noticed: who has received a notice, `person` or a recipient"
    )
    verb.add_argument(
        "--notice", choices=get_args(NoticeKind), help="clock noticed: which; without it all that it was sent"
    )
    add_seal(verb)
    add_wait(verb, "show the stages as they come, up to where the workers rest")
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=lambda args: asyncio.run(request(args)))


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


def _claims(args: argparse.Namespace) -> dict[str, Any]:
    subjects = subjects_of("--subject", args.subject) if args.subject else None
    days = {name: day for name, day in (("from", args.first), ("to", args.last)) if day}
    claims = {
        "type": args.type,
        "subjects": subjects,
        "identity": args.identity if subjects else None,
        "ticket": args.ticket,
        "range": days or None,
        "purposes": args.purpose,
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
    lacking = [_OPTIONS[name] for name in TYPES[args.type].must if name in _OPTIONS and claims.get(name) is None]
    if lacking:
        raise ConfigurationError(f"request {args.type} needs {', '.join(lacking)}")
    if args.event == "extend" and args.received_at:
        raise ConfigurationError("--received-at: an extension is told as it is sent, and counts from then")
    return claims


def _received(shared: AppContext, args: argparse.Namespace) -> dict[str, str]:
    """The claim that says when it came, if that was not now."""
    if args.received_at is None:
        return {}
    now = shared.clock.now()
    zone = calendar(shared.policy.at(now.date()).tenant[shared.tenant]).zone
    return {"received_at": time_text(received_moment(args.received_at, zone=zone, now=now, long_ago=args.long_ago))}


_RESTS: Final = frozenset({"waiting", "refused", "closed", "observing"})
"""Where the workers have nothing to do but to look."""


async def request(args: argparse.Namespace) -> int:
    """Sign and send a request, and say what became of it; with --wait up to where its case rests."""
    claims, shared = _claims(args), the_world()
    sign_request(
        shared, args, claims | _received(shared, args)
    )  # what is typed wrong is said before any server is asked
    await enter(shared, NO_KEYSTORE, whole=False)
    signed, acts = sign_request(shared, args, claims | _received(shared, args)), TYPES[args.type].ends is None
    forms = shared.vault.profile(shared.tenant).forms
    name = args.case if acts else case_id(shared.tenant, request_name(signed.iss, signed.jti, forms))
    follows = args.wait and not acts

    def mine(case: Case) -> bool:
        return case.case == name and (not acts or signed.acted(case))

    def done(case: Case) -> bool:
        return not follows or case.state in _RESTS

    order = await is_order(shared, args.key, args.type, args.case, hold=args.hold is not None)
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
