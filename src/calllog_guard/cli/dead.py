"""`dead` looks after dead letters: `list`, `open` with the operator's key, `replay` past the fences again."""

import json
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import IO, Any, Final

import click
import msgspec

from calllog_guard.adapters.kafka.writer import KafkaWriter
from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import NO_KEYSTORE, enter
from calllog_guard.app.reader import actor_key_at
from calllog_guard.cli._mapped_letters import Mapped
from calllog_guard.cli._mapping import mapped_anew
from calllog_guard.cli._options import Args, VerbGroup, argument, file, key
from calllog_guard.cli._output import say, show, the_world
from calllog_guard.cli._unread import Unread
from calllog_guard.core.audit.accesses import place_of
from calllog_guard.core.calls.formats import plain
from calllog_guard.core.calls.repair import call_key, without
from calllog_guard.core.codec import DEAD, DENIED, Access, Dead, decode, encode, time_text, to_ms
from calllog_guard.core.crypto.jose import content_type, open_sealed, public_forms, sealed_to
from calllog_guard.core.identifiers import ID_BYTES, b64
from calllog_guard.core.policy.actors import DEAD_LETTERS
from calllog_guard.core.records import Output
from calllog_guard.core.requests.remedies import remedy
from calllog_guard.core.stream.arrival import REMNANT, REMNANTS
from calllog_guard.core.stream.letters import number_in
from calllog_guard.core.stream.proofs import AUDIT
from calllog_guard.core.stream.replay import REPLAYED_KEY, Replayed, replay_header, replayed_in
from calllog_guard.core.topics import Topic
from calllog_guard.errors import (
    ConfigurationError,
    EntryCorruptError,
    EpochUnknownError,
    RequestRefusedError,
    StateRefusedError,
)
from calllog_guard.workers.reader.session import WHICH

_ACTOR: Final = "operator-1"
_ONE: Final = {("letter", "--reason"): True}

Place = tuple[int, int]
REMEDIES: Final = {
    reason: remedy(reason)
    for reason in (
        *("wrong_partition", "does_not_open", "unknown_requester", "expired", "replayed"),
        *("entry_corrupt", "entry_unknown_epoch", "key_missing", "key_foreign"),
        *("no_content_type", "wrong_content_type", "batch", "data_twice"),
    )
}
"""What whoever sent it can do; reasons that say it themselves have none."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, where it lies in `calllog.dead`, whether it has the payload or a remnant, and was replayed."""

    place: Place
    dead: Dead
    whole: bool
    replayed: bool = False

    @property
    def name(self) -> str:
        """Its coordinates as they are typed."""
        return f"{self.place[0]}:{self.place[1]}"

    def row(self) -> dict[str, Any]:
        """What may be shown to anybody."""
        dead = self.dead
        return {
            "letter": self.name,
            "topic": dead.topic,
            "partition": dead.partition,
            "offset": dead.offset,
            "reason": dead.reason,
            "at_pointer": dead.at_pointer,
            "source": dead.source or None,
            "at": time_text(dead.at),
            "remedy": REMEDIES.get(dead.reason, ""),
            "payload": "kept" if self.whole else "digest",
            "replayed": self.replayed,
        }


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter("no time: write it as 2026-11-24 or 2026-11-24T10:00:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _place(text: str) -> Place:
    partition, _, offset = text.partition(":")
    if not (text.isascii() and partition.isdecimal() and offset.isdecimal()):
        raise click.BadParameter("no place of a letter: write it as `dead list` shows it, as 0:12")
    return int(partition), int(offset)


dead: Final = VerbGroup("dead")


def _chosen_by(run: Any) -> Any:
    """Which letters are meant, and whose key opens them."""
    place = argument(
        "letter", required=False, metavar="[PARTITION:OFFSET]", type=_place, help="as `dead list` shows it"
    )
    reason = click.option("--reason", help="all letters of a reason; a replay leaves out those that were replayed")
    return place(reason(key("the operator's private key", required=True)(run)))


async def _letters(shared: AppContext, wanted: Callable[[Place, Dead], bool], *, payloads: bool) -> list[Letter]:
    """The letters wanted of those that Kafka still has; `payloads` as well, which may be megabytes each."""
    topic, partitions = shared.settings.topic(Topic.DEAD), range(shared.settings.few_partitions)
    found: list[Letter] = []
    replayed: set[Place] = set()
    unread, proofs = Unread(Topic.DEAD), cache(lambda: shared.vault.proofs(shared.tenant))

    def visit(record: Any) -> None:
        if record.value is None:
            return
        with unread.passing(record):
            if record.key == REPLAYED_KEY:
                replayed.add(replayed_in(record, proofs()))
            else:
                place, dead = (record.partition, record.offset), decode(DEAD, record.value)
                if wanted(place, dead):
                    whole = content_type(dead.jwe) != REMNANT
                    letter = Letter(place, dead if payloads else msgspec.structs.replace(dead, jwe=""), whole)
                    letter.row()  # what cannot be shown is none of ours
                    found.append(letter)

    await shared.log.read_each(topic, list(partitions), visit)
    unread.tell()
    return [replace(each, replayed=each.place in replayed) for each in found]


@dead.command("list", help="coordinates and reason of each letter")
@click.option("--reason", help="only those of this reason")
@click.option("--topic", help="where the record lay")
@click.option(
    "--since", type=_moment, metavar="TIME", help="written at or after, as 2026-11-24 or 2026-11-24T10:00:00Z"
)
async def list_letters(args: Args) -> int:
    """Coordinates and reasons; exit 0 also when there are some, for letters are no fault of ours."""

    def wanted(_: Place, dead: Dead) -> bool:
        alike = args.reason in {None, dead.reason} and args.topic in {None, dead.topic}
        return alike and (args.since is None or dead.at >= args.since)

    letters = await _letters(the_world(), wanted, payloads=False)
    rows = [each.row() for each in sorted(letters, key=lambda letter: letter.dead.at)]
    line = "{letter:>8}  {at:28} {reason:18} {topic}/{partition} {offset} {at_pointer}"
    more = {"digest": "  digest only", "kept": ""}
    text = [line.format(**row) + more[row["payload"]] + ("  replayed" if row["replayed"] else "") for row in rows]
    text += [f"{reason}: {REMEDIES[reason]}" for reason in sorted({row["reason"] for row in rows} & REMEDIES.keys())]
    show(args, rows, "\n".join([*text, f"{len(rows)} letters"]))
    return 0


async def _chosen(shared: AppContext, args: Args) -> list[Letter]:
    def wanted(place: Place, dead: Dead) -> bool:
        return args.letter in {None, place} and args.reason in {None, dead.reason}

    chosen = await _letters(shared, wanted, payloads=True)
    if not chosen:
        raise StateRefusedError("there is no such letter, or its days are over; `dead list` shows all")
    return chosen


def _key(path: Path) -> bytes:
    pem = path.read_bytes()
    try:
        public_forms(pem)
    except ValueError:
        raise ConfigurationError("--key is no key in PEM: the operator's private one opens letters") from None
    return pem


def _opened(shared: AppContext, letter: Letter, pem: bytes) -> bytes:
    """What a letter holds: of an earlier release sealed to the operator's key alone, else to that of its week too."""
    sealed = letter.dead.jwe
    try:
        if number_in(letter.dead.kid) is not None:
            sealed = open_sealed(shared.vault.letters.private(letter.dead.kid), sealed).decode("ascii", "replace")
        return open_sealed(pem, sealed)
    except RequestRefusedError:
        raise StateRefusedError(f"letter {letter.name} is sealed to {sealed_to(sealed)}; --key is another's") from None
    except (EpochUnknownError, EntryCorruptError):
        raise StateRefusedError(
            f"letter {letter.name} is sealed to {letter.dead.kid}, whose private half is destroyed: its days are over"
        ) from None


def _signer(shared: AppContext) -> tuple[str, Callable[[Access, int], bytes]]:
    """
    Who opens, and how their accesses are written.

    Raises:
        StateRefusedError: Actors have to prove who they are, and the key is none of theirs.

    """
    actors, now, key = shared.policy.actors(shared.tenant), shared.clock.now(), actor_key_at(shared.settings)
    name = None if key is None else actors.named(key.public, now)
    if key is None or name is None:
        if actors.must_prove(now):
            found = "no key was given" if key is None else "the key is no registered actor's"
            raise StateRefusedError(
                f"whoever opens dead letters proves who they are, and {found}: name the private key of an actor of the "
                "policy (it needs no purpose) in CALLLOG_GUARD_ACTOR_KEY"
            )
        return _ACTOR, lambda access, _: encode(access)
    guard, topic = shared.vault.guard_id(), shared.settings.topic(Topic.ACCESS)
    return name, lambda access, place: key.vouched(access, place_of(guard, topic, place))


async def _recorded(
    shared: AppContext, writer: KafkaWriter, letters: Sequence[Letter], *, denied: bool = False
) -> None:
    """Who opened what is acknowledged before anything of it is used; `denied`: who tried with another's key."""
    outputs: list[Output] = []
    actor, written = _signer(shared)
    named = shared.vault.profile(shared.tenant).forms >= WHICH
    read = b64(secrets.token_bytes(ID_BYTES)).decode() if named else msgspec.UNSET
    for partition in sorted({each.place[0] for each in letters}):
        offsets = [each.place[1] for each in letters if each.place[0] == partition]
        access = Access(
            v=1,
            actor=actor,
            purpose=DEAD_LETTERS,
            case=None,
            topic=shared.settings.topic(Topic.DEAD),
            partition=partition,
            from_=min(offsets),
            to=max(offsets),
            opened=0 if denied else len(offsets),
            refused={DENIED: len(offsets)} if denied else {},
            at=shared.clock.now(),
            read=read,
        )
        outputs.append(
            Output(shared.settings.topic(Topic.ACCESS), partition, actor.encode(), written(access, partition))
        )
    await writer.write(outputs)


async def _tried(shared: AppContext, writer: KafkaWriter, letters: Sequence[Letter], pem: bytes) -> None:
    """A key that opens none of the letters is an attempt, and on record as such."""
    try:
        _opened(shared, letters[0], pem)
    except StateRefusedError:
        await _recorded(shared, writer, letters, denied=True)
        raise


@dead.command("open", help="one payload as it came, or all of a reason as lines of JSON; recorded", one_of=_ONE)
@file("--out", help="a new file that only its owner reads, not stdout")
@_chosen_by
async def open_letters(args: Args) -> int:
    """One payload as its bytes; all of a reason, or with --json, as lines of JSON."""
    shared, pem = the_world(), _key(args.key)
    await enter(shared, NO_KEYSTORE)
    letters = await _chosen(shared, args)
    writer = shared.writer()
    await writer.start()
    try:
        await _tried(shared, writer, letters, pem)
        await _recorded(shared, writer, letters)
    finally:
        await writer.stop()
    if not all(each.whole for each in letters):
        say("what was larger than a letter is shown by its length and its SHA-256: the payload was not kept")
    with _out(args.out) as out:
        for letter in letters:
            payload = _opened(shared, letter, pem)
            out.write(payload if args.letter and not args.json else _line(letter, payload))
    return 0


def _line(letter: Letter, payload: bytes) -> bytes:
    if not letter.whole:
        return json.dumps(letter.row() | {"remnant": json.loads(payload)}).encode() + b"\n"
    try:
        content = {"payload": payload.decode()}
    except UnicodeDecodeError:
        content = {"payload_base64url": b64(payload).decode()}
    return json.dumps(letter.row() | content).encode() + b"\n"


def _out(path: Path | None) -> IO[bytes]:
    if path is None:
        return os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except FileExistsError:
        raise ConfigurationError("--out FILE is there already: name a new one") from None


@dead.command("replay", help="publish the payload to its own topic again; recorded", one_of=_ONE)
@mapped_anew
@click.option(
    "--source", metavar="NAME", help="of letters of a platform's messages: whose they are, where none is told"
)
@click.option("--drop-field", multiple=True, metavar="NAME", help="leave an unknown field out, where the letter says")
@file("--from", "mended", help="publish the corrected payload in FILE")
@_chosen_by
async def replay_letters(args: Args) -> int:
    """Publish payloads to where they lay; each is noted beside its letter when it is acknowledged."""
    shared, pem = the_world(), _key(args.key)
    if args.mended and (args.letter is None or args.drop_field):
        raise ConfigurationError("--from FILE goes with one PARTITION:OFFSET, and not with --drop-field")
    await enter(shared, NO_KEYSTORE)  # a topic that no worker reads any more would keep the payload in clear
    chosen = [each for each in await _chosen(shared, args) if args.letter or not each.replayed]
    letters = [each for each in chosen if args.letter or each.whole]
    if len(letters) < len(chosen):
        say(
            f"{len(chosen) - len(letters)} letters hold a digest alone: publish these records again where they came "
            "from"
        )
    writer = shared.writer()
    await writer.start()
    try:
        if letters and not args.mended:
            await _tried(shared, writer, letters[:1], pem)
        anew = Mapped(shared, args, writer)
        # all or none: a refusal replays nothing
        outputs = [await _again(shared, args, anew, (letter, pem)) for letter in letters]
        notes = _notes(shared, letters)
        await _recorded(shared, writer, letters)
        for letter, written, note in zip(letters, outputs, notes, strict=True):
            # the topic may have been made anew, with fewer partitions
            placed = [
                msgspec.structs.replace(each, partition=each.partition % await writer.partitions(each.topic))
                for each in written
            ]
            await writer.write(placed)
            await writer.write([note])
            where = ", ".join(dict.fromkeys(f"{each.topic}/{each.partition}" for each in placed))
            say(f"letter {letter.name} ({letter.dead.reason}) replayed to {where or 'nowhere: it is skipped'}")
    finally:
        await writer.stop()
    show(args, {"replayed": [each.name for each in letters]}, f"{len(letters)} letters replayed")
    return 0


def _notes(shared: AppContext, letters: Sequence[Letter]) -> list[Output]:
    """That letters were replayed, each with its proof; raises KmsForbiddenError: whoever replays may not say so."""
    topic, now = shared.settings.topic(Topic.DEAD), shared.clock.now()
    notes = [(each.place[0], Replayed(partition=each.place[0], offset=each.place[1], at=now)) for each in letters]
    outputs = [Output(topic, partition, REPLAYED_KEY, encode(note)) for partition, note in notes]
    return shared.vault.vouched(shared.tenant, AUDIT, outputs)


async def _again(shared: AppContext, args: Args, anew: Mapped, sealed: tuple[Letter, bytes]) -> Sequence[Output]:
    letter, pem = sealed
    dead, requests = letter.dead, shared.settings.topic(Topic.REQUESTS)
    events = shared.policy.at(shared.clock.now().date()).tenant[shared.tenant].events
    of_platform = dead.topic == shared.settings.topic(Topic.NOTIFICATIONS)
    if not of_platform and (args.mapping or args.source):
        raise StateRefusedError(f"letter {letter.name} is no platform's message: --mapping and --source are for these")
    if not of_platform and dead.topic not in {*events, requests}:
        raise StateRefusedError(
            f"letter {letter.name} lay in {dead.topic}: only events and requests are replayed, to topics that are "
            f"read: {', '.join((*events, requests))}"
        )
    if not letter.whole and not args.mended:
        left = decode(REMNANTS, _opened(shared, letter, pem))
        raise StateRefusedError(
            f"letter {letter.name} holds no payload, but the digest of {left.bytes} bytes of its {left.of}: "
            "publish the record again where it came from, or give it with --from FILE"
        )
    payload = args.mended.read_bytes() if args.mended else _opened(shared, letter, pem)
    if not payload:
        raise StateRefusedError(f"letter {letter.name} had no payload: there is nothing to replay")
    first = to_ms(dead.appended_at if isinstance(dead.appended_at, datetime) else dead.at)
    header = replay_header(*letter.place, first)
    if of_platform:
        return await anew.outputs(letter.name, dead, payload, header)
    key: bytes | None = shared.tenant.encode()
    if dead.topic != requests:
        payload = plain(payload)
        if args.drop_field:
            payload = without(payload, dead.reason, dead.at_pointer, args.drop_field)
        key = call_key(payload)
    elif args.drop_field:
        raise StateRefusedError(f"letter {letter.name} is a signed request: nothing can be dropped from it")
    return [Output(dead.topic, dead.partition, key, payload, (header,))]
