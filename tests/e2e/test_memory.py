"""After an erasure no worker has the person's keys or name in memory, freed or not, as root sees it."""

import asyncio
import os
import secrets
import subprocess
import sys

import pytest
from installation import Installation, Make, event, raw
from memory_walk import found, spellings
from signing import claims, signed
from test_erase import cases, erased
from test_exports import asker

from calllog_guard.app.context import world
from calllog_guard.core.crypto.subject_secrets import link_at
from calllog_guard.core.identifiers import Pseudonym, SubjectId, Tenant
from calllog_guard.settings import from_environment

pytestmark = pytest.mark.real
TENANT = Tenant("iocom")
ROLES = ("protector", "desk", "keeper", "auditor")
CACHE_S = "8"
"""The bound that receipts state."""


def secrets_of(guard: Installation, name: str) -> dict[str, bytes]:
    """Every secret of a person, as the keystore has them now."""

    async def go() -> dict[str, bytes]:
        shared = world(from_environment(guard.environment))
        ring, lookup = shared.ring(TENANT), shared.vault.pepper(TENANT).lookup(TENANT, SubjectId(name))
        try:
            await shared.look_back()
            person = ring.person(lookup, (await ring.view([lookup])).raw[lookup])
            assert person is not None
            keys = await ring.keys_of(Pseudonym(person.pseudonym or ""))
        finally:
            await shared.keystore.close()
        assert keys is not None
        month = keys.current_link.data_key(keys.current)
        assert link_at(keys.floor_link, keys.floor, keys.current) == keys.current_link
        return {
            "identity secret": keys.identity.expose(),
            "token key": keys.identity.token_key().expose(),
            "first link": keys.floor_link.expose(),
            "current link": keys.current_link.expose(),
            "data key": month.expose(),
        }

    return asyncio.run(go())


def follower(guard: Installation) -> "subprocess.Popen[bytes]":
    """A reader whose purpose shows who somebody is."""
    words = ("read", "--purpose", "billing", "--actor", "billing-1", "--follow")
    with guard.log.open("ab") as log, (guard.directory / "lines").open("ab") as lines:
        made = subprocess.Popen(
            [sys.executable, "-m", "calllog_guard.cli", *words],
            env=os.environ | guard.environment,
            stderr=log,
            stdout=lines,
        )
    guard.workers.append(made)
    return made


def test_no_process_keeps_keys_or_names_of_who_is_erased(make: Make) -> None:
    """They were all used: a call, a copy for the person, a reader's line, and the erasure itself."""
    guard = make(CACHE_S=CACHE_S, SESSION_MS="45000")  # nobody is thrown out meanwhile
    policy = guard.directory / "policy.toml"
    policy.write_text(policy.read_text().replace('shows = ["started_at"', 'shows = ["subject", "started_at"'))
    name = f"erased-{secrets.token_hex(8)}@example.org"
    running = {role: guard.start(role, process=True).pid for role in ROLES} | {"reader": follower(guard).pid}
    guard.publish("calllog.events", [raw(event(f"c{n}", name, "bob@example.org")) for n in range(3)])
    guard.publish(
        "privacy.requests", [signed(guard.directory, claims("access-001", name, type="access", reply_key=asker(guard)))]
    )
    guard.settled(lambda: len(guard.live()) == 6, "all legs")
    guard.settled(lambda: name in (guard.directory / "lines").read_text(), "the reader's lines")
    guard.settled(lambda: "exported" in cases(guard).get("access-001", {}).get("stages", {}), "the copy")
    wanted = secrets_of(guard, name) | spellings(name)
    guard.publish("privacy.requests", [signed(guard.directory, claims("erase-0001", name))])
    guard.settled(lambda: erased(guard, "erase-0001"), "tombstoned")
    pepper = {"pepper": world(from_environment(guard.environment)).vault.pepper(TENANT).expose()}
    assert all(found(running[role], pepper) for role in ("protector", "desk", "reader")), "the walk sees what is there"

    def left() -> dict[str, dict[str, int]]:
        return {role: here for role, pid in running.items() if (here := found(pid, wanted))}

    guard.settled(lambda: not left(), lambda: f"memory without {left()}")
