"""
The types of request, one row each: what a type says, who may ask for it, and what becomes of it.

The one place that knows a type: every other table of types is derived from these rows.
In: nothing.  Out: `TYPES`, and `kinds`, which picks types by what their row says.
Not here: the life of a case (`core/cases/case_states.py`);
  what carrying out means (`workers/desk/decisions/`, `workers/keeper/enforcement/`).
Source: docs/explanation/cases.md, docs/reference/messages.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal[
    "erase", "access", "portability", "rectify", "restrict", "lift", "object", "withdraw", "consent",
    "hold", "release", "disclose", "approve", "refuse", "clock", "complain", "same_as", "not_same_as",
]  # fmt: skip
DecisionType = Literal[
    "erase", "rectify", "restrict", "lift", "object", "withdraw", "consent",
    "hold", "release", "access", "portability", "disclose", "search", "preview", "same_as", "not_same_as",
]  # fmt: skip
"""What a decision may be: the types that have one, the search for whom an entry is about, and the preview of a case."""
NoticeKind = Literal[
    "erased", "rectified", "restricted", "lifting", "disclosed", "extended", "refused", "answered", "received",
]  # fmt: skip
"""
`answered`: the answer to a complaint, or that nothing was found; `received`: a complaint came. There is no policy in
which a person is not given these.
"""
Requester = Literal["backend", "officer", "authority_desk"]
PreviewKind = Literal["removed", "narrowed", "given"]
AnswerKind = Literal["access", "portability", "disclosure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestType:
    """
    One type of request.

    Args:
        help: What it does, as the command line says it.
        must: The fields that it needs; `may` those that it can have. A dot leads into `hold`.
        roles: Who may ask for it.
        identity: Whether it waits until the person's identity is verified.
        officer: Who must grant: nobody, an officer, an officer if a purpose says `review`, or two officers. An officer
            who asks for what two must grant is the first.
        brake: So many people an hour and requester, then an officer.
        ends: `enforced` when the removal of stored values is observed; None for what acts on a case and is none itself.
        unfound: Whether an officer says what it means that nobody or nothing was found.
        stages: What the outcomes of its decisions go through; `ranged` the same where it covers some days only.
        rule: What stands for ever once it is decided.
        answer: What the keeper makes once, for the requester.
        removes: Whether stored records go or change.
        fence: Whose entry in the keystore it changes: that of somebody known, or of anybody, who is minted then.
        ended_by: The type that takes back what it changed in an entry.
        momentary: Whether it is about what is stored now alone.
        law: Whether it reaches what law keeps of somebody who is erased.
        alone: Whether it concerns the identifiers that it names, and none that a `same_as` says are the same person's.
        several: Whether it names two identifiers at least.
        restricts: Whether it restricts the person while it is weighed.
        told_of_holds: Whether its answer tells of copies under holds, too.
        basis: The legal basis that the purposes which it names must have.
        apart: Whether a module of its own plans its decisions: `workers/desk/decisions/lifts.py`,
            `workers/desk/decisions/holds.py`.
        previewed: What keepers count before an officer decides: the legs that it removes, those whose purposes get
            fewer, or those that it gives; of what can be taken back nothing.
        notice: What is told once it is carried out; `before` what is told before.
        title: How an answer calls it, for a person's own; `asked` how a letter does.
        granted: What an officer who approves it brings about, as the console says it before.

    """

    help: str
    must: tuple[str, ...]
    may: tuple[str, ...] = ()
    roles: frozenset[Requester]
    identity: bool = False
    officer: Literal["never", "always", "by_purpose", "two"] = "never"
    brake: Literal["erasure", "export", "objection", "disclosure", "change"] | None = None
    ends: Literal["enforced", "answered"] | None = "answered"
    unfound: bool = False
    stages: tuple[str, ...] = ()
    ranged: tuple[str, ...] = ()
    rule: Literal["range", "correction", "restriction", "choice", "hold", "sameness"] | None = None
    answer: AnswerKind | None = None
    removes: bool = False
    fence: Literal["known", "anybody"] | None = None
    ended_by: Kind | None = None
    momentary: bool = False
    law: bool = False
    alone: bool = False
    several: bool = False
    restricts: bool = False
    told_of_holds: bool = False
    basis: Literal["consent"] | None = None
    apart: bool = False
    previewed: PreviewKind | None = None
    notice: NoticeKind | None = None
    before: NoticeKind | None = None
    title: str = ""
    asked: str = ""
    granted: str = ""


_BOTH: Final[frozenset[Requester]] = frozenset({"backend", "officer"})
_OFFICERS: Final[frozenset[Requester]] = frozenset({"officer"})
_REMOVED: Final = ("tombstoned", "absent", "gone")
# fmt: off
TYPES: Final[dict[Kind, RequestType]] = {
    "erase": RequestType(
        help="let a person be erased, or what is kept of some days",
        must=("subjects",), may=("range",), roles=_BOTH, identity=True, brake="erasure", ends="enforced",
        stages=("destroyed", "tombstoned", "rewritten", "absent", "gone"), ranged=_REMOVED,
        rule="range", removes=True, fence="anybody", previewed="removed",
        notice="erased", title="Erase my data", asked="asked us to erase your data",
        granted="The person's keys are destroyed and every record is removed, save what a law keeps. "
        "It cannot be undone.",
    ),
    "access": RequestType(
        help="give a person what is kept about them, sealed to their key",
        must=("subjects", "reply_key"), may=("range",), roles=_BOTH, identity=True, brake="export",
        stages=("exported",), answer="access", law=True, told_of_holds=True,
        title="A copy of my data", asked="asked us for a copy of your data",
        granted="A copy of what is kept about the person is made and sealed to the person's key.",
    ),
    "portability": RequestType(
        help="give a person what they may take elsewhere, sealed to their key",
        must=("subjects", "reply_key"), may=("range",), roles=_BOTH, identity=True, brake="export",
        stages=("exported",), answer="portability",
        title="My data, to take away", asked="asked us for your data, to take them with you",
        granted="A copy of what the person may take elsewhere is made and sealed to the person's key.",
    ),
    "rectify": RequestType(
        help="correct facts of a person's leg of a call",
        must=("subjects", "facts"), roles=_BOTH, identity=True, brake="change", ends="enforced", unfound=True,
        stages=("rewritten", "absent"), rule="correction", removes=True, momentary=True, law=True, alone=True,
        notice="rectified", title="Correct a record", asked="asked us to correct a record",
        granted="The record is corrected, and recipients are told. The earlier version is removed.",
    ),
    "restrict": RequestType(
        help="keep what is kept of a person, and let nobody read it",
        must=("subjects",), may=("ground",), roles=_BOTH, identity=True, brake="change", unfound=True,
        rule="restriction", fence="anybody", ended_by="lift", law=True, restricts=True, notice="restricted",
        title="Store my data, but do not use them", asked="asked us to store your data and not to use them",
        granted="Nobody may read the person's records until the restriction is lifted. Recipients are told.",
    ),
    "lift": RequestType(
        help="end restrictions of a person, who is told before",
        must=("subjects",), may=("ground", "case"), roles=_BOTH, identity=True, unfound=True,
        rule="restriction", fence="known", momentary=True, apart=True, before="lifting",
        title="End the restriction", asked="asked us to end the restriction of your data",
        granted="The person is told first; then the restriction ends and the records may be read again.",
    ),
    "object": RequestType(
        help="note that a person objects to purposes; an officer may have to weigh it",
        must=("subjects", "purposes"), may=("ground",), roles=_BOTH, identity=True,
        officer="by_purpose", brake="objection", unfound=True,
        stages=_REMOVED, rule="choice", removes=True, fence="anybody", ended_by="consent", restricts=True,
        previewed="narrowed", notice="erased", title="Objection", asked="objected to the use of your data",
        granted="The purposes that the person objects to end, and records kept for them alone are removed for ever.",
    ),
    "withdraw": RequestType(
        help="take back a person's consent to purposes",
        must=("subjects", "purposes"), roles=_BOTH, identity=True, brake="change", unfound=True,
        stages=_REMOVED, rule="choice", removes=True, fence="anybody", ended_by="consent", basis="consent",
        notice="erased", title="Withdrawal of consent", asked="withdrew your consent",
        granted="The purposes end, and records kept for them alone are removed. It cannot be undone.",
    ),
    "consent": RequestType(
        help="note that a person consents to purposes, when, and to which words",
        must=("subjects", "purposes", "time", "wording"), roles=_BOTH, identity=True,
        rule="choice", fence="anybody", basis="consent", alone=True,
        title="Consent", asked="told us of your consent",
        granted="The consent is noted: the purposes may be used from now on.",
    ),
    "hold": RequestType(
        help="copy what is kept of a person, because a law demands it",
        must=("subjects", "hold", "hold.authority", "hold.basis", "hold.review_at"), may=("hold.range", "hold.secret"),
        roles=_OFFICERS, stages=("copied",), rule="hold", apart=True, law=True,
        granted="What is kept of the person is copied and kept for the authority, also beyond an erasure.",
    ),
    "release": RequestType(
        help="end a hold",
        must=("hold",), may=("subjects",), roles=_OFFICERS, stages=("destroyed", "tombstoned"), rule="hold", apart=True,
        granted="The copies under the hold are destroyed. It cannot be undone.",
    ),
    "disclose": RequestType(
        help="give an authority what is kept about a person, sealed to the authority's key; two officers decide",
        must=("subjects", "authority", "basis", "notify", "reply_key"), may=("range", "review_at", "hold"),
        roles=frozenset({"officer", "authority_desk"}), officer="two", brake="disclosure", unfound=True,
        stages=("exported",), answer="disclosure", alone=True, told_of_holds=True, before="disclosed",
        previewed="given",
        granted="What is kept about the person is sealed to the authority's key. It cannot be taken back.",
    ),
    "approve": RequestType(
        help="approve a case that waits for an officer",
        must=("case",), may=("ground",), roles=_OFFICERS, ends=None,
    ),
    "refuse": RequestType(
        help="refuse a case, with the reason for the person",
        must=("case", "ground"), roles=_OFFICERS, ends=None,
    ),
    "clock": RequestType(
        help="tell of what a case waits for, or of what moves its due date",
        must=("case", "event"), may=("ground",), roles=_BOTH, ends=None,
    ),
    "complain": RequestType(
        help="file a complaint, which an officer answers",
        must=("ground",), may=("subjects",), roles=_BOTH, officer="always",
        notice="answered", title="Complaint", asked="complained to us",
        granted="The complaint is answered with your words, which the person is sent.",
    ),
    "same_as": RequestType(
        help="say that several identifiers are one person: what is then asked under one reaches all",
        must=("subjects",), may=("ground",), roles=_BOTH, identity=True, brake="change", unfound=True,
        rule="sameness", fence="anybody", ended_by="not_same_as", several=True, apart=True,
        title="Identifiers of one person", asked="told us that several identifiers are yours",
        granted="The identifiers are one person's from now on: what is then asked under one reaches all of them.",
    ),
    "not_same_as": RequestType(
        help="say that identifiers are nobody else's any more: ends what a same_as has said of them",
        must=("subjects",), may=("ground",), roles=_BOTH, identity=True,
        rule="sameness", fence="known", apart=True,
        title="Identifiers told apart", asked="told us that an identifier is not another's of yours",
        granted="The identifiers are no longer one person's: what is then asked under one reaches that one alone.",
    ),
}
# fmt: on

_BY_NAME: Final[dict[str, RequestType]] = {str(kind): row for kind, row in TYPES.items()}


def kinds(chosen: Callable[[RequestType], object]) -> frozenset[Kind]:
    """The types whose row is so."""
    return frozenset(kind for kind, row in TYPES.items() if chosen(row))


OWN: Final = kinds(lambda row: row.title)
"""A person's own; holds, releases and disclosures are others'."""
COPIES: Final = kinds(lambda row: row.answer and row.title)
"""Those by which people get their own data."""
RESTRICTIONS: Final = kinds(lambda row: row.rule == "restriction")
"""A restriction, and its end."""
RESTRICTS: Final = kinds(lambda row: row.restricts)
CHOICES: Final = kinds(lambda row: row.rule == "choice")
"""What people choose about purposes."""
HOLDS: Final = kinds(lambda row: row.rule == "hold")
LINKS: Final = kinds(lambda row: row.rule == "sameness")
"""Who is one person, and who is not any more."""
PREVIEWED: Final[dict[str, PreviewKind]] = {kind: row.previewed for kind, row in TYPES.items() if row.previewed}
"""What cannot be taken back: keepers count what it would touch, before an officer decides."""
EXPORTS: Final = kinds(lambda row: row.answer)
TAKE_AWAY: Final = kinds(lambda row: row.rule == "choice" and row.removes)
"""Purposes go from what is stored."""
TRACED: Final[dict[str, NoticeKind]] = {kind: row.notice for kind, row in TYPES.items() if row.rule and row.notice}
"""The decisions told to recipients, and as what; a restriction's end to whoever was given what it was about."""


def row_of(kind: str) -> RequestType | None:
    """The row of a type by its name; a search has none."""
    return _BY_NAME.get(kind)


def stages_of(kind: str, *, ranged: bool = False) -> tuple[str, ...]:
    """The stages that the outcomes of a type go through, in order; with the last of them the case is closed."""
    row = row_of(kind)
    if row is None:
        return ()
    return (ranged and row.ranged) or row.stages
