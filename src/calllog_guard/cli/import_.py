"""`import` takes in an old call log, file or Kafka topic, by the protector's rules, with a manifest of the outcome."""

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, cast

import click
import msgspec

from calllog_guard.adapters.disk.import_journal import Journal
from calllog_guard.adapters.disk.old_logs import FILES, LogFile, digest, events_of
from calllog_guard.adapters.kafka.admin.topics import KafkaTopics, governed
from calllog_guard.adapters.kafka.log import places_of
from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import enter
from calllog_guard.cli._mapping import mapping_mark, mapping_of, plain_dialect, with_mapping
from calllog_guard.cli._options import Args, argument, columns, command, file, flag, start
from calllog_guard.cli._output import say, the_world
from calllog_guard.core.calls.csv_rows import columns_of
from calllog_guard.core.calls.formats import format_of
from calllog_guard.core.calls.import_journal import FileSource, Manifest, TopicSource
from calllog_guard.core.calls.leg import REFERRED
from calllog_guard.core.identifiers import Lookup
from calllog_guard.core.identity.id_file import identifiers
from calllog_guard.core.identity.rules import REFUSED
from calllog_guard.core.topics import Topic
from calllog_guard.errors import ConfigurationError, MessageError, StateRefusedError
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.workers.keys.people.naming import Naming
from calllog_guard.workers.protector.importer import Intake, Item
from calllog_guard.workers.protector.leg_writer import Sealer

_CACHED_PEOPLE: Final = 30_000  # each with a key per month of the log: bounded memory, whatever the log's order
_TELL_S: Final = 2.0
_CUT_S: Final = 5.0

Batches = AsyncGenerator[tuple[dict[int, int], list[Item]], None]


@dataclass(frozen=True, slots=True)
class OldLog:
    """
    An old log.

    Args:
        label: How talk names it: its place among the arguments, or the topic.
        batches: Its records from some positions on, each batch with the positions behind it.
        cut: Deletes what lies below some positions from it, if that was asked for.
        lost: How many records of each partition were cut off before they were read.
        check: Raises StateRefusedError when it is not what it was at the start.

    """

    label: str
    about: FileSource | TopicSource
    batches: Callable[[Mapping[int, int]], Batches]
    cut: Callable[[dict[int, int]], None] | None = None
    lost: Counter[int] = field(default_factory=Counter)
    check: Callable[[], None] = lambda: None


@command("import", one_of={("--erased", "--no-erased-list"): True})
@argument(
    "files", metavar="[FILE]...", type=Path, nargs=-1, help="NDJSON of the event schema, CSV, or messages of a platform"
)
@with_mapping()
@click.option("--topic", metavar="OLD", help="an old Kafka topic of plain events instead of files")
@flag("--trim", help="cut the old topic behind what is acknowledged")
@file(
    "--erased",
    help="subject ids, one a line: whom the company erased so long ago that this installation does not know it",
)
@flag("--no-erased-list", help="there is nobody of that kind, and you answer for it")
@columns
@start
@flag("--skip-lost", help="--topic: go on behind records that were cut off it since the import began")
@flag("--again", help="from the beginning, although a journal is there")
async def take_in(args: Args) -> int:
    """Take in each source, one after the other."""
    if bool(args.files) == bool(args.topic) or (args.trim and not args.topic) or (args.mapping and args.topic):
        raise ConfigurationError("give either files or --topic OLD; --trim goes with --topic, --mapping with files")
    shared = the_world()
    for at, path in enumerate(args.files, 1):
        if not path.is_file():
            raise ConfigurationError(f"file {at} is not there, or is no file")
    await enter(shared)
    listed = frozenset() if args.no_erased_list else _listed(shared, args.erased)
    admin = KafkaTopics(shared.settings, shared.options)
    try:
        sources = [_old_topic(shared, admin, args)] if args.topic else _files(shared, args)
        manifests = [await _imported(shared, args, source, listed) for source in sources]
    finally:
        admin.close()
        await shared.keystore.close()
    for manifest, path in manifests:
        found = json.loads(path.read_bytes()) if args.json and path.stat().st_size < 1 << 20 else None
        print(json.dumps({"manifest": str(path), **(found or {})}) if args.json else _summary(manifest, path))  # noqa: T201
    return int(any(manifest.refused for manifest, _ in manifests))


def _listed(shared: AppContext, path: Path) -> frozenset[Lookup]:
    """
    The lookups of the company's list.

    Raises:
        ConfigurationError: A line is no identifier by the tenant's rules: whoever it names would be taken in.

    """
    naming, found = Naming(shared.tenant, shared.vault), set[Lookup]()
    try:
        listed = identifiers(path.read_bytes(), "--erased FILE")
    except OSError as error:
        raise ConfigurationError(f"--erased FILE cannot be read: {error.strerror}") from None
    for number, text in listed:
        try:
            names, refused = naming.names(text), ""
            found.update((names.lookup, *names.former))
        except MessageError as error:
            refused = error.reason
        if refused := refused or names.reason:
            raise ConfigurationError(f"--erased FILE: line {number} is refused ({refused}): {REFUSED[refused]}")
    if not found:
        raise ConfigurationError("--erased FILE names nobody; if there is nobody to name, say so with --no-erased-list")
    return frozenset(found)


# --- sources --------------------------------------------------------------------------------------------------------


def _files(shared: AppContext, args: Args) -> list[OldLog]:
    read = LogFile(Path(), shared.settings.event_max_bytes, columns_of(args.columns), shared.tenant, "", args.start)
    read = read._replace(mapping=mapping_of(args), dialect=plain_dialect(args))
    return [_file(shared, read._replace(path=path), f"file {at}") for at, path in enumerate(args.files, 1)]


def _file(shared: AppContext, read: LogFile, label: str) -> OldLog:
    path, many = read.path, shared.settings.unit_records
    sha256, size = digest(path)
    name = sha256[:16] if shared.vault.profile(shared.tenant).forms < REFERRED else ""
    file = read._replace(name=name)

    async def batches(positions: Mapping[int, int]) -> Batches:
        found = events_of(file._replace(skip=positions.get(0, 0)))
        while batch := list(islice(found, many)):
            yield {0: batch[-1][0]}, [Item(value, {"line": line}) for _, line, value in batch]

    def check() -> None:
        if path.stat().st_size != size:
            raise StateRefusedError(f"{label} changed while it was read: import it again")

    form = cast("Literal['csv', 'ndjson', 'mapped']", format_of(FILES, file).name)
    about = FileSource(sha256=sha256, bytes=size, format=form)
    return OldLog(label, about, batches, check=check)


def _old_topic(shared: AppContext, admin: KafkaTopics, args: Args) -> OldLog:
    topic, settings = args.topic, shared.settings
    if topic in {each.name for each in governed(settings, 1, shared.events)}:
        raise StateRefusedError(f"{topic} is a topic of this installation, not an old log")
    found = admin.describe(topic)
    if found is None:
        raise ConfigurationError(f"there is no topic {topic}")
    name, partitions, configured = found
    policy = configured.get("cleanup.policy", "")
    if args.trim and "delete" not in policy.split(","):
        raise StateRefusedError(
            f"{topic} has cleanup.policy={policy}, so Kafka refuses to cut it: set compact,delete on it, "
            "or leave --trim away. Nothing was imported"
        )

    lost = Counter[int]()

    def gone(place: Any, first: int, to: int) -> None:
        if not args.skip_lost:
            raise StateRefusedError(
                f"records {first} to {to - 1} of {topic}/{place.partition} were cut off before they were imported: "
                "find them elsewhere, or go on without them by --skip-lost, which the manifest tells"
            )
        lost[place.partition] += to - first

    async def batches(positions: Mapping[int, int]) -> Batches:
        starts = {place: positions.get(place.partition, 0) for place in places_of(topic, partitions)}
        made = shared.log.portions(starts, settings.unit_records, committed=True, cut=gone)
        async with aclosing(made) as portions:
            async for behind, portion in portions:
                records = [record for each in portion.values() for record in each]
                items = [
                    Item(each.value, {"partition": each.partition, "offset": each.offset}, each) for each in records
                ]
                yield {place.partition: offset for place, offset in behind.items()}, items

    about = TopicSource(topic=topic, id=name, trimmed=args.trim)
    cut = (lambda to: admin.cut(topic, to)) if args.trim else None
    return OldLog(f"topic {topic}", about, batches, cut, lost)


# --- one import -----------------------------------------------------------------------------------------------------


def _journal(shared: AppContext, args: Args, source: OldLog, erased: tuple[int, str] | None) -> Journal:
    """What makes two imports the same: the source, how it is read, for whom, and with which list."""
    about = source.about
    which = about.sha256 if isinstance(about, FileSource) else f"{about.topic} {about.id}"
    plain = (args.columns, str(args.start)) if isinstance(about, FileSource) and about.format == "csv" else ()
    read = mapping_mark(args) if args.mapping else (*plain, *mapping_mark(args))
    told = [which, *read, shared.tenant, shared.settings.topic(Topic.LEGS), str(erased)]
    name = hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]
    return Journal(Path(shared.settings.state_dir) / "imports", name)


async def _imported(shared: AppContext, args: Args, source: OldLog, listed: frozenset[Lookup]) -> tuple[Manifest, Path]:
    mark = hashlib.sha256("".join(sorted(listed)).encode()).hexdigest()[:32]  # of lookups: keyed, so it names nobody
    erased = (len(listed), mark) if listed else None
    with _journal(shared, args, source, erased) as journal:
        if args.again:
            journal.forget()
        manifest = journal.load()
        if manifest is not None and manifest.finished_at is not None and isinstance(source.about, FileSource):
            say(f"{source.label}: taken in already at {manifest.finished_at:%Y-%m-%d %H:%M}Z; --again to repeat")
            return manifest, journal.manifest_path
        if manifest is not None:
            say(f"{source.label}: goes on after {manifest.events.read} events")
        began = shared.clock.now()
        new = Manifest(tenant=shared.tenant, source=source.about, erased=erased, began_at=began)
        manifest = msgspec.structs.replace(manifest or new, source=source.about, finished_at=None)
        manifest = await _taken(shared, source, journal, manifest, listed)
        return manifest, journal.manifest_path


async def _taken(
    shared: AppContext, source: OldLog, journal: Journal, manifest: Manifest, listed: frozenset[Lookup]
) -> Manifest:
    writer = shared.writer()
    await shared.look_back()
    ring = shared.ring(shared.tenant, cache_entries=_CACHED_PEOPLE)
    context = shared.context(ring, writer)
    steps, intake = CrashPoints(shared.settings.off), Intake(context, Sealer(context, returns=False), listed)
    await writer.start()
    began = told = cut = time.monotonic()
    before = manifest.events.read
    try:
        async with aclosing(source.batches(manifest.positions)) as batches:
            async for positions, items in batches:
                manifest = _with_lost(manifest, source)
                manifest = journal.add(manifest, await intake.batch(items, positions))
                steps.reached("import.saved")
                if time.monotonic() > told + _TELL_S:
                    told = time.monotonic()
                    say(f"{source.label}: {_rate(manifest, before, told - began)}")
                if source.cut is not None and time.monotonic() > cut + _CUT_S:
                    await asyncio.to_thread(source.cut, manifest.positions)
                    cut = time.monotonic()
        if source.cut is not None:
            await asyncio.to_thread(source.cut, manifest.positions)
    finally:
        await writer.stop()
    source.check()
    manifest = journal.finish(_with_lost(manifest, source), shared.clock.now())
    say(f"{source.label}: {_rate(manifest, before, time.monotonic() - began)}")
    return manifest


def _with_lost(manifest: Manifest, source: OldLog) -> Manifest:
    """What was cut off before it was read, counted once."""
    lost = (manifest.lost or 0) + source.lost.total()
    source.lost.clear()
    return msgspec.structs.replace(manifest, lost=lost or msgspec.UNSET)


def _rate(manifest: Manifest, before: int, seconds: float) -> str:
    events = manifest.events
    speed = (events.read - before) / max(seconds, 0.001)
    return f"{events.read} events, {manifest.legs.stored} legs stored, {events.refused} refused, {speed:.0f} events/s"


def _summary(manifest: Manifest, path: Path) -> str:
    events, legs = manifest.events, manifest.legs
    lines = [f"{name} {many}" for name, many in msgspec.to_builtins(events).items()]
    lines += [f"legs {name} {many}" for name, many in msgspec.to_builtins(legs).items() if many]
    lines += [f"skipped: {why} {many}" for why, many in sorted((manifest.skipped or {}).items())]
    lines += [f"mended: {why} {many}" for why, many in sorted((manifest.mended or {}).items())]
    lines += [f"lost {manifest.lost}"] if manifest.lost else []
    lines += [f"refused: {reason} {many}" for reason, many in sorted(manifest.refused.items())]
    return "\n".join([*lines, f"manifest {path}"])
