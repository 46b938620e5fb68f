"""
The cost of an observation pass: RECORDS legs on a broker, read from outside and on its disk, ERASED people at once.

The legs are sealed and written as the protector does. The pass runs in its own process, by the very
functions the auditor calls; CPU seconds are that process' user and system time in the pass (`getrusage`), memory its
highest resident size, start-up included. The broker's own work is not in it.
"""

import asyncio
import json
import os
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from calllog_guard.adapters.disk.segment_files import look_at_replica, replicas
from calllog_guard.adapters.kafka.log import KafkaLog
from calllog_guard.adapters.kafka.writer import KafkaWriter
from calllog_guard.core.audit.absence import Look
from calllog_guard.core.crypto.leg_envelope import LegHeader, seal_leg
from calllog_guard.core.crypto.subject_secrets import DataKey
from calllog_guard.core.identifiers import id_text
from calllog_guard.core.records import Output

RECORDS = int(os.environ.get("RECORDS", "1000000"))
PARTITIONS = int(os.environ.get("PARTITIONS", "4"))
ERASED = int(os.environ.get("ERASED", "1000"))
TOPIC = "calllog.legs"
_PER_PERSON, _PORTION = 100, 5000
_PLAIN = b'{"call":"8f14e45fceea167a5a36dedd4bea2543","role":"host","joined_at":"2026-11-24T09:00:00Z",' + b'"x":1' * 40


def legs(count: int) -> Iterator[Output]:
    """Sealed legs, a hundred per person."""
    key = DataKey(secrets.token_bytes(32))
    for number in range(count):
        if number % _PER_PERSON == 0:
            name = id_text(secrets.token_bytes(16))
        token = id_text(secrets.token_bytes(16))
        header = LegHeader(
            kid=name, mon="2026-11", day="2026-11-24", rid=token, pur=3, pol="2026-11-01", ten="iocom", top=TOPIC
        )
        leg = seal_leg(header, _PLAIN, key, secrets.token_bytes(12))
        yield Output(TOPIC, number // _PER_PERSON % PARTITIONS, f"{name}.{token}".encode(), leg)


async def write(kafka: str) -> None:
    """Append every leg."""
    writer = KafkaWriter(kafka, {})
    await writer.start()
    portion: list[Output] = []
    for leg in legs(RECORDS):
        portion.append(leg)
        if len(portion) == _PORTION:
            await writer.write(portion)
            portion.clear()
    await writer.write(portion)
    await writer.stop()


def create(kafka: str) -> None:
    """The topic, with compaction held off so that every record stays."""
    from kafka.admin import KafkaAdminClient  # noqa: PLC0415 - not in the process that is measured

    settings = {"max.message.bytes": str(1 << 20), "cleanup.policy": "compact", "min.compaction.lag.ms": "86400000"}
    admin: Any = KafkaAdminClient(bootstrap_servers=kafka)
    admin.create_topics(
        {TOPIC: {"num_partitions": PARTITIONS, "replication_factor": 1, "configs": settings}}, wait_for_metadata=True
    )
    admin.close()


def spent() -> float:
    """CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def observe(kafka: str, log_dir: str) -> dict[str, float]:
    """One pass over every partition, for people of whom nothing is there; what it cost."""
    names = [id_text(secrets.token_bytes(16)) for _ in range(ERASED)]
    result: dict[str, float] = {"records": 0, "file_bytes": 0}
    for means in ("outsider", "disk"):
        cpu, began = spent(), time.monotonic()
        for partition in range(PARTITIONS):
            if means == "outsider":
                look = Look.for_(names)
                asyncio.run(KafkaLog(kafka, {}).read_each(TOPIC, [partition], look.kafka_record))
                result["records"] += look.records
            else:
                for replica in replicas([Path(log_dir)], TOPIC, partition):
                    look = look_at_replica(replica, [name.encode() for name in names])
                    result["disk_records"] = result.get("disk_records", 0) + look.records
                    result["file_bytes"] += look.size_bytes
        result |= {f"{means}_cpu_s": round(spent() - cpu, 2), f"{means}_wall_s": round(time.monotonic() - began, 2)}
    result["cpu_s"] = round(result["outsider_cpu_s"] + result["disk_cpu_s"], 2)
    result["rss_max_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return result


def main() -> None:
    """Write, observe in a process of its own, print."""
    from calllog_guard.devstack.supervisor import Stack  # noqa: PLC0415 - not in the process that is measured

    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder) / "stack", "production") as stack:
        create(stack.kafka)
        asyncio.run(write(stack.kafka))
        command = [sys.executable, __file__, "observe", stack.kafka, str(stack.broker_log_dir)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    print(json.dumps({"partitions": PARTITIONS, "erased": ERASED, **json.loads(done.stdout)}, indent=2))  # noqa: T201


if __name__ == "__main__":
    if sys.argv[1:2] == ["observe"]:
        print(json.dumps(observe(*sys.argv[2:])))  # noqa: T201
    else:
        main()
