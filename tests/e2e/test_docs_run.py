"""The pages of docs/ that a newcomer types: every command as it stands, on servers of its own, and what it shows."""

import sys
from pathlib import Path

import pytest
from doc_pages import ROOT, Shell, matches, steps

TUTORIAL = ["first-erasure", "your-own-topic", "first-webhook"]
HOW_TO = [
    "publish-an-event", "send-an-erasure", "use-the-client", "use-node", "use-java", "answer-access", "disclose",
    "operate", "upgrade", "platforms",
]  # fmt: skip


def page(name: str) -> str:
    """The text of a page."""
    return (ROOT / "docs" / f"{name}.md").read_text("utf-8")


@pytest.mark.parametrize("name", TUTORIAL)
def test_a_page_of_the_tutorial_runs_as_it_stands(name: str, tmp_path: Path) -> None:
    with Shell(tmp_path) as shell:
        shell.follow(steps(page(f"tutorial/{name}")))


@pytest.mark.long
def test_the_how_tos_run_after_the_tutorial_has_started_the_workers(tmp_path: Path) -> None:
    """One installation for all of them: they say that they need a running one."""
    with Shell(tmp_path) as shell:
        shell.follow(steps(page("tutorial/first-erasure"), until="## 5. Publish a call and read it"))
        for name in HOW_TO:
            shell.follow(steps(page(f"how-to/{name}")))


def test_a_platforms_sample_is_checked_without_any_installation(tmp_path: Path) -> None:
    with Shell(tmp_path) as shell:
        shell.run(f'cd {tmp_path} && PATH="{Path(sys.executable).parent}:$PATH"')
        shell.follow(steps(page("how-to/platforms"), until="## Publish, or take in an old log"))


@pytest.mark.parametrize(
    ("shown", "found", "same"),
    [
        ("", "", True),
        ("", "more\n", False),
        ("…", "", True),
        ("…", "any\nlines\n", True),
        ("a … c", "a b c\n", True),
        ("a … c", "a b\nc\n", False),
        ("first\n…\nlast", "first\nlast\n", True),
        ("first\n…\nlast", "first\nx\ny\nlast\n", True),
        ("first", "second\n", False),
    ],
)
def test_an_ellipsis_stands_for_what_differs_from_run_to_run(shown: str, found: str, same: bool) -> None:  # noqa: FBT001
    assert matches(shown, found) == same
