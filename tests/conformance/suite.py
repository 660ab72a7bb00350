"""What the modules of an OpenID Connect certification do and assert, for tests that are named after them.

The provider is served in this process under the profile `oidc-dynamic`; the client is played here: it registers, sends a
person's browser away, and reads what comes back as strictly as the suites do.
"""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpx2
from joserfc import jws as library
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry

from browser import Browser, Callback, Page
from registrar.authorization import people
from registrar.domain import jws
from registrar.service import keys
from registrar.testing import Documents, FrozenClock, Served, served

ISSUER: Final = "https://op.example"
RP: Final = "https://rp.example"
CALLBACK: Final = f"{RP}/test/a/registrar/callback"
PASSWORD: Final = "correct horse battery staple"
CONFIGURATION: Final = f"""
[server]
database = "memory:"
[issuer.main]
url = "{ISSUER}"
[issuer.main.registration]
mode = "open"
policy = "oidc-dynamic"
[issuer.main.authorization]
pkce = "public"
assertion_for_token_endpoint = true
"""
CLAIMS: Final[Mapping[str, Any]] = {
    "name": "Jane Doe",
    "given_name": "Jane",
    "family_name": "Doe",
    "nickname": "JD",
    "profile": "https://jane.example/",
    "picture": "https://jane.example/me.jpg",
    "website": "https://jane.example/",
    "gender": "female",
    "birthdate": "1987-10-16",
    "zoneinfo": "Europe/London",
    "locale": "en-GB",
    "updated_at": 1_580_000_000,
    "email": "jane@example.com",
    "email_verified": True,
    "phone_number": "+1 555 0100",
    "phone_number_verified": False,
    "address": {"street_address": "100 Universal City Plaza", "locality": "Hollywood", "country": "USA"},
}
OF_SCOPE: Final = {
    "profile": {
        "name",
        "given_name",
        "family_name",
        "nickname",
        "preferred_username",
        "profile",
        "picture",
        "website",
        "gender",
        "birthdate",
        "zoneinfo",
        "locale",
        "updated_at",
    },
    "email": {"email", "email_verified"},
    "phone": {"phone_number", "phone_number_verified"},
    "address": {"address"},
}

FIRST: Final = RSAKey.generate_key(2048, parameters={"kid": "rp-1", "use": "sig", "alg": "RS256"})
SECOND: Final = RSAKey.generate_key(2048, parameters={"kid": "rp-2", "use": "sig", "alg": "RS256"})


def key_set(*held: RSAKey) -> dict[str, Any]:
    """The public halves of keys."""
    return {"keys": [key.as_dict(private=False) for key in held]}


def statement(claims: Mapping[str, Any], key: Any = None, algorithm: str = "RS256", **header: str) -> str:
    """A JWS of the client; unsigned where there is no key."""

    class Anything(JWSRegistry):
        def get_alg(self, name: str) -> Any:
            return self.algorithms[name]

    head = {"alg": algorithm if key else "none", **({"kid": key.kid} if key and key.kid else {}), **header}
    return library.serialize_compact(head, json.dumps(claims).encode(), key, registry=Anything())


@dataclasses.dataclass
class Client:
    """A registered client, and the key that it signs with."""

    registered: dict[str, Any]
    key: RSAKey = dataclasses.field(default_factory=lambda: FIRST)

    @property
    def client_id(self) -> str:
        """Its identifier."""
        return str(self.registered["client_id"])


class Suite:
    """The other side of a provider.

    Args:
        server: the provider.
        documents: what the client publishes.
    """

    def __init__(self, server: Served, documents: Documents) -> None:
        self.server, self.documents = server, documents
        self.browser = Browser(server)
        self.discovery: dict[str, Any] = {}

    # --- before every module ---

    async def begin(self) -> None:
        """Discovery is 200 and JSON; the key set is public, and each key has a kid of its own."""
        answer = await self.server.client.get(f"{ISSUER}/.well-known/openid-configuration")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("application/json")
        self.discovery = answer.json()
        await self.published()

    async def published(self) -> list[dict[str, Any]]:
        """The provider's key set, as strictly as every module reads it."""
        answer = await self.server.client.get(self.discovery["jwks_uri"])
        assert answer.status_code == 200
        found: list[dict[str, Any]] = answer.json()["keys"]
        kids = [key["kid"] for key in found]
        assert len(set(kids)) == len(kids)
        for key in found:
            assert key["kty"] != "oct"
            assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & key.keys()
            for name in ("n", "e", "x", "y"):
                assert re.fullmatch(r"[A-Za-z0-9_-]+", key.get(name, "x"))
        return found

    # --- registration: the blocks R, V and U ---

    def base(self, **members: Any) -> dict[str, Any]:
        """R: what every module asks for; None leaves a member out."""
        asked = {
            "client_name": "A certification suite",
            "grant_types": ["authorization_code"],
            "jwks": key_set(FIRST),
            "token_endpoint_auth_method": "private_key_jwt",
            "response_types": ["code"],
            "redirect_uris": [CALLBACK],
            "contacts": ["certification@oidf.example"],
            **members,
        }
        return {name: value for name, value in asked.items() if value is not None}

    async def post(self, **members: Any) -> httpx2.Response:
        """R, sent."""
        return await self.server.client.post(
            self.discovery["registration_endpoint"],
            content=json.dumps(self.base(**members)).encode(),
            headers={"content-type": "application/json", "accept": "application/json"},
        )

    async def register(self, **members: Any) -> Client:
        """R and V: a registration that has to succeed."""
        answer = await self.post(**members)
        assert answer.headers["content-type"].partition(";")[0] == "application/json"
        assert answer.status_code == 201, answer.text
        body = answer.json()
        assert "error" not in body
        assert isinstance(body["client_id"], str)
        management = [body.get(name) for name in ("registration_client_uri", "registration_access_token")]
        assert all(isinstance(one, str) and one for one in management) or management == [None, None]
        assert urlsplit(management[0] or "https:").scheme == "https"
        if "client_secret" in body:
            assert isinstance(body["client_secret_expires_at"], int)
        return Client(body)

    async def refused(self, errors: set[str], **members: Any) -> None:
        """A registration that has to fail, with one of these errors."""
        answer = await self.post(**members)
        assert answer.headers["content-type"].partition(";")[0] == "application/json"
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"] in errors
        assert "client_id" not in answer.json()

    async def clean_up(self, client: Client) -> None:
        """U: what was registered is deleted, and that is 204."""
        header = {"authorization": f"Bearer {client.registered['registration_access_token']}"}
        answer = await self.server.client.delete(client.registered["registration_client_uri"], headers=header)
        assert (answer.status_code, answer.content) == (204, b"")

    # --- the authorization endpoint ---

    def request(self, client: Client, **parameters: str | None) -> dict[str, str]:
        """An authorization request; None leaves a parameter out."""
        asked: dict[str, str | None] = {
            "client_id": client.client_id,
            "redirect_uri": client.registered["redirect_uris"][0],
            "scope": "openid",
            "state": secrets.token_urlsafe(9),
            "nonce": secrets.token_urlsafe(9),
            "response_type": client.registered["response_types"][0],
            **parameters,
        }
        return {name: value for name, value in asked.items() if value is not None}

    async def go(self, request: Mapping[str, str], browser: Browser | None = None) -> Page | Callback:
        """Send the browser to the authorization endpoint."""
        return await (browser or self.browser).open(f"{self.discovery['authorization_endpoint']}?{urlencode(request)}")

    async def person(self, shown: Page | Callback, browser: Browser | None = None) -> Page | Callback:
        """Do what the pages ask for: sign in, allow."""
        user = browser or self.browser
        for _ in range(4):
            if not isinstance(shown, Page):
                return shown
            buttons = {button for form in shown.forms for button in form.buttons}
            if "Sign in" in buttons:
                shown = await user.press(shown, "Sign in", username="jane", password=PASSWORD)
            elif "Allow" in buttons:
                shown = await user.press(shown, "Allow")
            else:
                return shown
        return shown

    async def callback(self, request: Mapping[str, str], browser: Browser | None = None) -> Callback:
        """The answer to a request that a person allows: to the registered address, with the state and the issuer."""
        answer = await self.person(await self.go(request, browser), browser)
        assert isinstance(answer, Callback), answer.html
        assert "error" not in answer, dict(answer)
        assert answer.get("state") == request.get("state")
        assert answer.get("iss") == ISSUER
        return answer

    async def error_page(self, request: Mapping[str, str]) -> Page:
        """A request that must not be sent back to the client: a page says so."""
        shown = await self.go(request)
        assert isinstance(shown, Page), dict(shown)
        assert 400 <= shown.status < 500
        return shown

    # --- the token endpoint ---

    def assertion(self, client: Client, **claims: Any) -> str:
        """The assertion of private_key_jwt."""
        now = self.server.clock.now
        told = {
            "iss": client.client_id,
            "sub": client.client_id,
            "aud": self.discovery["token_endpoint"],
            "iat": now,
            "exp": now + 60,
            "jti": secrets.token_urlsafe(16),
            **claims,
        }
        return statement(told, client.key)

    async def token(self, client: Client, *, audience: str = "", **parameters: str) -> httpx2.Response:
        """A token request of an authenticated client."""
        method = client.registered["token_endpoint_auth_method"]
        data = dict(parameters)
        auth = None
        match method:
            case "private_key_jwt":
                data["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
                data["client_assertion"] = self.assertion(client, **({"aud": audience} if audience else {}))
            case "client_secret_post":
                data |= {"client_id": client.client_id, "client_secret": client.registered["client_secret"]}
            case "client_secret_basic":
                auth = (client.client_id, client.registered["client_secret"])
        return await self.server.client.post(self.discovery["token_endpoint"], data=data, auth=auth)

    async def exchange(
        self, client: Client, request: Mapping[str, str], answer: Mapping[str, str], **more: str
    ) -> dict[str, Any]:
        """A code for tokens, checked as every module checks them."""
        assert len(answer["code"]) >= 22, "not enough entropy"
        response = await self.token(
            client, grant_type="authorization_code", code=answer["code"], redirect_uri=request["redirect_uri"], **more
        )
        return self.issued(response)

    def issued(self, response: httpx2.Response) -> dict[str, Any]:
        """A token response (RFC 6749 §5.1)."""
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].partition(";")[0] == "application/json"
        assert "no-store" in response.headers["cache-control"]
        assert response.headers["pragma"] == "no-cache"
        body: dict[str, Any] = response.json()
        assert body["token_type"].lower() == "bearer"
        assert isinstance(body["expires_in"], int)
        for name in ("access_token", "refresh_token"):
            assert re.fullmatch(r"[\x20-\x7e]{22,}", body.get(name, "x" * 22))
        return body

    async def id_token(self, compact: str, client: Client, request: Mapping[str, str]) -> dict[str, Any]:
        """The claims of an ID token that is valid (OpenID Connect Core §3.1.3.7)."""
        read = jws.read(compact)
        if read.algorithm == "none":
            claims = read.claims
        else:
            assert read.kid
            claims = jws.verify(read, await self.published(), (read.algorithm,)).claims
        assert claims["iss"] == ISSUER
        assert claims["aud"] in (client.client_id, [client.client_id])
        assert claims.get("azp", client.client_id) == client.client_id
        assert isinstance(claims["sub"], str)
        assert 0 < len(claims["sub"]) <= 255
        assert claims["iat"] <= self.server.clock.now < claims["exp"]
        assert claims.get("nonce") == request.get("nonce")
        return claims

    async def userinfo(self, access_token: str) -> dict[str, Any]:
        """What UserInfo tells for a token, as JSON."""
        answer = await self.server.client.get(
            self.discovery["userinfo_endpoint"], headers={"authorization": f"Bearer {access_token}"}
        )
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].partition(";")[0] == "application/json"
        return dict(answer.json())

    async def flow(
        self, client: Client, request: Mapping[str, str] | None = None, browser: Browser | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """A code flow that has to work: the token response, and the claims of its ID token."""
        asked = request or self.request(client)
        tokens = await self.exchange(client, asked, await self.callback(asked, browser))
        return tokens, await self.id_token(tokens["id_token"], client, asked)


@asynccontextmanager
async def suite(configuration: str = CONFIGURATION, clock: FrozenClock | None = None) -> AsyncIterator[Suite]:
    """A provider with one person, Jane, and the suite that tests it."""
    documents = Documents()
    async with served(configuration, fetch=documents, clock=clock) as server:
        await keys.ensure(server.registry, server.issuer)
        await people.add(server.registry, server.issuer, "jane", PASSWORD, claims=dict(CLAIMS))
        running = Suite(server, documents)
        await running.begin()
        try:
            yield running
        finally:
            await running.browser.close()
