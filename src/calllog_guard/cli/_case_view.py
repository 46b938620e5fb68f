"""How cases are shown to an officer: a table on the terminal, plain lines in a pipe, all of one case in sections."""

import sys
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from calllog_guard.core.cases.case import UNFOUND, Case
from calllog_guard.core.cases.case_filter import days_left
from calllog_guard.core.cases.notices import Filed, waited_for
from calllog_guard.core.codec import time_text
from calllog_guard.core.requests.types import TAKE_AWAY, stages_of

_LIFTED = {"ended": "ended", "stands": "stands: an officer's lift ends it, or the decision on the objection"}
_NOTHING = "found      nothing to which it could be done: approve ({so}), or refuse with reasons"
_HEADS = ("case", "type", "state", "waits for", "due", "days left", "last stage", "ticket", "known")


def matched(case: Case) -> str:
    """Under which identifiers of the request nobody was known, as far as known; none where somebody was under all."""
    if not case.unknown:
        return ""
    if case.known:
        return f"nobody under {', '.join(str(place + 1) for place in case.unknown)}"
    return "nobody"


def _known(case: Case) -> Iterator[str]:
    """Under which of its identifiers nobody was known, and how many more people it reached."""
    if matched(case):
        yield (
            f"known      {matched(case)} of its identifiers"
            if case.known
            else "known      nobody under its identifiers"
        )
    if case.linked:
        yield f"reached    {case.linked} more under identifiers of the same person, which it does not name"


_UNSURE: Final[dict[str, str]] = {
    "lost": "           some accesses to them are on record no more: all are told who may have been given them",
    "unread": "           some accesses on record cannot be read: all are told who may have been given them",
    "untraced": "           a keeper of an earlier release did not look: all are told who may have been given them",
}


def _stage(case: Case, name: str) -> str:
    """A stage in the words of its type: of a choice records go only where nothing else keeps them."""
    if case.type not in TAKE_AWAY or name not in stages_of(case.type):
        return name
    removed = sum(case.legs.values())
    return f"purposes ended, {removed} removed: {name}" if removed else "purposes ended, none removed"


def _row(case: Case, today: date) -> tuple[str, ...]:
    left = days_left(case, today)
    last = max(reversed(case.stages.items()), key=lambda item: item[1], default=("", None))[0]  # of one time the later
    waits = (case.waits_for or "").replace("_", " ")
    days = "" if left is None else f"{-left} late" if left < 0 else str(left)
    return (
        case.case,
        case.type,
        case.state,
        waits,
        case.due if case.open else "",
        days,
        _stage(case, last),
        case.ticket or "",
        matched(case),
    )


def table(cases: Sequence[Case], today: date) -> str:
    """The cases as a table; in a pipe as tab-separated lines without heads."""
    rows = [_row(case, today) for case in cases]
    if not sys.stdout.isatty():
        return "\n".join("\t".join(row) for row in rows)
    found = Table(*_HEADS, title=f"{len(rows)} cases", header_style="bold")
    for case, row in zip(cases, rows, strict=True):
        left = days_left(case, today)
        found.add_row(*row, style="red" if left is not None and left < 0 else None)
    console = Console()
    with console.capture() as shown:
        console.print(found)
    return shown.get().rstrip("\n")


def _given(case: Case) -> Iterator[str]:
    """To whom the records had gone that the case is about, and whether anybody is still to say so."""
    traces = (case.traces or {}).values()
    if not traces:
        return
    names = dict.fromkeys(name for trace in traces for name in trace.given or ())
    waits = sum(trace.given is msgspec.UNSET for trace in traces)
    yield "given to   " + (", ".join(names) or "nobody") + (f"; {waits} still to be looked for" if waits else "")
    yield from (_UNSURE[doubt] for doubt in dict.fromkeys(trace.unsure for trace in traces if trace.unsure))


def _times(case: Case) -> Iterator[tuple[str, str]]:
    yield "received", time_text(case.received_at)
    yield from ((name, time_text(at)) for name, at in sorted(case.moments.items(), key=lambda item: item[1]))
    if case.waits_for == "identity" and "identity_asked_at" not in case.moments:
        yield "identity_asked_at", "nobody has asked: time runs (request clock --event ask_identity)"
    if case.waits_for == "identity":
        yield "identity_shown_at", "awaited (request clock --event verify)"
    for asked, came in case.pauses:
        yield "clarification_asked_at", time_text(asked)
        yield "clarification_came_at", time_text(came) if came else "awaited"


def _asked_of_officers(case: Case) -> Iterator[str]:
    """What an officer is to know, and can do, while a case waits."""
    if UNFOUND in case.stages and case.open:
        yield _NOTHING.format(so="the answer says so" if case.type == "disclose" else "it stands for what may come")
    if case.announcing:
        yield _announcing(case)
    elif case.weighed:
        yield "decide     case approve, or case refuse with your reasons for the person"


def _counted(case: Case) -> Iterator[str]:
    """What keepers had counted before an officer decides, or are still to count."""
    found = case.preview
    if not found or (found.at is None and not case.weighed):
        return
    if found.at is None:
        yield f"would be   keepers are still measuring, since {time_text(found.asked_at)}"
        return
    yield f"would be   {found.legs} records of {found.months} months, as counted at {time_text(found.at)}"
    if found.narrowed:
        yield f"           {found.narrowed} more lose a purpose and stay"
    yield from (f"           a law has copies kept of {many} of them, for {name}" for name, many in found.kept.items())
    yield from (f"           under the hold {name}, whose copies stay" for name in found.holds)
    yield from (f"           restricted by the case {name}" for name in found.restrictions)
    if found.unsure:
        yield "           not everybody named could be counted: the entry of somebody cannot be used"


def _announcing(case: Case) -> str:
    """What a case waits for whose person is told before it is done."""
    name = waited_for(case.type)
    until = f", or until {time_text(case.notices[name].act_by)}" if name in case.notices else ""
    asked = "request clock --event noticed --to-whom person"
    return f"told first  waits until {name} is acknowledged ({asked}){until}; case refuse ends it undone" + (
        ": it is refused already, and the restriction ends then" if case.state == "refused" else ""
    )


def whole(case: Case, today: date, filed: Filed | None) -> str:
    """Everything of one case."""
    left = days_left(case, today)
    until = f", {left} days left" if left is not None else ""
    waits = f", waits for {case.waits_for}" if case.waits_for else ""
    lines = [f"{case.case}  {case.type}, {case.state}{waits}"]
    lines.append(f"due        {case.due}{until}; by law {case.law_due or 'not running'}{', extended' * case.extended}")
    lines.append(f"asked by   {case.asked_by}, request {case.jti}" + (f", ticket {case.ticket}" if case.ticket else ""))
    lines += list(_known(case))
    lines += _asked_of_officers(case)
    lines += _counted(case)
    if case.approvals:
        lines.append(f"approved   {', '.join(case.approvals)}")
    if case.refusal:
        lines.append(f"refused    {'by an officer' if case.refusal == 'officer' else case.refusal}")
    if filed:
        lines.append(
            f"disclosed  to {filed.authority}; {filed.basis}; the person is told {filed.notify.replace('_', ' ')}"
        )
    if case.review_at:
        asked = "may the person be told? clock --event tell, or not_yet"
        asked = "is the hold still needed?" if case.type == "hold" else asked
        lines.append(f"review     {time_text(case.review_at)}: {asked}")
    if case.lifts is not msgspec.UNSET:
        lines += [f"lift       of {name}: {_LIFTED[word]}" for name, word in case.lifts.items()]
    lines += list(_given(case))
    lines.append("clock")
    lines += [f"  {name:24} {told}" for name, told in _times(case)]
    if case.paused_s:
        lines.append(f"  {'paused_days':24} {case.paused_s / 86_400:.1f}")
    lines.append("stages")
    stages = sorted(case.stages.items(), key=lambda item: item[1])
    lines += [f"  {_stage(case, name):24} {time_text(at)}" for name, at in stages]
    if case.notices:
        lines.append("notices")
    for name, sent in case.notices.items():
        seen = f"acknowledged {time_text(sent.acknowledged_at)}" if sent.acknowledged_at else "not acknowledged"
        lines.append(f"  {name:24} {time_text(sent.sent_at)}, {seen}, to be by {time_text(sent.act_by)}")
    return "\n".join(lines)
