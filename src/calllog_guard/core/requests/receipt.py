"""
A receipt: what was done, what was observed and by what means, signed with the tenant's key.

Source: interface: messages; design section 9, step 6.
"""

from datetime import datetime
from html import escape
from typing import Final, Literal, get_args

import msgspec

from calllog_guard.core.requests.decision import Observed
from calllog_guard.core.wire import Day, Id, Message, TenantName, Utc, time_text

Stage = Literal[
    "accepted", "fenced", "destroyed", "tombstoned", "rewritten", "exported", "copied", "absent", "gone", "answered", "refused"
]  # fmt: skip
CERTIFIED: Final = frozenset(get_args(Stage))
"""The stages that end in a receipt; `absent` and `gone` are the certificate."""
STATEMENT: Final = (
    "All that may be deleted has been deleted. What law requires to be kept is kept apart for that alone, "
    "and we may be barred from saying whether."
)
"""The same in every certificate, whether or not anything is held."""


class Receipt(Message, frozen=True, kw_only=True):
    """
    The claims of a receipt; `observed` stays empty until someone has looked from outside.

    `observations` lists every look when a request was about several persons; `stages` says when each stage was reached.
    """

    v: Literal[1] = 1
    case: Id
    tenant: TenantName
    request: str
    stage: Stage
    final: bool = False
    legs: int = 0
    shredded: bool = False
    observed: Observed | None = None
    observations: tuple[Observed, ...] = ()
    stages: dict[str, Utc] = msgspec.field(default_factory=dict)
    bounds: dict[str, Utc | int]
    kept: tuple[dict[str, str], ...] = ()
    statement: str | None = None
    pol: Day
    at: Utc


def _rows(rows: list[tuple[str, str]]) -> str:
    return "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows)


_MEANS: Final = {
    "consumer:read_uncommitted": "the partition was read as an outsider, from its beginning to its end",
    "files:segments": "every segment file on the brokers' disks was read, as records and as bytes",
    "keystore:rewritten": "the keystore's file was rewritten without the destroyed secrets",
}
_LEFT: Final = {
    "events": "the events as they were published, at most until",
    "dead": "messages that could not be handled, sealed, at most until",
    "exports": "copies made for the person, sealed, at most until",
    "backup_end": "backups of the keystore open nothing after",
}


def page(receipt: Receipt) -> str:
    """A receipt as a page (HTML, no scripts, nothing fetched) that a person can read and print."""
    head = "Certificate of erasure" if receipt.final else f"Receipt: {receipt.stage}"
    told = [("Case", receipt.case), ("Request", receipt.request), ("Stage", receipt.stage), ("Legs", str(receipt.legs))]
    told += [("Signed at", time_text(receipt.at)), ("Policy of", receipt.pol)]
    stages = [(name, time_text(at)) for name, at in receipt.stages.items()]
    looks = receipt.observations or ((receipt.observed,) if receipt.observed else ())
    seen = [
        (
            f"Partition {look.partition}, offsets {look.from_} to {look.to}, {time_text(look.at)}",
            "; ".join(_MEANS.get(how, how) for how in look.how)
            + f" ({look.in_sync} of {look.replicas} replicas in sync, {look.on_disk} read on disk)",
        )
        for look in looks
    ]
    left = [
        (_LEFT[name], time_text(at))
        for name, at in receipt.bounds.items()
        if isinstance(at, datetime) and name in _LEFT
    ]
    parts = [("What", told), ("When", stages), ("What was observed", seen), ("What is left, and until when", left)]
    tables = "".join(f"<h2>{name}</h2><table>{_rows(rows)}</table>" for name, rows in parts if rows)
    style = "body{font:16px/1.5 sans-serif;max-width:50em;margin:2em auto}th{text-align:left;padding-right:2em;vertical-align:top}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{head}</title><style>{style}</style>'
        f"<h1>{head}</h1>{tables}<p>{escape(receipt.statement or '')}</p></html>\n"
    )


RECEIPTS: Final = msgspec.json.Decoder(Receipt)
