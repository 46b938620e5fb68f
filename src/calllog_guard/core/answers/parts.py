"""
An answer as sent: what is told beside the records, and the records, in parts of bounded size, each sealed to the asker.

In: opened legs as stored, what is told of them.  Out: the parts' plaintexts, JSON; what a reader makes of them.
Rules: 1. No other party is in it, because none is in a leg.  2. The first group of parts is the desk's: what is told.
          Those of one identifier start at `(index + 1) * 1,000,000 + 1` (up to release 0.1 at `index * 1000 + 1`);
          `parts` is how many the group has.  3. The same legs give the same parts.
Source: docs/reference/messages.md; GDPR Art. 15, 20.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from calllog_guard.core.answers.about import About
from calllog_guard.core.codec import Day, Id, Internal, Utc, encode
from calllog_guard.core.decisions.standing_rules import Span
from calllog_guard.core.requests.fields import ReplyKey

LEGS_PER_PART: Final = 500
"""Below 512 KiB sealed, so that a part fits a record of every broker's default size."""
GROUP: Final = 1_000_000
"""So far apart are the groups' first numbers: nobody has that many parts."""
_FORMER_GROUP: Final = 1000
"""The same up to release 0.1."""


class Task(Internal, frozen=True, kw_only=True):
    """
    What an export's decision seals: for whom, which days, where its parts begin, the holds whose copies belong to it.

    Args:
        law: Copies that law keeps belong to it, too.
        secret: Its parts go where no backend reads.
        look: Only how many records it would give is told, and nothing is given.

    """

    v: Literal[1] = 1
    key: ReplyKey
    range: Span | None = None
    first: int = 1
    holds: tuple[Id, ...] = ()
    law: bool | msgspec.UnsetType = msgspec.UNSET
    secret: bool | msgspec.UnsetType = msgspec.UNSET
    look: bool | msgspec.UnsetType = msgspec.UNSET


class Amend(Internal, frozen=True, kw_only=True):
    """What the correction of a copy seals: call, session and the corrected facts; None leaves a fact as it is."""

    v: Literal[1] = 1
    call: str
    role: str | None = None
    joined_at: Utc | None = None
    left_at: Utc | None = None
    session: str | msgspec.UnsetType = msgspec.UNSET


AMENDS: Final = msgspec.json.Decoder(Amend)
TASKS: Final = msgspec.json.Decoder(Task)


class ExportedLeg(Internal, frozen=True, kw_only=True):
    """
    One leg as it is stored, with its purposes and the first day on which none of them reaches back to it.

    Args:
        until: The same day for each purpose by itself.
        session: The platform's name of one connection, where the person had several in the call.
        estimated: The platform did not tell when they joined or left.

    """

    call: str
    role: str
    joined_at: str | None
    left_at: str | None
    kind: str
    outcome: str
    started_at: str
    ended_at: str | None
    parties: int
    subject: str
    purposes: tuple[str, ...]
    kept_until: Day
    until: dict[str, Day] = msgspec.field(default_factory=dict)
    session: str | msgspec.UnsetType = msgspec.UNSET
    estimated: Literal[True] | msgspec.UnsetType = msgspec.UNSET


class DisclosureTerms(Internal, frozen=True, kw_only=True):
    """
    What an authority is told beside the records: who asked, under which law, who decided, and the scope.

    Args:
        approvals: The officers who decided, by the names of their keys.
        notify: Whether the person is told before, or once the authority's restriction ends; `told_at` when they were.

    """

    authority: str
    basis: str
    asked_by: str
    approvals: tuple[str, ...]
    asked_at: Utc
    decided_at: Utc | None
    range: Span | None
    notify: str
    told_at: Utc | None


class Part(Internal, frozen=True, kw_only=True):
    """
    The plaintext of one part.

    Args:
        left_out: Records of the scope that are not in this group of parts, by the reason why.

    """

    v: Literal[1] = 1
    case: Id
    part: int
    parts: int
    about: About
    legs: tuple[ExportedLeg, ...]
    left_out: dict[str, int] = msgspec.field(default_factory=dict)
    disclosure: DisclosureTerms | None = None


PARTS: Final = msgspec.json.Decoder(Part)


_LISTS: Final = (
    "told", "disclosures", "objections", "withdrawals", "consents", "requests", "kept_by_law", "opened_by",
)  # fmt: skip
"""What grows with a person's history."""
_ABOUT_BYTES: Final = 262_144
"""Of what is told in one part: sealed it stays below 512 KiB."""


def split(about: About) -> list[About]:
    """What is told, in portions that fit a part each; the first says everything that does not grow."""
    bare = msgspec.structs.replace(about, **dict.fromkeys(_LISTS, ()))
    portions: list[dict[str, list[Internal]]] = [{}]
    left = _ABOUT_BYTES
    for name in _LISTS:
        for item in getattr(about, name):
            size = len(encode(item)) + 1
            if size > left and portions[-1]:
                portions.append({})
                left = _ABOUT_BYTES
            left -= size
            portions[-1].setdefault(name, []).append(item)
    return [msgspec.structs.replace(bare, **{name: tuple(some) for name, some in each.items()}) for each in portions]


def joined(abouts: Sequence[About]) -> About:
    """The same as a whole again."""
    lists = {name: tuple(item for about in abouts for item in getattr(about, name)) for name in _LISTS}
    return msgspec.structs.replace(abouts[0], **lists)


def first_of(index: int) -> int:
    """The number of the first part of an identifier, by its place in the request."""
    return (index + 1) * GROUP + 1


def group_of(number: int) -> int:
    """The number of the first part of the group that a part belongs to."""
    size = _FORMER_GROUP if number <= GROUP else GROUP
    return (number - 1) // size * size + 1


def missing(parts: Sequence[Part]) -> list[int]:
    """The numbers of parts that are not there; of a group of which there is none the first."""
    found = {part.part for part in parts}
    counts = {group_of(part.part): part.parts for part in parts}
    told = {group for part in parts for group in part.about.groups}
    told |= {1 for part in parts if part.about.at is not None}  # who writes the time writes the desk's group, too
    wanted = dict.fromkeys(told, 1) | counts
    return [
        number for group, many in sorted(wanted.items()) for number in range(group, group + many) if number not in found
    ]
