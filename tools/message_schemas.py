"""
The JSON Schemas (2020-12) of every message, exported from the types.

`make schemas` writes them; `tests/unit/core/test_schemas.py` compares, and checks them by an independent validator.
"""

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from calllog_guard.core.answers.parts import Part
from calllog_guard.core.answers.refused_request import RefusedRequest
from calllog_guard.core.audit.month_statement import Statement
from calllog_guard.core.calls.event import CallEvent
from calllog_guard.core.calls.import_journal import Manifest
from calllog_guard.core.calls.leg import Leg
from calllog_guard.core.calls.parked import Parked
from calllog_guard.core.calls.view import Put, Remove, Reset
from calllog_guard.core.cases.case import Case
from calllog_guard.core.cases.notices import Notice, Words
from calllog_guard.core.cases.receipt import Receipt
from calllog_guard.core.codec import Access, Beat, Dead, Internal
from calllog_guard.core.crypto.held_envelope import HeldHeader
from calllog_guard.core.crypto.leg_envelope import LegHeader
from calllog_guard.core.decisions.decision import Decision
from calllog_guard.core.decisions.outcome import Outcome
from calllog_guard.core.later_fields import REST
from calllog_guard.core.officers.acceptances import Acceptance
from calllog_guard.core.officers.confirmations import Confirmation
from calllog_guard.core.officers.prolongations import Prolonged
from calllog_guard.core.policy.changes.publication import Publication
from calllog_guard.core.requests.request import Request
from calllog_guard.core.requests.sealing import SealedHeader
from calllog_guard.core.retention.removals import Marked, Removed
from calllog_guard.core.retention.statistics import Statistic
from calllog_guard.core.retention.tally import Mark
from calllog_guard.core.sessions.moment import Moment
from calllog_guard.core.sources.model import MappingFile
from calllog_guard.core.stream.anchor import Anchor
from calllog_guard.core.stream.arrival import Remnant
from calllog_guard.core.stream.replay import Replayed
from calllog_guard.core.webhooks.form import IngestFile

SCHEMAS: Final = Path(__file__).parents[1] / "schemas"
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
    "refused-request": RefusedRequest,
    "statement": Statement,
    "removed": Removed,
    "removed-mark": Marked,
    "export": Part,
    "notice": Notice,
    "notice-words": Words,
    "dead": Dead,
    "parked": Parked,
    "moment": Moment,
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
    "mapping": MappingFile,
    "ingest": IngestFile,
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
    for file, text in texts().items():
        (SCHEMAS / file).write_text(text, "utf-8")
