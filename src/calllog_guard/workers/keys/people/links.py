"""
Who is one person because a `same_as` says so: written whole, all entries of a group together, and gone with an erasure.

Rules: 1. A group is changed at once or not at all, and only while its people are as they were read: a fence that comes
          in between is met.  2. Nobody who does not live in the generation that is meant is linked.
       3. Of whom is erased nothing stays that names others, and nothing of others that names them.
       4. The same again writes nothing.
Source: docs/adr/0019-several-identifiers.md; `core/crypto/same_person.py`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial

from calllog_guard.core.crypto.entries import EPOCH_KEY, LIVE, person_head, person_key
from calllog_guard.core.crypto.rewrap import TakenEntry
from calllog_guard.core.crypto.same_person import Linked, Same, read_same, same_key, seal_same
from calllog_guard.core.identifiers import Lookup, Tenant
from calllog_guard.errors import EntryCorruptError
from calllog_guard.ports.keys import Keystore
from calllog_guard.workers.keys.people.homes import Homes
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.people.view import View, fresh_nonce, pointer

Groups = Sequence[Sequence[Linked]]
_Change = tuple[bytes | None, bytes]
_Take = Callable[[str, bytes, bytes], TakenEntry | None]


class PersonLinks:
    """One tenant's."""

    def __init__(self, ring: Keyring, homes: Homes) -> None:
        self._ring, self._homes = ring, homes

    async def stand(self, groups: Groups) -> bool:
        """Whether the entries say this already. Raises EntryUnreadableError."""
        view = await self._ring.view(_people(groups))
        return not await self._changes(view, self._after(view, groups))

    async def write(self, groups: Groups, *, under_guard: bool = False) -> int:
        """
        Let the people of each group be one from now on, and nobody else; how many of them the keystore has lost.

        Raises:
            EntryUnreadableError: An entry of one of them cannot be used.

        """
        while True:
            view = await self._ring.view(_people(groups), under_guard=under_guard)
            changes = await self._changes(view, self._after(view, groups))
            if not changes or await self._ring.keystore.swap(changes, self._unchanged(view)):
                return sum(self._lost(view, each) for group in groups for each in group)

    async def cut(self, gone: Collection[Lookup]) -> None:
        """Forget who else those were who are erased. Raises EntryUnreadableError."""
        while True:
            said = [same for _, same in (await self._homes.sames(list(gone))).values()]
            others = {each.lookup for same in said for each in same.links}
            if not others:
                return
            after: dict[Lookup, Callable[[Same], Same]] = dict.fromkeys(others, partial(Same.without, gone=gone))
            after |= dict.fromkeys(gone, partial(Same.with_links, others=()))
            view = await self._ring.view([])
            if await self._ring.keystore.swap(await self._changes(view, after), self._unchanged(view)):
                return

    def _after(self, view: View, groups: Groups) -> dict[Lookup, Callable[[Same], Same]]:
        """By person, what their entry becomes; who does not live as meant is in no group."""
        found: dict[Lookup, Callable[[Same], Same]] = {}
        for group in groups:
            living = [each for each in group if self._lives(view, each)]
            for each in group:
                others = [other for other in living if other != each] if each in living else []
                found[each.lookup] = partial(Same.with_links, others=others)
        return found

    def _lost(self, view: View, each: Linked) -> bool:
        """Whether the keystore does not know somebody, or as somebody who was minted anew and never erased."""
        person = self._ring.entry(each.lookup, view.raw[each.lookup])
        return person is None or (person.generation != each.generation and not person.cut_off)

    def _lives(self, view: View, each: Linked) -> bool:
        person = self._ring.entry(each.lookup, view.raw[each.lookup])
        return person is not None and person.pseudonym is not None and person.generation == each.generation

    async def _changes(self, view: View, after: Mapping[Lookup, Callable[[Same], Same]]) -> dict[bytes, _Change]:
        epoch = pointer(view)
        key = self._ring.vault.epoch_key(epoch, self._ring.tenant, "keystore")
        changes: dict[bytes, _Change] = {}
        for lookup, (raw, same) in (await self._homes.sames(list(after))).items():
            if (new := after[lookup](same)) != same:
                place = same_key(self._ring.tenant, lookup)
                changes[place] = (raw, seal_same(new, epoch, place, key, fresh_nonce()))
        return changes

    def _unchanged(self, view: View) -> dict[bytes, bytes | None]:
        """What must stand meanwhile: the pointer to the epoch, the people as they were read, and a desk's tenure."""
        people = {person_key(self._ring.tenant, lookup): raw for lookup, raw in view.raw.items()}
        return {EPOCH_KEY: view.epoch, **people, **(self._ring.tenure.unchanged if self._ring.tenure else {})}


def _people(groups: Groups) -> list[Lookup]:
    return sorted({each.lookup for group in groups for each in group})


async def drop_void(keystore: Keystore, tenant: Tenant, places: Sequence[bytes], take: _Take) -> int:
    """
    The walk's part: drop the entries that say nothing, or lead only to people who do not live as they did; how many.

    Args:
        take: Opens an entry of a kind; None where it cannot be used: then it may be somebody whom one leads to.

    """
    dropped = 0
    for place, raw in zip(places, await keystore.read(places), strict=True):
        taken = None if raw is None else take("same", place, raw)
        if raw is None or taken is None:
            continue
        with suppress(EntryCorruptError):  # none of ours: it stays
            same = read_same(taken.secret)
            people = {person_key(tenant, each.lookup): each.generation for each in same.links}
            found = dict(zip(people, await keystore.read(list(people)), strict=True))
            void = not any(_may_lead(take, who, found[who], generation) for who, generation in people.items())
            if void and same.without([each.lookup for each in same.links]).is_empty:
                dropped += await keystore.drop(place, {place: raw, **found})
    return dropped


def _may_lead(take: _Take, place: bytes, raw: bytes | None, generation: int) -> bool:
    if raw is None:
        return False
    taken = take("who", place, raw)
    if taken is None:
        return True
    _, state, own, *_ = person_head(taken.before)
    return state == LIVE and own == generation
