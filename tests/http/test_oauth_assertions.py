"""Authentication without a shared secret on the wire: assertions (RFC 7523) and certificates (RFC 8705 §2)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from authorizing import BATCH, assertion, authorizing, call, key, published, token
from registering import refused, register

from registrar.testing import Documents, Served, served
from registrar.testing.authority import Authority

pytestmark = pytest.mark.anyio

KEY = key()
JWKS = "https://keys.example/jwks.json"
BY_KEY = {**BATCH, "token_endpoint_auth_method": "private_key_jwt", "jwks": published(KEY)}
BY_HMAC = {**BATCH, "token_endpoint_auth_method": "client_secret_jwt"}
ROOT = Authority("CN=Root")
ISSUED = ROOT.issue(
    "CN=client,O=Example",
    dns=["app.example"],
    uri=["https://app.example/id"],
    ip=["192.0.2.1"],
    email=["a@app.example"],
)


async def asserted(server: Served, **given: str) -> Any:
    """A token request with an assertion."""
    return await call(server, "/token", grant_type="client_credentials", **given)


def octets(secret: str) -> Any:
    """A client secret as a key."""
    from joserfc.jwk import OctKey

    return OctKey.import_key(secret)


# --- assertions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "alg"), [("EC", "ES256"), ("RSA", "PS256"), ("RSA", "RS256"), ("OKP", "EdDSA")])
async def test_a_private_key(kind: str, alg: str) -> None:
    """private_key_jwt: a statement signed with a registered key, for this issuer, needs no secret."""
    own = key(kind=kind)
    async with served(authorizing()) as server:
        client = await register(server, {**BY_KEY, "jwks": published(own)})
        assert "client_secret" not in client
        answer = await asserted(server, **assertion(server, client, own, alg))
        assert answer.status_code == 200, answer.text
        named = await asserted(server, client_id=client["client_id"], **assertion(server, client, own, alg))
        assert named.status_code == 200


@pytest.mark.parametrize("alg", ["HS256", "HS512"])
async def test_a_secret_as_a_key(alg: str) -> None:
    """client_secret_jwt: the secret signs and does not travel."""
    async with served(authorizing()) as server:
        client = await register(server, BY_HMAC)
        answer = await asserted(server, **assertion(server, client, octets(client["client_secret"]), alg))
        assert answer.status_code == 200, answer.text
        wrong = assertion(server, client, octets(client["client_secret"][::-1]), alg)
        refused(await asserted(server, **wrong), "invalid_client", status=401)
        refused(await token(server, client, "client_credentials"), "invalid_client", status=401)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "somebody"},
        {"sub": "somebody"},
        {"sub": None},
        {"sub": 1},
        {"aud": None},
        {"aud": "https://other.example"},
        {"aud": "http://127.0.0.1:8000/token"},
        {"aud": "http://127.0.0.1:8000/"},
        {"aud": ["http://127.0.0.1:8000"]},
        {"exp": None},
        {"exp": 1},
        {"exp": "soon"},
        {"exp": 1_790_100_000},
        {"iat": 1_790_000_011},
        {"nbf": 1_790_000_011},
        {"jti": None},
        {"jti": ""},
        {"jti": 1},
        {"jti": "x" * 600},
    ],
)
@pytest.mark.requirement("BASE-24")
async def test_an_assertion_is_strict(changes: dict[str, Any]) -> None:
    """Who, whom for, until when and which one: all of it is said, and the audience is the issuer, as one string."""
    async with served(authorizing()) as server:
        client = await register(server, BY_KEY)
        body = refused(
            await asserted(server, **assertion(server, client, KEY, **changes)), "invalid_client", status=401
        )
        assert body["error_description"].isascii()


async def test_an_assertion_may_name_the_token_endpoint_where_the_operator_says_so() -> None:
    """Older clients name the token endpoint, or both in a list."""
    async with served(authorizing("assertion_for_token_endpoint = true")) as server:
        client = await register(server, BY_KEY)
        url = server.issuer.url
        for audience in (url, f"{url}/token", [url, f"{url}/token"]):
            answer = await asserted(server, **assertion(server, client, KEY, aud=audience))
            assert answer.status_code == 200, answer.text
        other = assertion(server, client, KEY, aud=f"{url}/other")
        refused(await asserted(server, **other), "invalid_client", status=401)


async def test_an_assertion_counts_once() -> None:
    """The same one a second time is refused, for as long as it would be valid; a clock that is ahead a little is not."""
    async with served(authorizing()) as server:
        client = await register(server, BY_KEY)
        given = assertion(server, client, KEY, iat=server.clock.now + 10, exp=server.clock.now + 60)
        assert (await asserted(server, **given)).status_code == 200
        for advance in (0, 30, 39):
            server.clock.advance(advance)
            refused(await asserted(server, **given), "invalid_client", status=401)
        server.clock.advance(300)
        assert (await asserted(server, **assertion(server, client, KEY))).status_code == 200


async def test_only_the_registered_key_and_algorithm() -> None:
    """Another key, another algorithm than the registered one, `none`, and what is no JWS prove nothing."""
    async with served(authorizing()) as server:
        rsa = key("rsa", "RSA")
        client = await register(
            server, {**BY_KEY, "jwks": published(KEY, rsa), "token_endpoint_auth_signing_alg": "ES256"}
        )
        assert (await asserted(server, **assertion(server, client, KEY))).status_code == 200
        for bad in (
            assertion(server, client, key()),
            assertion(server, client, rsa, "PS256"),
            {**assertion(server, client, KEY), "client_assertion": "a.b.c"},
            {**assertion(server, client, KEY), "client_assertion_type": "other"},
            {"client_assertion_type": assertion(server, client, KEY)["client_assertion_type"]},
        ):
            refused(await asserted(server, **bad), "invalid_client", status=401)


async def test_one_client_cannot_speak_for_another() -> None:
    """An assertion of one client beside the client_id of another is refused."""
    async with served(authorizing()) as server:
        client, other = await register(server, BY_KEY), await register(server, {**BY_KEY, "jwks": published(key())})
        answer = await asserted(server, client_id=other["client_id"], **assertion(server, client, KEY))
        refused(answer, "invalid_request")
        forged = assertion(server, other, KEY)
        refused(await asserted(server, **forged), "invalid_client", status=401)


@pytest.mark.requirement("R7591-18", "SEED-69")
async def test_a_new_key_works_at_once() -> None:
    """A key that is new at the client's jwks_uri authenticates without an update, and a removed one stops."""
    old, new = key("old"), key("new")
    keys = Documents({JWKS: json.dumps(published(old)).encode()})
    async with served(authorizing(), fetch=keys) as server:
        client = await register(server, {**BATCH, "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": JWKS})
        assert (await asserted(server, **assertion(server, client, old))).status_code == 200
        keys.documents[JWKS] = json.dumps(published(new)).encode()
        server.clock.advance(10)
        assert (await asserted(server, **assertion(server, client, new))).status_code == 200
        refused(await asserted(server, **assertion(server, client, old)), "invalid_client", status=401)


@pytest.mark.requirement("R7591-18")
async def test_a_jwks_uri_that_does_not_answer() -> None:
    """Without its keys a client cannot be authenticated; it is told why, and no stranger learns of the network."""
    async with served(authorizing(), fetch=Documents()) as server:
        client = await register(server, {**BATCH, "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": JWKS})
        answer = await asserted(server, **assertion(server, client, KEY))
        refused(answer, "invalid_client", status=401)
        assert "404" in answer.json()["error_description"]


# --- certificates -----------------------------------------------------------------------------------------------------------


def behind_a_proxy(settings: str = "", authorities: Path | None = None) -> str:
    """A server behind a proxy that says which certificate a client presented."""
    trusted = f'certificate_authorities = "{authorities}"' if authorities else ""
    text = authorizing(settings, registration=trusted)
    return text.replace("[server]", '[server]\ntrusted_proxies = ["127.0.0.1"]')


def presenting(issued: Any = ISSUED) -> dict[str, str]:
    """The header of the proxy (RFC 9440)."""
    return {"client-cert": f":{base64.b64encode(issued.der).decode()}:"}


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("subject_dn", "CN=client,O=Example"),
        ("san_dns", "APP.example"),
        ("san_uri", "https://app.example/id"),
        ("san_ip", "192.0.2.1"),
        ("san_email", "a@app.example"),
    ],
)
async def test_a_certificate_with_the_registered_name(tmp_path: Path, member: str, value: str) -> None:
    """tls_client_auth: a certificate of a trusted authority bears the registered name; another does not do."""
    authorities, _ = ROOT.own.write(tmp_path, "authorities")
    async with served(behind_a_proxy(authorities=authorities)) as server:
        members = {**BATCH, "token_endpoint_auth_method": "tls_client_auth"}
        client = await register(server, {**members, f"tls_client_auth_{member}": value})
        answer = await token(server, client, "client_credentials", headers=presenting())
        assert answer.status_code == 200, answer.text
        names: dict[str, Any] = {"dns": ["app.example"], "uri": ["https://app.example/id"], "ip": ["192.0.2.1"]}
        forged = Authority("CN=Root").issue("CN=client,O=Example", email=["a@app.example"], **names)
        for bad in (presenting(ROOT.issue("CN=other,O=Example")), presenting(forged), {}):
            refused(await token(server, client, "client_credentials", headers=bad), "invalid_client", status=401)


async def test_a_certificate_of_the_clients_own() -> None:
    """self_signed_tls_client_auth: the certificate holds a registered key, whoever signed it."""
    chain = [base64.b64encode(ISSUED.der).decode()]
    from joserfc.jwk import ECKey

    registered = ECKey.import_key(ISSUED.certificate.public_key()).as_dict(private=False)
    members = {
        **BATCH,
        "token_endpoint_auth_method": "self_signed_tls_client_auth",
        "jwks": {"keys": [{**registered, "x5c": chain}]},
    }
    async with served(behind_a_proxy()) as server:
        client = await register(server, members)
        answer = await token(server, client, "client_credentials", headers=presenting())
        assert answer.status_code == 200, answer.text
        other = presenting(ROOT.issue("CN=client,O=Example"))
        refused(await token(server, client, "client_credentials", headers=other), "invalid_client", status=401)


async def test_a_certificate_header_of_a_stranger_means_nothing() -> None:
    """Where nobody is trusted to say it, a header proves nothing."""
    async with served(authorizing()) as server:
        members = {**BATCH, "token_endpoint_auth_method": "tls_client_auth"}
        client = await register(server, {**members, "tls_client_auth_subject_dn": "CN=client,O=Example"})
        answer = await token(server, client, "client_credentials", headers=presenting())
        refused(answer, "invalid_client", status=401)
