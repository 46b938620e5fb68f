"""
Signs what is said about a case: one receipt per stage, with the tenant's receipt key.

Source: docs/explanation/design.md, docs/reference/messages.md.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import msgspec

from calllog_guard.core.cases.case import Case
from calllog_guard.core.cases.notices import PERSON
from calllog_guard.core.cases.receipt import COMPARED, STATEMENT, PreviewTotal, Receipt
from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.jose import receipt_pem, sign
from calllog_guard.core.policy.facts import said
from calllog_guard.core.records import Output
from calllog_guard.core.retention.purposes import GRACE_DAYS
from calllog_guard.core.topics import REQUESTS_KEEP_DAYS, Topic
from calllog_guard.workers.context import WorkerContext

NAMED: Final = 2
"""From this level of forms on a receipt names the company: a release before it refuses fields that it does not know."""
_CERTIFICATES: Final = frozenset({"absent", "gone"})


class ReceiptSigner:
    """One tenant's receipts."""

    def __init__(self, context: WorkerContext) -> None:
        self._tenant, self._home, self._vault = context.tenant, context.home, context.vault
        self._settings, self._policy = context.settings, context.policy

    def of(self, case: Case, stage: Any, now: datetime, version: str) -> Output:
        """The receipt of a stage that a case has reached."""
        certificate = stage in _CERTIFICATES
        fenced = case.stages.get("fenced", now)
        observed = [look for look in case.observed.values() if certificate]
        claims = Receipt(
            case=case.case,
            tenant=self._tenant,
            request=case.jti,
            stage=stage,
            legs=sum(case.legs.values()),
            final=certificate or case.state in {"closed", "refused"},
            shredded=case.type == "erase" and not case.ranged and "destroyed" in case.stages,
            observed=max(observed, key=lambda look: look.at, default=None),
            observations=tuple(observed) if len(observed) > 1 else (),
            stages=case.stages,
            bounds=self._bounds(fenced) | (self._clear_calls(fenced) if case.type == "erase" else {}),
            kept=case.kept,
            statement=STATEMENT if certificate else None,
            digests=tuple(digest for name in (case.case, *case.decisions) for digest in case.digests.get(name, ())),
            pol=version,
            at=now,
            known=case.known,
            unknown=case.unknown,
            linked=case.linked,
            previewed=_previewed(case, stage),
        )
        claims = msgspec.structs.replace(claims, **self._company(now), **_recipients(case))
        private = receipt_pem(self._vault.receipt_key(self._tenant))[0]
        signed = sign(private, f"{self._tenant}-receipts", encode(claims))
        return Output(self._settings.topic(Topic.RECEIPTS), self._home, case.case.encode(), signed.encode())

    def _company(self, now: datetime) -> dict[str, str]:
        """Who answers for the data, where to write and complain, and the zone of the pages; from level 2 on."""
        if self._vault.profile(self._tenant).forms < NAMED:
            return {}
        table = self._policy.at(now.date()).tenant[self._tenant]
        named = {"controller": said(table.controller), "contact": said(table.contact)}
        named |= {"authority": table.authority, "zone": table.calendar.zone}
        return {name: text for name, text in named.items() if text is not None}

    def _clear_calls(self, fenced: datetime) -> dict[str, Any]:
        """
        Until when a record of another party of the same calls may name a call by its id, perhaps made of addresses.

        No look at the log can tell whose call an id that is sealed is of: known is when such records were written last,
        and how long any is kept.
        """
        until = self._vault.profile(self._tenant).clear_calls
        if until is None:
            return {}
        last = fenced if until is msgspec.UNSET else datetime.combine(date.fromisoformat(until), time(), UTC)
        end = last + timedelta(days=self._policy.keep_days(self._tenant) + GRACE_DAYS)
        return {"clear_calls": end} if end > fenced else {}

    def _bounds(self, fenced: datetime) -> dict[str, Any]:
        """Until when remnants may exist: caches in seconds, the rest as times: a topic's period and files' roll."""
        settings, rolls = self._settings, timedelta(days=1)
        kept = (
            2 * settings.epoch_days + settings.backup_window_days
        )  # its epoch ends, is re-wrapped, outlives the window
        lag = timedelta(milliseconds=settings.compaction_lag_ms)
        events = fenced + timedelta(hours=settings.events_keep_h) + lag
        return {
            "cache_s": settings.cache_s,
            "events": events,
            # until the last day of a moment its event may be published once more, which then has its own time
            "moments": events + timedelta(milliseconds=settings.kept_ms(Topic.MOMENTS) or 0) + rolls,
            "requests": fenced + timedelta(days=REQUESTS_KEEP_DAYS) + lag,
            "dead": fenced + timedelta(days=settings.dead_keep_days) + rolls,
            "parked": fenced + timedelta(days=settings.dead_keep_days) + rolls,
            "notices": fenced + timedelta(days=REQUESTS_KEEP_DAYS) + rolls,
            "exports": fenced + timedelta(days=settings.exports_keep_days) + rolls,
            "backup_end": fenced + timedelta(days=kept + self._vault.delay_days),
        }


def _previewed(case: Case, stage: str) -> PreviewTotal | msgspec.UnsetType:
    """What an officer had been told that it would be; nothing where nobody decided, or not everybody was counted."""
    found = case.measured
    if stage not in COMPARED or found is None or found.at is None or found.unsure:
        return msgspec.UNSET
    return PreviewTotal(legs=found.legs, months=found.months, at=found.at)


def _recipients(case: Case) -> dict[str, tuple[str, ...]]:
    """Who was told as the person's records went there; nothing until keepers have said so of the case's people."""
    traces = list((case.traces or {}).values())
    if case.untold or not traces or any(each.given is msgspec.UNSET for each in traces):
        return {}
    told = {name.partition("/")[0] for name in case.notices} - {PERSON}
    unsure = sorted({each.unsure for each in traces if each.unsure})
    return {"recipients": tuple(sorted(told)), **({"unsure": tuple(unsure)} if unsure else {})}
