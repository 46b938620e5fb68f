"""Unknown fields of a later minor version are passed over and kept in a rewrite; a later major version halts."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from calllog_guard.core.calls.import_journal import MANIFESTS, FileSource, Manifest, TopicSource
from calllog_guard.core.codec import Internal, Message, Rewritten, decode, encode
from calllog_guard.core.decisions.hold import TERMS, Terms
from calllog_guard.core.decisions.standing_rules import Span
from calllog_guard.errors import Fate, MessageError, NewerFormError


class Outside(Message, frozen=True, kw_only=True):
    """What comes from outside."""

    v: Literal[1] = 1
    name: str


class Passed(Internal, frozen=True, kw_only=True):
    """What a worker reads of another."""

    v: Literal[1] = 1
    name: str


class Part(Rewritten, frozen=True, kw_only=True):
    """A part of one that is rewritten."""

    size: int = 0


class Kept(Rewritten, frozen=True, kw_only=True):
    """What a worker reads and writes anew."""

    v: Literal[1] = 1
    name: str
    part: Part | None = None
    parts: tuple[Part, ...] = ()


class Sparse(Kept, frozen=True, kw_only=True, omit_defaults=True):
    """The same, written without what is as usual."""


OUTSIDE, PASSED, KEPT, SPARSE = (msgspec.json.Decoder(kind) for kind in (Outside, Passed, Kept, Sparse))


def test_an_unknown_field_from_outside_is_refused() -> None:
    with pytest.raises(MessageError, match="unknown_field"):
        decode(OUTSIDE, b'{"v":1,"name":"a","extra":1}')


def test_an_unknown_field_of_a_worker_is_passed_over() -> None:
    assert decode(PASSED, b'{"v":1,"name":"a","extra":{"x":[1]}}') == Passed(name="a")


@pytest.mark.parametrize("raw", [b'{"v":2,"name":"a"}', b'{"name":{"first":"a"},"v":2}', b'{"v":3}'])
@pytest.mark.parametrize("decoder", [PASSED, KEPT])
def test_a_later_major_version_halts_whatever_else_it_has(
    decoder: "msgspec.json.Decoder[Internal]", raw: bytes
) -> None:
    """As a dead letter it would be lost: an erasure that nobody does."""
    with pytest.raises(NewerFormError, match=r"has the version [23], and this release reads up to 1") as halted:
        decode(decoder, raw)
    assert halted.value.fate is Fate.HALT


def test_a_later_version_from_outside_stops_nobody() -> None:
    with pytest.raises(MessageError, match="wrong_value at /v"):
        decode(OUTSIDE, b'{"v":2,"name":"a"}')


@pytest.mark.parametrize("decoder", [KEPT, SPARSE])
def test_unknown_fields_are_kept_at_every_depth_byte_for_byte(decoder: "msgspec.json.Decoder[Kept]") -> None:
    raw = b'{"v":1,"name":"a","x":1.50,"part":{"size":1,"y":{"z":[1e2]}},"parts":[{"size":2},{"size":3,"q":"\\u00e9"}]}'
    found = decode(decoder, raw)
    changed = msgspec.structs.replace(found, name="b")
    written = encode(changed)
    assert decode(decoder, written) == changed
    assert b'"x":1.50' in written
    assert b'"y":{"z":[1e2]}' in written
    assert b'"q":"\\u00e9"' in written
    assert b"rest" not in written
    assert msgspec.json.decode(written) | {"v": 1} == msgspec.json.decode(raw) | {"name": "b"}


def test_our_own_form_is_read_without_a_second_look() -> None:
    mine = Kept(name="a", part=Part(size=1))
    assert decode(KEPT, encode(mine)) == mine
    assert decode(KEPT, b'{"name": "a", "v": 1}') == Kept(name="a"), "written in another order, nothing unknown"


@pytest.mark.parametrize("decoder", [KEPT, SPARSE])
def test_what_is_unknown_never_takes_the_place_of_what_is_known(decoder: "msgspec.json.Decoder[Kept]") -> None:
    """Nobody puts a known field in by the back door; the name under which we keep the rest is nobody's."""
    found = decode(decoder, b'{"v":1,"name":"a","~rest":[["name","b"],["parts",[{"size":9}]]]}')
    again = decode(decoder, encode(found))
    assert (again.name, again.parts, again) == ("a", (), found)


@pytest.mark.parametrize("raw", [b"[]", b"5", b"null", b'{"v":"2"}', b'{"v":1}', b'{"v":0,"name":"a"}'])
def test_what_is_no_message_is_refused(raw: bytes) -> None:
    with pytest.raises(MessageError):
        decode(KEPT, raw)


@pytest.mark.parametrize("behind", [b"[" * 100_000, b'"\xff"', b"{", b"", b'"x" "y"'])
@pytest.mark.parametrize("before", [b'{"zz":', b'{"v":1,"name":"a","zz":', b'{"v":2,"zz":'])
def test_what_stands_behind_an_unknown_field_may_be_anything(before: bytes, behind: bytes) -> None:
    """Who looks a second time reads bytes that the first look never came to."""
    for decoder in (PASSED, KEPT, OUTSIDE):
        with pytest.raises((MessageError, NewerFormError)):
            decode(decoder, before + behind)


NAMES = st.text(max_size=5).filter(lambda name: name not in {"v", "name", "part", "parts", "size", "~rest"})
FIELDS = st.dictionaries(
    NAMES, st.integers(-9, 9) | st.text() | st.none() | st.lists(st.booleans() | st.floats(-9, 9)), max_size=4
)


@given(FIELDS, FIELDS)
def test_any_field_survives_being_rewritten(outer: dict[str, object], inner: dict[str, object]) -> None:
    raw = {"v": 1, "name": "a", "part": {"size": 1, **inner}, "parts": [{"size": 2, **outer}], **outer}
    found = decode(KEPT, msgspec.json.encode(raw))
    assert msgspec.json.decode(encode(msgspec.structs.replace(found, name="b"))) == raw | {"name": "b"}


def _structs(shape: inspect.Type) -> Iterator[type]:
    """Every message that stands in one, at any depth."""
    if isinstance(shape, inspect.StructType):
        yield shape.cls
        shape_of = [field.type for field in shape.fields if field.encode_name != "~rest"]
    else:
        shape_of = [getattr(shape, name) for name in ("item_type", "value_type") if hasattr(shape, name)]
        shape_of += [*getattr(shape, "types", ()), *getattr(shape, "item_types", ())]
    for each in shape_of:
        yield from _structs(each)


WRITTEN_ONCE = {("Manifest", "Refused")}
"""Places in a finished manifest, which are written anew from its journal each time."""


def test_whatever_stands_in_a_message_that_is_rewritten_is_rewritten_itself() -> None:
    """Or fields that a later minor release added there are lost at the first change of anything beside them."""
    found = {
        kind for each in Rewritten.__subclasses__() if each.__module__.startswith("calllog_guard") for kind in [each]
    }
    assert len(found) > 9
    bad = {
        (kind.__name__, part.__name__)
        for kind in found
        for part in _structs(inspect.type_info(kind))
        if not issubclass(part, Rewritten)
    }
    assert bad <= WRITTEN_ONCE


def test_a_later_field_of_a_holds_range_survives_every_change_of_its_terms() -> None:
    raw = encode(Terms(name="claim", basis="legal_claims", range=Span(from_="2026-01-01")))
    later = raw.replace(b'"from":', b'"zz_later":7,"from":', 1)
    assert b'"zz_later":7' in encode(msgspec.structs.replace(decode(TERMS, later), subjects=("x",)))


@pytest.mark.parametrize(
    "source", [FileSource(sha256="0" * 64, bytes=1, format="csv"), TopicSource(topic="old", id="x", trimmed=False)]
)
def test_a_later_field_of_an_imports_source_survives_its_journal(source: FileSource | TopicSource) -> None:
    manifest = Manifest(tenant="iocom", source=source, erased=None, began_at=datetime(2026, 11, 1, tzinfo=UTC))
    later = encode(manifest).replace(b'"source":{', b'"source":{"zz_later":7,', 1)
    assert b'"zz_later":7' in encode(msgspec.structs.replace(decode(MANIFESTS, later), lost=1))
