"""What a user's program sees of the client's types: mypy strict reads it in `make check`; a needless ignore fails."""

from collections.abc import Awaitable, Iterator
from typing import assert_type

import pytest

from calllog_guard.client import (
    AsyncClient,
    CaseStage,
    Client,
    Draft,
    Export,
    Problem,
    Receipt,
    drafts,
    open_export,
    verify_receipt,
)
from calllog_guard.errors import ConfigurationError, GuardError


def a_backend(guard: Client, other: AsyncClient) -> None:
    """A program that is read, not run."""
    assert_type(guard.privacy.erase(["a"], identity="verified"), str)
    assert_type(other.privacy.erase(["a"], identity="verified"), Awaitable[str])
    assert_type(guard.privacy.check(drafts.complain("no")), Problem | None)
    assert_type(guard.cases.follow("case"), Iterator[CaseStage])
    assert_type(guard.receipts.verified("case"), Receipt)
    assert_type(verify_receipt(b"", "key.pem"), Receipt)
    assert_type(open_export("answer", "key.pem"), Export)
    guard.publisher.send({"tenant": "iocom"})
    guard.privacy.erase(["a"])  # type: ignore[call-arg] # whether it is sure who asks is never guessed
    guard.privacy.erase(["a"], identity="sure")  # type: ignore[arg-type]
    guard.privacy.object(["a"], identity="verified")  # type: ignore[call-arg]
    guard.privacy.clock("case", "later")  # type: ignore[arg-type]
    guard.privacy.erase(["a"], identity="verified", because="so")  # type: ignore[call-arg]
    Client("localhost:9092", tenant="iocom", colour="red")  # type: ignore[call-arg]
    Client("localhost:9092")  # type: ignore[call-arg]


def test_a_draft_is_a_draft_and_its_mistakes_are_ours() -> None:
    assert_type(drafts.erase(["a"], identity="verified"), Draft)
    with pytest.raises(GuardError) as found:
        drafts.erase("a", identity="verified")
    assert isinstance(found.value, ConfigurationError)
