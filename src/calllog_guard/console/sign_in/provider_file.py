"""
The file that names the identity provider, and who is which officer there.

Rules: 1. Whoever signs in is known by a claim that its holder cannot choose: never by an address or a name.
       2. A provider is asked by HTTPS, on this machine alone by HTTP.
Source: OpenID Connect Core 1.0, 5.7 (`sub` and `iss` alone are stable); docs/how-to/console.md.
"""

import tomllib
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from calllog_guard.errors import ConfigurationError

_CHOSEN: Final = frozenset(
    {
        "email",
        "preferred_username",
        "name",
        "nickname",
        "given_name",
        "family_name",
        "phone_number",
        "upn",
        "unique_name",
    }
)
"""Claims that change, are given to others after a while, or are chosen by their holders."""


class ProviderForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    What the file says.

    Args:
        client: Our name at the provider.
        secret_file: Where our secret lies, beside this file; empty: there is none, PKCE alone binds us.
        claim: By which claim a person is known.
        scopes: What is asked for.
        max_age_s: How long ago a person may have shown the provider who they are.
        required: Claims without which nobody is let in; of a list, one value is named.
        officers: The value of `claim`, and the officer by the name of the key.

    """

    issuer: str
    client: str
    secret_file: str = ""
    claim: str = "sub"
    scopes: tuple[str, ...] = ("openid",)
    max_age_s: int | None = None
    required: dict[str, str] = {}
    officers: dict[str, str]


def provider_in(path: Path) -> tuple[ProviderForm, str]:
    """
    The file, and the client's secret.

    Raises:
        ConfigurationError: It cannot be read, or says what lets in too many.

    """
    try:
        form = msgspec.convert(tomllib.loads(path.read_text("utf-8")), ProviderForm)
        secret = (path.parent / form.secret_file).read_text("utf-8").strip() if form.secret_file else ""
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"--openid {path}: {error}") from None
    for name, wrong in {
        "issuer: an https address without query or fragment; http on this machine alone": not _is_issuer(form.issuer),
        "client: our name at the provider": not form.client,
        f"secret_file: {form.secret_file} is empty": bool(form.secret_file) and not secret,
        f"claim: {form.claim} is chosen by its holder, or given to others later: name sub": form.claim in _CHOSEN,
        "scopes: openid is one of them": "openid" not in form.scopes,
        "max_age_s: a number of seconds": form.max_age_s is not None and form.max_age_s < 0,
        "officers: at least one, by the value of the claim": not form.officers or "" in form.officers,
    }.items():
        if wrong:
            raise ConfigurationError(f"--openid {path}: {name}")
    return form, secret


def _is_issuer(url: str) -> bool:
    return is_private(url) and not urlsplit(url).query and not urlsplit(url).fragment


def is_private(url: str) -> bool:
    """Whether what is said to an address stays between it and us: HTTPS, or HTTP that stays on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if "@" in parts.netloc or not host:
            return False
        return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
