"""What has to happen before a request is allowed: sign-in, choice, consent, in the order of OpenID Connect Core §3.1.2."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from registrar.authorization import consent, interaction
from registrar.authorization.consent import Consent
from registrar.authorization.interaction import Interaction, Step
from registrar.authorization.request import AuthorizationRequest
from registrar.authorization.sessions import Session
from registrar.domain.client import Admission, Assurance, Client, State
from registrar.domain.credentials import Credentials
from registrar.domain.metadata import Registered
from registrar.testing import OPEN, served

NOW = 1_790_000_000
SESSION = Session(session_id="s", subject="p.1", auth_time=NOW - 100)


def request(**members: Any) -> AuthorizationRequest:
    """A request for two scopes."""
    given: dict[str, Any] = {"redirect_uri": "https://app.example/cb", "scope": ("openid", "email")} | members
    return AuthorizationRequest(
        issuer="main", client_id="c", redirect_uri_given=True, response_type="code", response_mode="query", **given
    )


def client(method: str = "none") -> Client:
    """A client with an authentication method."""
    return Client(
        issuer="main",
        client_id="c",
        version=1,
        state=State.ACTIVE,
        created_at=NOW,
        updated_at=NOW,
        metadata=Registered({"token_endpoint_auth_method": method}),
        credentials=Credentials(),
        admission=Admission(Assurance.OPEN),
        policy="default",
    )


def step(
    asked: AuthorizationRequest | None,
    session: Session | None = SESSION,
    *,
    same_person: bool = True,
    consented: bool = True,
    **happened: bool,
) -> Step:
    """What comes next."""
    waiting = Interaction("browser", asked, **happened)
    return interaction.next_step(waiting, session, same_person=same_person, consented=consented, now=NOW)


@pytest.mark.parametrize(
    ("members", "happened", "expected"),
    [
        ({}, {}, Step.ALLOW),
        ({"prompt": ("login",)}, {}, Step.SIGN_IN),
        ({"prompt": ("login",)}, {"signed_in": True}, Step.ALLOW),
        ({"max_age": 100}, {}, Step.ALLOW),
        ({"max_age": 99}, {}, Step.SIGN_IN),
        ({"max_age": 0}, {"signed_in": True}, Step.ALLOW),
        ({"prompt": ("select_account",)}, {}, Step.SELECT),
        ({"prompt": ("select_account",)}, {"chosen": True}, Step.ALLOW),
        ({"prompt": ("consent",)}, {}, Step.CONSENT),
        ({"prompt": ("login", "consent")}, {"signed_in": True}, Step.CONSENT),
        ({"prompt": ("none",)}, {}, Step.ALLOW),
    ],
)
def test_prompt_and_max_age_decide_what_comes_next(
    members: dict[str, Any], happened: dict[str, bool], expected: Step
) -> None:
    """For somebody who is signed in and agreed before."""
    assert step(request(**members), **happened) is expected


def test_nobody_is_asked_to_sign_in_first() -> None:
    """Without a session, and also where the session is another person's than the one that was hinted at."""
    assert step(request(), None) is Step.SIGN_IN
    assert step(request(), same_person=False) is Step.SIGN_IN
    assert step(request(), same_person=False, signed_in=True) is Step.SIGN_IN


def test_who_did_not_agree_is_asked() -> None:
    """A sign-in alone allows nothing; a page without a request has nothing to allow."""
    assert step(request(), consented=False) is Step.CONSENT
    assert step(None, consented=False) is Step.ALLOW


AGREED = Consent(("openid", "email"), ("https://api.example/",), ("nickname",), proved=True)


@pytest.mark.requirement("BASE-27")
@pytest.mark.parametrize(
    ("uri", "method", "proved"),
    [
        ("https://app.example/cb", "none", True),
        ("http://127.0.0.1:1/cb", "none", False),
        ("http://localhost/cb", "none", False),
        ("com.example.app:/cb", "none", False),
        ("cursor://x/cb", "none", False),
        ("http://127.0.0.1:1/cb", "client_secret_basic", True),
        ("com.example.app:/cb", "private_key_jwt", True),
    ],
)
def test_earlier_consent_counts_only_for_a_client_that_proves_itself(uri: str, method: str, proved: bool) -> None:
    """A public client on a device is asked about each time, because anything there can pretend to be it."""
    assert consent.covers(AGREED, client(method), request(redirect_uri=uri)) is proved


@pytest.mark.parametrize(
    "more",
    [
        {"scope": ("openid", "email", "profile")},
        {"resource": ("https://other.example/",)},
        {"claims": {"userinfo": {"phone_number": None}}},
        {"authorization_details": [{"type": "payment"}]},
    ],
)
def test_earlier_consent_does_not_cover_more(more: dict[str, Any]) -> None:
    """More scopes, another resource, another claim, or anything that is about one occasion is asked about."""
    assert not consent.covers(AGREED, client("client_secret_basic"), request(**more))


def test_earlier_consent_covers_less() -> None:
    """Who asks for a part of what was agreed to is not asked again; without a consent everybody is."""
    less = request(scope=("openid",), resource=("https://api.example/",), claims={"id_token": {"nickname": None}})
    assert consent.covers(AGREED, client("client_secret_basic"), less)
    assert not consent.covers(None, client("client_secret_basic"), less)


@pytest.mark.parametrize(
    ("expansion", "given_at", "counts"),
    [(0, NOW + 1, False), (NOW, NOW - 1, False), (NOW, NOW, False), (NOW, NOW + 1, True), (NOW - 5, NOW + 1, False)],
)
def test_a_consent_is_to_one_expansion_and_later(expansion: int, given_at: int, counts: bool) -> None:
    """That of which it knows, and not in the same second, in which there may have been another, of the template."""
    expanded = msgspec.structs.replace(client("client_secret_basic"), expanded_at=NOW)
    agreed = msgspec.structs.replace(AGREED, expansion=expansion, given_at=given_at)
    assert consent.covers(agreed, expanded, request()) is counts


@pytest.mark.anyio
async def test_consents_add_up() -> None:
    """What was agreed to at different times is remembered together, and goes with the client."""
    async with served(OPEN) as server:
        registry, issuer = server.registry, server.issuer
        first = consent.given(issuer, request(), client("none"), "p.1", None, NOW)
        await registry.store.change([first])
        before = await consent.find(registry, issuer, "c", "p.1")
        second = consent.given(issuer, request(scope=("openid", "profile")), client("none"), "p.1", before, NOW + 1)
        await registry.store.change([second])
        assert await consent.find(registry, issuer, "c", "p.1") == Consent(
            ("openid", "email", "profile"), given_at=NOW + 1, proved=True
        )
        assert await consent.find(registry, issuer, "c", "p.2") is None


@pytest.mark.anyio
async def test_what_was_agreed_to_unknown_is_not_agreed_to_for_who_is_known() -> None:
    """A public client on a device that comes to have a secret is asked about once more, as what it is then.

    Nor does what is agreed to where anything could pretend to be it add to what it has where it is known.
    """
    loopback = {"redirect_uri": "http://127.0.0.1:1/cb"}
    async with served(OPEN) as server:
        registry, issuer = server.registry, server.issuer

        async def agree(asked: AuthorizationRequest, method: str) -> None:
            before = await consent.find(registry, issuer, "c", "p.1")
            await registry.store.change([consent.given(issuer, asked, client(method), "p.1", before, NOW)])

        async def covered(asked: AuthorizationRequest, method: str) -> bool:
            return consent.covers(await consent.find(registry, issuer, "c", "p.1"), client(method), asked)

        await agree(request(**loopback), "none")
        assert not await covered(request(**loopback), "client_secret_basic")
        await agree(request(**loopback, scope=("openid",)), "client_secret_basic")
        assert await covered(request(**loopback, scope=("openid",)), "client_secret_basic")
        assert not await covered(request(**loopback), "client_secret_basic")
        await agree(request(**loopback), "none")
        assert not await covered(request(**loopback), "client_secret_basic")
        assert await covered(request(scope=("openid",)), "none")


@pytest.mark.anyio
async def test_an_interaction_is_of_one_browser_and_ends() -> None:
    """Another browser does not find it, half an hour later nobody does, and the store has no identifier of it."""
    async with served(OPEN) as server:
        registry, issuer = server.registry, server.issuer
        begun = await interaction.begin(registry, issuer, Interaction(interaction.of_browser("one"), request()))
        assert await interaction.find(registry, issuer, begun.identifier, "one") == begun
        assert await interaction.find(registry, issuer, begun.identifier, "two") is None
        assert await interaction.find(registry, issuer, "", "one") is None
        (item,) = await registry.store.items("main", interaction.KIND)
        assert begun.identifier not in repr(item)
        server.clock.advance(interaction.LIFETIME)
        assert await interaction.find(registry, issuer, begun.identifier, "one") is None
