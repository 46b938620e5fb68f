"""Pages: each for its reader, whole, inert and readable; colours that can be read; hostile values that stay values."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest
from answers_data import CASE, DIGEST, NOW, disclosed, legs, parts
from html_check import Page, checked
from hypothesis import given
from hypothesis import strategies as st
from test_receipt import CHECKED, RECEIPT

from calllog_guard.core.answers.parts import PARTS, Part
from calllog_guard.core.answers.person import REFERRED
from calllog_guard.core.answers.whole import Sealed, whole
from calllog_guard.core.cases.receipt import CERTIFIED
from calllog_guard.core.codec import decode
from calllog_guard.reports.answer import Evidence, authority_pages, person_pages
from calllog_guard.reports.calls import PAGE, table
from calllog_guard.reports.certificate import certificate
from calllog_guard.reports.words import (
    listing,
    many,
    moment_words,
    period_words,
    span_words,
)

EVIDENCE = Evidence(
    parts=[Sealed(file="part-1.jwe", hexadecimal="ab" * 32, digest="q" * 43)],
    files={"export.json": "12" * 32},
    signed_at=NOW,
    key="K" * 43,
    key_name="iocom-receipts.pub.pem",
)
Pages = Callable[..., Iterator[tuple[str, Iterator[str]]]]


def shown(found: list[Part], pages: Pages = person_pages, evidence: Evidence = EVIDENCE) -> dict[str, Page]:
    """The pages of an answer, each checked."""
    texts = {name: "".join(pieces) for name, pieces in pages(whole(found), evidence)}
    return {name: checked(text, frozenset(texts)) for name, text in texts.items()}


@pytest.fixture
def person(tmp_path: Path) -> Page:
    """What a person gets."""
    return shown(parts(tmp_path))["index.html"]


@pytest.mark.parametrize("of", ["person", "authority"])
def test_what_a_reference_is_is_said_where_records_have_one(tmp_path: Path, of: str) -> None:
    """Of a tenant of the first level they name the call by its id."""
    found, pages = (parts(tmp_path), person_pages) if of == "person" else (disclosed(tmp_path), authority_pages)
    about = msgspec.structs.replace(found[-1].about, calls="reference")
    told_now = msgspec.structs.replace(found[0].about, calls="reference", data=REFERRED)
    now = [msgspec.structs.replace(each, about=said) for each, said in zip(found, (told_now, about), strict=True)]
    texts = [shown(each, pages)["index.html"].text for each in (found, now)]
    assert ["that identifier may name" in text for text in texts] == [False, True]
    assert ["its identifier, kind" in text for text in texts] == [True, of == "person"]
    assert "a reference" in texts[1]


def test_a_person_reads_it_in_words(person: Page) -> None:
    """No code of ours, no raw time, no period as programs write it."""
    text = person.text
    assert not re.search(
        r"\bP\d+[DMY]|\d{4}-\d{2}-\d{2}|\d{2}:\d{2}:\d{2}Z|_", text.replace(CASE, "").replace(DIGEST, "")
    )
    for word in ("legal_duty", "no_consent", "rewritten", "fenced", "tombstone", "enforcing", "officer-1", "billing-1"):
        assert word not in text, word
    assert "None" not in text
    assert "90 days" in text
    assert "6 years, also after an erasure" in text
    assert "minutes and" in text


def test_it_says_who_why_how_long_who_has_seen_and_how_to_complain(person: Page) -> None:
    for told in (
        "IO Com Ltd, 1 Example Street, London",
        "privacy@iocom.example",
        "Dr Ada Byron",
        "30 calls, from 16 October 2026 to 22 November 2026",
        "To show you your calls and to help you when one fails",
        "performance of a contract, Art. 6(1)(b)",
        "made anonymous",
        "The billing department",
        "on 84 days, from 1 September 2026 to 23 November 2026",
        "Information Commissioner",
        "SK9 5AF",
        "remedy from a court",
        "All times are those of London (Europe/London)",
    ):
        assert told in person.text, told


def test_calls_are_in_order_and_on_the_clocks_of_the_zone_with_its_name(tmp_path: Path) -> None:
    """Summer time ended on 25 October 2026: both clocks are named."""
    page = shown(parts(tmp_path, 40))["index.html"]
    began = re.findall(r"(\d{1,2}) (October|November), \d{2}:\d{2} (GMT|BST)", page.text)
    assert len(began) == 40
    order = [(month == "October", -int(day)) for day, month, _ in began]
    assert order == sorted(order), "the newest first"
    assert {clock for day, month, clock in began if month == "October" and int(day) < 25} == {"BST"}
    assert {clock for _, month, clock in began if month == "November"} == {"GMT"}


@pytest.mark.slow
def test_more_calls_than_a_page_holds_are_on_pages_that_lead_to_each_other(tmp_path: Path) -> None:
    pages = shown(parts(tmp_path, 2 * PAGE + 1))
    assert list(pages) == ["index.html", "calls-2.html", "calls-3.html"]
    rows = [sum("month" not in each.get("class", "") for each in page.all("tr")) for page in pages.values()]
    assert rows[2] == 1 + 1, "its head, and the last call"
    assert {"calls-2.html#calls", "calls-3.html#calls"} <= {each["href"] for each in pages["index.html"].all("a")}


def test_an_answer_of_nothing_says_so(tmp_path: Path) -> None:
    page = shown([_alone(tmp_path)])["index.html"]
    assert "No call of yours is stored." in page.text
    assert "Nobody has opened a record of yours" in page.text


def test_a_person_is_told_what_is_proven_and_what_is_not(tmp_path: Path) -> None:
    """Not less than what happened, and no name by what anybody could have written."""
    first, mine = parts(tmp_path)
    lines = tuple(msgspec.structs.replace(each, proven=each.actor == "billing-1") for each in mine.about.opened_by)
    mine = msgspec.structs.replace(mine, about=msgspec.structs.replace(mine.about, opened_by=lines, unproven=3))
    page = shown([first, mine])["index.html"].text
    assert "Customer support *" in page
    assert "The billing department *" not in page
    assert "before whoever reads had to prove who they are" in page
    assert "3 more records in our log of readings say that records of yours were opened" in page
    plain = shown(parts(tmp_path))["index.html"].text
    assert "Customer support *" not in plain
    assert "proven" not in plain


def _alone(folder: Path) -> Part:
    first = parts(folder)[0]
    return msgspec.structs.replace(first, about=msgspec.structs.replace(first.about, groups=(1,)))


FORMER = {
    "v": 1, "case": CASE, "part": 1, "parts": 1,
    "about": {
        "purposes": [{"name": "service", "basis": "contract", "keep": "P90D", "then": "delete"}],
        "recipients": ["invoicing"], "keep": {"service": "P90D"}, "policy": "2026-01-01", "authority": None,
        "opened_by": [{"actor": "support-1", "purpose": "service", "last": "2026-11-20T10:00:00Z"}],
    },
    "legs": [{
        "call": "c1", "role": "host", "joined_at": None, "left_at": None, "kind": "video", "outcome": "answered",
        "started_at": "2026-11-20T10:00:00Z", "ended_at": "2026-11-20T10:31:10.250Z", "parties": 2,
        "subject": "alice@example.org", "purposes": ["service"], "kept_until": "2027-02-19",
    }],
}  # fmt: skip


def test_an_answer_of_an_earlier_release_is_opened_as_well() -> None:
    """Answers lie in their topic for a month: also over an upgrade."""
    page = shown([decode(PARTS, json.dumps(FORMER).encode())])["index.html"].text
    for told in (
        "1 call, on 20 November 2026",
        "31 minutes and 10 seconds",
        "90 days",
        "support-1",
        "19 February 2027",
    ):
        assert told in page, told
    assert "None" not in page


def test_an_authority_gets_a_page_of_its_own(tmp_path: Path) -> None:
    page = shown(disclosed(tmp_path), authority_pages)["index.html"]
    for told in (
        "Disclosure of call records",
        "To Serious Fraud Office, under Criminal Justice Act 1987, s.2",
        "from 1 November 2026 up to and including 20 November 2026",
        "officer-1 and officer-2",
        "alice@example.org",
        "has not been told, and will be once you say",
        "12 records",
        "1 record that cannot be opened any more",
        "ab" * 32,
        "q" * 43,
        "K" * 43,
        "sha256sum",
        "calllog-guard receipt verify",
    ):
        assert told in page.text, told
    assert re.search(r"\d{1,2} November, \d{2}:\d{2}:\d{2} GMT", page.text), "evidence is exact to the second"
    for personal in ("Your ", "your calls", "consent", "objection", "complain", "DSR-118"):
        assert personal not in page.text.replace("your key", "").replace("YOUR-KEY", ""), personal


def test_the_certificate_names_the_company_and_says_how_to_check_it() -> None:
    signed = msgspec.structs.replace(
        RECEIPT, controller="IO Com Ltd", contact="privacy@iocom.example", authority="ICO", zone="Europe/London"
    )
    page = checked(certificate(signed, CHECKED))
    for told in ("IO Com Ltd", "privacy@iocom.example", CHECKED.key, f"--key {CHECKED.name}", "09:00:00 GMT"):
        assert told in page.text, told
    assert "09:00:00 UTC" in checked(certificate(RECEIPT, CHECKED)).text, (
        "a receipt of an earlier release names no zone"
    )


@pytest.mark.parametrize("stage", sorted(CERTIFIED))
def test_every_stage_that_is_receipted_has_its_words(stage: Any) -> None:
    assert checked(certificate(msgspec.structs.replace(RECEIPT, stage=stage, observed=None), CHECKED)).text


# --- colours --------------------------------------------------------------------------------------------------------


def _palettes() -> list[dict[str, str]]:
    style = (files("calllog_guard.reports") / "templates" / "page.css").read_text()
    light, dark, paper = re.findall(r":root\{([^}]*)\}", style)

    def read(text: str) -> dict[str, str]:
        return dict(re.findall(r"--([a-z-]+):(#[0-9a-f]{3,6})", text))

    return [read(light), read(light) | read(dark), read(light) | read(paper)]


def _luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    digits = colour[1:] if len(colour) == 7 else "".join(each * 2 for each in colour[1:])
    parts_ = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts_]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("palette", _palettes(), ids=["light", "dark", "print"])
def test_every_text_can_be_told_from_what_it_stands_on(palette: dict[str, str]) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1."""
    for ink in ("ink", "soft", "accent", "loud"):
        for paper in ("paper", "back", "good-back", "wait-back"):
            one, other = sorted((_luminance(palette[ink]), _luminance(palette[paper])))
            assert (other + 0.05) / (one + 0.05) >= 4.5, (ink, paper)


# --- hostile values -------------------------------------------------------------------------------------------------

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><script>x</script>",
    "</title><b>",
    "{{ 7*7 }}{% for x in y %}",
    "javascript:alert(1)",
    "&lt;b&gt;",
    "\u202egnp.exe",
    "'onmouseover='x",
    "=cmd|' /C calc'!A0",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_others_wrote_is_shown_and_never_obeyed(tmp_path: Path, text: str) -> None:
    def leg(found: Part) -> Part:
        some = tuple(
            msgspec.structs.replace(each, call=text, subject=text, role=text, kind=text) for each in found.legs
        )
        told = msgspec.structs.replace(found.about, subjects=(text, text), authority=text)
        controller = msgspec.structs.replace(told.controller, name=text, contact=text) if told.controller else None
        own = tuple(msgspec.structs.replace(each, ticket=text, type=text) for each in told.requests)
        told = msgspec.structs.replace(told, controller=controller, requests=own, source=text, statement=text)
        terms = found.disclosure and msgspec.structs.replace(found.disclosure, authority=text, basis=text)
        return msgspec.structs.replace(found, legs=some, about=told, disclosure=terms)

    for pages, found in ((person_pages, parts(tmp_path, 3)), (authority_pages, disclosed(tmp_path, 3))):
        page = shown([leg(each) for each in found], pages)["index.html"]
        assert " ".join(text.split()) in page.text
    odd = msgspec.structs.replace(RECEIPT, request=text, controller=text, contact=text, authority=text)
    assert " ".join(text.split()) in checked(certificate(odd, CHECKED)).text


@given(st.text(max_size=40))
def test_no_cell_is_a_formula(text: str) -> None:
    leg = msgspec.structs.replace(legs(1)[0], call=text, subject=text)
    rows = list(csv.reader(io.StringIO(table([leg]), newline="")))
    cell = rows[1][0] if len(rows) == 2 else ""
    assert cell.lstrip(" \u00a0\ufeff")[:1] not in set("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
    assert len(rows) == 2


# --- words ----------------------------------------------------------------------------------------------------------


def test_periods_spans_and_lists_in_words() -> None:
    assert [period_words(each) for each in ("P90D", "P6Y", "P1Y6M", "P1M", "P2W", "P1D", "P14M3D")] == [
        "90 days",
        "6 years",
        "1 year and 6 months",
        "1 month",
        "14 days",
        "1 day",
        "1 year, 2 months and 3 days",
    ]
    assert [span_words(each) for each in (1870, 3600, 59, 1, 0, 0.4, 90_061)] == [
        "31 minutes and 10 seconds",
        "1 hour",
        "59 seconds",
        "1 second",
        "",
        "less than a second",
        "1 day and 1 hour",
    ]
    assert [listing(each) for each in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert [many(each, "call") for each in (0, 1, 2, 1204)] == ["0 calls", "1 call", "2 calls", "1,204 calls"]
    assert moment_words("2026-07-01T10:00:00Z", "Europe/London") == "1 July 2026, 11:00 BST"
    assert moment_words("2026-12-01T10:00:00Z", "Asia/Kathmandu", seconds=True) == "1 December 2026, 15:45:00 +0545"
