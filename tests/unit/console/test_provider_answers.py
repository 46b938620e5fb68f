"""What an identity provider answers is read when it is what was asked for, and nothing else is followed or kept."""

import base64

import pytest

from calllog_guard.adapters.http.identity_provider import HttpIdentityProvider
from calllog_guard.adapters.http.web import WebRequest, WebResponse, WebServer
from calllog_guard.errors import ProviderSilentError, SignInRefusedError

JSON = "application/json"
ANSWERS = {
    "/good": WebResponse(kind=JSON, body=b'{"a": 1}'),
    "/moved": WebResponse(status=302, headers={"Location": "/good"}),
    "/large": WebResponse(kind=JSON, body=b'{"a": "' + b"x" * 300_000 + b'"}'),
    "/list": WebResponse(kind=JSON, body=b"[]"),
    "/text": WebResponse(body=b"<html>"),
    "/deep": WebResponse(kind=JSON, body=b"[" * 100_000),
    "/bytes": WebResponse(kind=JSON, body=b"\xff\xfe"),
    "/gone": WebResponse(status=404),
    "/failed": WebResponse(status=500),
    "/refused": WebResponse(status=400, kind=JSON, body=b'{"error": "invalid_grant"}'),
}


async def test_only_what_is_an_answer_is_one() -> None:
    seen: list[WebRequest] = []

    async def answer(request: WebRequest) -> WebResponse:
        seen.append(request)
        return ANSWERS[request.path]

    server = WebServer(answer, 65_536, {})
    url = f"http://{await server.start('127.0.0.1:0')}"
    provider = HttpIdentityProvider()
    try:
        assert await provider.published(f"{url}/good") == {"a": 1}
        assert await provider.answered(f"{url}/good", {"code": "c"}, ("a", "b%3A")) == {"a": 1}
        assert seen[-1].form == {"code": "c"}
        assert base64.b64decode(seen[-1].headers["authorization"].removeprefix("Basic ")) == b"a:b%3A"
        for path in sorted(set(ANSWERS) - {"/good", "/refused"}):
            with pytest.raises(ProviderSilentError):
                await provider.published(url + path)
        assert [each.path for each in seen].count("/good") == 2, "nothing was followed"
        for path in ("/refused", "/gone"):
            with pytest.raises(SignInRefusedError):
                await provider.answered(url + path, {"code": "c"})
        with pytest.raises(ProviderSilentError):
            await provider.answered(f"{url}/moved", {"code": "c"})
    finally:
        await server.stop()
    with pytest.raises(ProviderSilentError):
        await provider.published(f"{url}/good")
