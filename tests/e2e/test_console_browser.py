"""
The console in a real Chromium on the real stack: one installation, one console, one browser for every test of the file.

An officer signs in at a real provider; what is sent goes through Kafka to a desk, and comes back from there.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from browser_world import Watched, chromium, opened, signed_in_at_provider, signed_sealed_sent
from installation import Installation
from npm_packages import openid_provider
from patience import PATIENCE_S, until
from playwright.async_api import Browser, StorageState
from signing import claims, signed
from test_choices import with_purposes
from test_console import HOSTILE
from test_console_live import with_console
from test_erase import with_calls

from calllog_guard.adapters.memory.fakes import SystemClock
from calllog_guard.console.tasks.addresses import PAGES
from calllog_guard.console.tasks.fields import ORDER, kinds_asked
from calllog_guard.devstack.supervisor import Stack

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]
OFFICERS = {"ann": "officer-1", "ben": "officer-2"}
GROUPS = {person: ["privacy"] for person in OFFICERS}
ANSWER = "answer-key.pem"
NOT_SAME = "not_same_as"


@dataclass
class Office:
    """The installation, its console by its address, a browser, and who has signed in there."""

    guard: Installation
    url: str
    browser: Browser
    states: dict[str, StorageState] = field(default_factory=dict)

    @asynccontextmanager
    async def officer(self, person: str, *, anew: bool = False) -> AsyncIterator[Watched]:
        """A browser of somebody's own; a session that goes on, or one that ends with the test."""
        state = None if anew else self.states.get(person)
        async with opened(self.browser, self.url, state) as seen:
            if state is None:
                await signed_in_at_provider(seen, self.url, person)
            else:
                await seen.page.goto(self.url)
            if not anew:
                self.states[person] = await seen.context.storage_state()
            yield seen

    def key(self, person: str) -> Path:
        """Somebody's key file."""
        return self.guard.directory / "keys" / f"{OFFICERS[person]}.pem"

    def passed_on(self) -> int:
        """How many sealed requests the console has passed on, by its log: the topic is trimmed behind the desk."""
        return (self.guard.directory / "console.log").read_text().count("a sealed request was passed on")

    def case_of(self, jti: str) -> dict[str, Any]:
        """A case by its request's jti; empty while there is none."""
        found = [json.loads(record.value) for record in self.guard.records("privacy.cases", 1)]
        return next((case for case in found if case["jti"] == jti), {})

    async def asked(self, jti: str, *subjects: str, **more: Any) -> str:
        """A request of the backend; its case."""
        request = signed(self.guard.directory, claims(jti, *subjects, **more))
        await asyncio.to_thread(self.guard.publish, "privacy.requests", [request])
        await asyncio.to_thread(self.guard.settled, lambda: bool(self.case_of(jti)), lambda: str(self.guard.dead()))
        return str((await asyncio.to_thread(self.case_of, jti))["case"])


@pytest.fixture(scope="module")
def served(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, str]]:
    """An installation at work, and its console."""
    guard = with_purposes(Installation(stack, tmp_path_factory.mktemp("in a browser")))
    try:
        with openid_provider("s3cret", GROUPS) as issuer:
            url = console_by(guard, issuer)
            guard.start("all")
            with_calls(guard)
            yield guard, url
    finally:
        guard.forget()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office(served: tuple[Installation, str]) -> AsyncIterator[Office]:
    """All of it, with a browser."""
    async with chromium() as browser:
        yield Office(*served, browser)


def console_by(guard: Installation, issuer: str) -> str:
    """A console whose officers sign in at a provider; its address."""
    environment = with_console(guard)
    (guard.directory / "secret").write_text("s3cret")
    file, log = guard.directory / "sign-in.toml", guard.directory / "console.log"
    named = "".join(f'"{person}" = "{officer}"\n' for person, officer in OFFICERS.items())
    file.write_text(
        f'issuer = "{issuer}"\nclient = "console"\nsecret_file = "secret"\nscopes = ["openid", "groups"]\n'
        f'[required]\ngroups = "privacy"\n[officers]\n{named}'
    )
    line = [sys.executable, "-m", "calllog_guard.cli", "console", "--openid", str(file), "--http", "127.0.0.1:0"]
    with log.open("wb") as out:
        guard.workers.append(subprocess.Popen(line, env=os.environ | environment, stderr=out, stdout=out))

    def found() -> list[str]:
        assert guard.workers[-1].poll() is None, log.read_text()
        return re.findall(r'"serves": "(http://[^"]+)"', log.read_text())

    until(lambda: bool(found()), log.read_text)
    return found()[0]


async def shows(seen: Watched, words: str) -> None:
    """Load the page again until it says something."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while words not in await seen.text():
                await seen.page.reload()
    except TimeoutError:
        pytest.fail(f"{seen.page.url} never says {words!r}: {await seen.text()}")


async def chooses(seen: Watched, office: Office, case: str, act: str, words: str = "") -> None:
    """Open a case, and fill in a decision."""
    await seen.page.goto(f"{office.url}/cases/{case}")
    await seen.page.get_by_label(act, exact=True).check()
    await seen.page.locator("#ground").fill(words)


async def became(seen: Watched) -> str:
    """The case that a request has become which was sent just now."""
    await shows(seen, "The desk has ")
    assert "The desk has taken it" in await seen.text(), await seen.text()
    return (await seen.page.locator("main a.id").first.inner_text()).strip()


async def test_an_erasure_is_decided_in_the_inbox_and_certified(office: Office) -> None:
    guard, url = office.guard, office.url
    came = (SystemClock().now() - timedelta(28)).strftime("%Y-%m-%dT%H:%M:%SZ")  # so it is due within days
    case = await office.asked("browser-01", "carol@example.org", identity="unverified", ticket="T-1", received_at=came)
    async with office.officer("ann", anew=True) as seen:
        await shows(seen, case)
        await seen.page.get_by_role("link", name=case).first.click()
        await shows(seen, "waits for a proof of identity")
        await seen.page.get_by_label("Note that identity was shown").check()
        before = office.passed_on()
        await signed_sealed_sent(seen, office.key("ann"), twice=True)
        assert "was passed on" in await seen.text()

        def absent() -> bool:
            return "absent" in office.case_of("browser-01").get("stages", {})

        await asyncio.to_thread(guard.settled, absent, guard.log.read_text)
        await shows(seen, "(final)")
        assert "good" in await seen.text()
        assert office.passed_on() == before + 1, "a double click sends once"
        async with seen.page.expect_download() as file:
            await seen.page.locator("section[aria-labelledby=evidence] a").last.click()
        receipt, page = guard.directory / "receipt.jws", guard.directory / "page.html"
        await (await file.value).save_as(receipt)
        await asyncio.to_thread(verified, guard, receipt, page)
        assert "Certificate of erasure" in page.read_text()
        assert await seen.faults() == []
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
async def test_two_officers_disclose_in_two_browsers_and_neither_alone(office: Office) -> None:
    """The first one tries to approve as well, and to lend the key to the other's browser: nothing is disclosed by it."""
    async with office.officer("ann") as first, office.officer("ben") as second:
        case = await disclosure_asked(first, office)
        await first.page.goto(f"{office.url}/cases/{case}")
        await shows(first, "You are the first of two officers: another one must approve.")
        await approves_alone(first, office)
        await shows(first, "Refused by the desk")
        assert "waits for a second officer" in await first.text()

        await second.page.goto(office.url)
        assert case in await second.text(), "it waits for the second officer"
        await second.page.goto(f"{office.url}/cases/{case}")
        await shows(second, "Records that would be given: 3, of calls in")
        assert await second.faults() == []
        await chooses(second, office, case, "Approve")
        before = office.passed_on()
        await second.page.locator("#file").set_input_files(office.key("ann"))
        await second.page.get_by_role("button", name="Sign, seal and send").click()
        await second.page.get_by_text("That key is not the one that the policy registers for you").wait_for()
        assert office.passed_on() == before
        await signed_sealed_sent(second, office.key("ben"))
        await shows(second, "officer-1 and officer-2")
        assert "Open the answer" not in await second.text(), "the person has not been told"

        await chooses(first, office, case, "Note that a notice was received: person, disclosed")
        await signed_sealed_sent(first, office.key("ann"))
        await shows(first, "Open the answer")
        assert "3; it was as many." in await first.text()
        await answer_opened(first, office)
        await first.page.goto(f"{office.url}/access")
        await shows(first, "answer view")


async def disclosure_asked(seen: Watched, office: Office) -> str:
    """Ask for a disclosure of what is kept of alice, with a pair made for its answer; the case."""
    await seen.page.goto(f"{office.url}/requests/new/disclose")
    await seen.page.locator("#f-subjects").fill("alice@example.org")
    await seen.page.locator("#f-authority").fill("A court")
    await seen.page.locator("#f-basis").fill("Order 7")
    async with seen.page.expect_download() as file:
        await seen.page.locator("#new-pair").click()
    await (await file.value).save_as(office.guard.directory / ANSWER)
    assert "PRIVATE KEY" in (office.guard.directory / ANSWER).read_text()
    await signed_sealed_sent(seen, office.key("ann"))
    return await became(seen)


async def approves_alone(seen: Watched, office: Office) -> None:
    """The first officer is offered no approval, and makes one of the refusal that is offered."""
    assert await seen.page.get_by_label("Approve", exact=True).count() == 0
    refusal = seen.page.get_by_label("Refuse", exact=True)
    await refusal.evaluate("(act) => { act.dataset.type = 'approve'; act.dataset.ground = ''; }")
    await refusal.check()
    await signed_sealed_sent(seen, office.key("ann"))


async def answer_opened(seen: Watched, office: Office) -> None:
    """Open the answer with the key that was made for it: alice's three calls."""
    await seen.page.get_by_role("link", name="Open the answer").click()
    assert "The signature of the receipt that names its parts is good" in await seen.text()
    await seen.page.locator("#file").set_input_files(office.guard.directory / ANSWER)
    await seen.page.get_by_role("button", name="Open it here").click()
    await seen.page.locator("#opened").wait_for()
    assert "each part is one that the receipt names" in await seen.text()
    assert await seen.page.locator("#calls-many").inner_text() == "3"
    assert await seen.faults() == []


@pytest.mark.long
async def test_every_form_is_sent_with_hostile_text_and_its_case_shows_it_as_text(office: Office) -> None:
    """Each type that an officer may send; what may be typed freely is hostile, and names a person whom nobody knows."""
    async with office.officer("ann") as seen:
        await seen.page.goto(f"{office.url}/requests")
        links = await seen.page.locator("main a[href^='/requests/new/']").all()
        kinds = [str(await link.get_attribute("href")).rpartition("/")[2] for link in links]
        assert set(kinds) < set(kinds_asked())
        assert {"erase", "access", "rectify", "restrict", "object", "consent", "complain", "disclose"} <= set(kinds)
        assert ORDER in await seen.text()
        cases = {kind: await sent_hostile(seen, office, kind) for kind in kinds if kind != NOT_SAME}
        await filled_with_hostile_text(seen, office, NOT_SAME)
        await shows(seen, "The desk has refused it, and did nothing.")  # nothing that could end links these two
        await harmless(seen, office, [f"/cases/{each}" for each in cases.values()])


async def sent_hostile(seen: Watched, office: Office, kind: str) -> str:
    """Send a form with hostile text in it; the case."""
    await filled_with_hostile_text(seen, office, kind)
    return await became(seen)


async def filled_with_hostile_text(seen: Watched, office: Office, kind: str) -> None:
    """Fill in a form of a type, and send it."""
    page = seen.page
    await page.goto(f"{office.url}/requests/new/{kind}")
    for each in await page.locator("[data-path]").all():
        path, shape = str(await each.get_attribute("data-path")), str(await each.get_attribute("data-kind"))
        if path == "identity":
            await each.select_option("verified")
        elif path == "subjects":
            await each.fill(f"{kind} {HOSTILE}\n{kind}@example.net")
        elif shape in {"lines", "words", "line"} and not await each.get_attribute("pattern"):
            most = await each.get_attribute("maxlength")
            await each.fill(HOSTILE[: int(most or 100)])
        elif shape == "several":
            await each.check()
        elif path == "time":
            await each.fill("2026-01-02T03:04:05")
    if await page.locator("#f-facts-role").count():
        await page.locator("#f-facts-role").select_option("guest")
    if await page.locator("#new-pair").count():
        async with page.expect_download():
            await page.locator("#new-pair").click()
    await signed_sealed_sent(seen, office.key("ann"))


async def harmless(seen: Watched, office: Office, paths: list[str]) -> None:
    """Nothing of what was typed is markup on any page."""
    for path in paths:
        await seen.page.goto(office.url + path)
        assert await seen.page.locator("main img").count() == 0, path
        assert await seen.page.evaluate("document.querySelectorAll('[onerror],[onload]').length") == 0, path


async def test_every_page_shows_what_the_real_stack_has_done(office: Office) -> None:
    """An objection waits, and the console has shown a case: no page complains; axe looks at them on the fakes."""
    await office.asked("browser-02", "bob@example.org", type="object", purposes=["fraud"], ticket="T-2")
    pages = dict.fromkeys(PAGES, "") | {
        "/": "Waits for you",
        "/?q=T-2": "T-2",
        "/access": "for officer-1",
        "/policy": "fraud",
        "/requests": "Erase my data",
        "/nothing": "",
    }
    async with office.officer("ann") as seen:
        await seen.page.goto(office.url)
        await shows(seen, "T-2")
        await seen.page.locator("main a.id").first.click()
        for path, words in pages.items():
            await seen.page.goto(office.url + path)
            await shows(seen, words)
            assert await seen.page.locator("h1").count() == 1, path


async def test_a_session_that_ended_in_another_window_sends_nothing(office: Office) -> None:
    """What was filled in and signed when the session ended leads to the sign-in, and goes nowhere."""
    case = await office.asked("browser-03", type="complain", ground="Too slow.")
    async with office.officer("ann", anew=True) as seen:
        await shows(seen, case)
        await chooses(seen, office, case, "Approve", "We have looked into it.")
        before = office.passed_on()
        other = await seen.context.new_page()
        await other.goto(office.url)
        await other.get_by_role("button", name="Sign out").click()
        await signed_sealed_sent(seen, office.key("ann"))
        assert await seen.heading() == "Sign in"
        assert office.passed_on() == before
        await seen.page.go_back()
        assert "We have looked into it." not in await seen.page.content()


async def test_a_case_that_changes_under_an_officers_eyes_is_the_desks_to_refuse(office: Office) -> None:
    """Another officer decides while the page lies open: the late decision is refused, and going back sends nothing."""
    case = await office.asked("browser-04", type="complain", ground="Nobody answered.")
    async with office.officer("ann") as first, office.officer("ben") as second:
        for seen in (first, second):
            await shows(seen, case)
            await chooses(seen, office, case, "Approve", HOSTILE)
        before = office.passed_on()
        await signed_sealed_sent(first, office.key("ann"), twice=True)
        await shows(first, "Approved by")
        await signed_sealed_sent(second, office.key("ben"))
        await shows(second, "Refused by the desk")
        await second.page.go_back()
        assert await second.page.get_by_label("Approve", exact=True).count() == 0, (
            "there is nothing to approve any more"
        )
        assert HOSTILE not in await second.page.content()
        assert office.passed_on() == before + 2
        await harmless(first, office, [f"/cases/{case}", "/"])
