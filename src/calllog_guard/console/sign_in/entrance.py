"""
The pages by which officers come in: with a link of the terminal, or from an identity provider.

Rules: 1. A refusal tells nobody what was wrong; the log has a word for it.  2. Who comes in is an officer of the policy
          in force.  3. Nobody is let in while the provider is silent.
"""

from http import HTTPStatus
from typing import Final

import structlog

from calllog_guard.adapters.http.web import WebRequest, WebResponse
from calllog_guard.console.pages import MadePage, Office, rendered
from calllog_guard.console.sign_in.door import FLOW, MARK, SESSION, Door
from calllog_guard.console.sign_in.openid import BACK, OpenId
from calllog_guard.errors import ProviderSilentError, SignInRefusedError

log: Final = structlog.get_logger()


class Entrance:
    """Answers whatever begins with `/sign-in`."""

    def __init__(self, office: Office, door: Door) -> None:
        self._office, self._door = office, door

    async def answered(self, request: WebRequest) -> WebResponse:
        """The answer; only that which signs in has a session's cookie."""
        if (openid := self._door.openid) is not None and request.method == "GET":
            try:
                if (found := await self._by_provider(request, openid)) is not None:
                    return found
            except ProviderSilentError as error:
                log.warning("nobody can sign in", why=str(error))
                return self._page(request, "", "silent", HTTPStatus.SERVICE_UNAVAILABLE)
        if request.path not in {"/sign-in", "/sign-in/link"}:
            return self._page(request, "", status=HTTPStatus.NOT_FOUND)
        return self._by_link(request)

    # --- by a provider ----------------------------------------------------------------------------------------------

    async def _by_provider(self, request: WebRequest, openid: OpenId) -> WebResponse | None:
        if request.path == "/sign-in/start":
            place, cookie = await openid.begun()
            return _to(place, self._door.cookie(FLOW, cookie))
        if request.path == "/sign-in/away":
            return _to(await openid.away() or "/sign-in")
        return await self._back(request, openid) if request.path == BACK else None

    async def _back(self, request: WebRequest, openid: OpenId) -> WebResponse:
        try:
            officer = await openid.officer(request.cookies.get(self._door.name(FLOW), ""), request.query)
        except SignInRefusedError as error:
            return self._refused(request, error.reason)
        if self._office.officer_key(officer) is None:
            return self._refused(request, "no_officer_of_the_policy")
        log.info("signed in", officer=officer, by="provider")
        # The browser comes from another site: it sends a strict cookie once a page of ours has sent it on.
        shown = MadePage("signed_in.html.j2", {"officer": officer})
        return self._made(request, shown, self._door.cookie(SESSION, self._door.sessions.begin(officer)))

    def _refused(self, request: WebRequest, why: str) -> WebResponse:
        log.warning("a sign-in was refused", why=why)
        return self._page(request, "", "refused", HTTPStatus.FORBIDDEN)

    # --- by a link --------------------------------------------------------------------------------------------------

    def _by_link(self, request: WebRequest) -> WebResponse:
        door, mark = self._door, request.cookies.get(self._door.name(MARK), "")
        if request.method != "POST":
            return self._page(request, request.query.get("code", ""))
        if door.guesses.too_many(request.peer):
            return self._page(request, "", "too_many", HTTPStatus.TOO_MANY_REQUESTS)
        if not door.sessions.bears(mark, request.form.get("token", "")):
            return self._page(request, "", "again", HTTPStatus.FORBIDDEN)
        if request.path == "/sign-in/link" and door.officers:
            door.guesses.note(request.peer)  # whoever asks for links without end is no officer
            door.announce()
            return self._page(request, "", "printed")
        officer = door.links.taken(request.form.get("code", ""))
        if officer is None or self._office.officer_key(officer) is None:
            door.guesses.note(request.peer)
            log.warning("a sign-in was refused", why="link")
            return self._page(request, "", "wrong", HTTPStatus.FORBIDDEN)
        log.info("signed in", officer=officer, by="link")
        door.sessions.end(request.cookies.get(door.name(SESSION), ""))  # whoever put it there knows it
        return _to("/", door.cookie(SESSION, door.sessions.begin(officer)))

    # --- pages ------------------------------------------------------------------------------------------------------

    def _page(
        self, request: WebRequest, code: str, problem: str = "", status: HTTPStatus = HTTPStatus.OK
    ) -> WebResponse:
        """A mark that is there stays: a browser asks for more than the page, and in more windows than one."""
        door = self._door
        mark = request.cookies.get(door.name(MARK), "") or door.sessions.new_mark()
        values = {"code": code[:100], "problem": problem, "token": door.sessions.token(mark)}
        ways = {"by_links": bool(door.officers), "provider": door.openid.issuer if door.openid else ""}
        return self._made(request, MadePage("sign_in.html.j2", values | ways, status), door.cookie(MARK, mark))

    def _made(self, request: WebRequest, shown: MadePage, cookie: str) -> WebResponse:
        language = self._office.language(request.headers.get("accept-language", ""))
        body = rendered(shown, self._office, None, "/sign-in", language)
        return WebResponse(status=shown.status, body=body, cookie=cookie)


def _to(place: str, cookie: str | None = None) -> WebResponse:
    return WebResponse(status=HTTPStatus.SEE_OTHER, headers={"Location": place}, cookie=cookie)
