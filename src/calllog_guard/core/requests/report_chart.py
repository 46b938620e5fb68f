"""
The charts of a report as inline SVG: no script, nothing fetched, every value also written out.

Each returns an `<svg>` whose text a screen reader reads; widths are in the units of its own view box.
"""

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from calllog_guard.core.requests.report import Count, DayLine, Opened, Stage
from calllog_guard.core.requests.report_table import duration, words

WIDTH: Final = 720
HALF: Final = 500
"""Two charts side by side: drawn narrower, so that their text is not smaller than that of the others."""
_TICKS_S: Final = (0.1, 1, 10, 60, 600, 3600, 21_600, 86_400, 864_000, 8_640_000)
STATES: Final = {
    "waiting": "#c98a1b",
    "enforcing": "#4d7fb8",
    "observing": "#7fb2d9",
    "closed": "#3f8f66",
    "refused": "#a5536a",
}
_LABEL: Final = 120
_ROW: Final = 26


def _svg(width: int, height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height:.0f}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
        f"{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(text)}</text>'


def _rect(x: float, y: float, width: float, height: float, fill: str, tip: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1.5):.1f}" height="{height:.1f}" rx="2" fill="{fill}">'
        f"<title>{escape(tip)}</title></rect>"
    )


def by_state(counts: Sequence[Count]) -> str:
    """A bar for each type, cut by state; the legend names only states that there are."""
    types = sorted({each.type for each in counts}, key=lambda kind: (-_sum(counts, kind), kind))
    most = max((_sum(counts, kind) for kind in types), default=1)
    shown = [state for state in STATES if any(each.state == state for each in counts)]
    parts, x = [], float(_LABEL)
    for state in shown:
        parts += [_rect(x, 2, 11, 11, STATES[state], state), _text(x + 16, 12, state, "small")]
        x += 34 + 7 * len(state)
    scale = (HALF - _LABEL - 50) / most
    for row, kind in enumerate(types):
        y, x = 26.0 + row * _ROW, float(_LABEL)
        parts.append(_text(_LABEL - 12, y + 14, kind, "", "end"))
        for state in shown:
            many = sum(each.cases for each in counts if (each.type, each.state) == (kind, state))
            if many:
                parts.append(_rect(x, y, many * scale - 1, _ROW - 7, STATES[state], f"{kind}, {state}: {many}"))
                x += max(many * scale, 2.5)
        parts.append(_text(x + 8, y + 14, f"{_sum(counts, kind):,}", "strong"))
    return _svg(HALF, 26 + len(types) * _ROW, "Cases by type and state", parts)


def _sum(counts: Sequence[Count], kind: str) -> int:
    return sum(each.cases for each in counts if each.type == kind)


def by_day(days: Sequence[DayLine]) -> str:
    """Two columns a day: received, answered."""
    most = max((max(each.received, each.answered) for each in days), default=0) or 1
    most += most > 1 and most % 2
    base, top, left = 210.0, 26.0, 34.0
    step = (HALF - left) / max(1, len(days))
    width = step / 2 - 2
    parts = [_rect(left, 2, 11, 11, "#4d7fb8", "received"), _text(left + 16, 12, "received", "small")]
    parts += [_rect(left + 84, 2, 11, 11, "#3f8f66", "answered"), _text(left + 100, 12, "answered", "small")]
    for share in (0, 0.5, 1):
        y = base - share * (base - top)
        if share != 0.5 or most > 1:  # noqa: PLR2004 - half of one case is none
            parts.append(f'<line x1="{left}" x2="{HALF}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
            parts.append(_text(left - 8, y + 4, f"{most * share:g}", "small", "end"))
    for number, each in enumerate(days):
        x = left + number * step + 1
        for at, (many, fill, name) in enumerate(
            ((each.received, "#4d7fb8", "received"), (each.answered, "#3f8f66", "answered"))
        ):
            if many:
                height = many / most * (base - top)
                tip = f"{each.day}: {many} {name}"
                parts.append(_rect(x + at * (width + 1), base - height, width, height, fill, tip))
        if number % 5 == 0 or number == len(days) - 1:
            parts.append(_text(x + width, base + 16, each.day[-2:], "small", "middle"))
    return _svg(HALF, base + 22, "Requests received and answered by day", parts)


def by_stage(stages: Sequence[Stage]) -> str:
    """For each stage median, worst and objective on a logarithmic scale, from a tenth of a second on."""
    longest = max([each.worst_s for each in stages] + [each.objective_s or 0 for each in stages] + [10])
    last = next((tick for tick in _TICKS_S if tick >= longest), _TICKS_S[-1])
    scale = (WIDTH - _LABEL - 110) / (math.log10(last) + 1)

    def at(seconds: float) -> float:
        return _LABEL + (math.log10(max(seconds, 0.1)) + 1) * scale

    bottom = 30.0 + len(stages) * _ROW
    parts = ['<circle cx="126" cy="8" r="5" fill="#2b5d8a"/>', _text(137, 12, "median", "small")]
    parts += ['<line x1="196" x2="222" y1="8" y2="8" class="worst"/>', _text(228, 12, "to worst", "small")]
    parts += ['<line x1="296" x2="296" y1="1" y2="15" class="objective"/>', _text(304, 12, "objective", "small")]
    for seconds in _TICKS_S[: _TICKS_S.index(last) + 1]:
        parts.append(f'<line x1="{at(seconds):.1f}" x2="{at(seconds):.1f}" y1="24" y2="{bottom:.1f}" class="grid"/>')
        parts.append(_text(at(seconds), bottom + 15, duration(seconds).replace(".0", ""), "small", "middle"))
    for row, each in enumerate(stages):
        y = 30 + row * _ROW + 9.0
        fill = "#b3403a" if each.missed else "#2b5d8a"
        tip = f"{each.stage} since {each.since}: median {duration(each.median_s)}, worst {duration(each.worst_s)}"
        parts.append(_text(_LABEL - 12, y + 4, each.stage, "", "end"))
        if each.erasures:
            ends = f'x1="{at(each.median_s):.1f}" x2="{at(each.worst_s):.1f}" y1="{y}" y2="{y}"'
            parts.append(f'<line {ends} class="worst"><title>{escape(tip)}</title></line>')
            circle = f'<circle cx="{at(each.median_s):.1f}" cy="{y}" r="5" fill="{fill}">'
            parts.append(f"{circle}<title>{escape(tip)}</title></circle>")
        if each.objective_s is not None:
            x = at(each.objective_s)
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 9}" y2="{y + 9}" class="objective"/>')
        said = f"{each.missed} missed" if each.missed else f"{each.erasures:,}"
        parts.append(_text(WIDTH, y + 4, said, "loud" if each.missed else "strong", "end"))
    return _svg(WIDTH, bottom + 22, "How long erasures took to each stage", parts)


def by_access(opened: Sequence[Opened]) -> str:
    """A bar for each actor and purpose: records opened."""
    most = max((each.opened for each in opened), default=0) or 1
    label = 200
    scale = (WIDTH - label - 90) / most
    parts = []
    for row, each in enumerate(sorted(opened, key=lambda one: -one.opened)):
        y = 4.0 + row * _ROW
        name = f"{each.actor}, {words(each.purpose)}"
        name = name if len(name) <= 28 else name[:27] + "…"  # noqa: PLR2004 - what fits beside the bars
        parts.append(_text(label - 12, y + 14, name, "", "end"))
        parts.append(_rect(label, y, each.opened * scale, _ROW - 7, "#4d7fb8", f"{name}: {each.opened:,} opened"))
        parts.append(_text(label + each.opened * scale + 8, y + 14, f"{each.opened:,}", "strong"))
    return _svg(WIDTH, 4 + len(opened) * _ROW, "Records opened by actor and purpose", parts)
