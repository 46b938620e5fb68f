"""
Every way this software fails, and what its caller does then.

Two families: the message is bad (it becomes a dead letter), or the world is bad (wait, or halt).
Rules: 1. Each class states its fate.  2. No text carries an identifier of a person or a payload.
       3. An exception that is not ours is a defect, and a defect halts.
Source: docs/contributing/architecture.md.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, ClassVar


class Fate(Enum):
    """What a unit that met an error does next. No other end exists."""

    RETRY = "retry"
    DEAD_LETTER = "dead_letter"
    HALT = "halt"


class GuardError(Exception):
    """The root of all our errors; halts unless a class says otherwise."""

    fate: ClassVar[Fate] = Fate.HALT


# --- the message is bad ---------------------------------------------------------------------------------------------


class MessageError(GuardError):
    """
    A message that can never be handled: it becomes a dead letter with its coordinates and this reason.

    Args:
        reason: A word from our own code, never from the message.
        pointer: RFC 6901, our schema's names and indices only.

    """

    fate = Fate.DEAD_LETTER

    def __init__(self, reason: str, pointer: str = "") -> None:
        super().__init__(f"{reason} at {pointer or '/'}")
        self.reason = reason
        self.pointer = pointer


class UnmappedError(MessageError):
    """
    A message, or a part of it, of which a mapping makes nothing; what can be kept of it is kept.

    Args:
        found: What kind of thing was found, never its value.
        source: The path that the mapping names.

    """

    def __init__(self, reason: str, pointer: str = "", *, found: str = "", source: str = "") -> None:
        super().__init__(reason, pointer)
        self.found, self.source = found, source


class RecordError(MessageError):
    """A stored record (leg, decision, case) that is not what our writers write; never opened, never guessed at."""


class RequestRefusedError(MessageError):
    """A request that is forged, expired, replayed or for someone else; never action, never silence."""


class CaseStateError(MessageError):
    """What a request asks of a case is impossible in its present state: a dead letter, and the case stays as it is."""


class OutputTooLargeError(MessageError):
    """
    What becomes of a message is larger than its topic takes; the message becomes a dead letter instead.

    Args:
        topic: Where it was to be written.
        size: Its bytes.

    """

    def __init__(self, topic: str, size: int) -> None:
        super().__init__("output_too_large")
        self.topic, self.size = topic, size


class WebhookRefusedError(GuardError):
    """
    A webhook that its platform has not signed: answered 401 and counted; no unit ever meets it, and nothing is kept.

    Args:
        reason: A word of ours, never anything of the request.

    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class HoldReleasedError(MessageError):
    """A hold that is over, or that nobody ordered: nothing can be put under it, nothing released."""


# --- the world is bad -----------------------------------------------------------------------------------------------


class KeystoreSilentError(GuardError):
    """
    The keystore gave no answer, so nothing is known: wait and ask again.

    Not proof of absence: only a person entry that is gone yields ERASED.
    """

    fate = Fate.RETRY


class KeystoreForbiddenError(KeystoreSilentError):
    """The keystore's user may not do this: it is done by those who may, and whoever must do it waits."""


class KeystoreUnsafeError(GuardError):
    """The keystore runs with settings under which secrets may be lost or kept: refused at start."""


class ParkedError(GuardError):
    """Of one person, one hold or one case: what needs it is parked, its neighbours go on. Whoever cannot park waits."""

    fate = Fate.RETRY


class LookingError(ParkedError):
    """Keepers are yet to say whether there is anything to disclose: the case waits a moment, and nobody is told."""


class EntryUnreadableError(ParkedError):
    """
    One entry of the keystore is of no use: nothing may be opened, stored or minted by it, and its owner is unknown.

    Args:
        reason: A word of ours: `entry_corrupt`, `entry_unknown_epoch`, `key_missing`, `key_foreign`.

    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


class EntryMovedError(EntryUnreadableError):
    """A person's entry leads elsewhere since it was asked for: the unit is done again, and asks there."""

    def __init__(self) -> None:
        super().__init__("a person's entry leads elsewhere since it was asked for: is asked again", "entry_moved")


class IdentityMovedError(GuardError):
    """The rules of identity changed since a unit began, or the keystore is not carried over to them yet: wait."""

    fate = Fate.RETRY


class KeyMissingError(EntryUnreadableError):
    """A live person without a key: never mint anew, never pass; restore it, or erase the person."""


class UpgradeNeededError(ParkedError):
    """A write needs newer stored forms than the installation's: it waits for `calllog-guard tenant upgrade`."""


class UntracedError(ParkedError):
    """Who is told before a restriction ends is not known: a keeper is yet to say who was given the person's records."""


class HoldsFullError(ParkedError):
    """As many holds of one person wait for copies as its entry can name: the next waits until keepers made some."""


class EntryCorruptError(GuardError):
    """Bytes of the keystore or the KMS do not authenticate: someone wrote them. They may not open or store anything."""


class StaleDeskError(GuardError):
    """Another desk has the cases: this one was paused, and writes nothing; its unit ends with the partition's loss."""

    fate = Fate.RETRY


class GuardMovedError(GuardError):
    """The keystore's guard entry is missing or another one: the keystore has another past than the one seen."""


class KeystoreGuardedError(GuardError):
    """
    The keystore was restarted, restored or failed over: wait until the keepers have replayed the ledger against it.

    Until then nobody opens, seals or mints, or an old backup would bring erased people back.
    """

    fate = Fate.RETRY


class KmsSilentError(GuardError):
    """The KMS gave no answer: wait and ask again."""

    fate = Fate.RETRY


class KmsForbiddenError(KmsSilentError):
    """The KMS does not let these credentials use this key: whoever may, does."""


class SignInRefusedError(GuardError):
    """
    What came back from an identity provider lets nobody in; the officer is told, and may try again.

    Args:
        reason: A word from our own code, never from a token.

    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"a sign-in is refused: {reason}")
        self.reason = reason


class ProviderSilentError(GuardError):
    """The identity provider gave no answer, or none that can be read: nobody is let in; try again later."""

    fate = Fate.RETRY


class EpochUnknownError(GuardError):
    """The KMS does not know this epoch (destroyed, or another KMS): nothing sealed under it can be opened."""


class LogSilentError(GuardError):
    """Kafka gave no answer, or not in time: wait and do the unit again."""

    fate = Fate.RETRY


class WorkersSilentError(GuardError):
    """No worker has done in time what was asked; it may be done later. The command ends with 3."""

    fate = Fate.RETRY


class LogRefusedError(LogSilentError):
    """
    Kafka refuses our credentials or rights, or shows a certificate that we refuse: nothing is known of its topics.

    A kind of silence: wait, so that the workers go on once somebody has mended it.
    """


class OffsetsGoneError(LogSilentError):
    """
    What was to be read is gone: the beginning of a topic has overtaken it, or its end lies before it.

    Args:
        places: The offset that was asked for, by partition.

    """

    def __init__(self, places: Mapping[Any, int]) -> None:
        self.places = places
        super().__init__("what was to be read is gone: the beginning of a topic has overtaken it")


class UnacknowledgedError(LogSilentError):
    """What Kafka was handed was not acknowledged, and is withdrawn: some of it may be written; do the unit again."""


class LogFaultError(GuardError):
    """Kafka refuses for good: a topic or a broker is not as we need it. Nothing was committed; mend it, then start."""


class LegMovedError(GuardError):
    """
    Legs were not where the index says: replaced between look-up and reading, or gone. Read on, and try again.

    Args:
        missing: Their record keys.

    """

    fate = Fate.RETRY

    def __init__(self, missing: Iterable[bytes]) -> None:
        self.missing = tuple(missing)
        super().__init__(f"{len(self.missing)} legs are not where the index says: read on, then try again")


class PositionConflictError(GuardError):
    """Two topics of a worker were assigned with unequal partition sets, or an offset would jump: stop."""


class RecordsLostError(GuardError):
    """Records are gone that were not read, or a topic was made anew: halt until an officer accepts it by name."""


class UnitOverdueError(GuardError):
    """A unit ran longer than the bound printed on receipts: halt, so that no producer holds old records for longer."""


class IndexFaultError(GuardError):
    """The keeper's index cannot be read or written: discard it and rebuild from the topics."""


class IndexHeldError(IndexFaultError):
    """Another process holds the index: a keeper that owns the partition, or a rebuild."""


class CasesFaultError(GuardError):
    """The desk's case store cannot be read or written: discard it and rebuild from `privacy.cases`."""


class StoredFormError(GuardError):
    """What this program seals it cannot open, or it opens what was changed: nothing may be written by it."""


class NewerFormError(GuardError):
    """
    A stored form or message of a later major version: halt, for passing it over or guessing at it would lose it.

    Args:
        what: What was found, without an identifier of a person.

    """

    def __init__(self, what: str, found: int, known: int) -> None:
        super().__init__(
            f"{what} has the version {found}, and this release reads up to {known}: a later release wrote it; run that "
            "release here"
        )


class ConfigurationError(GuardError):
    """Settings, policy or key files are wrong; the text says what was found and what to do."""


class StateRefusedError(GuardError):
    """What was asked is well formed but not possible in the present state (exit 4)."""


def exit_code(error: GuardError) -> int:
    """The exit code that an error ends a command with."""
    if isinstance(error, ConfigurationError):
        return 2
    if isinstance(error, StateRefusedError):
        return 4
    return {Fate.RETRY: 3, Fate.DEAD_LETTER: 4, Fate.HALT: 70}[error.fate]
