"""What `tests/vectors/identity_v1.json` holds: identifiers, and what becomes of them under each set of rules."""

import json

from calllog_guard.core.identity.rules import AS_WRITTEN, DEFAULT, LOWERCASE_EMAIL, canonical
from calllog_guard.errors import MessageError

TEXTS = (
    "alice@example.org", "Alice@Example.ORG", "  alice@example.org\u00a0", "alice@example.org\u200b",
    "\ufeffalice@example.org",
    "al\u00adice@example.org",
    "\uff41\uff4c\uff49\uff43\uff45\uff20\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45\uff0e\uff4f\uff52\uff47",
    "alice@example.org.", "mailto:Alice@example.org?subject=x", "SMTP:Alice@example.org", "sip:alice@example.org",
    "SIPS:%61lice:secret@Example.org:5061;transport=tls", "sip:alice@[2001:db8::1]:5060", "sip:7042@pbx.example.org",
    "sip:alice",
    "<alice@example.org>", "Alice <alice@example.org>", '"Alice" <sip:alice@example.org>', "'alice@example.org'",
    '"alice@example.org"',
    "alice@example.org; bob@example.org", "alice@example.org,bob@example.org", "alice @example.org",
    "jose\u0301@example.org", "jos\u00e9@example.org", "JOS\u00c9@EXAMPLE.ORG", "\u212aate@example.org",
    "kate@example.org",
    "Kate@example.org", "\ufb01ona@example.org", "\u0130brahim@example.org", "I\u0307brahim@example.org",
    "\u0131@example.org", "i@example.org",
    "STRA\u1e9eE@example.org", "stra\u00dfe@example.org", "strasse@example.org", "a@M\u00fcnchen.example",
    "a@xn--mnchen-3ya.example",
    "a@mu\u0308nchen.example", "a@example\u3002org", "\u039f\u0394\u039f\u03a3@example.gr",
    "\u03bf\u03b4\u03bf\u03c2@example.gr",
    "+441632960961", "+44 1632 960961", "+44-1632-960-961", "(+44) 1632/960.961", "+44\u20111632\u2011960961",
    "tel:+44-1632-960961",
    "tel:+441632960961;ext=12", "+44 1632 960961 ext. 12", "+44 1632 960961x12", "tel:+441632960961;isub=3;verstat=x",
    "00441632960961", "00 44 1632 960961", "+44 (0)1632 960961", "0044 (0)1632 960961", "01632 960961",
    "(01632) 960961", "01632-960961",
    "441632960961", "+1", "+123456", "+1234567890123456", "4.41632E+11", "4,41632e+11", "441632960961.0", "12e45",
    "'+441632960961",
    '="+441632960961"', "+\u0664\u0664\u0661\u0666\u0663\u0662\u0669\u0666\u0660\u0669\u0666\u0661",
    "\u0660\u0660\u0664\u0664 1632 960961", "\u0660\u0661\u0666\u0663\u0662\u0669\u0666\u0660\u0669\u0666\u0661",
    "\u0661\u0662\u0663",
    "sip:+441632960961@gw.example.net;user=phone", "sip:+44-1632-960961;ext=9@10.0.0.1",
    "tel:7042;phone-context=Example.com",
    "tel:01632 960961", "whatsapp:+441632960961",
    "F47AC10B-58CC-4372-A567-0E02B2C3D479", "{f47ac10b-58cc-4372-a567-0e02b2c3d479}",
    "urn:uuid:F47ac10b-58cc-4372-a567-0e02b2c3d479",
    "{f47ac10b-58cc-4372-a567-0e02b2c3d479", "u-123", "U-123", "12-345", "123-45", "0012-345", "DOMAIN\\alice",
    "uid=alice,ou=people,dc=example", "@Alice:matrix.org", "alice@example.org/Phone", "John  Smith", "John\u00a0Smith",
    "john smith",
    "\u0e19\u0e49\u0e33", "\u0e19\u0e49\u0e4d\u0e32", "\u314b\u314f", "\u3132", "x\u00b2", "\u2468", "\ufdfa",
    "\ufe8e", "\u0627", "\u32a3",
    "\uff76\uff9e", "\u30ac", "", " ", "\u200b", "a\u0007b", "a\ufffdb", "a\u0378b", "\u2028alice@example.org",
    "\u00e9" * 129,
)  # fmt: skip
SETS = {"default": DEFAULT, AS_WRITTEN: (AS_WRITTEN,), LOWERCASE_EMAIL: (LOWERCASE_EMAIL,)}


def outcome(text: str, rules: tuple[str, ...]) -> str:
    """The canonical form, or the word of the refusal behind `refused:`."""
    try:
        return canonical(text, rules)
    except MessageError as error:
        return f"refused: {error.reason}"


def vectors() -> dict[str, object]:
    """By text and set of rules."""
    return {
        "default": list(DEFAULT),
        "forms": {text: {name: outcome(text, rules) for name, rules in SETS.items()} for text in TEXTS},
    }


if __name__ == "__main__":
    print(json.dumps(vectors(), indent=1))  # noqa: T201
