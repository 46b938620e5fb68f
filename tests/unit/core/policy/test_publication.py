"""Published versions: what is followed, what changes nothing, and that order does not matter."""

import itertools
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from policies import SERVICE, policy_of, version

from calllog_guard.core.codec import to_ms
from calllog_guard.core.crypto.jose import sign
from calllog_guard.core.identifiers import Tenant, b64
from calllog_guard.core.policy.active import Policy
from calllog_guard.core.policy.changes.publication import Publication, signed_by, topic_key, with_keys
from calllog_guard.errors import ConfigurationError, StateRefusedError

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
APPENDED = to_ms(NOW)
TODAY = NOW.date()
EARLY = NOW - timedelta(days=2)
"""When a version of the day before `NOW` was signed, in time; its record may be of `NOW`: restored, mirrored, new."""
SHORT = SERVICE.replace("P90D", "P30D")
LONG = SERVICE.replace("P90D", "P6M")


def claims_of(policy: Policy, *, at: datetime = NOW, lengthen: bool = False) -> Publication:
    """The newest version of a policy as a publication."""
    newest = policy.versions[-1]
    return Publication(
        tenant="iocom",
        effective=newest.effective,
        change=newest.change,
        at=at,
        lengthen=lengthen,
        policy=with_keys(newest.tenant["iocom"], policy.public_key),
    )


def published(directory: Path, text: str, *, by: str = "officer-1", kid: str = "", **more: Any) -> bytes:
    """A version as its signed record."""
    claims = claims_of(policy_of(directory, text, name="draft.toml"), **more)
    return sign((directory / f"{by}.pem").read_bytes(), kid or by, msgspec.json.encode(claims)).encode()


def keeps(policy: Policy, day: date) -> str:
    """The service's period on a day."""
    return policy.at(day).tenant["iocom"].purposes["service"].keep


def test_a_published_version_holds_from_its_day_on(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, version())
    token = published(tmp_path, version("2026-06-02", purposes=SHORT, change="Shorter."))
    followed = policy.follow({token: APPENDED}, 120)
    assert followed.accepted == {token}
    assert followed.refused == {}
    assert (keeps(policy, date(2026, 6, 1)), keeps(policy, date(2026, 6, 2))) == ("P90D", "P30D")
    assert policy.at(date(2026, 6, 2)).change == "Shorter."
    (tmp_path / "officer-1.pub.pem").unlink()
    officer = policy.at(date(2026, 6, 2)).tenant["iocom"].requesters["officer-1"]
    assert policy.public_key(officer.key).startswith(b"-----BEGIN PUBLIC KEY")


def hostile(directory: Path) -> list[tuple[bytes, str]]:
    """Records that nobody may follow."""
    good = version("2026-06-02", purposes=SHORT)
    header, body, mark = published(directory, good).split(b".")
    changed = json.loads(msgspec.json.encode(claims_of(policy_of(directory, good, name="draft.toml"))))
    path = changed | {"policy": changed["policy"] | {"requesters": {"o": {"role": "officer", "key": "../secret"}}}}
    officer = (directory / "officer-1.pem").read_bytes()

    def raw(content: dict[str, Any]) -> bytes:
        return sign(officer, "officer-1", json.dumps(content).encode()).encode()

    none = b64(json.dumps({"alg": "none", "kid": "officer-1"}).encode())
    reused = SHORT.replace("service", "other")
    return [
        (published(directory, good, by="officer-2"), "not_an_officer"),
        (published(directory, good, by="officer-2", kid="officer-1"), "bad_signature"),
        (published(directory, good, by="backend-1"), "not_an_officer"),
        (none + b"." + body + b".", "wrong_algorithm"),
        (header + b"." + b64(json.dumps(changed | {"change": "Other."}).encode()) + b"." + mark, "bad_signature"),
        (published(directory, version("2026-05-31", purposes=SHORT)), "takes_effect_in_the_past"),
        (published(directory, version("2026-05-31", purposes=SHORT), at=EARLY), "appended_after_its_day"),
        (published(directory, version("2025-12-01", purposes=SHORT)), "no_version_before"),
        (published(directory, good, at=NOW + timedelta(hours=1)), "signed_in_the_future"),
        (published(directory, version("2026-06-02", purposes=LONG)), "lengthens_unsaid"),
        (published(directory, version("2026-06-02", purposes=LONG), lengthen=True), "retention_too_short"),
        (published(directory, version("2026-06-02", purposes=reused).replace('"service"', '"other"')), "contradicts"),
        (raw(path), "key_not_inlined"),
        (raw(changed | {"more": 1}), "unknown_field"),
        (raw(changed | {"v": 2}), "wrong_value"),
        (b"nonsense", "not_a_jws"),
        (b"\xff", "not_a_jws"),
        (b"e30.e30.", "wrong_algorithm"),
    ]


def test_forged_and_wrong_publications_change_nothing(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, version())
    before = policy.versions
    records = hostile(tmp_path)
    for token, reason in records:
        assert policy.follow({token: APPENDED}, 120).refused == {token: reason}
        assert policy.versions == before
    assert policy.follow({token: APPENDED for token, _ in records}, 120).accepted == frozenset()
    assert policy.versions == before


def test_longer_periods_are_followed_when_they_are_meant_and_the_topic_keeps_them(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, version())
    token = published(tmp_path, version("2026-06-02", purposes=LONG), lengthen=True)
    assert policy.follow({token: APPENDED}, 185).refused == {token: "retention_too_short"}
    assert policy.follow({token: APPENDED}, 186).accepted == {token}
    assert policy.keep_days(Tenant("iocom")) == 186


def test_the_published_version_of_a_day_stands_before_the_files_and_the_later_signed_before_the_earlier(
    tmp_path: Path,
) -> None:
    policy = policy_of(tmp_path, version(), version("2026-06-02"))
    first = published(tmp_path, version("2026-06-02", purposes=SHORT))
    second = published(
        tmp_path, version("2026-06-02", purposes=SERVICE.replace("P90D", "P7D")), at=NOW + timedelta(seconds=1)
    )
    policy.follow({first: APPENDED}, 120)
    assert keeps(policy, date(2026, 6, 2)) == "P30D"
    for order in itertools.permutations([first, second]):
        policy.follow(dict.fromkeys(order, APPENDED), 120)
        assert keeps(policy, date(2026, 6, 2)) == "P7D"


def test_officers_of_one_version_sign_the_next_in_whatever_order_both_are_read(tmp_path: Path) -> None:
    """Compaction leaves the last record of each version; a later word on an earlier one stands behind a later one."""
    policy = policy_of(tmp_path, version())
    handed = version("2026-06-02").replace("officer-1", "officer-2")
    first = published(tmp_path, handed)
    second = published(tmp_path, handed.replace("2026-06-02", "2026-06-03").replace("P90D", "P30D"), by="officer-2")
    for order in itertools.permutations([first, second]):
        assert policy.follow(dict.fromkeys(order, APPENDED), 120).accepted == {first, second}
    assert keeps(policy, date(2026, 6, 3)) == "P30D"
    outdated = published(tmp_path, version("2026-06-03", purposes=SHORT), by="officer-1")
    assert policy.follow({first: APPENDED, outdated: APPENDED}, 120).refused == {outdated: "not_an_officer"}


def test_who_was_an_officer_once_cannot_rewrite_the_past(tmp_path: Path) -> None:
    later = version("2026-05-01").replace("officer-1", "officer-2")
    policy = policy_of(tmp_path, version(), later)
    backdated = published(tmp_path, version("2026-04-01", purposes=SHORT), at=datetime(2026, 4, 1, tzinfo=UTC))
    before = policy.versions
    assert policy.follow({backdated: APPENDED}, 120).refused == {backdated: "appended_after_its_day"}
    assert policy.versions == before
    said = published(tmp_path, version("2026-04-01", purposes=SHORT), at=datetime(2026, 4, 2, tzinfo=UTC))
    assert policy.follow({said: APPENDED}, 120).refused == {said: "takes_effect_in_the_past"}


def late_one(directory: Path) -> bytes:
    """An officer's version of yesterday, signed the day before that."""
    return published(directory, version("2026-05-31", purposes=SHORT), at=EARLY)


def whole(policy: Policy, records: dict[bytes, int], today: date = TODAY, seen: date | None = None) -> bool:
    """Whether one may begin under the law that file and records make."""
    try:
        policy.follow(records, 120).check_whole(None if seen is None else (seen, 1), today)
    except ConfigurationError as error:
        assert "put that version into the policy file, or publish a newer one for today" in str(error)  # noqa: PT017
        return False
    return True


def test_nobody_begins_under_an_older_law_than_one_that_was_signed_in_time_and_appended_too_late(
    tmp_path: Path,
) -> None:
    """A topic from a backup gives every record a new date: past versions would be lost, and periods long again."""
    policy, late = policy_of(tmp_path, version()), late_one(tmp_path)
    assert whole(policy, {late: to_ms(EARLY)})
    assert keeps(policy, TODAY) == "P30D"
    assert not whole(policy, {late: APPENDED})
    assert keeps(policy, TODAY) == "P90D"


def test_what_no_officer_signed_in_time_keeps_nobody_from_beginning(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, version())
    text = version("2026-05-31", purposes=SHORT)
    for record in (
        published(tmp_path, text, by="officer-2", kid="officer-1", at=EARLY),
        published(tmp_path, text, by="backend-1", at=EARLY),
        published(tmp_path, text),
    ):
        assert whole(policy, {record: APPENDED})


def test_the_file_heals_what_came_too_late_when_it_says_the_same(tmp_path: Path) -> None:
    late = late_one(tmp_path)
    same = policy_of(tmp_path, version(), version("2026-05-31", purposes=SHORT, change="As it was published."))
    assert whole(same, {late: APPENDED})
    assert same.follow({late: APPENDED}, 120).refused == {}
    assert keeps(same, TODAY) == "P30D"
    draft = policy_of(tmp_path, version(), version("2026-05-31", purposes=SERVICE.replace("P90D", "P60D")))
    assert not whole(draft, {late: APPENDED})


def test_the_later_signed_word_on_a_day_decides_whether_something_is_missing(tmp_path: Path) -> None:
    policy_of(tmp_path, version())
    word = SERVICE.replace("P90D", "P7D")
    first = late_one(tmp_path)
    second = published(tmp_path, version("2026-05-31", purposes=word), at=EARLY + timedelta(hours=1))
    has_first = policy_of(tmp_path, version(), version("2026-05-31", purposes=SHORT))
    has_second = policy_of(tmp_path, version(), version("2026-05-31", purposes=word))
    for order in itertools.permutations([first, second]):
        assert not whole(has_first, dict.fromkeys(order, APPENDED))
        assert whole(has_second, dict.fromkeys(order, APPENDED))


def test_a_newer_version_published_in_view_of_the_late_one_answers_it_from_its_day_on(tmp_path: Path) -> None:
    policy, late = policy_of(tmp_path, version()), late_one(tmp_path)
    newer = published(tmp_path, version("2026-06-02", purposes=SHORT), at=NOW + timedelta(hours=1))
    records = {late: APPENDED, newer: to_ms(NOW + timedelta(hours=1))}
    assert not whole(policy, records)
    assert whole(policy, records, date(2026, 6, 2))
    unaware = published(tmp_path, version("2026-06-02", purposes=SHORT), at=NOW - timedelta(hours=1))
    assert not whole(policy, {late: APPENDED, unaware: APPENDED}, date(2026, 6, 2))


def test_nobody_begins_under_an_older_law_than_this_machine_has_followed(tmp_path: Path) -> None:
    """An emptied topic says nothing of what it held."""
    policy = policy_of(tmp_path, version())
    assert whole(policy, {}, seen=date(2026, 1, 1))
    assert not whole(policy, {}, seen=date(2026, 5, 31))
    assert whole(policy, {late_one(tmp_path): to_ms(EARLY)}, seen=date(2026, 5, 31))


def test_signing_needs_an_officers_key(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, version())
    claims, before = claims_of(policy), policy.versions[0].tenant["iocom"]
    signed_by((tmp_path / "officer-1.pem").read_bytes(), before, policy.public_key, claims)
    with pytest.raises(StateRefusedError, match="no officer's"):
        signed_by((tmp_path / "backend-1.pem").read_bytes(), before, policy.public_key, claims)


def test_what_was_published_once_is_read_for_ever(tmp_path: Path) -> None:
    """Written by an earlier form of the tables: what has been added to them since has its default."""
    golden = json.loads((Path(__file__).parents[3] / "vectors" / "policy_v1.json").read_text())
    policy = policy_of(tmp_path, version())
    assert policy.follow({golden["record"].encode(): APPENDED}, 120).refused == {}
    assert keeps(policy, date(2026, 6, 2)) == "P30D"
    assert golden["key"] == topic_key("iocom", date(2026, 6, 2)).decode()
