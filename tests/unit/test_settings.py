"""What a setting cannot be is refused at once, by the setting's name, and a password in it is never repeated."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from calllog_guard.adapters.kafka.security import security
from calllog_guard.adapters.kms.schemes import kms_at
from calllog_guard.adapters.redis.keystore import RedisKeystore
from calllog_guard.app.preflight import check_keystore
from calllog_guard.cli import main
from calllog_guard.errors import ConfigurationError, KeystoreUnsafeError
from calllog_guard.settings import PREFIX, SPECS, Settings, from_environment

CANARY = "pass-canary"


WRONG = {
    "KAFKA": [
        "",
        "a:b",
        "127.0.0.1:99999",
        "127.0.0.1:0",
        "127.0.0.1:1,,",
        ":9092",
        f"kafka://{CANARY}@h:1",
        "h:1, h:2",
    ],
    "KEYSTORE": [
        "",
        "bogus",
        f"http://u:{CANARY}@h",
        f"redis://u:{CANARY}@h:port/0",
        f"redis://u:{CANARY}@h:99999/0",
        f"redis://u:{CANARY}@h:1/none",
        f"redis://u:{CANARY}@[::1/0",
        "unix://",
    ],
    "KEYSTORE_REPLICA_URLS": [f"redis://h:1/0,{CANARY}"],
    "HTTP": ["", "bogus", "127.0.0.1:x", "127.0.0.1:99999", ":::", "127.0.0.1:-1"],
    "CALLLOG_PREFIX": ["a b.", "a/", "x" * 101],
    "PRIVACY_PREFIX": ["é."],
}
RIGHT = {
    "KAFKA": ["h", "h:1", "10.0.0.1:9092,kafka-2.example.net:9092", "[::1]:9092"],
    "KEYSTORE": [
        "redis://h",
        "redis://:p@h:6379/0",
        "rediss://u:p@[::1]:1/15?ssl_cert_reqs=none",
        "unix:///run/redis.sock",
    ],
    "KEYSTORE_REPLICA_URLS": ["", "redis://a:1/0,redis://b:1/0"],
    "HTTP": ["127.0.0.1:0", ":6066", "[::1]:80", "localhost:65535"],
    "CALLLOG_PREFIX": ["", "calllog.", "Team_1-calllog."],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_what_is_no_address_is_refused_by_the_settings_name(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{PREFIX}{name} must be ") as caught:
        from_environment({PREFIX + name: value})
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in RIGHT.items() for value in values])
def test_what_is_an_address_is_taken(name: str, value: str) -> None:
    assert getattr(from_environment({PREFIX + name: value}), name.lower()) == value


NUMBERS = [(field.name, field.type) for field in dataclasses.fields(Settings) if field.type is not str]


@pytest.mark.parametrize(("name", "kind"), NUMBERS, ids=[name for name, _ in NUMBERS])
def test_a_number_out_of_its_bounds_is_refused_by_name_found_and_allowed(name: str, kind: type) -> None:
    words = SPECS[name].allowed.words
    whole = "a whole number" if kind is int else "a number"
    for text, found in (("-1", str(kind(-1))), ("x", "none"), ("1e999", "none" if kind is int else "inf")):
        with pytest.raises(ConfigurationError) as caught:
            from_environment({PREFIX + name.upper(): text})
        assert str(caught.value) == f"{PREFIX}{name.upper()} must be {whole}, {words}, and is {found}"


@pytest.mark.parametrize(("name", "kind"), NUMBERS, ids=[name for name, _ in NUMBERS])
def test_nought_is_taken_where_it_means_something_and_nowhere_else(name: str, kind: type) -> None:
    """Whole sets of values that an operator may have set already: a bound that moves is seen here."""
    del kind
    zero = {"trim_behind_s", "aof_rewrite_min_s", "backup_window_days", "event_skew_s", "keystore_replicas"}
    if name in zero:
        assert getattr(from_environment({PREFIX + name.upper(): "0"}), name) == 0
    else:
        with pytest.raises(ConfigurationError, match="and is 0"):
            from_environment({PREFIX + name.upper(): "0"})


@pytest.mark.parametrize(("name", "text"), [("LAG_SHARE", "1"), ("PROLONG_MOST", "0.9"), ("LOG_LEVEL", "loud")])
def test_what_else_has_bounds_keeps_them(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{PREFIX}{name} must be "):
        from_environment({PREFIX + name: text})


def test_every_default_is_within_its_bounds() -> None:
    settings = Settings()
    assert all(spec.allowed.good(getattr(settings, name)) for name, spec in SPECS.items())


@pytest.mark.parametrize("option", ["bogus=1", "ssl_cert_reqs=bogus", "max_connections=many"])
def test_an_option_that_redis_client_does_not_take_is_refused_before_anything_is_asked(option: str) -> None:
    with pytest.raises(ConfigurationError, match="CALLLOG_GUARD_KEYSTORE") as caught:
        RedisKeystore(f"rediss://u:{CANARY}@127.0.0.1:1/0?{option}")
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["", "bogus", "local:", "vault://", "vault://h:port?snapshots=1", "vault://[::1?snapshots=1", "awskms:"]
)
def test_what_is_no_kms_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="CALLLOG_GUARD_KMS"):
        kms_at(address)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"bogus": 1}',
        '{"security_protocol": "TLS"}',
        '{"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}',
        '{"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_plain_username": "u"}',
    ],
)
def test_what_kafkas_clients_do_not_take_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="CALLLOG_GUARD_KAFKA_SECURITY"):
        security(text)


def test_a_file_that_a_setting_names_must_be_text(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe" + CANARY.encode())
    for place in (tmp_path / "binary", tmp_path / "none", tmp_path, "a\0b"):
        with pytest.raises(ConfigurationError, match="CALLLOG_GUARD_KEYSTORE_FILE") as caught:
            from_environment({PREFIX + "KEYSTORE_FILE": str(place)})
        assert CANARY not in str(caught.value)
    (tmp_path / "good").write_text("redis://h:1/0\n")
    assert from_environment({PREFIX + "KEYSTORE_FILE": str(tmp_path / "good")}).keystore == "redis://h:1/0"


@pytest.mark.parametrize(
    "content", [b"", b"\xff binary", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", None]
)
@pytest.mark.usefixtures("signals")
def test_a_worker_refuses_an_operators_key_to_which_nothing_can_be_sealed(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would be found at the first dead letter, by a halt."""
    assert main(["init", str(tmp_path), "--json"]) == 0
    key = tmp_path / "key.pem"
    key.write_bytes((tmp_path / "keys" / "officer-1.pub.pem").read_bytes() if content is None else content)
    settings = {"POLICY": tmp_path / "policy.toml", "KMS": f"local:{tmp_path / 'kms'}", "OPERATOR_KEY": key}
    for name, value in settings.items():
        monkeypatch.setenv(PREFIX + name, str(value))
    capsys.readouterr()
    assert main(["worker", "desk"]) == 2
    assert "CALLLOG_GUARD_OPERATOR_KEY" in capsys.readouterr().err


@pytest.mark.usefixtures("signals")
def test_a_keeper_refuses_a_state_folder_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(PREFIX + "STATE_DIR", str(tmp_path / "file"))
    assert main(["worker", "keeper"]) == 2
    assert "CALLLOG_GUARD_STATE_DIR" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", ["bogus", "crash-at", "unsafe", "unsafe-keystore,bogus", "debug-log crash-at=x", "all"]
)
def test_development_takes_the_words_of_a_closed_list(words: str) -> None:
    """A typing error must not pass for a protection that is meant to be off, nor an old habit switch debug logs on."""
    with pytest.raises(
        ConfigurationError, match="DEVELOPMENT may name unsafe-keystore, debug-log, crash-at=STEP and stop-at=STEP"
    ):
        from_environment({PREFIX + "DEVELOPMENT": words})


def test_development_words_switch_off_what_they_name_and_nothing_else() -> None:
    found = from_environment({PREFIX + "DEVELOPMENT": " unsafe-keystore, crash-at=erase.case,,"})
    assert found.off == {"unsafe-keystore", "crash-at=erase.case"}
    debug = {PREFIX + "LOG_LEVEL": "debug"}
    with pytest.raises(ConfigurationError, match="debug-log"):
        from_environment(debug | {PREFIX + "DEVELOPMENT": "unsafe-keystore"})
    assert from_environment(debug | {PREFIX + "DEVELOPMENT": "debug-log"}).log_level == "debug"


class UnsafeStore:
    """A keystore whose settings may lose secrets."""

    async def check(self) -> None:
        """See Keystore."""
        raise KeystoreUnsafeError("Redis runs with save '3600 1', wanted ''")


@dataclass
class Shared:
    """As much of a world as is asked."""

    settings: Settings
    keystore: UnsafeStore


async def test_an_unsafe_keystore_is_refused_unless_development_names_it_and_then_it_is_told() -> None:
    shared: Any = Shared(Settings(), UnsafeStore())
    with pytest.raises(KeystoreUnsafeError):
        await check_keystore(shared)
    shared.settings = Settings(development="crash-at=x,debug-log")
    with pytest.raises(KeystoreUnsafeError):
        await check_keystore(shared)
    shared.settings = Settings(development="unsafe-keystore")
    assert await check_keystore(shared) == "Redis runs with save '3600 1', wanted ''"
