"""
What a process logs: a JSON object a line, with time and role, for our own lines and for what libraries would print.

Rules: 1. Of a foreign line only its kind and place are told, never its words: they may quote records, keys, addresses.
       2. What repeats while something is silent is told at a falling rate, with the number of lines that were left out.
       3. A line that cannot be written is no reason to stop.
"""

import asyncio
import logging
import sys
import threading
import time
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

import structlog

LIBRARIES: Final = ("aiokafka", "kafka", "redis", "asyncio", "aiohttp", "botocore", "boto3", "urllib3", "hvac")
"""The loggers of what we call: a command that says in a sentence of its own what failed needs none of them."""
_FIRST_S: Final = 10.0
_MOST_S: Final = 600.0
_KEYS: Final = 1000
"""Different lines that are remembered; an older one is forgotten, and would be told again."""
_WAITS: Final = "waits"
"""How the events of our own lines begin or end that repeat while something is silent."""

Key = tuple[str, ...]
"""What makes two lines alike; the first part is what they are called by."""


class Falling:
    """
    Lets a line through, its repetitions after 10 s, after 20 s more, and so on, up to one in 10 minutes.

    Args:
        now: Seconds that only rise.

    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._lock = now, threading.Lock()
        self._known: OrderedDict[Key, tuple[float, float, int]] = OrderedDict()

    def left_out(self, key: Key) -> int | None:
        """How many like this one were left out, when it is to be told; None: it is left out itself."""
        now = self._now()
        with self._lock:
            told, pause, many = self._known.pop(key, (now - _MOST_S, 0.0, 0))
            if now - told < pause:
                self._known[key] = told, pause, many + 1
                return None
            # after a quiet time as long as the pause it is news again
            self._known[key] = now, min(2 * pause, _MOST_S) if now - told < 2 * pause else _FIRST_S, 0
            if len(self._known) > _KEYS:
                self._known.popitem(last=False)
            return many

    def rest(self, *, whole: bool = False) -> Counter[str]:
        """How many were left out since the last that was told, of those that came to an end; `whole`: of all."""
        now, found = self._now(), Counter[str]()
        with self._lock:
            for key, (told, pause, many) in self._known.items():
                if many and (whole or now - told >= 2 * pause):
                    found[key[0]] += many
                    self._known[key] = told, pause, 0
        return found


_falling: Falling = Falling()


def _repeating(_logger: Any, _method: str, event: Any) -> Any:
    name = str(event["event"])
    if name.startswith(_WAITS) or name.endswith(_WAITS):
        like = [f"{key}={value}" for key, value in sorted(event.items()) if not isinstance(value, float)]
        many = _falling.left_out((name, *like))
        if many is None:
            raise structlog.DropEvent
        if many:
            event["left_out"] = many
    return event


def foreign(level: int, kind: str, at: str, error: BaseException | type[BaseException] | None = None) -> None:
    """Tell that a library said something: which, where, and of which kind the error was."""
    many = _falling.left_out((kind,))
    if many is None:
        return
    more: dict[str, Any] = {}
    if error is not None:
        more["error"] = (error if isinstance(error, type) else type(error)).__name__
    if many:
        more["left_out"] = many
    tell = structlog.get_logger().error if level >= logging.ERROR else structlog.get_logger().warning
    tell("library", kind=kind, at=at, **more)


def place(trace: TracebackType | None) -> str:
    """Where a trace ends, as `module.py:12`; what was there when it ended may quote data."""
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}" if trace else ""


class _Foreign(logging.Handler):
    """Takes what libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        error = record.exc_info[1] if record.exc_info else None
        foreign(record.levelno, record.name, f"{record.filename}:{record.lineno}", error)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Nothing: the library would print the record."""


def configure(role: str, level: str = "info", *, hooks: bool = True) -> None:
    """
    Have every line come out as ours, from a role and of a level.

    Args:
        hooks: Whether the process is ours alone, so that what libraries say in it is ours to tell.

    """

    def named(_logger: Any, _method: str, event: Any) -> Any:
        event.setdefault("role", role)
        return event

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            named,
            _repeating,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.JSONRenderer(),
        ],
        # a line and its end in one write: processes share stderr
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    if not hooks:
        return
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.handlers[:] = [_Foreign()]
    root.setLevel(logging.WARNING)
    warnings.showwarning = _warned
    sys.excepthook = lambda kind, _, trace: foreign(logging.ERROR, "python", place(trace), kind)
    sys.unraisablehook = lambda it: foreign(logging.ERROR, "unraisable", place(it.exc_traceback), it.exc_type)
    threading.excepthook = lambda it: foreign(logging.ERROR, "thread", place(it.exc_traceback), it.exc_type)


def _warned(
    message: Any, category: type[Warning], filename: str, lineno: int, file: Any = None, line: str | None = None
) -> None:
    del message, file, line
    foreign(logging.WARNING, "warnings", f"{filename.rsplit('/', 1)[-1]}:{lineno}", category)


def in_loop(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What an event loop does with an error that nobody took: its own way prints the task with its arguments."""
    error = context.get("exception")
    foreign(logging.ERROR, "asyncio", place(error.__traceback__) if error else "", error)


def tell_rest(*, whole: bool = False) -> None:
    """Tell how many lines were left out of what has come to an end, or of all."""
    for name, many in _falling.rest(whole=whole).items():
        structlog.get_logger().warning("left out", of=name, left_out=many)


def mute() -> None:
    """For a command that says in a sentence of its own what did not answer: libraries say nothing."""
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
