"""
What a hold says and whom it covers: the terms in its entry of the keystore.

Two kinds: what an officer ordered, and what a purpose keeps by law of an erased person (one hold per purpose, month and
partition, so that each ends by itself).
Source: docs/adr/0004-a-hold-is-a-copy.md, docs/explanation/cases.md.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Final, Literal

import msgspec

from calllog_guard.core.codec import Id, Internal, Rewritten, Utc
from calllog_guard.core.decisions.decision import digest
from calllog_guard.core.decisions.standing_rules import Span
from calllog_guard.core.identifiers import HoldId, Lookup, Pseudonym, Tenant
from calllog_guard.core.requests.fields import Name, Short

READY: Final = "+ready"
"""Ends the name of a case that keeps a disclosure's copies ready; no `jti` has a plus."""


DISCLOSED: Final = "disclosure:"
"""Begins the name of a hold that keeps a disclosure's copies ready: it is over what that names, and nobody else."""


LAW_FROM: Final = 1 << 62
"""From here on generations are nobody's: of whom law keeps copies in the partition of that number behind it."""


class Covered(Rewritten, frozen=True, kw_only=True):
    """A person under a hold in one generation; `number` is theirs in the request, `told` whether the ledger has it."""

    number: int
    lookup: str
    generation: int
    pseudonym: Id
    told: bool = False


class Terms(Rewritten, frozen=True, kw_only=True, omit_defaults=True):
    """`purpose` and `partition`: where a purpose keeps by law; `subjects` are all lookups named, `people` those met."""

    v: Literal[1] = 1
    name: Name
    case: Id | None = None
    range: Span | None = None
    authority: Short | None = None
    basis: Short
    review_at: Utc | None = None
    secret: bool = False
    subjects: tuple[str, ...] = ()
    people: tuple[Covered, ...] = ()
    purpose: int | None = None
    partition: int | None = None


class Release(Internal, frozen=True, kw_only=True):
    """The task of a release, sealed beside the lookup: the person's own key may be gone."""

    hold: Id


class OfLaw(Internal, frozen=True, kw_only=True):
    """The task of a hold on what law keeps of an erased person: there is no key under which to seal its rule."""

    hold: Id
    range: Span | None = None


TERMS: Final = msgspec.json.Decoder(Terms)
OF_LAW: Final = msgspec.json.Decoder(OfLaw)
RELEASES: Final = msgspec.json.Decoder(Release)


def hold_id(tenant: Tenant, name: str) -> HoldId:
    """The hold that an officer named so."""
    return HoldId(digest("hold", tenant, name))


@lru_cache(maxsize=8192)
def kept_id(tenant: Tenant, purpose: int, month: str, partition: int) -> HoldId:
    """The hold of a purpose that survives erasure, over the calls of one month in one partition."""
    return HoldId(digest("kept", tenant, str(purpose), month, str(partition)))


def over_subjects(terms: Terms, subjects: Sequence[Lookup]) -> Terms:
    """The terms of a hold that names more identifiers."""
    return msgspec.structs.replace(terms, subjects=tuple(dict.fromkeys((*terms.subjects, *subjects))))


def with_people(terms: Terms, met: Sequence[tuple[Lookup, int, Pseudonym]]) -> Terms:
    """The terms of a hold that covers more people, each in one generation."""
    known = {(each.lookup, each.generation) for each in terms.people}
    numbers = {lookup: number for number, lookup in enumerate(terms.subjects)}
    people = [
        Covered(number=numbers[lookup], lookup=lookup, generation=generation, pseudonym=pseudonym)
        for lookup, generation, pseudonym in dict.fromkeys(met)
        if (lookup, generation) not in known
    ]
    return msgspec.structs.replace(terms, people=(*terms.people, *people)) if people else terms


def with_told(done: Collection[Covered], terms: Terms) -> Terms:
    """The terms of a hold of whose people some are in the ledger by now."""
    told = {(each.number, each.generation, each.pseudonym) for each in done}
    people = [
        msgspec.structs.replace(each, told=True) if (each.number, each.generation, each.pseudonym) in told else each
        for each in terms.people
    ]
    return msgspec.structs.replace(terms, people=tuple(people))
