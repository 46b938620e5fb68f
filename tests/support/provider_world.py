"""An identity provider on no network: it makes ID tokens by another JOSE library, and plays tricks when told to."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from jwcrypto import jwk, jws

from calllog_guard.console.sign_in.provider_file import ProviderForm
from calllog_guard.errors import ProviderSilentError, SignInRefusedError

ISSUER: Final = "https://id.example"
CLIENT: Final = "console"
FORM: Final = ProviderForm(
    issuer=ISSUER,
    client=CLIENT,
    officers={"sub-of-officer-1": "officer-1", "sub-of-officer-2": "officer-2", "sub-of-a-leaver": "officer-9"},
    required={"groups": "privacy"},
)
RSA: Final = jwk.JWK.generate(kty="RSA", size=2048, kid="one", use="sig", alg="RS256")
OTHER: Final = jwk.JWK.generate(kty="RSA", size=2048, kid="one", use="sig", alg="RS256")
CURVE: Final = jwk.JWK.generate(kty="EC", crv="P-256", kid="two", use="sig", alg="ES256")
Keys = list[dict[str, Any]]


def public(*keys: Any) -> Keys:
    """The keys as a provider publishes them."""
    return [json.loads(each.export_public()) for each in keys]


def token(claims: Mapping[str, Any], key: Any = RSA, /, **header: Any) -> str:
    """An ID token."""
    made = jws.JWS(json.dumps(claims))
    made.allowed_algs = [*jws.default_allowed_algs, "HS256"]
    told = {"alg": "RS256", "kid": "one"} | header
    made.add_signature(key, None, json.dumps({name: each for name, each in told.items() if each is not None}))
    return str(made.serialize(compact=True))


def unsigned(claims: Mapping[str, Any], **header: Any) -> str:
    """A token that nobody has signed."""
    parts = [json.dumps(each).encode() for each in ({"alg": "none", "kid": "one"} | header, claims)]
    return ".".join([*(base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in parts), ""])


class Provider:
    """
    The IdentityProvider port.

    Args:
        changed: What is put over the claims of each token; `made` makes the token of them.

    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.keys: Keys = public(RSA)
        self.own: dict[str, Any] = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/authorize",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys",
            "end_session_endpoint": f"{ISSUER}/end?x=1",
            "code_challenge_methods_supported": ["S256"],
        }
        self.changed: dict[str, Any] = {}
        self.made: Callable[[Mapping[str, Any]], str] = token
        self.silent, self.asked = False, list[str]()
        self._codes: dict[str, tuple[str, str]] = {}

    def signed_in(self, place: str) -> dict[str, str]:
        """Somebody signs in at the address; what the browser brings back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(place).query).items()}
        code = f"code-{len(self._codes)}"
        self._codes[code] = asked["nonce"], asked["code_challenge"]
        return {"code": code, "state": asked["state"]}

    async def published(self, url: str) -> Mapping[str, Any]:
        """See IdentityProvider."""
        self.asked.append(url)
        if self.silent:
            raise ProviderSilentError("silent")
        return {f"{ISSUER}/.well-known/openid-configuration": self.own, f"{ISSUER}/keys": {"keys": self.keys}}[url]

    async def answered(
        self, url: str, form: Mapping[str, str], basic: tuple[str, str] | None = None
    ) -> Mapping[str, Any]:
        """See IdentityProvider: a code counts once, with the verifier of its challenge."""
        self.asked.append(url)
        if self.silent:
            raise ProviderSilentError("silent")
        nonce, challenge = self._codes.pop(form["code"], ("", ""))
        shown = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if shown != challenge or form["redirect_uri"] != "https://console.example/sign-in/return":
            raise SignInRefusedError("provider")
        assert basic is None or basic[0] == CLIENT
        claims = claims_of(self._now(), nonce) | self.changed
        return {"id_token": self.made({name: each for name, each in claims.items() if each is not None})}


def claims_of(now: datetime, nonce: str) -> dict[str, Any]:
    """What a good token says."""
    at = int(now.timestamp())
    return {
        "iss": ISSUER,
        "aud": CLIENT,
        "sub": "sub-of-officer-1",
        "nonce": nonce,
        "iat": at,
        "exp": at + 300,
        "groups": ["staff", "privacy"],
    }
