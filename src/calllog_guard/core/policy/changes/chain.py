"""
Which published versions are law: each judged by the version before it.

Rules and source: `publication.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

import msgspec

from calllog_guard.core.codec import from_ms, to_ms
from calllog_guard.core.crypto.jose import kid_of, verify
from calllog_guard.core.policy.changes.differences import differences, fingerprint
from calllog_guard.core.policy.changes.grave import SECOND, TOO_SOON, grave, officers, soonest
from calllog_guard.core.policy.changes.publication import KeyOf, Publication, agreed, claims_of, keys_of, with_keys
from calllog_guard.core.policy.checks import check_versions
from calllog_guard.core.policy.form import PEM, TenantPolicy, Version
from calllog_guard.core.policy.lawful import unlawful
from calllog_guard.core.policy.versions import in_force, longest_keep_days
from calllog_guard.errors import ConfigurationError, MessageError, RequestRefusedError

TOO_LONG: Final = "retention_too_short"
"""The reason that may pass by itself: the topic of the legs forgets earlier than the version wants to keep."""
UNLAWFUL: Final = "unlawful"
"""The reason of a version that says what no new one may say (`core/policy/lawful.py`)."""
PASSING: Final = frozenset({TOO_LONG, SECOND})
"""The reasons that may pass: what they are said of is judged again."""
LATE: Final = "appended_after_its_day"
"""The reason of who may be in the right: an officer's word from before its day, in a record that is younger."""
_AHEAD: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Installed:
    """
    What an installation asks of a version.

    Args:
        lawful_from: From which day on versions must be lawful (`core/policy/lawful.py`).
        ours: Its own topics: named among those of events, the ledger would be trimmed as they are.
        alone_until: Until when a tenant's only officer changes everything at once.

    """

    lawful_from: date = date.max
    ours: frozenset[str] = frozenset()
    alone_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Missed:
    """A version not followed because its record came too late; `answered`: since which day a newer one holds."""

    claims: Publication
    answered: date | None


@dataclass(frozen=True, slots=True)
class FollowedPolicy:
    """
    The law: one version a day, oldest first; what was refused, with the reason; what of it (`LATE`) leaves a hole.

    `history` has the revisions that others have replaced, too.
    """

    versions: tuple[Version, ...]
    history: tuple[Version, ...]
    accepted: frozenset[bytes] = frozenset()
    refused: dict[bytes, str] = field(default_factory=dict)
    missed: tuple[Missed, ...] = ()

    def holes(self, today: date) -> list[Publication]:
        """The versions that should be law and are not, and that no newer one has answered."""
        return [each.claims for each in self.missed if each.answered is None or each.answered > today]

    def check_whole(self, seen: tuple[date, int] | None, today: date) -> None:
        """
        Whether one may begin under this law.

        Args:
            seen: Day and revision of the newest version that this machine has followed; None: it has followed none.

        Raises:
            ConfigurationError: It is older than a law published, or followed here: what was found, and what to do.

        """
        cure = "put that version into the policy file, or publish a newer one for today (policy publish)"
        for each in self.holes(today):
            raise ConfigurationError(
                f"tenant {each.tenant}: version {each.effective} was signed in time, but its record in the policy's "
                "topic is younger than its day, as when the topic was restored, mirrored or made anew: it is not "
                f"followed, and nothing begins under an older law; {cure}"
            )
        now = in_force(self.versions, today)
        if seen is not None and (now is None or now.order < seen):
            told = f"{seen[0]}" + (f", revision {seen[1]}" if seen[1] > 1 else "")
            raise ConfigurationError(
                f"version {told} was followed on this machine, but the newest in force now is {now}: file and "
                f"policy's topic have lost it; {cure}"
            )


def follow(
    file: Sequence[Version],
    records: Mapping[bytes, int],
    key_of: KeyOf,
    most_days: int | None,
    here: Installed | None = None,
) -> FollowedPolicy:
    """
    The versions of the file and those of the published ones that hold.

    Args:
        file: Oldest first, checked.
        records: The values of the policy's topic, each with the time of its first appearance (milliseconds).
        key_of: The PEM of a `key`.
        most_days: For how long the topic of the legs keeps them; None: not asked.
        here: What this installation asks of a version; None: nothing.

    """
    claimed, refused = _claimed(records)
    versions: list[Version] = []
    history: list[Version] = []
    accepted: dict[bytes, Publication] = {}
    missed: dict[tuple[str, date], tuple[Publication, int]] = {}
    for day in sorted({version.effective for version in file} | claimed.keys()):
        own = {version.number: version for version in file if version.effective == day}
        said = dict(own)
        later = tuple(each for each in file if each.effective > day)
        for claims, token in claimed.get(day, ()):
            chain = Chain(tuple(versions), own.get(claims.number), later, key_of, most_days, here or Installed())
            tables = said[max(said)] if said else versions[-1] if versions else None
            published = Version(
                effective=day,
                revision=claims.revision,
                change=claims.change,
                tenant=(tables.tenant if tables else {}) | {claims.tenant: claims.policy},
            )
            try:
                chain.accept(claims, token, published, records[token])
            except MessageError as error:
                refused[token] = error.reason
                if error.reason == LATE and claims.number >= max(said, default=0):
                    missed[claims.tenant, day] = claims, records[token]
            else:
                said[claims.number] = published
                accepted[token] = claims
                if (claims.tenant, day) in missed and missed[claims.tenant, day][0].number <= claims.number:
                    del missed[claims.tenant, day]  # of one revision the later signed is the last word on its day
        history += [said[number] for number in sorted(said)]
        versions += history[-1:] if said else []
    holes = tuple(Missed(each, _answered(each, at_ms, accepted.values())) for each, at_ms in missed.values())
    return FollowedPolicy(tuple(versions), tuple(history), frozenset(accepted), refused, holes)


def _answered(missed: Publication, appended_ms: int, accepted: Iterable[Publication]) -> date | None:
    """The day of the first newer version signed since the missed one lay in the topic, and so in view of it."""
    newer = (each for each in accepted if each.tenant == missed.tenant and each.effective > missed.effective)
    return min((each.effective for each in newer if to_ms(each.at) >= appended_ms), default=None)


def _claimed(records: Iterable[bytes]) -> tuple[dict[date, list[tuple[Publication, bytes]]], dict[bytes, str]]:
    """By day what each record claims, the later signed last; and what has not even the form."""
    refused: dict[bytes, str] = {}
    claimed: dict[date, list[tuple[Publication, bytes]]] = {}
    for token in records:
        try:
            claims = claims_of(token)
        except MessageError as error:
            refused[token] = error.reason
        else:
            claimed.setdefault(claims.effective, []).append((claims, token))
    for some in claimed.values():
        some.sort(key=lambda each: (each[0].at, each[1]))
    return claimed, refused


@dataclass(frozen=True, slots=True)
class Chain:
    """Between which versions a publication would stand, `own` being the file's of its day: the law that judges it."""

    earlier: tuple[Version, ...]
    own: Version | None
    later: tuple[Version, ...]
    key_of: KeyOf
    most_days: int | None
    here: Installed

    def accept(self, claims: Publication, token: bytes, version: Version, appended_ms: int) -> None:
        """
        Judge a publication.

        Raises:
            RequestRefusedError: With the reason; it changes nothing.

        """
        self._check_signer(claims, token.decode())
        if any(not key.startswith(PEM) for key in keys_of(claims.policy)):
            raise RequestRefusedError("key_not_inlined", "/policy")
        appended = from_ms(appended_ms)
        if claims.at > appended + _AHEAD:
            raise RequestRefusedError("signed_in_the_future", "/at")
        if claims.effective < appended.date() and not self._in_file(claims):
            in_time = claims.at.date() <= claims.effective
            raise RequestRefusedError(LATE if in_time else "takes_effect_in_the_past", "/effective")
        self._check_content(claims, version)
        if claims.effective >= self.here.lawful_from and not self._in_file(claims):
            self._check_grave(claims, token.decode(), appended)

    def _check_grave(self, claims: Publication, token: str, appended: datetime) -> None:
        """Whether a grave change has the officers and the day that it needs."""
        before = with_keys(self.earlier[-1].tenant[claims.tenant], self.key_of)
        if not grave(before, claims.policy):
            return
        if len(officers(before)) > 1:
            self._check_first(claims, token, before)
        elif self.here.alone_until is not None and appended < self.here.alone_until:
            return
        if soonest(appended) > claims.effective:
            raise RequestRefusedError(LATE if soonest(claims.at) <= claims.effective else TOO_SOON, "/effective")

    def _check_first(self, claims: Publication, token: str, before: TenantPolicy) -> None:
        """Whether another officer has signed the same text before."""
        if claims.first is msgspec.UNSET:
            raise RequestRefusedError(SECOND, "/first")
        self._check_signer(claims, claims.first)
        names = kid_of(token), kid_of(claims.first)
        if len({fingerprint(before.requesters[name].key) for name in names}) < len(names):
            raise RequestRefusedError("same_officer", "/first")
        if agreed(claims) != agreed(claims_of(claims.first.encode())):
            raise RequestRefusedError("another_text", "/first")

    def _check_signer(self, claims: Publication, token: str) -> None:
        before = self.earlier[-1].tenant.get(claims.tenant) if self.earlier else None
        if before is None:
            raise RequestRefusedError("no_version_before")
        officer = before.requesters.get(kid_of(token))
        if officer is None or officer.role != "officer":
            raise RequestRefusedError("not_an_officer")
        verify(self.key_of(officer.key), token)

    def _check_content(self, claims: Publication, version: Version) -> None:
        changes = differences(self.earlier[-1], version)
        if not claims.lengthen and any(each.what == "lengthened" for each in changes):
            raise RequestRefusedError("lengthens_unsaid", "/lengthen")
        try:
            check_versions((*self.earlier, version, *self.later), self.key_of)
        except ConfigurationError:
            raise RequestRefusedError("contradicts", "/policy") from None
        if self.here.ours & set(claims.policy.events):
            raise RequestRefusedError("contradicts", "/policy/events")
        if claims.effective >= self.here.lawful_from and any(unlawful(version, self.key_of)):
            raise RequestRefusedError(UNLAWFUL, "/policy")
        if self.most_days is not None and longest_keep_days([version], claims.tenant) > self.most_days:
            raise RequestRefusedError(TOO_LONG, "/policy/purposes")

    def _in_file(self, claims: Publication) -> bool:
        """Whether the file says the same for that day: then the past is the file's, and stays what it is."""
        table = self.own.tenant.get(claims.tenant) if self.own else None
        return table is not None and with_keys(table, self.key_of) == claims.policy
