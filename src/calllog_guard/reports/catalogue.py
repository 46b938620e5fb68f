"""
The texts of pages in another language: a catalogue that gettext's own tools have compiled (`.mo`).

Rules: 1. A translation is text: what looks like markup in it is shown, not obeyed.
       2. One that names values which its source has not is passed over: the source is shown.
Source: GNU gettext; RFC 9110, 12.5.4 (`Accept-Language`); RFC 4647, 3.4 (lookup).
"""

import gettext
import re
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from calllog_guard.errors import ConfigurationError

_VALUE: Final = re.compile(r"%\(([a-z]+)\)s")
_TAG: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*\Z", re.ASCII)
_MOST: Final = 20
"""Languages of a request that are looked at."""


class Catalogue:
    """
    One language.

    Args:
        language: Its tag (RFC 5646), as the page names it.

    """

    def __init__(self, language: str, translations: gettext.NullTranslations) -> None:
        self.language, self._translations = language, translations

    def text(self, source: str) -> str:
        """What a text is called."""
        return _fitting(self._translations.gettext(source), source)

    def number(self, one: str, many: str, number: int) -> str:
        """What a text with a number is called: languages have one form or several."""
        return _fitting(self._translations.ngettext(one, many, number), many if number != 1 else one, {"num"})


ENGLISH: Final = Catalogue("en", gettext.NullTranslations())


def _fitting(found: str, source: str, more: Iterable[str] = ()) -> str:
    values = set(_VALUE.findall(found))
    fits = values <= {*_VALUE.findall(source), *more} and "%" not in _VALUE.sub("", found).replace("%%", "")
    return found if fits else source


def catalogue_in(path: Path) -> Catalogue:
    """
    A compiled catalogue, whose header names its language.

    Raises:
        ConfigurationError: It is none, or names none.

    """
    try:
        with path.open("rb") as file:
            found = gettext.GNUTranslations(file)
    except (OSError, ValueError, LookupError, struct.error) as error:
        raise ConfigurationError(f"--language {path}: no compiled catalogue of gettext (.mo): {error}") from None
    language = found.info().get("language", "").replace("_", "-")
    if not _TAG.match(language):
        raise ConfigurationError(f"--language {path}: its header names no language, as in 'Language: de'")
    return Catalogue(language, found)


def spoken(wanted: str, known: Iterable[Catalogue]) -> Catalogue:
    """Of the languages that there are, the one that a browser would rather have (`Accept-Language`); else English."""
    tags = {each.language.lower(): each for each in (*known, ENGLISH)}
    for _, tag in sorted(_weighed(wanted), key=lambda each: -each[0]):
        parts = tag.lower().split("-")
        for length in range(len(parts), 0, -1):
            if found := tags.get("-".join(parts[:length])):
                return found
    return ENGLISH


def _weighed(wanted: str) -> Iterable[tuple[float, str]]:
    for each in wanted.split(",")[:_MOST]:
        tag, _, weight = each.strip().partition(";")
        found = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", weight or "q=1")
        if found and float(found[1]) > 0:
            yield float(found[1]), tag.strip()
