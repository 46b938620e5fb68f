"""The console: who gets in, what is on record before it is shown, and that nobody who has the server decides anything."""

import json
import re
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from console_world import ACTOR, URL, Browser, ConsoleWorld, in_javascript
from desk_world import CANARY, POLICY, TENANT
from html_check import Page

from calllog_guard.adapters.http.web import WebResponse
from calllog_guard.console.accesses.repeats import KEPT
from calllog_guard.console.accesses.sums import AccessLine, Sum
from calllog_guard.console.sign_in.sessions import GUESSES, IDLE
from calllog_guard.console.views import access_rows
from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.jose import desk_pem, open_sealed, seal_to, sign
from calllog_guard.core.identifiers import unb64
from calllog_guard.core.policy.actors import CASE_VIEW
from calllog_guard.core.records import Output
from calllog_guard.core.requests.request import LIFETIME_S
from calllog_guard.core.rights.grants import DOMAIN_OF, KEYSTORE_USERS
from calllog_guard.core.topics import TABLE

JS = pytest.mark.skipif(shutil.which("node") is None, reason="what a browser does is done in Node")
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}</textarea>\u202e javascript:alert(1)//"
REVIEWED = "fraud"


@pytest.fixture
async def world(tmp_path: Path) -> ConsoleWorld:
    """A console over a desk that has one objection, which waits for an officer."""
    found = await ConsoleWorld(tmp_path / "console").start()
    await objection(found, "objection-1")
    return found


async def objection(world: ConsoleWorld, jti: str, **more: Any) -> str:
    """A case that waits for an officer."""
    await world.desk.ask(jti, CANARY, type="object", purposes=[REVIEWED], **more)
    await world.see()
    return world.desk.id_of(jti)


def text(page: WebResponse) -> str:
    """What a reader reads."""
    return Page(page.body.decode()).text


# --- the door -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/erasures", "/holds", "/policy", "/access", "/health", "/cases/{case}", "/cases/{case}/receipts/0"]
)
async def test_whoever_is_not_signed_in_is_shown_nothing(world: ConsoleWorld, path: str) -> None:
    case = world.desk.id_of("objection-1")
    found = await Browser(world.site, URL).open(path.format(case=case))
    assert (found.status, found.headers["Location"], found.body) == (303, "/sign-in", b"")
    assert world.views() == []


async def test_a_link_signs_in_once(world: ConsoleWorld) -> None:
    code = world.door.links.new("officer-1")
    first, second = Browser(world.site, URL), Browser(world.site, URL)
    pages = [await each.open(f"/sign-in?code={code}") for each in (first, second)]
    assert (await first.send("/sign-in", pages[0], code=code)).status == 303
    assert (await second.send("/sign-in", pages[1], code=code)).status == 403
    assert "Inbox" in text(await first.open("/"))
    assert (await second.open("/")).status == 303


async def test_what_a_browser_asks_for_by_itself_does_not_spoil_the_form_of_a_sign_in(world: ConsoleWorld) -> None:
    """It asks for an icon; and people open a page in two windows."""
    browser, code = Browser(world.site, URL), world.door.links.new("officer-1")
    page = await browser.open(f"/sign-in?code={code}")
    assert (await browser.open("/favicon.ico")).status == 404
    for path in ("/sign-in", "/"):
        await browser.open(path)
    assert (await browser.send("/sign-in", page, code=code)).status == 303


async def test_opening_a_link_alone_does_not_use_it_up(world: ConsoleWorld) -> None:
    """A browser, a mail program or a terminal may fetch a link ahead of its reader."""
    code = world.door.links.new("officer-1")
    for _ in range(3):
        await Browser(world.site, URL).open(f"/sign-in?code={code}")
    assert world.door.links.taken(code) == "officer-1"


async def test_signing_in_takes_a_new_session_each_time(world: ConsoleWorld) -> None:
    one, other = await world.signed_in(), await world.signed_in()
    assert one.cookies["console-session"] != other.cookies["console-session"]


async def test_too_many_guesses_are_not_heard(world: ConsoleWorld) -> None:
    browser, code = Browser(world.site, URL), world.door.links.new("officer-1")
    for _ in range(GUESSES):
        page = await browser.open("/sign-in")
        assert (await browser.send("/sign-in", page, code="x" * 43)).status == 403
    page = await browser.open(f"/sign-in?code={code}")
    assert (await browser.send("/sign-in", page, code=code)).status == 429
    assert (await browser.send("/sign-in/link", page)).status == 429
    assert world.told == []


async def test_new_links_are_printed_where_the_console_was_started_and_shown_nowhere(world: ConsoleWorld) -> None:
    browser = Browser(world.site, URL)
    found = await browser.send("/sign-in/link", await browser.open("/sign-in"))
    codes = [each.partition("code=")[2] for each in world.told]
    assert [len(code) for code in codes] == [43, 43]
    assert not any(code.encode() in found.body for code in codes)


async def test_cookies_are_out_of_reach_of_scripts_and_of_other_sites(tmp_path: Path) -> None:
    plain = await ConsoleWorld(tmp_path / "plain").start()
    tls = await ConsoleWorld(tmp_path / "tls", url="https://console.example").start()
    for world, begins, ends in ((plain, "console-", ""), (tls, "__Host-console-", "; Secure")):
        browser = await world.signed_in()
        assert {line.partition("=")[0] for line in browser.lines} == {f"{begins}mark", f"{begins}session"}
        assert {line.partition(";")[2] for line in browser.lines} == {f" Path=/; HttpOnly; SameSite=Strict{ends}"}
    assert "Strict-Transport-Security" in tls.site.headers


async def test_a_session_ends_by_itself_and_by_its_officer(world: ConsoleWorld) -> None:
    idle, out = await world.signed_in(), await world.signed_in("officer-2")
    page, before = await out.open("/"), dict(out.cookies)
    found = await out.send("/sign-out", page)
    assert (found.status, found.headers["Location"]) == (303, "/sign-in")
    assert "console-session" not in out.cookies
    out.cookies = before  # somebody has kept the cookie
    assert (await out.open("/")).status == 303
    world.desk.at += IDLE
    assert (await idle.open("/")).status == 303


async def test_whoever_is_no_officer_any_more_is_signed_out(world: ConsoleWorld) -> None:
    browser = await world.signed_in("officer-2")
    for version in world.desk.policy.versions:
        version.tenant[TENANT].requesters.pop("officer-2")
    assert (await browser.open("/")).status == 303
    assert (await (await world.signed_in("officer-1")).open("/")).status == 200


async def test_a_form_counts_with_the_token_of_its_session_alone(world: ConsoleWorld) -> None:
    case, browser, other = world.desk.id_of("objection-1"), await world.signed_in(), await world.signed_in()
    foreign = await other.open("/")
    for path in (f"/cases/{case}/decision", "/sign-out"):
        for form in ({}, {"token": ""}, {"token": "x" * 43}, {"token": other.field(foreign, "token")}):
            assert (await browser.post(path, form | {"sealed": "x"})).status == 403
    assert (await browser.open("/")).status == 200
    assert world.passed_on() == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "", "sec-fetch-site": "cross-site"},
        {"origin": URL, "sec-fetch-site": "same-site"},
        {"origin": URL + ".evil.example"},
    ],
)
async def test_a_form_of_another_site_is_refused_whatever_it_bears(world: ConsoleWorld, headers: Any) -> None:
    browser = await world.signed_in()
    token = browser.field(await browser.open("/"), "token")
    assert (await browser.post("/sign-out", {"token": token}, **headers)).status == 403
    assert (await browser.open("/")).status == 200


async def test_another_host_is_answered_nothing(world: ConsoleWorld) -> None:
    """A name of somebody else's that leads here (DNS rebinding) is another origin to browsers, and none to us."""
    browser = await world.signed_in()
    for host in ("evil.example", "127.0.0.1", "127.0.0.1:6071", ""):
        assert (await browser.open("/", host=host)).status == 421


async def test_every_answer_has_the_headers_that_keep_a_page_inert(world: ConsoleWorld) -> None:
    case, browser = world.desk.id_of("objection-1"), await world.signed_in()
    paths = ["/", f"/cases/{case}", "/sign-in", "/nothing", "/static/decide.js", "/static/../site.py", "/policy"]
    answers = [await browser.open(path) for path in paths]
    answers += [await browser.post("/sign-out", {}), await browser.open("/", host="x"), await browser.post("/", {})]
    answers.append(await Browser(world.site, URL).open("/"))
    for found in answers:
        policy = found.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'; base-uri 'none'" in policy
        assert found.headers["Cache-Control"] == "no-store"
        assert found.headers["X-Content-Type-Options"] == "nosniff"
        assert found.headers["X-Frame-Options"] == "DENY"
        assert found.headers["Referrer-Policy"] == "same-origin"
        assert found.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert [each.status for each in answers[:7]] == [200, 200, 200, 404, 200, 404, 200]


# --- on record ------------------------------------------------------------------------------------------------------


async def test_a_case_is_shown_once_its_view_is_on_record(world: ConsoleWorld) -> None:
    case, browser = world.desk.id_of("objection-1"), await world.signed_in("officer-2")
    page = await browser.open(f"/cases/{case}")
    assert (page.status, case in text(page)) == (200, True)
    assert [(each["actor"], each["purpose"], each["case"], each["by"], each["opened"]) for each in world.views()] == [
        ("console-1", CASE_VIEW, case, "officer-2", 1)
    ]
    await world.see()
    [(line, sums)] = world.followed.accesses.lines.items()
    assert (line.actor, line.by, line.proven, sums.opened) == ("console-1", "officer-2", True, 1)
    assert "for officer-2" in text(await browser.open("/access"))
    assert "officer-2, 1 page" in text(await browser.open(f"/cases/{case}"))


async def test_what_cannot_be_put_on_record_is_not_shown(world: ConsoleWorld) -> None:
    case, browser = world.desk.id_of("objection-1"), await world.signed_in()
    await world.see()
    world.log.broken = True
    for path in (f"/cases/{case}", f"/cases/{case}/receipts/{world.followed.receipts[case][0]}"):
        page = await browser.open(path)
        assert page.status == 503
        assert b"received" not in page.body
        assert case not in text(page)
    world.log.broken = False
    assert (await browser.open(f"/cases/{case}")).status == 200


async def test_a_console_whose_key_is_registered_no_more_shows_no_case(world: ConsoleWorld) -> None:
    case, browser = world.desk.id_of("objection-1"), await world.signed_in()
    for version in world.desk.policy.versions:
        version.tenant[TENANT].actors.clear()
    page = await browser.open(f"/cases/{case}")
    assert (page.status, case in text(page), world.views()) == (409, False, [])


async def test_a_view_that_somebody_else_writes_names_nobody(world: ConsoleWorld) -> None:
    """Without the console's key, or for another topic than that of cases, it is believed by nobody."""
    browser, case = await world.signed_in(), world.desk.id_of("objection-1")
    await browser.open(f"/cases/{case}")
    [own] = [each for each in world.log.own if each.topic == "privacy.access"]
    unsigned = re.sub(rb',"sig":"[^"]*"', b"", own.value or b"")
    other = (own.value or b"").replace(b'"by":"officer-1"', b'"by":"officer-2"')
    world.log.own += [msgspec.structs.replace(own, value=each) for each in (unsigned, other, own.value)]
    await world.see()
    assert [(line.by, sums.accesses) for line, sums in world.followed.accesses.lines.items()] == [("officer-1", 1)]
    assert {why for _, why in world.followed.accesses.doubted} == {"unsigned", "wrong_signature", "replayed"}
    assert "Accesses that nobody believes" in text(await browser.open("/access"))


async def test_an_access_that_comes_days_after_it_was_made_does_not_count(world: ConsoleWorld) -> None:
    """Its digest is forgotten by then: nobody could tell a copy of it from a new one."""
    browser, case = await world.signed_in(), world.desk.id_of("objection-1")
    await browser.open(f"/cases/{case}")
    await world.see()
    [own] = [each for each in world.log.own if each.topic == "privacy.access"]
    world.desk.at += KEPT + timedelta(minutes=6)
    world.log.own.append(own)
    await world.see()
    assert [sums.accesses for sums in world.followed.accesses.lines.values()] == [1]
    assert {why for _, why in world.followed.accesses.doubted} == {"wrong_time"}


async def test_nothing_of_a_person_is_in_a_page_an_address_or_a_title(world: ConsoleWorld) -> None:
    await world.desk.ask("access-1", CANARY, type="access", reply_key=json.loads(REPLY), ticket="T-17")
    await world.see()
    browser = await world.signed_in()
    for path in ["/", "/?q=T-17", "/access", *(f"/cases/{case}" for case in world.followed.cases.rows)]:
        page = await browser.open(path)
        assert page.status == 200
        assert CANARY.encode() not in page.body
        assert b"canary" not in page.body.lower()
        assert re.search(rb"<title>[A-Z][a-z ]+ \xc2\xb7 Privacy console</title>", page.body)
    assert all(b"canary" not in row.packed and not row.whole().sealed for row in world.followed.cases.rows.values())


REPLY = '{"kty": "OKP", "crv": "X25519", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}'


# --- hostile values -------------------------------------------------------------------------------------------------


async def test_hostile_text_stays_text_in_every_field(tmp_path: Path) -> None:
    """A ticket, a purpose's words, a change's words, what is searched for, a code, an address."""
    policy = POLICY.replace('change = "First."', f"change = {json.dumps(HOSTILE)}").replace(
        'basis = "contract"', f'basis = "contract"\nwhy = {json.dumps(HOSTILE)}'
    )
    world = await ConsoleWorld(tmp_path / "hostile", policy=policy + ACTOR).start()
    case = await objection(world, "objection-1")
    row = world.followed.cases.rows[case]
    bad = msgspec.structs.replace(row.whole(), ticket=HOSTILE, asked_by=HOSTILE, jti=HOSTILE, refusal=HOSTILE)
    output = Output("privacy.cases", 0, case.encode(), encode(bad))
    world.log.own += world.desk.vault.vouched(TENANT, "desk", [output])
    await world.see()
    browser = await world.signed_in()
    paths = [f"/cases/{case}", "/", f"/?q={quote(HOSTILE)}", "/policy", "/erasures", "/holds", f"/{quote(HOSTILE)}"]
    shown = 0
    for path in paths:
        found = await browser.open(path.replace(quote(HOSTILE), HOSTILE))
        page = Page(found.body.decode())
        assert [each.get("src") for each in page.all("script")] in ([], ["/static/decide.js"])
        assert not page.all("img")
        assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
        assert not any("javascript:" in each.get("href", "") for each in page.all("a"))
        shown += "<script>alert(1)</script>" in page.text
    assert shown >= 3, "it is shown as it is"
    page = Page((await Browser(world.site, URL).open(f"/sign-in?code={HOSTILE}")).body.decode())
    assert not page.all("script")
    assert HOSTILE in {each.get("value") for each in page.all("input")}


async def test_a_case_that_no_desk_of_ours_wrote_is_shown_nowhere(world: ConsoleWorld) -> None:
    row = world.followed.cases.rows[world.desk.id_of("objection-1")]
    forged = msgspec.structs.replace(row.whole(), ticket="FORGED", count=99)
    world.log.own.append(Output("privacy.cases", 0, row.case.encode(), encode(forged)))
    world.log.own.append(Output("privacy.cases", 0, row.case.encode(), None))
    await world.see()
    assert world.followed.cases.rows[row.case].ticket != "FORGED"
    browser = await world.signed_in()
    assert "Records that no worker of ours wrote" in text(await browser.open("/health"))


# --- decisions ------------------------------------------------------------------------------------------------------


@JS
async def test_a_decision_signed_and_sealed_in_the_browser_is_acted_on(world: ConsoleWorld) -> None:
    """From the page to the desk: the page's own script makes what the server passes on, and the desk acts."""
    case, browser = world.desk.id_of("objection-1"), await world.signed_in()
    page = await browser.open(f"/cases/{case}")
    form = next(each for each in Page(page.body.decode()).all("form") if each.get("id") == "decide")
    told = {name.removeprefix("data-"): value for name, value in form.items() if name.startswith("data-")}
    names = {"officer-x": "officerX", "desk-kid": "deskKid", "desk-x": "deskX"}
    about = {names.get(name, name): value for name, value in told.items()}
    assert about == world.about("officer-1") | {"case": case, "zone": "Europe/London"}
    sealed = world.sealed("officer-1", "decision-001", type="approve", case=case)
    assert (await browser.send(f"/cases/{case}/decision", page, sealed=sealed)).headers["Location"].endswith("?sent=1")
    assert [each.decode() for each in world.passed_on()] == [sealed]
    await world.arrive(world.passed_on()[0])
    assert world.desk.reasons() == []
    found = world.desk.case("objection-1")
    assert (found.waits_for, found.approvals) == ("notice", ("officer-1",)), "the person is told first"
    assert "was passed on" in text(await browser.open(f"/cases/{case}?sent=1"))


@JS
async def test_reasons_are_sealed_and_the_server_is_sent_none_of_them(world: ConsoleWorld) -> None:
    case, browser = world.desk.id_of("objection-1"), await world.signed_in()
    page = await browser.open(f"/cases/{case}")
    [send] = [each for each in Page(page.body.decode()).all("form") if each.get("action", "").endswith("/decision")]
    assert send["id"] == "send"
    fields = page.body.decode().partition('id="send"')[2].partition("</form>")[0]
    assert re.findall(r'name="(\w+)"', fields) == ["token", "sealed"]
    sealed = world.sealed("officer-1", "decision-002", type="refuse", case=case, ground="Weil der Hund bellt — ü")
    assert "Hund" not in sealed
    await world.arrive(sealed.encode())
    assert world.desk.case("objection-1").state == "refused"
    words = [world.desk.words(each) for each in world.desk.notices() if each.kind == "refused"]
    assert [each.ground for each in words] == ["Weil der Hund bellt — ü"]


@JS
async def test_whoever_has_the_server_cannot_make_a_desk_act(world: ConsoleWorld) -> None:
    """
    Everything that the process has, and everything that it has ever passed on, in an attacker's hands.

    It can forge with keys of its own, replay, swap bytes and cases, strip the seal, and send in another's name: the
    desk acts on none of it, for what it acts on is signed by an officer's key.
    """
    case, other = world.desk.id_of("objection-1"), await objection(world, "objection-2")
    about, now = world.about("officer-1"), int(world.desk.at.timestamp())
    once = world.sealed("officer-1", "decision-003", type="clock", event="extend", case=other, ground="Many.")
    claims = {
        "v": 1, "iss": "officer-1", "aud": "calllog-guard", "tenant": "iocom", "jti": "forged-0001", "iat": now,
        "exp": now + LIFETIME_S, "received_at": world.desk.at.isoformat(), "type": "approve", "case": case,
    }  # fmt: skip
    raw, desk = json.dumps(claims).encode(), world.desk_public
    own = (world.desk.folder / "backend-1.pem").read_bytes()
    ahead, _, tail = once.partition("..")
    iv, content, tag = tail.split(".")
    second = world.sealed("officer-2", "decision-004", type="clock", event="extend", case=other, ground="Other.")
    forged = [
        raw,  # plain
        b"e30." + raw + b".",  # a token without a signature
        sign(own, "officer-1", raw).encode(),  # signed by another key under the officer's name
        seal_to(desk, about["deskKid"], sign(own, "officer-1", raw).encode(), cty="JWT").encode(),
        seal_to(desk, about["deskKid"], sign(own, "console-1", raw).encode(), cty="JWT").encode(),
        seal_to(desk, about["deskKid"], raw, cty="JWT").encode(),  # sealed, and signed by nobody
        f"{ahead}..{iv}.{'A' if content[0] != 'A' else 'B'}{content[1:]}.{tag}".encode(),  # changed
        f"{ahead}..{second.split('.')[2]}.{content}.{tag}".encode(),  # parts of two
        f"{second.split('.')[0]}..{iv}.{content}.{tag}".encode(),
    ]
    before = len(world.desk.reasons())
    for token in forged:
        await world.arrive(token)
    assert len(world.desk.reasons()) == before + len(forged), "each is a dead letter"
    assert world.desk.case("objection-1").state == world.desk.case("objection-2").state == "waiting"
    await world.arrive(once.encode())
    assert world.desk.reasons()[before + len(forged) :] == []
    assert world.desk.case("objection-2").extended
    acted = world.desk.case("objection-2")
    for _ in range(2):  # replays
        await world.arrive(once.encode())
    assert world.desk.case("objection-2").acts == acted.acts
    world.desk.at += timedelta(days=2)
    renamed = sign((world.desk.folder / "officer-1.pem").read_bytes(), "officer-2", raw)  # under another's name
    await world.arrive(seal_to(desk, about["deskKid"], renamed.encode(), cty="JWT").encode())
    late = world.sealed("officer-1", "decision-006", type="approve", case=case)
    world.desk.at += timedelta(seconds=LIFETIME_S + 1)
    await world.arrive(late.encode())  # kept back until it has expired
    assert world.desk.case("objection-1").state == "waiting"


async def test_only_what_is_sealed_to_this_tenants_desk_is_passed_on(world: ConsoleWorld) -> None:
    case, browser = world.desk.id_of("objection-1"), await world.signed_in()
    pem, key = (world.desk.folder / "officer-1.pem").read_bytes(), world.desk_public
    token = sign(pem, "officer-1", b"{}")
    for sealed in (
        "", "x", token, "....", seal_to(key, "other-desk", token.encode()), seal_to(key, "iocom-desk", b"x") + "\n",
        seal_to(key, "iocom-desk", b"x" * 300_000), HOSTILE,
    ):  # fmt: skip
        page = await browser.open(f"/cases/{case}")
        assert (await browser.send(f"/cases/{case}/decision", page, sealed=sealed)).status == 409
    assert world.passed_on() == []
    page = await browser.open(f"/cases/{case}")
    sealed = seal_to(key, "iocom-desk", b"x")
    assert (await browser.send("/cases/" + "x" * 22 + "/decision", page, sealed=sealed)).status == 404
    assert (await browser.send(f"/cases/{case}/decision", page, sealed=sealed)).status == 303
    world.log.broken = True
    assert (await browser.send(f"/cases/{case}/decision", page, sealed=sealed)).status == 503


@JS
def test_the_module_signs_as_the_library_does_and_what_it_seals_opens(world: ConsoleWorld) -> None:
    pem, about = (world.desk.folder / "officer-1.pem").read_text(), world.about("officer-1")
    said = {"type": "refuse", "case": "x" * 22, "ground": 'ä€😀 \u2028 "quoted"'}
    found = in_javascript(about, pem, said, world.desk.at, "jti-000001")
    content = unb64(found["token"].split(".")[1].encode())
    assert len(content) % 1024 == 0
    assert json.loads(content)["ground"] == said["ground"]
    assert found["token"] == sign(pem.encode(), "officer-1", content), "Ed25519 is deterministic: byte for byte"
    private = desk_pem(world.desk.vault.desk_key(TENANT, world.desk_key.kid) or b"")[0]
    assert open_sealed(private, found["sealed"]).decode() == found["token"]
    assert found["key"] == [False, ["sign"]], "it cannot be read out"


@JS
@pytest.mark.parametrize(
    ("file", "why"),
    [("officer-2.pem", "another-key"), ("officer-1.pub.pem", "not-a-key"), ("operator-1.pem", "not-a-key")],
)
def test_a_file_that_is_not_the_officers_key_signs_nothing(world: ConsoleWorld, file: str, why: str) -> None:
    pem = (world.desk.folder / file).read_text()
    assert in_javascript(world.about("officer-1"), pem, {}, world.desk.at, "jti-000001") == {"error": why}


async def test_only_acts_that_the_table_of_states_has_are_offered(world: ConsoleWorld) -> None:
    case, browser = world.desk.id_of("objection-1"), await world.signed_in()

    async def offered(name: str) -> list[str]:
        page = Page((await browser.open(f"/cases/{name}")).body.decode())
        return [each["value"] for each in page.all("input") if each.get("name") == "action"]

    found = await offered(case)
    noticed = ["noticed-1", "noticed-2"]  # the person and a recipient were told of the restriction
    assert [each for each in found if each in noticed] == noticed
    acts = ["approve", "refuse", "extend", "ask_identity", "ask_clarification", "ask_fee"]
    assert [each for each in found if each not in noticed] == acts
    await world.desk.ask("erase-0001", CANARY, type="erase")
    await world.see()
    assert await offered(world.desk.id_of("erase-0001")) == ["extend", *noticed]
    key = json.loads(REPLY)
    more = {"authority": "Police", "basis": "A warrant", "notify": "before", "reply_key": key}
    await world.desk.ask("disclose-1", CANARY, by="officer-1", type="disclose", **more)
    await world.see()
    own = next(each for each in world.followed.cases.rows.values() if each.type == "disclose")
    assert "approve" not in await offered(own.case), "the second officer is another one"
    assert "You are the first of two officers" in text(await browser.open(f"/cases/{own.case}"))
    browser = await world.signed_in("officer-2")
    assert "approve" in await offered(own.case)


def test_the_consoles_user_may_do_what_it_does_and_no_more() -> None:
    """By hand: it reads no order, request, decision or leg, answers sealed to others alone, and writes requests and accesses alone."""
    held = {str(topic): row.rights["console"] for topic, row in TABLE.items() if "console" in row.rights}
    assert held == {
        "privacy.requests": "W",
        "privacy.cases": "R",
        "privacy.policy": "R",
        "privacy.receipts": "R",
        "privacy.exports": "R",
        "privacy.access": "RW",
    }
    assert "console" not in KEYSTORE_USERS
    assert "console" not in DOMAIN_OF


async def test_secret_cases_are_nowhere_in_the_console(tmp_path: Path) -> None:
    world = await ConsoleWorld(tmp_path / "secret").start()
    hold = {"id": "h-1", "authority": "Home Office", "basis": "IPA 2016 s.87", "review_at": "2027-01-01T00:00:00Z"}
    for number, secret in enumerate((True, False)):
        more = hold | {"id": f"hold-{number}", "secret": secret}
        await world.desk.ask(f"hold-{number}00", CANARY, by="officer-1", type="hold", hold=more, ticket=f"T-{number}")
    await world.see()
    browser = await world.signed_in()
    assert [row.ticket for row in world.followed.cases.rows.values()] == ["T-1"]
    for path in ("/", "/?q=T-0", "/holds", "/health"):
        assert "T-0" not in text(await browser.open(path)).replace("/?q=T-0", "")
    assert sum(world.followed.unread.values()) == 0


async def test_unusual_days_are_marked(world: ConsoleWorld) -> None:
    today = world.office.today()
    for back, opened in ((4, 40), (3, 60), (2, 50), (1, 200), (0, 160), (-1, 40)):
        line = AccessLine(today - timedelta(back), "billing-1", "service", "", proven=True)
        world.followed.accesses.add(line, Sum(1, opened))
    marked = {row.line.day: row.usual for row in access_rows(world.followed, today)}
    assert {(today - day).days: usual for day, usual in marked.items() if usual is not None} == {1: 50}
    assert "usual are 50" in text(await (await world.signed_in()).open("/access"))


async def test_the_inbox_has_what_waits_and_what_is_due_and_a_search_finds_by_id_ticket_and_day(
    world: ConsoleWorld,
) -> None:
    case = await objection(world, "objection-7", ticket="REF-2026-7")
    browser = await world.signed_in()
    page = text(await browser.open("/"))
    assert "Waits for you (2)" in page
    assert "due within 7 days (0)" in page
    for asked in (case, case[:8], "ref-2026", "2026-11-24"):
        assert case in text(await browser.open(f"/?q={asked}")), asked
    assert "No case is found" in text(await browser.open("/?q=nothing-of-that"))
    world.desk.at += timedelta(days=40)
    browser = await world.signed_in()
    page = text(await browser.open("/"))
    assert "due within 7 days (2)" in page
    assert "days late" in page


async def test_empty_pages_say_what_to_do(tmp_path: Path) -> None:
    world = await ConsoleWorld(tmp_path / "empty").start()
    browser = await world.signed_in()
    for path, told in (
        ("/", "There is no case yet"),
        ("/erasures", "No erasure was observed"),
        ("/holds", "No hold is on record"),
        ("/access", "Nobody opened a record"),
        ("/policy", "No version waits for its day"),
        ("/health", "The log answers"),
    ):
        assert told in text(await browser.open(path))
    world.office.pulse.silent_since = world.desk.at
    assert "The log has not answered since 24 November 2026, 09:00 GMT" in text(await browser.open("/"))


async def test_erasures_later_than_their_objective_are_named_and_the_others_drawn(world: ConsoleWorld) -> None:
    for number in range(3):
        await world.desk.meet(f"person-{number}@example.org")
        await world.desk.ask(f"erase-000{number}", f"person-{number}@example.org", type="erase")
        for stage in ("destroyed", "tombstoned"):
            await world.desk.done(f"erase-000{number}", stage)
    await world.see()
    rows = world.followed.cases.rows
    late, seen, fresh = (rows[world.desk.id_of(f"erase-000{number}")] for number in range(3))
    assert late.removed_at > 0
    replace = msgspec.structs.replace
    world.followed.cases.put(replace(late, removed_at=late.removed_at - 6000, state="observing"))
    world.followed.cases.put(replace(seen, seen=(("absent", 4500.0), ("gone", 109_000.0)), state="closed"))
    world.followed.cases.put(replace(fresh, state="observing"))
    page = Page((await (await world.signed_in()).open("/erasures")).body.decode())
    assert "Later than its objective (1)" in page.text
    assert [each["href"] for each in page.all("a") if late.case in each["href"]] == [f"/cases/{late.case}"]
    assert [each["class"] for each in page.all("circle")] == ["dot", "dot loud"]
    assert "2 are under way" in page.text


async def test_a_forgotten_case_is_shown_no_more_and_an_older_state_replaces_none(world: ConsoleWorld) -> None:
    case = world.desk.id_of("objection-1")
    row = world.followed.cases.rows[case]
    stale = msgspec.structs.replace(row.whole(), count=1, ticket="STALE")
    outputs = [Output("privacy.cases", 0, case.encode(), encode(stale))]
    world.log.own += world.desk.vault.vouched(TENANT, "desk", outputs)
    await world.see()
    assert world.followed.cases.rows[case].ticket == ""
    assert world.followed.cases.counts() == [("object", 1, 1)]
    outputs = [Output("privacy.cases", 0, case.encode(), None)]
    world.log.own += world.desk.vault.vouched(TENANT, "desk", outputs)
    await world.see()
    browser = await world.signed_in()
    assert (await browser.open(f"/cases/{case}")).status == 404
    assert world.followed.cases.counts() == []
    assert world.views() == []
