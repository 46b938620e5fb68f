"""
How late an event may come, as the keystore knows it: a fence that was dropped keeps out nobody's old calls any more.

Rules: 1. A protector says under which limit it works before it reads; what is kept is the highest, and it never falls.
       2. The walk drops a fence only under that limit or a higher one, and says so before.
       3. A protector with a limit above the one of dropped fences does not start: calls of the erased would come back.
Source: docs/explanation/keystore.md, docs/reference/settings.md.
"""

import struct
from typing import Final, NamedTuple

from calllog_guard.errors import ConfigurationError, EntryCorruptError
from calllog_guard.ports.keys import Keystore

KEY: Final = b"clg:~late"
_FORM: Final = struct.Struct(">BII")
_VERSION: Final = 1


class Limit(NamedTuple):
    """In days: the highest limit a protector worked under, and that under which fences were dropped; 0 for none."""

    highest: int = 0
    dropped: int = 0


def limit_entry(limit: Limit) -> bytes:
    """The entry, version 1: version and both."""
    return _FORM.pack(_VERSION, *limit)


def read_limit(raw: bytes | None) -> Limit:
    """
    What the entry says.

    Raises:
        EntryCorruptError: Somebody wrote over it.

    """
    if raw is None:
        return Limit()
    if len(raw) != _FORM.size or raw[0] != _VERSION:
        raise EntryCorruptError("the keystore's entry of how late events may come is none of ours")
    return Limit(*_FORM.unpack(raw)[1:])


class LateLimit:
    """The entry of one keystore."""

    def __init__(self, keystore: Keystore) -> None:
        self._keystore = keystore

    async def work_under(self, days: int) -> None:
        """
        Take events that are so many days old.

        Raises:
            ConfigurationError: Fences were dropped that would have kept some of them out.

        """
        while True:
            raw, limit = await self._read()
            if limit.dropped and days > limit.dropped:
                raise ConfigurationError(
                    f"CALLLOG_GUARD_EVENT_LATE_DAYS is {days}, and fences of erased people were dropped under "
                    f"{limit.dropped}: calls of "
                    f"theirs could come back; set it to {limit.dropped} or less (older calls: `import`, with the list "
                    "of who was erased)"
                )
            if days <= limit.highest or await self._put(raw, limit._replace(highest=days)):
                return

    async def least(self, days: int) -> int:
        """Under which limit fences may be dropped: `days`, or the highest that a protector has worked under."""
        return max(days, (await self._read())[1].highest)

    async def drop_under(self, days: int) -> bool:
        """Fences are about to be dropped under this limit; False: a protector works under a higher one: none may be."""
        while True:
            raw, limit = await self._read()
            if limit.highest > days:
                return False
            if 0 < limit.dropped <= days or await self._put(raw, limit._replace(dropped=days)):
                return True

    async def _read(self) -> tuple[bytes | None, Limit]:
        (raw,) = await self._keystore.read([KEY])
        return raw, read_limit(raw)

    async def _put(self, raw: bytes | None, limit: Limit) -> bool:
        return await self._keystore.swap({KEY: (raw, limit_entry(limit))}, {})
