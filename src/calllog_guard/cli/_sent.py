"""What becomes of a sent request: the desk takes it or makes it a dead letter; the workers carry its case on."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from calllog_guard.adapters.kafka.watch import KafkaWatch
from calllog_guard.app.context import AppContext
from calllog_guard.cli._case_read import case_key, readable
from calllog_guard.cli._output import say
from calllog_guard.cli._requests import has_orders, publish
from calllog_guard.client.cases import RefusedError
from calllog_guard.client.signing import SignedRequest
from calllog_guard.core.cases.case import Case, later
from calllog_guard.core.cases.secret_cases import REFUSED, RefusedOrder, is_state, open_refusal, refused_key
from calllog_guard.core.codec import DEAD, Dead, decode, time_text
from calllog_guard.core.requests.remedies import remedy
from calllog_guard.core.topics import Topic
from calllog_guard.errors import MessageError, NewerFormError

TAKEN_S: Final = 3.0
"""How long a command waits for the desk unasked: a running one takes a request within a second."""
_POLL_MS: Final = 100
_PATIENCE_S: Final = 5.0


class RequestWatch:
    """
    Watches the desk's topics from before the request is sent; `key` is the sender's: an officer sees secret cases.

    Args:
        order: It goes to the topic of orders, where no backend sees it, nor why it is not taken.

    """

    def __init__(self, shared: AppContext, signed: SignedRequest, key: Path, *, order: bool = False) -> None:
        self._shared, self._signed, self._key = shared, signed, case_key(shared, key)
        self._order, self._orders = order, shared.settings.topic(Topic.ORDERS)
        self._requests = shared.settings.topic(Topic.REQUESTS)
        home = shared.home
        self._dead = shared.settings.topic(Topic.DEAD)
        topics = [shared.settings.topic(Topic.CASES), self._dead]
        topics += [self._orders] if self._key and has_orders(shared) else []
        self._watch = KafkaWatch(shared.settings.kafka, shared.options, topics, home)
        self._offset: int | None = None
        self._letter: Dead | RefusedOrder | None = None
        self._latest: Case | None = None
        self._told = 0

    async def __aenter__(self) -> Self:
        """Send it."""
        try:
            await self._watch.start()
            self._offset = await publish(self._shared, self._signed, order=self._order)
        except BaseException:
            await self._watch.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Watch no more."""
        await self._watch.stop()

    async def until(
        self, mine: Callable[[Case], bool], done: Callable[[Case], bool], seconds: float, *, tell: bool = False
    ) -> Case | None:
        """
        The case as soon as it is as wanted, or as it is when time is up; None when nobody took the request by then.

        Raises:
            RefusedError: The desk has made a dead letter of it.

        """
        began, patient = time.monotonic(), not tell
        while (waited := time.monotonic() - began) < seconds:
            for record in await self._watch.more(_POLL_MS):
                self._note(record, mine)
            if self._letter is not None:
                raise RefusedError(self._letter.reason, self._letter.at_pointer, remedy(self._letter.reason))
            if self._latest is not None:
                self._tell(self._latest, tell=tell)
                if done(self._latest):
                    break
            elif not patient and waited > _PATIENCE_S:
                patient = True
                say("no desk has taken the request yet")
        if self._latest is None and not self._order and self._dead not in self._watch.topics:
            say("whether the desk has refused it cannot be seen: Kafka lets this user not read the dead letters")
        return self._latest

    def _note(self, record: Any, mine: Callable[[Case], bool]) -> None:
        if record.topic == self._dead:
            with suppress(MessageError, NewerFormError):  # none of ours
                letter = decode(DEAD, record.value or b"")
                if not self._order and (letter.topic, letter.offset) == (self._requests, self._offset):
                    self._letter = letter
        elif (record.key or b"").startswith(REFUSED):
            with suppress(MessageError, NewerFormError):
                if self._order and self._key and record.key == refused_key(record.partition, self._offset or 0):
                    self._letter = open_refusal(record.key, record.value or b"", self._key)
        elif record.value is not None and (record.topic != self._orders or is_state(record)):
            case = readable(self._shared, record, self._key)
            if case is not None and mine(case):
                self._latest = later(self._latest, case)

    def _tell(self, case: Case, *, tell: bool) -> None:
        """The stages that are new, in the order in which they came."""
        for stage, at in list(case.stages.items())[self._told :] if tell else []:
            say(f"{stage} {time_text(at)}")
        self._told = len(case.stages)
