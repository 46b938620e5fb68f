"""A wrong command, or missing servers, give a sentence that says what to do, and an exit code that says the same."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from calllog_guard.adapters.kms.local import FileRing, LocalKms
from calllog_guard.cli import main
from calllog_guard.core.crypto.jose import receipt_pem, sign
from calllog_guard.core.identifiers import EpochName, Tenant
from calllog_guard.settings import PREFIX
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault

CANARY = "alice-canary@example.org"
Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def closed() -> Iterator[int]:
    """A port at which nobody answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def folder(tmp_path: Path, closed: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """An installation whose servers do not run, and files that are not what they should be."""
    monkeypatch.chdir(tmp_path)
    assert main(["init", "guard", "--json"]) == 0
    environment = json.loads(capsys.readouterr().out)["env"]
    environment |= {f"{PREFIX}KAFKA": f"127.0.0.1:{closed}", f"{PREFIX}KEYSTORE": f"redis://127.0.0.1:{closed}/0"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    vault = Vault(LocalKms(tmp_path / "guard" / "kms"), FileRing(tmp_path / "guard" / "kms"))
    vault.create_tenant(Tenant("iocom"))
    vault.create_epoch(EpochName("2026-W48"))
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "binary").write_bytes(bytes(range(256)) + CANARY.encode())
    (tmp_path / "who.txt").write_text(f"{CANARY}\n")
    (tmp_path / "bad.csv").write_text(f"timestamp,caller,callee,duration\n1,{CANARY},b,none\n")
    (tmp_path / "bad.ndjson").write_text(f'{{"call_id": "{CANARY}"\n')
    return tmp_path


@pytest.fixture
def typed(folder: Path, capsys: pytest.CaptureFixture[str]) -> Typed:  # noqa: ARG001 - the environment
    """Type a command: exit code, stdout, stderr."""

    def go(words: str, *more: str) -> tuple[int, str, str]:
        code = main([*words.split(), *more])
        told = capsys.readouterr()
        return code, told.out, told.err

    return go


KEY = "--key guard/keys/backend-1.pem"
OFFICER = "--key guard/keys/officer-1.pem"
OPERATOR = "--key guard/keys/operator-1.pem"
USAGE = [
    "case show",
    "case list AAAA",
    "case approve",
    f"case approve X {KEY}",
    f"case refuse {'A' * 22} {OFFICER}",
    f"case refuse {'A' * 22} {OFFICER} --ground @binary",
    f"case extend {'A' * 22} {OFFICER} --ground why",
    "case list --due-within soon",
    "receipt verify nofile --key guard/keys/backend-1.pub.pem",
    "receipt verify who.txt --key binary",
    "receipt verify who.txt --key empty",
    "receipt verify who.txt --key guard/keys/operator-1.pub.pem",
    "emit nofile",
    "emit guard",
    "emit binary",
    "emit bad.csv",
    "emit bad.ndjson",
    "emit bad.csv --columns start=timestamp",
    "emit bad.csv --limit some",
    "import nofile --no-erased-list",
    "import guard --no-erased-list",
    "import bad.csv --no-erased-list --start today",
    "import bad.csv",
    f"request erase {KEY}",
    f"request erase --subject @nofile {KEY}",
    f"request erase --subject @binary {KEY}",
    f"request erase --subject @empty {KEY}",
    f"request erase --subject {CANARY} {KEY}",
    "request erase --subject @who.txt --key nofile",
    "request erase --subject @who.txt --key binary",
    f"request erase --subject @who.txt {OPERATOR}",
    f"request erase --subject @who.txt {KEY} --seal who.txt",
    f"request erase --subject @who.txt {KEY} --seal iocom-desk.pub.pem",
    f"request access --subject @who.txt {KEY} --reply-key binary",
    f"request hold --subject @who.txt {OFFICER} --hold @bad.ndjson",
    f"request rectify --subject @who.txt {KEY} --facts @empty",
    "request bogus",
    "scan --canary nofile",
    "scan --canary binary",
    "dead list --since yesterday",
    f"dead open x {OPERATOR}",
    f"dead open 0:x {OPERATOR}",
    "dead open 0:1 --key binary",
    "dead replay 0:1 --key nofile",
    "export open guard/keys --key nofile",
    "report --month 2026-13",
    "report --month soon",
    "rebuild --partition 99",
    "rebuild --partition -1",
    "policy check --against nofile",
    "policy check --against binary",
    "tenant create",
    "key new",
    "key new ../x --role operator",
    "key public nokey",
    "key register nokey --role officer",
    "init who.txt",
    "init other --tenant UPPER",
    "worker bogus",
    "bogus",
    "",
]
SILENT = [
    "emit empty",
    "emit bad.csv --skip-bad",
    "case list",
    f"case show {'A' * 22}",
    f"case approve {'A' * 22} {OFFICER}",
    f"request erase --subject @who.txt {KEY}",
    "read --purpose service --actor support-1",
    "scan --canary who.txt",
    "scan --case X",
    "dead list",
    f"dead open 0:1 {OPERATOR}",
    "keystore status",
    "keystore guard",
    "report",
    "tenant create iocom",
    "topics check",
]


@pytest.mark.parametrize("words", USAGE)
def test_what_is_typed_wrong_is_usage_and_is_said_at_once(words: str, typed: Typed) -> None:
    """Before any server is asked, in one sentence, without a trace and without what is in the files."""
    code, out, err = typed(words)
    assert (code, out) == (2, "")
    *_, last = err.strip().splitlines()
    assert last.startswith("calllog-guard") or not words
    assert "Traceback" not in err
    assert CANARY not in err.replace(words, "")
    assert "this should not happen" not in err


@pytest.mark.parametrize("words", SILENT)
def test_without_servers_a_command_says_so_in_one_line(words: str, typed: Typed, closed: int) -> None:
    code, _, err = typed(words)
    assert code == 3
    lines = [line for line in err.strip().splitlines() if not line.startswith(("0 opened", "line 2: bad_row"))]
    assert len(lines) == 1, err
    assert lines[0].startswith("calllog-guard: ")
    assert str(closed) in lines[0] or "keystore" in lines[0]
    assert CANARY not in err


def test_a_receipt_is_verified_with_what_holds_of_it(folder: Path, typed: Typed) -> None:
    private, public = receipt_pem(b"\x05" * 32)
    (folder / "key.pem").write_bytes(public)
    (folder / "form.jws").write_text(sign(private, "receipts", b'{"v":1}'))
    (folder / "forged.jws").write_text(sign(receipt_pem(b"\x06" * 32)[0], "receipts", b'{"v":1}'))
    verdicts: dict[str, Any] = {}
    for name in ("form.jws", "forged.jws", "binary", "empty"):
        code, out, _ = typed(f"receipt verify {name} --key key.pem --json")
        assert code == 1
        found = json.loads(out)
        verdicts[name] = (found["verdict"], found["signature"], found["claims"], found["why"])
    assert verdicts == {
        "form.jws": ("bad", "good", None, "missing_field at /"),
        "forged.jws": ("bad", "bad", None, "bad_signature at /"),
        "binary": ("bad", "bad", None, "not_a_jws at /"),
        "empty": ("bad", "bad", None, "not_a_jws at /"),
    }


def test_a_stack_that_does_not_run_is_data_too(folder: Path, typed: Typed) -> None:
    """Whoever starts and stops stacks by a program reads stdout."""
    for action, expected in (("status", 3), ("down", 0)):
        code, out, err = typed(f"stack {action} --dir run --json")
        assert (code, json.loads(out)) == (expected, {"running": False, "dir": str(folder / "run")})
        assert "no stack runs" in err


def test_bad_rows_are_told_by_line_and_reason_and_nothing_is_published(folder: Path, typed: Typed) -> None:
    """Half a file published is a file that is published twice."""
    event: dict[str, Any] = {
        "tenant": "iocom",
        "call_id": "c-1",
        "kind": "video",
        "outcome": "missed",
        "started_at": "2026-11-24T09:00:00Z",
    }
    event |= {"parties": [{"id": CANARY, "role": "host"}]}
    rows: list[Any] = [event, event | {"shoe": CANARY}, event | {"tenant": "other"}, [CANARY], event | {"parties": []}]
    lines = [*map(json.dumps, rows), "", CANARY, json.dumps(event | {"parties": event["parties"] * 2})]
    (folder / "rows.ndjson").write_text("\n".join(lines))
    code, out, err = typed("emit rows.ndjson")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "line 2: unknown_field at /",
        "line 3: foreign_tenant at /tenant",
        "line 4: wrong_value at /",
        "line 5: wrong_count at /parties",
        "line 7: not_json at /",
        "line 8: duplicate_party at /parties/1/id",
        "a platform's own messages need --mapping: `calllog-guard source list` names them",
        "a list is no event: `jq -c '.[]' FILE` makes a line of each of its events",
        "each line is one event in JSON: `jq -c . FILE` puts each event on one line",
        "calllog-guard: 6 of 7 rows are no events, so nothing was published: mend them, or leave them out with --skip-bad",
    ]


@pytest.mark.parametrize(
    ("row", "told", "cure"),
    [
        ("2026-11-24T09:00:00Z,a,b,2:00", "line 2: bad_row at /duration", "a whole number of seconds"),
        ("24/11/2026 09:00,a,b,20", "line 2: bad_row at /start", "a time with its offset"),
    ],
)
def test_a_bad_cell_is_told_by_its_own_column_and_by_what_it_should_be(
    row: str, told: str, cure: str, folder: Path, typed: Typed
) -> None:
    """Whoever is told of the start looks at the start, and finds nothing wrong with it."""
    (folder / "cells.csv").write_text(f"timestamp,caller,callee,duration\n{row}\n")
    code, out, err = typed("emit cells.csv")
    assert (code, out) == (2, "")
    first, second, last = err.splitlines()
    assert first == told
    assert cure in second
    assert "nothing was published" in last


def test_an_empty_table_is_called_empty(folder: Path, typed: Typed) -> None:
    """Nobody looks for a column in a file without a line."""
    (folder / "none.csv").write_bytes(b"")
    code, _, err = typed("emit none.csv")
    assert (code, err) == (2, "calllog-guard: the file has no line\n")


def test_the_first_version_of_a_policy_needs_no_publication_and_says_what_to_do(typed: Typed) -> None:
    """An actor's key is registered in a new installation: the guide's next command must not end in a fault of ours."""
    code, out, err = typed("policy publish --key guard/keys/officer-1.pem")
    assert (code, out) == (4, "")
    assert "needs no publication" in err
    assert "restart" in err


@pytest.mark.slow
def test_doctor_without_servers_tells_every_check_and_what_holds_nevertheless(typed: Typed) -> None:
    """One that takes minutes is asked once, and not again after a mend."""
    code, out, err = typed("doctor")
    assert (code, err) == (3, "")
    verdicts = {line.split(":")[0].split(maxsplit=1)[1]: line.split()[0] for line in out.splitlines()}
    silent = [
        "policy",
        "residency",
        "retention",
        "partitions",
        "ledger",
        "kafka",
        "keystore settings",
        "keystore guard",
        "parked parts",
        "identity",
    ]
    verdicts.pop("swap", None)  # this machine's
    wanted = dict.fromkeys(silent, "silent") | dict.fromkeys(["operator key", "KMS", "KMS secrets"], "ok")
    wanted |= {"memory": "warned"} | ({"trust domains": "warned"} if "trust domains" in verdicts else {})
    assert verdicts == wanted, "the tests' own process may be looked into"
