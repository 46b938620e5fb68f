"""An old log is taken in by the protector's rules, brings nobody back, and a killed import goes on where it was."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from contexts import context
from installation import event, raw
from test_rotation import Hand

from calllog_guard.adapters.disk.import_journal import Journal
from calllog_guard.adapters.disk.lines import ndjson_lines
from calllog_guard.adapters.disk.old_logs import LogFile, csv_rows, digest, events_of
from calllog_guard.adapters.disk.policy_file import key_files
from calllog_guard.adapters.kms.local import FileRing, LocalKms
from calllog_guard.adapters.mappings.files import mapping
from calllog_guard.adapters.memory.fakes import MemoryKeystore, MemoryWriter
from calllog_guard.core.calls.csv_rows import columns_of
from calllog_guard.core.calls.import_journal import (
    Batch,
    Events,
    FileSource,
    Legs,
    Manifest,
    Refused,
    Skipped,
    advanced,
)
from calllog_guard.core.codec import encode, to_ms
from calllog_guard.core.crypto.entries import EPOCH_KEY, GUARD_KEY
from calllog_guard.core.crypto.jose import receipt_pem
from calllog_guard.core.crypto.leg_envelope import parse_header
from calllog_guard.core.crypto.subject_secrets import month_from
from calllog_guard.core.identifiers import Lookup, SubjectId, Tenant
from calllog_guard.core.policy.active import Policy
from calllog_guard.core.policy.form import PurposeTable, TenantPolicy, Version, When
from calllog_guard.core.records import Output
from calllog_guard.core.sources.inputs import dialect_of
from calllog_guard.core.stream.replay import first_appended_ms, replay_header
from calllog_guard.errors import (
    ConfigurationError,
    MessageError,
    StateRefusedError,
    UnacknowledgedError,
    UnitOverdueError,
)
from calllog_guard.metrics import Counters
from calllog_guard.settings import Settings
from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.keys.key_cache import CacheLimits
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.restore_guard import guard_entry
from calllog_guard.workers.keys.rotation import epoch_of
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault
from calllog_guard.workers.protector.importer import Intake, Item
from calllog_guard.workers.protector.leg_writer import Sealer
from calllog_guard.workers.runtime.dead_letters import DeadLetters, OperatorKey

TENANT = Tenant("iocom")
NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
POLICY = Policy(
    (
        Version(
            effective=date(2026, 1, 1),
            change="First.",
            tenant={
                "iocom": TenantPolicy(
                    regime="uk",
                    events=("calllog.events",),
                    lowercase_email=True,
                    purposes={
                        "service": PurposeTable(number=1, basis="contract", keep="P90D"),
                        "billing": PurposeTable(number=2, basis="legal_duty", keep="P2Y", when=When(roles=("host",))),
                    },
                )
            },
        ),
    ),
    key_files(Path()),
)


class Installed:
    """What an import needs, in memory."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.keystore, self.writer = Hand(), MemoryKeystore(), MemoryWriter()
        self.clock.at = NOW
        self.vault = Vault(LocalKms(folder), FileRing(folder))
        self.vault.create_tenant(TENANT)
        self.vault.create_epoch(epoch_of(NOW))
        self.keystore.entries |= {GUARD_KEY: guard_entry(self.vault.guard_id()), EPOCH_KEY: epoch_of(NOW).encode()}
        self.ring = Keyring(TENANT, self.keystore, self.vault, self.clock, CacheLimits(60, 9), 2)
        self.settings = Settings(partitions=2)

    def lookup(self, name: str) -> Lookup:
        """A person's key in the keystore."""
        return self.vault.pepper(TENANT).lookup(TENANT, SubjectId(name))

    def context(self) -> WorkerContext:
        """What an import works with."""
        dead = DeadLetters("calllog.dead", OperatorKey(receipt_pem(bytes(32))[1]), self.clock, 1)
        own = {"settings": self.settings, "clock": self.clock, "policy": POLICY, "writer": self.writer, "dead": dead}
        return context(WorkerContext, ring=self.ring, **own)

    def sealer(self, *, returns: bool) -> Sealer:
        """What seals."""
        return Sealer(self.context(), returns=returns)

    async def taken(self, *events: bytes | MessageError | Skipped, listed: tuple[str, ...] = ()) -> Batch:
        """Take events in as a file's lines."""
        intake = Intake(self.context(), self.sealer(returns=False), frozenset(map(self.lookup, listed)))
        items = [Item(value, {"line": line}) for line, value in enumerate(events, 1)]
        return await intake.batch(items, {0: len(items)})

    @property
    def stored(self) -> dict[bytes, bytes]:
        """The legs so far."""
        return {each.key: each.value for each in self.writer.outputs if each.key and each.value}


@pytest.fixture
async def world(tmp_path: Path) -> Installed:
    """See Installed."""
    made = Installed(tmp_path)
    await made.ring.guard.open_at_once(2)
    return made


def call(number: int, *parties: str, days: float, **more: Any) -> bytes:
    """A call of so many days ago."""
    start = NOW - timedelta(days=days)
    times = {"started_at": start.isoformat(), "ended_at": (start + timedelta(minutes=1)).isoformat()}
    return raw(event(f"c{number}", *parties, **{**times, **more}))


async def test_old_calls_are_stored_for_the_purposes_that_still_reach_them_and_lapsed_ones_never(
    world: Installed,
) -> None:
    batch = await world.taken(
        call(1, "a", "b", days=10),
        call(2, "a", "b", days=400),
        call(3, "a", "b", days=1000),
        b"{",
        MessageError("too_large"),
        call(4, "a", days=1, shoe="9"),
        call(5, "c", "a", days=-1),
    )
    assert batch.events == Events(read=7, accepted=2, born_expired=1, refused=4)
    assert batch.legs == Legs(stored=3, born_expired=3), (
        "of the old call only the host's billing; of the oldest nothing"
    )
    assert [(each.line, each.reason) for each in batch.refused] == [
        (4, "not_json"),
        (5, "too_large"),
        (6, "unknown_field"),
        (7, "in_future"),
    ]
    assert sorted(parse_header(leg).pur for leg in world.stored.values()) == [1, 2, 3]


async def test_the_same_again_writes_the_same_keys(world: Installed) -> None:
    calls = [call(number, "a", "b", days=number) for number in range(1, 9)]
    await world.taken(*calls)
    before = set(world.stored)
    await world.taken(*calls)
    assert set(world.stored) == before
    assert len(before) == 16


class Batched(MemoryWriter):
    """A log that remembers how much was written at once; `silent` makes it acknowledge nothing."""

    def __init__(self, *, silent: bool = False) -> None:
        super().__init__()
        self.silent, self.sizes = silent, list[int]()

    async def write(self, outputs: Sequence[Output]) -> None:
        """See Writer."""
        if self.silent:
            raise UnacknowledgedError("silent")
        self.sizes.append(len(outputs))
        await super().write(outputs)


async def test_a_batch_of_many_parties_is_taken_in_portions_and_counted_whole(world: Installed) -> None:
    """A thousand calls of a thousand parties each are a gigabyte, and longer on their way than a unit may be."""
    world.settings, world.writer = Settings(partitions=2, unit_parties=4), (log := Batched())
    found = await world.taken(*(call(number, f"a{number}", f"b{number}", "c", days=1) for number in range(5)))
    assert (found.legs.stored, found.events.accepted) == (15, 5)
    assert log.sizes == [6, 6, 3]


async def test_what_was_sent_and_not_acknowledged_ends_the_import_in_time(world: Installed) -> None:
    """As a worker's unit: all attempts together."""
    world.settings, world.writer = Settings(partitions=2, unit_max_s=0.2, retry_max_s=600), Batched(silent=True)
    with pytest.raises(UnitOverdueError):
        await world.taken(call(1, "a", days=1))


async def test_nobody_who_is_gone_comes_back_by_an_old_log(world: Installed) -> None:
    """The fence is the keystore's; where it has lapsed the company's own list stands in for it."""
    await world.taken(call(1, "gone", "b", days=60))
    before = len(world.stored)
    await world.ring.fence(world.lookup("gone"), to_ms(NOW - timedelta(days=30)))
    entries = dict(world.keystore.entries)
    batch = await world.taken(
        call(2, "gone", days=50),
        call(3, "gone", days=1),
        call(4, "Long-Ago@x.org", "b", days=5),
        listed=("long-ago@x.org",),
    )
    assert batch.legs == Legs(stored=1, erased=2, listed=1)
    assert len(world.stored) == before + 1
    assert world.keystore.entries == entries, "no fence has moved, nobody was minted"


async def test_who_returned_keeps_what_is_dated_after_the_fence(world: Installed) -> None:
    lookup = world.lookup("a")
    await world.ring.fence(lookup, to_ms(NOW - timedelta(days=30)))
    view = await world.ring.view([lookup])
    gone = world.ring.person(lookup, view.raw[lookup])
    assert await world.ring.mint({lookup: gone}, view, month_from("2026-01"), month_from("2026-11"))
    batch = await world.taken(call(1, "a", days=31), call(2, "a", days=29))
    assert batch.legs == Legs(stored=1, erased=1)


async def test_who_has_no_key_for_a_month_is_counted_and_nothing_is_written(world: Installed) -> None:
    lookup = world.lookup("a")
    view = await world.ring.view([lookup])
    assert await world.ring.mint({lookup: None}, view, month_from("2026-10"), month_from("2026-11"))
    batch = await world.taken(call(1, "a", days=80), call(2, "a", days=1))
    assert batch.legs == Legs(stored=1, no_key=1)


async def test_a_replay_is_judged_by_its_first_day(world: Installed) -> None:
    """Dated after the erasure by mistake, appended before it: without its first day the replay would undo it."""
    sealer = world.sealer(returns=True)
    letter_ms = to_ms(NOW - timedelta(days=31))
    await world.ring.fence(world.lookup("a"), to_ms(NOW - timedelta(days=30)))
    from calllog_guard.core.calls.event import EVENTS, CheckedEvent  # noqa: PLC0415

    event = EVENTS.decode(call(1, "a", days=29))
    wrong = CheckedEvent(event, to_ms(event.started_at), [SubjectId("a")])
    first = first_appended_ms(to_ms(NOW), (replay_header(0, 7, letter_ms),))
    rules = sealer.rules()
    ended = (await sealer.settle(sealer.parts(wrong, first, rules), (), rules)).ended
    assert +ended == {Counters.events_suppressed["erased"]: 1}
    assert not world.stored
    assert first_appended_ms(5, (("clg-replay", b"nonsense"),)) == 0, "what is none of ours is older than every fence"
    assert first_appended_ms(5, (replay_header(0, 7, 9),)) == 5, "the header never makes a record younger"


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_line_without_end_is_refused_and_the_next_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.ndjson"
    path.write_bytes(b'{"a":1}\n\n' + b"x" * 3_000_000 + b"\n" + b"y" * 100 + b"\nlast")
    found = list(ndjson_lines(path, 100, 0))
    assert [(number, line) for number, line, _ in found] == [(1, 1), (3, 3), (4, 4), (5, 5)]
    assert [value if isinstance(value, bytes) else value.reason for _, _, value in found] == [
        b'{"a":1}',
        "too_large",
        b"y" * 100,
        b"last",
    ]
    assert [number for number, _, _ in ndjson_lines(path, 100, 3)] == [4, 5]
    assert digest(path)[1] == path.stat().st_size


def test_rows_become_events_and_bad_ones_are_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "old.csv"
    path.write_text(
        "at,who,whom,s\n0,a,b,60\n2026-11-01T10:00:00Z,a,b,-1\n2026-11-01T10:00:00,a,b,5\n9,a,,5\n9,a,b,x\n"
    )
    columns = columns_of("start=at,caller=who,callee=whom,duration=s")
    rows = list(csv_rows(LogFile(path, 1 << 20, columns, "iocom", "d1", date(2026, 11, 1), 0)))
    assert [value.reason for _, _, value in rows if isinstance(value, MessageError)] == [
        "bad_row",
        "missing_field",
        "bad_row",
    ]
    good = [json.loads(value) for _, _, value in rows if isinstance(value, bytes)]
    assert [(each["call_id"], each["started_at"][:16], each["outcome"]) for each in good] == [
        ("d1-1", "2026-11-01T00:00", "answered"),
        ("d1-2", "2026-11-01T10:00", "missed"),
    ]
    assert [
        number for number, _, _ in csv_rows(LogFile(path, 1 << 20, columns, "iocom", "d1", date(2026, 11, 1), 4))
    ] == [5]
    with pytest.raises(ConfigurationError, match="--start"):
        list(csv_rows(LogFile(path, 1 << 20, columns, "iocom", "d1", None, 0)))
    with pytest.raises(ConfigurationError, match="no column who2"):
        list(csv_rows(LogFile(path, 1 << 20, columns | {"caller": "who2"}, "iocom", "d1", None, 0)))


COLUMNS = columns_of("start=at,caller=who,callee=whom,duration=s")
TABLE = columns_of("start=timestamp,caller=caller,callee=callee,duration=duration")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_spreadsheets_csv_is_read_as_it_is(tmp_path: Path, delimiter: str, encoding: str, end: str) -> None:
    """As its country writes it: nobody should have to convert a log of calls by hand."""
    lines = ["timestamp,caller,callee,duration", "2026-11-26T09:00:00Z,semi1@example.org,semi2@example.org,120"]
    text = end.join([each.replace(",", delimiter) for each in lines]) + end
    path = tmp_path / "calls.csv"
    path.write_bytes(b"\xff\xfe" + text.encode("utf-16-le") if encoding == "utf-16-le-bom" else text.encode(encoding))
    ((_, line, found),) = events_of(LogFile(path, 1 << 20, TABLE, "iocom", "", None))
    assert isinstance(found, bytes)
    assert line == 2
    assert [each["id"] for each in json.loads(found)["parties"]] == ["semi1@example.org", "semi2@example.org"]


def test_csv_of_any_other_dialect_is_said_by_words_and_numbers(tmp_path: Path) -> None:
    """No header, another quote and encoding: columns are known by their numbers."""
    path = tmp_path / "calls.csv"
    path.write_bytes("# exported\n60:'2026-11-26T09:00:00Z':'jos\u00e9@example.org':b@example.org\n".encode("cp1252"))
    words = {"delimiter": ":", "quote": "'", "header": "false", "encoding": "cp1252", "skip_lines": "1"}
    columns = columns_of("duration=1,start=2,caller=3,callee=4")
    file = LogFile(path, 1 << 20, columns, "iocom", "", None, dialect=dialect_of(words))
    ((_, line, found),) = events_of(file)
    assert isinstance(found, bytes)
    assert line == 2
    assert [each["id"] for each in json.loads(found)["parties"]] == ["jos\u00e9@example.org", "b@example.org"]


@pytest.mark.parametrize(
    "columns", ["start=1,caller=2,callee=3,duration=4", "start=1,caller=caller,callee=3,duration=s"]
)
def test_a_column_may_be_named_by_its_number_beside_a_header(tmp_path: Path, columns: str) -> None:
    path = tmp_path / "calls.csv"
    path.write_text("when;caller;when;s\n2026-11-26T09:00:00Z;a@x.org;b@x.org;60\n")
    ((_, _, found),) = events_of(LogFile(path, 1 << 20, columns_of(columns), "iocom", "", None))
    assert isinstance(found, bytes)
    assert [each["id"] for each in json.loads(found)["parties"]] == ["a@x.org", "b@x.org"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"delimeter": ";"}, "knows no delimeter"),
        ({"header": "perhaps"}, "header"),
        ({"quote": "''"}, "one character"),
        ({"encoding": "klingon"}, "no encoding"),
        ({"encoding": "utf-16"}, "no CSV in utf-16"),
        ({"delimiter": "::"}, "one character"),
        ({"delimiter": "#"}, "--columns"),
    ],
)
def test_a_dialect_that_is_none_is_told(tmp_path: Path, words: dict[str, str], says: str) -> None:
    path = tmp_path / "calls.csv"
    path.write_bytes(b"timestamp,caller,callee,duration\n2026-11-26T09:00:00Z,a,b,1\nxyz")
    with pytest.raises(ConfigurationError, match=says):
        list(events_of(LogFile(path, 1 << 20, TABLE, "iocom", "", None, dialect=dialect_of(words))))


def test_a_dialect_goes_with_csv_alone(tmp_path: Path) -> None:
    path = tmp_path / "calls.ndjson"
    path.write_bytes(b"{}\n")
    with pytest.raises(ConfigurationError, match="CSV"):
        list(events_of(LogFile(path, 1 << 20, TABLE, "iocom", "", None, dialect=dialect_of({"delimiter": ";"}))))
    with pytest.raises(ConfigurationError, match="CSV"):
        mapping("daily", {}, {"delimiter": ";"})


async def test_what_a_mapping_skips_is_counted_by_its_words_and_is_no_event(world: Installed) -> None:
    intake = Intake(world.context(), world.sealer(returns=False), frozenset())
    values: list[Any] = [call(1, "a", days=1), Skipped("a recorder"), Skipped("a room"), Skipped("a recorder")]
    batch = await intake.batch([Item(value, {"line": line}) for line, value in enumerate(values, 1)], {0: 4})
    assert batch.events == Events(read=1, accepted=1)
    manifest = advanced(advanced(EMPTY, batch, 0), batch, 0)
    assert manifest.skipped == {"a recorder": 4, "a room": 2}
    assert manifest.events.read == 2


async def test_a_mended_time_is_counted_by_its_reason(world: Installed) -> None:
    """As the protector counts them: who compares clocks learns of it from the manifest."""
    early = (NOW - timedelta(days=1, seconds=1)).isoformat()
    batch = await world.taken(call(1, "a", days=1, ended_at=early), call(2, "a", days=1))
    assert batch.events == Events(read=2, accepted=2)
    manifest = advanced(advanced(EMPTY, batch, 0), batch, 0)
    assert manifest.mended == {"skew": 2}
    assert advanced(EMPTY, await world.taken(call(3, "a", days=1)), 0).mended is msgspec.UNSET


HEAD, GOOD = "at,who,whom,s,note\n", "9,a,b,60,"


def told(path: Path, *lines: str) -> list[tuple[int, str]]:
    """What is told of each line of a file with these rows: `event`, or why it is refused."""
    path.write_text(HEAD + "".join(line + "\n" for line in lines))
    rows = csv_rows(LogFile(path, 1 << 20, COLUMNS, "iocom", "d1", date(2026, 11, 1), 0))
    return [(line, value.reason if isinstance(value, MessageError) else "event") for _, line, value in rows]


def test_a_quote_that_never_ends_swallows_no_line_in_silence(tmp_path: Path) -> None:
    """Every line of the rest is in a count, so that nobody takes the import for whole."""
    found = told(tmp_path / "old.csv", GOOD, GOOD + '"said hi', *[GOOD] * 7)
    assert found == [(2, "event"), *((line, "bad_row") for line in range(3, 11))]


def test_a_quote_that_ends_amiss_takes_its_own_line_along_and_no_other(tmp_path: Path) -> None:
    found = told(tmp_path / "old.csv", GOOD, GOOD + '"said" hi', GOOD, "", GOOD + '"two\nlines"')
    assert found == [(2, "event"), (3, "bad_row"), (4, "event"), (7, "event")]


@pytest.mark.parametrize("bad", [GOOD + ",x", GOOD + "\0", "9,a\0,b,60,", GOOD + "x" * 200_000, GOOD + "x" * 3_000_000])
def test_a_row_that_is_no_row_is_refused_by_its_line(tmp_path: Path, bad: str) -> None:
    """One with more cells than the head has may hold each cell under another's name; no text holds a NUL."""
    assert told(tmp_path / "old.csv", GOOD, bad, GOOD + ",") == [(2, "event"), (3, "bad_row"), (4, "event")]


def test_an_import_goes_on_behind_lines_that_were_refused(tmp_path: Path) -> None:
    """Rows are counted alike each time that the file is read: none is taken twice, and none is left out."""
    path = tmp_path / "old.csv"
    told(path, GOOD, GOOD + '"said" hi', GOOD, GOOD + '"x', GOOD, GOOD)
    rows = list(csv_rows(LogFile(path, 1 << 20, COLUMNS, "iocom", "d1", date(2026, 11, 1), 0)))
    for at, (number, _, _) in enumerate(rows, 1):
        assert number == at
        rest = csv_rows(LogFile(path, 1 << 20, COLUMNS, "iocom", "d1", date(2026, 11, 1), number))
        assert [each[:2] for each in rest] == [each[:2] for each in rows[at:]]


SOURCE = FileSource(sha256="0" * 64, bytes=7, format="ndjson")
EMPTY = Manifest(tenant="iocom", source=SOURCE, erased=(2, "f" * 32), began_at=NOW)


def settled(number: int, *refused: Refused) -> Batch:
    """A batch of one line."""
    events = Events(read=1, accepted=1 - len(refused), refused=len(refused))
    return Batch(policy="2026-01-01", positions={0: number}, events=events, legs=Legs(stored=2), refused=refused)


def test_what_a_killed_batch_left_in_the_list_of_places_is_cut(tmp_path: Path) -> None:
    bad = Refused(line=2, reason="not_json")
    with Journal(tmp_path, "j") as journal:
        assert journal.load() is None
        manifest = journal.add(journal.add(EMPTY, settled(1)), settled(2, bad))
        with pytest.raises(StateRefusedError, match="running already"), Journal(tmp_path, "j"):
            pass
    with (tmp_path / "j.refused.ndjson").open("ab") as places:
        places.write(b'{"line":3,"rea')
    with Journal(tmp_path, "j") as journal:
        assert journal.load() == manifest
        done = journal.finish(journal.add(manifest, settled(3, Refused(line=3, reason="too_large"))), NOW)
    found = json.loads((tmp_path / "j.manifest.json").read_bytes())
    assert found.pop("refused_at") == [{"line": 2, "reason": "not_json"}, {"line": 3, "reason": "too_large"}]
    assert found == json.loads(encode(done))
    assert done.events == Events(read=3, accepted=1, refused=2)
    assert (tmp_path / "j.manifest.json").stat().st_mode & 0o077 == 0


def test_the_manifest_has_one_byte_form() -> None:
    assert encode(EMPTY).decode() == (
        '{"v":1,"tenant":"iocom","source":{"type":"file","sha256":"' + "0" * 64 + '","bytes":7,"format":"ndjson"},'
        '"erased":[2,"' + "f" * 32 + '"],"policies":[],"positions":{},'
        '"events":{"read":0,"accepted":0,"born_expired":0,"refused":0},'
        '"legs":{"stored":0,"removed":0,"born_expired":0,"erased":0,"listed":0,"no_purpose":0,"no_key":0},'
        '"refused":{},"refused_bytes":0,"began_at":"2026-11-24T09:00:00Z","finished_at":null}'
    )


async def test_a_mapped_file_is_legs_by_session_and_the_same_under_another_name(
    world: Installed, tmp_path: Path
) -> None:
    """Two rows of one conference are both kept; a row without caller counts a guest; taken in twice, nothing changes."""
    rows = [
        "timestamp;caller;callee;duration;id",
        "2026-11-20T09:00:00Z;ana@example.org;ben@example.org;600;conf-1",
        "2026-11-20T09:05:00Z;ana@example.org;cy@example.org;300;conf-1",
        "2026-11-20T10:00:00Z;;dee@example.org;120;",
        "2026-11-20T10:00:00Z;+441632960703;+441632960703;15;",
    ]
    names, stored = ("calls.csv", "again.csv"), []
    for name in names:
        (tmp_path / name).write_text("\n".join(rows))
        file = LogFile(tmp_path / name, 1 << 20, COLUMNS, TENANT, "", None, mapping=mapping("csv-table", {}))
        batch = await world.taken(*(each for _, _, each in events_of(file)))
        assert (batch.events.refused, batch.legs.stored) == (0, 6)
        stored.append(set(world.stored))
    assert stored[0] == stored[1]
    assert len(stored[0]) == 6
