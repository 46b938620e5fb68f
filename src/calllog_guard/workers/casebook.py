"""
The open and ended cases of one tenant, as the desk holds them: read from their topic, kept in memory, written through.

Rules: 1. A case is in memory only after it is acknowledged.  2. What a waiting case needs of its request (identities among it) is
          sealed under the epoch key and gone with the last save that no longer needs it.
Source: design section 9, step 1; section 12.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from calllog_guard.core.ids import INTERNAL_KEY, EpochName, Tenant, b64, unb64
from calllog_guard.core.requests.case import CASES, Case
from calllog_guard.core.requests.fields import Kind
from calllog_guard.core.requests.machine import RULES
from calllog_guard.core.requests.request import REQUESTS, Request
from calllog_guard.core.requests.secret import PREFIX, open_case, seal_case, secret_key
from calllog_guard.core.tombstone import Output
from calllog_guard.core.wire import decode, encode
from calllog_guard.errors import EntryCorruptError, RecordError
from calllog_guard.ports import Writer
from calllog_guard.workers.keyring import Keyring, pointer
from calllog_guard.workers.vault import Vault

_NONCE: Final = 12
_HOUR: Final = timedelta(hours=1)


class Casebook:
    """One tenant's cases; `home` is the partition of the tenant."""

    def __init__(self, tenant: Tenant, home: int, topic: str, ring: Keyring, vault: Vault, writer: Writer) -> None:
        self._tenant, self._home, self._topic = tenant, home, topic
        self._ring, self._vault, self._writer = ring, vault, writer
        self._cases: dict[str, Case] = {}
        self._acts: dict[str, tuple[int, int]] = {}
        self._begun: dict[str, Case] = {}

    def clear(self) -> None:
        """Forget all: the partition is someone else's, or is read anew."""
        self._cases.clear()
        self._acts.clear()

    def note(self, record: Any) -> None:
        """
        Take a record of the topic; keys of ours that are no cases are passed over.

        Raises:
            MessageError: No case of ours; the one it would replace is kept.

        """
        name = (record.key or INTERNAL_KEY).removeprefix(PREFIX)
        if name[:1] == INTERNAL_KEY:
            return
        if record.value is None:
            self._cases.pop(name.decode("ascii", "replace"), None)
            return
        if name != record.key:
            self._keep(open_case(record.key, record.value, self._vault.case_key(self._tenant)))
            return
        case = decode(CASES, record.value)
        if record.key != case.case.encode():
            raise RecordError("bad_case")
        self._keep(case)

    def _keep(self, case: Case) -> None:
        self._cases[case.case] = case
        self._acts.update(case.acts)

    def get(self, name: str) -> Case | None:
        """A case by its id."""
        return self._cases.get(name)

    def place_of(self, jti: str) -> tuple[int, int] | None:
        """Where an act on a case was read first."""
        return self._acts.get(jti)

    def __iter__(self) -> Iterator[Case]:
        """The cases that may be told of: no count, list or figure may move with a secret one."""
        return iter([case for case in self._cases.values() if not case.secret])

    def holds(self) -> list[Case]:
        """The cases of holds, secret ones too."""
        return [case for case in self._cases.values() if case.type == "hold" and case.hold]

    def braked(self, kind: Kind, most: int, now: datetime) -> bool:
        """Whether so many cases under the same brake were begun within the last hour that the next waits for an officer."""
        brake = RULES[kind].brake
        same = {name for name, rule in RULES.items() if brake and rule.brake == brake}
        cases = (self._cases | self._begun).values()
        recent = sum(case.type in same and case.state != "waiting" and case.opened_at > now - _HOUR for case in cases)
        return brake is not None and recent >= most

    @contextmanager
    def begun(self, case: Case) -> Iterator[None]:
        """While a case is being written for the first time, the brake counts it already: others are opened beside it."""
        self._begun[case.case] = case
        try:
            yield
        finally:
            self._begun.pop(case.case, None)

    async def save(self, case: Case, outputs: Sequence[Output] = ()) -> Case:
        """Write a case and what goes with it, and keep it once that is acknowledged."""
        if case.secret:  # what would be told stays in the case
            told = tuple(output.value.decode() for output in outputs if output.value)
            case, outputs = msgspec.structs.replace(case, told=(*case.told, *told)), ()
        await self._writer.write([self._record(case), *outputs])
        self._keep(case)
        return case

    def _record(self, case: Case) -> Output:
        if not case.secret:
            return Output(self._topic, self._home, case.case.encode(), encode(case))
        name, key = secret_key(case.case), self._vault.case_key(self._tenant)
        return Output(self._topic, self._home, name, seal_case(name, encode(case), key, secrets.token_bytes(_NONCE)))

    async def save_all(self, cases: Sequence[Case], outputs: Sequence[Output]) -> None:
        """As `save`, of several cases at once; outputs are keyed by case."""
        rest = list(outputs)
        for number, case in enumerate(cases):
            if case.secret:  # what would be told stays in the case
                own = [output for output in rest if output.key == case.case.encode()]
                rest = [output for output in rest if output not in own]
                told = tuple(output.value.decode() for output in own if output.value)
                cases = [*cases[:number], msgspec.structs.replace(case, told=(*case.told, *told)), *cases[number + 1 :]]
        await self._writer.write([*map(self._record, cases), *rest])
        for case in cases:
            self._keep(case)

    async def forget(self, case: Case) -> None:
        """A case whose time is over: tombstoned."""
        await self._writer.write([msgspec.structs.replace(self._record(case), value=None)])
        self._cases.pop(case.case, None)

    # --- what a waiting case needs ------------------------------------------------------------------------------------

    async def sealed(self, case: Case, request: Request) -> Case:
        """The case with its request sealed in it, under the present epoch."""
        epoch = pointer(await self._ring.view([]))
        key = self._vault.epoch_key(epoch, self._tenant, "cases")
        nonce = secrets.token_bytes(_NONCE)
        content = nonce + AESGCM(key.expose()).encrypt(nonce, encode(request), case.case.encode())
        return msgspec.structs.replace(case, sealed=b64(content).decode(), epoch=epoch)

    def request_of(self, case: Case) -> Request:
        """
        The request of a case that waits.

        Raises:
            EntryCorruptError: Changed, or another case's: the desk halts.
            EpochUnknownError: Its epoch is destroyed: the desk halts.

        """
        key = self._vault.epoch_key(EpochName(case.epoch or ""), self._tenant, "cases")
        try:
            raw = unb64((case.sealed or "").encode("ascii"))
            content = AESGCM(key.expose()).decrypt(raw[:_NONCE], raw[_NONCE:], case.case.encode())
        except (InvalidTag, ValueError):
            raise EntryCorruptError("the sealed part of a case does not open") from None
        return decode(REQUESTS, content)

    async def renew(self) -> int:
        """Seal waiting cases under the present epoch, so that none keeps an old epoch alive; how many."""
        epoch = pointer(await self._ring.view([]))
        old = [case for case in self if case.sealed and case.epoch != epoch]
        for case in old:
            await self.save(await self.sealed(case, self.request_of(case)))
        return len(old)
