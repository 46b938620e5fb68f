"""Webhooks, as platforms send them to a worker on the real stack."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from platforms import PLATFORMS

SECRET = b"a-secret-of-zoom"
INGEST = """v = 1
[[source]]
name = "zoom"
mapping = "zoom"
scheme = "zoom"
secrets = ["zoom.secret"]
[[source]]
name = "daily"
mapping = "daily"
scheme = "bearer"
secrets = ["zoom.secret"]
"""


def with_sources(folder: Path, text: str = INGEST) -> None:
    """Name the sources of an installation."""
    secret = folder / "zoom.secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    (folder / "ingest.toml").write_text(text)


def addresses(log: Path) -> list[str]:
    """Where ingests took webhooks, by their log."""
    return re.findall(r'"serves": "([^"]+)", "sources"', log.read_text())


def post(url: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
    """Send a webhook; 0: nobody answers."""
    request = Request(url, body, {"Content-Type": "application/json", **headers})  # noqa: S310 - ours
    try:
        with urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, error.read()
    except (URLError, OSError):
        return 0, b""


def now() -> int:
    """Seconds since 1970."""
    return int(datetime.now(UTC).timestamp())  # noqa: TID251 - a platform has its own clock


def zoom(url: str, body: bytes, secret: bytes = SECRET) -> tuple[int, bytes]:
    """Send a webhook as Zoom does."""
    sent = PLATFORMS["zoom"](body, secret, now())
    return post(f"{url}/zoom", sent.headers, body)


def session(number: int) -> bytes:
    """A session that Daily reports."""
    began = now() - 600
    told = {
        "room": f"room-{number % 7}",
        "session_id": f"s{number}",
        "user_id": f"p{number}@example.org",
        "joined_at": began,
        "duration": 60,
    }
    return json.dumps({"type": "participant.left", "payload": told}).encode()


def daily(url: str, body: bytes) -> int:
    """Send a webhook with a bearer's token."""
    return post(f"{url}/daily", {"Authorization": f"Bearer {SECRET.decode()}"}, body)[0]


def moment(what: str, second: int, person: int = 1) -> bytes:
    """What Zoom reports of a meeting of an hour ago: `participant_joined`, `participant_left` or `ended`."""
    at = datetime.fromtimestamp(now() // 3600 * 3600 - 3600 + second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    told: dict[str, object] = {"uuid": "u1", "host_id": "h"}
    if what == "ended":
        told["end_time"] = at
    else:
        names = {"user_id": str(person), "email": f"ana-{person}@example.org", "user_name": "Ana Canary"}
        told["participant"] = names | {
            f"{what.rpartition('_')[2].removesuffix('ed').replace('left', 'leave')}_time": at
        }
    return json.dumps({"event": f"meeting.{what}", "payload": {"object": told}}).encode()


def joined() -> bytes:
    """A join that Zoom reports."""
    return moment("participant_joined", 0)
