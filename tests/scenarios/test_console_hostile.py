"""What somebody tries who can reach the console, or has an officer's browser for a moment: over HTTP alone."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from console_world import URL, Browser, ConsoleWorld
from desk_world import CANARY
from test_console import REVIEWED

from calllog_guard.console.site import SENT, SENT_IN

BEFORE_A_PROXY = ("forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "via")
SECURE = "https://console.example"


@pytest.fixture
async def world(tmp_path: Path) -> ConsoleWorld:
    """A console with a case that waits for an officer."""
    found = await ConsoleWorld(tmp_path / "console").start()
    await found.desk.ask("objection-1", CANARY, type="object", purposes=[REVIEWED])
    await found.see()
    return found


@pytest.mark.parametrize("header", BEFORE_A_PROXY)
async def test_a_console_that_knows_of_no_proxy_serves_nobody_who_comes_by_one(
    world: ConsoleWorld, header: str
) -> None:
    """Its cookies would lack `Secure`, and go over the network in clear: a proxy that writes `Host` anew hides that."""
    browser, found = await world.signed_in(), Browser(world.site, URL)
    assert (await browser.open("/", **{header: "192.0.2.1"})).status == 421
    for answer in (await found.open("/sign-in", **{header: "x"}), await found.post("/sign-in", {}, **{header: "x"})):
        assert (answer.status, answer.cookie) == (421, None)


async def test_a_console_that_is_told_of_its_proxy_serves_and_its_cookies_are_secure(tmp_path: Path) -> None:
    world = await ConsoleWorld(tmp_path / "proxied", url=SECURE).start()
    browser = await world.signed_in()
    assert (await browser.open("/", **dict.fromkeys(BEFORE_A_PROXY, "192.0.2.1"))).status == 200
    assert all("; Secure" in line and line.startswith("__Host-") for line in browser.lines)


async def test_a_session_that_somebody_put_into_a_browser_ends_as_its_owner_signs_in(world: ConsoleWorld) -> None:
    """Whoever knows the session of before knows nothing of the one after, and has lost that of before, too."""
    thief = await world.signed_in()
    known = thief.cookies["console-session"]
    browser = Browser(world.site, URL)
    browser.cookies = {"console-session": known, "console-mark": "chosen"}
    page = await browser.open(f"/sign-in?code={world.door.links.new('officer-2')}")
    assert (await browser.send("/sign-in", page, code=browser.field(page, "code"))).status == 303
    assert browser.cookies["console-session"] != known
    assert (await thief.open("/")).status == 303


@pytest.mark.parametrize("where", ["//evil.example", "https://evil.example/", "/\\evil.example", "%0d%0aX: y"])
async def test_no_address_leads_to_another_site(world: ConsoleWorld, where: str) -> None:
    """Neither after signing in nor after sending a form: where a browser is sent is never taken from what it says."""
    browser = Browser(world.site, URL)
    asked = f"code={world.door.links.new('officer-1')}&next={where}&return_to={where}"
    page = await browser.open(f"/sign-in?{asked}")
    more = {"next": where, "return_to": where}
    done = await browser.send("/sign-in", page, code=browser.field(page, "code"), **more)
    assert (done.status, done.headers["Location"]) == (303, "/")
    sealed = world.sealed("officer-1", "A" * 22, type="complain", ground="Too slow.")
    found = await browser.send("/requests", await browser.open("/"), case=where, sealed=sealed)
    assert (found.status, "Location" in found.headers, world.passed_on()) == (409, False, [])
    for path in (where, f"/{where}", f"/cases/{where}", f"/sign-in/{where}"):
        answers = (await browser.open(path), await Browser(world.site, URL).open(path))
        assert {each.headers.get("Location", "/sign-in") for each in answers} == {"/sign-in"}


HOSTILE_NAMES: Mapping[str, str] = {
    "a folder above": "../../etc/passwd",
    "another case behind it": "{case}/../{case}",
    "a line's end": "{case}\n",
    "a zero": "{case}\x00",
    "letters that look alike": "\uff21" * 22,
    "digits of another script": "\u0661" * 22,
    "too long": "A" * 5000,
    "nothing": "",
    "a template": "{{{{7*7}}}}",
    "markup": "<img src=x onerror=alert(1)>",
}


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES.keys())
async def test_a_name_in_an_address_that_is_no_cases_finds_nothing_and_puts_nothing_on_record(
    world: ConsoleWorld, name: str
) -> None:
    case, browser = world.desk.id_of("objection-1"), await world.signed_in()
    hostile = name.format(case=case)
    page = await browser.open("/")
    for path in (
        f"/cases/{hostile}",
        f"/cases/{hostile}/answer",
        f"/cases/{hostile}/receipts/0",
        f"/requests/new/{hostile}",
        f"/static/{hostile}",
        f"/month?month={hostile.replace('&', '').replace('=', '')}",
    ):
        found = await browser.open(path)
        assert found.status == 404, path
        assert hostile.strip() not in found.body.decode() or not hostile.strip()
    for number in ("-1", "1e9", "9" * 16, "\u0661", "0x0", " 0"):
        assert (await browser.open(f"/cases/{case}/receipts/{number}")).status == 404
    assert (await browser.send(f"/cases/{hostile}/decision", page, sealed="x")).status == 404
    assert world.views() == []


async def test_forms_of_one_officer_are_braked_and_those_of_another_are_not(world: ConsoleWorld) -> None:
    """A page that somebody took over could fill the topic that the desk reads in order."""
    browser, other = await world.signed_in(), await world.signed_in("officer-2")
    page, sealed = await browser.open("/"), world.sealed("officer-1", "A" * 22, type="complain", ground="Slow.")
    for _ in range(SENT):
        assert (await browser.send("/requests", page, case="A" * 22, sealed=sealed)).status == 303
    found = await browser.send("/requests", page, case="A" * 22, sealed=sealed)
    assert (found.status, len(world.passed_on())) == (429, SENT)
    assert "Nothing was sent" in found.body.decode()
    assert (await other.send("/requests", await other.open("/"), case="A" * 22, sealed=sealed)).status == 303
    again = await world.signed_in()
    assert (await again.send("/requests", await again.open("/"), case="A" * 22, sealed=sealed)).status == 429
    world.desk.at += SENT_IN + timedelta(seconds=1)
    assert (await browser.send("/requests", await browser.open("/"), case="A" * 22, sealed=sealed)).status == 303


async def test_signing_out_is_not_braked(world: ConsoleWorld) -> None:
    browser = await world.signed_in()
    page, sealed = await browser.open("/"), world.sealed("officer-1", "A" * 22, type="complain", ground="Slow.")
    for _ in range(SENT + 1):
        await browser.send("/requests", page, case="A" * 22, sealed=sealed)
    assert (await browser.send("/sign-out", page)).headers["Location"] == "/sign-in"
