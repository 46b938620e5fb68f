"""Readers prove to be the actor they name, and sign what they opened; where no actor has a key all is as before."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from policies import policy_of, version
from reading_world import ACCESS, POLICY, TENANT, World

from calllog_guard.adapters.disk.policy_file import load_policy
from calllog_guard.app.reader import actor_key_at
from calllog_guard.cli import main
from calllog_guard.core.audit.accesses import ActorKey, place_of, proves, read_access
from calllog_guard.core.codec import DENIED, to_ms
from calllog_guard.core.crypto.jose import new_pair
from calllog_guard.core.policy.actors import Judge
from calllog_guard.core.policy.changes.publication import with_keys
from calllog_guard.errors import ConfigurationError, MessageError, NewerFormError, StateRefusedError
from calllog_guard.settings import Settings
from calllog_guard.workers.reader.session import Hand, Reading

GOLDEN = json.loads((Path(__file__).parents[1] / "vectors" / "stored_v2.json").read_text())
SINCE = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
KEYED = 'purposes = ["billing"]\nkey = "billing-1.pub.pem"\nsince = 2026-11-24T09:30:00Z\n'
PROVING = POLICY.replace('purposes = ["billing"]\n', KEYED)


def made(folder: Path, name: str) -> ActorKey:
    """A pair beside the policy."""
    private, public = new_pair(signs=True)
    (folder / f"{name}.pem").write_bytes(private)
    (folder / f"{name}.pub.pem").write_bytes(public)
    found = actor_key_at(folder / f"{name}.pem")
    assert found is not None
    return found


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """A call log whose actor billing-1 has a key that counts from half past nine on; all-1 has none."""
    world = World(tmp_path)
    await world.ring.guard.open_at_once(2)
    made(tmp_path, "billing-1")
    world.policy = world.written(PROVING)
    return world


def reading(world: World, actor: str = "billing-1", key: ActorKey | None = None) -> Reading:
    """A reader with a key, or without one."""
    return world.reading("billing", actor, None if key is None else Hand(key, world.vault.guard_id()))


def own(world: World) -> ActorKey:
    """The key of billing-1."""
    found = actor_key_at(world.folder / "billing-1.pem")
    assert found is not None
    return found


def judged(world: World) -> list[Any]:
    """Each access: who, whether it is proven, and how many were opened or denied; or why nobody believes it."""
    judge, found = (
        Judge(world.policy.actors(TENANT), world.vault.guard_id(), ACCESS, dead="calllog.dead", cases="privacy.cases"),
        list[Any](),
    )
    for output in world.accesses():
        access, proven, _ = judge.account(output.value or b"", output.partition, to_ms(world.clock.at))
        found.append((access.actor, proven, access.opened, access.refused.get(DENIED, 0)))
    return found


async def test_a_reader_signs_what_it_opened(world: World) -> None:
    await world.leg("alice")
    world.clock.at = SINCE
    assert len(await world.all(reading(world, key=own(world)))) == 1
    assert ("billing-1", True, 1, 0) in judged(world)


@pytest.mark.parametrize("whose", ["nobody's", "another's"])
async def test_whoever_does_not_prove_to_be_the_actor_reads_nothing_and_that_is_on_record(
    world: World, whose: str
) -> None:
    await world.leg("alice")
    world.clock.at = SINCE
    key = None if whose == "nobody's" else made(world.folder, "thief-1")
    with pytest.raises(
        StateRefusedError, match="prove who it is" if key is None else "not the one that the policy registers"
    ):
        await world.all(reading(world, key=key))
    assert judged(world) == [("billing-1", False, 0, 1)]


async def test_another_actors_key_does_not_sign_in_this_ones_name(world: World) -> None:
    await world.leg("alice")
    other = made(world.folder, "all-1")
    world.policy = world.written(PROVING + 'key = "all-1.pub.pem"\nsince = 2026-11-24T09:30:00Z\n')
    world.clock.at = SINCE
    with pytest.raises(StateRefusedError):
        await world.all(reading(world, key=other))
    assert judged(world) == [("billing-1", False, 0, 1)]


async def test_once_one_actor_has_a_key_none_reads_without(world: World) -> None:
    await world.leg("alice")
    assert len(await world.all(reading(world, "all-1"))) == 1, "before the first key counts"
    world.clock.at = SINCE
    with pytest.raises(StateRefusedError, match="no key of all-1 is registered"):
        await world.all(reading(world, "all-1"))


async def test_a_reader_that_follows_stops_when_its_key_is_revoked(world: World) -> None:
    await world.leg("alice")
    world.clock.at = SINCE
    mine = reading(world, key=own(world))
    await world.all(mine)
    world.policy = world.written(PROVING.replace(KEYED, KEYED + "until = 2026-11-24T10:00:00Z\n"))
    mine = reading(world, key=own(world))
    await world.all(mine)
    world.clock.at = SINCE + timedelta(minutes=30)
    with pytest.raises(StateRefusedError, match="has lapsed, or was revoked"):
        await world.all(mine)


async def test_no_later_version_goes_back_on_the_first_key(world: World) -> None:
    """Whoever could publish a version without keys would read as anybody again."""
    await world.leg("alice")
    later = POLICY.replace("2026-01-01", "2026-11-25").replace("First.", "Without keys.")
    world.policy = world.written(PROVING + later)
    world.clock.at = SINCE + timedelta(1)
    for actor in ("billing-1", "all-1"):
        with pytest.raises(StateRefusedError, match="no key of"):
            await world.all(reading(world, actor, own(world)))


async def test_where_no_actor_has_a_key_a_key_changes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.ring.guard.open_at_once(2)
    await world.leg("alice")
    assert len(await world.all(reading(world, key=made(tmp_path, "billing-1")))) == 1
    assert {read_access(each.value or b"").sig for each in world.accesses()} == {msgspec.UNSET}


def test_the_golden_access_is_proven_in_its_place_alone() -> None:
    raw, place, public = GOLDEN["access"].encode(), GOLDEN["access_place"].encode(), bytes.fromhex(GOLDEN["access_key"])
    access = read_access(raw)
    assert proves(raw, access, place, public)
    assert place == place_of(b"\x06" * 16, "privacy.access", 0)
    assert not proves(raw, access, place_of(b"\x06" * 16, "privacy.access", 1), public)
    assert not proves(raw.replace(b'"opened":3', b'"opened":4'), access, place, public)
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with suppress(MessageError, NewerFormError):
            assert not proves(changed, read_access(changed), place, public)


def test_a_key_prints_nothing_of_itself(tmp_path: Path) -> None:
    assert repr(made(tmp_path, "billing-1")) == "ActorKey(32 bytes)"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('key = "support-1.pub.pem"', "a key without since"),
        ("since = 2026-11-24T09:30:00Z", "since and until are of a key"),
        ('key = "support-1.pub.pem"\nsince = 2026-11-24T09:30:00', "actors.support-1"),
        (
            'key = "support-1.pub.pem"\nsince = 2026-11-24T09:30:00Z\nuntil = 2026-11-24T09:30:00Z',
            "until is not after since",
        ),
        ('key = "invoicing.pub.pem"\nsince = 2026-11-24T09:30:00Z', "wanted Ed25519"),
        ('key = "officer-1.pub.pem"\nsince = 2026-11-24T09:30:00Z', "its key is that of requesters.officer-1"),
    ],
)
def test_a_policy_that_registers_nobody_for_sure_is_refused(tmp_path: Path, text: str, told: str) -> None:
    made(tmp_path, "support-1")
    with pytest.raises(ConfigurationError, match=told):
        policy_of(tmp_path, version().replace('purposes = ["service"]\n', f'purposes = ["service"]\n{text}\n'))


def test_a_name_keeps_its_key(tmp_path: Path) -> None:
    for name in ("support-1", "support-2"):
        made(tmp_path, name)
    first, second = (
        version(day).replace(
            'purposes = ["service"]\n',
            f'purposes = ["service"]\nkey = "{name}.pub.pem"\nsince = 2026-11-24T09:30:00Z\n',
        )
        for day, name in (("2026-01-01", "support-1"), ("2026-06-01", "support-2"))
    )
    with pytest.raises(ConfigurationError, match="a name is never given to a second one"):
        policy_of(tmp_path, first, second)


def test_a_published_version_has_the_keys_in_it(tmp_path: Path) -> None:
    made(tmp_path, "support-1")
    keyed = 'purposes = ["service"]\nkey = "support-1.pub.pem"\nsince = 2026-11-24T09:30:00Z\n'
    policy = policy_of(tmp_path, version().replace('purposes = ["service"]\n', keyed))
    table = with_keys(policy.versions[0].tenant["iocom"], policy.public_key)
    assert str(table.actors["support-1"].key).startswith("-----BEGIN PUBLIC KEY-----")


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """An installation's folder, its environment set."""
    assert main(["init", str(tmp_path / "guard"), "--json"]) == 0
    for name, value in json.loads(capsys.readouterr().out)["env"].items():
        monkeypatch.setenv(name, value)
    return tmp_path / "guard"


def actors(guard: Path) -> dict[str, tuple[tuple[str, ...], bool, bool]]:
    """What they read for, whether they have a key, and whether it ends."""
    (found,) = load_policy(guard / "policy.toml").versions
    table = found.tenant["iocom"].actors
    return {
        name: (each.purposes, isinstance(each.key, str), isinstance(each.until, datetime))
        for name, each in table.items()
    }


def test_an_actor_is_made_registered_rotated_and_revoked(guard: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = actors(guard)
    assert main(["key", "new", "support-1", "--role", "actor"]) == 0
    told = capsys.readouterr().out
    assert 'key = "keys/support-1.pub.pem"\nsince = ' in told
    assert main(["key", "register", "support-1", "--role", "actor", "--since", "2026-11-01T00:00:00+01:00"]) == 0
    assert actors(guard) == before | {"support-1": (before["support-1"][0], True, False)}
    assert main(["key", "register", "support-1", "--role", "actor"]) == 4
    assert main(["key", "rotate", "support-1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["kid"] == "support-2"
    assert actors(guard)["support-2"] == actors(guard)["support-1"]
    assert main(["key", "revoke", "support-1"]) == 0
    assert actors(guard)["support-1"] == (before["support-1"][0], True, True)
    assert main(["key", "revoke", "support-1"]) == 4
    assert main(["key", "new", "audit-1", "--role", "actor"]) == 0
    assert main(["key", "register", "audit-1", "--role", "actor"]) == 2, "nothing says what for"
    assert main(["key", "register", "audit-1", "--role", "actor", "--purpose", "service"]) == 0
    assert actors(guard)["audit-1"] == (("service",), True, False)
    capsys.readouterr()
    assert main(["policy", "check", "--json"]) == 0
    advice = json.loads(capsys.readouterr().out)["advice"]
    assert any("actors.billing-1: no key" in line for line in advice)


def test_a_successor_reads_for_the_same_recipients(guard: Path) -> None:
    policy = guard / "policy.toml"
    policy.write_text(
        policy.read_text()
        + '[version.tenant.iocom.recipients.desk]\nkey = "keys/operator-1.pub.pem"\ntold = ["erased"]\n'
        'actors = ["support-1"]\n'
    )
    assert main(["key", "new", "support-1", "--role", "actor"]) == 0
    assert main(["key", "register", "support-1", "--role", "actor"]) == 0
    assert main(["key", "rotate", "support-1"]) == 0
    (found,) = load_policy(policy).versions
    assert found.tenant["iocom"].recipients["desk"].actors == ("support-1", "support-2")


@pytest.mark.parametrize("what", ["nothing", "no key", "a key to seal to"])
def test_a_key_that_does_not_sign_is_refused_by_its_setting(tmp_path: Path, what: str) -> None:
    path = tmp_path / "actor.pem"
    if what != "nothing":
        path.write_bytes(b"none" if what == "no key" else new_pair(signs=False)[0])
    with pytest.raises(ConfigurationError, match="CALLLOG_GUARD_ACTOR_KEY"):
        actor_key_at(Settings(actor_key=str(path)))
