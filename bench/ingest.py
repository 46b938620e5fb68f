"""
Webhooks per second of one core: CPU of an ingest, and of a bare aiohttp handler, in one run, in turns.

What is sent is a session that Daily reports, signed as Daily signs, over kept connections. CPU is the process' own,
from its first webhook to its last; what sends is another process. The load is said beside.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "e2e"))

import psutil
from ingesting import addresses
from installation import Installation
from patience import until
from platforms import SECRET, daily, key_of

from calllog_guard.devstack.supervisor import Stack

ROUNDS: Final = 5
_CONNECTIONS: Final = 32
SOURCES: Final = """v = 1
[[source]]
name = "daily"
mapping = "daily"
scheme = "daily"
secrets = ["daily.secret"]
"""


async def bare() -> None:
    """A handler that reads a body and answers."""
    from aiohttp import web  # noqa: PLC0415 - in the process that is measured alone

    async def answer(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.Response()

    server = web.ServerRunner(web.Server(answer, access_log=None))
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    print(f"127.0.0.1:{server.addresses[0][1]}", flush=True)  # noqa: T201
    await asyncio.Event().wait()


def request(number: int, now: int) -> bytes:
    """One webhook, as bytes on the wire."""
    told = {
        "room": f"room-{number % 997}",
        "session_id": f"{number:032x}",
        "user_id": f"person-{number % 5000}@example.org",
        "user_name": "Ana Example",
        "owner": True,
        "joined_at": now - 600.123,
        "duration": 312.4,
    }
    body = json.dumps({"version": "1.0.0", "type": "participant.left", "id": f"{number}", "payload": told}).encode()
    sent = daily(body, key_of("daily"), now)
    head = [b"POST /daily HTTP/1.1", b"Host: x", b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*head, *(f"{name}: {value}".encode() for name, value in sent.headers.items()), b"", body])


async def send(address: str, first: int, many: int) -> int:
    """Send so many webhooks; how many were answered 200."""
    host, _, port = address.rpartition(":")
    now = int(datetime.now(UTC).timestamp())  # noqa: TID251 - a platform has its own clock
    waiting = iter([request(number, now) for number in range(first, first + many)])

    async def one() -> int:
        reader, writer = await asyncio.open_connection(host, int(port))
        found = 0
        for each in waiting:
            writer.write(each)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            await reader.readexactly(length)
            found += head.startswith(b"HTTP/1.1 200 ")
        writer.close()
        return found

    return sum(await asyncio.gather(*(one() for _ in range(_CONNECTIONS))))


def used(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def main(many: int) -> None:
    """Run both in turns and print the comparison."""
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder) / "stack", "production") as stack:
        guard = Installation(stack, Path(folder) / "guard", INGEST_HTTP="127.0.0.1:0")
        secret = guard.directory / "daily.secret"
        secret.write_bytes(SECRET)
        secret.chmod(0o600)
        (guard.directory / "ingest.toml").write_text(SOURCES)
        plain = subprocess.Popen([sys.executable, __file__, "bare"], stdout=subprocess.PIPE, text=True)
        assert plain.stdout is not None  # noqa: S101
        worker = guard.start("ingest", process=True)
        until(lambda: bool(addresses(guard.log)), lambda: guard.log.read_text()[-2000:])
        both = {"ingest": (worker.pid, addresses(guard.log)[0]), "bare": (plain.pid, plain.stdout.readline().strip())}
        found: dict[str, list[float]] = {name: [] for name in both}
        loads = list[float]()
        for number in range(ROUNDS + 1):
            for name, (pid, address) in list(both.items())[:: 1 if number % 2 else -1]:
                before = used(pid)
                good = asyncio.run(send(address, number * many, many))
                assert good == many, f"{name}: {many - good} were not taken"  # noqa: S101
                if number:  # the first warms up
                    found[name].append((used(pid) - before) / many * 1e6)
            loads.append(round(os.getloadavg()[0], 1))
        plain.kill()
        guard.stop_workers()
        shown = {
            name: {
                "us_cpu_per_webhook": [round(each, 1) for each in values],
                "webhooks_per_core_s": round(1e6 / statistics.median(values)),
            }
            for name, values in found.items()
        }
        print(json.dumps(shown | {"load": loads}, indent=2))  # noqa: T201


if __name__ == "__main__":
    if sys.argv[1:] == ["bare"]:
        asyncio.run(bare())
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 10_000)
