"""Signed requests, as a backend makes them."""

import json
import time
from pathlib import Path
from typing import Any

from calllog_guard.core.crypto.jose import sign


def claims(jti: str, *subjects: str, **more: Any) -> dict[str, Any]:
    """Good claims of an erasure."""
    now = int(time.time())  # noqa: TID251 - tests run on the real clock
    return {
        "v": 1,
        "iss": "backend-1",
        "aud": "calllog-guard",
        "tenant": "iocom",
        "jti": jti,
        "iat": now,
        "exp": now + 600,
        "received_at": "2026-11-23T10:00:00Z",
        "type": "erase",
        "subjects": list(subjects),
        "identity": "verified",
        **more,
    }


def signed(directory: Path, content: dict[str, Any], key: str = "backend-1") -> bytes:
    """The claims as a signed request."""
    pem = (directory / "keys" / f"{key}.pem").read_bytes()
    return sign(pem, content["iss"], json.dumps(content).encode()).encode()
