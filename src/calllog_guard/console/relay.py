"""
What an officer has signed and sealed in the browser, passed on as it came; nothing here can open, sign or change it.

Rules: 1. Only what is sealed to the tenant's desk is passed on: what is said in it is the desk's to judge.
       2. It is written once per form; a desk refuses a second one of the same name.
Source: `core/requests/sealing.py`, `static/sealing.js`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from calllog_guard.core.crypto.jose import public_forms, sealed_to
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.records import Output
from calllog_guard.core.requests.sealing import MOST_BYTES, desk_number
from calllog_guard.errors import ConfigurationError, StateRefusedError

PUBLIC: Final = ".pub.pem"
_SEALED: Final = re.compile(
    r"[A-Za-z0-9_-]{1,2048}\.\.[A-Za-z0-9_-]{16}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{22}\Z", re.ASCII
)
"""A JWE, compact, without a wrapped key, with an IV of 12 bytes and a tag of 16."""


class Appending(Protocol):
    """Writes one record and says where."""

    async def append(self, output: Output) -> int:
        """The offset of a record, which is acknowledged on return. Raises LogSilentError, LogFaultError."""


class DeskKey(NamedTuple):
    """The desk's newest key: its name, and its public half (base64url)."""

    kid: str
    x: str


def desk_key_in(folder: Path, tenant: Tenant) -> DeskKey | None:
    """
    The newest of the desk's public keys in a folder; None: there is none, and nothing can be sealed.

    Raises:
        ConfigurationError: A file of that name is no such key.

    """
    names = (path.name.removesuffix(PUBLIC) for path in folder.glob(f"{tenant}-desk*{PUBLIC}"))
    known = {number: kid for kid in names if (number := desk_number(tenant, kid)) is not None}
    if not known:
        return None
    kid = known[max(known)]
    try:
        jwk = public_forms((folder / f"{kid}{PUBLIC}").read_bytes())[1]
    except ValueError:
        jwk = {}
    if jwk.get("crv") != "X25519":
        raise ConfigurationError(f"{kid}{PUBLIC} is no X25519 public key in PEM: `tenant create` writes it")
    return DeskKey(kid, jwk["x"])


def checked(sealed: str, tenant: Tenant) -> bytes:
    """
    The bytes of a sealed request, if they may be one.

    Raises:
        StateRefusedError: They are none: plain, too large, or sealed to nobody here.

    """
    if len(sealed) > MOST_BYTES or not _SEALED.match(sealed) or desk_number(tenant, sealed_to(sealed)) is None:
        raise StateRefusedError("it is not sealed to this tenant's desk: nothing was sent")
    return sealed.encode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """Appends sealed requests to the tenant's partition of `requests`."""

    writer: Appending
    tenant: Tenant
    requests: str
    home: int

    async def passed_on(self, sealed: str) -> int:
        """
        Append a sealed request; its offset.

        Raises:
            StateRefusedError: See `checked`; nothing was sent.
            LogSilentError, LogFaultError: It is not known to be there; sent again it is refused as a repeat, or taken.

        """
        raw = checked(sealed, self.tenant)
        return await self.writer.append(Output(self.requests, self.home, self.tenant.encode(), raw))
