"""`key new|register|revoke|rotate|public`: the key pairs of those who ask, and of those to whom something is sealed."""

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from calllog_guard.adapters.kms.local import write_new
from calllog_guard.adapters.memory.fakes import SystemClock
from calllog_guard.adapters.policy_edits import (
    DatedKey,
    add_actor_key,
    add_requester,
    drop_requester,
    end_actor_key,
    succeed_actor,
)
from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import check_places
from calllog_guard.cli._options import Args, VerbGroup, argument, file
from calllog_guard.cli._output import say, show, the_world
from calllog_guard.cli.tenant import write_desk_key
from calllog_guard.core.crypto.jose import new_pair, public_forms
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.policy.form import TenantPolicy
from calllog_guard.errors import ConfigurationError, StateRefusedError

REQUESTERS: Final = ("backend", "officer", "authority_desk")
"""They sign requests: Ed25519."""
ACTOR: Final = "actor"
"""Whoever reads signs what they opened: Ed25519."""
SEALED_TO: Final = ("operator", "recipient")
"""To them something is sealed: X25519."""
_KID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_PUBLIC: Final = ".pub.pem"
_EFFECT: Final = "workers read it at their next start; a version that was published must be published anew"


key: Final = VerbGroup("key")
of_tenant: Final = click.option("--tenant", metavar="T", help="needed when the policy names several")


def _pair(run: Any) -> Any:
    """What every command about a pair is told."""
    name = argument("kid", metavar="KID", help="the key's name, as in the policy and in `kid`")
    folder = file("--dir", metavar="DIR", help="folder of the PEM files; default: keys, beside the policy")
    return name(folder(run))


def _folder(args: Args) -> Path:
    if args.dir is not None:
        return Path(args.dir)
    return Path(the_world().settings.policy).parent / "keys"


def _kid(text: str) -> str:
    if not _KID.fullmatch(text):
        raise ConfigurationError("a KID is 1 to 64 letters, digits, - and _, and begins with a letter or digit")
    return text


def _public(path: Path) -> tuple[bytes, dict[str, str], str]:
    try:
        return public_forms(path.read_bytes())
    except FileNotFoundError:
        raise ConfigurationError(f"no key at {path}: calllog-guard key new, or name its folder with --dir") from None
    except ValueError:
        raise ConfigurationError(f"{path} is no Ed25519 or X25519 key in PEM") from None


def _signer(path: Path) -> tuple[bytes, dict[str, str], str]:
    pem, jwk, fingerprint = _public(path)
    if jwk["crv"] != "Ed25519":
        raise ConfigurationError(f"{path} is of {jwk['crv']}: a requester signs with Ed25519")
    return pem, jwk, fingerprint


def _make(folder: Path, kid: str, *, signs: bool) -> str:
    private, public = new_pair(signs=signs)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (folder / f"{kid}{_PUBLIC}").exists() or not write_new(folder / f"{kid}.pem", private):
        raise StateRefusedError(f"{kid} exists in {folder}: nothing is overwritten; take another name, or rotate")
    (folder / f"{kid}{_PUBLIC}").write_bytes(public)
    return public_forms(public)[2]


def _told(args: Args, kid: str, role: str, fingerprint: str, text: str) -> int:
    show(args, {"kid": kid, "role": role, "fingerprint": fingerprint}, f"{kid} ({role}) {fingerprint}: {text}")
    return 0


@key.command("new", help="make a pair: KID.pem, for its owner's eyes only, and KID.pub.pem")
@click.option("--role", type=click.Choice([*REQUESTERS, ACTOR, *SEALED_TO]), required=True, help="who will use it")
@_pair
def new(args: Args) -> int:
    """As its help says."""
    kid, folder = _kid(args.kid), _folder(args)
    fingerprint = _make(folder, kid, signs=args.role in {*REQUESTERS, ACTOR})
    text = f"{folder / kid}.pem stays with its owner"
    if args.role == ACTOR:
        text += (
            f"; calllog-guard key register {kid} --role actor, or in the policy, [version.tenant.T.actors.{kid}]:\n"
            + _line(kid)
        )
    return _told(args, kid, args.role, fingerprint, text)


def _line(kid: str) -> str:
    return f'key = "keys/{kid}{_PUBLIC}"\nsince = {_now():%Y-%m-%dT%H:%M:%SZ}'


def _now() -> datetime:
    """In milliseconds, as brokers date records: what was read a moment before still counts as read before."""
    now = SystemClock().now()
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def moment(text: str) -> datetime:
    """A time with its offset, as `2026-12-01T00:00:00Z`."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("without an offset it is another moment on every machine")
    return found.astimezone(UTC)


@key.command("public", help="PEM, JWK and fingerprint (RFC 7638) of a public key, from either half")
@_pair
def public(args: Args) -> int:
    """As its help says."""
    pem, jwk, fingerprint = _public(_folder(args) / f"{_kid(args.kid)}{_PUBLIC}")
    data = {"kid": args.kid, "pem": pem.decode(), "jwk": jwk | {"kid": args.kid}, "fingerprint": fingerprint}
    show(args, data, f"{pem.decode()}{data['jwk']}\n{fingerprint}")
    return 0


# --- the policy -----------------------------------------------------------------------------------------------------


def _tenant(args: Args, shared: AppContext) -> str:
    return str(args.tenant or shared.tenant)


def _beside(shared: AppContext, kid: str, folder: Path) -> tuple[str, str]:
    """The public key's file beside the policy, as the policy names it, and its fingerprint."""
    pem, _, fingerprint = _signer(folder / f"{kid}{_PUBLIC}")
    policy = Path(shared.settings.policy)
    beside = policy.parent / "keys" / f"{kid}{_PUBLIC}"
    beside.parent.mkdir(exist_ok=True)
    if not beside.exists():
        beside.write_bytes(pem)
    if _public(beside)[2] != fingerprint:
        raise StateRefusedError(f"{beside} is another key: a name is never given to a second one")
    return f"keys/{beside.name}", fingerprint


def _enter(args: Args, shared: AppContext, kid: str, role: str, folder: Path) -> str:
    name, fingerprint = _beside(shared, kid, folder)
    add_requester(Path(shared.settings.policy), shared.clock.now().date(), _tenant(args, shared), kid, role, name)
    return fingerprint


def _enter_actor(args: Args, shared: AppContext, kid: str) -> int:
    (name, fingerprint), since = _beside(shared, kid, _folder(args)), args.since or _now()
    policy, day = Path(shared.settings.policy), shared.clock.now().date()
    add_actor_key(policy, day, _tenant(args, shared), kid, DatedKey(name, since), list(args.purpose) or None)
    say(
        f"from {since:%Y-%m-%d %H:%M:%S} UTC on every actor needs its key (policy check names those without), and "
        "every reader --key or ACTOR_KEY: what is written unsigned then is believed by nobody"
    )
    return _told(args, kid, ACTOR, fingerprint, f"registered; {_EFFECT}")


@key.command("register", help="enter a requester's or an actor's public key into the policy")
@click.option("--role", type=click.Choice([*REQUESTERS, ACTOR]), required=True, help="who uses it")
@click.option("--since", type=moment, metavar="TIME", help="of an actor: when its key begins to count; default: now")
@click.option(
    "--purpose", multiple=True, metavar="P", help="of an actor that the policy does not have yet; may be repeated"
)
@_pair
@of_tenant
def register(args: Args) -> int:
    """As its help says."""
    shared = the_world()
    if args.role == ACTOR:
        return _enter_actor(args, shared, _kid(args.kid))
    if args.since or args.purpose:
        raise ConfigurationError("--since and --purpose are of an actor")
    fingerprint = _enter(args, shared, _kid(args.kid), args.role, _folder(args))
    return _told(args, args.kid, args.role, fingerprint, f"registered; {_EFFECT}")


@key.command(
    "revoke",
    help="take a requester out of the policy: nothing it signs is accepted any more; end an actor's key: what it "
    "signed stays proven",
)
@_pair
@of_tenant
def revoke(args: Args) -> int:
    """See the parser; the public key's file stays, as evidence of what was signed with it."""
    shared, kid = the_world(), _kid(args.kid)
    day, tenant = shared.clock.now().date(), _tenant(args, shared)
    table = shared.policy.at(day).tenant.get(tenant)
    if table and kid not in table.requesters and kid in table.actors:
        end_actor_key(Path(shared.settings.policy), day, tenant, kid, _now())
        show(args, {"kid": kid, "role": ACTOR, "revoked": True}, f"{kid} ({ACTOR}): its key counts no more; {_EFFECT}")
        return 0
    drop_requester(Path(shared.settings.policy), day, tenant, kid)
    role = table.requesters[kid].role if table and kid in table.requesters else ""
    show(args, {"kid": kid, "role": role, "revoked": True}, f"{kid} ({role}): revoked; {_EFFECT}")
    return 0


@key.command(
    "rotate",
    help="make the next pair, beside the old one: a requester's or an actor's (revoke the old one later), or the "
    "desk's own",
)
@_pair
@of_tenant
def rotate(args: Args) -> int:
    """As its help says."""
    shared, old = the_world(), _kid(args.kid)
    tenant = Tenant(_tenant(args, shared))
    table = shared.policy.at(shared.clock.now().date()).tenant.get(tenant)
    if table and old not in table.requesters and shared.vault.desk_key(tenant, old):
        return _rotate_desk(args, shared, tenant, old)
    if table and old not in table.requesters and old in table.actors:
        return _rotate_actor(args, shared, table, old)
    if table is None or old not in table.requesters:
        raise StateRefusedError(f"no requester or actor {old} in the policy in force: calllog-guard key register")
    folder, role = _folder(args), table.requesters[old].role
    new = _next(old, {*table.requesters, *(path.name.removesuffix(_PUBLIC) for path in folder.glob(f"*{_PUBLIC}"))})
    _make(folder, new, signs=True)
    fingerprint = _enter(args, shared, new, role, folder)
    say(f"when every caller signs with {new}: calllog-guard key revoke {old}")
    return _told(args, new, role, fingerprint, f"registered beside {old}; {_EFFECT}")


def _rotate_actor(args: Args, shared: AppContext, table: TenantPolicy, old: str) -> int:
    """A new name for the new key: whoever looks at an access must know by which key it is to be checked."""
    folder, day, tenant = _folder(args), shared.clock.now().date(), _tenant(args, shared)
    made = (path.name.removesuffix(_PUBLIC) for path in folder.glob(f"*{_PUBLIC}"))
    new = _next(old, {*table.actors, *table.requesters, *made})
    _make(folder, new, signs=True)
    name, fingerprint = _beside(shared, new, folder)
    succeed_actor(Path(shared.settings.policy), day, tenant, (old, new), name, _now())
    say(f"when every reader of {old} reads as {new}, with its key: calllog-guard key revoke {old}")
    return _told(args, new, ACTOR, fingerprint, f"registered beside {old}, for the same purposes; {_EFFECT}")


def _rotate_desk(args: Args, shared: AppContext, tenant: Tenant, old: str) -> int:
    """The private half stays with the tenant's secrets; the older ones go on opening what is sealed to them."""
    asyncio.run(check_places(shared, ("KMS",)))
    shared.vault.rotate_desk_key(tenant)
    path, public = write_desk_key(shared, tenant)
    say(f"give {path} to whoever seals to {old}; what is sealed to older keys opens as before")
    kid = path.name.removesuffix(_PUBLIC)
    return _told(args, kid, "desk", public_forms(public)[2], f"made beside {old}; running desks open it at once")


def _next(kid: str, taken: set[str]) -> str:
    """The first free name after `backend-1`: `backend-2`, and so on."""
    found = re.fullmatch(r"(.*?)-?(\d+)?", kid)
    stem, number = (found[1], int(found[2] or 1)) if found else (kid, 1)
    while f"{stem}-{number}" in taken or f"{stem}-{number}" == kid:
        number += 1
    return f"{stem}-{number}"
