"""Signing in at another provider, as a person meets it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from browsing import ALLOW, CONFIGURATION, ISSUER, Browser, asking, register

from registrar.authorization import people
from registrar.testing import Served, served
from upstream_provider import PROVIDER, Provider

pytestmark = pytest.mark.anyio

UPSTREAM = f"""
[issuer.main.people]
local = false
[issuer.main.upstream]
issuer = "{PROVIDER}"
client_id = "registrar"
name = "Example Login"
"""


@pytest.fixture
async def provider() -> Provider:
    """Where people sign in."""
    return Provider(clock=None)


@pytest.fixture
async def server(provider: Provider) -> AsyncIterator[Served]:
    """An issuer that has no accounts of its own."""
    async with served(CONFIGURATION + UPSTREAM, fetch=provider) as server:
        provider.clock = server.clock
        yield server


async def leave(browser: Browser, provider: Provider) -> dict[str, str]:
    """Go to the provider: what it is asked."""
    await browser.open(next(link["href"] for link in browser.read.links if "upstream" in link["href"]))
    assert browser.left_for.startswith(f"{PROVIDER}/auth?")
    asked = dict(parse_qsl(urlsplit(browser.left_for).query))
    provider.challenge = asked["code_challenge"]
    provider.claims["nonce"] = asked["nonce"]
    return asked


async def test_a_person_signs_in_elsewhere_and_allows_here(server: Served, provider: Provider) -> None:
    """There is no password field; after the provider comes the question, as after every sign-in, then the client."""
    browser = Browser(server.client)
    client = await register(server)
    await browser.open(asking(client))
    assert "Sign in with Example Login" in browser.words
    assert "Password" not in browser.words
    asked = await leave(browser, provider)
    await browser.open(f"/sign-in/upstream/callback?code=c0de&state={asked['state']}")
    assert "asks for access to the account of Carol" in browser.words
    await browser.submit(ALLOW)
    assert browser.answer["code"]
    await browser.open(asking(client))
    assert browser.answer["code"]


async def test_an_answer_in_another_browser_signs_nobody_in(server: Served, provider: Provider) -> None:
    """Login CSRF: the link of an answer that somebody else began leads nowhere."""
    browser = Browser(server.client)
    await browser.open(asking(await register(server)))
    asked = await leave(browser, provider)
    stranger = Browser(httpx2.AsyncClient(transport=server.client._transport, base_url=ISSUER))
    await stranger.open(f"/sign-in/upstream/callback?code=c0de&state={asked['state']}")
    assert "began in another browser" in stranger.words
    assert not [name for name in stranger.client.cookies if "session" in name]


async def test_a_failure_there_is_told_here(server: Served, provider: Provider) -> None:
    """In our words, with the way to try again; what stands in the query is not repeated."""
    browser = Browser(server.client)
    await browser.open(asking(await register(server)))
    asked = await leave(browser, provider)
    await browser.open(f"/sign-in/upstream/callback?error=access_denied&error_description=evil&state={asked['state']}")
    assert browser.page.status_code == 502
    assert "Example Login did not sign you in" in browser.words
    assert "evil" not in browser.page.text
    await leave(browser, provider)


async def test_a_provider_that_is_down_is_told(server: Served, provider: Provider) -> None:
    """Instead of an error of ours."""
    browser = Browser(server.client)
    await browser.open(asking(await register(server)))
    provider.members["issuer"] = "https://evil.example"
    await browser.open(next(link["href"] for link in browser.read.links if "upstream" in link["href"]))
    assert "another issuer" in browser.words


async def test_somebody_disabled_here_is_told(server: Served, provider: Provider) -> None:
    """Whatever the provider says."""
    person = await people.from_upstream(server.registry, server.issuer, PROVIDER, {"sub": "u-1"})
    await people.set_disabled(server.registry, server.issuer, person, True, server.operator.actor())
    browser = Browser(server.client)
    await browser.open(asking(await register(server)))
    asked = await leave(browser, provider)
    await browser.open(f"/sign-in/upstream/callback?code=c0de&state={asked['state']}")
    assert browser.page.status_code == 403


async def test_a_password_signs_nobody_in_where_there_are_none(server: Served) -> None:
    """Not by a form of one's own making either."""
    browser = Browser(server.client)
    await browser.open("/account")
    identifier = str(browser.page.url).partition("i=")[2]
    await browser.send("/sign-in", {"i": identifier, "username": "a", "password": "b"})
    assert browser.page.status_code == 403
