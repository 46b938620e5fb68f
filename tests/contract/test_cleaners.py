"""The cleaners' contract, on the fake and on a real broker's page; and what a page may look like."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from calllog_guard.adapters.http.cleaners import HttpCleaners, pages, shown_by
from calllog_guard.adapters.memory.fakes import MemoryCleaners
from calllog_guard.errors import ConfigurationError
from calllog_guard.ports.administration import Cleaner, Cleaners

SOUND = """\
kafka_log_logcleaner_value{name="DeadThreadCount"} 0.0
kafka_log_logcleaner_value{name="max-compaction-delay-secs"} 7.0
kafka_log_logcleanermanager_value{logDirectory="/a",name="uncleanable-partitions-count"} 1.0
kafka_log_logcleanermanager_value{logDirectory="/b",name="uncleanable-partitions-count"} 2.0
kafka_log_logcleanermanager_value{logDirectory="/b",name="uncleanable-bytes"} 900.0
"""
RENAMED = """\
kafka_log_logcleaner_deadthreadcount 1.0
kafka_log_logcleaner_max_compaction_delay_secs 0.0
kafka_log_logcleanermanager_uncleanable_partitions_count{logdirectory="/a"} 0.0
"""


@pytest.fixture(params=["memory", pytest.param("pages", marks=pytest.mark.real)])
def cleaners(request: pytest.FixtureRequest) -> Cleaners:
    """One of the two, for one broker that works."""
    if request.param == "memory":
        return MemoryCleaners(Cleaner(uncleanable=0, dead=0, delay_s=0))
    environment = request.getfixturevalue("stack").environment
    return HttpCleaners(pages(environment["CALLLOG_GUARD_CLEANER_PAGES"]))


async def test_a_broker_that_works_says_so(cleaners: Cleaners) -> None:
    (cleaner,) = await cleaners.look()
    assert cleaner is not None
    assert cleaner.works


@pytest.fixture
async def served() -> AsyncIterator[dict[str, str]]:
    """Texts by path, and under `address` where they are served."""
    texts: dict[str, str] = {}

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=texts[request.path]) if request.path in texts else web.Response(status=503)

    app = web.Application()
    app.router.add_get("/{any}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    texts["address"] = f"http://{host}:{port}"
    yield texts
    await runner.cleanup()


async def test_each_page_answers_for_its_own_broker_and_silence_is_told(served: dict[str, str]) -> None:
    served["/sound"] = SOUND
    address = served["address"]
    found = await HttpCleaners([f"{address}/sound", f"{address}/broken", "http://127.0.0.1:1/closed"]).look()
    assert found == [Cleaner(uncleanable=3, dead=0, delay_s=7), None, None]


def test_other_rules_of_the_exporter_are_understood() -> None:
    assert shown_by(RENAMED) == Cleaner(uncleanable=0, dead=1, delay_s=0)


@pytest.mark.parametrize(
    "page",
    [
        "",
        "<html>not here</html>",
        SOUND.replace("DeadThreadCount", "Threads"),
        SOUND.replace("1.0", "NaN"),
        SOUND.replace("7.0", "+Inf"),
    ],
)
def test_a_page_that_does_not_show_the_whole_cleaner_shows_nothing(page: str) -> None:
    assert shown_by(page) is None


def test_addresses_that_can_never_answer_are_refused() -> None:
    assert pages(" http://a:1/metrics, https://b/ ") == ["http://a:1/metrics", "https://b/"]
    assert pages("") == []
    with pytest.raises(ConfigurationError, match="http addresses"):
        pages("a:1/metrics")
