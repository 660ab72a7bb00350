"""The exchange that is printed in many introductions to dynamic registration, byte for byte as a browser sent it."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx2
import pytest
from registering import as_update, configured, manage, without

from registrar.testing import FrozenClock, Served, served

pytestmark = pytest.mark.anyio

HOST = "https://as.example"
NOW = 1_663_687_515
CONFIGURATION = configured(url=HOST, registration='path = "/reg"')

BODY = b"""{
\t"client_name": "Oauth client",
\t"redirect_uris": ["http://localhost:9000/callback"],
\t"client_uri": "http://localhost:9000",
\t"grant_types": ["authorization_code"],
        "scope": "openid"
}
"""
HEADERS = {
    "Cookie": "_interaction=CFm_EqqiXK3p43Oo0HWu7",
    "Upgrade-Insecure-Requests": "1",
    "User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/105.0.5195.102 Safari/537.36",
    "Referer": "https://portal.example/",
    "Accept-Encoding": "gzip, deflate",
    "Accept-Language": "en-US,en;q=0.9",
    "Connection": "close",
    "Content-Type": "application/json",
}
ASKED = {
    "client_name": "Oauth client",
    "redirect_uris": ["http://localhost:9000/callback"],
    "client_uri": "http://localhost:9000",
    "grant_types": ["authorization_code"],
    "scope": "openid",
}
DEFAULTS = {
    "application_type": "web",
    "id_token_signed_response_alg": "RS256",
    "post_logout_redirect_uris": [],
    "require_auth_time": False,
    "response_types": ["code"],
    "subject_type": "public",
    "token_endpoint_auth_method": "client_secret_basic",
    "introspection_endpoint_auth_method": "client_secret_basic",
    "revocation_endpoint_auth_method": "client_secret_basic",
    "require_signed_request_object": False,
    "request_uris": [],
    "client_secret_expires_at": 0,
    "client_id_issued_at": NOW,
}
ISSUED = {"client_id", "client_secret", "registration_client_uri", "registration_access_token"}


async def exchanged(server: Served) -> httpx2.Response:
    """The answer to the exchange."""
    return await server.client.post("/reg", content=BODY, headers=HEADERS)


def clock() -> FrozenClock:
    """The second of the printed answer."""
    return FrozenClock(NOW * 1000 + 400)


@pytest.mark.requirement("SEED-41", "SEED-42", "SEED-44", "R7591-47", "D-1")
async def test_the_exchange_is_accepted() -> None:
    """201 as JSON in UTF-8 that nobody may store, without a word about the software."""
    async with served(CONFIGURATION, clock=clock()) as server:
        answer = await exchanged(server)
        assert answer.status_code == 201, answer.text
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        assert answer.headers["pragma"] == "no-cache"
        assert answer.headers["cache-control"] == "no-cache, no-store"
        assert answer.headers["content-length"] == str(len(answer.content))
        assert not {"x-powered-by", "server", "set-cookie", "content-encoding", "location"} & set(answer.headers)


@pytest.mark.requirement("SEED-45", "SEED-46", "SEED-47", "SEED-48", "SEED-49", "R7591-52", "R7591-42")
async def test_the_answer_has_exactly_these_members() -> None:
    """What was asked for, every default of the printed answer, what was issued, and nothing else."""
    async with served(CONFIGURATION, clock=clock()) as server:
        client = (await exchanged(server)).json()
        assert without(client, *ISSUED) == ASKED | DEFAULTS
        assert set(client) == set(ASKED) | set(DEFAULTS) | ISSUED
        assert type(client["client_secret_expires_at"]) is int
        assert type(client["client_id_issued_at"]) is int


@pytest.mark.requirement("SEED-50", "SEED-51", "R7592-39")
async def test_what_is_issued_has_the_printed_form() -> None:
    """Identifier, secret and token are at least as long as the printed ones, and the URL is the endpoint's."""
    async with served(CONFIGURATION, clock=clock()) as server:
        client = (await exchanged(server)).json()
        assert re.fullmatch(r"[A-Za-z0-9_\-]{21,}", client["client_id"])
        assert re.fullmatch(r"[A-Za-z0-9_\-]{86}", client["client_secret"])
        assert re.fullmatch(r"[A-Za-z0-9_\-]{43}", client["registration_access_token"])
        assert client["registration_client_uri"] == f"{HOST}/reg/{client['client_id']}"
        read = await manage(server, client)
        assert (read.status_code, read.json()) == (200, client)
        assert (await manage(server, client, "PUT", as_update(client))).json() == client
        assert (await manage(server, client, "DELETE")).status_code == 204


@pytest.mark.requirement("SEED-43")
@pytest.mark.parametrize("left_out", [name for name in HEADERS if name != "Content-Type"])
async def test_what_a_browser_adds_is_harmless(left_out: str) -> None:
    """Cookie, Referer and the rest change nothing, each alone and all together."""
    answers: list[dict[str, Any]] = []
    plain = {"Content-Type": "application/json"}
    for headers in (HEADERS, plain, without(HEADERS, left_out), plain | {left_out: HEADERS[left_out]}):
        async with served(CONFIGURATION, clock=clock()) as server:
            answer = await server.client.post("/reg", content=BODY, headers=headers)
            assert answer.status_code == 201, answer.text
            answers.append(without(answer.json(), *ISSUED))
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.requirement("SEED-43", "SEED-41")
async def test_a_cookie_grants_nothing() -> None:
    """Where a token is needed the same exchange is 401, cookie or not, and so is a read with the cookie alone."""
    async with served(configured("client", url=HOST, registration='path = "/reg"')) as server:
        assert (await exchanged(server)).status_code == 401
    async with served(CONFIGURATION) as server:
        client = (await exchanged(server)).json()
        cookie = {"Cookie": f"_interaction=x; token={client['registration_access_token']}"}
        assert (await server.client.get(client["registration_client_uri"], headers=cookie)).status_code == 401


@pytest.mark.requirement("SEED-42", "R7591-43")
async def test_white_space_means_nothing() -> None:
    """Tabs, newlines and spaces in the body register what the compact form registers."""
    async with served(CONFIGURATION, clock=clock()) as server:
        spaced = (await exchanged(server)).json()
        compact = json.dumps(ASKED, separators=(",", ":")).encode()
        plain = (await server.client.post("/reg", content=compact, headers=HEADERS)).json()
        assert without(spaced, *ISSUED) == without(plain, *ISSUED)
        assert spaced["client_id"] != plain["client_id"]
        assert spaced["client_secret"] != plain["client_secret"]
