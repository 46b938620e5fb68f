"""
The keys of weeks beside the KMS: found, made each week, destroyed once nothing that is sealed to them can live.

Letters are what is sealed to them: dead letters, and moments.

Rules: 1. A key is used until a later one is known; a look is at most LIFE_S old: what is sealed that long after its
          successor was made is sealed to its successor.  2. The newest is never destroyed, none until its letters are
          out of the topic: as long as it keeps letters, counted from its successor.  3. The next walk mends any crash.
Source: `core/stream/letters.py`; docs/how-to/dead-letters.md.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from calllog_guard.core.crypto.jose import desk_pem, sealing_public
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.stream.letters import LETTERS, WEEK, LetterKey, kid_of, number_in, packed, unpacked
from calllog_guard.ports.keys import Kms, Ring
from calllog_guard.workers.keys.tenants.profiles import check_vouched, vouched

LIFE_S: Final = 300.0


class LetterKeys:
    """
    One installation's of one kind; every method may block.

    Args:
        kind: What is sealed to them.
        wrapping: The name of the wrapping key that vouches for public halves.
        now: Seconds that only rise.

    """

    def __init__(
        self, kms: Kms, ring: Ring, wrapping: str, now: Callable[[], float] = time.monotonic, *, kind: str = LETTERS
    ) -> None:
        self._kms, self._ring, self._wrapping, self._now, self._kind = kms, ring, wrapping, now, kind
        self._keys: list[LetterKey] = []
        self._looked = -float("inf")

    def _public_name(self, number: int) -> str:
        return f"{self._kind}.{number}.public"

    def prepare(self) -> None:
        """Make the wrapping key that vouches, unless there is one: the operator's work, with a tenant's."""
        self._kms.create_epoch(self._wrapping)

    def newest(self) -> LetterKey | None:
        """
        To which letters are sealed; None: to the operator's key alone.

        Raises:
            KmsSilentError: Nobody can tell; ask again.
            EntryCorruptError: Somebody wrote it who may not.
            NewerFormError: A later release wrote it.

        """
        if self._now() - self._looked > LIFE_S:
            self.look()
        return self._keys[-1] if self._keys else None

    def look(self) -> list[LetterKey]:
        """Every key there ever was, the newest last; raises as `newest`."""
        asked = self._now()
        while (blob := self._ring.get(self._public_name(len(self._keys) + 1))) is not None:
            number = len(self._keys) + 1
            key, content, proof = unpacked(number, blob, self._kind)
            check_vouched(self._kms, self._wrapping, self._public_name(number), content, proof)
            self._keys.append(key)
        self._looked = asked
        return list(self._keys)

    def private(self, kid: str) -> bytes:
        """
        The PEM of a week's private half.

        Raises:
            EpochUnknownError: Destroyed, or there never was one.

        """
        return desk_pem(self.secret(kid).expose())[0]

    def secret(self, kid: str) -> Secret:
        """The seed of a week's private half; raises as `private`."""
        number = number_in(kid, self._kind) or 0
        return self._kms.unwrap(kid, self._ring.get(f"{self._kind}.{number}") or b"")

    def renew(self, at: datetime) -> LetterKey:
        """
        Make the next key if the newest one's week is over, or there is none; the newest then.

        Args:
            at: Not earlier than it is for the brokers. A key from the future, as a wrong clock makes it, has no week.

        """
        keys = self.look()
        if keys and keys[-1].since <= at < keys[-1].since + WEEK:
            return keys[-1]
        number = len(keys) + 1
        kid, name, public_name = kid_of(number, self._kind), f"{self._kind}.{number}", self._public_name(number)
        self._kms.create_epoch(kid)
        if self._ring.get(name) is None:
            self._ring.put_new(name, self._kms.wrap(kid, Secret.mint()))
        key = LetterKey(number, sealing_public(self.secret(kid).expose()), at, self._kind)
        self._ring.put_new(public_name, vouched(self._kms, self._wrapping, public_name, packed(key)))
        return self.look()[-1]

    def destroy(self, now: datetime, kept: timedelta) -> list[str]:
        """
        Destroy the private halves of keys to which no letter that still lives can be sealed.

        Args:
            now: Not later than it is for the brokers, which keep the letters.
            kept: How long a letter may live, from its sealing on.

        Returns:
            Their names.

        """
        last = max((key.number - 1 for key in self.look() if key.since + kept <= now), default=0)
        alive = [name for name in self._kms.epochs() if 0 < (number_in(name, self._kind) or 0) <= last]
        for name in alive:
            self._kms.destroy_epoch(name)
        return alive
