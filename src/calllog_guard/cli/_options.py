"""
What every command has in common: how its words are read, how its help teaches, what options many share, how it is run.

Rules: 1. Words and options stand in any order; the beginning of an option stands for it where no other one begins so.
       2. What looks like one of our ids is a value, although one in 64 begins with `-`: they are base64url.
       3. A command's own imports are made when it is asked for: `--help` of all imports none.
"""

import gc
import re
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from calllog_guard.cli._verbs import VERBS

EXITS: Final = "Exit codes: 0 done, 1 a finding, 2 usage or configuration, 3 unavailable, 4 refused by state, 70 halt."
PROGRAM: Final = "calllog-guard"
_VALUE: Final = re.compile(r"(?!-)|-$|-[\w-]{21}$|-\d+$|.* ", re.ASCII | re.DOTALL)
_WAIT_S: Final = 120.0
COLUMNS: Final = "start=timestamp,caller=caller,callee=callee,duration=duration"
SEALED: Final[dict[tuple[str, ...], bool]] = {("--seal", "--plain"): False}
"""The options of `sealing` exclude each other."""
_NEAR: Final = 0.5

Run = TypeVar("Run", bound=Callable[..., Any])
Shared = Callable[[Run], Run]


class Args(SimpleNamespace):
    """The words of one call by their names, and its command; an option not given is its default, None, False or ()."""


class Several(click.Option):
    """An option that takes all the values behind it."""


class Argument(click.Argument):
    """A positional word with a meaning."""

    def __init__(self, words: Sequence[str], *, help: str = "", **more: Any) -> None:  # noqa: A002 - as of an option
        super().__init__(words, **more)
        self.help = help

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Its name and its meaning, if that needs words."""
        return (self.make_metavar(ctx), self.help) if self.help else None


class _Taught(click.Command):
    """
    A command whose help has its meaning in one line, more about it, and calls with what comes of them, from `help.txt`.

    Args:
        about: What a table of the code says about it.

    """

    def __init__(self, name: str, *, help: str = "", about: str = "", **more: Any) -> None:  # noqa: A002 - as help
        self.meaning, self.about = help or VERBS[name].meaning, about
        settings = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
        super().__init__(name=name, short_help=self.meaning, context_settings=settings, **more)

    def taught(self, path: str) -> tuple[str, str]:
        """Its meaning with more about it, and the calls; `path` is how it is called."""
        text = (
            Path(__file__).with_name("help.txt").read_text("utf-8").partition(f"\n# {path}\n")[2].partition("\n# ")[0]
        )
        about, _, calls = re.sub("^(?=    )", "\0", text, count=1, flags=re.MULTILINE).partition("\0")
        meaning = f"{self.meaning[:1].upper()}{self.meaning[1:].removesuffix('.')}."
        return "\n\n".join(filter(None, (meaning, self.about, about.strip()))), calls.rstrip()

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the meaning and more about it."""
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(self.taught(ctx.command_path)[0])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the calls and the exit codes."""
        calls = self.taught(ctx.command_path)[1]
        formatter.write(f"\nExamples:\n{calls}\n" * bool(calls) + f"\n{EXITS}\n")


class Command(_Taught):
    """
    A command that gets its words as one object and returns its exit code.

    Args:
        one_of: Words of which only one may be given, and whether one must be.

    """

    def __init__(self, name: str, *, one_of: Mapping[tuple[str, ...], bool] | None = None, **more: Any) -> None:
        super().__init__(name, **more)
        self.one_of = one_of or {}
        if "json" not in {each.name for each in self.params}:
            self.params.append(click.Option(["--json"], is_flag=True, help="JSON on stdout in place of text"))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words."""
        if ctx.resilient_parsing:  # a shell completes
            return super().parse_args(ctx, args)
        options, values = _sorted(ctx, self.get_params(ctx), args)
        rest = super().parse_args(ctx, [*options, "--", *values])
        names = {each.opts[0]: each.name for each in self.params}
        for some, needed in self.one_of.items():
            given = [
                each for each in some if ctx.get_parameter_source(names[each] or "") is ParameterSource.COMMANDLINE
            ]
            if len(given) > 1:
                ctx.fail(f"{' and '.join(given)} exclude each other: give one of them")
            if needed and not given:
                ctx.fail(f"give one of {', '.join(some)}")
        return rest

    def invoke(self, ctx: click.Context) -> int:
        """Run it; what libraries have to say is told by workers alone."""
        import asyncio  # noqa: PLC0415 - `--help` needs neither

        from calllog_guard import telemetry  # noqa: PLC0415

        if not gc.isenabled():
            gc.freeze()
            gc.enable()
        if self.name != "worker":
            telemetry.mute()
        assert self.callback is not None  # noqa: S101 - each has one
        done: int | Coroutine[Any, Any, int] = self.callback(Args(command=self.name, **ctx.params))
        return done if isinstance(done, int) else asyncio.run(done)


class VerbGroup(_Taught, click.Group):
    """A verb with subcommands; a word that is none of them is told with those that it may stand for."""

    command_class = Command

    def __init__(self, name: str, **more: Any) -> None:
        super().__init__(name, no_args_is_help=False, **more)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they stand in the code."""
        del ctx
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand."""
        if not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            known = self.list_commands(ctx)
            near = get_close_matches(args[0], known, cutoff=_NEAR)
            ctx.fail(f"no command {args[0]!r}: {f'did you mean {near[0]}?' if near else 'take ' + ', '.join(known)}")
        return super().resolve_command(ctx, args)


class Verbs(VerbGroup):
    """All verbs; each is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one."""
        del ctx
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name].place.partition(":")
        found: click.Command = getattr(import_module(f"{__package__}.{module}"), name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list; none is imported for it."""
        del ctx
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.meaning) for name, verb in VERBS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a verb; none is imported for it."""
        found = [CompletionItem(name, help=verb.meaning) for name, verb in VERBS.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)


class Kinds(VerbGroup):
    """A verb whose subcommands take the same options, each some; the subcommand may stand behind its options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Bring the subcommand to the front."""
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        one = next(iter(self.commands.values()))
        options, values = _sorted(ctx, one.get_params(ctx), args)
        if options and not values and not {"-h", "--help"} & set(options):
            ctx.fail(f"give one of {', '.join(self.commands)}")
        return super().parse_args(ctx, [*values, *options])


def _sorted(ctx: click.Context, params: Iterable[click.Parameter], words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options with their values, and the other words."""
    known = {name: each for each in params if isinstance(each, click.Option) for name in each.opts}
    options: list[str] = []
    values: list[str] = []
    rest = deque(words)
    while rest and (word := rest.popleft()) != "--":
        if _VALUE.match(word):
            values.append(word)
            continue
        name, given, value = word.partition("=")
        like = [each for each in known if each.startswith(name)] if name.startswith("--") and name not in known else []
        if len(like) > 1:
            ctx.fail(f"{name} may be {', '.join(like)}: write it out")
        name = (like or [name])[0]
        option = known.get(name)
        options.append(f"{name}{given}{value}")
        if option is None or option.is_flag or given:
            continue
        if not rest or not _VALUE.match(rest[0]):
            raise click.BadOptionUsage(name, f"{name} needs a value", ctx)
        options.append(rest.popleft())
        while isinstance(option, Several) and rest and _VALUE.match(rest[0]):
            options += [name, rest.popleft()]
    return options, [*values, *rest]


def command(name: str, **more: Any) -> Callable[[Callable[[Args], Any]], Command]:
    """A verb without subcommands."""
    return click.command(name, cls=Command, help=VERBS[name].meaning, **more)


def argument(*words: str, **more: Any) -> Shared[Any]:
    """A positional word."""
    return click.argument(*words, cls=Argument, **more)


def flag(*words: str, help: str) -> Shared[Any]:  # noqa: A002 - as of an option
    """An option without a value."""
    return click.option(*words, is_flag=True, help=help)


def file(*words: str, help: str, metavar: str = "FILE", **more: Any) -> Shared[Any]:  # noqa: A002
    """An option that names a file or a folder."""
    return click.option(*words, type=Path, metavar=metavar, help=help, **more)


def key(help: str, *, required: bool = False) -> Shared[Any]:  # noqa: A002
    """The key of whoever acts."""
    return file("--key", metavar="PEM", required=required, help=help)


def day_of(text: str) -> date:
    """A day as an argument."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.BadParameter("no day: write it as 2026-11-01") from None


dry_run: Final = flag("--dry-run", help="upgrade, separate, identity: show what would change")
start: Final = click.option(
    "--start",
    metavar="DAY",
    type=day_of,
    help="CSV: the day that second 0 falls on, as 2026-11-01; emit: 30 days ago where none is given, import: none",
)
columns: Final = click.option(
    "--columns",
    default=COLUMNS,
    help=f"CSV: which column is what, by name or number (default {COLUMNS}; also call, occurrence, kind, outcome)",
)


def waiting(until: str) -> Shared[Any]:
    """The options that say whether, and for how long, to wait."""
    most = f"--wait: at most so long ({_WAIT_S:.0f})"
    return lambda run: flag("--wait", help=until)(
        click.option("--timeout", type=float, default=_WAIT_S, metavar="SECONDS", help=most)(run)
    )


def sealing(run: Any) -> Any:
    """The options that say whether a request is sealed."""
    where = "default: the newest TENANT-desk*.pub.pem in keys, beside the policy"
    seal = file("--seal", metavar="PEM", help=f"the desk's public key that the request is sealed to; {where}")
    return seal(flag("--plain", help="do not seal: the names lie in clear until the topic is trimmed")(run))
