"""
A peer: Confluent's client reads events and writes them with each party's id and the call's id encrypted by field rules.

Its registries of schemas and keys are the client's own stand-ins in this process, its KMS is local: no network but the
broker's. One data key a topic. What it does not do: `bench/peers/table.py`.
"""

import json
import os
import signal
from functools import partial

from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.schema_registry import Rule, RuleKind, RuleMode, RuleParams, RuleSet, Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.rules.encryption.encrypt_executor import FieldEncryptionExecutor
from confluent_kafka.schema_registry.rules.encryption.localkms.local_driver import LocalKmsDriver
from confluent_kafka.serialization import MessageField, SerializationContext

SERVERS, EVENTS, OUT = (os.environ[f"BENCH_{name}"] for name in ("KAFKA", "EVENTS", "OUT"))
KEY = bytes(66)
SECRET = {"type": "string", "confluent:tags": ["PII"]}
TEXT = {"type": "string"}
PARTY = {"type": "object", "properties": {"id": SECRET, "role": TEXT}}
EVENT = dict.fromkeys(("tenant", "kind", "outcome", "started_at", "ended_at"), TEXT)
SCHEMA = {"type": "object", "properties": EVENT | {"call_id": SECRET, "parties": {"type": "array", "items": PARTY}}}


def serializer() -> JSONSerializer:
    """One whose rule encrypts what the schema tags."""
    FieldEncryptionExecutor.register()
    LocalKmsDriver.register()
    registry = SchemaRegistryClient.new_client({"url": "mock://"})
    named = {"encrypt.kek.name": "bench", "encrypt.kms.type": "local-kms", "encrypt.kms.key.id": "bench"}
    how = (RuleKind.TRANSFORM, RuleMode.WRITEREAD, "ENCRYPT", ["PII"], RuleParams(named))
    rule = Rule("encrypt", "", *how, None, None, "ERROR", disabled=False)
    text = json.dumps(SCHEMA)
    registry.register_schema(f"{OUT}-value", Schema(text, "JSON", [], None, RuleSet(None, [rule])))
    return JSONSerializer(
        text,
        registry,
        conf={"auto.register.schemas": False, "use.latest.version": True, "validate": False},
        rule_conf={"secret": "bench"},
    )


def main() -> None:
    """Event by event, until SIGTERM: the client gathers the batches itself."""
    encrypt, context, going = serializer(), SerializationContext(OUT, MessageField.VALUE), [True]
    signal.signal(signal.SIGTERM, lambda *_: going.clear())
    reader = Consumer({"bootstrap.servers": SERVERS, "group.id": OUT, "auto.offset.reset": "earliest"})
    writer = Producer({"bootstrap.servers": SERVERS, "acks": "all", "enable.idempotence": True, "linger.ms": 20})
    reader.subscribe([EVENTS])
    failed: list[KafkaError] = []
    while going and not failed:
        for message in reader.consume(500, 0.1):
            value = encrypt(json.loads(message.value()), context)
            told = partial(_told, failed)
            writer.produce(OUT, value, KEY, partition=message.partition(), on_delivery=told)
            writer.poll(0)
    writer.flush(10)
    reader.close()
    if failed:
        raise SystemExit(f"the broker refuses: {failed[0]}")


def _told(failed: "list[KafkaError]", error: KafkaError | None, _: object) -> None:
    if error:
        failed.append(error)


if __name__ == "__main__":
    main()
