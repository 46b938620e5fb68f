"""Sign-in by a provider: bound to one browser, once, in time; who is which officer; and nobody while it is silent."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from desk_world import START
from provider_world import CURVE, FORM, ISSUER, RSA, Provider, public, token

from calllog_guard.console.sign_in.flows import FLOW_LIFE, Flows
from calllog_guard.console.sign_in.openid import OpenId
from calllog_guard.console.sign_in.provider_file import ProviderForm, provider_in
from calllog_guard.errors import ConfigurationError, ProviderSilentError, SignInRefusedError

URL = "https://console.example"
SECOND = timedelta(seconds=1)


class World:
    """A provider, and the console's side of it; a clock that is turned by hand."""

    def __init__(self, form: ProviderForm = FORM, secret: str = "") -> None:
        self.at = START
        self.provider = Provider(self.now)
        self.openid = OpenId(form, secret, self.provider, URL, self.now)

    def now(self) -> datetime:
        """The time."""
        return self.at

    async def back(self) -> tuple[str, dict[str, str]]:
        """Somebody has signed in there: the cookie, and what the browser brings."""
        place, cookie = await self.openid.begun()
        return cookie, self.provider.signed_in(place)

    async def officer(self) -> str:
        """Who comes in."""
        return await self.openid.officer(*await self.back())

    async def refused(self, cookie: str, query: dict[str, str]) -> str:
        """Why somebody does not."""
        with pytest.raises(SignInRefusedError) as caught:
            await self.openid.officer(cookie, query)
        return caught.value.reason


@pytest.fixture
def world() -> World:
    """Both sides."""
    return World()


async def test_a_browser_is_sent_with_pkce_state_and_nonce(world: World) -> None:
    place, cookie = await world.openid.begun()
    assert place.startswith(f"{ISSUER}/authorize?")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(place).query).items()}
    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == f"{URL}/sign-in/return"
    secrets = {asked[name] for name in ("state", "nonce", "code_challenge")}
    assert {len(each) for each in secrets} == {43}
    assert len(secrets) == 3
    assert not any(each in cookie for each in secrets)
    other = await world.openid.begun()
    assert asked["state"] not in other[0]


async def test_an_officer_comes_in_once(world: World) -> None:
    cookie, query = await world.back()
    assert await world.openid.officer(cookie, query) == "officer-1"
    assert await world.refused(cookie, query) == "state"
    assert await world.refused(cookie, world.provider.signed_in((await world.openid.begun())[0])) == "state"


async def test_a_state_counts_in_the_browser_that_began_alone(world: World) -> None:
    """Else somebody could have an officer's browser sign in as somebody else."""
    mine, others = await world.back(), await world.back()
    assert await world.refused(mine[0], others[1]) == "state"
    assert await world.refused("", mine[1]) == "state"
    assert await world.refused(mine[0], mine[1] | {"state": ""}) == "state"
    assert await world.openid.officer(*mine) == "officer-1"


async def test_a_sign_in_ends_within_minutes(world: World) -> None:
    begun = await world.back()
    world.at += FLOW_LIFE
    assert await world.refused(*begun) == "state"


async def test_a_cookie_that_this_process_did_not_make_is_nobodys(world: World) -> None:
    others = Flows(world.now)
    cookie, flow = others.new()
    assert await world.refused(cookie, {"state": flow.state, "code": "code-0"}) == "state"
    for spoiled in (cookie[:-1], cookie + "A", f"x{cookie}", "..", "é.1.é"):
        assert others.of(spoiled) is None
    assert others.of(cookie) == flow


async def test_who_only_begins_takes_no_room_and_who_ends_not_for_ever(world: World) -> None:
    flows = Flows(world.now)
    made = [flows.new() for _ in range(20_000)]
    assert flows._ended == {}
    for cookie, flow in made:
        assert flows.ended(cookie, flow.state) == flow
    assert len(flows._ended) <= 10_000
    world.at += FLOW_LIFE
    cookie, flow = flows.new()
    flows.ended(cookie, flow.state)
    assert len(flows._ended) == 1


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"nonce": "of another sign-in"}, "nonce"),
        ({"sub": "a stranger"}, "no_officer"),
        ({"sub": "officer-1"}, "no_officer"),
        ({"sub": "a stranger", "email": "sub-of-officer-1", "email_verified": True}, "no_officer"),
        ({"groups": ["staff"]}, "role"),
        ({"groups": "privacy-guests"}, "role"),
        ({"groups": {"privacy": True}}, "role"),
        ({"groups": None}, "role"),
    ],
    ids=str,
)
async def test_claims_that_name_no_officer_of_the_role_let_nobody_in(
    world: World, changed: dict[str, Any], why: str
) -> None:
    world.provider.changed = changed
    assert await world.refused(*await world.back()) == why


async def test_a_role_may_be_one_text_and_who_is_who_another_claim() -> None:
    form = ProviderForm(
        issuer=ISSUER, client="console", claim="oid", officers={"o-2": "officer-2"}, required={"amr": "mfa"}
    )
    world = World(form)
    world.provider.changed = {"oid": "o-2", "amr": "mfa"}
    assert await world.officer() == "officer-2"
    world.provider.changed = {"oid": ["o-2"], "amr": "mfa"}
    assert await world.refused(*await world.back()) == "no_officer"


async def test_keys_that_the_provider_takes_back_count_no_more_and_new_ones_at_once(world: World) -> None:
    assert await world.officer() == "officer-1"
    world.provider.keys = public(CURVE)
    assert await world.refused(*await world.back()) == "key"
    world.provider.made = lambda claims: token(claims, CURVE, alg="ES256", kid="two")
    assert await world.officer() == "officer-1"
    world.provider.keys = public(RSA)
    assert await world.refused(*await world.back()) == "key"


async def test_a_provider_that_refuses_or_is_another_lets_nobody_in(world: World) -> None:
    cookie, query = await world.back()
    assert await world.refused(cookie, {"state": query["state"], "error": "access_denied"}) == "provider"
    cookie, query = await world.back()
    assert await world.refused(cookie, query | {"code": "code-of-another"}) == "provider"
    cookie, query = await world.back()
    assert await world.refused(cookie, query | {"iss": "https://other.example"}) == "answered_by_another"
    cookie, query = await world.back()
    assert await world.openid.officer(cookie, query | {"iss": ISSUER}) == "officer-1"


async def test_a_provider_that_promises_its_name_must_give_it(world: World) -> None:
    world.provider.own["authorization_response_iss_parameter_supported"] = True
    assert await world.refused(*await world.back()) == "answered_by_another"


async def test_while_the_provider_is_silent_nobody_comes_in(world: World) -> None:
    begun = await world.back()
    world.provider.silent = True
    with pytest.raises(ProviderSilentError):
        await world.openid.officer(*begun)
    world.at += timedelta(minutes=6)
    with pytest.raises(ProviderSilentError):
        await world.openid.begun()


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "https://other.example"},
        {"issuer": None},
        {"token_endpoint": "http://id.example/token"},
        {"jwks_uri": "http://id.example/keys"},
        {"authorization_endpoint": "http://id.example/authorize"},
        {"end_session_endpoint": "http://id.example/end"},
        {"token_endpoint": "https://somebody@id.example/token"},
        {"code_challenge_methods_supported": ["plain"]},
        {"code_challenge_methods_supported": []},
    ],
    ids=str,
)
async def test_a_provider_that_says_what_cannot_be_is_not_asked(world: World, changed: dict[str, Any]) -> None:
    world.provider.own |= changed
    with pytest.raises(ProviderSilentError):
        await world.openid.begun()


async def test_what_a_provider_says_of_itself_is_asked_for_now_and_then(world: World) -> None:
    for _ in range(5):
        await world.openid.begun()
    assert len(world.provider.asked) == 1
    world.at += timedelta(minutes=5)
    await world.openid.begun()
    assert len(world.provider.asked) == 2


async def test_the_way_out_leads_back_here(world: World) -> None:
    assert await world.openid.away() == (
        f"{ISSUER}/end?x=1&client_id=console&post_logout_redirect_uri=https%3A%2F%2Fconsole.example%2Fsign-in"
    )
    del world.provider.own["end_session_endpoint"]
    world.at += timedelta(minutes=5)
    assert await world.openid.away() is None


async def test_a_secret_goes_as_the_provider_takes_it() -> None:
    seen: list[tuple[dict[str, str], Any]] = []
    world = World(secret="s+/ %")  # noqa: S106 - a test's
    own = world.provider.answered

    async def watched(url: str, form: Any, basic: Any = None) -> Any:
        seen.append((form, basic))
        return await own(url, form, basic)

    world.provider.answered = watched  # type: ignore[method-assign]
    await world.officer()
    assert seen[0][1] == ("console", "s%2B%2F%20%25")
    assert "client_secret" not in seen[0][0]
    world.at += timedelta(minutes=5)
    world.provider.own["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    await world.officer()
    assert (seen[1][0]["client_secret"], seen[1][1]) == ("s+/ %", None)
    world.at += timedelta(minutes=5)
    world.provider.own["token_endpoint_auth_methods_supported"] = ["private_key_jwt"]
    with pytest.raises(ProviderSilentError):
        await world.officer()


GOOD = 'issuer = "https://id.example"\nclient = "console"\n[officers]\n"a" = "officer-1"\n'


def test_the_file_of_a_provider_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sign-in.toml"
    (tmp_path / "secret").write_text(" s3cret\n")
    path.write_text('secret_file = "secret"\n' + GOOD)
    form, secret = provider_in(path)
    assert (form.issuer, form.claim, form.officers, secret) == (
        "https://id.example",
        "sub",
        {"a": "officer-1"},
        "s3cret",
    )
    path.write_text(GOOD.replace("https://id.example", "http://127.0.0.1:8080"))
    assert provider_in(path)[1] == ""


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("https://id.example", "http://id.example", "an https address"),
        ("https://id.example", "https://id.example?x", "an https address"),
        ("https://id.example", "https://a@id.example", "an https address"),
        ("https://id.example", "id.example", "an https address"),
        ("[officers]", 'claim = "email"\n[officers]', "chosen by its holder"),
        ("[officers]", 'claim = "preferred_username"\n[officers]', "chosen by its holder"),
        ("[officers]", 'scopes = ["email"]\n[officers]', "openid is one"),
        ("[officers]", "max_age_s = -1\n[officers]", "number of seconds"),
        ("[officers]", 'secret = "s"\n[officers]', "unknown field"),
        ("[officers]", 'secret_file = "missing"\n[officers]', "No such file"),
        ('"a" = "officer-1"', "", "at least one"),
        ('"a" = "officer-1"', '"" = "officer-1"', "at least one"),
        ('client = "console"', 'client = ""', "our name"),
        ("[officers]", "[officers", "Expected"),
    ],
)
def test_a_file_that_would_let_in_too_many_is_refused(tmp_path: Path, old: str, new: str, why: str) -> None:
    path = tmp_path / "sign-in.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigurationError, match=why):
        provider_in(path)
