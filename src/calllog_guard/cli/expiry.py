"""`expiry`: what lapses at once, and an officer's word that lets it go."""

from collections import Counter
from datetime import date
from typing import Any

from calllog_guard.app.context import AppContext
from calllog_guard.app.preflight import enter
from calllog_guard.cli._officers import officers_word
from calllog_guard.cli._options import Args, command, key
from calllog_guard.cli._output import progress, say, show, the_world
from calllog_guard.core.crypto.leg_envelope import parse_header
from calllog_guard.core.identifiers import INTERNAL_KEY
from calllog_guard.core.officers.confirmations import CONFIRMED, Confirmation, let_go
from calllog_guard.core.retention.purposes import due_day
from calllog_guard.core.retention.sweep_brake import too_much
from calllog_guard.core.topics import Topic
from calllog_guard.errors import RecordError, StateRefusedError


@command("expiry")
@key("an officer's private key: let go what is shown")
async def expiry(args: Args) -> int:
    """Show what has lapsed; with an officer's key let it go."""
    shared = the_world()
    try:
        await enter(shared)
        today = shared.clock.now().date()
        version = shared.policy.at(today).label
        free = let_go(await shared.confirmed(), today, lambda day: shared.policy.at(day).label)
        rows = [
            await _partition(shared, number, today, free)
            for number in progress(range(shared.settings.partitions), "partitions")
        ]
        waits = any(row["waits"] for row in rows)
        heads = "{partition:>9} {legs:>10} {lapsed:>10} {days:>6}  {waits}"
        lines = [heads.format(partition="partition", legs="legs", lapsed="lapsed", days="days", waits="waits")]
        text = "\n".join([*lines, *(heads.format(**row | {"waits": "yes" if row["waits"] else "no"}) for row in rows)])
        found = {"policy": version, "as_of": today.isoformat(), "let_go_up_to": free and free.isoformat()}
        show(args, found | {"partitions": rows}, text)
        if args.key is None:
            return int(waits)
        if not waits:
            raise StateRefusedError(
                "no partition of the legs waits for a word: keepers remove what lapses by themselves"
            )
        claims = Confirmation(tenant=shared.tenant, up_to=today.isoformat(), policy=version, at=shared.clock.now())
        kid = await officers_word(shared, args.key, CONFIRMED, claims)
        say(f"let go by {kid}: keepers remove what has lapsed up to {today} by policy {version} in their next round")
    finally:
        await shared.keystore.close()
    return 0


async def _partition(shared: AppContext, number: int, today: date, free: date | None) -> dict[str, Any]:
    """How many legs there are, how many of them have lapsed, of how many days, whether a keeper waits for a word."""
    live: dict[bytes, tuple[date, int, str]] = {}

    def seen(record: Any) -> None:
        key = record.key or b""
        if record.value is None or key.startswith(INTERNAL_KEY):
            live.pop(key, None)
            return
        try:
            header = parse_header(record.value)
            live[key] = date.fromisoformat(header.day), header.pur, header.pol
        except (RecordError, ValueError):  # none of ours: keepers tell of it
            live.pop(key, None)

    settings = shared.settings
    await shared.log.read_each(settings.topic(Topic.LEGS), [number], seen)
    due: Counter[date] = Counter()
    left: Counter[date] = Counter()
    for (day, purposes, policy), many in Counter(live.values()).items():
        if due_day(day, purposes, shared.policy.purposes_since(shared.tenant, policy, today)) <= today:
            due[day] += many
            if free is None or due_day(day, purposes, shared.policy.purposes_since(shared.tenant, policy, free)) > free:
                left[day] += many
    waits = too_much(left, len(live), settings.sweep_share)
    return {"partition": number, "legs": len(live), "lapsed": sum(due.values()), "days": len(due), "waits": waits}
