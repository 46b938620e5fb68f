"""Joins and leaves on the real stack: killed at its steps under flow, the worker of sessions loses none and tells none twice."""

import json
import signal
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from typing import Any

import pytest
from installation import Installation, Make
from patience import ended
from sizes import size

from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.sources.notification import Notification
from calllog_guard.workers.keys.tenants.moment_sealing import MomentSealer

pytestmark = pytest.mark.real
STEPS = ("told", "kept", "opened", "paired")
START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)  # noqa: TID251 - tests run on the real clock
Span = tuple[str, str, str | None, bool]


def told(number: int) -> tuple[list[Notification], list[Span]]:
    """A call of three: one comes back, one has two devices, one's leave is lost; and the stays that there were."""
    call, begun = f"Weekly {number}", START + timedelta(seconds=number)
    names = [f"{name}-{number}@example.org" for name in ("ana", "bo", "cy")]
    stays = [(0, "a", 0, 20), (0, "a", 25, 50), (1, "b", 5, 40), (1, "c", 6, 41), (2, "d", 7, None)]
    moments, spans = [Notification("ended", call, begun + timedelta(seconds=60))], list[Span]()
    for who, session, joined, left in stays:
        at = begun + timedelta(seconds=joined)
        moments.append(Notification("joined", call, at, names[who], session, "guest", "video"))
        end = begun + timedelta(seconds=60 if left is None else left)
        if left is not None:
            moments.append(Notification("left", call, end, names[who], session, "guest", "video"))
        spans.append((names[who], _text(at), _text(end), left is None))
    return moments, spans


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def tell(guard: Installation, moments: Sequence[Notification]) -> None:
    """Seal and write notifications, as whoever takes them in does."""
    vault, tenant = guard.vault, Tenant("iocom")
    place = guard.topic("calllog.moments"), guard.partitions
    sealer = MomentSealer(tenant, place, vault.moment_names(tenant), vault.moments.newest)
    guard.write([sealer.record("zoom", each) for each in moments])


def paired(guard: Installation) -> list[Span]:
    """What the newest revision of each session says."""
    found: dict[tuple[str, str], tuple[int, Span]] = {}
    for record in guard.records("calllog.events"):
        event = json.loads(record.value)
        for party in event["parties"]:
            span = (party["id"], event["started_at"], event.get("ended_at"), party.get("estimated", False))
            key = (party["id"], party["session"])
            if event["revision"] >= found.get(key, (-1, span))[0]:
                found[key] = event["revision"], span
    return sorted(span for _, span in found.values())


def kills(many: int) -> Iterator[str]:
    """The steps at which it is killed, in turn."""
    return islice(cycle(STEPS), many)


@pytest.mark.parametrize("many", [2, pytest.param(size("KILLS", 20, 100), marks=pytest.mark.long)])
def test_killed_at_its_steps_under_flow_no_session_is_lost_and_none_is_there_twice(make: Make, many: int) -> None:
    """Each time with moments that have just come; in the end the legs are those that there were."""
    guard = make(UNIT_RECORDS="7")
    for role in ("protector", "keeper"):
        guard.start(role)
    wanted: list[Span] = []
    for number, step in enumerate(kills(many)):
        moments, spans = told(number)
        wanted += spans
        tell(guard, [*moments[::-1], *moments])
        assert ended(guard.start("sessions", DEVELOPMENT=f"crash-at=sessions.{step}")) == -signal.SIGKILL
    moments, spans = told(many)
    tell(guard, moments)
    guard.start("sessions")
    guard.settled(lambda: paired(guard) == sorted(wanted + spans), lambda: f"the stays: {paired(guard)}")
    guard.settled(lambda: len(guard.live()) == len(wanted + spans), lambda: f"a leg each: {len(guard.live())}")
    assert not guard.dead()
    kept = b"".join(path.read_bytes() for path in (guard.directory / "state").rglob("sessions-*/*") if path.is_file())
    said = guard.log.read_text().encode()
    for word in (b"example.org", b"Weekly", b"ana-", b"zoom"):
        assert word not in kept + said, word
    assert len(kept) > 1000, "the control: the rows are there"
    moments_topic: list[Any] = guard.records("calllog.moments")
    assert not any(word in record.value for record in moments_topic for word in (b"example", b"Weekly"))
