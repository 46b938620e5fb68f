"""
One client of Kafka's administration, through kafka-python.

The library takes a quarter of a second to load, more than most commands take: it is loaded when it is first asked for.
"""

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from calllog_guard.adapters.kafka.security import connecting, unanswered
from calllog_guard.errors import GuardError
from calllog_guard.settings import Settings

_BOOTSTRAP_MS: Final = 5_000
"""Whoever asks waits or asks again by itself; the library would try for half a minute."""


def library(name: str) -> Any:
    """A module of kafka-python."""
    return importlib.import_module(name)


def spot(topic: str, partition: int) -> Any:
    """A partition as kafka-python names it."""
    return library("kafka").TopicPartition(topic, partition)


def resource(kind: str, name: str) -> Any:
    """A topic or a broker whose settings are asked for."""
    admin = library("kafka.admin")
    return admin.ConfigResource(admin.ConfigResourceType[kind], name)


class AdminClient:
    """A connection made when it is first needed, and anew after an error; synchronous, one question at a time."""

    def __init__(self, settings: Settings, options: dict[str, Any]) -> None:
        self._settings, self._options = settings, options
        self._client: Any = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    @contextmanager
    def admin(self) -> Iterator[Any]:
        """
        The client, for a question.

        Raises:
            LogSilentError: Kafka does not answer, or refuses.

        """
        with self._lock:
            try:
                self._client = self._client or self._connected()
                yield self._client
            except GuardError:
                raise
            except (library("kafka.errors").KafkaError, OSError, RuntimeError) as error:
                self.close()
                raise unanswered(error) from None

    def _connected(self) -> Any:
        """A client that has found its cluster; otherwise the library would leave a thread trying for ever."""
        made: list[Any] = []

        def connection(**configs: Any) -> Any:
            made.append(library("kafka.net.compat").KafkaNetClient(**configs))
            return made[-1]

        try:
            return library("kafka.admin").KafkaAdminClient(
                bootstrap_servers=self._settings.kafka,
                bootstrap_timeout_ms=_BOOTSTRAP_MS,
                kafka_client=connection,
                **connecting(self._options),
            )
        except BaseException:
            for each in made:
                each.close()
            raise
