"""Runs a command of ours in this process: a new interpreter takes most of a second, and few tests are about a process."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from tempfile import TemporaryFile
from typing import IO, NamedTuple

import pytest

from calllog_guard.cli import main


class Done(NamedTuple):
    """What a command has left."""

    code: int
    out: str
    err: str


@contextmanager
def _caught() -> Iterator[tuple[IO[str], IO[str]]]:
    with (
        TemporaryFile("w+", encoding="utf-8") as out,
        TemporaryFile("w+", encoding="utf-8") as err,
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        yield out, err


def _read(file: IO[str]) -> str:
    file.flush()
    file.seek(0)
    return file.read()


def command(words: Sequence[str], environment: Mapping[str, str]) -> Done:
    """Run one command in a thread, so that it may have a loop of its own where the test has one."""

    def run() -> Done:
        with pytest.MonkeyPatch.context() as patch, _caught() as (out, err):
            for name, value in environment.items():
                patch.setenv(name, value)
            return Done(main(words), _read(out), _read(err))

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()
