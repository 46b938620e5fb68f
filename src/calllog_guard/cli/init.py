"""First run: `init`; what every command needs."""

import os
import re
import shlex
from pathlib import Path
from typing import Final

import click

from calllog_guard.adapters.kms.local import write_new
from calllog_guard.cli._options import Args, argument, command
from calllog_guard.cli._output import show
from calllog_guard.core.crypto.jose import new_pair
from calllog_guard.core.identifiers import TENANT_PATTERN
from calllog_guard.core.topics import Topic
from calllog_guard.errors import ConfigurationError
from calllog_guard.settings import PREFIX, from_environment

POLICY: Final = Path(__file__).with_name("policy.toml")
"""What `init` writes, with its two names left out."""


@command("init")
@argument("directory", metavar="DIR", type=Path, help="the folder that is written")
@click.option("--tenant", metavar="T", default="iocom", help="the tenant's name")
def init(args: Args) -> int:
    """Write the first files; what exists is left as it is."""
    base, events = args.directory.resolve(), from_environment(os.environ).topic(Topic.EVENTS)
    for name in ("kms", "state", "keys"):
        (base / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    if not re.match(TENANT_PATTERN, args.tenant):
        raise ConfigurationError("--tenant takes 1 to 32 of a-z, 0-9 and -, beginning with a letter or digit")
    for name, signs in {"backend-1": True, "officer-1": True, "operator-1": False}.items():
        private, public = new_pair(signs=signs)
        if write_new(base / "keys" / f"{name}.pem", private):
            (base / "keys" / f"{name}.pub.pem").write_bytes(public)
    write_new(base / "policy.toml", POLICY.read_text("utf-8").format(tenant=args.tenant, events=events).encode())
    environment = {
        f"{PREFIX}POLICY": str(base / "policy.toml"),
        f"{PREFIX}KMS": f"local:{base / 'kms'}",
        f"{PREFIX}STATE_DIR": str(base / "state"),
        f"{PREFIX}OPERATOR_KEY": str(base / "keys" / "operator-1.pub.pem"),
        f"{PREFIX}INGEST": str(base / "ingest.toml"),
    }
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()]
    (base / "calllog-guard.env").write_text("".join(lines), "utf-8")
    show(
        args,
        {"dir": str(base), "env": environment, "tenant": args.tenant},
        f"{base}: next, `. {args.directory}/calllog-guard.env`",
    )
    return 0
