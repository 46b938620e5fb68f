"""What a policy may say to people in words, what it leaves unsaid, and that older releases read what they ignore."""

import json
from pathlib import Path

import msgspec
import pytest
from policies import SERVICE, policy_of, version, write_keys
from test_policy_record import run

from calllog_guard.cli.init import POLICY
from calllog_guard.core.policy.changes.differences import differences
from calllog_guard.core.policy.facts import lacking, said
from calllog_guard.core.policy.form import TenantPolicy
from calllog_guard.core.policy.record import markdown, record

SAID = """\
controller = "IO Com Ltd, 1 Street, London"
contact = "privacy@io.example"
data_protection_officer = "none"
source = "Your employer's telephone system"
stored_in = "London, United Kingdom"
automated_decisions = "Calls are routed by a program; nothing is decided about you."
transfers = [{ to = "Ledger Inc.", country = "Canada", safeguard = "standard clauses, Art. 46(2)(c)" }]
"""
WHY = SERVICE + 'why = "To show you your calls"\n'


def table_of(folder: Path, more: str, purposes: str = SERVICE) -> TenantPolicy:
    """The tenant's table."""
    return policy_of(folder, version(more=more, purposes=purposes)).versions[0].tenant["iocom"]


def test_each_fact_that_answers_lack_has_its_line(tmp_path: Path) -> None:
    bare = [line.partition(":")[0] for line in lacking(table_of(tmp_path, ""))]
    assert bare == [
        "controller",
        "contact",
        "data_protection_officer",
        "stored_in",
        "transfers",
        "person_notices.told",
        "purposes.service.why",
        "actors.support-1.title",
    ]
    assert [line.partition(":")[0] for line in lacking(table_of(tmp_path, SAID, WHY))] == [
        "person_notices.told",
        "actors.support-1.title",
    ]
    abroad = table_of(tmp_path, SAID).transfers
    assert [each.country for each in abroad or ()] == ["Canada"]


def test_in_the_eu_the_authority_is_asked_for_by_name(tmp_path: Path) -> None:
    eu = policy_of(tmp_path, version(more=SAID).replace('"uk"', '"eu"')).versions[0].tenant["iocom"]
    assert any(line.startswith("supervisory_authority:") for line in lacking(eu))


def test_what_init_wrote_as_an_example_counts_as_unsaid(tmp_path: Path) -> None:
    """Or a company's answers would bear an example's name."""
    (tmp_path / "keys").mkdir()
    write_keys(tmp_path / "keys")
    table = (
        policy_of(tmp_path, POLICY.read_text("utf-8").format(tenant="iocom", events="calllog.events"))
        .versions[0]
        .tenant["iocom"]
    )
    assert table.controller is not None
    assert said(table.controller) is None
    unsaid = [line.partition(":")[0] for line in lacking(table)]
    assert unsaid == ["controller", "contact", "stored_in", "person_notices.told"]


def test_check_tells_what_is_unsaid_and_does_not_fail_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    policy_of(tmp_path, version())
    assert run(monkeypatch, tmp_path / "policy.toml", "check", "--json") == 0
    told = capsys.readouterr()
    assert "stored_in" in told.err
    assert any("transfers" in line for line in json.loads(told.out)["unsaid"])


def test_the_record_of_processing_says_them_too(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, version(more=SAID, purposes=WHY))
    found = record(policy.versions, "iocom", policy.versions[0].effective)
    assert found is not None
    page = markdown(found)
    for told in ("Stored in: London", "- Ledger Inc., Canada: standard clauses", "service: To show you your calls"):
        assert told in page
    bare = record(policy_of(tmp_path, version()).versions, "iocom", policy.versions[0].effective)
    assert bare is not None
    assert "- (not stated in the policy)" in markdown(bare)


def test_a_change_of_words_is_a_difference(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, version(), version("2026-06-01", more=SAID, purposes=WHY))
    found = {each.where: each.after for each in differences(*policy.versions)}
    assert found["purposes.service.why"] == "To show you your calls"
    assert "Canada" in found["transfers"]


def test_a_version_that_does_not_use_the_words_is_published_as_before(tmp_path: Path) -> None:
    """An older release refuses a field that it does not know: it must follow what needs none of them."""
    plain = msgspec.to_builtins(table_of(tmp_path, ""))
    for field in ("data_protection_officer", "source", "stored_in", "transfers", "automated_decisions"):
        assert field not in plain
    assert "why" not in plain["purposes"]["service"]
    assert "title" not in plain["actors"]["support-1"]
