"""`notice open FILE`: a notice as a letter, for the gateway that writes to persons and for recipients; offline."""

import json
from pathlib import Path

import click
import msgspec

from calllog_guard.adapters.disk.private_files import write_once
from calllog_guard.cli._options import Args, argument, command, file, key
from calllog_guard.cli._output import say, show
from calllog_guard.core.cases.notices import NOTICES, WORDS, Notice, Words
from calllog_guard.core.codec import decode, encode
from calllog_guard.core.crypto.jose import open_sealed
from calllog_guard.errors import ConfigurationError, MessageError, StateRefusedError
from calllog_guard.reports.notice import Sender, letter, letter_page


def _opened(args: Args) -> tuple[Notice, Words]:
    try:
        found = decode(NOTICES, args.file.read_bytes())
    except MessageError as error:
        raise StateRefusedError(f"{args.file} is no notice ({error})") from None
    try:
        return found, decode(WORDS, open_sealed(args.key.read_bytes(), found.jwe))
    except MessageError as error:
        raise ConfigurationError(f"the notice to {found.to} cannot be opened with --key ({error})") from None


@command("notice")
@argument("action", type=click.Choice(["open"]))
@argument("file", metavar="FILE", type=Path, help="a record of privacy.notices, in JSON")
@key("the private X25519 key of its addressee", required=True)
@file("--page", metavar="OUT", help="also write it as a page (HTML)")
def notice(args: Args) -> int:
    """Open a notice."""
    found, words = _opened(args)
    if (words.case, words.kind) != (found.case, found.kind):
        raise StateRefusedError(f"{args.file} says something else outside its seal than inside")
    text = letter(words, found.to, Sender()) if words.text is msgspec.UNSET else words.text
    if args.page:
        write_once(args.page, [letter_page(words, found.to, text).encode()])
        say(str(args.page))
    show(args, json.loads(encode(words)) | {"to": found.to, "text": text}, text.rstrip("\n"))
    return 0
