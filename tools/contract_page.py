"""The page that shows schemas/asyncapi.yaml: each channel with its messages and users, each message with its fields."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from asyncapi import document
from doc_tables import cell
from message_schemas import schema


def contract() -> Iterator[str]:
    """The lines of the page, below its title."""
    told = document()
    yield from ("## Kafka", "", "| way in | what |", "|---|---|")
    for name, way in told["components"]["securitySchemes"].items():
        yield f"| {name} | {cell(way['description'])} |"
    messages = told["components"]["messages"]
    shown: dict[str, None] = {}
    for name, channel in told["channels"].items():
        yield from ("", f"## {name}", "", cell(channel["description"]), "")
        yield f"Writes: {_users(told, name, 'send')}. Reads: {_users(told, name, 'receive')}."
        yield from ("", "| message | content type | what it is | fields |", "|---|---|---|---|")
        for key, reference in channel["messages"].items():
            message = messages[reference["$ref"].rpartition("/")[2]]
            used = [_schema(each) for each in _references(message["payload"])]
            shown |= dict.fromkeys(used)
            words = cell("; ".join(filter(None, (message["summary"].rstrip("."), message.get("description")))))
            fields = ", ".join(f"[{each}](#fields-of-{each})" for each in used)
            yield f"| {key} | `{message['contentType']}` | {words} | {fields} |"
    for each in sorted(shown):
        yield from _fields(each)


def _users(told: dict[str, Any], channel: str, action: str) -> str:
    found = [
        each["tags"][0]["name"]
        for each in told["operations"].values()
        if each["action"] == action and each["channel"]["$ref"] == f"#/channels/{channel}"
    ]
    return ", ".join(found) or "nobody"


def _references(payload: dict[str, Any]) -> Iterator[str]:
    for part in (payload, payload.get("x-content", {}), payload.get("x-protected-header", {})):
        if "$ref" in part:
            yield part["$ref"]


def _schema(reference: str) -> str:
    return reference.removeprefix("./").removesuffix(".json")


def _fields(name: str) -> Iterator[str]:
    whole = schema(name)
    yield from ("", f"## Fields of {name}", "", f"`schemas/{name}.json`", "")
    yield from ("| field | needed | what it takes |", "|---|---|---|")
    top = whole["$ref"].rpartition("/")[2]
    yield from _rows(whole["$defs"], top, "", ())


def _rows(parts: dict[str, Any], part: str, before: str, above: Sequence[str]) -> Iterator[str]:
    """A row for each field; those of a part follow the field that holds it."""
    needed = parts[part].get("required", [])
    for name, said in parts[part].get("properties", {}).items():
        yield f"| `{before}{name}` | {'yes' if name in needed else ''} | {cell(_takes(said, parts))} |"
        inner, many = _inner(said, parts)
        if inner and inner not in (*above, part):
            yield from _rows(parts, inner, f"{before}{name}{'[]' if many else ''}.", (*above, part))


def _inner(said: dict[str, Any], parts: dict[str, Any]) -> tuple[str, bool]:
    """The part that a field holds, and whether it holds many; empty: a plain value."""
    if "$ref" in said:
        name = said["$ref"].rpartition("/")[2]
        return (name, False) if "properties" in parts[name] else ("", False)
    if "items" in said and isinstance(said["items"], dict):
        return _inner(said["items"], parts)[0], True
    found = [_inner(each, parts) for each in said.get("anyOf", ())]
    return next((each for each in found if each[0]), ("", False))


def _takes(said: dict[str, Any], parts: dict[str, Any]) -> str:
    """What a value may be, in words."""
    if "$ref" in said:
        part = parts[said["$ref"].rpartition("/")[2]]
        return "an object" if part.get("type") == "object" else _takes(part, parts)
    if "anyOf" in said:
        return " or ".join(dict.fromkeys(_takes(each, parts) for each in said["anyOf"]))
    if "enum" in said:
        return ", ".join(f"`{each}`" for each in said["enum"])
    if "const" in said:
        return f"`{json.dumps(said['const']).strip(chr(34))}`"
    kind = str(said.get("format") or said.get("type", "anything"))
    if kind == "array":
        items = said.get("items")
        kind = f"a list of: {_takes(items, parts)}" if isinstance(items, dict) and items else "a list"
    pattern = f", `{said['pattern']}`" if "pattern" in said else ""
    return kind + pattern + "".join(f", {word} {said[name]}" for name, word in _BOUNDS if name in said)


_BOUNDS = (
    ("minimum", "at least"), ("maximum", "at most"), ("minLength", "shortest"), ("maxLength", "longest"),
    ("minItems", "fewest"), ("maxItems", "most"),
)  # fmt: skip
