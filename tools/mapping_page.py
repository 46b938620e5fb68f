"""The reference page of mapping files: every part, every converter, every refusal, and what is shipped."""

import inspect
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec
from doc_tables import cell

from calllog_guard.adapters.mappings.files import mapping_file, shipped, text_of_mapping
from calllog_guard.core.sources.check import REMEDIES
from calllog_guard.core.sources.converters import CONVERTERS
from calllog_guard.core.sources.model import MappingFile

MAPPING_LEAD: Final = (
    "A mapping says how one platform's messages become call events. It is TOML; `schemas/mapping.json` is its "
    "schema. What no field names is never read. A path is names with dots between them: `payload.object.id`, "
    '`calls[0].id`, `"name.with.dots"`. It begins at the item in hand; `$.` begins at the message, `^.` one item '
    "further out. [Bring calls of a platform](../how-to/platforms.md) has the steps."
)
_MANY: Final = 10


def parts_of(form: type[msgspec.Struct]) -> Iterator[str]:
    """The parts of a file, from the outermost on, each with its fields."""
    for part in _parts(form):
        yield from _part(part)


def _parts(form: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    parts = [form]
    for part in parts:
        yield part
        for field in msgspec.structs.fields(part):
            parts += [each for each in _structs(field.type) if each not in parts]


def _structs(kind: Any) -> Iterator[Any]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
    for each in get_args(kind):
        yield from _structs(each)


def _part(part: type[msgspec.Struct]) -> Iterator[str]:
    """A part with its fields; what its docstring says of them."""
    first, _, rest = inspect.cleandoc(part.__doc__ or "").partition("\n\nArgs:\n")
    said = dict(re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", rest, re.MULTILINE | re.DOTALL))
    yield from ("", f"## {part.__name__}", "", first, "", "| field | needed | is | meaning |", "|---|---|---|---|")
    for field in msgspec.structs.fields(part):
        needed = "yes" if field.required else ""
        yield f"| `{field.encode_name}` | {needed} | {_kind(field.type)} | {cell(said.get(field.name, ''))} |"


def _kind(kind: Any) -> str:
    """A type in words; parts of the file are linked."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " ".join(f"`{each}`" for each in inner) if len(inner) < _MANY else "a [converter](#converters)"
    if origin is Annotated:
        return _kind(inner[0])
    if origin in {tuple, dict}:
        return f"{'a list' if origin is tuple else 'a table'} of {_kind(inner[-1] if origin is dict else inner[0])}"
    if inner:
        return ", or ".join(dict.fromkeys(_kind(each) for each in inner if each is not type(None)))
    words = {str: "text", int: "a number", bool: "true or false"}
    return words.get(kind) or f"[{kind.__name__}](#{kind.__name__.lower()})"


def mapping_lines() -> Iterator[str]:
    """The page's lines."""
    yield from ("## Shipped", "", "| name | platform | a message is | form |", "|---|---|---|---|")
    for name in shipped():
        file = mapping_file(text_of_mapping(name), {})
        yield f"| `{name}` | [{cell(file.title)}]({file.documentation}) | a {file.tells} | {file.input.form} |"
    yield from parts_of(MappingFile)
    yield from ("", "## Converters", "", "| converter | takes | gives |", "|---|---|---|")
    yield from (f"| `{name}` | {cell(each.takes)} | {cell(each.gives)} |" for name, each in CONVERTERS.items())
    yield from ("", "## Refusals", "", "| reason | what to do |", "|---|---|")
    yield from (f"| `{reason}` | {cell(remedy)} |" for reason, remedy in REMEDIES.items())
