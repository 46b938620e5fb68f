"""The published schemas are the types', and an independent validator agrees with our decoder."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncapi
import jsonschema
import pytest
from message_schemas import schema, texts
from test_event import BAD, GOOD

from calllog_guard.core.topics import TABLE

SCHEMAS = Path(__file__).parents[3] / "schemas"
SHAPE = {"unknown_field", "wrong_value", "wrong_count", "missing_field"}


def test_files_are_the_types() -> None:
    assert {path.name: path.read_text() for path in SCHEMAS.glob("*.json")} == texts(), "run `make schemas`"


def test_the_contract_for_other_languages_is_the_tables() -> None:
    assert asyncapi.FILE.read_text("utf-8") == asyncapi.text(), "run `make schemas`"
    assert {path.name for path in SCHEMAS.iterdir()} == {*texts(), asyncapi.FILE.name}


def test_the_contract_names_every_topic_message_and_right_and_points_at_what_is_there() -> None:
    made = asyncapi.document()
    assert set(made["channels"]) == set(TABLE)
    rights = {
        (user, topic)
        for topic, row in TABLE.items()
        for user, letters in row.rights.items()
        if set("RW") & set(letters)
    }
    said = {
        (each["tags"][0]["name"], each["channel"]["$ref"].rpartition("/")[2]) for each in made["operations"].values()
    }
    assert said == {(user, str(topic)) for user, topic in rights}
    for found in references(made):
        if found.startswith("./"):
            assert (SCHEMAS / found).is_file()
            continue
        at: Any = made
        for step in found.removeprefix("#/").split("/"):
            at = at[step]


def references(part: Any) -> Iterator[str]:
    """Every `$ref` of a document."""
    if isinstance(part, dict):
        yield from (value for name, value in part.items() if name == "$ref")
        for each in part.values():
            yield from references(each)
    elif isinstance(part, list):
        for each in part:
            yield from references(each)


@pytest.mark.parametrize("name", sorted(texts()))
def test_each_is_a_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(texts()[name]))


def test_the_oracle_accepts_the_good_event_and_refuses_what_the_shape_refuses() -> None:
    oracle = jsonschema.Draft202012Validator(schema("event"))
    assert not list(oracle.iter_errors(json.loads(GOOD)))
    shaped = [raw for raw, reason in BAD if reason in SHAPE and isinstance(raw, str) and raw.startswith("{")]
    assert len(shaped) >= 3
    for raw in shaped:
        assert list(oracle.iter_errors(json.loads(raw)))
