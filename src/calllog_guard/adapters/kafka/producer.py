"""
The library's producer, with an end that is at once: nothing that it still holds is sent any more.

Its own `stop` waits until everything is sent; with a hung broker that is for ever, and what it then sends is old.
Rule: what a broker's machine has taken from the wire is out of reach; what has not left this process stays here.
Source: aiokafka, producer and client; socket(7), SO_LINGER.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Any, Final
from weakref import WeakSet

import aiokafka.errors as library
from aiokafka import AIOKafkaProducer
from aiokafka.errors import BrokerResponseError, KafkaConnectionError

_AT_ONCE: Final = struct.pack("ii", 1, 0)
_END_S: Final = 5.0


class InvalidRecordError(BrokerResponseError):  # type: ignore[misc]
    """The broker's answer 87, which the library does not tell from an error of the server."""

    errno = 87
    message = "INVALID_RECORD"
    description = "A record does not fit its topic: no key where it is compacted, or a rule of the broker's own"


library.kafka_errors.setdefault(InvalidRecordError.errno, InvalidRecordError)


class Producer(AIOKafkaProducer):  # type: ignore[misc]
    """One that can be withdrawn."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._wires: WeakSet[asyncio.Transport] = WeakSet()
        self._connect, self.client._get_conn = self.client._get_conn, self._connected  # noqa: SLF001 - wires to cut
        self._withdrawn = False

    async def _connected(self, *node: Any, **how: Any) -> Any:
        found = None if self._withdrawn else await self._connect(*node, **how)
        writer = getattr(found, "_writer", None)
        if writer is not None:
            self._wires.add(writer.transport)
            if self._withdrawn:
                self._cut()
        return found

    async def _refused(self, *request: Any, **how: Any) -> Any:
        del request, how
        raise KafkaConnectionError("withdrawn")

    def _cut(self) -> None:
        for wire in list(self._wires):
            line = wire.get_extra_info("socket")
            if line is not None:
                with suppress(OSError):  # closed already
                    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)  # what waits in the kernel goes too
            wire.abort()

    async def withdraw(self) -> None:
        """Cut every connection, drop every batch; from the first line on nothing is sent."""
        self._withdrawn = self._closed = True
        self.client.send = self._refused
        self._cut()
        waiting = self._message_accumulator
        for batch in [*waiting._pending_batches, *(each for lane in waiting._batches.values() for each in lane)]:  # noqa: SLF001
            if not batch.future.done():
                batch.future.cancel()
        waiting._batches.clear()  # noqa: SLF001
        sending = self._sender.sender_task
        if sending is not None:
            sending.cancel()  # the library awaits it, which raises of a task that has not begun yet
            await asyncio.wait([sending], timeout=_END_S)
        with suppress(TimeoutError, Exception):  # its tasks end without a wire, or with this process
            async with asyncio.timeout(_END_S):
                await self.client.close()
