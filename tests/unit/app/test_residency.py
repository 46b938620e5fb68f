"""Which hosts are inside, and which are not."""

import pytest

from calllog_guard.app.preflight import kms_hosts
from calllog_guard.core.policy.residency import host_of, outside
from calllog_guard.settings import Settings

INSIDE = [
    ("kafka-1.london.example.net", "*.london.example.net"),
    ("KAFKA-1.London.example.net.", "*.london.example.net"),
    ("redis", "redis"),
    ("anything.at.all", "*"),
    ("10.1.2.3", "*"),
    ("127.0.0.1", "127.0.0.1"),
    ("0:0:0:0:0:0:0:1", "::1"),
]
OUTSIDE = [
    ("london.example.net", "*.london.example.net"),
    ("kafka.london.example.net.evil.org", "*.london.example.net"),
    ("kafka.virginia.example.net", "*.london.example.net"),
    ("10.1.2.3", "10.*"),
    ("10.1.2.3", "10.1.2.?"),
    ("127.1", "127.*"),
    ("2130706433", "2*"),
    ("::1", "::*"),
    ("localhost", "127.0.0.1"),
    ("", "?*"),
]


@pytest.mark.parametrize(("host", "pattern"), INSIDE)
def test_a_host_that_a_pattern_allows_is_inside(host: str, pattern: str) -> None:
    assert outside([host], ["elsewhere", pattern]) == []


@pytest.mark.parametrize(("host", "pattern"), OUTSIDE)
def test_any_other_is_outside(host: str, pattern: str) -> None:
    assert outside([host, host], [pattern]) == [host]


def test_the_host_of_an_endpoint() -> None:
    endpoints = ["kafka:9092", "10.0.0.1:9092", "[::1]:9092", "::1", "kafka", " kafka:1"]
    assert [host_of(each) for each in endpoints] == ["kafka", "10.0.0.1", "::1", "::1", "kafka", "kafka"]


@pytest.mark.parametrize(
    ("address", "hosts"),
    [
        ("local:./kms", []),
        ("awskms:eu-west-2", ["kms.eu-west-2.amazonaws.com"]),
        ("awskms://kms.private.example.net?region=eu-west-2", ["kms.private.example.net"]),
        ("vault://vault.london.example.net:8200?snapshots=7", ["vault.london.example.net"]),
    ],
)
def test_a_remote_kms_has_a_host(address: str, hosts: list[str]) -> None:
    """Whoever has the wrapping keys has the secrets: the KMS must lie inside too."""
    assert kms_hosts(Settings(kms=address)) == hosts
