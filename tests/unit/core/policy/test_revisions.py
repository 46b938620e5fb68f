"""A mistake in a version is corrected on its day: the higher revision is the law, and the change log tells of both."""

import itertools
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from policies import SERVICE, policy_of, version
from test_policy_record import run
from test_publication import APPENDED, LONG, NOW, SHORT, TODAY, claims_of, keeps, published

from calllog_guard.core.codec import to_ms
from calllog_guard.core.crypto.jose import sign
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.policy.active import Policy
from calllog_guard.core.policy.changes.publication import topic_key
from calllog_guard.core.policy.record import markdown, record
from calllog_guard.core.policy.versions import change_at
from calllog_guard.core.retention.purposes import due_day
from calllog_guard.errors import ConfigurationError

DAY = date(2026, 6, 2)
IOCOM = Tenant("iocom")
TYPO = SERVICE.replace("P90D", "P9D")


def revised(number: int, purposes: str = SERVICE, change: str = "Corrected.", day: str = "2026-06-02") -> str:
    """A later word on a day."""
    return version(day, purposes=purposes, change=change).replace("change =", f"revision = {number}\nchange =", 1)


def said(directory: Path, text: str, at: datetime = NOW, by: str = "officer-1") -> bytes:
    """A version as its signed record, revision and all."""
    draft = policy_of(directory, text, name="draft.toml")
    claims = msgspec.structs.replace(claims_of(draft, at=at), revision=draft.versions[-1].revision)
    return sign((directory / f"{by}.pem").read_bytes(), by, msgspec.json.encode(claims)).encode()


def test_of_a_file_the_last_revision_of_a_day_is_the_law_also_for_what_was_stored_under_another(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, version(), version("2026-06-02", purposes=TYPO), revised(2))
    assert keeps(policy, DAY) == "P90D"
    assert [str(each) for each in policy.versions] == ["2026-01-01", "2026-06-02, revision 2"]
    stored = policy.purposes_since(IOCOM, DAY.isoformat(), date(2026, 7, 1))
    assert due_day(date(2026, 6, 1), 1, stored) == date(2026, 6, 1) + timedelta(91), "nothing is left of nine days"
    old = policy.purposes_since(IOCOM, "2026-01-01", date(2026, 7, 1))
    assert due_day(date(2026, 5, 1), 1, old) == date(2026, 5, 1) + timedelta(91)


def test_the_change_log_tells_of_both(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, version(), version("2026-06-02", purposes=TYPO, change="Ninety days."), revised(2))
    found = record(policy.history, "iocom", DAY, policy.inlined)
    assert found is not None
    assert [(each["effective"], each["revision"], each["differences"]) for each in found["history"]] == [
        ("2026-01-01", 1, []),
        ("2026-06-02", 1, ["shortened purposes.service.keep: P90D -> P9D"]),
        ("2026-06-02", 2, ["lengthened purposes.service.keep: P9D -> P90D"]),
    ]
    assert "- **2026-06-02**, revision 2 Corrected." in markdown(found)


@pytest.mark.parametrize(
    "texts",
    [
        (revised(2), version("2026-06-02")),
        (revised(2), revised(2)),
        (version("2026-06-02"), revised(2), revised(2)),
        (revised(1), version("2026-06-02")),
        (revised(3), revised(2)),
    ],
)
def test_revisions_come_in_their_order(tmp_path: Path, texts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="no two on one day but with a higher revision"):
        policy_of(tmp_path, version(), *texts)


def test_a_number_that_a_mistake_has_given_stays_given(tmp_path: Path) -> None:
    """Legs may bear its bit."""
    mistaken = SERVICE + SERVICE.replace("service", "fraud").replace("number = 1", "number = 7")
    other = SERVICE + SERVICE.replace("service", "quality").replace("number = 1", "number = 7")
    with pytest.raises(ConfigurationError, match=r"number 7 was fraud's"):
        policy_of(tmp_path, version(), version("2026-06-02", purposes=mistaken), revised(2, other))
    policy_of(tmp_path, version(), version("2026-06-02", purposes=mistaken), revised(2))


def test_a_published_correction_holds_whatever_is_read_first_and_both_records_stay(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, version())
    first = published(tmp_path, version("2026-06-02", purposes=TYPO))
    second = said(tmp_path, revised(2, SHORT), at=NOW + timedelta(minutes=1))
    third = said(tmp_path, revised(3, SHORT.replace("P30D", "P40D")), at=NOW - timedelta(minutes=1))
    for order in itertools.permutations([first, second, third]):
        assert policy.follow(dict.fromkeys(order, APPENDED), 120).refused == {}
        assert keeps(policy, DAY) == "P40D", "the higher revision, also signed earlier"
    policy.follow({first: APPENDED, second: APPENDED}, 120)
    assert (keeps(policy, DAY), len(policy.versions), len(policy.history)) == ("P30D", 2, 3)
    keys = {topic_key("iocom", DAY, number) for number in (1, 2, 3)}
    assert keys == {b"iocom.2026-06-02", b"iocom.2026-06-02.2", b"iocom.2026-06-02.3"}, "compaction keeps each"


def test_a_revision_in_the_file_and_a_published_one_of_the_same_number(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, version(), version("2026-06-02"), revised(2, SHORT))
    assert policy.follow({published(tmp_path, version("2026-06-02", purposes=TYPO)): APPENDED}, 120).refused == {}
    assert keeps(policy, DAY) == "P30D", "the file's second word stands before a published first"
    policy.follow({said(tmp_path, revised(2, TYPO)): APPENDED}, 120)
    assert keeps(policy, DAY) == "P9D", "of one revision the published one stands before the file's"


def test_a_correction_that_comes_a_day_late_corrects_nothing(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, version(), version("2026-05-31", purposes=SHORT))
    late = said(tmp_path, revised(2, day="2026-05-31"))
    assert policy.follow({late: APPENDED}, 120).refused == {late: "takes_effect_in_the_past"}
    today = said(tmp_path, revised(2, TYPO, day="2026-06-01"))
    assert policy.follow({today: APPENDED}, 120).refused == {}
    assert keeps(policy, TODAY) == "P9D", "on its own day it still does"
    midnight = to_ms(datetime(2026, 6, 2, tzinfo=UTC))
    assert policy.follow({today: midnight - 1}, 120).refused == {}
    assert policy.follow({today: midnight}, 120).refused == {today: "appended_after_its_day"}


def test_a_correction_is_judged_by_the_law_before_its_day_and_not_by_the_mistake(tmp_path: Path) -> None:
    """What is longer than before needs the word; what is longer than the mistake alone, `policy publish` asks for."""
    policy = policy_of(tmp_path, version())
    first = published(tmp_path, version("2026-06-02", purposes=TYPO))
    assert policy.follow({first: APPENDED, said(tmp_path, revised(2)): APPENDED}, 120).refused == {}
    assert keeps(policy, DAY) == "P90D"
    long = said(tmp_path, revised(2, LONG))
    assert policy.follow({first: APPENDED, long: APPENDED}, 186).refused == {long: "lengthens_unsaid"}


# --- which change is looked at ----------------------------------------------------------------------------------------


def days(policy: Policy, today: date, wanted: date | None = None) -> tuple[str, str] | None:
    """The change that is looked at on a day."""
    found = change_at(policy.versions, today, wanted)
    return found and (str(found[0]), str(found[1]))


def test_a_version_is_seen_until_its_own_day_is_over(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, *(version(day) for day in ("2026-01-01", "2026-06-02", "2026-07-01")))
    own, later = ("2026-01-01", "2026-06-02"), ("2026-06-02", "2026-07-01")
    assert days(policy, date(2026, 6, 1)) == own
    assert days(policy, date(2026, 6, 2)) == own, "on its own day it was blind"
    assert days(policy, date(2026, 6, 3)) == later
    assert days(policy, date(2026, 7, 1)) == later
    assert days(policy, date(2026, 7, 2)) is None
    assert days(policy, date(2026, 6, 1), date(2026, 7, 1)) == later
    assert days(policy, date(2026, 12, 1), date(2026, 6, 2)) == own
    assert days(policy, date(2026, 6, 1), date(2026, 6, 3)) is None
    assert days(policy, date(2025, 12, 31)) is None, "nothing stands before the first"


def utc_today() -> date:
    """By the real clock."""
    return datetime.now(UTC).date()  # noqa: TID251 - the command has the real clock


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Niue", "Europe/London"])
def test_check_sees_the_version_of_today_by_the_day_in_utc_whatever_the_tenants_zone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], zone: str
) -> None:
    """`effective` is a day in UTC, as legs name it; fourteen hours east or eleven west of it changes nothing."""
    while True:  # once more should midnight come between
        today, more = utc_today(), f'time_zone = "{zone}"'
        texts = [version(str(today + timedelta(ahead)), more=more, purposes=SHORT) for ahead in (0, 1)]
        policy_of(tmp_path, version(more=more), *texts)
        assert run(monkeypatch, tmp_path / "policy.toml", "check", "--json") == 0
        told = capsys.readouterr()
        if today == utc_today():
            break
    found = json.loads(told.out)
    assert (found["to"], [each["where"] for each in found["differences"]]) == (str(today), ["purposes.service.keep"])
    assert f"{today + timedelta(1)}: waits too" in told.err
    tomorrow = str(today + timedelta(1))
    assert run(monkeypatch, tmp_path / "policy.toml", "check", "--json", "--effective", tomorrow) == 0
    assert json.loads(capsys.readouterr().out)["differences"] == []
    assert run(monkeypatch, tmp_path / "policy.toml", "check", "--effective", "2026-01-05") == 2


def test_copies_that_a_mistake_has_made_stay_in_view_once_it_is_corrected(tmp_path: Path) -> None:
    """Whoever was erased in between has copies for the purpose: they belong to the person until they lapse."""
    survives = SERVICE + '[version.tenant.iocom.purposes.tax]\nnumber = 2\nbasis = "legal_duty"\nkeep = "P1Y"\n{}\n'
    mistake = version("2026-06-02", purposes=survives.format("survives_erasure = true"))
    mended = revised(2, survives.format('erasable_because = "No law asks for it after all."'))
    policy = policy_of(tmp_path, version(), mistake, mended)
    assert not policy.keeps_copies(IOCOM, 2, date(2026, 6, 1))
    assert policy.keeps_copies(IOCOM, 2, DAY)


def test_a_revision_that_came_too_late_is_a_hole_unless_a_higher_one_is_law(tmp_path: Path) -> None:
    """What the file says in its place heals it, and what it corrected is missed by nobody."""
    yesterday, signed = "2026-05-31", NOW - timedelta(days=2)
    first = published(tmp_path, version(yesterday, purposes=TYPO), at=signed)
    second = said(tmp_path, revised(2, SHORT, day=yesterday), at=signed - timedelta(hours=1))
    policy = policy_of(tmp_path, version())
    in_time = to_ms(signed)
    assert policy.follow({first: in_time, second: APPENDED}, 120).holes(TODAY), (
        "the correction is lost, the mistake is the law"
    )
    assert not policy.follow({first: APPENDED, second: in_time}, 120).holes(TODAY), "only what was corrected is lost"
    healed = policy_of(tmp_path, version(), version(yesterday, purposes=TYPO), revised(3, SHORT, day=yesterday))
    assert not healed.follow({first: APPENDED, second: APPENDED}, 120).holes(TODAY)
