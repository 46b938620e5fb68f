"""The command line: `calllog-guard VERB`, a module per verb."""

import contextlib
import gc
import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import click
from click.shell_completion import shell_complete

from calllog_guard import __version__
from calllog_guard.adapters.process import process_memory
from calllog_guard.cli._options import PROGRAM, Verbs
from calllog_guard.cli.completion import VARIABLE
from calllog_guard.errors import GuardError, exit_code

_ABOUT: Final = "Stream workers that make a call log honour its privacy policy, provably"
root: Final = click.version_option(__version__, message="%(version)s")(
    Verbs(PROGRAM, help=_ABOUT, subcommand_metavar="VERB ...")
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    if asked := os.environ.get(VARIABLE):
        return shell_complete(root, {}, PROGRAM, VARIABLE, asked)
    code = 0
    try:
        with root.make_context(PROGRAM, list(sys.argv[1:] if argv is None else argv)) as context:
            code = int(root.invoke(context))
    except click.exceptions.Exit as ended:
        code = ended.exit_code
    except click.UsageError as error:
        where, text = error.ctx or click.Context(root, info_name=PROGRAM), " ".join(error.format_message().split())
        _say(f"{where.get_usage()}\n{where.command_path}: {text} (see {where.command_path} --help)")
        code = error.exit_code
    except GuardError as error:
        _say(f"{PROGRAM}: {error}")
        code = exit_code(error)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has seen enough
    except OSError as error:
        _say(f"{PROGRAM}: {error.strerror}: {error.filename}")
        code = 2
    except KeyboardInterrupt:
        code = 130
    except Exception as error:  # noqa: BLE001 - a defect; its text may quote data, its kind and place do not
        from calllog_guard.telemetry import place  # noqa: PLC0415 - takes long to load

        _say(f"{PROGRAM}: this should not happen: {type(error).__name__} at {place(error.__traceback__)}")
        code = 70
    return code


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - talk goes to stderr


def program() -> NoReturn:
    """The command line as a process: it ends when its command has, whatever a thread of it still waits for."""
    process_memory.close()
    gc.disable()  # what is loaded is no garbage
    try:
        code = main()
    except SystemExit as ended:  # asked to by a signal
        code = ended.code if isinstance(ended.code, int) else 2
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            stream.flush()
    os._exit(code)
