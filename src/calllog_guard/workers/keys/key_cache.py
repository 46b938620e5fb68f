"""
What is kept in memory for a bounded time: a bounded number of things, each dropped when its time is over.

Rules: 1. Nothing is given out or kept past its time: a thread drops it, asked or not, whatever the loop does.
       2. When it is full the oldest goes, never everything.  3. What must go sooner is dropped by name (the fence).
One thread per process wakes once a second: a plain `for` over a reader turns no event loop between its lines.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Generic, NamedTuple, TypeVar
from weakref import WeakSet

TICK_S: Final = 1.0
K = TypeVar("K")
V = TypeVar("V")


class CacheLimits(NamedTuple):
    """For how many seconds things are kept, and how many at once."""

    life_s: float
    most: int


class Cache(Generic[K, V]):
    """
    Things by name.

    Args:
        life_s: Seconds from `put`.
        most: How many at once.
        now: Seconds that only rise.

    """

    def __init__(self, life_s: float, most: int, *, now: Callable[[], float] = time.monotonic) -> None:
        self._life_s, self._most, self._now = life_s, most, now
        self._kept: OrderedDict[K, tuple[float, V]] = OrderedDict()  # in the order of their ends: all live equally long
        self._lock = threading.Lock()
        _SWEEPER.watch(self)

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[K]:
        return iter(list(self._kept))

    def get(self, name: K) -> V | None:
        """What is kept under a name, unless its time is over."""
        found = self._kept.get(name)
        return None if found is None or found[0] <= self._now() else found[1]

    def live(self, names: Iterable[K]) -> dict[K, V]:
        """As `get`, for many; what is not kept is left out."""
        kept, now = self._kept, self._now()
        return {name: found[1] for name in names if (found := kept.get(name)) is not None and found[0] > now}

    def put(self, name: K, value: V) -> V:
        """Keep something from now on; what is oldest makes room."""
        with self._lock:
            self._kept[name] = (self._now() + self._life_s, value)
            self._kept.move_to_end(name)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return value

    def drop(self, name: K) -> V | None:
        """Forget at once; what was kept."""
        with self._lock:
            found = self._kept.pop(name, None)
        return None if found is None else found[1]

    def sweep(self, ahead_s: float = 0.0) -> None:
        """Forget what is over, or will be before the next sweep, `ahead_s` from now."""
        with self._lock:
            until = self._now() + ahead_s
            while self._kept and next(iter(self._kept.values()))[0] <= until:
                self._kept.popitem(last=False)


class _Sweeper:
    """The thread that keeps the time of every cache of this process."""

    def __init__(self) -> None:
        self._caches: WeakSet[Cache[object, object]] = WeakSet()
        self._lock = threading.Lock()
        self._started = False

    def watch(self, cache: "Cache[K, V]") -> None:
        """Sweep this cache as long as it is there."""
        with self._lock:
            self._caches.add(cache)  # type: ignore[arg-type]
            if not self._started:
                threading.Thread(target=self._run, name="lapse", daemon=True).start()
                self._started = True

    def _run(self) -> None:
        while True:
            time.sleep(TICK_S)
            self._sweep()

    def _sweep(self) -> None:
        with self._lock:
            caches = list(self._caches)
        for cache in caches:
            cache.sweep(TICK_S)


_SWEEPER: Final = _Sweeper()
