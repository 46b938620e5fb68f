"""
Write schemas/asyncapi.yaml (AsyncAPI 3): the contract for other languages, from tables of topics, rights, messages.

`make schemas` writes it; `make check` and tests/unit/core/test_schemas.py fail where it is not what the code says.
Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0; bindings of Kafka 0.5.0.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml
from message_schemas import MESSAGES, SCHEMAS

from calllog_guard import __version__
from calllog_guard.adapters.kafka.admin.topics import governed
from calllog_guard.core.rights.grants import USERS
from calllog_guard.core.topics import TABLE, Topic
from calllog_guard.settings import Settings

FILE: Final = SCHEMAS / "asyncapi.yaml"
_EXAMPLE_KEEP_DAYS: Final = 184
_BINDING: Final = "0.5.0"
_JSON, _JWS, _JWE = "application/json", "application/jose;alg=EdDSA", "application/jose;alg=ECDH-ES"
_DIRECT: Final = "application/jose;alg=dir"
_OWN: Final = "application/octet-stream"
_ANY: Final = "*/*"


class Form(NamedTuple):
    """A message of a topic: its schema, how it lies there, the schema of a JWE's header, and other remarks."""

    schema: str
    content_type: str = _JSON
    header: str = ""
    note: str = ""


_REQUEST: Final = Form("request", _JWS, note="a JWT whose `kid` is its `iss`; seal it: `request-sealed`")
_SEALED: Final = Form("request", _JWE, "request-sealed-header", "the JWT sealed to the desk's key (X25519, A256GCM)")
FORMS: Final[dict[Topic, dict[str, Form]]] = {
    Topic.EVENTS: {"event": Form("event", note="also as CloudEvents 1.0, or behind Confluent's five bytes")},
    Topic.NOTIFICATIONS: {
        "platform-message": Form("", _ANY, note="as the platform sent it; which it is, the header `clg-source` says")
    },
    Topic.MOMENTS: {"moment": Form("moment", _OWN, note="sealed to a week's key, by `core/sessions/moment.py`")},
    Topic.LEGS: {"leg": Form("leg", _DIRECT, "leg-header", "under the person's key; no value is a tombstone")},
    Topic.HELD: {"held-leg": Form("leg", _DIRECT, "held-header", "under the hold's key")},
    Topic.STATISTICS: {"statistic": Form("statistic"), "statistics-mark": Form("statistics-mark")},
    Topic.PARKED: {"parked": Form("parked")},
    Topic.DEAD: {"dead": Form("dead"), "replayed": Form("replayed")},
    Topic.REQUESTS: {"request-sealed": _SEALED, "request": _REQUEST},
    Topic.DECISIONS: {"decision": Form("decision"), "result": Form("outcome"), "removed": Form("removed")},
    Topic.OUTCOMES: {"outcome": Form("outcome")},
    Topic.ORDERS: {"request-sealed": _SEALED, "request": _REQUEST},
    Topic.CASES: {"case": Form("case")},
    Topic.POLICY: {
        "policy": Form("policy", _JWS), "anchor": Form("anchor"), "acceptance": Form("acceptance", _JWS),
        "expiry-confirmation": Form("expiry-confirmation", _JWS), "prolonged": Form("prolonged", _JWS),
    },
    Topic.RECEIPTS: {
        "receipt": Form("receipt", _JWS, note="by the tenant's receipt key"),
        "refused-request": Form("refused-request", _JWS, note="by the tenant's receipt key"),
        "statement": Form("statement", _JWS, note="of a month; its key is `statement.` and the month"),
    },
    Topic.NOTICES: {"notice": Form("notice")},
    Topic.EXPORTS: {"export": Form("export", _JWE, note="a part of an answer, sealed to the request's reply key")},
    Topic.ACCESS: {"access": Form("access")},
}  # fmt: skip
_HEADERS: Final = {
    "type": "object",
    "properties": {
        "clg-internal": {"type": "string", "description": "who of the workers has written it, and their signature"},
        "clg-source": {"type": "string", "description": "of a platform's message: its source in `ingest.toml`"},
        "clg-replay": {
            "type": "string",
            "description": "of a dead letter that was sent again: where it lay, and when it came",
        },
    },
}
_READ, _WRITE = "R", "W"


def _payload(form: Form) -> dict[str, Any]:
    if form.content_type == _ANY:
        return {"description": "JSON or a form, as the platform documents it"}
    said: dict[str, Any] = {"$ref": f"./{form.schema}.json"}
    if form.content_type == _JSON:
        return said
    if form.content_type == _OWN:
        return {"type": "string", "format": "binary", "description": "sealed by workers for workers", "x-content": said}
    kind = "JWS" if form.content_type == _JWS else "JWE"
    found = {"type": "string", "description": f"{kind} in compact serialisation (RFC 7515, 7516)", "x-content": said}
    return found | ({"x-protected-header": {"$ref": f"./{form.header}.json"}} if form.header else {})


def _message(name: str, key: str, form: Form) -> dict[str, Any]:
    about = (
        (MESSAGES[form.schema].__doc__ or "").strip().partition("\n\n")[0] if form.schema else "What a platform sends."
    )
    return {
        "name": name,
        "summary": " ".join(about.split()),
        **({"description": form.note} if form.note else {}),
        "contentType": form.content_type,
        "headers": _HEADERS,
        "payload": _payload(form),
        "bindings": {"kafka": {"key": {"type": "string", "description": key}, "bindingVersion": _BINDING}},
    }


def _channel(topic: Topic, made: Any) -> dict[str, Any]:
    row, numbers = TABLE[topic], {name: value for name, value in made.settings.items() if name in _SETTINGS}
    settings: dict[str, Any] = {"cleanup.policy": row.cleanup.split(",")} | {k: int(v) for k, v in numbers.items()}
    kafka = {
        "topic": topic.value,
        "partitions": made.partitions,
        "topicConfiguration": settings,
        "bindingVersion": _BINDING,
    }
    beats = (
        " Records whose key begins with `~` are the workers' own: pass over them." if row.beaten or row.proven else ""
    )
    return {
        "address": topic.value,
        "description": f"Key: {row.key}. Value: {row.value}.{beats}",
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": {name: {"$ref": f"#/components/messages/{_name(topic, name)}"} for name in FORMS[topic]},
        "bindings": {"kafka": kafka},
    }


_SETTINGS: Final = ("retention.ms", "delete.retention.ms", "max.message.bytes")


def _name(topic: Topic, message: str) -> str:
    """Requests lie in two topics, under another key in each."""
    return f"order-{message}" if topic is Topic.ORDERS else message


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for topic, row in TABLE.items():
        for user in USERS:
            for letter, action, verb in ((_READ, "receive", "reads"), (_WRITE, "send", "writes")):
                if letter in row.rights.get(user, ""):
                    name = f"{user}-{verb}-{topic.value.replace('.', '-')}"
                    yield (
                        name,
                        {"action": action, "channel": {"$ref": f"#/channels/{topic.value}"}, "tags": [{"name": user}]},
                    )


def document() -> dict[str, Any]:
    """The whole contract."""
    made = {each.name: each for each in governed(Settings(), _EXAMPLE_KEEP_DAYS, [Topic.EVENTS])}
    messages = {
        _name(topic, name): _message(name, TABLE[topic].key, form)
        for topic, forms in FORMS.items()
        for name, form in forms.items()
    }
    schemes = {
        "scram": {
            "type": "scramSha512",
            "description": "one user for each role; `calllog-guard topics rights` prints its rights",
        },
        "tls": {"type": "X509", "description": "mutual TLS"},
    }
    security = [{"$ref": f"#/components/securitySchemes/{name}"} for name in schemes]
    host = {"default": "localhost:9092", "description": "a broker"}
    server = {"host": "{broker}", "protocol": "kafka", "variables": {"broker": host}, "security": security}
    about = (
        "Topics, keys, messages and rights of an installation with the default names and settings. A backend writes "
        "events and "
        "requests and reads cases, receipts and exports. How a request is signed and sealed: "
        "docs/how-to/send-an-erasure.md."
    )
    licence = {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "calllog-guard", "version": __version__, "description": about, "license": licence},
        "defaultContentType": _JSON,
        "servers": {"kafka": server},
        "channels": {topic.value: _channel(topic, made[topic.value]) for topic in TABLE},
        "operations": dict(_operations()),
        "components": {"messages": messages, "securitySchemes": schemes},
    }


class _Plain(yaml.SafeDumper):  # type: ignore[misc] # the library ships no types
    """Writes what is there twice twice: no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """See the library."""
        del data
        return True


def text() -> str:
    """The file."""
    head = "# Made by `make schemas` from the code; do not edit.\n"
    return head + str(yaml.dump(document(), Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True))


def main() -> int:
    """Write the file, or compare it."""
    path = Path(FILE)
    if "--check" not in sys.argv[1:]:
        path.write_text(text(), "utf-8")
    elif not path.is_file() or path.read_text("utf-8") != text():
        sys.stderr.write(f"{path.name} is not what the code says: run `make schemas`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
