"""A moment names nobody, opens with its week's key alone, and says what the platform said."""

import json
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from calllog_guard.core.crypto.jose import sealing_public
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.identifiers import Tenant, id_text
from calllog_guard.core.sessions.moment import (
    NONCE,
    Moment,
    MomentEnvelope,
    MomentHead,
    NamingKey,
    head_of,
    moment_of,
    moment_partition,
)
from calllog_guard.core.sources.model import What
from calllog_guard.core.sources.notification import Notification
from calllog_guard.core.stream.letters import MOMENTS, WEEK, LetterKey
from calllog_guard.errors import KmsSilentError, MessageError, NewerFormError, RecordError
from calllog_guard.workers.keys.tenants.moment_sealing import MomentSealer

GOLDEN = json.loads((Path(__file__).parents[3] / "vectors" / "stored_v2.json").read_text())
TENANT, AT = Tenant("iocom"), datetime(2026, 11, 24, 9, tzinfo=UTC)
SEED, NAMES = Secret(b"\x12" * 32), NamingKey(b"\x11" * 32)
JOINED = Notification("joined", "call-1", AT, "alice@example.org", "s-1", "host", "video")
NAME = NAMES.call(TENANT, "zoom", "call-1")


def week(number: int = 7, seed: Secret = SEED) -> LetterKey:
    """A week's key."""
    return LetterKey(number, sealing_public(seed.expose()), AT, MOMENTS)


def sealer(*weeks: LetterKey | None, **more: Any) -> MomentSealer:
    """One that finds these keys, one after the other."""
    found = list(weeks)
    return MomentSealer(TENANT, ("calllog.moments", 12), NAMES, lambda: found.pop(0), **more)


def opened(sealed: bytes) -> Moment:
    """What a record under NAME says; each week but the seventh has a key that nobody knows."""
    head = head_of(sealed)
    return MomentEnvelope.to_open(head, SEED if head.number == 7 else Secret.mint()).open(TENANT, NAME, sealed)


def test_the_golden_moment_opens() -> None:
    sealed = bytes.fromhex(GOLDEN["moment"])
    moment = MomentEnvelope.to_open(head_of(sealed), SEED).open(TENANT, GOLDEN["moment_name"], sealed)
    assert (moment.source, moment.notification) == ("zoom", JOINED)


def test_the_form_is_the_one_that_is_written_down() -> None:
    """Another program, from the words of the module alone."""
    sealed = bytes.fromhex(GOLDEN["moment"])
    version, number, ephemeral, nonce, box = sealed[0], sealed[1:5], sealed[5:37], sealed[37:49], sealed[49:]
    private = X25519PrivateKey.from_private_bytes(SEED.expose())
    shared = private.exchange(X25519PublicKey.from_public_bytes(ephemeral))
    salt = ephemeral + private.public_key().public_bytes_raw()
    key = HKDF(hashes.SHA256(), 32, salt, b"calllog-guard/v1/moment").derive(shared)
    bound = b"moment\niocom\n" + GOLDEN["moment_name"].encode() + b"\n" + sealed[:37]
    assert (version, number) == (1, (7).to_bytes(4, "big"))
    assert AESGCM(key).decrypt(nonce, box, bound).rstrip(b" ").decode() == GOLDEN["moment_plaintext"]


def test_nothing_of_a_moment_is_readable_and_no_bit_of_it_may_change() -> None:
    output = sealer(week()).record("zoom", JOINED)
    sealed = output.value or b""
    for word in (b"alice", b"call-1", b"s-1", b"zoom", b"joined"):
        assert word not in sealed + (output.key or b"")
    for at in range(len(sealed)):
        bent = bytearray(sealed)
        bent[at] ^= 64
        with pytest.raises(RecordError):
            opened(bytes(bent))


def test_a_moment_opens_in_its_own_place_alone() -> None:
    """Copied under another call's key, or to another tenant, it says nothing; another week's key opens none."""
    sealed = sealer(week()).record("zoom", JOINED).value or b""
    own = MomentEnvelope.to_open(head_of(sealed), SEED)
    assert own.open(TENANT, NAME, sealed).notification == JOINED
    for tenant, name, secret in (
        (Tenant("other"), NAME, SEED),
        (TENANT, NAMES.call(TENANT, "zoom", "call-2"), SEED),
        (TENANT, NAME, Secret.mint()),
    ):
        with pytest.raises(RecordError, match="bad_moment"):
            MomentEnvelope.to_open(head_of(sealed), secret).open(tenant, name, sealed)


@pytest.mark.parametrize("raw", [b"", b"\1", b"\1" * 48, bytes([1]) + bytes(60), b"\0" * 100, b"{}"])
def test_what_is_no_moment_is_refused(raw: bytes) -> None:
    with pytest.raises(RecordError):
        opened(raw)


@pytest.mark.parametrize("version", [2, 31])
def test_a_later_releases_moment_halts_and_is_no_dead_letter(version: int) -> None:
    with pytest.raises(NewerFormError):
        head_of(bytes([version]) + bytes(60))


def test_all_of_a_call_lies_in_one_partition_and_sessions_are_told_apart() -> None:
    """Each part of a name counts: one call of two sources, or of two tenants, is two."""
    leave = JOINED._replace(what="left", session="s-2", person=None)
    outputs = [sealer(week()).record("zoom", told) for told in (JOINED, leave, Notification("ended", "call-1", AT))]
    assert {(each.topic, each.partition, each.key) for each in outputs} == {
        ("calllog.moments", moment_partition(NAME, 12), NAME.encode())
    }
    assert len({each.value for each in outputs}) == 3
    calls = [("iocom", "zoom", "c"), ("iocom", "jaas", "c"), ("other", "zoom", "c"), ("iocom", "zoom", "d")]
    named = [NAMES.call(Tenant(tenant), source, call) for tenant, source, call in calls]
    named += [NAMES.session(TENANT, "zoom", "c", session) for session in ("s", "t")]
    named += [NAMES.session(TENANT, "zoom", "d", "s"), NamingKey(b"\x10" * 32).call(TENANT, "zoom", "c")]
    assert len(set(named)) == len(named)


def test_calls_are_spread_over_all_partitions() -> None:
    dice = Random(18)  # noqa: S311 - dice of a test
    raws = [dice.randbytes(16) for _ in range(1200)]
    found = [moment_partition(id_text(raw), 12) for raw in raws]
    assert {found.count(partition) > 50 for partition in range(12)} == {True}


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"call": "a\0b"}, "/call"),
        ({"person": "x" * 257}, "/person"),
        ({"session": "s\n"}, "/session"),
        ({"person": ""}, "/person"),
        ({"role": "boss"}, "/role"),
        ({"kind": "hologram"}, "/kind"),
        ({"at": AT.replace(year=1999)}, "/at"),
        ({"joined_at": AT.replace(year=2100)}, "/joined_at"),
        ({"session": None}, "/session"),
    ],
)
def test_what_no_event_may_hold_is_refused_before_it_is_sealed(wrong: dict[str, Any], pointer: str) -> None:
    """Behind the seal nobody could make a dead letter of it that can be replayed with a mended mapping."""
    with pytest.raises(MessageError) as refused:
        sealer(week()).record("zoom", JOINED._replace(**wrong))
    assert refused.value.pointer == pointer
    assert not any(str(value) in str(refused.value) for value in wrong.values() if isinstance(value, str) and value)


@given(
    st.sampled_from(get_args(What)),
    st.one_of(st.none(), st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=256)),
    st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 - made aware
)
def test_a_notification_comes_back_as_it_was(what: What, person: str | None, at: datetime) -> None:
    told = Notification(what, "c", at, person, "s", None, None, at if what == "left" else None)
    sealed = sealer(week()).record("zoom", told).value or b""
    assert MomentEnvelope.to_open(head_of(sealed), SEED).open(TENANT, NAMES.call(TENANT, "zoom", "c"), sealed) == (
        moment_of("zoom", told)
    )


def test_a_newer_week_is_sealed_to_at_once_and_an_ephemeral_key_lasts_for_minutes() -> None:
    seconds = [0.0]
    ours = sealer(*[week()] * 3, week(8), now=lambda: seconds[0])
    heads = []
    for after in (0, 299, 301, 302):
        seconds[0] = after
        heads.append(head_of(ours.record("zoom", JOINED).value or b""))
    assert [head.number for head in heads] == [7, 7, 7, 8]
    assert heads[0] == heads[1] != heads[2]
    assert WEEK.days == 7


def test_without_a_weeks_key_nothing_is_sealed() -> None:
    with pytest.raises(KmsSilentError, match="tenant upgrade"):
        sealer(None).record("zoom", JOINED)


def test_a_point_of_small_order_opens_nothing() -> None:
    with pytest.raises(RecordError):
        MomentEnvelope.to_open(MomentHead(7, bytes(32)), SEED)
    assert NONCE == 12
