"""
The form of each type of request: its fields, from what the table of types says that the type takes.

In: a type, and the tenant's policy.  Out: the fields of its form in order, or a sentence why there is none.
Rules: 1. A type has no form of its own: what is here follows from `core/requests/types.py`.
       2. A field is offered only if the desk takes it from an officer over the topic that the console writes.
       3. What is typed is read in the browser alone (`static/filled.js`): nothing here gets a value.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final, Literal, NamedTuple, get_args

from calllog_guard.core.cases.case_states import rights
from calllog_guard.core.cases.deadlines import LAW_MONTHS, months_after
from calllog_guard.core.codec import Role
from calllog_guard.core.policy.form import TenantPolicy
from calllog_guard.core.requests.fields import Notify
from calllog_guard.core.requests.types import HOLDS, TYPES, Kind, RequestType

FieldKind = Literal["lines", "line", "words", "choice", "day", "moment", "received", "several", "key"]


class RequestField(NamedTuple):
    """
    One field of a form.

    Args:
        path: The claim that it fills; a dot leads into a table.
        label: What it is called; `hint` a sentence below it.
        most: How many letters it takes.
        choices: Its values, each with how it is called.
        needed: Whether the form is not sent without it; `needed_with` is the field and its value with which it is.
        pattern: What it may look like, as browsers take it: the desk refuses anything else.

    """

    path: str
    kind: FieldKind
    label: str
    hint: str = ""
    most: int = 0
    choices: tuple[tuple[str, str], ...] = ()
    needed: bool = False
    needed_with: str = ""
    pattern: str = ""

    def attributes(self, id_: str) -> dict[str, str | None]:
        """Of its control, whose id is `id_`; what is None is left out."""
        return {
            "data-path": self.path,
            "data-kind": self.kind,
            "required": "" if self.needed else None,
            "aria-describedby": f"{id_}-hint" if self.hint else None,
            "maxlength": str(self.most) if self.most else None,
            "pattern": self.pattern or None,
            "data-needed-with": self.needed_with or None,
        }


_RANGE_HINT: Final = "Days of UTC on which calls began. Leave both empty for everything."
_NOTIFY: Final[dict[Notify, str]] = {
    "before": "before it is made",
    "when_lifted": "once the law no longer forbids it",
}
_ROLES: Final = {"host": "host", "guest": "guest", "caller": "caller", "callee": "callee"}
_IDENTITY: Final = RequestField(
    "identity",
    "choice",
    "Whether it is sure who asks",
    "How it was made sure belongs into the ticket. Unverified, the case waits for a proof of identity.",
    choices=(("unverified", "unverified"), ("verified", "verified")),
    needed=True,
)
_FIELDS: Final[dict[str, tuple[RequestField, ...]]] = {
    "subjects": (
        RequestField(
            "subjects",
            "lines",
            "Identifiers of the person, one a line",
            "All of them are one person's: addresses, user names, telephone numbers. They are sealed in your browser.",
            most=25_000,
        ),
    ),
    "range": (
        RequestField("range.from", "day", "First day of the calls that are meant", _RANGE_HINT),
        RequestField("range.to", "day", "Last day of the calls that are meant"),
    ),
    "purposes": (RequestField("purposes", "several", "Purposes"),),
    "facts": (
        RequestField("facts.call_id", "line", "Id of the call", most=256),
        RequestField("facts.session", "line", "Connection, where the person had several in the call", most=256),
        RequestField(
            "facts.role",
            "choice",
            "Role, if it is to be corrected",
            choices=(("", "as it is"), *((each, _ROLES[each]) for each in get_args(Role))),
        ),
        RequestField("facts.joined_at", "moment", "Joined at, if it is to be corrected"),
        RequestField("facts.left_at", "moment", "Left at, if it is to be corrected"),
    ),
    "ground": (RequestField("ground", "words", "Reason, in the person's words", most=500),),
    "reply_key": (
        RequestField(
            "reply_key",
            "key",
            "Public key that the answer is sealed to",
            "A public X25519 key in PEM. Whoever has the private half can open the answer, and nobody else.",
        ),
    ),
    "case": (
        RequestField(
            "case", "line", "Case of the restriction that ends, if not all end", most=22, pattern=r"[A-Za-z0-9_\-]{22}"
        ),
    ),
    "time": (RequestField("time", "moment", "When consent was given"),),
    "wording": (RequestField("wording", "words", "What was consented to, word for word", most=2000),),
    "authority": (RequestField("authority", "line", "Authority", most=200),),
    "basis": (RequestField("basis", "line", "Law that demands it", most=200),),
    "notify": (RequestField("notify", "choice", "When the person is told", choices=tuple(_NOTIFY.items())),),
    "review_at": (
        RequestField(
            "review_at",
            "moment",
            "When to look again whether the person may be told",
            "Needed where the person is told only once the law no longer forbids it.",
            needed_with="notify=when_lifted",
        ),
    ),
}
_OPEN: Final = frozenset({"range.from", "range.to", "facts.session", "facts.role", "facts.joined_at", "facts.left_at"})
"""What is left open even where its table is needed."""
_ALWAYS: Final = (
    RequestField(
        "received_at",
        "received",
        "Day on which it came",
        "A letter came on the day on which it arrived. Due dates count from it. Empty: now.",
    ),
    RequestField(
        "ticket",
        "line",
        "Ticket",
        "Your own reference: letters without accents, digits, and . _ : - alone. It is stored in clear: never a name "
        "or an address.",
        most=64,
        pattern=r"[A-Za-z0-9._:\-]{1,64}",
    ),
)
ORDER: Final = (
    "A hold and its end are written to a topic of their own, which this console cannot write. On the command line:"
)
NOT_OFFICERS: Final = "An officer may not ask for it: the policy lets other requesters send it. On the command line:"
NOBODY_TELLS: Final = (
    "The person must be told before, and the policy names no gateway that would: enter person_notices, and publish it."
)
NO_CONSENT: Final = "No purpose of the policy rests on consent."


def kinds_asked() -> tuple[Kind, ...]:
    """The types that open a case; the others act on one, and stand on its page."""
    return tuple(kind for kind, row in TYPES.items() if row.ends)


def why_not(kind: Kind, table: TenantPolicy) -> str:
    """Why there is no form of a type, as a sentence; empty where there is one."""
    row = TYPES[kind]
    if not rights("officer", kind):
        return NOT_OFFICERS
    if kind in HOLDS:
        return ORDER
    if row.before and "notify" not in row.must and not table.tells(row.before):
        return NOBODY_TELLS
    return NO_CONSENT if row.basis and not purposes_for(row, table) else ""


def purposes_for(row: RequestType, table: TenantPolicy) -> tuple[str, ...]:
    """The purposes that a type may name."""
    return tuple(name for name, each in table.purposes.items() if row.basis in {None, each.basis})


def fields_of(kind: Kind, table: TenantPolicy) -> Iterator[RequestField]:
    """The fields of a type's form: what the desk takes, with what it needs marked. A hold is named in orders alone."""
    row = TYPES[kind]
    for name in (*row.must, *row.may):
        for field in _FIELDS.get(name, ()):
            needed = field.needed or (name in row.must and field.path not in _OPEN)
            choices = field.choices
            if name == "purposes":
                choices = tuple((each, table.purposes[each].why or "") for each in purposes_for(row, table))
            elif name == "notify" and row.before and not table.tells(row.before):
                choices = tuple(each for each in choices if each[0] != "before")
            yield field._replace(needed=needed, choices=choices)
        if name == "subjects":
            yield _IDENTITY
    yield from _ALWAYS


def month_ago(today: date) -> date:
    """The first day on which what came then is not yet overdue: what came before must be meant."""
    found = today - timedelta(31 * LAW_MONTHS + 1)
    while months_after(found, LAW_MONTHS) < today:
        found += timedelta(1)
    return found


def texts() -> Iterator[str]:
    """For the catalogue."""
    for field in (*(each for some in _FIELDS.values() for each in some), _IDENTITY, *_ALWAYS):
        yield from (each for each in (field.label, field.hint, *(word for _, word in field.choices)) if each)
    yield from (ORDER, NOT_OFFICERS, NOBODY_TELLS, NO_CONSENT)
    yield from (TYPES[kind].help for kind in kinds_asked())
