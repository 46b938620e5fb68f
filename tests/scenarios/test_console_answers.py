"""Answers in the console: handed out sealed, opened in the browser with the addressee's key, on record before."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from answers_data import disclosed, parts
from console_world import STATIC, ConsoleWorld, javascript
from desk_world import CANARY, TENANT
from html_check import Page

from calllog_guard.client.answers import digest_of
from calllog_guard.console.tasks import answer_page
from calllog_guard.core.answers.parts import GROUP, ExportedLeg, Part
from calllog_guard.core.answers.whole import whole
from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.jose import new_pair, public_forms, receipt_pem, seal_to, sign
from calllog_guard.core.identifiers import unb64
from calllog_guard.core.policy.actors import ANSWER_VIEW
from calllog_guard.core.records import Output
from calllog_guard.reports.calls import table

JS = pytest.mark.skipif(shutil.which("node") is None, reason="what a browser does is done in Node")
OPEN: Final = """
let found;
try {
  const key = await it.readersKey(asked.pem);
  const parts = await Promise.all(asked.tokens.map((token) => it.opened(key, token)));
  const answer = it.wholeOf(parts, asked.case);
  found = { answer, csv: it.csvOf(answer.legs, asked.columns) };
  found.digests = await Promise.all(asked.tokens.map(it.digestOf));
} catch (error) {
  found = { error: error.message };
}
"""


@pytest.fixture
async def world(tmp_path: Path) -> ConsoleWorld:
    """A console over a desk that has one request for a copy, answered."""
    found = await ConsoleWorld(tmp_path / "console").start()
    await found.desk.meet(CANARY)
    key = public_forms((found.desk.folder / "asker.pub.pem").read_bytes())[1]
    await found.desk.ask("access-001", CANARY, type="access", reply_key=key)
    await found.desk.done("access-001", "exported")
    await found.see()
    found.log.without = frozenset({"privacy.exports"})
    return found


def sealed(world: ConsoleWorld, some: list[Part], case: str) -> list[bytes]:
    """Parts of a case as they lie in their topic."""
    public = (world.desk.folder / "asker.pub.pem").read_bytes()
    own = [msgspec.structs.replace(part, case=case) for part in some]
    tokens = [seal_to(public, "asker", encode(part)).encode() for part in own]
    world.log.own += [
        Output("privacy.exports", 0, f"{case}.{part.part}".encode(), token)
        for part, token in zip(own, tokens, strict=True)
    ]
    return tokens


def in_browser(world: ConsoleWorld, tokens: list[str], case: str, key: str = "asker.pem") -> Any:
    """What the page's script makes of some sealed parts."""
    pem, columns = (world.desk.folder / key).read_text(), ExportedLeg.__struct_fields__
    return javascript("opening.js", OPEN, pem=pem, tokens=tokens, case=case, columns=columns)


def handed_out(body: str) -> list[str]:
    """The sealed parts in a page."""
    there = body.partition('id="parts">')[2].partition("</div>")[0]
    return [each.partition(">")[2] for each in there.split("</span>") if each]


@JS
@pytest.mark.parametrize("made", [parts, disclosed])
async def test_an_answer_is_handed_out_sealed_once_that_is_on_record_and_opens_with_its_addressees_key(
    world: ConsoleWorld, tmp_path: Path, made: Any
) -> None:
    case, some = world.desk.id_of("access-001"), made(tmp_path)
    sealed(world, some, case)
    sealed(world, some[:1], "x" * 22)  # another case's
    browser = await world.signed_in("officer-2")
    assert f"/cases/{case}/answer" in (await browser.open(f"/cases/{case}")).body.decode()
    before = len(world.views())
    found = await browser.open(f"/cases/{case}/answer")
    [seen] = world.views()[before:]
    assert (seen["purpose"], seen["case"], seen["by"]) == (ANSWER_VIEW, case, "officer-2")
    await world.see()
    assert {line.by for line in world.followed.accesses.lines if line.purpose == ANSWER_VIEW} == {"officer-2"}
    assert world.followed.accesses.doubted == {}
    body = found.body.decode()
    page = Page(body)
    assert [each.get("src") for each in page.all("script")] == ["/static/open.js"]
    assert b"alice" not in found.body
    opened = in_browser(world, handed_out(body), case)
    answer = whole(msgspec.structs.replace(part, case=case) for part in some)
    assert opened["answer"]["legs"] == json.loads(encode(answer.legs))  # type: ignore[arg-type]
    assert opened["answer"]["case"] == case
    assert opened["answer"]["parts"] == [json.loads(encode(msgspec.structs.replace(part, case=case))) for part in some]
    assert opened["csv"] == table(answer.legs)
    told = json.loads(encode(answer.about))
    for name, value in told.items():
        if name != "opened_by":
            assert opened["answer"]["about"][name] == value, name
    assert opened["answer"].get("disclosure") == (
        json.loads(encode(answer.disclosure)) if answer.disclosure is not None else None
    )


async def test_an_answer_is_not_handed_out_without_a_record_nor_before_it_is_made(
    world: ConsoleWorld, tmp_path: Path
) -> None:
    case, browser = world.desk.id_of("access-001"), await world.signed_in()
    tokens = sealed(world, parts(tmp_path), case)
    world.log.broken = True
    found = await browser.open(f"/cases/{case}/answer")
    assert (found.status, tokens[0] in found.body) == (503, False)
    world.log.broken = False
    assert tokens[0] in (await browser.open(f"/cases/{case}/answer")).body
    await world.desk.ask("erase-0001", CANARY, type="erase")
    await world.see()
    for name in (world.desk.id_of("erase-0001"), "x" * 22):
        assert (await browser.open(f"/cases/{name}/answer")).status == 404
        assert "/answer" not in (await browser.open(f"/cases/{name}")).body.decode()


@JS
async def test_what_does_not_open_or_is_no_whole_answer_is_not_shown(world: ConsoleWorld, tmp_path: Path) -> None:
    case, some = world.desk.id_of("access-001"), parts(tmp_path)
    tokens = [each.decode() for each in sealed(world, some, case)]
    private, _ = new_pair(signs=False)
    (world.desk.folder / "other.pem").write_bytes(private)
    assert in_browser(world, tokens, case, "other.pem") == {"error": "does-not-open"}
    assert in_browser(world, tokens, case, "officer-1.pem") == {"error": "not-a-key"}
    head, _, iv, content, tag = tokens[0].split(".")
    changed = f"{head}..{iv}.{'A' if content[0] != 'A' else 'B'}{content[1:]}.{tag}"
    assert in_browser(world, [changed, tokens[1]], case) == {"error": "does-not-open"}
    assert in_browser(world, tokens[:1], case) == {"error": "not-whole"}, "the desk's part names the groups"
    assert in_browser(world, tokens[1:], case) == {"error": "not-whole"}
    assert in_browser(world, [*tokens, tokens[1]], case) == {"error": "not-whole"}
    assert in_browser(world, tokens, "x" * 22) == {"error": "not-whole"}
    other = sealed(world, [msgspec.structs.replace(some[1], part=GROUP + 2, parts=2)], case)[0].decode()
    assert in_browser(world, [tokens[0], other], case) == {"error": "not-whole"}


@JS
def test_a_cell_that_a_spreadsheet_would_run_is_text() -> None:
    hostile = ('=HYPERLINK("x")', "+1", "-1", "@a", "\t=1", "\uff1d1", " \u00a0=1", 'a"b', "a,b", "a\nb", "\u202e")
    legs = [
        ExportedLeg(
            call=text, role=text, joined_at=None, left_at=None, kind="video", outcome="answered", parties=2,
            started_at="2026-11-01T10:00:00Z", ended_at=None, subject=text, purposes=(text, "service"),
            kept_until="2027-01-01", until={"service": "2027-01-01"}, estimated=True,
        )
        for text in hostile
    ]  # fmt: skip
    code = "const found = it.csvOf(asked.legs, asked.columns);"
    plain = [json.loads(encode(leg)) for leg in legs]
    assert javascript("opening.js", code, legs=plain, columns=ExportedLeg.__struct_fields__) == table(legs)


async def test_of_parts_made_twice_those_in_the_receipt_are_handed_out_and_its_signature_is_told(
    world: ConsoleWorld, tmp_path: Path
) -> None:
    """After a crash a keeper makes parts anew; which of them belong together is what the receipt says."""
    case, browser, some = world.desk.id_of("access-001"), await world.signed_in(), parts(tmp_path)
    first, second = sealed(world, some, case), sealed(world, some, case)
    private, public = receipt_pem(world.desk.vault.receipt_key(TENANT))
    at = f"{world.desk.at:%Y-%m-%dT%H:%M:%SZ}"
    body = (await browser.open(f"/cases/{case}/answer")).body
    assert (first[0] in body, second[0] in body) == (False, True)
    receipts = [each for each in world.desk.written("privacy.receipts") if each.key == case.encode()]
    claims = next(claims for each in receipts if (claims := _claims(each.value or b""))["stage"] == "exported")
    claims |= {"digests": [digest_of(each) for each in first], "at": at}
    token = sign(private, "iocom-receipts", json.dumps(claims).encode()).encode()
    world.log.own += world.desk.vault.vouched(TENANT, "desk", [Output("privacy.receipts", 0, case.encode(), token)])
    await world.see()
    page = await browser.open(f"/cases/{case}/answer")
    assert (first[0] in page.body, second[0] in page.body) == (True, False)
    assert " ".join(sorted(claims["digests"])) in page.body.decode()
    assert "was not checked here" in Page(page.body.decode()).text
    world.receipts_key = public
    assert "is good" in Page((await browser.open(f"/cases/{case}/answer")).body.decode()).text
    world.receipts_key = new_pair(signs=True)[1]
    assert "has a wrong signature" in Page((await browser.open(f"/cases/{case}/answer")).body.decode()).text


def _claims(token: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(unb64(token.split(b".")[1]))
    return found


async def test_an_answer_that_is_gone_or_too_large_says_what_to_do(
    world: ConsoleWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, browser = world.desk.id_of("access-001"), await world.signed_in()
    page = Page((await browser.open(f"/cases/{case}/answer")).body.decode())
    assert "no longer kept" in page.text
    assert page.all("script") == []
    tokens = sealed(world, parts(tmp_path), case)
    monkeypatch.setattr(answer_page, "MOST_BYTES", sum(map(len, tokens)) - 1)
    found = await browser.open(f"/cases/{case}/answer")
    assert f"calllog-guard export open DIR --case {case} --key PEM" in Page(found.body.decode()).text
    assert tokens[0] not in found.body


def test_nothing_that_opens_an_answer_can_send() -> None:
    """No script of the pages asks a server for anything; and their policy would not let it."""
    found = sorted(STATIC.glob("*.js"))
    assert len(found) >= 8, "found"
    for path in found:
        words = path.read_text("utf-8")
        for way in (
            "fetch(",
            "XMLHttpRequest",
            "WebSocket",
            "sendBeacon",
            "EventSource",
            "innerHTML",
            "document.write",
        ):
            assert way not in words, (path.name, way)
    for name in ("opening.js", "open.js", "saving.js", "filled.js"):
        assert "submit(" not in (STATIC / name).read_text("utf-8")
