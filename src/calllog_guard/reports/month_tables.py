"""
The tables of a month's report, once for Markdown and for the page: title, what an empty one says, heads, rows of text.

Source: `core/audit/month_report.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from calllog_guard.core.audit.month_lines import Openings, Report
from calllog_guard.reports.words import plain, short_span


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the columns in `numbers` are set to the right, the rows in `loud` ask for attention."""

    title: str
    empty: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()
    loud: frozenset[int] = frozenset()


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d}" if at else ""


def _left(days: int) -> str:
    return f"{-days} late" if days < 0 else "today" if days == 0 else str(days)


def tables(report: Report) -> Iterator[Table]:
    """Every table, in the order of how soon somebody must act on it."""
    heads = ("Case", "Type", "Waits for", "Due", "Days left")
    for title, empty, lines in (
        ("Due within seven days", "Nothing is due within seven days.", report.due_soon),
        ("Waiting for officers", "Nothing waits for an officer.", report.officers),
    ):
        rows = tuple((each.case, each.type, plain(each.waits_for), each.due, _left(each.left)) for each in lines)
        loud = frozenset(number for number, each in enumerate(lines) if each.left < 0)
        yield Table(title, empty, heads, rows, frozenset({4}), loud)
    yield _stages(report)
    yield _gone(report)
    yield from _kept(report)
    yield from _shown(report)


def _stages(report: Report) -> Table:
    rows = tuple(
        (
            each.stage,
            each.since,
            str(each.erasures),
            short_span(each.median_s),
            short_span(each.worst_s),
            short_span(each.objective_s) if each.objective_s is not None else "",
            str(each.missed) if each.objective_s is not None else "",
        )
        for each in report.stages
    )
    heads = ("Stage", "Since", "Erasures", "Median", "Worst", "Objective", "Missed")
    loud = frozenset(number for number, each in enumerate(report.stages) if each.missed)
    return Table("Erasures by stage", "No erasure reached a stage.", heads, rows, frozenset(range(2, 7)), loud)


def _gone(report: Report) -> Table:
    """What the signed statement of the month says."""
    found = report.statement
    heads, title = ("What", "Why", "Records"), "What went, and what is left"
    if found is None:
        return Table(title, "The statement of this month is not signed yet.", heads, (), frozenset({2}))
    rows = [("lapsed", each.rule, f"{each.legs:,}") for each in found.expired]
    rows += [("removed on request", f"{each.type}, case {each.case}", f"{each.legs:,}") for each in found.removed]
    rows += [
        ("copies kept apart", each.purpose or f"hold, case {each.case}", f"{each.copies:,}") for each in found.held
    ]
    rows.append(("left", f"closed {found.at:%Y-%m-%d %H:%M} UTC", f"{found.alive:,}"))
    if found.readable_from:
        rows.append(("keys", f"of no month before {found.readable_from}", ""))
    if found.partitions < found.of:
        rows.append(("counted", f"{found.partitions} of {found.of} partitions", ""))
    return Table(title, "", heads, tuple(rows), frozenset({2}))


def _kept(report: Report) -> Iterator[Table]:
    holds = tuple((each.hold, plain(each.state), each.basis or "", _day(each.review_at)) for each in report.holds)
    overdue = frozenset(n for n, each in enumerate(report.holds) if each.review_at and each.review_at < report.at)
    yield Table("Holds", "Nothing is held.", ("Hold", "State", "Basis", "Review"), holds, loud=overdue)
    disclosures = tuple(
        (
            each.case,
            plain(each.state),
            each.authority or "",
            each.basis or "",
            ", ".join(each.approvals),
            _day(each.told) or (f"not before {_day(each.review_at)}" if each.review_at else ""),
        )
        for each in report.disclosures
    )
    late = frozenset(n for n, each in enumerate(report.disclosures) if each.review_at and each.review_at < report.at)
    heads = ("Case", "State", "Authority", "Basis", "Officers", "Person told")
    yield Table("Disclosures", "Nothing was disclosed.", heads, disclosures, loud=late)


def _shown(report: Report) -> Iterator[Table]:
    notices = tuple((each.to, str(each.sent), str(each.acknowledged), str(each.overdue)) for each in report.notices)
    loud = frozenset(number for number, each in enumerate(report.notices) if each.overdue)
    heads: tuple[str, ...] = ("To", "Sent", "Acknowledged", "Overdue")
    yield Table("Notices", "No notice was sent.", heads, notices, frozenset({1, 2, 3}), loud)
    opened = tuple(
        (_actor(each), each.purpose, f"{each.times:,}", f"{each.opened:,}", f"{each.refused:,}", f"{each.denied:,}")
        for each in report.opened
    )
    tried = frozenset(number for number, each in enumerate(report.opened) if each.denied)
    heads = ("Actor", "Purpose", "Times", "Records opened", "Records refused", "Reads denied")
    none = "No record was opened, and no answer has one."
    yield Table("Who opened records", none, heads, opened, frozenset({2, 3, 4, 5}), tried)
    doubted = tuple((plain(each.reason), f"{each.accesses:,}", f"{each.claimed:,}") for each in report.doubted)
    heads = ("Why", "Accesses", "Records they claim")
    rows = frozenset(range(len(doubted)))
    yield Table(
        "Accesses nobody believes", "Every access is proven, or older.", heads, doubted, frozenset({1, 2}), rows
    )
    brakes = tuple((each.type, str(each.limit), str(each.busiest), str(each.waiting)) for each in report.brakes)
    engaged = frozenset(number for number, each in enumerate(report.brakes) if each.busiest >= each.limit)
    heads = ("Requests", "Limit an hour", "Busiest hour", "Wait for an officer now")
    yield Table("Brakes", "There is no brake.", heads, brakes, frozenset({1, 2, 3}), engaged)
    losses = tuple(
        (
            f"{each.at:%Y-%m-%d %H:%M}",
            each.officer,
            f"{each.topic}/{each.partition}",
            f"{each.from_} to {each.to}",
            "unknown" if each.records is None else f"{each.records:,}",
        )
        for each in report.losses
    )
    heads = ("Accepted", "By", "Partition", "Offsets", "Records at most")
    yield Table(
        "Records lost unread", "No loss was accepted.", heads, losses, frozenset({4}), frozenset(range(len(losses)))
    )
    prolonged = tuple(
        (
            f"{each.at:%Y-%m-%d %H:%M}",
            each.topic,
            short_span(each.from_s),
            short_span(each.to_s),
            short_span(each.unread_s),
        )
        for each in report.prolonged
    )
    heads = ("When", "Topic", "Kept for", "From then on for", "Oldest unread")
    yield Table("Topics kept longer", "No topic was kept longer.", heads, prolonged, frozenset({2, 3, 4}))
    versions = tuple((each.effective, each.change) for each in report.policies)
    yield Table("Policy", "There is no policy.", ("In force from", "Change"), versions)


def _actor(opened: Openings) -> str:
    return f"{opened.actor} (not proven)" if opened.proven is False else opened.actor


def counts(report: Report) -> Table:
    """Cases by type and state."""
    rows = tuple((each.type, each.state, plain(each.waits_for), str(each.cases)) for each in report.counts)
    heads = ("Type", "State", "Waits for", "Cases")
    return Table("Cases by type and state", "No case concerns this month.", heads, rows, frozenset({3}))
