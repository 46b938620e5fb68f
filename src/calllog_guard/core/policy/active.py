"""
The privacy policy that a process follows: the file it began with, and the versions that officers have published since.

Rules: 1. Anything unknown or contradictory is refused at start, with where and what to do.
       2. One object per process: whoever holds it asks it anew for each piece of work, so it follows without a restart.
Source: docs/how-to/write-the-policy.md; GDPR Art. 13, 30.
"""

from collections.abc import Callable, Mapping
from datetime import date

import msgspec

from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.identity.rules import legacy_identity
from calllog_guard.core.policy.actors import Actors
from calllog_guard.core.policy.changes.chain import FollowedPolicy, Installed, follow
from calllog_guard.core.policy.changes.publication import KeyOf, with_keys
from calllog_guard.core.policy.form import PEM, TenantPolicy, Version, period
from calllog_guard.core.policy.lawful import unlawful
from calllog_guard.core.policy.versions import has_survived, in_force, law, longest_keep_days, purposes_since
from calllog_guard.core.retention.purposes import Purpose
from calllog_guard.errors import ConfigurationError

__all__ = ["Policy", "TenantPolicy", "Version", "period"]


class Policy:
    """
    All versions, the latest last; `versions` is replaced as a whole when a published one is followed.

    `history` adds what was corrected on its day. `here`: what the installation asks of a version; `key_file` reads one.
    """

    def __init__(self, versions: tuple[Version, ...], key_file: KeyOf) -> None:
        self.file = self.history = versions
        self.versions = law(versions)
        self._key_file = key_file
        self.here: Callable[[], Installed] = Installed
        self._actors: dict[Tenant, tuple[tuple[Version, ...], Actors]] = {}

    def follow(self, records: Mapping[bytes, int], most_days: int | None) -> FollowedPolicy:
        """Be the law that the file and these publications make; see `chain.follow`."""
        followed = follow(self.file, records, self.public_key, most_days, self.here())
        self.versions, self.history = followed.versions, followed.history
        return followed

    def at(self, day: date) -> Version:
        """
        The version in force on a day.

        Raises:
            ConfigurationError: None is yet.

        """
        found = in_force(self.versions, day)
        if found is None:
            raise ConfigurationError(
                f"no policy version is in force on {day}: the first is {self.versions[0].effective}"
            )
        return found

    def purposes_since(self, tenant: Tenant, version: str, today: date) -> tuple[Purpose, ...]:
        """What may still keep a leg that was stored under `version`."""
        return purposes_since(self.versions, tenant, version, today)

    def keeps_copies(self, tenant: Tenant, number: int, today: date) -> bool:
        """Whether there may be copies for a purpose."""
        return has_survived(self.history, tenant, number, today)

    def keep_days(self, tenant: Tenant) -> int:
        """The longest period of any purpose of a tenant in any version, in days."""
        return longest_keep_days(self.versions, tenant)

    def lowercases_email(self, tenant: Tenant) -> set[bool]:
        """What the versions say of it: one thing, or both."""
        tables = (each.tenant.get(tenant) for each in self.versions)
        return {table.lowercase_email for table in tables if table is not None}

    def inlined(self, version: Version) -> Version:
        """A version with each key's text in place of its file's name, so that it can be compared with another's."""
        tables = {name: with_keys(table, self.public_key) for name, table in version.tenant.items()}
        return msgspec.structs.replace(version, tenant=tables)

    def unlawful(self, today: date, since: date = date.min) -> list[str]:
        """What the version in force and those that wait for their day say and should not; of those since a day."""
        now = in_force(self.versions, today)
        start = since if now is None else max(since, now.effective)
        judged = (each for each in self.versions if each.effective >= start)
        return [line for each in judged for line in unlawful(each, self.public_key)]

    def legacy_identity(self, tenant: Tenant) -> tuple[str, ...]:
        """
        By which rules people of a tenant without a profile are known: those of the first release.

        Raises:
            ConfigurationError: Versions contradict each other, and so do the keys of the people stored under them.

        """
        said = self.lowercases_email(tenant)
        if len(said) > 1:
            raise ConfigurationError(
                "versions of the policy contradict each other on lowercase_email, by which people are known: run "
                f"calllog-guard tenant upgrade {tenant}, which takes the newest and brings together whom it makes one "
                "person"
            )
        return legacy_identity(lowercase_email=True in said)

    def officer_key(self, tenant: Tenant, kid: str, day: date) -> bytes | None:
        """The PEM of a requester who was an officer on a day; None: no officer's."""
        version = in_force(self.versions, day)
        found = version.tenant[tenant].requesters.get(kid) if version and tenant in version.tenant else None
        return self.public_key(found.key) if found and found.role == "officer" else None

    def actors(self, tenant: Tenant) -> Actors:
        """Who reads, by the keys of every version; made anew when a version is followed."""
        of, found = self._actors.get(tenant, ((), None))
        if found is None or (of is not self.history and of != self.history):
            found = Actors(self.history, tenant, self.public_key)
        self._actors[tenant] = self.history, found
        return found

    def public_key(self, name: str) -> bytes:
        """The PEM of a `key` of the policy: a file beside it, or the text itself in a published version."""
        return name.encode() if name.startswith(PEM) else self._key_file(name)
