"""
Fields and tests of a mapping, compiled: from the items around a value to the value of an event's field.

Rules: 1. What is missing is None; what is there and wrong is refused.
       2. A refusal names the place, and the kind of what was found.
Not here: which fields make an event (`mapping.py`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec

from calllog_guard.core.identifiers import made_up_id
from calllog_guard.core.sources.converters import CONVERTERS, Around, Converter, kind_of, seconds, zone_of
from calllog_guard.core.sources.expressions import expression
from calllog_guard.core.sources.model import Field, From, MappingFile, Plain, Test
from calllog_guard.core.sources.places import Place, path
from calllog_guard.errors import ConfigurationError, UnmappedError


class Scopes(list[Any]):
    """The message, and the items of its lists that are looked at, the innermost last; what was made of them is kept."""

    __slots__ = ("known",)

    def __init__(self, items: Iterable[Any]) -> None:
        super().__init__(items)
        self.known: dict[bytes, Any] = {}


Value = Callable[[Scopes], Any]
Holds = Callable[[Scopes], bool]

_SOURCES: Final = ("path", "jmes", "value", "join", "digest")


class Shared(NamedTuple):
    """What all fields of a mapping share; `made` are those that are compiled, by what the file says of them."""

    around: Around
    missing: frozenset[Any]
    tables: Mapping[str, Mapping[str, Plain]]
    made: dict[bytes, Value]


def shared(file: MappingFile) -> Shared:
    """
    What the fields of a file share.

    Raises:
        ConfigurationError: There is no such time zone.

    """
    around = Around(file.settings, zone_of(file.settings))
    return Shared(around, _told((*file.missing, "")), file.tables, {})


def _told(values: Sequence[Plain]) -> frozenset[Any]:
    """Texts in lower case, other values with their kinds."""
    return frozenset(each.lower() if isinstance(each, str) else (type(each), each) for each in values)


def _there(value: Any, missing: frozenset[Any]) -> bool:
    if value is None:
        return False
    if isinstance(value, str):
        return value.strip().lower() not in missing
    return not isinstance(value, int | float) or (type(value), value) not in missing  # True is not 1 here


def _field(given: From) -> Field:
    return Field(path=given) if isinstance(given, str) else given


def field(given: From, common: Shared) -> Value:
    """
    The value of a field.

    Raises:
        ConfigurationError: The field has no source, or two, or a table that the file does not have.

    """
    rule = _field(given)
    written = msgspec.json.encode(rule)
    if written not in common.made:
        common.made[written] = _compiled(rule, written, common)
    return common.made[written]


def _compiled(rule: Field, written: bytes, common: Shared) -> Value:
    named = [name for name in _SOURCES if getattr(rule, name) not in (None, ())]
    if len(named) != 1:
        raise ConfigurationError(f"a field needs one of {', '.join(_SOURCES)}; it has {len(named)}")
    if rule.value is not None and not rule.convert:
        return lambda _: rule.value
    missing = common.missing | _told(rule.missing)
    found, where = _source(rule, missing), _where(rule)
    words = (rule.convert,) if isinstance(rule.convert, str) else rule.convert
    converters, table = [CONVERTERS[each] for each in words], _table(rule, common.tables)
    near = field(rule.near, common) if rule.near else None
    shifts = [(field(each, common), sign) for each, sign in ((rule.plus, 1), (rule.minus, -1)) if each]

    def plain(scopes: Scopes) -> Any:
        made = found(scopes)
        return made if _there(made, missing) else rule.default

    def value(scopes: Scopes) -> Any:
        if written in scopes.known:
            return scopes.known[written]
        try:
            made = found(scopes)
            if not _there(made, missing):
                return rule.default
            around = common.around if near is None else common.around._replace(near_s=_seconds(near(scopes)))
            made = _converted(made, converters, around, missing)
            for each, sign in shifts:
                made = _shifted(made, each(scopes), sign)
            made = scopes.known[written] = _looked_up(made, table, rule.default)
        except UnmappedError as error:
            raise UnmappedError(error.reason, found=error.found, source=where) from None
        return made

    return plain if rule.path and not (converters or shifts or table is not None) else value


def _where(rule: Field) -> str:
    one = rule.path if isinstance(rule.path, str) else " or ".join(rule.path)
    return one or rule.jmes or " and ".join(rule.join or rule.digest)


def _source(rule: Field, missing: frozenset[Any]) -> Place:
    if rule.value is not None:
        return lambda _: rule.value
    if rule.jmes is not None:
        return expression(rule.jmes)
    if rule.path:
        ways = [path(each) for each in ((rule.path,) if isinstance(rule.path, str) else rule.path)]
        if len(ways) == 1:
            return ways[0]
        return _first(ways, missing)
    ways = [path(each) for each in rule.join or rule.digest]
    if rule.digest:
        return lambda scopes: _digest([way(scopes) for way in ways])
    return lambda scopes: _joined([way(scopes) for way in ways], rule.between, missing)


def _first(ways: Sequence[Place], missing: frozenset[Any]) -> Place:
    def first(scopes: Sequence[Any]) -> Any:
        for way in ways:
            made = way(scopes)
            if _there(made, missing):
                return made
        return None

    return first


def _joined(values: Sequence[Any], between: str, missing: frozenset[Any]) -> str | None:
    if not all(_there(each, missing) for each in values):
        return None
    if wrong := [each for each in values if isinstance(each, bool) or not isinstance(each, str | int | float)]:
        raise UnmappedError("wrong_value", found=kind_of(wrong[0]))
    return between.join(map(str, values))


def _digest(values: Sequence[Any]) -> str | None:
    if all(each is None for each in values):
        return None
    try:
        return made_up_id(values)
    except RecursionError:
        raise UnmappedError("nested_too_deep", found="an object") from None


def _converted(made: Any, converters: Sequence[Converter], around: Around, missing: frozenset[Any]) -> Any:
    for each in converters:
        made = each.run(made, around)
        if not _there(made, missing):
            return None
    return made


def _seconds(value: Any) -> float | None:
    """A number of seconds that may help, if it is one; `asterisk-1790000000.17` has its seconds before the last dot."""
    text = str(value).rpartition("-")[2] if isinstance(value, str) else value
    try:
        return seconds(text)
    except UnmappedError:
        return None


def _shifted(moment: Any, by: Any, sign: int) -> Any:
    if not isinstance(moment, datetime) or by in (None, ""):
        return None
    try:
        return moment + sign * timedelta(seconds=seconds(by))
    except OverflowError:
        raise UnmappedError("wrong_value", found=kind_of(by)) from None


def _table(rule: Field, tables: Mapping[str, Mapping[str, Plain]]) -> Mapping[str, Plain] | None:
    if isinstance(rule.table, str):
        if rule.table not in tables:
            raise ConfigurationError(f"there is no table {rule.table}: the file has {', '.join(tables) or 'none'}")
        return {name.lower(): made for name, made in tables[rule.table].items()}
    return rule.table and {name.lower(): made for name, made in rule.table.items()}


def _looked_up(made: Any, table: Mapping[str, Plain] | None, default: Plain | None) -> Any:
    if made is None or table is None:
        return default if made is None else made
    if isinstance(made, str | int | float):
        row = table.get(str(made).strip().lower(), default)
        if row is not None:
            return row
    raise UnmappedError("not_in_table", found=kind_of(made))


# --- tests ----------------------------------------------------------------------------------------------------------


def test(rule: Test, common: Shared) -> Holds:
    """
    Whether a test holds.

    Raises:
        ConfigurationError: It looks nowhere, in two places, or for nothing.

    """
    if (rule.path is None) == (rule.jmes is None):
        raise ConfigurationError("a test needs one of path, jmes")
    if not (rule.equals or rule.starts or rule.ends or rule.present is not None):
        raise ConfigurationError("a test needs one of equals, starts, ends, present")
    place = path(rule.path) if rule.path else expression(rule.jmes or "")
    same, starts, ends = frozenset(map(_plain, rule.equals)), _lower(rule.starts), _lower(rule.ends)

    def holds(scopes: Scopes) -> bool:
        found = place(scopes)
        if rule.present is not None and _there(found, common.missing) is rule.present:
            return True
        if isinstance(found, str):
            text = found.strip().lower()
            return text in same or text.startswith(starts) or text.endswith(ends)
        return isinstance(found, bool | int | float) and _plain(found) in same

    return holds


def _plain(value: float | Plain) -> str:
    """A value as text: platforms write `1` and `"1"`, `true` and `"true"`."""
    return str(value).lower()


def _lower(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(each.lower() for each in texts)
