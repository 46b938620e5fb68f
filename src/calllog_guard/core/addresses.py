"""
Whether the text of a setting can be an address at all, which is found before anything is started.

Source: RFC 3986; `redis.from_url`; Kafka's `bootstrap.servers`.
"""

import re
from typing import Final
from urllib.parse import urlsplit

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)")
_MOST_PORT: Final = 65_535


def is_page(text: str, least_port: int = 0) -> bool:
    """Whether it is `host:port`, an address of IPv6 in brackets; an empty host is every one of this machine's."""
    host, colon, port = text.rpartition(":")
    return bool(colon) and (not host or _HOST.fullmatch(host) is not None) and _is_port(port, least_port)


def is_brokers(text: str) -> bool:
    """Whether it is `host` or `host:port`, once or more, separated by commas."""
    return all(_HOST.fullmatch(each) or (each[:1] != ":" and is_page(each, 1)) for each in text.split(","))


def is_redis(text: str) -> bool:
    """Whether it is an address of Redis: `redis://`, `rediss://` with the number of a database, or `unix://`."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # a port that is none, a bracket that is not closed
        return False
    if parts.scheme == "unix":
        return bool(parts.path)
    # another word than a number would quietly mean database 0
    return parts.scheme in {"redis", "rediss"} and port != 0 and re.fullmatch(r"/?|/\d{1,5}/?", parts.path) is not None


def is_prefix(text: str) -> bool:
    """Whether topics' names may begin so."""
    return re.fullmatch(r"[A-Za-z0-9._-]{0,100}", text) is not None


def _is_port(text: str, least: int) -> bool:
    return text.isascii() and text.isdecimal() and least <= int(text) <= _MOST_PORT
