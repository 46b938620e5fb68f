"""What a request may say: types, fields per type, and that rubbish raises nothing but our errors."""

import itertools
import json
from collections.abc import Callable
from datetime import date
from typing import Any, get_args

import jsonschema
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from message_schemas import schema

from calllog_guard.core.codec import decode
from calllog_guard.core.crypto.jose import receipt_pem, sign
from calllog_guard.core.identifiers import b64
from calllog_guard.core.requests.fields import Range, days_of
from calllog_guard.core.requests.request import (
    REQUESTS,
    Request,
    check_fields,
    read_request,
    wording_digest,
)
from calllog_guard.core.requests.types import TYPES, Kind
from calllog_guard.errors import MessageError, RequestRefusedError

KINDS: tuple[Kind, ...] = get_args(Kind)
KEY = {"kty": "OKP", "crv": "X25519", "x": b64(X25519PrivateKey.from_private_bytes(b"\x07" * 32).public_key().public_bytes_raw()).decode()}  # fmt: skip
BASE = {
    "v": 1, "iss": "backend-1", "aud": "calllog-guard", "tenant": "iocom", "jti": "jti-00001", "iat": 1_800_000_000,
    "exp": 1_800_000_600, "received_at": "2026-11-23T10:00:00Z", "identity": "verified", "range": None, "ticket": None,
}  # fmt: skip
VALUES: dict[str, Any] = {
    "subjects": ["alice@example.org", "+441632960961"],
    "range": {"from": "2026-01-01", "to": "2026-01-31"},
    "purposes": ["service", "billing"],
    "facts": {"call_id": "call-1", "role": "guest", "joined_at": "2026-11-24T09:00:00Z", "left_at": None},
    "ground": "She says that she was not there.",
    "hold": {"id": "claim-7", "authority": "High Court", "basis": "legal_claims", "review_at": "2027-05-01T00:00:00Z"},
    "reply_key": KEY,
    "case": "A" * 22,
    "event": "verify",
    "time": "2026-11-23T09:59:00Z",
    "wording": "I agree that my calls are logged for statistics.",
    "authority": "High Court",
    "basis": "Order of 1 November 2026",
    "notify": "before",
    "review_at": "2027-05-01T00:00:00Z",
}


def claims(kind: Kind, **more: Any) -> dict[str, Any]:
    """Good claims of a type, nothing but what it must say."""
    needed = {name: VALUES[name] for name in TYPES[kind].must if "." not in name}
    if kind == "release":
        needed["hold"] = {"id": "claim-7"}
    return BASE | {"type": kind} | needed | more


def checked(content: dict[str, Any]) -> Request:
    """Decoded and checked."""
    request = decode(REQUESTS, json.dumps(content).encode())
    check_fields(request)
    return request


def refusal(content: dict[str, Any]) -> tuple[str, str]:
    """Reason and pointer."""
    with pytest.raises(MessageError) as caught:
        checked(content)
    return caught.value.reason, caught.value.pointer


ORACLE = jsonschema.Draft202012Validator(schema("request"))


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_type_must_say_is_enough_and_what_it_may_say_is_taken(kind: Kind) -> None:
    least = claims(kind)
    most = claims(kind, **{name: VALUES[name] for name in TYPES[kind].may if "." not in name})
    if "hold" in TYPES[kind].may:  # it is named, not ordered
        most["hold"] = {"id": VALUES["hold"]["id"]}
    for content in (least, most):
        assert checked(content).type == kind
        assert not list(ORACLE.iter_errors(content))


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in TYPES[kind].must], ids=str)
def test_what_a_type_must_say_is_missed(kind: Kind, name: str) -> None:
    first, _, second = name.partition(".")
    content = claims(kind)
    if second:
        content[first] = {key: value for key, value in content[first].items() if key != second}
    else:
        del content[first]
    assert refusal(content) == ("missing_field", "/" + name.replace(".", "/"))


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, name in itertools.product(KINDS, VALUES) if name not in TYPES[kind].must + TYPES[kind].may],
    ids=str,
)
def test_what_a_type_does_not_need_is_refused(kind: Kind, name: str) -> None:
    """Data minimisation (GDPR Art. 5(1)(c)): what is not needed is not taken."""
    assert refusal(claims(kind, **{name: VALUES[name]})) == ("unexpected_field", "/" + name)


def test_the_table_names_every_type_and_only_fields_that_exist() -> None:
    assert set(TYPES) == set(KINDS)
    named = {name.partition(".")[0] for needs in TYPES.values() for name in needs.must + needs.may}
    assert named == set(VALUES)
    assert set(VALUES) < set(Request.__struct_fields__)


def test_a_release_names_the_hold_alone() -> None:
    assert refusal(claims("release", hold=VALUES["hold"])) == ("unexpected_field", "/hold/authority")
    assert refusal(claims("release", hold={"id": "claim-7", "secret": False})) == ("unexpected_field", "/hold/secret")


def test_an_extension_says_why() -> None:
    """Art. 12(3): together with the reasons for the delay."""
    assert refusal(claims("clock", event="extend")) == ("missing_field", "/ground")
    assert checked(claims("clock", event="extend", ground="Many calls.")).event == "extend"


def test_a_disclosure_that_is_told_of_later_has_a_day_of_review() -> None:
    assert refusal(claims("disclose", notify="when_lifted")) == ("missing_field", "/review_at")
    assert checked(claims("disclose", notify="when_lifted", review_at=VALUES["review_at"])).notify == "when_lifted"


RANGES: list[tuple[Any, Any, date | None, date | None]] = [
    ("2026-01-01", "2026-01-31", date(2026, 1, 1), date(2026, 1, 31)),
    ("2026-01-01", "2026-01-01", date(2026, 1, 1), date(2026, 1, 1)),
    (None, "2026-01-31", None, date(2026, 1, 31)),
    ("2026-01-01", None, date(2026, 1, 1), None),
    ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", date(2026, 1, 1), date(2026, 1, 31)),
    ("2024-02-29T00:00:00.000Z", "2024-03-01T00:00:00+00:00", date(2024, 2, 29), date(2024, 2, 29)),
    ("2026-01-01", "2026-02-01T00:00:00Z", date(2026, 1, 1), date(2026, 1, 31)),
]


@pytest.mark.parametrize(("start", "end", "first", "last"), RANGES)
def test_a_range_is_whole_days(start: Any, end: Any, first: date | None, last: date | None) -> None:
    days = days_of(Range(from_=start, to=end))
    assert (days.first, days.last) == (first, last)
    inside = first or last
    assert inside is not None
    assert inside in days
    if last:
        assert date.fromordinal(last.toordinal() + 1) not in days
    if first:
        assert date.fromordinal(first.toordinal() - 1) not in days


@pytest.mark.parametrize(
    ("range_", "reason", "pointer"),
    [
        ({"from": "2026-01-01T00:00:01Z"}, "range_not_whole_days", "/range/from"),
        ({"to": "2026-01-01T12:00:00Z"}, "range_not_whole_days", "/range/to"),
        ({"from": "2026-01-01T00:00:00+01:00"}, "range_not_whole_days", "/range/from"),
        ({"from": "2026-01-01T00:00:00.001Z"}, "range_not_whole_days", "/range/from"),
        ({"from": "2026-01-01T00:00:00"}, "range_not_whole_days", "/range/from"),
        ({"from": "2026-02-30"}, "bad_time", "/range/from"),
        ({"from": "2026-01-01\n"}, "bad_time", "/range/from"),
        ({"from": "yesterday, I think"}, "bad_time", "/range/from"),
        ({"from": "1999-12-31"}, "bad_time", "/range/from"),
        ({"from": "\uff12\uff10\uff12\uff16-01-01"}, "bad_time", "/range/from"),
        ({"from": "2026-01-02", "to": "2026-01-01"}, "end_before_start", "/range/to"),
        ({"from": "2026-01-01", "to": "2026-01-01T00:00:00Z"}, "end_before_start", "/range/to"),
        ({"from": None, "to": None}, "missing_field", "/range/from"),
        ({}, "missing_field", "/range/from"),
        ({"from": "2026-01-01", "until": "2026-01-02"}, "unknown_field", "/range"),
        ({"from": 20260101}, "wrong_value", "/range/from"),
    ],
)
def test_a_range_that_is_none_is_refused(range_: Any, reason: str, pointer: str) -> None:
    assert refusal(claims("erase", range=range_)) == (reason, pointer)


P = 2**255 - 19
LOW = [
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    P - 1,
    P,
    P + 1,
]


@pytest.mark.parametrize("top", [0, 1 << 255])
@pytest.mark.parametrize("point", LOW)
def test_a_key_on_which_everybody_agrees_is_refused(point: int, top: int) -> None:
    """Sealed to such a point, an export opens with a secret that is always zero (RFC 7748, section 6.1)."""
    bad = KEY | {"x": b64((point | top).to_bytes(32, "little")).decode()}
    assert refusal(claims("access", reply_key=bad)) == ("bad_key", "/reply_key/x")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"d": "A" * 43}, "unknown_field"),
        ({"crv": "Ed25519"}, "wrong_value"),
        ({"kty": "EC"}, "wrong_value"),
        ({"x": "AAAA"}, "wrong_value"),
        ({"x": KEY["x"] + "="}, "wrong_value"),
        ({"x": KEY["x"][:-1] + "_"}, "bad_key"),
        ({"use": "sig"}, "wrong_value"),
    ],
)
def test_a_key_that_is_no_public_one_of_x25519_is_refused(change: dict[str, str], reason: str) -> None:
    found, pointer = refusal(claims("access", reply_key=KEY | change))
    assert (found, pointer.startswith("/reply_key")) == (reason, True)


@pytest.mark.parametrize(
    ("kind", "change", "expected"),
    [
        ("rectify", {"facts": {"call_id": "call-1"}}, ("missing_field", "/facts/role")),
        ("rectify", {"facts": {"call_id": "a\x00b", "role": "host"}}, ("bad_id", "/facts/call_id")),
        ("rectify", {"facts": {"call_id": "€" * 256, "role": "host"}}, ("bad_id", "/facts/call_id")),
        ("rectify", {"facts": {"call_id": "c", "role": "king"}}, ("wrong_value", "/facts/role")),
        ("rectify", {"facts": {"call_id": "c", "joined_at": "2026-01-01T00:00:00"}}, ("wrong_value", "/facts/joined_at")),
        ("rectify", {"facts": {"call_id": "c", "left_at": "1999-01-01T00:00:00Z"}}, ("bad_time", "/facts/left_at")),
        (
            "rectify",
            {"facts": {"call_id": "c", "joined_at": "2026-01-02T00:00:00Z", "left_at": "2026-01-01T00:00:00Z"}},
            ("end_before_start", "/facts/left_at"),
        ),
        ("object", {"purposes": []}, ("wrong_count", "/purposes")),
        ("object", {"purposes": ["p"] * 51}, ("wrong_count", "/purposes")),
        ("object", {"purposes": ["service\n"]}, ("wrong_value", "/purposes/0")),
        ("object", {"ground": "x" * 501}, ("wrong_value", "/ground")),
        ("consent", {"wording": "x" * 2001}, ("wrong_value", "/wording")),
        ("consent", {"time": "1999-01-01T00:00:00Z"}, ("bad_time", "/time")),
        ("erase", {"subjects": ["a"] * 101}, ("wrong_count", "/subjects")),
        ("erase", {"subjects": []}, ("missing_field", "/subjects")),
        ("hold", {"hold": VALUES["hold"] | {"range": {"from": "2026-01-01T01:00:00Z"}}}, ("range_not_whole_days", "/hold/range/from")),
        ("hold", {"hold": VALUES["hold"] | {"review_at": "2100-01-01T00:00:00Z"}}, ("bad_time", "/hold/review_at")),
        ("hold", {"hold": VALUES["hold"] | {"authority": "x" * 201}}, ("wrong_value", "/hold/authority")),
        ("approve", {"case": "short"}, ("wrong_value", "/case")),
        ("clock", {"event": "rewind"}, ("wrong_value", "/event")),
        ("disclose", {"notify": "never"}, ("wrong_value", "/notify")),
        ("disclose", {"review_at": "1999-01-01T00:00:00Z"}, ("bad_time", "/review_at")),
        ("erase", {"iss": "backend-1\n"}, ("wrong_value", "/iss")),
        ("erase", {"jti": "jti-00001\n"}, ("wrong_value", "/jti")),
    ],
)  # fmt: skip
def test_a_field_that_makes_no_sense_is_refused(kind: Kind, change: dict[str, Any], expected: tuple[str, str]) -> None:
    assert refusal(claims(kind, **change)) == expected


def test_a_refusal_quotes_nothing() -> None:
    with pytest.raises(MessageError) as caught:
        checked(claims("refuse", ground="Her name is Alice. " * 40))
    assert "Alice" not in str(caught.value)


def test_of_a_wording_a_digest_is_kept() -> None:
    assert wording_digest("abc") == "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"  # FIPS 180-4, SHA-256 of "abc"
    assert wording_digest("I agree.") != wording_digest("I agree!")


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
NESTED = st.sampled_from(["from", "to", "call_id", "role", "joined_at", "id", "authority", "review_at", "range", "x"])
FLAT = st.dictionaries(NESTED | st.text(max_size=5), PLAIN, max_size=3)
WILD = PLAIN | FLAT | st.lists(PLAIN, max_size=3) | st.dictionaries(NESTED, FLAT, max_size=2)
FIELDS = st.sampled_from(sorted(VALUES))


@given(st.sampled_from(KINDS), st.dictionaries(FIELDS, WILD | FIELDS.map(VALUES.__getitem__), max_size=3))
def test_rubbish_in_the_fields_raises_only_our_errors(kind: Kind, wild: dict[str, Any]) -> None:
    try:
        request = checked(claims(kind, **wild))
    except MessageError:
        return
    assert request.type == kind


@given(st.text(max_size=40), st.text(max_size=40))
def test_rubbish_in_a_range_raises_only_our_errors(start: str, end: str) -> None:
    try:
        days = days_of(Range(from_=start, to=end))
    except MessageError:
        return
    assert days.first is None or days.last is None or days.first <= days.last


PRIVATE, PUBLIC = receipt_pem(b"\x08" * 32)
_known: Callable[[str], bytes | None] = {"backend-1": PUBLIC}.get


@settings(max_examples=50)
@given(st.binary(max_size=200) | WILD.map(lambda value: json.dumps(value).encode()))
def test_rubbish_that_is_well_signed_raises_only_our_errors(content: bytes) -> None:
    token = sign(PRIVATE, "backend-1", content).encode()
    with pytest.raises(MessageError):
        read_request(token, _known, tenant="iocom", appended_ms=1_800_000_100_000)


def test_a_request_is_for_one_installation() -> None:
    """Signed for another of the same keys it is nothing here, which no installation without a name of its own says."""

    def read(aud: str, **more: str) -> Request:
        token = sign(PRIVATE, "backend-1", json.dumps(claims("erase", aud=aud)).encode()).encode()
        return read_request(token, _known, tenant="iocom", appended_ms=1_800_000_100_000, **more)

    assert read("calllog-guard").aud == "calllog-guard"
    assert read("london", audience="london").aud == "london"
    for aud, more in (("london", {}), ("calllog-guard", {"audience": "london"}), ("paris", {"audience": "london"})):
        with pytest.raises(RequestRefusedError, match="wrong_audience"):
            read(aud, **more)


def test_a_good_request_is_read_and_a_bad_time_of_receipt_is_not() -> None:
    def read(content: dict[str, Any]) -> Request:
        token = sign(PRIVATE, "backend-1", json.dumps(content).encode()).encode()
        return read_request(token, _known, tenant="iocom", appended_ms=1_800_000_100_000)

    assert read(claims("erase")).subjects == ("alice@example.org", "+441632960961")
    with pytest.raises(MessageError, match="bad_time at /received_at"):
        read(claims("erase", received_at="1999-01-01T00:00:00Z"))
    with pytest.raises(RequestRefusedError, match="foreign_tenant"):
        read(claims("erase", tenant="other"))
