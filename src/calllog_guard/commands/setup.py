"""First run: `init`; what every command needs."""

import argparse
import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from calllog_guard.adapters.kms.local import write_new
from calllog_guard.app.context import AppContext, world
from calllog_guard.core.crypto.jose import new_pair
from calllog_guard.core.identifiers import TENANT_PATTERN
from calllog_guard.core.topics import Topic
from calllog_guard.errors import ConfigurationError
from calllog_guard.settings import PREFIX, from_environment

POLICY = """\
# The privacy policy that the workers enforce. See the documentation: "Write the policy".
[[version]]
effective = 2026-01-01
change = "First version."
[version.tenant.{tenant}]
regime = "uk"
controller = "EXAMPLE: the company's name and address"          # people read these five: replace them
contact = "EXAMPLE: where people write to use their rights"
data_protection_officer = "none"   # name and address, where one has to be designated
stored_in = "EXAMPLE: city and country"
transfers = []                     # to other countries: {{ to = "...", country = "...", safeguard = "..." }}
events = ["{events}"]
erasures_per_hour = 10000          # development; in production the most that a calm hour sees
allowed_hosts = ["127.0.0.1", "::1", "localhost", "kafka", "redis"]    # development; in production yours alone
[version.tenant.{tenant}.purposes.service]
number = 1
why = "To show you your calls and to help you when one fails"
basis = "contract"
keep = "P90D"
[version.tenant.{tenant}.purposes.billing]    # for what a law obliges you to keep: basis = "legal_duty", survives_erasure = true
number = 2
why = "To charge you, and to show what a charge was for as long as you may dispute it"
basis = "contract"
keep = "P6M"
when = {{ roles = ["host", "caller"], outcomes = ["answered"] }}
shows = ["started_at", "duration_s", "role"]
[version.tenant.{tenant}.requesters.backend-1]
role = "backend"
key = "keys/backend-1.pub.pem"
[version.tenant.{tenant}.requesters.officer-1]
role = "officer"
key = "keys/officer-1.pub.pem"
[version.tenant.{tenant}.actors.support-1]
title = "Customer support"
purposes = ["service"]
[version.tenant.{tenant}.actors.billing-1]
title = "The billing department"
purposes = ["billing"]
# Who writes to the people concerned. Without it no restriction ends, and nothing is disclosed of which they must be told:
# [version.tenant.{tenant}.person_notices]
# key = "keys/gateway-1.pub.pem"     # calllog-guard key new gateway-1 --role recipient
# told = ["erased", "rectified", "restricted", "lifting", "disclosed", "extended", "refused"]
"""


def say(text: str) -> None:
    """Talk goes to stderr."""
    print(text, file=sys.stderr)  # noqa: T201


def show(args: argparse.Namespace, data: Any, text: str) -> None:
    """Data goes to stdout, as JSON when asked."""
    print(json.dumps(data) if args.json else text)  # noqa: T201


def the_world() -> AppContext:
    """The world of this process' environment."""
    return world(from_environment(os.environ))


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    verb = verbs.add_parser("init", help="write a policy, a development KMS, keys and an environment file into DIR")
    verb.add_argument("directory", metavar="DIR", type=Path)
    verb.add_argument("--tenant", default="iocom")
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=init)


def init(args: argparse.Namespace) -> int:
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
    write_new(base / "policy.toml", POLICY.format(tenant=args.tenant, events=events).encode())
    environment = {
        f"{PREFIX}POLICY": str(base / "policy.toml"),
        f"{PREFIX}KMS": f"local:{base / 'kms'}",
        f"{PREFIX}STATE_DIR": str(base / "state"),
        f"{PREFIX}OPERATOR_KEY": str(base / "keys" / "operator-1.pub.pem"),
    }
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()]
    (base / "calllog-guard.env").write_text("".join(lines), "utf-8")
    show(args, {"dir": str(base), "env": environment, "tenant": args.tenant}, f"{base}: next, `. calllog-guard.env`")
    return 0
