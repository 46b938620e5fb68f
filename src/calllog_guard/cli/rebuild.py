"""`rebuild` makes the keeper's index of a partition anew from the topics, with the keeper's own code."""

import time
from typing import Final

import click

from calllog_guard.adapters.kafka.consumer import consumer
from calllog_guard.adapters.rocksdb.index import RocksIndex
from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import enter
from calllog_guard.app.roles import Links, beginnings, keeper
from calllog_guard.cli._options import Args, command
from calllog_guard.cli._output import say, show, the_world
from calllog_guard.errors import ConfigurationError, IndexHeldError, StateRefusedError
from calllog_guard.workers.keeper.worker import index_path

_TELL_S: Final = 2.0


@command("rebuild")
@click.option("--partition", type=int, required=True, metavar="N", help="of calllog.legs")
async def rebuild(args: Args) -> int:
    """Discard, read both topics to their ends, count."""
    shared, partition = the_world(), args.partition
    if not 0 <= partition < shared.settings.partitions:
        raise ConfigurationError(f"--partition must be 0 to {shared.settings.partitions - 1}")
    await enter(shared)
    path = index_path(shared.settings, partition)
    try:
        RocksIndex(path).destroy()
    except IndexHeldError:
        raise StateRefusedError(
            f"a keeper on this machine holds the index of partition {partition}: stop it first, or leave it: "
            "it rebuilds its index by itself when it cannot go on from it"
        ) from None
    began = time.monotonic()
    try:
        records = await _rebuilt(shared, partition)
    finally:
        await shared.keystore.close()
    index = RocksIndex(path)
    rows, waiting = index.count(), len(index.pending())
    index.close()
    seconds = round(time.monotonic() - began, 2)
    found = {"partition": partition, "rows": rows, "waiting": waiting, "records": records, "seconds": seconds}
    show(
        args, found, f"partition {partition}: {rows} rows of {records} records in {seconds} s, {waiting} decisions wait"
    )
    return 0


async def _rebuilt(shared: AppContext, partition: int) -> int:
    """Read the partition as its keeper would, unless that would halt; how many records."""
    await shared.check_partitions()
    begins = beginnings(shared, "keeper")
    try:
        await begins.begin()
    finally:
        await begins.close()
    records, told, writer = 0, time.monotonic(), shared.writer()
    reader = consumer(shared.settings.kafka, shared.options)  # not started: nobody takes part in the keepers' group
    role = keeper(shared, shared.context(shared.ring(shared.tenant), writer), Links(writer, reader, begins))
    await writer.start()
    try:
        starts = await role.assigned([partition])
        async for _, unit in shared.log.portions(starts, shared.settings.unit_records):
            await role.unit(unit)
            records += sum(map(len, unit.values()))
            if time.monotonic() > told + _TELL_S:
                told = time.monotonic()
                say(f"partition {partition}: {records} records")
    finally:
        role.close()
        await writer.stop()
    return records
