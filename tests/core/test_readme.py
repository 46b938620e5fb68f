"""What the README says is what the code does."""

import dataclasses
import re
from pathlib import Path

import pytest

from calllog_guard.adapters.kafka_admin import governed
from calllog_guard.cli import main, parser
from calllog_guard.core.identity import RULES
from calllog_guard.core.requests.machine import diagram
from calllog_guard.errors import ConfigurationError
from calllog_guard.settings import PREFIX, Settings, from_environment

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def settings_table() -> str:
    """The list of settings as the README must have it."""
    lines = ["", "| setting | default |", "|---|---|"]
    lines.extend(f"| `{PREFIX}{field.name.upper()}` | `{field.default}` |" for field in dataclasses.fields(Settings))
    return "\n".join([*lines, ""])


def test_settings_are_listed() -> None:
    _, _, rest = README.partition("<!-- settings -->")
    assert rest.partition("<!-- /settings -->")[0].strip("\n") == settings_table().strip("\n")


def test_the_rules_of_identity_are_listed() -> None:
    _, _, rest = README.partition("<!-- identity -->")
    rows = [f"| `{name}` | {words} |" for name, (_, words) in RULES.items()]
    assert rest.partition("<!-- /identity -->")[0].strip("\n") == "\n".join(
        ["| rule | what is one person |", "|---|---|", *rows]
    )


def test_the_diagram_is_the_machine() -> None:
    """`python -m calllog_guard.core.requests.machine` prints it; paste it between the markers."""
    _, _, rest = README.partition("<!-- machine -->")
    assert rest.partition("<!-- /machine -->")[0].strip("\n") == f"```mermaid\n{diagram()}```"


def test_topics_are_listed() -> None:
    for topic in governed(Settings(), 1, ["calllog.events"]):
        assert f"`{topic.name}`" in README


def test_every_verb_is_in_the_readme_and_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    verbs = re.findall(r"\{([a-z,]+)\}", parser().format_usage()) or [""]
    actions = [action for action in parser()._actions if hasattr(action, "choices") and action.choices]
    names = [name for action in actions for name in dict.fromkeys(action.choices or {})]
    assert names, verbs
    for name in names:
        assert f"| `{name}" in README, f"{name} is missing in the table of verbs"
        with pytest.raises(SystemExit) as ended:
            main([str(name), "--help"])
        assert ended.value.code == 0
        assert "usage: calllog-guard" in capsys.readouterr().out


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert f"\n{target}:" in makefile


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="UNIT_RECORD;"):
        from_environment({PREFIX + "UNIT_RECORD": "5"})
    with pytest.raises(ConfigurationError, match="number"):
        from_environment({PREFIX + "UNIT_RECORDS": "many"})
