"""A part of an answer as a record: sealed to the asker's key, with its digest."""

import hashlib

from calllog_guard.core.answers.parts import Part
from calllog_guard.core.cases.secret_cases import part_key, part_record
from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.jose import seal_to_key
from calllog_guard.core.identifiers import b64
from calllog_guard.core.records import Output
from calllog_guard.core.requests.fields import ReplyKey
from calllog_guard.core.topics import Topic
from calllog_guard.settings import Settings


def sealed_part(settings: Settings, home: int, part: Part, key: ReplyKey, *, secret: bool) -> tuple[Output, str]:
    """A part for the topic of exports, or a secret case's for orders, with the JWE's digest: SHA-256 in base64url."""
    jwk: dict[str, str | list[str]] = {"kty": key.kty, "crv": key.crv, "x": key.x}
    jwe, name = seal_to_key(jwk, key.kid or part.case, encode(part)), f"{part.case}.{part.part}"
    if secret:
        output = Output(settings.topic(Topic.ORDERS), home, part_key(name), part_record(jwe))
    else:
        output = Output(settings.topic(Topic.EXPORTS), home, name.encode(), jwe.encode())
    return output, b64(hashlib.sha256(jwe.encode()).digest()).decode()
