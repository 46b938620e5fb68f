"""The port to an identity provider: what it publishes, and a form that it answers."""

from collections.abc import Mapping
from typing import Any, Protocol


class IdentityProvider(Protocol):
    """An OpenID provider, asked over HTTPS; JSON comes back."""

    async def published(self, url: str) -> Mapping[str, Any]:
        """
        A document of its own.

        Raises:
            ProviderSilentError: No answer, or none that can be read.

        """
        ...

    async def answered(
        self, url: str, form: Mapping[str, str], basic: tuple[str, str] | None = None
    ) -> Mapping[str, Any]:
        """
        What it answers to a form; `basic`: the client and its secret.

        Raises:
            ProviderSilentError: As above; SignInRefusedError: It refuses what the form says.

        """
        ...
