"""
Places in a message: dotted paths, compiled once; for JMESPath see `expressions.py`.

In: the items around a value, the innermost last.  Out: what lies at the place, or None.
Rules: 1. A path reads the fields that it names and no other.  2. `$.` begins at the message, `^.` one item further out.
Source: docs/reference/mapping.md.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from calllog_guard.errors import ConfigurationError

Place = Callable[[Sequence[Any]], Any]
"""What lies at a place, seen from the items around it."""

_STEP: Final = re.compile(r'\s*(?:"(?P<quoted>[^"]+)"|(?P<name>[^.\[\]"]+))|\[(?P<index>-?\d+)\]')


def steps(text: str) -> tuple[str | int, ...]:
    """
    The names and indices of a path.

    Raises:
        ConfigurationError: No path.

    """
    found: list[str | int] = []
    at = 0
    while at < len(text):
        if found and text[at] == ".":
            at += 1
        step = _STEP.match(text, at)
        if step is None or (found and text[at - 1] != "." and step["index"] is None):
            raise ConfigurationError(f'"{text}" is no path: names with dots between them, as `payload.object.id`')
        found.append(int(step["index"]) if step["index"] else step["quoted"] or step["name"].strip())
        at = step.end()
    if not found:
        raise ConfigurationError("a path is empty")
    return tuple(found)


def path(text: str) -> Place:
    """
    A dotted path: `a.b`, `a[0].b`, `a."name.with.dots"`.

    Raises:
        ConfigurationError: No path.

    """
    if text in {"$", "@"}:
        return lambda scopes: scopes[0 if text == "$" else -1]
    out = len(text) - len(text.lstrip("^"))
    rest = text[out:].removeprefix(".") if out else text.removeprefix("$.")
    way = steps(rest)
    begin = 0 if not out and text.startswith("$.") else -1 - out
    walked = _walked(way, begin)
    return (lambda scopes: walked(scopes) if out < len(scopes) else None) if out else walked


def _walked(way: Sequence[str | int], begin: int) -> Place:
    """What lies at the end of a way that begins at one of the items around; None: it leads nowhere."""
    names = tuple(step for step in way if isinstance(step, str))

    def named(scopes: Sequence[Any]) -> Any:
        at = scopes[begin]
        for name in names:
            if not isinstance(at, dict):
                return None
            at = at.get(name)
        return at

    def found(scopes: Sequence[Any]) -> Any:
        at = scopes[begin]
        for step in way:
            if isinstance(step, str):
                at = at.get(step) if isinstance(at, dict) else None
            else:
                at = at[step] if isinstance(at, list) and -len(at) <= step < len(at) else None
            if at is None:
                return None
        return at

    return named if len(names) == len(way) else found
