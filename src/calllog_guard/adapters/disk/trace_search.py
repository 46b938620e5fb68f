"""The search for every form in which identifiers may lie somewhere, in one pass."""

import ahocorasick_rs

from calllog_guard.core.audit.traces import traces


class Hunter:
    """All forms of all identifiers, in one pass over the bytes."""

    def __init__(self, identifiers: list[str]) -> None:
        forms: dict[bytes, str] = {}
        for identifier in identifiers:
            forms |= traces(identifier)
        self._names = list(forms.values())
        self._automaton = ahocorasick_rs.BytesAhoCorasick(list(forms))

    def hits(self, content: bytes) -> list[str]:
        """The forms that were found, one entry per hit."""
        return [self._names[hit[0]] for hit in self._automaton.find_matches_as_indexes(content)]
