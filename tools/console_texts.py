"""
Write src/calllog_guard/console/console.pot: every text that the console's pages ask the catalogue for.

`make reference` writes it; `make check` and tests/unit/console/test_texts.py fail where a text is missing.
"""

import sys
from pathlib import Path
from typing import Final

from calllog_guard.console import sentences
from calllog_guard.console.pages import PACKAGE
from calllog_guard.console.tasks import fields
from calllog_guard.core.policy.record import BASES
from calllog_guard.core.requests.types import TYPES
from calllog_guard.reports import month
from calllog_guard.reports.certificate import STAGE_WORDS
from calllog_guard.reports.pages import texts_in

FOLDER: Final = Path(__file__).parents[1] / "src" / "calllog_guard" / "console"
PAGE: Final = FOLDER / "console.pot"
MONTH: Final = "month_body.html.j2"
"""Of the page that the command line makes, too."""
_HEAD: Final = (
    "# Made by `make reference` from the templates and sentences; do not edit.\n"
    'msgid ""\nmsgstr ""\n"Language: \\n"\n"Content-Type: text/plain; charset=UTF-8\\n"\n'
)


def texts() -> dict[str | tuple[str, ...], list[str]]:
    """Each text, of a number one for one and one for many, and where it is asked for."""
    found: dict[str | tuple[str, ...], list[str]] = {}
    for path in sorted((FOLDER / "templates").glob("*.j2")):
        for text in texts_in(PACKAGE, path.name):
            found.setdefault(text, []).append(path.name)
    for text in texts_in(PACKAGE, MONTH):
        found.setdefault(text, []).append(MONTH)
    titles = [row.title or kind for kind, row in TYPES.items() if row.ends]
    for text in dict.fromkeys((*sentences.ALL, *STAGE_WORDS.values(), *titles)):
        found.setdefault(text, []).append("sentences")
    for text in dict.fromkeys(fields.texts()):
        found.setdefault(text, []).append("fields")
    for text in dict.fromkeys((*month.texts(), *BASES.values())):
        found.setdefault(text, []).append("month" if text not in BASES.values() else "policy")
    return found


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def catalogue() -> str:
    """The whole file."""
    parts = [_HEAD]
    for text, places in texts().items():
        lines = [f"#: {' '.join(dict.fromkeys(places))}"]
        if isinstance(text, tuple):
            one, several = text[0], text[1]
            lines += [f"msgid {_quoted(one)}", f"msgid_plural {_quoted(several)}", 'msgstr[0] ""', 'msgstr[1] ""']
        else:
            lines += [f"msgid {_quoted(text)}", 'msgstr ""']
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def main() -> int:
    """Write it, or with `--check` say whether it is what the templates say."""
    if "--check" not in sys.argv:
        PAGE.write_text(catalogue(), "utf-8")
        return 0
    if PAGE.read_text("utf-8") == catalogue():
        return 0
    print(f"{PAGE} is not what the templates say: run `make reference` and commit it", file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main())
