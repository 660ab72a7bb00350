"""Clients that no registration knows: their client_id is the URL of a document, and a person decides about them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
from browsing import ALLOW, CONFIGURATION, VERIFIER, Browser, add, asking, exchange, issuing
from joserfc import jwt
from joserfc.jwk import ECKey

from registrar.authorization.people import Unacceptable
from registrar.service import document_administration, known_documents, metadata_documents
from registrar.service.audit import Caller
from registrar.service.ports import EventQuery, Fetched, FetchError
from registrar.storage import open_store
from registrar.testing import Documents, FrozenClock, Served

pytestmark = pytest.mark.anyio

URL: Final = "https://app.example/oauth/client.json"
LOOPBACK: Final = "http://127.0.0.1/callback"
PAYLOADS: Final = [
    json.loads(path.read_text("utf-8"))
    for path in sorted((Path(__file__).parents[1] / "data" / "payloads" / "cimd").glob("*.json"))
]
ON: Final = "[issuer.main.metadata_documents]\nenabled = true\n"


def document(url: str = URL, **members: Any) -> dict[str, Any]:
    """A document as its client publishes it; None takes a member away."""
    given = {
        "client_id": url,
        "client_name": "Reader",
        "redirect_uris": ["https://app.example/cb"],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
        **members,
    }
    return {name: value for name, value in given.items() if value is not None}


def published(url: str = URL, *, expires_in: int | None = None, etag: str = "", **members: Any) -> Fetched:
    """The document as it is fetched."""
    return Fetched(url, "application/json", json.dumps(document(url, **members)).encode(), expires_in, etag)


class Web:
    """Documents on the web, an issuer that believes them, and alice with her browser."""

    def __init__(self, server: Served, far: Documents) -> None:
        self.server, self.far = server, far
        self.browser = Browser(server.client)

    def publish(self, url: str = URL, **how: Any) -> dict[str, Any]:
        """Publish a document; gives what its client knows of itself."""
        found = published(url, **how)
        self.far.documents[url] = found
        return json.loads(found.body)

    async def events(self, kind: str) -> list[dict[str, Any]]:
        """What is told of one kind."""
        found = await self.server.registry.store.events(EventQuery(kind=kind), limit=500)
        return [json.loads(one.event.body) for one in found]

    async def allow(self, client: dict[str, Any], **parameters: str) -> dict[str, str]:
        """The answer to a request that alice allows; she signs in where she has not."""
        await self.browser.open(asking(client, **parameters))
        if any("username" in form.fields for form in self.browser.read.forms):
            await self.browser.sign_in()
        await self.browser.submit(ALLOW)
        return self.browser.answer

    async def token(self, client: dict[str, Any], **form: str) -> Any:
        """What the token endpoint answers to a public client."""
        return await self.server.client.post("/token", data={"client_id": client["client_id"], **form})


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    """The settings as they are by default, but that documents are believed."""
    async with believing() as web:
        yield web


@asynccontextmanager
async def believing(more: str = "", *, far: Documents | None = None, **how: Any) -> AsyncIterator[Web]:
    """An issuer with further settings of `[issuer.main.metadata_documents]`, or tables after them."""
    web = far or Documents()
    async with issuing(f"{CONFIGURATION}{ON}{more}", fetch=web, **how) as server:
        with suppress(Unacceptable):  # where replicas share a store, the first of them has added her
            await add(server, name="Alice Liddell", email="alice@example.com")
        yield Web(server, web)


# --- the whole way ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("DISC-22")
async def test_a_client_that_nobody_registered_gets_tokens_and_keeps_them(web: Web) -> None:
    """Authorize, consent, code, tokens with PKCE, refresh, introspection by itself is for others, revocation."""
    client = web.publish()
    metadata = (await web.server.client.get("/.well-known/oauth-authorization-server")).json()
    assert metadata["client_id_metadata_document_supported"] is True

    answer = await web.allow(client, scope="openid email offline_access")

    assert answer["iss"] == web.server.issuer.url
    tokens = await exchange(web.server, client, answer["code"])
    refreshed = await web.token(client, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert refreshed.status_code == 200, refreshed.text
    bearer = {"authorization": f"Bearer {refreshed.json()['access_token']}"}
    assert (await web.server.client.get("/userinfo", headers=bearer)).json()["email"] == "alice@example.com"
    await web.server.client.post("/revoke", data={"client_id": URL, "token": refreshed.json()["access_token"]})
    assert (await web.server.client.get("/userinfo", headers=bearer)).status_code == 401
    assert web.far.fetched == [URL]
    (accepted,) = await web.events("document.accepted")
    assert (accepted["client_id"], accepted["actor"], accepted["policy"]) == (URL, "anonymous", "default")
    assert await web.server.registry.store.find("main", URL) is None  # no row, and so nothing of RFC 7592
    managed = await web.server.client.get(f"/register/{quote(URL, safe='')}", headers={"authorization": "Bearer x"})
    assert managed.status_code in (401, 404)


@pytest.mark.requirement("DISC-22", "SEED-78")
async def test_it_is_off_unless_it_is_switched_on() -> None:
    """Nothing is published, nothing is fetched, and such an identifier is nobody's."""
    far = Documents({URL: published()})
    async with issuing(fetch=far) as server:
        metadata = (await server.client.get("/.well-known/oauth-authorization-server")).json()
        assert "client_id_metadata_document_supported" not in metadata

        refused = await server.client.get(asking(document()))

        assert refused.status_code == 401
        assert "There is no such client here" in refused.text
        assert far.fetched == []


@pytest.mark.requirement("SEED-78")
async def test_the_registration_endpoint_is_as_it_was(web: Web) -> None:
    """A registration that names such an identifier gets one that was issued; nothing is fetched for it."""
    answer = await web.server.client.post("/register", json=document())

    assert answer.status_code == 201
    assert "://" not in answer.json()["client_id"]
    assert web.far.fetched == []


@pytest.mark.parametrize("one", PAYLOADS, ids=lambda one: one["client"])
async def test_documents_as_they_are_published(web: Web, one: dict[str, Any]) -> None:
    """What real clients publish is believed, and each redirect URI works, on loopback with any port."""
    client = one["document"]
    web.far.documents[one["client_id"]] = json.dumps(client).encode()

    for uri in client["redirect_uris"]:
        given = uri.replace("127.0.0.1", "127.0.0.1:51234", 1) if "127.0.0.1/" in uri else uri
        await web.browser.open(asking(client, redirect_uri=given, scope="openid"))
        assert web.browser.page.status_code == 200, web.browser.words

    known = await known_documents.find(web.server.registry, web.server.issuer, one["client_id"])
    assert known is not None
    assert known.usable
    assert "jwt-bearer" not in str(known.metadata["grant_types"])
    assert known.metadata["token_endpoint_auth_method"] == client["token_endpoint_auth_method"]


async def test_a_key_instead_of_a_secret(web: Web) -> None:
    """private_key_jwt with keys by value and by reference, with PAR; the wrong key and no key are refused."""
    key, other = (
        ECKey.generate_key("P-256", {"kid": "a"}, private=True),
        ECKey.generate_key("P-256", {"kid": "a"}, private=True),
    )
    public = {"keys": [key.as_dict(private=False)]}
    web.far.documents["https://app.example/jwks"] = json.dumps(public).encode()
    for at, given in ((URL, {"jwks": public}), (f"{URL}2", {"jwks_uri": "https://app.example/jwks"})):
        # No method is said: what it has are keys, so that is how it authenticates.
        client = web.publish(at, token_endpoint_auth_method=None, **given)
        request = dict(pair.split("=") for pair in asking(client).partition("?")[2].split("&"))
        request = {
            name: value.replace("%3A", ":").replace("%2F", "/").replace("+", " ") for name, value in request.items()
        }

        pushed = await web.server.client.post("/par", data={**request, **assertion(web, at, key)})

        assert pushed.status_code == 201, pushed.text
        assert (await web.server.client.post("/par", data=request)).json()["error"] == "invalid_client"
        wrong = await web.server.client.post("/par", data={**request, **assertion(web, at, other)})
        assert wrong.json()["error"] == "invalid_client"
        await web.browser.open(f"/authorize?client_id={quote(at)}&request_uri={pushed.json()['request_uri']}")
        if at == URL:
            await web.browser.sign_in()
        await web.browser.submit(ALLOW)
        form = {"grant_type": "authorization_code", "code": web.browser.answer["code"], "code_verifier": VERIFIER}
        form["redirect_uri"] = client["redirect_uris"][0]
        refused = await web.server.client.post("/token", data={**form, "client_id": at})
        assert refused.status_code == 401
        got = await web.server.client.post("/token", data={**form, **assertion(web, at, key)})
        assert got.status_code == 200, got.text


def assertion(web: Web, url: str, key: ECKey) -> dict[str, str]:
    """How the client of a document proves itself."""
    now = web.server.clock.now
    web.server.clock.advance(1)
    claims = {"iss": url, "sub": url, "aud": web.server.issuer.url, "exp": now + 60, "jti": f"{id(key)} {now}"}
    return {
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode({"alg": "ES256", "kid": "a"}, claims, key),
    }


async def test_a_device(web: Web) -> None:
    """The device flow works with such a client."""
    grant = "urn:ietf:params:oauth:grant-type:device_code"
    client = web.publish(grant_types=[grant], redirect_uris=None)

    begun = await web.server.client.post("/device_authorization", data={"client_id": URL, "scope": "openid"})

    assert begun.status_code == 200, begun.text
    polled = await web.token(client, grant_type=grant, device_code=begun.json()["device_code"])
    assert polled.json()["error"] == "authorization_pending"


# --- what a person sees ---------------------------------------------------------------------------------------------------


async def test_the_host_comes_first_and_people_are_asked_each_time(web: Web) -> None:
    """A name is anybody's; the host of the identifier is not."""
    client = web.publish(logo_uri="https://app.example/logo.png")
    await web.browser.open(asking(client))
    await web.browser.sign_in()
    shown = web.browser.words

    assert shown.index("app.example") < shown.index("Reader")
    assert "what app.example says" in shown
    assert "registered itself" not in shown
    assert not [one for one in web.browser.read.resources if "logo" in one]
    await web.browser.submit(ALLOW)
    await web.browser.open(asking(client))
    assert "Allow access" in web.browser.words
    silent = await web.browser.open(asking(client, prompt="none"))
    assert silent.answer["error"] == "consent_required"


async def test_the_operator_may_let_people_be_remembered() -> None:
    """Then what was allowed counts where the answer goes to the client's own host, and never on loopback."""
    async with believing("ask_always = false\n") as web:
        client = web.publish(redirect_uris=["https://app.example/cb", LOOPBACK])
        await web.allow(client)
        web.server.clock.advance(1)
        await web.allow(client)

        assert "code" in (await web.browser.open(asking(client, prompt="none"))).answer
        local = await web.browser.open(asking(client, redirect_uri=LOOPBACK, prompt="none"))
        assert local.answer["error"] == "consent_required"
        await web.browser.open(asking(client, redirect_uri=LOOPBACK))
        assert "any program could take it" in web.browser.words


@pytest.mark.parametrize("expands", [{"scope": "openid email"}, {"client_name": "Bank"}, {"grant_types": None}])
async def test_what_expands_is_asked_about_again(expands: dict[str, Any]) -> None:
    """A document that says more than it did is not covered by what was allowed before; one that says less is."""
    async with believing("ask_always = false\n") as web:
        client = web.publish(scope="openid")
        await web.allow(client, scope="openid")
        web.server.clock.advance(1)
        await web.allow(client, scope="openid")
        web.publish(scope="openid", **expands) if "scope" not in expands else web.publish(**expands)
        web.server.clock.advance(301)

        answer = (await web.browser.open(asking(client, scope="openid", prompt="none"))).answer

        (changed,) = await web.events("document.changed")
        assert changed["difference"]
        if "grant_types" in expands:
            assert "code" in answer
            assert "reason" not in changed
        else:
            assert answer["error"] == "consent_required"
            assert changed["reason"] in ("scope", "name")


async def test_odd_hosts_are_told(web: Web) -> None:
    """Letters of other alphabets, and an answer that goes elsewhere than to who describes the client."""
    url = "https://xn--pple-43d.example/client.json"
    client = web.publish(url)

    await web.browser.open(asking(client))
    await web.browser.sign_in()

    assert "letters of other alphabets" in web.browser.words
    assert "The answer does not go to xn--pple-43d.example" in web.browser.words


async def test_the_account_page_shows_it_and_takes_it_away(web: Web) -> None:
    """As any other application."""
    client = web.publish()
    tokens = await exchange(web.server, client, (await web.allow(client, scope="openid"))["code"])
    await web.browser.open("/account")
    assert "app.example" in web.browser.words

    await web.browser.submit(("revoke", URL))

    bearer = {"authorization": f"Bearer {tokens['access_token']}"}
    assert (await web.server.client.get("/userinfo", headers=bearer)).status_code == 401


# --- hostile ------------------------------------------------------------------------------------------------------------


HOSTILE: Final[dict[str, tuple[dict[str, Any], str, str]]] = {
    "another client_id": ({"client_id": "https://app.example/oauth/other.json"}, "document.client_id", "client_id"),
    "a trailing slash": ({"client_id": f"{URL}/"}, "document.client_id", "client_id"),
    "a port that is the same": (
        {"client_id": "https://app.example:443/oauth/client.json"},
        "document.client_id",
        "client_id",
    ),
    "no client_id": ({"client_id": None}, "document.client_id", "client_id"),
    "a client_id that is no text": ({"client_id": 7}, "document.client_id", "client_id"),
    "a secret": ({"client_secret": "s3cr3t"}, "document.secret", "client_secret"),
    "the end of a secret": ({"client_secret_expires_at": 0}, "document.secret", "client_secret_expires_at"),
    "basic": (
        {"token_endpoint_auth_method": "client_secret_basic"},
        "document.symmetric_method",
        "token_endpoint_auth_method",
    ),
    "a MAC": (
        {"token_endpoint_auth_method": "client_secret_jwt"},
        "document.symmetric_method",
        "token_endpoint_auth_method",
    ),
    "a MAC of ID tokens": ({"id_token_signed_response_alg": "HS256"}, "offered.value", "id_token_signed_response_alg"),
    "a certificate": (
        {"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "app.example"},
        "offered.value",
        "token_endpoint_auth_method",
    ),
    "a private key": (
        {
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks": {"keys": [ECKey.generate_key("P-256", private=True).as_dict(private=True)]},
        },
        "jwks.private",
        "jwks.keys[0]",
    ),
    "no redirect URIs": ({"redirect_uris": None}, "coherence.redirect_uris", "redirect_uris"),
    "script": ({"redirect_uris": ["javascript:alert(1)"]}, "redirect_uri.scheme", "redirect_uris[0]"),
    "nobody to ask": ({"grant_types": ["client_credentials"]}, "offered.value", "grant_types"),
}


@pytest.mark.requirement("DISC-22")
@pytest.mark.parametrize("name", HOSTILE)
async def test_documents_that_are_refused(web: Web, name: str) -> None:
    """Told to programs with member, rule and reason, to the person in the page, and to the audit; nothing is remembered."""
    members, rule, member = HOSTILE[name]
    given = document() | members
    web.far.documents[URL] = json.dumps({key: one for key, one in given.items() if one is not None}).encode()
    client = document()

    answer = await web.server.client.post("/par", data={"client_id": URL, "response_type": "code"})

    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert (rule, member) in {(one["rule"], one["member"]) for one in answer.json()["faults"]}
    assert "s3cr3t" not in answer.text
    page = await web.browser.open(asking(client))
    assert page.page.status_code == 401
    assert rule in page.page.text
    refused = await web.events("document.refused")
    assert rule in str(refused[0]["findings"])
    assert "s3cr3t" not in str(refused)
    assert await known_documents.stored(web.server.registry, web.server.issuer, URL) is None


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{", b'{"client_id": 1, "client_id": 2}', b"\xff\xfe", b"[" * 4_000]
)
async def test_bodies_that_are_no_document(web: Web, body: bytes) -> None:
    """Refused with a sentence, whatever they are."""
    web.far.documents[URL] = body

    answer = await web.token(document(), grant_type="authorization_code", code="x")

    assert answer.status_code == 401
    assert answer.json()["faults"][0]["rule"] == "document.json"


ODD: Final = {
    "http://app.example/client.json": "document.url_scheme",
    "HTTPS://app.example/client.json": "document.url_scheme",
    "file:///etc/passwd": "document.url_scheme",
    "https:///client.json": "document.url_scheme",
    "https://app.example": "document.url_path",
    "https://app.example/": "document.url_path",
    "https://app.example?x=/a": "document.url_path",
    "https://app.example/a/../client.json": "document.url_dot_segments",
    "https://app.example/a/%2e%2E/client.json": "document.url_dot_segments",
    "https://app.example/.": "document.url_dot_segments",
    "https://app.example/client.json#": "document.url_fragment",
    "https://claude.ai@evil.example/client.json": "document.url_userinfo",
    "https://аpp.example/client.json": "document.url_characters",
    "https://app.example/client json": "document.url_characters",
    "https://app.example/%zz": "document.url_characters",
    "https://app_.example:99999/c": "document.url_host",
    "https://0x7f.1/client.json": "document.url_host",
    f"https://app.example/{'a' * 1100}": "document.url_length",
}


@pytest.mark.parametrize("url", ODD)
async def test_identifiers_that_are_refused(web: Web, url: str) -> None:
    """Nothing is fetched for them."""
    answer = await web.server.client.post("/par", data={"client_id": url, "response_type": "code"})

    assert answer.status_code == 401, answer.text
    assert answer.json()["faults"][0]["rule"] == ODD[url]
    assert web.far.fetched == []


async def test_hosts_that_are_believed() -> None:
    """Others are refused before anything is fetched; one that is taken out of the list may do nothing more."""
    clock = FrozenClock()
    async with believing('hosts = ["app.example", "*.good.example"]\n', clock=clock) as web:
        web.publish()
        below = web.publish("https://a.good.example/c")
        assert "code" in await web.allow(web.publish())
        assert "code" in await web.allow(below, scope="openid")
        for url in ("https://good.example/c", "https://evilgood.example/c", "https://app.example.evil.example/c"):
            fetched = len(web.far.fetched)
            refused = await web.server.client.post("/par", data={"client_id": url})
            assert refused.json()["faults"][0]["rule"] == "document.host"
            assert len(web.far.fetched) == fetched


async def test_a_thousand_urls_of_one_host() -> None:
    """They are slowed by the address that names them and by the host that is asked; who is known goes on."""
    async with believing('address = "20/minute"\nhost = "30/minute"\n') as web:
        known = web.publish()
        assert (await web.server.client.get(asking(known))).status_code == 303
        found = []
        for at in range(1_000):
            issuer, registry = web.server.issuer, web.server.registry
            caller = Caller("/authorize", address=f"192.0.2.{at % 2}")
            try:
                await metadata_documents.meet(registry, issuer, f"https://app.example/{at}", caller)
            except Exception as error:  # noqa: BLE001 (the kind is what is looked at)
                found.append(error.kind.name)  # type: ignore[attr-defined]

        assert found.count("too_many_registrations") >= 970
        assert len(web.far.fetched) <= 31
        assert (await web.server.client.get(asking(known))).status_code == 303


async def test_room_is_made_by_those_that_nobody_uses() -> None:
    """The one fetched longest ago goes first, and what people use stays; where all are used, new ones are refused."""
    async with believing("most = 3\n") as web:
        used = web.publish()
        tokens = await exchange(web.server, used, (await web.allow(used, scope="openid"))["code"])
        urls = [f"https://app{at}.example/c" for at in range(5)]
        for url in urls:
            web.server.clock.advance(1)
            assert (await web.server.client.get(asking(web.publish(url)))).status_code == 303

        stored = [await known_documents.stored(web.server.registry, web.server.issuer, url) for url in (URL, *urls)]
        assert [one is not None for one in stored] == [True, False, False, False, True, True]
        assert len(await web.events("document.forgotten")) == 3
        bearer = {"authorization": f"Bearer {tokens['access_token']}"}
        assert (await web.server.client.get("/userinfo", headers=bearer)).status_code == 200
        for url in urls[3:]:
            await web.allow(web.publish(url), scope="openid")
            await exchange(web.server, web.publish(url), web.browser.answer["code"])
        full = await web.server.client.get(asking(web.publish("https://late.example/c")))
        assert full.status_code == 403
        assert "people use them all" in full.text


# --- time ---------------------------------------------------------------------------------------------------------------


async def test_it_is_fetched_again_when_its_answer_says_so_within_bounds(web: Web) -> None:
    """no-store is held to the least, a year to the most, silence to the middle."""
    for at, (said, fresh) in enumerate({0: 60, 31_536_000: 3_600, None: 300, 120: 120}.items()):
        url = f"https://app.example/{at}"
        client = web.publish(url, expires_in=said)
        await web.server.client.get(asking(client))
        web.server.clock.advance(fresh - 1)
        await web.server.client.get(asking(client))
        assert web.far.fetched.count(url) == 1
        web.server.clock.advance(1)
        await web.server.client.get(asking(client))
        assert web.far.fetched.count(url) == 2


async def test_what_has_not_changed_is_not_sent_again(web: Web) -> None:
    """The entity tag is asked with; nothing is told of it, and it is believed anew."""
    client = web.publish(etag='"1"')
    await web.server.client.get(asking(client))
    first = await known_documents.stored(web.server.registry, web.server.issuer, URL)
    web.server.clock.advance(400)
    await web.server.client.get(asking(client))
    second = await known_documents.stored(web.server.registry, web.server.issuer, URL)

    assert first is not None
    assert second is not None
    assert second.document.until == first.document.until + 400
    assert second.document.metadata == first.document.metadata
    assert await web.events("document.changed") == []
    assert len(await web.events("document.accepted")) == 1


async def test_a_document_that_vanishes_is_believed_for_a_while_and_no_longer(web: Web) -> None:
    """Then nothing that its client has works, and what it asks for is refused with the reason."""
    client = web.publish()
    tokens = await exchange(web.server, client, (await web.allow(client, scope="openid offline_access"))["code"])
    web.far.documents[URL] = FetchError("its host cannot be reached")
    web.server.clock.advance(3_500)
    bearer = {"authorization": f"Bearer {tokens['access_token']}"}
    assert (await web.server.client.get("/userinfo", headers=bearer)).status_code == 200
    kept = await web.token(client, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert kept.status_code == 200
    web.server.clock.advance(86_400)
    late = await web.token(client, grant_type="refresh_token", refresh_token=kept.json()["refresh_token"])

    assert late.status_code == 401
    assert late.json()["faults"][0]["rule"] == "document.fetched"
    assert "its host cannot be reached" in late.json()["faults"][0]["reason"]
    bearer = {"authorization": f"Bearer {kept.json()['access_token']}"}
    assert (await web.server.client.get("/userinfo", headers=bearer)).status_code == 401
    web.publish()
    web.server.clock.advance(11)
    back = await web.token(client, grant_type="refresh_token", refresh_token=kept.json()["refresh_token"])
    assert back.status_code == 200


async def test_what_is_refused_now_is_refused_at_once_and_stays_compared(web: Web) -> None:
    """An invalid document ends what its client could do, and is no way around what an expansion means."""
    client = web.publish(scope="openid")
    tokens = await exchange(web.server, client, (await web.allow(client, scope="openid"))["code"])
    web.publish(client_secret="x")
    web.server.clock.advance(301)
    assert (await web.server.client.get(asking(client))).status_code == 401

    bearer = {"authorization": f"Bearer {tokens['access_token']}"}
    assert (await web.server.client.get("/userinfo", headers=bearer)).status_code == 401
    assert len(await web.events("document.refused")) == 1
    web.publish(scope="openid email")
    web.server.clock.advance(11)
    assert (await web.server.client.get(asking(client))).status_code == 303
    (changed,) = await web.events("document.changed")
    assert changed["reason"] == "scope"


async def test_redirect_uris_that_change_between_two_steps(web: Web) -> None:
    """A person who is deciding decides about what stands there by then."""
    client = web.publish()
    await web.browser.open(asking(client))
    await web.browser.sign_in()
    web.publish(redirect_uris=["https://other.example/cb"])
    web.server.clock.advance(301)
    other = Browser(web.server.client)
    await other.open(asking({**client, "redirect_uris": ["https://other.example/cb"]}))

    await web.browser.submit(ALLOW)

    assert not web.browser.left_for
    assert "registered no more" in web.browser.words
    assert (await web.server.client.get(asking(client))).status_code == 400


async def test_failures_are_not_repeated_at_once(web: Web) -> None:
    """Who insists does not decide how often somebody else's server is asked."""
    for _ in range(5):
        assert (await web.server.client.get(asking(document()))).status_code == 401
    assert web.far.fetched == [URL]
    web.publish()
    web.server.clock.advance(11)
    assert (await web.server.client.get(asking(document()))).status_code == 303


async def test_many_at_once_have_it_fetched_once(web: Web) -> None:
    """One fetch for all who name it at the same moment."""
    client = web.publish()

    answers = await asyncio.gather(*(web.server.client.get(asking(client)) for _ in range(20)))

    assert {one.status_code for one in answers} == {303}
    assert web.far.fetched == [URL]


async def test_two_replicas_share_what_is_known(either: str) -> None:
    """What one has fetched the other believes; what one refuses, neither does; both at once store it once."""
    clock, far = FrozenClock(), Documents()
    async with (
        believing(clock=clock, far=far, store=open_store(either)) as one,
        believing(clock=clock, far=far, store=open_store(either)) as two,
    ):
        for _ in range(500):  # randomness stands still in tests, and two replicas never draw the same
            two.server.registry.entropy(1)
        client = one.publish()
        first, second = await asyncio.gather(*(web.server.client.get(asking(client)) for web in (one, two)))
        assert {first.status_code, second.status_code} == {303}
        assert len(await one.events("document.accepted")) == 1
        fetched = len(far.fetched)
        assert (await two.server.client.get(asking(client))).status_code == 303
        assert len(far.fetched) == fetched
        far.documents[URL] = b"{}"
        clock.advance(301)
        assert (await one.server.client.get(asking(client))).status_code == 401
        shown = await known_documents.find(two.server.registry, two.server.issuer, URL)
        assert shown is not None
        assert not shown.in_reach


# --- the operator's policy ------------------------------------------------------------------------------------------------


async def test_it_is_judged_by_the_policy_that_is_named() -> None:
    """And by another one at once, where the operator changes that."""
    tables = '[policy.narrow]\nextends = ["default"]\n[policy.narrow.metadata.client_name]\nessential = true\n'
    clock, far = FrozenClock(), Documents()
    async with believing(f'policy = "narrow"\n{tables}', clock=clock, far=far) as web:
        web.publish(client_name=None)
        answer = await web.server.client.post("/par", data={"client_id": URL})
        assert answer.json()["faults"][0]["member"] == "client_name"


@pytest.mark.parametrize("verdict", ["refuse", "review"])
async def test_expansions_that_the_policy_does_not_allow(verdict: str) -> None:
    """Refused, or held until somebody has looked, as those of registrations are."""
    tables = f'[policy.strict]\nextends = ["default"]\n[policy.strict.changes]\ndefault = "{verdict}"\n'
    async with believing(f'policy = "strict"\n{tables}') as web:
        at = (web.server.registry, web.server.issuer, web.server.operator)
        await document_administration.block(*at, URL)  # before anybody has seen it: what it says then expands nothing
        await document_administration.allow(*at, URL)
        client = web.publish(scope="openid")
        assert (await web.server.client.get(asking(client))).status_code == 303
        web.publish(scope="openid email")
        web.server.clock.advance(301)

        answer = await web.server.client.get(asking(client))

        if verdict == "refuse":
            assert answer.status_code == 401
            assert "document.expands" in answer.text
        else:
            assert answer.status_code == 403
            assert "waits for its operator" in answer.text
