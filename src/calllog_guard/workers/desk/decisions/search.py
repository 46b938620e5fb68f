"""
Who somebody is in the log whose person entry cannot be used: found by what keepers can open, so an erasure is possible.

The lookup is known, the pseudonym is not: it lies in the entry alone. Each key entry seals its person's lookup; keepers
know whose legs there are. Each partition is asked daily; the key's finder makes the entry anew, restricted, as what the
person chose is lost with it, and the erasure goes the usual way.
Rules: 1. An entry is made anew only from a key entry that opens, in the place of bytes that do not.  2. Nobody is
          unknown before all partitions answered, nor while any key does not open: it may be theirs.  3. Only from the
          second level of forms on.
Source: docs/adr/0011-one-persons-matter.md.
"""

from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Final

import msgspec
import structlog

from calllog_guard.core.cases.case import ASKED, NOBODY, Case
from calllog_guard.core.decisions.decision import (
    UNSEEN,
    Decision,
    Entry,
    decision_id,
    decision_in,
    open_entry,
    seal_entry,
    unseen_pseudonym,
)
from calllog_guard.core.decisions.outcome import is_result
from calllog_guard.core.identifiers import INTERNAL_KEY, DecisionId, EpochName, Lookup, partition_of
from calllog_guard.core.topics import Topic
from calllog_guard.errors import EpochUnknownError, MessageError
from calllog_guard.workers.desk.context import DeskContext
from calllog_guard.workers.desk.decisions.granted import SEARCHES, Granted
from calllog_guard.workers.keys.people.view import View, fresh_nonce, pointer

log: Final = structlog.get_logger()
_FROM: Final = 2
"""The level of forms from which on keepers are asked."""


class Searcher:
    """The desk's part: asks, and says that somebody is nobody when all have answered so."""

    def __init__(self, context: DeskContext) -> None:
        self._a, self._ring = context, context.ring

    async def search(self, granted: Granted) -> Case:
        """
        Have the entries of those whom a request names and whose entries cannot be used made anew.

        Raises:
            EntryUnreadableError: Not all have answered, or somebody's key cannot be opened: wait.

        """
        case = self._a.book.get(granted.case.case) or granted.case
        lookups = await self._a.decider.lookups(granted.request)
        view = await self._ring.view(list(dict.fromkeys(lookups.values())))
        unreadable = self._ring.persons(view)[1]
        if unreadable and self._ring.forms < _FROM:
            raise next(iter(unreadable.values()))
        for index, lookup in lookups.items():
            if lookup in unreadable:
                searches = self._searches(granted, lookup, index, view)
                case = await self._asked(case, searches)
                if {case.progress.get(each.decision) for each in searches} != {NOBODY}:
                    raise unreadable[lookup]
                await self._ring.nobody(lookup, view, await self._latest(lookup))
        return case

    def _searches(self, granted: Granted, lookup: Lookup, index: int, view: View) -> list[Decision]:
        """A search of each partition of the log, under a pseudonym of nobody's that lives there."""
        many, tenant = self._a.settings.partitions, self._a.tenant
        day = (self._a.clock.now() - granted.case.opened_at).days
        ledger = self._a.vault.epoch_key(pointer(view), tenant, "ledger")
        unseen = self._a.vault.epoch_key(pointer(view), tenant, UNSEEN[self._ring.forms > 1])
        found: list[Decision] = []
        for partition in range(many):
            name = decision_id(tenant, granted.case.name, SEARCHES + index * many + partition, day)
            names = (unseen_pseudonym(unseen, DecisionId(f"{name}.{salt}")) for salt in count())
            pseudonym = next(each for each in names if partition_of(each, many) == partition)
            told = self._a.decider.decision(granted, "search", name, pseudonym, view)
            found.append(seal_entry(told, Entry(lookup, 0), ledger, fresh_nonce()))
        return found

    async def _asked(self, case: Case, searches: Sequence[Decision]) -> Case:
        """Searches that were not asked for yet are in the ledger on return; the case knows that they were."""
        fresh = [each for each in searches if each.decision not in case.progress]
        if not fresh:
            return case
        await self._a.writer.write([self._a.decider.ledger(each) for each in fresh])
        progress = case.progress | dict.fromkeys((each.decision for each in fresh), ASKED)
        return await self._a.book.save(msgspec.structs.replace(case, progress=progress))

    async def _latest(self, lookup: Lookup) -> int:
        """The latest generation of somebody about whom anything was decided, as far as the ledger still opens."""
        latest, topic = 0, self._a.settings.topic(Topic.DECISIONS)
        for record in await self._a.log.read_all(topic, range(self._a.settings.partitions)):
            if record.value is None or not record.key or record.key[:1] == INTERNAL_KEY or is_result(record.key):
                continue
            with suppress(MessageError, EpochUnknownError):  # not written by a desk, or so old that it meets nobody
                decision = decision_in(record, self._a.ring.guard.proofs)
                key = self._a.vault.epoch_key(EpochName(decision.epoch), self._a.tenant, "ledger")
                entry = open_entry(decision, key)
                latest = max(latest, entry.generation if entry.lookup == lookup else 0)
        return latest
