"""New requests and answers in a real Chromium: what is typed and what is opened there is sent nowhere."""

import os
from pathlib import Path

import msgspec
import pytest
from answers_data import parts
from browser_world import LIGHT_AND_DARK, Watched, chromium, looked_through, signed_sealed_sent
from console_world import ConsoleWorld
from desk_world import CANARY
from playwright.async_api import Request
from test_console import HOSTILE
from test_console_pages import officer, served

from calllog_guard.console.tasks.fields import kinds_asked, why_not
from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.jose import public_forms, seal_to
from calllog_guard.core.records import Output

pytestmark = [pytest.mark.real, pytest.mark.long]
TYPED = "canary-typed@example.org"
LEAST_FORMS = 8
"""Of the twelve types or so that open a case, those that the tests' policy has a form for, at least."""


def heard(seen: Watched) -> list[str]:
    """What the browser asks of any server from now on."""
    found = list[str]()

    def note(request: Request) -> None:
        found.append(f"{request.method} {request.url} {request.post_data or ''}")

    seen.page.on("request", note)
    return found


async def test_a_copy_is_asked_for_with_a_pair_that_the_browser_makes_and_nothing_typed_is_sent(tmp_path: Path) -> None:
    async with served(tmp_path) as world, chromium() as browser, officer(world, browser) as seen:
        page, asked = seen.page, heard(seen)
        await page.goto(f"{world.door.url}/requests")
        await page.get_by_role("link", name="A copy of my data").click()
        await page.get_by_label("Identifiers of the person").fill(f"{TYPED}\ncanary-second@example.org")
        await page.get_by_label("Whether it is sure who asks").select_option("verified")
        await page.get_by_label("Day on which it came").fill("2026-11-20")
        await page.get_by_label("Ticket").fill("T-9")
        async with page.expect_download() as saved:
            await page.get_by_role("button", name="Make a new pair").click()
        pem = await (await saved.value).path()
        assert pem.read_text().startswith("-----BEGIN PRIVATE KEY-----")
        await signed_sealed_sent(seen, world.desk.folder / "officer-1.pem")
        await world.arrive(world.passed_on()[0])
        await page.get_by_role("link", name="Look again").click()
        assert "The desk has taken it" in await seen.text()
        [row] = [each for each in world.followed.cases.rows.values() if each.type == "access"]
        assert (row.ticket, row.day) == ("T-9", "2026-11-20")
        assert not any("canary" in each or "PRIVATE" in each for each in asked)
        await page.go_back()
        await page.go_back()
        if await page.locator("#f-subjects").count():
            assert await page.locator("#f-subjects").input_value() == "", "the browser does not keep it"


async def test_a_form_without_scripts_sends_nothing_at_all(tmp_path: Path) -> None:
    async with served(tmp_path) as world, chromium() as browser, officer(world, browser) as seen:
        state = await seen.context.storage_state()
        context = await browser.new_context(java_script_enabled=False, storage_state=state)
        bare = Watched(context, await context.new_page(), world.door.url)
        asked = heard(bare)
        await bare.page.goto(f"{world.door.url}/requests/new/erase")
        await bare.page.locator("#f-subjects").fill(TYPED)
        await bare.page.locator("#file").set_input_files(world.desk.folder / "officer-1.pem")
        await bare.page.locator("#ask button[type=submit]").click()
        await bare.page.locator("#f-subjects").press("Enter")
        assert bare.page.url == f"{world.door.url}/requests/new/erase"
        assert not any("canary" in each or each.startswith("POST") for each in asked)
        await context.close()


async def answered(world: ConsoleWorld) -> str:
    """A case whose answer lies there, with hostile text in it."""
    key = public_forms((world.desk.folder / "asker.pub.pem").read_bytes())[1]
    await world.desk.meet(CANARY)
    await world.desk.ask("access-001", CANARY, type="access", reply_key=key)
    await world.desk.done("access-001", "exported")
    await world.see()
    world.log.without = frozenset({"privacy.exports"})
    case = world.desk.id_of("access-001")
    for part in parts(world.desk.folder):
        legs = tuple(msgspec.structs.replace(leg, role=HOSTILE, subject="=1+1") for leg in part.legs)
        made = msgspec.structs.replace(part, case=case, legs=legs)
        token = seal_to((world.desk.folder / "asker.pub.pem").read_bytes(), "asker", encode(made))
        world.log.own.append(Output("privacy.exports", 0, f"{case}.{part.part}".encode(), token.encode()))
    return case


async def test_an_answer_is_opened_shown_and_saved_and_nothing_of_it_is_sent(tmp_path: Path) -> None:
    async with served(tmp_path) as world, chromium() as browser, officer(world, browser) as seen:
        case, page = await answered(world), seen.page
        await page.goto(f"{world.door.url}/cases/{case}")
        await page.get_by_role("link", name="Open the answer").click()
        await page.wait_for_load_state("networkidle")
        asked = heard(seen)
        await page.locator("#file").set_input_files(world.desk.folder / "gateway.pem")
        await page.get_by_role("button", name="Open it here").click()
        await page.get_by_text("It does not open with this key").wait_for()
        assert not await page.locator("#opened").is_visible()
        await page.locator("#file").set_input_files(world.desk.folder / "asker.pem")
        await page.get_by_role("button", name="Open it here").click()
        await page.locator("#opened").wait_for()
        shown = await page.locator("#opened").inner_text()
        assert "<script>alert(1)</script>" in shown
        assert "Serious Fraud Office" in shown
        assert await page.locator("#opened img, #opened script").count() == 0
        for scheme in LIGHT_AND_DARK:
            await page.emulate_media(color_scheme=scheme)
            assert await seen.faults() == [], scheme
        for name, begins in (("Save all", b"{"), ("Save the calls", b"call,")):
            async with page.expect_download() as saved:
                await page.get_by_role("button", name=name).click()
            content = (await (await saved.value).path()).read_bytes()
            assert content.startswith(begins)
        assert b"'=1+1" in content, "a spreadsheet runs none of it"
        assert [each for each in asked if not each.startswith("GET blob:")] == []


async def test_axe_finds_nothing_serious_in_any_form_and_on_what_follows_it(tmp_path: Path) -> None:
    """Every type that has a form, an answer before it is opened, what became of a request, and a page that is refused."""
    async with served(tmp_path) as world, chromium() as browser, officer(world, browser) as seen:
        case, table = await answered(world), world.office.table()
        pages: dict[str, str] = {kind: f"/requests/new/{kind}" for kind in kinds_asked() if not why_not(kind, table)}
        assert len(pages) >= LEAST_FORMS
        pages |= {"answer": f"/cases/{case}/answer", "taken": f"/requests/{case}", "unknown": f"/requests/{'A' * 22}"}
        assert await looked_through(seen, pages) == []
        if "SHOTS" in os.environ:
            await looked_through(seen, {"answer": pages["answer"]}, Path(os.environ["SHOTS"]))
        await seen.page.goto(world.door.url)
        await seen.page.locator("form.out input[name=token]").evaluate("(it) => { it.value = 'x'; }")
        await seen.page.get_by_role("button", name="Sign out").click()
        assert await seen.heading() == "Not done"
        assert await seen.faults() == []


async def test_when_to_look_again_is_asked_for_where_telling_is_put_off(tmp_path: Path) -> None:
    async with served(tmp_path) as world, chromium() as browser, officer(world, browser) as seen:
        await world.desk.meet(CANARY)
        case = await world.disclosed_untold(CANARY)
        await seen.page.goto(f"{world.door.url}/cases/{case}")
        field = seen.page.get_by_label("When to look again")
        assert not await field.is_visible()
        await seen.page.get_by_label("Put off telling the person").check()
        await field.fill("2027-07-01T09:30")
        await signed_sealed_sent(seen, world.desk.folder / "officer-1.pem")
        await world.arrive(world.passed_on()[0])
        found = world.desk.case("disclose-1").review_at
        assert found is not None
        assert found.isoformat() == "2027-07-01T08:30:00+00:00"
