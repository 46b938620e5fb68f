"""Sign-in by a real OpenID provider (npm's oidc-provider, a process of its own), over real sockets; the desk is a fake."""

import asyncio
import html
import re
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from console_world import ConsoleWorld
from html_check import Page
from npm_packages import openid_provider

from calllog_guard.adapters.http.identity_provider import HttpIdentityProvider
from calllog_guard.adapters.http.web import WebRequest, WebResponse, WebServer
from calllog_guard.adapters.memory.fakes import SystemClock
from calllog_guard.console.sign_in.openid import OpenId
from calllog_guard.console.sign_in.provider_file import ProviderForm
from calllog_guard.console.site import HEADERS, Site

pytestmark = pytest.mark.real
SECRET = "a secret of tests: +/% "  # noqa: S105
GROUPS = {"ann": ["privacy", "staff"], "ben": ["privacy"], "eve": ["staff"], "zoe": ["privacy"]}


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """A provider; its address."""
    with openid_provider(SECRET, GROUPS) as place:
        yield place


class Served:
    """A console on a socket, and browsers, which ask from threads of their own."""

    def __init__(self, world: ConsoleWorld) -> None:
        self.world, self.url = world, ""
        self.site: Site | None = None

    async def answer(self, request: WebRequest) -> WebResponse:
        """See WebServer."""
        assert self.site is not None
        return await self.site.answer(request)

    def by(self, issuer: str) -> None:
        """Let officers sign in at a provider."""
        form = ProviderForm(
            issuer=issuer,
            client="console",
            scopes=("openid", "groups"),
            max_age_s=600,
            required={"groups": "privacy"},
            officers={"ann": "officer-1", "ben": "officer-2", "eve": "officer-1", "zoe": "officer-9"},
        )
        door = self.world.door
        openid = OpenId(form, SECRET, HttpIdentityProvider(), self.url, SystemClock().now)
        self.site = Site(
            self.world.office, type(door)(self.url, (), door.links, door.sessions, door.guesses, print, openid)
        )


@pytest.fixture
async def served(tmp_path: Path, provider: str) -> AsyncIterator[Served]:
    """A console by that provider, and by its clock."""
    found = Served(await ConsoleWorld(tmp_path / "console").start())
    server = WebServer(found.answer, 65_536, HEADERS)
    found.url = f"http://{await server.start('127.0.0.1:0')}"
    found.by(provider)
    yield found
    await server.stop()


class Web:
    """A browser that follows redirections and keeps cookies."""

    def __init__(self) -> None:
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self.at = ""

    def ask(self, url: str, form: Mapping[str, str] | None = None, **headers: str) -> tuple[int, str]:
        """A page: its status, and its text."""
        data = None if form is None else urlencode(form).encode()
        try:
            with self._opener.open(urllib.request.Request(url, data, headers), timeout=60) as answer:  # noqa: S310
                self.at = answer.url
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                self.at = error.url or ""
                return error.code, error.read().decode()

    def sign_in(self, url: str, person: str) -> tuple[int, str]:
        """Sign in as somebody."""
        status, page = self.ask(f"{url}/sign-in/start")
        while 'name="prompt"' in page:
            action = html.unescape(re.findall(r'action="([^"]+)"', page)[0])
            [prompt] = re.findall(r'name="prompt" value="(\w+)"', page)
            status, page = self.ask(action, {"prompt": prompt, "login": person, "password": "any"})
        return status, page


async def apart(work: Callable[..., tuple[int, str]], *words: Any, **more: str) -> tuple[int, str]:
    """What a browser does, while this loop serves."""
    return await asyncio.to_thread(work, *words, **more)


async def test_an_officer_signs_in_at_the_provider_and_out_at_both(served: Served, provider: str) -> None:
    web = Web()
    assert "account at " + provider in Page((await apart(web.ask, f"{served.url}/"))[1]).text
    status, page = await apart(web.sign_in, served.url, "ann")
    assert (status, "Signed in as officer-1" in Page(page).text) == (200, True)
    assert 'http-equiv="refresh" content="0; url=/"' in page
    status, page = await apart(web.ask, f"{served.url}/")
    assert (status, "Inbox" in Page(page).text) == (200, True)
    token = page.partition('name="token" value="')[2].partition('"')[0]
    await apart(web.ask, f"{served.url}/sign-out", {"token": token}, Origin=served.url)
    assert web.at.startswith(f"{served.url}/sign-in")
    status, page = await apart(web.sign_in, served.url, "ben")
    assert "officer-1" in page, "the session at the provider goes on"
    status, page = await apart(web.ask, f"{served.url}/sign-in/away")
    assert web.at.startswith(provider)
    form = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page))
    action = re.findall(r'action="([^"]+)"', page)[0]
    await apart(web.ask, html.unescape(action), form | {"logout": "yes"})
    assert web.at == f"{served.url}/sign-in"
    assert "officer-2" in (await apart(web.sign_in, served.url, "ben"))[1]


@pytest.mark.parametrize("person", ["stranger", "eve", "zoe"])
async def test_whoever_is_no_officer_or_lacks_the_role_is_not_let_in(served: Served, person: str) -> None:
    """A stranger to the file; one in the file without the role; one whom the policy does not name."""
    web = Web()
    status, page = await apart(web.sign_in, served.url, person)
    assert (status, "You are not signed in" in Page(page).text) == (403, True)
    assert person not in page
    assert web.at.startswith(served.url)
    assert (await apart(web.ask, f"{served.url}/"))[1].count("<h1>Sign in</h1>") == 1


async def test_an_address_that_was_come_back_to_lets_nobody_in_again(served: Served) -> None:
    web, other = Web(), Web()
    assert (await apart(web.sign_in, served.url, "ann"))[0] == 200
    came = web.at
    assert "/sign-in/return?code=" in came
    for browser in (web, other):
        assert (await apart(browser.ask, came))[0] == 403


async def test_another_key_of_the_provider_counts_at_once(served: Served, provider: str) -> None:
    assert (await apart(Web().sign_in, served.url, "ann"))[0] == 200
    await apart(Web().ask, f"{provider}/test/rotate", {})
    assert (await apart(Web().sign_in, served.url, "ann"))[0] == 200


async def test_while_the_provider_is_away_nobody_comes_in(served: Served) -> None:
    with openid_provider(SECRET, GROUPS) as place:
        pass
    served.by(place)
    status, page = await apart(Web().ask, f"{served.url}/sign-in/start")
    assert (status, "does not answer as it must" in Page(page).text) == (503, True)
    assert (await apart(Web().ask, f"{served.url}/sign-in"))[0] == 200


async def test_a_provider_under_another_name_is_none(served: Served, provider: str) -> None:
    """The same server, asked by another name than the one it has."""
    served.by(provider.replace("127.0.0.1", "localhost"))
    assert (await apart(Web().ask, f"{served.url}/sign-in/start"))[0] == 503


async def test_a_secret_that_is_not_ours_lets_nobody_in(served: Served) -> None:
    with openid_provider("another", GROUPS) as place:
        served.by(place)
        assert (await apart(Web().sign_in, served.url, "ann"))[0] == 403
