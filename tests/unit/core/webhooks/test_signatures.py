"""Who signed a webhook: each scheme takes what its platform signs, and nothing else."""

import base64
import contextlib
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from platforms import PLATFORMS, SECRET, URL, Sent, body_of, key_of, livekit
from sizes import size

from calllog_guard.core.webhooks.signatures import (
    MISSING,
    REASONS,
    SCHEMES,
    STALE,
    WRONG,
    Signed,
    SourceKeys,
    check_signature,
    handshake,
    is_trial,
    usable,
)
from calllog_guard.errors import ConfigurationError, WebhookRefusedError

NOW = 1_764_493_200
TIMED = sorted(name for name, scheme in SCHEMES.items() if scheme.timed)
NAMES = {"basic": "pbx", "livekit": "APIkey"}


def signed(sent: Sent, **more: Any) -> Signed:
    return Signed(url=URL, **{"query": sent.query, "headers": sent.headers, "body": sent.body} | more)


def keys(scheme: str, *secrets: bytes, window_s: float = 300) -> SourceKeys:
    return SourceKeys([key_of(scheme, each) for each in secrets or (SECRET,)], window_s, NAMES.get(scheme, ""))


def refusal(scheme: str, request: Signed, known: SourceKeys | None = None, now: float = NOW) -> str:
    with pytest.raises(WebhookRefusedError) as found:
        check_signature(SCHEMES[scheme], request, known or keys(scheme), now)
    assert found.value.reason in REASONS
    return found.value.reason


def test_every_scheme_has_a_platform_that_signs_by_it() -> None:
    assert sorted(PLATFORMS) == sorted(SCHEMES)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_a_platform_signs_is_taken_also_while_its_secret_is_replaced(scheme: str) -> None:
    sent = PLATFORMS[scheme](body_of(scheme), key_of(scheme), NOW)
    for known in (keys(scheme), keys(scheme, SECRET, b"bmV4dA=="), keys(scheme, b"bmV4dA==", SECRET)):
        assert check_signature(SCHEMES[scheme], signed(sent), known, NOW) == key_of(scheme)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_another_secret_signs_nothing(scheme: str) -> None:
    sent = PLATFORMS[scheme](body_of(scheme), key_of(scheme, b"b3RoZXJz"), NOW)
    assert refusal(scheme, signed(sent)) == WRONG
    assert refusal(scheme, signed(sent), keys(scheme, SECRET, b"bmV4dA==")) == WRONG


@pytest.mark.parametrize("scheme", set(SCHEMES) - {"bearer", "basic"})
def test_one_bit_of_the_body_is_enough(scheme: str) -> None:
    sent = PLATFORMS[scheme](body_of(scheme), key_of(scheme), NOW)
    for at in range(len(sent.body)):
        bent = bytearray(sent.body)
        bent[at] ^= 1
        assert refusal(scheme, signed(sent, body=bytes(bent))) == WRONG


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_character_of_the_signature_is_enough(scheme: str) -> None:
    sent = PLATFORMS[scheme](body_of(scheme), key_of(scheme), NOW)
    for name, value in (*sent.headers.items(), ("", sent.query)):
        for at in range(len(value)):
            other = value[:at] + "~" + value[at + 1 :]
            bent = signed(sent, query=other) if not name else signed(sent, headers=sent.headers | {name: other})
            refusal(scheme, bent)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_is_not_signed_at_all_is_refused(scheme: str) -> None:
    sent = PLATFORMS[scheme](body_of(scheme), key_of(scheme), NOW)
    assert refusal(scheme, signed(sent, headers={}, query="")) == MISSING
    for name in sent.headers:
        rest = {each: value for each, value in sent.headers.items() if each != name}
        assert refusal(scheme, signed(sent, headers=rest, query="")) == MISSING


@pytest.mark.parametrize("scheme", TIMED)
def test_a_request_is_good_within_the_window_alone(scheme: str) -> None:
    sent = PLATFORMS[scheme](body_of(scheme), key_of(scheme), NOW)
    for apart in (-299, 0, 299):
        assert check_signature(SCHEMES[scheme], signed(sent), keys(scheme), NOW + apart)
    for apart in (-301, 301, 86_400, 10**9):
        assert refusal(scheme, signed(sent), now=NOW + apart) == STALE
    if scheme != "livekit":  # whose token says its own end
        assert refusal(scheme, signed(sent), keys(scheme, window_s=10), NOW + 11) == STALE


@pytest.mark.parametrize("scheme", sorted(set(SCHEMES) - set(TIMED)))
def test_a_platform_without_a_time_is_taken_at_any_time(scheme: str) -> None:
    """The page says so of each: what is sent again is the same event again, and changes nothing."""
    sent = PLATFORMS[scheme](body_of(scheme), key_of(scheme), NOW)
    assert check_signature(SCHEMES[scheme], signed(sent), keys(scheme), NOW + 10**9)


def test_times_in_milliseconds_are_times() -> None:
    sent = PLATFORMS["daily"](b"{}", key_of("daily"), NOW * 1000)
    assert check_signature(SCHEMES["daily"], signed(sent), keys("daily"), NOW + 200)
    assert refusal("daily", signed(sent), now=NOW + 301) == STALE


# --- vectors of the platforms' own documentation and programs -------------------------------------------------------

TWILIO = "https://mycompany.com/myapp.php"


@pytest.mark.parametrize(
    ("query", "body", "signature"),
    [
        (  # documentation, "Validating signatures from Twilio"
            "foo=1&bar=2",
            b"CallSid=CA1234567890ABCDE&Caller=%2B12349013030&Digits=1234&From=%2B12349013030&To=%2B18005551212",
            "0/KCTR6DLpKmkAf8muzZqo1nDgQ=",
        ),
        (  # twilio-python, its tests
            "foo=1&bar=2",
            b"CallSid=CA1234567890ABCDE&Digits=1234&From=%2B14158675309&To=%2B18005551212&Caller=%2B14158675309",
            "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
        ),
        ("foo=1&bar=2", b"Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234", "IK+Dwps556ElfBT0I3Rgjkr1wJU="),
        (
            "foo=1&bar=2&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620",
            b'{"property": "value", "boolean": true}',
            "a9nBmqA0ju/hNViExpshrM61xv4=",
        ),
    ],
)
def test_twilios_own_signatures_are_taken(query: str, body: bytes, signature: str) -> None:
    request = Signed(url=TWILIO, query=query, headers={"x-twilio-signature": signature}, body=body)
    assert check_signature(SCHEMES["twilio"], request, SourceKeys([b"12345"]), NOW)
    bent = Signed(url=TWILIO, query=query, headers={"x-twilio-signature": signature}, body=body + b"x")
    assert refusal("twilio", bent, SourceKeys([b"12345"])) == WRONG


@pytest.mark.parametrize("kind", ["sha1", "sha256", "sha384", "sha512"])
def test_bigbluebuttons_checksums_are_told_by_their_length(kind: str) -> None:
    url, body, secret = URL, b"domain=d&event=%5B%7B%7D%5D&timestamp=1", b"639259d4-9dd8-4b25-bf01-95f9567eaf4b"
    for query, address in (("", url), ("room=7", f"{url}?room=7")):
        checksum = hashlib.new(kind, address.encode() + body + secret).hexdigest()
        asked = Signed(url=url, query="&".join(filter(None, (query, f"checksum={checksum}"))), body=body)
        assert check_signature(SCHEMES["bigbluebutton"], asked, SourceKeys([secret]), NOW)
    assert refusal("bigbluebutton", Signed(url=url, query=f"checksum={checksum}&checksum=0", body=body)) == WRONG
    assert refusal("bigbluebutton", Signed(url=url, query="checksum=", body=body)) == WRONG


@pytest.mark.parametrize(
    ("taken_for", "form"),
    [
        (
            '{"event":"[{\\"name\\":\\"Zoë\\"}]","timestamp":1764493400123,"domain":"bbb.example.org"}',
            "event-timestamp-domain",
        ),
        (
            '{"domain":"bbb.example.org","event":"[{\\"name\\":\\"Zoë\\"}]","timestamp":1764493400123}',
            "domain-event-timestamp",
        ),
        ("{}", "event-timestamp-domain"),
    ],
    ids=["release 2", "in order", "release 3"],
)
def test_what_bigbluebutton_takes_for_the_body_is_known(taken_for: str, form: str) -> None:
    """Release 2 signs the fields as JSON, release 3 an empty object; no body as it was sent would ever be taken."""
    fields = {"event": '[{"name":"Zoë"}]', "timestamp": "1764493400123", "domain": "bbb.example.org"}
    body = urlencode({name: fields[name] for name in form.split("-")}).encode()
    secret = b"639259d4-9dd8-4b25-bf01-95f9567eaf4b"
    checksum = hashlib.sha256(URL.encode() + taken_for.encode() + secret).hexdigest()
    asked = Signed(url=URL, query=f"checksum={checksum}", body=body)
    assert check_signature(SCHEMES["bigbluebutton"], asked, SourceKeys([secret]), NOW)
    assert refusal("bigbluebutton", asked, SourceKeys([b"another"])) == WRONG
    if taken_for != "{}":
        bent = Signed(url=URL, query=f"checksum={checksum}", body=body.replace(b"Zo", b"Jo"))
        assert refusal("bigbluebutton", bent, SourceKeys([secret])) == WRONG


def test_bigbluebutton_may_send_its_secret_as_a_bearers() -> None:
    asked = Signed(url=URL, headers={"authorization": "Bearer s3cret"}, body=b"")
    assert check_signature(SCHEMES["bigbluebutton"], asked, SourceKeys([b"s3cret"]), NOW)


def test_jaas_may_sign_by_two_secrets_and_only_v1_counts() -> None:
    body, good = b"{}", PLATFORMS["jaas"](b"{}", SECRET, NOW).headers["x-jaas-signature"]
    time, _, signature = good.partition(",v1=")
    two = {"x-jaas-signature": f"{time},v1=AAAA,v1={signature}"}
    assert check_signature(SCHEMES["jaas"], Signed(headers=two, body=body), keys("jaas"), NOW)
    for bent in (f"{time},v0={signature}", f"v1={signature}", f"{time},t=1,v1={signature}", "t=x,v1=y"):
        assert refusal("jaas", Signed(headers={"x-jaas-signature": bent}, body=body)) == WRONG


@pytest.mark.parametrize(
    "claims", [{"sha256": None}, {"sha256": ""}, {"exp": None}, {"exp": "soon"}, {"iss": "another"}, {"nbf": "x"}]
)
def test_a_token_of_livekit_that_lacks_a_claim_is_none(claims: dict[str, Any]) -> None:
    sent = livekit(b"{}", SECRET, NOW, **claims)
    assert refusal("livekit", signed(sent)) == WRONG


def test_a_token_is_no_token_for_another_body_or_another_algorithm() -> None:
    head, payload, mac = livekit(b"{}", SECRET, NOW).headers["authorization"].split(".")
    assert refusal("livekit", Signed(headers={"authorization": f"{head}.{payload}.{mac}"}, body=b"{ }")) == WRONG
    for alg in ("none", "HS512", "EdDSA"):
        bent = base64.urlsafe_b64encode(json.dumps({"alg": alg}).encode()).decode().rstrip("=")
        for last in (mac, ""):
            asked = Signed(headers={"authorization": f"{bent}.{payload}.{last}"}, body=b"{}")
            assert refusal("livekit", asked) == WRONG


# --- Zoom's question ------------------------------------------------------------------------------------------------


def asking(token: object) -> bytes:
    return json.dumps({"event": "endpoint.url_validation", "payload": {"plainToken": token}}).encode()


def test_zooms_question_is_answered_with_the_secret_that_signed_it() -> None:
    answer = handshake("zoom", asking("qgg8vlvZRS6UYooatFL8Aw"), b"shh")
    wanted = hmac.new(b"shh", b"qgg8vlvZRS6UYooatFL8Aw", hashlib.sha256).hexdigest()
    assert json.loads(answer or b"") == {"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": wanted}


@pytest.mark.parametrize("token", ["v0:1764493200:{}", "", "a" * 129, 7, None, "ä", "a\n"])
def test_what_we_sign_for_zoom_is_never_what_a_webhook_is_made_of(token: object) -> None:
    """A token with a colon could be a webhook, signed by us for whoever asks."""
    found = None
    with contextlib.suppress(WebhookRefusedError):
        found = handshake("zoom", asking(token), b"shh")
    assert found is None


def test_a_message_is_no_question() -> None:
    assert handshake("zoom", b'{"event":"meeting.started","payload":{"topic":"endpoint.url_validation"}}', b"s") is None
    assert handshake("bearer", asking("abc"), b"s") is None
    assert is_trial("daily", b'{"test": "test"}')
    assert not is_trial("daily", b'{"test": "test", "type": "participant.left"}')
    assert not is_trial("zoom", b'{"test": "test"}')


# --- garbage --------------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    ["v0=", "t=1,v1=", "Bearer ", "Basic ", "a.b.c", "checksum=", "eyJhbGciOiJIUzI1NiJ9.e30.", "1764493200"]
)
TEXTS = st.one_of(st.text(max_size=40), st.builds(str.__add__, WORDS, st.text(max_size=40)))


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=size("GARBAGE", 30, 1000), deadline=None)
@given(data=st.data())
def test_garbage_is_refused_in_our_words(scheme: str, data: st.DataObject) -> None:
    names = st.sampled_from(
        ["x-zm-signature", "x-zm-request-timestamp", "x-jaas-signature", "x-webhook-signature", "x-webhook-timestamp",
         "x-twilio-signature", "authorization"]
    )  # fmt: skip
    headers = data.draw(st.dictionaries(names, TEXTS))
    request = Signed(url=URL, query=data.draw(TEXTS), headers=headers, body=data.draw(st.binary(max_size=60)))
    refusal(scheme, request)


@given(raw=st.binary(max_size=80))
def test_a_question_of_garbage_is_none_or_refused(raw: bytes) -> None:
    for body in (raw, b'{"event":"endpoint.url_validation","payload":' + raw + b"}"):
        try:
            found = handshake("zoom", body, b"s")
        except WebhookRefusedError:
            continue
        assert found is None or json.loads(found)


def test_a_secret_is_shown_nowhere() -> None:
    known = keys("zoom")
    assert SECRET.decode() not in repr(known) + str(known) + repr(signed(PLATFORMS["bearer"](b"", SECRET, NOW)))


@pytest.mark.parametrize(
    ("scheme", "raw"),
    [("zoom", b" \n"), ("daily", b"no base64!"), ("daily", b""), ("zoom", b"a\nb"), ("bearer", b"a" * 5000)],
)
def test_a_file_without_a_secret_is_refused(scheme: str, raw: bytes) -> None:
    with pytest.raises(ConfigurationError, match="holds none"):
        usable(SCHEMES[scheme], raw)
