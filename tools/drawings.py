"""
Draw the pictures of docs/ as SVG, from the lists below: no script, no font and no network is needed to see them.

`make reference` writes them; tests/unit/project/test_docs.py fails where a picture is not what the list says.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

DOCS: Final = Path(__file__).parents[1] / "docs"
_WIDE: Final = 178
_HIGH: Final = 46
_TOP: Final = 70
_EDGE: Final = 14
_CHARACTER: Final = 6.1

Arrow = tuple[str, str, str]
"""From which lane, to which lane (the same: a step of its own), what happens."""

WORKERS: Final[tuple[Arrow, ...]] = (
    ("backend", "protector", "calllog.events"),
    ("protector", "keystore", "finds or mints secrets"),
    ("protector", "log of legs", "one sealed leg per party"),
    ("backend", "desk", "privacy.requests, signed"),
    ("desk", "keystore", "fence: the person is gone"),
    ("desk", "keeper", "privacy.decisions"),
    ("keeper", "keystore", "destroys the secrets"),
    ("keeper", "log of legs", "tombstones, copies"),
    ("keeper", "desk", "privacy.outcomes"),
    ("auditor", "log of legs", "heartbeats; looks from outside"),
    ("auditor", "desk", "what was seen"),
    ("desk", "backend", "privacy.receipts, signed"),
)
EVENT: Final[tuple[Arrow, ...]] = (
    ("adapters/kafka/consumer", "workers/runtime/delivery", "a poll: one unit"),
    ("workers/runtime/delivery", "workers/protector/worker", "unit"),
    ("workers/protector/worker", "core/calls/event", "read_event: decode, check"),
    ("workers/protector/worker", "workers/protector/leg_writer", "pending legs, one per party"),
    ("workers/protector/leg_writer", "workers/keys/people/subject_keys", "persons read afresh; new ones minted"),
    ("workers/protector/leg_writer", "core/calls/fate", "fate_of: leg, nothing, or mint"),
    ("workers/protector/leg_writer", "core/crypto/leg_envelope", "seal_under: JWE of the leg"),
    ("workers/protector/leg_writer", "adapters/kafka/writer", "legs, acknowledged"),
    ("workers/protector/leg_writer", "workers/keys/people/subject_keys", "persons read again: changed? do it again"),
    ("workers/runtime/delivery", "adapters/kafka/consumer", "the offset moves"),
)
ERASURE: Final[tuple[Arrow, ...]] = (
    ("backend", "workers/desk/worker", "signed request erase"),
    ("workers/desk/worker", "core/requests", "signature, fields, clock, brake"),
    ("workers/desk/worker", "workers/desk/case_execution", "granted"),
    ("workers/desk/case_execution", "workers/desk/decisions/decider", "erase"),
    ("workers/desk/decisions/decider", "ledger", "decision, acknowledged"),
    ("workers/desk/decisions/decider", "keystore", "fence"),
    ("ledger", "workers/keeper/worker", "in order; reads up to the barrier"),
    ("workers/keeper/worker", "workers/keeper/enforcement/enforcer", "once the barrier is read"),
    ("workers/keeper/enforcement/enforcer", "keystore", "key deleted: destroyed"),
    ("workers/keeper/enforcement/enforcer", "log of legs", "tombstones: tombstoned"),
    ("ledger", "workers/auditor/worker", "the result, beside the decision"),
    ("workers/auditor/worker", "log of legs", "reads all of it and its files"),
    ("workers/auditor/worker", "workers/desk/worker", "outcome absent"),
    ("workers/desk/worker", "backend", "receipts of every stage"),
)
REQUEST_TYPE: Final[tuple[Arrow, ...]] = (
    ("you", "core/requests/types", "1 its name and its row"),
    ("core/requests/types", "core/requests/request", "what it must and may say"),
    ("core/requests/types", "core/cases/case_states", "roles, identity, brake, review"),
    ("core/requests/types", "core/cases/case", "its stages"),
    ("core/requests/types", "reports", "its words in notices and answers"),
    ("you", "workers/desk/decisions/granted", "2 what it changes in an entry"),
    ("you", "workers/keeper/enforcement/enforcer", "3 what the keeper does"),
)
DRAWN: Final = {
    "workers.svg": ("Who writes to whom", WORKERS),
    "contributing/event.svg": ("The way of an event", EVENT),
    "contributing/erasure.svg": ("The way of an erasure", ERASURE),
    "contributing/request-type.svg": ("The way of a new request type", REQUEST_TYPE),
}


def _box(x: float, text: str, wide: float) -> str:
    left = x - wide / 2 + _EDGE / 2
    return (
        f'<rect x="{left:g}" y="34" width="{wide - _EDGE:g}" height="26" rx="5" fill="#e8eaf6" stroke="#3f51b5"/>'
        f'<text x="{x:g}" y="51" text-anchor="middle" font-weight="bold">{escape(text)}</text>'
    )


def _arrow(start: float, end: float, y: float, text: str) -> str:
    middle, half = (start + end) / 2, len(text) * _CHARACTER / 2 + 3
    back = f'<rect x="{middle - half:g}" y="{y - 16:g}" width="{2 * half:g}" height="13" fill="#ffffff" opacity="0.9"/>'
    line = (
        f'<line x1="{start:g}" y1="{y:g}" x2="{end:g}" y2="{y:g}" '
        'stroke="#3f51b5" stroke-width="1.5" marker-end="url(#tip)"/>'
    )
    return f'{back}{line}<text x="{middle:g}" y="{y - 6:g}" text-anchor="middle">{escape(text)}</text>'


def drawing(title: str, arrows: Sequence[Arrow]) -> str:
    """Lanes from left to right in the order in which they are named, arrows from top to bottom."""
    lanes = list(dict.fromkeys(lane for start, end, _ in arrows for lane in (start, end)))
    wide = max(_WIDE, *(7 * len(lane) + 2 * _EDGE for lane in lanes))
    at = {lane: _EDGE + wide * (number + 0.5) for number, lane in enumerate(lanes)}
    width, height = wide * len(lanes) + 2 * _EDGE, _TOP + _HIGH * len(arrows) + 20
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'font-family="sans-serif" font-size="11.5" role="img" aria-label="{escape(title)}">'
        ),
        (
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
            '<path d="M0 0 8 4 0 8z" fill="#3f51b5"/></marker></defs>'
        ),
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_EDGE}" y="22" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for lane, x in at.items():
        parts.append(
            f'<line x1="{x:g}" y1="60" x2="{x:g}" y2="{height - 12}" stroke="#9e9e9e" stroke-dasharray="3 4"/>'
        )
        parts.append(_box(x, lane, wide))
    for number, (start, end, text) in enumerate(arrows):
        parts.append(_arrow(at[start], at[end], _TOP + _HIGH * (number + 0.7), text))
    return "\n".join([*parts, "</svg>"]) + "\n"


def drawings() -> dict[str, str]:
    """Every picture by its place in docs/."""
    return {place: drawing(title, arrows) for place, (title, arrows) in DRAWN.items()}


if __name__ == "__main__":
    for name, text in drawings().items():
        (DOCS / name).write_text(text, "utf-8")
