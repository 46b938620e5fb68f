"""
What whoever sent a request can do about each reason of a refusal.

Rules: 1. Words of ours alone: nothing of the request is quoted.  2. A reason that is not listed has the general remedy.
Source: docs/how-to/send-an-erasure.md.
"""

from typing import Final

from calllog_guard.core.identity.rules import REFUSED
from calllog_guard.errors import MessageError

REMEDIES: Final = {
    "wrong_partition": "let the desk write requests (`topics rights`), or send with Java's default partitioner",
    "does_not_open": "seal to the desk's newest key, its file's name as kid (calllog-guard tenant list)",
    "unknown_requester": "register the key: calllog-guard key register",
    "expired": "sign it anew: a replay is judged by the time of the replay",
    "replayed": "nothing: the jti was handled; another request needs another jti",
    "not_yet_valid": "sign it with an nbf that has come, or without one",
    "wrong_audience": "aud names this installation: calllog-guard, or the policy's audience",
    "wrong_issuer": "iss is the name under which the policy registers the key, as kid is",
    "foreign_tenant": "name the tenant of this installation",
    "lifetime_too_long": "let exp be at most 24 hours after iat",
    "in_future": "set the clock right: the request names a time that has not come",
    "wrong_role": "have it signed by a requester whose role may ask for this",
    "unknown_purpose": "name a purpose of the policy in force",
    "not_by_consent": "name a purpose that rests on consent",
    "unknown_field": "leave the field out: schemas/request.json lists what a request may say",
    "unexpected_field": "leave the field out: this type of request does not take it",
    "missing_field": "add the field: this type of request needs it",
    "wrong_value": "write the value as schemas/request.json says",
    "bad_key": "send the public half of an X25519 pair as a JWK",
    "bad_time": "write the time as RFC 3339 with an offset, between 2000 and 2100",
    "range_not_whole_days": "name whole days of UTC",
    "no_content_type": "an event of CloudEvents in structured mode needs the record's header content-type: "
    "application/cloudevents+json; or send its data alone. A replay of the letter takes the data out",
    "wrong_content_type": "send CloudEvents as application/cloudevents+json, or in binary mode",
    "batch": "send each event as a record of its own: a batch of CloudEvents is none of Kafka's modes",
    "data_twice": "an event of CloudEvents has data or data_base64, not both",
    "guest_with_id": "leave `guest` out, or the id",
    "end_before_start": "let the end come after the beginning",
    "one_identifier": "name two identifiers at least; by the tenant's rules these are one person already",
    "too_many_identifiers": "nobody has more than 100 identifiers: name those of one person",
    "not_linked": "nothing: no same_as stands that names these identifiers",
    "older_forms": "raise the tenant to the newest stored forms: calllog-guard tenant upgrade",
    "unknown_case": "name a case of yours that is open",
    "nobody_to_tell": "the person must be told before, and the policy names no gateway that would: enter "
    "person_notices with told = "
    '["lifting", "disclosed"], publish it (while there is one version: restart the workers), and send it again',
    **REFUSED,
    **dict.fromkeys(
        ("entry_corrupt", "entry_unknown_epoch", "key_missing", "key_foreign"),
        "restore this person's entries of the keystore, or erase the person; then replay",
    ),
}
"""What whoever sent it can do; reasons that say it themselves have none."""
GENERAL: Final = "mend what the reason and the pointer name, and send it again"


def remedy(reason: str) -> str:
    """What to do about a reason."""
    return REMEDIES.get(reason, GENERAL)


def told(error: MessageError) -> str:
    """A refusal as a line for whoever sent the request."""
    return f"{error.reason} at {error.pointer or '/'}: {remedy(error.reason)}"
