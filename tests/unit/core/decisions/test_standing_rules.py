"""What was decided about a person: folded in the order of the ledger, sealed under the person's key."""

from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest

from calllog_guard.core.calls.correction import corrected
from calllog_guard.core.crypto.subject_secrets import IdentitySecret
from calllog_guard.core.decisions.decision import Decision
from calllog_guard.core.decisions.standing_rules import Correction, Rule, Span, Standing, open_rule, seal_rule
from calllog_guard.errors import RecordError

AT = datetime(2026, 11, 24, tzinfo=UTC)
NAME, HOLD = "A" * 22, "B" * 21 + "A"


def decision(kind: Any, **more: Any) -> Decision:
    """A decision of a type."""
    shown: dict[str, Any] = {"tenant": "iocom", "case": NAME, "pseudonym": NAME, "decision": NAME}
    return Decision(type=kind, entry="", epoch="2026-W48", cut_off=AT, pol="2026-11-01", at=AT, **shown, **more)


def folded(*steps: tuple[str, Rule]) -> Standing:
    """The standing after some decisions."""
    found = Standing()
    for kind, rule in steps:
        found = found.after(decision(kind), rule)
    return found


def test_a_rule_opens_under_its_own_persons_key_and_decision_only() -> None:
    """A rule that could be moved would correct, erase or hold another person's legs."""
    key = IdentitySecret(b"\x01" * 32).rules_key()
    rule = Rule(range=Span(from_="2026-11-01", to=None), mask=5, facts=Correction(token=NAME, role="guest"))
    sealed = seal_rule(decision("rectify"), rule, key, bytes(12))
    assert open_rule(sealed, key) == rule
    assert open_rule(decision("restrict"), key) == Rule()
    with pytest.raises(RecordError):
        open_rule(sealed, IdentitySecret(b"\x02" * 32).rules_key())
    for moved in ({"pseudonym": HOLD}, {"type": "erase"}, {"decision": HOLD}, {"range": "sealed"}, {"rule": "AAAA"}):
        with pytest.raises(RecordError):
            open_rule(msgspec.structs.replace(sealed, **moved), key)


def test_the_last_choice_counts() -> None:
    given = folded(("consent", Rule(mask=4)), ("withdraw", Rule(mask=4)))
    assert (given.consented, given.withdrawn, given.mask_of(7)) == (0, 4, 3)
    again = given.after(decision("consent"), Rule(mask=4))
    assert (again.consented, again.withdrawn, again.mask_of(7)) == (4, 0, 7)
    assert folded(("object", Rule(mask=2))).mask_of(3) == 1
    assert folded(("restrict", Rule()), ("lift", Rule())) == Standing()
    considered = folded(("restrict", Rule()), ("restrict", Rule(mask=2)))
    assert (len(considered.restrictions), len(considered.reviews)) == (1, 1)
    assert len(considered.after(decision("lift"), Rule(mask=2)).restrictions) == 1
    assert folded(("access", Rule()), ("disclose", Rule())) == Standing()


def test_ranges_and_holds_cover_their_days_and_a_release_ends_a_hold() -> None:
    november = Span(from_="2026-11-01", to="2026-11-30")
    standing = folded(
        ("erase", Rule(range=november)), ("hold", Rule(hold=HOLD)), ("hold", Rule(hold=NAME, range=november))
    )
    assert [standing.removes(date(2026, month, 30)) for month in (10, 11, 12)] == [False, True, False]
    assert standing.holds_on(date(2026, 11, 1)) == (HOLD, NAME)
    assert standing.holds_on(date(2026, 12, 1)) == (HOLD,)
    assert standing.after(decision("release"), Rule(hold=HOLD)).holds_on(date(2026, 12, 1)) == ()
    assert Span().covers(date(2026, 1, 1))


def test_a_correction_replaces_what_it_names_and_nothing_else() -> None:
    plain = (
        b'{"call":"c","role":"host","joined_at":"2026-11-24T09:00:00Z","left_at":"2026-11-24T09:10:00Z","kind":"video",'
        b'"outcome":"answered","started_at":"2026-11-24T09:00:00Z","ended_at":"2026-11-24T09:10:00Z","parties":2,'
        b'"subject":"alice@example.org"}'
    )
    same = corrected(plain, role="host", joined_at=None, left_at=None)
    assert same == plain
    changed = corrected(plain, role="guest", joined_at=datetime(2026, 11, 24, 9, 5, tzinfo=UTC), left_at=None)
    assert changed == plain.replace(
        b'"role":"host","joined_at":"2026-11-24T09:00', b'"role":"guest","joined_at":"2026-11-24T09:05'
    )
    with pytest.raises(RecordError):
        corrected(plain, role=None, joined_at=datetime(2026, 11, 24, 9, 11, tzinfo=UTC), left_at=None)
