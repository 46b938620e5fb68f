"""Cases as their topic has them; secret ones for who holds an officer's key."""

from pathlib import Path
from typing import Any

from calllog_guard.adapters.kafka_log import read_all, tenant_partition
from calllog_guard.commands.setup import say
from calllog_guard.commands.signed import kid_of_key
from calllog_guard.core.crypto.secrets import Secret
from calllog_guard.core.requests.case import CASES, Case, later
from calllog_guard.core.requests.secret import PREFIX, open_case
from calllog_guard.core.wire import BEAT, decode
from calllog_guard.errors import MessageError
from calllog_guard.world import World


async def all_cases(shared: World, officer: Path | None = None) -> dict[str, Case]:
    """Every case by its id, as its topic has it now; secret ones only for who holds an officer's key."""
    home = tenant_partition(shared.tenant, shared.settings.few_partitions)
    topic = shared.settings.topic("privacy.cases")
    key = case_key(shared, officer)
    records = await read_all(shared.settings.kafka, shared.options, topic, [home])
    found: dict[str, Case] = {}
    for record in records:
        case = None if record.value is None else readable(record, key)
        if case is not None:
            found[case.case] = later(found.get(case.case), case)
    return found


def is_officer(shared: World, path: Path) -> bool:
    """Whether a private key is an officer's."""
    table = shared.policy.at(shared.clock.now().date()).tenant[shared.tenant]
    return table.requesters[kid_of_key(shared, path.read_bytes())].role == "officer"


def case_key(shared: World, path: Path | None) -> Secret | None:
    """What opens secret cases, for an officer's private key alone."""
    return shared.vault.case_key(shared.tenant) if path and is_officer(shared, path) else None


def readable(record: Any, key: Secret | None) -> Case | None:
    """The case in a record; None where it is none, or a secret one and there is no key."""
    try:
        if (record.key or b"").startswith(PREFIX):
            return open_case(record.key, record.value, key) if key else None
        return None if record.key == BEAT else decode(CASES, record.value)
    except MessageError as error:
        say(f"a record of privacy.cases is no case ({error.reason}): offset {record.offset}")
        return None
