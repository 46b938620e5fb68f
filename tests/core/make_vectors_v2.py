"""Computes the golden vectors of the stored forms of level 2; `make vectors` prints them, a test compares."""

import json
from datetime import UTC, datetime
from typing import Any

from calllog_guard.core.calls.parked import Parked, WaitingPart, parked_key, seal_parked
from calllog_guard.core.crypto.sealed import signer_public
from calllog_guard.core.crypto.secrets import Secret
from calllog_guard.core.ids import Tenant, b64
from calllog_guard.core.profile import TenantProfile, digest, packed, profile_name
from calllog_guard.core.wire import encode
from calllog_guard.workers.guard import guard_entry

TENANT, AT = Tenant("iocom"), datetime(2026, 11, 24, 9, tzinfo=UTC)
LEG = (
    '{"call":"call-1","role":"host","joined_at":"2026-11-24T09:00:00Z","left_at":"2026-11-24T09:31:10.250Z","kind":"video",'
    '"outcome":"answered","started_at":"2026-11-24T09:00:00Z","ended_at":"2026-11-24T09:31:10.250Z","parties":2,"subject":"a"}'
)


def vectors() -> dict[str, Any]:
    """Every stored form that level 2 has besides, or instead of, the first release's."""
    profile = TenantProfile(
        number=3,
        forms=2,
        identity=("as-written",),
        signers={"audit": b64(signer_public(b"\x0b" * 32)).decode()},
        at=AT,
    )
    record = Parked(
        topic="calllog.events",
        partition=3,
        offset=771,
        index=1,
        parked_ms=1_764_000_000_000,
        reason="key_missing",
        epoch="2026-W48",
        sealed="",
    )
    part = WaitingPart(
        lookup="A" * 43, mask=3, text=LEG, call="call-1", started_ms=1_763_999_999_000, appended_ms=1_764_000_000_000
    )
    sealed = seal_parked(record, part, TENANT, Secret(b"\x03" * 32), b"\x0c" * 12)
    return {
        "profile": packed(profile).hex(),
        "profile_digest": digest(profile_name(TENANT, 3), packed(profile)).hex(),
        "guard": guard_entry(b"\x06" * 16, 1 << 40, 3).hex(),
        "parked": encode(sealed).decode(),
        "parked_key": parked_key(record.place, part.lookup).decode(),
    }


if __name__ == "__main__":
    print(json.dumps(vectors(), indent=2))  # noqa: T201
