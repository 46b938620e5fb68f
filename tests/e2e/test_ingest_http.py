"""Webhooks on the real stack: a worker takes them over HTTP, and from a topic; what it answers 200 is never lost."""

import json
import signal
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from ingesting import INGEST, SECRET, addresses, daily, joined, moment, post, session, with_sources, zoom
from installation import Installation, Make
from patience import ended, until
from sizes import size

from calllog_guard.core.records import Output
from calllog_guard.core.webhooks.source_names import naming


@pytest.fixture
def guard(make: Make) -> Installation:
    """One that names two sources."""
    found = make(INGEST_HTTP="127.0.0.1:0", INGEST_ANSWER_S="3")
    with_sources(found.directory)
    return found


def address(guard: Installation, number: int = -1) -> str:
    """Where the ingest that started last takes webhooks."""
    guard.settled(lambda: len(addresses(guard.log)) > max(0, number), "an ingest takes webhooks")
    return addresses(guard.log)[number]


def named(guard: Installation, raws: Sequence[bytes], source: str) -> None:
    """Publish raw notifications, as a backend that has received them itself."""
    outputs = [
        Output(guard.topic("calllog.notifications"), at % 4, None, raw, naming(source)) for at, raw in enumerate(raws)
    ]
    guard.write(outputs)


def test_webhooks_and_raw_notifications_become_legs(guard: Installation) -> None:
    guard.start("ingest")
    guard.start("protector")
    url = f"http://{address(guard)}"
    asked = b'{"event":"endpoint.url_validation","payload":{"plainToken":"abc"}}'
    status, answer = zoom(url, asked)
    assert (status, json.loads(answer)["plainToken"]) == (200, "abc")
    assert zoom(url, asked, b"another secret")[0] == 401
    assert post(f"{url}/nobody", {}, b"{}")[0] == 404
    assert [daily(url, session(number)) for number in (0, 0, 1)] == [200, 200, 200]
    named(guard, [session(2), session(1), b"no json"], "daily")
    guard.settled(lambda: len(guard.live()) == 3, "three sessions are legs")
    guard.settled(lambda: len(guard.dead()) == 1, "the other is a letter")
    (letter,) = guard.dead()
    assert (letter["reason"], letter["source"]) == ("not_json", "daily")
    assert zoom(url, joined())[0] == 200
    assert len(guard.records("calllog.moments")) == 1
    page = next(page for page in (guard.page("/metrics", at) for at in (0, 1)) if 'role="ingest"' in page)
    assert 'calllog_guard_webhooks_total{role="ingest",source="daily",status="200"} 3.0' in page
    assert 'calllog_guard_webhooks_refused_total{reason="signature_wrong",role="ingest",source="zoom"} 1.0' in page
    secrets = ("ana@example.org", "p0@example.org", SECRET.decode(), "room-0")
    assert not [each for each in secrets if each in page + guard.log.read_text()]


def test_a_meeting_of_zoom_becomes_legs(guard: Installation) -> None:
    """In the wrong order, twice, and one whose leave never comes."""
    for role in ("ingest", "sessions", "protector"):
        guard.start(role)
    url = f"http://{address(guard)}"
    told = [("participant_left", 70, 1), ("participant_joined", 10, 1), ("participant_joined", 20, 2), ("ended", 90, 0)]
    for each in (*told, *told[:2]):
        assert zoom(url, moment(*each))[0] == 200
    wanted = {("ana-1@example.org", "01:10"), ("ana-2@example.org", "01:30")}
    guard.settled(lambda: wanted <= stays(guard), "both stays are told with their ends")
    guard.settled(lambda: len(guard.live()) == 2, "both who were there have a leg")


def stays(guard: Installation) -> set[tuple[str, str]]:
    """Who was there, and until when, as it is published."""
    found = [json.loads(each.value) for each in guard.records("calllog.events")]
    return {(party["id"], each["ended_at"][-6:-1]) for each in found if "ended_at" in each for party in each["parties"]}


def test_a_letter_is_replayed_by_a_mended_mapping_and_never_lies_in_clear(guard: Installation) -> None:
    broken = guard.cli("source", "show", "daily").replace('"payload.session_id"', '"payload.no_such"')
    broken = broken.replace('id = "payload.user_id"', 'id = "payload.user_id"\nwithout_id = "refuse"')
    broken = broken.replace('{ path = ["payload.meeting_id", "payload.room"] }', '"payload.meeting_id"')
    (guard.directory / "own.toml").write_text(broken)
    text = (guard.directory / "ingest.toml").read_text()
    with_sources(guard.directory, text.replace('mapping = "daily"', 'mapping = "own.toml"'))
    guard.start("ingest")
    url = f"http://{address(guard)}"
    assert daily(url, session(5)) == 200
    key = str(guard.directory / "keys" / "operator-1.pem")
    shown = json.loads(guard.cli("dead", "list", "--json"))
    assert [(each["reason"], each["source"], each["offset"]) for each in shown] == [("missing_value", "daily", -1)]
    again = guard.run("dead", "replay", shown[0]["letter"], "--key", key)
    assert (again.code, "refused again" in again.err) == (4, True)
    assert not guard.records("calllog.events")
    with_sources(guard.directory, text)
    guard.cli("dead", "replay", "--reason", "missing_value", "--key", key)
    (event,) = guard.records("calllog.events")
    assert json.loads(event.value)["call_id"] == "room-5"
    assert [name for name, _ in event.headers] == ["clg-replay"]
    guard.cli("dead", "replay", shown[0]["letter"], "--key", key, "--mapping", "daily")
    assert not guard.records("calllog.notifications"), "the message got into no topic in clear"


def test_workers_without_sources_start_without_an_ingest_and_one_alone_is_refused(make: Make) -> None:
    guard = make()
    refused = guard.start("ingest")
    assert ended(refused) == 2
    guard.said("ingest.toml")
    with_sources(guard.directory, INGEST.replace("zoom.secret", "none.secret"))
    assert ended(guard.start("ingest")) == 2
    guard.said("none.secret cannot be read")


@pytest.mark.parametrize("kills", [pytest.param(3), pytest.param(100, marks=pytest.mark.long)])
def test_killed_under_flow_no_session_is_lost_and_none_is_there_twice(guard: Installation, kills: int) -> None:
    """Platforms send again what was not answered 2xx: then every session is a leg, once."""
    kills, sessions = size("INGEST_KILLS", kills, kills), kills * 40
    guard.start("protector")
    worker = guard.start("ingest")
    url = f"http://{address(guard)}"
    waiting = list(range(sessions))
    with ThreadPoolExecutor(8) as pool:
        for kill in range(kills):
            flying = {number: pool.submit(daily, url, session(number)) for number in waiting[:60]}
            some_done(list(flying.values()), 5 + kill % 20)
            worker.send_signal(signal.SIGKILL)
            worker.wait()
            answered = {number for number, each in flying.items() if each.result() == 200}
            waiting = [number for number in waiting if number not in answered]
            many = len(addresses(guard.log))
            worker = guard.start("ingest")
            url = f"http://{address(guard, many)}"
        while waiting:
            found = list(pool.map(lambda number: (number, daily(url, session(number))), waiting))
            waiting = [number for number, status in found if status != 200]
    guard.settled(lambda: len(guard.live()) == sessions, lambda: f"{len(guard.live())} of {sessions} sessions are legs")


def some_done(flying: Sequence[Future[int]], many: int) -> None:
    """Wait until so many webhooks are answered."""
    until(lambda: sum(each.done() for each in flying) > min(many, len(flying) - 1), f"{many} webhooks are answered")
