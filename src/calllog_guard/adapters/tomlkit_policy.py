"""
Edits of `policy.toml` that keep its comments and order: requesters added and taken away.

Rules: 1. The edited policy is read as a whole before it takes the old one's place.  2. The version in force and every later one
       are edited; earlier ones are history.
"""

import os
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from calllog_guard.adapters.folders import sync_folder
from calllog_guard.errors import StateRefusedError
from calllog_guard.policy import load_policy


def add_requester(path: Path, today: date, tenant: str, kid: str, role: str, key: str) -> None:
    """
    Register a requester; `key` is the name of its public key's file beside the policy.

    Raises:
        StateRefusedError: The name is taken, or there is no such tenant.
        ConfigurationError: The policy would not be readable.

    """

    def edit(requesters: Any) -> None:
        if kid in requesters:
            raise StateRefusedError(f"{kid} is registered already: revoke it first, or rotate")
        import tomlkit  # noqa: PLC0415 - takes long to load, and most commands edit nothing

        entry = tomlkit.table()
        entry.add("role", role)
        entry.add("key", key)
        requesters[kid] = entry

    _edited(path, today, tenant, edit)


def drop_requester(path: Path, today: date, tenant: str, kid: str) -> None:
    """
    Revoke a requester: nothing that it signs is accepted any more.

    Raises:
        StateRefusedError: Nobody of that name, or no such tenant.

    """

    def edit(requesters: Any) -> None:
        if kid not in requesters:
            raise StateRefusedError(f"no requester {kid} of {tenant} in {path}")
        del requesters[kid]

    _edited(path, today, tenant, edit)


def _edited(path: Path, today: date, tenant: str, edit: Callable[[Any], None]) -> None:
    first = load_policy(path).at(today).effective
    import tomlkit  # noqa: PLC0415 - as above

    document: Any = tomlkit.parse(path.read_text("utf-8"))
    touched = 0
    for version in document["version"]:
        if version["effective"] >= first and tenant in version["tenant"]:
            table = version["tenant"][tenant]
            if "requesters" not in table:
                table["requesters"] = tomlkit.table(is_super_table=True)
            edit(table["requesters"])
            touched += 1
    if not touched:
        raise StateRefusedError(f"no version in force names the tenant {tenant}: add [version.tenant.{tenant}] first")
    _replace(path, tomlkit.dumps(document))


def _replace(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".policy-", suffix=".toml")
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        load_policy(draft)
        draft.chmod(path.stat().st_mode & 0o777)
        draft.replace(path)
        sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)
