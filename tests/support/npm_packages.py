"""What tests get from npm: pinned by tests/support/browser/package-lock.json, fetched once into the user's cache."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

import pytest

FOLDER: Final = Path(__file__).parent / "browser"
_FETCH_S: Final = 300.0


def lacking(what: str) -> NoReturn:
    """Skip a test whose program is not there; under CI fail."""
    if os.environ.get("CI"):
        pytest.fail(f"no {what} found, and CI must run every test")
    pytest.skip(f"no {what} found")


def node_modules() -> Path:
    """The packages of the lock, whole; one process at a time fetches them."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        lacking("npm")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "calllog-guard"
    lock = (FOLDER / "package-lock.json").read_bytes()
    target = cache / f"npm-{hashlib.sha256(lock).hexdigest()[:16]}"
    if target.is_dir():
        return target / "node_modules"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{target.name}.lock").open("w") as mine:
        fcntl.flock(mine, fcntl.LOCK_EX)
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=cache, prefix="fetch-") as made:
                for name in ("package.json", "package-lock.json"):
                    shutil.copy(FOLDER / name, made)
                line = [str(npm), "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", made]
                subprocess.run(line, check=True, timeout=_FETCH_S, stdin=subprocess.DEVNULL)
                Path(made).rename(target)
                Path(made).mkdir()  # for the folder's own end
    return target / "node_modules"


@contextmanager
def openid_provider(secret: str, groups: dict[str, list[str]]) -> Iterator[str]:
    """An OpenID provider as a child process; its address."""
    modules = node_modules()
    line = ["node", "--no-warnings", str(FOLDER / "provider.mjs"), str(modules)]
    with subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps({"secret": secret, "groups": groups}))
            child.stdin.close()
            place = child.stdout.readline().strip()
            assert place.startswith("http://127.0.0.1:"), "the provider did not start"
            yield place
        finally:
            child.kill()
