"""`receipt verify` checks a receipt offline: needs neither Kafka nor Redis nor any setting."""

import json
from pathlib import Path

import click

from calllog_guard.cli._options import Args, argument, command, file, key
from calllog_guard.cli._output import say, show
from calllog_guard.client.answers import read_claims, receipts_key
from calllog_guard.core.cases.receipt import Receipt
from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.jose import public_forms, verify
from calllog_guard.errors import ConfigurationError, MessageError
from calllog_guard.reports.certificate import SignatureCheck, certificate


@command("receipt")
@argument("action", type=click.Choice(["verify"]))
@argument("file", metavar="FILE", type=Path, help="a receipt, or the statement of a month")
@key("the tenant's public receipt key", required=True)
@file("--page", metavar="OUT", help="also write it as a page (HTML) that a person can read")
def receipt(args: Args) -> int:
    """Check a receipt's signature and form; needs neither Kafka nor Redis."""
    pem, signature = receipts_key(args.key), "bad"
    try:
        content = verify(pem, args.file.read_bytes().decode("ascii", "replace").strip())
        signature = "good"
        claims = read_claims(content)
    except MessageError as error:
        told = {"verdict": "bad", "signature": signature, "claims": None, "why": str(error)}
        show(args, told, f"bad: {error}")
        return 1
    if args.page and not isinstance(claims, Receipt):
        raise ConfigurationError(
            "--page is for a receipt of a case: the page of a month is report --month M --html OUT"
        )
    if args.page and isinstance(claims, Receipt):
        checked = SignatureCheck(key=public_forms(pem)[2], name=args.key.name)
        args.page.write_text(certificate(claims, checked), "utf-8")
        say(str(args.page))
    told = {"verdict": "good", "signature": signature, "claims": json.loads(encode(claims))}
    show(args, told, f"good\n{encode(claims).decode()}")
    return 0
