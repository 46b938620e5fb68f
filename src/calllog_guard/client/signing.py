"""
Signs a draft with a requester's key and seals it to the desk's; asks no server.

Rules: 1. What the desk would refuse by form is refused here, before sending.  2. Sealed claims are padded: their length
          does not tell a hold from an erasure.
Source: RFC 7515, 7516, 7519; docs/how-to/send-an-erasure.md.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from calllog_guard.client.requests import Draft
from calllog_guard.core.cases.case import Case
from calllog_guard.core.codec import decode, time_text
from calllog_guard.core.crypto.jose import public_forms, sign
from calllog_guard.core.decisions.decision import OWNED, case_id, request_name
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.requests.remedies import told
from calllog_guard.core.requests.request import AUDIENCE, REQUESTS, Request, check_fields
from calllog_guard.core.requests.sealing import MOST_BYTES, desk_number, seal_request
from calllog_guard.errors import ConfigurationError, MessageError

LIFETIME_S: Final = 3600
PUBLIC: Final = ".pub.pem"
_BLOCK: Final = 1024
"""Claims are padded to a multiple of it before they are sealed."""


@dataclass(frozen=True, slots=True)
class RequesterKey:
    """A requester's private key, and the name under which the policy registers it."""

    name: str
    pem: bytes = field(repr=False)

    @classmethod
    def read(cls, path: str | Path, name: str = "") -> Self:
        """
        From a file, whose name is the key's where no other is given: `backend-1.pem`.

        Raises:
            ConfigurationError: No Ed25519 private key in PEM.

        """
        pem = _content(path)
        if _curve(pem) != "Ed25519" or b"PRIVATE" not in pem:
            raise ConfigurationError(f"{path} is no Ed25519 private key in PEM: calllog-guard key new makes a pair")
        return cls(name or Path(path).name.removesuffix(".pem"), pem)


@dataclass(frozen=True, slots=True)
class SealingKey:
    """One of the desk's public keys, and its name."""

    name: str
    pem: bytes

    @classmethod
    def read(cls, path: str | Path, tenant: Tenant) -> Self:
        """
        From a file, whose name is the key's: `iocom-desk.pub.pem`.

        Raises:
            ConfigurationError: Another name, or no X25519 public key in PEM.

        """
        name = Path(path).name.removesuffix(PUBLIC)
        if desk_number(tenant, name) is None:
            raise ConfigurationError(
                f"--seal: the file's name is the key's: {tenant}-desk{PUBLIC}, as `tenant create` wrote it"
            )
        return cls(name, _content(path))


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it is sent: whose it is, its `jti`, and the record's value."""

    iss: str
    jti: str
    token: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """What it is known by."""
        return request_name(self.iss, self.jti)

    def acted(self, case: Case) -> bool:
        """Whether it has acted on a case; a tenant of the first release knows it by its `jti`."""
        return bool({self.name, self.jti} & case.acts.keys())

    def case(self, tenant: Tenant, forms: int = OWNED) -> str:
        """The id of the case that it opens."""
        return case_id(tenant, request_name(self.iss, self.jti, forms))


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """
    Who asks whom: signs the drafts of one requester for one tenant.

    Args:
        seal: The desk's key; None: the request names people in clear until its topic is trimmed.
        audience: The policy's `audience`, where it has one.

    """

    tenant: Tenant
    key: RequesterKey
    seal: SealingKey | None
    audience: str = AUDIENCE

    def claims(self, draft: Draft, now: datetime) -> bytes:
        """The claims of a request that is sent now."""
        issued = int(now.timestamp())
        common = {"v": 1, "iss": self.key.name, "aud": self.audience, "tenant": self.tenant, "jti": draft.jti}
        times = {"iat": issued, "exp": issued + LIFETIME_S, "received_at": time_text(now)}
        return json.dumps(common | times | {"type": draft.kind} | dict(draft.claims)).encode()

    def request(self, draft: Draft, now: datetime) -> Request:
        """
        The request that a desk would read.

        Raises:
            MessageError: The desk would refuse it by its form.

        """
        request = decode(REQUESTS, self.claims(draft, now))
        check_fields(request)
        return request

    def sign(self, draft: Draft, now: datetime) -> SignedRequest:
        """
        Check, sign and seal a request.

        Raises:
            ConfigurationError: The desk would refuse it, or a key is none.

        """
        try:
            self.request(draft, now)
        except MessageError as error:
            raise ConfigurationError(f"the desk would refuse this request: {told(error)}") from None
        raw, pem, name = self.claims(draft, now), self.key.pem, self.key.name
        if self.seal is None:
            return SignedRequest(name, draft.jti, sign(pem, name, raw).encode())
        padded = raw.ljust(-(-len(raw) // _BLOCK) * _BLOCK)
        return SignedRequest(name, draft.jti, _sealed(self.seal, sign(pem, name, padded)).encode())


def _sealed(key: SealingKey, token: str) -> str:
    try:
        found = seal_request(key.pem, key.name, token)
    except ValueError:
        raise ConfigurationError(
            f"{key.name}{PUBLIC} is no X25519 public key in PEM: `tenant create` writes it"
        ) from None
    if len(found) > MOST_BYTES:
        raise ConfigurationError(f"the sealed request has {len(found)} bytes; the desk takes {MOST_BYTES}")
    return found


def _content(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None


def _curve(pem: bytes) -> Any:
    try:
        return public_forms(pem)[1]["crv"]
    except ValueError:
        return None
