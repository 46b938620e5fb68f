"""
The door: the console's address, its cookies, and by which ways officers come in.

Rules: 1. Cookies are out of reach of scripts and, but for one that lets nobody in, of other sites.
Source: RFC 6265bis; OWASP ASVS 4.0.3, V3.4.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from calllog_guard.console.sign_in.openid import OpenId
from calllog_guard.console.sign_in.sessions import SignedIn, SignInLinks, Throttle

MARK: Final = "mark"
SESSION: Final = "session"
FLOW: Final = "flow"


@dataclass(frozen=True, slots=True)
class Door:
    """
    Who may come in, and from where.

    Args:
        url: The address as browsers have it: scheme, host and port, no path.
        officers: Who gets links; `tell` prints them where only their reader sees them.
        openid: The identity provider, where there is one.

    """

    url: str
    officers: Sequence[str]
    links: SignInLinks
    sessions: SignedIn
    guesses: Throttle
    tell: Callable[[str], None]
    openid: OpenId | None = None

    @property
    def secure(self) -> bool:
        """Whether browsers come by HTTPS."""
        return self.url.startswith("https:")

    @property
    def host(self) -> str:
        """Host and port, as browsers name them."""
        return urlsplit(self.url).netloc

    def name(self, cookie: str) -> str:
        """A cookie's name: bound to this host where that is possible."""
        return f"__Host-console-{cookie}" if self.secure else f"console-{cookie}"

    def cookie(self, name: str, value: str) -> str:
        """A `Set-Cookie` line; an empty value takes the cookie away."""
        ends = "" if value else "; Max-Age=0"
        secure = "; Secure" if self.secure else ""
        # who comes back from a provider comes from another site, and brings this one cookie, which lets nobody in
        site = "Lax" if name == FLOW else "Strict"
        return f"{self.name(name)}={value}; Path=/; HttpOnly; SameSite={site}{secure}{ends}"

    def announce(self) -> None:
        """Print a new link for each officer."""
        for officer in self.officers:
            self.tell(
                f"sign in as {officer}, once, within 5 minutes: {self.url}/sign-in?code={self.links.new(officer)}"
            )
