"""What a receipt shows a person, and that it can be checked by whoever holds the public key and nothing else."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from calllog_guard.core.cases.receipt import STATEMENT, PreviewTotal, Receipt
from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.jose import sign
from calllog_guard.core.decisions.outcome import Observed
from calllog_guard.reports.certificate import SignatureCheck, certificate

AT = datetime(2026, 11, 24, 9, tzinfo=UTC)
LOOK = Observed(
    how=("consumer:read_uncommitted", "files:segments", "keystore:rewritten"),
    partition=7,
    from_=0,
    to=918300,
    replicas=3,
    in_sync=3,
    on_disk=1,
    at=AT,
)
CHECKED = SignatureCheck(key="k" * 43, name="iocom-receipts.pub.pem")
RECEIPT = Receipt(
    case="A" * 22,
    tenant="iocom",
    request="erase-0001",
    stage="absent",
    final=True,
    legs=1204,
    shredded=True,
    observed=LOOK,
    stages={"absent": AT, "accepted": AT - timedelta(hours=1), "fenced": AT - timedelta(hours=1)},
    bounds={"cache_s": 60, "events": AT, "requests": AT, "dead": AT, "notices": AT, "exports": AT, "backup_end": AT},
    statement=STATEMENT,
    pol="2026-11-01",
    at=AT,
)


def page(receipt: Receipt) -> str:
    """The page of a receipt that was checked."""
    return certificate(receipt, CHECKED)


def test_the_page_says_what_was_seen_and_what_was_not() -> None:
    text = page(RECEIPT)
    for told in ("1,204 records", "0 to 918,300", "3 of 3", "1 of 3", "was not seen", STATEMENT, "60 seconds"):
        assert told in text
    for left in ("first published", "This request as it was sent", "sealed to the operator", "Copies made", "Backups"):
        assert left in text
    assert "second certificate" in text


def test_the_page_says_until_when_others_records_may_name_a_call_by_its_id() -> None:
    """What is left of somebody in another's record is left, and is said."""
    assert "same calls" not in page(RECEIPT)
    left = msgspec.structs.replace(RECEIPT, bounds=RECEIPT.bounds | {"clear_calls": AT + timedelta(days=90)})
    assert "Other people&#39;s own records of the same calls" in page(left)


def test_the_page_of_a_look_at_every_disk_has_no_reservation() -> None:
    whole = msgspec.structs.replace(RECEIPT, observed=msgspec.structs.replace(LOOK, on_disk=3), stage="gone")
    assert "was not seen" not in page(whole)
    assert "second certificate" not in page(whole)


def test_a_receipt_on_the_way_is_no_certificate_on_the_page() -> None:
    early = msgspec.structs.replace(RECEIPT, stage="tombstoned", final=False, observed=None, statement=None)
    text = page(early)
    assert "Certificate" not in text
    assert "still to be observed" in text


def test_what_a_receipt_says_is_shown_as_text() -> None:
    """A signer may write anything into free fields; the page must not run it."""
    odd = msgspec.structs.replace(RECEIPT, request="<script>x</script>", kept=({"basis": "<b>"},))
    assert "<script>" not in page(odd)
    assert "<b>" not in page(odd)


def verified(receipt: Path, key: Path) -> tuple[int, dict[str, str]]:
    """The command in a process that knows nothing: no settings, another folder."""
    environment = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    command = [
        sys.executable,
        "-m",
        "calllog_guard.cli",
        "receipt",
        "verify",
        str(receipt),
        "--key",
        str(key),
        "--json",
    ]
    done = subprocess.run(
        command, env=environment, cwd=receipt.parent, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
def test_a_receipt_is_verified_with_the_public_key_alone(tmp_path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    key, good, forged = tmp_path / "key.pub.pem", tmp_path / "good.jws", tmp_path / "forged.jws"
    key.write_bytes(public)
    token = sign(pem, "iocom-receipts", encode(RECEIPT))
    good.write_text(token + "\n")
    head, _, signature = token.split(".")
    other = sign(pem, "iocom-receipts", encode(msgspec.structs.replace(RECEIPT, legs=0))).split(".")[1]
    forged.write_text(f"{head}.{other}.{signature}")
    code, told = verified(good, key)
    assert (code, told["verdict"]) == (0, "good")
    code, told = verified(forged, key)
    assert (code, told["verdict"]) == (1, "bad")


def test_the_page_says_what_was_counted_before_an_approval_and_what_it_was() -> None:
    """Where an officer decided on a number, the page has both; nowhere else does it name an officer's count."""
    found = msgspec.structs.replace(RECEIPT, previewed=PreviewTotal(legs=1200, months=1, at=AT - timedelta(hours=2)))
    said = "1,200 records of calls in 1 month, on 24 November 2026, 07:00:00 UTC; "
    assert said + "removed: 1,204" in page(found)
    assert said + "given: 1,204" in page(msgspec.structs.replace(found, stage="exported", shredded=False))
    assert "Counted before approval" not in page(RECEIPT)
