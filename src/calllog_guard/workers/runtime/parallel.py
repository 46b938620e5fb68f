"""
Independent pieces of work at the same time: their waits for the log and the keystore overlap, their writes share batches.

Rules: 1. Every piece has ended before an error is raised, so that nothing runs on behind a unit that is done again.  2. What depends
       on order is not for here: the caller keeps it apart.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
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
