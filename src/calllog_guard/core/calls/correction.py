"""
A leg with corrected facts (Art. 16): the party's own role and times, never the call's.

Source: docs/explanation/cases.md; UK and EU GDPR Art. 16.
"""

from datetime import datetime

import msgspec

from calllog_guard.core.calls.leg import read_leg
from calllog_guard.core.codec import encode, time_text
from calllog_guard.errors import RecordError


def corrected(plaintext: bytes, *, role: str | None, joined_at: datetime | None, left_at: datetime | None) -> bytes:
    """
    The plaintext of a leg with what is given replaced; the same bytes when it says so already.

    Raises:
        RecordError: The correction would end before it begins; the decision is a dead letter.

    """
    leg = read_leg(plaintext)
    joined = time_text(joined_at) if joined_at else leg.joined_at
    left = time_text(left_at) if left_at else leg.left_at
    if joined and left and datetime.fromisoformat(left) < datetime.fromisoformat(joined):
        raise RecordError("end_before_start")
    estimated = msgspec.UNSET if joined_at or left_at else leg.estimated
    changed = msgspec.structs.replace(leg, role=role or leg.role, joined_at=joined, left_at=left, estimated=estimated)
    return plaintext if changed == leg else encode(changed)
