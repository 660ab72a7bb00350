"""Letting in a device, as a person meets it (RFC 8628)."""

from __future__ import annotations

from typing import Any

import pytest
from browsing import ALLOW, REFUSE, Browser

from registrar.testing import Served

pytestmark = pytest.mark.anyio

GRANT = "urn:ietf:params:oauth:grant-type:device_code"


async def waiting(server: Served) -> tuple[dict[str, Any], dict[str, Any]]:
    """A device that shows a code: its client, and what it was answered."""
    members = {"client_name": "Television", "grant_types": [GRANT], "token_endpoint_auth_method": "none"}
    registered = await server.client.post("/register", json=members)
    assert registered.status_code == 201, registered.text
    client = registered.json()
    answer = await server.client.post(
        "/device_authorization", data={"client_id": client["client_id"], "scope": "email"}
    )
    assert answer.status_code == 200, answer.text
    return client, answer.json()


async def poll(server: Served, client: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """What the device is told."""
    form = {"grant_type": GRANT, "device_code": asked["device_code"], "client_id": client["client_id"]}
    told: dict[str, Any] = (await server.client.post("/token", data=form)).json()
    return told


async def test_a_person_types_the_code_and_lets_the_device_in(server: Served, browser: Browser) -> None:
    """However they write it; they are shown who asks for what, and warned of codes that somebody sent them."""
    client, asked = await waiting(server)
    await browser.open(asked["verification_uri"])
    await browser.sign_in()
    await browser.submit(user_code=asked["user_code"].lower().replace("-", " "))
    for said in ("Television", asked["user_code"], "Only if you have this device in front of you", "Read your e-mail"):
        assert said in browser.words
    assert (await poll(server, client, asked))["error"] == "authorization_pending"
    await browser.submit(ALLOW)
    assert "The device is let in" in browser.words
    assert "access_token" in await poll(server, client, asked)
    await browser.open("/account")
    assert "Television" in browser.words


async def test_the_code_of_the_link_survives_the_sign_in(server: Served, browser: Browser) -> None:
    """verification_uri_complete still asks."""
    client, asked = await waiting(server)
    await browser.open(asked["verification_uri_complete"])
    await browser.sign_in()
    assert asked["user_code"] in browser.words
    await browser.submit(REFUSE)
    assert "Nothing was allowed" in browser.words
    assert (await poll(server, client, asked))["error"] == "access_denied"


async def test_a_forged_decision_lets_no_device_in(server: Served, browser: Browser) -> None:
    """Another site cannot press the button."""
    client, asked = await waiting(server)
    await browser.open("/device")
    await browser.sign_in()
    await browser.send("/device", {"user_code": asked["user_code"], "decision": "allow", "proof": "x"})
    assert "Let in this device?" in browser.words
    assert (await poll(server, client, asked))["error"] == "authorization_pending"


async def test_guessing_codes_is_slowed(browser: Browser) -> None:
    """A wrong one is told; after five the page says to wait."""
    await browser.open("/device")
    await browser.sign_in()
    for _ in range(5):
        await browser.open("/device?user_code=BBBB-BBBB")
        assert browser.page.status_code == 404
    await browser.open("/device?user_code=BBBB-BBBB")
    assert browser.page.status_code == 429


async def test_a_decision_counts_once(server: Served, browser: Browser) -> None:
    """A second press of the button finds nothing."""
    _, asked = await waiting(server)
    await browser.open(asked["verification_uri_complete"])
    await browser.sign_in()
    fields = dict(browser.read.forms[0].fields)
    await browser.submit(ALLOW)
    await browser.send("/device", {**fields, "decision": "allow"})
    assert "waits no more" in browser.words


@pytest.mark.requirement("SEED-70")
async def test_a_page_left_open_does_not_count_for_what_its_client_became(server: Served, browser: Browser) -> None:
    """The page is shown again, as the client is now."""
    client, asked = await waiting(server)
    await browser.open(asked["verification_uri_complete"])
    await browser.sign_in()
    members = {name: client[name] for name in ("client_id", "grant_types", "token_endpoint_auth_method")}
    token = {"authorization": f"Bearer {client['registration_access_token']}"}
    uri = client["registration_client_uri"]
    changed = await server.client.put(uri, json={**members, "client_name": "Bank"}, headers=token)
    assert changed.status_code == 200
    await browser.submit(ALLOW)
    assert "Let in this device?" in browser.words
    assert "Bank" in browser.words
    assert (await poll(server, client, asked))["error"] == "authorization_pending"
    await browser.submit(ALLOW)
    assert "The device is let in" in browser.words


async def test_a_scope_that_was_given_up_is_not_let_in(server: Served, browser: Browser) -> None:
    """What a device asked for is held against what is registered by now."""
    client, asked = await waiting(server)
    await browser.open(asked["verification_uri_complete"])
    await browser.sign_in()
    members = {name: client[name] for name in ("client_id", "client_name", "grant_types", "token_endpoint_auth_method")}
    token = {"authorization": f"Bearer {client['registration_access_token']}"}
    uri = client["registration_client_uri"]
    changed = await server.client.put(uri, json={**members, "scope": "openid"}, headers=token)
    assert changed.status_code == 200
    await browser.submit(ALLOW)
    assert "waits no more" in browser.words
    assert "access_token" not in await poll(server, client, asked)
