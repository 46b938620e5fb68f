"""
One place where pages and texts are made: templates beside this module, every value escaped in a page, nothing fetched, nothing run.

Rules: 1. A page shows what its values say and no more.  2. Its policy (CSP) allows one style by its digest and nothing else.
       3. A template that names what it is not given fails.
Source: W3C Content Security Policy Level 3 (hash sources); OWASP, Cross Site Scripting Prevention.
"""

import base64
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from calllog_guard.reports import words

_AT_ONCE: Final = 500
"""Pieces of a page that are joined before they are handed on."""


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("calllog_guard.reports"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (files("calllog_guard.reports") / "templates" / "page.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    found.globals |= {
        "style": Markup(style),  # noqa: S704 - ours, and the policy names its digest
        "csp": f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
    }
    found.filters |= {
        "before_comma": lambda text: text.partition(",")[0],
        "cell": _cell,
        "day": words.day_words,
        "listing": words.listing,
        "moment": words.moment_words,
        "month": words.month_words,
        "period": words.period_words,
        "place": lambda zone: zone.rpartition("/")[2].replace("_", " ") + ("" if "/" not in zone else f" ({zone})"),
        "plain": words.plain,
        "short": words.short_span,
        "span": words.span_words,
        "many": words.many,
        "why": lambda purpose: purpose.why or purpose.name,
    }
    return found


def _cell(text: str) -> str:
    """A cell of a Markdown table."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def page(template: str, **values: Any) -> str:
    """A page or a text, whole."""
    return _environment().get_template(template).render(**values)


def pieces(template: str, **values: Any) -> Iterator[str]:
    """A page piece by piece, so that a long one is never in memory as a whole."""
    stream = _environment().get_template(template).stream(**values)
    stream.enable_buffering(_AT_ONCE)
    return iter(stream)
