"""
The log cleaners of the brokers, as each broker's own page shows them (Prometheus text, such as the JMX exporter's).

The name of a figure may stand in the metric's name or in a label, as the exporter's rules have it; both are understood.
Source: Apache Kafka, monitoring: `kafka.log:type=LogCleaner` and `type=LogCleanerManager`.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from calllog_guard.errors import ConfigurationError
from calllog_guard.ports.administration import Cleaner

_WAIT_S: Final = 5.0
_FIGURES: Final = {
    "uncleanablepartitionscount": "uncleanable",
    "deadthreadcount": "dead",
    "maxcompactiondelaysecs": "delay_s",
}


def pages(text: str) -> list[str]:
    """
    The addresses in CLEANER_PAGES.

    Raises:
        ConfigurationError: One that is no http address: it would be silent for ever.

    """
    found = [page for page in map(str.strip, text.split(",")) if page]
    for page in found:
        if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", page):
            raise ConfigurationError("CALLLOG_GUARD_CLEANER_PAGES must be http addresses, separated by commas")
    return found


def shown_by(page: str) -> Cleaner | None:
    """What the text of a page says; None when a figure is missing or the text is none of Prometheus'."""
    figures: dict[str, list[float]] = defaultdict(list)
    try:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                named = re.sub(r"[^a-z]", "", (sample.name + sample.labels.get("name", "")).lower())
                for ending, figure in _FIGURES.items():
                    if ending in named:
                        figures[figure].append(sample.value)
        if set(figures) != set(_FIGURES.values()):
            return None
        return Cleaner(
            uncleanable=int(sum(figures["uncleanable"])),  # a broker has one such count per log directory
            dead=int(sum(figures["dead"])),
            delay_s=int(max(figures["delay_s"])),
        )
    except (ValueError, OverflowError):
        return None


class HttpCleaners:
    """The Cleaners port on the brokers' pages."""

    def __init__(self, found: Sequence[str]) -> None:
        self._pages = tuple(found)

    async def look(self) -> list[Cleaner | None]:
        """See Cleaners."""
        if not self._pages:
            return []
        import aiohttp  # noqa: PLC0415 - takes long to load, and most commands never ask

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_WAIT_S)) as session:
            return list(await asyncio.gather(*(self._one(session, page) for page in self._pages)))

    @staticmethod
    async def _one(session: Any, page: str) -> Cleaner | None:
        from aiohttp import ClientError  # noqa: PLC0415 - as above

        try:
            async with session.get(page) as answer:
                return shown_by(await answer.text("utf-8", "replace")) if answer.status == HTTPStatus.OK else None
        except (ClientError, OSError, TimeoutError):
            return None
