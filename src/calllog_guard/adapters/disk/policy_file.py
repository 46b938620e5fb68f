"""The policy's file with the key files beside it, read and checked."""

import tomllib
from pathlib import Path

from calllog_guard.core.policy.active import Policy
from calllog_guard.core.policy.changes.publication import KeyOf
from calllog_guard.core.policy.checks import check_versions, read_form
from calllog_guard.errors import ConfigurationError


def key_files(folder: Path) -> KeyOf:
    """Reads the key files of a folder by name."""
    return lambda name: _read(folder / name)


def _read(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}; run calllog-guard init, or mend the path"
        ) from None
    return raw


def load_policy(path: Path) -> Policy:
    """
    Read and check the policy file with the key files it names; whether it is lawful is asked apart (`Policy.unlawful`).

    Raises:
        ConfigurationError: What was found, where, and what to do.

    """
    raw = _read(path)
    try:
        policy = Policy(read_form(tomllib.loads(raw.decode())), key_files(path.parent))
        check_versions(policy.file, policy.public_key)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    return policy
