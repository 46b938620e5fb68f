"""Runs a command of ours in this process: an interpreter takes most of a second; few tests are about a process."""

import gc
import logging
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

import pytest
import structlog

from calllog_guard.cli import main
from calllog_guard.telemetry import LIBRARIES


class Done(NamedTuple):
    """What a command has left."""

    code: int
    out: str
    err: str


@contextmanager
def _undone() -> Iterator[None]:
    """What a command does to its process ends with the block: hooks, loggers, connections left to its end."""
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in ("", *LIBRARIES)}
    handlers, raises = root.handlers[:], logging.raiseExceptions
    configured, lines = structlog.is_configured(), structlog.get_config()
    places: list[tuple[Any, str]] = [(sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")]
    hooks = [(place, name, getattr(place, name)) for place, name in places]
    with warnings.catch_warnings():
        try:
            yield
        finally:
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
            for place, name, hook in hooks:
                setattr(place, name, hook)
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
            root.handlers[:], logging.raiseExceptions = handlers, raises
            structlog.reset_defaults()
            if configured:
                structlog.configure(**lines)


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


def _run(words: Sequence[str]) -> int:
    try:
        return main(words)
    except SystemExit as end:  # of the library that reads the words
        return end.code if isinstance(end.code, int) else 2


def command(words: Sequence[str], environment: Mapping[str, str]) -> Done:
    """Run one command in a thread, so that it may have a loop of its own where the test has one."""

    def run() -> Done:
        with pytest.MonkeyPatch.context() as patch, _caught() as (out, err):
            for name, value in environment.items():
                patch.setenv(name, value)
            with _undone():
                code = _run(words)
            return Done(code, _read(out), _read(err))

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()
