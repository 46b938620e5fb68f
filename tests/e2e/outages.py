"""Workers, each with a log of its own, watched from outside through their pages while servers go away and come back."""

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from installation import Installation
from patience import PATIENCE_S, ended, share, until

from calllog_guard.devstack.supervisor import Stack

ROLES = ("protector", "desk", "keeper", "auditor")
ENDED_WITHIN_S = 30
OUTAGES = ("kafka frozen", "kafka gone", "redis gone", "redis frozen", "both gone", "both frozen")


def strike(stack: Stack, outage: str) -> None:
    """Have servers stand still with their connections open, or die."""
    which, how = outage.split()
    for name, child in stack.children.items():
        if which in {name, "both"}:
            (child.freeze if how == "frozen" else child.kill)()


def heal(stack: Stack) -> None:
    """Have every server there again."""
    for child in stack.children.values():
        child.thaw()
        child.start()


class Watched:
    """One of our processes that serves pages."""

    def __init__(self, guard: Installation, *words: str, **settings: str) -> None:
        self.name = words[1] if words[0] == "worker" else "reader"
        self.log = guard.directory / f"{self.name}.{len(guard.workers)}.log"
        settings = {"HTTP": "127.0.0.1:0", "SILENT_S": "3", **settings}
        environment = os.environ | guard.environment | {f"CALLLOG_GUARD_{k}": v for k, v in settings.items()}
        command = [sys.executable, "-m", "calllog_guard.cli", *words]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=log)
        guard.workers.append(self.process)

    def __repr__(self) -> str:
        return f"{self.name}: {self.health()} {self.log.read_text()[-1500:]}"

    def _page(self, page: str) -> tuple[int, bytes]:
        found = re.search(r'(?:"serves": "|/metrics on )([\d.:]+)[",\s]', self.log.read_text())
        if found is None:
            return 0, b""
        try:
            with urllib.request.urlopen(f"http://{found[1]}{page}", timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def health(self) -> dict[str, Any]:
        """What it says of itself; with its `status`."""
        status, body = self._page("/health")
        return {"status": status} | (json.loads(body) if body else {})

    def figure(self, name: str) -> float | None:
        """A metric; None where it is not there."""
        found = re.search(rf"^calllog_guard_{name}{{[^}}]*}} (\S+)$", self._page("/metrics")[1].decode(), re.MULTILINE)
        return float(found[1]) if found else None

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged: every line is one of ours."""
        found = [json.loads(line) for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        assert all({"time", "role", "event"} <= set(line) for line in found), self
        return found

    def said(self, event: str, times: int = 1) -> bool:
        """Whether it has logged something so often; a part of a line counts, as of several processes with one log."""
        return self.log.read_text().count(f'"event": "{event}"') >= times

    def ended(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Ask it to end; its exit code, and after how long."""
        began = time.monotonic()
        self.process.send_signal(number)
        return ended(self.process), (time.monotonic() - began) * share()


def is_unknown(figure: float | None) -> bool:
    """Whether a figure tells nothing."""
    return figure is None or math.isnan(figure)


def healthy(watched: Sequence[Watched], seconds: float = PATIENCE_S) -> None:
    """Wait until all do their work."""
    until(lambda: all(each.health()["status"] == 200 for each in watched), lambda: str(watched), seconds)


@contextmanager
def deaf() -> Iterator[int]:
    """A port that takes every connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def take() -> None:
            try:
                while True:
                    kept.append(server.accept()[0])
            except OSError:
                return

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in kept:
                each.close()
