"""
A receipt as a page that a person can read and print: HTML, no scripts, nothing fetched.

Rules: 1. The page says nothing that the signed claims do not say.  2. What was not looked at is said as plainly as what was.
Source: design section 9, step 6; issue: certificate.
"""

from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Final

from calllog_guard.core.requests.outcome import Observed
from calllog_guard.core.requests.receipt import Receipt

_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_CERTIFICATES: Final = frozenset({"absent", "gone"})
_STAGES: Final = {
    "accepted": "Request accepted: its signature was checked",
    "decided": "Decided, and handed on to be carried out",
    "fenced": "Nothing is opened or stored against it any more",
    "copied": "What must be kept was put apart",
    "destroyed": "The person's keys destroyed",
    "tombstoned": "Every record concerned marked for removal",
    "rewritten": "Files and records rewritten without what had to go",
    "exported": "The copy was made and sealed",
    "absent": "No record seen any more, by the means below",
    "gone": "No trace of the records' names seen any more",
    "answered": "Answered",
    "refused": "Refused by an officer",
}
_VERDICTS: Final = {
    "accepted": "The request was accepted.",
    "fenced": "From now on nothing is opened or stored against this request.",
    "copied": "What must be kept was put apart.",
    "destroyed": "What was stored cannot be read any more, save with a backup of the key store until the day named below.",
    "tombstoned": "Every record concerned is marked for removal. The removal itself is still to be observed.",
    "rewritten": "The records are corrected. The removal of what they said before is still to be observed.",
    "exported": "The copy was made and sealed to whoever asked for it.",
    "absent": "A look from outside found none of the records any more.",
    "gone": "A look from outside found neither the records nor their names any more.",
    "answered": "The request is answered.",
    "refused": "An officer refused the request; the reasons and the remedies are told apart.",
}
_MEANS: Final = {
    "consumer:read_uncommitted": "The log was read as an outsider reads it, from its beginning to its end.",
    "files:segments": "Every file of the log was read on as many brokers' disks as the table says, also files set aside for deletion.",
    "keystore:rewritten": "The key store's file had been rewritten without the destroyed keys.",
}
_LEFT: Final = {
    "events": "The calls as they were first published, before they were sealed",
    "requests": "This request as it was sent",
    "dead": "Messages that could not be handled, sealed to the operator",
    "notices": "Notices about this case, sealed to whom they are for",
    "exports": "Copies made for the person, sealed to the person",
    "backup_end": "Backups of the key store; after this day they open nothing",
}
_FOOT: Final = (
    "This page repeats what the signed receipt says; the signature was checked when the page was made. "
    "The receipt is what counts: <code>calllog-guard receipt verify</code> checks it with the public key alone."
)
_STYLE: Final = (
    "body{font:16px/1.5 'Segoe UI',Helvetica,Arial,'DejaVu Sans',sans-serif;color:#1c2733;background:#fff;max-width:46em;"
    "margin:2.5em auto;padding:0 1.5em}"
    "h1{font-size:1.7em;line-height:1.2;margin:0}h2{font-size:1.1em;margin:2em 0 .5em}"
    ".verdict{border-left:4px solid #2b6a4d;background:#eef6f1;padding:.8em 1em;margin:1.2em 0}"
    ".open .verdict{border-color:#8a6d1d;background:#faf5e6}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:baseline;padding:.4em 1.2em .4em 0;"
    "border-top:1px solid #d9dee3}th{font-weight:600}thead th{border-top:0}"
    ".facts th{width:34%}.when td:last-child,.left td:last-child{white-space:nowrap;padding-right:0;width:1%}"
    ".looks{font-size:.92em}.looks th,.looks td{padding-right:.9em;overflow-wrap:normal}.id{overflow-wrap:anywhere}"
    "@media(min-width:42em){.looks td{white-space:nowrap}}"
    ".id{font-family:'DejaVu Sans Mono',Menlo,Consolas,monospace;font-size:.9em}"
    "ul{padding-left:1.2em;margin:.5em 0}.small{color:#51606e;font-size:.9em}"
    "@media print{body{margin:0;max-width:none;font-size:11pt}tr,.verdict{break-inside:avoid}}"
)


def page(receipt: Receipt) -> str:
    """The page; whoever makes it has checked the signature."""
    certificate = receipt.stage in _CERTIFICATES
    title = "Receipt" if not certificate else "Certificate of erasure" if receipt.shredded else "Certificate of removal"
    keys = "The person's keys are destroyed. " if receipt.shredded else ""
    looks = receipt.observations or ((receipt.observed,) if receipt.observed else ())
    statement = f"<p>{escape(receipt.statement)}</p>" if receipt.statement else ""
    parts = (
        f"<h1>{title}</h1>",
        f'<p class="verdict">{keys}{_VERDICTS[receipt.stage]} {_counted(receipt.legs)}</p>',
        statement,
        _facts(receipt),
        _times("What was done, and when", "when", [(_STAGES.get(name, name), at) for name, at in _ordered(receipt)]),
        _looks(list(dict.fromkeys(looks))),
        _left(receipt),
        f'<p class="small">{_FOOT}</p>',
    )
    kind = "certificate" if certificate else "open"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>{title}</title><style>{_STYLE}</style></head><body class="{kind}">{"".join(parts)}</body></html>\n'
    )


def _counted(legs: int) -> str:
    return "It concerned 1 record." if legs == 1 else f"It concerned {legs:,} records." if legs else ""


def _text(at: datetime) -> str:
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}, {at:%H:%M:%S} UTC"


def _ordered(receipt: Receipt) -> list[tuple[str, datetime]]:
    ranks = {name: rank for rank, name in enumerate(_STAGES)}
    return sorted(receipt.stages.items(), key=lambda item: (item[1], ranks.get(item[0], len(ranks))))


def _facts(receipt: Receipt) -> str:
    names = [("Service", receipt.tenant), ("Case", receipt.case), ("Request", receipt.request)]
    rows = "".join(f'<tr><th>{name}</th><td class="id">{escape(text)}</td></tr>' for name, text in names)
    rows += f"<tr><th>Signed</th><td>{_text(receipt.at)}</td></tr>"
    rows += f"<tr><th>Privacy policy of</th><td>{escape(receipt.pol)}</td></tr>"
    rows += "".join(
        f"<tr><th>Kept by law</th><td>{escape(', '.join(text.replace('_', ' ') for text in each.values()))}</td></tr>"
        for each in receipt.kept
    )
    return f'<table class="facts">{rows}</table>'


def _times(title: str, kind: str, rows: Sequence[tuple[str, datetime]]) -> str:
    lines = "".join(f"<tr><td>{escape(name)}</td><td>{_text(at)}</td></tr>" for name, at in rows)
    return f'<h2>{title}</h2><table class="{kind}">{lines}</table>' if rows else ""


def _looks(looks: Sequence[Observed]) -> str:
    if not looks:
        return ""
    means = list(dict.fromkeys(how for look in looks for how in look.how))
    head = "".join(f"<th>{name}</th>" for name in ("Part", "Offsets", "Looked at", "Replicas in sync", "Disks read"))
    rows = "".join(
        f"<tr><td>{look.partition}</td><td>{look.from_:,} to {look.to:,}</td><td>{_text(look.at)}</td>"
        f"<td>{look.in_sync} of {look.replicas}</td><td>{look.on_disk} of {look.replicas}</td></tr>"
        for look in looks
    )
    return (
        "<h2>What was looked at, and how</h2><ul>"
        + "".join(f"<li>{escape(_MEANS.get(how, how))}</li>" for how in means)
        + f'</ul><table class="looks"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{_unread(looks)}'
    )


def _unread(looks: Sequence[Observed]) -> str:
    """What nobody looked at with their own eyes."""
    if all(look.on_disk >= look.replicas for look in looks):
        return ""
    return (
        '<p class="small">Copies whose disks were not read follow the same rules of removal and had confirmed everything up to '
        "the look; that the bytes have left those disks was not seen.</p>"
    )


def _left(receipt: Receipt) -> str:
    rows = [(text, at) for name, text in _LEFT.items() if isinstance(at := receipt.bounds.get(name), datetime)]
    notes = [
        "This case, its decision and its receipts are kept as proof: dates, numbers and random names, no identity."
    ]
    if receipt.stage == "absent":
        notes.append(
            "Names of the removed records, random and without content, may still lie in the log; "
            "a second certificate says when they are not seen any more."
        )
    cache_s = receipt.bounds.get("cache_s")
    if isinstance(cache_s, int):
        notes.append(f"A program that had the keys open may have kept them in memory for {cache_s} seconds.")
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        _times("What may be left elsewhere, and until when at most", "left", rows) + f'<ul class="small">{listed}</ul>'
    )
