"""Computes the golden vectors of every stored form from fixed secrets; `make vectors` prints them, a test compares."""

import json
from datetime import UTC, date, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash

from calllog_guard.core.cases.notices import Filed, Notice, Remedies, Words
from calllog_guard.core.cases.sealed_case import seal_part
from calllog_guard.core.cases.secret_cases import seal_case, secret_key
from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.entries import Keys, Person, seal_keys, seal_person
from calllog_guard.core.crypto.held_envelope import HeldHeader, HoldEntry, HoldSecret, seal_hold
from calllog_guard.core.crypto.jose import desk_pem, receipt_pem, sign
from calllog_guard.core.crypto.leg_envelope import LegHeader, seal_leg
from calllog_guard.core.crypto.subject_secrets import IdentitySecret, Link, Pepper, Secret, link_at, month_from
from calllog_guard.core.decisions.decision import (
    Decision,
    Entry,
    case_id,
    decision_id,
    seal_entry,
    unseen_pseudonym,
)
from calllog_guard.core.decisions.hold import Terms, hold_id, kept_id
from calllog_guard.core.decisions.outcome import Outcome, OutcomeKey
from calllog_guard.core.decisions.standing_rules import Rule, Span, seal_rule
from calllog_guard.core.identifiers import CallId, DecisionId, EpochName, Lookup, SubjectId, Tenant, b64
from calllog_guard.core.requests.sealing import desk_kid
from calllog_guard.core.retention.statistics import Cell, CellCount, tag_of
from calllog_guard.core.retention.tally import Tally, TallyName, TallyPlace, seal_tally
from calllog_guard.workers.keys.restore_guard import guard_entry

TENANT, EPOCH, AT = Tenant("iocom"), EpochName("2026-W48"), datetime(2026, 11, 24, 9, tzinfo=UTC)
NONCE = bytes(range(12))


def _rule(identity: IdentitySecret, pseudonym: str, times: dict[str, Any]) -> str:
    """A decision that covers some days, its rule sealed under the person's key."""
    shown: dict[str, Any] = {"pseudonym": pseudonym, "entry": "", "epoch": EPOCH, "cut_off": AT, "pol": "2026-11-01"}
    decision = Decision(type="erase", range="sealed", **shown, **times)
    rule = Rule(range=Span(from_="2026-11-01", to="2026-11-30"))
    return encode(seal_rule(decision, rule, identity.rules_key(), NONCE)).decode()


def _tally(identity: IdentitySecret, key: Secret) -> str:
    """What a partition has counted: a cell with one person's tag, a full one, and a batch of one leg."""
    name = TallyName(month_from("2026-11"), month_from("2026-08"))
    cell, full = (Cell(date(2026, 8, day), "video", "1m-5m", "1-2") for day in (14, 15))
    tag = tag_of(identity.token_key().tally_key(), name.lapsed, cell)
    leg = f"{identity.pseudonym()}.{identity.token_key().token(CallId('call-1'))}".encode()
    tally = Tally({cell: CellCount(2, frozenset({tag})), full: CellCount(70_000, None)}, {leg: 258})
    return seal_tally(tally, TallyPlace(TENANT, 7, name), EPOCH, key, NONCE).hex()


def _holds(plaintext: bytes, token: str) -> dict[str, Any]:
    """A hold in both its states, a copy under it, and the record of a secret case."""
    secret, key, name = HoldSecret(b"\x07" * 32), Secret(b"\x03" * 32), hold_id(TENANT, "claim-17")
    shown: dict[str, Any] = {"mon": "2026-11", "day": "2026-11-24", "pur": 2, "pol": "2026-11-01"}
    header = HeldHeader(kid=name, rid=token, ten=TENANT, top="calllog.held", **shown)
    terms = Terms(name="claim-17", authority="Court", basis="legal_claims", review_at=AT, secret=True)
    case = case_id(TENANT, "jti-00001")
    content: dict[str, Any] = {
        "case": case,
        "tenant": TENANT,
        "type": "hold",
        "state": "closed",
        "ticket": None,
        "due": "2026-12-24",
    }
    content |= dict.fromkeys(("received_at", "appended_at", "opened_at"), "2026-11-24T09:00:00Z")
    content |= {
        "law_due": None,
        "jti": "jti-00001",
        "place": [0, 1],
        "asked_by": "officer-1",
        "hold": name,
        "secret": True,
    }
    return {
        "hold_id": name,
        "kept_id": kept_id(TENANT, 2, "2026-11", 7),
        "hold_terms": encode(terms).decode(),
        "hold": seal_hold(HoldEntry(EPOCH, secret, encode(terms)), b"place", key, NONCE).hex(),
        "hold_released": seal_hold(HoldEntry(EPOCH, None), b"place", key, NONCE).hex(),
        "copy_key": secret.copy_key().expose().hex(),
        "copy": seal_leg(header, plaintext, secret.copy_key(), NONCE).decode(),
        "secret_case": seal_case(secret_key(case), json.dumps(content).encode(), key, NONCE).decode(),
    }


def _sealed_request() -> dict[str, str]:
    """A request sealed to the desk's key, made by hand (RFC 7518, 4.6 and appendix C), as libraries draw at random."""
    seed, mine = b"\x08" * 32, X25519PrivateKey.from_private_bytes(b"\x09" * 32)
    _, public = desk_pem(seed)
    epk = {"kty": "OKP", "crv": "X25519", "x": b64(mine.public_key().public_bytes_raw()).decode()}
    header = {"alg": "ECDH-ES", "enc": "A256GCM", "kid": desk_kid(TENANT, 1), "cty": "JWT", "epk": epk}
    first = b64(json.dumps(header).encode())
    shared = mine.exchange(X25519PrivateKey.from_private_bytes(seed).public_key())
    told = b"".join(len(part).to_bytes(4, "big") + part for part in (b"A256GCM", b"", b""))
    key = ConcatKDFHash(SHA256(), 32, told + (256).to_bytes(4, "big")).derive(shared)
    token = sign(receipt_pem(b"\x0a" * 32)[0], "backend-1", b'{"v":1}')
    sealed = AESGCM(key).encrypt(NONCE, token.encode(), first)
    parts = (first, b"", b64(NONCE), b64(sealed[:-16]), b64(sealed[-16:]))
    return {
        "desk_key": seed.hex(),
        "desk_key_public": public.decode(),
        "desk_kid": desk_kid(TENANT, 1),
        "request": token,
        "request_sealed": b".".join(parts).decode(),
    }


def vectors() -> dict[str, Any]:
    """Every derivation and every stored form, version 1."""
    identity, link, key = IdentitySecret(b"\x01" * 32), Link(b"\x02" * 32), Secret(b"\x03" * 32)
    lookup = Pepper(b"\x04" * 32).lookup(TENANT, SubjectId("alice@example.org"))
    floor, month = month_from("2026-10"), month_from("2026-11")
    current = link_at(link, floor, month)
    data_key, pseudonym = current.data_key(month), identity.pseudonym()
    token = identity.token_key().token(CallId("call-1"))
    header = LegHeader(
        kid=pseudonym,
        mon="2026-11",
        day="2026-11-24",
        rid=token,
        pur=3,
        pol="2026-11-01",
        ten=TENANT,
        top="calllog.legs",
    )
    plaintext = b'{"call":"call-1"}'
    decision = DecisionId(decision_id(TENANT, "jti-00001", 0, 3))
    case = case_id(TENANT, "jti-00001")
    keys = Keys(
        generation=3,
        lookup=Lookup(lookup),
        identity=identity,
        floor=floor,
        floor_link=link,
        current=month,
        current_link=current,
        holds=(b"\x05" * 16,),
        epoch=EPOCH,
    )
    live = Person(generation=3, pseudonym=pseudonym, cut_off=7, restricted=True, objected=5, consented=2, epoch=EPOCH)
    gone = Person(generation=3, pseudonym=None, cut_off=9, epoch=EPOCH)
    times: dict[str, Any] = {"tenant": TENANT, "case": case, "decision": decision, "at": AT}
    outcome = Outcome(stage="tombstoned", partition=7, legs=42, barrier=10, up_to=12, by="keeper", **times)
    return {
        "lookup": lookup,
        "pseudonym": pseudonym,
        "token": token,
        "person_for_billing": Pepper(b"\x04" * 32).person_for("billing", Lookup(lookup)),
        "data_key": data_key.expose().hex(),
        "leg": seal_leg(header, plaintext, data_key, NONCE).decode(),
        "leg_plaintext": plaintext.decode(),
        "person_live": seal_person(live, b"place", key, NONCE).hex(),
        "person_gone": seal_person(gone, b"place", key, NONCE).hex(),
        "keys": seal_keys(keys, b"place", key, NONCE).hex(),
        **_holds(plaintext, token),
        "guard": guard_entry(b"\x06" * 16, 258).hex(),
        "case_id": case,
        "decision_id": decision,
        "unseen_pseudonym": unseen_pseudonym(key, decision),
        "decision": encode(
            seal_entry(
                Decision(
                    type="erase", pseudonym=pseudonym, entry="", epoch=EPOCH, cut_off=AT, pol="2026-11-01", **times
                ),
                Entry(lookup, 3),
                key,
                NONCE,
            )
        ).decode(),
        **_sealed_request(),
        "tally": _tally(identity, key),
        "rule": _rule(identity, pseudonym, times),
        "notice_words": encode(
            Words(
                v=1,
                kind="refused",
                case=case,
                tenant=TENANT,
                subjects=("alice@example.org",),
                ground="Reasons.",
                remedies=Remedies(authority="ICO"),
                act_by=AT,
                at=AT,
            )
        ).decode(),
        "notice": encode(Notice(case=case, to="invoicing", kind="erased", act_by=AT, jwe="a.b.c.d.e")).decode(),
        "case_filed": seal_part(
            case, "filed", encode(Filed(authority="Court", basis="Order 7", notify="before")), key, NONCE
        ),
        "case_sealed": seal_part(case, "request", b"{}", key, NONCE),
        "outcome": encode(outcome).decode(),
        "outcome_vouched": OutcomeKey(key.expose()).vouched(outcome, b"ledger.key.done").decode(),
    }


if __name__ == "__main__":
    print(json.dumps(vectors(), indent=2))  # noqa: T201
