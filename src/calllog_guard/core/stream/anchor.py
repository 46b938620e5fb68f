"""
Whose topics these are: the first record of the ledger names the installation that writes it.

Two installations on one ledger would raise each other's guards and take each other's decisions as forged:
the second is refused. Source: docs/adr/0009-restore-guard.md.
"""

from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

from calllog_guard.core.codec import Id, Internal, TenantName, decode
from calllog_guard.core.stream.proofs import AUDIT, Proofs
from calllog_guard.errors import ConfigurationError, MessageError

ANCHOR: Final = b"~guard"
"""Its key, in each partition of the ledger and of the legs, and beside the policy, where everybody may read."""


class Anchor(Internal, frozen=True, kw_only=True):
    """The guard's id, whose installation it is, and the topic of its legs; the first releases said the id alone."""

    v: Literal[1] = 1
    guard: Id
    counter: int = 0
    tenant: TenantName | None = None
    legs: str | None = None


ANCHORS: Final = msgspec.json.Decoder(Anchor)


def anchor_in(
    records: Iterable[Any], proofs: Proofs, mine: Anchor, ledger: str, *, ours: bool
) -> tuple[Anchor | None, int]:
    """
    The anchor among some records, and how many that are none were passed over.

    A proven one stands, wherever it lies. Without one the oldest of those counts that need no proof. The unproven is
    passed over where anything else shows that this ledger is ours (`ours`); else it may be another installation's.

    Raises:
        ConfigurationError: Another installation writes this ledger, or somebody says so and nothing says otherwise.
        NewerFormError: A later release of ours wrote it.

    """
    anchors = [record for record in records if record.key == ANCHOR and record.value is not None]
    proven = [record for record in anchors if proofs.proven(record, AUDIT)]
    if proven:
        found = decode(ANCHORS, proven[-1].value)
        check_anchor(found, mine, ledger)
        return found, len(anchors) - len(proven)
    older = [record for record in anchors if proofs.older(record, AUDIT)]
    if ours and not older:
        return mine, len(anchors)
    for record in older or anchors:
        try:
            found = proofs.form(record, AUDIT, lambda each: decode(ANCHORS, each.value))
        except MessageError as error:
            raise ConfigurationError(
                f"the first {ANCHOR.decode()} of {ledger} is none of ours ({error.reason})"
            ) from None
        check_anchor(found, mine, ledger)
        return found, len(anchors) - len(older)
    return None, 0


def check_anchor(found: Anchor, mine: Anchor, ledger: str) -> None:
    """
    Whether the ledger is this installation's.

    Raises:
        ConfigurationError: Whose it is, as far as it says, and which settings lead there.

    """
    theirs = f"tenant {found.tenant}'s installation" if found.tenant else "another installation"
    if found.tenant not in {None, mine.tenant} or found.guard != mine.guard:
        raise ConfigurationError(
            f"{ledger} is the ledger of {theirs}, and this process has the keys of another (tenant {mine.tenant}): "
            "each installation has a CALLLOG_GUARD_TENANT, PRIVACY_PREFIX, CALLLOG_PREFIX, KEYSTORE, KMS and RING of "
            "its own; see the documentation: Scale"
        )
    if found.legs not in {None, mine.legs}:
        raise ConfigurationError(
            f"{ledger} is the ledger of {found.legs}, and CALLLOG_GUARD_CALLLOG_PREFIX leads to {mine.legs}: mend the "
            "prefixes"
        )
