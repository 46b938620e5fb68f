"""
`export open DIR`: opens an answer's sealed parts and makes JSON, CSV and pages of them; with --case fetches them first.

`export reference FILE`: by which references the calls of some ids stand in answers and readers' lines.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from calllog_guard.adapters.disk.private_files import write_once
from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import NO_KEYSTORE, enter
from calllog_guard.cli._case_read import all_cases
from calllog_guard.cli._options import Args, argument, command, file, key
from calllog_guard.cli._output import say, show, the_world
from calllog_guard.client.answers import RECEIPT, content_of, open_export, receipts_key, write_parts
from calllog_guard.core.answers.whole import Answer, Sealed
from calllog_guard.core.calls.leg import REFERRED
from calllog_guard.core.cases.receipt import RECEIPTS
from calllog_guard.core.cases.secret_cases import jwe_of, part_key
from calllog_guard.core.codec import decode, encode
from calllog_guard.core.crypto.jose import public_forms, verify
from calllog_guard.core.identifiers import CallId
from calllog_guard.core.identity.id_file import identifiers
from calllog_guard.core.topics import Topic
from calllog_guard.errors import ConfigurationError, MessageError, StateRefusedError
from calllog_guard.reports.answer import Evidence, authority_pages, person_pages
from calllog_guard.reports.calls import table

# --- parts ----------------------------------------------------------------------------------------------------------


async def _fetched(shared: AppContext, case: str, directory: Path, officer: Path | None) -> int:
    """
    Fetch the receipt and the parts of a case; of several of one number the one that the receipt names, or the last.

    Args:
        officer: An officer's private key: of a secret case both lie where officers alone read.

    """
    await enter(shared, NO_KEYSTORE, whole=False)
    home = shared.home

    async def records(name: str) -> list[Any]:
        found = await shared.log.read_all(shared.settings.topic(name), [home])
        return [record for record in found if record.key and record.value is not None]

    own = (await all_cases(shared, officer)).get(case) if officer else None
    secret = own is not None and own.secret
    if own is not None and secret:
        receipts = [token.encode() for token in own.told]
    else:
        receipts = [each.value for each in await records(Topic.RECEIPTS) if each.key == case.encode()]
    parts = [(each.key, each.value) for each in await records(Topic.ORDERS if secret else Topic.EXPORTS)]
    start = part_key(f"{case}.") if secret else f"{case}.".encode()
    if secret:
        parts = [(key, jwe_of(value)) for key, value in parts if key.startswith(start)]
    return write_parts(directory, start, receipts, parts)


def checked(directory: Path, answer: Answer, evidence: Evidence, key: Path | None) -> Evidence:
    """
    The evidence with the receipt that names the parts, if it can be checked here.

    Raises:
        StateRefusedError: The receipt is not of these parts, or not signed by this key.

    """
    if key is None:
        return evidence
    pem, path = receipts_key(key), directory / RECEIPT
    if not path.exists():
        raise StateRefusedError(f"there is no {RECEIPT} in {directory} to compare with: --case fetches it")
    try:
        claims = decode(RECEIPTS, verify(pem, content_of(path).decode("ascii", "replace").strip()))
    except MessageError as error:
        raise StateRefusedError(f"{path} is not signed by --receipts-key ({error})") from None
    here = {part.digest for part in evidence.parts}
    if claims.stage != "exported" or claims.case != answer.case or set(claims.digests) != here:
        raise StateRefusedError(f"{path} is the receipt of other parts than those in {directory}")
    return replace(evidence, signed_at=claims.at, key=public_forms(pem)[2], key_name=key.name)


# --- files ----------------------------------------------------------------------------------------------------------


def _json(answer: Answer) -> Iterator[bytes]:
    """The whole answer, a line for each call."""
    head = {"case": answer.case, "about": json.loads(encode(answer.about)), "left_out": answer.left_out}
    if answer.disclosure is not None:
        head["disclosure"] = json.loads(encode(answer.disclosure))
    yield json.dumps(head, indent=2)[:-2].encode() + b',\n  "legs": [\n'
    for number, leg in enumerate(answer.legs):
        yield (b"    " if number == 0 else b",\n    ") + encode(leg)
    yield b"\n  ]\n}\n" if answer.legs else b"  ]\n}\n"


def _written(directory: Path, answer: Answer, parts: Sequence[Sealed], key: Path | None) -> list[str]:
    evidence = checked(directory, answer, Evidence(parts=parts, files={}), key)
    files = {
        "export.json": write_once(directory / "export.json", _json(answer)),
        "legs.csv": write_once(directory / "legs.csv", [table(answer.legs).encode()]),
    }
    evidence = replace(evidence, files=files)
    pages = authority_pages if answer.about.kind == "disclosure" else person_pages
    names = [*files]
    for name, pieces in pages(answer, evidence):
        write_once(directory / name, (piece.encode() for piece in pieces))
        names.append(name)
    return names


def references(args: Args) -> int:
    """The reference of each call of a file."""
    shared = the_world()
    if shared.vault.profile(shared.tenant).forms < REFERRED:
        raise StateRefusedError(
            f"tenant {shared.tenant} has the forms of an earlier release: its records name calls by their ids, until "
            "tenant upgrade"
        )
    calls = shared.vault.call_key(shared.tenant)
    rows = [(calls.reference(CallId(text)), text) for _, text in identifiers(content_of(args.place), str(args.place))]
    data = [{"call": reference, "call_id": text} for reference, text in rows]
    show(args, data, "\n".join(f"{reference} {text}" for reference, text in rows))
    return 0


@command("export")
@argument("action", type=click.Choice(["open", "reference"]))
@argument("place", metavar="DIR|FILE", type=Path, help="open: the folder of the parts; reference: call ids, one a line")
@key("open needs it: the private X25519 key (PEM) that the answer was asked for with")
@click.option("--case", metavar="CASE", help="fetch the parts and the receipt of this case first")
@file(
    "--officer", metavar="PEM", help="with --case, of a disclosure of what is held in secret: an officer's private key"
)
@file("--receipts-key", metavar="PEM", help="compare the parts with the receipt in DIR, by the tenant's key")
def export(args: Args) -> int:
    """Open an answer, or say by which references calls stand in it."""
    if args.action == "reference":
        return references(args)
    directory: Path = args.place
    if args.key is None:
        raise ConfigurationError("export open: name the private key that the answer was asked for with: --key PEM")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    pem = args.key.read_bytes()
    if args.case:
        say(f"{asyncio.run(_fetched(the_world(), args.case, directory, args.officer))} parts fetched")
    export_ = open_export(directory, pem, args.case)
    answer, parts = export_.answer, export_.parts
    names = _written(directory, answer, parts, args.receipts_key)
    for name in names:
        say(str(directory / name))
    data = {"case": answer.case, "parts": answer.parts, "legs": len(answer.legs), "files": names}
    data["receipt"] = "good" if args.receipts_key else "not compared"
    show(args, data, f"{len(answer.legs)} legs in {answer.parts} parts")
    return 0
