"""Several tenants in one policy file: whom a process serves, and that no tenant can destroy what another shares."""

from pathlib import Path

import msgspec
import pytest
from policies import policy_of, version

from calllog_guard.adapters.kms.local import FileRing, LocalKms
from calllog_guard.app.context import world
from calllog_guard.core.codec import encode
from calllog_guard.core.identifiers import EpochName, Tenant
from calllog_guard.core.stream.anchor import ANCHORS, Anchor, check_anchor
from calllog_guard.errors import ConfigurationError
from calllog_guard.settings import Settings
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault

OURS, OTHER = Tenant("iocom"), Tenant("acme")
MINE = Anchor(guard="A" * 22, tenant="iocom", legs="calllog.legs")


def settings_of(directory: Path, *names: str, tenant: str = "") -> Settings:
    """Settings beside a policy that names some tenants, each with its own topic and a period of its own."""
    text = version()
    for number, name in enumerate(names, 2):
        more = version().partition("[version.tenant.iocom]")[2].replace("calllog.events", f"{name}.events")
        text += f"[version.tenant.{name}]" + more.replace("iocom", name).replace("P90D", f"P{number}Y")
    policy_of(directory, text)
    return Settings(policy=str(directory / "policy.toml"), tenant=tenant, kms=f"local:{directory / 'kms'}")


def test_the_only_tenant_needs_no_naming(tmp_path: Path) -> None:
    assert world(settings_of(tmp_path)).tenant == "iocom"


def test_a_process_serves_the_tenant_that_the_setting_names(tmp_path: Path) -> None:
    """Its topics and its periods, nobody else's: another's longer period would keep this one's months readable."""
    one, two = (world(settings_of(tmp_path, "acme", tenant=name)) for name in ("iocom", "acme"))
    assert (one.tenant, one.events, one.keep_days) == ("iocom", ("calllog.events",), 90)
    assert (two.tenant, two.events, two.keep_days) == ("acme", ("acme.events",), 2 * 12 * 31)


@pytest.mark.parametrize(
    ("names", "tenant", "told"),
    [
        (("acme",), "", "names 2 tenants, and a process serves one: set CALLLOG_GUARD_TENANT to one of iocom, acme"),
        (("acme",), "iocon", "CALLLOG_GUARD_TENANT is iocon, but the policy in force names iocom, acme"),
        ((), "acme", "CALLLOG_GUARD_TENANT is acme, but the policy in force names iocom"),
    ],
)
def test_nobody_guesses_whom_a_process_serves(tmp_path: Path, names: tuple[str, ...], tenant: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        _ = world(settings_of(tmp_path, *names, tenant=tenant)).tenant


def test_keys_are_one_tenants_alone(tmp_path: Path) -> None:
    """The walk destroys an epoch when no entry of its own tenant needs it: the other's entries would open no more."""
    vault = Vault(LocalKms(tmp_path), FileRing(tmp_path))
    assert vault.alone(OURS)
    vault.create_tenant(OURS)
    vault.create_epoch(EpochName("2026-W48"))
    assert vault.alone(OURS)
    assert not vault.alone(OTHER)
    assert not Vault(LocalKms(tmp_path), FileRing(tmp_path / "own")).alone(OTHER), "epochs of the same name are one key"
    assert Vault(LocalKms(tmp_path / "own"), FileRing(tmp_path / "own")).alone(OTHER)


def test_a_ledger_is_read_by_the_installation_that_it_names(tmp_path: Path) -> None:
    assert tmp_path
    check_anchor(MINE, MINE, "privacy.decisions")
    check_anchor(Anchor(guard=MINE.guard), MINE, "privacy.decisions")


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"guard": "B" * 21 + "A"}, "is the ledger of tenant iocom's installation"),
        ({"guard": "B" * 21 + "A", "tenant": None}, "is the ledger of another installation"),
        ({"tenant": "acme"}, "is the ledger of tenant acme's installation"),
        ({"legs": "other.legs"}, "is the ledger of other.legs, and CALLLOG_GUARD_CALLLOG_PREFIX leads to calllog.legs"),
    ],
)
def test_another_installations_ledger_is_refused(other: dict[str, str | None], told: str) -> None:
    """Two on one ledger would raise each other's guards and take each other's decisions for forgeries."""
    with pytest.raises(ConfigurationError, match=told):
        check_anchor(msgspec.structs.replace(MINE, **other), MINE, "privacy.decisions")


def test_every_anchor_ever_written_is_read() -> None:
    first = b'{"v": 1, "guard": "AAAAAAAAAAAAAAAAAAAAAA", "counter": 0}'
    assert ANCHORS.decode(first) == Anchor(guard="A" * 22)
    written = b'{"v":1,"guard":"AAAAAAAAAAAAAAAAAAAAAA","counter":0,"tenant":"iocom","legs":"calllog.legs"}'
    assert encode(MINE) == written
