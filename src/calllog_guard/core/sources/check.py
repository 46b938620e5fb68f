"""
What a mapping makes of a message, and what of the message it never looks at.

In: a message, before anything is sent.  Out: its results, the places that were read, and those that were dropped.
Rules: 1. Places are told with the kind of what lies there, never with the value.
"""

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from calllog_guard.core.sources.converters import kind_of
from calllog_guard.core.sources.mapping import MappedItem, Mapping

Spot = tuple[str, str]
"""A place, with `[]` for any item of a list, and the kind of what lies there."""


_SPECIAL: Final = frozenset('.[]"')
_DEEPEST: Final = 60
"""Levels of a message that are told apart: no platform nests deeper."""


class Checked(NamedTuple):
    """What a mapping makes of a message."""

    results: tuple[MappedItem, ...]
    read: tuple[Spot, ...]
    dropped: tuple[Spot, ...]


class _Watched(dict[str, Any]):
    """An object that notes which of its fields are asked for."""

    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        """Note the question and answer it."""
        self.asked.add(name)
        return super().get(name, default)


_Watched.__name__ = "dict"  # JMESPath's functions tell kinds by the name: `keys` and `length` would take no other


def _watched(value: Any, deep: int = 0) -> Any:
    if deep > _DEEPEST:
        return value
    if isinstance(value, dict):
        return _Watched({name: _watched(each, deep + 1) for name, each in value.items()})
    return [_watched(each, deep + 1) for each in value] if isinstance(value, list) else value


def _leaves(value: Any, at: str, *, asked: bool) -> Iterator[tuple[str, str, bool]]:
    """What has no parts: its place, its kind, and whether every step to it was asked for."""
    if isinstance(value, _Watched) and value:
        for name, each in value.items():
            step = name if name.isprintable() and not _SPECIAL & set(name) else json.dumps(name)
            yield from _leaves(each, f"{at}.{step}" if at else step, asked=asked and name in value.asked)
    elif isinstance(value, list) and value and at.count("[]") < _DEEPEST:
        for each in value:
            yield from _leaves(each, f"{at}[]", asked=asked)
    else:
        yield at, kind_of(value), asked


def checked(mapping: Mapping, message: Any, tenant: str) -> Checked:
    """What becomes of a message."""
    watched = _watched(message)
    results = tuple(mapping.results(watched, tenant))
    spots = list(_leaves(watched, "", asked=True))
    read = dict.fromkeys((at, kind) for at, kind, asked in spots if asked)
    dropped = dict.fromkeys((at, kind) for at, kind, asked in spots if not asked)
    return Checked(results, tuple(read), tuple(each for each in dropped if each not in read))


REMEDIES: Final = {
    "missing_value": "there is nothing at this place: name another path, or a `default`",
    "wrong_value": "what lies there cannot be converted so: name another converter, or what means `missing`",
    "no_time": "a time needs a converter: one of `epoch-s`, `epoch-ms`, `iso-8601`, `rfc-2822`, `local`",
    "no_offset": "the time does not say how far it is from UTC: take the converter `local` and set the zone",
    "no_zone": "the time is a local one: say whose by `--set zone=Europe/London`",
    "no_such_hour": "the clocks went forward over this time: the zone is not that of the source",
    "hour_twice": "the clocks were put back over this time: say which is meant by `--set twice=first` or `second`",
    "not_in_table": "the table has no row for it: add one, or a `default`",
    "no_list": "`each` and `records` need a list",
    "too_many": "a list has more than 100,000 items",
    "no_party": "no party is named: check `each` and `when` of the rule's parties",
    "not_json": "the sample is no JSON in UTF-8",
    "not_a_form": "the sample is no form: names and values as `CallSid=CA1&From=%2B441632960961`",
    "nested_too_deep": "the sample is nested without end",
    "bad_row": "the row has more cells than there are columns, or a quote that never ends",
    "too_large": "the message is larger than an event may be",
}
"""What to do about each word with which a message is refused."""
