"""Dead letters of platforms' messages, mapped anew in the command itself: the message gets into no topic in clear."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from calllog_guard.adapters.kafka.writer import KafkaWriter
from calllog_guard.adapters.mappings.files import mapping
from calllog_guard.adapters.mappings.ingest_file import ingest_rows, source_mapping
from calllog_guard.app.context import AppContext
from calllog_guard.app.ingest import ingest_context
from calllog_guard.cli._options import Args
from calllog_guard.core.codec import Dead, to_ms
from calllog_guard.core.records import Output
from calllog_guard.core.sources.mapping import Mapping
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.core.webhooks.intake import IngestSource
from calllog_guard.errors import ConfigurationError, StateRefusedError
from calllog_guard.workers.ingest.intake import MessageIntake


class Mapped:
    """Makes records of the messages in letters, by `--mapping`, or as `ingest.toml` says now."""

    def __init__(self, shared: AppContext, args: Args, writer: KafkaWriter) -> None:
        self._shared, self._args, self._writer = shared, args, writer
        self._intake: MessageIntake | None = None

    async def outputs(self, letter: str, dead: Dead, raw: bytes, header: tuple[str, bytes]) -> Sequence[Output]:
        """
        The records of a message; none, where the mapping skips it.

        Raises:
            StateRefusedError: It is refused again.
            ConfigurationError: Nobody says by which mapping.

        """
        name = self._args.source or dead.source or ""
        source = IngestSource(name, self._mapping(letter, name))
        if self._intake is None:
            shared, writer = self._shared, self._writer
            context = shared.context(shared.ring(shared.tenant), writer)
            self._intake = MessageIntake(ingest_context(shared, context, writer, {}))
        if source.mapping.notifies and not name:
            raise ConfigurationError(f"letter {letter} tells no source, by which joins and leaves are paired: --source")
        now = to_ms(self._shared.clock.now())
        work = await self._intake.work(source, Arrival(dead.topic, dead.partition, dead.offset, None, raw, now))
        if work.refused:
            raise StateRefusedError(
                f"letter {letter} is refused again: {work.refused}; open it with `dead open`, see what `source check` "
                "says of it, and mend the mapping or give it with --from FILE"
            )
        return [msgspec.structs.replace(each, headers=(header,)) for each in work.outputs]

    def _mapping(self, letter: str, name: str) -> Mapping:
        if self._args.mapping:
            return mapping(self._args.mapping, dict(self._args.set))
        path = Path(self._shared.settings.ingest)
        row = ingest_rows(path).get(name)
        if row is None:
            raise ConfigurationError(
                f"letter {letter} is of {name or 'no source that is known'}, and {path} names none of that name: "
                "say --source NAME, or --mapping NAME_OR_FILE"
            )
        return source_mapping(path.parent, row)
