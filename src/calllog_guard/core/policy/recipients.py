"""
Which recipients a person's records went to: those that must be told of what becomes of them.

In: a tenant's table, who has opened the records, whom they were disclosed to.  Out: the recipients' names.
Rules: 1. A recipient was given what its credentials have opened, and disclosures to an authority of its name or
          title.  2. Where the policy does not say who reads for a recipient, whoever has opened something may have.
       3. Where nobody can tell, every recipient may have been given them, and is told.
Source: GDPR Art. 19.
"""

from collections.abc import Collection

from calllog_guard.core.policy.facts import said
from calllog_guard.core.policy.form import Recipient, TenantPolicy


def given_to(
    table: TenantPolicy, readers: Collection[str], authorities: Collection[str] = (), *, unsure: bool = False
) -> tuple[str, ...]:
    """
    The recipients whom records went to, or may have.

    Args:
        readers: The credentials that have opened them, or may have.
        authorities: As the requests for disclosures named them.
        unsure: Whether others may have been given them, too.

    """
    named = {_plain(each) for each in authorities}
    return tuple(
        name
        for name, recipient in table.recipients.items()
        if unsure or _reads(name, recipient, readers) or named & {_plain(name), _plain(said(recipient.title) or name)}
    )


def _reads(name: str, recipient: Recipient, readers: Collection[str]) -> bool:
    """Whether some of these credentials read for a recipient, or may; a credential of its own name always does."""
    return (
        bool(readers) if not isinstance(recipient.actors, tuple) else not {name, *recipient.actors}.isdisjoint(readers)
    )


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
