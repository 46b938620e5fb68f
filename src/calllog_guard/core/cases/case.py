"""
A case: the life of a request, without the identity of whom it is about.

Source: docs/reference/messages.md, docs/explanation/design.md, docs/explanation/cases.md.
Beyond it: `jti`, `place` and `acts` make a redelivery resume
and a replay refused; `progress` says which decision reached which stage, `observed` what was seen of it last; `times`,
`pauses`, `approvals` are acts of the clock and the officers, `officer` that one had it; `sealed` is what is to enforce;
`notices` says who was told what (`notices.py`); of a disclosure `filed` seals its addressee, `review_at` is when to ask
whether the person may be told, for which `sealed` stays; of a hold that is no secret, when it is to be reviewed.
`whose` and `said` (`case_owner.py`) let a person find the case and what officers told them in it, and nobody else.
`known` says whether somebody was known under the request's identifiers at its carrying out, `unknown` under which
(by their place, from 0) nobody was, `linked` how many others were reached because they are the same person.
`hold` is the hold of a `hold` or `release`, `kept` what law keeps of an erasure; in `secret_cases.py` `told` holds
the receipts, which go nowhere else.
`tenure` and `count` tell which of two states is later: the later desk's, and of one desk the later written; a state
without them is an earlier release's, and before all that have them.
`traces` says per decision about the person's records where they had gone (Art. 19), `untold` whom of them to tell yet,
with the time that their notices say: until then the case keeps its request, sealed.
`lifts` says which restrictions a `lift` met, by their cases (`restore`: a restored keystore), and what became of each.
`preview` says what keepers had counted before an officer decided; it changes no more once one has.
"""

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final, Literal

import msgspec

from calllog_guard.core.cases.deadlines import Times
from calllog_guard.core.cases.notices import Sent
from calllog_guard.core.codec import Day, Id, Rewritten, TenantName, Utc, decode
from calllog_guard.core.decisions.decision import case_id, request_name
from calllog_guard.core.decisions.outcome import Observed, Outcome
from calllog_guard.core.decisions.preview import Preview
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.requests.types import COPIES, TRACED, NoticeKind, stages_of
from calllog_guard.core.stream.proofs import DESK, UNPROVEN, Proofs
from calllog_guard.errors import RecordError

State = Literal["waiting", "enforcing", "observing", "closed", "refused"]
WaitsFor = Literal["identity", "clarification", "fee", "officer", "second_officer", "notice"]
Moment = Literal["identity_asked_at", "identity_shown_at", "fee_asked_at", "fee_paid_at", "extended_at"]
_ANSWERS: Final = frozenset({"tombstoned", "exported", "copied", "refused", "answered"})
SINCE: Final = {
    "fenced": "accepted",
    "destroyed": "fenced",
    "rewritten": "destroyed",
    "tombstoned": "destroyed",
    "absent": "tombstoned",
    "gone": "tombstoned",
}
"""From which stage of an erasure on the time to another is measured; the objectives count from the tombstones."""

_YEARS: Final = (2000, 2200)
"""Of what a request may say (docs/how-to/publish-an-event.md), and a century for what follows from it."""
OF_NOBODY: Final = frozenset({"absent", "gone", "exported"})
"""The stages of a case in which nobody was known: nothing was destroyed, removed or corrected, or is said to be."""
UNFOUND: Final = "unfound"
"""The stage of a case that an officer has because nobody, or nothing, was found that it could be done to."""
ANNOUNCED: Final = "announced"
"""The stage of a case whose person is being told before anything is done: a disclosure, the end of a restriction."""
TOLD: Final = "told"
"""The stage of such a case once the person was told, or the days for it are over."""
AT_ONCE: Final = "fenced"
"""The progress of a decision that the desk has carried out whole: a restriction, its end, a consent."""


TENURE_MOST: Final = 1 << 62
"""Above every number that desks can reach by taking one after another: what bears such a one is nobody's."""
Count = Annotated[int, msgspec.Meta(ge=1, lt=TENURE_MOST)]
ASKED, NOBODY, UNSURE = "asked", "nobody", "unsure"
"""The progress of a search: a partition was asked who somebody is, knows nobody, or has a key that does not open."""
FOUND, NOTHING = "found", "nothing"
"""The progress of a look that was `ASKED` for before a disclosure is announced: there is something, or nothing."""


class Consent(Rewritten, frozen=True, kw_only=True):
    """What is on record of a consent (Art. 7(1)): when, and the digest of the words."""

    time: Utc
    wording: str


TRACED_FROM: Final = 2
"""From this level of forms on keepers say where records had gone; before, every recipient is told of everybody."""
Doubt = Literal["lost", "unread", "untraced"]
"""Why nobody knows for sure who was given records: accesses are lost, or unreadable, or no keeper has looked."""


class Trace(Rewritten, frozen=True, kw_only=True):
    """
    Where the records that one decision is about had gone.

    Args:
        of: The decision's type.
        place: Whom it is about, by their place in the request, from 0.
        given: The recipients whom they went to, or may have; unset until a keeper has looked.

    """

    of: str
    place: int
    given: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    unsure: Doubt | msgspec.UnsetType = msgspec.UNSET


class Case(Rewritten, frozen=True, kw_only=True):
    """A case in its topic, without identities; `place`: its request's partition and offset; `acts`: acts', by name."""

    v: Literal[1] = 1
    case: Id
    tenant: TenantName
    type: str
    state: State
    waits_for: WaitsFor | None = None
    ticket: str | None
    received_at: Utc
    due: Day
    law_due: Day | None
    extended: bool = False
    paused_s: int = 0
    decisions: tuple[Id, ...] = ()
    stages: dict[str, Utc] = msgspec.field(default_factory=dict)
    refusal: str | None = None
    keep_until: Utc | None = None
    jti: str
    place: tuple[int, int]
    appended_at: Utc
    cut_off: Utc | None = None
    opened_at: Utc
    asked_by: str
    ranged: bool = False
    consent: Consent | None = None
    sealed: str | None = None
    epoch: str | None = None
    officer: bool = False
    approvals: tuple[str, ...] = ()
    times: dict[Moment, Utc] = msgspec.field(default_factory=dict)
    pauses: tuple[tuple[Utc, Utc | None], ...] = ()
    acts: dict[str, tuple[int, int]] = msgspec.field(default_factory=dict)
    progress: dict[str, str] = msgspec.field(default_factory=dict)
    legs: dict[str, int] = msgspec.field(default_factory=dict)
    observed: dict[str, Observed] = msgspec.field(default_factory=dict)
    hold: Id | None = None
    secret: bool = False
    kept: tuple[dict[str, str], ...] = ()
    told: tuple[str, ...] = ()
    digests: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    notices: dict[str, Sent] = msgspec.field(default_factory=dict)
    filed: str | None = None
    review_at: Utc | None = None
    traces: dict[Id, Trace] | msgspec.UnsetType = msgspec.UNSET
    untold: dict[NoticeKind, Utc] | msgspec.UnsetType = msgspec.UNSET
    lifts: dict[str, Literal["ended", "stands"]] | msgspec.UnsetType = msgspec.UNSET
    known: bool | msgspec.UnsetType = msgspec.UNSET
    unknown: tuple[int, ...] | msgspec.UnsetType = msgspec.UNSET
    linked: int | msgspec.UnsetType = msgspec.UNSET
    whose: dict[Id, str] | msgspec.UnsetType = msgspec.UNSET
    said: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    people: Count | msgspec.UnsetType = msgspec.UNSET
    preview: Preview | msgspec.UnsetType = msgspec.UNSET
    tenure: Count | msgspec.UnsetType = msgspec.UNSET
    count: Count | msgspec.UnsetType = msgspec.UNSET

    @property
    def tell_at(self) -> datetime | None:
        """When to ask whether the person may be told of a disclosure; None: nobody is still to be told."""
        return None if self.type == "hold" else self.review_at

    @property
    def name(self) -> str:
        """What its request is known by, and the ids of its decisions derive from."""
        owned = request_name(self.asked_by, self.jti)
        return owned if self.case == case_id(Tenant(self.tenant), owned) else self.jti

    @property
    def rank(self) -> tuple[int, int]:
        """By which the later of two states of a case is known."""
        return self.tenure or 0, self.count or 0

    @property
    def named(self) -> int:
        """How many people it may concern, for the brakes: one, or as many as it decided about, if a case says none."""
        return self.people or max(1, len(self.decisions) if self.type == "erase" else 1)

    @property
    def ladder(self) -> tuple[str, ...]:
        """The stages of this case's outcomes, in order."""
        return stages_of(self.type, ranged=bool(self.ranged))

    @property
    def decided(self) -> bool:
        """Whether the desk has done its part of a granted request."""
        return bool({"fenced", "decided", "answered"} & self.stages.keys())

    def traces_of(self, kind: NoticeKind) -> list[tuple[Id, Trace]]:
        """The decisions that notices of a kind are about."""
        wanted = "restricted" if kind == "lifting" else kind
        return [item for item in (self.traces or {}).items() if TRACED.get(item[1].of) == wanted]

    @property
    def considered(self) -> bool:
        """Whether the person is restricted because an officer has it: an objection, or a restriction of an unknown."""
        return self.waits_for == "officer" and (
            self.type == "object" or (self.type == "restrict" and UNFOUND in self.stages)
        )

    @property
    def correcting(self) -> bool:
        """Whether a correction is decided and no keeper has made it yet."""
        return self.type == "rectify" and bool(self.decisions) and "rewritten" not in self.stages

    @property
    def of_nothing(self) -> bool:
        """Whether nobody is known whom it names, or nothing to do it to was found: nobody is told that it was done."""
        return self.known is False or UNFOUND in self.stages

    @property
    def weighed(self) -> bool:
        """Whether it is before an officer."""
        return self.state == "waiting" and self.waits_for in {"officer", "second_officer"}

    @property
    def measured(self) -> Preview | None:
        """What keepers had counted before an officer decided; None where they had not, or not all of them."""
        return self.preview if self.preview and self.preview.at is not None else None

    @property
    def announcing(self) -> bool:
        """Whether it is decided, and waits until the person has been told."""
        return self.waits_for == "notice"

    @property
    def begun(self) -> bool:
        """Whether it was granted or refused, and so counts for the brake of its type."""
        return self.state != "waiting" or self.announcing

    @property
    def begun_at(self) -> datetime:
        """When it was granted, as far as it was: that is what brakes count, however long it had waited before."""
        return self.cut_off or self.opened_at

    @property
    def open(self) -> bool:
        """Whether an answer is still owed."""
        return self.state in {"waiting", "enforcing"}

    @property
    def answered_at(self) -> datetime | None:
        """When the person had their answer: what the last of the workers did, or an officer's refusal."""
        if self.open:
            return None
        found = [at for stage, at in self.stages.items() if stage in _ANSWERS]
        return min(found) if found else max(self.stages.values(), default=None)

    @property
    def moments(self) -> dict[Moment, datetime]:
        """What was asked and what came, each with its moment; earlier releases took a case's opening for the asking."""
        return {name: at for name, at in self.times.items() if (name, at) != ("identity_asked_at", self.opened_at)}

    def clock(self) -> Times:
        """What happened when, as the clock wants it."""
        return Times(
            received_at=self.received_at,
            access=self.type in COPIES,
            pauses=tuple((asked, came) for asked, came in self.pauses),
            **self.moments,
        )


CASES: Final = msgspec.json.Decoder(Case)


def case_of(record: Any) -> Case:
    """
    The case in a record of its topic.

    Raises:
        MessageError: No case of ours, or under another's key.

    """
    case = decode(CASES, record.value)
    if record.key != case.case.encode():
        raise RecordError("bad_case")
    check_times(case)
    return case


def case_in(record: Any, proofs: Proofs) -> Case:
    """
    The case in a record that a desk of ours wrote.

    Raises:
        MessageError: No case of ours.
        NewerFormError: A later release of ours wrote it.

    """
    case = proofs.read(record, DESK, case_of)
    if case.rank != (0, 0) and proofs.signers.get(DESK) and not proofs.proven(record, DESK):
        raise RecordError(UNPROVEN)  # a desk that counts its states proves them
    return case


def later(known: Case | None, found: Case) -> Case:
    """Of two states of a case the one that stands; of equals the second."""
    return known if known is not None and known.rank > found.rank else found


def check_times(case: Case) -> None:
    """
    Whether every date of a case can be reckoned with: one record must not stop the office's clock.

    Raises:
        RecordError: `bad_case`: no desk writes it; the one that it would replace is kept.

    """
    moments = [case.received_at, case.appended_at, case.opened_at, case.cut_off, case.keep_until, case.review_at]
    moments += [*case.stages.values(), *case.times.values(), *(each for pause in case.pauses for each in pause)]
    moments += [each for sent in case.notices.values() for each in (sent.sent_at, sent.act_by, sent.acknowledged_at)]
    moments += [case.preview.asked_at, case.preview.at] if case.preview else []
    try:
        days = [date.fromisoformat(day) for day in (case.due, case.law_due) if day is not None]
    except ValueError:
        raise RecordError("bad_case") from None
    if not all(_YEARS[0] <= each.year < _YEARS[1] for each in (*days, *moments) if each is not None):
        raise RecordError("bad_case")


def ended_at(case: Case, at: datetime, keep: timedelta) -> Case:
    """The case with the day on which it may be forgotten, if it has just ended."""
    ended = case.state in {"closed", "refused"} and case.keep_until is None
    return msgspec.structs.replace(case, keep_until=at + keep) if ended else case


def parted(case: Case, *, telling: bool = False) -> Case:
    """The case without its request; with `telling` it stays: the person or a recipient is still to be told."""
    if telling or case.untold:
        return case
    return msgspec.structs.replace(case, sealed=None, epoch=case.epoch if case.filed else None)


def _reached(case: Case, progress: dict[str, str], stage: str) -> bool:
    enough = (*case.ladder[case.ladder.index(stage) :], AT_ONCE)
    return all(progress.get(each) in enough for each in case.decisions)


def _answered(case: Case, outcome: Outcome, at: datetime) -> Case | None:
    """The case after what a keeper says of what it was only asked; None where something was to be done."""
    if outcome.stage == "previewed" or (case.preview and outcome.decision in case.preview.open):
        return _previewed(case, outcome, at)
    before, answer = case.progress.get(outcome.decision), None
    if outcome.stage == "searched" and before is not None:
        answer = UNSURE if outcome.unread else NOBODY
    elif outcome.stage in {"looked", "failed"} and case.type == "disclose" and before == ASKED:
        answer = FOUND if outcome.legs or outcome.stage == "failed" else NOTHING
    progress = case.progress | {outcome.decision: answer or ""}
    return None if answer is None else msgspec.structs.replace(case, progress=progress)


def _previewed(case: Case, outcome: Outcome, at: datetime) -> Case:
    """The case with what a keeper has counted; once an officer has decided part of it may be gone: it says nothing."""
    if not case.preview or not case.weighed:
        return case
    preview = case.preview.answered(outcome.decision, outcome.legs, outcome.measured or None, at)
    return case if preview is case.preview else msgspec.structs.replace(case, preview=preview)


def after_outcome(case: Case, outcome: Outcome, at: datetime) -> tuple[Case, list[str]]:
    """The case after an outcome, and the stages that all its decisions have reached by it; a repeat changes nothing."""
    ladder = case.ladder
    if case.type == "rectify" and UNFOUND in case.stages:
        return case, []  # an officer has it: that nothing is left of a correction that nobody made is no news
    if (answered := _answered(case, outcome, at)) is not None:
        return answered, []
    if outcome.kept and outcome.decision in case.decisions:
        kept = tuple({"basis": basis} for basis in outcome.kept if {"basis": basis} not in case.kept)
        return (msgspec.structs.replace(case, kept=(*case.kept, *kept)) if kept else case), []
    if outcome.decision not in case.decisions or outcome.stage not in ladder:
        return case, []
    before = case.progress.get(outcome.decision)
    if before in ladder and ladder.index(before) >= ladder.index(outcome.stage):
        return case, []
    progress = case.progress | {outcome.decision: outcome.stage}
    reached = [stage for stage in ladder if _reached(case, progress, stage)]
    said = [stage for stage in reached if case.known is not False or stage in OF_NOBODY]
    new = [stage for stage in said if stage not in case.stages]
    stages = case.stages | dict.fromkeys(new, at)
    done = ladder[-1] in reached
    watched = any(each in reached for each in ("tombstoned", "rewritten"))
    state: State = "closed" if done else "observing" if watched else case.state
    # after a crash in the midst of the tombstones a keeper counts what was left: the first count is the whole one
    legs = case.legs | {outcome.decision: max(outcome.legs, case.legs.get(outcome.decision, 0))}
    observed = case.observed | ({outcome.decision: outcome.observed} if outcome.observed else {})
    digests = case.digests | ({outcome.decision: outcome.digests} if outcome.digests else {})
    changed = msgspec.structs.replace(case, progress=progress, stages=stages, state=state, legs=legs, observed=observed)
    return msgspec.structs.replace(changed, digests=digests), new
