"""
Edits of `policy.toml` that keep its comments and order: requesters added and removed, actors given a key and its end.

Rules: 1. The edited policy is read whole before it replaces the old one.  2. The version in force and all later ones
       are edited; earlier ones are history.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from calllog_guard.adapters.disk.folders import sync_folder
from calllog_guard.adapters.disk.policy_file import load_policy
from calllog_guard.errors import ConfigurationError, StateRefusedError


def add_requester(path: Path, today: date, tenant: str, kid: str, role: str, key: str) -> None:
    """
    Register a requester; `key` is the name of its public key's file beside the policy.

    Raises:
        StateRefusedError: The name is taken, or there is no such tenant.
        ConfigurationError: The policy would not be readable.

    """

    def edit(table: Any) -> None:
        requesters = _part(table, "requesters")
        if kid in requesters:
            raise StateRefusedError(f"{kid} is registered already: revoke it first, or rotate")
        requesters[kid] = _table(role=role, key=key)

    _edited(path, today, tenant, edit)


def drop_requester(path: Path, today: date, tenant: str, kid: str) -> None:
    """
    Revoke a requester: nothing that it signs is accepted any more.

    Raises:
        StateRefusedError: Nobody of that name, or no such tenant.

    """

    def edit(table: Any) -> None:
        requesters = _part(table, "requesters")
        if kid not in requesters:
            raise StateRefusedError(f"no requester {kid} of {tenant} in {path}")
        del requesters[kid]

    _edited(path, today, tenant, edit)


class DatedKey(NamedTuple):
    """The file of a public key, and since when it counts."""

    key: str
    since: datetime


def add_actor_key(
    path: Path, today: date, tenant: str, name: str, dated: DatedKey, purposes: Sequence[str] | None = None
) -> None:
    """
    Register an actor's key; the actor too, where the policy has none of that name.

    Args:
        purposes: What for, of a new actor.

    Raises:
        StateRefusedError: It has a key already, or there is no such tenant.
        ConfigurationError: A new actor, and nothing says what for; or the policy would not be readable.

    """

    def edit(table: Any) -> None:
        actors = _part(table, "actors")
        if name not in actors:
            if purposes is None:
                raise ConfigurationError(f"the policy has no actor {name}: say what it may read for, with --purpose P")
            actors[name] = _table(purposes=list(purposes))
        elif "key" in actors[name]:
            raise StateRefusedError(
                f"{name} has a key already, and a name keeps its key: calllog-guard key rotate {name}"
            )
        actors[name]["key"], actors[name]["since"] = dated

    _edited(path, today, tenant, edit)


def end_actor_key(path: Path, today: date, tenant: str, name: str, until: datetime) -> None:
    """
    Revoke an actor's key: it counts no more, and what was signed with it stays proven.

    Raises:
        StateRefusedError: It has none, or it was revoked before.

    """

    def edit(table: Any) -> None:
        actor = _part(table, "actors").get(name, {})
        if "key" not in actor:
            raise StateRefusedError(f"no actor {name} of {tenant} has a key in {path}")
        if "until" in actor and actor["until"] <= until:
            raise StateRefusedError(f"the key of {name} has lapsed, or was revoked, already")
        actor["until"] = until

    _edited(path, today, tenant, edit)


def succeed_actor(path: Path, today: date, tenant: str, names: tuple[str, str], key: str, since: datetime) -> None:
    """
    Register the successor of an actor: the same purposes and title under a new name and key, for the same recipients.

    Args:
        names: The old one and the new one.

    """
    old, new = names

    def edit(table: Any) -> None:
        actors = _part(table, "actors")
        if old not in actors:
            raise StateRefusedError(f"a version of {path} has no actor {old}")
        same = {field: actors[old][field] for field in ("purposes", "title") if field in actors[old]}
        actors[new] = _table(**same, key=key, since=since)
        for recipient in table.get("recipients", {}).values():
            if old in recipient.get("actors", ()):
                recipient["actors"].append(new)

    _edited(path, today, tenant, edit)


def _part(table: Any, name: str) -> Any:
    import tomlkit  # noqa: PLC0415 - takes long to load, and most commands edit nothing

    if name not in table:
        table[name] = tomlkit.table(is_super_table=True)
    return table[name]


def _table(**fields: Any) -> Any:
    import tomlkit  # noqa: PLC0415 - as above

    table = tomlkit.table()
    for name, value in fields.items():
        table.add(name, value)
    return table


def _edited(path: Path, today: date, tenant: str, edit: Callable[[Any], None]) -> None:
    first = load_policy(path).at(today).effective
    import tomlkit  # noqa: PLC0415 - as above

    document: Any = tomlkit.parse(path.read_text("utf-8"))
    touched = 0
    for version in document["version"]:
        if version["effective"] >= first and tenant in version["tenant"]:
            edit(version["tenant"][tenant])
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
