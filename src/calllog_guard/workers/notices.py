"""
Tells recipients and the person what became of a case, each notice sealed to whom it is for.

Rules: 1. A notice is acknowledged by the log before the case says that it was sent (`Casebook.save` writes in that order): a
          crash between the two sends it again under the same name, and readers keep the first of a case, addressee and kind.
       2. What must be told before (a restriction's end, a disclosure) is acknowledged before anything else is done.
       3. Whom the policy does not name is told by whoever asked: nothing is sent, and the case says so by saying nothing.
Source: GDPR Art. 12(3), 12(4), 18(3), 19; design section 10.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final

import msgspec

from calllog_guard.core.crypto.sealed import seal_to
from calllog_guard.core.ids import Tenant
from calllog_guard.core.policy.facts import said
from calllog_guard.core.requests.case import Case
from calllog_guard.core.requests.fields import NoticeKind
from calllog_guard.core.requests.notice import (
    CARRIED_OUT,
    PERSON,
    KeptFor,
    Notice,
    Remedies,
    Sent,
    Words,
    act_by,
    for_recipient,
    name_of,
    told_before,
)
from calllog_guard.core.requests.request import Request
from calllog_guard.core.requests.whose import Reason
from calllog_guard.core.retention.purpose import due_day
from calllog_guard.core.tombstone import Output
from calllog_guard.core.wire import encode
from calllog_guard.policy import Policy, TenantPolicy
from calllog_guard.reports.notice import Sender, letter
from calllog_guard.settings import Settings
from calllog_guard.workers.casebook import Casebook
from calllog_guard.workers.delivery import Steps
from calllog_guard.workers.granted import Granted
from calllog_guard.workers.whose import Owners

LETTERS: Final = 2
"""From this level of forms on a notice has its letter: who reads notices may refuse fields that they do not know."""
_REASONED: Final = frozenset({"extended", "refused", "answered"})
_REMEDIES: Final = frozenset({"refused", "answered"})
Told = tuple[Case, list[Output]]
"""The case that remembers the notices, and the notices: to be written before it."""


class Notices:
    """One tenant's notices."""

    def __init__(
        self, tenant: Tenant, home: int, book: Casebook, policy: Policy, settings: Settings, owners: Owners
    ) -> None:
        self._tenant, self._home, self._book, self._policy, self._owners = tenant, home, book, policy, owners
        self._topic, self._steps = settings.topic("privacy.notices"), Steps(settings.off)

    def _addressees(self, case: Case, table: TenantPolicy, kind: NoticeKind) -> Iterator[tuple[str, bytes]]:
        """Who is told of this kind, each with the public key; that something was done to nobody is no news to anybody."""
        person = table.person_notices
        if case.of_nothing and kind not in _REASONED:
            return
        if person is not None and (kind == "answered" or kind in person.told):
            yield PERSON, self._policy.public_key(person.key)
        for name, recipient in table.recipients.items():
            if kind in recipient.told:
                yield name, self._policy.public_key(recipient.key)

    def of(
        self,
        case: Case,
        kind: NoticeKind,
        table: TenantPolicy,
        request: Request | None,
        at: datetime,
        ground: str | None = None,
    ) -> Told:
        """
        The notices of one kind that were not sent yet.

        Args:
            request: None where it is no longer kept: the person is then known by ticket and request alone.
            at: A time that a repeat knows too, so that it says the same.
            ground: The officer's reasons.

        """
        words = self._words(case, kind, table, request, at, ground)
        outputs, sent = [], {}
        for to, key in self._addressees(case, table, kind):
            if name_of(to, kind) in case.notices:
                continue
            told = words if to == PERSON else for_recipient(words)
            if self._owners.forms >= LETTERS:
                told = msgspec.structs.replace(told, nothing=case.of_nothing or msgspec.UNSET)
                told = msgspec.structs.replace(told, text=letter(told, to, self._sender(case, table)))
            content = encode(told)
            notice = Notice(case=case.case, to=to, kind=kind, act_by=words.act_by, jwe=seal_to(key, to, content))
            outputs.append(Output(self._topic, self._home, case.case.encode(), encode(notice)))
            sent[name_of(to, kind)] = Sent(sent_at=at, act_by=words.act_by)
        return (msgspec.structs.replace(case, notices=case.notices | sent), outputs) if outputs else (case, [])

    @staticmethod
    def _sender(case: Case, table: TenantPolicy) -> Sender:
        titles = {name: text for name, each in table.recipients.items() if (text := said(each.title)) is not None}
        return Sender(
            company=said(table.controller),
            contact=said(table.contact),
            authority=table.authority,
            zone=table.calendar.zone,
            titles=titles,
            purposes={name: said(each.why) or name for name, each in table.purposes.items()},
            asked=case.type,
            received_at=case.received_at,
            before=not case.decided,
        )

    def _words(
        self,
        case: Case,
        kind: NoticeKind,
        table: TenantPolicy,
        request: Request | None,
        at: datetime,
        ground: str | None,
    ) -> Words:
        disclosed = kind == "disclosed" and request is not None
        kept = _kept(case, kind, table, at) if self._owners.forms >= LETTERS else ()
        return Words(
            v=1,
            kind=kind,
            tenant=self._tenant,
            case=case.case,
            subjects=request.subjects if request else (),
            range=request.range if request else None,
            facts=request.facts if request and kind == "rectified" else None,
            purposes=(request.purposes or ()) if request else (),
            ticket=case.ticket,
            request=case.jti,
            ground=ground if kind in _REASONED else None,
            authority=request.authority if request and disclosed else None,
            basis=request.basis if request and disclosed else None,
            due=case.due if kind == "extended" else None,
            remedies=Remedies(authority=table.authority) if kind in _REMEDIES or kept else None,
            kept=kept or msgspec.UNSET,
            act_by=act_by(at),
            at=at,
        )

    async def remember(self, case: Case, act: Reason, request: Request | None) -> Case:
        """What an officer tells the person stays in the case, for the person's own answer."""
        return await self._owners.said(case, request, act)

    async def before(self, granted: Granted, subjects: tuple[str, ...]) -> Granted:
        """Tell what must be told before a request is carried out, of those whom it concerns; on return the log has it."""
        case, request = granted.case, msgspec.structs.replace(granted.request, subjects=subjects)
        kind = told_before(request, ends_review=bool(case.approvals))
        if kind is None or not subjects:
            return granted
        case, outputs = self.of(case, kind, granted.table, request, case.cut_off or case.opened_at)
        if outputs:
            case = await self._book.save(case, outputs)
            self._steps.reached("notices.before")
        return replace(granted, case=case)

    def carried_out(self, granted: Granted, case: Case) -> Told:
        """What is told once a request has been carried out, or that there was nothing to which it could be done."""
        kind = CARRIED_OUT.get(granted.request.type)
        if case.of_nothing and (kind is not None or case.type == "lift"):
            kind = "answered"
        if kind is None:
            return case, []
        at = case.cut_off or case.opened_at
        return self.of(case, kind, granted.table, granted.request, at, granted.ground)


def _kept(case: Case, kind: NoticeKind, table: TenantPolicy, at: datetime) -> tuple[KeptFor, ...]:
    """What law keeps beyond this erasure, as far as there is any: the keepers have not looked yet, and no letter waits for that."""
    again = kind == "answered" and bool(case.kept)
    if case.type != "erase" or not (kind == "erased" or again):
        return ()
    return tuple(
        KeptFor(
            purpose=each.name,
            why=said(table.purposes[each.name].why),
            until=due_day(at.date(), each.bit, (each,)).isoformat(),
        )
        for each in table.listed()
        if each.survives_erasure
    )
