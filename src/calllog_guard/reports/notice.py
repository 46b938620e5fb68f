"""
A notice as a letter: to a person, to a recipient of the data; as text for who sends it on, and as a page.

Rules: 1. A letter says what was done, since when, why, and what its reader can do.  2. It says no more than the notice,
          but who writes it and where to complain.
Source: GDPR Art. 12(3), 12(4), 18(3), 19; `core/cases/notices.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from calllog_guard.core.cases.notices import PERSON, Words
from calllog_guard.core.cases.receipt import STATEMENT
from calllog_guard.core.requests.types import row_of
from calllog_guard.reports.pages import page
from calllog_guard.reports.words import day_words, moment

_TITLES: Final = {
    "erased": "Data erased",
    "rectified": "Data corrected",
    "restricted": "Data restricted",
    "lifting": "A restriction ends",
    "disclosed": "Data given to an authority",
    "extended": "We need longer",
    "refused": "Your request",
    "answered": "Your complaint",
    "received": "Your complaint has come",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """
    Who writes, and what is known beside the notice; a notice that is opened elsewhere has none of it.

    Args:
        titles: Who recipients are, in words; `purposes` what purposes are for.
        asked: The type of request that is told of, received `received_at`.
        before: Of a disclosure: it is still to be made.

    """

    company: str | None = None
    contact: str | None = None
    authority: str = "the one of the country where you live, or where we are"
    zone: str = "UTC"
    titles: Mapping[str, str] = field(default_factory=dict)
    purposes: Mapping[str, str] = field(default_factory=dict)
    asked: str | None = None
    received_at: datetime | None = None
    before: bool = True


def letter(words: Words, to: str, sender: Sender) -> str:
    """The notice as plain text."""
    row = row_of(sender.asked or "")
    received = day_words(moment(sender.received_at, sender.zone).date()) if sender.received_at else None
    text = page(
        "notice.txt.j2",
        words=words,
        to=to,
        company=sender.company,
        contact=sender.contact,
        authority=words.remedies.authority if words.remedies else sender.authority,
        zone=sender.zone,
        title=sender.titles.get(to),
        purposes=[sender.purposes.get(name, name) for name in words.purposes],
        asked=(row and row.asked) or "asked something of us",
        received=received,
        objection=sender.asked == "object",
        before=sender.before,
        not_given=sender.asked == "disclose",
        statement=STATEMENT,
    )
    paragraphs = (" ".join(each.split(" ")) for each in text.strip().split("\n\n"))
    return "\n\n".join(each.strip() for each in paragraphs if each.strip()) + "\n"


def letter_page(words: Words, to: str, text: str) -> str:
    """The letter as a page."""
    title = _TITLES[words.kind] if to == PERSON else f"Notice to {to}: {_TITLES[words.kind].lower()}"
    return page("notice.html.j2", words=words, title=title, paragraphs=text.strip().split("\n\n"))
