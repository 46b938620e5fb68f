"""
What was decided about a person and stands for ever: applied to what is stored and to whatever arrives later.

Rules: 1. Rules are in the order of the ledger, by tenures of desks.  2. What a rule says beyond its type lies under the
          person's key, so that it goes with the person.  3. Folding the same decisions again gives the same standing.
Source: docs/adr/0003-decisions-stand.md, docs/explanation/cases.md.
"""

from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag

from calllog_guard.core.codec import Day, Id, Internal, Rewritten, Utc, decode, encode
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.decisions.decision import Decision, bound
from calllog_guard.core.identifiers import LEG_LETTERS, b64, unb64
from calllog_guard.core.requests.types import CHOICES, HOLDS, RESTRICTIONS
from calllog_guard.errors import MessageError, RecordError

_NONCE: Final = 12
REVIEW: Final = 1 << 61
"""In the mask of a restriction or its end, beside the purposes objected to: only while its case's objection is open."""
ALONE: Final = 1 << 62
"""As the mask of an end: that of the restriction of its own case, and of no other; no purpose has this bit."""


class Span(Rewritten, frozen=True, kw_only=True):
    """Days (UTC) on which a call began, both included; None means without end."""

    from_: Day | None = msgspec.field(default=None, name="from")
    to: Day | None = None

    def covers(self, day: date) -> bool:
        """Whether a call that began on this day is meant."""
        text = day.isoformat()
        return (self.from_ is None or self.from_ <= text) and (self.to is None or text <= self.to)


class Correction(Internal, frozen=True, kw_only=True):
    """The corrected facts of one leg (Art. 16); None leaves a fact as it is."""

    token: Id
    role: str | None = None
    joined_at: Utc | None = None
    left_at: Utc | None = None


class Rule(Internal, frozen=True, kw_only=True, omit_defaults=True):
    """What a decision says beyond its type; `mask` holds purposes, `hold` names the hold."""

    v: Literal[1] = 1
    range: Span | None = None
    mask: int = 0
    facts: Correction | None = None
    hold: Id | None = None


RULES: Final = msgspec.json.Decoder(Rule)


def seal_rule(decision: Decision, rule: Rule, key: Secret, nonce: bytes) -> Decision:
    """The decision with its rule sealed under the person's `rules_key`; what the decision says is the AAD."""
    sealed = nonce + key.aes().encrypt(nonce, encode(rule), b"rule\n" + bound(decision))
    return msgspec.structs.replace(decision, rule=b64(sealed).decode())


def open_rule(decision: Decision, key: Secret) -> Rule:
    """
    What a decision says beyond its type.

    Raises:
        RecordError: Changed, or another's; dead-lettered, never guessed at.

    """
    if decision.rule is msgspec.UNSET:
        return Rule()
    try:
        raw = unb64(decision.rule.encode("ascii"))
        content = key.aes().decrypt(raw[:_NONCE], raw[_NONCE:], b"rule\n" + bound(decision))
        return decode(RULES, content)
    except (InvalidTag, ValueError, MessageError):
        raise RecordError("bad_decision") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All rules about one person, folded; masks hold purposes, `restrictions` and `reviews` the cases they are from."""

    restrictions: frozenset[str] = frozenset()
    reviews: frozenset[str] = frozenset()
    objected: int = 0
    withdrawn: int = 0
    consented: int = 0
    ranges: tuple[Span, ...] = ()
    corrections: dict[str, Correction] = field(default_factory=dict)
    holds: dict[str, Span] = field(default_factory=dict)

    def after(self, decision: Decision, rule: Rule) -> "Standing":
        """The standing after one more decision; access, portability and disclosure are tasks and change nothing."""
        kind, mask = decision.type, rule.mask
        if kind in RESTRICTIONS:
            return self._restricted(decision.case, mask, on=kind == "restrict")
        if kind in CHOICES:
            return self._chosen(kind, mask)
        if kind == "erase" and rule.range is not None:
            return replace(self, ranges=(*self.ranges, rule.range))
        if kind == "rectify" and rule.facts is not None:
            return replace(self, corrections=self.corrections | {rule.facts.token: rule.facts})
        if kind in HOLDS and rule.hold is not None:
            others = {name: span for name, span in self.holds.items() if name != rule.hold}
            return replace(self, holds=others | ({rule.hold: rule.range or Span()} if kind == "hold" else {}))
        return self

    def _restricted(self, case: str, mask: int, *, on: bool) -> "Standing":
        """A restriction during an objection, its end, and the end of one restriction alone say so by their mask."""
        if mask == ALONE and not on:
            return replace(self, restrictions=self.restrictions - {case})
        if mask:
            return replace(self, reviews=self.reviews | {case} if on else self.reviews - {case})
        if on:
            return replace(self, restrictions=self.restrictions | {case})
        return replace(self, restrictions=frozenset(), reviews=frozenset())

    def _chosen(self, kind: str, mask: int) -> "Standing":
        """What a person's own choice makes of the purposes."""
        if kind == "object":
            return replace(self, objected=self.objected | mask)
        if kind == "withdraw":
            return replace(self, withdrawn=self.withdrawn | mask, consented=self.consented & ~mask)
        withdrawn, objected = self.withdrawn & ~mask, self.objected & ~mask
        return replace(self, consented=self.consented | mask, withdrawn=withdrawn, objected=objected)

    def mask_of(self, mask: int) -> int:
        """The purposes of a leg that were not taken away."""
        return mask & ~self.objected & ~self.withdrawn

    def correction_of(self, token: str) -> Correction | None:
        """The corrected facts of a leg, whichever revision of it this is."""
        same = (facts for each, facts in self.corrections.items() if each[:LEG_LETTERS] == token[:LEG_LETTERS])
        return next(same, None)

    def removes(self, day: date) -> bool:
        """Whether a leg of this day was erased by a range."""
        return any(span.covers(day) for span in self.ranges)

    def holds_on(self, day: date) -> tuple[str, ...]:
        """The holds that cover a leg of this day."""
        return tuple(name for name, span in self.holds.items() if span.covers(day))
