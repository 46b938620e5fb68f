"""
What a policy must not say, beyond its form: each refusal says where, what was found, and what to do.

Source: docs/how-to/write-the-policy.md; GDPR Art. 17(3)(b), 21(1) to (3);
  PECR 2003 reg. 7 (traffic data), 29; RFC 8032, RFC 7748 (kinds of key).
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime
from itertools import pairwise
from typing import Any, Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from calllog_guard.core.cases.notices import PERSON
from calllog_guard.core.crypto.jose import public_forms
from calllog_guard.core.policy.form import (
    Actor,
    PersonNotices,
    PolicyFile,
    PurposeTable,
    Recipient,
    Requester,
    TenantPolicy,
    Version,
    period,
)
from calllog_guard.errors import ConfigurationError

BILLING: Final = "billing"
"""The name that marks the purpose of billing; its basis is then `contract` or `legal_duty`."""
_TOPIC: Final = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,249}\Z")
_PARTS: Final[dict[str, type[msgspec.Struct]]] = {
    "purposes": PurposeTable,
    "requesters": Requester,
    "actors": Actor,
    "recipients": Recipient,
}


def read_form(content: dict[str, Any]) -> tuple[Version, ...]:
    """
    The versions of a file's content.

    Raises:
        ConfigurationError: With the version, tenant and table in which something is not to the form.

    """
    try:
        return msgspec.convert(content, PolicyFile).version
    except msgspec.ValidationError as error:
        raise ConfigurationError(_located(content, str(error))) from None


def _located(content: dict[str, Any], whole: str) -> str:
    """The library names no key of a table that has free names; the smallest part that fails alone does."""
    for place, part, kind in _parts(content):
        try:
            msgspec.convert(part, kind)
        except msgspec.ValidationError as error:
            known = f"; known here: {', '.join(kind.__struct_fields__)}" if "unknown field" in str(error) else ""
            return f"{place}: {error}{known}"
    return f"{whole}; see the documentation: Write the policy"


def _tables(value: Any) -> Iterator[tuple[str, Any]]:
    yield from value.items() if isinstance(value, dict) else ()


def _parts(content: dict[str, Any]) -> Iterator[tuple[str, Any, type[msgspec.Struct]]]:
    versions = content.get("version")
    for number, version in enumerate(versions if isinstance(versions, list) else ()):
        named = dict(_tables(version))
        place = f"version {named.get('effective', number + 1)}"
        for name, tenant in _tables(named.get("tenant")):
            inside = dict(_tables(tenant))
            for family, kind in _PARTS.items():
                for key, part in _tables(inside.get(family)):
                    yield f"{place}, tenant {name}, {family}.{key}", part, kind
            if "person_notices" in inside:
                yield f"{place}, tenant {name}, person_notices", inside["person_notices"], PersonNotices
            yield f"{place}, tenant {name}", tenant, TenantPolicy
        yield place, version, Version


def check_versions(versions: Sequence[Version], key_of: Callable[[str], bytes]) -> None:
    """
    Whether the versions, oldest first, can be the law of a running system.

    Args:
        key_of: The PEM of a `key`.

    Raises:
        ConfigurationError: What is wrong, where, and what to do.

    """
    for before, after in pairwise(versions):
        if after.order <= before.order:
            raise ConfigurationError(
                f"version {after} stands after version {before}: versions come oldest first, no two on one day but "
                "with a higher revision; order them, give one another day, or the later one revision = 2"
            )
    former: dict[str, set[str]] = defaultdict(set)
    kept: dict[tuple[str, str], tuple[str, date]] = {}
    for version in versions:
        owners: dict[str, str] = {}
        for name, tenant in version.tenant.items():
            where = f"version {version.effective}, tenant {name}"
            _check_events(where, name, tenant, owners)
            _check_purposes(where, tenant)
            _check_people(where, tenant, key_of, former[name])
            former[name] |= set(tenant.actors)
            _check_actors(where, tenant, key_of)
            for actor, rights in tenant.actors.items():
                if isinstance(rights.key, str):
                    key = public_forms(key_of(rights.key))[2]
                    other, since = kept.setdefault((name, actor), (key, version.effective))
                    if other != key:
                        raise ConfigurationError(
                            f"{where}, actors.{actor}: another key than in version {since}: a name is never given to a "
                            "second one, or nobody could tell who signed; register the new key under a new name "
                            "(calllog-guard key rotate)"
                        )
            _check_duties(where, tenant)
    _check_numbers(versions)


def _check_events(where: str, name: str, tenant: TenantPolicy, owners: dict[str, str]) -> None:
    for topic in tenant.events:
        if not _TOPIC.match(topic):
            raise ConfigurationError(f"{where}: events: {topic!r} is no topic name; use letters, digits, '.', '_', '-'")
        if owners.setdefault(topic, name) != name:
            raise ConfigurationError(
                f"{where}: events: {topic} is tenant {owners[topic]}'s already; the tenant follows from the topic, "
                "so each has its own"
            )


def _check_purposes(where: str, tenant: TenantPolicy) -> None:
    numbers: dict[int, str] = {}
    for name, purpose in tenant.purposes.items():
        place = f"{where}, purposes.{name}"
        try:
            period(purpose.keep)
        except ConfigurationError as error:
            raise ConfigurationError(f"{place}: {error}") from None
        if numbers.setdefault(purpose.number, name) != name:
            raise ConfigurationError(
                f"{place}: number {purpose.number} is {numbers[purpose.number]}'s; give each purpose its own"
            )
        if purpose.survives_erasure and purpose.basis != "legal_duty":
            raise ConfigurationError(
                f"{place}: survives_erasure with basis {purpose.basis}; only a legal duty survives an erasure "
                "(Art. 17(3)(b)): change the basis, or take survives_erasure away"
            )
        if purpose.on_objection == "grant" and purpose.basis == "legal_duty":
            raise ConfigurationError(
                f'{place}: on_objection = "grant" with basis legal_duty; a duty cannot be objected away: write "review"'
            )
        _check_marketing(place, purpose)
        if tenant.public_communications_provider and not _reg_7(name, purpose):
            raise ConfigurationError(
                f"{place}: basis {purpose.basis}, but a public communications provider may keep traffic data only for "
                f"billing, by consent (PECR reg. 7), or because a law obliges to (reg. 29): name it {BILLING} with "
                "basis contract or "
                "legal_duty, give it the basis consent, or legal_duty with survives_erasure, or drop it"
            )


def _check_marketing(place: str, purpose: PurposeTable) -> None:
    if not purpose.absolute:
        return
    if purpose.basis not in {"consent", "legitimate_interests"}:
        raise ConfigurationError(
            f"{place}: direct_marketing with basis {purpose.basis}; nobody has to be marketed to (Art. 21(2)): give it "
            "the basis consent or legitimate_interests"
        )
    if purpose.on_objection == "review":
        raise ConfigurationError(
            f'{place}: on_objection = "review" with direct_marketing; an objection to it is absolute (Art. 21(3)): '
            'write "grant"'
        )


def _reg_7(name: str, purpose: PurposeTable) -> bool:
    """Regulations 7(2), 7(3), 29(1)(a)(i): none of them makes a provider break a law, as one that obliges to keep."""
    obliged = purpose.basis == "legal_duty" and purpose.survives_erasure
    return obliged or purpose.basis == "consent" or (name == BILLING and purpose.basis in {"contract", "legal_duty"})


def _check_people(
    where: str, tenant: TenantPolicy, key_of: Callable[[str], bytes], former: AbstractSet[str] = frozenset()
) -> None:
    for actor, rights in tenant.actors.items():
        unknown = sorted(set(rights.purposes) - set(tenant.purposes))
        if unknown:
            raise ConfigurationError(
                f"{where}, actors.{actor}: no purpose is called {', '.join(unknown)}; there are "
                f"{', '.join(tenant.purposes)}"
            )
    for name, requester in tenant.requesters.items():
        _check_key(f"{where}, requesters.{name}", requester.key, key_of, Ed25519PublicKey)
    if PERSON in tenant.recipients:
        raise ConfigurationError(f"{where}, recipients.{PERSON}: that name is the person's own; choose another")
    for name, recipient in tenant.recipients.items():
        _check_key(f"{where}, recipients.{name}", recipient.key, key_of, X25519PublicKey)
        unknown = sorted(set(recipient.actors or ()) - set(tenant.actors) - former)
        if unknown:
            raise ConfigurationError(
                f"{where}, recipients.{name}: no actor is called {', '.join(unknown)}; there are "
                f"{', '.join(tenant.actors) or 'none'}. Name the credentials that read for this recipient"
            )
    if tenant.person_notices is not None:
        _check_key(f"{where}, person_notices", tenant.person_notices.key, key_of, X25519PublicKey)


def _check_actors(where: str, tenant: TenantPolicy, key_of: Callable[[str], bytes]) -> None:
    """One key is one name's: else it would prove that somebody read who did not."""
    owners = {public_forms(key_of(each.key))[2]: f"requesters.{name}" for name, each in tenant.requesters.items()}
    for name, actor in tenant.actors.items():
        place = f"{where}, actors.{name}"
        if not isinstance(actor.key, str):
            if actor.since is not msgspec.UNSET or actor.until is not msgspec.UNSET:
                raise ConfigurationError(f"{place}: since and until are of a key: name the key, or take them away")
            continue
        if not isinstance(actor.since, datetime):
            raise ConfigurationError(
                f"{place}: a key without since: say from when on it counts and {name} signs, as since = "
                "2026-12-01T00:00:00Z"
            )
        if isinstance(actor.until, datetime) and actor.until <= actor.since:
            raise ConfigurationError(f"{place}: until is not after since")
        _check_key(place, actor.key, key_of, Ed25519PublicKey)
        owner = owners.setdefault(public_forms(key_of(actor.key))[2], f"actors.{name}")
        if owner != f"actors.{name}":
            raise ConfigurationError(f"{place}: its key is that of {owner}; everybody has a key of their own")


def _check_key(where: str, name: str, key_of: Callable[[str], bytes], kind: type[Any]) -> None:
    wanted = kind.__name__.removesuffix("PublicKey")
    told = "the key" if "\n" in name else name
    try:
        found = load_pem_public_key(key_of(name))
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError(
            f"{where}: {told} is no public key in PEM; name a file that begins -----BEGIN PUBLIC KEY-----"
        ) from None
    if not isinstance(found, kind):
        raise ConfigurationError(
            f"{where}: {told} is a {type(found).__name__.removesuffix('PublicKey').strip('_')} key, wanted {wanted}"
        )


def _check_duties(where: str, tenant: TenantPolicy) -> None:
    if tenant.extend_to_months < tenant.answer_months:
        raise ConfigurationError(
            f"{where}: extend_to_months = {tenant.extend_to_months} is less than answer_months = "
            f"{tenant.answer_months}; it counts from the request, all in all"
        )
    try:
        _ = tenant.calendar
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: time_zone, holidays: {error}") from None
    for pattern in tenant.allowed_hosts:
        if not pattern or pattern != pattern.strip() or "://" in pattern or "/" in pattern:
            raise ConfigurationError(
                f"{where}: allowed_hosts: {pattern!r} is no host; write a name, a pattern as *.london.example.net, "
                "or an address, without scheme and port"
            )


def _check_numbers(versions: Sequence[Version]) -> None:
    """Over all versions: a number is one purpose's for ever, and a purpose has one number."""
    names: dict[tuple[str, int], tuple[str, date]] = {}
    numbers: dict[tuple[str, str], tuple[int, date]] = {}
    for version in versions:
        for tenant, table in version.tenant.items():
            for name, purpose in table.purposes.items():
                where = f"version {version.effective}, tenant {tenant}, purposes.{name}"
                first, since = names.setdefault((tenant, purpose.number), (name, version.effective))
                if first != name:
                    raise ConfigurationError(
                        f"{where}: number {purpose.number} was {first}'s in version {since}; numbers are never reused, "
                        "also not those of dropped purposes: take a new one"
                    )
                number, since = numbers.setdefault((tenant, name), (purpose.number, version.effective))
                if number != purpose.number:
                    raise ConfigurationError(
                        f"{where}: number {purpose.number}, but it was {number} in version {since}; a purpose keeps "
                        "its number"
                    )
