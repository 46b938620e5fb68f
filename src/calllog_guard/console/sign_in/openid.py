"""
Sign-in by OpenID Connect: the authorization code flow with PKCE, and who is which officer by a provider's claims.

Rules: 1. While the provider is silent, or says anything unexpected, nobody is let in.
       2. The provider's keys are asked for at each sign-in: one that it takes back counts no more at once.
       3. Nothing of a person is kept: of a token the claims are looked at, and forgotten.
Source: OpenID Connect Core 1.0, 3.1; Discovery 1.0, 4; RP-Initiated Logout 1.0; RFC 9207 (`iss` of an answer).
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from calllog_guard.console.sign_in.flows import Flow, Flows
from calllog_guard.console.sign_in.provider_file import ProviderForm, is_private
from calllog_guard.console.sign_in.sessions import Now
from calllog_guard.core.crypto.id_token import SignInExpected, id_claims
from calllog_guard.errors import ProviderSilentError, SignInRefusedError
from calllog_guard.ports.identity_provider import IdentityProvider

BACK: Final = "/sign-in/return"
_KNOWN_FOR: Final = timedelta(minutes=5)
"""So long what a provider says of itself is not asked for again; its keys are asked for each time."""
_AT_ONCE: Final = 4
"""Sign-ins that ask the provider at the same time."""


class ProviderOwn(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider says of itself, as far as we need it: OpenID Connect Discovery 1.0, section 3."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str | None = None
    code_challenge_methods_supported: tuple[str, ...] | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class OpenId:
    """
    The identity provider as officers sign in by it.

    Args:
        url: The console's address, as browsers have it.

    """

    def __init__(self, form: ProviderForm, secret: str, provider: IdentityProvider, url: str, now: Now) -> None:
        self._form, self._secret, self._provider, self._url, self._now = form, secret, provider, url, now
        self._flows, self._gate, self._asking = Flows(now), asyncio.Semaphore(_AT_ONCE), asyncio.Lock()
        self._own: tuple[ProviderOwn, datetime] | None = None

    @property
    def issuer(self) -> str:
        """The provider, by its address."""
        return self._form.issuer

    async def begun(self) -> tuple[str, str]:
        """
        Where a browser is sent to sign in, and its cookie.

        Raises:
            ProviderSilentError: Nobody can sign in now.

        """
        own, (cookie, flow) = await self._known(), self._flows.new()
        asked = {
            "response_type": "code",
            "client_id": self._form.client,
            "redirect_uri": self._url + BACK,
            "scope": " ".join(self._form.scopes),
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": flow.challenge,
            "code_challenge_method": "S256",
        }
        if self._form.max_age_s is not None:
            asked["max_age"] = str(self._form.max_age_s)
        return _with(own.authorization_endpoint, asked), cookie

    async def officer(self, cookie: str, query: Mapping[str, str]) -> str:
        """
        Whom a browser brings back from the provider.

        Raises:
            SignInRefusedError: Nobody; ProviderSilentError: Nobody can be let in now.

        """
        flow = self._flows.ended(cookie, query.get("state", ""))
        if flow is None:
            raise SignInRefusedError("state")
        if self._gate.locked():
            raise ProviderSilentError("too many sign in at once")
        async with self._gate:
            return self._known_as(await self._claims(flow, query))

    async def away(self) -> str | None:
        """Where a browser is sent to end its session at the provider; None: it has no such place. Raises as `begun`."""
        own = await self._known()
        if own.end_session_endpoint is None:
            return None
        back = {"client_id": self._form.client, "post_logout_redirect_uri": f"{self._url}/sign-in"}
        return _with(own.end_session_endpoint, back)

    async def _claims(self, flow: Flow, query: Mapping[str, str]) -> Mapping[str, Any]:
        own = await self._known()
        told = query.get("iss")
        if told != own.issuer and (told is not None or own.authorization_response_iss_parameter_supported):
            raise SignInRefusedError("answered_by_another")
        if "error" in query or not query.get("code"):
            raise SignInRefusedError("provider")
        answer = await self._provider.answered(own.token_endpoint, *self._exchange(own, flow, query["code"]))
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise SignInRefusedError("no_token")
        keys = (await self._provider.published(own.jwks_uri)).get("keys")
        if not isinstance(keys, list):
            raise ProviderSilentError("the identity provider shows no keys")
        form = self._form
        expected = SignInExpected(issuer=form.issuer, client=form.client, nonce=flow.nonce, max_age_s=form.max_age_s)
        return id_claims(token, keys, expected, self._now())

    def _exchange(self, own: ProviderOwn, flow: Flow, code: str) -> tuple[dict[str, str], tuple[str, str] | None]:
        """The form that a code is taken to the provider with, and how it knows us."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._url + BACK,
            "code_verifier": flow.verifier,
        }
        client, ways = self._form.client, own.token_endpoint_auth_methods_supported
        if not self._secret:
            return form | {"client_id": client}, None
        if "client_secret_basic" in ways:  # RFC 6749, 2.3.1: both are encoded as a form is
            return form, (quote(client, safe=""), quote(self._secret, safe=""))
        if "client_secret_post" in ways:
            return form | {"client_id": client, "client_secret": self._secret}, None
        raise ProviderSilentError("the identity provider takes no client's secret, in the body or as Basic")

    def _known_as(self, claims: Mapping[str, Any]) -> str:
        """Which officer somebody is."""
        for name, wanted in self._form.required.items():
            found = claims.get(name)
            if found != wanted and not (isinstance(found, list) and wanted in found):
                raise SignInRefusedError("role")
        value = claims.get(self._form.claim)
        officer = self._form.officers.get(value) if isinstance(value, str) else None
        if officer is None:
            raise SignInRefusedError("no_officer")
        return officer

    async def _known(self) -> ProviderOwn:
        """What the provider says of itself; it is asked once, whoever waits for it."""
        async with self._asking:
            if self._own is None or self._now() >= self._own[1]:
                url = self._form.issuer.rstrip("/") + "/.well-known/openid-configuration"
                self._own = self._checked(await self._provider.published(url)), self._now() + _KNOWN_FOR
            return self._own[0]

    def _checked(self, told: Mapping[str, Any]) -> ProviderOwn:
        try:
            own = msgspec.convert(told, ProviderOwn)
        except msgspec.ValidationError:
            raise ProviderSilentError("the identity provider does not say what it is") from None
        if own.issuer != self._form.issuer:
            raise ProviderSilentError("the identity provider says that it is another: see issuer")
        places = [own.authorization_endpoint, own.token_endpoint, own.jwks_uri, own.end_session_endpoint]
        if not all(is_private(each) for each in places if each is not None):
            raise ProviderSilentError("the identity provider is to be asked without TLS")
        if own.code_challenge_methods_supported is not None and "S256" not in own.code_challenge_methods_supported:
            raise ProviderSilentError("the identity provider knows no PKCE by S256")
        return own


def _with(url: str, asked: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(asked)}"
