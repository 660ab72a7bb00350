"""Signing in at another OpenID provider: what is sent there, and which answers are believed."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from joserfc.jwk import ECKey, OctKey

from registrar.authorization import interaction, people, sessions, upstream
from registrar.authorization.interaction import Interaction, Waiting
from registrar.authorization.people import Unrecognised
from registrar.authorization.request import AuthorizationRequest
from registrar.authorization.upstream import Told, Unusable
from registrar.testing import Served, served
from upstream_provider import PROVIDER, Provider

pytestmark = pytest.mark.anyio

BROWSER = "b" * 43
CONFIGURATION = """
[server]
database = "memory:"
[issuer.main]
url = "https://as.example"
[issuer.main.upstream]
issuer = "https://login.example/realms/main"
client_id = "registrar"
client_secret_file = "{secret}"
name = "Example"
"""


@dataclasses.dataclass
class Visit:
    """A browser at an issuer that lets a provider sign people in."""

    server: Served
    provider: Provider
    waiting: Waiting

    async def leave(self) -> dict[str, str]:
        """Go to the provider: the parameters that it is given."""
        found = await upstream.discover(self.server.registry, self.server.issuer)
        url = upstream.authorization_url(
            self.server.issuer, found, BROWSER, self.waiting.identifier, self.waiting.interaction
        )
        asked = dict(parse_qsl(urlsplit(url).query))
        self.provider.challenge = asked["code_challenge"]
        self.provider.claims.setdefault("nonce", asked["nonce"])
        return asked

    async def arrive(self, browser: str = BROWSER, **answer: str) -> Told:
        """Come back from it."""
        return await upstream.complete(
            self.server.registry,
            self.server.issuer,
            browser,
            self.waiting.identifier,
            {"code": "c0de"} | answer,
            self.waiting.interaction,
        )


@pytest.fixture
async def visit(tmp_path: Path) -> AsyncIterator[Visit]:
    """A browser that is about to sign in."""
    secret = tmp_path / "secret"
    secret.write_text("s3cret & more\n")
    secret.chmod(0o600)
    provider = Provider(clock=None)
    async with served(CONFIGURATION.format(secret=secret), fetch=provider) as server:
        provider.clock = server.clock
        begun = await interaction.begin(
            server.registry, server.issuer, Interaction(interaction.of_browser(BROWSER), page="account")
        )
        yield Visit(server, provider, begun)


def asking(**members: Any) -> Interaction:
    """An interaction with a request."""
    request = AuthorizationRequest(
        issuer="main",
        client_id="c",
        redirect_uri="https://app.example/cb",
        redirect_uri_given=True,
        response_type="code",
        response_mode="query",
        scope=("openid",),
        **members,
    )
    return Interaction(interaction.of_browser(BROWSER), request)


async def test_a_person_is_signed_in_by_the_provider(visit: Visit) -> None:
    """Code, PKCE S256, nonce and state go out; the account is made at the first sign-in and found at the second."""
    asked = await visit.leave()
    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == "https://as.example/sign-in/upstream/callback"
    assert upstream.interaction_of(asked["state"], BROWSER) == visit.waiting.identifier
    told = await visit.arrive()
    registry, issuer = visit.server.registry, visit.server.issuer
    person = await people.from_upstream(registry, issuer, PROVIDER, told.claims)
    assert (person.username, person.name, person.upstream) == ("carol", "Carol", PROVIDER)
    again = await people.from_upstream(registry, issuer, PROVIDER, {**told.claims, "name": "Carol C."})
    assert (again.subject, again.name) == (person.subject, "Carol C.")
    assert await people.by_username(registry, issuer, "carol") is None


async def test_the_secret_goes_in_the_header_and_nowhere_else(visit: Visit) -> None:
    """RFC 6749 §2.3.1: both halves form-urlencoded, read from the file at each use."""
    await visit.leave()
    await visit.arrive()
    scheme, value = visit.provider.authorization.split(" ")
    assert (scheme, base64.b64decode(value)) == ("Basic", b"registrar:s3cret+%26+more")
    assert "client_secret" not in visit.provider.posted[-1][1]


async def test_the_secret_goes_in_the_body_where_nothing_else_is_offered(visit: Visit) -> None:
    """A provider that only takes client_secret_post gets that."""
    visit.provider.members["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    await visit.leave()
    await visit.arrive()
    assert visit.provider.authorization == ""
    assert visit.provider.posted[-1][1]["client_secret"] == "s3cret & more"


async def test_another_browser_has_neither_state_nor_nonce_nor_verifier(visit: Visit) -> None:
    """A stranger's answer signs nobody in: login CSRF and code injection end here."""
    asked = await visit.leave()
    assert upstream.interaction_of(asked["state"], "x" * 43) == ""
    assert upstream.interaction_of(asked["state"] + "x", BROWSER) == ""
    assert upstream.interaction_of("", BROWSER) == ""
    with pytest.raises(AssertionError):  # the verifier that another browser derives is not the one of the challenge
        await visit.arrive(browser="x" * 43)


WRONG: Mapping[str, tuple[dict[str, Any], str]] = {
    "issuer": ({"iss": "https://evil.example"}, "iss"),
    "audience": ({"aud": "another"}, "aud"),
    "several audiences": ({"aud": ["registrar", "another"], "azp": "another"}, "azp"),
    "no nonce": ({"nonce": None}, "nonce"),
    "another nonce": ({"nonce": "another"}, "nonce"),
    "expired": ({"exp": 1_000_000_000}, "exp"),
    "no expiry": ({"exp": None}, "exp"),
    "from the future": ({"iat": 1_890_000_000, "exp": 1_890_000_300}, "iat"),
    "nobody": ({"sub": None}, "sub"),
    "nobody's name": ({"sub": ""}, "sub"),
    "a number": ({"sub": 7}, "sub"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_an_id_token_that_says_the_wrong_thing_is_refused(visit: Visit, name: str) -> None:
    """OpenID Connect Core §3.1.3.7, check by check; the reason names the claim."""
    claims, said = WRONG[name]
    await visit.leave()
    visit.provider.claims |= claims
    with pytest.raises(Unusable, match=said):
        await visit.arrive()


async def test_an_id_token_of_another_key_is_refused(visit: Visit) -> None:
    """A key that the provider does not publish signs nothing, whatever kid it claims."""
    await visit.leave()
    visit.provider.key = ECKey.generate_key("P-256", {"kid": "one"}, private=True)
    with pytest.raises(Unusable, match="signature"):
        await visit.arrive()


@pytest.mark.parametrize("alg", ["HS256", "none"])
async def test_an_id_token_that_anybody_could_make_is_refused(visit: Visit, alg: str) -> None:
    """Neither an unsigned one nor one under a shared secret counts."""
    await visit.leave()
    if alg == "none":
        visit.provider.id_token = lambda: "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1LTEifQ."  # type: ignore[method-assign]
    else:
        visit.provider.key, visit.provider.header = OctKey.import_key("s3cret & more" * 3), {"alg": "HS256"}
    with pytest.raises(Unusable, match="alg"):
        await visit.arrive()


async def test_an_answer_of_another_provider_is_refused(visit: Visit) -> None:
    """RFC 9207: a wrong iss, and a missing one where the provider announces it."""
    await visit.leave()
    with pytest.raises(Unusable, match="does not come from it"):
        await visit.arrive(iss="https://evil.example")
    visit.provider.members["authorization_response_iss_parameter_supported"] = True
    with pytest.raises(Unusable, match="does not come from it"):
        await visit.arrive()
    assert (await visit.arrive(iss=PROVIDER)).claims["sub"] == "u-1"


async def test_a_provider_that_names_another_issuer_is_refused(visit: Visit) -> None:
    """OpenID Connect Discovery §4.3."""
    visit.provider.members["issuer"] = "https://evil.example"
    with pytest.raises(Unusable, match="another issuer"):
        await visit.leave()


async def test_an_error_is_told_in_our_own_words(visit: Visit) -> None:
    """What stands in a query is anybody's text, so it is not repeated."""
    with pytest.raises(Unusable, match="changed your mind") as refused:
        await visit.arrive(error="access_denied", error_description="<b>call this number</b>")
    assert "number" not in str(refused.value)
    with pytest.raises(Unusable, match="answered with an error"):
        await visit.arrive(error="<b>")


async def test_what_the_application_asks_of_the_sign_in_is_passed_on(visit: Visit) -> None:
    """prompt, max_age, login_hint, acr_values and ui_locales reach the provider."""
    interaction = asking(
        prompt=("login", "consent"), login_hint="carol", acr_values=("urn:mfa",), ui_locales=("ja", "en")
    )
    visit.waiting = Waiting(visit.waiting.identifier, interaction, visit.waiting.item)
    asked = await visit.leave()
    assert (asked["prompt"], asked["max_age"], asked["login_hint"]) == ("login", "0", "carol")
    assert (asked["acr_values"], asked["ui_locales"]) == ("urn:mfa", "ja en")


async def test_a_sign_in_that_is_too_old_is_refused(visit: Visit) -> None:
    """Where a fresh sign-in was asked for, the provider has to say that it was one; what it says is what counts."""
    visit.waiting = Waiting(visit.waiting.identifier, asking(max_age=600), visit.waiting.item)
    await visit.leave()
    with pytest.raises(Unusable, match="anew"):
        await visit.arrive()
    visit.provider.claims["auth_time"] = visit.server.clock.now - 700
    with pytest.raises(Unusable, match="anew"):
        await visit.arrive()
    visit.provider.claims |= {"auth_time": visit.server.clock.now - 500, "acr": "urn:mfa", "amr": ["pwd", "otp", 7]}
    told = await visit.arrive()
    assert (told.auth_time, told.acr, told.amr) == (visit.server.clock.now - 500, "urn:mfa", ("pwd", "otp"))


async def test_a_name_from_upstream_is_nobody_elses(visit: Visit) -> None:
    """Somebody upstream who bears the name or the address of an account here is not that account."""
    registry, issuer = visit.server.registry, visit.server.issuer
    claims = {"email": "carol@example.com"}
    local = await people.add(registry, issuer, "carol", "correct horse battery staple", claims=claims)
    told = {"sub": "u-1", "preferred_username": "carol", "email": "carol@example.com", "email_verified": True}
    stranger = await people.from_upstream(registry, issuer, PROVIDER, told)
    assert stranger.subject != local.subject
    assert (await people.from_upstream(registry, issuer, "https://other.example", told)).subject != stranger.subject


async def test_somebody_disabled_here_stays_out(visit: Visit) -> None:
    """Whatever the provider says."""
    registry, issuer = visit.server.registry, visit.server.issuer
    person = await people.from_upstream(registry, issuer, PROVIDER, {"sub": "u-1"})
    await people.set_disabled(registry, issuer, person, True, visit.server.operator.actor())
    with pytest.raises(Unrecognised):
        await people.from_upstream(registry, issuer, PROVIDER, {"sub": "u-1", "name": "New"})


def test_browsers_derive_different_values() -> None:
    """State, nonce and verifier of one browser are not each other's."""
    made = {
        sessions.bound(BROWSER, purpose, "i")
        for purpose in ("upstream state", "upstream nonce", "upstream code verifier")
    }
    assert len(made) == 3
