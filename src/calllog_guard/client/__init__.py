"""
For backends: publish calls, send people's requests, follow cases, check certificates. It loads no worker's library.

`Client` is for ordinary programs, `AsyncClient` for asyncio; `drafts` makes requests not sent yet; `verify_receipt` and
`open_export` need no server. What programs use is imported when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from calllog_guard.client.aio import AsyncCases, AsyncClient, AsyncPrivacy, AsyncPublisher, AsyncReceipts
    from calllog_guard.client.answers import Export, open_export, verify_receipt
    from calllog_guard.client.cases import CaseStage, RefusedError
    from calllog_guard.client.checks import InvalidEventError, Problem
    from calllog_guard.client.requests import Draft, drafts
    from calllog_guard.client.signing import RequesterKey, SealingKey
    from calllog_guard.client.threaded import Cases, Client, Privacy, Publisher, Receipts
    from calllog_guard.core.calls.event import CallEvent, Party
    from calllog_guard.core.cases.receipt import Receipt

_HOMES: Final = {
    **dict.fromkeys(("AsyncCases", "AsyncClient", "AsyncPrivacy", "AsyncPublisher", "AsyncReceipts"), "client.aio"),
    **dict.fromkeys(("Cases", "Client", "Privacy", "Publisher", "Receipts"), "client.threaded"),
    **dict.fromkeys(("Export", "open_export", "verify_receipt"), "client.answers"),
    **dict.fromkeys(("RefusedError", "CaseStage"), "client.cases"),
    **dict.fromkeys(("Draft", "drafts"), "client.requests"),
    **dict.fromkeys(("RequesterKey", "SealingKey"), "client.signing"),
    **dict.fromkeys(("Problem", "InvalidEventError"), "client.checks"),
    **dict.fromkeys(("CallEvent", "Party"), "core.calls.event"),
    "Receipt": "core.cases.receipt",
}
__all__ = [
    "AsyncCases",
    "AsyncClient",
    "AsyncPrivacy",
    "AsyncPublisher",
    "AsyncReceipts",
    "CallEvent",
    "CaseStage",
    "Cases",
    "Client",
    "Draft",
    "Export",
    "InvalidEventError",
    "Party",
    "Privacy",
    "Problem",
    "Publisher",
    "Receipt",
    "Receipts",
    "RefusedError",
    "RequesterKey",
    "SealingKey",
    "drafts",
    "open_export",
    "verify_receipt",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """What programs use, from its module."""
    if name in _HOMES:
        return getattr(import_module(f"calllog_guard.{_HOMES[name]}"), name)
    raise AttributeError(name)
