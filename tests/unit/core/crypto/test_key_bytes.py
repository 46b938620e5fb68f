"""The months of a person's ratchet: each derived once, none before the floor, none that no event was ever of."""

import pytest

from calllog_guard.core.crypto.key_bytes import KeyBytes
from calllog_guard.core.crypto.subject_secrets import IdentitySecret, Link, month_from
from calllog_guard.errors import RecordError


def opened() -> KeyBytes:
    """A person's keys from January 2024 on."""
    identity, floor = IdentitySecret.mint(), month_from("2024-01")
    return KeyBytes(identity.pseudonym(), 1, identity.token_key(), 0, {floor: Link.mint()}, {})


def test_a_month_has_one_key_whatever_was_asked_before() -> None:
    keys = opened()
    late = keys.data_key(month_from("2026-11"))
    assert keys.data_key(month_from("2025-03")) != late
    assert keys.data_key(month_from("2026-11")) == late


@pytest.mark.parametrize(("month", "reason"), [("2023-12", "lapsed"), ("9999-12", "bad_month")])
def test_a_month_out_of_reach_is_refused_and_turns_no_ratchet(month: str, reason: str) -> None:
    """A header names its month in clear: a forged one must not make a worker derive for hours, or remember that."""
    keys = opened()
    with pytest.raises(RecordError) as refused:
        keys.data_key(month_from(month))
    assert refused.value.reason == reason
    assert len(keys.links) == 1
