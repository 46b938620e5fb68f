"""
Signs claims with a registered key, seals them to the desk's, and appends them to `privacy.requests`, or to `privacy.orders`.

Identities and reasons come from files, never from argv.
"""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from calllog_guard.app.context import AppContext
from calllog_guard.cli._options import Args
from calllog_guard.cli._output import say
from calllog_guard.core.cases.case import Case
from calllog_guard.core.cases.secret_cases import ORDERED
from calllog_guard.core.codec import decode, time_text
from calllog_guard.core.crypto.jose import sign
from calllog_guard.core.decisions.decision import case_id, request_name
from calllog_guard.core.identity.id_file import identifiers
from calllog_guard.core.identity.rules import DEFAULT, REFUSED, canonical
from calllog_guard.core.records import Output
from calllog_guard.core.requests.request import AUDIENCE, REQUESTS, check_fields
from calllog_guard.core.requests.sealing import MOST_BYTES, desk_number, seal_request
from calllog_guard.core.topics import Topic
from calllog_guard.errors import ConfigurationError, MessageError

_LIFETIME_S: Final = 3600
_PUBLIC: Final = ".pub.pem"
_BLOCK: Final = 1024
"""Claims are padded to a multiple of it before they are sealed, so that their length does not tell a hold from an erasure."""


def _seal_key(shared: AppContext, args: Args) -> tuple[str, bytes] | None:
    """Name and PEM of the desk's key to seal to; None where none is wanted, or none is known."""
    if args.plain:
        return None
    if args.seal is not None:
        kid = args.seal.name.removesuffix(_PUBLIC)
        if desk_number(shared.tenant, kid) is None:
            raise ConfigurationError(
                f"--seal: the file's name is the key's: {shared.tenant}-desk{_PUBLIC}, as `tenant create` wrote it"
            )
        return kid, args.seal.read_bytes()
    folder = Path(shared.settings.policy).parent / "keys"
    names = (path.name.removesuffix(_PUBLIC) for path in folder.glob(f"{shared.tenant}-desk*{_PUBLIC}"))
    known = {number: kid for kid in names if (number := desk_number(shared.tenant, kid)) is not None}
    return (known[max(known)], (folder / f"{known[max(known)]}{_PUBLIC}").read_bytes()) if known else None


def _sealed(key: tuple[str, bytes], token: str) -> str:
    try:
        found = seal_request(key[1], key[0], token)
    except ValueError:
        raise ConfigurationError(
            f"{key[0]}{_PUBLIC} is no X25519 public key in PEM: `tenant create` writes it"
        ) from None
    if len(found) > MOST_BYTES:
        raise ConfigurationError(f"the sealed request has {len(found)} bytes; the desk takes {MOST_BYTES}")
    return found


def kid_of_key(shared: AppContext, private_pem: bytes) -> str:
    """The name under which the policy in force registers a key."""
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


def text_of(option: str, name: str) -> str:
    """The text of an `@FILE` argument."""
    try:
        return bytes_of(option, name).decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{option} @FILE: the file cannot be read as UTF-8 text") from None


def bytes_of(option: str, name: str) -> bytes:
    """The content of an `@FILE` argument."""
    if not name.startswith("@"):
        raise ConfigurationError(f"{option} takes @FILE: what may tell of a person does not belong into argv")
    try:
        return Path(name[1:]).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{option} @FILE: the file cannot be read: {error.strerror}") from None


def subjects_of(option: str, name: str) -> list[str]:
    """
    The identifiers in an `@FILE` argument, each once; which of them a new tenant's desk would refuse is said, and why.

    Raises:
        ConfigurationError: There are none, or the file is no text.

    """
    found = identifiers(bytes_of(option, name), option)
    if not found:
        raise ConfigurationError(f"{option} @FILE: the file names nobody")
    for number, text in found:
        try:
            canonical(text, DEFAULT)
        except MessageError as error:
            say(f"{option}: line {number} is likely to be refused ({error.reason}): {REFUSED[error.reason]}")
    return list(dict.fromkeys(text for _, text in found))


@dataclass(frozen=True, slots=True)
class Signed:
    """A request as it is sent: whose it is, its `jti`, and the record's value."""

    iss: str
    jti: str
    token: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """What it is known by."""
        return request_name(self.iss, self.jti)

    def acted(self, case: Case) -> bool:
        """Whether it has acted on a case; a tenant of the first release knows it by its `jti`."""
        return bool({self.name, self.jti} & case.acts.keys())


def sign_request(shared: AppContext, args: Args, claims: dict[str, Any]) -> Signed:
    """
    Check, sign and seal a request; what is None is left out. Asks no server.

    Raises:
        ConfigurationError: The desk would refuse it, or a key is none.

    """
    pem, seal = args.key.read_bytes(), _seal_key(shared, args)
    now = shared.clock.now()
    audience = shared.policy.at(now.date()).tenant[shared.tenant].audience or AUDIENCE
    issued, kid = int(now.timestamp()), kid_of_key(shared, pem)
    jti = secrets.token_urlsafe(16).replace("_", "-")
    common = {"v": 1, "iss": kid, "aud": audience, "tenant": shared.tenant, "jti": jti, "iat": issued}
    content = common | {"exp": issued + _LIFETIME_S, "received_at": time_text(now)} | claims
    raw = json.dumps({name: each for name, each in content.items() if each is not None}).encode()
    try:
        check_fields(decode(REQUESTS, raw))
    except MessageError as error:
        raise ConfigurationError(f"the desk would refuse this request: {error}") from None
    token = _sealed(seal, sign(pem, kid, raw.ljust(-(-len(raw) // _BLOCK) * _BLOCK))) if seal else sign(pem, kid, raw)
    return Signed(kid, jti, token.encode())


def has_orders(shared: AppContext) -> bool:
    """Whether the tenant is at a level of forms that has a topic of orders."""
    return shared.vault.profile(shared.tenant).forms >= ORDERED


async def publish(shared: AppContext, signed: Signed, *, order: bool) -> int:
    """
    Append a request to the tenant's partition; its offset.

    Args:
        order: To the topic of orders, under a key of its own: compaction keeps the last of each.

    """
    home = shared.home
    topic = shared.settings.topic(Topic.ORDERS if order else Topic.REQUESTS)
    key = case_id(shared.tenant, signed.name) if order else shared.tenant
    writer = shared.writer()
    await writer.start()
    try:
        return await writer.append(Output(topic, home, key.encode(), signed.token))
    finally:
        await writer.stop()
