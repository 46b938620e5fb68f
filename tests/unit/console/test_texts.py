"""The texts of the console: all in one catalogue, and another language is a file."""

import gettext
import re
from pathlib import Path

import pytest
from console_texts import FOLDER, MONTH, PAGE, catalogue, texts

from calllog_guard.console.sentences import APPROVE
from calllog_guard.core.requests.types import TYPES

TEMPLATES = [*sorted((FOLDER / "templates").glob("*.j2")), FOLDER.parent / "reports" / "templates" / MONTH]


def test_the_catalogue_has_every_text() -> None:
    assert PAGE.read_text("utf-8") == catalogue(), "run `make reference` and commit what it writes"
    assert len(texts()) > 150, "found"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_says_a_word_that_is_not_in_the_catalogue(path: Path) -> None:
    """What stands between tags is asked for, or is a sign."""
    assert len(TEMPLATES) > 8, "found"
    bare = re.sub(r"\{%.*?%\}|\{\{.*?\}\}|<[^>]*>", " ", path.read_text("utf-8"), flags=re.DOTALL)
    assert re.findall(r"[A-Za-z]{2,}", bare.replace("<!doctype html>", "")) == []
    for said in re.findall(r'(?:aria-label|title|alt|placeholder)="([^"]*)"', path.read_text("utf-8")):
        assert said.startswith("{{ _("), said


def test_every_type_of_case_has_its_sentence_for_an_approval() -> None:
    assert set(APPROVE) == {kind for kind, row in TYPES.items() if row.ends}


def test_no_text_has_a_sign_that_a_translation_would_take_for_a_value() -> None:
    for text in texts():
        for each in text if isinstance(text, tuple) else (text,):
            assert not re.search(r"%(?!\([a-z]+\)s)", each), each
            assert gettext.NullTranslations().gettext(each) == each
