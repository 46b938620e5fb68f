"""
The keeper's part of a search: whose key opens, so that an entry that does not is made anew.

Rules and source: `workers/desk/decisions/search.py`.
"""

from typing import Final

import structlog

from calllog_guard.workers.keeper.context import KeeperContext
from calllog_guard.workers.keeper.decision_work import PORTION, Ended, Work
from calllog_guard.workers.keeper.enforcement.enforcer import Enforcer

log: Final = structlog.get_logger()
_AT_ONCE: Final = 500
"""Key entries opened at once."""


class Finder:
    """The keeper's part: opens the keys of all who have legs in its partition, or about whom anything is decided."""

    def __init__(self, tools: KeeperContext, enforcer: Enforcer) -> None:
        self._t, self._enforcer = tools, enforcer

    async def search(self, work: Work) -> Ended:
        """Find out whose key seals the lookup, and make that person's entry anew; say whether any did not open."""
        people = await self._people(work)
        if people is None:
            return Ended.MORE
        progress = work.progress
        while people and not progress.destroyed:
            some = people[:_AT_ONCE]
            found, unread = await self._t.ring.keys_with(work.entry.lookup, some)
            for name, keys in found.items():
                progress.destroyed = await self._t.ring.anew(name, keys)
                log.warning("a person entry was made anew from the person's key", partition=work.shard.partition)
            del people[: len(some)]  # only now: what fails is asked again, and nobody is passed over
            progress.count += unread
            if work.over and people:
                return Ended.MORE
        await self._enforcer.results.searched(work, found=progress.destroyed, unread=progress.count)
        return Ended.DONE

    async def _people(self, work: Work) -> list[str] | None:
        """Everybody of the partition who is not erased; None while there are more."""
        shard, known = work.shard, work.progress.scope
        if isinstance(known, list):
            return known
        if not isinstance(known, set):
            known = work.progress.scope = set(shard.ruled)
        at = work.progress.at.decode()
        while some := shard.index.people_after(at, PORTION):
            known.update(some)
            at = some[-1]
            work.progress.at = at.encode()
            if work.over:
                return None
        people = work.progress.scope = sorted(each for each in known if each not in shard.erased)
        return people
