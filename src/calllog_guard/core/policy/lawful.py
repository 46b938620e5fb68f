"""
What a policy can say and should not: refused by whoever starts, checks, publishes, or makes a tenant.

Rules: 1. What is or will be the law is judged, of a day its last revision: what has been law cannot be unsaid.
       2. An installation of an earlier release keeps its law, and is told (`app/preflight.py`); a new tenant and a new
          version need a clean one.
       3. Who may be bound to secrecy is not made to tell: no text says which order a provider keeps data by.
Source: GDPR Art. 6(1)(c), 17(3)(b), 44; Regulation 1182/71 Art. 2(1); Investigatory Powers Act 2016 s.87, s.95.
"""

import re
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Final

import msgspec

from calllog_guard.core.crypto.jose import public_forms
from calllog_guard.core.policy.form import PurposeTable, TenantPolicy, Version, period

_MEMBERS: Final = frozenset(
    [
        "AT",
        "BE",
        "BG",
        "HR",
        "CY",
        "CZ",
        "DK",
        "EE",
        "FI",
        "FR",
        "DE",
        "GR",
        "HU",
        "IE",
        "IT",
        "LV",
        "LT",
        "LU",
        "MT",
        "NL",
        "PL",
        "PT",
        "RO",
        "SK",
        "SI",
        "ES",
        "SE",
        "IS",
        "LI",
        "NO",
    ]
)
"""Whose holidays may move a date under EU law: the member states, and the three of the EEA."""
_OF_THE_MACHINE: Final = frozenset({"localtime", "Factory", "posixrules"})
"""Zones that mean another place on another machine, or none."""
_NOTICE: Final = re.compile(
    r"retention[\W_]*(and[\W_]*acquisition[\W_]*)?(notice|order)"
    r"|(notice|order)s?[\W_]+(of|for|on|about)[\W_]+(data[\W_]+)?retention"
    r"|investigatory[\W_]*powers|(?<![a-z0-9])IPA[\W_]*(2016|s|section)(?![a-z])",
    re.IGNORECASE,
)
_WORD: Final = re.compile(r"[^\W\d_]+")
_MONTH: Final = 30
_WILD: Final = re.compile(r"\[[^\]]*\]|[*?.]")


def unlawful(version: Version, key_of: Callable[[str], bytes]) -> Iterator[str]:
    """A line for each thing that a version should not say: where, what, and what to do."""
    for name, tenant in version.tenant.items():
        where = f"version {version.effective}, tenant {name}"
        for purpose, table in tenant.purposes.items():
            yield from _duty(f"{where}, purposes.{purpose}", table)
        yield from _secrecy(where, version, tenant)
        yield from _calendar(where, tenant)
        yield from _hosts(where, tenant)
        yield from _officers(where, tenant, key_of)


def advice(version: Version, late_days: int) -> Iterator[str]:
    """A line for each thing that is lawful, and rarely meant."""
    for name, tenant in version.tenant.items():
        officers = sum(each.role == "officer" for each in tenant.requesters.values())
        if officers < 2:  # noqa: PLR2004 - a disclosure takes two (docs/explanation/cases.md)
            yield (
                f"tenant {name}: {officers or 'no'} officer: nothing can be disclosed to an authority, which takes two"
                + ("" if officers else "; and nothing can be refused, extended or answered by anybody")
            )
        yield from _unproven(name, tenant)
        for purpose, table in tenant.purposes.items():
            months, days = period(table.keep)
            if months * _MONTH + days < late_days:
                yield (
                    f"tenant {name}, purposes.{purpose}: keep = {table.keep}, but events are taken in for {late_days} "
                    "days: one that comes later than keep is stored until the next sweep, for nothing (EVENT_LATE_DAYS)"
                )


def _unproven(name: str, tenant: TenantPolicy) -> Iterator[str]:
    without = sorted(actor for actor, rights in tenant.actors.items() if rights.key is msgspec.UNSET)
    if without and len(without) == len(tenant.actors):
        yield (
            f"tenant {name}: no actor has a key: nobody proves who reads, and whoever may write privacy.access may "
            "write accesses in any name: calllog-guard key new ACTOR --role actor, then key register"
        )
    for actor in without if len(without) < len(tenant.actors) else ():
        yield (
            f"tenant {name}, actors.{actor}: no key: it cannot read once another actor's key counts: calllog-guard key "
            f"register {actor}"
        )


def _duty(place: str, table: PurposeTable) -> Iterator[str]:
    words = table.erasable_because
    if words is not msgspec.UNSET and len(_WORD.findall(words)) < 2:  # noqa: PLR2004 - one word is no reason
        yield f"{place}: erasable_because = {words!r} is no reason: say in words why these records may go"
    if table.basis == "legal_duty" and not table.survives_erasure and words is msgspec.UNSET:
        yield (
            f"{place}: basis legal_duty without survives_erasure: an erasure would destroy what a law obliges to keep "
            "(Art. 17(3)(b)): write survives_erasure = true; or, if these records may go, why, as "
            'erasable_because = "…"; or another basis, if no law asks for them'
        )
    if words is not msgspec.UNSET and (table.basis != "legal_duty" or table.survives_erasure):
        yield (
            f"{place}: erasable_because belongs to a legal_duty that does not survive an erasure: take one of both away"
        )


def _secrecy(where: str, version: Version, tenant: TenantPolicy) -> Iterator[str]:
    said = {"change": version.change} | msgspec.to_builtins(tenant)
    told = list(dict.fromkeys(place for place, text in _texts(said) if _NOTICE.search(text)))
    if told:
        yield (
            f"{where}: {', '.join(told)}: that there is a retention notice, and what it says, must not be told "
            "(Investigatory Powers Act 2016 s.95), and this file is read by all workers, backends and readers: write "
            "what any provider may write, as "
            'required-by-law, "To keep what a law obliges us to keep"'
        )


def _texts(said: object, place: str = "") -> Iterator[tuple[str, str]]:
    """Every text and every name that a table has in it, with where it stands."""
    if isinstance(said, str):
        yield place, said
    elif isinstance(said, dict):
        for name, each in said.items():
            inside = f"{place}.{name}".removeprefix(".")
            yield inside, name
            yield from _texts(each, inside)
    elif isinstance(said, list | tuple):
        for each in said:
            yield from _texts(each, place)


def _calendar(where: str, tenant: TenantPolicy) -> Iterator[str]:
    country = tenant.holidays.country if tenant.holidays else ""
    lawful = {"GB"} if tenant.regime == "uk" else _MEMBERS
    if country and country.upper() not in lawful:
        wanted = "GB" if tenant.regime == "uk" else "a member state's, or of IS, LI, NO"
        yield (
            f"{where}: holidays: country {country} moves no due date under the law of {tenant.regime}, an answer would "
            f"be late: write {wanted}"
        )
    if (tenant.time_zone or "") in _OF_THE_MACHINE:
        yield (f"{where}: time_zone: {tenant.time_zone!r} is another on every machine; write one as Europe/London")


def _hosts(where: str, tenant: TenantPolicy) -> Iterator[str]:
    for pattern in tenant.allowed_hosts:
        if pattern != "*" and not _WILD.sub("", pattern):
            yield f'{where}: allowed_hosts: {pattern!r} allows every name, as "*" does and says'
        elif ":" in pattern and not _is_address(pattern):
            yield (
                f"{where}: allowed_hosts: {pattern!r} never matches: write a host without port, an IPv6 address "
                "without brackets"
            )


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _officers(where: str, tenant: TenantPolicy, key_of: Callable[[str], bytes]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for name, each in tenant.requesters.items():
        if each.role == "officer":
            key = public_forms(key_of(each.key))[2]
            if seen.setdefault(key, name) != name:
                yield f"{where}, requesters.{name}: its key is {seen[key]}'s; two officers are two keys"
