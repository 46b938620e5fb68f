"""
One raw message on its way to the log: what becomes of it, as records, and what is counted of it.

Rules: 1. Every item of a message is an event, a moment, a skip that is counted, or in the message's dead letter.
       2. The call's id is the key of an event, so that the events of one call keep their order.
       3. Nothing is counted before it is acknowledged: a message that is tried again counts once.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.core.webhooks.intake import IngestSource, Strictness, taken
from calllog_guard.errors import MessageError
from calllog_guard.metrics import Counters
from calllog_guard.workers.ingest.context import IngestContext


class IngestWork(NamedTuple):
    """What is written of a message, and what is counted once that is done."""

    outputs: Sequence[Output]
    source: str
    made: int = 0
    refused: str = ""
    skipped: tuple[str, ...] = ()


class MessageIntake:
    """Makes records of raw messages, for one tenant."""

    def __init__(self, context: IngestContext) -> None:
        self._at, self._known = context, dict[str, int]()

    async def work(self, source: IngestSource, record: Arrival) -> IngestWork:
        """
        What becomes of a message.

        Args:
            record: Where it lies, and the message as its value.

        Raises:
            LogSilentError: Kafka does not say how many partitions the topic of events has.

        """
        at, vault = self._at, self._at.vault
        skew_ms, most = round(at.settings.event_skew_s * 1000), at.settings.event_max_bytes
        rules = Strictness(at.tenant, vault.identity(at.tenant), skew_ms, most)
        found = taken(source.mapping, record.value or b"", rules)
        outputs, refused = list[Output](), found.refused
        for told in found.notifications:
            try:
                outputs.append(at.moment(source.name, told))
            except MessageError as error:
                refused = refused or error
        if found.events:
            topic = at.events()
            many = self._known.get(topic) or self._known.setdefault(topic, await at.partitions(topic))
            outputs += [Output(topic, at.place(key, many), key, raw) for key, raw in found.events]
        made = len(outputs)
        if refused is not None:
            outputs.append(at.dead.of(record, refused))
        return IngestWork(outputs, source.name, made, refused.reason if refused else "", found.skipped)

    def refused(self, source: str, record: Arrival, error: MessageError) -> IngestWork:
        """A message of which nothing becomes but its dead letter."""
        return IngestWork([self._at.dead.of(record, error)], source, refused=error.reason)

    def told(self, work: IngestWork) -> None:
        """Count a message whose records are acknowledged."""
        count = self._at.count
        if work.made:
            count(Counters.notifications_taken[work.source], work.made)
        if work.refused:
            count(Counters.dead[work.refused], 1)
        for reason, many in Counter(work.skipped).items() if work.skipped else ():
            count(Counters.notifications_skipped[work.source, reason], many)

    def forget(self) -> None:
        """Ask again how many partitions the topics of events have."""
        self._known.clear()
