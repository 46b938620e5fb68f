"""
Where data may lie: hosts against the patterns of `allowed_hosts`.

A name matches by shell patterns, in any case; an address (IPv4, IPv6) only literally, since a pattern over digits says
nothing about a place; `*` allows everything. Source: docs/how-to/write-the-policy.md; GDPR Art. 44.
"""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from ipaddress import ip_address


def host_of(endpoint: str) -> str:
    """The host of `host:port`, `[::1]:port` or a host alone."""
    text = endpoint.strip()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text if text.count(":") > 1 else text.partition(":")[0]


def outside(hosts: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """The hosts that no pattern allows."""
    return sorted({host for host in hosts if not any(_matches(host, pattern) for pattern in patterns)})


def _matches(host: str, pattern: str) -> bool:
    if pattern == "*":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        if not host or host.rstrip(".").rpartition(".")[2].isdigit():
            return False  # 127.1 and 2130706433 are addresses in disguise
        return fnmatchcase(host.lower().rstrip("."), pattern.lower().rstrip("."))
    try:
        return ip_address(pattern) == address
    except ValueError:
        return False
