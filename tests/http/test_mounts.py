"""The application by itself and inside another: addresses are right in each place, and none is built from a request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Host, Mount

from registrar.http.application import create_app
from registrar.testing import Served, served

pytestmark = pytest.mark.anyio

REDIRECTS: Final = {"redirect_uris": ["https://app.example/callback"]}
HOST: Final = "http://127.0.0.1:8000"


def _under(prefix: str, app: Any) -> Any:
    """What a server does that was told of a prefix which the proxy before it takes away (uvicorn's `--root-path`)."""

    async def prefixed(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "root_path": prefix, "path": prefix + scope["path"]}, receive, send)

    return prefixed


PLACES: Final[dict[str, tuple[str, str, Any]]] = {
    "bare": ("", "", lambda app: app),
    "bare, with a path": ("/as", "/as", lambda app: app),
    "mounted at the root": ("", "", lambda app: Starlette(routes=[Mount("/", app)])),
    "mounted at its path": ("/as", "/as", lambda app: Starlette(routes=[Mount("/as", app)])),
    "mounted in a mount": ("/a/b", "/a/b", lambda app: Starlette(routes=[Mount("/a", routes=[Mount("/b", app)])])),
    "mounted by host": ("", "", lambda app: Starlette(routes=[Host("127.0.0.1", app)])),
    "mounted where a proxy hides it": ("", "/internal", lambda app: Starlette(routes=[Mount("/internal", app)])),
    "mounted below where a proxy hides it": (
        "/as",
        "/internal/as",
        lambda app: Starlette(routes=[Mount("/internal", app)]),
    ),
    "prefixed by its server": ("/as", "", lambda app: _under("/as", app)),
    "prefixed and mounted": ("/a/b", "/b", lambda app: _under("/a", Starlette(routes=[Mount("/b", app)]))),
}
"""For each place: the path of the issuer's URL, the prefix that reaches the application, and how it is put there."""


@asynccontextmanager
async def placed(place: str) -> AsyncIterator[tuple[Served, httpx2.AsyncClient, str, str]]:
    """The application in a place: a client, the issuer's URL, and the prefix of its paths as seen from outside."""
    path, prefix, put = PLACES[place]
    toml = f'[server]\ndatabase = "memory:"\n[issuer.main]\nurl = "{HOST}{path}"\nregistration.mode = "open"'
    async with served(toml) as server:
        transport = httpx2.ASGITransport(app=put(create_app(server.registry)), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=HOST) as client:
            yield server, client, HOST + path, prefix


@pytest.mark.requirement("R7592-28", "R7592-39", "R7592-40")
@pytest.mark.parametrize("place", PLACES)
async def test_a_client_is_managed_where_its_answer_says(place: str) -> None:
    """`registration_client_uri` is the issuer's, whatever Host says, and the request for it arrives in every place."""
    async with placed(place) as (_, client, issuer, prefix):
        evil = {"host": "evil.example", "x-forwarded-host": "evil.example", "forwarded": "host=evil.example"}
        headers = {} if "host" in place else evil
        answer = await client.post(f"{prefix}/register", json=REDIRECTS, headers=headers)
        assert answer.status_code == 201
        members = answer.json()
        assert members["registration_client_uri"] == f"{issuer}/register/{members['client_id']}"
        managed = f"{prefix}/register/{members['client_id']}"
        bearer = {"authorization": f"Bearer {members['registration_access_token']}"}
        assert (await client.get(managed, headers=bearer)).json() == members
        assert (await client.delete(managed, headers=bearer)).status_code == 204
        assert (await client.get(managed, headers=bearer)).status_code == 401


@pytest.mark.requirement("DISC-3", "DISC-6")
@pytest.mark.parametrize("place", PLACES)
async def test_everything_else_is_found_in_every_place(place: str) -> None:
    """Discovery, keys and health are reached, an unknown path is a 404 of ours, and every address is the issuer's."""
    async with placed(place) as (_, client, issuer, prefix):
        document = (await client.get(f"{prefix}/.well-known/openid-configuration")).json()
        assert document["issuer"] == issuer
        assert document["registration_endpoint"] == f"{issuer}/register"
        assert "keys" in (await client.get(f"{prefix}/jwks")).json()
        unknown = await client.get(f"{prefix}/nothing")
        assert (unknown.status_code, unknown.json()["error"]) == (404, "not_found")
        wrong = await client.patch(f"{prefix}/register", json=REDIRECTS)
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST, OPTIONS")


@pytest.mark.parametrize(
    "place", [place for place, (path, _, _) in PLACES.items() if not path or "mounted at" in place]
)
async def test_health_is_told_inside_the_mount(place: str) -> None:
    """`/healthz` and `/readyz` are the application's own, so they stand where it stands."""
    async with placed(place) as (_, client, _, prefix):
        for path in ("/healthz", "/readyz"):
            assert (await client.get(prefix + path)).status_code == 200


async def test_two_applications_share_a_server() -> None:
    """Two applications under one router know nothing of each other's clients."""
    toml = '[server]\ndatabase = "memory:"\n[issuer.main]\nurl = "http://127.0.0.1:8000/{}"\nregistration.mode = "open"'
    async with served(toml.format("one")) as one, served(toml.format("two")) as two:
        router = Starlette(
            routes=[Mount(f"/{name}", create_app(app.registry)) for name, app in (("one", one), ("two", two))]
        )
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=router), base_url=HOST) as client:
            members = (await client.post("/one/register", json=REDIRECTS)).json()
            assert members["registration_client_uri"].startswith(f"{HOST}/one/register/")
            bearer = {"authorization": f"Bearer {members['registration_access_token']}"}
            assert (await client.get(members["registration_client_uri"], headers=bearer)).status_code == 200
            elsewhere = members["registration_client_uri"].replace("/one/", "/two/")
            assert (await client.get(elsewhere, headers=bearer)).status_code == 401
