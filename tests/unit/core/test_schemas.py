"""The published schemas are the types', and an independent validator agrees with our decoder."""

import json
from pathlib import Path

import jsonschema
import pytest
from message_schemas import schema, texts
from test_event import BAD, GOOD

SCHEMAS = Path(__file__).parents[3] / "schemas"
SHAPE = {"unknown_field", "wrong_value", "wrong_count", "missing_field"}


def test_files_are_the_types() -> None:
    assert {path.name: path.read_text() for path in SCHEMAS.iterdir()} == texts(), "run `make schemas`"


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
