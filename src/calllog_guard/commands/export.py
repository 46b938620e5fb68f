"""`export open DIR`: opens the sealed parts of an export and makes JSON, CSV and a page of them; with --case fetches them first."""

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import Final

from calllog_guard.adapters.kafka_log import read_all, tenant_partition
from calllog_guard.commands.setup import say, show, the_world
from calllog_guard.core.crypto.sealed import open_sealed
from calllog_guard.core.requests.export import PARTS, Part, missing, page, table
from calllog_guard.core.wire import decode, encode
from calllog_guard.errors import ConfigurationError, MessageError, StateRefusedError
from calllog_guard.world import World

_SEALED: Final = ".jwe"


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "export",
        help="open an export: JSON, CSV and a page from its sealed parts",
        description="Opens the sealed parts (part-N.jwe) that lie in DIR, offline; with --case they are fetched into DIR first.",
    )
    verb.add_argument("action", choices=["open"])
    verb.add_argument("directory", metavar="DIR", type=Path)
    verb.add_argument(
        "--key", type=Path, required=True, help="the private X25519 key (PEM) that the export was asked for with"
    )
    verb.add_argument("--case", help="fetch the parts of this case first")
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=export)


async def _fetched(shared: World, case: str, directory: Path) -> int:
    home = tenant_partition(shared.tenant, shared.settings.few_partitions)
    topic = shared.settings.topic("privacy.exports")
    start, found = f"{case}.".encode(), 0
    for record in await read_all(shared.settings.kafka, shared.options, topic, [home]):
        if record.key and record.key.startswith(start) and record.value is not None:
            number = int(record.key[len(start) :])
            (directory / f"part-{number}{_SEALED}").write_bytes(record.value)
            found += 1
    return found


def opened(directory: Path, pem: bytes) -> list[Part]:
    """
    The parts in a folder, in order.

    Raises:
        StateRefusedError: None, not all, or of several cases.
        MessageError: One does not open with this key.

    """
    files = sorted(directory.glob(f"*{_SEALED}"))
    if not files:
        raise StateRefusedError(f"no {_SEALED} files in {directory}: name the case with --case, or put the parts there")
    parts = sorted(
        (decode(PARTS, open_sealed(pem, each.read_text("ascii"))) for each in files), key=lambda part: part.part
    )
    if len({part.case for part in parts}) > 1:
        raise StateRefusedError(f"{directory} has parts of several cases: one folder for each")
    if lacking := missing(parts):
        raise StateRefusedError(f"parts are missing: {', '.join(map(str, lacking))}")
    return parts


def _write(path: Path, content: str) -> None:
    """Only the owner may read what was opened."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(content)


def export(args: argparse.Namespace) -> int:
    """Open an export."""
    directory: Path = args.directory
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    pem = args.key.read_bytes()
    if args.case:
        say(f"{asyncio.run(_fetched(the_world(), args.case, directory))} parts fetched")
    try:
        parts = opened(directory, pem)
    except MessageError as error:
        raise ConfigurationError(f"a part cannot be opened with --key ({error})") from None
    legs = [leg for part in parts for leg in part.legs]
    about = parts[-1].about
    data = {
        "case": parts[0].case,
        "about": json.loads(encode(about)),
        "legs": [json.loads(encode(leg)) for leg in legs],
    }
    files = {"export.json": json.dumps(data, indent=2), "legs.csv": table(legs), "index.html": page(about, legs)}
    for name, content in files.items():
        _write(directory / name, content)
        say(str(directory / name))
    show(
        args,
        {"case": parts[0].case, "parts": len(parts), "legs": len(legs), "files": list(files)},
        f"{len(legs)} legs in {len(parts)} parts",
    )
    return 0
