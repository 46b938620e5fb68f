"""
The tables and the diagram that pages of docs/ show between their markers; printed, they are pasted there.

`tests/unit/core/rights/test_grants.py` and `tests/unit/project/test_readme.py` compare.
"""

from calllog_guard.core.cases.case_states import ANNOUNCED, FINAL, NEW, ROWS, WAITING, Position
from calllog_guard.core.rights.grants import CLUSTER, DOMAINS, ENTRIES, GROUPS, KEYSTORE_USERS, SECRETS, USERS, rights


def cell(text: str) -> str:
    """Text that may stand in a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


def rights_table() -> str:
    """Who has which rights to topics, groups and the cluster."""
    head = ["topic", *USERS]
    rows = [[f"`{name}`", *users.values()] for name, users in rights().items()]
    rows += [[f"group `calllog.{name}`", *(users.get(user, "") for user in USERS)] for name, users in GROUPS.items()]
    rows.append(["cluster", *(CLUSTER.get(user, "") for user in USERS)])
    return _table(head, rows)


def entries_table() -> str:
    """Who has which rights to the keystore's entries."""
    head = ["entry", *KEYSTORE_USERS]
    rows = [[f"`{name}`", *(users.get(user, "") for user in KEYSTORE_USERS)] for name, users in ENTRIES.items()]
    return _table(head, rows)


def secrets_table() -> str:
    """Which domain opens what beside the KMS."""
    head = ["secret", *DOMAINS]
    rows = [[f"`{name}`", *("U" if each in domains else "" for each in DOMAINS)] for name, domains in SECRETS.items()]
    return _table(head, rows)


def _name(position: Position) -> str:
    return "[*]" if position == NEW else "_".join(part for part in position if part)


def diagram() -> str:
    """The life of a case as a Mermaid state diagram; an arrow carries every event that leads the same way."""
    arrows: dict[tuple[Position, Position], list[str]] = {}
    for (start, event), end in ROWS.items():
        arrows.setdefault((start, end), []).append(event)
    lines = ["stateDiagram-v2"]
    lines += [f"    {_name(each)}: waiting for {str(each[1]).replace('_', ' ')}" for each in (*WAITING, *ANNOUNCED)]
    lines += [f"    {_name(start)} --> {_name(end)}: {', '.join(events)}" for (start, end), events in arrows.items()]
    lines += [f"    {_name(each)} --> [*]" for each in FINAL]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(rights_table(), entries_table(), secrets_table(), diagram(), sep="\n", end="")  # noqa: T201 - to be pasted
