"""The columns that a mapping of CSV needs, each with those that may stand for it; not those that a rule tests for."""

from collections.abc import Iterator

from calllog_guard.core.sources.model import Field, From, MappingFile
from calllog_guard.core.sources.places import steps


def columns_of_mapping(file: MappingFile) -> list[tuple[str, ...]]:
    """Groups of columns, one of each of which a file must have."""
    return list(dict.fromkeys(_groups(file)))


def _groups(file: MappingFile) -> Iterator[tuple[str, ...]]:
    for rule in file.rule:
        tested = {each.path for each in rule.when if each.present}
        for part in (rule.event, rule.notification, *(rule.event.party if rule.event else ())):
            for name in part.__struct_fields__ if part is not None else ():
                given = getattr(part, name)
                if isinstance(given, Field) or (isinstance(given, str) and name not in {"what", "without_id"}):
                    yield from (each for each in _of_field(given) if not tested.intersection(each))


def _of_field(given: From) -> Iterator[tuple[str, ...]]:
    if isinstance(given, str):
        yield (_column(given),)
        return
    if given.path and given.default is None:
        yield tuple(map(_column, (given.path,) if isinstance(given.path, str) else given.path))
    yield from ((_column(each),) for each in given.join)
    for shift in (given.plus, given.minus):
        if shift is not None:
            yield from _of_field(shift)


def _column(path: str) -> str:
    return str(steps(path.removeprefix("$."))[0])
