"""First run: `init`, `topics create|check`, `tenant create`."""

import argparse
import asyncio
import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from calllog_guard.adapters.kafka_admin import KafkaTopics
from calllog_guard.adapters.kms_local import write_new
from calllog_guard.bootstrap import World, world
from calllog_guard.core.crypto.entries import EPOCH_KEY, GUARD_KEY
from calllog_guard.core.crypto.sealed import desk_pem, new_pair, public_forms, receipt_pem
from calllog_guard.core.ids import TENANT_PATTERN, EpochName, Tenant, b64
from calllog_guard.core.tombstone import Output
from calllog_guard.errors import ConfigurationError, StateRefusedError
from calllog_guard.law import follow_published
from calllog_guard.settings import PREFIX, from_environment
from calllog_guard.workers.guard import guard_entry

POLICY = """\
# The privacy policy that the workers enforce. See the README: "Write the policy".
[[version]]
effective = 2026-01-01
change = "First version."
[version.tenant.{tenant}]
regime = "uk"
events = ["calllog.events"]
lowercase_email = true
erasures_per_hour = 10000          # development; in production the most that a calm hour sees
allowed_hosts = ["127.0.0.1", "::1", "localhost", "kafka", "redis"]    # development; in production yours alone
[version.tenant.{tenant}.purposes.service]
number = 1
basis = "contract"
keep = "P90D"
[version.tenant.{tenant}.purposes.billing]
number = 2
basis = "legal_duty"
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
purposes = ["service"]
[version.tenant.{tenant}.actors.billing-1]
purposes = ["billing"]
"""


def say(text: str) -> None:
    """Talk goes to stderr."""
    print(text, file=sys.stderr)  # noqa: T201


def show(args: argparse.Namespace, data: Any, text: str) -> None:
    """Data goes to stdout, as JSON when asked."""
    print(json.dumps(data) if args.json else text)  # noqa: T201


def the_world() -> World:
    """The world of this process' environment."""
    return world(from_environment(os.environ))


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verbs."""
    verb = verbs.add_parser("init", help="write a policy, a development KMS, keys and an environment file into DIR")
    verb.add_argument("directory", metavar="DIR", type=Path)
    verb.add_argument("--tenant", default="iocom")
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=init)
    topics = verbs.add_parser("topics", help="make the governed topics, or compare each setting with what is wanted")
    topics.add_argument("action", choices=["create", "check"])
    topics.add_argument("--json", action="store_true")
    topics.set_defaults(run=run_topics)
    tenant = verbs.add_parser(
        "tenant",
        help="create T: pepper, receipt key, desk key, first epoch, guard entry (again: what a newer release adds); list: each tenant of the policy, and whether it is made",
    )
    tenant.add_argument("action", choices=["create", "list"])
    tenant.add_argument("tenant", nargs="?")
    tenant.add_argument("--json", action="store_true")
    tenant.set_defaults(run=run_tenant)


def init(args: argparse.Namespace) -> int:
    """Write the first files; what exists is left as it is."""
    base = args.directory.resolve()
    for name in ("kms", "state", "keys"):
        (base / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    if not re.match(TENANT_PATTERN, args.tenant):
        raise ConfigurationError("--tenant takes 1 to 32 of a-z, 0-9 and -, beginning with a letter or digit")
    for name, signs in {"backend-1": True, "officer-1": True, "operator-1": False}.items():
        private, public = new_pair(signs=signs)
        if write_new(base / "keys" / f"{name}.pem", private):
            (base / "keys" / f"{name}.pub.pem").write_bytes(public)
    write_new(base / "policy.toml", POLICY.format(tenant=args.tenant).encode())
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


def run_topics(args: argparse.Namespace) -> int:
    """Make or check the governed topics."""
    shared = the_world()
    if args.action == "check":
        asyncio.run(follow_published(shared))
    admin = KafkaTopics(shared.settings, shared.options)
    try:
        if args.action == "create":
            made = admin.create(shared.keep_days)
            say(f"{len(made)} topics made")
        findings = admin.check(shared.keep_days)
    finally:
        admin.close()
    rows = [
        {
            "topic": f.topic,
            "setting": f.setting,
            "wanted": f.wanted,
            "found": f.found,
            "verdict": "ok" if f.good else "bad",
        }
        for f in findings
    ]
    widths = "{topic:24} {setting:28} {wanted:>16} {found:>16} {verdict}"
    show(args, rows, "\n".join(widths.format(**row) for row in rows))
    return int(any(not finding.good for finding in findings))


def run_tenant(args: argparse.Namespace) -> int:
    """Make one tenant, or list all."""
    if args.action == "list":
        return list_tenants(args)
    if not args.tenant:
        raise ConfigurationError("name the tenant: calllog-guard tenant create T")
    return asyncio.run(create_tenant(args))


def list_tenants(args: argparse.Namespace) -> int:
    """The tenants of the policy in force: regime, events, requesters, and the receipt key's fingerprint once made."""
    shared = the_world()
    rows: list[dict[str, Any]] = []
    for name, table in shared.policy.at(shared.clock.now().date()).tenant.items():
        try:
            fingerprint = public_forms(receipt_pem(shared.vault.receipt_key(Tenant(name)))[1])[2]
        except ConfigurationError:  # the KMS keeps nothing of it yet
            fingerprint = None
        row = {"tenant": name, "regime": table.regime, "events": list(table.events)}
        row["desk_keys"] = shared.vault.desk_kids(Tenant(name))
        rows.append(row | {"requesters": sorted(table.requesters), "receipt_key": fingerprint})
    lines = (
        f"{row['tenant']:16} {row['regime']} {row['receipt_key'] or 'not made: calllog-guard tenant create'}"
        f" {' '.join(row['events'])} {' '.join(row['requesters'])}"
        for row in rows
    )
    show(args, rows, "\n".join(lines))
    return 0


async def create_tenant(args: argparse.Namespace) -> int:
    """Make a tenant's secrets, the first epoch, and the guard with its anchor in the ledger; repeatable."""
    shared, tenant = the_world(), Tenant(args.tenant)
    if tenant not in shared.policy.at(shared.clock.now().date()).tenant:
        raise StateRefusedError(f"the policy names no tenant {tenant}: add [version.tenant.{tenant}] first")
    shared.vault.create_tenant(tenant)
    year, week, _ = shared.clock.now().isocalendar()
    epoch = EpochName(f"{year}-W{week:02d}")
    shared.vault.create_epoch(epoch)
    guard_id = shared.vault.guard_id()
    path = Path(shared.settings.policy).parent / "keys" / f"{tenant}-receipts.pub.pem"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(receipt_pem(shared.vault.receipt_key(tenant))[1])
    desk = write_desk_key(shared, tenant)[0]
    writer = shared.writer()
    await writer.start()
    try:
        topic = shared.settings.topic("privacy.decisions")
        anchor = json.dumps({"v": 1, "guard": b64(guard_id).decode(), "counter": 0}).encode()
        await writer.write([Output(topic, number, b"~guard", anchor) for number in range(shared.settings.partitions)])
        if await shared.keystore.swap({GUARD_KEY: (None, guard_entry(guard_id))}, {}):
            await shared.ring(tenant).guard.open_at_once(shared.settings.partitions)
        await shared.keystore.swap({EPOCH_KEY: (None, epoch.encode())}, {})
    finally:
        await writer.stop()
        await shared.keystore.close()
    show(
        args,
        {"tenant": tenant, "epoch": epoch, "receipt_key": str(path), "desk_key": str(desk)},
        f"tenant {tenant}: epoch {epoch}, receipts by {path}, requests may be sealed to {desk}",
    )
    return 0


def write_desk_key(shared: World, tenant: Tenant) -> tuple[Path, bytes]:
    """Write the public half of the desk's newest key beside the receipt key's: the file, and what is in it."""
    kid = shared.vault.desk_kids(tenant)[-1]
    public = desk_pem(shared.vault.desk_key(tenant, kid) or b"")[1]
    path = Path(shared.settings.policy).parent / "keys" / f"{kid}.pub.pem"
    path.write_bytes(public)
    return path, public
