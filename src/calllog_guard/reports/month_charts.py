"""
The charts of a report: where each mark stands, for the template that draws them as SVG; every value is also written.

Lengths are in the units of a chart's own view box; how a mark looks is its `look`, a class of the style.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from calllog_guard.core.audit.month_lines import CaseCount, DayLine, Openings, Stage
from calllog_guard.reports.words import plain, short_span

Look = Literal[
    "", "small", "strong", "loud", "grid", "worst", "objective", "dot", "dot loud", "received", "answered",
    "waiting", "enforcing", "observing", "closed", "refused",
]  # fmt: skip
WIDTH: Final = 720
HALF: Final = 500
"""Two charts side by side: drawn narrower, so that their text is not smaller than that of the others."""
_TICKS_S: Final = (0.1, 1, 10, 60, 600, 3600, 21_600, 86_400, 864_000, 8_640_000)
STATES: Final[tuple[Look, ...]] = ("waiting", "enforcing", "observing", "closed", "refused")
_LABEL: Final = 120
_ROW: Final = 26


@dataclass(frozen=True, slots=True)
class Text:
    """Words at a place."""

    x: float
    y: float
    text: str
    look: Look = ""
    anchor: Literal["start", "middle", "end"] = "start"


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle; `tip` is what it says."""

    x: float
    y: float
    width: float
    height: float
    look: Look
    tip: str


@dataclass(frozen=True, slots=True)
class Stroke:
    """A straight line."""

    x1: float
    y1: float
    x2: float
    y2: float
    look: Look
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Dot:
    """A point."""

    x: float
    y: float
    look: Look
    tip: str = ""


Mark = Text | Bar | Stroke | Dot


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing with its size and its name, as a screen reader says it."""

    width: float
    height: float
    title: str
    marks: Sequence[Mark]


def by_state(counts: Sequence[CaseCount]) -> Chart:
    """A bar for each type, cut by state; the legend names only states that there are."""
    types = sorted({each.type for each in counts}, key=lambda kind: (-_sum(counts, kind), kind))
    most = max((_sum(counts, kind) for kind in types), default=1)
    shown = [state for state in STATES if any(each.state == state for each in counts)]
    parts, x = list[Mark](), float(_LABEL)
    for state in shown:
        parts += [Bar(x, 2, 11, 11, state, state), Text(x + 16, 12, state, "small")]
        x += 34 + 7 * len(state)
    scale = (HALF - _LABEL - 50) / most
    for row, kind in enumerate(types):
        y, x = 26.0 + row * _ROW, float(_LABEL)
        parts.append(Text(_LABEL - 12, y + 14, kind, "", "end"))
        for state in shown:
            many = sum(each.cases for each in counts if (each.type, each.state) == (kind, state))
            if many:
                parts.append(Bar(x, y, many * scale - 1, _ROW - 7, state, f"{kind}, {state}: {many}"))
                x += max(many * scale, 2.5)
        parts.append(Text(x + 8, y + 14, f"{_sum(counts, kind):,}", "strong"))
    return Chart(HALF, 26 + len(types) * _ROW, "Cases by type and state", parts)


def _sum(counts: Sequence[CaseCount], kind: str) -> int:
    return sum(each.cases for each in counts if each.type == kind)


def by_day(days: Sequence[DayLine]) -> Chart:
    """Two columns a day: received, answered."""
    most = max((max(each.received, each.answered) for each in days), default=0) or 1
    most += most > 1 and most % 2
    base, top, left = 210.0, 26.0, 34.0
    step = (HALF - left) / max(1, len(days))
    width = step / 2 - 2
    parts: list[Mark] = [Bar(left, 2, 11, 11, "received", "received"), Text(left + 16, 12, "received", "small")]
    parts += [Bar(left + 84, 2, 11, 11, "answered", "answered"), Text(left + 100, 12, "answered", "small")]
    for share in (0, 0.5, 1):
        y = base - share * (base - top)
        if share != 0.5 or most > 1:  # noqa: PLR2004 - half of one case is none
            parts.append(Stroke(left, y, HALF, y, "grid"))
            parts.append(Text(left - 8, y + 4, f"{most * share:g}", "small", "end"))
    for number, each in enumerate(days):
        x = left + number * step + 1
        sizes: tuple[tuple[int, Look], ...] = ((each.received, "received"), (each.answered, "answered"))
        for at, (many, look) in enumerate(sizes):
            if many:
                height = many / most * (base - top)
                tip = f"{each.day}: {many} {look}"
                parts.append(Bar(x + at * (width + 1), base - height, width, height, look, tip))
        if number % 5 == 0 or number == len(days) - 1:
            parts.append(Text(x + width, base + 16, each.day[-2:], "small", "middle"))
    return Chart(HALF, base + 22, "Requests received and answered by day", parts)


def by_stage(stages: Sequence[Stage]) -> Chart:
    """For each stage median, worst and objective on a logarithmic scale, from a tenth of a second on."""
    longest = max([each.worst_s for each in stages] + [each.objective_s or 0 for each in stages] + [10])
    last = next((tick for tick in _TICKS_S if tick >= longest), _TICKS_S[-1])
    scale = (WIDTH - _LABEL - 110) / (math.log10(last) + 1)

    def at(seconds: float) -> float:
        return _LABEL + (math.log10(max(seconds, 0.1)) + 1) * scale

    bottom = 30.0 + len(stages) * _ROW
    parts: list[Mark] = [Dot(126, 8, "dot"), Text(137, 12, "median", "small")]
    parts += [Stroke(196, 8, 222, 8, "worst"), Text(228, 12, "to worst", "small")]
    parts += [Stroke(296, 1, 296, 15, "objective"), Text(304, 12, "objective", "small")]
    for seconds in _TICKS_S[: _TICKS_S.index(last) + 1]:
        parts.append(Stroke(at(seconds), 24, at(seconds), bottom, "grid"))
        parts.append(Text(at(seconds), bottom + 15, short_span(seconds).replace(".0", ""), "small", "middle"))
    for row, each in enumerate(stages):
        y = 30 + row * _ROW + 9.0
        tip = f"{each.stage} since {each.since}: median {short_span(each.median_s)}, worst {short_span(each.worst_s)}"
        parts.append(Text(_LABEL - 12, y + 4, each.stage, "", "end"))
        if each.erasures:
            parts.append(Stroke(at(each.median_s), y, at(each.worst_s), y, "worst", tip))
            parts.append(Dot(at(each.median_s), y, "dot loud" if each.missed else "dot", tip))
        if each.objective_s is not None:
            parts.append(Stroke(at(each.objective_s), y - 9, at(each.objective_s), y + 9, "objective"))
        said = f"{each.missed} missed" if each.missed else f"{each.erasures:,}"
        parts.append(Text(WIDTH, y + 4, said, "loud" if each.missed else "strong", "end"))
    return Chart(WIDTH, bottom + 22, "How long erasures took to each stage", parts)


def by_access(opened: Sequence[Openings]) -> Chart:
    """A bar for each actor and purpose: records opened."""
    most = max((each.opened for each in opened), default=0) or 1
    label = 200
    scale = (WIDTH - label - 90) / most
    parts = list[Mark]()
    for row, each in enumerate(sorted(opened, key=lambda one: -one.opened)):
        y = 4.0 + row * _ROW
        name = f"{each.actor}, {plain(each.purpose)}"
        name = name if len(name) <= 28 else name[:27] + "…"  # noqa: PLR2004 - what fits beside the bars
        parts.append(Text(label - 12, y + 14, name, "", "end"))
        parts.append(Bar(label, y, each.opened * scale, _ROW - 7, "received", f"{name}: {each.opened:,} opened"))
        parts.append(Text(label + each.opened * scale + 8, y + 14, f"{each.opened:,}", "strong"))
    return Chart(WIDTH, 4 + len(opened) * _ROW, "Records opened by actor and purpose", parts)
