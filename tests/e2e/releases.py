"""
Fixtures of releases: what an installation of a release left on its servers and disks, frozen, and put on a stack again.

A fixture is a folder of `tests/vectors/releases/`: `release.json` (what is in it, and what its own readers said),
`topics.jsonl.xz` (records with offset, time, headers), `keystore.jsonl.xz` (entries), `files.tar.xz` (policy, keys,
KMS, state folders), and the release itself as a wheel. `make fixture` makes one; nobody changes one.
"""

import asyncio
import io
import json
import lzma
import tarfile
import time
import zipfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from installation import Installation
from kafka.admin import ConfigResource, ConfigResourceType
from redis import Redis

from calllog_guard.adapters.kafka.log import KafkaLog
from calllog_guard.devstack.kafka_admin import administration
from calllog_guard.devstack.supervisor import Stack

FOLDER = Path(__file__).parents[1] / "vectors" / "releases"
GROUPS = ("protector", "desk", "keeper", "auditor")
PATIENCE_S = 600
PLACE = "{place}"
"""Stands for the installation's folder in the settings of a fixture."""
_BEAT = b"~beat"
_MANIFEST, _TOPICS, _KEYSTORE, _FILES = "release.json", "topics.jsonl.xz", "keystore.jsonl.xz", "files.tar.xz"
_SERVERS = ("KAFKA", "KEYSTORE", "HTTP", "LOG_DIRS", "CLEANER_PAGES")
"""Settings that belong to the stack and not to the installation."""


class Frozen(NamedTuple):
    """One record of a fixture."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else b64encode(raw).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)


def releases() -> list[str]:
    """The releases of which there is a fixture."""
    return sorted(path.name for path in FOLDER.iterdir() if (path / _MANIFEST).is_file())


class Fixture:
    """What is frozen of one release; nothing of it is written to."""

    def __init__(self, release: str) -> None:
        self.folder = FOLDER / release
        self.manifest: dict[str, Any] = json.loads((self.folder / _MANIFEST).read_text())

    def records(self) -> list[Frozen]:
        """Every record of every topic, in the order of each partition."""
        rows = map(json.loads, lzma.decompress((self.folder / _TOPICS).read_bytes()).splitlines())
        return [
            Frozen(
                topic,
                partition,
                offset,
                at_ms,
                _bytes(key),
                _bytes(value),
                tuple((k, b64decode(v)) for k, v in headers),
            )
            for topic, partition, offset, at_ms, key, value, headers in rows
        ]

    def entries(self) -> dict[bytes, bytes]:
        """The keystore."""
        rows = map(json.loads, lzma.decompress((self.folder / _KEYSTORE).read_bytes()).splitlines())
        return {b64decode(key): b64decode(value) for key, value in rows}

    def unpack(self, directory: Path) -> None:
        """Policy, keys, KMS and state folders."""
        with tarfile.open(fileobj=io.BytesIO((self.folder / _FILES).read_bytes()), mode="r:xz") as files:
            files.extractall(directory, filter="data")

    def program(self, directory: Path) -> Path:
        """The release's own package, for processes of it."""
        (wheel,) = self.folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(directory)  # noqa: S202 - frozen beside this file
        return directory

    def settings(self, directory: Path) -> dict[str, str]:
        """Its settings, with this folder; without those of the servers."""
        return {name: text.replace(PLACE, str(directory)) for name, text in self.manifest["settings"].items()}

    @property
    def forms(self) -> int:
        """The level of stored forms that it writes; the fixture of 0.1.0 does not say it."""
        return int(self.manifest.get("forms", 1))

    def topic(self, name: str) -> str:
        """The full name of `calllog.legs` and its like."""
        family, _, rest = name.partition(".")
        return str(self.manifest["settings"][f"CALLLOG_GUARD_{family.upper()}_PREFIX"]) + rest


def forms(guard: Installation) -> int:
    """The level of stored forms that an installation writes, as this release reads it."""
    guard.release, release = None, guard.release
    (tenant,) = json.loads(guard.cli("tenant", "list", "--json"))
    guard.release = release
    return int(tenant["forms"])


def freeze(guard: Installation, release: str, wheel: Path, told: Mapping[str, Any]) -> Path:
    """Write the fixture of an installation whose workers have ended."""
    folder = FOLDER / release
    folder.mkdir(parents=True)  # one that is there stays as it is
    topics = _topics_of(guard)
    partitions = [TopicPartition(name, number) for name, count in topics.items() for number in range(count)]
    (folder / _TOPICS).write_bytes(_packed(_rows(guard, topics)))
    with Redis.from_url(guard.environment["CALLLOG_GUARD_KEYSTORE"]) as redis:
        keys = sorted(redis.scan_iter())
        entries = zip(keys, redis.mget(keys), strict=True)
        (folder / _KEYSTORE).write_bytes(_packed([_text(key), _text(value)] for key, value in entries))
    with lzma.open(folder / _FILES, "wb") as out, tarfile.open(fileobj=out, mode="w|") as files:
        for path in sorted(guard.directory.rglob("*")):
            if path.is_file() and path.suffix not in {".log", ".env"} and not path.name.startswith("LOG"):
                files.add(path, path.relative_to(guard.directory).as_posix(), filter=_plain)
    settings = {
        name: text.replace(str(guard.directory), PLACE)
        for name, text in guard.environment.items()
        if name.startswith("CALLLOG_GUARD_") and name.removeprefix("CALLLOG_GUARD_") not in _SERVERS
    }
    starts, committed = asyncio.run(_offsets(guard, partitions))
    manifest = {
        "release": release,
        "forms": forms(guard),
        "frozen_ms": int(time.time() * 1000),  # noqa: TID251 - a fixture is made on the real clock
        "settings": settings,
        "topics": topics,
        "starts": starts,
        "committed": committed,
        "told": dict(told),
    }
    (folder / wheel.name).write_bytes(wheel.read_bytes())
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    return folder


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _packed(rows: Iterable[Any]) -> bytes:
    lines = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
    return lzma.compress(lines.encode(), preset=9 | lzma.PRESET_EXTREME)


def _topics_of(guard: Installation) -> dict[str, int]:
    """The installation's topics with their partition counts."""
    admin: Any = administration(guard.stack.kafka)
    try:
        own = [name for name in admin.list_topics() if name.startswith((f"c{guard.name}.", f"p{guard.name}."))]
        return {each["name"]: len(each["partitions"]) for each in admin.describe_topics(sorted(own))}
    finally:
        admin.close()


def _rows(guard: Installation, topics: Mapping[str, int]) -> list[list[Any]]:
    rows = []
    for topic, count in topics.items():
        for record in asyncio.run(KafkaLog(guard.stack.kafka, {}).read_all(topic, list(range(count)))):
            headers = [[name, _text(value)] for name, value in record.headers]
            place = [topic, record.partition, record.offset, record.timestamp]
            rows.append([*place, _text(record.key), _text(record.value), headers])
    return rows


async def _offsets(
    guard: Installation, places: list[TopicPartition]
) -> tuple[dict[str, list[int]], dict[str, list[list[Any]]]]:
    """Where each partition begins and ends, and what each group has committed."""
    found: dict[str, list[int]] = {}
    committed: dict[str, list[list[Any]]] = {}
    for group in (f"c{guard.name}.guard-{name}" for name in GROUPS):
        reader = AIOKafkaConsumer(bootstrap_servers=guard.stack.kafka, group_id=group, enable_auto_commit=False)
        await reader.start()
        try:
            starts, ends = await reader.beginning_offsets(places), await reader.end_offsets(places)
            found = {f"{place.topic}/{place.partition}": [starts[place], ends[place]] for place in places}
            offsets = [(place, await reader.committed(place)) for place in places]
        finally:
            await reader.stop()
        committed[group] = [[place.topic, place.partition, at] for place, at in offsets if at is not None]
    return found, committed


class Patient(Installation):
    """One that waits longer: a 0.1.0 worker thrown out of its group by a busy machine takes minutes to return."""

    def settled(
        self, condition: Callable[[], bool], what: str | Callable[[], str], seconds: float = PATIENCE_S
    ) -> None:
        """As in every test."""
        super().settled(condition, what, seconds)


# --- put on a stack again -------------------------------------------------------------------------------------------


def _at(lane: Sequence[Frozen]) -> list[Any]:
    """Topic and partition of a lane."""
    return [lane[0].topic, lane[0].partition] if lane else []


class Thawed(Patient):
    """The installation of a fixture on another stack: same topics, offsets, entries; times moved by its age."""

    def __init__(self, stack: Stack, directory: Path, fixture: Fixture, **settings: str) -> None:
        directory.mkdir(parents=True)
        self.stack, self.directory, self.release, self.fixture = stack, directory, None, fixture
        prefix: str = fixture.manifest["settings"]["CALLLOG_GUARD_CALLLOG_PREFIX"]
        self.name = prefix.removeprefix("c").removesuffix(".")
        fixture.unpack(directory)
        own = fixture.settings(directory) | {f"CALLLOG_GUARD_{name}": value for name, value in settings.items()}
        self.environment = stack.environment | {"CALLLOG_GUARD_KEYSTORE": self._database()} | own
        self.workers, self.log = [], directory / "workers.log"
        self.partitions = int(own["CALLLOG_GUARD_PARTITIONS"])
        with Redis.from_url(self.environment["CALLLOG_GUARD_KEYSTORE"]) as redis:
            redis.mset(fixture.entries())
        self.cli("topics", "create")
        self._stamped("CreateTime")
        asyncio.run(self._load())
        self._cut()
        self._stamped("LogAppendTime")
        asyncio.run(self._arrive())

    def _stamped(self, how: str) -> None:
        """Whose time a record bears: the fixture's while it is put back, the broker's ever after."""
        kind = ConfigResourceType.TOPIC
        names = self.fixture.manifest["topics"]
        admin: Any = administration(self.stack.kafka)
        try:
            admin.alter_configs([ConfigResource(kind, name, {"message.timestamp.type": how}) for name in names])
        finally:
            admin.close()

    async def _load(self) -> None:
        records = self.fixture.records()
        lanes: dict[tuple[str, int], list[Frozen]] = {}
        for record in records:
            lanes.setdefault((record.topic, record.partition), []).append(record)
        age_ms = int(time.time() * 1000) - self.fixture.manifest["frozen_ms"]  # noqa: TID251 - the servers' clock
        producer = AIOKafkaProducer(bootstrap_servers=self.stack.kafka, acks="all", enable_idempotence=True)
        await producer.start()
        try:
            for place, (_, end) in self.fixture.manifest["starts"].items():
                topic, _, number = place.rpartition("/")
                # a version of the policy that was signed in time must not look as if it came late
                moved_ms = 0 if topic == self.fixture.topic("privacy.policy") else age_ms
                lane = whole(topic, int(number), lanes.get((topic, int(number)), []), end)
                for each in lane[: len(lane) - len(self._unread(lane))]:
                    await producer.send(
                        topic, each.value, each.key, int(number), each.at_ms + moved_ms, headers=list(each.headers)
                    )
            await producer.flush()
        finally:
            await producer.stop()
        for group, offsets in self.fixture.manifest["committed"].items():
            reader = AIOKafkaConsumer(bootstrap_servers=self.stack.kafka, group_id=group, enable_auto_commit=False)
            await reader.start()
            try:
                reader.assign([TopicPartition(topic, number) for topic, number, _ in offsets])
                await reader.commit({TopicPartition(topic, number): at for topic, number, at in offsets})
            finally:
                await reader.stop()

    def _unread(self, lane: Sequence[Frozen]) -> list[Frozen]:
        """The unread events and requests at a lane's end: they come when the topic takes the broker's time again."""
        topics = {self.fixture.topic("privacy.requests"), f"c{self.name}.events"}
        read = [at for each in self.fixture.manifest["committed"].values() for *place, at in each if place == _at(lane)]
        return [each for each in lane if each.topic in topics and each.offset >= max(read, default=0)]

    async def _arrive(self) -> None:
        """What was pending comes now."""
        lanes: dict[tuple[str, int], list[Frozen]] = {}
        for record in self.fixture.records():
            lanes.setdefault((record.topic, record.partition), []).append(record)
        producer = AIOKafkaProducer(bootstrap_servers=self.stack.kafka, acks="all", enable_idempotence=True)
        await producer.start()
        try:
            for lane in lanes.values():
                for each in self._unread(lane):
                    headers = list(each.headers)
                    await producer.send(each.topic, each.value, each.key, each.partition, headers=headers)
            await producer.flush()
        finally:
            await producer.stop()

    def _cut(self) -> None:
        """What was trimmed away there is not here either."""
        from kafka import TopicPartition as Place  # noqa: PLC0415 - the library warns when it is imported

        starts = self.fixture.manifest["starts"].items()
        cuts = {place.rpartition("/")[::2]: start for place, (start, _) in starts if start}
        admin: Any = administration(self.stack.kafka)
        try:
            if cuts:
                admin.delete_records({Place(topic, int(number)): start for (topic, number), start in cuts.items()})
        finally:
            admin.close()


def whole(topic: str, partition: int, lane: list[Frozen], end: int) -> list[Frozen]:
    """A lane without holes: where compaction or a trim took records, heartbeats or the next record stand."""
    beat = next((each for each in lane if each.key == _BEAT and each.value), None)
    whole: list[Frozen] = []
    for record in lane:
        whole += [beat or record] * (record.offset - len(whole))
        whole.append(record)
    filler = beat or (whole[-1] if whole else Frozen(topic, partition, 0, 0, b"~", b"~", ()))
    return whole + [filler] * (end - len(whole))
