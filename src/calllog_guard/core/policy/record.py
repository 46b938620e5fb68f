"""
The record of processing activities that a controller must keep, written from the policy itself.

Source: GDPR Art. 30(1)(a) to (g).
"""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, Final

import msgspec

from calllog_guard.core.policy.changes.differences import differences
from calllog_guard.core.policy.facts import said
from calllog_guard.core.policy.form import PurposeTable, TenantPolicy, Version
from calllog_guard.core.policy.versions import in_force

BASES: Final[dict[str, str]] = {
    "contract": "performance of a contract, Art. 6(1)(b)",
    "legal_duty": "legal obligation, Art. 6(1)(c)",
    "consent": "consent, Art. 6(1)(a); off until given, withdrawn at any time",
    "legitimate_interests": "legitimate interests, Art. 6(1)(f)",
}
OBLIGED: Final = (
    "A law may oblige a provider of communications to keep such data for longer, and it may be barred from saying "
    "whether it is."
)
"""The same of every provider, whether or not it is (Investigatory Powers Act 2016 s.95)."""
SUBJECTS: Final = ("users who take part in calls, and those whom they call",)
DATA: Final = (
    "identifier of the person, as the backend knows it (e-mail address, user id or telephone number)",
    "call: identifier, kind, outcome, start, end, number of parties",
    "part in the call: role, joined, left",
    "requests of the person: kind, ticket, dates, stages; no identity once a case is closed",
)
GUESTS: Final = (
    "guests whom nobody knows: their part in a call under an id of that call alone, by which nobody can be found"
)
"""Where the policy says that guests leave legs."""
MEASURES: Final = (
    "every leg is sealed under a key of its own person and month (AES-256-GCM); no other party is named in it",
    "names in keys and topics are pseudonyms from random secrets, which exist in the keystore alone",
    "the keystore is sealed under wrapping keys of a week, held by a KMS; old ones are destroyed",
    (
        "erasure destroys the person's secrets and tombstones every leg; absence is observed from outside before it is "
        "certified"
    ),
    "reading needs a named actor and purpose, and is recorded before the first line is shown",
    "requests and changes of this policy are signed; refused ones are reported",
    "what is due is tombstoned by this policy; incoming plain text is cut behind what was sealed",
)


def record(
    versions: Sequence[Version], tenant: str, day: date, whole: Callable[[Version], Version] = lambda version: version
) -> dict[str, Any] | None:
    """
    The record of a tenant on a day; None when no version names it then.

    Args:
        versions: All that were ever said, revisions that others have replaced too.
        whole: A version with its keys in it, so that one of the file and a published one are compared by what they say.

    """
    now = in_force(versions, day)
    table = now.tenant.get(tenant) if now else None
    if now is None or table is None:
        return None
    return {
        "tenant": tenant,
        "on": day.isoformat(),
        "version": now.effective.isoformat(),
        "controller": said(table.controller) or "",
        "contact": said(table.contact) or "",
        "data_protection_officer": said(table.data_protection_officer) or "",
        "regime": table.regime,
        "supervisory_authority": table.authority,
        "public_communications_provider": table.public_communications_provider,
        "obliged": OBLIGED if table.public_communications_provider else "",
        "purposes": [_purpose(name, each) for name, each in table.purposes.items()],
        "categories_of_data_subjects": list(SUBJECTS),
        "categories_of_data": [*DATA, *([GUESTS] if table.names_guests else [])],
        "not_recorded": list(table.skips),
        "readers": {name: list(each.purposes) for name, each in table.actors.items()},
        "recipients": {name: list(each.told) for name, each in table.recipients.items()},
        "recipients_read_as": {
            name: list(each.actors) for name, each in table.recipients.items() if isinstance(each.actors, tuple)
        },
        "transfers": _transfers(table),
        "security_measures": list(MEASURES),
        "answers": {"months": table.answer_months, "extended_to_months": table.extend_to_months},
        "history": _history([whole(version) for version in versions], tenant),
    }


def _purpose(name: str, table: PurposeTable) -> dict[str, Any]:
    return {
        "name": name,
        "why": said(table.why) or "",
        "number": table.number,
        "basis": table.basis,
        "basis_text": BASES[table.basis],
        "keep": table.keep,
        "then": table.then,
        "survives_erasure": table.survives_erasure,
        "on_objection": table.on_objection,
        "direct_marketing": table.absolute,
        "roles": list(table.when.roles),
        "outcomes": list(table.when.outcomes),
        "shows": list(table.shows),
    }


def _transfers(table: TenantPolicy) -> dict[str, Any]:
    bound = "*" not in table.allowed_hosts
    text = (
        "data lies on these hosts alone; workers refuse to start with any other"
        if bound
        else 'not bound: allowed_hosts is "*"; name hosts, or state transfers to third countries here by hand'
    )
    stated = None if table.transfers is msgspec.UNSET else [msgspec.structs.asdict(each) for each in table.transfers]
    stored = said(table.stored_in) or ""
    return {
        "allowed_hosts": list(table.allowed_hosts),
        "bound": bound,
        "text": text,
        "stored_in": stored,
        "third_countries": stated,
    }


def _history(versions: Sequence[Version], tenant: str) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    before: Version | None = None
    for version in versions:
        if tenant in version.tenant:
            changes = [each for each in differences(before, version) if each.tenant == tenant] if before else []
            told = [f"{each.what} {each.where}: {each.before} -> {each.after}" for each in changes]
            line = {"effective": version.effective.isoformat(), "revision": version.number, "change": version.change}
            lines.append(line | {"differences": told})
            before = version
    return lines


def markdown(content: dict[str, Any]) -> str:
    """The record as a page."""
    who = [("Controller", content["controller"]), ("Contact", content["contact"]), ("Regime", content["regime"])]
    who += [("Data protection officer", content["data_protection_officer"])]
    who += [("Complaints", content["supervisory_authority"]), ("Policy version", content["version"])]
    lines = [f"# Record of processing: call log of {_cell(content['tenant'])}", "", f"As of {content['on']}.", ""]
    lines += [f"- {name}: {_cell(text) or '(not stated in the policy)'}" for name, text in who]
    lines += [
        "",
        "## Purposes",
        "",
        "| purpose | legal basis | kept | then | of | shown |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_row(each) for each in content["purposes"]]
    lines += ["", content["obliged"]] if content["obliged"] else []
    for title, field in (
        ("Whose data", "categories_of_data_subjects"),
        ("What data", "categories_of_data"),
        ("Security measures", "security_measures"),
    ):
        lines += ["", f"## {title}", "", *(f"- {text}" for text in content[field])]
    lines += ["", f"Not recorded: {_cell(', '.join(content['not_recorded']))}"] if content["not_recorded"] else []
    lines += ["", "## Who reads", "", *_people(content["readers"], "reads for")]
    lines += ["", "## Recipients", "", *_people(content["recipients"], "is told when data is")]
    lines += [
        f"- {name} reads as {', '.join(each) or 'nobody'}" for name, each in content["recipients_read_as"].items()
    ]
    transfers = content["transfers"]
    lines += ["", "## Where", "", *(f"- `{each}`" for each in transfers["allowed_hosts"]), "", transfers["text"]]
    lines += ["", f"Stored in: {_cell(transfers['stored_in']) or '(not stated in the policy)'}", ""]
    lines += ["## Transfers to other countries", "", *_abroad(transfers["third_countries"])]
    lines += ["", "## Versions", ""]
    for each in reversed(content["history"]):
        lines += [
            f"- **{each['effective']}**{_revised(each['revision'])} {_cell(each['change'])}",
            *(f"    - {_cell(text)}" for text in each["differences"]),
        ]
    return "\n".join(lines) + "\n"


def _revised(number: int) -> str:
    return f", revision {number}" if number > 1 else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").strip()


def _row(each: dict[str, Any]) -> str:
    kept = each["keep"] + (", also after an erasure" if each["survives_erasure"] else "")
    of = "; ".join(filter(None, (", ".join(each["roles"]), ", ".join(each["outcomes"])))) or "every part in every call"
    name = each["name"] + (f": {_cell(each['why'])}" if each["why"] else "")
    basis = each["basis_text"] + ("; direct marketing, objections are absolute, Art. 21(3)" * each["direct_marketing"])
    return f"| {name} | {basis} | {kept} | {each['then']} | {of} | {', '.join(each['shows'])} |"


def _abroad(stated: list[dict[str, str]] | None) -> list[str]:
    if stated is None:
        return ["- (not stated in the policy)"]
    lines = [f"- {_cell(each['to'])}, {_cell(each['country'])}: {_cell(each['safeguard'])}" for each in stated]
    return lines or ["- none"]


def _people(some: dict[str, list[str]], what: str) -> list[str]:
    return [f"- {name} {what} {', '.join(each)}" for name, each in some.items()] or ["- nobody"]
