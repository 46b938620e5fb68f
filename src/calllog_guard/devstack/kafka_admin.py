"""
Kafka's administration, as the stack and its tests use it; kafka-python.

Rule: a client that finds no cluster leaves nothing behind.  The library's own would leave a thread that tries for ever.
"""

from typing import Any

from kafka.admin import KafkaAdminClient
from kafka.net.compat import KafkaNetClient


def administration(brokers: str, **options: Any) -> Any:
    """
    A client that has found its cluster; its caller closes it.

    Raises:
        kafka.errors.KafkaError: No broker answered in time.

    """
    made: list[Any] = []

    def connection(**configs: Any) -> Any:
        made.append(KafkaNetClient(**configs))
        return made[-1]

    try:
        return KafkaAdminClient(bootstrap_servers=brokers, kafka_client=connection, **options)
    except BaseException:
        for each in made:
            each.close()
        raise
