"""
The tables of `policy.toml`, as they are in the file and in a published version.

Everything is closed: an unknown key is refused, each number has its limits here, each word its list.
Source: docs/how-to/write-the-policy.md; GDPR Art. 12(3), 13, 19, 21, 30.
"""

from datetime import date, datetime
from typing import Annotated, Final, Literal

import msgspec
from isodate import ISO8601Error, parse_duration

from calllog_guard.core.cases.notices import ACT_DAYS
from calllog_guard.core.cases.working_days import Calendar, calendar_of
from calllog_guard.core.retention.purposes import Basis, Keep, Purpose
from calllog_guard.errors import ConfigurationError

# `$` alone would let a newline follow
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$(?!\n)")]
Credential = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}$(?!\n)")]
Brake = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
NoticeDays = Annotated[int, msgspec.Meta(ge=1, le=21)]
"""At most three weeks: the answer is due within a month all the same."""
Guests = Literal["count", "leg"]
"""Whether somebody without an id only counts, or leaves a leg under an id of that call alone."""
Skip = Annotated[
    str, msgspec.Meta(pattern=r"^(\*[^*\x00-\x1f]{3,255}|[^*\x00-\x1f]{1,256}|[^*\x00-\x1f]{3,255}\*)$(?!\n)")
]
"""The id of what is nobody, whole, or with a `*` in place of its beginning or end."""
Regime = Literal["uk", "eu"]
Told = Literal["erased", "rectified", "restricted", "lifting"]
PersonTold = Literal["erased", "rectified", "restricted", "lifting", "disclosed", "extended", "refused"]
Shown = Literal[
    "role", "started_at", "ended_at", "joined_at", "left_at", "duration_s", "kind", "outcome", "parties", "subject",
    "call", "session",
]  # fmt: skip
PEM: Final = "-----BEGIN"
"""A `key` that begins so is the key itself, as in a published version; any other is a file beside the policy."""
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""With its offset, as `2026-12-01T00:00:00Z`."""
Revision = Annotated[int, msgspec.Meta(ge=1, le=99)]
Words = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
_UNSET: Final = msgspec.UNSET
"""What a version does not say is not in its published form either: older releases refuse fields unknown to them."""
AUTHORITY: Final[dict[str, str]] = {
    "uk": "Information Commissioner's Office (ICO, now the Information Commission), Wycliffe House, Water Lane, "
    "Wilmslow, Cheshire SK9 5AF, https://ico.org.uk/make-a-complaint/, +44 303 123 1113",
    "eu": "the supervisory authority of the member state where you live or work, or of the alleged infringement: "
    "https://www.edpb.europa.eu/about-edpb/about-edpb/members_en",
}
"""With whom a complaint may be lodged, unless the policy names another (Art. 13(2)(d), 77)."""


class PolicyTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all tables share."""


class When(PolicyTable, frozen=True, kw_only=True):
    """The legs a purpose covers; empty means all."""

    roles: tuple[Literal["host", "guest", "caller", "callee"], ...] = ()
    outcomes: tuple[Literal["answered", "missed", "declined", "failed"], ...] = ()


class PurposeTable(PolicyTable, frozen=True, kw_only=True):
    """
    `[version.tenant.T.purposes.P]`; an objection to `direct_marketing` is absolute (Art. 21(3)).

    `erasable_because` says in words why records that a law obliges to keep may be erased on request all the same.
    """

    number: Annotated[int, msgspec.Meta(ge=1, le=50)]
    basis: Basis
    keep: str
    then: Literal["delete", "anonymise"] = "delete"
    survives_erasure: bool = False
    erasable_because: Words | msgspec.UnsetType = _UNSET
    on_objection: Literal["grant", "review"] = "review"
    direct_marketing: bool | msgspec.UnsetType = _UNSET
    when: When = When()
    shows: tuple[Shown, ...] = ("started_at", "duration_s", "role")
    why: Words | msgspec.UnsetType = _UNSET

    @property
    def absolute(self) -> bool:
        """Whether an objection to it is granted whatever anybody thinks of it."""
        return self.direct_marketing is True


class Requester(PolicyTable, frozen=True, kw_only=True):
    """Who may sign requests (an officer: new policy versions too); `key` is Ed25519, a PEM file beside the policy."""

    role: Literal["backend", "officer", "authority_desk"]
    key: str


class Actor(PolicyTable, frozen=True, kw_only=True):
    """
    Who may open legs, and for what; `title` is who that is, in words.

    Args:
        key: Ed25519: with its other half the actor signs what it opened. Once one actor has a key, every one needs one.
        since: From when on the key counts, and unsigned accesses do not.
        until: When it has lapsed, or was revoked; what was signed before stays proven.

    """

    purposes: tuple[str, ...]
    title: Words | msgspec.UnsetType = _UNSET
    key: str | msgspec.UnsetType = _UNSET
    since: Moment | msgspec.UnsetType = _UNSET
    until: Moment | msgspec.UnsetType = _UNSET


class Recipient(PolicyTable, frozen=True, kw_only=True):
    """
    Who may be given the data and is told then (Art. 19); notices are sealed to `key` (X25519); `title` is its name.

    `actors` are the credentials that read for it; where that is not said, whoever reads may read for it.
    """

    key: str
    told: Annotated[tuple[Told, ...], msgspec.Meta(min_length=1)]
    title: Words | msgspec.UnsetType = _UNSET
    actors: tuple[Credential, ...] | msgspec.UnsetType = _UNSET


class PersonNotices(PolicyTable, frozen=True, kw_only=True):
    """The gateway that writes to the persons themselves, what they are told of; sealed to `key` (X25519)."""

    key: str
    told: Annotated[tuple[PersonTold, ...], msgspec.Meta(min_length=1)]


class Holidays(PolicyTable, frozen=True, kw_only=True):
    """Which public holidays move a due date: ISO 3166 codes, as the `holidays` library knows them."""

    country: str = ""
    subdivision: str = ""


class Transfer(PolicyTable, frozen=True, kw_only=True):
    """Whom data goes to outside the regime's countries, where that is, and what protects it there (Art. 46)."""

    to: Words
    country: Words
    safeguard: Words


class TenantPolicy(PolicyTable, frozen=True, kw_only=True):
    """`[version.tenant.T]`; words for persons may be left out, and `facts.py` says what an answer then lacks."""

    regime: Regime
    audience: Credential | msgspec.UnsetType = _UNSET
    controller: str | None = None
    contact: str | None = None
    supervisory_authority: str | None = None
    data_protection_officer: Words | msgspec.UnsetType = _UNSET
    source: Words | msgspec.UnsetType = _UNSET
    stored_in: Words | msgspec.UnsetType = _UNSET
    transfers: tuple[Transfer, ...] | msgspec.UnsetType = _UNSET
    automated_decisions: Words | msgspec.UnsetType = _UNSET
    public_communications_provider: bool = False
    events: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    lowercase_email: bool = False
    answer_months: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    extend_to_months: Annotated[int, msgspec.Meta(ge=1, le=3)] = 2
    time_zone: str | None = None
    holidays: Holidays | None = None
    erasures_per_hour: Brake = 100
    exports_per_hour: Brake = 100
    objections_per_hour: Brake = 100
    disclosures_per_hour: Brake = 10
    changes_per_hour: Brake | msgspec.UnsetType = _UNSET
    allowed_hosts: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("*",)
    purposes: Annotated[dict[Name, PurposeTable], msgspec.Meta(min_length=1)]
    requesters: dict[Credential, Requester] = {}
    actors: dict[Credential, Actor] = {}
    recipients: dict[Credential, Recipient] = {}
    person_notices: PersonNotices | None = None
    guests: Guests | msgspec.UnsetType = _UNSET
    skip: tuple[Skip, ...] | msgspec.UnsetType = _UNSET
    notice_days: NoticeDays | msgspec.UnsetType = _UNSET

    def listed(self) -> tuple[Purpose, ...]:
        """The purposes as the core knows them."""
        return tuple(
            Purpose(
                name=name,
                number=table.number,
                basis=table.basis,
                keep=period(table.keep),
                then=table.then,
                survives_erasure=table.survives_erasure,
                roles=frozenset(table.when.roles),
                outcomes=frozenset(table.when.outcomes),
                shows=table.shows,
            )
            for name, table in self.purposes.items()
        )

    @property
    def skips(self) -> tuple[str, ...]:
        """Whose part of a call is nobody's."""
        return () if self.skip is _UNSET else self.skip

    @property
    def names_guests(self) -> bool:
        """Whether guests leave legs."""
        return self.guests == "leg"

    def tells(self, kind: str) -> bool:
        """Whether a gateway is named that tells persons of this kind."""
        return self.person_notices is not None and kind in self.person_notices.told

    @property
    def days_to_tell(self) -> int:
        """How many days a person has to learn of what is done only afterwards, if nobody says that they were told."""
        return ACT_DAYS if self.notice_days is _UNSET else self.notice_days

    @property
    def authority(self) -> str:
        """With whom a person may lodge a complaint."""
        return self.supervisory_authority or AUTHORITY[self.regime]

    @property
    def calendar(self) -> Calendar:
        """
        The tenant's working days, by which due dates move.

        Raises:
            ConfigurationError: No such zone, country or subdivision; refused when the policy is read.

        """
        named = self.holidays or Holidays()
        return calendar_of(self.regime, country=named.country, subdivision=named.subdivision, zone=self.time_zone or "")


class Version(PolicyTable, frozen=True, kw_only=True):
    """`[[version]]`; of one day the highest `revision` is the law, and the others stand in the change log."""

    effective: date
    revision: Revision | msgspec.UnsetType = _UNSET
    change: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    tenant: Annotated[dict[Name, TenantPolicy], msgspec.Meta(min_length=1)]

    @property
    def number(self) -> int:
        """The first that is said of a day is 1."""
        return 1 if self.revision is _UNSET else self.revision

    @property
    def order(self) -> tuple[date, int]:
        """The later one holds."""
        return self.effective, self.number

    @property
    def label(self) -> str:
        """As keys of records and metrics name it."""
        return f"{self.effective}" + (f".{self.number}" if self.number > 1 else "")

    def __str__(self) -> str:
        """As messages name it: the day, and which revision of it."""
        return f"{self.effective}" + (f", revision {self.number}" if self.number > 1 else "")


class PolicyFile(PolicyTable, frozen=True, kw_only=True):
    """The whole file."""

    version: Annotated[tuple[Version, ...], msgspec.Meta(min_length=1)]


def period(text: str) -> Keep:
    """
    An ISO 8601 period of years, months, weeks or days as (months, days).

    Raises:
        ConfigurationError: Another form, or nothing at all.

    """
    try:
        found = parse_duration(text, as_timedelta_if_possible=False)
    except (ValueError, ISO8601Error):
        raise ConfigurationError(f"keep = {text!r} is no ISO 8601 period; write P90D, P6M or P6Y") from None
    months, days = found.years * 12 + found.months, found.tdelta.days
    whole = not found.tdelta.seconds and not found.tdelta.microseconds and months == int(months)
    if not whole or months < 0 or days < 0 or not months + days or months > _MOST_MONTHS or days > _MOST_DAYS:
        raise ConfigurationError(
            f"keep = {text!r} must be whole days, months or years, of 1 day to 100 years; write P90D, P6M or P6Y"
        )
    return int(months), days


_MOST_MONTHS: Final = 1200
_MOST_DAYS: Final = 36_525
