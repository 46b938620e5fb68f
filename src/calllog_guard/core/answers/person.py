"""
What a person is told: built from the policy in force, the person's own choices, and the cases that concern them.

In: a tenant's table, what is known of the person.  Out: `About`.
Rules: 1. A purpose that the person's choices rule out is told as unused.  2. The person's entry counts, also where no
          case is left to date it.  3. A disclosure is told when the person was, or was to be, told before it; any
          other leaves no trace here.
Source: GDPR Art. 7, 12 to 22; UK GDPR Art. 22A to 22D; DPA 2018 s.164A.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from calllog_guard.core.answers.about import (
    About,
    Abroad,
    Choice,
    Complaint,
    ConsentOnRecord,
    Controller,
    ForPurpose,
    KeptByLaw,
    NotInUse,
    OwnRequest,
    PermittedReader,
    PersonRight,
    Restriction,
    ToldDisclosure,
    ToldRecipient,
    Where,
)
from calllog_guard.core.cases.case import Case
from calllog_guard.core.cases.case_owner import Reason
from calllog_guard.core.cases.notices import PERSON, Filed, Remedies
from calllog_guard.core.policy.facts import said
from calllog_guard.core.policy.form import TenantPolicy
from calllog_guard.core.policy.record import BASES

DATA: Final = (
    "your identifier: the e-mail address, user name or telephone number under which the service knows you",
    "of each call: its identifier, kind, outcome, when it began and ended, how many people took part",
    "your part in it: your role, when you joined and when you left",
    "your requests and choices: what you asked for, when, and what became of it",
)
REFERRED: Final = tuple(each.replace("its identifier", "a reference in place of its identifier") for each in DATA)
"""The same where records name calls by reference."""
_SOURCE: Final = (
    "The service that carried your calls: its systems reported each call, whether you made it or somebody else called "
    "you. Nothing was bought, and nothing was collected elsewhere."
)
_NO_DECISIONS: Final = {
    "uk": "No significant decision about you is based solely on automated processing, profiling included (UK GDPR, "
    "Articles 22A to 22D). A program may grant a request of yours; only a human being refuses one.",
    "eu": "No decision about you is based solely on automated processing, profiling included (GDPR, Article 22(1) and "
    "(4)). A program may grant a request of yours; only a human being refuses one.",
}
STATEMENT: Final = (
    "What a law forbids us to tell is not in this answer, and we may be barred from saying whether there is anything "
    "of the kind."
)
"""The same in every answer, whether or not there is."""
_PORTABLE: Final = frozenset({"contract", "consent"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What the entry of one living identifier says; masks hold purposes."""

    restricted: bool = False
    considered: bool = False
    objected: int = 0
    withdrawn: int = 0
    consented: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCase:
    """A case of this person, with what it says to them alone: its purposes, and the officers' reasons."""

    case: Case
    purposes: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """
    What is known of a person when an answer is made.

    Args:
        flags: Of each identifier that is known; none means that nothing is stored.
        disclosed: Disclosures of this person's records, told or not; which may be told is decided here.
        kept: The holds that may be told of: `basis`, `hold`.
        law: The purposes, by number, for which a law keeps copies beyond an erasure, and until when.
        linked: How many more identifiers of theirs are told of.

    """

    subjects: tuple[str, ...]
    linked: int | msgspec.UnsetType = msgspec.UNSET
    flags: Sequence[Flags] = ()
    cases: Sequence[OwnCase] = ()
    disclosed: Sequence[tuple[Case, Filed]] = ()
    kept: Sequence[dict[str, str]] = ()
    law: Sequence[tuple[int, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The request that is answered."""

    received_at: datetime
    at: datetime
    groups: tuple[int, ...] = ()


def purposes_of(table: TenantPolicy) -> tuple[ForPurpose, ...]:
    """The purposes of a policy, as they are told."""
    return tuple(
        ForPurpose(
            name=name,
            basis=each.basis,
            keep=each.keep,
            then=each.then,
            why=said(each.why),
            law=BASES[each.basis],
            survives_erasure=each.survives_erasure,
        )
        for name, each in table.purposes.items()
    )


def plain(table: TenantPolicy, tenant: str, version: str) -> About:
    """What every answer says: purposes and periods, recipients, the controller, and since when the policy holds."""
    return About(
        purposes=purposes_of(table),
        recipients=tuple(table.recipients),
        keep={name: each.keep for name, each in table.purposes.items()},
        policy=version,
        tenant=tenant,
        regime=table.regime,
        zone=table.calendar.zone,
        controller=Controller(
            name=said(table.controller), contact=said(table.contact), officer=said(table.data_protection_officer)
        ),
    )


def access(base: About, table: TenantPolicy, known: Known, asked: Asked) -> About:
    """The whole answer of Art. 15."""
    idle = {each.name: each for each in _not_in_use(table, known.flags)}
    used = tuple(each for each in base.purposes if each.name not in idle)
    readers = {name: tuple(each for each in actor.purposes if each not in idle) for name, actor in table.actors.items()}
    return msgspec.structs.replace(
        base,
        kind="access",
        purposes=used,
        keep={each.name: each.keep for each in used},
        authority=table.authority,
        at=asked.at,
        received_at=asked.received_at,
        subjects=known.subjects,
        linked=known.linked,
        data=REFERRED if base.calls else DATA,
        not_in_use=tuple(idle.values()),
        readers=tuple(PermittedReader(actor=name, purposes=some) for name, some in readers.items() if some),
        titles=_titles(table),
        told=tuple(_told(known.cases)),
        disclosures=tuple(each for case, filed in known.disclosed if (each := _disclosure(case, filed)) is not None),
        restrictions=tuple(_restrictions(known)),
        objections=tuple(_choices(table, known, "object")),
        withdrawals=tuple(_choices(table, known, "withdraw")),
        consents=tuple(_consents(table, known)),
        requests=tuple(_request(each) for each in known.cases),
        kept_by_law=(
            *(KeptByLaw(basis=each["basis"], hold=each.get("hold")) for each in known.kept),
            *(_by_law(table, number, until) for number, until in known.law),
        ),
        rights=tuple(_rights(used)),
        complaint=Complaint(company=said(table.contact), authority=table.authority, court=Remedies(authority="").court),
        statement=STATEMENT,
        source=said(table.source) or _SOURCE,
        automated_decisions=said(table.automated_decisions) or _NO_DECISIONS[table.regime],
        where=_where(table),
        groups=asked.groups,
    )


def portability(base: About, table: TenantPolicy, known: Known, asked: Asked) -> About:
    """What goes with the data that a person carries away: whose, which, of whom, and to whom to complain."""
    portable = tuple(each for each in base.purposes if each.basis in _PORTABLE)
    return msgspec.structs.replace(
        base,
        kind="portability",
        purposes=portable,
        keep={each.name: each.keep for each in portable},
        recipients=(),
        at=asked.at,
        received_at=asked.received_at,
        subjects=known.subjects,
        linked=known.linked,
        authority=table.authority,
        complaint=Complaint(company=said(table.contact), authority=table.authority, court=Remedies(authority="").court),
        groups=asked.groups,
    )


def disclosure(base: About, known: Known, asked: Asked) -> About:
    """What an authority is told of the company and the scope; nothing of the person but what was asked for."""
    return msgspec.structs.replace(
        base,
        kind="disclosure",
        recipients=(),
        at=asked.at,
        received_at=asked.received_at,
        subjects=known.subjects,
        groups=asked.groups,
    )


def _not_in_use(table: TenantPolicy, flags: Sequence[Flags]) -> Iterator[NotInUse]:
    """The purposes that the choices of every identifier rule out; of nobody known those that want a consent."""
    for name, each in table.purposes.items():
        bit = 1 << (each.number - 1)
        wants = each.basis == "consent"
        reasons = [
            "objected"
            if flag.objected & bit
            else "withdrawn"
            if flag.withdrawn & bit
            else "no_consent"
            if wants and not flag.consented & bit
            else None
            for flag in flags or (Flags(),)
        ]
        if None not in reasons:
            because = next(reason for reason in ("objected", "withdrawn", "no_consent") if reason in reasons)
            yield NotInUse(name=name, why=said(each.why), because=because)


def _titles(table: TenantPolicy) -> dict[str, str]:
    named = {name: said(each.title) for name, each in table.actors.items()}
    named |= {name: said(each.title) for name, each in table.recipients.items()}
    return {name: text for name, text in named.items() if text is not None}


def _told(cases: Sequence[OwnCase]) -> Iterator[ToldRecipient]:
    for each in cases:
        for name, sent in each.case.notices.items():
            to, _, kind = name.partition("/")
            if to != PERSON:
                at, heard = sent.sent_at, sent.acknowledged_at
                yield ToldRecipient(to=to, kind=kind, case=each.case.case, at=at, acknowledged_at=heard)


def _disclosure(case: Case, filed: Filed) -> ToldDisclosure | None:
    """A disclosure as the person is told of it; None where none was made, or where they may not be told."""
    told = case.notices.get(f"{PERSON}/disclosed")
    if not case.decided or case.of_nothing or (filed.notify != "before" and told is None):
        return None
    return ToldDisclosure(
        case=case.case,
        authority=filed.authority,
        basis=filed.basis,
        at=case.stages.get("exported") or case.cut_off,
        told_at=told.sent_at if told else None,
        records=sum(case.legs.values()),
    )


def _restrictions(known: Known) -> Iterator[Restriction]:
    asked = [each.case for each in known.cases if each.case.type == "restrict" and "fenced" in each.case.stages]
    asked.sort(key=lambda case: case.stages["fenced"])
    if any(flag.restricted for flag in known.flags):
        last = asked[-1] if asked else None
        yield Restriction(
            because="requested", since=last.stages["fenced"] if last else None, case=last.case if last else None
        )
    if any(flag.considered for flag in known.flags):
        open_ = [each.case for each in known.cases if each.case.type == "object" and each.case.state == "waiting"]
        for case in open_:
            yield Restriction(because="objection_considered", since=case.opened_at, case=case.case)
        if not open_:
            yield Restriction(because="objection_considered", since=None, case=None)


def names(table: TenantPolicy, mask: int) -> tuple[str, ...]:
    """The purposes of a mask that the policy still has."""
    return tuple(name for name, each in table.purposes.items() if mask >> (each.number - 1) & 1)


def _choices(table: TenantPolicy, known: Known, kind: str) -> Iterator[Choice]:
    """Objections or withdrawals that were granted, and what the entry says of which no case is left."""
    now = 0
    for flag in known.flags:
        now |= flag.objected if kind == "object" else flag.withdrawn
    left = set(names(table, now))
    for each in known.cases:
        if each.case.type == kind and each.case.decided:
            holds = bool(each.purposes) and set(each.purposes) <= set(names(table, now))
            left -= set(each.purposes)
            at = each.case.stages.get("fenced", each.case.received_at)
            yield Choice(case=each.case.case, purposes=each.purposes, at=at, holds=holds)
    if left:
        yield Choice(case=None, purposes=tuple(sorted(left)), at=None, holds=True)


def _consents(table: TenantPolicy, known: Known) -> Iterator[ConsentOnRecord]:
    now: set[str] = set()
    for flag in known.flags:
        now |= set(names(table, flag.consented))
    for each in known.cases:
        consent = each.case.consent
        if consent is not None and each.case.decided:
            holds = bool(each.purposes) and set(each.purposes) <= now
            given, words = consent.time, consent.wording
            yield ConsentOnRecord(
                case=each.case.case, purposes=each.purposes, given_at=given, wording=words, holds=holds
            )


def _request(own: OwnCase) -> OwnRequest:
    case = own.case
    return OwnRequest(
        case=case.case,
        type=case.type,
        state=case.state,
        waits_for=case.waits_for,
        received_at=case.received_at,
        due=case.due,
        extended="extended_at" in case.times,
        ended_at=case.answered_at,
        ticket=case.ticket,
        purposes=own.purposes,
        some_days=case.ranged,
        reasons=own.reasons,
    )


def _rights(used: Sequence[ForPurpose]) -> Iterator[PersonRight]:
    interests = tuple(each.name for each in used if each.basis == "legitimate_interests")
    portable = tuple(each.name for each in used if each.basis in _PORTABLE)
    consented = tuple(each.name for each in used if each.basis == "consent")
    yield PersonRight(
        right="rectification", article="16", means="have what is wrong corrected and what is missing completed"
    )
    yield PersonRight(
        right="erasure",
        article="17",
        means="have your data erased; what a law has the company keep stays, for that alone, until its time is over",
    )
    yield PersonRight(
        right="restriction",
        article="18",
        means="have your data stored and not used, for instance while you dispute that they are right",
    )
    yield PersonRight(
        right="objection",
        article="21",
        means="object to what is done for the company's own interests"
        + ("" if interests else "; at present nothing of yours is used for such interests"),
        purposes=interests,
    )
    yield PersonRight(
        right="portability",
        article="20",
        means="take with you, in a form that machines read, what is kept on a contract or on your consent",
        purposes=portable,
    )
    yield PersonRight(
        right="withdrawal",
        article="7(3)",
        means="withdraw a consent, as easily as it was given"
        + ("" if consented else "; at present no consent of yours is in use"),
        purposes=consented,
    )


def _where(table: TenantPolicy) -> Where:
    stated = table.transfers
    abroad = None
    if stated is not msgspec.UNSET:
        abroad = tuple(Abroad(to=each.to, country=each.country, safeguard=each.safeguard) for each in stated)
    hosts = () if "*" in table.allowed_hosts else table.allowed_hosts
    return Where(stored_in=said(table.stored_in), hosts=hosts, abroad=abroad)


def _by_law(table: TenantPolicy, number: int, until: str) -> KeptByLaw:
    name = next((name for name, each in table.purposes.items() if each.number == number), None)
    return KeptByLaw(basis="legal_duty", hold=None, purpose=msgspec.UNSET if name is None else name, until=until)
