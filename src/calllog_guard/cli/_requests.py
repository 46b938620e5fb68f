"""
Signs claims with a registered key, seals them to the desk's, adds them to `privacy.requests`, or to `privacy.orders`.

Identities and reasons come from files, never from argv.
"""

from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from calllog_guard.app.context import AppContext
from calllog_guard.cli._options import Args
from calllog_guard.cli._output import say
from calllog_guard.client.checks import Problem, check
from calllog_guard.client.requests import Draft, new_jti
from calllog_guard.client.signing import PUBLIC, RequesterKey, SealingKey, SignedRequest, Signer
from calllog_guard.core.cases.secret_cases import ORDERED
from calllog_guard.core.decisions.decision import case_id
from calllog_guard.core.identity.id_file import identifiers
from calllog_guard.core.identity.rules import DEFAULT, REFUSED, canonical
from calllog_guard.core.records import Output
from calllog_guard.core.requests.request import AUDIENCE
from calllog_guard.core.requests.sealing import desk_number
from calllog_guard.core.topics import Topic
from calllog_guard.errors import ConfigurationError, MessageError


def _seal_key(shared: AppContext, args: Args) -> SealingKey | None:
    """The desk's key to seal to; None where none is wanted, or none is known."""
    if args.plain:
        return None
    if args.seal is not None:
        return SealingKey.read(args.seal, shared.tenant)
    folder = Path(shared.settings.policy).parent / "keys"
    names = (path.name.removesuffix(PUBLIC) for path in folder.glob(f"{shared.tenant}-desk*{PUBLIC}"))
    known = {number: kid for kid in names if (number := desk_number(shared.tenant, kid)) is not None}
    return SealingKey.read(folder / f"{known[max(known)]}{PUBLIC}", shared.tenant) if known else None


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


def signer_of(shared: AppContext, args: Args) -> Signer:
    """Who signs, with which key, and to whom it is sealed. Asks no server; raises ConfigurationError."""
    audience = shared.policy.at(shared.clock.now().date()).tenant[shared.tenant].audience or AUDIENCE
    pem, seal = args.key.read_bytes(), _seal_key(shared, args)
    own = RequesterKey(kid_of_key(shared, pem), pem)
    return Signer(tenant=shared.tenant, key=own, seal=seal, audience=audience)


def draft_of(claims: dict[str, Any]) -> Draft:
    """The draft of a request with a new `jti`; what is None is left out."""
    said = {name: each for name, each in claims.items() if each is not None and name != "type"}
    return Draft(claims["type"], new_jti(), said)


def sign_request(shared: AppContext, args: Args, claims: dict[str, Any]) -> SignedRequest:
    """
    Check, sign and seal a request; what is None is left out. Asks no server.

    Raises:
        ConfigurationError: The desk would refuse it, or a key is none.

    """
    return signer_of(shared, args).sign(draft_of(claims), shared.clock.now())


def would_refuse(shared: AppContext, args: Args, claims: dict[str, Any]) -> Problem | None:
    """What a desk would say of a request, by the policy of this machine; None: nothing against it. Asks no server."""
    now = shared.clock.now()
    try:
        request = signer_of(shared, args).request(draft_of(claims), now)
        check(request, shared.policy.at(now.date()).tenant[shared.tenant], shared.vault.identity(shared.tenant))
    except MessageError as error:
        return Problem.of(error)
    return None


def has_orders(shared: AppContext) -> bool:
    """Whether the tenant is at a level of forms that has a topic of orders."""
    return shared.vault.profile(shared.tenant).forms >= ORDERED


async def publish(shared: AppContext, signed: SignedRequest, *, order: bool) -> int:
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
