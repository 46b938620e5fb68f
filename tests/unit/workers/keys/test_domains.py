"""Trust domains: each opens what its work needs and no more; one call separates an installation with a single key."""

import re
import shutil
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec
import pytest
from doc_tables import secrets_table
from documents import marked

from calllog_guard.adapters.kms.local import FileRing, LocalKms
from calllog_guard.adapters.memory.fakes import MemoryKms, MemoryRing
from calllog_guard.core.crypto.subject_secrets import Secret, derive
from calllog_guard.core.identifiers import EpochName, Tenant
from calllog_guard.core.rights.grants import (
    DOMAIN_KEY,
    DOMAIN_OF,
    DOMAINS,
    ENTRIES,
    SECRETS,
    SHARERS,
    USERS,
    VOUCHES_LETTERS,
    VOUCHES_PROFILES,
    opened_by,
)
from calllog_guard.core.rights.kms_policies import (
    BACKEND,
    OPERATOR,
    POLICIES,
    PRINTED,
    aws_policy,
    keys_of,
    vault_policy,
)
from calllog_guard.errors import EntryCorruptError, GuardError, KmsForbiddenError
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault
from calllog_guard.workers.keys.tenants.wrapped_secrets import ROOT

TENANT = Tenant("iocom")
NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
BEFORE, AFTER = EpochName("2026-W48"), EpochName("2026-W49")
USES = ("ledger", "cases", "unseen", "tallies", "parked")


def all_of(vault: Vault, epoch: EpochName) -> dict[str, Any]:
    """Whatever a vault opens, by the table's words; None: it is not for this domain."""
    ways: dict[str, Any] = {
        "pepper": lambda: vault.pepper(TENANT).expose(),
        "guard": vault.guard_id,
        "profile": lambda: vault.profile(TENANT).number,
        "epoch": lambda: vault.epoch_key(epoch, TENANT, "keystore").expose(),
        "receipts": lambda: vault.receipt_key(TENANT),
        "desk": lambda: vault.desk_key(TENANT, "iocom-desk"),
        "cases": lambda: vault._root(f"cases.{TENANT}").expose(),
        "outcomes": lambda: vault.outcome_key(TENANT).expose(),
        "secret-case": lambda: vault.case_key(TENANT).expose(),
        "moments": lambda: vault.moment_names(TENANT).expose(),
    }
    for role in vault.profile(TENANT).signers:
        ways[f"signer.{role}"] = lambda role=role: vault.signer_seed(TENANT, role)
    for use in USES:
        ways[f"use-{use}"] = lambda use=use: vault.epoch_key(epoch, TENANT, use).expose()
    found: dict[str, Any] = {}
    for name, way in ways.items():
        try:
            found[name] = way()
        except GuardError:
            found[name] = None
    return found


def of_domain(folder: Path, domain: str) -> Vault:
    """The vault of a domain's own process: the folder holds its own keys, and those that all share."""
    own = folder / "of" / domain
    shutil.rmtree(own, ignore_errors=True)
    for part in ("epochs", domain):
        if (folder / part).exists():
            shutil.copytree(folder / part, own / part)
    for key in (own / "epochs").iterdir() if domain not in SHARERS else ():
        if not aws_allows(aws_policy(domain, "P"), "kms:Decrypt", calllog_guard="P", epoch=key.name):
            key.unlink()
    vault = Vault(LocalKms(own), FileRing(folder))
    vault.domains.own = domain
    return vault


def made(folder: Path, apart_from: EpochName | None = None) -> Vault:
    """A tenant with two epochs."""
    vault = Vault(LocalKms(folder), FileRing(folder))
    vault.create_tenant(TENANT, at=NOW, apart_from=apart_from)
    for epoch in (BEFORE, AFTER):
        vault.create_epoch(epoch)
    return vault


def test_the_documentation_shows_the_table() -> None:
    assert marked("secrets").lstrip("\n") == secrets_table()


def test_receipts_desk_keys_and_cases_are_the_desks_and_the_keepers_alone() -> None:
    assert opened_by("receipts.iocom") == opened_by("desk.iocom.7") == ("desk",)
    assert opened_by("cases.iocom") == ("desk", "keep")
    assert set(DOMAIN_OF) < set(USERS)
    assert {name for name, domains in SECRETS.items() if "read" in domains} == {"epoch", "pepper", "guard", "profile"}


@pytest.mark.parametrize("user", ["ingest", "sessions"])
def test_who_faces_the_internet_and_who_pairs_hold_no_key_that_knows_or_opens_people(user: str) -> None:
    """By hand: none of a protector's keys, and no entry of a person."""
    assert {name for name, domains in SECRETS.items() if DOMAIN_OF[user] in domains} == {"profile", "moments"}
    assert set(keys_of(DOMAIN_OF[user])) == {VOUCHES_PROFILES, VOUCHES_LETTERS, DOMAIN_KEY + DOMAIN_OF[user]}
    assert {pattern for pattern, users in ENTRIES.items() if user in users} == {
        "clg:~guard",
        "clg:~read:ROLE:*",
        "clg:~seen",
    }


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.slow
def test_each_domain_opens_what_the_table_says_and_nothing_else(tmp_path: Path, domain: str) -> None:
    whole = all_of(made(tmp_path, BEFORE), AFTER)
    assert None not in whole.values()
    vault = of_domain(tmp_path, domain)
    vault.warm(TENANT)
    found = all_of(vault, AFTER)
    assert {name for name, value in found.items() if value is not None} == {
        name for name, domains in SECRETS.items() if domain in domains and name in whole
    }
    assert {name: value for name, value in found.items() if value is not None}.items() <= whole.items()
    assert vault.domains.beyond(TENANT) == []


def test_what_a_domain_seals_opens_with_no_key_that_all_share(tmp_path: Path) -> None:
    """Whoever has the epoch's key, a reader for one, derives from it what it always did: that opens nothing now."""
    vault = made(tmp_path, BEFORE)
    for use in USES:
        shared = derive(vault._epoch(AFTER)[0], f"epoch/{TENANT}/{use}")
        assert vault.epoch_key(AFTER, TENANT, use).expose() != shared
    assert vault.epoch_key(AFTER, TENANT, "keystore").expose() == derive(
        vault._epoch(AFTER)[0], f"epoch/{TENANT}/keystore"
    )


def test_an_installation_with_one_key_for_all_goes_on_and_is_separated_by_one_call(tmp_path: Path) -> None:
    vault = made(tmp_path)
    before = all_of(vault, BEFORE)
    for domain in DOMAINS:
        one = Vault(LocalKms(tmp_path), FileRing(tmp_path))
        one.domains.own = domain
        one.warm(TENANT)
        assert all_of(one, BEFORE) == before, "every role opens everything"
    assert not vault.domains.apart(TENANT)
    for _ in range(2):
        Vault(LocalKms(tmp_path), FileRing(tmp_path)).separate(TENANT, AFTER)
    fresh = Vault(LocalKms(tmp_path), FileRing(tmp_path))
    after = all_of(fresh, BEFORE)
    assert after | {"profile": 0} == before | {"profile": 0}, "nothing is another secret, what was sealed opens"
    assert fresh.domains.apart(TENANT)
    running = all_of(vault, AFTER)
    del running["profile"], (later := all_of(fresh, AFTER))["profile"]
    vault._profiles.look(TENANT)
    assert {name: all_of(vault, AFTER)[name] for name in later} == later, "a vault that was open meanwhile, too"
    opened = all_of(of_domain(tmp_path, "read"), AFTER)
    assert {name for name, value in opened.items() if value} == {"pepper", "guard", "profile", "epoch"}
    assert not list((tmp_path / "ring").glob("receipts.iocom")), "nothing of it is left under the key that all share"


class Breaks(MemoryRing):
    """A ring that ends the process at its n-th change."""

    def __init__(self, ring: MemoryRing, at: int) -> None:
        super().__init__()
        self.blobs, self._left = ring.blobs, at

    def _change(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt

    def put_new(self, name: str, blob: bytes) -> bool:
        """See Ring."""
        self._change()
        return super().put_new(name, blob)

    def remove(self, name: str) -> None:
        """See Ring."""
        self._change()
        super().remove(name)


def test_a_separation_that_is_cut_short_anywhere_is_taken_up_again() -> None:
    for at in range(60):
        kms, ring = MemoryKms(), MemoryRing()
        vault = Vault(kms, ring)
        vault.create_tenant(TENANT, at=NOW)
        vault.create_epoch(BEFORE)
        before = all_of(vault, BEFORE)
        try:
            Vault(kms, Breaks(ring, at)).separate(TENANT, AFTER)
        except KeyboardInterrupt:
            assert (
                all_of(Vault(kms, ring), BEFORE).items() >= {k: v for k, v in before.items() if k != "profile"}.items()
            )
            Vault(kms, ring).separate(TENANT, AFTER)
        else:
            assert at > 10
            break
        del before["profile"], (after := all_of(Vault(kms, ring), BEFORE))["profile"]
        assert after == before
    else:
        pytest.fail("it never ended")


def test_nothing_is_removed_where_another_secret_lies_in_the_place() -> None:
    kms, ring = MemoryKms(), MemoryRing()
    vault = Vault(kms, ring)
    vault.create_tenant(TENANT, at=NOW)
    kms.create_epoch(f"{DOMAIN_KEY}desk")
    ring.blobs[f"receipts.{TENANT}@desk"] = kms.wrap(f"{DOMAIN_KEY}desk", Secret.mint())
    with pytest.raises(EntryCorruptError, match="nothing was removed"):
        Vault(kms, ring).separate(TENANT, AFTER)
    assert f"receipts.{TENANT}" in ring.blobs


def test_what_is_made_later_is_the_desks_alone_and_nothing_is_made_twice() -> None:
    kms, ring = MemoryKms(), MemoryRing()
    vault = Vault(kms, ring)
    vault.create_tenant(TENANT, at=NOW, apart_from=BEFORE)
    known = vault.receipt_key(TENANT)
    vault.create_tenant(TENANT, at=NOW, apart_from=BEFORE)
    assert Vault(kms, ring).receipt_key(TENANT) == known
    vault.rotate_desk_key(TENANT)
    assert [name for name in ring.blobs if name.startswith("desk.")] == ["desk.iocom.1@desk", "desk.iocom.2@desk"]
    assert Vault(kms, ring).desk_kids(TENANT) == ["iocom-desk", "iocom-desk-2"]


def test_a_key_of_others_is_no_silence_of_the_kms() -> None:
    """A worker that asked for what it may not have would leave the KMS alone for a while, and its units with it."""
    kms, ring = MemoryKms(), MemoryRing()
    Vault(kms, ring).create_tenant(TENANT, at=NOW, apart_from=BEFORE)
    kms.forbidden = {f"{DOMAIN_KEY}desk", f"{DOMAIN_KEY}keep"}
    vault = Vault(kms, ring)
    with pytest.raises(KmsForbiddenError):
        vault.receipt_key(TENANT)
    assert vault.outcome_key(TENANT), "of a domain that has the part alone"
    assert vault.pepper(TENANT)
    assert vault.domains.beyond(TENANT) == ["protect", "audit", "office", "ingest", "pair"]


# --- policies -------------------------------------------------------------------------------------------------------


def aws_allows(policy: str, action: str, **context: str) -> bool:
    """Whether AWS would let an identity with this policy do a thing; condition keys by name, `resource` beside them."""
    verdicts = set[str]()
    for each in msgspec.json.decode(policy)["Statement"]:
        resources = [each["Resource"]] if isinstance(each["Resource"], str) else each["Resource"]
        if not any(fnmatchcase(action, one) for one in each["Action"]):
            continue
        if not any(fnmatchcase(context.get("resource", "arn:aws:kms:x:1:key/1"), one) for one in resources):
            continue
        holds = True
        for kind, wanted in each.get("Condition", {}).items():
            for name, values in wanted.items():
                got = context.get(name.rpartition("kms:")[2].replace("EncryptionContext:", "").replace("-", "_"))
                if kind == "Null":
                    holds &= (got is None) == (values == "true")
                else:
                    holds &= got is not None and any(
                        fnmatchcase(got, one) for one in ([values] if isinstance(values, str) else values)
                    )
        if holds:
            verdicts.add(each["Effect"])
    return verdicts == {"Allow"}


@pytest.mark.parametrize("domain", PRINTED)
def test_a_policy_of_aws_lets_each_domain_use_its_own_keys(domain: str) -> None:
    policy = aws_policy(domain, "P")
    own = {"read": set()}.get(domain, {domain}) if domain != OPERATOR else set(DOMAINS) - {"read"}
    keys = [ROOT, VOUCHES_PROFILES, VOUCHES_LETTERS, "2026-W48", *(DOMAIN_KEY + each for each in DOMAINS)]
    wanted = {VOUCHES_PROFILES, VOUCHES_LETTERS, *(DOMAIN_KEY + each for each in own)}
    wanted |= {ROOT, "2026-W48"} if domain in {*SHARERS, OPERATOR} else set()
    wanted = {VOUCHES_PROFILES} if domain == BACKEND else wanted
    assert {key for key in keys if aws_allows(policy, "kms:Decrypt", calllog_guard="P", epoch=key)} == wanted
    assert not any(aws_allows(policy, "kms:Decrypt", calllog_guard="other", epoch=key) for key in keys)
    assert not any(aws_allows(policy, "kms:Decrypt") for _ in keys), "a blob without a context"
    wraps = {key for key in keys if aws_allows(policy, "kms:Encrypt", calllog_guard="P", epoch=key)}
    assert wraps == ({"2026-W48", VOUCHES_LETTERS} if domain == "audit" else wanted if domain == OPERATOR else set())
    week = aws_allows(policy, "kms:Decrypt", calllog_guard="P", epoch="letters-7")
    assert week == (domain in {"audit", OPERATOR}), "who opens a week's dead letters"
    week = aws_allows(policy, "kms:Decrypt", calllog_guard="P", epoch="moments-7")
    assert week == (domain in {"audit", "pair", OPERATOR}), "whoever seals a week's moments opens none of them"
    ends = {
        key
        for key in keys
        if aws_allows(policy, "kms:ScheduleKeyDeletion", ResourceAliases=f"alias/P/{key}")
        or aws_allows(policy, "kms:DisableKey", ResourceAliases=f"alias/P/{key}")
    }
    assert ends == ({"2026-W48"} if domain in {"audit", OPERATOR} else set()), "the keys of domains are never destroyed"
    assert not aws_allows(policy, "kms:CreateAlias", ResourceAliases="alias/P/root-desk"), "no second name for a key"
    for action in (
        "kms:CancelKeyDeletion",
        "kms:EnableKey",
        "kms:PutKeyPolicy",
        "kms:CreateGrant",
        "kms:ReEncryptFrom",
    ):
        assert not aws_allows(policy, action)


def vault_allows(policy: str, path: str, capability: str) -> bool:
    """Whether Vault would let a token with this policy do something: the longest matching path counts."""
    paths = dict(re.findall(r'path "([^"]+)" \{ capabilities = (\[[^\]]*\]) \}', policy))
    fitting = [each for each in paths if each == path or (each.endswith("*") and path.startswith(each[:-1]))]
    return bool(fitting) and capability in msgspec.json.decode(paths[max(fitting, key=len)])


@pytest.mark.parametrize("domain", PRINTED)
def test_a_policy_of_vault_lets_each_domain_use_its_own_keys(domain: str) -> None:
    policy = vault_policy(domain, "P")
    keys = [ROOT, VOUCHES_PROFILES, VOUCHES_LETTERS, "2026-W48", *(DOMAIN_KEY + each for each in DOMAINS)]
    opens = {key for key in keys if vault_allows(policy, f"transit/decrypt/P-{key}", "update")}
    assert opens == {*keys_of(domain), *({"2026-W48"} if domain in {*SHARERS, OPERATOR} else ())}
    ends = {key for key in keys if vault_allows(policy, f"transit/keys/P-{key}", "delete")}
    assert ends == ({"2026-W48"} if domain in {"audit", OPERATOR} else set())
    wraps = {key for key in keys if vault_allows(policy, f"transit/encrypt/P-{key}", "update")}
    assert wraps == ({"2026-W48", VOUCHES_LETTERS} if domain == "audit" else opens if domain == OPERATOR else set())
    assert vault_allows(policy, "transit/decrypt/P-letters-7", "update") == (domain in {"audit", OPERATOR})
    assert vault_allows(policy, "transit/decrypt/P-moments-7", "update") == (domain in {"audit", "pair", OPERATOR})
    assert not any(vault_allows(policy, f"transit/encrypt/P-{key}", "create") for key in keys)
    assert not any(vault_allows(policy, f"transit/decrypt/Q-{key}", "update") for key in keys)
    assert not any(vault_allows(policy, f"transit/export/encryption-key/P-{key}", "read") for key in keys)


def test_each_kms_but_files_has_policies() -> None:
    assert sorted(POLICIES) == ["awskms", "vault"]
