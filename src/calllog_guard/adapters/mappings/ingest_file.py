"""
`ingest.toml`: the sources of an installation, with their mappings and secrets, read and checked as a whole.

Rules: 1. A file that it names lies beside it, unless its name is absolute.  2. No error quotes a secret.
"""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from calllog_guard.adapters.mappings.files import mapping, shipped
from calllog_guard.core.codec import reason_of
from calllog_guard.core.sources.mapping import Mapping
from calllog_guard.core.webhooks.form import IngestFile, SourceRow
from calllog_guard.core.webhooks.intake import IngestSource
from calllog_guard.core.webhooks.signatures import SCHEMES, SourceKeys, usable
from calllog_guard.errors import ConfigurationError

_MOST_BYTES: Final = 1 << 20
_OTHERS_READ: Final = 0o004


def ingest_rows(path: Path) -> dict[str, SourceRow]:
    """
    What the file says of each source, by its name; mappings and secrets are not read.

    Raises:
        ConfigurationError: What is wrong, of which source, and what to do.

    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES)
        form: Any = tomllib.loads(raw.decode())
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}; write it as docs/reference/ingest.md says, or set "
            "CALLLOG_GUARD_INGEST"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from None
    try:
        file = msgspec.convert(form, IngestFile)
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"{path} is not of the form ({reason_of(error)}): {error}; see docs/reference/ingest.md"
        ) from None
    if twice := _twice(each.name for each in file.source):
        raise ConfigurationError(f"{path}: several sources are named {', '.join(twice)}: name each once")
    return {row.name: row for row in file.source}


def ingest_sources(path: Path) -> dict[str, IngestSource]:
    """
    The sources by their names.

    Raises:
        ConfigurationError: What is wrong, of which source, and what to do.

    """
    return {name: _source(path, row) for name, row in ingest_rows(path).items()}


def source_mapping(folder: Path, row: SourceRow) -> Mapping:
    """
    The mapping of a source; `folder` is that of the file.

    Raises:
        ConfigurationError: There is none, or it takes no messages.

    """
    given = {name: str(each) for name, each in msgspec.to_builtins(row.settings).items()}
    name = row.mapping if row.mapping in shipped() or not {".", "/"} & set(row.mapping) else str(folder / row.mapping)
    found = mapping(name, given)
    if found.file.input.form == "csv":
        raise ConfigurationError("its mapping takes rows of a file: `calllog-guard import` reads these")
    return found


def _twice(names: Iterable[str]) -> list[str]:
    known = list(names)
    return sorted({each for each in known if known.count(each) > 1})


def _source(path: Path, row: SourceRow) -> IngestSource:
    try:
        return _checked(path.parent, row)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: source {row.name}: {error}") from None


def _checked(folder: Path, row: SourceRow) -> IngestSource:
    found = source_mapping(folder, row)
    if row.scheme is None:
        if row.secrets or row.url or row.id:
            raise ConfigurationError(f"it has a secret and no scheme: name one of {', '.join(SCHEMES)}")
        return IngestSource(row.name, found)
    scheme = SCHEMES[row.scheme]
    if not row.secrets:
        raise ConfigurationError("it has a scheme and no secret: name one or two files in `secrets`")
    if scheme.needs_url and not row.url:
        raise ConfigurationError(f"{row.scheme} signs the address that it calls: say it in `url`")
    secrets = [_secret(folder / each, row.scheme) for each in row.secrets]
    return IngestSource(row.name, found, row.scheme, SourceKeys(secrets, row.window_s, row.id), row.url)


def _secret(path: Path, scheme: str) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES)
        others = path.stat().st_mode & _OTHERS_READ
    except OSError as error:
        raise ConfigurationError(f"its secret {path.name} cannot be read: {error.strerror}") from None
    if others:
        raise ConfigurationError(f"everybody on this machine can read its secret {path.name}: chmod 600 it")
    return usable(SCHEMES[scheme], raw)
