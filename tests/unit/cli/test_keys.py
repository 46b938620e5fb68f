"""Key pairs from the command line: private halves for the owner only, requesters in and out, comments kept."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from jwcrypto.jwk import JWK

from calllog_guard.adapters.disk.policy_file import load_policy
from calllog_guard.cli import main

COMMENT = "# kept: why this number"


@pytest.fixture
def guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """An installation's folder, its environment set."""
    assert main(["init", str(tmp_path / "guard"), "--json"]) == 0
    for name, value in json.loads(capsys.readouterr().out)["env"].items():
        monkeypatch.setenv(name, value)
    policy = tmp_path / "guard" / "policy.toml"
    policy.write_text(policy.read_text().replace("number = 1\n", f"number = 1  {COMMENT}\n"))
    return tmp_path / "guard"


@pytest.fixture
def run(guard: Path, capsys: pytest.CaptureFixture[str]) -> Any:  # noqa: ARG001 - the environment
    """Run a command with --json; its data."""

    def go(*words: str, code: int = 0) -> Any:
        assert main([*words, "--json"]) == code
        out = capsys.readouterr().out
        return json.loads(out) if out else None

    return go


def requesters(guard: Path) -> dict[str, str]:
    """Who is registered, with the role."""
    (version,) = load_policy(guard / "policy.toml").versions
    return {kid: each.role for kid, each in version.tenant["iocom"].requesters.items()}


def test_a_new_private_key_is_its_owners_alone(guard: Path, run: Any) -> None:
    told = run("key", "new", "desk-1", "--role", "authority_desk")
    assert stat.S_IMODE((guard / "keys" / "desk-1.pem").stat().st_mode) == 0o600
    independent = JWK.from_pem((guard / "keys" / "desk-1.pem").read_bytes())
    assert told == {"kid": "desk-1", "role": "authority_desk", "fingerprint": independent.thumbprint()}
    before = (guard / "keys" / "desk-1.pem").read_bytes()
    run("key", "new", "desk-1", "--role", "authority_desk", code=4)
    assert (guard / "keys" / "desk-1.pem").read_bytes() == before, "nothing is overwritten"


def test_a_key_to_seal_to_cannot_be_registered_to_sign(run: Any, guard: Path) -> None:
    run("key", "new", "operator-2", "--role", "operator")
    assert run("key", "public", "operator-2")["jwk"]["crv"] == "X25519"
    run("key", "register", "operator-2", "--role", "officer", code=2)
    assert requesters(guard) == {"backend-1": "backend", "officer-1": "officer"}


def test_register_and_revoke_change_the_requesters_and_nothing_else(run: Any, guard: Path, tmp_path: Path) -> None:
    before = (guard / "policy.toml").read_text()
    elsewhere = ["--dir", str(tmp_path / "theirs")]
    run("key", "new", "desk-1", "--role", "authority_desk", *elsewhere)
    run("key", "register", "desk-1", "--role", "authority_desk", *elsewhere)
    assert requesters(guard) == {"backend-1": "backend", "officer-1": "officer", "desk-1": "authority_desk"}
    assert not (guard / "keys" / "desk-1.pem").exists(), "the private half stays where it was"
    assert COMMENT in (guard / "policy.toml").read_text()
    run("key", "register", "desk-1", "--role", "authority_desk", *elsewhere, code=4)
    run("key", "revoke", "desk-1")
    assert (guard / "policy.toml").read_text().split() == before.split()
    run("key", "revoke", "desk-1", code=4)


def test_rotate_registers_the_next_pair_beside_the_old_one(run: Any, guard: Path) -> None:
    """Callers move one by one: both must be accepted meanwhile."""
    assert run("key", "rotate", "backend-1")["kid"] == "backend-2"
    assert requesters(guard) == {"backend-1": "backend", "officer-1": "officer", "backend-2": "backend"}
    assert run("key", "rotate", "backend-1")["kid"] == "backend-3"
    assert run("key", "revoke", "backend-1")["role"] == "backend"
    run("key", "rotate", "backend-1", code=4)


def test_public_shows_what_another_library_reads(run: Any) -> None:
    told = run("key", "public", "backend-1")
    independent = JWK.from_pem(told["pem"].encode())
    assert told["fingerprint"] == independent.thumbprint()
    assert independent.export_public(as_dict=True)["x"] == told["jwk"]["x"]


def test_a_name_that_is_no_name_is_refused(run: Any) -> None:
    run("key", "new", "../backend", "--role", "backend", code=2)
    run("key", "public", "nobody", code=2)


def test_a_revocation_that_breaks_the_policy_changes_nothing(run: Any, guard: Path) -> None:
    (guard / "keys" / "officer-1.pub.pem").write_text("no key")
    before = (guard / "policy.toml").read_bytes()
    run("key", "revoke", "backend-1", code=2)
    assert (guard / "policy.toml").read_bytes() == before
    assert not list(guard.glob(".policy-*"))


def test_tenants_are_listed_with_whether_they_are_made(run: Any) -> None:
    assert run("tenant", "list") == [
        {
            "tenant": "iocom",
            "here": True,
            "regime": "uk",
            "events": ["calllog.events"],
            "requesters": ["backend-1", "officer-1"],
            "desk_keys": [],
            "receipt_key": None,
            "forms": None,
            "identity": None,
        }
    ]
