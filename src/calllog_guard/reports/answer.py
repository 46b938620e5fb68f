"""
What a person gets, and what an authority gets: pages over an answer.

Rules: 1. Each is written for its reader: a person gets plain words, an authority its question, on whose word and how to
          check it.  2. A page says nothing that the sealed parts do not say, but how to check them.
Source: GDPR Art. 12(1), 15, 20; `core/answers/`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from calllog_guard.core.answers.about import About, OpenedBy, OwnRequest
from calllog_guard.core.answers.whole import Answer, Sealed
from calllog_guard.core.requests.types import row_of
from calllog_guard.reports.calls import pages_of
from calllog_guard.reports.pages import pieces
from calllog_guard.reports.words import day_words, moment

_WAITS: Final = {
    "identity": "waits until it is shown who is asking",
    "clarification": "waits for your clarification",
    "fee": "waits for a fee",
    "officer": "waits for one of our privacy officers",
    "second_officer": "waits for a second privacy officer",
    "notice": "is decided, and done once you have been told",
}
_NOT_USED: Final = {
    "no_consent": "you have not consented to it",
    "withdrawn": "you have withdrawn your consent",
    "objected": "you have objected to it",
}
_TOLD: Final = {
    "erased": "erased",
    "rectified": "corrected",
    "restricted": "restricted: they may not be used",
    "lifting": "to be used again, after a restriction",
}
_BOTH: Final = 2
"""Days that are named one by one."""
_LEFT_OUT: Final = {
    "other_days": "began on days outside those that were asked for",
    "not_portable": "are kept on another basis than a contract or a consent (Article 20 does not cover them)",
    "unreadable": "cannot be opened any more: their keys are destroyed because their time is over, or they are damaged",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """
    By what an answer can be checked.

    Args:
        parts: The sealed parts as they lie in the folder.
        files: The SHA-256 of the files that were made of them, in hexadecimal.
        signed_at: When the receipt was signed whose digests are those of the parts; None where none was compared.
        key: The fingerprint of the key that the receipt was checked with, and `key_name` its file.

    """

    parts: Sequence[Sealed]
    files: dict[str, str]
    signed_at: datetime | None = None
    key: str | None = None
    key_name: str = "RECEIPTS-KEY"


def _asked(kind: str) -> str:
    row = row_of(kind)
    return (row and row.title) or kind


def person_pages(answer: Answer, evidence: Evidence) -> Iterator[tuple[str, Iterator[str]]]:
    """The pages for a person: the name of each file, and what stands in it, piece by piece."""
    about = answer.about
    calls = list(pages_of(answer.legs, about.zone))
    names = ["index.html", *(f"calls-{number}.html" for number in range(2, len(calls) + 1))]
    shared = {
        "answer": answer,
        "about": about,
        "names": names,
        "several": len(about.subjects) > 1 or bool(about.linked),
    }
    first = pieces(
        "person.html.j2",
        **shared,
        evidence=evidence,
        months=calls[0] if calls else [],
        span=_span(answer),
        seen=[each for each in about.opened_by if each.records],
        unsigned=any(each.proven is False for each in about.opened_by if each.records),
        beside=[each for each in about.opened_by if not each.records],
        readers=_names(about, [each for each in about.opened_by if each.records]),
        maybe=_names(about, [each for each in about.opened_by if not each.records]),
        not_used=_NOT_USED,
        left_out=[(many, _LEFT_OUT.get(reason, reason)) for reason, many in answer.left_out.items()],
        purposes={each.name: each.why or each.name for each in about.purposes}
        | {each.name: each.why or each.name for each in about.not_in_use},
        asked=[(_asked(each.type), _became(each, answer), each) for each in about.requests],
        when=lambda each: _when(each, about.zone),
        told_words=_TOLD,
        choices=[("Objection", each) for each in about.objections]
        + [("Consent withdrawn", each) for each in about.withdrawals],
    )
    yield names[0], first
    for number, months in enumerate(calls[1:], 2):
        yield names[number - 1], pieces("calls.html.j2", **shared, months=months, number=number)


def authority_pages(answer: Answer, evidence: Evidence) -> Iterator[tuple[str, Iterator[str]]]:
    """The pages for an authority."""
    about = answer.about
    calls = list(pages_of(answer.legs, about.zone, exact=True))
    names = ["index.html", *(f"calls-{number}.html" for number in range(2, len(calls) + 1))]
    shared = {"answer": answer, "about": about, "names": names, "several": len(about.subjects) > 1}
    yield (
        names[0],
        pieces(
            "authority.html.j2",
            **shared,
            evidence=evidence,
            months=calls[0] if calls else [],
            left_out=[(many, _LEFT_OUT.get(reason, reason)) for reason, many in answer.left_out.items()],
        ),
    )
    for number, months in enumerate(calls[1:], 2):
        yield names[number - 1], pieces("calls.html.j2", **shared, months=months, number=number)


def _names(about: About, seen: Sequence[OpenedBy]) -> list[str]:
    return list(dict.fromkeys(about.titles.get(each.actor, each.actor) for each in seen))


def _span(answer: Answer) -> str:
    """From when to when the calls are."""
    if not answer.legs:
        return ""
    first, last = (
        day_words(moment(leg.started_at, answer.about.zone).date()) for leg in (answer.legs[-1], answer.legs[0])
    )
    return f"on {first}" if first == last else f"from {first} to {last}"


def _when(seen: OpenedBy, zone: str) -> str:
    last = day_words(moment(seen.last, zone).date())
    first = day_words(moment(seen.first, zone).date()) if seen.first else last
    if first == last:
        return last
    return f"on {seen.days} days, from {first} to {last}" if seen.days > _BOTH else f"{first} and {last}"


def _became(own: OwnRequest, answer: Answer) -> str:
    """What became of a request."""
    zone = answer.about.zone
    ended = f" on {day_words(moment(own.ended_at, zone).date())}" if own.ended_at else ""
    if own.case == answer.case:
        return "this is the answer"
    if own.state == "refused":
        return f"refused{ended}"
    if own.state == "waiting":
        return f"{_WAITS.get(own.waits_for or '', 'waits')}; due by {day_words(own.due)}"
    if own.state == "enforcing":
        return f"is being carried out; due by {day_words(own.due)}"
    row = row_of(own.type)
    return f"{'answered' if row and (row.answer or row.notice == 'answered') else 'carried out'}{ended}"
