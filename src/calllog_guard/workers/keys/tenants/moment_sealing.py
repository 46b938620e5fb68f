"""
Seals notifications as records of `calllog.moments`, for whoever takes them in; opens them, for whoever pairs them.

Rules: those of `core/sessions/moment.py`.
"""

import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from calllog_guard.core.crypto.subject_secrets import Random, Secret
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.records import Output
from calllog_guard.core.sessions.moment import (
    NONCE,
    Moment,
    MomentEnvelope,
    MomentHead,
    NamingKey,
    head_of,
    moment_of,
    moment_partition,
)
from calllog_guard.core.sources.notification import Notification
from calllog_guard.core.stream.letters import MOMENTS, LetterKey, kid_of
from calllog_guard.errors import EpochUnknownError, KmsSilentError, RecordError
from calllog_guard.workers.keys.key_cache import Cache

_SEED: Final = 32
_LIFE_S: Final = 300.0
_MOST: Final = 1 << 20
"""Of one ephemeral key: far below where two random nonces of 96 bits would meet."""


class MomentSealer:
    """
    Makes the records of one tenant's moments.

    Args:
        topic: The full name of `calllog.moments`, with its `partitions`.
        names: The tenant's key of names (`Vault.moment_names`).
        week: Gives the newest key of a week (`Vault.moments.newest`); asks the KMS once in five minutes, and blocks.
        now: Seconds that only rise.

    """

    def __init__(
        self,
        tenant: Tenant,
        place: tuple[str, int],
        names: NamingKey,
        week: Callable[[], LetterKey | None],
        random: Random = secrets.token_bytes,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tenant, self._names, self._week, self._random, self._now = tenant, names, week, random, now
        self._topic, self._partitions = place
        self._envelope: MomentEnvelope | None = None
        self._begun, self._left = 0.0, 0

    def record(self, source: str, told: Notification) -> Output:
        """
        The record of a notification: to be written, and acknowledged, before the platform gets its answer.

        The same notification twice is two records that differ and say the same: whoever pairs them counts one.

        Args:
            source: The installation's name of the platform, as `zoom`: small letters, digits, `.`, `_`, `-`.

        Raises:
            MessageError: It holds what no event may hold; a dead letter.
            KmsSilentError: No week's key is known: ask again.

        """
        moment = moment_of(source, told)
        name = self._names.call(self._tenant, source, told.call)
        value = self._sealing().seal(self._tenant, name, moment, self._random(NONCE))
        return Output(self._topic, moment_partition(name, self._partitions), name.encode(), value)

    def _sealing(self) -> MomentEnvelope:
        week, now = self._week(), self._now()
        if week is None:
            raise KmsSilentError("no key of moments lies beside the KMS: calllog-guard tenant upgrade makes the first")
        known = self._envelope
        if known is None or known.head.number != week.number or now - self._begun > _LIFE_S or not self._left:
            known = self._envelope = MomentEnvelope.to_seal(week, self._random(_SEED))
            self._begun, self._left = now, _MOST
        self._left -= 1
        return known


_ENVELOPES: Final = 10_000
_WEEKS: Final = 100


class MomentOpener:
    """
    Opens one tenant's moments; a week's key is asked for again after `life_s`, and what it opened is forgotten.

    Args:
        secret: Gives the seed of a week's private half by its name (`Vault.moments.secret`); may block.
        now: Seconds that only rise.

    """

    def __init__(
        self,
        tenant: Tenant,
        secret: Callable[[str], Secret],
        life_s: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tenant, self._secret = tenant, secret
        self._weeks: Cache[int, Secret] = Cache(life_s, _WEEKS, now=now)
        self._envelopes: Cache[MomentHead, MomentEnvelope] = Cache(life_s, _ENVELOPES, now=now)

    def open(self, name: str, sealed: bytes) -> Moment:
        """
        The moment in a record under the key `name`.

        Raises:
            RecordError: `bad_moment`: no moment of ours; `moment_lapsed`: its week's key is destroyed, or never was.
            KmsSilentError: Nobody can tell; ask again.
            NewerFormError: A later release's: halt.

        """
        head = head_of(sealed)
        known = self._envelopes.get(head)
        if known is None:
            known = self._envelopes.put(head, MomentEnvelope.to_open(head, self._week(head.number)))
        return known.open(self._tenant, name, sealed)

    def unknown(self, sealed: Iterable[bytes]) -> set[int]:
        """The numbers of the weeks' keys that must be asked for before these records open."""
        numbers: set[int] = set()
        for each in sealed:
            with suppress(RecordError):
                numbers.add(head_of(each).number)
        return {number for number in numbers if self._weeks.get(number) is None}

    def learn(self, numbers: Iterable[int]) -> None:
        """Ask for weeks' keys, in a thread; one that is destroyed is met when a record needs it. Raises as `open`."""
        for number in numbers:
            with suppress(RecordError):
                self._week(number)

    def _week(self, number: int) -> Secret:
        known = self._weeks.get(number)
        if known is None:
            try:
                known = self._weeks.put(number, self._secret(kid_of(number, MOMENTS)))
            except EpochUnknownError:
                raise RecordError("moment_lapsed") from None
        return known
