"""A console over a desk on the fakes, asked as a browser asks it; no socket, and a set clock."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from desk_world import POLICY, START, TENANT, DeskWorld

from calllog_guard.adapters.http.web import WebRequest, WebResponse
from calllog_guard.adapters.memory.fakes import MemoryLogReader
from calllog_guard.adapters.memory.log import MemoryLog
from calllog_guard.console.followed import Followed, KnownBy
from calllog_guard.console.pages import LogState, Office
from calllog_guard.console.recorded import ViewRecorder
from calllog_guard.console.relay import DeskKey, Relay
from calllog_guard.console.sign_in.door import Door
from calllog_guard.console.sign_in.sessions import SignedIn, SignInLinks, Throttle
from calllog_guard.console.site import Site
from calllog_guard.console.tasks.answer_page import SealedParts
from calllog_guard.core.audit.accesses import actor_key
from calllog_guard.core.crypto.jose import desk_pem, new_pair, public_forms
from calllog_guard.core.policy.actors import Judge
from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import Arrival, arrival
from calllog_guard.errors import LogSilentError
from calllog_guard.ports.log import Place, TopicPartition

URL: Final = "http://127.0.0.1:6070"
STATIC: Final = Path(__file__).parents[2] / "src" / "calllog_guard" / "console" / "static"
ACTOR: Final = """
[version.tenant.iocom.actors.console-1]
purposes = []
key = "console-1.pub.pem"
since = 2020-01-01T00:00:00Z
"""
_SEAL: Final = """
const key = await it.officersKey(asked.pem, asked.about.officerX).catch((error) => {
  process.stdout.write(JSON.stringify({ error: error.message }));
  process.exit(0);
});
const found = { key: [key.extractable, key.usages], token: "", sealed: "" };
const content = it.padded(it.claims(asked.about, asked.said, asked.now, asked.jti));
found.token = await it.signed(key, asked.about.officer, content);
found.sealed = await it.sealed(asked.about.deskX, asked.about.deskKid, found.token);
found.case = await it.caseOf(asked.about.tenant, asked.about.officer, asked.jti);
"""
_AROUND: Final = """
import { readFileSync } from "node:fs";
const asked = JSON.parse(readFileSync(0, "utf8"));
const it = await import(asked.module);
%s
process.stdout.write(JSON.stringify(found));
"""


def javascript(module: str, code: str, **asked: Any) -> Any:
    """What some code makes of a module of the pages, in Node; `it` is the module, `found` what is handed back."""
    line = ["node", "--no-warnings", "--input-type=module", "-e", _AROUND % code]
    content = json.dumps({"module": (STATIC / module).as_uri()} | asked)
    done = subprocess.run(line, input=content, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def in_javascript(about: Mapping[str, str], pem: str, said: Mapping[str, Any], now: datetime, jti: str) -> Any:
    """What the page's own module makes of a decision, in Node."""
    ms = int(now.timestamp() * 1000)
    return javascript("sealing.js", _SEAL, about=about, pem=pem, said=said, now=ms, jti=jti)


class ConsoleLog(MemoryLog):
    """
    What a desk has written, and what a console writes beside it.

    Args:
        broken: It takes nothing.
        without: Topics of which nothing is there that the desk wrote.

    """

    def __init__(self, world: DeskWorld) -> None:
        super().__init__(world)
        self._world, self.own, self.broken = world, list[Output](), False
        self.without = frozenset[str]()

    async def write(self, outputs: Sequence[Output]) -> None:
        """See Writer."""
        if self.broken:
            raise LogSilentError("Kafka does not answer")
        self.own += outputs

    async def append(self, output: Output) -> int:
        """Write one record; its offset."""
        await self.write([output])
        return sum(each.topic == output.topic for each in self.own) - 1

    def lane(self, place: Place) -> list[Arrival]:
        """The records of a partition."""
        ms = int(self._world.at.timestamp() * 1000)
        desks = [] if place[0] in self.without else self._world.written(place[0])
        every = [*desks, *(each for each in self.own if each.topic == place[0])]
        found = [each for each in every if each.partition == place[1]]
        return [arrival(place, at, ms, each.key, each.value, each.headers) for at, each in enumerate(found)]


class ConsoleWorld:
    """A desk, and a console beside it, as `process.py` puts it together."""

    def __init__(self, folder: Path, *, url: str = URL, policy: str = POLICY + ACTOR, **settings: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        private, public = new_pair(signs=True)
        (folder / "console-1.pub.pem").write_bytes(public)
        self.desk = desk = DeskWorld(folder, policy, **settings)
        self.log, self.told = ConsoleLog(desk), list[str]()
        self.reader, guard, topics = MemoryLogReader(self.log), desk.vault.guard_id(), desk.settings.topic

        def known() -> KnownBy:
            names = [topics(name) for name in ("privacy.access", "calllog.dead", "privacy.cases")]
            judge = Judge(desk.policy.actors(TENANT), guard, names[0], dead=names[1], cases=names[2])
            calendar = desk.policy.at(desk.now().date()).tenant[TENANT].calendar
            return KnownBy(desk.vault.proofs(TENANT), judge, calendar)

        self.known = known
        self.followed = Followed(self.reader, desk.settings, 0, known)
        kid = desk.vault.desk_kids(TENANT)[-1]
        self.desk_public = desk_pem(desk.vault.desk_key(TENANT, kid) or b"")[1]
        self.desk_key = DeskKey(kid, public_forms(self.desk_public)[1]["x"])
        self.receipts_key: bytes | None = None
        self.office = Office(
            tenant=TENANT,
            policy=desk.policy,
            clock=desk,
            followed=self.followed,
            recorder=ViewRecorder(
                writer=self.log,
                clock=desk,
                key=actor_key(private, "the test's"),
                guard=guard,
                actors=lambda: desk.policy.actors(TENANT),
                access="privacy.access",
                cases="privacy.cases",
                home=0,
            ),
            relay=Relay(writer=self.log, tenant=TENANT, requests="privacy.requests", home=0),
            desk=lambda: self.desk_key,
            receipts_key=lambda: self.receipts_key,
            parts=SealedParts(log=self.log, exports="privacy.exports", home=0).of,
            changes=_nothing,
            objectives={"absent": 5400, "gone": 108_000},
            heartbeat_s=600,
            pulse=LogState(START),
        )
        self.door = Door(
            url=url,
            officers=("officer-1", "officer-2"),
            links=SignInLinks(desk.now),
            sessions=SignedIn(desk.now),
            guesses=Throttle(desk.now),
            tell=self.told.append,
        )
        self.site = Site(self.office, self.door)

    async def disclosed_untold(self, subject: str) -> str:
        """The case of a disclosure that is made, of which the person is to be told once the law no longer forbids it."""
        key = public_forms((self.desk.folder / "asker.pub.pem").read_bytes())[1]
        more: dict[str, Any] = {"authority": "Police", "basis": "A warrant", "notify": "when_lifted", "reply_key": key}
        review = {"review_at": "2026-12-10T00:00:00Z"}
        await self.desk.ask("disclose-1", subject, by="officer-1", type="disclose", **more, **review)
        case = self.desk.id_of("disclose-1")
        await self.desk.ask("approve-01", by="officer-2", type="approve", case=case)
        await self.desk.done("disclose-1", "exported")
        await self.see()
        return case

    async def start(self) -> "ConsoleWorld":
        """Start the desk, and read what there is."""
        await self.desk.start()
        await self.see()
        return self

    async def see(self) -> None:
        """Let the console read what has come."""
        await self.followed.catch_up()

    async def signed_in(self, officer: str = "officer-1") -> "Browser":
        """A browser in which an officer has signed in."""
        browser = Browser(self.site, self.door.url)
        found = await browser.open(f"/sign-in?code={self.door.links.new(officer)}")
        assert found.status == 200
        done = await browser.send("/sign-in", found, code=browser.field(found, "code"))
        assert (done.status, done.headers["Location"]) == (303, "/")
        return browser

    def views(self) -> list[Any]:
        """The records of views, as they were written."""
        return [json.loads(each.value or b"") for each in self.log.own if each.topic == "privacy.access"]

    def passed_on(self) -> list[bytes]:
        """The requests that the console has passed on."""
        return [each.value or b"" for each in self.log.own if each.topic == "privacy.requests"]

    def about(self, officer: str) -> dict[str, str]:
        """What the page tells the browser."""
        x = public_forms((self.desk.folder / f"{officer}.pub.pem").read_bytes())[1]["x"]
        kid, desk_x = self.desk_key
        own = {"tenant": TENANT, "audience": "calllog-guard", "officer": officer, "officerX": x}
        return own | {"deskKid": kid, "deskX": desk_x}

    def sealed(self, officer: str, jti: str, /, **said: Any) -> str:
        """What an officer's browser sends."""
        return str(self.signed(officer, jti, said)["sealed"])

    def signed(self, officer: str, jti: str, said: Mapping[str, Any]) -> Any:
        """What an officer's browser makes of what is said: the token, sealed, and the case that it would open."""
        pem = (self.desk.folder / f"{officer}.pem").read_text()
        return in_javascript(self.about(officer), pem, said, self.desk.at, jti)

    async def arrive(self, token: bytes) -> None:
        """The desk gets what lies in its topic."""
        number = len(self.desk.asked)
        ms = int(self.desk.at.timestamp() * 1000)
        self.desk.asked.append(Arrival("privacy.requests", 0, number, b"iocom", token, ms))
        await self.desk.desk.unit({TopicPartition("privacy.requests", 0): [self.desk.asked[-1]]})
        await self.see()


async def _nothing() -> tuple[tuple[()], tuple[()]]:
    """Nothing was accepted as lost, or prolonged."""
    return (), ()


class Browser:
    """A browser as far as a server can tell: it keeps cookies, and says where a form is from."""

    def __init__(self, site: Site, url: str) -> None:
        self._site, self.url = site, url
        self.cookies: dict[str, str] = {}
        self.lines: list[str] = []
        self.asked: list[WebRequest] = []

    async def open(self, path: str, **headers: str) -> WebResponse:
        """Ask for a page."""
        return await self._ask("GET", path, {}, {"sec-fetch-site": "same-origin"} | headers)

    async def send(self, path: str, page: WebResponse, /, **fields: str) -> WebResponse:
        """Send a form of a page: with its token, from its origin."""
        return await self.post(path, {"token": self.field(page, "token")} | fields)

    async def post(self, path: str, form: Mapping[str, str], **headers: str) -> WebResponse:
        """Send a form."""
        return await self._ask("POST", path, form, {"origin": self.url} | headers)

    async def _ask(self, method: str, path: str, form: Mapping[str, str], headers: Mapping[str, str]) -> WebResponse:
        place, _, query = path.partition("?")
        pairs = dict(each.split("=", 1) for each in query.split("&") if each)
        request = WebRequest(
            method=method,
            path=place,
            query=pairs,
            form=form,
            headers={"host": self.url.partition("://")[2]} | dict(headers),
            cookies=dict(self.cookies),
            peer="127.0.0.1",
        )
        self.asked.append(request)
        found = await self._site.answer(request)
        if found.cookie is not None:
            self.lines.append(found.cookie)
            name, _, value = found.cookie.partition(";")[0].partition("=")
            self.cookies = {each: old for each, old in self.cookies.items() if each != name} | (
                {name: value} if value else {}
            )
        return found

    @staticmethod
    def field(page: WebResponse, name: str) -> str:
        """The value of a hidden field."""
        return page.body.decode().partition(f'name="{name}" value="')[2].partition('"')[0]


def day(text: str) -> datetime:
    """A moment."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
