"""What samples of platforms hold of people and machines lies nowhere once they were taken in."""

import json
from pathlib import Path

import pytest
from test_importer import Installed

from calllog_guard.adapters.disk.import_journal import Journal
from calllog_guard.adapters.disk.old_logs import LogFile, events_of
from calllog_guard.adapters.disk.trace_search import Hunter
from calllog_guard.adapters.mappings.files import mapping
from calllog_guard.cli import main
from calllog_guard.core.calls.import_journal import FileSource, Manifest
from calllog_guard.core.codec import encode
from calllog_guard.workers.protector.importer import Intake, Item

PAYLOADS = Path(__file__).parents[3] / "support" / "payloads"
SAMPLES = sorted(path for path in PAYLOADS.glob("*/*") if path.suffixes[-2:] != [".expected", ".json"])
SETTINGS = {"asterisk-csv": {"zone": "Europe/London", "country": "44"}}
NEVER_READ = ["A Name", "Another", "Somebody", "192.0.2.7", "2001:db8", "Weekly"]
"""Names, addresses of machines and free text: no mapping reads them, so not even a terminal shows them."""


def parties_of(sample: Path) -> list[dict[str, str]]:
    """The parties of the calls in a sample."""
    made = json.loads(sample.with_suffix(".expected.json").read_bytes())
    return [party for each in made for party in each.get("event", {}).get("parties", ())]


def people_of(sample: Path) -> list[str]:
    """The identifiers of the parties in a sample; short ones are in everything."""
    parties = parties_of(sample)
    return sorted({party["id"] for party in parties if len(party.get("id", "")) > 5})


@pytest.fixture
async def world(tmp_path: Path) -> Installed:
    """What an import needs, in memory."""
    made = Installed(tmp_path)
    await made.ring.guard.open_at_once(2)
    return made


def everything_in(folder: Path) -> list[bytes]:
    """All files below a folder."""
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "sample", [path for path in SAMPLES if parties_of(path)], ids=lambda path: f"{path.parent.name}/{path.name}"
)
async def test_a_sample_that_was_taken_in_left_no_trace(
    world: Installed, sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither in the log's records, nor in the journal and the manifest of the import, nor in the talk of workers."""
    ours, people = mapping(sample.parent.name, SETTINGS.get(sample.parent.name, {})), people_of(sample)
    intake = Intake(world.context(), world.sealer(returns=False), frozenset())
    read = LogFile(sample, 1 << 20, {}, "iocom", "", None, mapping=ours)
    items = [Item(value, {"line": line}) for _, line, value in events_of(read)]
    batch = await intake.batch(items, {0: len(items)})
    assert batch.events.read > 0
    source = FileSource(sha256="0" * 64, bytes=7, format="mapped")
    with Journal(tmp_path / "imports", "j") as journal:
        new = Manifest(tenant="iocom", source=source, erased=None, began_at=world.clock.at)
        manifest = journal.finish(journal.add(new, batch), world.clock.at)
    said = capsys.readouterr()
    records = [each.key + (each.value or b"") for each in world.writer.outputs if each.key]
    files = everything_in(tmp_path)
    assert len(files) > 1
    entries = [key + value for key, value in world.keystore.entries.items()]
    left = b"\n".join([*records, *files, *entries, encode(manifest), said.out.encode(), said.err.encode()])
    hunter = Hunter([*NEVER_READ, *people])
    assert hunter.hits(left) == []
    assert hunter.hits(left + people[0].encode() if people else b"A Name")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_check_of_a_sample_shows_what_becomes_a_record_and_nothing_else(
    sample: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The places of all else, with the kind of what lies there; nothing is written."""
    monkeypatch.chdir(tmp_path)
    sets = [f"--set={name}={value}" for name, value in SETTINGS.get(sample.parent.name, {}).items()]
    main(["source", "check", str(sample), "--mapping", sample.parent.name, *sets])
    said = capsys.readouterr()
    assert not [text for text in NEVER_READ if text in said.out + said.err]
    assert list(tmp_path.rglob("*")) == []
