"""
The form of `ingest.toml`: the sources of webhooks and raw notifications, each with its mapping and its secrets.

Rules: 1. An unknown word is refused.  2. The name of a source is the path of its webhooks, and in the header of its
          records.  3. A secret is the name of a file, never the secret.
Source: docs/reference/ingest.md; `schemas/ingest.json`.
"""

from typing import Annotated, Literal

import msgspec

from calllog_guard.core.sources.model import MappingPart, MappingSettings

SchemeName = Literal["zoom", "livekit", "jaas", "daily", "twilio", "bigbluebutton", "bearer", "basic"]


class SourceRow(MappingPart, omit_defaults=True, frozen=True, kw_only=True):
    """
    One source of messages.

    Args:
        name: Lower case, digits and `-`: webhooks come to `/NAME`, records of `calllog.notifications` name it.
        mapping: A name of `source list`, or a file; a relative one lies beside this file.
        settings: What of the mapping is the user's to say.
        scheme: How the platform signs; without it, nothing is taken over HTTP.
        secrets: Files with the platform's secret, beside this file: one, or two while one is replaced.
        url: The address that the platform calls, where it signs that: `https://hooks.example.org/NAME`.
        id: Whose secret it is: LiveKit's API key, the user of `basic`. Empty: any.
        window_s: How far a signed time may be from the own clock, in seconds.

    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$(?!\n)")]
    mapping: Annotated[str, msgspec.Meta(min_length=1)]
    settings: MappingSettings = MappingSettings()
    scheme: SchemeName | None = None
    secrets: Annotated[tuple[str, ...], msgspec.Meta(max_length=2)] = ()
    url: Annotated[str, msgspec.Meta(pattern=r"^(https?://[^\s?#]+)?$(?!\n)")] = ""
    id: str = ""
    window_s: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 300


class IngestFile(MappingPart, omit_defaults=True, frozen=True, kw_only=True):
    """
    From where a `worker ingest` takes messages.

    Args:
        v: The version of this form.
        source: The sources.

    """

    v: Literal[1]
    source: Annotated[tuple[SourceRow, ...], msgspec.Meta(min_length=1, max_length=1000)]
