"""The command line: what could be typed at the first release can be typed still, and its help teaches."""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from reference import tree

from calllog_guard.cli import main, root
from calllog_guard.cli._options import PROGRAM, Args, Command, Several
from calllog_guard.cli._verbs import VERBS
from calllog_guard.cli.completion import VARIABLE
from calllog_guard.core.requests.types import TYPES
from calllog_guard.core.retention.sweep_brake import DAYS_MOST, FEW

VECTOR = Path(__file__).parents[2] / "vectors" / "cli.json"
CASE = "-gHGjbzHGYsAcmWqbWQ9XA"
NEW_TYPES = {"same_as", "not_same_as"}
NEW_SINCE = {
    "request": {"--dry-run"},
    "emit": {"--mapping", "--set", "--dialect"},
    "import": {"--mapping", "--set", "--dialect"},
    "dead replay": {"--mapping", "--set", "--source"},
}
ROLES_SINCE = {"ingest", "pair", "sessions"}
"""Roles and trust domains."""
LEAVES = {path: verb for path, verb in tree() if not isinstance(verb, click.Group)}


def told(verb: click.Command, param: click.Parameter) -> dict[str, Any]:
    """A word or an option as the vector has it."""
    option = isinstance(param, click.Option)
    found: dict[str, Any] = {"names": param.opts if option else [param.name], "needed": param.required}
    if isinstance(param, click.Option):
        found |= {"value": not param.is_flag}
    found |= {"many": param.multiple or param.nargs < 0}
    if isinstance(param, Several):
        found |= {"several": True}
    if isinstance(param.type, click.Choice):
        found |= {"choices": [each for each in map(str, param.type.choices) if each not in NEW_TYPES]}
    default = param.get_default(click.Context(verb))
    return found | ({"default": default} if isinstance(default, str | float | int) and default is not False else {})


def words(verb: click.Command) -> list[dict[str, Any]]:
    """Its positional words in their order, then its options."""
    found = [told(verb, param) for param in verb.params]
    return sorted(found, key=lambda each: each["names"] if "value" in each else [])


def rows() -> Iterator[tuple[str, dict[str, Any]]]:
    """The tree as the vector has it: types of requests were one word of their verb."""
    for path, verb in LEAVES.items():
        name = path.removeprefix(f"{PROGRAM} ")
        assert isinstance(verb, Command)
        groups = [{"one_of": list(some), "needed": needed} for some, needed in verb.one_of.items()]
        found = {"words": words(verb), "groups": groups}
        if name.startswith("request "):
            kinds = {
                "names": ["type"],
                "needed": True,
                "many": False,
                "choices": [kind for kind in TYPES if kind not in NEW_TYPES],
            }
            found, name = {"words": [kinds, *words(verb)], "groups": groups}, "request"
        yield name, found


def test_every_verb_and_option_of_the_first_release_is_there_and_no_other_but_completion() -> None:
    """The vector was written from the parser of then; scripts call all of it."""
    wanted = json.loads(VECTOR.read_text("utf-8"))
    for found in wanted.values():
        positional = [each for each in found["words"] if "value" not in each]
        found["words"] = positional + sorted(
            (each for each in found["words"] if "value" in each), key=lambda each: each["names"]
        )
    seen: dict[str, Any] = {}
    for name, row in rows():
        assert seen.setdefault(name, row) == row, "the types of a request are read alike"
    assert seen.pop("completion")["words"][0]["choices"] == ["bash", "zsh", "fish"]
    assert set(seen) - {"source check", "source list", "source show", "console"} == set(wanted)
    for name, new in NEW_SINCE.items():
        seen[name]["words"] = [each for each in seen[name]["words"] if not set(each["names"]) & new]
    for row in seen.values():
        for word in (word for word in row["words"] if "choices" in word):
            word["choices"] = [each for each in word["choices"] if each not in ROLES_SINCE]
    for name, row in wanted.items():
        assert seen[name] == row, name


def parsed(line: str) -> Args:
    """The words of a call as its command gets them."""
    verb: click.Command = root
    rest = shlex.split(line)
    while isinstance(verb, click.Group):
        context = verb.make_context(verb.name, rest)
        _, below, rest = verb.resolve_command(context, [*context._protected_args, *context.args])
        assert below is not None
        verb = below
    return Args(**verb.make_context(verb.name, rest).params)


@pytest.mark.parametrize("path", LEAVES)
def test_the_help_of_a_command_teaches(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A meaning, two calls that can be typed as they stand, what comes of each, and the exit codes."""
    assert main([*path.split()[1:], "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: {path}")
    calls = shown.partition("\nExamples:\n")[2].partition("\n\nExit codes: ")[0].replace("\\\n", "")
    lines = calls.splitlines()
    typed, come = lines[::2], lines[1::2]
    assert len(typed) > 1
    assert len(typed) == len(come)
    for call, expected in zip(typed, come, strict=True):
        assert call.startswith(f"    {path}")
        assert expected.startswith("        ")
        line, _, _ = call.strip().removeprefix(f"{PROGRAM} ").partition(" > ")
        parsed(line.partition(" | ")[0])


def test_the_help_of_everything_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in VERBS)
    assert "Exit codes: " in shown


@pytest.mark.parametrize(
    ("kind", "takes", "never"),
    [
        ("erase", {"--subject", "--from", "--to", "--identity"}, {"--purpose", "--hold", "--case", "--reply-key"}),
        ("clock", {"--case", "--event", "--ground", "--to-whom", "--notice", "--review-at"}, {"--subject", "--hold"}),
        ("hold", {"--subject", "--hold"}, {"--from", "--reply-key", "--event"}),
    ],
)
def test_the_help_of_a_request_shows_what_its_type_takes(
    kind: str, takes: set[str], never: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """And of no other: a clerk who erases need not know what a disclosure needs."""
    main(["request", kind, "--help"])
    shown = {word.strip(",") for word in capsys.readouterr().out.partition("\nExamples:")[0].split()}
    assert takes | {"--key", "--ticket", "--received-at", "--wait", "--json"} <= shown
    assert not never & shown


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("request --key k --subject @f erase --wait", "request erase --key k --subject @f --wait"),
        ("request --ticket erase erase --key erase", "request erase --ticket erase --key erase"),
        (
            "request erase --key k --tick T-7 --recei 2026-11-01",
            "request erase --key k --ticket T-7 --received-at 2026-11-01",
        ),
        (f"case --json show {CASE}", f"case show --json -- {CASE}"),
        (f"scan --case {CASE}", f"scan --case={CASE}"),
        ("scan --canary f --log-dir a b --log-dir c", "scan --canary f --log-dir a --log-dir b --log-dir c"),
        ("emit --limit=3 calls.csv", "emit calls.csv --limit 3"),
        ("rebuild --partition -1", "rebuild --partition=-1"),
        ("stack up --dir run -d", "stack up --dir run --detach"),
    ],
)
def test_words_stand_in_any_order_and_ids_are_values(line: str, meant: str) -> None:
    """As they always did."""
    assert parsed(line) == parsed(meant)


@pytest.mark.parametrize("case", [CASE, "--HGjbzHGYsAcmWqbWQ9XA"])
def test_an_id_that_begins_with_a_dash_is_an_id(case: str) -> None:
    """Ids are base64url: one in 64 does, and whoever has that case has a right to see it."""
    assert parsed(f"case show {case}").case == case
    assert parsed(f"scan --case {case}").case == case


def test_no_option_looks_like_an_id() -> None:
    """One that did would take ids for options again."""
    names = {name for verb in LEAVES.values() for each in verb.params for name in each.opts}
    assert "--timeout" in names
    assert not [name for name in names if len(name) == 22]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("reqest erase", "did you mean request?"),
        ("request eras", "did you mean erase?"),
        ("topics chek", "did you mean check?"),
        ("request erase --key k --subjct @f", "Did you mean --subject?"),
        ("request --key k", "give one of erase, access, portability"),
        ("request erase --re x --key k", "--received-at, --reply-key, --review-at"),
        ("scan --case --json", "--case needs a value"),
        ("scan", "give one of --case, --canary"),
        ("report --json --markdown", "--markdown and --json exclude each other"),
        ("dead open --key k", "give one of letter, --reason"),
        ("dead open 0:1 --reason x --key k", "letter and --reason exclude each other"),
        ("", "Missing command. (see calllog-guard --help)"),
    ],
)
def test_what_is_typed_wrong_is_told_with_what_was_meant(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(line)) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.splitlines()[-1].startswith(PROGRAM)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes(shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Verbs without loading one, types of requests, and the options that a type takes."""
    assert main(["completion", shell]) == 0
    assert VARIABLE in capsys.readouterr().out
    monkeypatch.setenv(VARIABLE, f"{shell}_complete")
    wanted = {"re": "request", "request er": "erase", "request erase --su": "--subject", "case sh": "show"}
    for typed, expected in wanted.items():
        *_, last = typed.split()
        monkeypatch.setenv("COMP_WORDS", f"{PROGRAM} {typed}")
        monkeypatch.setenv("COMP_CWORD", last if shell == "fish" else str(len(typed.split())))
        assert main() == 0
        assert expected in capsys.readouterr().out.replace(",", "\n").split()


def test_the_brake_that_the_help_names_is_the_brake() -> None:
    text = dict(tree())[f"{PROGRAM} expiry"].taught(f"{PROGRAM} expiry")[0]  # type: ignore[attr-defined]
    assert f"more than {DAYS_MOST} days of calls, more than {FEW} records" in " ".join(text.split())


HEAVY = {
    "aiohttp", "aiokafka", "ahocorasick_rs", "argparse", "asyncio", "boto3", "cryptography", "dateutil", "faust", "holidays", "hvac",
    "isodate", "jinja2", "joserfc", "kafka", "msgspec", "prometheus_client", "redis", "rich", "rocksdict", "ssl", "structlog", "tomlkit",
}  # fmt: skip
"""What takes long to load."""


@pytest.mark.parametrize(
    "line",
    ["--help", "--version", "bogus"],
)
def test_help_loads_nothing_that_takes_long(line: str) -> None:
    """Its CPU seconds: bench/startup.py."""
    script = f"import sys\nfrom calllog_guard.cli import main\nmain({line.split()})\nprint(*sys.modules, sep='\\n', file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = done.stderr.splitlines()
    assert "click" in loaded
    assert sorted(HEAVY & set(loaded)) == []
    verbs = {each for each in loaded if each.startswith("calllog_guard.cli.")}
    assert verbs <= {f"calllog_guard.cli.{each}" for each in ("_options", "_verbs", "completion")}


@pytest.mark.parametrize("role", ["protector", "desk", "keeper", "auditor"])
@pytest.mark.slow
def test_a_worker_loads_no_other_role(role: str) -> None:
    """Each role in a process of its own pays for itself alone; its CPU seconds: bench/startup.py."""
    script = "import sys\nimport calllog_guard.cli.worker, calllog_guard.app.hosted\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not [each for each in loaded if each.startswith(f"calllog_guard.workers.{role}.worker")]
    assert sorted({"holidays", "jinja2", "kafka", "rocksdict", "tomlkit"} & loaded) == []
