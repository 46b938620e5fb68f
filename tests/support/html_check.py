"""What every page of ours must be: whole, inert, and readable by everybody; checked without a browser."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise

_VOID = frozenset({"meta", "br", "link", "input"})
_NEVER = frozenset(
    {"script", "link", "img", "iframe", "object", "embed", "form", "use", "image", "base", "video", "audio"}
)


class Page(HTMLParser):
    """A page as it was parsed; a tag that is closed out of order fails at once."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See HTMLParser."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """See HTMLParser."""
        assert self.stack
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        """See HTMLParser."""
        if "style" not in self.stack:
            self.words.append(data)

    @property
    def text(self) -> str:
        """What a reader reads, blanks as one."""
        return " ".join("".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every tag of a name."""
        return [attributes for name, attributes in self.tags if name == tag]


def checked(text: str, beside: frozenset[str] = frozenset()) -> Page:
    """
    A page, once it has been found whole, inert and readable.

    Args:
        beside: The files that lie beside it, to which it may lead.

    """
    page = Page(text)
    assert page.stack == []
    _inert(page, text)
    _readable(page, beside)
    return page


def _inert(page: Page, text: str) -> None:
    assert not {tag for tag, _ in page.tags} & _NEVER
    names = {name for _, attributes in page.tags for name in attributes}
    assert not {name for name in names if name.startswith("on") or name in {"src", "style", "srcset", "action"}}
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert not re.search(r"url\(|@import|expression", style)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = [each["content"] for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    for link in page.all("a"):
        assert re.match(r"(#|https://|mailto:|[a-z0-9-]+\.html(#|$))", link["href"]), link


def _readable(page: Page, beside: frozenset[str]) -> None:
    """What WCAG 2.2 asks of a page of text and tables, as far as its structure tells."""
    assert page.all("html")[0]["lang"] == "en"
    assert [each for each in page.all("meta") if each.get("name") == "viewport"]
    titles = re.findall(r"\S", "".join(page.words))
    assert titles, "there is something to read"
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), "no level is passed over"
    names = [each["id"] for _, each in page.tags if "id" in each]
    assert len(names) == len(set(names))
    assert len(page.all("main")) == 1
    for link in page.all("a"):
        target, _, anchor = link["href"].partition("#")
        if not target:
            assert anchor in names, anchor
        elif not target.startswith(("https:", "mailto:")):
            assert target in beside, target
    for attributes in page.all("th"):
        assert attributes.get("scope") in {"col", "row", "rowgroup"}
    for attributes in page.all("svg"):
        assert attributes["role"] == "img"
        assert attributes["aria-label"]
    for attributes in page.all("nav"):
        assert attributes["aria-label"]
