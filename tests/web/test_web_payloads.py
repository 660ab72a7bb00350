"""Every client of tests/data/payloads goes through /authorize as it would: with each redirect URI, and what varies of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from browsing import ALLOW, Browser, add, asking, exchange, issuing

from registrar.authorization import sessions
from registrar.domain.redirect_uri import LOOPBACK_HOSTS
from registrar.testing import Served

pytestmark = pytest.mark.anyio

FOLDER: Final = Path(__file__).parents[1] / "data" / "payloads"
Request = dict[str, Any]


def _redirecting() -> dict[str, dict[str, Any]]:
    """The payloads that register and are redirected to."""
    found = {}
    for path in sorted([*FOLDER.glob("clients/*.json"), *FOLDER.glob("gateways/*.json")]):
        file = json.loads(path.read_text("utf-8"))
        expected = file["expect"].get("status", 201)
        request = file["request"] or {}
        redirected = "authorization_code" in request.get("grant_types", ["authorization_code"])
        if expected == 201 and redirected and request.get("redirect_uris"):
            found[f"{path.parent.name}/{path.stem}"] = file
    return found


FILES: Final = _redirecting()


def _with_uri(change: Callable[[str], str]) -> Callable[[Request], Request]:
    return lambda request: {
        **request,
        "redirect_uris": [change(request["redirect_uris"][0]), *request["redirect_uris"][1:]],
    }


def _last_segment(uri: str) -> str:
    return f"{uri.rpartition('/')[0]}/0123456789abcdef"


def _unchanged(request: Request) -> Request:
    return request


VARIES: Final[Mapping[str, Callable[[Request], Request]]] = {
    # The port is chosen when the program runs; what was registered stays, see `_uris`.
    "redirect_uris[0] port": _unchanged,
    "port": _unchanged,
    "redirect_uris[0] last segment": _with_uri(_last_segment),
    "path id": _with_uri(_last_segment),
    "hash": _with_uri(_last_segment),
    "scheme": _with_uri(lambda uri: f"vscode-insiders:{uri.partition(':')[2]}"),
    "client_name suffix": lambda request: {**request, "client_name": f"{request['client_name']} 2"},
    "name suffix": lambda request: {**request, "client_name": f"{request['client_name']} 2"},
    "software_version": lambda request: {**request, "software_version": "99.0.1"},
    "scope": lambda request: {**request, "scope": "openid"},
}
"""What a file says that varies, and how the request varies by it; gateways say it in sentences, which change nothing here."""


def _requests(name: str) -> Iterator[Request]:
    file = FILES[name]
    yield file["request"]
    for varied in file.get("varies", ()):
        if name.startswith("clients/"):
            yield VARIES[varied](file["request"])


def _uris(file: Mapping[str, Any], registered: list[str]) -> Iterator[str]:
    """The redirect URIs that are used: those that the file names, or all; on loopback with another port too, and without."""
    for uri in file.get("authorize_redirect_uris", registered):
        yield uri
        parts = urlsplit(uri)
        if parts.scheme == "http" and (parts.hostname or "") in LOOPBACK_HOSTS:
            yield parts._replace(netloc=f"{parts.hostname}:49152").geturl()
            yield parts._replace(netloc=str(parts.hostname)).geturl()


async def signed_in(server: Served) -> Browser:
    """A browser in which somebody is signed in."""
    alice = await add(server)
    value, _ = await sessions.begin(server.registry, server.issuer, alice, amr=("pwd",))
    server.client.cookies.set("__Host-registrar-main-session", value, domain="as.example", path="/")
    return Browser(server.client)


@pytest.mark.parametrize("name", FILES)
async def test_a_client_is_let_in(name: str) -> None:
    """It registers, is asked about by its name and where it is, gets a code with a long state, and tokens for it."""
    file = FILES[name]
    state = "s" * 2048
    async with issuing() as server:
        browser = await signed_in(server)
        for request in _requests(name):
            answer = await server.client.post("/register", json=request)
            assert answer.status_code == 201, answer.text
            client = answer.json()
            for uri in _uris(file, client["redirect_uris"]):
                await browser.open(asking({**client, "redirect_uris": [uri]}, state=state, scope="", prompt="consent"))
                assert client.get("client_name", client["client_id"]) in browser.words
                assert urlsplit(uri).scheme in ("http", "https") or f"{urlsplit(uri).scheme}: links" in browser.words
                await browser.submit(ALLOW)
                assert browser.left_for.startswith(uri)
                assert browser.answer["state"] == state
                assert browser.answer["iss"] == server.issuer.url
                if client["token_endpoint_auth_method"] != "private_key_jwt":  # whose keys nobody here has
                    await exchange(server, {**client, "redirect_uris": [uri]}, browser.answer["code"])
