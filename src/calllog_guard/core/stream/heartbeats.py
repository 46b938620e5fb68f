"""
Heartbeats: how one of ours is known in a topic to which others may write too.

Rules: 1. A heartbeat bears a signature over its place and content, by a signer of the tenant's profile: copied to
          another topic or partition it is none.  2. A tenant of the first release has no signer: what has exactly its
          bytes is one. So is what brokers appended before it had signers, whenever read; its counter counts no more.
       3. Whatever else is under the key, or begins with `~`, is a message like any other.
Source: `proofs.py`; golden bytes in `tests/vectors/stored_v2.json`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from calllog_guard.core.codec import BEAT, BEATS, decode, encode
from calllog_guard.core.stream.proofs import AUDIT, KEEP, Proofs, signer_of
from calllog_guard.errors import MessageError, NewerFormError

_ROLES: Final = frozenset({AUDIT, KEEP})
"""Whose heartbeats are believed: whatever signs for something else has no say here."""


def plain(record: Any) -> bool:
    """Whether a record has exactly the bytes of a heartbeat of the first release, which bore no proof."""
    if record.key != BEAT or record.value is None:
        return False
    try:
        return bool(encode(decode(BEATS, record.value)) == record.value)
    except (MessageError, NewerFormError):
        return False


class Heartbeats(NamedTuple):
    """By which a tenant's heartbeats are known; see `Proofs`."""

    signers: Mapping[str, str]
    until: datetime | None = None

    def ours(self, record: Any) -> bool:
        """Whether a record is a heartbeat that nobody else can have written, or could before there were signers."""
        if record.key != BEAT:
            return False
        older = Proofs(self.signers, self.until).older
        return self._counts(record) or (plain(record) and older(record, AUDIT))

    def _counts(self, record: Any) -> bool:
        """Whether what a heartbeat says is believed."""
        if record.key != BEAT:
            return False
        return signer_of(record, self.signers) in _ROLES if self.signers else plain(record)

    def counter(self, record: Any) -> int | None:
        """
        The keystore's counter in a record; None: it is no heartbeat of ours.

        Raises:
            NewerFormError: A later release's: halt.

        """
        try:
            return decode(BEATS, record.value or b"").counter if self._counts(record) else None
        except MessageError:
            return None

    def highest(self, records: Sequence[Any]) -> int:
        """
        The highest counter that a heartbeat of ours among some records says; 0: there is none.

        An older one that is appended again is as proven as on its first day, and hides none. Of the first release's,
        which anybody can make, the last one counts.

        Raises:
            NewerFormError: A later release's: halt.

        """
        if not self.signers:
            return next((counter for each in reversed(records) if (counter := self.counter(each)) is not None), 0)
        ranked = sorted(records, key=_claimed, reverse=True)
        return next((counter for each in ranked if (counter := self.counter(each)) is not None), 0)


def _claimed(record: Any) -> int:
    """The counter that a record claims; one of which nothing can be read is looked at first."""
    try:
        return decode(BEATS, record.value or b"").counter
    except (MessageError, NewerFormError):
        return 1 << 64
