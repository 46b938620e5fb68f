"""What `policy publish` signs, and whether each worker would follow: a grave one over another officer's signature."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import msgspec

from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import kept_days
from calllog_guard.core.codec import to_ms
from calllog_guard.core.crypto.jose import kid_of
from calllog_guard.core.policy.active import Policy
from calllog_guard.core.policy.changes.chain import LATE, FollowedPolicy, follow
from calllog_guard.core.policy.changes.grave import DAY, SECOND, TOO_SOON, grave, officers, soonest
from calllog_guard.core.policy.changes.publication import KeyOf, Publication, agreed, claims_of, signed_by, with_keys
from calllog_guard.core.policy.form import TenantPolicy
from calllog_guard.errors import StateRefusedError

LENGTHEN: Final = "--lengthen"
_WHY: Final = {
    "lengthens_unsaid": f"a period gets longer (see policy check): say {LENGTHEN} if it is meant",
    LATE: "its day is past: give it today's date or a later one",
    "takes_effect_in_the_past": "its day is past: give it today's date or a later one",
    "retention_too_short": "the topic of the legs forgets earlier than this version: raise its retention.ms first",
    "contradicts": "it contradicts versions that are published: policy print --published shows them",
}


@dataclass(frozen=True, slots=True)
class Countersigned:
    """
    A publication as it is to be written.

    Args:
        found: What of it is grave, in words.
        alone: Whether the version before has one officer.
        done: Two have signed the same already: one signature more, under the same key, would take the place of both.

    """

    token: bytes
    effective: date
    found: Sequence[str]
    alone: bool
    done: bool


def countersigned(
    private_pem: bytes, before: TenantPolicy, key_of: KeyOf, claims: Publication, followed: FollowedPolicy
) -> Countersigned:
    """
    A publication, signed; of a grave one over what another officer has signed of the same text, if one has.

    Raises:
        StateRefusedError: The key is no officer's of the version before.

    """
    whole = with_keys(before, key_of)
    found, alone = grave(whole, claims.policy), len(officers(whole)) == 1
    own = signed_by(private_pem, before, key_of, claims)
    waiting = [token for token, why in followed.refused.items() if why == SECOND] if found else []
    others = [token.decode() for token in waiting if agreed(claims_of(token)) == agreed(claims)]
    if firsts := [other for other in others if kid_of(other) != kid_of(own)]:
        own = signed_by(private_pem, before, key_of, msgspec.structs.replace(claims, first=firsts[-1]))
    done = bool(found) and any(agreed(claims_of(token)) == agreed(claims) for token in followed.accepted)
    return Countersigned(own.encode(), claims.effective, found, alone, done and not alone)


def word_of(signed: Countersigned, version: str, before: str, *, waits: bool) -> str | None:
    """What an officer must hear of a grave version, whether it waits or not."""
    told = "; ".join(signed.found)
    if waits:
        return (
            f"version {version} is not followed yet: {told}. That needs two officers of version {before}, with two "
            "keys: let another "
            f"run the same command with the same file and their own --key, before {signed.effective - DAY}, 00:00 UTC"
        )
    if signed.found and signed.alone:
        return (
            f"{told}: on one officer's word alone, because version {before} has one: "
            "name a second (key register --role officer)"
        )
    return None


async def agreed_by_all(shared: AppContext, rest: Policy, signed: Countersigned) -> bool:
    """
    Judge it as every worker will, before anybody sees it; whether it waits for a second officer.

    Raises:
        StateRefusedError: No worker would follow it, and what to do.

    """
    now, days = shared.clock.now(), await kept_days(shared)
    followed = follow(rest.versions, {signed.token: to_ms(now)}, rest.public_key, days, rest.here())
    reason = followed.refused.get(signed.token)
    if reason == TOO_SOON or (reason == SECOND and soonest(now) > signed.effective):
        raise StateRefusedError(
            f"{'; '.join(signed.found)}: a whole day must lie before that takes effect, in which others see it: "
            f"give it effective = {soonest(now)} or later"
        )
    if reason not in {None, SECOND}:
        raise StateRefusedError(
            f"no worker would follow this version ({reason}): {_WHY.get(reason or '', 'see the documentation')}"
        )
    return reason == SECOND
