"""
The form of a mapping file: which messages are taken, and from which place each field of an event comes.

Rules: 1. An unknown word is refused.  2. What no field, test or list names is never read: an allow-list.
       3. A text where a `Field` may stand is a path.
Source: docs/reference/mapping.md; `schemas/mapping.json`.
"""

from typing import Annotated, Literal

import msgspec

Convert = Literal[
    "text",
    "number-text",
    "integer",
    "bool",
    "lower",
    "url-decoded",
    "name",
    "e164",
    "sip-user",
    "sip-address",
    "seconds",
    "epoch-s",
    "epoch-ms",
    "epoch-us",
    "iso-8601",
    "rfc-2822",
    "local",
    "day",
]
Path = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Plain = str | int | bool
What = Literal["started", "joined", "left", "ended"]


class MappingPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all parts of a mapping file share: frozen, unknown words refused."""


class Test(MappingPart, omit_defaults=True, frozen=True, kw_only=True):
    """
    A test of one value; it holds if the value is any of those named. Texts are compared without regard to case.

    Args:
        path: Where the value lies; or `jmes`.
        jmes: A JMESPath expression that gives it.
        equals: Values, one of which it is.
        starts: Texts, with one of which it begins.
        ends: Texts, with one of which it ends.
        present: Whether there is such a value.
        why: What a skipped message or party is, for people: `a recorder`.

    """

    path: Path | None = None
    jmes: Path | None = None
    equals: tuple[Plain, ...] = ()
    starts: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    present: bool | None = None
    why: str = ""


class Field(MappingPart, omit_defaults=True, frozen=True, kw_only=True):
    """
    Where a field's value comes from, and what is done with it, in this order.

    Args:
        path: Where it lies; of several paths, the first at which there is something.
        jmes: A JMESPath expression that gives it, where a path is not enough.
        value: A constant.
        join: Paths whose values, all of them, are joined by `between`.
        digest: Paths whose values give a made-up id: equal values, equal id.
        missing: Values that mean that there is none, in any case of letters, beside those of the whole file.
        convert: What is made of it, one after the other.
        table: What becomes of each value, or the name of one of the file's `tables`; texts in lower case.
        plus: Where the seconds lie that are added to a time.
        minus: Where the seconds lie that are taken off it.
        near: Where seconds since 1970 lie by which a local time that exists twice is told.
        default: What is taken where there is nothing, or where the table has no row.

    """

    path: Path | tuple[Path, ...] = ()
    jmes: Path | None = None
    value: Plain | None = None
    join: tuple[Path, ...] = ()
    between: str = "-"
    digest: tuple[Path, ...] = ()
    missing: tuple[Plain, ...] = ()
    convert: Convert | tuple[Convert, ...] = ()
    table: str | dict[str, Plain] | None = None
    plus: "From | None" = None
    minus: "From | None" = None
    near: "From | None" = None
    default: Plain | None = None


From = Path | Field


class PartyRule(MappingPart, omit_defaults=True, frozen=True, kw_only=True):
    """
    The parties of a call; paths begin at the party.

    Args:
        each: A path to a list with one party an item, or a Field with `jmes`; without it the rule is one party.
        when: Tests that all hold, or there is no such party.
        skip: Tests, one of which holds of what is nobody: a recorder, a room.
        id: The subject id, by which one person is always the same.
        role: `host`, `guest`, `caller` or `callee`.
        session: The platform's id of this connection, where one party may have several.
        joined_at: A time; without it that of the call. Calls that were not answered have none.
        left_at: As `joined_at`.
        guest: Tests, one of which holds of an id that many strangers share: a withheld number. The party is without id.
        without_id: What becomes of a party without id: a guest who counts and leaves no leg, nothing, or a refusal.

    """

    each: From | None = None
    when: tuple[Test, ...] = ()
    skip: tuple[Test, ...] = ()
    id: From
    role: From
    session: From | None = None
    joined_at: From | None = None
    left_at: From | None = None
    guest: tuple[Test, ...] = ()
    without_id: Literal["guest", "skip", "refuse"] = "guest"


class EventRule(MappingPart, omit_defaults=True, frozen=True, kw_only=True):
    """
    The event of a call, field by field.

    Args:
        call_id: The platform's id of the call, of this occurrence if it has one.
        occurrence: Which call it is, where the platform uses one id for several and has no better one.
        kind: `video`, `audio` or `screen`.
        outcome: `answered`, `missed`, `declined` or `failed`.
        started_at: A time.
        ended_at: A time; without it the call goes on.
        revision: A number that grows with each later report of the same call.
        party_count: How many took part, where not all are named.
        party: Rules of its parties.

    """

    call_id: From
    occurrence: From | None = None
    kind: From
    outcome: From
    started_at: From
    ended_at: From | None = None
    revision: From | None = None
    party_count: From | None = None
    party: Annotated[tuple[PartyRule, ...], msgspec.Meta(min_length=1)]


class NotificationRule(MappingPart, omit_defaults=True, frozen=True, kw_only=True):
    """
    What a message says of one moment of a call: somebody joined or left, or all of it ended.

    Args:
        what: Which moment.
        call: The platform's id of this occurrence of the call.
        at: When it was.
        person: The subject id; without it a guest.
        role: As of a party.
        kind: As of an event.
        session: The platform's id of this connection: what a leave has in common with its join.
        joined_at: Where a leave also says when its session began.

    """

    what: What
    call: From
    at: From
    person: From | None = None
    session: From | None = None
    role: From | None = None
    kind: From | None = None
    joined_at: From | None = None


class MappingRule(MappingPart, omit_defaults=True, frozen=True, kw_only=True):
    """
    What is made of a type of message; the first rule whose tests all hold is taken.

    Args:
        name: What such a message says, for people.
        when: Tests that all hold.
        event: The event that is made of it; or `notification`.
        notification: The notification that is made of it.
        each: A path to a list: an event or notification an item; paths begin there. `^.` leads out, `$.` to the top.
        skip: Tests, one of which holds of what is no call, or of nobody.

    """

    name: str
    when: tuple[Test, ...] = ()
    skip: tuple[Test, ...] = ()
    each: From | None = None
    event: EventRule | None = None
    notification: NotificationRule | None = None


class Dialect(MappingPart, omit_defaults=True, frozen=True, kw_only=True):
    """
    How a CSV file is written.

    Args:
        delimiter: Between two cells; `auto`: whichever of `,` `;` tab `|` gives the columns that the mapping names.
        quote: Around a cell; a quote within is doubled, or has `escape` before it.
        header: Whether the first line names the columns.
        columns: Their names where it does not, or in place of its own.
        encoding: A name of Python's; a byte order mark is understood.
        skip_lines: Lines before the first row or the header.

    """

    delimiter: Annotated[str, msgspec.Meta(min_length=1, max_length=4)] = "auto"
    quote: Annotated[str, msgspec.Meta(min_length=1, max_length=1)] = '"'
    escape: Annotated[str, msgspec.Meta(min_length=1, max_length=1)] | None = None
    header: bool = True
    columns: tuple[str, ...] = ()
    encoding: str = "utf-8"
    skip_lines: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0


class Input(MappingPart, omit_defaults=True, frozen=True, kw_only=True):
    """
    How messages come.

    Args:
        csv: How CSV is written.
        form: JSON, `application/x-www-form-urlencoded`, or rows of CSV.
        within: The field of a form that holds the message as JSON; then the JSON alone is taken, too.
        records: A path to a list, where one message holds several records; each is then a message.

    """

    form: Literal["json", "form", "csv"] = "json"
    within: Path | None = None
    records: Path | None = None
    csv: Dialect = Dialect()


class MappingSettings(MappingPart, omit_defaults=True, frozen=True, kw_only=True):
    """
    What differs between two users of a source; `--set NAME=VALUE` says it on the command line.

    Args:
        zone: Where local times are meant, as `Europe/London`.
        twice: Which of two is meant, or none, where the clocks were put back and nothing else tells.
        country: The country code of numbers that are written without one, as `44`.

    """

    zone: str = ""
    twice: Literal["first", "second", "refuse"] = "refuse"
    country: Annotated[str, msgspec.Meta(pattern=r"^([1-9][0-9]{0,2})?$(?!\n)")] = ""


class MappingFile(MappingPart, omit_defaults=True, frozen=True, kw_only=True):
    """
    A mapping file: how one platform's messages become call events or notifications.

    Args:
        v: The version of this form.
        title: The platform's name.
        tells: What a message is: a whole `call`, the `session` of one person, or a `notification` that must be paired.
        documentation: Where the platform documents these messages.
        about: What to know before it is used.
        input: How messages come.
        settings: What differs between two users; the defaults.
        missing: Texts and numbers that mean that there is no value, wherever they stand.
        tables: What becomes of values, by name.
        rule: What is made of each type of message.

    """

    v: Literal[1]
    title: str
    tells: Literal["call", "session", "notification"]
    documentation: str
    about: str = ""
    input: Input = Input()
    settings: MappingSettings = MappingSettings()
    missing: tuple[Plain, ...] = ()
    tables: dict[str, dict[str, Plain]] = msgspec.field(default_factory=dict)
    rule: Annotated[tuple[MappingRule, ...], msgspec.Meta(min_length=1)]
