"""`console`: the officers' pages, served on this machine until stopped."""

import os
from pathlib import Path

import click
import structlog

from calllog_guard import telemetry
from calllog_guard.cli._options import Args, command, flag
from calllog_guard.cli._output import say
from calllog_guard.errors import GuardError, exit_code
from calllog_guard.settings import from_environment

log = structlog.get_logger()


@command("console")
@click.option(
    "--officer",
    metavar="NAME",
    multiple=True,
    help="an officer of the policy, by the name of the key, who gets a link; may be repeated",
)
@click.option(
    "--http", metavar="HOST:PORT", default="127.0.0.1:6070", show_default=True, help="on this machine; port 0 for any"
)
@click.option(
    "--openid",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="the identity provider by which officers sign in, and who is which officer there",
)
@click.option(
    "--language",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="a compiled catalogue (.mo) of console.pot: its language, for browsers that ask for it; may be repeated",
)
@click.option("--url", metavar="URL", help="how browsers reach it, where a proxy stands before it: https://HOST")
@flag("--json", help="accepted everywhere; log lines are JSON in any case")
def console(args: Args) -> int:
    """Serve until SIGTERM or SIGINT."""
    from calllog_guard.adapters.process.hosting import Host  # noqa: PLC0415 - takes long to load
    from calllog_guard.console.process import Console, ConsoleOptions  # noqa: PLC0415 - as above

    telemetry.configure("console")
    try:
        settings = from_environment(os.environ)
        telemetry.configure("console", settings.log_level)
        options = ConsoleOptions(
            http=args.http,
            url=args.url,
            officers=tuple(dict.fromkeys(args.officer)),
            tell=say,
            openid=args.openid,
            languages=args.language,
        )
        return Host("calllog-guard-console", Console(settings, options), settings.state_dir).lived()
    except GuardError as error:
        log.error("refused to start", why=str(error), kind=type(error).__name__)  # noqa: TRY400 - a trace may quote data
        return exit_code(error)
