"""
A receipt as a page that a person can read, print and check.

Rules: 1. The page says no more than the signed claims, but how to check them.  2. What was not looked at is said as
          plainly as what was.
Source: GDPR Art. 5(2), 17, 19.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from calllog_guard.core.cases.receipt import Receipt
from calllog_guard.reports.pages import page

_CERTIFICATES: Final = frozenset({"absent", "gone"})
_REMOVED: Final = frozenset({"tombstoned", "absent", "gone"})
STAGE_WORDS: Final = {
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
    "unfound": "Nothing found to which it could be done: put before an officer",
}
_VERDICTS: Final = {
    "accepted": "The request was accepted.",
    "fenced": "From now on nothing is opened or stored against this request.",
    "copied": "What must be kept was put apart.",
    "destroyed": "What was stored cannot be read any more, save with a backup of the key store until the day named "
    "below.",
    "tombstoned": "Every record concerned is marked for removal. The removal itself is still to be observed.",
    "rewritten": "The records are corrected. The removal of what they said before is still to be observed.",
    "exported": "The copy was made and sealed to whoever asked for it.",
    "absent": "A look from outside found none of the records any more.",
    "gone": "A look from outside found neither the records nor their names any more.",
    "decided": "The request is carried out: nobody was met whom it concerns, and nothing was left to do.",
    "answered": "The request is answered.",
    "refused": "An officer refused the request; the reasons and the remedies are told apart.",
    "unfound": "Nothing was found to which the request could be done. An officer decides what that means, and you are "
    "told.",
}
_NOBODY: Final = (
    "Nobody was known under the identifiers of the request, and a look from outside found no record of theirs."
)
_NOTHING: Final = "No record had to be removed for this request."
_MEANS: Final = {
    "consumer:read_uncommitted": "The log was read as an outsider reads it, from its beginning to its end.",
    "files:segments": "Every file of the log was read on as many brokers' disks as the table says, also files set "
    "aside for deletion.",
    "keystore:rewritten": "The key store's file had been rewritten without the destroyed keys.",
}
_LEFT: Final = {
    "events": "The calls as they were first published, before they were sealed",
    "moments": "Joins and leaves as platforms reported them, sealed until they were paired, and the calls made of them",
    "requests": "This request as it was sent",
    "dead": "Messages that could not be handled, sealed to the operator",
    "notices": "Notices about this case, sealed to whom they are for",
    "exports": "Copies made for the person, sealed to the person",
    "clear_calls": "Other people's own records of the same calls, written before a change of their form: sealed to "
    "those people, they may name the call by an identifier that was made of addresses (records of people whose data "
    "are restricted may stay longer)",
    "backup_end": "Backups of the key store; after this day they open nothing",
}


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """
    How the signature was checked before a page was made.

    Args:
        key: The fingerprint of the public key: the SHA-256 thumbprint of RFC 7638, base64url.
        name: The file of that key, as the command named it.

    """

    key: str
    name: str


def certificate(receipt: Receipt, checked: SignatureCheck) -> str:
    """The page; whoever makes it has checked the signature."""
    final = receipt.stage in _CERTIFICATES
    nobody, nothing = receipt.known is False, receipt.stage in _REMOVED and not receipt.legs and not receipt.shredded
    title = (
        "Receipt"
        if not final or nobody or nothing
        else "Certificate of erasure"
        if receipt.shredded
        else "Certificate of removal"
    )
    looks = list(dict.fromkeys(receipt.observations or ((receipt.observed,) if receipt.observed else ())))
    left = [(text, at) for name, text in _LEFT.items() if isinstance(at := receipt.bounds.get(name), datetime)]
    return page(
        "certificate.html.j2",
        title=title,
        final=final,
        receipt=receipt,
        checked=checked,
        verdict=_NOBODY if nobody and final else _NOTHING if nothing else _VERDICTS[receipt.stage],
        nobody=nobody and not final,
        unknown=len(receipt.unknown or ()) if receipt.known else 0,
        linked=receipt.linked or 0,
        stages=[(STAGE_WORDS.get(name, name), at) for name, at in _ordered(receipt)],
        looks=looks,
        means=list(dict.fromkeys(_MEANS.get(how, how) for look in looks for how in look.how)),
        unread=any(look.on_disk < look.replicas for look in looks),
        left=left,
        cache_s=receipt.bounds.get("cache_s"),
    )


def _ordered(receipt: Receipt) -> list[tuple[str, datetime]]:
    ranks = {name: rank for rank, name in enumerate(STAGE_WORDS)}
    return sorted(receipt.stages.items(), key=lambda item: (item[1], ranks.get(item[0], len(ranks))))
