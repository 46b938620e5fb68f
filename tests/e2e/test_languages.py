"""The examples in other languages on the real stack, as somebody who copies them has them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from installation import Installation, Make
from patience import PATIENCE_S, ended

from calllog_guard.core.crypto.jose import new_pair

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""What an optimising compiler costs does not come back in a program of seconds."""


def tool(name: str) -> str:
    """A program of the machine: without it the test is skipped, and under CI fails."""
    found = shutil.which(name)
    if found is None:
        missing = f"no {name} found: install Node.js 20, a JDK 17 and Maven, or later ones"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def done(*words: str | Path, at: Path) -> str:
    """Run a tool to its end; what it shows."""
    run = subprocess.run(words, cwd=at, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"{words}: {run.stdout[-2000:]} {run.stderr[-2000:]}"
    return run.stdout


def in_node(folder: Path) -> list[str]:
    """The example in Node, with exactly the packages of its lock file."""
    home = shutil.copytree(EXAMPLES / "node", folder / "node", ignore=shutil.ignore_patterns("node_modules"))
    done(tool("npm"), "ci", at=home)
    return [tool("node"), str(home / "backend.mjs")]


def in_java(folder: Path) -> list[str]:
    """The example in Java, with exactly the libraries of its list."""
    home = shutil.copytree(EXAMPLES / "java", folder / "java", ignore=shutil.ignore_patterns("target"))
    done(tool("mvn"), "-q", "-B", "dependency:copy-dependencies", at=home)
    libraries = home / "target" / "dependency"
    done(tool("sha256sum"), "--check", "--strict", "../../libs.sha256", at=libraries)
    assert len(list(libraries.iterdir())) == len((home / "libs.sha256").read_text().splitlines()), "no other library"
    compiled = ("-Xlint:all", "-Werror", "-cp", f"{libraries}/*", "-d", "classes", "src/main/java/Backend.java")
    done(tool("javac"), *compiled, at=home)
    return [tool("java"), "-cp", f"{home}/classes:{libraries}/*", "Backend"]


def started(line: list[str], guard: Installation, keys: Path, subject: str) -> subprocess.Popen[str]:
    """An example at work."""
    environment = os.environ | guard.environment | {"KEYS": str(keys)}
    pipe = subprocess.PIPE
    running = subprocess.Popen(line, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert running.stdin is not None
    running.stdin.write(f"{subject}\n")
    running.stdin.close()
    running.stdin = None
    return running


@pytest.mark.real
def test_a_backend_in_node_and_one_in_java_publish_ask_and_verify_the_certificate(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each erases one of two parties; with another receipt key than the tenant's each refuses what it reads."""
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", SHORT_LIVED)
    guard = make()
    guard.start("all")
    lines = {"node": in_node(tmp_path), "java": in_java(tmp_path)}
    keys, others = guard.directory / "keys", tmp_path / "other keys"
    shutil.copytree(keys, others)
    (others / "iocom-receipts.pub.pem").write_bytes(new_pair(signs=True)[1])
    good = {name: started(line, guard, keys, f"{name}@example.org") for name, line in lines.items()}
    bad = {name: started(line, guard, others, f"{name}.2@example.org") for name, line in lines.items()}
    for name, running in good.items():
        out, err = running.communicate(timeout=PATIENCE_S)
        stages = [text.partition(" ")[0] for text in out.splitlines()]
        assert (running.returncode, stages[:3], stages[-2]) == (0, ["accepted", "fenced", "destroyed"], "absent"), (
            f"{name}: {out} {err} {guard.log.read_text()[-3000:]}"
        )
        assert out.splitlines()[-1].startswith("All that may be deleted has been deleted."), name
        assert f"{name}@" not in out + err, "no identifier is shown"
    for name, running in bad.items():
        assert ended(running) != 0, name
        out, err = running.communicate()
        assert (out, "sign" in err) == ("", True), f"{name}: {err}"
    guard.settled(lambda: len(guard.live()) == 4, "the legs of four callees")
    assert guard.dead() == []
