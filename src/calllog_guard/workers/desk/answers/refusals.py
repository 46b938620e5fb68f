"""
Answers a request that the desk has refused, where its requester reads receipts.

Source: `core/answers/refused_request.py`.
"""

from collections.abc import Callable
from functools import partial

from calllog_guard.core.answers.refused_request import RefusedRequest, answered_jti
from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.jose import receipt_pem, sign
from calllog_guard.core.policy.active import TenantPolicy
from calllog_guard.core.records import Output
from calllog_guard.core.requests.remedies import remedy
from calllog_guard.core.requests.request import signed_claims
from calllog_guard.core.requests.sealing import bare
from calllog_guard.core.stream.arrival import Arrival, content
from calllog_guard.core.topics import Topic
from calllog_guard.errors import MessageError
from calllog_guard.workers.desk.answers.receipts import NAMED
from calllog_guard.workers.desk.context import DeskContext

KeyOf = Callable[[str], bytes | None]


class Refusals:
    """One tenant's."""

    def __init__(self, desk: DeskContext) -> None:
        self._o = desk

    def key_of(self, table: TenantPolicy) -> KeyOf:
        """The public keys of registered requesters, by name."""

        def key_of(kid: str) -> bytes | None:
            found = table.requesters.get(kid)
            return self._o.policy.public_key(found.key) if found else None

        return key_of

    def token(self, record: Arrival) -> bytes | None:
        """A request without its seal; raises as `bare`."""
        return bare(content(record), partial(self._o.vault.desk_key, self._o.tenant))

    def of(self, record: Arrival, error: MessageError, table: TenantPolicy) -> list[Output]:
        """The answer to a refused request; none to what no registered requester has signed, nor to an older release."""
        if self._o.ring.forms < NAMED:
            return []
        try:
            kid, claims = signed_claims(self.token(record), self.key_of(table))
        except MessageError:
            return []
        jti = answered_jti(claims, table.requesters[kid].role, error)
        case = self._o.book.case_of(kid, jti or "")
        if jti is None or self._o.book.get(case) is not None:  # the first of this name has its case
            return []
        told = RefusedRequest(
            case=case,
            tenant=self._o.tenant,
            request=jti,
            reason=error.reason,
            at_pointer=error.pointer,
            remedy=remedy(error.reason),
            partition=record.partition,
            offset=record.offset,
            at=self._o.clock.now(),
        )
        private = receipt_pem(self._o.vault.receipt_key(self._o.tenant))[0]
        signed = sign(private, f"{self._o.tenant}-receipts", encode(told)).encode()
        return [Output(self._o.settings.topic(Topic.RECEIPTS), self._o.home, case.encode(), signed)]
