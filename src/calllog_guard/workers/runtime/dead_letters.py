"""What cannot be handled, sealed to whoever operates the software: nobody else reads it, and a week's key ends it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from calllog_guard.core.codec import Dead, encode, from_ms
from calllog_guard.core.crypto.jose import seal_to
from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import REMNANT, remnant
from calllog_guard.core.stream.letters import LetterKey
from calllog_guard.core.stream.replay import first_appended_ms
from calllog_guard.core.webhooks.source_names import source_of
from calllog_guard.errors import MessageError
from calllog_guard.ports.clock import Clock


@dataclass(frozen=True, slots=True)
class OperatorKey:
    """The operator's public key, and what it is called."""

    pem: bytes
    kid: str = "operator-1"


class DeadLetters:
    """
    Seals what cannot be handled to the operator's key, and that to the key of the week.

    Args:
        week: Gives the key of the week; None where there is none.
        most: Bytes of the largest payload that is kept; of a larger one, or of a record not unpacked, its remnant.

    `sources` are the names of sources that a letter may tell, where a record has one in its headers.

    """

    def __init__(
        self,
        topic: str,
        key: OperatorKey,
        clock: Clock,
        partitions: int,
        most: int = 512 << 10,
        *,
        week: Callable[[], LetterKey | None] = lambda: None,
    ) -> None:
        self._topic, self._key, self._clock, self._partitions, self._most = topic, key, clock, partitions, most
        self._week = week
        self.sources: frozenset[str] = frozenset()

    def of(self, record: Any, error: MessageError) -> Output:
        """The dead letter of a record: coordinates, a reason that quotes nothing, the payload sealed."""
        payload, left = record.value or b"", record.remnant
        if left is None and len(payload) > self._most:
            left = remnant(error.reason, payload)
        cty = REMNANT if left is not None else ""
        week, kid = self._week(), self._key.kid
        sealed = seal_to(self._key.pem, kid, payload if left is None else encode(left), cty=cty)
        if week is not None:
            kid, sealed = week.kid, seal_to(week.pem, week.kid, sealed.encode(), cty=cty)
        dead = Dead(
            v=1,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            reason=error.reason,
            at_pointer=error.pointer,
            kid=kid,
            jwe=sealed,
            at=self._clock.now(),
            appended_at=from_ms(first_appended_ms(record.timestamp, record.headers)),
            source=name if (name := source_of(record.headers)) in self.sources else msgspec.UNSET,
        )
        return Output(self._topic, record.partition % self._partitions, None, encode(dead))
