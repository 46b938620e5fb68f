"""
What each trust domain may do with the wrapping keys, as policies of AWS, Vault and OpenBao, from one table of rights.

Rules: 1. A domain opens what lies under the keys that all share, the epochs' keys and its own; no other.  A backend
       opens what vouches for profiles alone: under it lies nothing that is secret.  Who takes in and who pairs what
       platforms report opens its own, and what vouches; who pairs, the weeks' keys of moments.
       2. The auditor alone makes and destroys epochs, and only epochs.  3. The auditor wraps an
       epoch's key, and under what vouches for letters. Else only the operator wraps, who has every right: guard its
       credentials.
       4. Nobody takes back what was destroyed.  5. In AWS a key with a name gets no second one: by the name of an epoch
          the auditor could destroy another's.
Source: AWS KMS, policy conditions (encryption context, resource tags); Vault, policies, transit engine; `grants.py`.
"""

import json
from typing import Any, Final

from calllog_guard.core.rights.grants import (
    DOMAIN_KEY,
    DOMAINS,
    SECRETS,
    SHARERS,
    VOUCHES_LETTERS,
    VOUCHES_PROFILES,
    is_shared,
)

OPERATOR: Final = "operator"
BACKEND: Final = "backend"
PRINTED: Final = (*DOMAINS, BACKEND, OPERATOR)
"""Whose policies there are."""
_MAKES: Final = "audit"
_SHARED: Final = "root"
_EPOCHS: Final = "2???-W??"
_LETTERS: Final = "letters-*"
"""The weeks' keys of dead letters, which the auditor makes and destroys, and the operator opens."""
_MOMENTS: Final = "moments-*"
"""Those of moments, likewise; who pairs moments opens them."""
_PAIRS: Final = "pair"
_NEVER: Final = ["kms:CancelKeyDeletion", "kms:EnableKey", "kms:CreateGrant", "kms:PutKeyPolicy", "kms:UpdateAlias"]


def keys_of(domain: str) -> list[str]:
    """The wrapping keys whose blobs a domain opens, beside the epochs'; the operator's are all."""
    if domain == BACKEND:
        return [VOUCHES_PROFILES]
    private = DOMAINS if domain == OPERATOR else (domain,)
    apart = {each for name, domains in SECRETS.items() if not is_shared(name) for each in domains}
    own = [each for each in private if each in apart]
    shared = [_SHARED] if domain in {*SHARERS, OPERATOR} else []
    return [*shared, VOUCHES_PROFILES, VOUCHES_LETTERS, *(DOMAIN_KEY + each for each in own)]


def _passing(domain: str) -> list[str]:
    """The patterns of the keys that come and go and that a domain opens."""
    epochs = [_EPOCHS] if domain in {*SHARERS, OPERATOR} else []
    letters = [_LETTERS] if domain in {_MAKES, OPERATOR} else []
    return [*epochs, *letters, *([_MOMENTS] if domain in {_MAKES, OPERATOR, _PAIRS} else [])]


def aws_policy(domain: str, prefix: str) -> str:
    """An identity's policy; the encryption context that it names is part of every blob."""
    ours = {"kms:EncryptionContext:calllog-guard": prefix}

    def only(names: list[str]) -> dict[str, Any]:
        return {"StringEquals": ours, "StringLike": {"kms:EncryptionContext:epoch": names}}

    passing = _passing(domain)
    statements: list[dict[str, Any]] = [
        _allow("Open", ["kms:Decrypt"], only([*keys_of(domain), *passing])),
        _allow("Look", ["kms:DescribeKey", "kms:ListAliases"]),
    ]
    if domain in {_MAKES, OPERATOR}:
        names = [*passing, VOUCHES_LETTERS] if domain == _MAKES else [*keys_of(domain), *passing]
        aliases = [f"alias/{prefix}/{name}" for name in (passing if domain == _MAKES else names)]
        tag = {"StringEquals": {"aws:RequestTag/calllog-guard": prefix}}
        nameless = {"Null": {"kms:ResourceAliases": "true"}}
        named = {"ForAnyValue:StringLike": {"kms:ResourceAliases": [f"alias/{prefix}/{each}" for each in passing]}}
        keys, destroy = "arn:aws:kms:*:*:key/*", ["kms:DisableKey", "kms:ScheduleKeyDeletion"]
        statements += [
            _allow("Wrap", ["kms:Encrypt"], only(names)),
            _allow("Make", ["kms:CreateKey", "kms:TagResource"], tag),
            _allow("Name", ["kms:CreateAlias"], nameless, keys),
            _allow("NameIt", ["kms:CreateAlias"], None, [f"arn:aws:kms:*:*:{alias}" for alias in aliases]),
            _allow("Destroy", destroy, named, keys),
            _allow("DestroyDoubles", destroy, nameless, keys),
            _allow("Unname", ["kms:DeleteAlias"], named, keys),
            _allow(
                "UnnameIt", ["kms:DeleteAlias"], None, [f"arn:aws:kms:*:*:alias/{prefix}/{each}" for each in passing]
            ),
        ]
    statements.append({"Sid": "Never", "Effect": "Deny", "Action": _NEVER, "Resource": "*"})
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)


def _allow(
    name: str, actions: list[str], condition: dict[str, Any] | None = None, resource: str | list[str] = "*"
) -> dict[str, Any]:
    found = {"Sid": name, "Effect": "Allow", "Action": actions, "Resource": resource}
    return found | ({"Condition": condition} if condition else {})


def vault_policy(domain: str, prefix: str, mount: str = "transit") -> str:
    """A token's policy; no `create` on encrypt, which would make a destroyed key anew."""
    keys = [f"{prefix}-{name}" for name in keys_of(domain)]
    passing = [f"{prefix}-{each.replace(_EPOCHS, '2*')}" for each in _passing(domain)]
    may: dict[str, list[str]] = {f"{mount}/keys": ["list"]}
    for key in (*keys, *passing):
        may[f"{mount}/decrypt/{key}"] = ["update"]
        may[f"{mount}/keys/{key}"] = ["read"]
    if domain in {_MAKES, OPERATOR}:
        for key in (*(keys if domain == OPERATOR else [f"{prefix}-{VOUCHES_LETTERS}"]), *passing):
            may[f"{mount}/encrypt/{key}"] = ["update"]
            if domain == OPERATOR or key in passing:
                may[f"{mount}/keys/{key}"] = ["read", "create", "update", *(["delete"] if key in passing else [])]
    return "".join(f'path "{path}" {{ capabilities = {json.dumps(words)} }}\n' for path, words in may.items())


POLICIES: Final = {"awskms": aws_policy, "vault": vault_policy}
"""By the scheme of `CALLLOG_GUARD_KMS`."""
