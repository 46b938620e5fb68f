"""10,000 forged, replayed, expired, misdirected and presumptuous requests: none is acted on, each is counted."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from guard_world import TENANT, GuardWorld, write_keys
from sizes import size

from calllog_guard.core.codec import time_text
from calllog_guard.core.crypto.jose import desk_pem, sign
from calllog_guard.core.records import Output
from calllog_guard.core.requests.sealing import seal_request
from calllog_guard.metrics import Counters

MANY = size("HOSTILE", 1_000, 10_000)
SEED = 7


class Attacker:
    """Makes requests that must fail, each with the reason that must be given; half of them sealed."""

    def __init__(self, world: GuardWorld, folder: Path) -> None:
        self.world = world
        folder.mkdir()
        write_keys(folder)  # keys that nobody has registered
        self.own = {name: (folder / f"{name}.pem").read_bytes() for name in ("backend-1", "officer-1")}
        self.stolen = {name: (world.folder / f"{name}.pem").read_bytes() for name in ("backend-1", "officer-1")}

    def claims(self, number: int, **more: Any) -> dict[str, Any]:
        """An erasure that would be lawful."""
        now = int(self.world.clock.at.timestamp())
        return {
            "v": 1,
            "iss": "backend-1",
            "aud": "calllog-guard",
            "tenant": TENANT,
            "jti": f"hostile-{number:06d}",
            "iat": now,
            "exp": now + 600,
            "received_at": time_text(self.world.clock.at),
            "type": "erase",
            "subjects": ["alice@example.org"],
            "identity": "verified",
            **more,
        }

    def token(self, claims: dict[str, Any], pem: bytes | None = None) -> bytes:
        """The claims, signed."""
        return sign(pem or self.stolen["backend-1"], str(claims["iss"]), json.dumps(claims).encode()).encode()

    def one(self, number: int, dice: random.Random) -> tuple[bytes, str]:
        """A request and the reason of its refusal."""
        now = int(self.world.clock.at.timestamp())
        good = self.claims(number)
        replayed = self.claims(0, jti="lawful-0001")
        ways: list[tuple[bytes, str]] = [
            (self.token(good, self.own["backend-1"]), "bad_signature"),
            (self.token(good | {"iss": "officer-9"}, self.own["officer-1"]), "unknown_requester"),
            (self.token(good)[:-6] + b"AAAAAA", "bad_signature"),
            (self.token(replayed), "replayed"),
            (self.token(good | {"iat": now - 9000, "exp": now - 8000}), "expired"),
            (self.token(good | {"exp": now + 90_000}), "lifetime_too_long"),
            (self.token(good | {"tenant": "other"}), "foreign_tenant"),
            (self.token(good | {"aud": "elsewhere"}), "wrong_audience"),
            (self.token(good | {"type": "hold", "hold": {"id": "h"}}), "wrong_role"),
            (self.token(good | {"type": "approve", "subjects": [], "case": "A" * 22}), "wrong_role"),
            (self.token(good | {"subjects": []}), "missing_field"),
            (self.token(good | {"shoe_size": 43}), "unknown_field"),
            (self.token(good | {"purposes": ["service"]}), "unexpected_field"),
            (bytes(dice.randrange(256) for _ in range(40)), "not_a_jws"),
        ]
        bad, reason = dice.choice(ways)
        if reason == "not_a_jws" or dice.random() < 0.5:
            return bad, reason
        return dice.choice([(self.sealed(bad), reason), *self.unopened(bad)])

    def sealed(self, token: bytes, kid: str = "iocom-desk") -> bytes:
        """The token, sealed to the desk's key, under a name of a key."""
        seed = self.world.vault.desk_key(TENANT, "iocom-desk") or b""
        return seal_request(desk_pem(seed)[1], kid, token.decode()).encode()

    def unopened(self, token: bytes) -> list[tuple[bytes, str]]:
        """Seals that do not open: another key's, under another name, changed, cut."""
        good = self.sealed(token)
        theirs = seal_request(desk_pem(b"\x07" * 32)[1], "iocom-desk", token.decode()).encode()
        wrong = [theirs, self.sealed(token, "backend-1"), self.sealed(token, "iocom-desk-2"), good[:-4] + b"AAAA"]
        return [(each, "does_not_open") for each in [*wrong, b"." + good.partition(b".")[2]]]


@pytest.mark.slow
async def test_ten_thousand_hostile_requests_touch_nobody_and_each_is_counted(tmp_path: Path) -> None:
    """An attacker who can write to the topic, and one with a backend's stolen key, get nothing that is not theirs."""
    world = await GuardWorld(tmp_path / "world").start()
    await world.call("c1", "alice@example.org", "bob@example.org")
    await world.run()
    await world.ask("lawful-0001", "restrict", "bob@example.org")
    await world.run()
    before, cases = world.legs(), dict(world.log.live("privacy.cases"))
    attacker, dice = Attacker(world, tmp_path / "attacker"), random.Random(SEED)  # noqa: S311 - repeatable
    hostile = [attacker.one(number, dice) for number in range(MANY)]
    await world.log.write([Output("privacy.requests", 0, b"iocom", token) for token, _ in hostile])
    await world.run()
    assert world.legs() == before
    assert dict(world.log.live("privacy.cases")) == cases
    assert Counter(world.dead()) == Counter(reason for _, reason in hostile)
    counted = {reason: world.counts[Counters.dead[reason]] for _, reason in hostile}
    assert counted == Counter(reason for _, reason in hostile)
    assert not [record for record in world.log.records["privacy.decisions", 0] if b"hostile" in (record.value or b"")]
