"""
Mapping files: those that are shipped, and a user's own.

A name without a dot and a slash is a shipped one; all else is a file.
"""

import tomllib
from collections.abc import Mapping as Dict
from pathlib import Path
from typing import Any, Final

import msgspec

from calllog_guard.core.codec import reason_of
from calllog_guard.core.sources.inputs import dialect_of
from calllog_guard.core.sources.mapping import Mapping
from calllog_guard.core.sources.model import MappingFile, MappingSettings
from calllog_guard.errors import ConfigurationError

SHIPPED: Final = Path(__file__).parents[2] / "sources"
_MOST_BYTES: Final = 1 << 20


def shipped() -> list[str]:
    """The names of the mappings that are shipped."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def text_of_mapping(name: str) -> str:
    """
    The text of a mapping.

    Raises:
        ConfigurationError: None is shipped by that name, and there is no such file.

    """
    known = shipped()
    if name not in known and not {".", "/", "\\"} & set(name):
        raise ConfigurationError(f"no mapping is named {name}: take {', '.join(known)}, or a file NAME.toml")
    path = SHIPPED / f"{name}.toml" if name in known else Path(name)
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise ConfigurationError("the mapping has more than a megabyte: it is no mapping")
        return raw.decode()
    except OSError as error:
        raise ConfigurationError(f"the mapping cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError("the mapping is no text in UTF-8") from None


def mapping_file(text: str, given: Dict[str, str]) -> MappingFile:
    """
    A mapping, with what its user has set.

    Raises:
        ConfigurationError: It is not of the form, with the place of what is wrong.

    """
    try:
        found: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"the mapping is no TOML: {error}") from None
    if unknown := given.keys() - set(MappingSettings.__struct_fields__):
        raise ConfigurationError(
            f"--set knows no {', '.join(sorted(unknown))}: it sets {', '.join(MappingSettings.__struct_fields__)}"
        )
    try:
        settings = found.get("settings", {})
        return msgspec.convert(
            found | {"settings": settings | dict(given) if isinstance(settings, dict) else settings}, MappingFile
        )
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"the mapping is not of the form ({reason_of(error)}): {error}; see docs/reference/mapping.md"
        ) from None


def mapping(name: str, given: Dict[str, str], dialect: Dict[str, str] | None = None) -> Mapping:
    """
    A mapping by its name or its file, ready to be used, with what is said of its CSV.

    Raises:
        ConfigurationError: There is none, or it is wrong, or it reads no CSV.

    """
    file = mapping_file(text_of_mapping(name), given)
    if dialect:
        if file.input.form != "csv":
            raise ConfigurationError("--dialect says how CSV is written, and this mapping reads none")
        csv = dialect_of(dialect, file.input.csv)
        file = msgspec.structs.replace(file, input=msgspec.structs.replace(file.input, csv=csv))
    return Mapping(file)
