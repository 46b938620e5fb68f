"""What README and docs/ say is what the code does."""

import dataclasses
import re

import pytest
from doc_tables import diagram
from documents import DOCUMENTED, PAGES, README, ROOT, marked

from calllog_guard.adapters.kafka.admin.topics import governed
from calllog_guard.cli._verbs import VERBS
from calllog_guard.core.identity.rules import RULES
from calllog_guard.errors import ConfigurationError
from calllog_guard.settings import PREFIX, Settings, from_environment


def test_settings_are_listed() -> None:
    page = PAGES["docs/reference/settings.md"]
    for field in dataclasses.fields(Settings):
        default = f"`{field.default}`" if field.default != "" else "empty"
        assert f"| `{PREFIX}{field.name.upper()}` | {default} |" in page


def test_the_rules_of_identity_are_listed() -> None:
    rows = [f"| `{name}` | {words} |" for name, (_, words) in RULES.items()]
    assert marked("identity").strip("\n") == "\n".join(["| rule | what is one person |", "|---|---|", *rows])


def test_the_diagram_is_the_machine() -> None:
    """`tools/doc_tables.py` prints it; paste it between the markers."""
    assert marked("machine").strip("\n") == f"```mermaid\n{diagram()}```"


def test_the_readme_is_read_in_five_minutes() -> None:
    """Four doors on its first screen, under 200 lines, no long sentence."""
    assert len(README.splitlines()) < 200
    first = "\n".join(README.splitlines()[:30])
    for door in ("I publish calls", "I send requests", "I run it", "I answer for it"):
        assert door in first
    plain = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    for said in re.split(r"(?<=[.:!?])\s|\||\n\n|\n- ", plain):
        assert len(said.split()) <= 30, said


def test_what_our_messages_send_people_to_is_a_heading() -> None:
    """`see the documentation: "Scale"`, as commands and workers say."""
    source = "".join(path.read_text("utf-8") for path in sorted((ROOT / "src").rglob("*.py")))
    named = re.findall(r'the documentation: "?([A-Z][a-z ]+)', source)
    assert named, "found"
    for heading in named:
        assert re.search(rf"^#+ {heading.strip()}\b", DOCUMENTED, re.MULTILINE), heading


def test_topics_are_listed() -> None:
    for topic in governed(Settings(), 1, ["calllog.events"]):
        assert f"`{topic.name}`" in DOCUMENTED


def test_every_verb_is_in_the_table_of_verbs() -> None:
    for name in VERBS:
        assert f"| `{name}" in PAGES["docs/reference/verbs.md"], f"{name} is missing in the table of verbs"


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", DOCUMENTED, re.MULTILINE):
        assert f"\n{target}:" in makefile


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="UNIT_RECORD;"):
        from_environment({PREFIX + "UNIT_RECORD": "5"})
    with pytest.raises(ConfigurationError, match="number"):
        from_environment({PREFIX + "UNIT_RECORDS": "many"})
