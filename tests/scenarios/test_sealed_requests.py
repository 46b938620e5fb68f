"""Requests sealed to the desk's key: opened by the named key, judged as if bare, with one reason only when not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from desk_world import TENANT, DeskWorld
from hypothesis import given
from hypothesis import strategies as st
from jwcrypto import jwe
from jwcrypto.jwk import JWK
from test_keys import guard, run
from test_vectors import GOLDEN

from calllog_guard.adapters.kms.local import FileRing, LocalKms
from calllog_guard.adapters.memory.fakes import MemoryKms, MemoryRing
from calllog_guard.core.crypto.jose import desk_pem, new_pair, open_sealed, seal_to, sign
from calllog_guard.core.identifiers import Tenant, b64, unb64
from calllog_guard.core.requests.sealing import MOST_BYTES, SealedHeader, bare, desk_kid, desk_number, seal_request
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.errors import MessageError, RequestRefusedError
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault

__all__ = ["guard", "run"]
SEED = bytes.fromhex(GOLDEN["desk_key"])
PUBLIC = GOLDEN["desk_key_public"].encode()
SEALED, TOKEN = GOLDEN["request_sealed"].encode(), GOLDEN["request"].encode()
HEADER: dict[str, Any] = json.loads(unb64(SEALED.split(b".")[0]))
EPK: dict[str, Any] = HEADER["epk"]
seeds: Callable[[str], bytes | None] = {"iocom-desk": SEED}.get


def test_an_independent_jose_library_opens_what_is_sealed_and_seals_what_is_opened() -> None:
    private, public = desk_pem(SEED)
    assert public == PUBLIC
    for sealed in (GOLDEN["request_sealed"], seal_request(PUBLIC, "iocom-desk", TOKEN.decode())):
        foreign = jwe.JWE(algs=["ECDH-ES", "A256GCM"])
        foreign.deserialize(sealed, JWK.from_pem(private))
        assert (foreign.payload, foreign.jose_header["kid"]) == (TOKEN, "iocom-desk")
        assert bare(sealed.encode(), seeds) == TOKEN
    header = json.dumps({"alg": "ECDH-ES", "enc": "A256GCM", "kid": "iocom-desk"})
    theirs = jwe.JWE(TOKEN, protected=header, recipient=JWK.from_pem(public)).serialize(compact=True)
    assert bare(theirs.encode(), seeds) == TOKEN


def test_what_has_no_seal_passes_as_it_came() -> None:
    assert [bare(raw, seeds) for raw in (None, b"", TOKEN, b"\xff.\xff")] == [None, b"", TOKEN, b"\xff.\xff"]


def with_header(**change: Any) -> bytes:
    """The golden request under another header; what is None is left out."""
    header = {name: value for name, value in (HEADER | change).items() if value is not None}
    return b".".join([b64(json.dumps(header).encode()), *SEALED.split(b".")[1:]])


def with_part(number: int, part: bytes) -> bytes:
    """The golden request with another part."""
    parts = SEALED.split(b".")
    return b".".join([*parts[:number], part, *parts[number + 1 :]])


def sealed_under(change: dict[str, Any]) -> bytes:
    """Well sealed by another library, under a header that we do not take."""
    header = json.dumps({"alg": "ECDH-ES", "enc": "A256GCM", "kid": "iocom-desk"} | change)
    algs = ["ECDH-ES", "ECDH-ES+A256KW", "A256GCM", "A128GCM", "A256CBC-HS512", "DEF"]
    made = jwe.JWE(TOKEN, protected=header, recipient=JWK.from_pem(PUBLIC), algs=algs)
    return str(made.serialize(compact=True)).encode()


@pytest.mark.parametrize(
    "raw",
    [
        sealed_under({"zip": "DEF"}),
        sealed_under({"enc": "A128GCM"}),
        sealed_under({"enc": "A256CBC-HS512"}),
        sealed_under({"alg": "ECDH-ES+A256KW"}),
        sealed_under({"kid": "iocom-desk-2"}),
        sealed_under({"kid": "backend-1"}),
        sealed_under({"cty": "text"}),
        sealed_under({"jku": "https://example.org"}),
        sealed_under({"apu": "AAAA"}),
        with_header(alg="dir"),
        with_header(alg="none"),
        with_header(kid=None),
        with_header(kid=["iocom-desk"]),
        with_header(crit=["exp"]),
        with_header(jwk=EPK),
        with_header(x5u="https://example.org"),
        with_header(b64=False),
        with_header(epk=None),
        with_header(epk=EPK | {"d": EPK["x"]}),
        with_header(epk=EPK | {"crv": "P-256"}),
        with_header(epk=EPK | {"x": "A" * 43}),  # a point of low order: every key would agree with it
        with_header(epk={}),
        with_header(cty=None),
        with_part(0, b""),
        with_part(0, b64(b"[" * 100_000)),
        with_part(1, b"AAAA"),
        with_part(2, b""),
        with_part(2, b"AAAA"),
        with_part(3, b""),
        with_part(3, b"\xff"),
        with_part(4, b""),
        with_part(4, SEALED.split(b".")[4][:-6]),
        SEALED[:-8] + b"AAAAAAAA",
        b"....",
        b"\xff.\xff.\xff.\xff.\xff",
        seal_request(PUBLIC, "iocom-desk", "x" * MOST_BYTES).encode(),
    ],
)
def test_whatever_does_not_open_has_one_reason(raw: bytes) -> None:
    """Or who may write to the topic learns from the reasons what the key is."""
    with pytest.raises(RequestRefusedError) as caught:
        bare(raw, seeds)
    assert (caught.value.reason, caught.value.pointer) == ("does_not_open", "")


@given(st.lists(st.binary(max_size=60) | st.sampled_from(SEALED.split(b".")), min_size=5, max_size=5))
def test_rubbish_in_five_parts_raises_only_our_error(parts: list[bytes]) -> None:
    raw = b".".join(parts)
    if raw.count(b".") != 4 or raw == SEALED:
        return
    with pytest.raises(RequestRefusedError, match="does_not_open"):
        bare(raw, seeds)


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5),
        lambda each: st.dictionaries(st.sampled_from(list(HEADER)), each),
    )
)
@pytest.mark.slow
def test_rubbish_in_the_header_raises_only_our_error(wild: Any) -> None:
    change = wild if isinstance(wild, dict) else {"epk": wild}
    with pytest.raises(RequestRefusedError, match="does_not_open"):
        bare(with_header(**change) + b"AAAA", seeds)


def test_only_the_parameters_of_the_schema_are_taken() -> None:
    assert set(SealedHeader.__struct_fields__) == {"alg", "enc", "kid", "epk", "cty", "typ"}


def test_a_name_means_one_key() -> None:
    assert [desk_kid(TENANT, number) for number in (1, 2, 10)] == ["iocom-desk", "iocom-desk-2", "iocom-desk-10"]
    wrong = [
        "iocom-desk-1",
        "iocom-desk-02",
        "iocom-desk-",
        "iocom-desk\n",
        "other-desk",
        "iocom-desk-٢",
        "IOCOM-desk",
        "",
    ]
    assert [desk_number(TENANT, kid) for kid in ["iocom-desk", "iocom-desk-2", *wrong]] == [1, 2, *[None] * len(wrong)]
    assert desk_number(Tenant("iocom-desk"), "iocom-desk-2") is None


# --- at the desk ----------------------------------------------------------------------------------------------------


def sealed_to(world: DeskWorld, token: bytes, kid: str = "iocom-desk") -> bytes:
    """A token sealed to a key of the desk."""
    seed = world.vault.desk_key(TENANT, kid)
    assert seed is not None
    return seal_request(desk_pem(seed)[1], kid, token.decode()).encode()


def signed_only(world: DeskWorld, jti: str, *subjects: str, **more: Any) -> bytes:
    """A signed request that nobody has sent."""
    now = int(world.at.timestamp())
    content = {
        "v": 1,
        "iss": "backend-1",
        "aud": "calllog-guard",
        "tenant": "iocom",
        "jti": jti,
        "iat": now,
        "exp": now + 600,
    }
    content |= {"received_at": world.at.isoformat(), "subjects": list(subjects), "identity": "verified", **more}
    return sign((world.folder / "backend-1.pem").read_bytes(), "backend-1", json.dumps(content).encode()).encode()


async def send(world: DeskWorld, value: bytes) -> None:
    """A record at the next place."""
    at_ms = int(world.at.timestamp()) * 1000
    world.asked.append(Arrival("privacy.requests", 0, len(world.asked), b"iocom", value, at_ms))
    await world.again()


async def test_a_sealed_request_is_handled_as_a_bare_one_and_its_redelivery_resumes(tmp_path: Path) -> None:
    bared, sealed = (tmp_path / name for name in ("bare", "sealed"))
    cases = []
    for folder in (bared, sealed):
        folder.mkdir()
        world = await DeskWorld(folder).start()
        await world.ask("unrelated-1", "bob@example.org", type="restrict")
        token = signed_only(world, "sealed-0001", "alice@example.org", type="erase")
        await send(world, token if folder is bared else sealed_to(world, token))
        await world.again()
        assert world.reasons() == []
        cases.append(world.case("sealed-0001"))
    one, other = cases
    assert (one.type, one.state, one.due, one.asked_by, list(one.stages), one.place) == (
        other.type,
        other.state,
        other.due,
        other.asked_by,
        list(other.stages),
        other.place,
    )
    assert other.state == "enforcing"


async def test_sealing_again_makes_no_second_request_and_no_seal_hides_what_is_wrong_inside(tmp_path: Path) -> None:
    world = await DeskWorld(tmp_path).start()
    await world.ask("once-00001", "alice@example.org", type="restrict")
    again = world.asked[-1].value or b""
    await send(world, sealed_to(world, again))
    await send(world, sealed_to(world, sealed_to(world, again)))
    await send(world, sealed_to(world, signed_only(world, "other-0001", "a@x.org", type="erase", tenant="other")))
    await send(world, sealed_to(world, signed_only(world, "role-00001", "a@x.org", type="hold")))
    await send(world, sealed_to(world, b"not signed at all"))
    assert world.reasons() == ["replayed", "wrong_algorithm", "foreign_tenant", "wrong_role", "not_a_jws"]


async def test_the_dead_letter_of_a_sealed_request_keeps_the_seal(tmp_path: Path) -> None:
    """The operator's key opens the letter; whom the request names takes the desk's key too."""
    world = await DeskWorld(tmp_path).start()
    await world.ask("once-00001", "alice@example.org", type="restrict")
    sealed = sealed_to(world, world.asked[-1].value or b"")
    await send(world, sealed)
    (letter,) = [json.loads(each.value or b"") for each in world.written("calllog.dead")]
    assert open_sealed((tmp_path / "operator-1.pem").read_bytes(), letter["jwe"]) == sealed


async def test_after_a_rotation_both_keys_open_and_the_new_one_is_the_newest(tmp_path: Path) -> None:
    """What is sealed to the old key may lie in the topic still, and callers move one by one."""
    world = await DeskWorld(tmp_path).start()
    for who in ("a@x.org", "bob@example.org", "c@x.org"):
        await world.meet(who)
    old = sealed_to(world, signed_only(world, "old-000001", "a@x.org", type="restrict"))
    await world.ask("unrelated-1", "bob@example.org", type="restrict")
    world.vault.rotate_desk_key(TENANT)
    assert world.vault.desk_kids(TENANT) == ["iocom-desk", "iocom-desk-2"]
    assert world.vault.desk_key(TENANT, "iocom-desk") != world.vault.desk_key(TENANT, "iocom-desk-2")
    await send(world, old)
    await send(world, sealed_to(world, signed_only(world, "new-000002", "c@x.org", type="restrict"), "iocom-desk-2"))
    assert world.reasons() == []
    assert [world.case(jti).state for jti in ("old-000001", "new-000002")] == ["closed", "closed"]


def test_a_tenant_of_an_earlier_release_gets_its_desk_key_when_it_is_made_again(tmp_path: Path) -> None:
    """Workers of this release start without one; `tenant create` changes nothing that is there."""
    vault = Vault(LocalKms(tmp_path), FileRing(tmp_path))
    vault.create_tenant(TENANT)
    (tmp_path / "ring" / "desk.iocom.1").unlink()
    before = {path.name: path.read_bytes() for path in (tmp_path / "ring").iterdir()}
    earlier = Vault(LocalKms(tmp_path), FileRing(tmp_path))
    earlier.warm(TENANT)
    assert (earlier.desk_kids(TENANT), earlier.desk_key(TENANT, "iocom-desk")) == ([], None)
    vault.create_tenant(TENANT)
    assert earlier.desk_key(TENANT, "iocom-desk") is not None, "a running desk has it at once"
    assert {path.name: path.read_bytes() for path in (tmp_path / "ring").iterdir() if path.name in before} == before


def test_warming_up_opens_the_desk_keys_before_the_first_request() -> None:
    kms, ring = MemoryKms(), MemoryRing()
    maker = Vault(kms, ring)
    maker.create_tenant(TENANT)
    maker.rotate_desk_key(TENANT)
    wanted = maker.desk_key(TENANT, "iocom-desk-2")
    vault = Vault(kms, ring)
    vault.warm(TENANT)
    asked = kms.asked
    assert vault.desk_key(TENANT, "iocom-desk-2") == wanted is not None
    assert kms.asked == asked


def test_a_seal_takes_an_x25519_key() -> None:
    for wrong in (new_pair(signs=True)[1], b"no key"):
        with pytest.raises(ValueError, match=r".+"):
            seal_request(wrong, "iocom-desk", "token")


def test_a_sealed_dead_letter_is_no_request() -> None:
    """Both are JWE to an X25519 key: the name of the key keeps them apart."""
    with pytest.raises(MessageError, match="does_not_open"):
        bare(seal_to(PUBLIC, "operator-1", TOKEN).encode(), seeds)


def test_key_rotate_makes_the_desks_next_key_and_leaves_the_policy_alone(run: Any, guard: Path) -> None:
    policy = (guard / "policy.toml").read_text()
    run("key", "rotate", "iocom-desk", code=4)
    vault = Vault(LocalKms(guard / "kms"), FileRing(guard / "kms"))
    vault.create_tenant(TENANT)
    told = run("key", "rotate", "iocom-desk")
    assert (told["kid"], told["role"]) == ("iocom-desk-2", "desk")
    shown = run("key", "public", "iocom-desk-2")
    assert shown["fingerprint"] == told["fingerprint"]
    seed = vault.desk_key(TENANT, "iocom-desk-2")
    assert seed is not None
    assert shown["pem"].encode() == desk_pem(seed)[1]
    assert (guard / "policy.toml").read_text() == policy
    assert run("tenant", "list")[0]["desk_keys"] == ["iocom-desk", "iocom-desk-2"]
