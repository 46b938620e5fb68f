"""What a person is told: the article's list field by field, and that what may not be told leaves no trace."""

import hashlib
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import pytest
from answers_data import DIGEST, NOW, PURPOSES, WORDS, about, case, day, disclosed, known, legs, parts, table
from hypothesis import given
from hypothesis import strategies as st
from policies import policy_of, version
from test_pages import shown

from calllog_guard.adapters.memory.log import MemoryRows
from calllog_guard.core.answers import person
from calllog_guard.core.answers.about import About, KeptByLaw, OpenedBy, OwnRequest
from calllog_guard.core.answers.parts import GROUP, PARTS, Part, first_of, group_of, joined, missing, split
from calllog_guard.core.answers.person import Asked, Flags, Known
from calllog_guard.core.answers.readers import LegOffsets, Opening, opened_by
from calllog_guard.core.answers.whole import whole
from calllog_guard.core.audit.accesses import Account
from calllog_guard.core.cases.notices import Filed, Sent
from calllog_guard.core.codec import Access, decode, encode
from calllog_guard.core.identifiers import b64
from calllog_guard.core.stream.offsets import pack, unpack
from calllog_guard.errors import RecordError
from calllog_guard.workers.keeper.enforcement.access_index import AccessIndex

ASKED = Asked(received_at=day(11, 20), at=NOW)
Said = Callable[[Any], Any]
ARTICLE_15: dict[str, tuple[Said, str]] = {
    "(1) confirmation whether data are processed": (lambda told: told.data, "30 calls"),
    "(1)(a) the purposes": (lambda told: [each.why for each in told.purposes], "find out where calls sound bad"),
    "(1)(a) and the basis of each": (
        lambda told: all(each.law for each in told.purposes),
        "legal obligation, Art. 6(1)(c)",
    ),
    "(1)(b) the categories of data": (lambda told: told.data, "your role, when you joined and when you left"),
    "(1)(c) the recipients to whom they were disclosed": (lambda told: told.disclosures, "Serious Fraud Office"),
    "(1)(c) who of them was told": (lambda told: told.told, "Ledger Inc., who sends our invoices"),
    "(1)(c) to whom they will be disclosed": (lambda told: told.readers, "Who may open them, under our policy"),
    "(1)(c) recipients in third countries": (lambda told: told.where.abroad, "Canada"),
    "(1)(d) the period": (lambda told: all(each.keep for each in told.purposes), "60 days"),
    "(1)(e) rectification": (lambda told: right(told, "rectification"), "have what is wrong corrected"),
    "(1)(e) erasure": (lambda told: right(told, "erasure"), "have your data erased"),
    "(1)(e) restriction": (lambda told: right(told, "restriction"), "stored and not used"),
    "(1)(e) objection": (lambda told: right(told, "objection"), "object to what is done"),
    "(1)(f) a complaint to a supervisory authority": (
        lambda told: told.complaint.authority,
        "Information Commissioner",
    ),
    "(1)(g) the source": (lambda told: told.source, "its systems reported each call"),
    "(1)(h) automated decisions": (lambda told: told.automated_decisions, "Articles 22A to 22D"),
    "(2) the safeguards of transfers": (lambda told: told.where.abroad[0].safeguard, "standard contractual clauses"),
    "13(1)(a) who the controller is": (lambda told: told.controller.name, "IO Com Ltd, 1 Example Street"),
    "13(1)(b) the data protection officer": (lambda told: told.controller.officer, "Dr Ada Byron"),
    "20 portability": (lambda told: right(told, "portability"), "take with you"),
    "7(3) withdrawal": (lambda told: right(told, "withdrawal"), "withdraw a consent"),
    "7(1) the consents on record": (lambda told: told.consents[0].wording == DIGEST, DIGEST),
    "18 the restriction in force": (lambda told: told.restrictions, "since 10 November 2026, because you asked for it"),
    "12(4) requests and the reasons of refusals": (lambda told: told.requests[1].reasons, "cannot keep calls audible"),
    "17(3)(e) copies kept for claims": (lambda told: told.kept_by_law, "legal claims, order claim-17"),
    "79 a remedy from a court": (lambda told: told.complaint.court, "remedy from a court"),
    "DPA 2018 s.164A a complaint to the controller": (lambda told: told.complaint.company, "within 30 days"),
}


def right(told: About, name: str) -> bool:
    """Whether a right is told of."""
    return any(each.right == name for each in told.rights)


@pytest.mark.parametrize("what", ARTICLE_15)
def test_the_answer_says_each_thing_that_the_article_lists(tmp_path: Path, what: str) -> None:
    """In the data that are sealed, and on the page that is a view of them."""
    field, words = ARTICLE_15[what]
    assert field(about(tmp_path))
    assert words in shown(parts(tmp_path))["index.html"].text


def test_in_the_eu_the_articles_are_those_of_the_eu(tmp_path: Path) -> None:
    text = version(more=WORDS, purposes=PURPOSES).replace('"uk"', '"eu"')
    eu = policy_of(tmp_path, text).versions[0].tenant["iocom"]
    told = person.access(person.plain(eu, "iocom", "2026-01-01"), eu, known(), ASKED)
    assert told.automated_decisions is not None
    assert "Article 22(1) and (4)" in told.automated_decisions
    assert told.regime == "eu"


def test_what_the_policy_leaves_unsaid_is_said_to_be_unsaid(tmp_path: Path) -> None:
    bare = policy_of(tmp_path, version()).versions[0].tenant["iocom"]
    told = person.access(person.plain(bare, "iocom", "2026-01-01"), bare, Known(subjects=("a",)), ASKED)
    assert told.where is not None
    assert told.where.abroad is None
    page = shown([Part(case="A" * 22, part=1, parts=1, about=told, legs=())])["index.html"].text
    for words in (
        "has not stated its name",
        "Where your data lie our policy does not say. Ask us.",
        "Whether data go to other countries our policy does not say. Ask us.",
    ):
        assert words in page


# --- what may be told -----------------------------------------------------------------------------------------------


def test_a_disclosure_that_may_not_be_told_leaves_no_trace(tmp_path: Path) -> None:
    """Byte for byte: the answer with it is the answer without it."""
    found = known()
    base, policy = person.plain(table(tmp_path), "iocom", "2026-01-01"), table(tmp_path)
    without = Known(
        subjects=found.subjects, flags=found.flags, cases=found.cases, disclosed=found.disclosed[:1], kept=found.kept
    )
    assert len(found.disclosed) == 2
    answers = [encode(person.access(base, policy, each, ASKED)) for each in (found, without)]
    assert answers[0] == answers[1]
    assert b"Secret" not in answers[0]


@pytest.mark.parametrize(
    ("notify", "noticed", "state", "told"),
    [
        ("before", True, "decided", True),
        ("before", False, "decided", True),
        ("before", False, "waiting", False),
        ("when_lifted", False, "decided", False),
        ("when_lifted", True, "decided", True),
    ],
)
def test_a_disclosure_is_told_when_the_person_was_or_was_to_be_told_before(
    tmp_path: Path, notify: Any, *, noticed: bool, state: str, told: bool
) -> None:
    stages = {"decided": day(9, 2)} if state == "decided" else {}
    notices = {"person/disclosed": Sent(sent_at=day(9, 1), act_by=day(9, 8))} if noticed else {}
    found = case(6, "disclose", "closed", day(9, 1), stages=stages, notices=notices)
    more = Known(subjects=(), disclosed=[(found, Filed(authority="Court", basis="Order 7", notify=notify))])
    policy = table(tmp_path)
    answer = person.access(person.plain(policy, "iocom", "2026-01-01"), policy, more, ASKED)
    assert bool(answer.disclosures) == told


def test_an_authority_learns_nothing_of_the_person_but_what_it_asked_for(tmp_path: Path) -> None:
    told = json.loads(encode(disclosed(tmp_path)[0].about))
    for field in (
        "requests",
        "consents",
        "objections",
        "withdrawals",
        "restrictions",
        "told",
        "disclosures",
        "readers",
    ):
        assert told[field] == [], field
    assert told["recipients"] == told["opened_by"] == told["kept_by_law"] == []


# --- purposes -------------------------------------------------------------------------------------------------------


def used(folder: Path, *flags: Flags) -> tuple[list[str], dict[str, str]]:
    """The purposes in use, and the others with the reason."""
    policy = table(folder)
    more = Known(subjects=("a",), flags=flags)
    told = person.access(person.plain(policy, "iocom", "2026-01-01"), policy, more, ASKED)
    return [each.name for each in told.purposes], {each.name: each.because for each in told.not_in_use}


def test_a_purpose_that_nobody_consented_to_is_not_told_as_one(tmp_path: Path) -> None:
    assert used(tmp_path) == (["service", "billing", "quality"], {"tips": "no_consent", "research": "no_consent"})
    assert used(tmp_path, Flags(consented=8)) == (["service", "billing", "quality", "tips"], {"research": "no_consent"})
    assert used(tmp_path, Flags(withdrawn=8, objected=4)) == (
        ["service", "billing"],
        {"quality": "objected", "tips": "withdrawn", "research": "no_consent"},
    )


def test_of_two_identifiers_a_purpose_is_in_use_if_it_is_for_either(tmp_path: Path) -> None:
    assert used(tmp_path, Flags(consented=8), Flags(objected=4))[0] == ["service", "billing", "quality", "tips"]


def test_what_the_entry_says_counts_where_no_case_is_left(tmp_path: Path) -> None:
    """Cases are forgotten after three years; an objection stands."""
    policy = table(tmp_path)
    more = Known(subjects=("a",), flags=[Flags(objected=4, withdrawn=8, restricted=True, considered=True)])
    told = person.access(person.plain(policy, "iocom", "2026-01-01"), policy, more, ASKED)
    assert [(each.purposes, each.case, each.holds) for each in told.objections] == [(("quality",), None, True)]
    assert [(each.purposes, each.at) for each in told.withdrawals] == [(("tips",), None)]
    assert [each.because for each in told.restrictions] == ["requested", "objection_considered"]


# --- parts ----------------------------------------------------------------------------------------------------------


def test_a_long_history_is_told_in_portions_and_whole_again(tmp_path: Path) -> None:
    own = OwnRequest(
        case="A" * 22, type="complain", state="closed", waits_for=None, received_at=NOW, due="2026-12-24",
        extended=False, ended_at=NOW, ticket=None,
    )  # fmt: skip
    many = tuple(msgspec.structs.replace(own, ticket=f"T-{number}") for number in range(4000))
    kept = tuple(KeptByLaw(basis="x" * 200, hold=f"h{number}") for number in range(2000))
    told = msgspec.structs.replace(about(tmp_path), requests=many, kept_by_law=kept)
    portions = split(told)
    assert len(portions) > 3
    assert max(len(encode(each)) for each in portions) < 300_000, (
        "sealed and in base64 a part stays below half a mebibyte"
    )
    assert joined(portions) == told
    assert split(about(tmp_path)) == [about(tmp_path)]


def test_whatever_order_parts_come_in_the_answer_is_the_same(tmp_path: Path) -> None:
    found = [
        *parts(tmp_path),
        Part(
            case=parts(tmp_path)[0].case,
            part=2 * GROUP + 1,
            parts=2,
            about=parts(tmp_path)[1].about,
            legs=legs(3, "+44"),
        ),
        Part(case=parts(tmp_path)[0].case, part=2 * GROUP + 2, parts=2, about=parts(tmp_path)[1].about, legs=()),
    ]
    answer = whole(found)
    for order in permutations(found):
        assert whole(order) == answer
    assert answer.legs[0].started_at >= answer.legs[-1].started_at
    assert answer.left_out == {"unreadable": 2}
    seen = {(each.actor, each.records > 0): each.records for each in answer.about.opened_by}
    assert seen["billing-1", True] == 44, "of two identifiers"


def part(number: int, of: int, *groups: int, fresh: bool = True) -> Part:
    """A part of nothing."""
    told = About(purposes=(), recipients=(), keep={}, policy="2026-01-01", at=NOW if fresh else None, groups=groups)
    return Part(case="A" * 22, part=number, parts=of, about=told, legs=())


def test_every_part_that_is_not_there_is_known_of() -> None:
    one = first_of(0)
    assert (one, group_of(one + 7), group_of(1007), group_of(3)) == (GROUP + 1, GROUP + 1, 1001, 1)
    assert missing([part(1, 1, 1, one), part(one, 1)]) == []
    assert missing([part(1, 2, 1, one)]) == [2, one]
    assert missing([part(one, 3)]) == [1, one + 1, one + 2], "a keeper's part tells that the desk writes one"
    assert missing([part(1, 2, fresh=False), part(1001, 1, fresh=False)]) == [2], "as the first release numbered them"
    assert missing([part(1001, 1, fresh=False)]) == [], "the first identifier of an earlier answer may be unknown"


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([part(1, 1), msgspec.structs.replace(part(GROUP + 1, 1), case="B" * 22)], "several_cases"),
        ([part(1, 1), part(1, 1)], "part_twice"),
        ([part(2, 1)], "bad_part"),
        ([part(-5, 1)], "bad_part"),
        ([part(1, 10**12)], "bad_part"),
        ([part(1, 2), part(2, 3)], "bad_part"),
    ],
)
def test_an_answer_that_contradicts_itself_is_refused(found: list[Part], reason: str) -> None:
    """Anybody may seal something to a public key."""
    with pytest.raises(RecordError, match=reason):
        whole(found)


@pytest.mark.parametrize(
    "change",
    [
        {"started_at": "yesterday"},
        {"ended_at": "2026-02-30T00:00:00Z"},
        {"kept_until": "2026-13-01"},
        {"until": {"a": "2026-99-99"}},
    ],
)
def test_a_leg_that_no_keeper_writes_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    first, second = parts(tmp_path, 1)
    bad = msgspec.structs.replace(second, legs=(msgspec.structs.replace(second.legs[0], **change),))
    with pytest.raises(RecordError, match="bad_leg"):
        whole([first, bad])


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "/etc/passwd", ""])
def test_a_zone_that_nobody_knows_is_refused(tmp_path: Path, zone: str) -> None:
    first, second = parts(tmp_path, 1)
    bad = msgspec.structs.replace(first, about=msgspec.structs.replace(first.about, zone=zone))
    with pytest.raises(RecordError, match="bad_about"):
        whole([bad, second])


def test_what_a_later_release_adds_is_passed_over(tmp_path: Path) -> None:
    raw = json.loads(encode(parts(tmp_path)[0]))
    raw["later"] = raw["about"]["later"] = raw["about"]["purposes"][0]["later"] = {"a": [1]}
    assert decode(PARTS, json.dumps(raw).encode()) == parts(tmp_path)[0]


# --- who has seen it ------------------------------------------------------------------------------------------------


def access(at: datetime, opened: list[int], start: int = 0, end: int = 99, *, told: bool = True, **more: Any) -> Access:
    """An access on record."""
    named: dict[str, Any] = {"actor": "billing-1", "purpose": "billing"} | more
    return Access(
        v=1, case=None, topic="calllog.legs", partition=0, from_=start, to=end, opened=len(opened), refused={}, at=at,
        which=pack(opened, start) if told else msgspec.UNSET, **named,
    )  # fmt: skip


RECORDS = {10: date(2026, 9, 1), 20: date(2026, 10, 1), 70: date(2026, 11, 1)}


def told(*accesses: Access, records: dict[int, date] | None = None) -> list[Opening]:
    """As an index finds them that was made of these."""
    index = AccessIndex(MemoryRows, "these", day(11, 24))
    for offset, each in enumerate(accesses):
        index.add(0, offset, Account(each, proven=False))
    index.commit(0, len(accesses))
    return list(index.openings(records or RECORDS))


def seen(*accesses: Access) -> list[tuple[str, str, int, int]]:
    """Who is told to have seen these records: how many of them, on how many days."""
    return [
        (each.actor, each.purpose, each.records, each.days) for each in opened_by(told(*accesses), LegOffsets(RECORDS))
    ]


def test_who_opened_a_persons_own_records_is_known_exactly() -> None:
    assert seen(access(day(11, 2), [10, 11, 70])) == [("billing-1", "billing", 2, 1)]
    assert seen(access(day(11, 2), [10]), access(day(11, 3), [10, 20]), access(day(11, 3, 12), [20])) == [
        ("billing-1", "billing", 2, 2)
    ]


def test_who_opened_others_records_alone_is_not_told_as_having_seen_ones_own() -> None:
    assert seen(access(day(11, 2), [11, 12, 69])) == []
    assert seen(access(day(11, 2), [])) == []
    (line,) = opened_by(told(access(day(11, 2), [10], actor="support-1", purpose="service")), LegOffsets(RECORDS))
    assert line == OpenedBy(actor="support-1", purpose="service", first=day(11, 2), last=day(11, 2), days=1, records=1)


def test_where_it_is_not_on_record_whose_were_opened_that_is_what_is_told() -> None:
    """As in accesses of earlier releases, or where what is said is garbage."""
    assert seen(access(day(11, 2), [11], told=False)) == [("billing-1", "billing", 0, 1)]
    garbage = msgspec.structs.replace(access(day(11, 2), [11]), which="AAAA")
    assert seen(garbage) == [("billing-1", "billing", 0, 1)]
    both = seen(access(day(11, 2), [10]), access(day(11, 3), [11], told=False))
    assert both == [("billing-1", "billing", 1, 1), ("billing-1", "billing", 0, 1)]


def test_a_record_written_anew_since_may_have_been_seen_before() -> None:
    """A correction, a repeated event: the record that was opened is not there any more, its call is."""
    before = access(day(10, 20), [11, 12], end=60)
    assert seen(before) == [], "the only later record is of a later call"
    corrected = {**RECORDS, 80: date(2026, 8, 1)}
    (line,) = opened_by(told(before, records=corrected), LegOffsets(corrected))
    assert line.records == 0
    assert opened_by(told(access(day(8, 2), [11], end=60), records=corrected), LegOffsets(corrected)) == [], (
        "its event may have come a day late"
    )


@given(st.sets(st.integers(min_value=0, max_value=1 << 50), max_size=200), st.integers(min_value=0, max_value=1000))
def test_offsets_survive_packing(offsets: set[int], start: int) -> None:
    wanted = sorted(offset for offset in offsets if offset >= start)
    assert unpack(pack(wanted, start), start) == wanted


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.hex()))
def test_garbage_in_place_of_offsets_raises_only_our_error(text: str) -> None:
    with suppress(RecordError):
        unpack(text, 0)


def test_offsets_that_were_packed_once_are_read_for_ever() -> None:
    """Another library may pack the same to other bytes."""
    assert unpack("eNpjfMLIyyT2oYERAAu6An0", 100) == [101, 329, 342, 344, 366, 16862]


def test_offsets_are_short_and_a_bomb_is_refused() -> None:
    assert len(pack(range(5000), 0)) < 80, "all of a batch"
    scattered = [number for number in range(10_000) if hashlib.sha256(str(number).encode()).digest()[0] & 1]
    assert len(pack(scattered, 0)) < 2700, "half of two batches, at random"
    with pytest.raises(RecordError, match="bad_offsets"):
        unpack(b64(zlib.compress(b"\x01" * 10_000_000)).decode(), 0)
