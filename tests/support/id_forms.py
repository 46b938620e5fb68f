"""
People, and every way in which one person's identifier comes: made up here without a line of the code under test.

A `Human` is known under one identifier; `form` gives it as a program, keyboard or file writes it, `stranger` another's
identifier as near as can be.
"""

import random
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

MARKS = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad\u202a\u202c\u2066\u2069\ufe0f\u034f\u061c"
BLANKS = " \t\u00a0\u2003\u3000\u202f"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
ACCENTS = "éüøåçñšżłőßяжλωאمक한"
DOMAINS = (
    ("example.org", "example.org"),
    ("mail.example.co.uk", "mail.example.co.uk"),
    ("münchen.example", "xn--mnchen-3ya.example"),
    ("пример.example", "xn--e1afmkfd.example"),
)


@dataclass(frozen=True)
class Human:
    """Kind and the parts that make the identifier."""

    kind: str
    key: str
    domain: tuple[str, str] = ("", "")

    @property
    def plain(self) -> str:
        """As the rules would have it written."""
        return f"{self.key}@{self.domain[1]}" if self.domain[1] else self.key


def human(rng: random.Random) -> Human:
    """Somebody new."""
    kind = rng.choice(["address", "address", "number", "extension", "national", "uuid", "name"])
    if kind == "address":
        letters = [rng.choice(LETTERS + LETTERS + ACCENTS) for _ in range(rng.randint(2, 8))]
        return Human(kind, unicodedata.normalize("NFC", "".join(letters)), rng.choice(DOMAINS))
    if kind == "number":
        return Human(kind, "+" + str(rng.randint(10**9, 10**13)))
    if kind == "extension":
        return Human(kind, f"+{rng.randint(10**9, 10**12)};ext={rng.randint(1, 99)}")
    if kind == "national":
        return Human(kind, f"01{rng.randint(10**7, 10**8 - 1)}")
    if kind == "uuid":
        text = f"{rng.getrandbits(128):032x}"
        return Human(kind, f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")
    return Human(kind, f"{rng.choice(['User', 'user', 'u', 'U'])}-{rng.randint(1, 10**6)}{rng.choice(LETTERS)}")


def stranger(one: Human, rng: random.Random) -> Human:
    """Somebody else whose identifier is nearly the same."""
    if one.kind == "address":
        near = [
            Human("address", one.key + rng.choice(LETTERS), one.domain),
            Human("address", one.key, rng.choice([each for each in DOMAINS if each != one.domain])),
            Human("address", one.key.replace("ß", "ss") + ("x" if "ß" not in one.key else ""), one.domain),
            Human("address", _plain_accents(one.key), one.domain),
        ]
    elif one.kind == "extension":
        number, _, ext = one.key.partition(";ext=")
        near = [Human("extension", f"{number};ext={int(ext) + 1}"), Human("number", number)]
    elif one.kind == "number":
        near = [Human("number", one.key[:-1] + str((int(one.key[-1]) + 1) % 10)), Human("name", one.key[1:])]
    elif one.kind == "national":
        near = [Human("number", "+44" + one.key[1:]), Human("name", one.key[1:])]
    elif one.kind == "uuid":
        near = [Human("uuid", one.key[:-1] + ("0" if one.key[-1] != "0" else "1")), Human("name", one.key[1:])]
    else:
        near = [Human("name", one.key + "0"), Human("name", one.key.swapcase()), Human("name", "x-" + one.key)]
    others = [each for each in near if each.plain != one.plain]
    return rng.choice(others or [Human("name", f"other-{rng.randint(1, 10**9)}")])


def _plain_accents(text: str) -> str:
    bare = "".join(each for each in unicodedata.normalize("NFD", text) if not unicodedata.combining(each))
    return unicodedata.normalize("NFC", bare)


def form(one: Human, rng: random.Random) -> str:
    """The identifier in one of its forms."""
    text = _FORMS[one.kind](one, rng)
    if rng.random() < 0.3:
        text = unicodedata.normalize("NFD", text)
    if rng.random() < 0.2 and one.kind in {"address", "number", "national"}:
        text = "".join(chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each for each in text)
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        at = rng.choice([0, len(text), rng.randint(0, len(text))])
        text = text[:at] + rng.choice(MARKS) + text[at:]
    before, after = ("".join(rng.choice(BLANKS) for _ in range(rng.choice([0, 0, 0, 1, 2]))) for _ in range(2))
    return before + text + after


def _cased(text: str, rng: random.Random) -> str:
    changed = ["".join(rng.choice([each, _upper(each)]) for each in text), "".join(map(_upper, text)), text]
    return rng.choice(changed)


def _upper(letter: str) -> str:
    large = letter.upper()
    return large if len(large) == 1 and large.lower() == letter else letter


def _address(one: Human, rng: random.Random) -> str:
    domain = rng.choice(one.domain)
    local, domain = _cased(one.key, rng), _cased(domain, rng) + rng.choice(["", "", "."])
    schemes: list[Callable[[], str]] = [
        lambda: f"{local}@{domain}",
        lambda: f"{local}@{domain}",
        lambda: f"mailto:{local}@{domain}",
        lambda: f"SMTP:{local}@{domain}",
        lambda: f"{rng.choice(['sip', 'sips', 'SIP'])}:{local}@{domain}{rng.choice(['', ':5060', ';transport=tls'])}",
    ]
    return rng.choice(schemes)()


def _number(one: Human, rng: random.Random) -> str:
    digits, mark = one.key[1:], rng.choice(["+", "+", "00"])
    spread = "".join(digit + rng.choice(["", "", "", " ", "-", ".", "\u2011", "\u00a0"]) for digit in digits)
    spread = spread.rstrip(" -.\u2011\u00a0") if mark == "+" else digits
    return rng.choice(
        [
            one.key,
            mark + spread,
            f"tel:+{spread}",
            f"TEL:{one.key}",
            f"sip:{one.key}@gw.example.net;user=phone",
            f"sips:{one.key}@10.0.0.1:5061",
        ]
    )


def _extension(one: Human, rng: random.Random) -> str:
    number, _, ext = one.key.partition(";ext=")
    return rng.choice(
        [one.key, f"tel:{number};ext={ext}", f"{number} ext. {ext}", f"{number}x{ext}", f"{number} EXT {ext}"]
    )


def _national(one: Human, rng: random.Random) -> str:
    text = one.key
    return rng.choice(
        [
            text,
            f"{text[:4]} {text[4:]}",
            f"({text[:4]}) {text[4:]}",
            f"tel:{text}",
            f"{text[:3]} {text[3:6]} {text[6:]}",
        ]
    )


def _uuid(one: Human, rng: random.Random) -> str:
    text = rng.choice([one.key, one.key.upper()])
    return rng.choice([text, "{" + text + "}", f"urn:uuid:{text}"])


_FORMS: dict[str, Callable[[Human, random.Random], str]] = {
    "address": _address,
    "number": _number,
    "extension": _extension,
    "national": _national,
    "uuid": _uuid,
    "name": lambda one, _: one.key,
}
