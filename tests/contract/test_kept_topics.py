"""What an administrator sees of topics on a real Kafka."""

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

import pytest

from calllog_guard.adapters.kafka.admin.topics import KafkaTopics
from calllog_guard.settings import Settings

if TYPE_CHECKING:
    from calllog_guard.devstack.supervisor import Stack

pytestmark = pytest.mark.real
DAY_MS = 86_400_000


def made(servers: str, settings: dict[str, dict[str, str]]) -> None:
    """Make topics."""
    from kafka.admin import NewTopic  # noqa: PLC0415 - takes long to load

    from calllog_guard.devstack.kafka_admin import administration  # noqa: PLC0415 - takes long to load

    admin: Any = administration(servers)
    topics = [NewTopic(name, 1, 1, topic_configs=each) for name, each in settings.items()]
    admin.create_topics(topics, wait_for_metadata=True)
    admin.close()


async def test_a_topic_that_is_only_compacted_is_kept_for_ever(stack: "Stack") -> None:
    """Its `retention.ms` is Kafka's default and means nothing: what is unread in it nears no end."""
    compacted, both, forever = (f"{kind}.{secrets.token_hex(4)}" for kind in ("compacted", "both", "forever"))
    settings = {
        compacted: {"cleanup.policy": "compact"},
        both: {"cleanup.policy": "compact,delete", "retention.ms": str(3 * DAY_MS)},
        forever: {"cleanup.policy": "delete", "retention.ms": "-1"},
    }
    await asyncio.to_thread(made, stack.kafka, settings)
    admin = KafkaTopics(Settings(kafka=stack.kafka), {})
    try:
        assert await asyncio.to_thread(admin.kept_ms, list(settings)) == {both: 3 * DAY_MS}
    finally:
        admin.close()
