"""
What was freed is overwritten, so that a name or a key is not read from memory long after its last use.

Rules: 1. Large blocks are overwritten by the C library when they are freed (glibc; elsewhere nothing happens).
       2. Those of up to 512 bytes belong to the interpreter, those of up to 1,032 to the freeing thread: they are
          overwritten from time to time, by being taken and given back.
       3. What a thread beside the loop has freed of small C blocks is left: no name and no key of a person gets there.
Source: mallopt(3), M_PERTURB; glibc's `malloc.c`, tcache; CPython's `obmalloc.c`: 16-byte classes; partly used pools go
first, then free ones, then a new arena.
"""

import asyncio
import ctypes
import gc
import os
import time
from bisect import bisect_right
from pathlib import Path
from typing import Any, Final

_SHARE: Final = 0.25
_LONGEST_S: Final = 5.0
_REST: Final = 20
"""Times as long as a turn takes nothing of the kind is done: a machine that is too busy is not made busier."""
_MAPS: Final = Path("/proc/self/maps")
_C: Final[Any] = ctypes.CDLL(None) if os.name == "posix" else None
_M_PERTURB: Final = -6
_FILL: Final = 0x55
_STEP: Final = 16
_LARGEST: Final = 512
_SMALLEST: Final = 48
"""No key and no name is in an object of less: 32 bytes have a head of 33, a text has one of 49."""
_FILLING: Final = 272
"""Sixty fill a pool of 16 KiB but for 16 bytes: pools that are free as a whole are taken by these."""
_BYTES_HEAD: Final = 33
_AT_ONCE: Final = 64
_MOST_BYTES: Final = 256 << 20
"""Of one size: bounds a turn where the interpreter's pools are not what they are taken for."""
_THREAD_LARGEST: Final = 1048
_THREAD_MOST: Final = 7
"""Of each size; glibc's tcache (`tcache_count`)."""
if _C is not None and hasattr(_C, "malloc_trim"):
    _C.malloc.restype, _C.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]


def rest_s(cache_s: float) -> float:
    """Of the bound that receipts state: within which freed memory is overwritten; opened keys are kept for its rest."""
    return min(cache_s * _SHARE, _LONGEST_S)


def overwrite_when_freed() -> None:
    """Let the C library overwrite the larger blocks when they are freed (glibc; elsewhere nothing happens)."""
    ask = getattr(_C, "mallopt", None)
    if ask is not None:
        ask(_M_PERTURB, _FILL)


def overwrite_freed() -> int:
    """
    Overwrite what is free in this thread's and the interpreter's pools; how many blocks were. Takes some 20 ms.

    Objects that only refer to each other are freed first. Blocks are overwritten when taken: the interpreter gives out
    what it has before it asks for more, and what it then gets lies where nothing was before.
    """
    gc.collect()
    _flush_thread()
    before = _regions()
    if not before:
        return 0
    starts = [start for start, _ in before]

    def was_there(place: int) -> bool:
        at = bisect_right(starts, place) - 1
        return at >= 0 and place < before[at][1]

    taken: list[list[bytes]] = []
    for block in (_FILLING, *range(_LARGEST, _SMALLEST - 1, -_STEP)):
        for _ in range(_MOST_BYTES // (block * _AT_ONCE)):
            taken.append([bytes(block - _BYTES_HEAD) for _ in range(_AT_ONCE)])
            if not was_there(id(taken[-1][-1])):
                break
    return len(taken) * _AT_ONCE


def _flush_thread() -> None:
    """The C library keeps a few small blocks per thread that it does not overwrite."""
    if not hasattr(_C, "malloc_trim"):  # another C library, which keeps none
        return
    held = [
        (int(_C.malloc(size)), size) for size in range(_STEP + 8, _THREAD_LARGEST, _STEP) for _ in range(_THREAD_MOST)
    ]
    for place, size in held:
        ctypes.memset(place, 0, size)
    for place, _ in held:
        _C.free(ctypes.c_void_p(place))


def _regions() -> list[tuple[int, int]]:
    """The writable memory of this process, in order; nothing where the system does not tell."""
    try:
        lines = _MAPS.read_text().splitlines()
    except OSError:
        return []
    ends = [line.split(maxsplit=2) for line in lines]
    return sorted(
        (int(place.split("-")[0], 16), int(place.split("-")[1], 16)) for place, rights, _ in ends if "w" in rights
    )


async def keep_overwritten(cache_s: float) -> None:
    """Overwrite what was freed, again and again, until cancelled; `cache_s` is the bound that receipts state."""
    overwrite_when_freed()
    gc.collect()
    gc.freeze()  # what the program consists of is not looked through each time
    took_s = 0.0
    while True:
        await asyncio.sleep(max(rest_s(cache_s), took_s * _REST))
        began = time.monotonic()
        overwrite_freed()
        took_s = time.monotonic() - began
