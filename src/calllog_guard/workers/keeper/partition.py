"""
One partition as the keeper holds it: its index, and what was decided about whom in it.

Rules: 1. Erased people are known before any leg is handled.  2. A decision that still waits for its barrier is not yet
          a standing rule: until then its legs are indexed, so that they are counted and removed together.
       3. The ledger's order is the order of the rules, but what a paused desk wrote late precedes its successor's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from calllog_guard.core.decisions.decision import Decision
from calllog_guard.core.decisions.standing_rules import Standing
from calllog_guard.core.identifiers import Token
from calllog_guard.core.requests.types import EXPORTS, LINKS, RESTRICTIONS, TAKE_AWAY, kinds
from calllog_guard.ports.state import Index, Pending
from calllog_guard.workers.keeper.ledger_memory import DoneDecisions, ErasedPeople
from calllog_guard.workers.runtime.backoff import Pauses

AT_ONCE: Final = kinds(lambda row: row.rule and not row.removes)
"""Decisions that hold from the moment they are read: nothing stored has to change for them (a hold copies)."""
TASKS: Final = EXPORTS | LINKS | {"search", "preview"}
"""Decisions that are done once and leave no rule about anybody's records."""


@dataclass(slots=True)
class NamedLegs:
    """The legs that a decision has named in the ledger as about to go, part by part; `names` knows them all."""

    parts: dict[int, list[Token]] = field(default_factory=dict)
    names: dict[Token, None] = field(default_factory=dict)

    def put(self, number: int, tokens: Iterable[Token]) -> None:
        """What the ledger says in one part."""
        self.parts[number] = list(tokens)
        self.names.update(dict.fromkeys(self.parts[number]))

    def added(self, tokens: Sequence[Token], most: int) -> dict[int, tuple[Token, ...]]:
        """The parts as they become with more names: the last that there is filled up, then new ones."""
        found: dict[int, tuple[Token, ...]] = {}
        number = max(self.parts, default=1)
        part, at = self.parts.get(number, []), 0
        while at < len(tokens):
            more = tokens[at : at + max(0, most - len(part))]
            if more:
                found[number] = (*part, *more)
            at, number, part = at + len(more), number + 1, []
        return found


@dataclass
class Shard:
    """
    One partition: its index, how far it was read, and the decisions about its people.

    Args:
        held: The index of the copies in its partition of `held`, by hold and token; `copies` is how far it was read.
        erased: Whose total erasure was decided; once it is done, what comes of theirs is tombstoned on sight.
        done: Ledger keys of decisions whose result is in the ledger.
        recorded: By ledger key, the legs that a decision was about to remove when it was tried last.
        progress: By ledger key, how far decisions are that take more than one turn.
        pauses: The decisions that wait for something of one person's, by ledger key.
        working: People from whom decisions are taking legs away, with the record keys that came meanwhile, for each.
        revised: Legs of which there may be several revisions, by the beginning of their record keys: the newest stays.
        revises: Whether any leg of the partition came as a revision.
        unjudged: People whose legs arrived when the rules about them could not be read.
        unsure: Who may not be swept for now, because their entries cannot be used.
        pending: Decisions that wait for their barrier, by ledger key, in the order of the ledger.
        ruled: By pseudonym, its other decisions in the order of the ledger, by ledger key.
        known_from: The end of the legs when the partition was assigned: from there on the index knows all.
        unforgotten: Whether the index' files hold removed rows; `forget_from`: when to mend that (loop's clock).
        disclosed: By pseudonym, the cases in which their records were asked for, for an authority.
        since: By ledger key, when a decision was taken in (loop's clock): earlier openings are on record by then.
        restricted: Who may not be swept, with the cases that say so.
        missing: Legs that were not where the index says, with that offset and the log's end as it was then.

    """

    partition: int
    index: Index
    legs: int
    decisions: int
    held: Index
    copies: int
    erased: ErasedPeople = field(default_factory=ErasedPeople)
    done: DoneDecisions = field(default_factory=DoneDecisions)
    recorded: dict[str, NamedLegs] = field(default_factory=dict)
    progress: dict[bytes, Any] = field(default_factory=dict)
    pauses: Pauses[bytes] = field(default_factory=Pauses)
    working: dict[str, dict[bytes, set[bytes]]] = field(default_factory=dict)
    revised: Pauses[bytes] = field(default_factory=Pauses)
    revises: bool = False
    unjudged: Pauses[str] = field(default_factory=Pauses)
    unsure: set[str] = field(default_factory=set)
    pending: dict[bytes, Pending] = field(default_factory=dict)
    ruled: dict[str, dict[str, Decision]] = field(default_factory=dict)
    disclosed: dict[str, dict[str, None]] = field(default_factory=dict)
    since: dict[bytes, float] = field(default_factory=dict)
    restricted: dict[str, set[str]] = field(default_factory=dict)
    standing: dict[str, Standing] = field(default_factory=dict)
    missing: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    known_from: int = 0
    unforgotten: bool = False
    forget_from: float = 0

    def named(self, name: str) -> NamedLegs:
        """What a decision has named in the ledger."""
        return self.recorded.setdefault(name, NamedLegs())

    def came(self, person: str, key: bytes) -> None:
        """A leg has arrived: whoever is taking some of this person's away looks at it, too."""
        for keys in self.working.get(person, {}).values():
            keys.add(key)

    def worked(self, person: str, name: bytes) -> None:
        """A decision is done."""
        under_way = self.working.get(person, {})
        under_way.pop(name, None)
        if not under_way:
            self.working.pop(person, None)

    def note(self, name: str, decision: Decision) -> None:
        """A decision was read; reading it again changes nothing."""
        person = decision.pseudonym
        if decision.type == "disclose":
            self.disclosed.setdefault(person, {})[decision.case] = None
        if decision.total:
            self.erased.note(person, name, done=name in self.done)
        elif decision.type not in TASKS and name not in self.ruled.get(person, {}):
            ruled = self.ruled.get(person, {}) | {name: decision}
            self.ruled[person] = dict(sorted(ruled.items(), key=lambda item: item[1].turn))
            self.standing.pop(person, None)
            if decision.type in RESTRICTIONS:
                self._restrict(person)

    def _restrict(self, person: str) -> None:
        """By which cases a person is restricted: a `lift` ends its own, or all (`core/decisions/standing_rules.py`)."""
        left: set[str] = set()
        ruled = list(self.ruled[person].values())
        own = {each.case for each in ruled if each.type == "restrict"}
        for each in ruled:
            if each.type == "restrict":
                left.add(each.case)
            elif each.type == "lift":
                left -= {each.case} if each.case in own else set(left)
        self.restricted.pop(person, None)
        if left:
            self.restricted[person] = left

    def finished(self, name: str) -> None:
        """A decision is done: from now on it is a standing rule."""
        self.done.add(name)
        if name.encode() not in self.pending:  # after a crash it may be carried out once more
            self.recorded.pop(name, None)
        person = name.partition(".")[0]
        self.erased.finished(person, name)
        self.standing.pop(person, None)

    def gone(self, pseudonym: str) -> bool:
        """Whether a person's erasure is done, so that every leg of theirs is tombstoned on sight."""
        return self.erased.gone(pseudonym)

    def took_purposes(self, pseudonym: str) -> bool:
        """Whether purposes may have been taken away from a person's legs, so the index has not their headers' masks."""
        return any(each.type in TAKE_AWAY for each in self.ruled.get(pseudonym, {}).values())

    def standing_rules(self, pseudonym: str) -> Iterable[Decision]:
        """The decisions about a person that hold now."""
        for name, decision in self.ruled.get(pseudonym, {}).items():
            if decision.type in AT_ONCE or name in self.done:
                yield decision
