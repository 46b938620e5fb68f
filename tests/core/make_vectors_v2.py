"""Computes the golden vectors of the stored forms of level 2; `make vectors` prints them, a test compares."""

import json
from datetime import UTC, datetime
from typing import Any

from calllog_guard.core.crypto.sealed import signer_public
from calllog_guard.core.ids import Tenant, b64
from calllog_guard.core.profile import TenantProfile, digest, packed, profile_name
from calllog_guard.workers.guard import guard_entry

TENANT, AT = Tenant("iocom"), datetime(2026, 11, 24, 9, tzinfo=UTC)


def vectors() -> dict[str, Any]:
    """Every stored form that level 2 has besides, or instead of, the first release's."""
    profile = TenantProfile(
        number=3,
        forms=2,
        identity=("as-written",),
        signers={"audit": b64(signer_public(b"\x0b" * 32)).decode()},
        at=AT,
    )
    return {
        "profile": packed(profile).hex(),
        "profile_digest": digest(profile_name(TENANT, 3), packed(profile)).hex(),
        "guard": guard_entry(b"\x06" * 16, 1 << 40, 3).hex(),
    }


if __name__ == "__main__":
    print(json.dumps(vectors(), indent=2))  # noqa: T201
