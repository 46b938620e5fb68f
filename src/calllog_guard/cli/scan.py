"""
`scan` looks as an outsider for what should not be there: on the topics, in broker log files, index, keystore files.

With --canary FILE it looks for identifiers, in each form of `core/audit/traces.py`; with --case for an erased person's
legs' values. The topics of events hold plain text by design until they are trimmed: finds there are reported apart.
"""

import asyncio
import os
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click

from calllog_guard.adapters.disk.segment_files import look_at_replica, replicas
from calllog_guard.adapters.disk.trace_search import Hunter
from calllog_guard.adapters.kafka.admin.topics import PARTITIONS, KafkaTopics, governed
from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import follow_published
from calllog_guard.cli._options import Args, Several, command, file
from calllog_guard.cli._output import progress, say, show, the_world
from calllog_guard.core.audit.absence import Look
from calllog_guard.core.decisions.decision import decision_in
from calllog_guard.core.decisions.outcome import is_result
from calllog_guard.core.identity.id_file import identifiers
from calllog_guard.core.identity.rules import spellings
from calllog_guard.core.topics import Topic
from calllog_guard.errors import ConfigurationError, MessageError, StateRefusedError

_BLOCK: Final = 1 << 24
_OVERLAP: Final = 4096


@dataclass(frozen=True, slots=True)
class ScannedPlace:
    """
    One place that was looked at: `found` counts hits, `forms` says as what, `plaintext` that hits are expected here.

    Of a topic, `first` and `end` are the offsets between which it was read; `unread` counts the parts not read, which
    is a finding too.
    """

    where: str
    bytes: int
    found: int
    forms: tuple[str, ...]
    tombstones: int = 0
    plaintext: bool = False
    unread: int = 0
    first: int = 0
    end: int = 0


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        tail = b""
        while block := file.read(_BLOCK):
            yield tail + block
            tail = block[-_OVERLAP:]


def scan_files(directory: Path, hunter: Hunter, plaintext: Collection[str]) -> list[ScannedPlace]:
    """
    Each file below a directory; those of the plaintext topics are marked, and of what cannot be read it is said.

    Raises:
        ConfigurationError: There is no such directory: nothing would be looked at, and nothing found.

    """
    places: list[ScannedPlace] = []
    denied: list[Path] = []
    for path in _files(directory, denied):
        try:
            if not path.is_file():
                continue
            hits = [hit for block in _blocks(path) for hit in hunter.hits(block)]
            size = path.stat().st_size
        except FileNotFoundError:
            continue  # rolled or deleted while we looked: what replaced it is looked at
        except OSError:
            denied.append(path)
            continue
        marked = any(part.startswith(f"{topic}-") for part in path.parts for topic in plaintext)
        places.append(
            ScannedPlace(f"file {path.relative_to(directory)}", size, len(hits), tuple(sorted(set(hits))), 0, marked)
        )
    return places + [ScannedPlace(f"file {path.relative_to(directory)}", 0, 0, (), unread=1) for path in denied]


def _check_folder(directory: Path) -> None:
    try:
        there = directory.is_dir()
    except OSError as error:
        raise ConfigurationError(f"the folder {directory} cannot be read: {error.strerror}") from None
    if not there:
        raise ConfigurationError(f"there is no folder {directory}: nothing in it was looked at")


def _files(directory: Path, denied: list[Path]) -> list[Path]:
    """What lies below a directory; folders that cannot be read are added to `denied`."""
    _check_folder(directory)

    def failed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            denied.append(Path(error.filename))

    return sorted(Path(folder, name) for folder, _, names in os.walk(directory, onerror=failed) for name in names)


async def scan_topics(shared: AppContext, hunter: Hunter) -> list[ScannedPlace]:
    """Each partition of each governed topic, from its beginning to its end."""
    places: list[ScannedPlace] = []
    present = await _partitions(shared)
    for topic in progress(governed(shared.settings, 1, shared.events), "topics"):
        if topic.name not in present:
            say(f"there is no topic {topic.name}: calllog-guard topics create makes it")
        for partition in range(present.get(topic.name, 0)):
            records = await shared.log.read_all(topic.name, [partition])
            hits: list[str] = []
            size = dead = 0
            for record in records:
                headers = b"".join(name.encode() + (value or b"") for name, value in record.headers)
                content = b"\n".join((record.key or b"", record.value or b"", headers))
                hits += hunter.hits(content)
                size += len(content)
                dead += record.value is None
            where = f"topic {topic.name}/{partition}"
            places.append(
                ScannedPlace(where, size, len(hits), tuple(sorted(set(hits))), dead, topic.name in shared.events)
            )
    return places


async def _partitions(shared: AppContext) -> dict[str, int]:
    """How many partitions each governed topic has, however many it should have."""
    admin = KafkaTopics(shared.settings, shared.options)
    try:
        findings = await asyncio.to_thread(admin.check, shared.keep_days, shared.events)
    finally:
        admin.close()
    return {each.topic: int(each.found) for each in findings if each.setting == PARTITIONS}


async def _case_places(shared: AppContext, case: str, log_dirs: list[Path]) -> list[ScannedPlace]:
    everything = list(range(shared.settings.partitions))
    names, junk = set(), 0
    for record in await shared.log.read_all(shared.settings.topic(Topic.DECISIONS), everything):
        key = record.key or b""
        if record.value is not None and key[:1] != b"~" and not is_result(key):
            try:
                decision = decision_in(record, shared.vault.proofs(shared.tenant))
            except MessageError:
                junk += 1
                continue
            if decision.case == case:
                names.add(decision.pseudonym)
    if junk:
        say(f"{junk} records of privacy.decisions are no decisions, and were passed over")
    if not names:
        raise StateRefusedError("no decision belongs to this case; `case list` shows all")
    places: list[ScannedPlace] = []
    topic, wanted = shared.settings.topic(Topic.LEGS), sorted({name.encode() for name in names})
    there = (await _partitions(shared)).get(topic, 0)
    for partition in progress(range(there), "partitions"):
        look = Look.for_(names)
        ends = await shared.log.read_each(topic, [partition], look.kafka_record)
        places.append(_case_place(f"topic {topic}/{partition}", look, *ends[partition]))
        for replica in replicas(log_dirs, topic, partition):
            look = await asyncio.to_thread(look_at_replica, replica, wanted)
            places.append(_case_place(f"files {replica.directory}/{replica.name}", look))
    return places


def _case_place(where: str, look: Look, first: int = 0, end: int = 0) -> ScannedPlace:
    values = sum(each.values for each in look.seen.values())
    keys = sum(each.keys for each in look.seen.values())
    dead = max(0, keys - values)
    forms = ("value",) if values else ()
    return ScannedPlace(where, look.size_bytes, values, forms, dead, unread=look.unread, first=first, end=end)


def _line(place: ScannedPlace) -> str:
    offsets = f" offsets {place.first} to {place.end}," if place.end else ""
    unread = f", {place.unread} places could not be read" if place.unread else ""
    forms = f" {' '.join(place.forms)}" if place.forms else ""
    return f"{place.where}:{offsets} {place.found} found{forms}, {place.tombstones} tombstones{unread}"


@command("scan", one_of={("--case", "--canary"): True})
@click.option("--case", metavar="CASE", help="values of the legs of the person whom a case erased")
@file("--canary", help="identifiers, one per line, in every form")
@file(
    "--log-dir",
    metavar="DIR...",
    cls=Several,
    multiple=True,
    help="also files: broker logs, keystore files (repeatable)",
)
async def scan(args: Args) -> int:
    """See the module."""
    for directory in args.log_dir:
        _check_folder(directory)  # before anything is read: a slip in a name is told at once
    shared = the_world()
    if args.case:
        places = await _case_places(shared, args.case, args.log_dir)
    else:
        hunter = Hunter(_identifiers(shared, args.canary))
        await follow_published(shared, whole=False)
        places = await scan_topics(shared, hunter)
        state = [_state(shared)] if _state(shared).exists() else []
        if not state:
            say(
                f"there is no folder {_state(shared)} (CALLLOG_GUARD_STATE_DIR): no index of this machine was looked at"
            )
        for directory in [*state, *args.log_dir]:
            places += scan_files(directory, hunter, shared.events)
    await shared.keystore.close()
    found = [place for place in places if (place.found and not place.plaintext) or place.unread]
    plain = sum(place.found for place in places if place.plaintext)
    rows = [asdict(place) for place in places]
    text = [_line(place) for place in (found if args.canary else places)]
    text.append(f"{len(places)} places, {sum(place.bytes for place in places)} bytes, {len(found)} with findings")
    show(args, {"places": rows, "findings": len(found), "plaintext_topic": plain}, "\n".join(text))
    if plain:
        say(f"{plain} hits in the plaintext topics, which keep events for {shared.settings.events_keep_h} h")
    return int(bool(found))


def _state(shared: AppContext) -> Path:
    return Path(shared.settings.state_dir)


def _identifiers(shared: AppContext, path: Path) -> list[str]:
    """
    The identifiers to look for, in every spelling that may be stored.

    Raises:
        ConfigurationError: There are none: nothing would be looked for, and nothing found.

    """
    try:
        listed = identifiers(path.read_bytes(), "--canary FILE")
    except OSError as error:
        raise ConfigurationError(f"--canary FILE cannot be read: {error.strerror}") from None
    if not listed:
        raise ConfigurationError("--canary FILE names nobody")
    rules = shared.vault.identity(shared.tenant)
    return sorted({form for _, text in listed for form in spellings(text, rules)})
