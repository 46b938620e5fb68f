"""`request` signs and sends a request, `case` shows its life, `receipt verify` checks a receipt offline."""

import argparse
import asyncio
import json
import secrets
import time
from pathlib import Path
from typing import Any, Final, get_args

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from calllog_guard.adapters.kafka_log import read_all, tenant_partition
from calllog_guard.bootstrap import World
from calllog_guard.commands.setup import say, show, the_world
from calllog_guard.core.crypto.sealed import sign, verify
from calllog_guard.core.requests.case import CASES, Case
from calllog_guard.core.requests.decision import case_id
from calllog_guard.core.requests.fields import Kind
from calllog_guard.core.requests.page import page
from calllog_guard.core.requests.receipt import RECEIPTS
from calllog_guard.core.requests.request import AUDIENCE
from calllog_guard.core.tombstone import Output
from calllog_guard.core.wire import decode, encode, time_text
from calllog_guard.errors import ConfigurationError, MessageError, StateRefusedError

_LIFETIME_S: Final = 3600
_WAIT_S: Final = 120


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verbs."""
    verb = verbs.add_parser("request", help="send a signed request; this release enforces `erase`")
    verb.add_argument("type", metavar="TYPE", choices=get_args(Kind), help=", ".join(get_args(Kind)))
    verb.add_argument("--subject", required=True, help="@FILE with one subject id per line; identities never in argv")
    verb.add_argument("--key", type=Path, required=True, help="the private key (PEM) of a registered requester")
    verb.add_argument("--identity", choices=["verified", "unverified"], default="verified")
    verb.add_argument("--ticket")
    verb.add_argument("--wait", action="store_true", help="show the stages as they come, up to tombstoned")
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=lambda args: asyncio.run(request(args)))
    verb = verbs.add_parser("case", help="show a case, or all: state, what it waits for, due date, stages")
    verb.add_argument("action", choices=["list", "show"])
    verb.add_argument("case", nargs="?")
    verb.add_argument("--receipts", type=Path, metavar="DIR", help="show: write the case's receipts into DIR")
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=lambda args: asyncio.run(cases(args)))
    verb = verbs.add_parser("receipt", help="verify a receipt offline")
    verb.add_argument("action", choices=["verify"])
    verb.add_argument("file", type=Path)
    verb.add_argument("--key", type=Path, required=True, help="the tenant's public receipt key (PEM)")
    verb.add_argument("--page", type=Path, metavar="OUT", help="also write it as a page (HTML) that a person can read")
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=receipt)


def _kid(shared: World, private_pem: bytes) -> str:
    try:
        private: Any = serialization.load_pem_private_key(private_pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError("--key is no private key in PEM") from None
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    table = shared.policy.at(shared.clock.now().date()).tenant[shared.tenant]
    for kid, requester in table.requesters.items():
        if shared.policy.public_key(requester.key).strip() == public.strip():
            return kid
    raise ConfigurationError("--key belongs to no requester of the policy: register its public half there")


async def _all_cases(shared: World) -> dict[str, Case]:
    home = tenant_partition(shared.tenant, shared.settings.few_partitions)
    topic = shared.settings.topic("privacy.cases")
    records = await read_all(shared.settings.kafka, shared.options, topic, [home])
    return {
        record.key.decode("ascii", "replace"): case
        for record in records
        if record.value is not None and record.key[:1] != b"~" and (case := _readable(record)) is not None
    }


def _readable(record: Any) -> Case | None:
    try:
        return decode(CASES, record.value)
    except MessageError as error:
        say(f"a record of privacy.cases is no case ({error.reason}): offset {record.offset}")
        return None


def _text(case: Case) -> str:
    stages = " ".join(f"{name}={time_text(at)}" for name, at in case.stages.items())
    waits = f" (waits for {case.waits_for})" if case.waits_for else ""
    why = f" ({case.refusal})" if case.refusal else ""
    return f"{case.case} {case.type} {case.state}{waits}{why} due {case.due} {stages}"


def _subjects(name: str) -> list[str]:
    try:
        lines = Path(name).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError("--subject @FILE: the file cannot be read as UTF-8 text") from None
    return [line for line in lines if line]


async def request(args: argparse.Namespace) -> int:
    """Sign and send a request; with --wait follow its case."""
    if not args.subject.startswith("@"):
        raise ConfigurationError("--subject takes @FILE, one subject id per line: identities do not belong into argv")
    subjects = _subjects(args.subject[1:])
    shared = the_world()
    pem = args.key.read_bytes()
    kid, now, jti = _kid(shared, pem), int(shared.clock.now().timestamp()), secrets.token_urlsafe(16)
    jti = jti.replace("_", "-")
    claims: dict[str, Any] = {
        "v": 1,
        "iss": kid,
        "aud": AUDIENCE,
        "tenant": shared.tenant,
        "jti": jti,
        "iat": now,
        "exp": now + _LIFETIME_S,
        "received_at": time_text(shared.clock.now()),
        "type": args.type,
        "subjects": subjects,
        "identity": args.identity,
        "range": None,
        "ticket": args.ticket,
    }
    home = tenant_partition(shared.tenant, shared.settings.few_partitions)
    token = sign(pem, kid, json.dumps(claims).encode()).encode()
    writer = shared.writer()
    await writer.start()
    try:
        await writer.write([Output(shared.settings.topic("privacy.requests"), home, shared.tenant.encode(), token)])
    finally:
        await writer.stop()
    name = case_id(shared.tenant, jti)
    found = await _followed(shared, name) if args.wait else None
    data = json.loads(encode(found)) if found else {"case": name, "request": jti}
    show(args, data, _text(found) if found else f"case {name}")
    return 4 if found is not None and found.state == "refused" else 0


async def _followed(shared: World, name: str) -> Case:
    end, told = time.monotonic() + _WAIT_S, 0
    while time.monotonic() < end:
        case = (await _all_cases(shared)).get(name)
        if case is not None:
            for stage, at in list(case.stages.items())[told:]:
                say(f"{stage} {time_text(at)}")
            told = len(case.stages)
            if case.state in {"waiting", "refused", "closed", "observing"}:
                return case
        await asyncio.sleep(0.05)
    raise StateRefusedError(f"case {name} did not get to `tombstoned` within {_WAIT_S} s: are desk and keeper running?")


async def cases(args: argparse.Namespace) -> int:
    """Show one case or all."""
    shared = the_world()
    found = await _all_cases(shared)
    if args.action == "list":
        show(args, [json.loads(encode(case)) for case in found.values()], "\n".join(map(_text, found.values())))
        return 0
    case = found.get(args.case or "")
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
    show(args, json.loads(encode(case)), _text(case))
    return 0


def receipt(args: argparse.Namespace) -> int:
    """Check a receipt's signature and form; needs neither Kafka nor Redis."""
    try:
        content = verify(args.key.read_bytes(), args.file.read_text("ascii").strip())
        claims = decode(RECEIPTS, content)
    except (MessageError, ValueError) as error:
        show(args, {"verdict": "bad", "why": str(error)}, f"bad: {error}")
        return 1
    if args.page:
        args.page.write_text(page(claims), "utf-8")
        say(str(args.page))
    show(args, {"verdict": "good", "claims": json.loads(encode(claims))}, f"good\n{encode(claims).decode()}")
    return 0
