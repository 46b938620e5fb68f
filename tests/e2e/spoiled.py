"""Entries of the keystore, spoiled and mended as by somebody who may write to Redis."""

import asyncio
from dataclasses import dataclass
from typing import Literal

from installation import Installation
from redis import Redis

from calllog_guard.app.context import world
from calllog_guard.core.crypto.entries import person_key, secrets_key
from calllog_guard.core.identifiers import SubjectId, Tenant
from calllog_guard.settings import from_environment

TENANT = Tenant("iocom")


@dataclass(frozen=True, slots=True)
class Spoiled:
    """One entry, as it was."""

    url: str
    place: bytes
    good: bytes

    def mended(self) -> None:
        """Put it back."""
        with Redis.from_url(self.url) as redis:
            redis.set(self.place, self.good)

    def now(self) -> bytes | None:
        """What is there now."""
        with Redis.from_url(self.url) as redis:
            found = redis.get(self.place)
            assert found is None or isinstance(found, bytes)
            return found


def place_of(guard: Installation, who: str, kind: Literal["who", "key"]) -> bytes:
    """Where a living person's entry lies."""

    async def go() -> bytes:
        shared = world(from_environment(guard.environment))
        ring, lookup = shared.ring(TENANT), shared.vault.pepper(TENANT).lookup(TENANT, SubjectId(who))
        person = ring.person(lookup, (await ring.view([lookup])).raw[lookup])
        await shared.keystore.close()
        assert person is not None
        assert person.pseudonym is not None
        return person_key(TENANT, lookup) if kind == "who" else secrets_key(TENANT, person.pseudonym)

    return asyncio.run(go())


def spoil(guard: Installation, who: str, kind: Literal["who", "key"], how: Literal["missing", "flipped"]) -> Spoiled:
    """Take a person's entry away, or change a bit of it."""
    place, url = place_of(guard, who, kind), guard.environment["CALLLOG_GUARD_KEYSTORE"]
    with Redis.from_url(url) as redis:
        good = redis.get(place)
        assert isinstance(good, bytes)
        if how == "missing":
            redis.delete(place)
        else:
            redis.set(place, good[:-1] + bytes([good[-1] ^ 1]))
    return Spoiled(url, place, good)
