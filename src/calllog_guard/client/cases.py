"""
What becomes of a request, as its requester may read it: the stages of its case, or that the desk has refused it.

In: records of the topics of cases and receipts.  Out: stages, each once, in the order in which they came.
A stage is the desk's word; the proof is its receipt (`answers.py`).
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from calllog_guard.client.answers import refusal
from calllog_guard.core.answers.refused_request import RefusedRequest
from calllog_guard.core.cases.case import Case, case_of, later
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.errors import MessageError, NewerFormError, StateRefusedError

_ENDS: Final = frozenset({"absent", "gone"})
"""The stages that are certificates; a case goes on to `gone` after `absent`."""


class RefusedError(StateRefusedError):
    """
    The desk has refused a request: nothing was done.

    Args:
        reason: A word of the desk's.
        pointer: RFC 6901: which field it is about.
        remedy: What to do.

    """

    def __init__(self, reason: str, pointer: str, remedy: str) -> None:
        super().__init__(f"the desk refused the request: {reason} at {pointer or '/'}: {remedy}")
        self.reason, self.pointer, self.remedy = reason, pointer, remedy


@dataclass(slots=True)
class Answered:
    """
    Whether the desk has refused a request.

    Args:
        case: The id of the case that the request opens.
        place: Partition and offset of the request; an answer to an earlier one of its name is none to it.
        key: The tenant's public receipt key, where it is known.

    """

    case: str
    place: tuple[int, int]
    key: bytes | None
    found: RefusedRequest | None = None

    def note(self, record: Arrival) -> None:
        """Take note of a record of the topic of receipts."""
        if record.key != self.case.encode():
            return
        answer = refusal(record.value or b"", self.key)
        if answer is not None and not (answer.partition == self.place[0] and answer.offset < self.place[1]):
            self.found = answer

    def judge(self) -> None:
        """
        Whether it is refused, once everything was read.

        Raises:
            RefusedError: It is.

        """
        if self.found is not None:
            raise RefusedError(self.found.reason, self.found.at_pointer, self.found.remedy)


@dataclass(frozen=True, slots=True)
class CaseStage:
    """
    A stage that a case has reached.

    Args:
        state: Of the case then: waiting, enforcing, observing, closed, refused.
        waits_for: Who has to do something first: identity, clarification, fee, officer, second_officer, notice.
        final: Whether it is the certificate, or the end of the case.

    """

    name: str
    at: datetime
    state: str
    waits_for: str | None
    due: str
    final: bool


@dataclass(slots=True)
class CaseView:
    """A case as far as it was read."""

    case: str
    latest: Case | None = None
    told: dict[str, datetime] = field(default_factory=dict)

    def stages(self, record: Arrival) -> Iterator[CaseStage]:
        """The stages that a record of the topic of cases tells of and no record before did."""
        if record.key != self.case.encode() or not record.value:
            return
        with suppress(MessageError, NewerFormError):  # none of a desk's of this release
            found = later(self.latest, case_of(record))
            if found is self.latest:
                return
            self.latest = found
            for name, at in found.stages.items():
                if name not in self.told:
                    self.told[name] = at
                    yield self._stage(name, at, found)

    def _stage(self, name: str, at: datetime, case: Case) -> CaseStage:
        last = name == list(case.stages)[-1]
        final = name in _ENDS or (last and case.state in {"closed", "refused"})
        return CaseStage(name, at, case.state, case.waits_for, case.due, final)
