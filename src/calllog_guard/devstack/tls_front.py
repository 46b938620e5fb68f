"""
TLS before a server that has none: takes connections on a port of 127.0.0.1, hands their bytes on to a Unix socket.

The Redis servers in wheels are built without TLS. With this before it, such a server is reached by TLS alone: its own
socket lies in a folder that only its owner may enter. For development and tests: a server of one's own has `tls-port`.
"""

import asyncio
import contextlib
import ssl
import sys
from typing import Final

_BLOCK: Final = 1 << 16


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while block := await reader.read(_BLOCK):
            writer.write(block)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


async def _serve(port: int, pem: str, socket: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(socket)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_carry(reader, far_writer), _carry(far_reader, writer))

    server = await asyncio.start_server(client, "127.0.0.1", port, ssl=context)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
