"""
What a later release wrote: a later minor one's message is read, all of a later major version is refused by name.

Whoever adds a message says here whether our own programs write it; whoever adds a stored form adds its row.
"""

import importlib
import pkgutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

import calllog_guard
from calllog_guard.adapters.disk.import_journal import Journal
from calllog_guard.adapters.disk.policy_floor import SeenLaw
from calllog_guard.adapters.sqlite_cursor import SqliteCursor
from calllog_guard.core import profile
from calllog_guard.core.calls.import_journal import Manifest, TopicSource
from calllog_guard.core.codec import Internal, Message, encode
from calllog_guard.core.crypto.entries import open_keys, open_person
from calllog_guard.core.crypto.held_envelope import open_hold
from calllog_guard.core.crypto.leg_envelope import UNREAD, LegHeader, parse_header
from calllog_guard.core.crypto.rewrap import FORMS, epoch_in
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.identifiers import b64
from calllog_guard.core.retention.tally import tally_epoch
from calllog_guard.core.stream import beginnings, letters
from calllog_guard.errors import EntryCorruptError, Fate, NewerFormError, RecordError
from calllog_guard.workers.keys.restore_guard import read_guard

LATER = 9
KEY = Secret(bytes(32))
NOW = datetime(2026, 11, 28, tzinfo=UTC)

FROM_OUTSIDE = {
    "CallEvent", "RemovedSession", "Ephemeral", "Facts", "Hold", "Party", "Publication", "Range", "ReplyKey", "Request", "SealedHeader"
}  # fmt: skip
"""Written by others, or by people: an unknown field is refused. A policy is a promise: nobody follows half of one."""
SHOWN = ("calllog_guard.core.audit.month_lines", "calllog_guard.core.calls.view")
"""Written for others, and read back by none of our programs."""


def messages() -> Iterator[type[Message]]:
    """Every type of message of the whole package."""
    for found in pkgutil.walk_packages(calllog_guard.__path__, "calllog_guard."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    todo = list(Message.__subclasses__())
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        if kind.__module__.startswith("calllog_guard."):
            yield kind


def test_every_message_of_our_own_programs_may_gain_fields() -> None:
    """One that were not Internal would make a dead letter of a later release's decision."""
    strict = {kind.__name__ for kind in messages() if not issubclass(kind, Internal) and kind.__module__ not in SHOWN}
    assert strict == FROM_OUTSIDE


# --- one byte or number says which version a stored form has ----------------------------------------------------------


@pytest.mark.parametrize("name", sorted(UNREAD))
def test_no_later_field_changes_how_a_leg_is_opened(name: str) -> None:
    """RFC 7516: `crit`, `zip` and `b64` say that the rest means something else."""
    header = LegHeader(
        kid="A" * 22, mon="2026-11", day="2026-11-28", rid="B" * 22, pur=1, pol="2026-01-01", ten="iocom", top="t"
    )

    def later(name: str) -> LegHeader:
        return parse_header(b64(encode(header)[:-1] + b',"%b":"DEF"}' % name.encode()) + b"....")

    assert encode(later("zz_later")).endswith(b',"zz_later":"DEF"}'), "any other is passed over, and kept"
    with pytest.raises(RecordError):
        later(name)


def in_cursor(path: Path) -> None:
    """A follower's cursor."""
    SqliteCursor(path / "cursor").close()
    base = sqlite3.connect(path / "cursor")
    base.execute(f"pragma user_version = {LATER}")
    base.close()
    SqliteCursor(path / "cursor")


def in_law(path: Path) -> None:
    """The newest policy version that this machine followed."""
    SeenLaw(path / "law").keep((date(2026, 11, 28), 1))
    (path / "law").write_text((path / "law").read_text().replace("1 ", f"{LATER} ", 1))
    SeenLaw(path / "law").newest()


def in_journal(path: Path) -> None:
    """How far an import is."""
    with Journal(path, "some") as journal:
        source = TopicSource(topic="old", id="AAAAAAAAAAAAAAAAAAAAAA", trimmed=False)
        journal.save(Manifest(tenant="iocom", source=source, erased=None, began_at=NOW))
        file = path / "some.journal.json"
        file.write_bytes(file.read_bytes().replace(b'"v":1', b'"v":%d' % LATER, 1))
        journal.load()


def in_profile(_: Path) -> None:
    """The bytes of a profile."""
    blob = profile.packed(profile.TenantProfile(number=1))
    profile.split("profile.iocom.1", bytes([LATER]) + blob[1:])


def in_profile_forms(_: Path) -> None:
    """A level of forms that this release does not write."""
    profile.opened("profile.iocom.1", 1, profile.packed(profile.TenantProfile(number=1, forms=LATER)))


def in_profile_message(_: Path) -> None:
    """The message in a profile."""
    later = encode(profile.TenantProfile(number=1)).replace(b'"v":1', b'"v":%d' % LATER)
    profile.opened("profile.iocom.1", 1, bytes(profile._HEAD.size) + later)


def in_guard(_: Path) -> None:
    """The keystore's guard entry: the one place at which a later release stops all earlier ones."""
    read_guard(bytes([LATER]) + bytes(64))


def in_tally(_: Path) -> None:
    """Counts that wait for the month's end."""
    tally_epoch(bytes([LATER]) + b"\x082026-W48")


def in_reached(_: Path) -> None:
    """How far a topic was read."""
    beginnings.read_reached(bytes([LATER]) + bytes(64))


def in_letter_key(_: Path) -> None:
    """The public half of a key of dead letters."""
    letters.unpacked(1, bytes([LATER]) + bytes(64))


HALTS = (
    in_cursor,
    in_law,
    in_journal,
    in_profile,
    in_profile_forms,
    in_profile_message,
    in_guard,
    in_tally,
    in_reached,
    in_letter_key,
)
"""A keeper's index is none of these: of another form it is built anew from the topics."""


@pytest.mark.parametrize("met", HALTS, ids=lambda met: met.__name__)
def test_a_later_major_version_halts_and_says_so(met: Callable[[Path], None], tmp_path: Path) -> None:
    with pytest.raises(
        NewerFormError, match=f"has the version {LATER}, and this release reads up to .*: a later release"
    ) as halted:
        met(tmp_path)
    assert halted.value.fate is Fate.HALT


PERSONS: dict[str, Callable[[bytes], object]] = {
    "person": lambda raw: open_person(raw, b"place", KEY),
    "key": lambda raw: open_keys(raw, b"place", KEY),
    "hold": lambda raw: open_hold(raw, b"place", KEY),
} | {f"walked {kind}": lambda raw, kind=kind: epoch_in(kind, raw) for kind in FORMS}


@pytest.mark.parametrize("kind", PERSONS)
def test_one_persons_entry_of_a_later_version_stops_nobody_else(kind: str) -> None:
    """It is a flipped bit as likely: it is not passed, and nobody waits. A release that writes it raises the guard."""
    with pytest.raises(EntryCorruptError):
        PERSONS[kind](bytes([LATER]) + bytes(200))
