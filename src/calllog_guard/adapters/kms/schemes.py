"""
Which KMS a setting names, by one table of schemes.

| address | what |
|---|---|
| `local:DIRECTORY` | files, for development |
| `awskms:REGION` or `awskms://HOST?region=REGION&prefix=P` | AWS KMS, at its public or a private endpoint |
| `vault://HOST:PORT?snapshots=DAYS&mount=transit&prefix=P&token_file=F` | HashiCorp Vault or OpenBao |

`tls=off` speaks plain HTTP, to this machine only. An option that is not listed is refused.
"""

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from calllog_guard.adapters.kms.local import LocalKms
from calllog_guard.errors import ConfigurationError
from calllog_guard.ports.keys import Kms

PREFIX: Final = "calllog-guard"
Options = Mapping[str, str]


def kms_at(address: str) -> Kms:
    """
    The KMS at an address; nothing is asked of it yet.

    Raises:
        ConfigurationError: What is wrong with the address.

    """
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        raise ConfigurationError("CALLLOG_GUARD_KMS has a host or port that is none") from None
    if parts.scheme not in _SCHEMES:
        raise ConfigurationError(f"CALLLOG_GUARD_KMS {address!r}: the schemes are {', '.join(_SCHEMES)}")
    make, known = _SCHEMES[parts.scheme]
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if options.keys() - known:
        raise ConfigurationError(f"CALLLOG_GUARD_KMS: unknown {sorted(options.keys() - known)}; known {sorted(known)}")
    return make(parts, options)


def ring_folder(address: str, folder: str) -> Path:
    """
    Where wrapped blobs lie: the folder of a setting, or the development KMS's own.

    Raises:
        ConfigurationError: A remote KMS without a folder.

    """
    scheme, _, place = address.partition(":")
    if not folder and scheme != "local":
        raise ConfigurationError("a remote KMS needs CALLLOG_GUARD_RING: a folder that every worker's machine sees")
    return Path(folder or place)


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _url(parts: SplitResult, options: Options) -> str:
    if not parts.hostname:
        raise ConfigurationError("CALLLOG_GUARD_KMS names no host")
    plain = options.get("tls") == "off"
    if plain and not _loopback(parts.hostname):
        raise ConfigurationError("CALLLOG_GUARD_KMS: tls=off is for a server on this machine only")
    return f"{'http' if plain else 'https'}://{parts.netloc}"


def _local(parts: SplitResult, _: Options) -> Kms:
    if not parts.netloc + parts.path:
        raise ConfigurationError("CALLLOG_GUARD_KMS names no folder: local:DIRECTORY")
    return LocalKms(Path(parts.netloc + parts.path))


def _aws(parts: SplitResult, options: Options) -> Kms:
    try:
        from calllog_guard.adapters.kms.aws import AwsKms  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise ConfigurationError("AWS KMS needs more libraries: pip install 'calllog-guard[aws]'") from None
    region = parts.path or options.get("region", "")
    if not region:
        raise ConfigurationError("CALLLOG_GUARD_KMS names no region: awskms:REGION, or &region=REGION")
    endpoint = _url(parts, options) if parts.netloc else None
    return AwsKms(region, options.get("prefix", PREFIX), endpoint)


def _vault(parts: SplitResult, options: Options) -> Kms:
    try:
        from calllog_guard.adapters.kms.vault import VaultKms  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError("Vault needs one more library: pip install 'calllog-guard[vault]'") from None
    days, token = options.get("snapshots", ""), options.get("token_file")
    if not days.isdecimal():
        raise ConfigurationError(
            "CALLLOG_GUARD_KMS: say how many days snapshots of Vault's storage are kept, since they hold its keys: "
            "&snapshots=DAYS"
        )
    return VaultKms(
        _url(parts, options),
        options.get("prefix", PREFIX),
        mount=options.get("mount", "transit"),
        token_file=Path(token) if token else None,
        delay_days=int(days),
    )


_SCHEMES: Final[dict[str, tuple[Callable[[SplitResult, Options], Kms], frozenset[str]]]] = {
    "local": (_local, frozenset()),
    "awskms": (_aws, frozenset({"region", "prefix", "tls"})),
    "vault": (_vault, frozenset({"snapshots", "mount", "prefix", "token_file", "tls"})),
}
