"""Workers whose wrapping keys lie in a KMS across the network."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from installation import Make, event, raw
from moto.server import ThreadedMotoServer
from patience import PATIENCE_S

pytestmark = pytest.mark.real


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of moto's server, with credentials in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    slow = Config(connect_timeout=PATIENCE_S, read_timeout=PATIENCE_S)  # the first answer takes the longest
    with closing(boto3.client("kms", "eu-west-2", endpoint_url=f"http://{host}:{port}", config=slow)) as client:
        client.list_keys()
    yield f"awskms://{host}:{port}?region=eu-west-2&tls=off"
    server.stop()


def test_calls_are_protected_under_a_remote_kms(make: Make, aws: str, tmp_path: Path) -> None:
    """Nothing but wrapped blobs on the disk that the workers share."""
    here = make(KMS=aws, RING=str(tmp_path / "shared"))
    here.publish("calllog.events", [raw(event("call-1", "alice@example.org", "bob@example.org"))])
    here.start("protector")
    here.settled(lambda: len(here.live()) == 2, "two legs")
    verdicts = {line["check"]: line["verdict"] for line in json.loads(here.cli("doctor", "--json", code=None))}
    assert (verdicts["KMS"], verdicts["KMS secrets"]) == ("ok", "ok")
    (epoch,) = json.loads(here.cli("keystore", "status", "--json"))["epochs"]
    names = {path.name for path in (tmp_path / "shared" / "ring").iterdir()}
    of_tenant = {
        "pepper.iocom",
        "profile.iocom.1",
        "profile.iocom.2",
        "receipts.iocom@desk",
        "desk.iocom.1@desk",
        "cases.iocom@desk",
        "cases.iocom@keep",
        "outcomes.iocom@audit",
        "secret-case.iocom@office",
        "use-ledger.iocom@audit",
        "use-cases.iocom@audit",
        "use-cases.iocom@office",
        "use-parked.iocom@protect",
        "moments.iocom@ingest",
        "moments.iocom@pair",
        "signer.iocom.audit@audit",
        "signer.iocom.desk@desk",
        "signer.iocom.keep@keep",
    }
    weeks = {f"{kind}.1{half}" for kind in ("letters", "moments") for half in ("", ".public")}
    assert names == of_tenant | {"guard", f"epoch.{epoch}"} | weeks
    assert not any((here.directory / "kms").iterdir()), "the development KMS is not used"
