"""When the auditor certifies, and when it must not: on fakes, so that each circumstance can be made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from calllog_guard.adapters.kms_local import FileRing, LocalKms
from calllog_guard.adapters.memory import MemoryKeystore, MemoryWriter
from calllog_guard.adapters.segment_files import folders, look_at_replica
from calllog_guard.core.absence import Look
from calllog_guard.core.ids import Tenant
from calllog_guard.core.requests.decision import OUTCOMES, Decision, Outcome
from calllog_guard.core.wire import encode
from calllog_guard.settings import Settings
from calllog_guard.workers.auditor import Auditor
from calllog_guard.workers.keyring import Keyring
from calllog_guard.workers.vault import Vault
from calllog_guard.workers.walk import Walked

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
NAME, OTHER, CASE = "A" * 22, "B" * 21 + "A", "C" * 21 + "A"
LEG = NAME.encode() + b"." + OTHER.encode()
LEDGER = NAME.encode() + b"." + CASE.encode()
COMMON: dict[str, Any] = {"tenant": "iocom", "case": CASE, "decision": CASE, "at": NOW}
DECISION = Decision(type="erase", pseudonym=NAME, entry="", epoch="2026-W48", cut_off=NOW, pol="2026-11-01", **COMMON)
DONE = Outcome(stage="tombstoned", partition=0, legs=1, barrier=1, up_to=2, by="keeper", **COMMON)


@dataclass
class Record:
    """What the client library hands out."""

    key: bytes
    value: bytes | None
    partition: int = 0
    offset: int = 0


@dataclass
class Finding:
    """See ports."""

    setting: str
    good: bool


@dataclass
class Log:
    """The log as the auditor sees it, and the port of its administration."""

    legs: list[Record] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    in_sync: int = 3
    open: list[int] = field(default_factory=list)

    def now(self) -> datetime:
        """See Clock: ten minutes after the tombstones."""
        return NOW + timedelta(minutes=10)

    def check(self, keep_days: int) -> Sequence[Finding]:
        """See Topics."""
        assert keep_days == 90
        return self.findings

    def replicas(self, topic: str) -> dict[int, tuple[int, int]]:
        """See Topics."""
        assert topic == "calllog.legs"
        return {0: (3, self.in_sync)}

    def trim(self, topic: str, partitions: Sequence[int], groups: Sequence[str], before_ms: int) -> dict[int, int]:
        """See Topics."""
        raise NotImplementedError

    def blocked(self, topic: str, partitions: Sequence[int]) -> list[int]:
        """See Topics."""
        assert topic
        return [each for each in self.open if each in partitions]

    async def all(self, _: str, __: Sequence[int]) -> list[Any]:
        """The ledger: an erasure that the keeper has done."""
        return [Record(LEDGER, encode(DECISION)), Record(LEDGER + b".done", encode(DONE), offset=1)]

    async def each(self, _: str, __: Sequence[int], visit: Callable[[Any], None]) -> dict[int, tuple[int, int]]:
        """The legs."""
        for record in self.legs:
            visit(record)
        return {0: (0, 9)}

    async def starts(self, _: str, __: Sequence[int]) -> dict[int, int]:
        """First offsets."""
        return {0: 0}


async def audited(log: Log, tmp_path: Path, disks: Sequence[Look] = ()) -> tuple[list[str], dict[str, float]]:
    """The stages that one look and one watch report, and the levels shown."""
    settings, keystore, writer = Settings(partitions=1), MemoryKeystore(), MemoryWriter()
    vault = Vault(LocalKms(tmp_path), FileRing(tmp_path))
    ring = Keyring(Tenant("iocom"), keystore, vault, log, cache_s=60, cache_entries=10, partitions=1)
    levels: dict[str, float] = {}

    async def walked() -> Walked:
        return Walked()

    auditor = Auditor(
        Tenant("iocom"),
        0,
        ["calllog.events"],
        lambda: 90,
        ring,
        keystore,
        log,
        writer,
        settings,
        log,
        log.all,
        log.each,
        log.starts,
        lambda *_: list(disks),
        walked,
        lambda *_: None,
        levels.__setitem__,
    )
    await auditor.assigned([0])
    await auditor._watch()
    await auditor._observe()
    told = [OUTCOMES.decode(output.value or b"") for output in writer.outputs if output.topic == "privacy.outcomes"]
    assert all(each.stage == "rewritten" or each.observed for each in told)
    return [each.stage for each in told], levels


async def test_nothing_left_is_absent_and_gone(tmp_path: Path) -> None:
    assert (await audited(Log(), tmp_path))[0] == ["rewritten", "absent", "gone"]


async def test_a_tombstone_left_is_absent_only(tmp_path: Path) -> None:
    assert (await audited(Log([Record(LEG, None)]), tmp_path))[0] == ["rewritten", "absent"]


async def test_a_value_left_is_an_alarm_and_no_certificate(tmp_path: Path) -> None:
    stages, levels = await audited(Log([Record(LEG, b"sealed"), Record(LEG, None)]), tmp_path)
    assert stages == ["rewritten"]
    assert levels["erase_unobserved_oldest_s"] == 600
    assert levels["objective_missed"] == 0


async def test_a_value_left_on_one_disk_alone_is_no_certificate(tmp_path: Path) -> None:
    disk = Look.for_([NAME])
    disk.record(LEG, b"sealed")
    assert (await audited(Log(), tmp_path, [Look.for_([NAME]), disk]))[0] == ["rewritten"]


@pytest.mark.parametrize(
    "log",
    [Log(in_sync=2), Log(open=[0]), Log(findings=[Finding("cleanup.policy", good=False)])],
    ids=["a replica out of sync", "an open transaction", "a drifted setting"],
)
async def test_nothing_is_certified_while_something_is_wrong(log: Log, tmp_path: Path) -> None:
    assert (await audited(log, tmp_path))[0] == ["rewritten"]


def test_bytes_betray_a_leg_in_any_file_whatever_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "calllog.legs-0"
    folder.mkdir()
    header = msgspec.json.encode({"alg": "dir", "kid": NAME})
    import base64  # noqa: PLC0415

    (folder / "00000.log.deleted").write_bytes(b"torn" + base64.urlsafe_b64encode(header) + b"..")
    (tmp_path / "calllog.legs-0.f00-delete").mkdir()
    (tmp_path / "calllog.legs-0.f00-delete" / "00000.log").write_bytes(NAME.encode())
    ((live, left),) = folders([tmp_path], "calllog.legs", 0)
    seen = look_at_replica([live, left], [NAME.encode(), OTHER.encode()]).seen
    assert (seen[NAME.encode()].values, seen[NAME.encode()].keys) == (1, 1)
    assert (seen[OTHER.encode()].values, seen[OTHER.encode()].keys) == (0, 0)
