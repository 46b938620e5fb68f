"""
Write requirements/*.txt: every package that an installation gets, by version and hash, for Python 3.11 to 3.14 alike.

`make locks` writes them with uv, which asks this machine's package index; no address of it gets into a file. A file's
first line names its dependencies: tests/unit/project/test_fresh_machine.py fails when pyproject.toml has others.
"""

import hashlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
HEAD: Final = "# Made by `make locks` from dependencies with the digest {}; do not edit.\n"
LOCKS: Final = {
    "dev.txt": ("requirements/build.in", "--extra", "dev"),
    "run.txt": ("requirements/build.in", "--extra", "aws", "--extra", "vault"),
}
"""What each is made from beside the project's own dependencies: a developer's environment, and a worker's image."""


def digest() -> str:
    """Of all that decides about the locks."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    named = project["project"]
    inputs = [
        named["requires-python"],
        sorted(named["dependencies"]),
        {extra: sorted(some) for extra, some in named["optional-dependencies"].items()},
        sorted(project["build-system"]["requires"]),
        (ROOT / "requirements" / "build.in").read_text("utf-8"),
        {name: list(words) for name, words in LOCKS.items()},
    ]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def made(name: str, words: tuple[str, ...]) -> str:
    """A lock as uv makes it now; what is pinned already stays where it may."""
    path = ROOT / "requirements" / name
    command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", *words, "--universal", "--quiet"]
    command += [
        "--python-version",
        "3.11",
        "--generate-hashes",
        "--no-header",
        "--no-annotate",
        "--output-file",
        str(path),
    ]
    subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603 - our own words
    return HEAD.format(digest()) + path.read_text("utf-8")


if __name__ == "__main__":
    for file, more in LOCKS.items():
        (ROOT / "requirements" / file).write_text(made(file, more), "utf-8")
