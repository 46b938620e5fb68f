"""Expressions as functions say what the library says, of any value."""

import re
from typing import Any

import jmespath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sizes import size

from calllog_guard.adapters.mappings.files import shipped, text_of_mapping
from calllog_guard.core.sources.expressions import closure

NAMES = st.sampled_from(["a", "b"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.sampled_from([0, 1, 0.0, 2, "", "x", "0"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=8,
)
TEXTS = st.recursive(
    st.sampled_from(["a", "b", "a.b", "`0`", "`null`", "`{}`", "`[]`", "'x'", "@", "a[0]", "length(@)", "a[?b].a"]),
    lambda inner: st.one_of(
        st.builds("!({})".format, inner),
        st.builds("({} {} {})".format, inner, st.sampled_from(["&&", "||", "==", "!=", "<", "|"]), inner),
    ),
    max_leaves=6,
)
_SHIPPED = re.compile(r'jmes = "((?:[^"\\]|\\.)*)"')


def said(of: Any, value: Any) -> Any:
    """What an expression says of a value, with its kind: `True` is not 1."""
    try:
        found = of(value)
    except (jmespath.exceptions.JMESPathError, TypeError, ValueError) as error:
        return type(error)
    return type(found), found


@given(text=TEXTS, value=VALUES)
@settings(max_examples=size("EXPRESSIONS", 400, 20_000), deadline=None)
def test_an_expression_says_what_the_library_says(text: str, value: Any) -> None:
    """A mapping is written by what JMESPath documents."""
    compiled = jmespath.compile(text)
    assert said(closure(compiled.parsed), value) == said(compiled.search, value)


@pytest.mark.parametrize("name", shipped())
def test_shipped_expressions_are_of_known_parts(name: str) -> None:
    """What is shipped is read by every user: each of its expressions says of nothing what the library says."""
    for text in _SHIPPED.findall(text_of_mapping(name)):
        compiled = jmespath.compile(text.replace('\\"', '"'))
        nothing: list[Any] = [{}, {"a": None}, [], "x", None]
        for value in nothing:
            assert said(closure(compiled.parsed), value) == said(compiled.search, value)
