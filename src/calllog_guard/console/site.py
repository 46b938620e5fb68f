"""
The pages by their addresses, behind one door: host, origin, session, token of the form, and then the page.

Rules: 1. Nothing of a case is made into a page before its view is on record.  2. Who is not signed in learns nothing.
       3. A form counts only from this origin, with the token of its session.  4. An officer is asked of the policy in
          force at every page: a name that is none any more is signed out.  5. No address has anything of a person.
Source: OWASP ASVS 4.0.3, level 2 (docs/how-to/console.md has the table); W3C CSP 3; Fetch Metadata.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Final

import structlog

from calllog_guard.adapters.http.web import WebRequest, WebResponse
from calllog_guard.console.pages import PACKAGE, MadePage, Office, Visit, rendered
from calllog_guard.console.sign_in.door import SESSION, Door
from calllog_guard.console.sign_in.entrance import Entrance
from calllog_guard.console.sign_in.sessions import Session, Throttle
from calllog_guard.console.tasks.addresses import NAMED_PAGES, PAGES
from calllog_guard.console.tasks.request_pages import led_to
from calllog_guard.errors import GuardError, StateRefusedError
from calllog_guard.reports.pages import style

log: Final = structlog.get_logger()
SENT: Final = 60
SENT_IN: Final = timedelta(minutes=1)
"""So many sealed forms an officer may send in that time: no person does, and a page that was taken over might."""
_BY_PROXY: Final = frozenset(
    {"forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "via"}
)
"""What proxies add to a request."""
_DECISION: Final = re.compile(r"/cases/([A-Za-z0-9_-]{22})/decision\Z", re.ASCII)
_RECEIPT: Final = re.compile(r"/cases/([A-Za-z0-9_-]{22})/receipts/(\d{1,15})\Z", re.ASCII)
_STATIC: Final = {
    "page.css": "text/css; charset=utf-8",
    "console.css": "text/css; charset=utf-8",
    "sealing.js": "text/javascript; charset=utf-8",
    **dict.fromkeys(
        ("decide.js", "keys.js", "ask.js", "filled.js", "saving.js", "opening.js", "open.js"),
        "text/javascript; charset=utf-8",
    ),
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # not `no-referrer`: a browser would then send forms with `Origin: null`
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
}
"""Of every answer."""
_HSTS: Final = {"Strict-Transport-Security": "max-age=31536000"}


@cache
def _static(name: str) -> bytes:
    if name == "page.css":
        return style()
    return (files(PACKAGE) / "static" / name).read_bytes()


class Site:
    """Answers every request."""

    def __init__(self, office: Office, door: Door) -> None:
        self._office, self._door, self._entrance = office, door, Entrance(office, door)
        self._sent = Throttle(office.clock.now, SENT, SENT_IN)
        self.headers = {**HEADERS, **(_HSTS if door.secure else {})}

    async def answer(self, request: WebRequest) -> WebResponse:
        """The answer, with the headers of all."""
        found = await self._answered(request)
        return WebResponse(
            status=found.status,
            kind=found.kind,
            body=b"" if request.method == "HEAD" else found.body,
            headers={**self.headers, **found.headers},
            cookie=found.cookie,
        )

    async def _answered(self, request: WebRequest) -> WebResponse:
        if (status := self._refused(request)) is not None:
            return _plain(status)
        if (file := self._file(request)) is not None:
            return file
        if request.path == "/sign-in" or request.path.startswith("/sign-in/"):
            return await self._entrance.answered(request)
        cookie = request.cookies.get(self._door.name(SESSION), "")
        session = self._session(cookie)
        if session is None:
            return _to("/sign-in", self._door.cookie(SESSION, "") if cookie else None)
        language = self._office.language(request.headers.get("accept-language", ""))
        visit = Visit(session.officer, self._door.sessions.token(cookie), request.query, language)
        act = self._posted if request.method == "POST" else self._shown
        try:
            return await act(request, visit)
        except GuardError as error:
            return self._failed(error, visit, request.path)

    @staticmethod
    def _file(request: WebRequest) -> WebResponse | None:
        """What needs no session, and tells nothing."""
        if request.path == "/favicon.ico":  # browsers ask for it by themselves
            return _plain(HTTPStatus.NOT_FOUND)
        folder, _, name = request.path.rpartition("/")
        if folder != "/static" or name not in _STATIC or request.method == "POST":
            return None
        return WebResponse(kind=_STATIC[name], body=_static(name))

    def _refused(self, request: WebRequest) -> HTTPStatus | None:
        """Why nobody is heard at all, whoever they are."""
        if request.headers.get("host") != self._door.host:
            return HTTPStatus.MISDIRECTED_REQUEST
        if not self._door.secure and not _BY_PROXY.isdisjoint(request.headers):
            return HTTPStatus.MISDIRECTED_REQUEST  # cookies without `Secure` would leave this machine: see --url
        if request.method not in {"GET", "HEAD", "POST"}:
            return HTTPStatus.METHOD_NOT_ALLOWED
        return HTTPStatus.FORBIDDEN if request.method == "POST" and not self._from_here(request) else None

    def _from_here(self, request: WebRequest) -> bool:
        """Whether a page of ours sent a form; a browser says so in one of two ways."""
        origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
        if site not in {None, "same-origin"}:
            return False
        return origin == self._door.url if origin is not None else site == "same-origin"

    def _session(self, cookie: str) -> Session | None:
        session = self._door.sessions.found(cookie)
        if session is not None and self._office.officer_key(session.officer) is None:
            self._door.sessions.end_all(session.officer)
            return None
        return session

    # --- signed in --------------------------------------------------------------------------------------------------

    async def _shown(self, request: WebRequest, visit: Visit) -> WebResponse:
        office, path = self._office, request.path
        if path in PAGES:
            return self._page(await PAGES[path](office, visit), visit, path)
        for pattern, made in NAMED_PAGES:
            if found := pattern.match(path):
                return self._page(await made(office, visit, found[1]), visit, path)
        if found := _RECEIPT.match(path):
            return self._receipt(await office.receipt(visit, found[1], int(found[2])), visit, path)
        return self._page(MadePage("missing.html.j2", {}, HTTPStatus.NOT_FOUND), visit, path)

    def _receipt(self, token: bytes | None, visit: Visit, path: str) -> WebResponse:
        if token is None:
            return self._page(MadePage("missing.html.j2", {}, HTTPStatus.NOT_FOUND), visit, path)
        headers = {"Content-Disposition": 'attachment; filename="receipt.jws"'}
        return WebResponse(kind="application/jose", body=token, headers=headers)

    async def _posted(self, request: WebRequest, visit: Visit) -> WebResponse:
        path, cookie = request.path, request.cookies.get(self._door.name(SESSION), "")
        if not self._door.sessions.bears(cookie, request.form.get("token", "")):
            return self._page(MadePage("refused.html.j2", {"why": "token"}, HTTPStatus.FORBIDDEN), visit, path)
        if path == "/sign-out":
            self._door.sessions.end(cookie)
            away = {"Location": "/sign-in", "Clear-Site-Data": '"cache"'}
            return WebResponse(status=HTTPStatus.SEE_OTHER, headers=away, cookie=self._door.cookie(SESSION, ""))
        if path == "/requests":
            where = led_to(request.form.get("case", ""))
        elif (found := _DECISION.match(path)) and found[1] in self._office.followed.cases.rows:
            where = f"/cases/{found[1]}?sent=1"
        else:
            return self._page(MadePage("missing.html.j2", {}, HTTPStatus.NOT_FOUND), visit, path)
        if self._sent.too_many(visit.officer):
            return self._page(MadePage("refused.html.j2", {"why": "often"}, HTTPStatus.TOO_MANY_REQUESTS), visit, path)
        self._sent.note(visit.officer)
        await self._office.relay.passed_on(request.form.get("sealed", ""))
        log.info("a sealed request was passed on", officer=visit.officer)
        return _to(where)

    def _failed(self, error: GuardError, visit: Visit, path: str) -> WebResponse:
        log.warning("a page is not shown", why=str(error), kind=type(error).__name__)
        status = HTTPStatus.CONFLICT if isinstance(error, StateRefusedError) else HTTPStatus.SERVICE_UNAVAILABLE
        why = "state" if isinstance(error, StateRefusedError) else "log"
        return self._page(MadePage("refused.html.j2", {"why": why, "told": str(error)}, status), visit, path)

    def _page(self, shown: MadePage, visit: Visit | None, path: str, cookie: str | None = None) -> WebResponse:
        body = rendered(shown, self._office, visit, path)
        return WebResponse(status=shown.status, body=body, cookie=cookie)


def _plain(status: HTTPStatus) -> WebResponse:
    return WebResponse(status=status, kind="text/plain; charset=utf-8", body=status.phrase.encode())


def _to(path: str, cookie: str | None = None) -> WebResponse:
    return WebResponse(status=HTTPStatus.SEE_OTHER, headers={"Location": path}, cookie=cookie)
