"""Registration that a person signs in for, from end to end, as they meet it."""

from __future__ import annotations

from typing import Any

import pytest
from browsing import ALLOW, CONFIGURATION, Browser, add, asking, exchange, issuing

from registrar.domain.metadata import Presented
from registrar.service import client_administration
from registrar.testing import Served

pytestmark = pytest.mark.anyio

MODE_USER = CONFIGURATION.replace('mode = "open"', 'mode = "user"').replace(
    '"calendar.read"]', '"calendar.read", "dcr"]'
)
APP = {
    "client_name": "Mail for phones",
    "redirect_uris": ["com.example.mail:/cb"],
    "token_endpoint_auth_method": "none",
    "scope": "dcr openid",
}
INSTANCE = {"client_name": "Mail on Alice's phone", "redirect_uris": ["com.example.mail:/cb"]}


async def shipped(server: Served) -> dict[str, Any]:
    """The app as everybody has it: a client_id and nothing else."""
    made = await client_administration.create(server.registry, server.issuer, server.operator, Presented(dict(APP)))
    return dict(made)


@pytest.mark.requirement("SEED-21")
async def test_a_person_registers_an_instance_and_is_not_asked_to_sign_in_again() -> None:
    """One sign-in: for the token that registers the instance, and for the instance's own first authorization."""
    async with issuing(MODE_USER) as server:
        await add(server)
        browser = Browser(server.client)
        app = await shipped(server)
        await browser.open(asking(app, scope="dcr"))
        await browser.sign_in()
        assert "Register one application in your name" in browser.words
        await browser.submit(ALLOW)
        token = (await exchange(server, app, browser.answer["code"]))["access_token"]

        answer = await server.client.post("/register", json=INSTANCE, headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 201, answer.text
        instance = answer.json()
        await browser.open(asking(instance, scope="openid"))
        assert "Allow access to your account?" in browser.words
        assert "Registered by you" in browser.words
        await browser.submit(ALLOW)
        assert "id_token" in await exchange(server, instance, browser.answer["code"])

        await browser.open("/account")
        assert "Applications that you registered Mail on Alice's phone" in browser.words


async def test_somebody_else_sees_whose_it_is() -> None:
    """Who registered it is named to another person, as accountable for it."""
    async with issuing(MODE_USER) as server:
        await add(server, name="Alice Liddell")
        await add(server, "bob")
        browser = Browser(server.client)
        app = await shipped(server)
        await browser.open(asking(app, scope="dcr"))
        await browser.sign_in()
        await browser.submit(ALLOW)
        token = (await exchange(server, app, browser.answer["code"]))["access_token"]
        answer = await server.client.post("/register", json=INSTANCE, headers={"authorization": f"Bearer {token}"})
        await browser.open(asking(answer.json(), scope="openid", prompt="login"))
        await browser.sign_in("bob")
        assert "Registered by Alice Liddell" in browser.words
        assert "Nobody has checked this application" in browser.words
