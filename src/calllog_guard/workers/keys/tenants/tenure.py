"""
Whose a tenant's cases are: the tenure of a desk, numbered in the keystore when a desk is assigned its partition.

A paused desk (a frozen machine, a long pause of its runtime) does not know that its partition is another's by now.
Rules: 1. Whoever is assigned the partition takes the next number.  2. Before each write it is read; a change of an
          entry is made only while it stands: who finds a higher number writes nothing more.
       3. What was on its way all the same bears its number; readers of cases and of the ledger let the higher one win.
       4. A number below one's own is an older keystore's: the next is taken. One no desk can have reached says nothing.
Source: docs/how-to/operate.md.
"""

import secrets
import struct
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from calllog_guard.core.cases.case import TENURE_MOST
from calllog_guard.core.crypto.entries import tenure_key
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.records import Output
from calllog_guard.core.stream.proofs import DESK
from calllog_guard.core.topics import TABLE
from calllog_guard.errors import StaleDeskError
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.ports.keys import Keystore
from calllog_guard.ports.log import Writer

_VERSION: Final = 1
_FORM: Final = struct.Struct(">BQ16s")
"""Version, number, and sixteen random bytes, which tell apart two desks that took one number of two keystores."""


def number_in(raw: bytes | None) -> int:
    """The number that an entry says; 0: none, or none of ours."""
    if raw is None or len(raw) != _FORM.size:
        return 0
    version, number, _ = _FORM.unpack(raw)
    return int(number) if version == _VERSION and number < TENURE_MOST else 0


def entry_of(number: int, mark: bytes) -> bytes:
    """The entry of a number, with the mark of the desk that took it."""
    return _FORM.pack(_VERSION, number, mark)


class Tenure:
    """One desk's."""

    def __init__(self, tenant: Tenant, keystore: Keystore) -> None:
        self._keystore, self._raw = keystore, b""
        self.key, self.number = tenure_key(tenant), 0

    async def begin(self, least: int = 0) -> None:
        """Take the next number, above `least` too."""
        while True:
            (raw,) = await self._keystore.read([self.key])
            number = max(number_in(raw), least, self.number) + 1
            mine = entry_of(number, secrets.token_bytes(16))
            if await self._keystore.swap({self.key: (raw, mine)}, {}):
                self.number, self._raw = number, mine
                return

    def end(self) -> None:
        """Give it up."""
        self._raw = b""

    @property
    def unchanged(self) -> dict[bytes, bytes | None]:
        """What must stand while an entry of a person is changed; nothing before the first number was taken."""
        return {self.key: self._raw} if self._raw else {}

    async def check(self) -> None:
        """
        Whether the cases are still this desk's.

        Raises:
            StaleDeskError: Another desk has them.

        """
        (raw,) = await self._keystore.read([self.key])
        await self.judge(raw)

    async def judge(self, raw: bytes | None) -> None:
        """As `check`, of what was just read."""
        if raw == self._raw or not self._raw:
            return
        if number_in(raw) >= self.number:
            raise StaleDeskError("another desk has this tenant's cases by now: nothing is written")
        await self.begin()


Prove = Callable[[str, Sequence[Output]], Awaitable[list[Output]]]
BELIEVED: Final = tuple(topic for topic, row in TABLE.items() if row.proven)
"""What a desk writes that programs of ours read and believe: it bears the desk's proof."""


class TenureWriter:
    """
    A Writer that writes nothing for a desk whose tenure is over, and proves what it writes.

    Args:
        prove: Gives records the proof of a role.
        topics: The full names of BELIEVED.

    """

    def __init__(
        self, writer: Writer, tenure: Tenure, steps: CrashPoints, prove: Prove, topics: Iterable[str] = BELIEVED
    ) -> None:
        self._writer, self._tenure, self._steps = writer, tenure, steps
        self._prove, self._topics = prove, frozenset(topics)

    async def write(self, outputs: Sequence[Output]) -> None:
        """See Writer; raises StaleDeskError."""
        if outputs:
            await self._tenure.check()
            self._steps.reached(f"write.{outputs[0].topic.rpartition('.')[2]}")
        mine = [each for each in outputs if each.topic in self._topics]
        proven = iter(await self._prove(DESK, mine) if mine else ())
        await self._writer.write([next(proven) if each.topic in self._topics else each for each in outputs])

    async def withdraw(self) -> None:
        """See Writer."""
        await self._writer.withdraw()
