"""`export open`: files for the owner alone, nothing written over, what lacks is said, hostile parts are refused."""

import csv
import hashlib
import json
import stat
from pathlib import Path

import msgspec
import pytest
from answers_data import NOW, disclosed, parts
from test_receipt import RECEIPT

from calllog_guard.cli import main
from calllog_guard.core.answers.parts import Part
from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.jose import new_pair, seal_to_key, sign
from calllog_guard.core.identifiers import b64


class Folder:
    """A folder with sealed parts, and the keys beside it."""

    def __init__(self, folder: Path) -> None:
        self.path, self.key, self.signer = folder / "answer", folder / "asker.pem", folder / "receipts.pub.pem"
        self.private, self.public = new_pair(signs=False)
        self.key.write_bytes(self.private)
        self._seal, public = new_pair(signs=True)
        self.signer.write_bytes(public)
        self.path.mkdir()

    def put(self, found: list[Part]) -> None:
        """Seal some parts into the folder."""
        for part in found:
            (self.path / f"part-{part.part}.jwe").write_text(seal_to_key(self.public, part.case, encode(part)))

    def receipt(self, case: str, **more: object) -> None:
        """The receipt of what lies in the folder."""
        found = [b64(hashlib.sha256(path.read_bytes()).digest()).decode() for path in self.path.glob("*.jwe")]
        claims = msgspec.structs.replace(RECEIPT, stage="exported", case=case, digests=tuple(found), **more)
        (self.path / "receipt-exported.jws").write_text(sign(self._seal, "iocom-receipts", encode(claims)))

    def open(self, *more: str) -> int:
        """The command."""
        return main(["export", "open", str(self.path), "--key", str(self.key), *more])


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A folder with nothing in it."""
    return Folder(tmp_path)


def test_what_is_opened_only_its_owner_reads(folder: Folder, tmp_path: Path) -> None:
    folder.put(parts(tmp_path))
    assert folder.open() == 0
    names = ("export.json", "legs.csv", "index.html")
    assert {stat.S_IMODE((folder.path / name).stat().st_mode) for name in names} == {0o600}
    assert not list(folder.path.glob(".*")), "nothing half-written is left"
    data = json.loads((folder.path / "export.json").read_text())
    assert len(data["legs"]) == 30
    assert data["about"]["rights"]
    with (folder.path / "legs.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 30


def test_once_more_it_goes_on_and_writes_nothing_over(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed half-way, the same command ends what it began; what somebody else wrote stays."""
    folder.put(parts(tmp_path))
    assert folder.open() == 0
    before = (folder.path / "export.json").stat().st_mtime_ns
    (folder.path / "index.html").unlink()
    (folder.path / ".index.html.new").write_text("half")
    assert folder.open() == 0
    assert (folder.path / "export.json").stat().st_mtime_ns == before
    (folder.path / "legs.csv").write_text("mine")
    assert folder.open() == 4
    assert (folder.path / "legs.csv").read_text() == "mine"
    assert "another" in capsys.readouterr().err


def test_a_link_in_place_of_a_file_is_not_followed(folder: Folder, tmp_path: Path) -> None:
    folder.put(parts(tmp_path))
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (folder.path / ".export.json.new").symlink_to(victim)
    (folder.path / "index.html").symlink_to(victim)
    assert folder.open() == 4
    assert victim.read_text() == "precious"


def test_it_says_how_many_parts_are_missing(folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.put(parts(tmp_path)[:1])
    assert folder.open() == 4
    assert "1 parts are missing beside 1 that are here: 1000001" in capsys.readouterr().err
    assert not (folder.path / "export.json").exists()


def test_the_parts_are_compared_with_the_receipt_that_the_company_signed(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = parts(tmp_path)
    folder.put(found)
    key = ("--receipts-key", str(folder.signer))
    assert folder.open(*key) == 4, "no receipt"
    folder.receipt(found[0].case, at=NOW)
    assert folder.open(*key, "--json") == 0
    assert json.loads(capsys.readouterr().out)["receipt"] == "good"
    assert "24 November 2026, 09:00:00 GMT" in (folder.path / "index.html").read_text()
    for name in ("export.json", "legs.csv", "index.html"):
        (folder.path / name).unlink()
    folder.put([msgspec.structs.replace(found[1], legs=found[1].legs[:-1])])
    assert folder.open(*key) == 4, "a part was exchanged: whoever knows the public key can seal one"
    assert "other parts than those" in capsys.readouterr().err
    folder.put(found)
    folder.receipt("B" * 22)
    assert folder.open(*key) == 4, "of another case"
    assert "other parts than those" in capsys.readouterr().err
    folder.receipt(found[0].case)
    other = tmp_path / "other.pub.pem"
    other.write_bytes(new_pair(signs=True)[1])
    assert folder.open("--receipts-key", str(other)) == 4, "another's key"
    assert folder.open("--receipts-key", str(folder.key)) == 2, "no such key at all"


def test_an_authority_finds_its_own_page(folder: Folder, tmp_path: Path) -> None:
    folder.put(disclosed(tmp_path))
    assert folder.open() == 0
    page = (folder.path / "index.html").read_text()
    assert "Disclosure of call records" in page
    assert hashlib.sha256((folder.path / "legs.csv").read_bytes()).hexdigest() in page
    assert hashlib.sha256((folder.path / "part-1.jwe").read_bytes()).hexdigest() in page


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("part-9.jwe", b"a.b.c.d.e", 2),
        ("part-9.jwe", b"\xff\xfe\x00", 2),
        ("part-9.jwe", b"", 2),
        ("part-9.jwe", b"x" * (17 << 20), 4),
    ],
)
def test_what_is_no_part_is_refused_by_name(
    folder: Folder, tmp_path: Path, name: str, content: bytes, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.put(parts(tmp_path))
    (folder.path / name).write_bytes(content)
    assert folder.open() == code
    assert name in capsys.readouterr().err
    assert not (folder.path / "export.json").exists()


def test_parts_of_two_cases_are_not_mixed(folder: Folder, tmp_path: Path) -> None:
    found = parts(tmp_path)
    folder.put([found[0], msgspec.structs.replace(found[1], case="B" * 22)])
    assert folder.open() == 4
