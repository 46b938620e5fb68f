"""
What the console says of types, states, acts and rules: whole sentences, which templates ask the catalogue for.

Rules: 1. A sentence says what will happen, to whom, and whether it can be undone.  2. No sentence has a value in it.
"""

from typing import Final

from calllog_guard.core.requests.types import TYPES

STATES: Final = {
    "waiting": "waits",
    "enforcing": "is being carried out",
    "observing": "is carried out; its absence is being observed",
    "closed": "closed",
    "refused": "refused",
}
WAITS: Final = {
    "identity": "for a proof of identity",
    "clarification": "for what the person meant",
    "fee": "for a fee",
    "officer": "for an officer",
    "second_officer": "for a second officer",
    "notice": "until the person has been told",
}
APPROVE: Final[dict[str, str]] = {kind: row.granted for kind, row in TYPES.items() if row.granted}
NOBODY: Final = "Nobody, or nothing, was found to do it to: the answer says so, and it stands for what may come."
FIRST: Final = "You are the first of two officers: it then waits for a second one."
REFUSE: Final = "The case ends. The person is sent your reasons and is told where to complain."
EXTEND: Final = "The due date moves by the months that policy and law allow. The person is sent your reasons."
CLOCK: Final = {
    "ask_identity": "You have asked the person for a proof of identity. The case waits for it.",
    "verify": "The person has shown who they are. The case goes on.",
    "ask_clarification": "You have asked the person what they mean. The case waits for the answer.",
    "clarify": "The person has said what they mean. The case goes on.",
    "ask_fee": "You have asked the person for a fee. The case waits for it.",
    "fee": "The person has paid. The case goes on.",
    "tell": "The person may be told of the disclosure now, and is.",
    "not_yet": "The person may still not be told. You are asked again on the day that you name.",
    "noticed": "Whoever the notice was for has received it. A case that waits for that goes on.",
}
NAMES: Final = {
    "approve": "Approve",
    "refuse": "Refuse",
    "extend": "Extend the time to answer",
    "ask_identity": "Note that identity was asked for",
    "verify": "Note that identity was shown",
    "ask_clarification": "Note that clarification was asked for",
    "clarify": "Note that clarification came",
    "ask_fee": "Note that a fee was asked for",
    "fee": "Note that the fee was paid",
    "tell": "Let the person be told",
    "not_yet": "Put off telling the person",
    "noticed": "Note that a notice was received",
}
MOMENTS: Final = {
    "received": "The request was received",
    "identity_asked_at": "A proof of identity was asked for",
    "identity_shown_at": "Identity was shown",
    "fee_asked_at": "A fee was asked for",
    "fee_paid_at": "The fee was paid",
    "extended_at": "The time to answer was extended",
    "clarification_asked": "Clarification was asked for",
    "clarification_came": "Clarification came",
    "accepted": "The case was opened",
    "announced": "The person is being told before anything is done",
    "told": "The person was told, or the days for it are over",
}
RULES: Final = {
    "complaint": "A complaint is answered within 30 days of its receipt (Data Protection Act 2018, section 164A).",
    "policy": "The policy's time to answer runs from the receipt, never stops, and ends before the law's.",
    "law": "The law's time to answer (Art. 12(3)) ends before the policy's, or on the same day.",
    "extended": "It was extended, and the person was told within the first month (Art. 12(3)).",
    "paused": "The law's clock is stopped: what was asked of the person has not come. The policy's time binds.",
    "moved": "The last day is no working day: the next working day counts.",
}
TOLD: Final = {
    "before": "The person is told first, and it is done once they were.",
    "after": "The person is told once it is done.",
    "asked": "The person is told before it is made, or once the law no longer forbids it, as the request says.",
    "never": "The policy names no gateway that tells persons of this: nobody tells them.",
    "barred": "The desk would refuse an approval, and a refusal too: either ends the restriction, the person must be "
    "told before, and the policy names no gateway that would. Enter person_notices in the policy first.",
}
TOUCHED: Final = {
    "removed": "Records that would be removed:",
    "narrowed": "Records that would be removed, as nothing else keeps them:",
    "given": "Records that would be given:",
}
ALL: Final = (
    *(
        text
        for table in (STATES, WAITS, APPROVE, CLOCK, NAMES, MOMENTS, RULES, TOLD, TOUCHED)
        for text in table.values()
    ),
    NOBODY,
    FIRST,
    REFUSE,
    EXTEND,
)
"""For the catalogue."""
