"""Signs claims with a registered key and appends them to `privacy.requests`; identities and reasons come from files, never from argv."""

import json
import secrets
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from calllog_guard.adapters.kafka_log import tenant_partition
from calllog_guard.bootstrap import World
from calllog_guard.core.crypto.sealed import sign
from calllog_guard.core.requests.request import AUDIENCE, REQUESTS, check_fields
from calllog_guard.core.tombstone import Output
from calllog_guard.core.wire import decode, time_text
from calllog_guard.errors import ConfigurationError, MessageError

_LIFETIME_S: Final = 3600


def kid_of_key(shared: World, private_pem: bytes) -> str:
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
    if not name.startswith("@"):
        raise ConfigurationError(f"{option} takes @FILE: what may tell of a person does not belong into argv")
    try:
        return Path(name[1:]).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"{option} @FILE: the file cannot be read as UTF-8 text") from None


async def send(shared: World, pem: bytes, claims: dict[str, Any]) -> str:
    """Sign and append a request; its `jti`. What is None is left out."""
    now = shared.clock.now()
    issued, kid = int(now.timestamp()), kid_of_key(shared, pem)
    jti = secrets.token_urlsafe(16).replace("_", "-")
    common = {"v": 1, "iss": kid, "aud": AUDIENCE, "tenant": shared.tenant, "jti": jti, "iat": issued}
    content = common | {"exp": issued + _LIFETIME_S, "received_at": time_text(now)} | claims
    raw = json.dumps({name: each for name, each in content.items() if each is not None}).encode()
    try:
        check_fields(decode(REQUESTS, raw))
    except MessageError as error:
        raise ConfigurationError(f"the desk would refuse this request: {error}") from None
    token = sign(pem, kid, raw)
    home = tenant_partition(shared.tenant, shared.settings.few_partitions)
    topic = shared.settings.topic("privacy.requests")
    writer = shared.writer()
    await writer.start()
    try:
        await writer.write([Output(topic, home, shared.tenant.encode(), token.encode())])
    finally:
        await writer.stop()
    return jti
