"""Writes records of a leg's size through a proxy (BENCH_KAFKA) and waits until all are acknowledged."""

import os

from confluent_kafka import Producer

TOPIC, LEG, BATCH, COUNT, PARTITIONS = (
    os.environ["BENCH_OUT"],
    *(int(os.environ[f"BENCH_{name}"]) for name in ("LEG", "BATCH", "COUNT", "PARTITIONS")),
)
writer = Producer(
    {
        "bootstrap.servers": os.environ["BENCH_KAFKA"],
        "acks": "all",
        "batch.size": BATCH,
        "batch.num.messages": max(1, BATCH // LEG),
        "linger.ms": 50,
        "queue.buffering.max.messages": 1_000_000,
    }
)
failed = []
for number in range(COUNT):
    told = lambda error, _: failed.append(error) if error else None  # noqa: E731
    writer.produce(TOPIC, os.urandom(LEG), os.urandom(66), partition=number % PARTITIONS, on_delivery=told)
    if number % 1000 == 0:
        writer.poll(0)
left = writer.flush(120)
if left or failed:
    raise SystemExit(f"{left} records are not written, {len(failed)} failed: {failed[:1]}")
