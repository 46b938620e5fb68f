"""
The JSON Schemas (2020-12) of every message, exported from the types: `python -m calllog_guard.core.schema` prints them.

`make schemas` writes them to `schemas/`; a test compares, and checks them against an independent validator.
"""

import json
import sys
from typing import Any, Final

import msgspec

from calllog_guard.core.acceptances import Acceptance
from calllog_guard.core.anchor import Anchor
from calllog_guard.core.answers.parts import Part
from calllog_guard.core.answers.statement import Statement
from calllog_guard.core.arrival import Remnant
from calllog_guard.core.calls.event import CallEvent
from calllog_guard.core.calls.intake import Manifest
from calllog_guard.core.calls.leg import Leg
from calllog_guard.core.calls.parked import Parked
from calllog_guard.core.calls.view import Put, Remove, Reset
from calllog_guard.core.confirmations import Confirmation
from calllog_guard.core.crypto.envelope import LegHeader
from calllog_guard.core.crypto.held import HeldHeader
from calllog_guard.core.minor import REST
from calllog_guard.core.policy.publication import Publication
from calllog_guard.core.prolonged import Prolonged
from calllog_guard.core.replay import Replayed
from calllog_guard.core.requests.case import Case
from calllog_guard.core.requests.decision import Decision
from calllog_guard.core.requests.notice import Notice, Words
from calllog_guard.core.requests.outcome import Outcome
from calllog_guard.core.requests.receipt import Receipt
from calllog_guard.core.requests.request import Request
from calllog_guard.core.requests.sealed import SealedHeader
from calllog_guard.core.retention.cells import Statistic
from calllog_guard.core.retention.removal import Marked, Removed
from calllog_guard.core.retention.tally import Mark
from calllog_guard.core.wire import Access, Beat, Dead, Internal

MESSAGES: Final[dict[str, type[msgspec.Struct]]] = {
    "event": CallEvent,
    "leg-header": LegHeader,
    "held-header": HeldHeader,
    "leg": Leg,
    "request": Request,
    "request-sealed-header": SealedHeader,
    "decision": Decision,
    "outcome": Outcome,
    "case": Case,
    "receipt": Receipt,
    "statement": Statement,
    "removed": Removed,
    "removed-mark": Marked,
    "export": Part,
    "notice": Notice,
    "notice-words": Words,
    "dead": Dead,
    "parked": Parked,
    "remnant": Remnant,
    "replayed": Replayed,
    "access": Access,
    "reader-put": Put,
    "reader-remove": Remove,
    "reader-reset": Reset,
    "manifest": Manifest,
    "heartbeat": Beat,
    "anchor": Anchor,
    "acceptance": Acceptance,
    "expiry-confirmation": Confirmation,
    "prolonged": Prolonged,
    "policy": Publication,
    "statistic": Statistic,
    "statistics-mark": Mark,
}


def _open(part: dict[str, Any]) -> dict[str, Any]:
    """A part of what our programs write: a later minor release may add to it."""
    properties = {name: each for name, each in part.get("properties", {}).items() if name != REST}
    return {name: each for name, each in part.items() if name != "additionalProperties"} | (
        {"properties": properties} if properties else {}
    )


def schema(name: str) -> dict[str, Any]:
    """The schema of one message."""
    (top,), parts = msgspec.json.schema_components([MESSAGES[name]], ref_template="#/$defs/{name}")
    if issubclass(MESSAGES[name], Internal):
        parts = {each: _open(part) for each, part in parts.items()}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name}
    return head | top | {"$defs": parts}


def texts() -> dict[str, str]:
    """Each schema as the text of its file."""
    return {f"{name}.json": json.dumps(schema(name), indent=2, sort_keys=True) + "\n" for name in MESSAGES}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(texts()))
