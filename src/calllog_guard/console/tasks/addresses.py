"""Which function makes the page of an address; the site asks these tables once it has let somebody in."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from calllog_guard.console import pages
from calllog_guard.console.pages import MadePage, Office, Page, Visit
from calllog_guard.console.tasks import answer_page, month_page, request_pages

NamedPage = Callable[[Office, Visit, str], Awaitable[MadePage]]
PAGES: Final[Mapping[str, Page]] = {
    **pages.PAGES,
    "/requests": request_pages.types_page,
    "/month": month_page.month_page,
}
"""By the whole address."""
NAMED_PAGES: Final[tuple[tuple[re.Pattern[str], NamedPage], ...]] = (
    (re.compile(r"/cases/([A-Za-z0-9_-]{22})\Z", re.ASCII), Office.case),
    (re.compile(r"/cases/([A-Za-z0-9_-]{22})/answer\Z", re.ASCII), answer_page.answer_page),
    (re.compile(r"/requests/new/([a-z_]{1,20})\Z", re.ASCII), request_pages.form_page),
    (re.compile(r"/requests/([A-Za-z0-9_-]{22})\Z", re.ASCII), request_pages.sent_page),
)
"""By its form, which has one name in it."""
