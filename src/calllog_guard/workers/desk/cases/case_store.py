"""
The open and ended cases of one tenant, as the desk holds them: read from their topic, kept in memory, written through.

Rules: 1. A case is in memory once it is acknowledged, and what goes with it (receipts, notices) before it:
          a crash between the two says it again, never not at all.  2. What a waiting case needs of its request (also
          identities) is sealed under the epoch key and gone with the last save that no longer needs it.
Source: docs/explanation/design.md, docs/contributing/architecture.md.
"""

import secrets
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

import msgspec
import structlog

from calllog_guard.core.cases.case import Case, case_in, later
from calllog_guard.core.cases.notices import FILED, Filed
from calllog_guard.core.cases.sealed_case import NONCE, PartName, open_part, seal_part
from calllog_guard.core.cases.secret_cases import (
    ORDERED,
    PREFIX,
    RefusedOrder,
    open_case,
    refused_key,
    seal_case,
    secret_key,
)
from calllog_guard.core.codec import BEAT, decode, encode
from calllog_guard.core.decisions.decision import case_id, request_name
from calllog_guard.core.identifiers import CaseId, EpochName
from calllog_guard.core.records import Output
from calllog_guard.core.requests.request import REQUESTS, Request
from calllog_guard.core.requests.types import Kind
from calllog_guard.core.stream.proofs import DESK
from calllog_guard.core.topics import Topic
from calllog_guard.errors import CaseStateError, EntryCorruptError, EpochUnknownError, MessageError
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.ports.log import Place
from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.desk.cases.case_index import BegunCases, CaseIndex
from calllog_guard.workers.keys.people.view import pointer

log: Final = structlog.get_logger()
COUNTED: Final = 2
"""From this level of forms on a case tells which of its states is later: earlier releases refuse unknown fields."""


def name_in(record: Any) -> str:
    """The case that a record of the topic is about, by its key."""
    return str((record.key or b"").removeprefix(PREFIX).decode("ascii", "replace"))


def _compared(case: Case) -> Case:
    """A case that is before no officer keeps of its preview what is compared."""
    if case.weighed or not case.preview:
        return case
    return msgspec.structs.replace(case, preview=case.preview.decided())


class Casebook:
    """One tenant's cases."""

    def __init__(self, context: WorkerContext) -> None:
        settings = context.settings
        self._tenant, self._home, self._steps = context.tenant, context.home, CrashPoints(settings.off)
        self._topic, self._orders = settings.topic(Topic.CASES), settings.topic(Topic.ORDERS)
        self._ring, self._vault, self._writer = context.ring, context.vault, context.writer
        self._cases: dict[str, Case] = {}
        self._acts: dict[str, tuple[int, int]] = {}
        self._begun: dict[str, Case] = {}
        self._recent, self._index = BegunCases(), CaseIndex()
        self._weighed: dict[str, None] = {}
        self.tenure = 0

    @property
    def ordered(self) -> bool:
        """Whether secret cases lie in the topic of orders: an older desk may take over until the upgrade."""
        return self._ring.forms >= ORDERED

    @property
    def places(self) -> list[Place]:
        """Where the cases lie, in the order in which they are read: what lies in the last place stands."""
        topics = (self._topic, self._orders) if self.ordered else (self._topic,)
        return [(topic, self._home) for topic in topics]

    def concerns(self, record: Any) -> bool:
        """Whether a record is about a case; orders, and why one was not taken, are not."""
        return record.topic != self._orders or (record.key or b"").startswith(PREFIX)

    def is_former(self, record: Any) -> bool:
        """Whether a record of a secret case lies where a release before the topic of orders has it."""
        return record.topic == self._topic and (record.key or b"").startswith(PREFIX)

    def clear(self) -> None:
        """Forget all: the partition is someone else's, or is read anew."""
        self._cases.clear()
        self._acts.clear()
        self._recent, self._index = BegunCases(), CaseIndex()
        self._weighed.clear()

    def note(self, record: Any) -> bool:
        """
        Take a record of the topic; whether it, or nothing, is what stands: a later state may have been read before it.

        Raises:
            MessageError: No case of ours; the one it would replace is kept.

        """
        if record.key == BEAT:
            return True
        found = self._read(record)
        if found is None:
            self._drop(name_in(record))
            return True
        self.tenure = max(self.tenure, found.tenure or 0)
        if later(self._cases.get(found.case), found) is not found:
            return False
        self._keep(found)
        return True

    def stands(self, record: Any) -> bool:
        """
        Whether a record, the last of its key, is the state that is kept.

        Raises:
            MessageError: No case of ours.

        """
        if record.key == BEAT:
            return True
        case, found = self._cases.get(name_in(record)), self._read(record)
        return case is None or (found is not None and found.rank == case.rank)

    def knows(self, record: Any) -> bool:
        """Whether a record is about a case that is kept."""
        return name_in(record) in self._cases

    def _read(self, record: Any) -> Case | None:
        """The case in a record that a desk of ours wrote; None: it says that the case is forgotten."""
        proofs = self._vault.proofs(self._tenant)
        if record.value is None:
            return proofs.read(record, DESK, lambda _: None)
        if (record.key or b"").startswith(PREFIX):
            key = self._vault.case_key(self._tenant)
            return proofs.form(record, DESK, lambda each: open_case(each.key, each.value, key))
        return case_in(record, proofs)

    def _counted(self, case: Case) -> Case:
        """The next state of a case, as it is written."""
        if self._ring.tenure is None or self._ring.forms < COUNTED:
            return case
        before = self._cases.get(case.case)
        count = (before.count or 0 if before else 0) + 1
        return msgspec.structs.replace(case, tenure=self._ring.tenure.number, count=count)

    def _keep(self, case: Case) -> None:
        self._index.put(self._cases.get(case.case), case)
        self._cases[case.case] = case
        self._acts.update(case.acts)
        if case.weighed:
            self._weighed[case.case] = None
        self._recent.put(case)

    def _drop(self, name: str) -> None:
        case = self._cases.pop(name, None)
        if case is not None:
            self._index.drop(case)

    def get(self, name: str) -> Case | None:
        """A case by its id."""
        return self._cases.get(name)

    def name_of(self, request: Request, case: Case | None = None) -> str:
        """What a request is known by: an act of the first release's on a case by its `jti` alone."""
        name = request_name(request.iss, request.jti, self._ring.forms)
        former = case is not None and request.jti in case.acts
        return request.jti if former else name

    def case_of(self, iss: str, jti: str) -> CaseId:
        """The case of a requester's request; one that the first release has opened for the same requester goes on."""
        former = case_id(self._tenant, jti)
        known = self._cases.get(former)
        if known is not None and known.asked_by == iss:
            return former
        return case_id(self._tenant, request_name(iss, jti, self._ring.forms))

    def place_of(self, request: Request) -> tuple[int, int] | None:
        """Where an act on a case was read first; of one of the first release's nobody knows whose it was."""
        return self._acts.get(self.name_of(request)) or self._acts.get(request.jti)

    def __len__(self) -> int:
        return len(self._cases)

    def __iter__(self) -> Iterator[Case]:
        """The cases that may be told of: no count, list or figure may move with a secret one."""
        return iter([case for case in self._cases.values() if not case.secret])

    def every(self) -> Iterator[Case]:
        """All cases, secret ones too: for what nobody is told."""
        return iter(list(self._cases.values()))

    def weighed(self, most: int) -> list[Case]:
        """Up to so many cases that have changed since and are before an officer, secret ones too; each once."""
        names = list(islice(self._weighed, most))
        for name in names:
            del self._weighed[name]
        return [case for name in names if (case := self._cases.get(name)) is not None and case.weighed]

    def over(self, now: datetime, keep: timedelta) -> Iterator[Case]:
        """
        The cases past their time, secret ones too.

        Not one of which the person is still to be told, nor that of a hold that stands: by its case the desk knows it.
        """
        released = {case.hold for case in self._cases.values() if case.type == "release" and case.state == "closed"}
        for case in self._cases.values():
            stands = case.type == "hold" and case.hold is not None and case.hold not in released
            if case.state in {"closed", "refused"} and case.tell_at is None and not stands:
                until = case.keep_until or max(case.stages.values(), default=now) + keep
                if until <= now:
                    yield case

    def holds(self) -> list[Case]:
        """The cases of holds, secret ones too."""
        return self._index.holds()

    def considered(self) -> list[Case]:
        """The cases by which somebody may be restricted until it is over; see `CaseIndex`."""
        return self._index.considered()

    def begun_people(self, kind: Kind, now: datetime) -> Counter[str]:
        """How many people each requester named in cases under one brake begun in the last hour, secret ones not."""
        return self._recent.people(kind, now, self._begun)

    @contextmanager
    def begun(self, case: Case) -> Iterator[None]:
        """While a case is being written for the first time the brake counts it already: others are opened beside it."""
        self._begun[case.case] = case
        try:
            yield
        finally:
            self._begun.pop(case.case, None)

    async def save(self, case: Case, outputs: Sequence[Output] = ()) -> Case:
        """Write a case and what goes with it, and keep it once that is acknowledged."""
        (case,) = await self.save_all([case], outputs)
        return case

    def _record(self, case: Case) -> Output:
        if not case.secret:
            return Output(self._topic, self._home, case.case.encode(), encode(case))
        topic, name = self._orders if self.ordered else self._topic, secret_key(case.case)
        return Output(topic, self._home, name, self._hidden(name, encode(case)))

    def _hidden(self, name: bytes, content: bytes) -> bytes:
        return seal_case(name, content, self._vault.case_key(self._tenant), secrets.token_bytes(NONCE))

    def refusal(self, record: Any, error: MessageError, at: datetime) -> Output:
        """Why an order was not taken, for officers."""
        partition, offset = record.partition, record.offset
        told = RefusedOrder(
            partition=partition, offset=offset, reason=error.reason, at_pointer=error.pointer or "", at=at
        )
        name = refused_key(partition, offset)
        return Output(self._orders, partition, name, self._hidden(name, encode(told)))

    async def move(self, keys: Collection[bytes]) -> None:
        """Secret cases to the topic of orders, and then out of that of the other cases, by their keys there."""
        found = [self.get(key.removeprefix(PREFIX).decode("ascii", "replace")) for key in sorted(keys)]
        cases = [case for case in found if case is not None and case.secret]
        if cases:
            await self.save_all(cases, [])
            self._steps.reached("orders.moved")
            keys = [secret_key(case.case) for case in cases]
            await self._writer.write([Output(self._topic, self._home, key, None) for key in keys])

    async def drop(self, keys: Sequence[bytes]) -> None:
        """Remove records of the topic of orders that are about no case, by their keys."""
        await self._writer.write([Output(self._orders, self._home, key, None) for key in keys])

    async def save_all(self, cases: Sequence[Case], outputs: Sequence[Output]) -> list[Case]:
        """As `save`, of several cases at once; outputs are keyed by case."""
        rest, kept = list(outputs), list[Case]()
        for case in cases:
            own = [output for output in rest if output.key == case.case.encode()] if case.secret else []
            if own:  # what would be told stays in the case
                rest = [output for output in rest if output not in own]
                told = tuple(output.value.decode() for output in own if output.value)
                kept.append(msgspec.structs.replace(case, told=(*case.told, *told)))
            else:
                kept.append(case)
        await self._writer.write(rest)
        self._steps.reached("case.told")
        kept = [self._counted(_compared(case)) for case in kept]
        await self._writer.write(list(map(self._record, kept)))
        for case in kept:
            self._keep(case)
        return kept

    async def forget(self, case: Case) -> None:
        """A case whose time is over: tombstoned."""
        await self.forget_all([case])

    async def forget_all(self, cases: Sequence[Case]) -> None:
        """As `forget`, of several cases at once."""
        await self._writer.write([msgspec.structs.replace(self._record(case), value=None) for case in cases])
        for case in cases:
            self._drop(case.case)
            for name in case.acts:
                self._acts.pop(name, None)

    # --- what a waiting case needs ------------------------------------------------------------------------------------

    async def sealed(self, case: Case, request: Request) -> Case:
        """The case with its request sealed in it, under the present epoch."""
        filed = self._part(case, "filed", case.filed)
        if request.authority and request.basis and request.notify:
            filed = encode(Filed(authority=request.authority, basis=request.basis, notify=request.notify))
        return self._with(case, pointer(await self._ring.view([])), encode(request), filed)

    def _with(self, case: Case, epoch: EpochName, request: bytes | None, filed: bytes | None) -> Case:
        """The case with these parts, as they are, sealed under an epoch."""
        key = self._vault.epoch_key(epoch, self._tenant, "cases")

        def seal(name: PartName, content: bytes | None) -> str | None:
            return seal_part(case.case, name, content, key, secrets.token_bytes(NONCE)) if content else None

        sealed = seal("request", request)
        return msgspec.structs.replace(case, sealed=sealed, filed=seal("filed", filed), epoch=epoch)

    def _part(self, case: Case, name: PartName, sealed: str | None) -> bytes | None:
        if sealed is None:
            return None
        try:
            key = self._vault.epoch_key(EpochName(case.epoch or ""), self._tenant, "cases")
            return open_part(case.case, name, sealed, key)
        except (EpochUnknownError, EntryCorruptError):
            raise CaseStateError("request_lost", "/case") from None

    def filed_of(self, case: Case) -> Filed | None:
        """Whom a disclosure is for; raises as `request_of`."""
        filed = self._part(case, "filed", case.filed)
        return None if filed is None else decode(FILED, filed)

    def request_of(self, case: Case) -> Request:
        """
        The request of a case that waits.

        Raises:
            CaseStateError: `request_lost`: changed, another case's, or of a destroyed epoch. The act is a dead
                letter; an officer can still refuse it.

        """
        # a desk of a later minor release lets fields in that this one would refuse at the border
        return decode(REQUESTS, self._part(case, "request", case.sealed or "") or b"", stored=True)

    def asked(self, case: Case) -> Request | None:
        """The same; None where it is not kept, or no longer opens: whoever knows the case knows it by its ticket."""
        try:
            return self.request_of(case) if case.sealed else None
        except CaseStateError:
            return None

    async def renew(self, most: int = 1000) -> int:
        """Seal up to so many cases anew under the present epoch, so that none keeps an old one alive; how many."""
        epoch = pointer(await self._ring.view([]))
        old = list(islice(self._index.sealed_before(epoch), most))
        renewed: list[Case] = []
        for case in old:
            try:
                parts = self._part(case, "request", case.sealed), self._part(case, "filed", case.filed)
                renewed.append(self._with(case, epoch, *parts))
            except CaseStateError as error:  # nobody's desk sealed it so: it stays, and is told
                log.error("the sealed part of a case does not open", case=case.case, why=error.reason)  # noqa: TRY400
        await self.save_all(renewed, [])
        return len(renewed)
