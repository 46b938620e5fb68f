"""Nothing of a process' memory reaches a file by a crash, or another program of the same user."""

import subprocess
import sys
from pathlib import Path

from calllog_guard.adapters.process.process_memory import swaps

LIMIT = """
import resource as r
try:
    r.setrlimit(r.RLIMIT_CORE, (1 << 20, 1 << 20))
except ValueError:  # the system's own limit is lower
    pass
"""
OPEN = "from calllog_guard.adapters.process import process_memory as memory; {}print(*memory.open_to(), sep=', ')"
PROGRAM = "import os, sys; from calllog_guard import cli; from calllog_guard.adapters.process import process_memory as memory; {}"
ENDED = "os._exit = lambda code: (print(*memory.open_to(), sep=', '), sys.stdout.flush()); sys.argv = ['', '--version']; cli.program()"
"""The command line as a process; what is still open is said at its end."""


def said(code: str) -> str:
    """What a process of its own prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_a_closed_process_has_no_way_out_left() -> None:
    assert "debuggers of the same user" in said(LIMIT + OPEN.format(""))
    assert said(LIMIT + OPEN.format("memory.close(); ")) == "\n"


def test_every_command_closes_its_own_process_first() -> None:
    assert said(PROGRAM.format(ENDED)).splitlines()[-1] == ""


def test_swap_on_a_disk_is_told_and_swap_in_memory_is_none(tmp_path: Path) -> None:
    table = tmp_path / "swaps"
    table.write_text(
        "Filename Type Size Used Priority\n/dev/sda3 partition 1 0 -2\n/swap.img file 1 0 -3\n/dev/zram0 partition 1 0 5\n"
    )
    assert swaps(table) == ["/dev/sda3", "/swap.img"]
    assert swaps(tmp_path / "no such file") == []
