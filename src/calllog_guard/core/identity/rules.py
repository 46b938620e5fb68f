"""
Who is one person: the named rules by which two identifiers are known to be the same.

In: an identifier as it came, and its tenant's rules.  Out: its one canonical form, or a word why there is none.
Rules: 1. The canonical form of a canonical form is itself.  2. What one person may write in two ways becomes one; what
          could be two people, or nobody, is refused, not guessed.  3. No letter becomes ASCII except by its width.
       4. A rule's name keeps its meaning for ever: another meaning is another name.
Source: Unicode annex 15 (NFC, stable for assigned letters); RFC 8264, 8265 (width, case), 8266 (blanks),
UTS 46 (domains), RFC 3261 (sip), RFC 3966 (tel), RFC 6068 (mailto), ITU-T E.164; GDPR Art. 5(1)(d).
"""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final
from unicodedata import category, decimal, decomposition, normalize
from urllib.parse import unquote_to_bytes

from calllog_guard.core.identifiers import SubjectId, is_guest
from calllog_guard.errors import MessageError

ID_BYTES: Final = 256
"""Of an identifier, as it came and in its canonical form."""
_ROUNDS: Final = 4
"""A URI may hold what other rules change; whatever is not at rest after so many rounds was made to confuse."""

AS_WRITTEN: Final = "as-written"
LOWERCASE_EMAIL: Final = "lowercase-email"
"""The two rules of the first release; each stands alone."""
CASE: Final = "address-case"

REFUSED: Final[dict[str, str]] = {
    "bad_id": "it is empty, longer than 256 bytes, or has control characters",
    "ambiguous_letter": "a letter in it looks like another one, as the Kelvin sign or a ligature from a PDF: type it "
    "anew",
    "damaged_text": "a program has damaged it: a replaced letter, a quotation mark or apostrophe of a spreadsheet",
    "ambiguous_number": "a number in it can be read in two ways, or a spreadsheet has rounded it: write it as "
    "+441632960961",
    "no_single_address": "it is not one address alone: give the address without a name, brackets, blanks or a second "
    "address",
}
"""Every word with which an identifier is refused, and what to do."""


def _refuse(reason: str) -> MessageError:
    return MessageError(reason)


# --- letters --------------------------------------------------------------------------------------------------------

_IGNORABLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Default_Ignorable_Code_Point: what Unicode wants shown as nothing."""
_WIDTH: Final = frozenset({"<wide>", "<narrow>"})
_SAME: Final = frozenset({"<initial>", "<medial>", "<final>", "<isolated>", "<noBreak>", "<compat>"})
"""The same letter by another number: shapes of Arabic, Thai SARA AM. Not these alone: what yields ASCII is refused."""
_KEPT: Final = re.compile("[\u3131-\u318e]")
"""Single letters of Hangul: taken for parts of a syllable they would melt into one."""
_BLANK: Final = re.compile(r"[\s\u0085]+")
_UNKNOWN: Final = frozenset({"Cc", "Cs", "Cn"})


def _without_marks(text: str) -> str:
    return text if text.isascii() else _IGNORABLE.sub("", text)


def _with_plain_blanks(text: str) -> str:
    return _BLANK.sub(" ", text).strip(" ")


def _of_one_form(text: str) -> str:
    if text.isascii():
        return text
    return normalize("NFC", "".join(letter if letter.isascii() else _letter(letter) for letter in text))


def _letter(letter: str) -> str:
    """
    The letter by its one number.

    Raises:
        MessageError: Not assigned, a letter replaced by a decoder, or one that stands for ASCII and is none.

    """
    if category(letter) in _UNKNOWN:
        raise _refuse("bad_id")
    if letter == "\ufffd":
        raise _refuse("damaged_text")
    tag, _, codes = decomposition(letter).partition(" ")
    if tag in _WIDTH:
        return "".join(chr(int(code, 16)) for code in codes.split())
    image = normalize("NFKC" if tag[:1] == "<" else "NFC", letter)
    if any(each.isascii() for each in image):
        raise _refuse("ambiguous_letter")
    return image if tag in _SAME and not _KEPT.match(letter) else letter


def _lower(text: str) -> str:
    """Lower case within a script: `str.lower` makes ASCII of the Kelvin sign and of the Turkish dotted I."""
    return text.lower() if text.isascii() else "".join(map(_lower_letter, text))


def _lower_letter(letter: str) -> str:
    small = letter.lower()
    if letter.isascii() or (len(small) == 1 and not small.isascii()):
        return small
    raise _refuse("ambiguous_letter")


# --- addresses and numbers ------------------------------------------------------------------------------------------

_NOT_ONE: Final = re.compile('[<>",; ]')
_SCHEME: Final = re.compile(r"(mailto|smtp|tel|sips?):", re.IGNORECASE)
_PORT: Final = re.compile(r":[0-9]*\Z")
_SEPARATORS: Final = re.compile(r"[-\u2010-\u2015\u2212 ./()]")
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}\Z")
_FROM_ABROAD: Final = re.compile(r"00 ?[1-9]")
_TRUNK: Final = re.compile(r"\(0\)")
_EXTENSION: Final = re.compile(r" ?(?:ext\.? ?|x ?)([0-9]{1,15})\Z", re.IGNORECASE)
_NATIONAL: Final = re.compile(r"[0-9 ()]+\Z")
_NATIONAL_DIGITS: Final = re.compile(r"0[1-9][0-9]{5,13}\Z")
_ROUNDED: Final = re.compile(r"[0-9]+(?:[.,][0-9]+[eE]\+?|[eE]\+)[0-9]+\Z|[0-9]{7,15}[.,]0+\Z")
_WRAPPED: Final = re.compile(r"""'[-+=@0-9]|=|(['"]).*\1\Z""")
_CONTEXT: Final = "phone-context"
_TEL_PARTS: Final = ("ext", "isub", _CONTEXT)
"""What tells two people behind one number apart (RFC 3966, section 3)."""
_UUID: Final = re.compile(r"(?:urn:uuid:)?(\{)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?(1)\})\Z", re.IGNORECASE)


def _named_by_uri(text: str) -> str:
    """The address or number in a `mailto:`, `tel:`, `sip:`, `sips:` or `SMTP:` URI; no ports, parameters, passwords."""
    scheme = _SCHEME.match(text)
    if scheme is None:
        return text
    rest = text[scheme.end() :]
    if scheme[1].lower() == "tel":
        return _of_tel(rest) or text
    if scheme[1].lower() in {"mailto", "smtp"}:
        address = _unquoted(rest.partition("?")[0])
        return address if "@" in address else text
    return _of_sip(rest) or text


def _unquoted(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise _refuse("damaged_text") from None


def _of_tel(text: str) -> str:
    """A number with what tells people behind it apart."""
    number, *parameters = text.split(";")
    given = dict(each.lower().partition("=")[::2] for each in parameters)
    names = [name for name in _TEL_PARTS if given.get(name) and not (name == _CONTEXT and number.startswith("+"))]
    return _unquoted(number) + "".join(f";{name}={given[name]}" for name in names)


def _of_sip(text: str) -> str:
    """`user@host`, or the user's number where it is one of the whole world; empty where no user is named."""
    user, at, host = text.partition("@")
    if not at:
        return ""
    name = _of_tel(user.partition(":")[0])
    if _E164.match(_SEPARATORS.sub("", name.partition(";")[0])):
        return name
    host = re.split("[;?]", host, maxsplit=1)[0]
    return f"{_unquoted(user.partition(':')[0])}@{_PORT.sub('', host)}"


def _with_one_domain(text: str) -> str:
    """The domain in lower case and in ASCII (`xn--`), without a final dot; the rest as it is."""
    if "@" not in text:
        return text
    if _NOT_ONE.search(text):
        raise _refuse("no_single_address")
    local, _, domain = text.rpartition("@")
    domain, slash, resource = domain.partition("/")
    if not local or not domain:
        return text
    labels = _lower(domain.replace("\u3002", ".").removesuffix(".")).split(".")
    return f"{local}@{'.'.join(map(_label, labels))}{slash}{resource}"


def _label(label: str) -> str:
    return label if label.isascii() else "xn--" + normalize("NFC", label).encode("punycode").decode("ascii")


def _in_small_letters(text: str) -> str:
    """Of whatever has an @; the two small sigmas are one letter, whose place in a word tells them apart."""
    return _lower(text).replace("\u03c2", "\u03c3") if "@" in text else text


def _as_number(text: str) -> str:
    """
    `+` and digits for a number of the whole world, with `;ext=` behind it; a national one without blanks and brackets.

    No country is guessed: what begins with neither `+` nor `00` stays what it is.
    """
    if "@" in text:
        return text
    number = text if text.isascii() else "".join(str(decimal(letter, letter)) for letter in text)
    if _ROUNDED.match(number):
        raise _refuse("ambiguous_number")
    if number.startswith(("+", "(+")) or _FROM_ABROAD.match(number):
        return _worldwide(number) or text
    digits = re.sub("[ ()]", "", number)
    return digits if _NATIONAL.match(number) and _NATIONAL_DIGITS.match(digits) else text


def _worldwide(text: str) -> str:
    """Empty where it is no number of the whole world."""
    number, mark, parts = text.partition(";")
    spelled = None if mark else _EXTENSION.search(number)
    if spelled:
        number, mark, parts = number[: spelled.start()], ";", f"ext={spelled[1]}"
    digits = _SEPARATORS.sub("", number)
    digits = "+" + digits[2:] if digits.startswith("00") else digits
    if not _E164.match(digits):
        return ""
    if _TRUNK.search(number):
        raise _refuse("ambiguous_number")
    return digits + mark + parts.lower()


def _undamaged(text: str) -> str:
    if _WRAPPED.match(text):
        raise _refuse("damaged_text")
    return text


def _as_uuid(text: str) -> str:
    found = _UUID.match(text)
    return found[2].lower() if found else text


# --- the rules ------------------------------------------------------------------------------------------------------

RULES: Final[dict[str, tuple[Callable[[str], str], str]]] = {
    "marks": (
        _without_marks,
        "invisible marks count for nothing: zero widths, byte order marks, soft hyphens, directions, variants",
    ),
    "blanks": (
        _with_plain_blanks,
        "blanks around it count for nothing, any run of blanks inside is one, no-break and wide ones too",
    ),
    "unicode": (
        _of_one_form,
        "one form of a letter (NFC), full and half width are one; look-alikes of ASCII are refused",
    ),
    "undamaged": (_undamaged, "what a spreadsheet has put around it is refused"),
    "uris": (
        _named_by_uri,
        "`mailto:`, `tel:`, `sip:` and `sips:` name what they lead to, without port and parameters",
    ),
    "domains": (
        _with_one_domain,
        "the domain of an address in any case, in letters or as `xn--`, with or without a final dot",
    ),
    CASE: (_in_small_letters, "letters of whatever has an @ in any case, each within its script"),
    "numbers": (
        _as_number,
        (
            "`+` or `00` and 7 to 15 digits with any separators are one number; extensions are told apart; no country "
            "is guessed"
        ),
    ),
    "uuids": (_as_uuid, "UUIDs in any case, with or without braces or `urn:uuid:`"),
}
"""By name, in the order in which they are applied: what each does to an identifier, and what it means."""
DEFAULT: Final = tuple(RULES)
"""The rules of a new tenant."""
_LEGACY: Final[dict[str, Callable[[str], str]]] = {
    AS_WRITTEN: lambda text: text,
    LOWERCASE_EMAIL: lambda text: text.lower() if "@" in text else text,
}

_PLAIN: Final = re.compile(
    r"(?:[a-z0-9][a-z0-9._+-]*@[a-z0-9-]+(?:\.[a-z0-9-]+)*|\+[1-9][0-9]{6,14}|[a-z][a-z0-9_-]*)\Z", re.ASCII
)
"""What every set of rules leaves as it is, and nearly all identifiers are."""


def legacy_identity(*, lowercase_email: bool) -> tuple[str, ...]:
    """The rules by which the first release knew people: as the policy's `lowercase_email` said."""
    return (LOWERCASE_EMAIL,) if lowercase_email else (AS_WRITTEN,)


def folds_case(rules: Sequence[str]) -> bool:
    """Whether e-mail addresses are one person whatever their case."""
    return CASE in rules or LOWERCASE_EMAIL in rules


def unknown_rules(rules: Sequence[str]) -> list[str]:
    """The names that are none of ours, and those that do not stand beside others."""
    if len(rules) == 1 and rules[0] in _LEGACY:
        return []
    return [name for name in rules if name not in RULES]


def in_order(rules: Sequence[str]) -> tuple[str, ...]:
    """The same rules as they are applied and kept."""
    return tuple(rules) if set(rules) & _LEGACY.keys() else tuple(name for name in RULES if name in rules)


def narrower(rules: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The rules by which people are one now, and would be told apart by those wanted."""
    kept = {CASE if name == LOWERCASE_EMAIL and LOWERCASE_EMAIL not in wanted else name for name in rules}
    return [name for name in in_order(tuple(kept - {AS_WRITTEN})) if name not in wanted]


def is_plain(text: str) -> bool:
    """Whether all sets of rules leave its form as it is: letters, digits and marks of ASCII, of any allowed length."""
    return len(text) <= ID_BYTES and _PLAIN.match(text) is not None


def canonical(text: str, rules: Sequence[str], pointer: str = "") -> SubjectId:
    """
    The one form of an identifier under a tenant's rules.

    Raises:
        MessageError: It has none; the reason is a word of REFUSED.

    """
    if is_plain(text):
        return SubjectId(text)
    if len(rules) == 1 and rules[0] in _LEGACY:
        if is_guest(text):  # of one call, and nobody's to name
            raise MessageError("bad_id", pointer)
        return SubjectId(_LEGACY[rules[0]](text))
    try:
        return SubjectId(_at_rest(text, rules))
    except MessageError as error:
        raise MessageError(error.reason, pointer) from None


def _at_rest(text: str, rules: Sequence[str]) -> str:
    for _ in range(_ROUNDS):
        before = text
        for name in rules:
            text = RULES[name][0](text)
        if text == before:
            break
    else:
        raise _refuse("damaged_text")
    if not text or len(text.encode()) > ID_BYTES or any(category(letter) == "Cc" for letter in text):
        raise _refuse("bad_id")
    return text


def spellings(text: str, rules: Sequence[str]) -> set[str]:
    """The forms in which an identifier may stand where it should not: as it was given, and as others would write it."""
    found = {text, text.strip()}
    with suppress(MessageError):  # it has no other form
        found.add(canonical(text, rules or DEFAULT))
    found |= {form for each in found for form in (each.lower(), each.upper())}
    found |= {f"00{each[1:]}" for each in found if _E164.match(each)} | {
        each[1:] for each in found if _E164.match(each)
    }
    return (found | {normalize(form, each) for each in found for form in ("NFC", "NFD")}) - {""}
