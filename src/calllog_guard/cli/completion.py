"""`completion SHELL`: what a shell needs to complete verbs, options and their choices."""

import click
from click.shell_completion import get_completion_class

from calllog_guard.cli._options import PROGRAM, Args, argument, command

VARIABLE = "_CALLLOG_GUARD_COMPLETE"
"""By it a shell asks this program what may come next."""


@command("completion")
@argument("shell", type=click.Choice(["bash", "zsh", "fish"]), help="whose lines")
def completion(args: Args) -> int:
    """Print it."""
    shell = get_completion_class(args.shell)
    assert shell is not None  # noqa: S101 - the library knows these three
    click.echo(shell(click.Command(PROGRAM), {}, PROGRAM, VARIABLE).source())
    return 0
