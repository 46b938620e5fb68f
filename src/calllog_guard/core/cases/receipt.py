"""
A receipt: what was done, what was observed and by what means, signed with the tenant's key.

Source: docs/reference/messages.md, docs/explanation/design.md.
"""

from typing import Final, Literal, get_args

import msgspec

from calllog_guard.core.codec import Day, Id, Internal, TenantName, Utc
from calllog_guard.core.decisions.outcome import Observed

Stage = Literal[
    "accepted", "fenced", "destroyed", "tombstoned", "rewritten", "exported", "copied", "absent", "gone", "answered",
    "refused", "decided", "unfound",
]  # fmt: skip
CERTIFIED: Final = frozenset(get_args(Stage))
"""
The stages that end in a receipt; `absent` and `gone` are the certificate.

Not every stage does: that the keystore's file was rewritten behind an erasure is no news to a person;
`decided` is one where it is the end, because nobody was met and nobody else has anything to do.
"""
COMPARED: Final = frozenset({"tombstoned", "exported", "absent", "gone"})
"""The stages that say how many records it was, beside how many an officer was told that it would be."""
STATEMENT: Final = (
    "All that may be deleted has been deleted. What law requires to be kept is kept apart for that alone, "
    "and we may be barred from saying whether."
)
"""The same in every certificate, whether or not anything is held."""


class PreviewTotal(Internal, frozen=True, kw_only=True):
    """What keepers had counted before an officer approved: records, calendar months of their calls, and when."""

    legs: int
    months: int
    at: Utc


class Receipt(Internal, frozen=True, kw_only=True):
    """
    The claims of a receipt; `observed` stays empty until someone has looked from outside.

    `digests` are the SHA-256 of an export's parts, in order; `stages` says when each stage was reached.
    `controller`, `contact`, `authority` and `zone` are the policy's words for a page.
    `observations` lists every look when a request was about several persons.
    `known` is false where nobody was known under any of the request's identifiers.
    `unknown` lists under which (by place, from 0) nobody was, `linked` how many more were reached as the same person.
    `previewed` is what was counted before an officer approved, in the receipt of the stage that says how many it was.
    `recipients` had the person's records and are told (Art. 19); `unsure` says why some of them are not known for sure.
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
    digests: tuple[str, ...] = ()
    pol: Day
    at: Utc
    known: bool | msgspec.UnsetType = msgspec.UNSET
    unknown: tuple[int, ...] | msgspec.UnsetType = msgspec.UNSET
    linked: int | msgspec.UnsetType = msgspec.UNSET
    previewed: PreviewTotal | msgspec.UnsetType = msgspec.UNSET
    recipients: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    unsure: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    controller: str | msgspec.UnsetType = msgspec.UNSET
    contact: str | msgspec.UnsetType = msgspec.UNSET
    authority: str | msgspec.UnsetType = msgspec.UNSET
    zone: str | msgspec.UnsetType = msgspec.UNSET


RECEIPTS: Final = msgspec.json.Decoder(Receipt)
