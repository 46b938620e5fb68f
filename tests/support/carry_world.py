"""An installation whose tenant was made with the first release's rules of identity, and is carried over to others."""

from datetime import timedelta
from pathlib import Path

from guard_world import POLICY, TENANT, GuardWorld

from calllog_guard.core.identifiers import Lookup
from calllog_guard.core.identity.rules import AS_WRITTEN, DEFAULT
from calllog_guard.workers.keys.identity_change import Carried, CarryOver, IdentityChangeNeeds
from calllog_guard.workers.keys.people.homes import Homes
from calllog_guard.workers.keys.people.naming import Naming


class CarryWorld(GuardWorld):
    """See above; `rules` are those that the tenant was made with."""

    def __init__(self, folder: Path, rules: tuple[str, ...] = (AS_WRITTEN,), policy: str = POLICY) -> None:
        super().__init__(folder, policy, rules=rules)

    async def know(self, rules: tuple[str, ...] = DEFAULT) -> None:
        """Let other rules be in force; nobody is carried over yet."""
        self.vault.know(TENANT, rules, self.clock.now())
        await self.ring().guard.tell_profile()

    async def carry(self, rules: tuple[str, ...] = DEFAULT, *, dry: bool = False) -> Carried:
        """What `tenant identity` does, with all it needs."""
        if not dry:
            await self.know(rules)
        self.clock.at += timedelta(minutes=10)
        return await self.over(dry=rules if dry else None).run()

    def over(self, dry: tuple[str, ...] | None = None) -> CarryOver:
        """The command's process."""
        needs = IdentityChangeNeeds(
            tenant=TENANT,
            ring=self.ring(),
            safe=self.safe(),
            writer=self.log,
            policy=self.policy,
            settings=self.settings,
            clock=self.clock,
            log=self.log,
        )
        return CarryOver(needs, dry=dry)

    async def home(self, text: str) -> Lookup:
        """Under which key an identifier's person lies."""
        names = Naming(TENANT, self.vault).names(text)
        return (await Homes(self.ring(), writes=False).of([names]))[names]

    async def pseudonym(self, text: str) -> str | None:
        """Of whom an identifier names."""
        lookup, ring = await self.home(text), self.ring()
        person = ring.entry(lookup, (await ring.view([lookup])).raw[lookup])
        return person.pseudonym if person else None

    def people(self) -> set[str]:
        """The pseudonyms that have legs."""
        return {key[:22].decode() for key in self.legs()}
