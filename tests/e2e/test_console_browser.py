"""The console in a real Chromium on the real stack: an erasure from the inbox to its certificate, by a real sign-in."""

import asyncio
import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from browser_world import Watched, chromium, looked_through, opened, signed_in_at_provider, signed_sealed_sent
from installation import Installation, Make
from npm_packages import openid_provider
from patience import PATIENCE_S, until
from signing import claims, signed
from test_choices import with_purposes
from test_console_live import with_console
from test_erase import with_calls

from calllog_guard.adapters.memory.fakes import SystemClock

pytestmark = pytest.mark.real
PEOPLE = {"ann": "officer-1", "ben": "officer-2"}
GROUPS = {person: ["privacy"] for person in PEOPLE}


def console_by(guard: Installation, issuer: str) -> str:
    """A console whose officers sign in at a provider; its address."""
    environment = with_console(guard)
    (guard.directory / "secret").write_text("s3cret")
    file, log = guard.directory / "sign-in.toml", guard.directory / "console.log"
    named = "".join(f'"{person}" = "{officer}"\n' for person, officer in PEOPLE.items())
    file.write_text(
        f'issuer = "{issuer}"\nclient = "console"\nsecret_file = "secret"\nscopes = ["openid", "groups"]\n'
        f'[required]\ngroups = "privacy"\n[officers]\n{named}'
    )
    line = [sys.executable, "-m", "calllog_guard.cli", "console", "--openid", str(file), "--http", "127.0.0.1:0"]
    with log.open("wb") as out:
        guard.workers.append(subprocess.Popen(line, env=os.environ | environment, stderr=out, stdout=out))

    def served() -> list[str]:
        assert guard.workers[-1].poll() is None, log.read_text()
        return re.findall(r'"serves": "(http://[^"]+)"', log.read_text())

    until(lambda: bool(served()), log.read_text)
    return served()[0]


def passed_on(guard: Installation) -> int:
    """How many sealed requests the console has passed on, by its log: the topic is trimmed behind the desk."""
    return (guard.directory / "console.log").read_text().count("a sealed request was passed on")


def case_of(guard: Installation, jti: str) -> dict[str, Any]:
    """A case by its request's jti; empty while there is none."""
    found = [json.loads(record.value) for record in guard.records("privacy.cases", 1)]
    return next((case for case in found if case["jti"] == jti), {})


def stages_of(guard: Installation) -> dict[str, str]:
    """How far the erasure of the first test is."""
    found: dict[str, str] = case_of(guard, "browser-01").get("stages", {})
    return found


async def shows(seen: Watched, words: str) -> None:
    """Load the page again until it says something."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while words not in await seen.text():
                await seen.page.reload()
    except TimeoutError:
        pytest.fail(f"{seen.page.url} never says {words!r}: {await seen.text()}")


async def test_an_erasure_is_decided_in_the_inbox_and_certified(make: Make) -> None:
    guard = make()
    with openid_provider("s3cret", GROUPS) as issuer:
        url = await asyncio.to_thread(console_by, guard, issuer)
        guard.start("all")
        await asyncio.to_thread(with_calls, guard)
        came = (SystemClock().now() - timedelta(28)).strftime("%Y-%m-%dT%H:%M:%SZ")  # so it is due within days
        more = {"identity": "unverified", "ticket": "T-1", "received_at": came}
        request = claims("browser-01", "alice@example.org", **more)
        await asyncio.to_thread(guard.publish, "privacy.requests", [signed(guard.directory, request)])
        await asyncio.to_thread(guard.settled, lambda: bool(case_of(guard, "browser-01")), lambda: str(guard.dead()))
        case = (await asyncio.to_thread(case_of, guard, "browser-01"))["case"]
        async with chromium() as browser, opened(browser, url) as seen:
            await signed_in_at_provider(seen, url, "ann")
            await shows(seen, case)
            await seen.page.get_by_role("link", name=case).first.click()
            await shows(seen, "waits for a proof of identity")
            await seen.page.get_by_label("Note that identity was shown").check()
            await signed_sealed_sent(seen, guard.directory / "keys" / "officer-1.pem", twice=True)
            assert "was passed on" in await seen.text()
            await asyncio.to_thread(guard.settled, lambda: "absent" in stages_of(guard), guard.log.read_text)
            await shows(seen, "(final)")
            assert "good" in await seen.text()
            assert passed_on(guard) == 1, "a double click sends once"
            async with seen.page.expect_download() as file:
                await seen.page.locator("section[aria-labelledby=evidence] a").last.click()
            receipt, page = guard.directory / "receipt.jws", guard.directory / "page.html"
            await (await file.value).save_as(receipt)
            await asyncio.to_thread(verified, guard, receipt, page)
            assert "Certificate of erasure" in page.read_text()
            assert await looked_through(seen, {"case": f"/cases/{case}"}) == []
            await signed_out(seen, url, case)


def verified(guard: Installation, receipt: Path, page: Path) -> None:
    """Verify a receipt offline, and make its page."""
    public = guard.directory / "keys" / "iocom-receipts.pub.pem"
    guard.cli("receipt", "verify", str(receipt), "--key", str(public), "--page", str(page))


async def signed_out(seen: Watched, url: str, case: str) -> None:
    """Sign out; going back shows nothing any more."""
    await seen.page.goto(f"{url}/cases/{case}")
    await seen.page.get_by_role("button", name="Sign out").click()
    assert await seen.heading() == "Sign in"
    await seen.page.go_back()
    assert case not in await seen.text()
    assert await seen.heading() == "Sign in"


@pytest.mark.long
async def test_two_officers_disclose_in_two_browsers(make: Make) -> None:
    guard = with_purposes(make())
    with openid_provider("s3cret", GROUPS) as issuer:
        url = await asyncio.to_thread(console_by, guard, issuer)
        guard.start("all")
        await asyncio.to_thread(with_calls, guard)
        keys = guard.directory / "keys"
        async with chromium() as browser, opened(browser, url) as first, opened(browser, url) as second:
            await signed_in_at_provider(first, url, "ann")
            await first.page.goto(f"{url}/requests/new/disclose")
            page = first.page
            await page.locator("#f-subjects").fill("alice@example.org")
            await page.locator("#f-authority").fill("A court")
            await page.locator("#f-basis").fill("Order 7")
            async with page.expect_download() as file:
                await page.locator("#new-pair").click()
            await (await file.value).save_as(guard.directory / "answer-key.pem")
            assert "PRIVATE KEY" in (guard.directory / "answer-key.pem").read_text()
            await signed_sealed_sent(first, keys / "officer-1.pem")
            while not await page.locator("main a.id").count():
                await page.reload()
            case = (await page.locator("main a.id").first.inner_text()).strip()
            await page.goto(f"{url}/cases/{case}")
            await shows(first, "You are the first of two officers: another one must approve.")
            await signed_in_at_provider(second, url, "ben")
            assert case in await second.text(), "it waits for the second officer"
            await second.page.goto(f"{url}/cases/{case}")
            await second.page.get_by_label("Approve", exact=True).check()
            await signed_sealed_sent(second, keys / "officer-2.pem")
            await shows(second, "officer-1 and officer-2")
            await shows(first, "The person is being told before anything is done")
