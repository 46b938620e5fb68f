"""A hunt that finds nothing proves something only if it would have found it."""

import base64
import hashlib
import json
from urllib.parse import quote

import pytest

from calllog_guard.adapters.disk.trace_search import Hunter

WHO = "zoë+canary@example.org"
RAW = WHO.encode()


@pytest.mark.parametrize(
    "hidden",
    [
        RAW,
        WHO.encode("utf-16"),
        *(base64.b64encode(b"x" * phase + RAW + b"tail") for phase in range(3)),
        *(base64.urlsafe_b64encode(b"x" * phase + RAW) for phase in range(3)),
        RAW.hex().encode(),
        quote(WHO).encode(),
        json.dumps(WHO).encode(),
        hashlib.sha1(RAW, usedforsecurity=False).hexdigest().encode(),
        hashlib.sha256(RAW).digest(),
        hashlib.md5(RAW, usedforsecurity=False).hexdigest().encode(),
    ],
)
def test_every_form_is_found(hidden: bytes) -> None:
    assert Hunter([WHO]).hits(b"before " + hidden + b" after")


def test_nothing_is_found_where_nothing_is() -> None:
    assert not Hunter([WHO]).hits(b"before and after, someone-else@example.org " * 100)
