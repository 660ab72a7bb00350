"""Registration with a token that was earned: by a sign-in, by a client's own credentials, or at another server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from authorizing import (
    CALLBACK,
    CHALLENGE,
    authorizing,
    call,
    code_for,
    exchange,
    key,
    proof,
    published,
    signed,
    token,
)
from registering import MEMBERS, bearer, events, post, refused, register

from registrar.domain.client import Assurance
from registrar.domain.errors import RegistrationError
from registrar.domain.metadata import Presented
from registrar.service import administration, client_administration
from registrar.testing import Documents, Served, served

pytestmark = pytest.mark.anyio

APP = {
    "client_name": "App",
    "redirect_uris": [CALLBACK],
    "token_endpoint_auth_method": "none",
    "grant_types": ["authorization_code", "refresh_token"],
    "scope": "dcr read openid",
}
BOOTSTRAP = {"client_name": "Bootstrap", "grant_types": ["client_credentials"], "scope": "dcr read"}
JWKS = "https://idp.example/jwks"
KEY = key()


async def created(server: Served, members: Any) -> dict[str, Any]:
    """A client that the operator makes."""
    operator = server.operator
    return await client_administration.create(server.registry, server.issuer, operator, Presented(dict(members)))


async def persons(server: Served, app: Any, scope: str = "dcr") -> str:
    """A token that Alice allowed an app."""
    answer = await exchange(server, app, await code_for(server, app, scope=scope))
    assert answer.status_code == 200, answer.text
    assert answer.json()["scope"] == scope
    assert "refresh_token" not in answer.json() or scope != "dcr"
    return answer.json()["access_token"]


async def softwares(server: Served, client: Any) -> str:
    """A token that a client earned for itself."""
    answer = await token(server, client, "client_credentials", scope="dcr")
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]


async def owner_of(server: Served, client: Any) -> Any:
    """How a client was let in."""
    found = await server.registry.store.find("main", client["client_id"])
    assert found is not None
    return found.admission


# --- by a person --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-19", "SEED-20")
async def test_a_person_registers_an_instance_once() -> None:
    """An app with nothing but a client_id earns a token by a person's sign-in; it registers once, and what it registers is theirs."""
    async with served(authorizing(mode="user")) as server:
        app = await created(server, APP)
        value = await persons(server, app)
        instance = await register(server, MEMBERS, value)
        admission = await owner_of(server, instance)
        assert (admission.assurance, admission.owner) == (Assurance.USER, "alice")
        assert app["client_id"] in admission.label
        refused(await post(server, MEMBERS, value), "invalid_token", status=401)
        (issued,) = await events(server, "token.issued")
        (told,) = await events(server, "client.registered", instance["client_id"])
        assert (issued["kind_of_token"], issued["client_id"]) == ("user", app["client_id"])
        assert told["token_id"] == issued["token_id"]


async def test_a_refused_registration_uses_nothing_up() -> None:
    """What was wrong with the metadata can be mended with the same token."""
    async with served(authorizing(mode="user")) as server:
        value = await persons(server, await created(server, APP))
        refused(await post(server, {"redirect_uris": ["javascript:x"]}, value), "invalid_redirect_uri")
        assert (await post(server, MEMBERS, value)).status_code == 201


async def test_of_many_at_once_one_registers(tmp_path: Path) -> None:
    """A person's token registers one client, however many callers hold it."""
    async with served(authorizing(mode="user", database=f"sqlite:///{tmp_path}/registrar.db")) as server:
        value = await persons(server, await created(server, APP))
        answers = await asyncio.gather(*(post(server, MEMBERS, value) for _ in range(6)))
        assert sorted(one.status_code for one in answers) == [201] + [401] * 5


async def test_dcr_is_asked_for_or_not_had() -> None:
    """Nobody gets `dcr` without asking, who asks gets nothing else, and it is never registered by asking for it."""
    async with served(authorizing(mode="open")) as server:
        app, bootstrap = await created(server, APP), await created(server, BOOTSTRAP)
        other = await persons(server, app, "read")
        refused(await post(server, MEMBERS, other), "insufficient_scope", status=403)
        answer = await token(server, bootstrap, "client_credentials")
        assert answer.json()["scope"] == "read"
        both = await token(server, bootstrap, "client_credentials", scope="read dcr")
        assert both.json()["scope"] == "dcr"
        assert "dcr" not in (await register(server, {**MEMBERS, "scope": "read dcr"}))["scope"]


async def test_a_dcr_token_opens_nothing_else() -> None:
    """Not UserInfo, and not the configuration of the client that it registered."""
    async with served(authorizing(mode="user")) as server:
        value = await persons(server, await created(server, APP))
        answer = await server.client.get("/userinfo", headers=bearer(value))
        assert answer.status_code == 403
        instance = await register(server, MEMBERS, value)
        read = await server.client.get(instance["registration_client_uri"], headers=bearer(value))
        assert read.status_code == 401


# --- by software --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-16")
async def test_software_earns_a_token_and_registers() -> None:
    """A bootstrap client's credentials earn a token that registers as often as it is shown, while it lives."""
    async with served(authorizing(mode="client")) as server:
        bootstrap = await created(server, BOOTSTRAP)
        value = await softwares(server, bootstrap)
        for _ in range(2):
            admission = await owner_of(server, await register(server, MEMBERS, value))
            assert (admission.assurance, admission.owner) == (Assurance.CLIENT, "")
        server.clock.advance(3_600)
        refused(await post(server, MEMBERS, value), "invalid_token", status=401)


async def test_a_mode_admits_its_own_kind() -> None:
    """A person's token is refused where software registers, and software's where people do."""
    for mode, good in (("client", softwares), ("user", persons)):
        async with served(authorizing(mode=mode)) as server:
            app, bootstrap = await created(server, APP), await created(server, BOOTSTRAP)
            values = {persons: await persons(server, app), softwares: await softwares(server, bootstrap)}
            for kind, value in values.items():
                answer = await post(server, MEMBERS, value)
                assert answer.status_code == (201 if kind is good else 403), answer.text


async def test_an_earned_token_dies_with_its_client() -> None:
    """Suspended, deleted or revoked: nothing is registered with it any more."""
    async with served(authorizing(mode="client")) as server:
        bootstrap = await created(server, BOOTSTRAP)
        value, other = await softwares(server, bootstrap), await softwares(server, bootstrap)
        assert (await call(server, "/revoke", bootstrap, token=other)).status_code == 200
        refused(await post(server, MEMBERS, other), "invalid_token", status=401)
        await administration.suspend(server.registry, server.issuer, server.operator, bootstrap["client_id"])
        refused(await post(server, MEMBERS, value), "invalid_token", status=401)


async def test_a_bound_token_is_no_bearer_token() -> None:
    """What is bound to a key registers nothing without it, and the registration endpoint asks for no proof."""
    async with served(authorizing(mode="client")) as server:
        bootstrap = await created(server, BOOTSTRAP)
        answer = await token(server, bootstrap, "client_credentials", scope="dcr", headers=proof(server, key(kid="")))
        refused(await post(server, MEMBERS, answer.json()["access_token"]), "invalid_token", status=401)


async def test_an_operators_client_is_judged_as_any() -> None:
    """The operator may give any scope, and no redirect URI that would endanger people."""
    async with served(authorizing(mode="disabled")) as server:
        made = await created(server, {**APP, "scope": "dcr read nonsense"})
        assert made["scope"] == "dcr read"
        assert (await owner_of(server, made)).assurance is Assurance.OPERATOR
        with pytest.raises(RegistrationError):
            await created(server, {**APP, "redirect_uris": ["javascript:x"]})
        (told,) = await events(server, "client.registered")
        assert told["actor"] == "operator"
        assert CHALLENGE


# --- elsewhere ------------------------------------------------------------------------------------------------------------

OTHER = f"""
[issuer.main.registration.token_issuers.idp]
issuer = "https://idp.example"
jwks_uri = "{JWKS}"
"""


def foreign(server: Served, key: Any = KEY, header: Any = None, **changes: Any) -> str:
    """An access token of the other server; `changes` are to its claims, None leaves one out."""
    claims = {
        "iss": "https://idp.example",
        "aud": server.issuer.url,
        "sub": "bob",
        "client_id": "their-app",
        "scope": "dcr other",
        "exp": server.clock.now + 60,
        "iat": server.clock.now,
        **changes,
    }
    return signed(key, claims, typ="at+jwt", **(header or {}))


async def test_a_jwt_of_a_configured_issuer() -> None:
    """Verified with the keys that it publishes, for this server, with `dcr`; a person's registers once and is theirs."""
    documents = Documents({JWKS: json.dumps(published(KEY)).encode()})
    text = authorizing(mode='["client", "user"]', tables=OTHER)
    async with served(text, fetch=documents) as server:
        value = foreign(server)
        admission = await owner_of(server, await register(server, MEMBERS, value))
        assert (admission.assurance, admission.owner) == (Assurance.USER, "idp:bob")
        assert "their-app at idp" in admission.label
        refused(await post(server, MEMBERS, value), "invalid_token", status=401)
        software = foreign(server, sub="their-app")
        for _ in range(2):
            admission = await owner_of(server, await register(server, MEMBERS, software))
            assert (admission.assurance, admission.owner) == (Assurance.CLIENT, "")
        listed = foreign(server, sub="carol", scope=None, scp=["dcr"], aud=["x", server.issuer.url])
        assert (await post(server, MEMBERS, listed)).status_code == 201


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"aud": "https://other.example"}, 401),
        ({"aud": None}, 401),
        ({"exp": 1}, 401),
        ({"exp": None}, 401),
        ({"iss": "https://nobody.example"}, 401),
        ({"scope": "other"}, 403),
        ({"scope": 5}, 403),
        ({"key": key()}, 401),
        ({"cnf": {"jkt": "x"}}, 401),
        ({"header": {"typ": "dpop+jwt"}}, 401),
    ],
)
async def test_a_foreign_token_is_strict(changes: dict[str, Any], status: int) -> None:
    """Another audience, time, issuer, key or kind of statement registers nothing."""
    documents = Documents({JWKS: json.dumps(published(KEY)).encode()})
    async with served(authorizing(mode="user", tables=OTHER), fetch=documents) as server:
        header = {"typ": "at+jwt", **changes.pop("header", {})}
        claims = {name: one for name, one in changes.items() if name != "key"}
        value = foreign(server, changes.get("key", KEY), **claims)
        if header["typ"] != "at+jwt":
            value = signed(KEY, {"iss": "https://idp.example", "sub": "bob"}, **header)
        answer = await post(server, MEMBERS, value)
        assert answer.status_code == status, answer.text


async def test_a_token_that_is_asked_about(tmp_path: Path) -> None:
    """A token that is no JWT is introspected at the issuers that are configured for it, with the credentials there."""
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    url = "https://idp.example/introspect"
    tables = f"""
[issuer.main.registration.token_issuers.idp]
introspection_endpoint = "{url}"
client_id = "registrar"
client_secret_file = "{secret}"
kind = "user"
"""
    documents = Documents()
    async with served(authorizing(mode="user", tables=tables), fetch=documents) as server:
        said = {
            "active": True,
            "scope": "dcr",
            "sub": "bob",
            "aud": server.issuer.url,
            "exp": server.clock.now + 60,
        }
        documents.documents[url] = json.dumps(said).encode()
        admission = await owner_of(server, await register(server, MEMBERS, "opaque"))
        assert admission.owner == "idp:bob"
        assert documents.posted[-1] == (url, {"token": "opaque", "token_type_hint": "access_token"})
        refused(await post(server, MEMBERS, "opaque"), "invalid_token", status=401)
        documents.documents[url] = b'{"active": false}'
        refused(await post(server, MEMBERS, "another"), "invalid_token", status=401)
        del documents.documents[url]
        answer = await post(server, MEMBERS, "a-third")
        refused(answer, "invalid_token", status=401)


@pytest.mark.parametrize(
    "line",
    [
        'kind = "operator"\nissuer = "https://idp.example"\njwks_uri = "https://idp.example/jwks"',
        'issuer = "https://idp.example"',
        'jwks_uri = "https://idp.example/jwks"',
        'introspection_endpoint = "https://idp.example/i"',
        'introspection_endpoint = "https://idp.example/i"\nclient_id = "x"\nclient_secret_file = "/nowhere"',
        "",
    ],
)
async def test_a_token_issuer_is_configured_whole(line: str) -> None:
    """What could not work, or would believe anybody, keeps the server from starting."""
    from registrar.config import ConfigurationError

    with pytest.raises(ConfigurationError):
        async with served(authorizing(tables=f"[issuer.main.registration.token_issuers.idp]\n{line}")):
            pass
