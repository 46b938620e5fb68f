"""The server for pages: over a real socket, with clients that send what no browser sends."""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest

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
    "url", ["http://console.example", "https://", "console.example", "https://console.example/path", "https://a@b"]
)
def test_a_url_that_is_no_origin_or_has_no_tls_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="--url"):
        checked_address("127.0.0.1:6070", url)


def test_loopback_and_a_proxys_address_are_taken() -> None:
    for http in ("127.0.0.1:0", "localhost:6070", "[::1]:6070"):
        checked_address(http, "https://console.example:8443")
    checked_address("127.0.0.1:6070", "http://localhost:8080")
