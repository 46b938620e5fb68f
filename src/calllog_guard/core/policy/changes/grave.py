"""
What of a change of policy no officer decides alone, nor from one day to the next.

Rules: 1. Grave are further officers, shorter periods and dropped purposes: what they do cannot be undone.
          Grave is also that one of several officers is left, who would decide alone.  2. Two officers of the
          version before sign the same text. A whole day, in which others see it, lies between both and its effect.
       3. Two names of one key are one officer.  4. Of a single officer, the signature and the day are enough. In the
          tenant's first day the signature alone is: nobody could ever begin else.
"""

from datetime import date, datetime, time, timedelta
from typing import Final

from calllog_guard.core.policy.changes.differences import fingerprint, longer
from calllog_guard.core.policy.form import TenantPolicy, period

SECOND: Final = "second_officer"
"""The reason of a grave version that one officer has signed: it waits until another has."""
TOO_SOON: Final = "takes_effect_too_soon"
"""The reason of a grave version that was signed less than a day before it takes effect."""
DAY: Final = timedelta(days=1)


def grave(old: TenantPolicy, new: TenantPolicy) -> list[str]:
    """
    What of a change is grave, in words; keys are compared as they are: put their texts in place first.

    A period is shorter if it is from any day at all; another key is another officer, whatever it is called.
    """
    found: list[str] = []
    for name, was in old.purposes.items():
        is_now = new.purposes.get(name)
        if is_now is None:
            found.append(f"purposes.{name} falls away")
        elif longer(period(was.keep), period(is_now.keep)):
            found.append(f"purposes.{name}.keep is shorter ({is_now.keep} for {was.keep})")
    known, named = officers(old), officers(new)
    if len(known) > 1 and len(named) < 2:  # noqa: PLR2004 - who is left would decide alone
        found.append("requesters has fewer than two officers left")
    return found + [f"requesters.{name} is a further officer" for key, name in named.items() if key not in known]


def officers(table: TenantPolicy) -> dict[str, str]:
    """The officers of a tenant by the fingerprints of their keys, whose texts are in place."""
    return {fingerprint(each.key): name for name, each in table.requesters.items() if each.role == "officer"}


def soonest(at: datetime) -> date:
    """The first day before which a whole day lies that begins then."""
    whole = at + DAY
    return whole.date() if whole.time() == time() else whole.date() + DAY
