"""
One place that makes pages and texts: templates beside this module, every value escaped, nothing fetched, nothing run.

Rules: 1. A page shows what its values say and no more.  2. Its policy (CSP) allows one style by its digest, no more.
       3. A template that names what it is not given fails.
Source: W3C Content Security Policy Level 3 (hash sources); OWASP, Cross Site Scripting Prevention.
"""

import base64
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from calllog_guard.reports import words
from calllog_guard.reports.catalogue import ENGLISH, Catalogue

_AT_ONCE: Final = 500
"""Pieces of a page that are joined before they are handed on."""
_OWN: Final = "calllog_guard.reports"


@cache
def _environment(package: str = _OWN, catalogue: Catalogue = ENGLISH) -> Environment:
    found = Environment(
        loader=ChoiceLoader([PackageLoader(each) for each in dict.fromkeys((package, _OWN))]),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    extended: Any = found  # the extension adds its methods to the object
    extended.install_gettext_callables(
        lambda text: escape(catalogue.text(text)),
        lambda one, many, number: escape(catalogue.number(one, many, number)),
        newstyle=True,
    )
    css = style()
    digest = base64.b64encode(hashlib.sha256(css).digest()).decode()
    found.globals |= {
        "language": catalogue.language,
        "style": Markup(css.decode()),  # noqa: S704 - ours, and the policy names its digest
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


def page_of(package: str, template: str, catalogue: Catalogue, /, **values: Any) -> str:
    """As `page`, of another package's templates, which may extend and import ours, in a language."""
    return _environment(package, catalogue).get_template(template).render(**values)


def texts_in(package: str, template: str) -> list[str | tuple[str, ...]]:
    """What a template asks the catalogue for, in order; of a number the text for one and that for many."""
    environment: Any = _environment(package)
    source = environment.loader.get_source(environment, template)[0]
    said = [text if isinstance(text, tuple) else (text,) for _, _, text in environment.extract_translations(source)]
    found = [tuple(each for each in texts if each is not None) for texts in said]  # an argument that is no text is None
    return [texts if len(texts) > 1 else texts[0] for texts in found if texts]


def style() -> bytes:
    """The style of every page."""
    return (files(_OWN) / "templates" / "page.css").read_bytes()


def pieces(template: str, **values: Any) -> Iterator[str]:
    """A page piece by piece, so that a long one is never in memory as a whole."""
    stream = _environment().get_template(template).stream(**values)
    stream.enable_buffering(_AT_ONCE)
    return iter(stream)
