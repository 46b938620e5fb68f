"""What was freed is not to be read from memory any more: seen by a walk through the whole memory of a process."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[3] / "e2e"
LOOK = """
import os, sys
sys.path.insert(0, sys.argv[1])
from memory_walk import found
from calllog_guard.adapters.process.freed_memory import overwrite_freed, overwrite_when_freed

def here():
    return found(os.getpid(), {"mark": bytes(value ^ 0x20 for value in b"FREED") + b"-" + b"MARK"}).get("mark", 0)

overwrite_when_freed()
others = ["%d-%s" % (number, "y" * (number % 300)) for number in range(100_000)]
del others[::3]
*span, many = map(int, sys.argv[2].split(","))
sizes = [*range(*span)] * many
mark = "".join(("fre", "ed-M", "ARK")).encode()
kept = [mark + b"x" * (size - len(mark)) for size in sizes]
del mark
before = here()
del kept
overwrite_freed()
print(before >= len(sizes), here())
"""
"""The mark is put together in pieces, and looked for by one that is made of others: nothing else holds it."""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read through /proc")
@pytest.mark.parametrize("sizes", ["20,480,16,300", "500,1000,40,8", "1100,60000,3001,8"])
@pytest.mark.slow
def test_nothing_freed_is_left_in_memory(sizes: str) -> None:
    """Of the sizes that the interpreter, a thread of the C library, and the C library as a whole keep."""
    done = subprocess.run([sys.executable, "-c", LOOK, str(HERE), sizes], capture_output=True, text=True, check=True)
    enough, left = done.stdout.split()
    assert enough == "True"
    assert int(left) <= 3, "the walk finds what it looks for, and the copies of it that it makes"
