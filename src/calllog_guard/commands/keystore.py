"""`keystore status|walk|guard`: entries by state and epoch, the walk that renews them, and whether the restore guard is up."""

import argparse
import asyncio
from dataclasses import asdict

from rich.console import Console
from rich.progress import Progress

from calllog_guard.bootstrap import needed_epochs, walk
from calllog_guard.commands.setup import show, the_world
from calllog_guard.law import follow_published


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "keystore",
        help="entries by state and epoch; walk: new epoch when due, entries re-wrapped, ratchets advanced, old epochs destroyed",
    )
    verb.add_argument("action", choices=["status", "walk", "guard"])
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=lambda args: asyncio.run(run(args)))


async def run(args: argparse.Namespace) -> int:
    """See the module; `guard` exits with 1 while partitions wait for their replay."""
    shared = the_world()
    try:
        await shared.look_back()
        if args.action == "guard":
            _, missing = await shared.ring(shared.tenant).guard.unguarded(range(shared.settings.partitions))
            text = (
                "the guard is down" if not missing else f"the guard is up: {len(missing)} partitions wait for keepers"
            )
            show(args, {"waiting": sorted(missing)}, text)
            return int(bool(missing))
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("entries", total=None)
            walking = walk(shared, lambda many: bar.advance(task, many))
            if args.action == "status":
                look = await walking.looked()
                alive = shared.vault.epochs()
                lines = [f"{state}: {many}" for state, many in sorted(look.states.items())]
                lines += [f"{epoch}: {look.entries[epoch]} entries" for epoch in sorted({*alive, *look.entries})]
                show(args, {"entries": look.entries, "states": look.states, "epochs": alive}, "\n".join(lines))
                return 0
            await follow_published(shared)
            done = await walking.run(await needed_epochs(shared))
    finally:
        await shared.keystore.close()
    text = f"{done.rewrapped} re-wrapped into {done.epoch}, {done.advanced} ratchets advanced, {done.orphans} orphans removed, {done.fences} lapsed fences dropped, {done.contested} left to the next walk"
    kept = "".join(f"\nkept {epoch}: {why}" for epoch, why in done.kept.items())
    gone = "".join(f"\ndestroyed {epoch}" for epoch in done.destroyed)
    show(args, asdict(done), text + gone + kept)
    return 0
