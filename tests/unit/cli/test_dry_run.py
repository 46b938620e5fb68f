"""`request --dry-run`: what a desk would say is said before sending, by the same checks, and no server is asked."""

import json
from pathlib import Path

import pytest

from calllog_guard.adapters.kms.local import FileRing, LocalKms
from calllog_guard.cli import main
from calllog_guard.core.identifiers import Tenant
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a new installation; no server runs."""
    assert main(["init", str(tmp_path), "--json"]) == 0
    for line in (tmp_path / "calllog-guard.env").read_text().splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CALLLOG_GUARD_KAFKA", "127.0.0.1:1")
    Vault(LocalKms(tmp_path / "kms"), FileRing(tmp_path / "kms")).create_tenant(Tenant("iocom"))
    (tmp_path / "who").write_text("alice@example.org\n")
    return tmp_path


def asked(
    folder: Path, capsys: pytest.CaptureFixture[str], *words: str, by: str = "backend-1"
) -> tuple[int, dict[str, str] | None]:
    """The exit code, and why it would be refused."""
    capsys.readouterr()
    code = main(["request", *words, "--key", str(folder / "keys" / f"{by}.pem"), "--dry-run", "--json"])
    found: dict[str, dict[str, str] | None] = json.loads(capsys.readouterr().out)
    return code, found["refused"]


def test_a_desk_would_take_it(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(installed, capsys, "erase", "--subject", f"@{installed}/who") == (0, None)


def test_roles_purposes_and_identifiers_are_judged_by_the_policy(
    installed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (installed / "odd").write_text("a b@example.org\n")
    (installed / "why").write_text("because\n")
    who = ("--subject", f"@{installed}/who")
    wanted = {
        "wrong_role": ("approve", "--case", "A" * 22),
        "unknown_purpose": ("object", *who, "--purpose", "telepathy"),
        "not_by_consent": ("withdraw", *who, "--purpose", "service"),
        "unexpected_field": ("erase", *who, "--ground", f"@{installed}/why"),
        "no_single_address": ("erase", "--subject", f"@{installed}/odd"),
    }
    for reason, words in wanted.items():
        code, refused = asked(installed, capsys, *words)
        assert refused is not None, reason
        assert (code, refused["reason"]) == (4, reason)
        assert refused["remedy"]
        assert "example.org" not in json.dumps(refused)
