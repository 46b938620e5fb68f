"""
Counts the minutes of each day in a Faust table, from the legs that billing may see.

    . run/stack.env; . guard/calllog-guard.env
    python examples/faust_usage.py worker --web-port 6067
    curl localhost:6067/minutes/

Kill it as you like (Ctrl-C, kill -9) and start it again: Faust repeats the lines of the last batches, and a line that
comes twice changes nothing, since each day keeps its legs by their tokens. What is erased or lapses leaves the table
with its tombstone.
"""

import os
from typing import Any

import faust

from calllog_guard.faust import PutRecord, legs, opened
from calllog_guard.settings import from_environment

settings = from_environment(os.environ)
app = faust.App(
    f"{settings.calllog_prefix}usage",
    broker=f"kafka://{settings.kafka}",
    topic_partitions=settings.partitions,  # a table's changelog has as many as the topic of legs
)
days: Any = app.Table("days", default=dict)
"""By day and partition of the legs: the seconds of each leg, by its token."""


@app.agent(legs(app, settings))  # type: ignore[untyped-decorator]  # the library ships no types
async def usage(stream: Any) -> None:
    """Keeps the table true."""
    async for line in opened(stream, purpose="billing", actor="billing-1"):
        event = faust.current_event()
        place = f" {event.message.partition}"
        for day in [day for day in days if day.endswith(place) and line.token in days[day]]:
            days[day] = {token: seconds for token, seconds in days[day].items() if token != line.token}
        if isinstance(line, PutRecord):
            day = str(line.started_at)[:10] + place
            days[day] = days[day] | {line.token: line.duration_s}


@app.page("/minutes/")  # type: ignore[untyped-decorator]
async def minutes(view: Any, _request: Any) -> Any:
    """The minutes of each day, of the partitions that this worker has."""
    found: dict[str, int] = {}
    for day, calls in days.items():
        found[day.partition(" ")[0]] = found.get(day.partition(" ")[0], 0) + sum(calls.values())
    return view.json({settings.tenant or "iocom": {day: round(seconds / 60, 2) for day, seconds in found.items()}})


if __name__ == "__main__":
    app.main()
