"""
The start-up probe: every stored form, in every version ever written, is sealed, opened, and refused when changed.

A library, build or processor on which that fails must not write a single record. Throwaway keys; nothing is stored.
Source: the bytes themselves are held by `tests/vectors/`.
"""

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from calllog_guard.core.calls.parked import Parked, WaitingPart, open_parked, seal_parked
from calllog_guard.core.cases import case_owner as whose
from calllog_guard.core.cases.case_owner import Reason, Whose
from calllog_guard.core.crypto.entries import Keys, Person, open_keys, open_person, seal_keys, seal_person
from calllog_guard.core.crypto.jose import open_sealed, receipt_pem, seal_to, sealing_public, sign, verify
from calllog_guard.core.crypto.leg_envelope import LegHeader, open_leg, seal_leg
from calllog_guard.core.crypto.subject_secrets import IdentitySecret, Link, Secret, month_from
from calllog_guard.core.decisions.decision import Decision, Entry, open_entry, seal_entry, version_at
from calllog_guard.core.decisions.outcome import Outcome, OutcomeKey
from calllog_guard.core.decisions.standing_rules import Rule, open_rule, seal_rule
from calllog_guard.core.identifiers import EpochName, Lookup, Tenant
from calllog_guard.core.sessions.moment import Moment, MomentEnvelope, head_of
from calllog_guard.core.stream.letters import MOMENTS, LetterKey
from calllog_guard.errors import EntryCorruptError, GuardError, MessageError, StoredFormError

_EPOCH: Final = EpochName("2026-W48")
_PLACE: Final = b"probe"
_ID: Final = "A" * 22
_LOOKUP: Final = Lookup("A" * 43)
Made = tuple[Any, bytes, Callable[[bytes], Any]]
"""What was sealed, its sealed bytes, and how they are opened."""


def _nonce() -> bytes:
    return secrets.token_bytes(12)


def _leg(version: Literal[1, 2]) -> Made:
    key, content = Link.mint().data_key(month_from("2026-11")), b'{"probe":true}'
    names: dict[str, Any] = {"mon": "2026-11", "day": "2026-11-24", "pol": "2026-11-01", "ten": "probe", "top": "probe"}
    header = LegHeader(v=version, kid=_ID, rid=_ID, pur=1, **names)
    return content, seal_leg(header, content, key, _nonce()), lambda leg: open_leg(leg, key)


def _person(pseudonym: Any, forms: int) -> Made:
    key, person = Secret.mint(), Person(generation=2, pseudonym=pseudonym, cut_off=1, consented=1, epoch=_EPOCH)
    return person, seal_person(person, _PLACE, key, _nonce(), forms), lambda entry: open_person(entry, _PLACE, key)


def _keys(forms: int) -> Made:
    key, month = Secret.mint(), month_from("2026-11")
    keys = Keys(
        generation=2,
        lookup=_LOOKUP,
        identity=IdentitySecret.mint(),
        floor=month,
        floor_link=Link.mint(),
        current=month,
        current_link=Link.mint(),
        holds=(secrets.token_bytes(16),),
        epoch=_EPOCH,
    )
    return keys, seal_keys(keys, _PLACE, key, _nonce(), forms), lambda entry: open_keys(entry, _PLACE, key)


def _decision() -> Decision:
    names: dict[str, Any] = {"decision": _ID, "case": _ID, "pseudonym": _ID, "tenant": "probe", "epoch": _EPOCH}
    at = datetime(2026, 11, 24, tzinfo=UTC)
    return Decision(type="erase", entry="", cut_off=at, at=at, pol="2026-11-01", **names)


def _entry(forms: int) -> Made:
    key, entry = Secret.mint(), Entry(_LOOKUP, 2, b"probe")
    sealed = seal_entry(msgspec.structs.replace(_decision(), v=version_at(forms)), entry, key, _nonce())
    return entry, sealed.entry.encode(), lambda raw: open_entry(_changed(sealed, entry=raw), key)


def _rule() -> Made:
    key, rule = Secret.mint(), Rule(mask=1)
    sealed = seal_rule(_decision(), rule, key, _nonce())
    return rule, str(sealed.rule).encode(), lambda raw: open_rule(_changed(sealed, rule=raw), key)


def _changed(decision: Decision, **part: bytes) -> Decision:
    return msgspec.structs.replace(decision, **{name: raw.decode("ascii") for name, raw in part.items()})


def _said() -> Made:
    identity, at = IdentitySecret.mint(), datetime(2026, 11, 24, tzinfo=UTC)
    reason = Reason(of="refused", text="probe", at=at)
    parts = whose.opened(_ID, [identity], secrets.token_bytes)
    key = whose.case_key(parts, _ID, identity) or Secret.mint()
    sealed = whose.say(parts, _ID, key, reason, secrets.token_bytes).said[0]
    return (reason,), sealed.encode(), lambda raw: whose.said(Whose(parts.keys, (raw.decode("ascii"),)), _ID, key)


def _outcome() -> Made:
    key, at = OutcomeKey(secrets.token_bytes(32)), datetime(2026, 11, 24, tzinfo=UTC)
    names: dict[str, Any] = {"tenant": "probe", "case": _ID, "decision": _ID}
    outcome = Outcome(stage="gone", partition=0, legs=1, barrier=1, up_to=1, by="probe", at=at, **names)
    return outcome, key.vouched(outcome, b"probe"), lambda raw: _unmarked(key.read(raw, b"probe"))


def _unmarked(outcome: Outcome) -> Outcome:
    return msgspec.structs.replace(outcome, mac=msgspec.UNSET)


def _parked() -> Made:
    key, names = Secret.mint(), dict[str, Any](topic="probe", reason="probe", epoch=_EPOCH, sealed="")
    record = Parked(partition=0, offset=0, index=0, parked_ms=0, **names)
    part = WaitingPart(lookup=_LOOKUP, mask=1, text="{}", call="probe", started_ms=0, appended_ms=0)
    sealed = seal_parked(record, part, Tenant("probe"), key, _nonce())

    def opened(raw: bytes) -> WaitingPart:
        return open_parked(msgspec.structs.replace(sealed, sealed=raw.decode("ascii")), Tenant("probe"), key)

    return part, sealed.sealed.encode(), opened


def _moment() -> Made:
    seed, tenant = Secret.mint(), Tenant("probe")
    week = LetterKey(1, sealing_public(seed.expose()), datetime(2026, 11, 24, tzinfo=UTC), MOMENTS)
    moment = Moment(v=1, source="probe", what="joined", call="probe", at=week.since, person="probe", session="probe")
    sealed = MomentEnvelope.to_seal(week, secrets.token_bytes(32)).seal(tenant, _ID, moment, _nonce())
    return moment, sealed, lambda raw: MomentEnvelope.to_open(head_of(raw), seed).open(tenant, _ID, raw)


def _receipt() -> Made:
    private, public = receipt_pem(secrets.token_bytes(32))
    return b"probe", sign(private, "probe", b"probe").encode(), lambda raw: verify(public, raw.decode("ascii"))


def _dead() -> Made:
    key = X25519PrivateKey.generate()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (
        b"probe",
        seal_to(public, "probe", b"probe").encode(),
        lambda raw: open_sealed(private, raw.decode("ascii")),
    )


FORMS: Final[Mapping[str, Callable[[], Made]]] = {
    "leg v1": lambda: _leg(1),
    "leg v2": lambda: _leg(2),
    "person entry v1, live": lambda: _person(_ID, 1),
    "person entry v1, gone": lambda: _person(None, 1),
    "person entry v2, live": lambda: _person(_ID, 2),
    "person entry v2, gone": lambda: _person(None, 2),
    "key entry v1": lambda: _keys(1),
    "key entry v2": lambda: _keys(2),
    "decision v1, its entry": lambda: _entry(1),
    "decision v2, its entry": lambda: _entry(2),
    "decision v1, its rule": _rule,
    "case v2, what was said": _said,
    "outcome v1": _outcome,
    "receipt v1": _receipt,
    "dead letter v1": _dead,
    "parked part v1": _parked,
    "moment v1": _moment,
}
"""Every stored form and version; a new one is added here with its reader."""


def probe(forms: Mapping[str, Callable[[], Made]] = FORMS) -> None:
    """
    Seal, open and refuse each form once.

    Raises:
        StoredFormError: Which form; the worker does not start.

    """
    for name, make in forms.items():
        try:
            content, sealed, opened = make()
            same = opened(sealed) == content
        except (GuardError, ValueError, TypeError) as error:
            raise StoredFormError(f"start-up probe: {name} does not open ({type(error).__name__})") from None
        if not same:
            raise StoredFormError(f"start-up probe: {name} opens to something else")
        try:
            opened(_bent(sealed))
        except (MessageError, EntryCorruptError):
            continue
        raise StoredFormError(f"start-up probe: {name} opens although a bit of it was changed")


def _bent(sealed: bytes) -> bytes:
    """One change in the sealed part's middle: a letter of base64url for another, or one bit of raw bytes."""
    at = len(sealed) - 8
    old = sealed[at : at + 1]
    new = (b"B" if old == b"A" else b"A") if sealed.isascii() else bytes([old[0] ^ 1])
    return sealed[:at] + new + sealed[at + 1 :]
