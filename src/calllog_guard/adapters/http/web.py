"""
Pages for people, through aiohttp: a request as plain values in, an answer as plain values out.

Rules: 1. Who asks, and for what, is in no log.  2. What goes wrong is told by its kind and place, never by its text.
       3. A form is `application/x-www-form-urlencoded`, small, and names each field once.
       4. Bytes that are no text are refused here: no page needs to expect a half of a character.
       5. Whoever is slow, sends much, or comes a thousand times takes no more than `connections.py` lets them.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

import structlog
from aiohttp import web

from calllog_guard import telemetry
from calllog_guard.adapters.http.connections import SERVER, BoundedServer, Bounds, body_of
from calllog_guard.errors import ConfigurationError

log: Final = structlog.get_logger()
_READ_S: Final = 10.0
"""So long a client may take to send its form."""
_BOUNDS: Final = Bounds(head_s=30.0, linger_s=1.0, connections=256)
"""An officer's browser keeps some connections open, a proxy some dozens."""
_END_S: Final = 1.0
_FIELDS: Final = 20
_FORM: Final = "application/x-www-form-urlencoded"


def _nothing() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebRequest:
    """What somebody asks for; `headers` by their names in small letters, `peer` is the address of the connection."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=_nothing)
    form: Mapping[str, str] = field(default_factory=_nothing, repr=False)
    headers: Mapping[str, str] = field(default_factory=_nothing, repr=False)
    cookies: Mapping[str, str] = field(default_factory=_nothing, repr=False)
    peer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebResponse:
    """What is answered; a cookie is its whole `Set-Cookie` line."""

    status: int = HTTPStatus.OK
    kind: str = "text/html; charset=utf-8"
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=_nothing)
    cookie: str | None = None


Answering = Callable[[WebRequest], Awaitable[WebResponse]]


class WebServer:
    """
    Serves one function on one address.

    Args:
        refused: The headers of what is answered before the function is asked.

    """

    def __init__(self, answer: Answering, most_bytes: int, refused: Mapping[str, str]) -> None:
        self._answer, self._most, self._refused = answer, most_bytes, refused
        self._runner: web.ServerRunner | None = None

    async def start(self, address: str) -> str:
        """
        Serve on `host:port`, port 0 for any; the address that was taken.

        Raises:
            ConfigurationError: The address is taken or is none.

        """
        host, _, port = address.rpartition(":")
        runner = web.ServerRunner(BoundedServer(self._handle, _BOUNDS, self._refused), shutdown_timeout=_END_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        except (OSError, ValueError, OverflowError):
            await runner.cleanup()
            raise ConfigurationError(f"cannot serve on {address}: name a free host:port, or :0") from None
        self._runner = runner
        taken = runner.addresses[0]
        return f"[{taken[0]}]:{taken[1]}" if ":" in taken[0] else f"{taken[0]}:{taken[1]}"

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            form = await self._form(request)
            if isinstance(form, WebResponse):
                found = form
            else:
                asked = _asked(request, form)
                found = await self._answer(asked) if _is_text(asked) else self._refusal(HTTPStatus.BAD_REQUEST)
        except TimeoutError:
            found = self._refusal(HTTPStatus.REQUEST_TIMEOUT)
        except Exception as error:  # noqa: BLE001 - a defect; its text may quote data, its kind and place do not
            log.error("a page failed", kind=type(error).__name__, at=telemetry.place(error.__traceback__))  # noqa: TRY400
            found = self._refusal(HTTPStatus.INTERNAL_SERVER_ERROR)
        headers = {**found.headers, "Content-Type": found.kind, "Server": SERVER}
        response = web.Response(status=found.status, body=found.body, headers=headers)
        if found.cookie is not None:
            response.headers.add("Set-Cookie", found.cookie)
        if not request.content.is_eof():
            response.force_close()  # what was sent beside it is read by nobody
        return response

    async def _form(self, request: web.BaseRequest) -> Mapping[str, str] | WebResponse:
        if request.method != "POST":
            return {}
        packed = request.headers.get("Content-Encoding", "identity").lower() != "identity"
        if request.content_type != _FORM or packed:
            return self._refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        if (request.content_length or 0) > self._most:
            return self._refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        raw = await body_of(request, self._most, _READ_S)
        if raw is None:
            return self._refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        try:
            pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS, errors="strict")
        except ValueError:
            return self._refusal(HTTPStatus.BAD_REQUEST)
        return dict(pairs) if len(dict(pairs)) == len(pairs) else self._refusal(HTTPStatus.BAD_REQUEST)

    def _refusal(self, status: HTTPStatus) -> WebResponse:
        return WebResponse(status=status, kind="text/plain", body=status.phrase.encode(), headers=self._refused)


def _is_text(asked: WebRequest) -> bool:
    """The library hands bytes that are no UTF-8 on as lone surrogates, which nothing can encode."""
    given = (asked.query, asked.form, asked.headers, asked.cookies)
    texts = [asked.path, *(text for each in given for pair in each.items() for text in pair)]
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


def _asked(request: web.BaseRequest, form: Mapping[str, str]) -> WebRequest:
    return WebRequest(
        method=request.method,
        path=request.path,
        query=dict(request.query),
        form=form,
        headers={name.lower(): value for name, value in request.headers.items()},
        cookies=dict(request.cookies),
        peer=request.remote or "",
    )
