"""The server of webhooks: bounded in every way, and silent about what was sent."""

import asyncio
import gzip
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from calllog_guard.adapters.http import webhooks
from calllog_guard.adapters.http.webhooks import WebhookServer
from calllog_guard.errors import ConfigurationError
from calllog_guard.ports.webhooks import WebhookReply, WebhookRequest

CANARY = b"alice-canary"


class Service:
    """Takes what comes to `/a`, and notes it."""

    def __init__(self) -> None:
        self.most_bytes = 1000
        self.taken: list[WebhookRequest] = []
        self.away: list[int] = []
        self.waits = asyncio.Event()
        self.waits.set()
        self.begun = 0
        self.more = asyncio.Condition()

    async def reached(self, many: int) -> None:
        """Wait until so many requests are at work."""
        async with self.more:
            await self.more.wait_for(lambda: self.begun >= many)

    def refuses(self, path: str, content_type: str) -> int:
        """See WebhookService."""
        if path != "/a":
            return 404
        return 0 if content_type == "application/json" else 415

    async def receive(self, request: WebhookRequest) -> WebhookReply:
        """See WebhookService."""
        async with self.more:
            self.begun += 1
            self.more.notify_all()
        await self.waits.wait()
        self.taken.append(request)
        return WebhookReply(200, b"{}", "application/json")

    def turned_away(self, status: int) -> None:
        """See WebhookService."""
        self.away.append(int(status))


@asynccontextmanager
async def serving() -> AsyncGenerator[tuple[Service, str, int], None]:
    service = Service()
    server = WebhookServer(service)
    host, _, port = (await server.start("127.0.0.1:0")).rpartition(":")
    try:
        yield service, host, int(port)
    finally:
        await server.stop()


async def sent(host: str, port: int, raw: bytes, *, slowly: float = 0) -> bytes:
    """Send bytes, and read all that comes back."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        if slowly:
            for at in range(len(raw)):
                writer.write(raw[at : at + 1])
                await asyncio.sleep(slowly)
        else:
            writer.write(raw)
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def post(body: bytes, *more: bytes, path: bytes = b"/a", length: int | None = None) -> bytes:
    found = len(body) if length is None else length
    head = [b"POST " + path + b" HTTP/1.1", b"Host: x", b"Connection: close", b"Content-Length: %d" % found]
    kind = [] if any(each.lower().startswith(b"content-type") for each in more) else [b"Content-Type: application/json"]
    return b"\r\n".join([*head, *kind, *more, b"", body])


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def test_a_body_is_handed_on_as_it_came() -> None:
    async with serving() as (service, host, port):
        body = b'{"a":\n "\xc3\xa9\xff"}'
        answer = await sent(host, port, post(body, b"X-Sign: \xc3\xa9", b"X-Sign: 2", path=b"/a?b=%2F&c"))
        assert status(answer) == 200
        assert answer.endswith(b"\r\n\r\n{}")
        (found,) = service.taken
        assert (found.path, found.query, found.body) == ("/a", "b=%2F&c", body)
        assert found.headers["x-sign"].encode("utf-8", "surrogateescape") == b"\xc3\xa9"
        assert "xc3" not in repr(found)


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (post(CANARY, path=b"/b"), 404),
        (post(CANARY, path=b"/" + CANARY), 404),
        (post(CANARY, path=b"/a/"), 404),
        (post(CANARY).replace(b"POST", b"GET"), 405),
        (post(CANARY).replace(b"POST", b"PUT"), 405),
        (post(CANARY, b"Content-Type: text/plain"), 415),
        (post(CANARY, b"Content-Encoding: gzip"), 415),
        (post(CANARY * 100), 413),
        (post(b"", length=10**15), 413),
        (post(CANARY, b"X: " + CANARY * 1000), 400),
        (post(CANARY, *(b"X%d: 1" % each for each in range(200))), 400),
        (CANARY + b" " + CANARY + b"\r\n\r\n", 400),
        (post(CANARY).replace(b"Content-Length: 12", b"Content-Length: " + CANARY), 400),
        (post(CANARY, b"Transfer-Encoding: chunked"), 400),
        (b"\x16\x03\x01" + CANARY, 400),
    ],
)
async def test_what_is_no_webhook_is_turned_away_with_a_number(
    request_: bytes, wanted: int, capfd: pytest.CaptureFixture[str]
) -> None:
    async with serving() as (service, host, port):
        answer = await sent(host, port, request_)
        assert status(answer) == wanted
        assert CANARY not in answer
        assert not service.taken
        assert service.away == ([wanted] if wanted != 400 else [])
        assert status(await sent(host, port, post(b"{}"))) == 200
    said = capfd.readouterr()
    assert CANARY.decode() not in said.out + said.err


async def test_a_body_in_pieces_is_bounded_too() -> None:
    async with serving() as (service, host, port):
        head = b"POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        assert status(await sent(host, port, head + b"5\r\nabcde\r\n0\r\n\r\n")) == 200
        assert service.taken[0].body == b"abcde"
        assert status(await sent(host, port, head + b"200\r\n" + b"x" * 512 + b"\r\n200\r\n" + b"x" * 512)) == 413


async def test_a_packed_body_stays_packed() -> None:
    """A small one could be gigabytes, and what is signed are the bytes as they came."""
    packed = gzip.compress(b"0" * 100_000)
    assert len(packed) < 1000
    async with serving() as (service, host, port):
        assert status(await sent(host, port, post(packed, b"Content-Encoding: gzip"))) == 415
        assert status(await sent(host, port, post(packed, b"Content-Encoding: identity"))) == 200
        assert service.taken[0].body == packed


async def test_whoever_asks_before_sending_is_answered() -> None:
    """As curl does with a body of more than a megabyte."""
    async with serving() as (_, host, port):
        answer = await sent(host, port, post(b"{}", b"Expect: 100-continue"))
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")


async def test_slow_clients_are_cut_off_and_the_others_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that never ends, a body that never ends, a second request that never comes: each has its time."""
    monkeypatch.setattr(webhooks, "_HEAD_S", 0.3)
    monkeypatch.setattr(webhooks, "_BODY_S", 0.3)
    async with serving() as (service, host, port):
        loop, kept = asyncio.get_running_loop(), post(b"{}").replace(b"close", b"keep-alive")
        began = loop.time()
        found = await asyncio.gather(
            sent(host, port, b"POST /a HTTP/1.1\r\nX: " + b"a" * 200, slowly=0.01),
            sent(host, port, b""),
            sent(host, port, post(b"{}", length=900)),
            sent(host, port, kept),
            sent(host, port, kept + b"POST /a HT"),
            sent(host, port, post(b"{}")),
        )
        assert loop.time() - began < 15
        assert [status(each) if each else 0 for each in found] == [0, 0, 408, 200, 200, 200]
        assert len(service.taken) == 3


async def test_connections_and_requests_at_work_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "_AT_WORK", 3)
    monkeypatch.setattr(webhooks, "_CONNECTIONS", 5)
    async with serving() as (service, host, port):
        service.waits.clear()
        busy = [asyncio.create_task(sent(host, port, post(b"{}"))) for _ in range(3)]
        await service.reached(3)
        away = await sent(host, port, post(b"{}"))
        assert (status(away), b"Retry-After" in away) == (503, True)
        idle = [await asyncio.open_connection(host, port) for _ in range(2)]
        assert await sent(host, port, post(b"{}")) == b""
        for _, writer in idle:
            writer.close()
        service.waits.set()
        assert [status(each) for each in await asyncio.gather(*busy)] == [200] * 3


async def test_at_the_end_what_is_at_work_is_answered() -> None:
    service = Service()
    service.waits.clear()
    server = WebhookServer(service)
    host, _, port = (await server.start("127.0.0.1:0")).rpartition(":")
    asked = asyncio.create_task(sent(host, int(port), post(b"{}")))
    await service.reached(1)
    ended = asyncio.create_task(server.stop())
    await asyncio.sleep(0.1)
    service.waits.set()
    assert status(await asked) == 200
    await ended
    with pytest.raises(OSError, match=r"refused|Connect"):
        await asyncio.open_connection(host, int(port))


async def test_an_address_that_is_taken_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigurationError, match="INGEST_HTTP"):
        await WebhookServer(Service()).start(f"127.0.0.1:{taken.getsockname()[1]}")
    for bad in ("127.0.0.1:99999", "nowhere.invalid:1"):
        with pytest.raises(ConfigurationError, match="INGEST_HTTP"):
            await WebhookServer(Service()).start(bad)
