"""A true call history, and how each platform tells it: the messages that its documentation promises, with synthetic people."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

DAY: Final = 1_764_460_800
"""Midnight of 30 November 2025, UTC."""


class Stay(NamedTuple):
    """One connection of somebody: their id, or None for a guest; seconds from `DAY` on."""

    person: str | None
    session: str
    joined: int
    left: int


class History(NamedTuple):
    """A call as it was."""

    call: str
    stays: Sequence[Stay]

    @property
    def began(self) -> int:
        """When the first one joined."""
        return min(stay.joined for stay in self.stays)

    @property
    def ended(self) -> int:
        """When the last one left."""
        return max(stay.left for stay in self.stays)


Told = Callable[[History], list[bytes]]


def iso(second: int, digits: str = "") -> str:
    """A time as most platforms write it."""
    return datetime.fromtimestamp(DAY + second, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f"{digits}Z"


def _json(*messages: Any) -> list[bytes]:
    return [json.dumps(each).encode() for each in messages]


def daily(history: History) -> list[bytes]:
    """A webhook a session."""

    def left(stay: Stay) -> dict[str, Any]:
        who = {} if stay.person is None else {"user_id": stay.person}
        when = {"joined_at": float(DAY + stay.joined), "duration": float(stay.left - stay.joined)}
        return {
            "type": "participant.left",
            "payload": {"meeting_id": history.call, "session_id": stay.session} | when | who,
        }

    return _json(*map(left, history.stays))


def livekit(history: History) -> list[bytes]:
    """A webhook a session; 64-bit integers are text, and the server's own services are among them."""

    def left(stay: Stay, kind: str = "STANDARD") -> dict[str, Any]:
        who = {"identity": stay.person or "", "sid": stay.session, "joinedAt": str(DAY + stay.joined), "kind": kind}
        return {
            "event": "participant_left",
            "room": {"sid": history.call},
            "participant": who,
            "createdAt": str(DAY + stay.left),
        }

    egress = left(Stay("EG_1", "PA_egress", history.began, history.ended), "EGRESS")
    return _json(*map(left, history.stays), egress)


def jitsi(history: History) -> list[bytes]:
    """One message when the room ends; the focus is among the occupants."""
    people = [
        {"occupant_jid": stay.session, "joined_at": DAY + stay.joined, "left_at": DAY + stay.left, "email": stay.person}
        for stay in history.stays
    ]
    focus = {
        "occupant_jid": "focus@auth.meet.example.org/f",
        "joined_at": DAY + history.began,
        "left_at": DAY + history.ended,
    }
    return _json(
        {
            "event_name": "muc-room-destroyed",
            "room_jid": history.call,
            "created_at": DAY + history.began,
            "destroyed_at": DAY + history.ended,
            "all_occupants": [focus, *people],
        }
    )


def graph(history: History) -> list[bytes]:
    """A record with a session for each connection."""

    def session(stay: Stay) -> dict[str, Any]:
        who = {"guest": {"id": None}} if stay.person is None else {"user": {"id": stay.person}, "guest": None}
        times = {"startDateTime": iso(stay.joined, ".0000000"), "endDateTime": iso(stay.left, ".0000000")}
        return {
            "id": stay.session,
            "caller": {"identity": who},
            "callee": {"userAgent": {}},
            "failureInfo": None,
        } | times

    times = {"startDateTime": iso(history.began), "endDateTime": iso(history.ended)}
    return _json(
        {"id": history.call, "version": 1, "modalities": ["audio"], "sessions": list(map(session, history.stays))}
        | times
    )


def google(history: History) -> list[bytes]:
    """A report with an activity for each endpoint; integers are text."""

    def activity(stay: Stay) -> dict[str, Any]:
        numbers = {"start_timestamp_seconds": DAY + stay.joined, "duration_seconds": stay.left - stay.joined}
        texts = {"conference_id": history.call, "endpoint_id": stay.session} | (
            {"identifier": stay.person, "identifier_type": "email_address"} if stay.person else {}
        )
        parameters = [{"name": name, "intValue": str(each)} for name, each in numbers.items()]
        parameters += [{"name": name, "value": each} for name, each in texts.items()]
        return {"events": [{"type": "call", "name": "call_ended", "parameters": parameters}]}

    return _json(*({"items": [activity(stay)]} for stay in history.stays))


def twilio(history: History) -> list[bytes]:
    """A form a session."""

    def left(stay: Stay) -> bytes:
        who = {"RoomSid": history.call, "ParticipantSid": stay.session, "ParticipantIdentity": stay.person or ""}
        when = {"Timestamp": iso(stay.left, ".000"), "ParticipantDuration": stay.left - stay.joined}
        return urlencode({"StatusCallbackEvent": "participant-disconnected"} | who | when).encode()

    return list(map(left, history.stays))


CONFERENCES: Final[dict[str, Told]] = {
    "daily": daily,
    "livekit": livekit,
    "jitsi": jitsi,
    "msgraph-callrecord": graph,
    "google-meet": google,
    "twilio": twilio,
}
"""How platforms of conferences tell a history: any number of people and connections."""


def zoom(history: History) -> list[bytes]:
    """A join, a leave and the end; a leave does not say when its session began."""

    def told(what: str, **more: Any) -> dict[str, Any]:
        return {"event": f"meeting.{what}", "payload": {"object": {"id": "961", "uuid": history.call} | more}}

    def moment(stay: Stay, what: str, **when: str) -> dict[str, Any]:
        who = {"user_id": stay.session, "email": stay.person or "", "user_name": "iPhone"}
        return told(f"participant_{what}", participant=who | when)

    joins = [moment(stay, "joined", join_time=iso(stay.joined)) for stay in history.stays]
    leaves = [moment(stay, "left", leave_time=iso(stay.left)) for stay in history.stays]
    return _json(*joins, *leaves, told("ended", end_time=iso(history.ended)))


def jaas(history: History) -> list[bytes]:
    """A join, a leave and the end, by milliseconds."""

    def told(what: str, second: int, **data: Any) -> dict[str, Any]:
        at = (DAY + second) * 1000
        return {"eventType": what, "sessionId": history.call, "timestamp": at, "data": data}

    def moment(stay: Stay, what: str, second: int) -> dict[str, Any]:
        who = {"participantId": stay.session, "name": "iPhone"} | ({"email": stay.person} if stay.person else {})
        return told(what, second, moderator="false", **who)

    joins = [moment(stay, "PARTICIPANT_JOINED", stay.joined) for stay in history.stays]
    leaves = [moment(stay, "PARTICIPANT_LEFT", stay.left) for stay in history.stays]
    return _json(*joins, *leaves, told("ROOM_DESTROYED", history.ended, isBreakout=False))


def bigbluebutton(history: History) -> list[bytes]:
    """A form a moment, whose field `event` holds a list of one; a guest's two ids are one."""

    def told(what: str, second: int, **more: Any) -> bytes:
        meeting = {"internal-meeting-id": history.call, "external-meeting-id": "weekly"}
        data = {"id": what, "attributes": {"meeting": meeting} | more, "event": {"ts": (DAY + second) * 1000}}
        return urlencode({"event": json.dumps([{"data": data}]), "timestamp": 1}).encode()

    def moment(stay: Stay, what: str, second: int) -> bytes:
        own = stay.person or stay.session
        return told(what, second, user={"internal-user-id": stay.session, "external-user-id": own, "role": "VIEWER"})

    joins = [moment(stay, "user-joined", stay.joined) for stay in history.stays]
    leaves = [moment(stay, "user-left", stay.left) for stay in history.stays]
    return [*joins, *leaves, told("meeting-ended", history.ended)]


NOTIFIED: Final[dict[str, Told]] = {"zoom": zoom, "jaas": jaas, "bigbluebutton": bigbluebutton}
"""How platforms tell moments: first the join of each stay, then the leave of each in the same order, then the end."""


def freeswitch(history: History) -> list[bytes]:
    """The caller's leg and the other one."""
    caller, callee = history.stays
    ours = {
        "uuid": history.call,
        "sip_from_user": (caller.person or "").replace("@", "%40"),
        "destination_number": (callee.person or "").replace("@", "%40"),
        "start_uepoch": str((DAY + caller.joined) * 1_000_000),
        "answer_uepoch": str((DAY + callee.joined) * 1_000_000),
        "end_uepoch": str((DAY + caller.left) * 1_000_000),
    }
    return _json({"variables": ours}, {"variables": ours | {"uuid": "b", "originating_leg_uuid": history.call}})


def zoom_phone(history: History) -> list[bytes]:
    """Once for each side."""
    caller, callee = history.stays
    when = {
        "ringing_start_time": iso(caller.joined),
        "answer_start_time": iso(callee.joined),
        "call_end_time": iso(caller.left),
    }
    about = {"call_id": history.call, "caller": {"user_id": caller.person}, "callee": {"user_id": callee.person}} | when
    return _json(*({"event": f"phone.{side}_ended", "payload": {"object": about}} for side in ("caller", "callee")))


def twilio_voice(history: History) -> list[bytes]:
    """The last callback of a call, which does not say when it was answered."""
    caller, callee = history.stays
    at = format_datetime(datetime.fromtimestamp(DAY + caller.left, UTC))
    told = {
        "CallSid": history.call,
        "CallStatus": "completed",
        "From": caller.person,
        "To": callee.person,
        "Timestamp": at,
    }
    return [urlencode(told | {"CallDuration": caller.left - caller.joined}).encode()]


CALLS: Final[dict[str, Told]] = {"freeswitch": freeswitch, "zoom-phone": zoom_phone, "twilio": twilio_voice}
"""How platforms of telephony tell a call of two."""
