"""
The pages that an officer asks for: each is a template and its values; a page of a case is put on record first.

Rules: 1. What is not on record is not shown.  2. Who asks has been let in by `site.py`, which calls nothing else.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from calllog_guard.console import sentences
from calllog_guard.console.briefing import briefing, compared
from calllog_guard.console.case_view import evidence_in, viewed
from calllog_guard.console.followed import Followed
from calllog_guard.console.recorded import ViewRecorder
from calllog_guard.console.relay import DeskKey, Relay
from calllog_guard.console.views import ACCESS_DAYS, access_rows, erasures, held, policy_values
from calllog_guard.core.cases.case import Case
from calllog_guard.core.crypto.jose import public_forms
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.officers.acceptances import Accepted
from calllog_guard.core.officers.prolongations import Prolonged
from calllog_guard.core.policy.active import Policy, TenantPolicy
from calllog_guard.core.requests.request import AUDIENCE
from calllog_guard.core.requests.types import EXPORTS, TYPES
from calllog_guard.ports.clock import Clock
from calllog_guard.reports.catalogue import ENGLISH, Catalogue, spoken
from calllog_guard.reports.pages import page_of

PACKAGE: Final = "calllog_guard.console"
_BEATS: Final = 3
"""Heartbeats that may be missing before the auditor counts as silent."""
_SEARCH_MOST: Final = 100


class Visit(NamedTuple):
    """Who asks, the token of their forms, what was asked for beside the address, and in which language."""

    officer: str
    token: str
    query: Mapping[str, str]
    language: Catalogue = ENGLISH


class MadePage(NamedTuple):
    """A page before it is made."""

    template: str
    values: Mapping[str, Any]
    status: HTTPStatus = HTTPStatus.OK


@dataclass(slots=True)
class LogState:
    """How reading the topics goes: since when the log has not answered, and since when this process runs."""

    began: datetime
    silent_since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """
    What the pages are made of.

    Args:
        desk: The desk's newest public key, as it lies beside the policy now.
        receipts_key: The tenant's public key for receipts, where it lies beside the policy.
        parts: The keys and values of the sealed parts of a case's answer.
        changes: What officers accepted as lost, and what auditors changed about how long topics are kept.
        objectives: Seconds from the tombstones on, by stage.

    """

    tenant: Tenant
    policy: Policy
    clock: Clock
    followed: Followed
    recorder: ViewRecorder
    relay: Relay
    desk: Callable[[], DeskKey | None]
    receipts_key: Callable[[], bytes | None]
    parts: Callable[[Case], Awaitable[Sequence[tuple[bytes, bytes]]]]
    changes: Callable[[], Awaitable[tuple[Sequence[Accepted], Sequence[Prolonged]]]]
    objectives: Mapping[str, float]
    heartbeat_s: float
    pulse: LogState = field(repr=False)
    languages: Sequence[Catalogue] = ()

    def table(self) -> TenantPolicy:
        """The tenant's policy in force."""
        return self.policy.at(self.clock.now().date()).tenant[self.tenant]

    def today(self) -> date:
        """The day that it is for the tenant."""
        return self.table().calendar.day(self.clock.now())

    def language(self, wanted: str) -> Catalogue:
        """Which language a browser is answered in, by its `Accept-Language`."""
        return spoken(wanted, self.languages)

    def officer_key(self, officer: str) -> bytes | None:
        """The public key of an officer of the policy in force; None: it is nobody's."""
        return self.policy.officer_key(self.tenant, officer, self.clock.now().date())

    async def inbox(self, visit: Visit) -> MadePage:
        """What waits for the officer, what is due, how much there is; or what a search finds."""
        cases, asked = self.followed.cases, visit.query.get("q", "").strip()[:_SEARCH_MOST]
        values: dict[str, Any] = {"asked": asked, "today": self.today(), "many": len(cases.rows)}
        if asked:
            return MadePage("search.html.j2", values | {"found": cases.searched(asked)})
        values |= {"refused": self.followed.refusals_of(visit.officer, self.tenant, self.today())}
        values |= {"mine": cases.waiting_for(visit.officer), "due": cases.due_soon(self.today())}
        values |= {"reviews": cases.to_review(self.clock.now()), "now": self.clock.now()}
        return MadePage("inbox.html.j2", values | {"counts": cases.counts()})

    async def case(self, visit: Visit, name: str) -> MadePage:
        """
        A case; that the officer sees it is on record before.

        Raises:
            GuardError: It cannot be put on record: nothing is shown.

        """
        row = self.followed.cases.rows.get(name)
        if row is None:
            return MadePage("missing.html.j2", {}, HTTPStatus.NOT_FOUND)
        await self.recorder.viewed(row.case, visit.officer, row.offset)
        receipts = evidence_in(await self.followed.receipts_of(row.case), self.receipts_key())
        values = {
            "it": viewed(row.whole(), self.table(), visit.officer, self.today(), receipts),
            "views": self.followed.accesses.of_case(row.case)[:20],
            "refused": self.followed.refusals_about(row.case),
            "brief": briefing(row.whole(), self.table()),
            "differs": compared(row.whole()),
            "answer": row.type in EXPORTS and "exported" in row.whole().stages,
            "sent": visit.query.get("sent") == "1",
        }
        return MadePage("case.html.j2", values | self.signing(visit))

    def signing(self, visit: Visit) -> dict[str, Any]:
        """What a page needs on which the officer signs: the desk's key, the officer's public one, for whom it is."""
        key = self.officer_key(visit.officer)
        x = public_forms(key)[1]["x"] if key else ""
        return {"desk": self.desk(), "officer_x": x, "audience": self.table().audience or AUDIENCE}

    async def receipt(self, visit: Visit, name: str, offset: int) -> bytes | None:
        """A receipt of a case as it lies there; that the officer takes it is on record before. Raises as `case`."""
        row = self.followed.cases.rows.get(name)
        if row is None or offset not in self.followed.receipts.get(name, ()):
            return None
        await self.recorder.viewed(row.case, visit.officer, row.offset)
        return next((each.value for each in await self.followed.receipts_of(name) if each.offset == offset), None)

    async def policy_page(self, _visit: Visit) -> MadePage:
        """The policy in force, and what waits for its day."""
        return MadePage("policy.html.j2", policy_values(self.policy, self.tenant, self.clock.now().date()))

    async def access(self, _visit: Visit) -> MadePage:
        """Who opened what."""
        since = self.today() - timedelta(ACCESS_DAYS)
        doubted = sorted((item for item in self.followed.accesses.doubted.items() if item[0][0] >= since), reverse=True)
        return MadePage(
            "access.html.j2",
            {"rows": access_rows(self.followed, self.today()), "doubted": doubted, "days": ACCESS_DAYS},
        )

    async def erasures(self, _visit: Visit) -> MadePage:
        """How long erasures take."""
        removing = [kind for kind, row in TYPES.items() if "tombstoned" in row.stages and "absent" in row.stages]
        found = erasures(self.followed.cases.of_types(*removing), self.objectives, self.clock.now())
        return MadePage("erasures.html.j2", {"found": found, "objectives": self.objectives})

    async def holds(self, _visit: Visit) -> MadePage:
        """Holds and disclosures that are no secret."""
        return MadePage("holds.html.j2", held(self.followed, self.clock.now()))

    async def health(self, _visit: Visit) -> MadePage:
        """What the topics tell of the workers."""
        followed, now = self.followed, self.clock.now()
        late = timedelta(seconds=_BEATS * self.heartbeat_s)
        values = {
            "beat_at": followed.beat_at,
            "beat_late": followed.beat_at is None or now - followed.beat_at > late,
            "written_at": followed.written_at,
            "oldest": followed.cases.oldest("enforcing"),
            "unread": sorted(followed.unread.items()),
            "cases": len(followed.cases.rows),
            "version": self.policy.at(now.date()),
            "pulse": self.pulse,
        }
        return MadePage("health.html.j2", values)


Page = Callable[[Office, Visit], Awaitable[MadePage]]
PAGES: Final[Mapping[str, Page]] = {
    "/": Office.inbox,
    "/erasures": Office.erasures,
    "/holds": Office.holds,
    "/policy": Office.policy_page,
    "/access": Office.access,
    "/health": Office.health,
}
"""By address."""


def rendered(shown: MadePage, office: Office, visit: Visit | None, path: str, language: Catalogue = ENGLISH) -> bytes:
    """The page as it is sent; `language` counts where nobody is signed in."""
    common = {
        "visit": visit,
        "path": path,
        "tenant": office.tenant,
        "zone": office.table().calendar.zone,
        "pulse": office.pulse,
        "said": sentences,
        "types": TYPES,
    }
    language = visit.language if visit else language
    return page_of(PACKAGE, shown.template, language, **common | dict(shown.values)).encode()
