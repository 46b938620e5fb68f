"""
Whether the brokers answer, asked over a connection of its own, beside whatever a worker's clients are waiting for.

Rules: 1. One answering broker suffices; a partition of ours without a leader is none.  2. After a failure all is
          asked anew from the configured addresses on: brokers may have moved.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from calllog_guard.adapters.kafka.consumer import LEAVE_S
from calllog_guard.adapters.kafka.security import connecting, unanswered
from calllog_guard.adapters.process.endings import ended
from calllog_guard.errors import LogSilentError

_REQUEST_MS: Final = 2000
_NOBODY: Final = (None, -1)


class KafkaProbe:
    """
    Asks who leads some partitions.

    Args:
        places: Those that this process reads now.

    """

    def __init__(
        self, servers: str, options: Mapping[str, Any], places: Callable[[], Collection[TopicPartition]]
    ) -> None:
        self._servers, self._options, self._places = servers, connecting(options), places
        self._client: Any = None

    async def ask(self) -> None:
        """
        Returns when a broker has answered; whoever waits sets the bound.

        Raises:
            LogSilentError: None does, or a partition has no leader (LogRefusedError: it refuses us).

        """
        try:
            await self._ask()
        except BaseException as error:
            await self.close()
            if isinstance(error, KafkaError | OSError):
                raise unanswered(error) from None
            raise

    async def _ask(self) -> None:
        if self._client is None:
            options = {**self._options, "request_timeout_ms": _REQUEST_MS}
            self._client = AIOKafkaClient(bootstrap_servers=self._servers, **options)
            await self._client.bootstrap()
        places = self._places()
        self._client.set_topics({place.topic for place in places})
        if not await self._client.force_metadata_update():
            raise LogSilentError("Kafka does not answer: no broker of the cluster does")
        lost = [place for place in places if self._client.cluster.leader_for_partition(place) in _NOBODY]
        if lost:
            raise LogSilentError(
                f"Kafka has no leader for {lost[0].topic}/{lost[0].partition}, nor for {len(lost) - 1} more"
            )

    async def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            await ended(client.close(), LEAVE_S)
