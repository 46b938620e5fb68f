"""
The privacy policy as a file: versions with effective dates, and per tenant its purposes, requesters and actors.

Rules: 1. Anything unknown or contradictory is refused at start, with where and what to do.
       2. A purpose number means the same purpose in every version.
Source: design section 11; GDPR Art. 13, 30.
"""

import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import isodate
import msgspec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from calllog_guard.core.ids import Tenant
from calllog_guard.core.retention.purpose import Basis, Keep, Purpose
from calllog_guard.errors import ConfigurationError


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all tables share."""


class When(_Part, frozen=True, kw_only=True):
    """The legs a purpose covers; empty means all."""

    roles: tuple[Literal["host", "guest", "caller", "callee"], ...] = ()
    outcomes: tuple[Literal["answered", "missed", "declined", "failed"], ...] = ()


class PurposeTable(_Part, frozen=True, kw_only=True):
    """`[version.tenant.T.purposes.P]`."""

    number: Annotated[int, msgspec.Meta(ge=1, le=50)]
    basis: Basis
    keep: str
    then: Literal["delete", "anonymise"] = "delete"
    survives_erasure: bool = False
    on_objection: Literal["grant", "review"] = "review"
    when: When = When()
    shows: tuple[str, ...] = ("started_at", "duration_s", "role")


class Requester(_Part, frozen=True, kw_only=True):
    """Who may sign requests; `key` is a PEM file beside the policy."""

    role: Literal["backend", "officer", "authority_desk"]
    key: str


class Actor(_Part, frozen=True, kw_only=True):
    """Who may open legs, and for what."""

    purposes: tuple[str, ...]


class Recipient(_Part, frozen=True, kw_only=True):
    """Who is told (Art. 19)."""

    key: str
    told: tuple[str, ...]


class TenantPolicy(_Part, frozen=True, kw_only=True):
    """`[version.tenant.T]`."""

    regime: Literal["uk", "eu"]
    public_communications_provider: bool = False
    events: tuple[str, ...]
    lowercase_email: bool = False
    answer_months: int = 1
    extend_to_months: int = 2
    erasures_per_hour: int = 100
    exports_per_hour: int = 100
    objections_per_hour: int = 100
    disclosures_per_hour: int = 10
    allowed_hosts: tuple[str, ...] = ("*",)
    purposes: dict[str, PurposeTable]
    requesters: dict[str, Requester] = {}
    actors: dict[str, Actor] = {}
    recipients: dict[str, Recipient] = {}

    def listed(self) -> tuple[Purpose, ...]:
        """The purposes as the core knows them."""
        return tuple(
            Purpose(
                name=name,
                number=table.number,
                basis=table.basis,
                keep=period(table.keep),
                then=table.then,
                survives_erasure=table.survives_erasure,
                roles=frozenset(table.when.roles),
                outcomes=frozenset(table.when.outcomes),
                shows=table.shows,
            )
            for name, table in self.purposes.items()
        )


class Version(_Part, frozen=True, kw_only=True):
    """`[[version]]`."""

    effective: date
    change: str
    tenant: dict[str, TenantPolicy]


class _File(_Part, frozen=True, kw_only=True):
    version: tuple[Version, ...]


class Policy:
    """All versions, the latest last."""

    def __init__(self, versions: tuple[Version, ...], directory: Path) -> None:
        self.versions = tuple(sorted(versions, key=lambda version: version.effective))
        self._directory = directory

    def at(self, day: date) -> Version:
        """
        The version in force on a day.

        Raises:
            ConfigurationError: None is yet.

        """
        past = [version for version in self.versions if version.effective <= day]
        if not past:
            raise ConfigurationError(
                f"no policy version is in force on {day}: the first is {self.versions[0].effective}"
            )
        return past[-1]

    def tenant_of_topic(self, topic: str, day: date) -> Tenant:
        """The tenant whose events a topic carries."""
        for name, tenant in self.at(day).tenant.items():
            if topic in tenant.events:
                return Tenant(name)
        raise ConfigurationError(f"no tenant of the policy has the topic {topic} among its events")

    def purposes_since(self, tenant: Tenant, version: str) -> tuple[Purpose, ...]:
        """The purposes of a leg sealed under `version`: those in force now, each with the shortest period since then."""
        shortest: dict[int, Purpose] = {}
        for each in self.versions:
            if tenant not in each.tenant:
                continue
            for purpose in each.tenant[tenant].listed():
                known = shortest.get(purpose.number)
                later = each.effective.isoformat() >= version
                shorter = known is not None and later and known.keep < purpose.keep
                shortest[purpose.number] = known if known is not None and shorter else purpose
        return tuple(shortest.values())

    def public_key(self, name: str) -> bytes:
        """The PEM of a key file named in the policy."""
        return _read(self._directory / name)


def period(text: str) -> Keep:
    """
    An ISO 8601 period of years, months, weeks or days as (months, days).

    Raises:
        ConfigurationError: Another form, or nothing at all.

    """
    try:
        found = isodate.parse_duration(text, as_timedelta_if_possible=False)
    except (ValueError, isodate.ISO8601Error):
        raise ConfigurationError(f"keep = {text!r} is no ISO 8601 period; write P90D, P6M or P6Y") from None
    keep = (int(found.years) * 12 + int(found.months), found.tdelta.days)
    if found.tdelta.seconds or keep <= (0, 0):
        raise ConfigurationError(f"keep = {text!r} must be whole days, months or years; write P90D, P6M or P6Y")
    return keep


def _read(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}; run calllog-guard init, or mend the path"
        ) from None
    return raw


def load_policy(path: Path) -> Policy:
    """
    Read and check the policy file with the key files it names.

    Raises:
        ConfigurationError: What was found, where, and what to do.

    """
    try:
        content: dict[str, Any] = tomllib.loads(_read(path).decode())
        versions = msgspec.convert(content, _File).version
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    if not versions:
        raise ConfigurationError(f"{path}: no [[version]] in it")
    policy = Policy(versions, path.parent)
    for version in versions:
        for name, tenant in version.tenant.items():
            _check_tenant(policy, f"{path}: version {version.effective}, tenant {name}", tenant)
    _check_numbers(path, versions)
    return policy


def _check_tenant(policy: Policy, where: str, tenant: TenantPolicy) -> None:
    numbers = [purpose.number for purpose in tenant.listed()]
    if len(set(numbers)) != len(numbers):
        raise ConfigurationError(f"{where}: two purposes have one number")
    for actor, rights in tenant.actors.items():
        unknown = set(rights.purposes) - set(tenant.purposes)
        if unknown:
            raise ConfigurationError(f"{where}: actor {actor} has unknown purposes {sorted(unknown)}")
    keys = [each.key for each in tenant.requesters.values()] + [each.key for each in tenant.recipients.values()]
    for key in keys:
        try:
            load_pem_public_key(policy.public_key(key))
        except ValueError:
            raise ConfigurationError(f"{where}: {key} is no public key in PEM") from None


def _check_numbers(path: Path, versions: tuple[Version, ...]) -> None:
    names: dict[tuple[str, int], str] = {}
    for version in versions:
        for tenant, table in version.tenant.items():
            for name, purpose in table.purposes.items():
                if names.setdefault((tenant, purpose.number), name) != name:
                    raise ConfigurationError(
                        f"{path}: tenant {tenant}: number {purpose.number} is reused; numbers never are"
                    )
