"""An ID token lets somebody in when everything about it is right: each way of being wrong is refused by its own word."""

import json
from typing import Any

import pytest
from desk_world import START
from jwcrypto import jwk
from provider_world import CLIENT, CURVE, ISSUER, OTHER, RSA, claims_of, public, token, unsigned

from calllog_guard.core.crypto.id_token import SignInExpected, id_claims
from calllog_guard.errors import SignInRefusedError

NOW = int(START.timestamp())
EXPECTED = SignInExpected(issuer=ISSUER, client=CLIENT, nonce="the-nonce", max_age_s=3600)
GOOD = claims_of(START, "the-nonce") | {"auth_time": NOW - 10}
SMALL = jwk.JWK.generate(kty="RSA", size=1024, kid="one", use="sig", alg="RS256")
PSS = jwk.JWK.generate(kty="RSA", size=2048, kid="three", use="sig", alg="PS256")
AS_SECRET = jwk.JWK(kty="oct", k=jwk.base64url_encode(RSA.export_to_pem()))


def refused(made: str, keys: Any = None) -> str:
    """Why nobody is let in."""
    with pytest.raises(SignInRefusedError) as caught:
        id_claims(made, public(RSA) if keys is None else keys, EXPECTED, START)
    return caught.value.reason


@pytest.mark.parametrize(
    ("key", "algorithm"), [(RSA, "RS256"), (CURVE, "ES256"), (PSS, "PS256")], ids=["RS256", "ES256", "PS256"]
)
def test_a_token_that_is_right_lets_in(key: Any, algorithm: str) -> None:
    made = token(GOOD, key, alg=algorithm, kid=key["kid"])
    assert id_claims(made, public(RSA, CURVE, PSS), EXPECTED, START)["sub"] == "sub-of-officer-1"


def test_a_clock_that_is_a_little_off_does_no_harm() -> None:
    for off in (-50, 50):
        moved = {name: value + off if name in {"iat", "auth_time"} else value for name, value in GOOD.items()}
        assert id_claims(token(moved | {"exp": NOW - 50}), public(RSA), EXPECTED, START)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"iss": "https://other.example"}, "issuer"),
        ({"iss": ISSUER + "/"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"aud": "another"}, "audience"),
        ({"aud": [CLIENT, "another"]}, "audience"),
        ({"aud": []}, "audience"),
        ({"aud": None}, "audience"),
        ({"azp": "another"}, "authorized_party"),
        ({"azp": ""}, "authorized_party"),
        ({"nonce": "another"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"nonce": ["the-nonce"]}, "nonce"),
        ({"exp": NOW - 60}, "expired"),
        ({"exp": None}, "no_exp"),
        ({"exp": True}, "no_exp"),
        ({"exp": str(NOW + 60)}, "no_exp"),
        ({"iat": NOW - 661}, "made_when"),
        ({"iat": NOW + 61}, "made_when"),
        ({"iat": None}, "no_iat"),
        ({"nbf": NOW + 61}, "not_yet"),
        ({"nbf": "soon"}, "no_nbf"),
        ({"auth_time": NOW - 3661}, "signed_in_long_ago"),
        ({"auth_time": None}, "no_auth_time"),
        ({"sub": None}, "subject"),
        ({"sub": ""}, "subject"),
        ({"sub": 7}, "subject"),
        ({"sub": "x" * 256}, "subject"),
    ],
    ids=str,
)
def test_a_claim_that_is_wrong_is_refused(changed: dict[str, Any], why: str) -> None:
    claims = {name: value for name, value in (GOOD | changed).items() if value is not None}
    assert refused(token(claims)) == why


@pytest.mark.parametrize("name", ["None", "none", "NONE", "nOnE"])
def test_a_token_that_nobody_signed_is_refused(name: str) -> None:
    assert refused(unsigned(GOOD, alg=name)) == "algorithm"
    assert refused(unsigned(GOOD)) == "algorithm"


def test_a_public_key_is_no_shared_secret() -> None:
    """Whoever knows the public key could make such a token (RFC 8725, 2.1)."""
    assert refused(token(GOOD, AS_SECRET, alg="HS256")) == "algorithm"
    published = [json.loads(AS_SECRET.export()) | {"kid": "one"}]
    assert refused(token(GOOD, AS_SECRET, alg="HS256"), published) == "algorithm"


def test_a_key_of_somebody_else_is_refused() -> None:
    assert refused(token(GOOD, OTHER)) == "signature"
    made = token(GOOD)
    head, body, mark = made.split(".")
    other = token(GOOD | {"sub": "sub-of-officer-2"}).split(".")
    assert refused(f"{head}.{other[1]}.{mark}") == "signature"
    assert refused(f"{head}.{body}.") == "signature"


@pytest.mark.parametrize(
    "keys",
    [
        [],
        public(CURVE),
        public(RSA, OTHER),
        [public(RSA)[0] | {"use": "enc"}],
        [public(RSA)[0] | {"alg": "PS256"}],
        [public(CURVE)[0] | {"kid": "one", "alg": "RS256"}],
        [{"kid": "one", "kty": "RSA"}],
        [{"kid": "one", "kty": "RSA", "n": 7, "e": []}],
        ["one"],
    ],
    ids=["none", "another", "two", "for-sealing", "another-algorithm", "another-kind", "half", "spoiled", "no-key"],
)
def test_a_token_names_one_key_that_signs(keys: Any) -> None:
    assert refused(token(GOOD), keys) == "key"


def test_a_token_without_the_name_of_a_key_or_of_a_small_one_is_refused() -> None:
    assert refused(token(GOOD, kid=None)) == "key"
    assert refused(token(GOOD, SMALL), public(SMALL)) == "key"


@pytest.mark.parametrize(
    "header", [{"jwk": {}}, {"jku": ISSUER}, {"x5u": ISSUER}, {"crit": ["exp"], "exp": 1}, {"x5c": []}], ids=str
)
def test_a_token_brings_no_key_of_its_own(header: dict[str, Any]) -> None:
    head = unsigned(GOOD, alg="RS256", **header).partition(".")[0]
    assert refused(f"{head}.{token(GOOD).partition('.')[2]}") == "algorithm"


@pytest.mark.parametrize(
    "made", ["", ".", "..", "a.b.c", "e30.e30.", "W10.e30.e30", "é.é.é", "bnVsbA.e30.e30", "." * 9]
)
def test_what_is_no_token_is_refused(made: str) -> None:
    assert refused(made) in {"not_a_token", "algorithm"}
