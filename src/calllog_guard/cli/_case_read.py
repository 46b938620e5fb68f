"""Cases as their topic has them; secret ones for who holds an officer's key."""

from pathlib import Path
from typing import Any

from calllog_guard.app.context import AppContext
from calllog_guard.cli._requests import has_orders, kid_of_key
from calllog_guard.cli._unread import Unread
from calllog_guard.core.cases.case import Case, case_in, later
from calllog_guard.core.cases.secret_cases import PREFIX, is_state, open_case
from calllog_guard.core.codec import BEAT
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.requests.types import HOLDS
from calllog_guard.core.topics import Topic


async def all_cases(shared: AppContext, officer: Path | None = None) -> dict[str, Case]:
    """Every case by its id, as its topic has it now; secret ones only for who holds an officer's key."""
    found, key = dict[str, Case](), case_key(shared, officer)
    await _read(shared, Topic.CASES, key, found)
    if key and has_orders(shared):
        await _read(shared, Topic.ORDERS, key, found)
    return found


async def _read(shared: AppContext, name: str, key: Secret | None, found: dict[str, Case]) -> None:
    """Take the cases of a topic in; of orders, and why one was not taken, it says nothing."""
    home, unread = shared.home, Unread(name)
    for record in await shared.log.read_all(shared.settings.topic(name), [home]):
        about = record.value is not None and (name == Topic.CASES or is_state(record))
        if about and (case := readable(shared, record, key, unread)) is not None:
            found[case.case] = later(found.get(case.case), case)
    unread.tell()


async def is_order(shared: AppContext, path: Path, kind: str, case: str | None, *, hold: bool) -> bool:
    """Whether a request is for the topic of orders: an officer's that names or concerns a hold, or a secret case."""
    if not has_orders(shared) or not is_officer(shared, path):
        return False
    if kind in HOLDS or hold:
        return True
    found = dict[str, Case]()
    if case:
        await _read(shared, Topic.ORDERS, case_key(shared, path), found)
    return case in found


def is_officer(shared: AppContext, path: Path) -> bool:
    """Whether a private key is an officer's."""
    table = shared.policy.at(shared.clock.now().date()).tenant[shared.tenant]
    return table.requesters[kid_of_key(shared, path.read_bytes())].role == "officer"


def case_key(shared: AppContext, path: Path | None) -> Secret | None:
    """What opens secret cases, for an officer's private key alone."""
    return shared.vault.case_key(shared.tenant) if path and is_officer(shared, path) else None


def readable(shared: AppContext, record: Any, key: Secret | None, unread: Unread | None = None) -> Case | None:
    """The case in a record; None where it is none, which is noted, or a secret one and there is no key."""
    found: Case | None = None
    with (unread or Unread(Topic.CASES)).passing(record):
        if (record.key or b"").startswith(PREFIX):
            found = open_case(record.key, record.value, key) if key else None
        elif record.key != BEAT:
            found = case_in(record, shared.vault.proofs(shared.tenant))
    return found
