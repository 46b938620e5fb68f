"""
The report as a page: HTML, no scripts, nothing fetched; it prints.

Rules: 1. What the page shows is in the report: no other source.  2. Every text is escaped, ours too.
"""

from calendar import month_name
from html import escape
from typing import Final

from calllog_guard.core.requests.report import Report
from calllog_guard.core.requests.report_chart import by_access, by_day, by_stage, by_state
from calllog_guard.core.requests.report_table import Table, tables, words

_STYLE: Final = (
    ":root{--ink:#1c2733;--soft:#5a6875;--line:#dde2e7;--loud:#b3403a}"
    "body{font:15px/1.5 'Segoe UI',Helvetica,Arial,'DejaVu Sans',sans-serif;color:var(--ink);background:#f4f6f8;margin:0}"
    "main{max-width:70em;margin:0 auto;padding:2.2em 1.5em}"
    "h1{font-size:1.75em;line-height:1.2;margin:0}h2{font-size:1.05em;margin:0 0 .8em}"
    ".sub,.none,.note{color:var(--soft)}.sub{margin:.3em 0 1.6em}.none,.note{margin:0}.note{font-size:.87em;margin-top:.8em}"
    ".tiles{display:grid;grid-template-columns:repeat(4,1fr);gap:.8em;margin-bottom:.8em}"
    "@media(max-width:44em){.tiles{grid-template-columns:repeat(2,1fr)}}"
    ".tile,section{background:#fff;border:1px solid var(--line);border-radius:6px}"
    ".tile{padding:.7em 1em}.tile b{display:block;font-size:1.8em;line-height:1.25;font-weight:600}"
    ".tile span{color:var(--soft);font-size:.87em}.tile.loud b{color:var(--loud)}"
    "section{padding:1.1em 1.3em;margin-bottom:.8em;overflow-x:auto;break-inside:avoid}"
    ".two{display:grid;grid-template-columns:repeat(auto-fit,minmax(29em,1fr));gap:.8em}.two section{margin:0}"
    ".two{margin-bottom:.8em}"
    "svg{display:block;width:100%;max-width:52em;height:auto}svg text{font-size:13px;fill:var(--ink)}"
    "svg .small{font-size:11.5px;fill:var(--soft)}svg .strong{font-weight:600}svg .loud{font-weight:600;fill:var(--loud)}"
    ".grid{stroke:#e6eaee}.worst{stroke:#2b5d8a;stroke-width:2.5;stroke-opacity:.45}"
    ".objective{stroke:#c98a1b;stroke-width:2.5}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:baseline;padding:.38em 1.1em .38em 0}"
    "th{font-weight:600;font-size:.87em;color:var(--soft);white-space:nowrap}td{border-top:1px solid var(--line)}"
    "td.num,th.num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}th:last-child,td:last-child{padding-right:0}"
    "tr.loud td{color:var(--loud)}td.id{font-family:'DejaVu Sans Mono',Menlo,Consolas,monospace;font-size:.88em}"
    "@media print{body{background:#fff}main{max-width:none;padding:0}.tile,section{border-color:#bbb}}"
)
_ID: Final = 22
_FOOT: Final = (
    "Cases are named by random ids; neither this page nor what it was made from names a person. "
    "States are those of the moment above."
)

_OPEN: Final = "Holds that must stay secret are not in it."
_HIDDEN: Final = "<b>It shows holds whose very existence must not be disclosed: for officers alone.</b>"


def page(report: Report) -> str:
    """The page."""
    year, _, number = report.month.partition("-")
    title = f"{month_name[int(number)]} {year}"
    found = {table.title: table for table in tables(report)}
    charts = {
        "Erasures by stage": by_stage(report.stages) if report.stages else "",
        "Who opened records": by_access(report.opened) if report.opened else "",
    }
    sections = [_section(table, charts.get(table.title, "")) for table in found.values()]
    counts = by_state(report.counts) if report.counts else '<p class="none">No case concerns this month.</p>'
    two = (
        f"<section><h2>Cases by type and state</h2>{counts}{_waits(report)}</section>"
        f"<section><h2>Day by day</h2>{by_day(report.days)}</section>"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(report.tenant)}, {title}</title><style>{_STYLE}</style></head><body><main>"
        f'<h1>Privacy office, {title}</h1><p class="sub">{escape(report.tenant)}, as of {report.at:%Y-%m-%d %H:%M} UTC</p>'
        f'<div class="tiles">{_tiles(report)}</div><div class="two">{two}</div>{"".join(sections)}'
        f'<p class="note">{_FOOT} {_HIDDEN if report.secrets else _OPEN}</p></main></body></html>\n'
    )


def _tiles(report: Report) -> str:
    missed = sum(each.missed for each in report.stages)
    overdue = sum(each.left < 0 for each in report.due_soon)
    unheard = sum(each.overdue for each in report.notices)
    shown = (
        (report.received, "received", False),
        (report.answered, "answered", False),
        (report.late, "answered late", report.late > 0),
        (overdue, "overdue now", overdue > 0),
        (len(report.due_soon) - overdue, "due within 7 days", False),
        (len(report.officers), "wait for officers", False),
        (missed, "objectives missed", missed > 0),
        (unheard, "notices unacknowledged", unheard > 0),
    )
    return "".join(
        f'<div class="tile{" loud" if loud else ""}"><b>{many:,}</b><span>{name}</span></div>'
        for many, name, loud in shown
    )


def _waits(report: Report) -> str:
    """What the waiting ones wait for."""
    waits: dict[str, int] = {}
    for each in report.counts:
        if each.waits_for:
            waits[each.waits_for] = waits.get(each.waits_for, 0) + each.cases
    said = ", ".join(f"{many:,} for {escape(words(name))}" for name, many in sorted(waits.items()))
    return f'<p class="note">Waiting: {said}.</p>' if said else ""


def _section(table: Table, chart: str) -> str:
    if not table.rows:
        return f'<section><h2>{escape(table.title)}</h2><p class="none">{escape(table.empty)}</p></section>'
    head = "".join(
        f"<th{' class=num' if at in table.numbers else ''}>{escape(name)}</th>" for at, name in enumerate(table.heads)
    )
    rows = "".join(
        f"<tr{' class=loud' if number in table.loud else ''}>{''.join(_cell(table, at, text) for at, text in enumerate(row))}</tr>"
        for number, row in enumerate(table.rows)
    )
    body = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<section><h2>{escape(table.title)}</h2>{chart}{body}</section>"


def _cell(table: Table, at: int, text: str) -> str:
    kind = "num" if at in table.numbers else "id" if table.heads[at] == "Case" and len(text) == _ID else ""
    return f"<td{f' class={kind}' if kind else ''}>{escape(text)}</td>"
