"""The reference page of `ingest.toml`: its fields, the schemes of signatures, what a webhook is answered."""

from collections.abc import Iterator
from typing import Final

from doc_tables import cell
from mapping_page import parts_of

from calllog_guard.core.webhooks.form import IngestFile
from calllog_guard.core.webhooks.signatures import SCHEMES

INGEST_LEAD: Final = (
    "`worker ingest` takes what platforms send, over HTTP or from the topic `calllog.notifications`. `ingest.toml` "
    "names its sources; `schemas/ingest.json` is the schema of that file, `CALLLOG_GUARD_INGEST` says where it lies. "
    "[Bring calls of a platform](../how-to/platforms.md) has the steps for each platform."
)
_ANSWERS: Final = (
    (200, "what becomes of it is acknowledged by Kafka; also a message that is skipped, or refused: a dead letter"),
    (401, "no secret of the source has signed it, or its time is not within `window_s`; nothing is kept of it"),
    (404, "no source has this path, or the source has no `scheme`"),
    (405, "another method than POST"),
    (408, "the body did not come within 5 s"),
    (413, "the body is larger than `CALLLOG_GUARD_INGEST_BODY_BYTES`"),
    (415, "not the type of content of its mapping, or a content encoding"),
    (
        503,
        "Kafka has not acknowledged within `CALLLOG_GUARD_INGEST_ANSWER_S`, or 256 requests are at work: send it again",
    ),
)
_REPLAYS: Final = (
    "Where no time is signed, whoever has seen a webhook can send it again at any time. It is the same event "
    "again, and changes nothing: a person who was erased meanwhile stays erased."
)
_QUESTIONS: Final = (
    "Daily's secret is given in base64, as Daily shows it. Zoom's question `endpoint.url_validation` is answered where "
    'it is signed, Daily\'s `{"test":"test"}` always.'
)
_TOPIC: Final = (
    "A record of `calllog.notifications` holds a message as the platform sent it. Its header `clg-source` names the "
    "source; its key may be any. The topic is governed and trimmed as `calllog.events` is."
)


def ingest_lines() -> Iterator[str]:
    """The page's lines."""
    yield from (
        "```toml",
        "v = 1",
        "[[source]]",
        'name = "zoom"                 # webhooks come to /zoom',
        'mapping = "zoom"',
        'scheme = "zoom"',
        'secrets = ["zoom.secret"]     # beside this file, chmod 600',
        "[[source]]",
        'name = "pbx"                  # records of calllog.notifications alone',
        'mapping = "freeswitch"',
        'settings = { country = "44" }',
        "```",
    )
    yield from parts_of(IngestFile)
    yield from ("", "## Schemes", "", "| scheme | what is signed | a time is signed | `url` is needed | documented |")
    yield "|---|---|---|---|---|"
    for name, scheme in SCHEMES.items():
        words = ("yes" if scheme.timed else "no", "yes" if scheme.needs_url else "")
        yield f"| `{name}` | {cell(scheme.signs)} | {' | '.join(words)} | [page]({scheme.documentation}) |"
    yield from ("", _REPLAYS, "", _QUESTIONS, "", "## Answers", "", "| status | meaning |", "|---|---|")
    yield from (f"| {status} | {cell(meaning)} |" for status, meaning in _ANSWERS)
    yield from ("", "## Records of the topic", "", _TOPIC)
