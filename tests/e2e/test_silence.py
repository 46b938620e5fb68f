"""While servers are silent: pages say so, logs stay small and ours, roles end when asked; nothing is lost."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import Installation, event, raw
from outages import (
    ENDED_WITHIN_S,
    OUTAGES,
    ROLES,
    Watched,
    deaf,
    heal,
    healthy,
    is_unknown,
    strike,
)
from patience import until
from sizes import every, size

from calllog_guard.devstack.supervisor import Stack

pytestmark = pytest.mark.real
OUTAGE_S = size("OUTAGE_S", 8, 20)
"""How long an outage lasts; `make outages` takes half an hour for each."""
_READ = ("read", "--purpose", "service", "--actor", "support-1", "--follow", "--http", "127.0.0.1:0")


@pytest.fixture(scope="module")
def stack(java: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:  # noqa: ARG001
    """A stack whose servers may be struck."""
    with Stack(tmp_path_factory.mktemp("struck")) as running:
        yield running


@pytest.fixture
def guard(stack: Stack, tmp_path: Path) -> Iterator[Installation]:
    """An installation on it; its servers are there again afterwards."""
    made = Installation(stack, tmp_path / "guard")
    yield made
    heal(stack)
    made.stop()


def calls(guard: Installation, name: str, many: int) -> None:
    """So many calls of so many people."""
    guard.publish("calllog.events", [raw(event(f"{name}{n}", f"{name}{n}@example.org")) for n in range(many)])


def _neither(watched: Watched) -> bool:
    """Whether it says that it is neither alive nor ready: with one server it is alive until it misses the other."""
    said = watched.health()
    return not (said["alive"] or said["ready"])


@pytest.mark.parametrize("outage", every(OUTAGES if "OUTAGE_S" in os.environ else OUTAGES[::2], "both gone"))
@pytest.mark.timeout(900 + 4 * OUTAGE_S)
def test_a_silent_server_is_told_of_and_ends_nobody_and_loses_nothing(guard: Installation, outage: str) -> None:
    """Alive and ready is who can work; who cannot says what it waits for, once in a while, and lets itself be ended."""
    reader = Watched(
        guard, *_READ, RETRY_MAX_S=str(max(300, int(2 * OUTAGE_S)))
    )  # after that it ends with 3, as documented
    watched = [Watched(guard, "worker", role) for role in ROLES] + [reader]
    healthy(watched)
    calls(guard, "a", 50)
    guard.settled(lambda: len(guard.live()) == 50, "the first legs")
    calls(guard, "b", 500)  # some of them are on their way when it happens
    began, before = time.monotonic(), [len(each.lines()) for each in watched]
    strike(guard.stack, outage)
    until(lambda: all(map(_neither, watched)), lambda: str(watched))
    print(outage, f"seen by all after {time.monotonic() - began:.1f} s")  # noqa: T201
    assert {each.health()["status"] for each in watched} == {503}
    servers = {"kafka": ["Kafka"], "redis": ["the keystore"], "both": ["Kafka", "the keystore"]}[
        outage.split(maxsplit=1)[0]
    ]

    def told() -> bool:
        return all(all(server in each.health()["why"] for server in servers) for each in watched)

    until(told, lambda: str(watched))
    if "Kafka" in servers:
        assert all(is_unknown(each.figure("lag_records")) for each in watched), "nobody knows it"
    assert all((each.figure("retries_total") or 0) > 0 for each in watched)
    until(lambda: time.monotonic() - began >= OUTAGE_S, str, OUTAGE_S + 1)
    assert [(each.name, each.health()["status"]) for each in watched if each.health()["status"] != 503] == []
    lasted = time.monotonic() - began
    for each, known in zip(watched, before, strict=True):
        new = [line for line in each.lines()[known:] if line["event"] != "unit"]
        print(outage, each.name, f"{len(new)} lines in {lasted:.0f} s")  # noqa: T201
        assert len(new) < max(lasted, 60), each  # each source of lines says it at once, and again after 10 s
    for each in watched[::2]:
        code, took = each.ended()
        print(outage, each.name, f"ended with {code} after {took:.1f} s")  # noqa: T201
        assert (code, took < ENDED_WITHIN_S) == (0, True), each
    heal(guard.stack)
    again = [Watched(guard, "worker", each.name) for each in watched[:-1:2]]
    healthy([*watched[1::2], *again])
    calls(guard, "c", 50)
    guard.settled(lambda: len(guard.live()) == 600, "every leg")
    assert not guard.dead()
    assert "example.org" not in "".join(each.log.read_text() for each in (*watched, *again))


STARTS = {
    "Kafka is gone": {"KAFKA": "127.0.0.1:1"},
    "Kafka says nothing": {"KAFKA": "127.0.0.1:{port}"},
    "the keystore is gone": {"KEYSTORE": "redis://127.0.0.1:1/0"},
    "the keystore says nothing": {"KEYSTORE": "redis://127.0.0.1:{port}/0"},
    "the KMS says nothing": {"KMS": "vault://127.0.0.1:{port}?snapshots=1&tls=off"},
}


@pytest.mark.parametrize("state", every(list(STARTS), "the keystore says nothing"))
def test_who_waits_for_a_server_at_its_start_says_so_and_ends(guard: Installation, state: str) -> None:
    """Each role, and all of them as one process."""
    with deaf() as port:
        settings = {name: text.format(port=port) for name, text in STARTS[state].items()}
        settings["RING"] = str(guard.directory / "kms")
        watched = [Watched(guard, "worker", role, **settings) for role in (*ROLES, "all")]
        until(lambda: all(each.said("waits") for each in watched), lambda: str(watched))
        assert [each.health()["status"] for each in watched[:-1]] == [503] * len(ROLES)
        for number, each in enumerate(watched):
            code, took = each.ended(signal.SIGINT if number % 2 else signal.SIGTERM)
            assert (code, took < ENDED_WITHIN_S) == (0, True), each


def test_the_workers_of_all_do_not_outlive_it(guard: Installation) -> None:
    """Not even when it is killed: they would go on writing beside its successor's for ever."""
    import psutil  # noqa: PLC0415 - for this alone

    everything = Watched(guard, "worker", "all")
    until(lambda: everything.said("started", len(ROLES)), lambda: str(everything))
    children = psutil.Process(everything.process.pid).children()
    assert len(children) == len(ROLES)
    everything.process.kill()
    gone, alive = psutil.wait_procs(children, timeout=ENDED_WITHIN_S)
    assert (len(gone), alive) == (len(ROLES), [])


def test_who_waits_in_vain_for_partitions_ends(guard: Installation) -> None:
    """Kafka stands still while a keeper that said it starts takes its partitions: the library's listener has it."""
    keeper = Watched(guard, "worker", "keeper")
    until(lambda: keeper.said("started"), lambda: str(keeper))
    strike(guard.stack, "kafka frozen")
    code, took = keeper.ended()
    assert (code, took < ENDED_WITHIN_S) == (0, True), keeper
