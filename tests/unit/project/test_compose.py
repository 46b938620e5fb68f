"""`docker compose up` makes a working stack from nothing, for this machine alone; no worker gets a person's key."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = importlib.import_module("yaml").safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
PAGE = (ROOT / "docs/how-to/docker.md").read_text("utf-8")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ALWAYS = ("protector", "desk", "keeper", "auditor")
SOURCES = ("ingest", "sessions")
"""Workers that need an `ingest.toml`."""
WORKERS = (*ALWAYS, *SOURCES)


def volumes(name: str) -> dict[str, str]:
    """Where a service has which volume."""
    pairs = [each.split(":") for each in SERVICES[name].get("volumes", ()) if ":" in each]
    return {pair[0]: ":".join(pair[1:]) for pair in pairs}


def test_setup_waits_for_servers_that_answer_and_workers_wait_for_setup() -> None:
    """The first command used to fail: it raced Kafka."""
    assert SERVICES["setup"]["depends_on"] == {
        "kafka": {"condition": "service_healthy"},
        "redis": {"condition": "service_healthy"},
    }
    assert "profiles" not in SERVICES["setup"]
    for name in WORKERS:
        assert SERVICES[name]["depends_on"] == {"setup": {"condition": "service_completed_successfully"}}
    for name in (*WORKERS, "kafka", "redis"):
        assert SERVICES[name]["healthcheck"]["test"]


@pytest.mark.parametrize("name", WORKERS)
def test_no_worker_has_a_private_key_of_people_or_may_write_the_policy(name: str) -> None:
    assert volumes(name)["guard"] == "/guard:ro"
    assert "people" not in volumes(name)
    assert "/people" in volumes("setup")["people"]
    copied = re.findall(r"cp (\S+) ", "".join(SERVICES["setup"]["entrypoint"]))
    assert copied == ["/people/policy.toml", "/people/keys/*.pub.pem"]


def test_what_needs_an_ingest_file_starts_by_its_profile_alone() -> None:
    """`docker compose up` would otherwise restart both for ever; the secrets of platforms reach nobody else."""
    assert all(SERVICES[name]["profiles"] == ["sources"] for name in SOURCES)
    assert not [name for name in ALWAYS if "profiles" in SERVICES[name]]
    where = {name: volumes(name)["sources"] for name in SERVICES if "sources" in volumes(name)}
    assert where == {"ingest": "/sources:ro", "cli": "/sources"}
    image = (ROOT / "Dockerfile").read_text("utf-8")
    assert "CALLLOG_GUARD_INGEST=/sources/ingest.toml" in image
    assert re.search(r"install -d -o guard .* /sources ", image)
    assert SERVICES["ingest"]["environment"]["CALLLOG_GUARD_INGEST_HTTP"] == "0.0.0.0:6080"
    assert "127.0.0.1:6080:6080" in SERVICES["ingest"]["ports"]
    assert SERVICES["ingest"]["environment"].items() > SERVICES["protector"]["environment"].items()


def test_every_port_is_on_this_machine_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_data_is_in_volumes_and_nothing_of_ours_runs_as_root() -> None:
    assert volumes("kafka")["log"] == SERVICES["kafka"]["environment"]["KAFKA_LOG_DIRS"]
    assert volumes("redis")["keystore"] == "/data"
    image = (ROOT / "Dockerfile").read_text("utf-8")
    assert re.findall(r"^USER (\w+)$", image, re.MULTILINE) == ["guard"]
    assert "--require-hashes" in image
    for name in (*WORKERS, "setup", "cli"):
        assert SERVICES[name]["cap_drop"] == ["ALL"]
        assert "user" not in SERVICES[name]


def test_one_service_builds_the_image_that_all_others_run() -> None:
    """Built by each, the copies differed, and the next `up` replaced the workers; a name of its own would be pulled."""
    builders = [name for name, service in SERVICES.items() if "build" in service]
    assert builders == ["setup"]
    assert "image" not in SERVICES["setup"]
    for name in (*WORKERS, "cli"):
        assert SERVICES[name]["image"] == "${COMPOSE_PROJECT_NAME}-setup"
        assert SERVICES[name]["pull_policy"] == "never"


def test_every_volume_has_a_name_and_goes_when_all_is_to_be_forgotten() -> None:
    """A volume without a name outlives `down`; one that only a profile uses outlives `down --volumes` without it."""
    mounts = [each for service in SERVICES.values() for each in service.get("volumes", ())]
    assert mounts
    assert [each for each in mounts if each.split(":")[0] not in COMPOSE["volumes"]] == []
    forgotten = [name for name, service in SERVICES.items() if "cli" not in service.get("profiles", ())]
    assert {each for name in forgotten for each in volumes(name)} == set(COMPOSE["volumes"])


def test_the_page_stops_also_what_the_profile_started() -> None:
    stops = re.findall(r"^docker compose (.*)\bdown\b(.*)$", PAGE, re.MULTILINE)
    assert len(stops) > 1
    assert {before for before, _ in stops} == {"--profile sources "}
