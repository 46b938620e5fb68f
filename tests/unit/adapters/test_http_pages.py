"""The pages of a process answer whoever asks for them as HTTP wants it, and nobody else keeps them from it."""

import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from types import SimpleNamespace

import pytest

from calllog_guard.adapters.http import pages as module
from calllog_guard.adapters.http.pages import Pages
from calllog_guard.errors import ConfigurationError
from calllog_guard.metrics import Metrics

WELL = SimpleNamespace(alive=True, ready=True, why="", blind=False)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Where the pages of a process that is well are served."""
    pages = Pages("keeper", Metrics(), WELL)
    address = await pages.start("127.0.0.1:0")
    yield int(address.rpartition(":")[2])
    await pages.stop()


async def asked(port: int, request: bytes) -> tuple[str, dict[str, str], bytes]:
    """The first line of an answer, its headers, and its body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    line, *headers = head.decode().splitlines()
    return line, dict(each.split(": ", 1) for each in headers), body


@pytest.mark.parametrize(
    ("request_", "line", "body"),
    [
        (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK", b'{"role": "keeper", "alive": true, "ready": true}'),
        (b"GET /health?verbose=1 HTTP/1.0\r\n\r\n", "200 OK", b'{"role": "keeper", "alive": true, "ready": true}'),
        (b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK", b""),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404 Not Found", b"/health and /metrics are here\n"),
    ],
)
async def test_a_page_is_answered_by_its_first_line(port: int, request_: bytes, line: str, body: bytes) -> None:
    found, headers, content = await asked(port, request_)
    assert (found, content) == (f"HTTP/1.0 {line}", body)
    assert headers["Content-Length"] == str(len(body) if body else int(headers["Content-Length"]))
    assert headers["Server"] == "calllog-guard"


async def test_what_asks_for_no_page_is_refused(port: int) -> None:
    found, _, _ = await asked(port, b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert found.startswith("HTTP/1.0 501 ")


async def test_a_loop_that_stands_still_looks_dead(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a page would call a process alive that does nothing any more."""
    monkeypatch.setattr(module, "_ANSWER_S", 0.1)

    def ask() -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(ask).result(30) == HTTPStatus.SERVICE_UNAVAILABLE, "the loop waits for this thread"
    monkeypatch.setattr(module, "_ANSWER_S", 60.0)
    assert await asyncio.to_thread(ask) == HTTPStatus.OK


async def test_metrics_are_in_the_form_of_prometheus(port: int) -> None:
    _, headers, body = await asked(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert headers["Content-Type"] == "text/plain; version=0.0.4"
    assert b'calllog_guard_alive{role="keeper"} 1.0' in body


@pytest.mark.parametrize("request_", [b"", b"GET /health HTT", b"x" * (1 << 18)])
async def test_who_asks_for_nothing_is_left_and_others_are_answered(
    port: int, request_: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that sends no request, half of one or an endless one holds its own connection alone, not for long."""
    monkeypatch.setattr(module._Handler, "timeout", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_)
    assert (await asked(port, b"GET /health HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.0 200 OK"
    with suppress(ConnectionResetError):  # what it still wanted to say was not read
        assert (await reader.read())[:12] in {b"", b"HTTP/1.1 414", b"HTTP/1.0 414"}
    writer.close()


@pytest.mark.parametrize("address", ["127.0.0.1:x", "127.0.0.1:70000", "256.0.0.1:0", "nonsense"])
async def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot serve on"):
        await Pages("keeper", Metrics(), WELL).start(address)


async def test_a_start_asks_no_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none answers, the start would wait for it."""
    monkeypatch.setattr("socket.getfqdn", lambda *_: pytest.fail("a name was asked for"))
    pages = Pages("keeper", Metrics(), WELL)
    await pages.start("127.0.0.1:0")
    await pages.stop()


async def test_an_address_that_is_taken_is_refused(port: int) -> None:
    with pytest.raises(ConfigurationError, match="cannot serve on"):
        await Pages("desk", Metrics(), WELL).start(f"127.0.0.1:{port}")
