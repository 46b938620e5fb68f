"""What an officer can say of notices and reviews in the console, and when holds are to be reviewed."""

import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from answers_data import case
from console_world import ACTOR, ConsoleWorld, javascript
from desk_world import CANARY, POLICY, TENANT
from html_check import Page

from calllog_guard.console.briefing import briefing
from calllog_guard.core.answers.refused_request import RefusedRequest
from calllog_guard.core.cases.notices import Sent
from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.jose import sign
from calllog_guard.core.decisions.decision import case_id, request_name
from calllog_guard.core.records import Output

JS = pytest.mark.skipif(shutil.which("node") is None, reason="what a browser does is done in Node")
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}</textarea>\u202e javascript:alert(1)//"
HOLD = {"authority": "High Court", "basis": "legal_claims", "review_at": "2027-06-01T00:00:00Z"}


@pytest.fixture
async def world(tmp_path: Path) -> ConsoleWorld:
    """A console over a desk that knows somebody."""
    found = await ConsoleWorld(tmp_path / "console", policy=POLICY + ACTOR).start()
    await found.desk.meet(CANARY)
    return found


async def choices(world: ConsoleWorld, case: str) -> list[dict[str, str]]:
    """What is offered on the page of a case, as the page says it."""
    page = Page((await (await world.signed_in()).open(f"/cases/{case}")).body.decode())
    return [each for each in page.all("input") if each.get("name") == "action"]


async def said(world: ConsoleWorld, case: str, name: str, jti: str, **more: str) -> None:
    """Choose what is offered, as the page's script does, and let the desk have it."""
    [chosen] = [each for each in await choices(world, case) if each["value"] == name]
    code = "const found = it.decided(asked.chosen, asked.about, asked.ground, asked.review);"
    data = {key.removeprefix("data-"): value for key, value in chosen.items() if key.startswith("data-")}
    about = {"case": case, "zone": "Europe/London"}
    values = {"ground": "", "review": ""} | more
    claims = javascript("filled.js", code, chosen=data, about=about, **values)
    await world.arrive(world.sealed("officer-1", jti, **claims).encode())


@JS
async def test_a_notice_that_somebody_received_is_noted_by_an_officer_and_leads_a_waiting_case_on(
    world: ConsoleWorld,
) -> None:
    await world.desk.ask("restrict-1", CANARY, type="restrict")
    await world.desk.ask("lift-00001", CANARY, type="lift")
    await world.see()
    case = world.desk.id_of("lift-00001")
    assert world.desk.case("lift-00001").waits_for == "notice"
    offered = {each["value"]: (each["data-to"], each["data-notice"]) for each in await choices(world, case)}
    names = {to: value for value, (to, _) in offered.items() if to}
    assert offered[names["person"]] == ("person", "lifting")
    await said(world, case, names["person"], "noticed-01")
    assert world.desk.reasons() == []
    assert world.desk.case("lift-00001").notices["person/lifting"].acknowledged_at is not None
    assert world.desk.case("lift-00001").waits_for is None, "the person has been told: it goes on"
    assert ("person", "lifting") not in {
        (each["data-to"], each["data-notice"]) for each in await choices(world, case)
    }, "nothing waits for it any more"


@JS
async def test_telling_a_person_of_a_disclosure_is_put_off_to_a_day_in_the_tenants_zone(world: ConsoleWorld) -> None:
    case = await world.disclosed_untold(CANARY)
    assert world.desk.case("disclose-1").review_at is not None
    offered = {each["value"]: each["data-review"] for each in await choices(world, case)}
    assert (offered["tell"], offered["not_yet"]) == ("", "must")
    await said(world, case, "not_yet", "put-off-01", review="2027-07-01T09:30")
    assert world.desk.reasons() == []
    found = world.desk.case("disclose-1").review_at
    assert found is not None
    assert found.isoformat() == "2027-07-01T08:30:00+00:00"
    await said(world, case, "tell", "tell-00001")
    assert world.desk.reasons() == []
    assert "not_yet" not in {each["value"] for each in await choices(world, case)}


async def test_a_hold_is_shown_with_its_review_unless_it_is_secret_or_released(world: ConsoleWorld) -> None:
    for number, secret in enumerate((False, True, False)):
        hold = HOLD | {"id": f"hold-{number}", "secret": secret}
        await world.desk.ask(f"hold-{number}00", CANARY, by="officer-1", type="hold", hold=hold, ticket=f"T-{number}")
    secret_case = world.desk.book.get(world.desk.id_of("hold-100"))
    assert secret_case is not None
    assert secret_case.review_at is None, "of a secret hold its terms alone say it"
    await world.see()
    browser = await world.signed_in()
    body = (await browser.open("/holds")).body.decode()
    assert Page(body).text.count("1 June 2027") == 2
    assert body.count('<tr class="loud">') == 0
    world.desk.at += timedelta(days=300)
    browser = await world.signed_in()
    assert (await browser.open("/holds")).body.decode().count('<tr class="loud">') == 2
    await world.desk.ask("release-01", by="officer-1", type="release", hold={"id": "hold-0"})
    for stage in ("destroyed", "tombstoned"):
        await world.desk.done("release-01", stage)
    await world.see()
    assert world.desk.case("release-01").state == "closed"
    body = (await browser.open("/holds")).body.decode()
    assert body.count('<tr class="loud">') == 1
    assert "released" in Page(body).text
    case = world.desk.id_of("hold-200")
    for number, event in enumerate(({"event": "tell"}, {"event": "not_yet", "review_at": "2027-12-01T00:00:00Z"})):
        await world.desk.ask(f"clock-000{number}", by="officer-1", type="clock", case=case, **event)
    assert world.desk.reasons() == ["nothing_to_tell"] * 2, "a hold's review puts off nothing that is told"
    assert {each["value"] for each in await choices(world, case)} & {"tell", "not_yet"} == set()
    assert json.dumps(HOLD["basis"]) not in body


async def test_before_an_approval_an_officer_reads_what_follows_by_the_policy(tmp_path: Path) -> None:
    """Who is told and when, and what a law keeps; that nothing of it was measured is said, too."""
    billing = '[version.tenant.iocom.purposes.billing]\nnumber = 2\nbasis = "legal_duty"\nkeep = "P6Y"\n'
    billing += 'survives_erasure = true\nwhy = "Tax <b>law</b>"\n[version.tenant.iocom.requesters.backend-1]'
    policy = POLICY.replace("[version.tenant.iocom.requesters.backend-1]", billing).replace(
        'events = ["calllog.events"]', 'events = ["calllog.events"]\nerasures_per_hour = 1'
    )
    world = await ConsoleWorld(tmp_path / "brief", policy=policy + ACTOR).start()
    for number in range(2):
        await world.desk.meet(f"p{number}@example.org")
        await world.desk.ask(f"erase-000{number}", f"p{number}@example.org", type="erase")
    await world.desk.ask("objection-1", "p1@example.org", type="object", purposes=["fraud"])
    await world.see()
    browser = await world.signed_in()

    async def text(jti: str) -> str:
        return Page((await browser.open(f"/cases/{world.desk.id_of(jti)}")).body.decode()).text

    braked = await text("erase-0001")
    assert "A law keeps what billing needs, for 6 years" in braked
    assert "Tax <b>law</b>" in braked
    assert "The person is told once it is done." in braked
    assert "as far as records of the person went to them: invoicing" in braked
    assert "Not measured" in braked
    assert "What follows from an approval" not in await text("erase-0000"), "nothing is to be approved"
    assert "A law keeps" not in await text("objection-1")


@pytest.mark.parametrize(
    ("kind", "told"),
    [("lift", "before"), ("restrict", "after"), ("disclose", "asked"), ("access", ""), ("complain", "")],
)
def test_when_a_person_is_told_is_what_the_types_row_says(tmp_path: Path, kind: str, told: str) -> None:
    world = ConsoleWorld(tmp_path / "told")
    assert briefing(case(1, kind, "waiting", world.desk.at), world.office.table()).person == told
    bare = ConsoleWorld(tmp_path / "bare", policy=POLICY.partition("[version.tenant.iocom.person_notices]")[0] + ACTOR)
    expected = "never" if told else ""
    assert briefing(case(1, kind, "waiting", world.desk.at), bare.office.table()).person == expected


async def test_an_officer_reads_beforehand_that_the_desk_would_refuse_as_nobody_would_tell_the_person(
    tmp_path: Path,
) -> None:
    """An objection has its restriction at once; whoever reads "nobody tells them" would sign in vain."""
    bare = POLICY.partition("[version.tenant.iocom.person_notices]")[0] + ACTOR
    world = await ConsoleWorld(tmp_path / "bare", policy=bare).start()
    await world.desk.ask("objection-1", CANARY, type="object", purposes=["fraud"])
    await world.see()
    found = world.followed.cases.rows[world.desk.id_of("objection-1")].whole()
    assert found.decisions, "restricted until it is decided"
    assert briefing(found, world.office.table()).person == "barred"
    unrestricted = msgspec.structs.replace(found, decisions=())
    assert briefing(unrestricted, world.office.table()).person == "never"


async def test_hostile_text_stays_text_where_officers_enter_requests_and_read_refusals(tmp_path: Path) -> None:
    """A purpose's words, a refusal's words and names, a notice's addressee, a month that is asked for."""
    policy = POLICY.replace('basis = "contract"', f'basis = "contract"\nwhy = {json.dumps(HOSTILE)}')
    world = await ConsoleWorld(tmp_path / "hostile", policy=policy + ACTOR).start()
    await world.desk.ask("objection-1", CANARY, type="object", purposes=["fraud"])
    await world.see()
    name, at = world.desk.id_of("objection-1"), world.desk.at
    sent = Sent(sent_at=at, act_by=at)
    row = world.followed.cases.rows[name]
    bad = msgspec.structs.replace(row.whole(), notices={f"{HOSTILE}/{HOSTILE}": sent}, count=99)
    outputs = [Output("privacy.cases", 0, name.encode(), encode(bad))]
    for jti in (f"{name}.{HOSTILE}", '"><script>alert(1)</s.x'):
        claims = RefusedRequest(
            case=case_id(TENANT, request_name("officer-1", jti)), tenant=TENANT, request=jti, reason=HOSTILE,
            at_pointer=HOSTILE, remedy=HOSTILE, partition=0, offset=0, at=at,
        )  # fmt: skip
        token = sign((world.desk.folder / "officer-1.pem").read_bytes(), "x", encode(claims)).encode()
        outputs.append(Output("privacy.receipts", 0, claims.case.encode(), token))
    world.log.own += world.desk.vault.vouched(TENANT, "desk", outputs)
    await world.see()
    browser, shown = await world.signed_in(), 0
    last = case_id(TENANT, request_name("officer-1", f"{name}.{HOSTILE}"))
    for path in (
        f"/cases/{name}",
        "/",
        f"/requests/{last}",
        "/requests/new/object",
        f"/month?month={HOSTILE}",
        "/month",
    ):
        page = Page((await browser.open(path)).body.decode())
        assert {each.get("src", "") for each in page.all("script")} <= {"/static/decide.js", "/static/ask.js"}
        assert not page.all("img")
        assert not any(each.startswith("on") for _, attributes in page.tags for each in attributes)
        assert all(each.get("href", "/").startswith("/") or each["href"] == "#main" for each in page.all("a"))
        shown += "<script>alert(1)</script>" in page.text
    assert shown >= 4, "it is shown as it is"


async def test_what_is_to_be_reviewed_within_a_week_stands_in_the_inbox(world: ConsoleWorld) -> None:
    """A hold that stands and a disclosure that nobody was told of; never a secret hold, nor one that is released."""
    for number, secret in enumerate((False, True, False)):
        hold = HOLD | {"id": f"hold-{number}", "secret": secret, "review_at": f"2026-12-2{number}T00:00:00Z"}
        await world.desk.ask(f"hold-{number}00", CANARY, by="officer-1", type="hold", hold=hold, ticket=f"T-{number}")
    untold = await world.disclosed_untold(CANARY)  # to be reviewed on 10 December
    await world.see()
    first, secret_one, last = (world.desk.id_of(f"hold-{number}00") for number in range(3))
    assert await reviews(world) == []
    world.desk.at = datetime(2026, 12, 14, tzinfo=UTC)
    assert await reviews(world) == [(untold, True), (first, False)]
    await said(world, untold, "tell", "tell-00001")
    world.desk.at = datetime(2026, 12, 21, tzinfo=UTC)
    assert await reviews(world) == [(first, True), (last, False)]
    await world.desk.ask("release-01", by="officer-1", type="release", hold={"id": "hold-0"})
    for stage in ("destroyed", "tombstoned"):
        await world.desk.done("release-01", stage)
    await world.see()
    assert await reviews(world) == [(last, False)]
    assert secret_one not in world.followed.cases.rows


async def reviews(world: ConsoleWorld) -> list[tuple[str, bool]]:
    """What the inbox names for a review, and whether its day is past."""
    body = (await (await world.signed_in()).open("/")).body.decode()
    section = body.partition('<section aria-labelledby="reviews">')[2].partition("</section>")[0]
    rows = re.findall(r'<tr( class="loud")?><td[^>]*><a class="id" href="/cases/([^"]+)"', section)
    return [(case, bool(loud)) for loud, case in rows]
