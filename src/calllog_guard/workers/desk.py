"""
The desk: verifies requests, runs their cases, fences, writes decisions and receipts.

Steps (numbered for the crash tests): 1 case written, 2 decision written, 3 fenced, 4 receipt written.
Rules: 1. Only after the fence does the request's offset move.  2. The same place means resume, another means replay.
       3. No identity outside the sealed part of a waiting case.
Source: design sections 9 and 10.
"""

import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from aiokafka import TopicPartition
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from calllog_guard.core.calls.event import canonical
from calllog_guard.core.crypto.sealed import receipt_pem, sign
from calllog_guard.core.ids import DecisionId, Lookup, Pseudonym, Tenant, b64, partition_of, record_key
from calllog_guard.core.requests.case import CASES, Case, after_outcome
from calllog_guard.core.requests.clock import Times, due
from calllog_guard.core.requests.decision import (
    OUTCOMES,
    Decision,
    Entry,
    case_id,
    decision_id,
    seal_entry,
    unseen_pseudonym,
)
from calllog_guard.core.requests.machine import check_rights
from calllog_guard.core.requests.receipt import CERTIFIED, STATEMENT, Receipt, backup_end
from calllog_guard.core.requests.request import Request, check_fields, read_request
from calllog_guard.core.requests.workdays import calendar_of
from calllog_guard.core.tombstone import Output
from calllog_guard.core.wire import decode, encode, from_ms, to_ms
from calllog_guard.errors import MessageError, RecordError, RequestRefusedError
from calllog_guard.policy import Policy, TenantPolicy
from calllog_guard.ports import Clock, Writer
from calllog_guard.settings import Settings
from calllog_guard.workers.delivery import DeadLetters, Steps, Unit
from calllog_guard.workers.keyring import Keyring, View, pointer
from calllog_guard.workers.vault import Vault

_NONCE: Final = 12
ReadAll = Callable[[str, Sequence[int]], Awaitable[list[Any]]]


class Desk:
    """The role that reads requests and outcomes, for one tenant."""

    name = "desk"

    def __init__(
        self,
        tenant: Tenant,
        home: int,
        ring: Keyring,
        vault: Vault,
        writer: Writer,
        dead: DeadLetters,
        policy: Policy,
        settings: Settings,
        clock: Clock,
        read_all: ReadAll,
        count: Callable[[str, int], None],
    ) -> None:
        self._tenant, self._home, self._ring, self._vault = tenant, home, ring, vault
        self._writer, self._dead, self._policy, self._settings = writer, dead, policy, settings
        self._clock, self._read_all, self._count = clock, read_all, count
        self._requests, self._outcomes = settings.topic("privacy.requests"), settings.topic("privacy.outcomes")
        self._decisions, self._case_topic = settings.topic("privacy.decisions"), settings.topic("privacy.cases")
        self._receipts = settings.topic("privacy.receipts")
        self.topics: tuple[str, ...] = (self._requests, self._outcomes)
        self._steps = Steps(settings.off)
        self._cases: dict[str, Case] = {}

    async def assigned(self, partitions: Sequence[int]) -> dict[TopicPartition, int]:
        """See Role: the cases are read anew from their topic."""
        self._cases.clear()
        if self._home in partitions:
            for record in await self._read_all(self._case_topic, [self._home]):
                if record.key and record.key[:1] != b"~":
                    try:
                        self._note(record)
                    except MessageError as error:  # no case of ours; the one it replaces is kept
                        self._count("unreadable_" + error.reason, 1)
        return {}

    def _note(self, record: Any) -> None:
        if record.value is None:
            self._cases.pop(record.key.decode("ascii", "replace"), None)
        else:
            case = decode(CASES, record.value)
            if record.key != case.case.encode():
                raise RecordError("bad_case")
            self._cases[case.case] = case

    async def revoked(self, partitions: Sequence[int]) -> None:
        """See Role."""
        if self._home in partitions:
            self._cases.clear()

    async def idle(self) -> None:
        """See Role."""

    async def unit(self, unit: Unit) -> None:
        """See Role."""
        for record in (record for records in unit.values() for record in records):
            if record.key is not None and record.key[:1] == b"~":
                continue
            try:
                if record.topic == self._requests:
                    await self._request(record)
                else:
                    await self._outcome(record)
            except MessageError as error:
                self._count("dead_" + error.reason, 1)
                await self._writer.write([self._dead.of(record, error)])

    # --- requests ---------------------------------------------------------------------------------------------------

    def _table(self) -> tuple[str, TenantPolicy]:
        version = self._policy.at(self._clock.now().date())
        return version.effective.isoformat(), version.tenant[self._tenant]

    async def _request(self, record: Any) -> None:
        version, table = self._table()

        def key_of(kid: str) -> bytes | None:
            found = table.requesters.get(kid)
            return self._policy.public_key(found.key) if found else None

        request = read_request(record.value, key_of, tenant=self._tenant, appended_ms=record.timestamp)
        check_rights(table.requesters[request.iss].role, request.type, request.event)
        if request.type == "erase":  # the others are refused as not supported, whatever they say
            check_fields(request)
        if record.partition != self._home:
            raise RequestRefusedError("wrong_partition")
        known = self._cases.get(case_id(self._tenant, request.jti))
        if known is not None and known.place != (record.partition, record.offset):
            raise RequestRefusedError("replayed", "/jti")
        case = known or await self._opened(request, record, table)
        if case.state == "enforcing" and "fenced" not in case.stages:
            await self._enforce(case, request, record, table, version)

    async def _opened(self, request: Request, record: Any, table: TenantPolicy) -> Case:
        now = self._clock.now()
        times = Times(received_at=request.received_at)
        dates = due(times, table.regime, table.answer_months, table.extend_to_months, calendar_of(table.regime))
        case = Case(
            case=case_id(self._tenant, request.jti),
            tenant=self._tenant,
            type=request.type,
            state="enforcing",
            ticket=request.ticket,
            received_at=request.received_at,
            due=dates.binding.isoformat(),
            law_due=(dates.law or dates.policy).isoformat(),
            jti=request.jti,
            place=(record.partition, record.offset),
            cut_off=max(now, from_ms(record.timestamp)),
            opened_at=now,
        )
        case = await self._judged(case, request, table, now)
        await self._save(case)
        self._steps.reached("erase.case")
        return case

    async def _judged(self, case: Case, request: Request, table: TenantPolicy, now: datetime) -> Case:
        replace = msgspec.structs.replace
        if request.type != "erase" or request.range is not None:
            return replace(case, state="refused", refusal="not_supported", cut_off=None)
        recent = [
            each
            for each in self._cases.values()
            if each.type == "erase" and each.state != "waiting" and each.opened_at > now - timedelta(hours=1)
        ]
        if request.identity != "verified":
            return await self._waiting(case, request, "identity")
        if len(recent) >= table.erasures_per_hour:
            return await self._waiting(case, request, "officer")
        return case

    async def _waiting(self, case: Case, request: Request, what: Any) -> Case:
        epoch = pointer(await self._ring.view([]))
        key = self._vault.epoch_key(epoch, self._tenant, "cases")
        nonce = secrets.token_bytes(_NONCE)
        content = json.dumps({"subjects": request.subjects}).encode()
        sealed = nonce + AESGCM(key.expose()).encrypt(nonce, content, case.case.encode())
        return msgspec.structs.replace(
            case, state="waiting", waits_for=what, sealed=b64(sealed).decode(), epoch=epoch, cut_off=None
        )

    async def _enforce(self, case: Case, request: Request, record: Any, table: TenantPolicy, version: str) -> None:
        cut_off = case.cut_off or self._clock.now()
        pepper = self._vault.pepper(self._tenant)
        left = {
            index: pepper.lookup(self._tenant, canonical(text, lowercase_email=table.lowercase_email))
            for index, text in enumerate(request.subjects)
        }
        while left:  # again for whoever was minted between the decision and the fence: that pseudonym needs its own
            view = await self._ring.view(list(left.values()))
            plan = {
                index: decision
                for index, lookup in left.items()
                if (decision := self._decision(case, lookup, index, view, record.timestamp, version)) is not None
            }
            decided = tuple(dict.fromkeys((*case.decisions, *(each.decision for each in plan.values()))))
            case = msgspec.structs.replace(case, decisions=decided)
            if "accepted" in case.stages:
                await self._save(case)
            else:
                case = await self._stage(case, "accepted", version)
            await self._writer.write([self._ledger(decision) for decision in plan.values()])
            self._steps.reached("erase.decision")
            fenced = {
                index: await self._ring.fence_if(left[index], view.raw[left[index]], to_ms(cut_off), view.epoch)
                for index in plan
            }
            left = {index: lookup for index, lookup in left.items() if fenced.get(index) is False}
        self._steps.reached("erase.fence")
        if not case.decisions:
            case = msgspec.structs.replace(case, state="closed")
        await self._stage(case, "fenced", version)
        self._steps.reached("erase.receipt")

    def _decision(
        self, case: Case, lookup: Lookup, index: int, view: View, appended_ms: int, version: str
    ) -> Decision | None:
        person = self._ring.person(lookup, view.raw[lookup])
        generation = person.generation if person else 0
        if person is not None and person.cut_off >= appended_ms:
            return None  # fenced by this request before a crash, or by a later one: someone who returned is left alone
        epoch = pointer(view)
        decision = decision_id(self._tenant, case.jti, index, generation)
        ledger = self._vault.epoch_key(epoch, self._tenant, "ledger")
        pseudonym = person.pseudonym if person and person.pseudonym else unseen_pseudonym(ledger, decision)
        told = Decision(
            decision=decision,
            type="erase",
            tenant=self._tenant,
            case=case.case,
            pseudonym=pseudonym,
            entry="",
            epoch=epoch,
            cut_off=case.cut_off or self._clock.now(),
            pol=version,
            at=self._clock.now(),
        )
        return seal_entry(told, Entry(lookup, generation), ledger, secrets.token_bytes(_NONCE))

    def _ledger(self, decision: Decision) -> Output:
        pseudonym = Pseudonym(decision.pseudonym)
        key = record_key(pseudonym, DecisionId(decision.decision))
        return Output(self._decisions, partition_of(pseudonym, self._settings.partitions), key, encode(decision))

    # --- cases and receipts -----------------------------------------------------------------------------------------

    async def _save(self, case: Case, *more: Output) -> None:
        await self._writer.write([Output(self._case_topic, self._home, case.case.encode(), encode(case)), *more])
        self._cases[case.case] = case

    async def _stage(self, case: Case, stage: str, version: str) -> Case:
        now = self._clock.now()
        case = msgspec.structs.replace(case, stages=case.stages | {stage: now})
        await self._save(case, self._receipt(case, stage, now, version))
        return case

    def _receipt(self, case: Case, stage: Any, now: datetime, version: str) -> Output:
        settings, certificate = self._settings, stage in {"absent", "gone"}
        fenced = case.stages.get("fenced", now)
        observed = [look for look in case.observed.values() if certificate]
        claims = Receipt(
            case=case.case,
            tenant=self._tenant,
            request=case.jti,
            stage=stage,
            legs=sum(case.legs.values()),
            final=certificate,
            shredded="destroyed" in case.stages,
            observed=max(observed, key=lambda look: look.at, default=None),
            observations=tuple(observed) if len(observed) > 1 else (),
            stages=case.stages,
            bounds={
                "cache_s": settings.cache_s,
                "events": fenced + timedelta(hours=settings.events_keep_h),
                "dead": fenced + timedelta(days=settings.dead_keep_days),
                "exports": fenced + timedelta(days=settings.exports_keep_days),
                "backup_end": backup_end(
                    fenced, settings.epoch_days, settings.backup_window_days, self._vault.delay_days
                ),
            },
            statement=STATEMENT if certificate else None,
            pol=version,
            at=now,
        )
        private = receipt_pem(self._vault.receipt_key(self._tenant))[0]
        signed = sign(private, f"{self._tenant}-receipts", encode(claims))
        return Output(self._receipts, self._home, case.case.encode(), signed.encode())

    async def _outcome(self, record: Any) -> None:
        if record.value is None:
            raise MessageError("null_value")
        outcome = decode(OUTCOMES, record.value)
        case = self._cases.get(outcome.case)
        if case is None:
            return
        now = self._clock.now()
        changed, reached = after_outcome(case, outcome, now)
        if changed is not case:
            version = self._table()[0]
            await self._save(
                changed, *(self._receipt(changed, stage, now, version) for stage in reached if stage in CERTIFIED)
            )
