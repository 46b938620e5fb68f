"""The door with an identity provider: what a browser is sent, what it must bring back, and who is let in."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from console_world import Browser, ConsoleWorld
from html_check import Page
from provider_world import FORM, ISSUER, Provider

from calllog_guard.adapters.http.web import WebResponse
from calllog_guard.console.sign_in.openid import OpenId
from calllog_guard.console.site import Site

URL: Final = "https://console.example"


class Both:
    """A console and its provider."""

    def __init__(self, world: ConsoleWorld) -> None:
        self.world = world
        self.provider = Provider(world.desk.now)
        openid = OpenId(FORM, "", self.provider, URL, world.desk.now)
        self.site = Site(world.office, replace(world.door, officers=(), openid=openid))

    def browser(self) -> Browser:
        """A browser in which nobody is signed in."""
        return Browser(self.site, URL)

    async def begun(self, browser: Browser) -> str:
        """Somebody signs in at the provider; where the browser then goes."""
        sent = await browser.open("/sign-in/start")
        assert sent.status == 303
        back = self.provider.signed_in(sent.headers["Location"])
        return f"/sign-in/return?code={back['code']}&state={back['state']}"

    async def signed_in(self, browser: Browser) -> WebResponse:
        """All of it; a browser comes back from another site."""
        return await browser.open(await self.begun(browser), **{"sec-fetch-site": "cross-site"})


@pytest.fixture
async def both(tmp_path: Path) -> Both:
    """Both."""
    return Both(await ConsoleWorld(tmp_path / "console", url=URL).start())


async def test_an_officer_comes_in_by_the_provider(both: Both) -> None:
    browser = both.browser()
    page = await browser.open("/sign-in")
    assert ISSUER in Page(page.body.decode()).text
    assert "terminal" not in Page(page.body.decode()).text
    found = await both.signed_in(browser)
    assert found.status == 200
    assert 'content="0; url=/"' in found.body.decode()
    assert "Inbox" in Page((await browser.open("/")).body.decode()).text


async def test_the_cookie_that_comes_back_from_another_site_lets_nobody_in(both: Both) -> None:
    browser = both.browser()
    await both.signed_in(browser)
    flow, session = browser.lines
    assert flow.startswith("__Host-console-flow=")
    assert flow.endswith("; Path=/; HttpOnly; SameSite=Lax; Secure")
    assert session.startswith("__Host-console-session=")
    assert session.endswith("; Path=/; HttpOnly; SameSite=Strict; Secure")
    thief = both.browser()
    thief.cookies = {name: value for name, value in browser.cookies.items() if "flow" in name}
    assert (await thief.open("/")).headers["Location"] == "/sign-in"


async def test_an_officers_browser_is_not_signed_in_as_somebody_else(both: Both) -> None:
    """Who has begun a sign-in elsewhere gets an officer's browser to end it (login CSRF): it does not."""
    theirs, mine = both.browser(), both.browser()
    place = await both.begun(theirs)
    for _ in range(2):
        assert (await mine.open(place)).status == 403
        assert not any("session" in line for line in mine.lines)
        await mine.open("/sign-in/start")
    assert (await theirs.open(place)).status == 200


async def test_a_return_counts_once(both: Both) -> None:
    browser = both.browser()
    place = await both.begun(browser)
    assert [(await browser.open(place)).status for _ in range(2)] == [200, 403]


async def test_an_officer_of_the_provider_whom_the_policy_does_not_name_is_not_let_in(both: Both) -> None:
    both.provider.changed = {"sub": "sub-of-a-leaver"}
    found = await both.signed_in(both.browser())
    assert found.status == 403
    assert "You are not signed in" in Page(found.body.decode()).text
    assert "leaver" not in found.body.decode()


async def test_while_the_provider_is_silent_a_page_says_so_and_nobody_comes_in(both: Both) -> None:
    browser = both.browser()
    place = await both.begun(browser)
    both.provider.silent = True
    found = await browser.open(place)
    assert (found.status, "does not answer as it must" in Page(found.body.decode()).text) == (503, True)
    both.provider.silent = False
    assert (await browser.open(place)).status == 403, "that sign-in is over"
    assert (await browser.open("/")).status == 303


async def test_what_a_provider_tells_is_on_no_page(both: Both) -> None:
    browser = both.browser()
    place = (await both.begun(browser)).partition("code=")[0]
    state = (await both.begun(browser)).partition("state=")[2]
    found = await browser.open(f"{place}error=hostile&error_description=hostile&state={state}")
    assert found.status == 403
    assert "hostile" not in found.body.decode()


async def test_there_is_no_link_of_a_terminal_where_nobody_gets_one(both: Both) -> None:
    browser = both.browser()
    page = await browser.open("/sign-in?code=abc")
    assert (await browser.send("/sign-in/link", page)).status == 403
    assert both.world.told == []
    assert (await browser.send("/sign-in/start", page)).status == 404
    assert (await browser.open("/sign-in/anything")).status == 404


async def test_without_a_provider_its_addresses_are_none(tmp_path: Path) -> None:
    world = await ConsoleWorld(tmp_path / "console").start()
    browser = Browser(world.site, world.door.url)
    for path in ("/sign-in/start", "/sign-in/return", "/sign-in/away"):
        assert (await browser.open(path)).status == 404
