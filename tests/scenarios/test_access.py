"""Access, portability and disclosure by desk and keeper together: the whole answer is sent, a receipt names it."""

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from guard_world import POLICY, TENANT, GuardWorld

from calllog_guard.adapters.disk.policy_file import load_policy
from calllog_guard.core.answers.parts import PARTS, Part
from calllog_guard.core.answers.whole import Answer, whole
from calllog_guard.core.codec import Access, decode, encode
from calllog_guard.core.crypto.jose import open_sealed
from calllog_guard.core.identifiers import SubjectId, b64
from calllog_guard.core.records import Output
from calllog_guard.core.stream.offsets import pack

SAID = """\
controller = "IO Com Ltd"
contact = "privacy@io.example"
[version.tenant.iocom.purposes.tips]
number = 4
basis = "consent"
keep = "P30D"
"""
OFFICER = """\
[version.tenant.iocom.requesters.officer-2]
role = "officer"
key = "officer-2.pub.pem"
"""
RICH = POLICY.replace(
    "exports_per_hour = 10000\n",
    "exports_per_hour = 10000\ndisclosures_per_hour = 100\n" + SAID.partition("[")[0],
).replace(
    "[version.tenant.iocom.requesters.backend-1]",
    "[" + SAID.partition("[")[2] + OFFICER + "[version.tenant.iocom.requesters.backend-1]",
)


@pytest.fixture
async def world(tmp_path: Path) -> GuardWorld:
    """An installation with some calls of alice and bob."""
    return await with_calls(tmp_path)


async def with_calls(folder: Path, policy: str = RICH) -> GuardWorld:
    """The same at a place of one's own."""
    found = await GuardWorld(folder, policy).start()
    for number, days in enumerate((70, 50, 10)):
        await found.call(f"c{number}", "alice", "bob", days_ago=days)
    await found.run()
    return found


def follow(world: GuardWorld, text: str) -> None:
    """The policy as every worker follows it from now on."""
    (world.folder / "policy.toml").write_text(text)
    world.policy.versions = load_policy(world.folder / "policy.toml").versions


def reply_key(world: GuardWorld) -> dict[str, str]:
    """The asker's public key."""
    public = load_pem_public_key((world.folder / "operator-1.pub.pem").read_bytes())
    assert isinstance(public, X25519PublicKey)
    return {"kty": "OKP", "crv": "X25519", "x": b64(public.public_bytes_raw()).decode()}


def sealed(world: GuardWorld, jti: str) -> dict[bytes, bytes]:
    """The parts of an answer as they lie in their topic: the last of each."""
    start = world.id_of(jti).encode() + b"."
    records = world.log.records["privacy.exports", 0]
    return {record.key or b"": record.value or b"" for record in records if (record.key or b"").startswith(start)}


def parts_of(world: GuardWorld, jti: str) -> list[Part]:
    """The same, opened."""
    pem = (world.folder / "operator-1.pem").read_bytes()
    return [decode(PARTS, open_sealed(pem, value.decode())) for value in sealed(world, jti).values()]


async def answer(world: GuardWorld, jti: str, *who: str, kind: str = "access", **more: Any) -> Answer:
    """What somebody who asks is given."""
    await world.ask(jti, kind, *who, reply_key=reply_key(world), **more)
    await world.run()
    assert world.case(jti).state == "closed"
    found = whole(parts_of(world, jti))
    assert found.lacking == []
    return found


async def test_the_answer_is_whole_and_its_receipt_names_every_part(world: GuardWorld) -> None:
    told = await answer(world, "access-01", "alice", "bob", "nobody@example.org")
    assert [leg.call for leg in told.legs] == [world.reference(call) for call in ("c2", "c2", "c1", "c1", "c0", "c0")]
    assert told.about.subjects == ("alice", "bob", "nobody@example.org")
    assert told.about.controller is not None
    assert (told.about.controller.name, told.about.zone) == ("IO Com Ltd", "Europe/London")
    (receipt,) = [each for each in world.receipts("access-01") if each["stage"] == "exported"]
    found = [b64(hashlib.sha256(value).digest()).decode() for value in sealed(world, "access-01").values()]
    assert sorted(receipt["digests"]) == sorted(found)
    assert len(found) == 3


async def test_of_whom_nothing_is_stored_the_answer_is_receipted_too(world: GuardWorld) -> None:
    told = await answer(world, "access-01", "nobody@example.org")
    assert told.legs == []
    assert told.about.rights
    (receipt,) = [each for each in world.receipts("access-01") if each["stage"] == "exported"]
    (value,) = sealed(world, "access-01").values()
    assert receipt["digests"] == [b64(hashlib.sha256(value).digest()).decode()]
    assert receipt["final"]


async def test_a_lengthened_period_does_not_reach_what_is_stored_and_a_shortened_one_does(tmp_path: Path) -> None:
    """`kept_until` is the day on which the leg goes, not what the newest policy says of new ones."""
    world = await with_calls(tmp_path / "one")
    before = await answer(world, "access-01", "bob")
    day = world.clock.at.date().isoformat()
    longer = RICH.replace("First.", "Longer.").replace("2020-01-01", day).replace('"P90D"', '"P1Y"')
    follow(world, RICH + longer)
    await world.call("c9", "alice", "bob", days_ago=0)
    await world.run()
    after = await answer(world, "access-02", "bob")
    assert [leg.kept_until for leg in after.legs[1:]] == [leg.kept_until for leg in before.legs]
    assert after.legs[0].kept_until > "2027-11-20", "a call of today has the longer period"
    shorter = longer.replace("Longer.", "Shorter.").replace('"P1Y"', '"P80D"').replace(day, "2026-11-25")
    follow(world, RICH + longer + shorter)
    world.clock.at += timedelta(days=1)
    await world.run()
    last = await answer(world, "access-03", "bob")
    assert all(
        late.until["service"] < early.until["service"] for late, early in zip(last.legs, after.legs, strict=True)
    )


async def test_each_leg_says_until_when_for_each_purpose(world: GuardWorld) -> None:
    told = await answer(world, "access-01", "alice")
    leg = told.legs[0]
    assert set(leg.until) == set(leg.purposes) == {"service", "billing", "quality"}
    assert leg.kept_until == max(leg.until.values()) == leg.until["billing"]


async def test_choices_are_told_with_their_cases_and_consents_with_their_words(world: GuardWorld) -> None:
    await world.ask("consent-1", "consent", "alice", purposes=["tips"], time="2026-11-01T00:00:00Z", wording="I agree.")
    await world.ask("object-01", "object", "alice", purposes=["quality"])
    await world.ask("restrict1", "restrict", "alice")
    await world.run()
    about = (await answer(world, "access-01", "alice")).about
    assert [(each.given_at.day, each.wording) for each in about.consents] == [
        (1, b64(hashlib.sha256(b"I agree.").digest()).decode())
    ]
    assert [each.holds for each in about.objections] == [True]
    assert [(each.because, each.case) for each in about.restrictions] == [("requested", world.case("restrict1").case)]
    assert [each.type for each in about.requests] == ["consent", "object", "restrict", "access"]
    assert {each.name for each in about.purposes} == {"service", "billing", "tips"}
    assert [(each.name, each.because) for each in about.not_in_use] == [("quality", "objected")]
    await world.ask("withdraw1", "withdraw", "alice", purposes=["tips"])
    await world.run()
    later = (await answer(world, "access-02", "alice")).about
    assert [each.holds for each in later.consents] == [False]
    assert len(later.withdrawals) == 1
    assert "tips" not in {each.name for each in later.purposes}
    other = (await answer(world, "access-03", "bob")).about
    assert [each.type for each in other.requests] == ["access"], "nobody else's"


async def test_after_an_erasure_nothing_links_the_former_cases(world: GuardWorld) -> None:
    await world.ask("object-01", "object", "bob", purposes=["quality"])
    await world.ask("erase-001", "erase", "bob")
    await world.run()
    world.clock.at += timedelta(days=1)
    await world.call("new", "alice", "bob", days_ago=0)
    await world.run()
    about = (await answer(world, "access-01", "bob")).about
    assert [each.type for each in about.requests] == ["access"]
    assert [(each.purposes, each.case) for each in about.objections] == [(("quality",), None)], "it stands, nameless"


async def told_with(folder: Path, *, secret: bool) -> list[bytes]:
    """What two people are told, erased or not, with and without a secret hold on them."""
    world = await with_calls(folder)
    if secret:
        await world.hold("hold-0001", "claim-17", "alice", "bob", secret=True)
        await world.run()
    answers = [await answer(world, "access-01", "alice")]
    await world.ask("erase-001", "erase", "bob")
    await world.run()
    world.clock.at += timedelta(days=1)
    await world.call("back", "alice", "bob", days_ago=0)
    await world.run()
    answers += [await answer(world, f"access-0{number}", who) for number, who in ((2, "bob"), (3, "alice"))]
    told = [encode(part) for number in (1, 2, 3) for part in parts_of(world, f"access-0{number}")]
    for call in ("c0", "c1", "c2", "back"):  # each installation has references of its own
        told = [each.replace(world.reference(call).encode(), call.encode()) for each in told]
    return told


async def test_a_secret_hold_leaves_no_trace_in_any_answer(tmp_path: Path) -> None:
    """Byte for byte, of whoever lives and whoever returned."""
    with_, without = [await told_with(tmp_path / str(each), secret=each) for each in (True, False)]
    assert with_ == without


async def test_a_hold_that_may_be_told_of_is_told(world: GuardWorld) -> None:
    await world.hold("hold-0001", "claim-17", "alice")
    await world.run()
    about = (await answer(world, "access-01", "alice")).about
    assert [(each.basis, each.hold) for each in about.kept_by_law] == [("legal_claims", "claim-17")]


async def test_what_is_carried_away_says_what_it_leaves_out(world: GuardWorld) -> None:
    days = {"from": "2026-11-01", "to": "2026-11-30"}
    told = await answer(world, "carry-001", "bob", kind="portability", range=days)
    assert [leg.call for leg in told.legs] == [world.reference("c2")]
    assert told.left_out == {"other_days": 2}
    assert (told.about.kind, told.about.requests, told.about.readers) == ("portability", (), ())
    assert {each.name for each in told.about.purposes} == {"service", "tips"}


async def test_who_read_a_person_is_told_of_that_person_alone(world: GuardWorld) -> None:
    """The same read opens both people's records, or one's."""
    records = {record.key: record for records in world.log.records.values() for record in records}
    mine: dict[str, list[Any]] = {}
    for who in ("alice", "bob"):
        lookup = world.vault.pepper(TENANT).lookup(TENANT, SubjectId(who))
        view = await world.ring().view([lookup])
        found = world.ring().person(lookup, view.raw[lookup])
        assert found is not None
        mine[who] = [each for key, each in records.items() if key and key.startswith(f"{found.pseudonym}.".encode())]
    place = mine["alice"][0].partition
    offsets = [each.offset for each in mine["alice"]]
    access = Access(
        v=1, actor="billing-1", purpose="billing", case=None, topic="calllog.legs", partition=place, from_=0, to=99,
        opened=len(offsets), refused={}, at=world.clock.at, which=pack(offsets, 0),
    )  # fmt: skip
    await world.log.write([Output("privacy.access", 0, b"billing-1", encode(access))])
    alice = (await answer(world, "access-01", "alice")).about
    assert [(each.actor, each.records) for each in alice.opened_by] == [("billing-1", 3)]
    bob = (await answer(world, "access-02", "bob")).about
    assert bob.opened_by == ()


async def test_an_authority_gets_the_terms_and_nothing_of_the_persons_history(world: GuardWorld) -> None:
    await world.ask("object-01", "object", "bob", purposes=["quality"])
    await world.run()
    for place in range(4):  # somebody has read all there is, as accesses of an earlier release say it
        access = Access(
            v=1, actor="billing-1", purpose="billing", case=None, topic="calllog.legs", partition=place, from_=0, to=99,
            opened=3, refused={}, at=world.clock.at,
        )  # fmt: skip
        await world.log.write([Output("privacy.access", 0, b"billing-1", encode(access))])
    terms = {"authority": "Court", "basis": "Order 7", "notify": "before"}
    await world.ask("disclose1", "disclose", "bob", key="officer-1", reply_key=reply_key(world), **terms)
    await world.run()
    name = world.case("disclose1").case
    await world.ask("approve-1", "approve", key="officer-2", case=name)
    await world.run()
    told = whole(parts_of(world, "disclose1"))
    assert told.disclosure is not None
    assert (told.disclosure.authority, told.disclosure.basis) == ("Court", "Order 7")
    assert told.disclosure.approvals == ("officer-1", "officer-2")
    assert (told.about.kind, len(told.legs)) == ("disclosure", 3)
    assert not (told.about.requests)
    assert not (told.about.objections)
    assert not (told.about.opened_by)
    assert "quality" not in json.dumps([each.kind for each in told.about.told])
    own = (await answer(world, "access-01", "bob")).about
    assert [each.actor for each in own.opened_by] == ["billing-1"], "the person is told"
    (line,) = own.disclosures
    assert (line.authority, line.records) == ("Court", 3)
