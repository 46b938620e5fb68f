"""
The floor: plain aiokafka reads events and writes records of a leg's size, two or three for an event; nothing is sealed.

BENCH_HOW: `batches` takes what is there and builds batches by hand, as our workers do; `each` goes one by one.
"""

import asyncio
import itertools
import os
import signal
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

SERVERS, EVENTS, OUT, HOW = (os.environ[f"BENCH_{name}"] for name in ("KAFKA", "EVENTS", "OUT", "HOW"))
PLACES = [TopicPartition(EVENTS, number) for number in range(int(os.environ["BENCH_PARTITIONS"]))]
LEG, KEY = bytes(int(os.environ["BENCH_LEG"])), bytes(66)
BATCH = 512 << 10


async def batches(reader: Any, writer: Any) -> None:
    """As our own loop: one batch a partition for whatever was read."""
    while True:
        found = await reader.getmany(timeout_ms=100, max_records=1000)
        if not found:
            continue
        sent = []
        for place, records in found.items():
            batch = writer.create_batch()
            for _, legs in zip(records, itertools.cycle((2, 3)), strict=False):
                for _ in range(legs):
                    if batch.append(key=KEY, value=LEG, timestamp=None) is None:
                        sent.append(await writer.send_batch(batch, OUT, partition=place.partition))
                        batch = writer.create_batch()
                        batch.append(key=KEY, value=LEG, timestamp=None)
            sent.append(await writer.send_batch(batch, OUT, partition=place.partition))
        await asyncio.gather(*sent)


async def each(reader: Any, writer: Any) -> None:
    """As a first program does."""
    legs = itertools.cycle((2, 3))
    async for record in reader:
        for _ in range(next(legs)):
            await writer.send(OUT, LEG, key=KEY, partition=record.partition)


async def main() -> None:
    """Until SIGTERM."""
    reader = AIOKafkaConsumer(bootstrap_servers=SERVERS, auto_offset_reset="earliest")
    writer = AIOKafkaProducer(
        bootstrap_servers=SERVERS, acks="all", enable_idempotence=True, max_batch_size=BATCH, linger_ms=5
    )
    await reader.start()
    await writer.start()
    reader.assign(PLACES)
    work = asyncio.create_task(batches(reader, writer) if HOW == "batches" else each(reader, writer))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
    await asyncio.wait([work])
    await reader.stop()
    await writer.stop()


if __name__ == "__main__":
    asyncio.run(main())
