"""What docs/ says is what the code does: words, reference pages, commands, settings, metrics, files, pictures."""

import dataclasses
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import drawings
import pytest
import reference
from documents import README

from calllog_guard.adapters.kafka.admin.topics import governed
from calllog_guard.cli._verbs import VERBS
from calllog_guard.settings import PREFIX, SPECS, Settings

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
OTHERS = [ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
MADE = "run `make reference` and commit what it writes"
WORDS = (
    "event", "party", "subject", "subject id", "leg", "lookup", "secret", "generation", "pseudonym", "token", "fence",
    "purpose", "request", "case", "decision", "outcome", "receipt", "hold", "heartbeat", "governed topic", "unit",
    "barrier", "mark", "epoch", "ratchet",
)  # fmt: skip
"""The words that code, topics, metrics and pages share: each needs its meaning."""


OPTIONS = [(path, [word for each in verb.params for word in each.opts]) for path, verb in reference.tree()]


def texts() -> list[tuple[str, str]]:
    """Every page with its text."""
    return [(str(path.relative_to(ROOT)), path.read_text("utf-8")) for path in [*PAGES, *OTHERS]]


def blocks(text: str) -> Iterator[str]:
    """The commands that a page shows, one a line, without what they show."""
    for kind, block in re.findall(r"^```(console|bash|)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if kind != "console" or line.startswith("$ "):
                yield line.removeprefix("$ ")


def commands(text: str) -> Iterator[str]:
    """Each use of our command in a page, in blocks and in sentences."""
    spoken = re.findall(r"`calllog-guard ([a-z][^`]*)`", text)
    shown = [words for line in blocks(text) for words in re.findall(r"calllog-guard ([a-z][^|;&)#>]*)", line)]
    yield from spoken + shown


@pytest.mark.parametrize("name", reference.pages())
def test_a_reference_page_is_what_the_code_says(name: str) -> None:
    assert (reference.PAGES / name).read_text("utf-8") == reference.pages()[name], MADE


@pytest.mark.parametrize("place", drawings.DRAWN)
def test_a_picture_is_what_its_list_says(place: str) -> None:
    assert (DOCS / place).read_text("utf-8") == drawings.drawings()[place], MADE


def test_every_setting_has_a_meaning() -> None:
    assert all(spec.help for spec in SPECS.values())


def test_each_word_of_the_project_is_in_the_glossary_in_order_and_once() -> None:
    rows = re.findall(r"^\| \*\*(.+?)\*\* \|", (DOCS / "glossary.md").read_text("utf-8"), re.MULTILINE)
    assert not set(WORDS) - set(rows)
    assert rows == sorted(set(rows))


@pytest.mark.parametrize(("name", "text"), texts())
def test_every_command_of_a_page_can_be_typed(name: str, text: str) -> None:
    for said in commands(text):
        words = [word for word in shlex.split(said.replace("@", ""), comments=True) if not re.match(r"\d?>", word)]
        if words[0] not in VERBS:
            assert words[0] == words[0].upper() or words[0] in {"is", "wheel"}, f"{name}: no verb {words[0]}"
            continue
        known = {word for path, each in OPTIONS if path.split()[1] == words[0] for word in each} | {"-h", "--help"}
        told = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
        assert not told - known, f"{name}: `calllog-guard {said}`"


@pytest.mark.parametrize(("name", "text"), texts())
def test_settings_metrics_topics_and_make_targets_that_a_page_names_exist(name: str, text: str) -> None:
    settings = {PREFIX + field.name.upper() for field in dataclasses.fields(Settings)}
    named = {word.removesuffix("_FILE") for word in re.findall(rf"\b{PREFIX}[A-Z_]+[A-Z]\b", text)}
    assert not named - settings, name
    metrics = set(re.findall(r"`(calllog_guard_\w+)`", reference.metrics()))
    assert not set(re.findall(r"`(calllog_guard_\w+)`", text)) - metrics, name
    topics = {topic.name for topic in governed(Settings(), 1, ["calllog.events"])}
    assert not set(re.findall(r"`((?:calllog|privacy)\.[a-z]+)`", text)) - topics, name
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"(?:^|`|\$ )make ([a-z0-9-]+)", text, re.MULTILINE):
        assert f"\n{target}:" in makefile, f"{name}: make {target}"


@pytest.mark.parametrize(("name", "text"), texts())
def test_what_a_page_leads_to_exists(name: str, text: str) -> None:
    home = (ROOT / name).parent
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        assert link.startswith("https://") or (home / link).exists(), f"{name}: {link}"
    for path in re.findall(r"`((?:tests|schemas|bench|examples|tools|docs)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), f"{name}: {path}"
    for path in re.findall(r"`((?:core|app|workers|adapters|ports|cli|client|reports|devstack)/[\w./-]*)`", text):
        assert (ROOT / "src" / "calllog_guard" / path).exists(), f"{name}: {path}"


@pytest.mark.parametrize(("name", "text"), [*texts(), ("README.md", README)])
def test_no_line_of_a_page_is_wider_than_120_characters(name: str, text: str) -> None:
    """Tables and what is fenced cannot be wrapped, nor can a link that stands alone."""
    plain = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    alone = re.compile(r" *(?:[-*] )?(?:\[[^\]]*\](?:\(|: )|<?https://)\S+")
    wide = [line for line in plain.splitlines() if len(line) > 120 and line.lstrip()[0] != "|"]
    assert [line for line in wide if not alone.fullmatch(line)] == [], name


@pytest.mark.parametrize(("name", "text"), texts())
def test_a_page_cites_nothing_that_is_not_in_the_repository(name: str, text: str) -> None:
    if name.startswith("docs/reference/"):
        return  # help texts, each of them one line
    assert not re.search(r"\b(design|house|facts|interface)\.md\b", text), name


def test_the_reasons_of_refusal_that_a_page_names_exist() -> None:
    source = "".join(path.read_text("utf-8") for path in sorted((ROOT / "src").rglob("*.py")))
    page = (DOCS / "how-to" / "send-an-erasure.md").read_text("utf-8").partition("## The record")[0]
    reasons = [
        word
        for row in re.findall(r"^\|.*\| ([^|]*) \|$", page, re.MULTILINE)
        for word in re.findall(r"`(\w+_\w+)`", row)
    ]
    assert len(reasons) > 5, "found"
    for reason in reasons:
        assert f'"{reason}"' in source, reason


def test_every_page_is_on_the_site() -> None:
    listed = set(re.findall(r"[\w/.-]+\.md", (ROOT / "mkdocs.yml").read_text("utf-8")))
    assert listed == {str(path.relative_to(DOCS)) for path in PAGES}


def test_every_decision_is_listed_and_says_what_was_to_be_decided_and_what_it_costs() -> None:
    index = (DOCS / "adr" / "index.md").read_text("utf-8")
    pages = sorted((DOCS / "adr").glob("0*.md"))
    assert len(pages) > 10, "found"
    for path in pages:
        assert f"({path.name})" in index
        for part in ("**Context.**", "**Options.**", "**Choice.**", "**Cost.**"):
            assert part in path.read_text("utf-8"), f"{path.name}: {part}"


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.name)
def test_a_table_has_as_many_cells_below_its_head_as_in_it(page: Path) -> None:
    """Else no reader shows it as a table."""
    lines = page.read_text("utf-8").splitlines()
    for head, line in itertools.pairwise(lines):
        if re.fullmatch(r"\|(\s*:?-+:?\s*\|)+", line) and head.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", head)) == line.count("|"), head
