"""
Every form that a released version wrote is read by this one: topics, keystore, wrapped keys, state folders, on fakes.

And every one of them is read with fields that a later minor release may add, and halts at a later major version.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from releases import Fixture, Frozen, releases

from calllog_guard.adapters.disk.import_journal import Journal
from calllog_guard.adapters.disk.policy_floor import SeenLaw
from calllog_guard.adapters.kms.local import FileRing, LocalKms
from calllog_guard.adapters.memory.fakes import MemoryKeystore, SystemClock
from calllog_guard.adapters.rocksdb.index import RocksIndex
from calllog_guard.adapters.sqlite_cursor import SqliteCursor
from calllog_guard.core.answers.parts import PARTS, TASKS
from calllog_guard.core.calls.event import EVENTS
from calllog_guard.core.calls.leg import read_leg
from calllog_guard.core.cases.case import CASES, Case
from calllog_guard.core.cases.notices import FILED, NOTICES, WORDS
from calllog_guard.core.cases.receipt import RECEIPTS
from calllog_guard.core.cases.sealed_case import open_part
from calllog_guard.core.cases.secret_cases import PREFIX, open_case
from calllog_guard.core.codec import BEAT, BEATS, DEAD, Access, Internal, Rewritten, decode, encode
from calllog_guard.core.crypto.entries import PERSON_HEADS
from calllog_guard.core.crypto.held_envelope import parse_held
from calllog_guard.core.crypto.jose import desk_pem, kid_of, open_sealed, verify
from calllog_guard.core.crypto.leg_envelope import open_leg, parse_header
from calllog_guard.core.crypto.subject_secrets import month_from
from calllog_guard.core.decisions.decision import DECISIONS, open_entry
from calllog_guard.core.decisions.hold import RELEASES
from calllog_guard.core.decisions.outcome import TO_DESK, is_result
from calllog_guard.core.decisions.standing_rules import open_rule
from calllog_guard.core.identifiers import EpochName, HoldId, Lookup, Pseudonym, Tenant
from calllog_guard.core.policy.changes.publication import PUBLICATIONS
from calllog_guard.core.requests.request import REQUESTS
from calllog_guard.core.retention.statistics import Statistic
from calllog_guard.core.retention.tally import Mark, TallyPlace, name_from, open_tally, tally_epoch
from calllog_guard.core.stream.anchor import ANCHOR, ANCHORS
from calllog_guard.core.stream.replay import REPLAYED, REPLAYED_KEY
from calllog_guard.errors import MessageError, NewerFormError
from calllog_guard.workers.keys.hold_store import Safe, terms_of
from calllog_guard.workers.keys.key_cache import CacheLimits
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.restore_guard import read_guard
from calllog_guard.workers.keys.rotation import Periods, Walk
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault

TENANT = Tenant("iocom")
EACH = pytest.mark.parametrize("opened", releases(), indirect=True)


class Opened:
    """A fixture opened by this release's readers alone: what was found of each form, and its JSON where it has one."""

    def __init__(self, release: str, folder: Path) -> None:
        self.fixture, self.folder = Fixture(release), folder
        self.fixture.unpack(folder)
        self.vault = Vault(LocalKms(folder / "kms"), FileRing(folder / "kms"))
        self.keystore = MemoryKeystore()
        self.keystore.entries = self.fixture.entries()
        self.keystore.run = self.keystore.entries[b"clg:~guarded:0"]
        self.partitions = int(self.fixture.manifest["settings"]["CALLLOG_GUARD_PARTITIONS"])
        self.ring = Keyring(TENANT, self.keystore, self.vault, SystemClock(), CacheLimits(60, 100), self.partitions)
        self.safe = Safe(self.ring)
        self.found: Counter[str] = Counter()
        self.samples: dict[Any, list[bytes]] = {}
        self._read: dict[str, Callable[[Frozen], None]] = {
            "calllog.events": self._event,
            "calllog.legs": self._leg,
            "calllog.held": self._copy,
            "calllog.statistics": partial(self._plain, msgspec.json.Decoder(Statistic)),
            "calllog.dead": self._letter,
            "privacy.requests": self._request,
            "privacy.decisions": self._ledger,
            "privacy.outcomes": self._outcome,
            "privacy.cases": self._case,
            "privacy.policy": self._policy,
            "privacy.receipts": self._receipt,
            "privacy.notices": self._notice,
            "privacy.exports": self._export,
            "privacy.access": partial(self._plain, msgspec.json.Decoder(Access)),
        }
        self.readers = {self.fixture.topic(name): read for name, read in self._read.items()}

    def private(self, name: str) -> bytes:
        """A private key of the fixture."""
        return (self.folder / "keys" / f"{name}.pem").read_bytes()

    def note(self, form: str, decoder: Any = None, raw: bytes = b"") -> Any:
        """A form was met; what its decoder makes of it."""
        self.found[form] += 1
        if decoder is None:
            return None
        self.samples.setdefault(decoder, []).append(raw)
        return decode(decoder, raw)

    def read(self, record: Frozen) -> None:
        """Read one record, whatever it is: exactly one reader knows it."""
        if record.key == BEAT and record.value is not None:
            self.note("heartbeat", BEATS, record.value)
        elif record.key == ANCHOR and record.value is not None:
            assert self.note("anchor", ANCHORS, record.value).tenant == TENANT
        elif record.value is None:
            self.note("tombstone")
        else:
            self.readers[record.topic](record)

    # --- topics -------------------------------------------------------------------------------------------------------

    def _plain(self, decoder: Any, record: Frozen) -> None:
        self.note(decoder.type.__name__, decoder, record.value or b"")

    def _event(self, record: Frozen) -> None:
        if record.headers:
            self.note("replayed event")
        else:
            self.note("event", EVENTS, record.value or b"")

    def _leg(self, record: Frozen) -> None:
        header = parse_header(record.value or b"")
        raw = self.keystore.entries.get(f"clg:{TENANT}:key:{header.kid}".encode())
        if raw is None:
            self.note("leg of somebody whose key is destroyed")
            return
        keys = self.ring.keys(Pseudonym(header.kid), raw)
        opened = self.ring._kept(Pseudonym(header.kid), keys)
        leg = read_leg(open_leg(record.value or b"", opened.data_key(month_from(header.mon))))
        assert opened.token_key.token(leg.call) == header.rid  # type: ignore[arg-type]
        self.note("leg")

    def _copy(self, record: Frozen) -> None:
        header = parse_held(record.value or b"")
        entry = asyncio.run(self.safe.read([HoldId(header.kid)]))[HoldId(header.kid)]
        if entry.secret is None:
            self.note("copy under a hold that was released")
            return
        assert read_leg(open_leg(record.value or b"", entry.secret.copy_key())).call
        assert terms_of(entry).basis
        self.note("copy")

    def _letter(self, record: Frozen) -> None:
        if record.key == REPLAYED_KEY:
            self.note("note of a replay", REPLAYED, record.value or b"")
            return
        dead = self.note("dead letter", DEAD, record.value or b"")
        assert open_sealed(self.private("operator-1"), dead.jwe)

    def _request(self, record: Frozen) -> None:
        token = record.value or b""
        if token.count(b".") == 4:
            kid = json.loads(_unpadded(token.partition(b".")[0]))["kid"]
            private, _ = desk_pem(self.vault.desk_key(TENANT, kid) or b"")
            self.note(f"request sealed to {kid}")
            token = open_sealed(private, token.decode())
        if token.count(b".") == 2:
            public = (self.folder / "keys" / f"{kid_of(token.decode())}.pub.pem").read_bytes()
            self.note("request", REQUESTS, verify(public, token.decode()))
        else:
            self.note("no request")

    def _ledger(self, record: Frozen) -> None:
        key, value = record.key or b"", record.value or b""
        name = name_from(key)
        if name is not None:
            secret = self.vault.epoch_key(tally_epoch(value), TENANT, "tallies")
            open_tally(value, TallyPlace(TENANT, record.partition, name), secret)
            self.note("tally")
        elif key[:1] == b"~":
            self.note("mark of statistics", msgspec.json.Decoder(Mark), value)
        elif is_result(key):
            self.note(f"result {key.rpartition(b'.')[2].decode()}", None)
            self.vault.outcome_key(TENANT).read(value, key)
        else:
            self._decision(value)

    def _decision(self, value: bytes) -> None:
        decision = self.note("decision", DECISIONS, value)
        ledger = self.vault.epoch_key(EpochName(decision.epoch), TENANT, "ledger")
        entry = open_entry(decision, ledger)
        if entry.task:
            self.note(f"task of {decision.type}", RELEASES if decision.type == "release" else TASKS, entry.task)
        raw = self.keystore.entries.get(f"clg:{TENANT}:key:{decision.pseudonym}".encode())
        if raw is not None:
            keys = self.ring.keys(Pseudonym(decision.pseudonym), raw)
            assert (keys.lookup, keys.generation) == (entry.lookup, entry.generation)
            if decision.rule is not msgspec.UNSET:
                open_rule(decision, keys.identity.rules_key())
                self.note("rule")

    def _outcome(self, record: Frozen) -> None:
        assert self.vault.outcome_key(TENANT).read(record.value or b"", TO_DESK).case
        self.note("outcome")

    def _case(self, record: Frozen) -> None:
        key, value = record.key or b"", record.value or b""
        if key.startswith(PREFIX):
            assert open_case(key, value, self.vault.case_key(TENANT)).secret
            self.note("secret case")
            return
        case: Case = self.note("case", CASES, value)
        for part, sealed, decoder in (("request", case.sealed, REQUESTS), ("filed", case.filed, FILED)):
            if sealed is not None:
                secret = self.vault.epoch_key(EpochName(case.epoch or ""), TENANT, "cases")
                self.note(f"{part} in a case", decoder, open_part(case.case, part, sealed, secret))  # type: ignore[arg-type]

    def _policy(self, record: Frozen) -> None:
        public = (self.folder / "keys" / "officer-1.pub.pem").read_bytes()
        self.note("publication", PUBLICATIONS, verify(public, (record.value or b"").decode()))

    def _receipt(self, record: Frozen) -> None:
        public = (self.folder / "keys" / "iocom-receipts.pub.pem").read_bytes()
        receipt = self.note("receipt", RECEIPTS, verify(public, (record.value or b"").decode()))
        assert receipt.case == (record.key or b"").decode()

    def _notice(self, record: Frozen) -> None:
        notice = self.note("notice", NOTICES, record.value or b"")
        key = self.private("gateway" if notice.to == "person" else notice.to)
        self.note("words of a notice", WORDS, open_sealed(key, notice.jwe))

    def _export(self, record: Frozen) -> None:
        sealed = (record.value or b"").decode()
        self.note("part of an export", PARTS, open_sealed(self.private("operator-1"), sealed))


def _unpadded(text: bytes) -> bytes:
    import base64  # noqa: PLC0415

    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


@pytest.fixture
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """See Opened."""
    return Opened(request.param, tmp_path)


MET = {
    "heartbeat", "anchor", "event", "replayed event", "leg", "leg of somebody whose key is destroyed", "copy", "Statistic",
    "dead letter", "note of a replay", "request", "request sealed to iocom-desk", "request sealed to iocom-desk-2", "decision",
    "task of access", "task of release", "rule", "tally", "mark of statistics", "result done", "outcome", "case", "secret case",
    "request in a case", "filed in a case", "publication", "receipt", "notice", "words of a notice", "part of an export", "Access",
}  # fmt: skip
"""What a fixture must have of a release, or it proves too little."""


@EACH
def test_every_record_of_every_topic_is_read(opened: Opened) -> None:
    records = opened.fixture.records()
    for record in records:
        opened.read(record)
    assert MET - opened.found.keys() == set()
    assert len(records) > 300


@EACH
async def test_every_entry_of_the_keystore_opens_and_is_raised_by_the_walk(opened: Opened) -> None:
    """What it says stays the same, in the newest form, under the newest epoch."""
    entries = opened.keystore.entries
    assert read_guard(entries[b"clg:~guard"]) is not None
    people, keys = _people(opened), _keys(opened)
    assert len(people) > 30
    assert len(keys) > 30
    assert {person.epoch for person in people.values()} > {"2026-W42"}
    opened.vault.upgrade(TENANT, ("lowercase-email",))

    async def unfinished() -> set[str]:
        return {key.decode().rpartition(":")[2] for key in entries if b":key:" in key}

    periods = Periods(keep_days=9000, late_days=9000, epoch_days=7, window_days=14)
    walk = Walk(opened.ring, SystemClock(), periods, unfinished)
    done = await walk.run({})
    assert (done.contested, done.orphans, done.fences) == (0, 0, 0)
    assert {raw[0] for key, raw in entries.items() if b":who:" in key or b":key:" in key} == {max(PERSON_HEADS)}
    assert {_said(person) for person in _people(opened).values()} == {_said(person) for person in people.values()}
    assert {name: each.identity for name, each in _keys(opened).items()} == {
        name: each.identity for name, each in keys.items()
    }


def _said(person: Any) -> tuple[Any, ...]:
    return person.generation, person.pseudonym, person.cut_off, person.restricted, person.held, person.objected


def _people(opened: Opened) -> dict[str, Any]:
    start = f"clg:{TENANT}:who:".encode()
    raw = {key[len(start) :].decode(): each for key, each in opened.keystore.entries.items() if key.startswith(start)}
    return {name: opened.ring.person(Lookup(name), each) for name, each in raw.items()}


def _keys(opened: Opened) -> dict[str, Any]:
    start = f"clg:{TENANT}:key:".encode()
    raw = {key[len(start) :].decode(): each for key, each in opened.keystore.entries.items() if key.startswith(start)}
    return {name: opened.ring.keys(Pseudonym(name), each) for name, each in raw.items()}


@EACH
def test_every_state_folder_is_read(opened: Opened) -> None:
    state, rows = opened.folder / "state", 0
    for partition in range(opened.partitions):
        for kind in ("legs", "held"):
            index = RocksIndex(state / f"keeper-{opened.fixture.topic('calllog.' + kind)}-{partition}")
            assert index.position() is not None
            rows += len(list(index.by_day()))
            assert all(decode(DECISIONS, each.decision) for each in index.pending().values())
            index.close()
    assert rows > 50
    cursor = SqliteCursor(state / "cursor")
    bookmark = cursor.bookmark()
    assert bookmark is not None
    assert opened.fixture.topic("calllog.legs") in bookmark.offsets
    assert cursor.days()
    cursor.close()
    assert SeenLaw(next((state / "law").iterdir())).newest() is not None
    (journal,) = (state / "imports").glob("*.journal.json")
    with Journal(state / "imports", journal.name.partition(".")[0]) as found:
        manifest = found.load()
    assert manifest is not None
    assert manifest.legs.stored == 3


# --- what a later release would write ---------------------------------------------------------------------------------


def added(shape: msgspec.inspect.Type, value: Any) -> Any:
    """A message, generic, with a field more in each object that is a message."""
    if isinstance(shape, msgspec.inspect.UnionType):
        kinds: dict[type, Any] = {
            dict: (msgspec.inspect.StructType, msgspec.inspect.DictType),
            list: msgspec.inspect.VarTupleType,
        }
        inner = [each for each in shape.types if type(value) in kinds and isinstance(each, kinds[type(value)])]
        return added(inner[0], value) if len(inner) == 1 else value
    if isinstance(shape, msgspec.inspect.StructType) and isinstance(value, dict):
        types = {field.encode_name: field.type for field in shape.fields}
        return {name: added(types[name], each) for name, each in value.items()} | {
            "zz_later": {"deep": [1, {"x": None}]}
        }
    if isinstance(shape, msgspec.inspect.VarTupleType) and isinstance(value, list):
        return [added(shape.item_type, each) for each in value]
    if isinstance(shape, msgspec.inspect.DictType) and isinstance(value, dict):
        return {name: added(shape.value_type, each) for name, each in value.items()}
    return value


def messages(opened: Opened) -> Iterator[tuple[Any, bytes, bool]]:
    """Every message of the fixture that is JSON: its decoder, its bytes, and whether it comes from outside."""
    for record in opened.fixture.records():
        opened.read(record)
    for decoder, raws in opened.samples.items():
        for raw in raws:
            yield decoder, raw, not issubclass(decoder.type, Internal)


@EACH
def test_fields_of_a_later_minor_release_are_passed_over_and_kept(opened: Opened) -> None:
    """At every depth of every message that one of our programs wrote; what comes from outside is refused."""
    kinds: Counter[str] = Counter()
    for decoder, raw, outside in messages(opened):
        shape = msgspec.inspect.type_info(decoder.type)
        later = msgspec.json.encode(added(shape, msgspec.json.decode(raw)))
        if outside:
            with pytest.raises(MessageError, match="unknown_field"):
                decode(decoder, later)
        found = decode(decoder, later, stored=True)
        kinds[decoder.type.__name__] += 1
        written = encode(found)
        assert without(msgspec.json.decode(written)) == msgspec.json.decode(encode(decode(decoder, raw)))
        if issubclass(decoder.type, Rewritten):
            assert written.count(b"zz_later") == later.count(b"zz_later")
            kinds["rewritten"] += 1
    assert kinds.keys() > {"Case", "Decision", "Receipt", "Words", "Part", "Access", "Dead", "Beat", "rewritten"}


def without(value: Any) -> Any:
    """The same without what was added."""
    if isinstance(value, dict):
        return {name: without(each) for name, each in value.items() if name != "zz_later"}
    return [without(each) for each in value] if isinstance(value, list) else value


@EACH
def test_a_later_major_version_halts(opened: Opened) -> None:
    for decoder, raw, outside in messages(opened):
        if b'"v":' not in raw:
            continue
        later = msgspec.json.encode(msgspec.json.decode(raw) | {"v": 9})
        with pytest.raises(MessageError if outside else NewerFormError):
            decode(decoder, later)
        with pytest.raises(NewerFormError, match="run that release here"):
            decode(decoder, later, stored=True)
