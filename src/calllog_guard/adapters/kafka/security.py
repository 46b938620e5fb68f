"""
How our Kafka clients prove who they are, and what a refusal says: options of TLS and SASL, for both libraries alike.

Rules: 1. One context of TLS for both: both verify the same.  2. An option without effect is refused:
          a CA without the protocol would talk in the clear.  3. A refusal is told apart from silence, in words.
Source: aiokafka and kafka-python, connection options; KIP-651, KIP-900.
"""

import asyncio
import json
import logging
import re
import ssl
from collections.abc import Mapping
from typing import Any, Final

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError

from calllog_guard.errors import ConfigurationError, LogRefusedError, LogSilentError

_KINDS: Final[dict[str, type]] = {
    **dict.fromkeys(("security_protocol", "sasl_mechanism", "sasl_plain_username", "sasl_plain_password"), str),
    **dict.fromkeys(("sasl_kerberos_service_name", "sasl_kerberos_domain_name", "client_id"), str),
    **dict.fromkeys(("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_crlfile", "ssl_ciphers"), str),
    "ssl_check_hostname": bool,
    **dict.fromkeys(("request_timeout_ms", "connections_max_idle_ms", "metadata_max_age_ms"), int),
}
_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI")
_SETTING: Final = "CALLLOG_GUARD_KAFKA_SECURITY"
_PROVING: Final = ("security_protocol", "ssl_context", "sasl_")
_WHY_S: Final = 5.0

for _library in ("aiokafka", "kafka"):  # in a program of somebody else's too: their debug lines print keys and values
    logging.getLogger(_library).setLevel(logging.ERROR)

_REFUSALS: Final = {
    "SaslAuthenticationFailed": "refuses this user or this password",
    "AuthenticationFailed": "refuses this user or this password",
    "IllegalSaslState": "asks for another way of authentication",
    "UnsupportedSaslMechanism": "does not speak this sasl_mechanism",
    "TopicAuthorizationFailed": "does not let this user do this with a topic",
    "GroupAuthorizationFailed": "does not let this user take part in its consumer group",
    "ClusterAuthorizationFailed": "does not let this user write anywhere, or do this to the cluster",
}
"""By the beginning of the error's name, which both libraries share."""


def security(text: str) -> dict[str, Any]:
    """
    Client options of Kafka as JSON (TLS, SASL), by the names of kafka-python.

    Raises:
        ConfigurationError: No JSON object; an option the clients do not share, of a wrong kind, or without effect.

    """
    wrong = f"{_SETTING} must be a JSON object of client options"
    try:
        found = json.loads(text)
    except ValueError:
        raise ConfigurationError(wrong) from None
    if not isinstance(found, dict) or found.keys() - _KINDS.keys():
        raise ConfigurationError(f"{wrong}: any of {', '.join(sorted(_KINDS))}")
    for name, value in found.items():
        if type(value) is not _KINDS[name]:
            raise ConfigurationError(f"{_SETTING}: {name} must be of the kind {_KINDS[name].__name__}")
    _consistent(found)
    return found


def _consistent(found: Mapping[str, Any]) -> None:
    protocol, mechanism = found.get("security_protocol", "PLAINTEXT"), found.get("sasl_mechanism")
    if protocol not in _PROTOCOLS:
        raise ConfigurationError(f"{_SETTING}: security_protocol must be one of {', '.join(_PROTOCOLS)}")
    for start, wanted in (("ssl_", ("SSL", "SASL_SSL")), ("sasl_", ("SASL_PLAINTEXT", "SASL_SSL"))):
        if protocol not in wanted and any(name.startswith(start) for name in found):
            raise ConfigurationError(
                f"{_SETTING}: options {start}… have no effect with security_protocol {protocol}: "
                f"set it to {' or '.join(wanted)}, or leave them out"
            )
    if protocol.startswith("SASL") and mechanism not in _MECHANISMS:
        raise ConfigurationError(f"{_SETTING}: sasl_mechanism must be one of {', '.join(_MECHANISMS)}")
    named = {"sasl_plain_username", "sasl_plain_password"} <= found.keys()
    if protocol.startswith("SASL") and mechanism != "GSSAPI" and not named:
        raise ConfigurationError(f"{_SETTING}: {mechanism} needs sasl_plain_username and sasl_plain_password")


def connecting(options: Mapping[str, Any]) -> dict[str, Any]:
    """
    The same options as either library takes them: what is said of TLS becomes a context.

    Raises:
        ConfigurationError: A file of TLS cannot be used.

    """
    plain = {name: value for name, value in options.items() if not name.startswith("ssl_")}
    if "SSL" not in options.get("security_protocol", ""):
        return plain
    try:
        return plain | {"ssl_context": _context(options)}
    except OSError as error:
        raise ConfigurationError(
            f"{_SETTING}: a file of TLS, or ssl_ciphers, cannot be used: {error.strerror or error}"
        ) from None


def _context(options: Mapping[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.get("ssl_cafile"))
    context.check_hostname = options.get("ssl_check_hostname", True)
    if options.get("ssl_ciphers"):
        context.set_ciphers(options["ssl_ciphers"])
    if options.get("ssl_certfile"):
        # a word for a key that is sealed without one: OpenSSL would ask the terminal, and wait
        word = options.get("ssl_password", "")
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"), word)
    if options.get("ssl_crlfile"):
        context.load_verify_locations(options["ssl_crlfile"])
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


# --- refusals -------------------------------------------------------------------------------------------------------


def unanswered(error: BaseException) -> LogSilentError:
    """What an error of either library means: Kafka refuses us, or does not answer; either way topics are unknown."""
    name = type(error).__name__
    if isinstance(error, ssl.SSLCertVerificationError):
        return LogRefusedError(
            f"the certificate of Kafka is not accepted ({error.verify_message.rstrip('.')}): see ssl_cafile in "
            f"{_SETTING}"
        )
    if isinstance(error, ssl.SSLError):
        return LogRefusedError(f"TLS with Kafka fails ({error.reason}): is security_protocol in {_SETTING} the port's?")
    for start, words in _REFUSALS.items():
        if name.startswith(start):
            topics = error.args[0] if error.args and isinstance(error.args[0], set | frozenset) else error.args[:1]
            which = ", ".join(
                sorted(each for each in topics if isinstance(each, str) and re.fullmatch(r"[\w.-]+", each))
            )
            return LogRefusedError(f"Kafka {words} ({which or name}): see {_SETTING}, and the rights of the user")
    return LogSilentError(f"Kafka does not answer ({name})")


async def unreached(error: BaseException, servers: str, options: Mapping[str, Any]) -> LogSilentError:
    """Why a client did not start: aiokafka tells its log alone, so that one connection is made for its error."""
    if isinstance(refused := unanswered(error), LogRefusedError):
        return refused
    proving = {name: value for name, value in options.items() if name.startswith(_PROVING)}
    closed = False
    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            async with asyncio.timeout(_WHY_S):
                (await create_conn(host.strip("[]"), int(port), **proving)).close()
        except (KafkaError, OSError, TimeoutError, ValueError) as why:
            found = unanswered(why)
            if isinstance(found, LogRefusedError):
                return found
            closed = closed or isinstance(why, KafkaConnectionError)
        else:
            closed = True  # it takes the connection, and not the first question
    if closed:
        return LogRefusedError(f"Kafka closes the connection: is security_protocol in {_SETTING} that of the port?")
    return LogSilentError(f"Kafka at {servers} does not answer ({type(error).__name__})")
