"""The server for pages: over a real socket, with clients that send what no browser sends."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest

from calllog_guard.adapters.http import web
from calllog_guard.adapters.http.web import WebRequest, WebResponse, WebServer
from calllog_guard.console.process import checked_address
from calllog_guard.errors import ConfigurationError

FORM = "application/x-www-form-urlencoded"


class Served:
    """A server that answers with what it was asked."""

    def __init__(self) -> None:
        self.server = WebServer(self.answer, 1000, {"X-Of-All": "yes"})
        self.asked: list[WebRequest] = []

    async def answer(self, request: WebRequest) -> WebResponse:
        """Note it."""
        self.asked.append(request)
        if request.path == "/broken":
            raise ValueError("SECRET of a person")
        if request.method == "DELETE":
            return WebResponse(status=HTTPStatus.METHOD_NOT_ALLOWED)
        return WebResponse(body=b"here", cookie="a=b; HttpOnly")

    async def say(self, head: str, body: bytes = b"") -> tuple[int, str]:
        """Send bytes; the status, and the whole answer."""
        host, _, port = self.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        lines = f"{head}\r\nHost: x\r\nConnection: close\r\n{length}\r\n"
        writer.write(lines.encode("utf-8", "surrogateescape") + body)
        await writer.drain()
        found = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
        return int(found.split()[1]), found

    async def raw(self, content: bytes) -> bytes:
        """Send bytes as they are; all that comes back until the server closes."""
        host, _, port = self.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(content)
            return await asyncio.wait_for(reader.read(), 20)
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def start(self) -> None:
        """Serve on any port."""
        self.address = await self.server.start("127.0.0.1:0")


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A server."""
    found = Served()
    await found.start()
    yield found
    await found.server.stop()


async def test_a_page_is_asked_for_and_answered(served: Served) -> None:
    status, found = await served.say("GET /a?q=1&q2=x HTTP/1.1\r\nCookie: one=two")
    assert (status, found.endswith("here")) == (200, True)
    assert "Set-Cookie: a=b; HttpOnly" in found
    assert "Server: calllog-guard\r\n" in found
    [asked] = served.asked
    assert (asked.path, asked.query, asked.cookies) == ("/a", {"q": "1", "q2": "x"}, {"one": "two"})
    assert "two" not in repr(asked), "cookies and forms stand in no log"


async def test_a_form_is_read_once_and_whole(served: Served) -> None:
    await served.say(f"POST /f HTTP/1.1\r\nContent-Type: {FORM}", b"token=x&sealed=a%2Bb&empty=")
    assert served.asked[0].form == {"token": "x", "sealed": "a+b", "empty": ""}


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data; boundary=x", b"--x--", 415),
        ("text/plain", b"token=x", 415),
        (FORM, b"token=x&token=y", 400),
        (FORM, b"token=%ff", 400),
        (FORM, b"\xff=x", 400),
        (FORM, b"&".join(b"f%d=1" % number for number in range(30)), 400),
        (FORM, b"token=" + b"x" * 2000, 413),
    ],
)
async def test_a_form_of_another_kind_size_or_shape_is_refused(
    served: Served, kind: str, body: bytes, status: int
) -> None:
    found, text = await served.say(f"POST /f HTTP/1.1\r\nContent-Type: {kind}", body)
    assert (found, served.asked, "X-Of-All: yes" in text) == (status, [], True)


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.1\r\nCookie: one=\udcff",
        "GET / HTTP/1.1\r\nOrigin: \udcff",
        "GET / HTTP/1.1\r\nCookie: one=ab\udce9cd",
        f"POST / HTTP/1.1\r\nCookie: one=\udcff\r\nContent-Type: {FORM}",
    ],
)
async def test_bytes_that_are_no_text_reach_no_page(served: Served, head: str) -> None:
    status, _ = await served.say(head, b"a=b" if head.startswith("POST") else b"")
    assert (status, served.asked) == (400, [])


async def test_what_goes_wrong_is_told_by_its_kind_alone(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    status, text = await served.say("GET /broken?who=SECRET HTTP/1.1")
    assert (status, "SECRET" in text, "X-Of-All: yes" in text) == (500, False, True)
    said = "".join(capsys.readouterr())
    assert "ValueError" in said
    assert "SECRET" not in said


async def test_a_method_that_no_page_has_is_refused(served: Served) -> None:
    assert (await served.say("DELETE / HTTP/1.1"))[0] == 405
    assert (await served.say("BREW /\x00 HTTP/1.1"))[0] == 400


async def test_an_address_that_is_taken_is_refused(served: Served) -> None:
    other = Served()
    for address in (served.address, "127.0.0.1:x", "127.0.0.1:99999"):
        with pytest.raises(ConfigurationError, match="cannot serve on"):
            await other.server.start(address)


@pytest.mark.parametrize(
    "http", ["0.0.0.0:6070", "192.168.0.7:6070", ":6070", "console.example:6070", "[::]:6070", "x"]
)
def test_a_console_listens_on_this_machine_alone(http: str) -> None:
    with pytest.raises(ConfigurationError, match="this machine alone"):
        checked_address(http, None)


@pytest.mark.parametrize(
    "url",
    [
        "http://console.example",
        "https://",
        "console.example",
        "https://console.example/path",
        "https://a@b",
        "https://console.example?q",
        "https://console.example/",
        "https://Console.example",
        "https://console.example:443",
        "https://console.example:99999",
        "https://console.example:x",
        "https://k\xf6ln.example",
        "https://:8443",
    ],
)
def test_a_url_that_is_no_origin_or_has_no_tls_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="--url"):
        checked_address("127.0.0.1:6070", url)


def test_loopback_and_a_proxys_address_are_taken() -> None:
    for http in ("127.0.0.1:0", "localhost:6070", "[::1]:6070"):
        checked_address(http, "https://console.example:8443")
    checked_address("127.0.0.1:6070", "http://localhost:8080")


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\ncanary\r\n\r\n",
        b"canary canary\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: canary\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /" + b"canary" * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X%d: 1\r\n" % each for each in range(200)) + b"\r\n",
        b"\x16\x03\x01canary\r\n\r\n",
    ],
)
async def test_what_cannot_be_read_is_answered_with_a_number_alone(served: Served, raw: bytes) -> None:
    """The library would quote it, and name itself and its release."""
    found = await served.raw(raw)
    assert found.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
    assert b"X-Of-All: yes" in found
    assert not any(each in found for each in (b"canary", b"aiohttp", b"Python"))
    assert served.asked == []


async def test_a_form_that_is_packed_is_refused(served: Served) -> None:
    """A small one could be gigabytes."""
    packed = gzip.compress(b"a=" + b"0" * 100_000)
    head = f"POST /f HTTP/1.1\r\nContent-Type: {FORM}\r\nContent-Encoding: gzip"
    assert (await served.say(head, packed))[0] == 415
    assert served.asked == []


async def test_a_form_that_comes_in_pieces_is_bounded_and_whoever_asks_before_sending_is_answered(
    served: Served,
) -> None:
    head = f"POST /f HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {FORM}\r\n".encode()
    pieces = head + b"Transfer-Encoding: chunked\r\n\r\n"
    assert status_of(await served.raw(pieces + b"3\r\na=b\r\n0\r\n\r\n")) == 200
    assert status_of(await served.raw(pieces + b"400\r\n" + b"x" * 1024 + b"\r\n400\r\n" + b"x" * 1024)) == 413
    asked = await served.raw(head + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\na=b")
    assert asked.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")
    assert [each.form for each in served.asked] == [{"a": "b"}] * 2


async def test_slow_clients_are_cut_off_and_the_others_served(monkeypatch: pytest.MonkeyPatch, served: Served) -> None:
    """A head that never ends, a form that never ends, a connection on which nothing comes: each has its time."""
    kept = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    form = f"POST /f HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 900\r\n\r\na".encode()
    monkeypatch.setattr(web, "_BOUNDS", web._BOUNDS._replace(head_s=0.3))
    monkeypatch.setattr(web, "_READ_S", 0.3)
    await served.server.stop()
    await served.start()
    found = await asyncio.gather(
        served.raw(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "),
        served.raw(b""),
        served.raw(form),
        served.raw(kept),
        served.raw(kept + b"GET /"),
    )
    assert [status_of(each) if each else 0 for each in found] == [0, 0, 408, 200, 200]


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch, served: Served) -> None:
    monkeypatch.setattr(web, "_BOUNDS", web._BOUNDS._replace(connections=3))
    await served.server.stop()
    await served.start()
    host, _, port = served.address.rpartition(":")
    idle = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
    assert await served.raw(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") == b""
    for _, writer in idle:
        writer.close()
        await writer.wait_closed()
    while not await served.raw(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"):
        pass


def status_of(answer: bytes) -> int:
    """Of an answer."""
    return int(answer.split()[1])
