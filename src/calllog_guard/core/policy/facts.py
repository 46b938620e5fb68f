"""
What answers to persons need of the policy beyond what the workers enforce, and what a version leaves unsaid.

Rules: 1. Nothing is refused for want of it: an answer then says that it is unsaid.  2. What `init` wrote as an example
          counts as unsaid.
Source: docs/how-to/write-the-policy.md; GDPR Art. 13(1), 15(1) and (2), 30(1).
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from calllog_guard.core.policy.form import TenantPolicy

EXAMPLE: Final = "EXAMPLE"
"""Begins what `init` writes to be replaced."""
NONE: Final = "none"
"""In `data_protection_officer`: deliberately nobody, because Art. 37 asks for none."""


def said(text: str | msgspec.UnsetType | None) -> str | None:
    """What a version says in words; None where it says nothing."""
    return None if text is None or text is msgspec.UNSET or text.startswith(EXAMPLE) else text


def lacking(table: TenantPolicy) -> Iterator[str]:
    """A line for each fact that an answer would lack: the field, and what cannot be said without it."""
    plain = {
        "controller": (table.controller, "answers, notices and certificates cannot name who answers for the data"),
        "contact": (table.contact, "people are not told where to write to use their rights"),
        "data_protection_officer": (
            table.data_protection_officer,
            f'write "{NONE}" if none has to be designated (Art. 37)',
        ),
        "stored_in": (table.stored_in, "people are not told in which country their data lie"),
    }
    for field, (value, why) in plain.items():
        if said(value) is None:
            yield f"{field}: {why}"
    if table.regime == "eu" and table.supervisory_authority is None:
        yield "supervisory_authority: people are referred to a list of all authorities instead of to yours"
    if table.transfers is msgspec.UNSET:
        yield (
            "transfers: write [] if no data go outside the countries of your law, or to whom, where and under which "
            "safeguard"
        )
    if untold := [kind for kind in ("lifting", "disclosed") if not table.tells(kind)]:
        yield (
            f"person_notices.told: without {' and '.join(untold)} what the person must be told before is refused "
            "(nobody_to_tell)"
        )
    yield from _unnamed(table)


def _unnamed(table: TenantPolicy) -> Iterator[str]:
    for name, purpose in table.purposes.items():
        if said(purpose.why) is None:
            yield f"purposes.{name}.why: people read the purpose's name instead of what it is for"
    yield from _nameless(table)


def _nameless(table: TenantPolicy) -> Iterator[str]:
    for name, recipient in table.recipients.items():
        if recipient.actors is msgspec.UNSET:
            yield (
                f"recipients.{name}.actors: it is told of everybody whose records anybody has opened; write who reads "
                "for it, or []"
            )
    for family in ("actors", "recipients"):
        for name, each in getattr(table, family).items():
            if said(each.title) is None:
                yield f"{family}.{name}.title: people read the key's name instead of who that is"
