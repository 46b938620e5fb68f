"""
The secure profile: TLS on every port, a user with a password per role, and no right that the tables do not name.

Rules: 1. Passwords and certificates are made anew at every start; they stand in files for their owner alone, never in
          arguments, logs or the environment.  2. The stack itself is the brokers' super user, by its certificate.
Source: Apache Kafka 4.1: SSL, SASL/SCRAM, authorization; `core/rights/grants.py`, `core/rights/redis_rules.py`.
"""

import hashlib
import json
import re
import secrets
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ResourcePattern,
    ResourceType,
    UserScramCredentialUpsertion,
)

from calllog_guard.core.rights.grants import KEYSTORE_USERS, USERS, Grant, grants
from calllog_guard.core.rights.redis_rules import rules
from calllog_guard.core.topics import Topic
from calllog_guard.devstack.certificates import SERVER, make, write_private
from calllog_guard.devstack.kafka_admin import administration
from calllog_guard.errors import ConfigurationError
from calllog_guard.settings import PREFIX, Settings

MECHANISM: Final = "SCRAM-SHA-512"
_PASSWORD_BYTES: Final = 32


class Secured:
    """Certificates, users and passwords of one stack, in its folder."""

    def __init__(self, base: Path) -> None:
        self.folder = base / "users"
        self.ca, self.server = self.folder / "ca.pem", self.folder / "server.pem"
        self._kafka = {user: secrets.token_urlsafe(_PASSWORD_BYTES) for user in USERS}
        self._redis = {user: secrets.token_urlsafe(_PASSWORD_BYTES) for user in KEYSTORE_USERS}

    def prepare(self, redis_port: int) -> None:
        """Make the certificates, and each user's secrets in files of their own."""
        make(self.folder)
        for user, password in self._kafka.items():
            write_private(self.folder / f"{user}.kafka.json", json.dumps(self._options(user, password)).encode())
        for user, password in self._redis.items():
            url = f"rediss://{user}:{password}@127.0.0.1:{redis_port}/0?ssl_ca_certs={quote(str(self.ca))}"
            write_private(self.folder / f"{user}.redis", url.encode())

    def _options(self, user: str, password: str) -> dict[str, Any]:
        return {
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": MECHANISM,
            "sasl_plain_username": user,
            "sasl_plain_password": password,
            "ssl_cafile": str(self.ca),
        }

    # --- Kafka ------------------------------------------------------------------------------------------------------

    @property
    def broker(self) -> dict[str, str]:
        """What a broker's settings have instead of, or beside, the usual."""
        return {
            "listener.security.protocol.map": "CLIENT:SASL_SSL,BROKER:SSL,CONTROLLER:SSL",
            "inter.broker.listener.name": "BROKER",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.server).replace("\\", "\\\\"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.ca).replace("\\", "\\\\"),
            "listener.name.broker.ssl.client.auth": "required",
            "listener.name.controller.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": MECHANISM,
            "listener.name.client.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:CN={SERVER}",
            "allow.everyone.if.no.acl.found": "false",
            "delete.topic.enable": "false",  # the auditor's right to delete records is also that to delete the topic
        }

    @property
    def administration(self) -> dict[str, Any]:
        """The options with which the stack talks to the brokers' own listener, as their super user."""
        return {
            "security_protocol": "SSL",
            "ssl_cafile": str(self.ca),
            "ssl_certfile": str(self.server),
            "ssl_keyfile": str(self.server),
        }

    def grant(self, brokers: str) -> None:
        """
        Make the users and give them their rights; doing it again changes nothing.

        Raises:
            ConfigurationError: The brokers refused one of them.

        """
        settings = Settings()
        client = administration(brokers, **self.administration)
        try:
            made = client.alter_user_scram_credentials(
                [UserScramCredentialUpsertion(user, MECHANISM, word) for user, word in self._kafka.items()]
            )
            rights = [
                _acl(grant) for grant in grants(settings.topic, settings.calllog_prefix, [settings.topic(Topic.EVENTS)])
            ]
            refused = client.create_acls(rights)["failed"]
        finally:
            client.close()
        if wrong := [*filter(None, made.values()), *map(str, refused)]:
            raise ConfigurationError(f"the brokers refused users or rights: {wrong[0]}")

    # --- Redis ------------------------------------------------------------------------------------------------------

    def redis_users(self, release: tuple[int, int]) -> list[str]:
        """The users as redis.conf of a release takes them, with hashes of their passwords."""
        lines = ["user default off"]
        for user, password in self._redis.items():
            lines.append(
                f"user {user} on #{hashlib.sha256(password.encode()).hexdigest()} {rules(user, release=release)}"
            )
        return lines

    def redis_password(self, user: str) -> str:
        """The password of a user of Redis."""
        return self._redis[user]

    # --- users ------------------------------------------------------------------------------------------------------

    def environment(self, user: str) -> dict[str, str]:
        """The settings that are this user's alone: the names of the files that hold its secrets."""
        found = {f"{PREFIX}KAFKA_SECURITY_FILE": str(self.folder / f"{user}.kafka.json")}
        if user in KEYSTORE_USERS:
            found[f"{PREFIX}KEYSTORE_FILE"] = str(self.folder / f"{user}.redis")
        return found


def _acl(grant: Grant) -> ACL:
    pattern = ResourcePattern(ResourceType[grant.kind.upper()], grant.name)
    operation = ACLOperation[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", grant.operation).upper()]
    return ACL(f"User:{grant.user}", "*", operation, ACLPermissionType.ALLOW, pattern)
