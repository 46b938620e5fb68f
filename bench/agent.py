"""The other side of the benchmark: an idiomatic Faust agent, the same decoding and sealing, keys from a dict."""

import os
import secrets
from datetime import UTC, datetime
from typing import Any

import faust

from calllog_guard.core.calls.event import Limits
from calllog_guard.core.calls.leg import leg_texts
from calllog_guard.core.calls.reading import read_event
from calllog_guard.core.codec import to_ms
from calllog_guard.core.crypto.leg_envelope import NONCE_BYTES, LegHeader, seal_leg
from calllog_guard.core.crypto.subject_secrets import (
    DataKey,
    IdentitySecret,
    Link,
    Pepper,
    TokenKey,
    month_of,
    month_text,
)
from calllog_guard.core.identifiers import CallId, Lookup, Pseudonym, SubjectId, Tenant, partition_of, record_key
from calllog_guard.core.identity.rules import DEFAULT

PARTITIONS = int(os.environ["BENCH_PARTITIONS"])
LEGS = os.environ["BENCH_LEGS"]
TENANT = Tenant("iocom")
LIMITS = Limits(ahead_ms=300_000, late_ms=35 * 86_400_000, max_bytes=262_144)
app: Any = faust.App(
    "bench-agent",
    broker=f"kafka://{os.environ['BENCH_KAFKA']}",
    value_serializer="raw",
    key_serializer="raw",
    datadir=os.environ["BENCH_DATA"],
    producer_acks=-1,
    topic_allow_declare=False,
    topic_disable_leader=True,
    web_enabled=False,
)
events = app.topic(os.environ["BENCH_EVENTS"], value_type=bytes)
legs = app.topic(LEGS, value_type=bytes)
pepper = Pepper.mint()
people: dict[Lookup, tuple[Pseudonym, TokenKey, DataKey]] = {}


@app.agent(events)
async def protect(stream: Any) -> None:
    """One event at a time, one send per leg, as the documentation of Faust shows it."""
    async for value in stream:
        now = to_ms(datetime.now(UTC))  # noqa: TID251 - a benchmark
        event = read_event(value, tenant=TENANT, identity=DEFAULT, appended_ms=now, limits=LIMITS).event
        month = month_of(event.started_at.year, event.started_at.month)
        for party, text in zip(event.parties, leg_texts(event), strict=True):
            lookup = pepper.lookup(TENANT, SubjectId(party.id.lower()))
            if lookup not in people:
                identity = IdentitySecret.mint()
                people[lookup] = (identity.pseudonym(), identity.token_key(), Link.mint().data_key(month))
            pseudonym, token_key, data_key = people[lookup]
            token = token_key.token(CallId(event.call_id))
            header = LegHeader(
                kid=pseudonym,
                mon=month_text(month),
                day=f"{event.started_at:%Y-%m-%d}",
                rid=token,
                pur=3,
                pol="2026-11-01",
                ten=TENANT,
                top=LEGS,
            )
            leg = seal_leg(header, text, data_key, secrets.token_bytes(NONCE_BYTES))
            await legs.send(key=record_key(pseudonym, token), value=leg, partition=partition_of(pseudonym, PARTITIONS))


if __name__ == "__main__":
    app.main()
