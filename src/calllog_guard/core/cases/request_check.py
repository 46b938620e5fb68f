"""
What a desk checks of a request beyond its signature and its times: also what a sender may ask before it sends.

Source: docs/how-to/answer-requests.md; `core/requests/request.py` (fields), `case_states.py` (roles).
"""

from calllog_guard.core.cases.case_states import check_rights
from calllog_guard.core.cases.notices import told_before
from calllog_guard.core.policy.active import TenantPolicy
from calllog_guard.core.requests.request import Request, check_fields
from calllog_guard.core.requests.types import TYPES
from calllog_guard.errors import RequestRefusedError


def check_request(request: Request, table: TenantPolicy) -> None:
    """
    Whether a registered requester may ask this, and says what its type needs.

    Raises:
        MessageError: The desk refuses it; the requester is told.

    """
    role = table.requesters[request.iss].role
    check_rights(role, request.type, request.event)
    check_fields(request)
    if request.type == "disclose" and request.hold is not None and role != "officer":
        raise RequestRefusedError("wrong_role", "/hold")  # or others could find out which holds there are
    check_purposes(request, table)


def check_purposes(request: Request, table: TenantPolicy) -> None:
    """
    Whether the purposes of a choice are ones that can be chosen.

    Raises:
        RequestRefusedError: `unknown_purpose`, or `not_by_consent` where consent is given or withdrawn.

    """
    for index, name in enumerate(request.purposes or ()):
        purpose = table.purposes.get(name)
        if purpose is None:
            raise RequestRefusedError("unknown_purpose", f"/purposes/{index}")
        if TYPES[request.type].basis not in {None, purpose.basis}:
            raise RequestRefusedError("not_by_consent", f"/purposes/{index}")


def check_told(request: Request, table: TenantPolicy) -> None:
    """
    Whether somebody tells the person of what is asked for before it is done.

    Raises:
        RequestRefusedError: `nobody_to_tell`: the policy names no gateway that is told of this kind.

    """
    kind = told_before(request)
    if kind is not None and not table.tells(kind):
        raise RequestRefusedError("nobody_to_tell", "/type")
