"""An answer as a person gets it, and a disclosure: values shared by tests and by anybody looking at the pages."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from policies import policy_of, version

from calllog_guard.core.answers import person
from calllog_guard.core.answers.about import About, OpenedBy
from calllog_guard.core.answers.parts import GROUP, DisclosureTerms, ExportedLeg, Part, first_of
from calllog_guard.core.answers.person import Asked, Flags, Known, OwnCase
from calllog_guard.core.cases.case import Case, Consent
from calllog_guard.core.cases.case_owner import Reason
from calllog_guard.core.cases.notices import Filed, Sent
from calllog_guard.core.decisions.standing_rules import Span
from calllog_guard.core.policy.form import TenantPolicy

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
WORDS = """\
controller = "IO Com Ltd, 1 Example Street, London EC1A 1AA"
contact = "privacy@iocom.example"
data_protection_officer = "Dr Ada Byron, dpo@iocom.example"
stored_in = "London, United Kingdom"
transfers = [{ to = "Ledger Inc.", country = "Canada", \
safeguard = "standard contractual clauses (Art. 46(2)(c)); ask us for a copy" }]
allowed_hosts = ["*.london.example.net"]
[version.tenant.iocom.recipients.ledger]
title = "Ledger Inc., who sends our invoices"
key = "invoicing.pub.pem"
told = ["erased", "rectified", "restricted", "lifting"]
"""
PURPOSES = """\
[version.tenant.iocom.purposes.service]
number = 1
why = "To show you your calls and to help you when one fails"
basis = "contract"
keep = "P90D"
[version.tenant.iocom.purposes.billing]
number = 2
why = "To keep the records of what was charged that tax law asks for"
basis = "legal_duty"
keep = "P6Y"
survives_erasure = true
[version.tenant.iocom.purposes.quality]
number = 3
why = "To find out where calls sound bad"
basis = "legitimate_interests"
keep = "P60D"
then = "anonymise"
[version.tenant.iocom.purposes.tips]
number = 4
why = "To send you tips about calling"
basis = "consent"
keep = "P30D"
[version.tenant.iocom.purposes.research]
number = 5
why = "To study how people call"
basis = "consent"
keep = "P1Y6M"
"""
CASE = "qAMb8GJ1TH3F04UWQ1jxHw"
DIGEST = "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"


def table(folder: Path) -> TenantPolicy:
    """The policy in force."""
    text = version(more=WORDS, purposes=PURPOSES).replace(
        '[version.tenant.iocom.actors.support-1]\npurposes = ["service"]',
        '[version.tenant.iocom.actors.support-1]\ntitle = "Customer support"\npurposes = ["service"]\n'
        '[version.tenant.iocom.actors.billing-1]\ntitle = "The billing department"\npurposes = ["billing"]',
    )
    return policy_of(folder, text).versions[0].tenant["iocom"]


def case(number: int, kind: str, state: Any, received: datetime, **more: Any) -> Case:
    """A case."""
    start: dict[str, Any] = {"received_at": received, "appended_at": received, "opened_at": received}
    names: dict[str, Any] = {"tenant": "iocom", "jti": f"jti-{number:05d}", "law_due": None}
    more = {"due": "2026-12-20", "ticket": None, "asked_by": "backend-1"} | more
    name = more.pop("case", f"{number:022d}")
    return Case(case=name, type=kind, state=state, place=(0, number), **start, **names, **more)


def day(month: int, number: int, hour: int = 10) -> datetime:
    """A time in 2026."""
    return datetime(2026, month, number, hour, tzinfo=UTC)


def known() -> Known:
    """A person with a history."""
    sent = Sent(sent_at=day(10, 3), act_by=day(10, 10), acknowledged_at=day(10, 4))
    cases = [
        OwnCase(
            case=case(
                1,
                "consent",
                "closed",
                day(5, 2),
                stages={"accepted": day(5, 2), "fenced": day(5, 2)},
                consent=Consent(time=day(5, 2), wording=DIGEST),
            ),
            purposes=("tips",),
        ),
        OwnCase(
            case=case(
                2,
                "object",
                "refused",
                day(7, 1),
                stages={"accepted": day(7, 1), "refused": day(7, 20)},
                ticket="DSR-101",
                due="2026-08-03",
            ),
            purposes=("quality",),
            reasons=(
                Reason(
                    of="refused",
                    at=day(7, 20),
                    text="Without these measurements we cannot keep calls audible for you or for the people you speak "
                    "to.",
                ),
            ),
        ),
        OwnCase(
            case=case(
                3,
                "rectify",
                "closed",
                day(10, 2),
                stages={"accepted": day(10, 2), "rewritten": day(10, 3)},
                notices={"ledger/rectified": sent, "person/rectified": sent},
                ticket="DSR-118",
            )
        ),
        OwnCase(
            case=case(4, "restrict", "closed", day(11, 10), stages={"accepted": day(11, 10), "fenced": day(11, 10, 11)})
        ),
        OwnCase(
            case=case(
                5, "access", "enforcing", day(11, 20), case=CASE, ticket="DSR-130", stages={"accepted": day(11, 20)}
            )
        ),
    ]
    told = case(
        6,
        "disclose",
        "closed",
        day(9, 1),
        stages={"accepted": day(9, 1), "decided": day(9, 2), "exported": day(9, 2)},
        legs={"x": 12},
        notices={"person/disclosed": Sent(sent_at=day(9, 1), act_by=day(9, 8))},
    )
    hidden = case(
        7,
        "disclose",
        "closed",
        day(9, 1),
        stages={"accepted": day(9, 1), "decided": day(9, 2), "exported": day(9, 2)},
        review_at=day(12, 1),
    )
    return Known(
        subjects=("alice@example.org", "+441632960961"),
        flags=[Flags(restricted=True, consented=1 << 3)],
        cases=cases,
        disclosed=[
            (told, Filed(authority="Serious Fraud Office", basis="Criminal Justice Act 1987, s.2", notify="before")),
            (hidden, Filed(authority="Secret Authority", basis="Secret Act, s.1", notify="when_lifted")),
        ],
        kept=[{"basis": "legal_claims", "hold": "claim-17"}],
    )


def about(folder: Path) -> About:
    """What that person is told."""
    found = table(folder)
    asked = Asked(received_at=day(11, 20), at=NOW, groups=(1, first_of(0)))
    return person.access(person.plain(found, "iocom", "2026-01-01"), found, known(), asked)


def legs(many: int, subject: str = "alice@example.org") -> tuple[ExportedLeg, ...]:
    """Calls, the oldest first."""
    found: list[ExportedLeg] = []
    kinds = (
        ("video", "host", "answered"),
        ("audio", "callee", "missed"),
        ("audio", "caller", "answered"),
        ("screen", "guest", "answered"),
    )
    for number in range(many):
        kind, role, outcome = kinds[number % 4]
        start = NOW - timedelta(hours=31 * (many - number), minutes=7 * number)
        end = start + timedelta(seconds=61 * (number % 47) + 9)
        answered = outcome == "answered"
        shown: dict[str, Any] = {"kind": kind, "role": role, "outcome": outcome, "subject": subject}
        found.append(
            ExportedLeg(
                call=f"9f0c{number:04d}-7d1e",
                joined_at=f"{start:%Y-%m-%dT%H:%M:%SZ}" if answered else None,
                left_at=f"{end:%Y-%m-%dT%H:%M:%SZ}" if answered else None,
                started_at=f"{start:%Y-%m-%dT%H:%M:%SZ}",
                ended_at=f"{end:%Y-%m-%dT%H:%M:%SZ}" if answered else None,
                parties=2 + number % 5,
                purposes=("service", "billing"),
                kept_until=f"{start + timedelta(days=2192):%Y-%m-%d}",
                until={"service": f"{start + timedelta(days=91):%Y-%m-%d}"},
                **shown,
            )
        )
    return tuple(found)


def parts(folder: Path, many: int = 30) -> list[Part]:
    """The answer as it is sent: the desk's part, and one identifier's."""
    told = about(folder)
    plain = person.plain(table(folder), "iocom", "2026-01-01")
    seen = (
        OpenedBy(actor="support-1", purpose="service", first=day(10, 2), last=day(11, 3), days=2, records=3),
        OpenedBy(actor="billing-1", purpose="billing", first=day(9, 1), last=day(11, 23), days=84, records=22),
        OpenedBy(actor="support-1", purpose="service", last=day(6, 3)),
    )  # fmt: skip
    mine = About(purposes=plain.purposes, recipients=(), keep={}, policy="2026-01-01", at=NOW, opened_by=seen)
    return [
        Part(case=CASE, part=1, parts=1, about=told, legs=()),
        Part(case=CASE, part=GROUP + 1, parts=1, about=mine, legs=legs(many), left_out={"unreadable": 2}),
    ]


def disclosed(folder: Path, many: int = 12) -> list[Part]:
    """A disclosure as it is sent."""
    found = table(folder)
    asked = Asked(received_at=day(11, 20), at=NOW, groups=(1, first_of(0)))
    plain = person.plain(found, "iocom", "2026-01-01")
    told = person.disclosure(plain, Known(subjects=("alice@example.org",)), asked)
    terms = DisclosureTerms(
        authority="Serious Fraud Office",
        basis="Criminal Justice Act 1987, s.2",
        asked_by="officer-1",
        approvals=("officer-1", "officer-2"),
        asked_at=day(11, 20),
        decided_at=day(11, 21),
        range=Span(from_="2026-11-01", to="2026-11-20"),
        notify="when_lifted",
        told_at=None,
    )
    return [
        Part(case=CASE, part=1, parts=1, about=told, legs=(), disclosure=terms),
        Part(case=CASE, part=GROUP + 1, parts=1, about=told, legs=legs(many), left_out={"unreadable": 1}),
    ]
