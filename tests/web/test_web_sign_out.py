"""Signing out at an application's wish, as a person meets it."""

from __future__ import annotations

from urllib.parse import urlencode

import httpx2
import msgspec
import pytest
from browsing import ALLOW, ISSUER, Browser, asking, exchange, register

from registrar.domain.client import State
from registrar.testing import Served

pytestmark = pytest.mark.anyio

AFTER = "https://app.example/bye"


async def signed_in(server: Served, browser: Browser, **members: object) -> dict[str, object]:
    """A client, and a person who signed in for it."""
    client = await register(server, post_logout_redirect_uris=[AFTER], **members)
    await browser.open(asking(client))
    await browser.sign_in()
    return client


def leaving(**parameters: object) -> str:
    """A request to sign out."""
    return f"/end_session?{urlencode(parameters)}"


async def is_signed_in(browser: Browser) -> bool:
    """Whether the browser has a session."""
    return "You are signed in as" in (await browser.open("/account")).words


async def test_a_person_is_asked_first(server: Served, browser: Browser) -> None:
    """A link alone signs nobody out; the page says who asks, and after the answer the person goes where they came from."""
    client = await signed_in(server, browser)
    await browser.open(leaving(client_id=client["client_id"], post_logout_redirect_uri=AFTER, state="s"))
    assert "Reader asks whether you want to sign out here as well." in browser.words
    assert await is_signed_in(browser)
    await browser.open(leaving(client_id=client["client_id"], post_logout_redirect_uri=AFTER, state="s"))
    await browser.submit(("confirmed", "1"))
    assert browser.left_for == f"{AFTER}?state=s"
    assert not await is_signed_in(browser)


async def test_a_forged_answer_signs_nobody_out(server: Served, browser: Browser) -> None:
    """Another site's form is asked about like its link."""
    await signed_in(server, browser)
    await browser.send("/end_session", {"confirmed": "1", "proof": "x"})
    assert "Sign out?" in browser.words
    assert await is_signed_in(browser)


@pytest.mark.requirement("OIDC-54")
@pytest.mark.parametrize("uri", ["https://evil.example/", f"{AFTER}/", f"{AFTER}?x=1", "javascript:alert(1)"])
async def test_nobody_is_sent_where_the_client_did_not_register(server: Served, browser: Browser, uri: str) -> None:
    """Exact comparison; otherwise a page, and the session goes on."""
    client = await signed_in(server, browser)
    await browser.open(leaving(client_id=client["client_id"], post_logout_redirect_uri=uri))
    assert browser.page.status_code == 400
    assert uri not in browser.page.text
    assert await is_signed_in(browser)


@pytest.mark.parametrize("state", ["pending", "suspended"])
async def test_nobody_is_sent_to_who_may_do_nothing(server: Served, browser: Browser, state: str) -> None:
    """Nor to whoever waits for review: the person is signed out, and stays here."""
    client = await signed_in(server, browser)
    stored = await server.registry.store.find("main", str(client["client_id"]))
    assert stored is not None
    after = msgspec.structs.replace(stored, version=stored.version + 1, state=State(state))
    await server.registry.store.update(after, [], expected=stored.version)
    await browser.open(leaving(client_id=client["client_id"], post_logout_redirect_uri=AFTER))
    await browser.submit(("confirmed", "1"))
    assert "You are signed out" in browser.words
    assert not browser.left_for
    assert not await is_signed_in(browser)


async def test_somebody_who_is_not_signed_in_is_told_so(browser: Browser) -> None:
    """Without a session there is nothing to ask."""
    await browser.open("/end_session")
    assert "You are signed out" in browser.words


async def test_a_form_of_another_site_finds_the_session_all_the_same(server: Served, browser: Browser) -> None:
    """Browsers send no cookies with it (SameSite=Lax), so it is asked for again with GET."""
    client = await signed_in(server, browser)
    bare = httpx2.AsyncClient(transport=server.client._transport, base_url=ISSUER)
    form = {"client_id": str(client["client_id"]), "post_logout_redirect_uri": AFTER}
    answer = await bare.post("/end_session", data=form)
    assert answer.status_code == 303
    assert "set-cookie" not in answer.headers
    await browser.open(answer.headers["location"])
    assert "Sign out?" in browser.words


async def test_applications_are_told_in_frames(server: Served, browser: Browser) -> None:
    """Front-channel logout: the page may frame exactly those, and goes on by itself without a script."""
    uri = "https://app.example/front?x=1"
    client = await signed_in(server, browser, frontchannel_logout_uri=uri)
    await browser.submit(ALLOW)
    await exchange(server, client, browser.answer["code"])
    await browser.open(leaving(client_id=client["client_id"], post_logout_redirect_uri=AFTER))
    await browser.submit(("confirmed", "1"))
    assert "You are signed out" in browser.words
    (frame,) = [one for one in browser.read.resources if one.startswith(uri)]
    assert "sid=" in frame
    assert browser.page.headers["content-security-policy"].endswith("; frame-src https://app.example")
    assert f'content="3; url={AFTER}"' in browser.page.text


async def test_an_id_token_of_this_session_is_answer_enough(server: Served, browser: Browser) -> None:
    """Who brings the ID token of the person who is signed in is not asked about; one of somebody else's is."""
    client = await signed_in(server, browser)
    await browser.submit(ALLOW)
    tokens = await exchange(server, client, browser.answer["code"])
    await browser.open(leaving(id_token_hint=tokens["id_token"], post_logout_redirect_uri=AFTER))
    assert browser.left_for == AFTER
    assert not await is_signed_in(browser)
    await browser.open(asking(client))
    await browser.sign_in()
    await browser.open(leaving(id_token_hint=tokens["id_token"], post_logout_redirect_uri=AFTER))
    assert "Sign out?" in browser.words
