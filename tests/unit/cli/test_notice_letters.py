"""Notices as letters: each reader learns what was done, why, and what they can do; recipients no personal data."""

import json
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from desk_world import CANARY, POLICY, START, DeskWorld
from html_check import checked
from test_notices import DISCLOSE, reply_key

from calllog_guard.cli import main
from calllog_guard.core.cases.notices import Remedies, Words, for_recipient
from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.jose import receipt_pem, verify
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.requests.fields import Facts, Range
from calllog_guard.core.requests.types import NoticeKind
from calllog_guard.reports.notice import Sender, letter, letter_page

SENDER = Sender(
    company="IO Com Ltd, 1 Example Street",
    contact="privacy@iocom.example",
    authority="ICO, Wilmslow",
    zone="Europe/London",
    titles={"ledger": "Ledger Inc., who sends our invoices"},
    purposes={"quality": "To find out where calls sound bad"},
    received_at=START - timedelta(days=3),
)
MORE: dict[NoticeKind, tuple[str, dict[str, Any], str]] = {
    "erased": ("erase", {}, "nobody reads your records any more"),
    "rectified": ("rectify", {"facts": Facts(call_id="c1", role="guest", joined_at=START)}, "call c1, role: guest, joined: 24 November 2026"),
    "restricted": ("restrict", {}, "stored and not used, as you asked"),
    "lifting": ("lift", {}, "That ends soon, by "),
    "disclosed": ("disclose", {"authority": "Court", "basis": "Order 7"}, "Court has demanded records of your calls"),
    "extended": ("access", {"due": "2027-01-25", "ground": "Many records."}, "by 25 January 2027 at the latest"),
    "refused": ("erase", {"ground": "Needed in court.", "remedies": Remedies(authority="ICO, Wilmslow")}, "We do not do so"),
    "received": ("complain", {"due": "2026-12-24"}, "you have our answer by 24 December 2026"),
    "answered": ("complain", {"ground": "We log less now."}, "Our answer:"),
}  # fmt: skip
TO_RECIPIENTS = ("erased", "rectified", "restricted", "lifting")


def words(kind: NoticeKind, **more: Any) -> Words:
    """A notice."""
    plain: dict[str, Any] = {"v": 1, "tenant": "iocom", "case": "A" * 22, "subjects": ("alice@example.org",)}
    return Words(
        kind=kind, ticket="DSR-1", act_by=START + timedelta(days=7), at=START, **plain, **MORE[kind][1], **more
    )


def test_every_kind_has_its_letter() -> None:
    assert set(MORE) == set(get_args(NoticeKind))


@pytest.mark.parametrize("kind", MORE)
def test_a_person_is_told_what_was_done_and_what_they_can_do(kind: NoticeKind) -> None:
    asked, _, told = MORE[kind]
    text = letter(words(kind), "person", replace(SENDER, asked=asked))
    for each in ("IO Com Ltd", "alice@example.org", told, "ICO, Wilmslow", "privacy@iocom.example", "court", "DSR-1"):
        assert each in text, each
    assert "None" not in text
    assert "  " not in text
    if "ground" in MORE[kind][1]:
        assert MORE[kind][1]["ground"] in text, "Art. 12(4): the reasons"
        assert "On 21 November 2026 you" in text
    page = checked(letter_page(words(kind), "person", text))
    assert told in page.text


@pytest.mark.parametrize("kind", TO_RECIPIENTS)
def test_a_recipient_is_told_what_to_do_and_nothing_that_is_the_persons(kind: NoticeKind) -> None:
    told = for_recipient(words(kind))
    text = letter(told, "ledger", SENDER)
    assert "Ledger Inc., who sends our invoices" in text
    assert "alice@example.org" in text
    assert "by 1 December 2026, 09:00 GMT" in text
    for private in ("DSR-1", "complain", "court", "None"):
        assert private not in text
    assert "Notice to ledger" in checked(letter_page(told, "ledger", text)).text


def test_a_part_of_the_records_and_some_purposes_are_named() -> None:
    some = words("erased", range=Range(from_="2026-11-01", to="2026-11-30"))
    text = letter(some, "person", replace(SENDER, asked="erase"))
    assert "of calls that began on or after 1 November 2026 and up to 30 November 2026" in text
    objected = letter(words("erased", purposes=("quality",)), "person", replace(SENDER, asked="object"))
    assert "used no more for: To find out where calls sound bad" in objected
    refused = letter(words("refused"), "person", replace(SENDER, asked="object"))
    assert "We have weighed it, and go on. The reason:" in refused
    considered = letter(words("restricted"), "person", replace(SENDER, asked="object"))
    assert "while we consider your objection" in considered


@pytest.mark.parametrize("text", ["<b>x</b>", "{{ 7*7 }}", "a\n\nb"])
def test_an_officers_words_are_words(text: str) -> None:
    told = msgspec.structs.replace(words("refused"), ground=text)
    found = letter(told, "person", SENDER)
    assert text in found
    assert " ".join(text.split()) in " ".join(checked(letter_page(told, "person", found)).text.split())


# --- at the desk ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def world(tmp_path: Path) -> DeskWorld:
    """A desk of a company that has said who it is."""
    said = 'regime = "uk"\ncontroller = "IO Com Ltd"\ncontact = "privacy@iocom.example"\n'
    return await DeskWorld(tmp_path, POLICY.replace('regime = "uk"\n', said)).start()


async def test_each_notice_brings_its_letter_and_recipients_get_their_own(world: DeskWorld) -> None:
    await world.ask("erase-0001", CANARY, type="erase", ticket="DSR-118")
    person, recipient = (str(world.words(each).text) for each in world.notices())
    assert "On 24 November 2026 you asked us to erase your data." in person
    assert "privacy@iocom.example" in person
    assert "Delete every copy" in recipient
    assert "DSR-118" not in recipient


async def test_a_disclosure_is_announced_before_it_is_made(world: DeskWorld) -> None:
    more = DISCLOSE | {"notify": "before", "reply_key": reply_key(world)}
    await world.ask("restrict-1", CANARY, type="restrict")
    await world.ask("disclose-1", CANARY, by="officer-1", **more)
    await world.ask("approve-01", by="officer-2", type="approve", case=world.case("disclose-1").case)
    text = str(world.words(world.notices()[-1]).text)
    assert "Serious Fraud Office has demanded" in text
    assert "We are going to give them" in text


async def test_receipts_name_the_company_and_where_to_complain(world: DeskWorld) -> None:
    await world.ask("erase-0001", CANARY, type="erase")
    public = receipt_pem(world.vault.receipt_key(Tenant("iocom")))[1]
    (first, *_) = [each.value or b"" for each in world.written("privacy.receipts")]
    claims = json.loads(verify(public, first.decode()))
    assert (claims["controller"], claims["contact"], claims["zone"]) == (
        "IO Com Ltd",
        "privacy@iocom.example",
        "Europe/London",
    )
    assert "Information Commissioner" in claims["authority"]


async def test_the_command_shows_the_letter_to_whom_it_is_for_alone(
    world: DeskWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    await world.ask("erase-0001", CANARY, type="erase")
    file, page = world.folder / "notice.json", world.folder / "letter.html"
    file.write_bytes(encode(world.notices()[0]))
    key = str(world.folder / "gateway.pem")
    assert main(["notice", "open", str(file), "--key", key, "--page", str(page)]) == 0
    assert "asked us to erase your data" in capsys.readouterr().out
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert CANARY in checked(page.read_text()).text
    assert main(["notice", "open", str(file), "--key", str(world.folder / "invoicing.pem")]) == 2
    file.write_text('{"v":1}')
    assert main(["notice", "open", str(file), "--key", key]) == 4
    other = msgspec.structs.replace(world.notices()[0], kind="refused")
    file.write_bytes(encode(other))
    assert main(["notice", "open", str(file), "--key", key]) == 4, "outside its seal anybody may write"


def test_a_notice_of_an_earlier_release_is_a_letter_too() -> None:
    text = letter(words("refused"), "person", Sender())
    assert "the service iocom" in text
    assert "ICO, Wilmslow" in text
