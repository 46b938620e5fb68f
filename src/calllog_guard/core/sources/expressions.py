"""
JMESPath expressions as functions: what nearly all of them are made of is called, not walked, node by node.

In: an expression, as a mapping has it.  Out: what it is of the innermost of the items around a value.
Rules: 1. It says what the library's interpreter says, of any value that JSON has.
       2. A node that is not named here is the interpreter's, with all below it.
Source: JMESPath, https://jmespath.org/specification.html.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.visitor import TreeInterpreter

from calllog_guard.core.sources.places import Place
from calllog_guard.errors import ConfigurationError

Of = Callable[[Any], Any]
"""What an expression is, of a value."""
_INTERPRETER: Final = TreeInterpreter()


def expression(text: str) -> Place:
    """
    A JMESPath expression over the innermost item; what it cannot be computed of has no such value.

    Raises:
        ConfigurationError: No expression.

    """
    try:
        of = closure(jmespath.compile(text).parsed)
    except JMESPathError:
        raise ConfigurationError(
            f'"{text}" is no JMESPath expression: see https://jmespath.org/tutorial.html'
        ) from None

    def found(scopes: Sequence[Any]) -> Any:
        try:
            return of(scopes[-1])
        except (JMESPathError, TypeError, ValueError):
            return None

    return found


def closure(node: Mapping[str, Any]) -> Of:
    """The function of a node."""
    kind, value, children = node["type"], node.get("value"), node.get("children", ())
    if kind == "field":
        return lambda at: at.get(value) if isinstance(at, dict) else None
    if kind == "literal":
        return lambda _: value
    if kind not in _COMPOUND or (kind == "comparator" and value not in {"eq", "ne"}):
        return lambda at: _INTERPRETER.visit(node, at)
    return _COMPOUND[kind]([closure(each) for each in children], value)


def _false(found: Any) -> bool:
    """Nothing, `false` and whatever is empty; no number is."""
    return found is None or found is False or (isinstance(found, str | list | dict) and not found)


def _steps(parts: Sequence[Of], _: Any) -> Of:
    def of(at: Any) -> Any:
        for part in parts:
            at = part(at)
        return at

    return of


def _either(parts: Sequence[Of], _: Any) -> Of:
    first, second = parts
    return lambda at: second(at) if _false(found := first(at)) else found


def _both(parts: Sequence[Of], _: Any) -> Of:
    first, second = parts
    return lambda at: found if _false(found := first(at)) else second(at)


def _not(parts: Sequence[Of], _: Any) -> Of:
    (part,) = parts
    return lambda at: _false(part(at))


def _compared(parts: Sequence[Of], word: Any) -> Of:
    """By `==` or `!=`; others refuse some kinds, and are left to the interpreter."""
    (first, second), compare = parts, TreeInterpreter.COMPARATOR_FUNC[word]
    return lambda at: compare(first(at), second(at))


_COMPOUND: Final[dict[str, Callable[[Sequence[Of], Any], Of]]] = {
    "subexpression": _steps,
    "pipe": _steps,
    "or_expression": _either,
    "and_expression": _both,
    "not_expression": _not,
    "comparator": _compared,
}
