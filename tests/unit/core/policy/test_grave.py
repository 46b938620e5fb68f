"""Further officers, shorter periods and purposes that fall away: two officers sign that, and a day lies before it."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from policies import SERVICE, policy_of, version
from test_publication import APPENDED, LONG, NOW, SHORT, claims_of, keeps

from calllog_guard.adapters.kms.local import FileRing, LocalKms
from calllog_guard.core.codec import to_ms
from calllog_guard.core.crypto.jose import sign
from calllog_guard.core.identifiers import EpochName, Tenant
from calllog_guard.core.policy.active import Policy
from calllog_guard.core.policy.changes.chain import FollowedPolicy, Installed
from calllog_guard.core.policy.changes.grave import grave, soonest
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault

OFFICERS = """
[version.tenant.iocom.requesters.officer-2]
role = "officer"
key = "officer-2.pub.pem"
"""
TWICE = OFFICERS.replace("officer-2", "again-1").replace("again-1.pub", "officer-1.pub")
MORE = """
[version.tenant.iocom.purposes.tips]
number = 7
basis = "consent"
keep = "P30D"
"""
IN_TIME = "2026-06-03"
"""The first day before which a whole day lies that begins at noon of the first of June."""


def two(day: str = "2026-01-01", more: str = OFFICERS, **words: str) -> str:
    """A version with two officers."""
    return version(day, **words) + more


def word(
    directory: Path, text: str, by: str, *, first: bytes | None = None, at: datetime = NOW, kid: str = ""
) -> bytes:
    """An officer's publication of a version, with the first officer's where two are needed."""
    claims = claims_of(policy_of(directory, text, name="draft.toml"), at=at)
    claims = msgspec.structs.replace(claims, first=msgspec.UNSET if first is None else first.decode())
    return sign((directory / f"{by}.pem").read_bytes(), kid or by, msgspec.json.encode(claims)).encode()


def judged(
    policy: Policy, *tokens: bytes, appended: int = APPENDED, alone_until: datetime | None = None
) -> FollowedPolicy:
    """What becomes of records, in an installation that judges."""
    policy.here = lambda: Installed(date.min, frozenset(), alone_until)
    return policy.follow(dict.fromkeys(tokens, appended), None)


def reason(policy: Policy, token: bytes, **more: object) -> str | None:
    """Why a record is not followed."""
    return judged(policy, token, **more).refused.get(token)  # type: ignore[arg-type]


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    """Two officers; three purposes with the one that nobody needs."""
    return policy_of(tmp_path, two(more=OFFICERS + MORE))


GRAVE = {
    "a shorter period": two(IN_TIME, OFFICERS + MORE, purposes=SHORT),
    "a purpose less": two(IN_TIME, OFFICERS),
    "an officer more": two(
        IN_TIME, OFFICERS + OFFICERS.replace("officer-2", "third-1").replace("third-1.pub", "backend-1.pub") + MORE
    ),
    "an officer less of two": two(IN_TIME, MORE),
    "an officer's other key": two(IN_TIME, OFFICERS.replace("officer-2.pub", "backend-1.pub") + MORE),
}


@pytest.mark.parametrize("what", GRAVE)
def test_what_is_grave_waits_for_a_second_officer_with_another_key(policy: Policy, tmp_path: Path, what: str) -> None:
    text, before = GRAVE[what], policy.versions
    first = word(tmp_path, text, "officer-1")
    assert reason(policy, first) == "second_officer"
    assert policy.versions == before
    again = word(tmp_path, text, "officer-1", first=first, at=NOW + timedelta(seconds=1))
    assert reason(policy, again) == "same_officer"
    second = word(tmp_path, text, "officer-2", first=first)
    assert judged(policy, second).accepted == {second}, "alone: compaction takes the first"
    assert judged(policy, first, second).accepted == {second}


def test_two_names_of_one_key_are_one_officer(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, two(more=OFFICERS + TWICE))
    text = two(IN_TIME, purposes=SHORT)
    first = word(tmp_path, text, "officer-1")
    assert reason(policy, word(tmp_path, text, "officer-1", kid="again-1", first=first)) == "same_officer"
    lone = policy_of(tmp_path, two(more=TWICE), name="lone.toml")
    token = word(tmp_path, version(IN_TIME, purposes=SHORT), "officer-1")
    assert reason(lone, token) is None, "one officer with two names is one"


def test_the_second_signs_what_the_first_has_signed(policy: Policy, tmp_path: Path) -> None:
    text = GRAVE["a shorter period"]
    first = word(tmp_path, text, "officer-1")
    other = word(tmp_path, text.replace("P30D", "P7D"), "officer-2", first=first)
    assert reason(policy, other) == "another_text"
    forged = word(tmp_path, text, "backend-1", kid="officer-1")
    assert reason(policy, word(tmp_path, text, "officer-2", first=forged)) == "bad_signature"
    strange = word(tmp_path, text, "backend-1")
    assert reason(policy, word(tmp_path, text, "officer-2", first=strange)) == "not_an_officer"
    assert reason(policy, word(tmp_path, text, "officer-2", first=b"nonsense")) == "not_a_jws"


def test_a_whole_day_lies_before_it(policy: Policy, tmp_path: Path) -> None:
    text = GRAVE["a shorter period"]
    second = word(tmp_path, text, "officer-2", first=word(tmp_path, text, "officer-1"))
    assert reason(policy, second, appended=to_ms(datetime(2026, 6, 2, tzinfo=UTC))) is None
    late = NOW + timedelta(hours=12, seconds=1)
    tardy = word(tmp_path, text, "officer-2", first=word(tmp_path, text, "officer-1"), at=late)
    assert reason(policy, tardy, appended=to_ms(late)) == "takes_effect_too_soon"
    assert keeps(policy, date(2026, 6, 3)) == "P90D"
    assert soonest(datetime(2026, 6, 2, tzinfo=UTC)) == soonest(NOW) == date(2026, 6, 3)


def test_what_was_signed_in_time_and_lies_in_a_restored_topic_leaves_a_hole(policy: Policy, tmp_path: Path) -> None:
    """Nobody begins under an older law without a word."""
    text = GRAVE["a shorter period"]
    second = word(tmp_path, text, "officer-2", first=word(tmp_path, text, "officer-1"))
    followed = judged(policy, second, appended=to_ms(NOW + timedelta(days=1)))
    assert followed.refused == {second: "appended_after_its_day"}
    assert [each.effective for each in followed.holes(date(2026, 6, 3))] == [date(2026, 6, 3)]


def test_where_there_is_one_officer_the_day_is_asked_and_in_the_first_day_nothing(tmp_path: Path) -> None:
    """Else whoever begins with one could never add the second."""
    policy = policy_of(tmp_path, version())
    at_once = word(tmp_path, two("2026-06-01", purposes=SHORT), "officer-1")
    assert reason(policy, at_once) == "takes_effect_too_soon"
    assert reason(policy, at_once, alone_until=NOW) == "takes_effect_too_soon"
    assert reason(policy, at_once, alone_until=NOW + timedelta(seconds=1)) is None
    assert reason(policy, word(tmp_path, two(IN_TIME, purposes=SHORT), "officer-1")) is None
    crowd = policy_of(tmp_path, two(), name="two.toml")
    assert reason(crowd, at_once, alone_until=NOW + timedelta(days=9)) == "second_officer"


def test_all_else_one_officer_decides_at_once(policy: Policy, tmp_path: Path) -> None:
    text = two("2026-06-01", OFFICERS + MORE, purposes=LONG)
    claims = claims_of(policy_of(tmp_path, text, name="draft.toml"), lengthen=True)
    token = sign((tmp_path / "officer-1.pem").read_bytes(), "officer-1", msgspec.json.encode(claims)).encode()
    assert reason(policy, token) is None


def test_an_earlier_releases_versions_stay_the_law_and_the_file_is_the_operators(
    policy: Policy, tmp_path: Path
) -> None:
    first = word(tmp_path, GRAVE["a shorter period"], "officer-1")
    policy.here = lambda: Installed(date(2026, 6, 4))
    assert policy.follow({first: APPENDED}, None).accepted == {first}
    same = policy_of(tmp_path, two(more=OFFICERS + MORE), GRAVE["a shorter period"], name="same.toml")
    assert reason(same, first) is None


def test_a_period_is_shorter_if_it_is_from_any_day(tmp_path: Path) -> None:
    before = policy_of(tmp_path, version()).versions[0].tenant["iocom"]
    months = policy_of(tmp_path, version(purposes=SERVICE.replace("P90D", "P3M"))).versions[0].tenant["iocom"]
    assert grave(before, months), "February"
    assert grave(months, before)
    assert grave(before, before) == []


def test_the_first_day_is_that_of_a_tenant_that_was_made_and_not_raised(tmp_path: Path) -> None:
    """Its domains are apart from the first moment on, which is its second profile."""
    vault, tenant = Vault(LocalKms(tmp_path), FileRing(tmp_path)), Tenant("iocom")
    vault.create_tenant(tenant, at=NOW, partitions=4, apart_from=EpochName("2026-W20"))
    assert vault.profile(tenant).separated == "2026-W20"
    assert vault.profile(tenant).alone_until == NOW + timedelta(days=1)
    older = Vault(LocalKms(tmp_path / "older"), FileRing(tmp_path / "older"))
    older.create(f"pepper.{tenant}", "root")
    assert older.upgrade(tenant, ("as-written",), NOW, 4).alone_until is None
