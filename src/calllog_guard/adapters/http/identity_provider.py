"""
An identity provider, asked through aiohttp.

Rules: 1. No redirect is followed, and an answer has a size.  2. Nothing of an answer is in a log or an error.
       3. Certificates are checked, by the machine's own authorities.
"""

import base64
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import aiohttp

from calllog_guard.errors import ProviderSilentError, SignInRefusedError

_WAIT_S: Final = 10.0
_MOST_BYTES: Final = 256 * 1024


class HttpIdentityProvider:
    """The IdentityProvider port on the network."""

    async def published(self, url: str) -> Mapping[str, Any]:
        """See IdentityProvider."""
        status, found = await self._asked("GET", url, {}, None)
        if status != HTTPStatus.OK:
            raise ProviderSilentError(f"the identity provider answers with {status}")
        return found

    async def answered(
        self, url: str, form: Mapping[str, str], basic: tuple[str, str] | None = None
    ) -> Mapping[str, Any]:
        """See IdentityProvider."""
        status, found = await self._asked("POST", url, form, basic)
        if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
            raise SignInRefusedError("provider")
        if status != HTTPStatus.OK:
            raise ProviderSilentError(f"the identity provider answers with {status}")
        return found

    @staticmethod
    async def _asked(
        method: str, url: str, form: Mapping[str, str], basic: tuple[str, str] | None
    ) -> tuple[int, Mapping[str, Any]]:
        headers = {"Accept": "application/json"}
        if basic is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(basic).encode()).decode()
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_WAIT_S)) as session,
                session.request(method, url, data=form or None, headers=headers, allow_redirects=False) as answer,
            ):
                raw = await _whole(answer)
                found = json.loads(raw) if answer.status == HTTPStatus.OK else {}
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, RecursionError):
            raise ProviderSilentError("the identity provider does not answer, or not as one") from None
        if not isinstance(found, dict):
            raise ProviderSilentError("the identity provider answers no JSON object")
        return answer.status, found


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    found = bytearray()
    async for part in answer.content.iter_chunked(1 << 14):
        found += part
        if len(found) > _MOST_BYTES:
            raise ProviderSilentError("the identity provider answers more than an answer is")
    return bytes(found)
