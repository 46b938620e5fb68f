"""
Independent pieces of work at the same time: waits for the log and the keystore overlap, writes share batches.

Rules: 1. Every piece ends before an error is raised, so nothing runs on behind a unit done again.  2. What depends
       on order the caller keeps apart, or does in `Turns`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Final, TypeVar

ABREAST: Final = 64
"""How many at once: each may hold a connection to the keystore."""
Item = TypeVar("Item")
Result = TypeVar("Result")


def portions(items: Iterable[Item], key: Callable[[Item], object]) -> list[list[Item]]:
    """Runs of items, in order, no two of which have the same key: what may run at the same time."""
    found: list[list[Item]] = []
    keys: set[object] = set()
    for item in items:
        if not found or key(item) in keys or len(found[-1]) >= ABREAST:
            found.append([])
            keys.clear()
        found[-1].append(item)
        keys.add(key(item))
    return found


async def unhurried(items: Iterable[Item], at_once: int) -> AsyncIterator[Item]:
    """The items, in order; before each portion of `at_once` others may run."""
    for number, item in enumerate(items):
        if number % at_once == 0:
            await asyncio.sleep(0)
        yield item


async def abreast(work: Callable[[Item], Awaitable[Result]], items: Sequence[Item]) -> list[Result]:
    """
    The results, in order; more than ABREAST items run in portions.

    Raises:
        Exception: The first error in the order of the items, after all of its portion have ended.

    """
    results: list[Result] = []
    for at in range(0, len(items), ABREAST):
        ended = await asyncio.gather(*(work(item) for item in items[at : at + ABREAST]), return_exceptions=True)
        for each in ended:
            if isinstance(each, BaseException):
                raise each
            results.append(each)
    return results


class Turns:
    """
    One step of pieces that run abreast, done in the order of the pieces, however long each took to come to it.

    Futures, for an `asyncio.Event` has a deque, whose block of 528 bytes is never cleared: a request that was freed
    would stand in it for as long as it lives.
    """

    def __init__(self) -> None:
        self._earlier: dict[Hashable, asyncio.Future[None]] = {}
        self._own: dict[Hashable, asyncio.Future[None]] = {}

    def begin(self, names: Iterable[Hashable]) -> None:
        """Forget the turns before; `names` of the pieces to come, in their order."""
        self._own = {name: asyncio.get_running_loop().create_future() for name in names}
        self._earlier = dict(zip(list(self._own)[1:], self._own.values(), strict=False))

    async def come(self, name: Hashable) -> None:
        """Wait until the piece before has passed; whoever has no turn waits for nobody."""
        if name in self._earlier:
            await asyncio.wait([self._earlier[name]])
            self._earlier.pop(name)

    async def passed(self, name: Hashable) -> None:
        """Let the next piece have its turn, after those before this one; repeatable."""
        await self.come(name)
        if name in self._own and not self._own[name].done():
            self._own[name].set_result(None)
