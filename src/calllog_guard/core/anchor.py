"""
Whose topics these are: the first record of the ledger names the installation that writes it.

Two installations on one ledger would raise each other's guards and take each other's decisions for forgeries: the second is refused.
Source: design section 9 (restore guard).
"""

from typing import Final, Literal

import msgspec

from calllog_guard.core.wire import Id, Internal, TenantName
from calllog_guard.errors import ConfigurationError

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


def check_anchor(found: Anchor, mine: Anchor, ledger: str) -> None:
    """
    Whether the ledger is this installation's.

    Raises:
        ConfigurationError: Whose it is, as far as it says, and which settings lead there.

    """
    theirs = f"tenant {found.tenant}'s installation" if found.tenant else "another installation"
    if found.tenant not in {None, mine.tenant} or found.guard != mine.guard:
        raise ConfigurationError(
            f"{ledger} is the ledger of {theirs}, and this process has the keys of another (tenant {mine.tenant}): each "
            "installation has a CALLLOG_GUARD_TENANT, PRIVACY_PREFIX, CALLLOG_PREFIX, KEYSTORE, KMS and RING of its own; see "
            "the documentation: Scale"
        )
    if found.legs not in {None, mine.legs}:
        raise ConfigurationError(
            f"{ledger} is the ledger of {found.legs}, and CALLLOG_GUARD_CALLLOG_PREFIX leads to {mine.legs}: mend the prefixes"
        )
