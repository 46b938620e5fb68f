"""
Takes requests that lie in another partition to their tenant's: all of a tenant's requests are in one order there.

Rules: 1. Only what a registered requester signed goes on; the rest is refused.  2. Twice after a crash is one: both
          have the same first place.  3. A desk without the right to write requests makes it a dead letter, as before.
Source: `core/stream/routes.py`.
"""

from collections.abc import Sequence

from calllog_guard.core.requests.request import signed_claims
from calllog_guard.core.stream.arrival import Arrival, appended_ms
from calllog_guard.core.stream.proofs import DESK
from calllog_guard.core.stream.routes import first, is_routed, routed
from calllog_guard.errors import LogRefusedError, RequestRefusedError
from calllog_guard.workers.desk.answers.refusals import KeyOf, Refusals
from calllog_guard.workers.desk.context import DeskContext


class RequestRoutes:
    """One tenant's."""

    def __init__(self, desk: DeskContext, refusals: Refusals) -> None:
        self._o, self._refusals = desk, refusals

    def home(self, records: Sequence[Arrival]) -> list[Arrival]:
        """Those that lie in the tenant's partition, as they first lay."""
        proofs = self._o.vault.proofs(self._o.tenant)
        return [first(record, proofs) for record in records if record.partition == self._o.home]

    async def take(self, record: Arrival, key_of: KeyOf) -> None:
        """
        Take a request to the tenant's partition.

        Raises:
            RequestRefusedError: Nobody registered has signed it, or it cannot be taken there.

        """
        signed_claims(self._refusals.token(record), key_of)
        appended_ms(record)
        proofs = self._o.vault.proofs(self._o.tenant)
        if DESK not in proofs.signers or is_routed(record, proofs):
            raise RequestRefusedError("wrong_partition")
        outputs = await self._o.ring.guard.vouched(DESK, [routed(record, self._o.home)])
        try:
            await self._o.writer.write(outputs)
        except LogRefusedError:  # rights of the release before
            raise RequestRefusedError("wrong_partition") from None
