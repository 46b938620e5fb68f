"""The life of a case: every row of the table, and what no sequence of events can do."""

from typing import Any, get_args

import pytest
from doc_tables import diagram
from hypothesis import given
from hypothesis import strategies as st

from calllog_guard.core.cases.case import State, WaitsFor
from calllog_guard.core.cases.case_states import (
    ANNOUNCED,
    BESIDE,
    EVENTS,
    FINAL,
    NEW,
    ROWS,
    WAITING,
    Event,
    Position,
    after,
    approval,
    check_rights,
    onward,
    opening,
    rights,
)
from calllog_guard.core.requests.fields import ClockEvent
from calllog_guard.core.requests.types import TYPES, Kind, Requester
from calllog_guard.errors import CaseStateError, Fate, RequestRefusedError

POSITIONS: tuple[Position, ...] = (NEW, *WAITING, *ANNOUNCED, ("enforcing", None), ("observing", None), *FINAL)
KINDS: tuple[Kind, ...] = get_args(Kind)
CASES = tuple(kind for kind in KINDS if TYPES[kind].ends)
ROLES: tuple[Requester, ...] = get_args(Requester)

# Every way through, as a person would draw it; written apart from the table's own shorthand.
WAYS = """
new opened enforcing | new unverified identity | new brake officer | new review officer | new second second_officer
identity verify officer | identity clarify identity | identity fee identity
clarification clarify officer | clarification verify clarification | clarification fee clarification
fee fee officer | fee verify fee | fee clarify fee
officer verify officer | officer clarify officer | officer fee officer
second_officer verify second_officer | second_officer clarify second_officer | second_officer fee second_officer
identity ask_identity identity | identity ask_clarification clarification | identity ask_fee fee
clarification ask_identity identity | clarification ask_clarification clarification | clarification ask_fee fee
fee ask_identity identity | fee ask_clarification clarification | fee ask_fee fee
officer ask_identity identity | officer ask_clarification clarification | officer ask_fee fee
second_officer ask_identity identity | second_officer ask_clarification clarification | second_officer ask_fee fee
identity refuse refused | clarification refuse refused | fee refuse refused | officer refuse refused
second_officer refuse refused
identity extend identity | clarification extend clarification | fee extend fee | officer extend officer
second_officer extend second_officer | enforcing extend enforcing | notice extend notice
enforcing announce notice | notice told enforcing | notice refuse refused
officer grant enforcing | officer approve enforcing | officer approve_first second_officer
second_officer approve enforcing
enforcing unfound officer | enforcing enforced observing | enforcing answered closed | observing observed closed
"""
ROWS_BY_HAND = [way.split() for way in WAYS.replace("\n", "|").split("|") if way.strip()]


def place(word: str) -> Position:
    """A position by its one word."""
    words: dict[str, Position] = {str(each[1] or each[0] or "new"): each for each in POSITIONS}
    return words[word]


@pytest.mark.parametrize("way", ROWS_BY_HAND, ids=" ".join)
def test_a_row_leads_where_it_says(way: list[str]) -> None:
    start, event, end = way
    known: Any = event
    assert after(*place(start), known) == place(end)


def test_the_table_has_these_rows_and_no_other() -> None:
    assert {(place(start), event): place(end) for start, event, end in ROWS_BY_HAND} == ROWS
    assert {event for _, event in ROWS} == set(EVENTS)
    assert set(ROWS.values()) | {NEW} == set(POSITIONS)


def test_every_position_is_one_of_the_interface() -> None:
    assert {state for state, _ in POSITIONS if state} == set(get_args(State))
    assert {waits for _, waits in POSITIONS if waits} == set(get_args(WaitsFor))


@pytest.mark.parametrize("position", POSITIONS, ids=str)
def test_what_is_not_in_the_table_is_refused_as_a_dead_letter(position: Position) -> None:
    for event in EVENTS:
        if (position, event) not in ROWS:
            with pytest.raises(CaseStateError, match="wrong_state") as caught:
                after(*position, event)
            assert caught.value.fate is Fate.DEAD_LETTER


@given(st.lists(st.sampled_from(EVENTS), max_size=40))
def test_no_sequence_of_events_leaves_the_table_or_a_final_state(events: list[Event]) -> None:
    position, final = NEW, False
    for event in events:
        try:
            position = after(*position, event)
        except CaseStateError:
            continue
        assert not final
        assert position in POSITIONS
        final = position in FINAL
        assert (position == ("refused", None)) == (event == "refuse")


def reached(start: Position, without: frozenset[str] = frozenset()) -> set[Position]:
    """Every position that can be reached."""
    found, todo = {start}, [start]
    while todo:
        here = todo.pop()
        new = {end for (begin, event), end in ROWS.items() if begin == here and event not in without} - found
        found |= new
        todo += new
    return found


@pytest.mark.parametrize("position", POSITIONS, ids=str)
def test_from_everywhere_a_lawful_end_is_reached(position: Position) -> None:
    assert ("closed", None) in reached(position) or position == ("refused", None)


def test_without_an_officer_nothing_is_refused_and_what_waits_is_granted_by_code_alone() -> None:
    """GDPR Art. 22: granting by code is safe, refusing by code is not."""
    officers = frozenset({"approve", "approve_first", "refuse"})
    assert ("refused", None) not in reached(NEW, officers)
    for position in WAITING:
        assert ("enforcing", None) not in reached(position, officers | {"grant"})


def test_what_was_granted_waits_again_only_until_the_person_is_told_or_where_nothing_was_found() -> None:
    assert not reached(("enforcing", None), frozenset({"unfound", "announce"})) & {*WAITING, ("refused", None)}
    assert reached(("enforcing", None), frozenset({"unfound", "refuse"})) & {*WAITING, *ANNOUNCED} == {*ANNOUNCED}
    unfound = {"rectify", "restrict", "lift", "object", "withdraw", "disclose", "same_as"}
    assert {kind for kind in KINDS if TYPES[kind].unfound} == unfound


# --- the types ------------------------------------------------------------------------------------------------------

MAY: dict[Requester, set[Kind]] = {
    "backend": {"erase", "access", "portability", "rectify", "restrict", "lift", "object", "withdraw", "consent", "complain", "clock", "same_as", "not_same_as"},
    "officer": set(KINDS),
    "authority_desk": {"disclose"},
}  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_ask_for_its_types_and_no_other(role: Requester) -> None:
    assert {kind for kind in KINDS if rights(role, kind)} == MAY[role]
    for kind in set(KINDS) - MAY[role]:
        with pytest.raises(RequestRefusedError, match="wrong_role"):
            check_rights(role, kind)


def test_a_fee_and_an_extension_are_an_officers_judgement() -> None:
    events: tuple[ClockEvent, ...] = get_args(ClockEvent)
    assert {event for event in events if not rights("backend", "clock", event)} == {
        "ask_fee",
        "extend",
        "tell",
        "not_yet",
    }
    assert all(rights("officer", "clock", event) for event in events)
    assert not any(rights("authority_desk", "clock", event) for event in events)


def test_every_clock_event_is_one_of_the_machine() -> None:
    """But for those that concern its notices: they move no state, so that a closed case can be acknowledged."""
    assert set(get_args(ClockEvent)) - BESIDE <= set(EVENTS)
    assert not BESIDE & set(EVENTS)


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("role", ROLES)
def test_a_case_opens_into_what_it_lacks(kind: Kind, role: Requester) -> None:
    rule = TYPES[kind]

    def opens(*, verified: bool = True, braked: bool = False, review: bool = False) -> Position:
        return after(*NEW, opening(kind, role, verified=verified, braked=braked, review=review))

    assert opens(verified=False) == (("waiting", "identity") if rule.identity else opens())
    assert opens(braked=True) == (("waiting", "officer") if rule.brake else opens())
    human = rule.officer == "always" or (rule.officer == "two" and role != "officer")
    second = rule.officer == "two" and role == "officer"
    plain = ("waiting", "second_officer") if second else ("waiting", "officer") if human else ("enforcing", None)
    assert opens() == plain
    assert opens(review=True) == (("waiting", "officer") if kind == "object" else plain)


def test_brakes_hold_for_what_opens_falsifies_or_destroys() -> None:
    opens, falsifies = {"access", "portability", "disclose"}, {"rectify", "restrict", "withdraw", "object", "same_as"}
    assert {kind for kind in KINDS if TYPES[kind].brake} == {"erase", *opens, *falsifies}


def test_removal_is_observed_and_all_else_is_answered() -> None:
    assert {kind for kind in KINDS if TYPES[kind].ends == "enforced"} == {"erase", "rectify"}
    assert {kind for kind in KINDS if TYPES[kind].ends is None} == {"approve", "refuse", "clock"}


AWAITED = st.frozensets(st.sampled_from(["identity", "clarification", "fee"]))


CIRCUMSTANCES = st.fixed_dictionaries(dict.fromkeys(("braked", "review"), st.booleans()))


@given(st.sampled_from(CASES), AWAITED, CIRCUMSTANCES, st.booleans())
def test_code_grants_only_what_needs_no_human_and_lacks_nothing(
    kind: Kind,
    awaited: Any,
    now: dict[str, bool],
    officer_asked: bool,  # noqa: FBT001 - drawn
) -> None:
    event = onward(kind, awaited=awaited, officer_asked=officer_asked, **now)
    if event is None:
        assert not awaited
        return
    end = after("waiting", "officer", event)
    assert end[1] in awaited or (not awaited and end == ("enforcing", None))
    if event == "grant":
        assert not officer_asked
        assert opening(kind, "backend", verified=True, **now) == "opened"


def test_a_disclosure_needs_two_officers_who_are_different() -> None:
    def approve(waits_for: WaitsFor | None, by: str, asked_by: str, approvals: tuple[str, ...]) -> Any:
        return approval("disclose", waits_for, by, asked_by=asked_by, approvals=approvals)

    first, approvals = approve("officer", "officer-1", "authority-1", ())
    assert (first, approvals) == ("approve_first", ("officer-1",))
    with pytest.raises(CaseStateError, match="same_officer"):
        approve("second_officer", "officer-1", "authority-1", approvals)
    assert approve("second_officer", "officer-2", "authority-1", approvals) == ("approve", ("officer-1", "officer-2"))


def test_an_officer_who_asks_for_a_disclosure_is_the_first_of_the_two() -> None:
    opened = after(*NEW, opening("disclose", "officer", verified=False, braked=False, review=False))
    assert opened == ("waiting", "second_officer")
    with pytest.raises(CaseStateError, match="same_officer"):
        approval("disclose", opened[1], "officer-1", asked_by="officer-1", approvals=())
    assert approval("disclose", opened[1], "officer-2", asked_by="officer-1", approvals=())[0] == "approve"


def test_one_officer_approves_any_other_type_and_nobody_what_does_not_wait_for_one() -> None:
    assert approval("erase", "officer", "officer-1", asked_by="backend-1", approvals=()) == ("approve", ("officer-1",))
    for waits_for in (None, "identity", "clarification", "fee"):
        known: Any = waits_for
        with pytest.raises(CaseStateError, match="wrong_state"):
            approval("erase", known, "officer-1", asked_by="backend-1", approvals=())


def test_the_diagram_shows_every_row() -> None:
    text = diagram()
    assert text.startswith("stateDiagram-v2\n")
    arrows = [line.partition(": ") for line in text.splitlines() if "-->" in line]
    drawn = {(ends.strip(), event) for ends, _, events in arrows for event in events.split(", ") if events}
    name = {each: "[*]" if each == NEW else "_".join(part for part in each if part) for each in POSITIONS}
    assert drawn == {(f"{name[start]} --> {name[end]}", event) for (start, event), end in ROWS.items()}
