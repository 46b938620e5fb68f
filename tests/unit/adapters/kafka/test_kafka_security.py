"""The options of TLS and SASL: what has no effect is refused, and one context serves both libraries."""

import json
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError
from cryptography.hazmat.primitives import serialization

from calllog_guard.adapters.kafka.security import connecting, security, unanswered
from calllog_guard.adapters.redis.keystore import RedisKeystore
from calllog_guard.devstack.certificates import make
from calllog_guard.errors import ConfigurationError, Fate, KeystoreSilentError, LogRefusedError, LogSilentError

SCRAM = {
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "SCRAM-SHA-512",
    "sasl_plain_username": "desk",
    "sasl_plain_password": "secret",
}


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ([], "JSON object"),
        ({"ssl_cafile": "ca.pem"}, "ssl_… have no effect with security_protocol PLAINTEXT"),
        (SCRAM | {"security_protocol": "SASL_PLAINTEXT", "ssl_cafile": "ca.pem"}, "ssl_… have no effect"),
        ({"security_protocol": "SSL", "sasl_mechanism": "PLAIN"}, "sasl_… have no effect with security_protocol SSL"),
        ({"security_protocol": "SASL_SLL"}, "security_protocol must be one of"),
        (SCRAM | {"sasl_mechanism": "SCRAM"}, "sasl_mechanism must be one of"),
        ({"security_protocol": "SASL_SSL"}, "sasl_mechanism must be one of"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}, "PLAIN needs sasl_plain_username"),
        (SCRAM | {"ssl_check_hostname": "false"}, "ssl_check_hostname must be of the kind bool"),
        (SCRAM | {"request_timeout_ms": True}, "request_timeout_ms must be of the kind int"),
        (SCRAM | {"ssl_context": "x"}, "any of"),
    ],
)
def test_an_option_without_effect_or_sense_is_refused(options: Any, why: str) -> None:
    """Who names an authority and forgets the protocol would send everything in the clear."""
    with pytest.raises(ConfigurationError, match=why) as caught:
        security(json.dumps(options))
    assert "secret" not in str(caught.value)


def test_both_libraries_get_a_context_that_checks_certificate_and_host(tmp_path: Path) -> None:
    ca, _ = make(tmp_path)
    made = connecting(security(json.dumps(SCRAM | {"ssl_cafile": str(ca)})))
    context = made.pop("ssl_context")
    assert made == SCRAM
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) == 1, "the authority that was named, and no other"


def test_a_clients_own_certificate_is_loaded_with_the_password_of_its_key(tmp_path: Path) -> None:
    """Without it OpenSSL would ask the terminal, and a worker would wait for ever."""
    ca, server = make(tmp_path)
    key = serialization.load_pem_private_key(server.read_bytes(), None)
    sealed = serialization.BestAvailableEncryption(b"word")
    form = serialization.PrivateFormat.PKCS8
    (tmp_path / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, sealed))
    files = {"ssl_cafile": str(ca), "ssl_certfile": str(server), "ssl_keyfile": str(tmp_path / "key.pem")}
    options = {"security_protocol": "SSL", **files}
    assert connecting(options | {"ssl_password": "word"})["ssl_context"]
    for wrong in ({}, {"ssl_password": "other"}):
        with pytest.raises(ConfigurationError, match="a file of TLS"):
            connecting(options | wrong)


@pytest.mark.parametrize("name", ["ssl_cafile", "ssl_certfile", "ssl_crlfile"])
def test_a_file_that_is_not_there_is_a_matter_of_configuration(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        connecting({"security_protocol": "SSL", name: str(tmp_path / "none")})


def test_ciphers_are_those_that_were_named() -> None:
    context = connecting({"security_protocol": "SSL", "ssl_ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384"})["ssl_context"]
    named = [each["name"] for each in context.get_ciphers() if each["protocol"] == "TLSv1.2"]
    assert named == ["ECDHE-ECDSA-AES256-GCM-SHA384"]
    with pytest.raises(ConfigurationError, match="ssl_ciphers"):
        connecting({"security_protocol": "SSL", "ssl_ciphers": "none"})


def test_a_refusal_is_told_apart_from_silence_and_both_wait() -> None:
    refused = unanswered(TopicAuthorizationFailedError({"privacy.decisions"}))
    assert isinstance(refused, LogRefusedError)
    assert "does not let this user do this with a topic (privacy.decisions)" in str(refused)
    silent = unanswered(KafkaConnectionError("away"))
    assert type(silent) is LogSilentError
    assert {refused.fate, silent.fate} == {Fate.RETRY}


def test_an_address_of_the_keystore_is_never_quoted() -> None:
    """It has a password in it."""
    with pytest.raises(ConfigurationError, match="rediss:// with TLS") as caught:
        RedisKeystore("rediz://worker:secret@localhost:1/0")
    assert "secret" not in str(caught.value)


async def test_an_authority_of_the_keystore_that_is_not_there_is_named_as_the_reason() -> None:
    store = RedisKeystore("rediss://worker:secret@127.0.0.1:1/0?ssl_ca_certs=/none/ca.pem")
    with pytest.raises(KeystoreSilentError, match="a file of TLS"):
        await store.read([b"clg:x"])
    await store.close()
