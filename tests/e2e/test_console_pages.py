"""
Every page of the console in a real Chromium, served on a socket over a desk on the fakes, whose clock can be set.

`make screenshots` has it write docs/console/ anew (SHOTS).
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from browser_world import Watched, chromium, looked_through, opened, signed_sealed_sent
from console_world import ACTOR, ConsoleWorld
from desk_world import CANARY, POLICY, TENANT
from playwright.async_api import Browser
from test_console import HOSTILE, REVIEWED
from test_console_previews import counted

from calllog_guard.adapters.http.web import WebRequest, WebResponse, WebServer
from calllog_guard.console.sign_in.sessions import IDLE
from calllog_guard.console.site import HEADERS, Site
from calllog_guard.console.tasks import addresses
from calllog_guard.core.codec import encode
from calllog_guard.core.records import Output

pytestmark = [pytest.mark.real, pytest.mark.long]
PAGES = {path.strip("/").replace("/", "-") or "inbox": path for path in addresses.PAGES} | {
    "request": "/requests/new/erase",
    "search": "/?q=T-1",
    "missing": "/nothing",
}
MORE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("erase", {"identity": "unverified"}),
    ("restrict", {"ground": "It is wrong."}),
    ("complain", {"ground": "Too slow."}),
    ("object", {"purposes": [REVIEWED]}),
    ("erase", {}),
)
"""Requests beside the one that the tests are about, so that pages have something to show."""
MOST_HEIGHT, PHONE = 800, 380


@asynccontextmanager
async def served(folder: Path, policy: str = POLICY) -> AsyncIterator[ConsoleWorld]:
    """A console on a socket, with an objection that waits for an officer."""
    site: list[Site] = []

    async def answer(request: WebRequest) -> WebResponse:
        return await site[0].answer(request)

    server = WebServer(answer, 65_536, HEADERS)
    url = f"http://{await server.start('127.0.0.1:0')}"
    world = await ConsoleWorld(folder / "console", url=url, policy=policy + ACTOR).start()
    site.append(world.site)
    await world.desk.ask("objection-1", CANARY, type="object", purposes=[REVIEWED], ticket="T-1")
    await world.see()
    try:
        yield world
    finally:
        await server.stop()


@asynccontextmanager
async def officer(world: ConsoleWorld, browser: Browser, name: str = "officer-1") -> AsyncIterator[Watched]:
    """An officer's browser, signed in by a link."""
    async with opened(browser, world.door.url) as seen:
        await seen.context.clock.set_fixed_time(world.desk.at)
        await seen.page.goto(f"{world.door.url}/sign-in?code={world.door.links.new(name)}")
        await seen.page.get_by_role("button", name="Sign in").click()
        assert await seen.heading() == "Inbox"
        yield seen


async def test_axe_finds_nothing_serious_on_any_page_in_light_or_dark(tmp_path: Path) -> None:
    shots = Path(os.environ["SHOTS"]) if "SHOTS" in os.environ else None
    async with served(tmp_path) as world, chromium() as browser:
        await world.desk.meet(CANARY)
        for number, (kind, more) in enumerate(MORE):
            await world.desk.ask(f"more-request-{number}", CANARY, type=kind, ticket=f"T-{number + 2}", **more)
        await world.desk.later(seconds=1)
        await counted(world)
        await world.see()
        async with opened(browser, world.door.url) as stranger:
            assert await looked_through(stranger, {"sign-in": "/sign-in"}, shots) == []
        async with officer(world, browser) as seen:
            pages = PAGES | {"case": f"/cases/{world.desk.id_of('objection-1')}"}
            assert await looked_through(seen, pages, shots) == []


async def test_pages_fit_a_phone_and_are_read_by_keyboard_alone(tmp_path: Path) -> None:
    async with served(tmp_path) as world, chromium() as browser, officer(world, browser) as seen:
        await seen.page.set_viewport_size({"width": PHONE, "height": MOST_HEIGHT})
        for path in [*PAGES.values(), f"/cases/{world.desk.id_of('objection-1')}"]:
            await seen.page.goto(world.door.url + path)
            assert await seen.page.evaluate("document.documentElement.scrollWidth") <= PHONE, path
            await seen.page.keyboard.press("Tab")
            assert await seen.page.evaluate("document.activeElement.className") == "skip"
            await seen.page.keyboard.press("Enter")
            assert await seen.page.evaluate("document.activeElement.id") == "main"


async def test_a_session_that_has_expired_leads_to_the_sign_in_and_sends_nothing(tmp_path: Path) -> None:
    """The form is filled in when the session ends: what was sealed goes nowhere."""
    async with served(tmp_path) as world, chromium() as browser, officer(world, browser) as seen:
        await seen.page.goto(f"{world.door.url}/cases/{world.desk.id_of('objection-1')}")
        await seen.page.get_by_label("Approve").check()
        world.desk.at += IDLE
        await signed_sealed_sent(seen, world.desk.folder / "officer-1.pem")
        assert await seen.heading() == "Sign in"
        assert world.passed_on() == []


async def test_a_decision_is_sent_once_and_a_case_that_changed_meanwhile_is_the_desks_to_refuse(tmp_path: Path) -> None:
    """Another officer has decided while the page lay open: the second decision is refused, and the page says so."""
    async with (
        served(tmp_path) as world,
        chromium() as browser,
        officer(world, browser) as first,
        officer(world, browser, "officer-2") as second,
    ):
        case = world.desk.id_of("objection-1")
        for seen in (first, second):
            await seen.page.goto(f"{world.door.url}/cases/{case}")
            await seen.page.get_by_label("Approve").check()
        await signed_sealed_sent(first, world.desk.folder / "officer-1.pem", twice=True)
        assert len(world.passed_on()) == 1
        await world.arrive(world.passed_on()[0])
        await first.page.reload()
        assert "waits until the person has been told" in await first.text()
        await signed_sealed_sent(second, world.desk.folder / "officer-2.pem")
        await world.arrive(world.passed_on()[1])
        await second.page.goto(f"{world.door.url}/cases/{case}")
        assert "Refused by the desk" in await second.text()


async def test_after_signing_out_going_back_shows_nothing(tmp_path: Path) -> None:
    async with served(tmp_path) as world, chromium() as browser, officer(world, browser) as seen:
        case = world.desk.id_of("objection-1")
        await seen.page.goto(f"{world.door.url}/cases/{case}")
        views = len(world.views())
        await seen.page.get_by_role("button", name="Sign out").click()
        await seen.page.go_back()
        assert await seen.heading() == "Sign in"
        assert case not in await seen.text()
        assert len(world.views()) == views


async def test_hostile_text_runs_nowhere(tmp_path: Path) -> None:
    policy = POLICY.replace('change = "First."', f"change = {json.dumps(HOSTILE)}").replace(
        'basis = "contract"', f'basis = "contract"\nwhy = {json.dumps(HOSTILE)}'
    )
    async with served(tmp_path, policy) as world, chromium() as browser:
        case = world.desk.id_of("objection-1")
        row = world.followed.cases.rows[case].whole()
        bad = msgspec.structs.replace(row, ticket=HOSTILE, asked_by=HOSTILE, jti=HOSTILE, refusal=HOSTILE)
        output = Output("privacy.cases", 0, case.encode(), encode(bad))
        world.log.own += world.desk.vault.vouched(TENANT, "desk", [output])
        await world.see()
        async with officer(world, browser) as seen:
            for path in [*PAGES.values(), f"/cases/{case}", f"/?q={quote(HOSTILE)}", f"/{quote(HOSTILE, safe='')}"]:
                await seen.page.goto(world.door.url + path)
                assert await seen.page.locator("main img").count() == 0
                assert await seen.page.evaluate("document.querySelectorAll('[onerror],[onload]').length") == 0
            await seen.page.goto(f"{world.door.url}/cases/{case}")
            assert "<script>alert(1)</script>" in await seen.text()
            await seen.page.get_by_label("Refuse").check()
            await seen.page.locator("#ground").fill(HOSTILE)
            await signed_sealed_sent(seen, world.desk.folder / "officer-1.pem")
            assert "was passed on" in await seen.text()


async def test_a_session_that_is_not_used_ends_though_a_page_lies_open(tmp_path: Path) -> None:
    async with served(tmp_path) as world, chromium() as browser, officer(world, browser) as seen:
        world.desk.at += IDLE + timedelta(seconds=1)
        await seen.page.reload()
        assert await seen.heading() == "Sign in"
