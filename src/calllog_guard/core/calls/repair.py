"""
The payload of a dead letter made ready to be tried again: without a field that the schema does not know.

Rules: 1. Only unknown fields go, by the operator's word, where the letter names one: what is known is mended in a file.
Source: docs/how-to/publish-an-event.md, docs/how-to/dead-letters.md.
"""

import json
from collections.abc import Collection, Iterator
from typing import Any, Final

from calllog_guard.core.calls.event import CallEvent, Party, RemovedSession
from calllog_guard.errors import StateRefusedError

_KNOWN: Final = frozenset(name for kind in (CallEvent, Party, RemovedSession) for name in kind.__struct_fields__)


def call_key(raw: bytes) -> bytes | None:
    """The record key of a replayed event: its call id, by which the events of one call keep their order."""
    try:
        call = json.loads(raw)["call_id"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    return call.encode(errors="replace") if isinstance(call, str) else None


def without(raw: bytes, reason: str, pointer: str, names: Collection[str]) -> bytes:
    """
    An event without some unknown fields, at the letter's pointer and at its like (`/parties/0` means every party).

    Raises:
        StateRefusedError: The letter has another reason, a name is one that the schema knows, or none of them is there.

    """
    if reason != "unknown_field":
        raise StateRefusedError(f"its reason is {reason}: only an unknown field can be dropped; give --from FILE")
    if _KNOWN & set(names):
        raise StateRefusedError("a field that the schema knows is not dropped; correct it and give --from FILE")
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        raise StateRefusedError("it is no JSON; give --from FILE") from None
    dropped = 0
    for place in _places(content, [step for step in pointer.split("/") if step]):
        for name in names:
            dropped += place.pop(name, place) is not place
    if not dropped:
        raise StateRefusedError(f"no such field at {pointer or '/'}")
    return json.dumps(content).encode()


def _places(content: Any, steps: list[str]) -> Iterator[dict[str, Any]]:
    if not steps:
        if isinstance(content, dict):
            yield content
    elif isinstance(content, list):
        for each in content:
            yield from _places(each, steps[1:])
    elif isinstance(content, dict):
        yield from _places(content.get(steps[0]), steps[1:])
