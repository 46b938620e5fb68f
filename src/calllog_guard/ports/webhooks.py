"""Webhooks, as they reach a worker and are answered."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class WebhookRequest(NamedTuple):
    """
    A request, whole.

    Args:
        path: As it stands in the request, without the query.
        headers: Asked for by a name in lower case; of a name that comes twice, the first.

    """

    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"WebhookRequest({len(self.body)} bytes)"


class WebhookReply(NamedTuple):
    """An answer."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain"


class WebhookService(Protocol):
    """What a server of webhooks asks."""

    @property
    def most_bytes(self) -> int:
        """The size of the largest body."""

    def refuses(self, path: str, content_type: str) -> int:
        """The status with which a request is refused before its body is read; 0: it is read."""

    async def receive(self, request: WebhookRequest) -> WebhookReply:
        """What becomes of a request; raises nothing."""

    def turned_away(self, status: int) -> None:
        """A request was answered so before it was handed on."""
