"""A real Chromium for tests: started once a test, watched for whatever a page must not do, asked by axe-core."""

import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

from npm_packages import lacking, node_modules
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    StorageState,
    ViewportSize,
    async_playwright,
)

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_QUIET: Final = ("--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update")
_GRAVE: Final = {"serious", "critical"}
LIGHT_AND_DARK: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
_LAYOUT: Final = ViewportSize(width=1100, height=800)


def executable() -> str:
    """The machine's Chromium: `CHROMIUM`, else on the path."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    return found or lacking("chromium")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser without a window."""
    path = executable()
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        found = await playwright.chromium.launch(executable_path=path, args=[*_QUIET, *root])
        try:
            yield found
        finally:
            await found.close()


def page_url(said: ConsoleMessage) -> str:
    """Where something was said."""
    return str(said.location["url"])


class Watched:
    """A browser's context with one page; what scripts, policies and the console complained of is kept."""

    def __init__(self, context: BrowserContext, page: Page, url: str) -> None:
        self.context, self.page, self.url = context, page, url
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))
        page.on("console", self._said)

    def _said(self, said: ConsoleMessage) -> None:
        """A page of ours complains; that a page is refused is none."""
        ours = page_url(said).startswith(self.url)
        if ours and said.type in {"error", "warning"} and "Failed to load resource" not in said.text:
            self.complaints.append(f"{page_url(said)}: {said.text}")

    async def heading(self) -> str:
        """The page's first heading."""
        return (await self.page.locator("h1").first.inner_text()).strip()

    async def text(self) -> str:
        """What a reader reads."""
        return await self.page.locator("body").inner_text()

    async def faults(self) -> list[str]:
        """What axe-core finds that is serious, as the page is now."""
        script = (node_modules() / "axe-core" / "axe.min.js").read_text("utf-8")
        await self.page.evaluate(script)
        found: Any = await self.page.evaluate("axe.run(document)")
        assert len(found["passes"]) > 5, "axe looked at the page"
        grave = [each for each in found["violations"] if each["impact"] in _GRAVE]
        return [f"{each['id']}: {node['html'][:200]}" for each in grave for node in each["nodes"]]


@asynccontextmanager
async def opened(browser: Browser, url: str, state: StorageState | None = None) -> AsyncIterator[Watched]:
    """A context of its own, as another person's browser; no page below an address may complain in it."""
    context = await browser.new_context(viewport=_LAYOUT, locale="en-GB", storage_state=state)
    found = Watched(context, await context.new_page(), url)
    yield found
    await context.close()
    assert not found.complaints, found.complaints


async def looked_through(seen: Watched, paths: Mapping[str, str], shots: Path | None = None) -> list[str]:
    """Pages by their names, in light and in dark, asked by axe-core; what is serious. With `shots` a picture of each."""
    found = []
    for scheme in LIGHT_AND_DARK:
        await seen.page.emulate_media(color_scheme=scheme)
        for name, path in paths.items():
            await seen.page.goto(seen.url + path)
            found += [f"{name} {scheme} {fault}" for fault in await seen.faults()]
            if shots is not None:
                await seen.page.screenshot(path=shots / f"{name}-{scheme}.png", full_page=True)
    await seen.page.emulate_media(color_scheme="light")
    return found


async def signed_in_at_provider(seen: Watched, url: str, person: str) -> None:
    """Sign in at the provider of tests, as a person does: by links and forms."""
    page = seen.page
    await page.goto(url)
    await page.get_by_role("link", name="Sign in with that account").click()
    await page.locator("input[name=login]").fill(person)
    await page.locator("input[name=password]").fill("any")
    await page.locator("button[type=submit]").click()
    await page.get_by_role("button", name="Continue").click()
    await page.wait_for_url(f"{url}/")


async def signed_sealed_sent(seen: Watched, key: Path | None, *, twice: bool = False) -> None:
    """Open the key file, and send the form that is filled in."""
    if key is not None:
        await seen.page.locator("#file").set_input_files(key)
    button = seen.page.get_by_role("button", name="Sign, seal and send")
    async with seen.page.expect_navigation():
        await (button.dblclick() if twice else button.click())
