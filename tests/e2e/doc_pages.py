"""Runs the `console` blocks of a documentation page in one shell, as a reader types them, and compares the output."""

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

from patience import PATIENCE_S

ROOT: Final = Path(__file__).parents[2]
_END: Final = "\x1e"
_BLOCK: Final = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Step(NamedTuple):
    """A command, with what it must show: `…` stands for anything in a line, alone in a line for any number of lines."""

    command: str
    shown: str


def steps(text: str, until: str = "") -> list[Step]:
    """The commands of a page, up to a heading where one is named."""
    found: list[Step] = []
    for block in _BLOCK.findall(text.partition(f"\n{until}\n")[0] if until else text):
        found.extend(_of(block.splitlines()))
    return found


def _of(lines: Sequence[str]) -> Iterator[Step]:
    rest = list(lines)
    while rest:
        command = rest.pop(0)
        assert command.startswith("$ "), f"a console block begins with a command: {command}"
        command = command.removeprefix("$ ")
        document = re.search(r"<<'(\w+)'$", command)
        while document and not command.endswith(f"\n{document[1]}"):
            command += "\n" + rest.pop(0)
        shown: list[str] = []
        while rest and not rest[0].startswith("$ "):
            shown.append(rest.pop(0))
        yield Step(command, "\n".join(shown))


def matches(shown: str, found: str) -> bool:
    """Whether what was found is what the page shows."""
    pattern = "".join(
        r"(?:[^\n]*\n)*?" if line.strip() == "…" else r"[^\n]*".join(map(re.escape, line.split("…"))) + r"\n"
        for line in shown.splitlines()
    )
    return re.fullmatch(pattern, found + "\n" if found and not found.endswith("\n") else found) is not None


class Shell:
    """One shell for a whole page; whatever it began ends with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CALLLOG_GUARD_", "MAKE", "MFLAGS", "COV_", "VIRTUAL_ENV"))
        }
        self.environment |= {"TMPDIR": str(folder), "COLUMNS": "200"}

    def __enter__(self) -> Self:
        """Start it in the repository's folder."""
        self._bash = subprocess.Popen(
            ["bash", "--norc"],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        """End it, its workers, and the stacks that it has started."""
        try:
            os.killpg(self._bash.pid, signal.SIGTERM)
            self._bash.kill()
            self._bash.communicate()
        finally:
            program = ROOT / ".venv" / "bin" / "calllog-guard"
            for kept in self._folder.glob("*/run/stack.json"):
                subprocess.run([program, "stack", "down", "--dir", kept.parent], check=False, capture_output=True)

    def run(self, command: str) -> tuple[int, str]:
        """Type a command; its exit code and what it showed."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{command}\n_code=$?; printf '{_END}%s\\n' $_code; (exit $_code)\n".encode())
        self._bash.stdin.flush()
        read, until = b"", time.monotonic() + PATIENCE_S
        while not re.search(rf"{_END}\d+\n".encode(), read):
            assert time.monotonic() < until, f"`{command}` did not end: {read.decode()[-2000:]}"
            if select.select([self._bash.stdout], [], [], 1)[0]:
                more = os.read(self._bash.stdout.fileno(), 65_536)
                assert more, f"the shell ended at `{command}`: {read.decode()[-2000:]}"
                read += more
        shown, _, code = read.decode().rpartition(_END)
        return int(code), shown

    def follow(self, found: Sequence[Step]) -> None:
        """Type all; each must show what its page shows; what ends with more than a finding (1) says so: `echo $?`."""
        asked = [step.command for step in found[1:]] + [""]
        for step, following in zip(found, asked, strict=True):
            code, shown = self.run(step.command)
            assert matches(step.shown, shown), (
                f"`{step.command}` ({code}) shows:\n{shown}\nthe page says:\n{step.shown}"
            )
            assert code in {0, 1} or following == "echo $?", f"`{step.command}` ended with {code}: {shown}"
