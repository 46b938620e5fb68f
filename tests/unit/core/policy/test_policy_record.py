"""The record of processing, what a change of policy is told as, and the commands that need no server."""

import json
from datetime import date
from pathlib import Path

import pytest
from policies import SERVICE, policy_of, version
from test_policy import BILLING, CONSENT, FULL

from calllog_guard.cli import main
from calllog_guard.core.policy.changes.differences import differences
from calllog_guard.core.policy.record import markdown, record
from calllog_guard.settings import PREFIX

CHANGED = CONSENT.replace("P90D", "P30D") + BILLING.replace("P6Y", "P7Y").replace("legal_duty", "contract").replace(
    "survives_erasure = true", ""
)
MORE = FULL.replace("exports_per_hour = 2", "exports_per_hour = 5").replace("recipients.invoicing", "recipients.bank")
AFTER = version("2026-06-01", more=MORE, purposes=CHANGED, change="Billing is kept for seven years.").replace(
    "requesters.backend-1", "requesters.backend-2"
)


def test_every_difference_has_its_line(tmp_path: Path) -> None:
    before, after = policy_of(tmp_path, version(more=FULL, purposes=CONSENT + BILLING), AFTER).versions
    found = [(each.what, each.where, each.before, each.after) for each in differences(before, after)]
    assert found == [
        ("lengthened", "purposes.billing.keep", "P6Y", "P7Y"),
        ("changed", "purposes.billing.basis", "legal_duty", "contract"),
        ("changed", "purposes.billing.survives_erasure", "yes", "no"),
        ("shortened", "purposes.service.keep", "P90D", "P30D"),
        ("dropped", "requesters.backend-1", "backend", ""),
        ("added", "requesters.backend-2", "", "backend"),
        ("added", "recipients.bank", "", "erased, rectified, restricted, lifting"),
        ("dropped", "recipients.invoicing", "erased, rectified, restricted, lifting", ""),
        ("changed", "exports_per_hour", "2", "5"),
    ]
    assert differences(before, before) == []


def test_the_record_names_all_that_article_30_asks_for(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, version(more=FULL, purposes=CONSENT + BILLING), AFTER)
    found = record(policy.versions, "iocom", date(2026, 7, 1))
    assert found is not None
    assert json.loads(json.dumps(found)) == found
    page = markdown(found)
    for told in (
        "IO Com Ltd, 1 Street, London", "privacy@io.example", "Complaints: ICO",                      # (a)
        "| billing | performance of a contract, Art. 6(1)(b) | P7Y | anonymise | host; answered |",   # (b), (f)
        "users who take part in calls", "telephone number",                                           # (c)
        "- bank is told when data is erased", "- support-1 reads for service",                        # (d)
        "`*.london.example.net`", "data lies on these hosts alone",                                   # (e)
        "AES-256-GCM",                                                                                # (g)
        "- **2026-06-01** Billing is kept for seven years.", "lengthened purposes.billing.keep: P6Y -> P7Y",
    ):  # fmt: skip
        assert told in page, told
    assert record(policy.versions, "nobody", date(2026, 7, 1)) is None
    unbound = record(policy_of(tmp_path, version()).versions, "iocom", date(2026, 7, 1))
    assert unbound is not None
    assert "not bound" in markdown(unbound)
    assert "(not stated in the policy)" in markdown(unbound)


def run(monkeypatch: pytest.MonkeyPatch, policy: Path, *words: str) -> int:
    """One command under a policy file."""
    monkeypatch.setenv(f"{PREFIX}POLICY", str(policy))
    return main(["policy", *words])


def test_check_and_print_work_on_files_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    policy_of(tmp_path, version(), name="old.toml")
    policy_of(tmp_path, version(), version("2026-06-01", purposes=SERVICE.replace("P90D", "P1Y")), name="new.toml")
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    assert run(monkeypatch, old, "check") == 0
    assert "nothing changes" in capsys.readouterr().out
    assert run(monkeypatch, new, "check", "--against", str(old)) == 1
    told = capsys.readouterr()
    assert "purposes.service.keep" in told.out
    assert "1 periods get longer: that needs the word --lengthen" in told.err
    assert run(monkeypatch, new, "check", "--against", str(old), "--lengthen", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["what"] for each in found["differences"]] == ["lengthened"]
    assert run(monkeypatch, new, "print") == 0
    assert capsys.readouterr().out.startswith("# Record of processing: call log of iocom")
    assert run(monkeypatch, new, "print", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["tenant"] == "iocom"
    (tmp_path / "bad.toml").write_text("[[version]]")
    assert run(monkeypatch, tmp_path / "bad.toml", "check") == 2
