"""
A receipt: what was done, what was observed and by what means, signed with the tenant's key.

Source: interface: messages; design section 9, step 6.
"""

from typing import Any, Final, Literal

import msgspec

from calllog_guard.core.wire import Day, Id, Message, TenantName, Utc


class Receipt(Message, frozen=True, kw_only=True):
    """The claims of a receipt; `observed` stays empty until someone has looked from outside."""

    v: Literal[1] = 1
    case: Id
    tenant: TenantName
    request: str
    stage: Literal["accepted", "fenced", "destroyed", "tombstoned", "absent", "gone"]
    final: bool = False
    legs: int = 0
    shredded: bool = False
    observed: dict[str, Any] | None = None
    bounds: dict[str, Any]
    kept: tuple[dict[str, str], ...] = ()
    pol: Day
    at: Utc


RECEIPTS: Final = msgspec.json.Decoder(Receipt)
