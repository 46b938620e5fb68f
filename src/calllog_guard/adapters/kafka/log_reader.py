"""
Reading partitions without a group, through aiokafka: what readers stand on.

Rules: 1. Silence of the brokers is LogSilentError within seconds, never "there is nothing".
       2. Records that were asked for by offset come through their own connection, so following is not disturbed.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from calllog_guard.adapters.kafka.consumer import Consumer, consumer, ours
from calllog_guard.adapters.kafka.log import fetched
from calllog_guard.errors import LogSilentError
from calllog_guard.ports.log import Place, Record, TopicPartition

_POLL_MS: Final = 100
_ANSWER_S: Final = 10.0
_FETCH_BYTES: Final = 64 << 10  # what is fetched by offset lies scattered: more would be read in vain
_FETCH_RECORDS: Final = 500


@asynccontextmanager
async def _answers() -> AsyncIterator[None]:
    with ours():
        async with asyncio.timeout(_ANSWER_S):
            yield


class KafkaLogReader:
    """The LogReader port."""

    def __init__(self, servers: str, options: Mapping[str, Any]) -> None:
        self._servers, self._options = servers, options
        self._reader: Consumer | None = None
        self._fetcher: Consumer | None = None

    async def _started(self, reader: Consumer) -> Consumer:
        try:
            async with _answers():
                await reader.start()
        except LogSilentError:
            await reader.stop()
            raise
        return reader

    async def close(self) -> None:
        """Disconnect."""
        for reader in (self._reader, self._fetcher):
            if reader is not None:
                await reader.stop()
        self._reader = self._fetcher = None

    async def _main(self) -> Consumer:
        if self._reader is None:
            self._reader = await self._started(consumer(self._servers, self._options))
        return self._reader

    async def assign(self, places: Mapping[Place, int]) -> None:
        """See LogReader."""
        reader = await self._main()
        wanted = [TopicPartition(*place) for place in places]
        if reader.assignment() != frozenset(wanted):
            reader.assign(wanted)
        for place, offset in places.items():
            reader.seek(TopicPartition(*place), offset)

    async def poll(self, most: int) -> Sequence[Record]:
        """See LogReader."""
        async with _answers():
            found = await (await self._main()).getmany(timeout_ms=_POLL_MS, max_records=most)
        return [record for records in found.values() for record in records]

    async def positions(self) -> dict[Place, int]:
        """See LogReader."""
        reader = await self._main()
        async with _answers():
            return {(each.topic, each.partition): await reader.position(each) for each in reader.assignment()}

    async def bounds(self, places: Sequence[Place]) -> dict[Place, tuple[int, int]]:
        """See LogReader."""
        reader = await self._main()
        wanted = [TopicPartition(*place) for place in places]
        async with _answers():
            firsts, ends = await reader.beginning_offsets(wanted), await reader.end_offsets(wanted)
        return {(each.topic, each.partition): (firsts[each], ends[each]) for each in wanted}

    async def fetch(self, place: Place, offsets: Sequence[int]) -> list[Record]:
        """See LogReader."""
        if self._fetcher is None:
            made = consumer(self._servers, self._options, fetch_bytes=_FETCH_BYTES)
            self._fetcher = await self._started(made)
        at = TopicPartition(*place)
        self._fetcher.assign([at])
        async with _answers():
            end = (await self._fetcher.end_offsets([at]))[at]
        with ours():
            return list[Record](
                await fetched(self._fetcher, (at, end), offsets, most=_FETCH_RECORDS, silent_s=_ANSWER_S)
            )
