"""Computes the golden vectors of the stored forms of level 2; `make vectors` prints them, a test compares."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from calllog_guard.core.audit.accesses import ActorKey, place_of
from calllog_guard.core.calls.event import CallEvent, Party
from calllog_guard.core.calls.leg import leg_texts, removal_text, renewed
from calllog_guard.core.calls.parked import Parked, WaitingPart, parked_key, seal_parked
from calllog_guard.core.cases import case_owner as whose
from calllog_guard.core.cases.case import Case, Trace
from calllog_guard.core.cases.case_owner import Reason
from calllog_guard.core.codec import BEAT, Access, Beat, encode
from calllog_guard.core.crypto.entries import Keys, Person, Rest, seal_keys, seal_person
from calllog_guard.core.crypto.held_envelope import HeldHeader, HoldSecret
from calllog_guard.core.crypto.jose import sealing_public, signer_public
from calllog_guard.core.crypto.law_copy import KeptCopies, KeptCopy, seal_kept
from calllog_guard.core.crypto.leg_envelope import LegHeader, leg_head, seal_leg
from calllog_guard.core.crypto.same_person import Linked, Same, Sameness, seal_same
from calllog_guard.core.crypto.subject_secrets import CallKey, IdentitySecret, Link, Pepper, Secret, link_at, month_from
from calllog_guard.core.decisions.decision import Decision, Entry, case_id, decision_id, seal_entry
from calllog_guard.core.decisions.outcome import TO_DESK, Outcome, OutcomeKey
from calllog_guard.core.decisions.preview import Preview, PreviewCount, PreviewTask
from calllog_guard.core.decisions.standing_rules import Span
from calllog_guard.core.identifiers import (
    CallId,
    DecisionId,
    EpochName,
    HoldId,
    SubjectId,
    Tenant,
    b64,
    id_text,
    made_up_id,
)
from calllog_guard.core.profile import TenantProfile, digest, packed, profile_name
from calllog_guard.core.records import Output
from calllog_guard.core.retention.removals import STATED_KEY, Marked, Removed, key_of
from calllog_guard.core.sessions.moment import MomentEnvelope, NamingKey, moment_of
from calllog_guard.core.sources.notification import Notification
from calllog_guard.core.stream.letters import MOMENTS, LetterKey
from calllog_guard.core.stream.proofs import AUDIT, vouched
from calllog_guard.workers.keys.restore_guard import guard_entry
from calllog_guard.workers.keys.tenants.tenure import entry_of

TENANT, EPOCH, AT = Tenant("iocom"), EpochName("2026-W48"), datetime(2026, 11, 24, 9, tzinfo=UTC)
NONCE = bytes(range(12))
LEG = (
    '{"call":"call-1","role":"host","joined_at":"2026-11-24T09:00:00Z","left_at":"2026-11-24T09:31:10.250Z",'
    '"kind":"video","outcome":"answered","started_at":"2026-11-24T09:00:00Z","ended_at":"2026-11-24T09:31:10.250Z",'
    '"parties":2,"subject":"a"}'
)


def _state_of_a_case() -> Case:
    """As the desk of the seventh tenure wrote it, its third of the case."""
    return Case(
        case=case_id(TENANT, "jti-00001"),
        tenant=TENANT,
        type="erase",
        state="enforcing",
        ticket=None,
        received_at=AT,
        due="2026-12-24",
        law_due="2026-12-24",
        jti="jti-00001",
        place=(0, 7),
        appended_at=AT,
        opened_at=AT,
        asked_by="backend-1",
        tenure=7,
        count=3,
    )


def _case(identity: IdentitySecret) -> dict[str, Any]:
    """Whose a case is, and what an officer said in it; random bytes are 0, 1, 2 and so on."""
    case = case_id(TENANT, "jti-00001")

    def numbers(size: int) -> bytes:
        return bytes(number % 256 for number in range(size))

    parts = whose.opened(case, [identity, None], numbers)
    reason = Reason(of="refused", text="The records are needed in court.", at=AT)
    told = whose.say(parts, case, whose.case_key(parts, case, identity), reason, numbers)
    return {"case_whose": dict(told.keys), "case_said": list(told.said)}


def _preview(told: Decision, entry: Entry, key: Secret) -> dict[str, Any]:
    """Of an erasure of some days: asked, answered, and as the case keeps it before and after."""
    task = PreviewTask(of="removed", range=Span(from_="2026-10-01", to="2026-11-30"))
    decision = msgspec.structs.replace(told, type="preview", tenure=7)
    measured = PreviewCount(months=("2026-10", "2026-11"), kept={"billing": 40}, restrictions=(told.case,))
    outcome = Outcome(
        tenant=TENANT, case=told.case, decision=told.decision, stage="previewed", partition=7, legs=42, barrier=10,
        up_to=12,
        by="keeper", at=AT, measured=measured,
    )  # fmt: skip
    asked = Preview(number=1, asked_at=AT, open=(told.decision,), holds=("claim-1",))
    case = msgspec.structs.replace(_state_of_a_case(), state="waiting", waits_for="officer")
    return {
        "preview_task": encode(task).decode(),
        "decision_preview": encode(seal_entry(decision, replace(entry, task=encode(task)), key, NONCE)).decode(),
        "outcome_previewed": OutcomeKey(key.expose()).vouched(outcome, TO_DESK).decode(),
        "case_preview_asked": encode(msgspec.structs.replace(case, preview=asked)).decode(),
        "case_previewed": encode(
            msgspec.structs.replace(case, preview=asked.answered(told.decision, 42, measured, AT))
        ).decode(),
    }


def _legs(identity: IdentitySecret, link: Link) -> dict[str, Any]:
    """A leg that names its call by reference, its copy under a hold, and what leads from call id to reference."""
    calls = Pepper(b"\x04" * 32).call_key()
    plaintext, version = renewed(LEG.encode(), 1, calls)
    shown: dict[str, Any] = {
        "v": version,
        "mon": "2026-10",
        "day": "2026-10-24",
        "rid": identity.token_key().token(CallId("call-1")),
        "pur": 3,
        "pol": "2026-11-01",
        "ten": TENANT,
    }
    header = LegHeader(kid=identity.pseudonym(), top="calllog.legs", **shown)
    hold, key = HoldId(id_text(b"\x0d" * 16)), HoldSecret(b"\x0e" * 32).copy_key()
    held = HeldHeader(kid=hold, top="calllog.held", **shown)
    data_key = link.data_key(month_from("2026-10"))
    return {
        "call_key": calls.expose().hex(),
        "call_reference": calls.reference(CallId("call-1")),
        "guest_ids": [
            calls.guest(CallId("call-1"), told)
            for told in (("session", "s-1"), ("place", "0", "alice@example.org", "bob@example.org"))
        ],
        "made_up_id": made_up_id(["2026-11-24T09:00:00+00:00", "alice@example.org", "bob@example.org", "60"]),
        "leg_plaintext": plaintext.decode(),
        "leg_key": data_key.expose().hex(),
        "leg": seal_leg(header, plaintext, data_key, NONCE).decode(),
        "copy_key": key.expose().hex(),
        "copy": seal_leg(held, plaintext, key, NONCE).decode(),
        **_sessions(identity, calls),
    }


def _sessions(identity: IdentitySecret, calls: CallKey) -> dict[str, Any]:
    """The legs of a person who is in an open call twice, beside 20,000 others, and their names."""
    parties = tuple(Party(id="alice@example.org", role="host", session=name) for name in ("s-1", "s-2"))
    event = CallEvent(
        tenant=TENANT, call_id="call-1", kind="video", outcome="answered", started_at=AT, parties=parties,
        party_count=20_001
    )  # fmt: skip
    names = [identity.token_key().token(CallId("call-1"), party.session or "") for party in parties]
    return {
        "revised_token": identity.token_key().revised(names[0], CallId("call-1"), "s-1", 7),
        "revised_plaintext": leg_texts(msgspec.structs.replace(event, revision=7), calls)[0].decode(),
        "revised_header": "".join(leg_head("2026-11-01", TENANT, "calllog.legs", 2, revised=True)),
        "revision_removes": removal_text(
            msgspec.structs.replace(event, revision=8), "alice@example.org", "s-1", calls
        ).decode(),
        "session_tokens": names,
        "estimated_plaintext": leg_texts(
            msgspec.structs.replace(event, parties=(msgspec.structs.replace(parties[0], estimated=True),)), calls
        )[0].decode(),
        "session_plaintexts": [text.decode() for text in leg_texts(event, calls)],
    }


def _referred(part: WaitingPart) -> WaitingPart:
    """A part that waits, with the text that names its call by reference."""
    text, _ = renewed((part.text or "").encode(), 1, Pepper(b"\x04" * 32).call_key())
    return msgspec.structs.replace(part, text=text.decode(), form=2)


def _heartbeat() -> dict[str, Any]:
    """One in partition 3 of the requests, by the auditor whose key the profile names."""
    beat = Output("privacy.requests", 3, BEAT, encode(Beat(counter=(1 << 40) + 1, at=AT)))
    ((name, proof),) = vouched(beat, AUDIT, b"\x0b" * 32).headers
    return {"heartbeat": (beat.value or b"").decode(), "heartbeat_header": [name, proof.decode()]}


def _access() -> dict[str, Any]:
    """An access that its actor signed, in partition 0 of the topic of the installation whose id is sixteen sixes."""
    access = Access(
        v=1, actor="billing-1", purpose="billing", case=None, topic="calllog.legs", partition=7, from_=100, to=612,
        opened=3,
        refused={"restricted": 2}, at=AT, which="eNpjYPzPDAACCAEE", read=id_text(b"\x10" * 16),
    )  # fmt: skip
    key = ActorKey(Ed25519PrivateKey.from_private_bytes(b"\x0f" * 32))
    place = place_of(b"\x06" * 16, "privacy.access", 0)
    return {
        "access": key.vouched(access, place).decode(),
        "access_place": place.decode(),
        "access_key": key.public.hex(),
    }


def _moment() -> dict[str, Any]:
    """A join, sealed to the week's key 7; its name, and that of its session."""
    names, seed = NamingKey(b"\x11" * 32), b"\x12" * 32
    told = Notification("joined", "call-1", AT, "alice@example.org", "s-1", "host", "video")
    name = names.call(TENANT, "zoom", "call-1")
    envelope = MomentEnvelope.to_seal(LetterKey(7, sealing_public(seed), AT, MOMENTS), b"\x13" * 32)
    return {
        "moment_name": name,
        "moment_session": names.session(TENANT, "zoom", "call-1", "s-1"),
        "moment_plaintext": encode(moment_of("zoom", told)).decode(),
        "moment": envelope.seal(TENANT, name, moment_of("zoom", told), NONCE).hex(),
    }


def vectors() -> dict[str, Any]:
    """Every stored form that level 2 has besides, or instead of, the first release's."""
    profile = TenantProfile(
        number=3,
        forms=2,
        identity=("as-written",),
        signers={"audit": b64(signer_public(b"\x0b" * 32)).decode()},
        at=AT,
    )
    record = Parked(
        topic="calllog.events",
        partition=3,
        offset=771,
        index=1,
        parked_ms=1_764_000_000_000,
        reason="key_missing",
        epoch="2026-W48",
        sealed="",
    )
    part = WaitingPart(
        lookup="A" * 43, mask=3, text=LEG, call="call-1", started_ms=1_763_999_999_000, appended_ms=1_764_000_000_000
    )
    sealed = seal_parked(record, part, TENANT, Secret(b"\x03" * 32), b"\x0c" * 12)
    identity, link, key = IdentitySecret(b"\x01" * 32), Link(b"\x02" * 32), Secret(b"\x03" * 32)
    lookup = Pepper(b"\x04" * 32).lookup(TENANT, SubjectId("alice@example.org"))
    floor, month = month_from("2026-10"), month_from("2026-11")
    keys = Keys(
        generation=(1 << 40) + 3,
        lookup=lookup,
        identity=identity,
        floor=floor,
        floor_link=link,
        current=month,
        current_link=link_at(link, floor, month),
        holds=(b"\x05" * 16,),
        epoch=EPOCH,
    )
    live = Person(
        generation=(1 << 40) + 3,
        pseudonym=identity.pseudonym(),
        cut_off=7,
        restricted=True,
        objected=5,
        consented=2,
        epoch=EPOCH,
    )
    gone = Person(generation=(1 << 40) + 3, pseudonym=None, cut_off=9, epoch=EPOCH)
    told = Decision(
        v=2,
        decision=DecisionId(decision_id(TENANT, "jti-00001", 0, keys.generation)),
        type="erase",
        tenant=TENANT,
        case=case_id(TENANT, "jti-00001"),
        pseudonym=identity.pseudonym(),
        entry="",
        epoch=EPOCH,
        cut_off=AT,
        pol="2026-11-01",
        at=AT,
    )
    traced = Outcome(
        tenant=TENANT, case=told.case, decision=told.decision, stage="traced", partition=7, legs=42, barrier=10,
        up_to=12,
        by="keeper", at=AT, readers=("billing-1",), disclosures=(told.case,), unsure="lost",
    )  # fmt: skip
    removed = Removed(
        tenant=TENANT,
        month="2026-11",
        partition=3,
        rules={"service P90D, then delete": 5},
        batch={f"{identity.pseudonym()}.{told.case}": 12},
    )
    later = Rest(flags=1 << 20, clear=b"clear", sealed=b"sealed")
    return {
        "person_live": seal_person(live, b"place", key, NONCE, 2).hex(),
        "person_gone": seal_person(gone, b"place", key, NONCE, 2).hex(),
        "person_live_extended": seal_person(replace(live, rest=later), b"place", key, NONCE, 2).hex(),
        "person_imposed": seal_person(replace(live, imposed=True), b"place", key, NONCE, 2).hex(),
        "keys": seal_keys(keys, b"place", key, NONCE, 2).hex(),
        "keys_extended": seal_keys(replace(keys, rest=replace(later, flags=0)), b"place", key, NONCE, 2).hex(),
        "decision": encode(seal_entry(told, Entry(lookup, keys.generation), key, NONCE)).decode(),
        "decision_of_a_tenure": encode(
            seal_entry(msgspec.structs.replace(told, tenure=7), Entry(lookup, keys.generation), key, NONCE)
        ).decode(),
        "case": encode(_state_of_a_case()).decode(),
        "case_traced": encode(
            msgspec.structs.replace(
                _state_of_a_case(),
                traces={
                    told.decision: Trace(of="erase", place=0, given=("invoicing",), unsure="lost"),
                    told.case: Trace(of="erase", place=1),
                },
                untold={"erased": AT},
            )
        ).decode(),
        "outcome_traced": OutcomeKey(key.expose()).vouched(traced, TO_DESK).decode(),
        "removed": OutcomeKey(key.expose()).vouched(removed, key_of(month)).decode(),
        "removed_closed": OutcomeKey(key.expose())
        .vouched(msgspec.structs.replace(removed, batch={}, alive=7, held={"law.2": 1}, closed_at=AT), key_of(month))
        .decode(),
        "removed_stated": OutcomeKey(key.expose()).vouched(Marked(month="2026-11", at=AT), STATED_KEY).decode(),
        "tenure": entry_of(7, bytes(range(16))).hex(),
        "profile": packed(profile).hex(),
        "profile_digest": digest(profile_name(TENANT, 3), packed(profile)).hex(),
        "profile_changed": packed(profile.knowing(("marks", "blanks"))).hex(),
        "person_elsewhere": seal_person(
            Person(generation=0, pseudonym=None, home=lookup, epoch=EPOCH), b"place", key, NONCE, 2
        ).hex(),
        "same": seal_same(Same().with_rule(lookup), EPOCH, b"place", key, NONCE).hex(),
        "same_named": seal_same(
            Same().with_links([Linked(who=lookup, generation=1 << 40)]), EPOCH, b"place", key, NONCE
        ).hex(),
        "sameness": encode(Sameness(groups=((Linked(who=lookup, generation=1 << 40),),))).decode(),
        "kept": seal_kept(
            KeptCopies(copies=(KeptCopy(partition=3, purpose=2, until="2032-11-25"),)), EPOCH, b"place", key, NONCE
        ).hex(),
        "guard": guard_entry(b"\x06" * 16, 1 << 40, 3).hex(),
        **_moment(),
        **_heartbeat(),
        **_access(),
        "parked": encode(sealed).decode(),
        "parked_key": parked_key(record.place, part.lookup).decode(),
        "parked_referred": encode(seal_parked(record, _referred(part), TENANT, Secret(b"\x03" * 32), NONCE)).decode(),
        **_preview(told, Entry(lookup, keys.generation), key),
        **_case(identity),
        **_legs(identity, link),
    }


if __name__ == "__main__":
    print(json.dumps(vectors(), indent=2))  # noqa: T201
