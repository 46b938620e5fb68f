"""
AWS KMS: one symmetric key per epoch, found by its alias; the epoch is part of the encryption context.

The key's material is made inside AWS and never leaves it. Destroying an epoch disables its key at once, scheduling the
deletion with the shortest window AWS knows; until that has passed an administrator of the account could take both back,
which is why receipts count `delay_days`. Rejected: imported material, which could be deleted at once, but we would have
held it ourselves, and AWS does not promise to keep it: a loss would erase everybody.
Rules: 1. The alias goes last, so that a destruction that was cut short is seen in `epochs()` and repeated.
       2. One attempt with short timeouts: whoever called decides whether to wait.
Source: AWS KMS API reference (Encrypt, ScheduleKeyDeletion, error codes).
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.errors import EntryCorruptError, EpochUnknownError, GuardError, KmsForbiddenError, KmsSilentError

_WINDOW_DAYS: Final = 7
"""The shortest that ScheduleKeyDeletion accepts."""
_LIMITS: Final = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 1})
_DYING: Final = frozenset({"PendingDeletion", "PendingReplicaDeletion"})
_VISIBLE_TRIES: Final = 20
_ERRORS: Final[Mapping[str, tuple[type[GuardError], str]]] = {
    "NotFoundException": (EpochUnknownError, "the KMS does not know the epoch {}"),
    "DisabledException": (EpochUnknownError, "the KMS has the epoch {} disabled"),
    "KMSInvalidStateException": (EpochUnknownError, "the KMS is about to delete the epoch {}"),
    "InvalidCiphertextException": (EntryCorruptError, "a blob wrapped under {} does not open"),
    "AccessDeniedException": (KmsForbiddenError, "the KMS does not let these credentials use {}"),
    "IncorrectKeyException": (EntryCorruptError, "a blob wrapped under {} is another epoch's"),
}
"""Every other answer says nothing about the epoch, as refused access says nothing: wait, and tell its code."""


@contextmanager
def _ours(name: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        kind, text = _ERRORS.get(
            code, (KmsSilentError, f"the KMS refused or failed ({code}): check its rights and state")
        )
        raise kind(text.format(name)) from None
    except BotoCoreError as error:  # no route, no time, no credentials
        raise KmsSilentError(f"the KMS does not answer ({type(error).__name__})") from None


class AwsKms:
    """See Kms."""

    delay_days: Final = _WINDOW_DAYS

    def __init__(self, region: str, prefix: str, endpoint: str | None = None) -> None:
        self._prefix = prefix
        with _ours("none"):
            self._client: Any = boto3.client("kms", region_name=region, endpoint_url=endpoint, config=_LIMITS)

    def _alias(self, name: str) -> str:
        return f"alias/{self._prefix}/{name}"

    def _bound(self, name: str) -> dict[str, str]:
        return {"calllog-guard": self._prefix, "epoch": name}

    def _found(self, name: str) -> Any:
        try:
            return self._client.describe_key(KeyId=self._alias(name))["KeyMetadata"]
        except self._client.exceptions.NotFoundException:
            return None

    def create_epoch(self, name: str) -> None:
        """See Kms; returns when the alias is visible, which AWS does not promise at once."""
        with _ours(name):
            if self._found(name) is not None:
                return
            tags = [{"TagKey": "calllog-guard", "TagValue": self._prefix}]
            key = self._client.create_key(Description=f"calllog-guard epoch {name}", Tags=tags)["KeyMetadata"]["KeyId"]
            try:
                self._client.create_alias(AliasName=self._alias(name), TargetKeyId=key)
            except self._client.exceptions.AlreadyExistsException:  # someone was faster; nothing is under ours
                self._client.schedule_key_deletion(KeyId=key, PendingWindowInDays=_WINDOW_DAYS)
            for _ in range(_VISIBLE_TRIES):
                if self._found(name) is not None:
                    return
                time.sleep(0.5)
        raise KmsSilentError(f"the KMS does not show the new epoch {name} yet")

    def wrap(self, name: str, secret: Secret) -> bytes:
        """See Kms."""
        with _ours(name):
            made = self._client.encrypt(
                KeyId=self._alias(name), Plaintext=secret.expose(), EncryptionContext=self._bound(name)
            )
        return bytes(made["CiphertextBlob"])

    def unwrap(self, name: str, blob: bytes) -> Secret:
        """See Kms."""
        with _ours(name):
            opened = self._client.decrypt(
                KeyId=self._alias(name), CiphertextBlob=blob, EncryptionContext=self._bound(name)
            )
        return Secret(opened["Plaintext"])

    def epochs(self) -> list[str]:
        """See Kms."""
        start = self._alias("")
        with _ours("any"):
            pages = self._client.get_paginator("list_aliases").paginate()
            names = [alias["AliasName"] for page in pages for alias in page["Aliases"]]
        return sorted(name.removeprefix(start) for name in names if name.startswith(start))

    def destroy_epoch(self, name: str) -> None:
        """See Kms."""
        with _ours(name):
            key = self._found(name)
            if key is None:
                return
            if key["KeyState"] not in _DYING:
                self._client.disable_key(KeyId=key["KeyId"])
                self._client.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=_WINDOW_DAYS)
            self._client.delete_alias(AliasName=self._alias(name))
