"""
A person's key bytes as kept in memory, for a bounded time: what opens and names legs, and nothing of the keystore.

Source: docs/explanation/keystore.md.
"""

from dataclasses import dataclass
from typing import Final

from calllog_guard.core.crypto.subject_secrets import DataKey, Link, Month, TokenKey, link_at
from calllog_guard.core.identifiers import Pseudonym
from calllog_guard.errors import RecordError

_MONTHS_MAX: Final = 12  # per person in memory; an old log in order asks for one or two

_AHEAD_MAX: Final = 1200  # events are of the years 2000 to 2100: a forged header turns no ratchet for longer


@dataclass(frozen=True, slots=True)
class KeyBytes:
    """
    A person's key bytes as cached; each month is derived once, from the nearest link before it.

    Args:
        place: The pseudonym's first four bytes, big-endian.
        links: Those of the floor, of the current month, and of the months that were asked for.

    """

    pseudonym: Pseudonym
    generation: int
    token_key: TokenKey
    place: int
    links: dict[Month, Link]
    months: dict[Month, DataKey]

    def data_key(self, month: Month) -> DataKey:
        """
        The key of a month.

        Raises:
            RecordError: The ratchet is past this month (`lapsed`), or no event was ever accepted of it (`bad_month`).

        """
        if month not in self.months:
            at = max((each for each in self.links if each <= month), default=None)
            if at is None:
                raise RecordError("lapsed")
            if month - at > _AHEAD_MAX:
                raise RecordError("bad_month")
            link = self.links[month] = link_at(self.links[at], at, month)
            if len(self.months) >= _MONTHS_MAX:
                self.months.clear()
            self.months[month] = link.data_key(month)
        return self.months[month]
