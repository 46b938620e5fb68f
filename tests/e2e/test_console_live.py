"""The console as a process on a real Kafka: from its link to the desk's answer, with the page's own script in Node."""

import html
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from console_world import in_javascript, javascript
from html_check import Page
from installation import Installation, Make
from patience import ended, until

from calllog_guard.adapters.memory.fakes import SystemClock

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(shutil.which("node") is None, reason="what a browser does is done in Node"),
]
REASON = "canary-reason: the dog barks"
WHOM = "canary-whom@example.org"


def with_console(guard: Installation) -> dict[str, str]:
    """The installation with an actor for a console; the console's environment."""
    policy = guard.directory / "policy.toml"
    policy.write_text(policy.read_text() + "\n[version.tenant.iocom.actors.console-1]\npurposes = []\n")
    keys = guard.directory / "keys"
    guard.cli("key", "new", "console-1", "--role", "actor", "--dir", str(keys))
    guard.cli("key", "register", "console-1", "--role", "actor", "--dir", str(keys))
    # no keystore: the console asks none
    environment: dict[str, str] = guard.environment
    return environment | {
        "CALLLOG_GUARD_ACTOR_KEY": str(keys / "console-1.pem"),
        "CALLLOG_GUARD_KEYSTORE": "redis://127.0.0.1:1/0",
    }


class Client:
    """A browser of one page at a time."""

    def __init__(self, url: str) -> None:
        self.url, self.cookies = url, dict[str, str]()

    def ask(self, path: str, form: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        """Ask for a page or send a form: status, where it leads, body."""
        there = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if form is not None:
            headers |= {"Origin": self.url, "Content-Type": "application/x-www-form-urlencoded"}
        body = None if form is None else urlencode(form)
        there.request("GET" if form is None else "POST", path, body=body, headers=headers)
        answer = there.getresponse()
        for line in answer.headers.get_all("Set-Cookie") or ():
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        found = answer.status, answer.headers.get("Location", ""), answer.read().decode()
        there.close()
        return found


def field(page: str, name: str) -> str:
    """The value of a hidden field."""
    return html.unescape(page.partition(f'name="{name}" value="')[2].partition('"')[0])


def test_the_console_serves_an_officer_from_the_link_to_the_desks_answer(make: Make) -> None:
    guard = make()
    environment = with_console(guard)
    guard.start("desk")
    ground = guard.directory / "ground.txt"
    ground.write_text("Nobody answered me.")
    key = str(guard.directory / "keys" / "backend-1.pem")
    said = json.loads(guard.cli("request", "complain", "--ground", f"@{ground}", "--key", key, "--wait", "--json"))
    log = guard.directory / "console.log"
    line = [sys.executable, "-m", "calllog_guard.cli", "console", "--officer", "officer-1", "--http", "127.0.0.1:0"]
    with log.open("wb") as out:
        console = subprocess.Popen(line, env=os.environ | environment, stderr=out, stdout=out)
    guard.workers.append(console)

    def link() -> list[str]:
        assert console.poll() is None, log.read_text()
        return re.findall(r"http://\S+", log.read_text().partition("sign in as officer-1")[2])

    until(lambda: bool(link()), log.read_text)
    url, _, rest = link()[0].partition("/sign-in")
    client = Client(url)
    assert client.ask("/")[:2] == (303, "/sign-in")
    _, _, page = client.ask(f"/sign-in{rest}")
    form = {"token": field(page, "token"), "code": field(page, "code")}
    assert client.ask("/sign-in", form)[:2] == (303, "/")
    case = said["case"]
    inbox = client.ask("/")[2]
    assert case in inbox
    page = client.ask(f"/cases/{case}")[2]
    [seen] = [each for each in map(_access, guard.records("privacy.access", 1)) if each["purpose"] == "case_view"]
    assert (seen["actor"], seen["case"], seen["by"], "sig" in seen) == ("console-1", case, "officer-1", True)
    assert "accepted" in page
    assert ">good<" in page, "the receipt's signature was checked"
    told = next(each for each in Page(page).all("form") if each.get("id") == "decide")
    about = {name: told[f"data-{name}"] for name in ("tenant", "audience", "officer")}
    about |= {"officerX": told["data-officer-x"], "deskKid": told["data-desk-kid"], "deskX": told["data-desk-x"]}
    pem = (guard.directory / "keys" / "officer-1.pem").read_text()
    words = {"type": "approve", "case": case, "ground": REASON}
    sealed = in_javascript(about, pem, words, SystemClock().now(), "console-live-1")["sealed"]
    sent = client.ask(f"/cases/{case}/decision", {"token": field(page, "token"), "sealed": sealed})
    assert sent[:2] == (303, f"/cases/{case}?sent=1")
    until(lambda: "answered" in client.ask(f"/cases/{case}")[2].lower(), lambda: client.ask(f"/cases/{case}")[2])
    until(lambda: _state(guard, case) == "closed", lambda: guard.cli("case", "show", case))
    _entered(client, about, pem)
    _answered(client, about, pem)
    for path in ("/erasures", "/holds", "/policy", "/access", "/health", "/requests", "/month"):
        assert client.ask(path)[0] == 200
    assert "for officer-1" in Page(client.ask("/access")[2]).text
    console.send_signal(signal.SIGTERM)
    assert ended(console) == 0
    log_text = log.read_text()
    for secret in (REASON, WHOM, case, client.cookies["console-session"], "Nobody answered", sealed[:60]):
        assert secret not in log_text


def _entered(client: Client, about: Mapping[str, str], pem: str) -> None:
    """Enter a request that came by letter, and see the case that it became."""
    page = client.ask("/requests/new/erase")[2]
    said = {"type": "erase", "subjects": [WHOM], "identity": "unverified", "ticket": "T-1"}
    made = in_javascript(about, pem, said, SystemClock().now(), "console-live-2")
    sent = client.ask("/requests", {"token": field(page, "token"), "sealed": made["sealed"], "case": made["case"]})
    assert sent[:2] == (303, f"/requests/{made['case']}")
    until(lambda: "The desk has taken it" in client.ask(sent[1])[2], lambda: client.ask(sent[1])[2])
    assert "for a proof of identity" in client.ask(f"/cases/{made['case']}")[2]


def _answered(client: Client, about: Mapping[str, str], pem: str) -> None:
    """Ask for a copy with a pair that the browser made, and open what is kept of somebody whom nobody knows."""
    page, pair = client.ask("/requests/new/access")[2], javascript("filled.js", "const found = await it.newPair();")
    said = {"type": "access", "subjects": [WHOM], "identity": "verified", "reply_key": pair["key"]}
    made = in_javascript(about, pem, said, SystemClock().now(), "console-live-3")
    sent = client.ask("/requests", {"token": field(page, "token"), "sealed": made["sealed"], "case": made["case"]})
    assert sent[0] == 303
    case = made["case"]
    until(lambda: f"/cases/{case}/answer" in client.ask(f"/cases/{case}")[2], lambda: client.ask(f"/cases/{case}")[2])
    page = client.ask(f"/cases/{case}/answer")[2]
    assert "is good" in Page(page).text
    [token] = re.findall(r'<span data-number="1">([^<]+)</span>', page)
    code = "const key = await it.readersKey(asked.pem); const part = await it.opened(key, asked.token); "
    code += "const found = [it.wholeOf([part], asked.case).about.subjects, await it.digestOf(asked.token)];"
    subjects, digest = javascript("opening.js", code, pem=pair["pem"], token=token, case=case)
    assert subjects == [WHOM]
    assert f'data-digests="{digest}"' in page


def _access(record: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(record.value)
    return found


def _state(guard: Installation, case: str) -> str:
    return str(json.loads(guard.cli("case", "show", case, "--json"))["state"])


def test_a_console_without_a_key_for_nobodys_officer_or_abroad_refuses_to_start(make: Make) -> None:
    guard = make()
    for words, settings, why in (
        ((), {}, "nobody could sign in"),
        (("--openid", str(guard.directory / "policy.toml")), {}, "unknown field"),
        (("--officer", "officer-1"), {}, "ACTOR_KEY names no key"),
        (("--officer", "officer-1", "--http", "0.0.0.0:0"), {}, "this machine alone"),
        (
            ("--officer", "officer-1", "--http", "127.0.0.1:0"),
            {"ACTOR_KEY": str(guard.directory / "keys" / "officer-1.pem")},
            "is no actor's in the policy",
        ),
    ):
        done = guard.run("console", *words, process=True, settings=settings)
        assert done.code != 0
        assert why in done.err
    environment = with_console(guard)
    key = environment["CALLLOG_GUARD_ACTOR_KEY"]
    words = ("--officer", "backend-1", "--http", "127.0.0.1:0")
    done = guard.run("console", *words, process=True, settings={"ACTOR_KEY": key})
    assert done.code == 2
    assert "backend-1 is no officer of the policy in force; it has officer-1" in done.err
    policy = guard.directory / "policy.toml"
    policy.write_text(
        re.sub(r"allowed_hosts = \[.*?\]", 'allowed_hosts = ["*.london.example.net"]', policy.read_text())
    )
    words = ("--officer", "officer-1", "--http", "127.0.0.1:0")
    done = guard.run("console", *words, process=True, settings={"ACTOR_KEY": key})
    assert (done.code, "outside the policy's allowed_hosts: 127.0.0.1 is none of" in done.err) == (2, True)
