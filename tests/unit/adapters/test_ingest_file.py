"""`ingest.toml` is read as a whole, or refused with what to do."""

from pathlib import Path

import pytest

from calllog_guard.adapters.mappings.files import SHIPPED
from calllog_guard.adapters.mappings.ingest_file import ingest_sources
from calllog_guard.errors import ConfigurationError


def written(folder: Path, text: str, **secrets: bytes) -> Path:
    for name, content in secrets.items():
        path = folder / f"{name}.secret"
        path.write_bytes(content)
        path.chmod(0o600)
    path = folder / "ingest.toml"
    path.write_text(text)
    return path


def test_sources_are_read_with_their_mappings_settings_and_secrets(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text((SHIPPED / "daily.toml").read_text())
    found = ingest_sources(
        written(
            tmp_path,
            """v = 1
[[source]]
name = "zoom"
mapping = "zoom"
scheme = "zoom"
secrets = ["a.secret", "b.secret"]
window_s = 60
[[source]]
name = "calls"
mapping = "own.toml"
scheme = "daily"
secrets = ["c.secret"]
[[source]]
name = "pbx"
mapping = "freeswitch"
settings = { country = "44" }
[[source]]
name = "voice"
mapping = "twilio"
scheme = "twilio"
secrets = ["a.secret"]
url = "https://hooks.example.org/voice"
""",
            a=b"first\n",
            b=b"second",
            c=b"YWJj\n",
        )
    )
    assert list(found) == ["zoom", "calls", "pbx", "voice"]
    assert (found["zoom"].keys.secrets, found["zoom"].keys.window_s) == ([b"first", b"second"], 60)
    assert found["calls"].keys.secrets == [b"abc"]
    assert found["calls"].mapping.file.title == "Daily"
    assert (found["pbx"].signed, found["pbx"].mapping.file.settings.country) == (None, "44")
    assert found["voice"].url == "https://hooks.example.org/voice"


ZOOM = 'v = 1\n[[source]]\nname = "zoom"\nmapping = "zoom"\nscheme = "zoom"\nsecrets = ["a.secret"]\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("v = 1\n", "missing_field"),
        ("v = 2\n", "ingest.md"),
        ("not toml", "no TOML"),
        (ZOOM + 'passwort = "x"\n', "unknown_field"),
        (ZOOM.replace('"zoom"\nmapping', '"Zoom/x"\nmapping'), "wrong_value"),
        (ZOOM + ZOOM.partition("\n")[2], "several sources are named zoom"),
        (ZOOM.replace('mapping = "zoom"', 'mapping = "zum"'), "source zoom: no mapping is named zum"),
        (ZOOM.replace('mapping = "zoom"', 'mapping = "asterisk-csv"'), "calllog-guard import"),
        (ZOOM.replace('["a.secret"]', "[]"), "a scheme and no secret"),
        (ZOOM.replace('["a.secret"]', '["none.secret"]'), "none.secret cannot be read"),
        (ZOOM.replace('["a.secret"]', '["a.secret", "a.secret", "a.secret"]'), "ingest.md"),
        (ZOOM.replace('scheme = "zoom"\n', ""), "a secret and no scheme"),
        (ZOOM.replace('scheme = "zoom"', 'scheme = "none"'), "ingest.md"),
        (ZOOM.replace('scheme = "zoom"', 'scheme = "twilio"'), "say it in `url`"),
        (ZOOM.replace('scheme = "zoom"', 'scheme = "daily"'), "in base64"),
        (ZOOM + "window_s = 0\n", "wrong_value"),
        (ZOOM + 'settings = { zone = "Mars/Olympus" }\n', "no such time zone"),
    ],
)
def test_what_is_wrong_is_said_and_no_secret_with_it(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text, a=b"v3ry-s3cret!")
    with pytest.raises(ConfigurationError) as found:
        ingest_sources(path)
    assert said in str(found.value)
    assert "v3ry" not in str(found.value)


def test_a_secret_that_everybody_can_read_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, ZOOM, a=b"secret")
    (tmp_path / "a.secret").chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        ingest_sources(path)


def test_a_file_that_is_not_there_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="CALLLOG_GUARD_INGEST"):
        ingest_sources(tmp_path / "ingest.toml")
