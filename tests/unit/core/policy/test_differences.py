"""The change log has an entry for each change, and no other: keys by fingerprint, lists by what is in them."""

from datetime import date
from pathlib import Path

import pytest
from policies import SERVICE, policy_of, version, write_keys
from test_publication import APPENDED, published

from calllog_guard.core.crypto.jose import public_forms
from calllog_guard.core.policy.active import Policy
from calllog_guard.core.policy.changes.differences import Difference, differences
from calllog_guard.core.policy.record import record

MORE = """\
[version.tenant.iocom.recipients.invoicing]
key = "invoicing.pub.pem"
told = ["erased", "rectified"]
[version.tenant.iocom.person_notices]
key = "invoicing.pub.pem"
told = ["erased", "lifting"]
[version.tenant.iocom.actors.both-1]
purposes = ["service", "research"]
"""
RESEARCH = """\
[version.tenant.iocom.purposes.research]
number = 2
basis = "legitimate_interests"
keep = "P1Y"
when = { roles = ["host", "guest"], outcomes = ["answered", "missed"] }
shows = ["role", "started_at"]
"""
FIRST = version(more='holidays = { country = "GB", subdivision = "ENG" }', purposes=SERVICE + RESEARCH) + MORE
LATER = FIRST.replace("2026-01-01", "2026-06-01")


def changed(*pairs: tuple[str, str]) -> str:
    """The later version with some changes."""
    text = LATER
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def between(directory: Path, first: str, second: str) -> list[Difference]:
    """What two versions of one file differ in."""
    policy = policy_of(directory, first, second)
    return differences(*map(policy.inlined, policy.versions))


def fingerprint(directory: Path, name: str) -> str:
    """Of a key file."""
    return public_forms((directory / name).read_bytes())[2]


def told(lines: list[Difference]) -> list[tuple[str, str, str, str]]:
    """The lines as a reader has them."""
    return [(each.what, each.where, each.before, each.after) for each in lines]


SAME = {
    "the order of purposes": (SERVICE + RESEARCH, RESEARCH + SERVICE),
    "the order of a list": ('["service", "research"]', '["research", "service"]'),
    "a list with a repetition": ('told = ["erased", "rectified"]', 'told = ["rectified", "erased", "erased"]'),
    "the order of what the person is told": ('["erased", "lifting"]', '["lifting", "erased"]'),
    "the order of fields that are shown": ('["role", "started_at"]', '["started_at", "role"]'),
    "the order of roles and outcomes": ('["host", "guest"]', '["guest", "host"]'),
    "the same period in other units": ('"P1Y"', '"P12M"'),
    "weeks in place of days": ('"P90D"', '"P12W6D"'),
    "what the default is, in words": ('keep = "P90D"', 'keep = "P90D"\nthen = "delete"\ndirect_marketing = false'),
    "a default in place of its words": ('holidays = { country = "GB", subdivision = "ENG" }', ""),
    "the zone that is the default": ('regime = "uk"', 'regime = "uk"\ntime_zone = "Europe/London"'),
    "comments and blanks": ('basis = "contract"', 'basis   =   "contract"    # as before\n\n'),
    "the file of a key under another name": ('"backend-1.pub.pem"', '"renamed.pub.pem"'),
}


@pytest.mark.parametrize("pair", SAME.values(), ids=SAME)
def test_what_says_the_same_is_no_entry(tmp_path: Path, pair: tuple[str, str]) -> None:
    write_keys(tmp_path)
    (tmp_path / "renamed.pub.pem").write_bytes((tmp_path / "backend-1.pub.pem").read_bytes())
    assert between(tmp_path, FIRST, changed(pair)) == []


@pytest.mark.parametrize(
    ("place", "old", "new"),
    [
        ("requesters.backend-1.key", "backend-1", "officer-2"),
        ("recipients.invoicing.key", "invoicing", "gateway"),
        ("person_notices.key", "invoicing", "gateway"),
    ],
)
def test_another_key_is_an_entry_with_both_fingerprints(tmp_path: Path, place: str, old: str, new: str) -> None:
    write_keys(tmp_path)
    from calllog_guard.core.crypto.jose import new_pair  # noqa: PLC0415

    (tmp_path / "gateway.pub.pem").write_bytes(new_pair(signs=False)[1])
    table = place.rpartition(".")[0]
    head = f"[version.tenant.iocom.{table}]\n"
    start = LATER.index(head)
    later = LATER[:start] + LATER[start:].replace(f'"{old}.pub.pem"', f'"{new}.pub.pem"', 1)
    before, after = fingerprint(tmp_path, f"{old}.pub.pem"), fingerprint(tmp_path, f"{new}.pub.pem")
    assert told(between(tmp_path, FIRST, later)) == [("changed", place, before, after)]


def test_the_same_file_with_another_key_in_it_is_an_entry_against_an_older_folder(tmp_path: Path) -> None:
    """`policy check --against`: each file names the keys that lie beside it."""
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    old, new = policy_of(tmp_path / "old", FIRST), policy_of(tmp_path / "new", FIRST)
    (tmp_path / "new" / "backend-1.pub.pem").write_bytes((tmp_path / "new" / "officer-2.pub.pem").read_bytes())
    found = differences(old.inlined(old.versions[0]), new.inlined(new.versions[0]))
    assert [each.where for each in found] == ["requesters.backend-1.key"]


def test_a_published_version_and_a_files_are_compared_by_what_their_keys_are(tmp_path: Path) -> None:
    """One has the text of a key, the other the name of its file: the change log said that every key had changed."""
    policy = policy_of(tmp_path, version())
    token = published(tmp_path, version("2026-06-02", purposes=SERVICE.replace("P90D", "P30D")))
    assert policy.follow({token: APPENDED}, 120).accepted == {token}
    found = record(policy.history, "iocom", date(2026, 6, 2), policy.inlined)
    assert found is not None
    assert found["history"][-1]["differences"] == ["shortened purposes.service.keep: P90D -> P30D"]


def test_what_is_asked_for_and_what_is_gone_are_entries(tmp_path: Path) -> None:
    later = changed(
        ('["service", "research"]', '["service"]'), ('keep = "P1Y"', 'keep = "P11M"'), ('["host", "guest"]', '["host"]')
    )
    assert told(between(tmp_path, FIRST, later)) == [
        ("shortened", "purposes.research.keep", "P1Y", "P11M"),
        (
            "changed",
            "purposes.research.when",
            "roles host, guest; outcomes answered, missed",
            "roles host; outcomes answered, missed",
        ),
        ("changed", "actors.both-1.purposes", "service, research", "service"),
    ]
    gone = FIRST.replace("2026-01-01", "2026-06-01").partition("[version.tenant.iocom.person_notices]")[0]
    whole = between(
        tmp_path, FIRST.replace("both-1", "support-2"), gone + MORE[MORE.index("[version.tenant.iocom.actors") :]
    )
    assert ("dropped", "person_notices", "told erased, lifting", "") in told(whole)
    assert ("added", "actors.both-1", "", "service, research") in told(whole)


def test_a_line_says_in_parts_what_it_is_about(tmp_path: Path) -> None:
    """So that a program can tell what needs a second officer; a name may have points in it."""
    first = FIRST.replace("requesters.officer-1", 'requesters."officer.1"').replace("officer-1.pub", "officer.1.pub")
    policy_of(tmp_path, FIRST)
    for name in ("officer.1.pem", "officer.1.pub.pem"):
        (tmp_path / name).write_bytes((tmp_path / name.replace(".1", "-1")).read_bytes())
    later = (
        first.replace("2026-01-01", "2026-06-01").replace('"P90D"', '"P30D"').replace("officer.1.pub", "officer-2.pub")
    )
    parts = [(each.what, each.part, each.name, each.field) for each in between(tmp_path, first, later)]
    assert parts == [
        ("shortened", "purposes", "service", "keep"),
        ("changed", "requesters", "officer.1", "key"),
    ]
    added = later + '[version.tenant.iocom.requesters.officer-3]\nrole = "officer"\nkey = "officer-2.pub.pem"\n'
    more = [each for each in between(tmp_path, first, added) if each.what == "added"]
    assert [(each.part, each.name, each.after) for each in more] == [("requesters", "officer-3", "officer")]


def test_another_authority_and_another_zone_are_entries(tmp_path: Path) -> None:
    later = changed(('regime = "uk"', 'regime = "uk"\nsupervisory_authority = "The ICO"\ntime_zone = "UTC"'))
    found = {each.where: each.after for each in between(tmp_path, FIRST, later)}
    assert found == {"supervisory_authority": "The ICO", "time_zone": "UTC"}


def test_whoever_has_no_files_compares_by_name(tmp_path: Path) -> None:
    first, second = policy_of(tmp_path, FIRST, LATER).versions
    assert differences(first, second) == []
    assert isinstance(policy_of(tmp_path, FIRST), Policy)
