"""
What a requester reads of a request that the desk has refused: why, where, and what to do; nothing of its content.

It lies where receipts lie, signed as they are, under the key of the case that the request would have opened.
Rules: 1. Only whoever signed with a registered key is answered: nobody else can write there through the desk.
       2. It has a receipt's `request`, `stage` and `final`, and is none: what a receipt needs beside is not in it.
       3. A refused repeat is not answered: the first has its case.  4. Nothing that tells of a hold is answered but
          to a backend, which asked without knowing.
Source: docs/how-to/send-an-erasure.md.
"""

import re
from typing import Any, Final, Literal

import msgspec

from calllog_guard.core.codec import Id, Internal, TenantName, Utc
from calllog_guard.core.requests.request import JTI
from calllog_guard.core.requests.types import Requester, kinds
from calllog_guard.errors import MessageError

_JTI: Final = re.compile(JTI)
_OF_HOLDS: Final = kinds(lambda row: row.ends and not row.title)


class RefusedRequest(Internal, frozen=True, kw_only=True):
    """
    The claims of a JWS by the tenant's receipt key: the desk refused the request with `jti` `request`, and did nothing.

    `reason` is the desk's word, `at_pointer` the claim meant, `remedy` what to do; `partition` and `offset` are where
    the request lay.
    """

    v: Literal[1] = 1
    case: Id
    tenant: TenantName
    request: str
    stage: Literal["refused"] = "refused"
    final: Literal[True] = True
    reason: str
    at_pointer: str = ""
    remedy: str
    partition: int
    offset: int
    at: Utc


REFUSED_REQUESTS: Final = msgspec.json.Decoder(RefusedRequest)


def answered_jti(content: bytes, role: Requester, error: MessageError) -> str | None:
    """The `jti` under which a refusal is answered; None where nobody is answered."""
    try:
        claims: Any = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if not isinstance(claims, dict) or error.reason == "replayed":
        return None
    jti = claims.get("jti")
    if not isinstance(jti, str) or not _JTI.match(jti):
        return None
    kind = claims.get("type")
    tells = not isinstance(kind, str) or kind in _OF_HOLDS or "hold" in claims
    return None if tells and role != "backend" else jti
