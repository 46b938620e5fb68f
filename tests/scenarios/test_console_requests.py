"""New requests in the console: a form per type from one table, sealed in the browser, and what became of it."""

import json
import re
import shutil
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from console_world import ACTOR, URL, Browser, ConsoleWorld, javascript
from desk_world import CANARY, POLICY
from html_check import Page

from calllog_guard.console.tasks.fields import ORDER, fields_of, kinds_asked, month_ago, why_not
from calllog_guard.core.crypto.jose import desk_pem, open_sealed, seal_to
from calllog_guard.core.identifiers import unb64
from calllog_guard.core.requests.request import REQUESTS, Request, check_fields
from calllog_guard.core.requests.types import HOLDS, TYPES

JS = pytest.mark.skipif(shutil.which("node") is None, reason="what a browser does is done in Node")
NEWS = """
[version.tenant.iocom.purposes.news]
number = 7
basis = "consent"
keep = "P30D"
"""
SECOND = "canary-second@example.org"
WORDS = "canary-words: der Hund bellt — ü <script>"
VALUES: Final = {
    "subjects": f"  {CANARY}\n\n{SECOND}\n{CANARY}\n",
    "identity": "verified",
    "range.from": "2026-09-01",
    "range.to": "2026-10-31",
    "facts.call_id": "canary-call",
    "facts.role": "guest",
    "facts.joined_at": "2026-11-20T10:00:05",
    "ground": WORDS,
    "case": "",
    "time": "2026-07-01T12:00:00",
    "wording": WORDS,
    "authority": "Canary Police",
    "basis": "canary warrant",
    "notify": "when_lifted",
    "review_at": "2027-03-01T09:00",
    "received_at": "2026-11-20",
    "ticket": "T-17",
}
OFFERED: Final = tuple(kind for kind in kinds_asked() if kind not in HOLDS)
CLAIMS: Final = """
let found;
try {
  const zone = asked.zone;
  it.checkReceived(asked.received, asked.today, asked.monthAgo, asked.meant);
  found = it.claimsOf(asked.type, asked.fields, zone);
} catch (error) {
  found = { error: error.message };
}
"""


@pytest.fixture
async def world(tmp_path: Path) -> ConsoleWorld:
    """A console over a desk whose policy has a purpose by consent."""
    policy = POLICY.replace(
        "[version.tenant.iocom.requesters.backend-1]", f"{NEWS}[version.tenant.iocom.requesters.backend-1]"
    )
    found = await ConsoleWorld(tmp_path / "console", policy=policy + ACTOR).start()
    await found.desk.meet(CANARY)
    return found


def controls(page: Page) -> list[dict[str, str]]:
    """The fields of a form that have something to say."""
    return [each for _, each in page.tags if "data-path" in each]


def filled(world: ConsoleWorld, page: Page, **values: str) -> dict[str, Any]:
    """What the browser makes of a page's form once it is filled in."""
    form = next(each for each in page.all("form") if each.get("id") == "ask")
    said, fields = VALUES | values, list[dict[str, Any]]()
    key = (world.desk.folder / "asker.pub.pem").read_text()
    for each in controls(page):
        path, kind = each["data-path"], each["data-kind"]
        value = key if kind == "key" else each["value"] if kind == "several" else said.get(path, "")
        if each["data-path"] == "purposes" and value != "news":
            value = ""
        fields.append({"path": path, "kind": kind, "value": value})
    found: dict[str, Any] = javascript(
        "filled.js",
        CLAIMS,
        type=form["data-type"],
        zone=form["data-zone"],
        today=form["data-today"],
        monthAgo=form["data-month-ago"],
        received=said["received_at"],
        meant=bool(values.get("meant")),
        fields=fields,
    )
    return found


async def opened(browser: Browser, kind: str) -> tuple[Any, Page]:
    """The form of a type."""
    found = await browser.open(f"/requests/new/{kind}")
    assert found.status == 200
    return found, Page(found.body.decode())


# --- the form of each type ------------------------------------------------------------------------------------------


@JS
@pytest.mark.parametrize("kind", OFFERED)
async def test_a_request_of_each_type_goes_from_its_form_to_its_case_and_names_nobody_to_the_server(
    world: ConsoleWorld, kind: str
) -> None:
    """Everything that the server is asked, and everything that it passes on, has nothing of what was typed."""
    browser = await world.signed_in()
    response, page = await opened(browser, kind)
    said = filled(world, page)
    assert "error" not in said
    made = world.signed("officer-1", "request-0001", said)
    sent = await browser.send("/requests", response, sealed=made["sealed"], case=made["case"])
    assert (sent.status, sent.headers["Location"]) == (303, f"/requests/{made['case']}")
    waits = Page((await browser.open(sent.headers["Location"])).body.decode())
    assert "No desk has answered yet" in waits.text
    asked = json.dumps([[each.path, dict(each.query), dict(each.form), dict(each.headers)] for each in browser.asked])
    asked += b"".join(world.passed_on()).decode()
    for secret in ("canary", "Canary", "Hund", "2026-09-01", "call_id"):
        assert secret not in asked
    await world.arrive(world.passed_on()[0])
    assert world.desk.reasons() == ([] if kind != "not_same_as" else ["not_linked"])
    page = Page((await browser.open(sent.headers["Location"])).body.decode())
    if kind == "not_same_as":  # no same_as stands: the desk says so, and the officer reads it
        assert "The desk has refused it" in page.text
        assert "not linked" in page.text
        inbox = Page((await browser.open("/")).body.decode())
        assert "What you sent, and the desk has refused (1)" in inbox.text
        other = Page((await (await world.signed_in("officer-2")).open("/")).body.decode())
        assert "the desk has refused" not in other.text
        return
    assert "The desk has taken it" in page.text
    row = world.followed.cases.rows[made["case"]]
    assert (row.type, row.ticket, row.day) == (kind, "T-17", "2026-11-20")


@pytest.mark.parametrize("kind", OFFERED)
async def test_a_form_has_a_field_for_all_that_its_type_takes_and_sends_none_of_them(
    world: ConsoleWorld, kind: Any
) -> None:
    """Without its script a form says nothing to the server: it has no address, and its fields no names."""
    _, page = await opened(await world.signed_in(), kind)
    row = TYPES[kind]
    paths = {each["data-path"].partition(".")[0] for each in controls(page)}
    takes = {name for name in (*row.must, *row.may) if name.partition(".")[0] != "hold"}
    assert paths == takes | {"received_at", "ticket"} | ({"identity"} if "subjects" in takes else set())
    [form] = [each for each in page.all("form") if each.get("id") == "ask"]
    assert (form["method"], form["autocomplete"], "action" in form) == ("dialog", "off", False)
    body = (await (await world.signed_in()).open(f"/requests/new/{kind}")).body.decode()
    inside = body.partition('<form id="ask"')[2].partition("</form>")[0]
    assert not re.search(r"\sname=", inside)
    sends = body.partition('<form id="send"')[2].partition("</form>")[0]
    assert re.findall(r'name="(\w+)"', sends) == ["token", "sealed", "case"]
    for each in page.all("textarea"):
        assert (each["spellcheck"], each["autocomplete"]) == ("false", "off"), "some browsers ask a server for both"


@JS
async def test_what_is_left_empty_is_not_said_and_times_are_those_of_the_tenants_zone(world: ConsoleWorld) -> None:
    _, page = await opened(await world.signed_in(), "rectify")
    said = filled(world, page, ticket="", **{"facts.joined_at": "2026-07-01T10:00:05", "received_at": ""})
    assert said == {
        "type": "rectify",
        "subjects": [CANARY, SECOND],
        "identity": "verified",
        "facts": {"call_id": "canary-call", "role": "guest", "joined_at": "2026-07-01T09:00:05Z"},
    }
    _, page = await opened(await world.signed_in(), "erase")
    said = filled(world, page, received_at="2026-11-10", **{"range.from": ""})
    assert said["received_at"] == "2026-11-10T00:00:00Z"
    assert said["range"] == {"to": "2026-10-31"}


@JS
@pytest.mark.parametrize(
    ("local", "zone", "moment"),
    [
        ("2026-07-01", "Europe/Berlin", "2026-06-30T22:00:00Z"),
        ("2026-12-31T23:59:59", "America/New_York", "2027-01-01T04:59:59Z"),
        ("2026-03-29T01:30", "Europe/London", "2026-03-29T01:30:00Z"),  # that half hour is skipped
        ("2026-10-25", "Europe/London", "2026-10-24T23:00:00Z"),  # the day on which clocks go back
        ("2026-06-01T08:00", "Asia/Kathmandu", "2026-06-01T02:15:00Z"),
    ],
)
def test_a_local_time_is_the_moment_that_the_zone_says(local: str, zone: str, moment: str) -> None:
    code = "const found = it.instant(asked.local, asked.zone);"
    assert javascript("filled.js", code, local=local, zone=zone) == moment


@JS
async def test_a_day_of_receipt_that_cannot_be_meant_is_said_before_anything_is_signed(world: ConsoleWorld) -> None:
    _, page = await opened(await world.signed_in(), "erase")
    assert filled(world, page, received_at="2026-11-25") == {"error": "in-future"}
    assert filled(world, page, received_at="2026-10-20") == {"error": "long-ago"}
    assert "error" not in filled(world, page, received_at="2026-10-20", meant="yes")


def test_a_month_ago_is_where_the_law_counts_from() -> None:
    assert month_ago(date(2026, 11, 24)) == date(2026, 10, 24)
    assert month_ago(date(2026, 3, 30)) == date(2026, 3, 1)


@JS
async def test_a_key_for_the_answer_is_a_public_one_and_a_new_pair_opens_what_is_sealed_to_it(
    world: ConsoleWorld,
) -> None:
    code = "let found; try { found = it.replyKey(asked.pem); } catch (error) { found = error.message; }"
    for name in ("asker.pem", "officer-1.pub.pem"):
        assert javascript("filled.js", code, pem=(world.desk.folder / name).read_text()) == "not-a-reply-key"
    pair = javascript("filled.js", "const found = await it.newPair();")
    code = "const s = await import(asked.sealing);const found = await s.sealed(asked.x, 'asker', 'content');"
    sealing = (Path(__file__).parents[2] / "src/calllog_guard/console/static/sealing.js").as_uri()
    sealed = javascript("filled.js", code, sealing=sealing, x=pair["key"]["x"])
    assert open_sealed(pair["pem"].encode(), sealed) == b"content"


# --- which types there are ------------------------------------------------------------------------------------------


async def test_what_an_officer_cannot_send_from_here_is_said_and_has_no_form(
    world: ConsoleWorld, tmp_path: Path
) -> None:
    browser = await world.signed_in()
    page = Page((await browser.open("/requests")).body.decode())
    links = [each["href"].rpartition("/")[2] for each in page.all("a") if each["href"].startswith("/requests/new/")]
    assert links == list(OFFERED)
    assert page.text.count(ORDER) == 2
    assert "calllog-guard request hold" in page.text
    for kind in ("hold", "release", "approve", "clock", "search", "x", ""):
        assert (await browser.open(f"/requests/new/{kind}")).status == 404
    bare = POLICY.partition("[version.tenant.iocom.person_notices]")[0]
    other = await ConsoleWorld(tmp_path / "bare", policy=bare + ACTOR).start()
    table = other.office.table()
    assert {kind for kind in kinds_asked() if why_not(kind, table)} == {
        "hold",
        "release",
        "lift",
        "withdraw",
        "consent",
    }
    [notify] = [each for each in fields_of("disclose", table) if each.path == "notify"]
    assert [value for value, _ in notify.choices] == ["when_lifted"], "nobody would tell the person before"


@pytest.mark.parametrize("kind", OFFERED)
async def test_what_a_form_needs_is_what_the_desk_needs(world: ConsoleWorld, kind: Any) -> None:
    """Each field that is marked, left out, is refused by the desk's own check; with all of them it is not."""
    values: dict[str, Any] = {
        "subjects": ("a@example.org", "b@example.org"), "facts": {"call_id": "c", "role": "guest"}, "ground": "x",
        "purposes": ("news",), "time": "2026-07-01T12:00:00Z", "wording": "x", "authority": "x", "basis": "x",
        "notify": "before", "reply_key": {"kty": "OKP", "crv": "X25519", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"},
    }  # fmt: skip
    needed = {each.path.partition(".")[0] for each in fields_of(kind, world.office.table()) if each.needed}
    said = {name: values[name] for name in needed if name in values}

    def request(claims: dict[str, Any]) -> Request:
        common = {"v": 1, "iss": "officer-1", "aud": "x", "tenant": "iocom", "jti": "x" * 8, "iat": 0, "exp": 0}
        raw = common | {"received_at": "2026-11-24T09:00:00Z", "type": kind} | claims
        return REQUESTS.decode(json.dumps(raw))

    check_fields(request(said))
    for name in said:
        with pytest.raises(Exception, match=r"missing_field|one_identifier"):
            check_fields(request({each: value for each, value in said.items() if each != name}))


# --- what is passed on ----------------------------------------------------------------------------------------------


async def test_a_request_that_says_no_case_or_is_not_sealed_is_not_passed_on(world: ConsoleWorld) -> None:
    browser = await world.signed_in()
    response, _ = await opened(browser, "erase")
    sealed = seal_to(world.desk_public, world.desk_key.kid, b"x")
    for case in ("", "x", "x" * 21, "../../" + "x" * 16, "x" * 23):
        assert (await browser.send("/requests", response, sealed=sealed, case=case)).status == 409
    assert (await browser.send("/requests", response, sealed="plain", case="x" * 22)).status == 409
    assert (await browser.post("/requests", {"sealed": "x", "case": "x" * 22})).status == 403
    assert world.passed_on() == []


@JS
async def test_a_decision_that_the_desk_refuses_stands_in_its_case_and_in_the_officers_inbox(
    world: ConsoleWorld,
) -> None:
    """Its name begins with the case's id: so the desk's answer tells of which case it was, also after a restart."""
    await world.desk.ask("objection-1", CANARY, type="object", purposes=["fraud"])
    await world.see()
    case, browser = world.desk.id_of("objection-1"), await world.signed_in("officer-2")
    page = await browser.open(f"/cases/{case}")
    assert "Refused by the desk" not in Page(page.body.decode()).text
    jti = javascript("sealing.js", "const found = it.newName(asked.about);", about=case)
    assert re.fullmatch(re.escape(case) + r"\.[A-Za-z0-9_-]{22}", jti)
    sealed = world.sealed("officer-2", jti, type="clock", event="not_yet", case=case, review_at="2026-01-01T00:00:00Z")
    await browser.send(f"/cases/{case}/decision", page, sealed=sealed)
    await world.arrive(world.passed_on()[0])
    [reason] = world.desk.reasons()
    for found in (await browser.open(f"/cases/{case}"), await browser.open("/")):
        text = Page(found.body.decode()).text
        assert reason.replace("_", " ") in text
    assert "Refused by the desk" in Page((await browser.open(f"/cases/{case}")).body.decode()).text
    other = await world.signed_in("officer-1")
    assert "Refused by the desk" in Page((await other.open(f"/cases/{case}")).body.decode()).text
    assert reason.replace("_", " ") not in Page((await other.open("/")).body.decode()).text, "it is the other's"
    key = desk_pem(world.desk.vault.desk_key(world.office.tenant, world.desk_key.kid) or b"")[0]
    claims = unb64(open_sealed(key, sealed).split(b".")[1])
    assert datetime.fromtimestamp(json.loads(claims)["iat"], UTC) == world.desk.at.replace(microsecond=0)
    assert (await Browser(world.site, URL).open("/requests")).status == 303
