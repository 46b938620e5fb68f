"""
The life of a case, as one table: where each event leads from each state, and nowhere else.

Rules: 1. After all that a case waited for, an officer has it: code may `grant`, where the table allows, never refuse
          (GDPR Art. 22). So no proof, fee or clarification leads around an officer.
       2. Only an officer's `refuse` leads to refused. Closed and refused are final.
       3. What was granted is not taken back: enforcing leads to waiting only where nobody, or nothing, was found to
          do it to, and while the person is told beforehand (`notice`). What a request of nothing comes to is for an
          officer to say; code would call it done. What has only been announced an officer may still refuse.
       4. A case that waits for an identity has asked nobody for it. Who asks the person (backend or officer) says so by
          `ask_identity`, as of its moment; no clock stops before (UK GDPR Art. 12A(2)(b): information *requested*).
`tools/doc_tables.py` draws it. Not here: deadlines (`deadlines.py`), which fields a
type needs (`core/requests/request.py`), what enforcing means (the workers).
Source: docs/explanation/cases.md, docs/reference/messages.md.
"""

from typing import Final, Literal, get_args

from calllog_guard.core.cases.case import State, WaitsFor
from calllog_guard.core.requests.fields import ClockEvent
from calllog_guard.core.requests.types import TYPES, Kind, Requester, RequestType
from calllog_guard.errors import CaseStateError, RequestRefusedError

Event = Literal[
    "opened", "unverified", "brake", "review", "second",
    "ask_identity", "verify", "ask_clarification", "clarify", "ask_fee", "fee",
    "grant", "approve", "approve_first", "refuse", "extend", "unfound", "announce", "told", "enforced", "answered",
    "observed",
]  # fmt: skip
Position = tuple[State | None, WaitsFor | None]
"""State and what it waits for; `NEW` before a case is opened."""

NEW: Final[Position] = (None, None)
_IDENTITY: Final[Position] = ("waiting", "identity")
_CLARIFICATION: Final[Position] = ("waiting", "clarification")
_FEE: Final[Position] = ("waiting", "fee")
_OFFICER: Final[Position] = ("waiting", "officer")
_SECOND: Final[Position] = ("waiting", "second_officer")
_NOTICE: Final[Position] = ("waiting", "notice")
_ENFORCING: Final[Position] = ("enforcing", None)
_OBSERVING: Final[Position] = ("observing", None)
_CLOSED: Final[Position] = ("closed", None)
_REFUSED: Final[Position] = ("refused", None)
WAITING: Final = (_IDENTITY, _CLARIFICATION, _FEE, _OFFICER, _SECOND)
ANNOUNCED: Final = (_NOTICE,)
"""Granted, and not done before the person has been told."""
FINAL: Final = (_CLOSED, _REFUSED)

_ROWS: Final[tuple[tuple[Position, Event, Position], ...]] = (
    (NEW, "opened", _ENFORCING),
    (NEW, "unverified", _IDENTITY),
    (NEW, "brake", _OFFICER),
    (NEW, "review", _OFFICER),
    (NEW, "second", _SECOND),
    (_IDENTITY, "verify", _OFFICER),
    (_CLARIFICATION, "clarify", _OFFICER),
    (_FEE, "fee", _OFFICER),
    # asked for more than one thing, a person may answer in any order: what comes early counts, and the case waits on
    *((each, "verify", each) for each in WAITING if each != _IDENTITY),
    *((each, "clarify", each) for each in WAITING if each != _CLARIFICATION),
    *((each, "fee", each) for each in WAITING if each != _FEE),
    *((each, "ask_identity", _IDENTITY) for each in WAITING),
    *((each, "ask_clarification", _CLARIFICATION) for each in WAITING),
    *((each, "ask_fee", _FEE) for each in WAITING),
    *((each, "refuse", _REFUSED) for each in (*WAITING, _NOTICE)),
    *((each, "extend", each) for each in (*WAITING, _ENFORCING, _NOTICE)),
    (_OFFICER, "grant", _ENFORCING),
    (_OFFICER, "approve", _ENFORCING),
    (_OFFICER, "approve_first", _SECOND),
    (_SECOND, "approve", _ENFORCING),
    (_ENFORCING, "unfound", _OFFICER),
    (_ENFORCING, "announce", _NOTICE),
    (_NOTICE, "told", _ENFORCING),
    (_ENFORCING, "enforced", _OBSERVING),
    (_ENFORCING, "answered", _CLOSED),
    (_OBSERVING, "observed", _CLOSED),
)
ROWS: Final[dict[tuple[Position, Event], Position]] = {(start, event): end for start, event, end in _ROWS}


def after(state: State | None, waits_for: WaitsFor | None, event: Event) -> Position:
    """
    Where an event leads; state None is a case not yet opened.

    Raises:
        CaseStateError: `wrong_state`; what asked for it becomes a dead letter, the case stays as it is.

    """
    found = ROWS.get(((state, waits_for), event))
    if found is None:
        raise CaseStateError("wrong_state")
    return found


OFFICERS_CLOCK: Final[frozenset[ClockEvent]] = frozenset({"ask_fee", "extend", "tell", "not_yet"})
"""An officer judges whether a request is excessive (Art. 12(5)) or complex (12(3)), or a person may be told by now."""
BESIDE: Final[frozenset[ClockEvent]] = frozenset({"noticed", "tell", "not_yet"})
"""What concerns a case's notices: possible in every state, closed ones too, and moves none."""

_ASKED: Final[dict[WaitsFor, Event]] = {
    "identity": "ask_identity",
    "clarification": "ask_clarification",
    "fee": "ask_fee",
}


def rights(role: Requester, kind: Kind, event: ClockEvent | None = None) -> bool:
    """Whether a requester of this role may ask for it; `event` is that of a `clock` request."""
    return role in TYPES[kind].roles and (event not in OFFICERS_CLOCK or role == "officer")


def check_rights(role: Requester, kind: Kind, event: ClockEvent | None = None) -> None:
    """
    As `rights`.

    Raises:
        RequestRefusedError: `wrong_role`; dead-lettered, never acted on.

    """
    if not rights(role, kind, event):
        raise RequestRefusedError("wrong_role", "/type")


def opening(kind: Kind, role: Requester, *, verified: bool, braked: bool, review: bool) -> Event:
    """
    The event that opens a case.

    Args:
        braked: The brake of this type is engaged.
        review: Of an objection: one of its purposes says `on_objection = "review"`.

    """
    rule = TYPES[kind]
    if rule.identity and not verified:
        return "unverified"
    if braked and rule.brake:
        return "brake"
    if rule.officer == "two":
        return "second" if role == "officer" else "review"
    return "review" if _needs_officer(rule, review=review) else "opened"


def onward(
    kind: Kind, *, awaited: frozenset[WaitsFor], braked: bool, review: bool, officer_asked: bool
) -> Event | None:
    """
    What follows when a case that waits for an officer has just got what it waited for; None: an officer decides.

    Args:
        awaited: What was asked for and has not come.
        braked: As for `opening`.
        review: As for `opening`.
        officer_asked: An officer has had the case (asked something, or it waited for one): it goes back to officers.

    """
    for need, event in _ASKED.items():
        if need in awaited:
            return event
    rule = TYPES[kind]
    held = officer_asked or (braked and rule.brake) or rule.officer == "two" or _needs_officer(rule, review=review)
    return None if held else "grant"


def _needs_officer(rule: RequestType, *, review: bool) -> bool:
    return rule.officer == "always" or (rule.officer == "by_purpose" and review)


def approval(
    kind: Kind, waits_for: WaitsFor | None, by: str, *, asked_by: str, approvals: tuple[str, ...]
) -> tuple[Event, tuple[str, ...]]:
    """
    The event that an officer's `approve` is, and who has approved then.

    Args:
        by: The officer, by the name of the key.
        asked_by: Who sent the request; counts as the first officer where the case opened for a second.
        approvals: Who has approved so far; a case that goes back to its first officer begins anew.

    Raises:
        CaseStateError: `wrong_state`, or `same_officer` where two must be different.

    """
    if waits_for == "officer":
        return ("approve_first" if TYPES[kind].officer == "two" else "approve"), (by,)
    if waits_for != "second_officer":
        raise CaseStateError("wrong_state")
    first = approvals or (asked_by,)
    if by in first:
        raise CaseStateError("same_officer")
    return "approve", (*first, by)


EVENTS: Final = get_args(Event)
