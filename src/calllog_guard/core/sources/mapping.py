"""
A mapping at work: one message becomes events, notifications, or nothing, and what is refused of it is named.

In: a message as JSON has it.  Out: a `MappedItem` for each of its items.
Rules: 1. The first rule whose tests all hold is taken.  2. What is wrong with one party loses that party alone.
       3. What no rule takes is passed over, and told.
Source: docs/reference/mapping.md.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from calllog_guard.core.sources.converters import kind_of
from calllog_guard.core.sources.fields import Holds, Scopes, Shared, Value, field, shared, test
from calllog_guard.core.sources.model import (
    EventRule,
    From,
    MappingFile,
    MappingRule,
    NotificationRule,
    PartyRule,
    Test,
)
from calllog_guard.core.sources.notification import Notification, as_json
from calllog_guard.core.sources.places import path
from calllog_guard.errors import ConfigurationError, UnmappedError

MOST_PARTIES: Final = 200
"""In one event, so that it is never larger than 256 KiB, however long their ids: a larger call is told in several."""
MOST_ITEMS: Final = 100_000
"""In one list of a message: what holds more was made to take time."""
_TIMES: Final = frozenset({"started_at", "ended_at", "joined_at", "left_at", "at"})
_NUMBERS: Final = frozenset({"revision", "party_count"})
_KINDS: Final[dict[str, type]] = dict.fromkeys(_TIMES, datetime) | dict.fromkeys(_NUMBERS, int)
"""What a field holds; the others hold text."""
_NEEDED: Final = frozenset({"call_id", "kind", "outcome", "started_at", "role", "call", "at"})


class MappedItem(NamedTuple):
    """
    What became of one item of a message.

    Args:
        rule: The rule's name; empty where none was taken.
        event: A call event as a dict, or None.
        refused: What is wrong, each with the place in the event.
        skipped: What was skipped, by the words of the tests.

    """

    rule: str = ""
    event: dict[str, Any] | None = None
    notification: Notification | None = None
    refused: tuple[UnmappedError, ...] = ()
    skipped: tuple[str, ...] = ()


Skips = Sequence[tuple[Holds, str]]
Made = Callable[[Scopes, str], Sequence[MappedItem]]


class Mapping:
    """
    A mapping, compiled.

    Raises:
        ConfigurationError: What the form cannot say of a mapping is wrong, with the place in the file.

    """

    def __init__(self, file: MappingFile) -> None:
        self.file = file
        common = shared(file)
        self._records = path(file.input.records) if file.input.records else None
        self._rules = [_placed(f"rule {rule.name}", partial(_rule, rule, common)) for rule in file.rule]
        self.notifies = any(rule.notification for rule in file.rule)

    def results(self, message: Any, tenant: str) -> Iterator[MappedItem]:
        """What becomes of a message, item by item; at least one result."""
        if self._records is None:
            yield from self._of(message, tenant)
            return
        try:
            held = self._records([message])
            found = [held] if isinstance(held, dict) else _listed(held, "", self.file.input.records or "")
        except UnmappedError as error:
            yield MappedItem(refused=(error,))
            return
        if not found:
            yield MappedItem(skipped=("a message without records",))
        for each in found:
            yield from self._of(each, tenant)

    def _of(self, message: Any, tenant: str) -> Iterator[MappedItem]:
        scopes = Scopes([message])
        for rule in self._rules:
            if all(holds(scopes) for holds in rule.when):
                yield from rule.results(scopes, tenant)
                return
        yield MappedItem(skipped=("of a type that the mapping does not take",))


class _Compiled(NamedTuple):
    """A rule, compiled."""

    name: str
    when: Sequence[Holds]
    skip: Skips
    each: Value | None
    made: Made
    source: str

    def results(self, scopes: Scopes, tenant: str) -> Iterator[MappedItem]:
        try:
            items = [None] if self.each is None else _listed(self.each(scopes), "", self.source)
        except UnmappedError as error:
            yield MappedItem(self.name, refused=(error,))
            return
        if not items:
            yield MappedItem(self.name, skipped=("a message without items",))
        for item in items:
            around = scopes if self.each is None else Scopes([*scopes, item])
            if why := _skipped(self.skip, around):
                yield MappedItem(self.name, skipped=(why,))
                continue
            try:
                yield from self.made(around, tenant)
            except UnmappedError as error:
                yield MappedItem(self.name, refused=(error,))


def _placed(where: str, make: Callable[[], _Compiled]) -> _Compiled:
    try:
        return make()
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _rule(rule: MappingRule, common: Shared) -> _Compiled:
    if (rule.event is None) == (rule.notification is None):
        raise ConfigurationError("it needs one of event, notification")
    made = _event(rule.name, rule.event, common) if rule.event else _notification(rule.name, rule.notification, common)
    each = field(rule.each, common) if rule.each else None
    when = [test(each, common) for each in rule.when]
    return _Compiled(rule.name, when, _skips(rule.skip, common), each, made, _source(rule.each))


def _skips(tests: Sequence[Test], common: Shared) -> Skips:
    return [(test(each, common), each.why or "skipped") for each in tests]


def _skipped(skips: Skips, scopes: Scopes) -> str:
    return next((why for holds, why in skips if holds(scopes)), "")


def _listed(found: Any, pointer: str, source: str) -> list[Any]:
    if found is None:
        return []
    if not isinstance(found, list):
        raise UnmappedError("no_list", pointer, found=kind_of(found), source=source)
    if len(found) > MOST_ITEMS:
        raise UnmappedError("too_many", pointer, found="a list", source=source)
    return found


def _source(given: From | None) -> str:
    if given is None or isinstance(given, str):
        return given or ""
    return given.jmes or (given.path if isinstance(given.path, str) else " or ".join(given.path))


# --- fields of an event -------------------------------------------------------------------------------------------


class _Fields:
    """Fields of one object of the event, in the order in which its rule has them."""

    def __init__(self, rule: msgspec.Struct, names: Sequence[str], common: Shared) -> None:
        given = [(name, getattr(rule, name)) for name in names if getattr(rule, name) is not None]
        self._fields = [(name, _at(name, each, common), _source(each), _KINDS.get(name, str)) for name, each in given]

    def read(self, scopes: Scopes, pointer: str) -> dict[str, Any]:
        """
        The fields that say something.

        Raises:
            UnmappedError: One that is needed is missing, or one is of the wrong kind.

        """
        made: dict[str, Any] = {}
        for name, value, source, kind in self._fields:
            try:
                found = value(scopes)
                if type(found) is not kind:
                    found = _checked(name, found, source)
            except UnmappedError as error:
                place = f"{pointer}/{name}"
                raise UnmappedError(error.reason, place, found=error.found, source=error.source or source) from None
            if found is not None:
                made[name] = found
        return made


def _at(name: str, given: From, common: Shared) -> Value:
    try:
        return field(given, common)
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}: {error}") from None


def _checked(name: str, found: Any, source: str) -> Any:
    if found is None:
        if name in _NEEDED:
            raise UnmappedError("missing_value", found="nothing", source=source)
        return None
    if name in _TIMES:
        raise UnmappedError("no_time", found=kind_of(found), source=source)  # the mapping names no converter for it
    if isinstance(found, bool) or not isinstance(found, _KINDS.get(name, str)):
        raise UnmappedError("wrong_value", found=kind_of(found), source=source)
    return found


_OF_EVENT: Final = ("call_id", "occurrence", "kind", "outcome", "started_at", "ended_at", "revision", "party_count")
_OF_PARTY: Final = ("id", "role", "session", "joined_at", "left_at")
_OF_NOTIFICATION: Final = ("call", "at", "person", "session", "role", "kind", "joined_at")


def _event(name: str, rule: EventRule, common: Shared) -> Made:
    fields = _Fields(rule, _OF_EVENT, common)
    parties = [_Party(each, common) for each in rule.party]

    def made(scopes: Scopes, tenant: str) -> Sequence[MappedItem]:
        event = as_json({"tenant": tenant} | fields.read(scopes, ""))
        found: list[dict[str, Any]] = []
        refused: list[UnmappedError] = []
        skipped: list[str] = []
        for each in parties:
            each.add(scopes, found, refused, skipped)
        if not found and not refused and not skipped:
            refused.append(UnmappedError("no_party", "/parties", found="nothing"))
        events = _parts(event, _people(found, answered=event["outcome"] == "answered"))
        first = MappedItem(name, next(events, None), None, tuple(refused), tuple(skipped))
        return [first, *(MappedItem(name, each) for each in events)]

    return made


def _people(parties: Sequence[dict[str, Any]], *, answered: bool) -> list[dict[str, Any]]:
    """
    The parties, each session once.

    Nobody joins a call that was not answered. Who is named twice, as who calls themselves, was there as long as both.
    """
    known: dict[Any, dict[str, Any]] = {}
    for number, party in enumerate(parties):
        mine = party if answered else {name: each for name, each in party.items() if name not in _TIMES}
        first = known.setdefault((party["id"], party.get("session")) if "id" in party else number, mine)
        for name, longer in (("joined_at", min), ("left_at", max)):
            if first is mine or name not in first:
                continue
            if name in mine:
                first[name] = longer(first[name], mine[name])
            else:
                del first[name]
    return list(known.values())


def _parts(event: dict[str, Any], parties: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The event, or several of a large call, each with the number of all its people."""
    if len(parties) > MOST_PARTIES:
        people = len({party["id"] for party in parties if "id" in party}) + sum("id" not in party for party in parties)
        event = {"party_count": people} | event
    for begin in range(0, len(parties), MOST_PARTIES):
        yield event | {"parties": [as_json(party) for party in parties[begin : begin + MOST_PARTIES]]}


class _Party:
    """A rule of parties, compiled."""

    def __init__(self, rule: PartyRule, common: Shared) -> None:
        self._without_id, self._source = rule.without_id, _source(rule.each)
        self._each = _at("party.each", rule.each, common) if rule.each else None
        self._when = [test(each, common) for each in rule.when]
        self._skip = _skips(rule.skip, common)
        self._strangers = [test(each, common) for each in rule.guest]
        self._fields = _Fields(rule, _OF_PARTY, common)

    def add(
        self, scopes: Scopes, found: list[dict[str, Any]], refused: list[UnmappedError], skipped: list[str]
    ) -> None:
        """Add the parties of a message, what is refused of them, and what is skipped."""
        try:
            items = [None] if self._each is None else _listed(self._each(scopes), "/parties", self._source)
        except UnmappedError as error:
            refused.append(error)
            return
        for item in items:
            around = scopes if self._each is None else Scopes([*scopes, item])
            if not all(holds(around) for holds in self._when):
                continue
            if why := _skipped(self._skip, around):
                skipped.append(why)
                continue
            try:
                party = self._fields.read(around, f"/parties/{len(found) + len(refused)}")
                if any(holds(around) for holds in self._strangers):
                    party.pop("id", None)
                if "id" in party or self._guest(party, len(found) + len(refused)):
                    found.append(party)
                else:
                    skipped.append("a party without an id")
            except UnmappedError as error:
                refused.append(error)

    def _guest(self, party: dict[str, Any], number: int) -> bool:
        """Whether a party without id is a guest; then it is marked as one."""
        if self._without_id == "refuse":
            raise UnmappedError("missing_value", f"/parties/{number}/id", found="nothing")
        party["guest"] = True
        return self._without_id == "guest"


def _notification(name: str, rule: NotificationRule | None, common: Shared) -> Made:
    assert rule is not None  # noqa: S101 - a rule has an event or a notification
    fields = _Fields(rule, _OF_NOTIFICATION, common)

    def made(scopes: Scopes, _: str) -> Sequence[MappedItem]:
        found = fields.read(scopes, "")
        if "session" not in found and rule.what in {"joined", "left"}:
            raise UnmappedError("missing_value", "/session", found="nothing", source=_source(rule.session))
        return [MappedItem(name, notification=Notification(what=rule.what, **found))]

    return made
