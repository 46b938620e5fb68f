"""What an officer says to every worker: signed claims in the policy's topic, for ever."""

import secrets
from pathlib import Path

from calllog_guard.app.context import AppContext
from calllog_guard.cli._requests import kid_of_key
from calllog_guard.core.codec import Internal
from calllog_guard.core.identifiers import ID_BYTES, b64
from calllog_guard.core.officers.acceptances import accepting
from calllog_guard.core.records import Output
from calllog_guard.core.topics import Topic
from calllog_guard.errors import StateRefusedError


async def officers_word(shared: AppContext, key: Path, begins: bytes, claims: Internal) -> str:
    """
    Write claims in an officer's name; the key's id.

    Args:
        begins: What the record keys of this kind begin with.

    Raises:
        StateRefusedError: The key is no officer's in the policy in force; nothing is written.

    """
    kid, pem = _officer(shared, key)
    writer = shared.writer()
    await writer.start()
    try:
        name = begins + b64(secrets.token_bytes(ID_BYTES))
        await writer.write([Output(shared.settings.topic(Topic.POLICY), 0, name, accepting(pem, kid, claims))])
    finally:
        await writer.stop()
    return kid


def _officer(shared: AppContext, key: Path) -> tuple[str, bytes]:
    pem = key.read_bytes()
    kid = kid_of_key(shared, pem)
    if shared.policy.officer_key(shared.tenant, kid, shared.clock.now().date()) is None:
        raise StateRefusedError(f"{kid} is no officer in the policy in force: only an officer may say this")
    return kid, pem
