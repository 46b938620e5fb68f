"""
Builds a real Vault server into the user's cache, once, from its Go module: `python tests/contract/vault_server.py`.

Vault's module names its SDK by a folder of its repository, absent from the module: the published SDK v0.9.2 takes its
place, without its one assertion on declared paths that Vault 1.14.0 does not meet. Vault itself is as published.
1.14.0 is the last series under the Mozilla Public License. Needs Go; about 1 GB of module cache, minutes on two cores.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

VERSION, SDK = "v1.14.0", "v0.9.2"
SOURCE = Path(__file__).with_name("vault") / "main.go"
_MODULE = "github.com/hashicorp/vault"
_ASSERTION = ("if p.ExistenceCheck == nil {", "if false && p.ExistenceCheck == nil {")


def cached() -> Path:
    """Where the server lies once it is built."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "calllog-guard"
    return cache / f"vault-{VERSION}" / "vault-server"


def _go(folder: Path, *words: str) -> str:
    command = ["nice", "go", *words]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def _fetched(folder: Path, module: str) -> Path:
    answer: dict[str, Any] = json.loads(_go(folder, "mod", "download", "-json", module))
    return Path(answer["Dir"])


def _build(folder: Path) -> Path:
    (folder / "go.mod").write_text("module calllog-guard.test/vault\n")
    vault, sdk = _fetched(folder, f"{_MODULE}@{VERSION}"), _fetched(folder, f"{_MODULE}/sdk@{SDK}")
    mended = folder / "sdk"
    shutil.copytree(sdk, mended, copy_function=shutil.copyfile)
    for path in (mended, *mended.rglob("*")):
        path.chmod(0o755)
    backend = mended / "framework" / "backend.go"
    assert backend.read_text().count(_ASSERTION[0]) == 1
    backend.write_text(backend.read_text().replace(*_ASSERTION))
    text = (vault / "go.mod").read_text()
    text = re.sub(r"^module .*", "module calllog-guard.test/vault", text, flags=re.MULTILINE)
    text = re.sub(rf"^replace {_MODULE}/.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(rf"{_MODULE}/sdk v.*", f"{_MODULE}/sdk {SDK}", text)
    text += f"\nrequire {_MODULE} {VERSION}\nreplace {_MODULE}/sdk => ./sdk\n"
    (folder / "go.mod").write_text(text)
    (folder / "go.sum").write_bytes((vault / "go.sum").read_bytes())
    (folder / "main.go").write_bytes(SOURCE.read_bytes())
    _go(folder, "build", "-mod=mod", "-trimpath", "-ldflags=-s -w", "-o", "vault-server", ".")
    return folder / "vault-server"


def built() -> Path:
    """The server, built if the cache has none."""
    target = cached()
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            sys.stderr.write(f"building Vault {VERSION} once, into {target}: minutes\n")
            with tempfile.TemporaryDirectory(dir=target.parent) as folder:
                _build(Path(folder)).rename(target)
    return target


class VaultServer:
    """A real server, unsealed, in memory; it ends with this object."""

    def __init__(self, token: str) -> None:
        command = [str(built()), "-token", token]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        out: IO[str] | None = self._process.stdout
        assert out is not None
        self.url = out.readline().strip()
        assert self.url, "the server did not start"

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.communicate(timeout=30)


if __name__ == "__main__":
    print(built())  # noqa: T201
