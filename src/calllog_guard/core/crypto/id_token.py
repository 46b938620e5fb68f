"""
Whether an ID token of OpenID Connect says who is signing in, here, now: its signature and each claim that binds it.

In: the token, the provider's keys as it publishes them now, and what this sign-in expects.
Out: the claims.
Not here: who an officer is by these claims (`console/sign_in/openid.py`).
Rules: 1. An algorithm counts if it stands here and fits the key that `kid` names; a shared secret or `none` never does.
       2. A token is for this client alone: one audience.  3. What is missing is refused as what is wrong.
Source: OpenID Connect Core 1.0, 3.1.3.7; RFC 7515, 7517, 7518; RFC 8725 (3.1, 3.2, 3.9, 3.10).
"""

import hmac
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from calllog_guard.core.identifiers import unb64
from calllog_guard.errors import SignInRefusedError

SKEW: Final = timedelta(seconds=60)
"""How far the provider's clock may differ from ours."""
OLDEST: Final = timedelta(minutes=10)
"""A token is asked for and shown at once: one that was made longer ago is of another sign-in."""
_KINDS: Final[Mapping[str, type[RSAKey] | type[ECKey]]] = {"RS256": RSAKey, "PS256": RSAKey, "ES256": ECKey}
_FORBIDDEN: Final = frozenset({"crit", "jku", "jwk", "x5u", "x5c", "zip", "b64"})
_LEAST_BITS: Final = 2048
"""Of an RSA key: NIST SP 800-131A."""
_LONGEST_SUB: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInExpected:
    """
    What a token must say.

    Args:
        client: Our name at the provider: the audience.
        nonce: Of this sign-in.
        max_age_s: How long ago the person may have shown who they are; None: the provider decides.

    """

    issuer: str
    client: str
    nonce: str
    max_age_s: int | None


def id_claims(token: str, keys: Sequence[Any], expected: SignInExpected, now: datetime) -> Mapping[str, Any]:
    """
    The claims of a token that is proven, of this provider, for us, of this sign-in, and in time.

    Args:
        token: JWS compact.
        keys: The provider's JWK Set, as it was read.

    Raises:
        SignInRefusedError: With the first thing that is wrong; nobody is let in.

    """
    claims = _object(_proven(token, keys))
    if claims.get("iss") != expected.issuer:
        raise SignInRefusedError("issuer")
    if claims.get("aud") not in (expected.client, [expected.client]):
        raise SignInRefusedError("audience")
    if claims.get("azp", expected.client) != expected.client:
        raise SignInRefusedError("authorized_party")
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        raise SignInRefusedError("nonce")
    _in_time(claims, expected.max_age_s, now.timestamp())
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUB:
        raise SignInRefusedError("subject")
    return claims


def _proven(token: str, keys: Sequence[Any]) -> bytes:
    try:
        header = _object(unb64(token.partition(".")[0].encode("ascii")))
    except ValueError:
        raise SignInRefusedError("not_a_token") from None
    algorithm = header.get("alg")
    kind = _KINDS.get(algorithm) if isinstance(algorithm, str) else None
    if kind is None or _FORBIDDEN & header.keys():
        raise SignInRefusedError("algorithm")
    key = _named(keys, header.get("kid"), str(algorithm), kind)
    try:
        return jws.deserialize_compact(token, key, algorithms=[str(algorithm)]).payload
    except (JoseError, ValueError):
        raise SignInRefusedError("signature") from None


def _named(keys: Sequence[Any], kid: Any, algorithm: str, kind: type[RSAKey] | type[ECKey]) -> RSAKey | ECKey:
    """The one key that a token names, if it is for signing, and for this algorithm."""
    found = [each for each in keys if isinstance(each, dict) and isinstance(kid, str) and each.get("kid") == kid]
    if len(found) != 1 or found[0].get("use", "sig") != "sig" or found[0].get("alg", algorithm) != algorithm:
        raise SignInRefusedError("key")
    if found[0].get("kty") != kind.key_type:
        raise SignInRefusedError("key")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library warns of a small key; we refuse it
            key = kind.import_key(found[0])
        small = isinstance(key, RSAKey) and key.public_key.key_size < _LEAST_BITS
    except (JoseError, ValueError, TypeError, KeyError):
        raise SignInRefusedError("key") from None
    if small:
        raise SignInRefusedError("key")
    return key


def _in_time(claims: Mapping[str, Any], max_age_s: int | None, at: float) -> None:
    skew = SKEW.total_seconds()
    if at >= _seconds(claims, "exp") + skew:
        raise SignInRefusedError("expired")
    made = _seconds(claims, "iat")
    if not made - skew <= at < made + OLDEST.total_seconds() + skew:
        raise SignInRefusedError("made_when")
    if "nbf" in claims and at < _seconds(claims, "nbf") - skew:
        raise SignInRefusedError("not_yet")
    if max_age_s is not None and at > _seconds(claims, "auth_time") + max_age_s + skew:
        raise SignInRefusedError("signed_in_long_ago")


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    found = claims.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise SignInRefusedError(f"no_{name}")
    return found


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found: Any = msgspec.json.decode(raw)
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise SignInRefusedError("not_a_token") from None
    if not isinstance(found, dict):
        raise SignInRefusedError("not_a_token")
    return found
