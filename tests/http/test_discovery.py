"""What an issuer publishes about itself (RFC 8414, OpenID Connect Discovery), held against what it does."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from registering import MEMBERS, as_update, bearer, configured, manage, post, refused, register, started

from registrar.config import ConfigurationError, parse
from registrar.domain.metadata import MEMBERS as TABLE
from registrar.domain.server_metadata import ENDPOINTS, OFFERED, SYMMETRIC, Offered, document, well_known_paths
from registrar.policy.document import Document
from registrar.testing import Served, served

pytestmark = pytest.mark.anyio

P256 = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
HOST = "https://as.example"
OAUTH, OPENID = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"


async def fetched(server: Served, url: str = HOST + OAUTH) -> dict[str, Any]:
    """A discovery document."""
    answer = await server.client.get(url)
    assert answer.status_code == 200, answer.text
    return answer.json()


# --- where it lies ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("DISC-1", "DISC-3", "DISC-4", "DISC-5", "DISC-6", "WILD-12", "SEED-40")
@pytest.mark.parametrize("path", ["", "/t1", "/tenants/t1"])
async def test_the_document_lies_at_three_places(path: str) -> None:
    """Inserted before the issuer's path for both names, and appended for OpenID Connect: the same document."""
    issuer = HOST + path
    inserted, openid_inserted, appended = f"{HOST}{OAUTH}{path}", f"{HOST}{OPENID}{path}", f"{issuer}{OPENID}"
    async with served(configured(url=issuer)) as server:
        for url in (inserted, openid_inserted, appended):
            answer = await server.client.get(url)
            assert answer.status_code == 200, url
            assert answer.headers["content-type"] == "application/json"
            assert answer.json()["issuer"] == issuer
            assert answer.json() == await fetched(server, inserted)
            head = await server.client.head(url)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == answer.headers["content-length"]
            refused(await server.client.post(url), "invalid_request", status=405)
        if path:
            assert (await server.client.get(f"{issuer}{OAUTH}")).status_code == 404


@pytest.mark.requirement("DISC-4")
async def test_a_single_issuer_is_found_at_the_root_too() -> None:
    """The root names the only issuer of a process, and no issuer at all where there are several."""
    async with served(configured(url=f"{HOST}/t1")) as server:
        for name in (OAUTH, OPENID):
            assert (await fetched(server, HOST + name))["issuer"] == f"{HOST}/t1"
    several = f"""
[server]
database = "memory:"
[issuer.one]
url = "{HOST}/t1"
[issuer.two]
url = "{HOST}/t2"
"""
    async with served(several) as server:
        for name in (OAUTH, OPENID):
            assert (await server.client.get(HOST + name)).status_code == 404
            for path in ("/t1", "/t2"):
                assert (await fetched(server, HOST + name + path))["issuer"] == HOST + path


@pytest.mark.requirement("DISC-2")
def test_a_terminating_slash_is_removed_before_insertion() -> None:
    """An issuer's slash at the end leaves no trace in the well-known paths."""
    assert well_known_paths("https://as.example/t1/") == well_known_paths("https://as.example/t1")
    assert well_known_paths("https://as.example/") == (OAUTH, OPENID)


@pytest.mark.requirement("DISC-6", "R7592-40")
async def test_the_document_comes_from_the_configuration() -> None:
    """Issuer and endpoints are the configured ones, whatever host the request names; all are https."""
    async with served(configured(url=f"{HOST}/t1")) as server:
        headers = {"host": "evil.example", "x-forwarded-host": "evil.example"}
        answer = await server.client.get(f"{HOST}{OAUTH}/t1", headers=headers)
        assert "evil" not in answer.text
        urls = {name: value for name, value in answer.json().items() if name.endswith(("_endpoint", "_uri", "issuer"))}
        assert set(ENDPOINTS) | {"issuer", "registration_endpoint", "end_session_endpoint"} == set(urls)
        assert all(url.startswith(f"{HOST}/t1") for url in urls.values())


# --- what stands in it ------------------------------------------------------------------------------------------------


@pytest.mark.requirement("DISC-5")
async def test_nothing_in_the_document_is_empty() -> None:
    """Members without a value are left out: no null, no empty array, no empty string."""
    async with served() as server:
        members = await fetched(server, f"http://127.0.0.1:8000{OAUTH}")
        assert not [name for name, value in members.items() if value in (None, "", [], {})]
        lists = [value for name, value in members.items() if name.endswith("_supported") and isinstance(value, list)]
        assert len(lists) > 15
        assert all(len(set(values)) == len(values) for values in lists)


@pytest.mark.requirement(
    "DISC-10", "DISC-11", "DISC-12", "DISC-13", "DISC-14", "DISC-15", "DISC-18", "DISC-19", "DISC-21", "WILD-16"
)
async def test_the_document_says_what_readers_would_have_to_guess() -> None:
    """Lists whose defaults would be wrong are written out, and what is demanded of an OpenID provider is there."""
    async with served(configured()) as server:
        members = await fetched(server)
        assert members["response_types_supported"] == ["code"]
        assert "authorization_code" in members["grant_types_supported"]
        assert "implicit" not in members["grant_types_supported"]
        for endpoint in ("token", "introspection", "revocation"):
            methods = members[f"{endpoint}_endpoint_auth_methods_supported"]
            assert {"client_secret_basic", "none", "private_key_jwt"} <= set(methods)
            algorithms = members[f"{endpoint}_endpoint_auth_signing_alg_values_supported"]
            assert "RS256" in algorithms
            assert "none" not in algorithms
        assert members["scopes_supported"] == ["openid", "profile", "email", "address", "phone", "offline_access"]
        assert members["code_challenge_methods_supported"] == ["S256"]
        assert "public" in members["subject_types_supported"]
        assert "RS256" in members["id_token_signing_alg_values_supported"]
        assert members["jwks_uri"] == f"{HOST}/jwks"
        assert type(members["request_uri_parameter_supported"]) is bool
        assert members["pushed_authorization_request_endpoint"] == f"{HOST}/par"
        assert members["tls_client_certificate_bound_access_tokens"] is True
        assert members["authorization_response_iss_parameter_supported"] is True
        assert members["dpop_signing_alg_values_supported"]


@pytest.mark.requirement("DISC-9", "SEED-57", "SEED-13")
async def test_registration_is_published_where_it_is_served() -> None:
    """The registration endpoint is there in every mode but `disabled`, at the configured path, and answers."""
    for mode in ("open", "client", "user", '["client", "user"]'):
        async with served(configured(mode, registration='path = "/reg"')) as server:
            endpoint = (await fetched(server))["registration_endpoint"]
            assert endpoint == f"{HOST}/reg"
            assert (await server.client.post(endpoint, json=MEMBERS)).status_code == (201 if mode == "open" else 401)
            assert (await server.client.post(f"{HOST}/register", json=MEMBERS)).status_code == 404
    pages = 'policy_page = "https://op.example/privacy"\nterms_page = "https://op.example/terms"'
    documented = configured("disabled", issuer=f'documentation = "https://dev.example/apps"\n{pages}')
    async with served(documented) as server:
        members = await fetched(server)
        assert "registration_endpoint" not in members
        assert members["service_documentation"] == "https://dev.example/apps"
        assert members["op_policy_uri"] == "https://op.example/privacy"
        assert members["op_tos_uri"] == "https://op.example/terms"


# --- what is published is accepted, and what is accepted is published -------------------------------------------------

NOT_REGISTERED = {
    "response_modes_supported",
    "code_challenge_methods_supported",
    "dpop_signing_alg_values_supported",
    "claims_supported",
    "claim_types_supported",
    "display_values_supported",
    "prompt_values_supported",
}
"""Lists that no member of a registration chooses from."""

ROWS = {row.offered: row for row in TABLE.values() if row.offered}


def words(text: str, separator: str = " ") -> tuple[str, ...]:
    """The words of a line."""
    return tuple(text.split(separator))


UNIVERSE = {
    "alg": words(
        "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES256K ES384 ES512 EdDSA Ed25519 HS256 HS384 HS512 none RS999 rs256"
    ),
    "key": words(
        "RSA1_5 RSA-OAEP RSA-OAEP-256 RSA-OAEP-512 ECDH-ES ECDH-ES+A128KW ECDH-ES+A256KW A128KW A256KW dir "
        "A128GCMKW A256GCMKW PBES2-HS256+A128KW"
    ),
    "enc": words("A128CBC-HS256 A192CBC-HS384 A256CBC-HS512 A128GCM A192GCM A256GCM XC20P"),
    "token_endpoint_auth_methods_supported": words(
        "client_secret_basic client_secret_post client_secret_jwt private_key_jwt none tls_client_auth "
        "self_signed_tls_client_auth attest_jwt_client_auth client_secret_magic https://a.example/method"
    ),
    "grant_types_supported": words(
        "authorization_code implicit password client_credentials refresh_token "
        "urn:ietf:params:oauth:grant-type:device_code urn:ietf:params:oauth:grant-type:jwt-bearer "
        "urn:ietf:params:oauth:grant-type:saml2-bearer urn:ietf:params:oauth:grant-type:token-exchange "
        "urn:openid:params:grant-type:ciba urn:ietf:params:oauth:grant-type:uma-ticket"
    ),
    "response_types_supported": words(
        "code|token|id_token|id_token token|code id_token|code token|code id_token token|none|Code", "|"
    ),
    "subject_types_supported": words("public pairwise ephemeral Public"),
    "scopes_supported": words("openid profile email address phone offline_access dcr admin Openid"),
    "acr_values_supported": words("0 1 urn:mace:incommon:iap:silver phr"),
    "authorization_details_types_supported": words("payment_initiation openid_credential"),
}
"""What a client might name, registered values and others; the lists are held against all of it."""


def universe(name: str) -> tuple[str, ...]:
    """Every value that a client might ask for from a published list."""
    if name in UNIVERSE:
        return UNIVERSE[name]
    if "encryption_alg" in name:
        return UNIVERSE["key"]
    return UNIVERSE["enc" if "encryption_enc" in name else "alg"]


def asking(name: str, value: str) -> dict[str, Any]:
    """A registration that asks for one value of a list, and is otherwise as coherent as that value allows."""
    row = ROWS[name]
    # Certificates that a client signed itself are compared with those behind its jwks_uri (RFC 8705 §2.2.2).
    keys = {"jwks_uri": f"{HOST}/jwks"} if value == "self_signed_tls_client_auth" else {"jwks": {"keys": [P256]}}
    members: dict[str, Any] = {**MEMBERS, **keys}
    members[row.name] = [value] if row.type == "array of strings" else value
    if name == "token_endpoint_auth_signing_alg_values_supported":
        members["token_endpoint_auth_method"] = "client_secret_jwt" if value in SYMMETRIC else "private_key_jwt"
    if name.endswith("_encryption_enc_values_supported"):
        members[row.name.removesuffix("enc") + "alg"] = (
            "A256KW" if row.name.startswith("request_object") else "RSA-OAEP-256"
        )
    if value == "tls_client_auth":
        members["tls_client_auth_san_dns"] = "app.example"
    return members


def registers(answer: Any, name: str, value: str) -> bool:
    """Whether an answer registered the value that was asked for."""
    if answer.status_code != 201:
        assert answer.status_code == 400, answer.text
        return False
    got = answer.json().get(ROWS[name].name, "")
    return value in (got if isinstance(got, list) else got.split(" ") if name == "scopes_supported" else [got])


@pytest.mark.requirement("DISC-20")
def test_every_list_belongs_to_a_member() -> None:
    """A published list names what a member of the table may be, or is one of the few that nothing chooses from."""
    assert set(ROWS) | NOT_REGISTERED == set(OFFERED)
    published = document(HOST, Offered(dict.fromkeys(OFFERED, ("x",))))
    lists = {name for name in published if name.endswith("_supported") and isinstance(published[name], list)}
    repeated = {name for name in lists if name.startswith(("introspection_endpoint", "revocation_endpoint"))}
    assert lists - repeated == set(OFFERED)


@pytest.mark.requirement("DISC-20", "R7591-7", "R7591-10", "OIDC-18", "D-11")
@pytest.mark.parametrize("name", sorted(ROWS))
async def test_what_is_published_is_what_registers(name: str) -> None:
    """Of all values that a client might name, exactly the published ones are registered."""
    async with served(configured()) as server:
        published = (await fetched(server)).get(name, [])
        assert set(published) <= set(universe(name)), "the test has to know every published value"
        for value in universe(name):
            answer = await post(server, asking(name, value))
            assert registers(answer, name, value) is (value in published), (value, answer.text)


NARROWED = ("token_endpoint_auth_methods_supported", "grant_types_supported", "id_token_signing_alg_values_supported")
_subsets = st.tuples(*(st.lists(st.sampled_from(OFFERED[name]), min_size=1, unique=True) for name in NARROWED))


@pytest.mark.requirement("DISC-20", "SEED-75")
@settings(max_examples=30, deadline=None)
@given(allowed=_subsets)
def test_a_policy_narrows_both_alike(allowed: tuple[list[str], ...]) -> None:
    """Whatever a policy allows, discovery publishes exactly what registers under it."""
    tables = ""
    for name, values in zip(NARROWED, allowed, strict=True):
        operator = "subset_of" if ROWS[name].type == "array of strings" else "one_of"
        tables += f"[policy.narrow.metadata.{ROWS[name].name}]\n{operator} = {json.dumps(values)}\n"

    async def compare() -> None:
        async with served(configured(registration='policy = "narrow"', tables=tables)) as server:
            document = await fetched(server)
            for name, values in zip(NARROWED, allowed, strict=True):
                assert set(document[name]) == set(values)
            # One allowed value of each, and from there every value that this server could offer, list by list.
            for at, name in enumerate(NARROWED):
                for value in OFFERED[name]:
                    method, grant, algorithm = (value if other == at else allowed[other][0] for other in range(3))
                    asked = asking(NARROWED[0], method) | {
                        "grant_types": [grant],
                        "id_token_signed_response_alg": algorithm,
                    }
                    incoherent = method == "none" and (grant == "client_credentials" or algorithm in SYMMETRIC)
                    answer = await post(server, asked)
                    expected = value in allowed[at] and not incoherent
                    assert answer.status_code == (201 if expected else 400), (asked, answer.text)

    asyncio.run(compare())


# --- keys and the endpoints to come -----------------------------------------------------------------------------------


@pytest.mark.requirement("DISC-18", "R7591-17")
async def test_the_published_keys_are_public_and_named() -> None:
    """At jwks_uri lie real keys, each with a kid of its own and no private member; they stay the same."""
    async with served(configured()) as server:
        await started(server)
        answer = await server.client.get((await fetched(server))["jwks_uri"])
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        keys = answer.json()["keys"]
        # The RSA key names no algorithm: it signs with RS256 and with PS256.
        assert sorted((key["kty"], key.get("alg")) for key in keys) == [
            ("EC", "ES256"),
            ("OKP", "EdDSA"),
            ("RSA", None),
        ]
        assert len({key["kid"] for key in keys}) == len(keys)
        for key in keys:
            assert not {"d", "p", "q", "dp", "dq", "qi", "oth", "k"} & set(key)
            assert key["use"] == "sig"
        (rsa,) = [key for key in keys if key["kty"] == "RSA"]
        assert len(base64.urlsafe_b64decode(rsa["n"] + "==")) * 8 >= 2048
        # They are keys as far as this server itself is concerned: a client may register them.
        await register(server, {**MEMBERS, "jwks": {"keys": keys}})
        await started(server)
        assert (await server.client.get("/jwks")).json() == {"keys": keys}


# --- pages of other origins ---------------------------------------------------------------------------------------------

ORIGIN = "https://spa.example"


@pytest.mark.requirement("OIDC-35")
async def test_cors_is_off_by_default() -> None:
    """Without a setting no answer names an origin."""
    async with served(configured()) as server:
        client = await register(server)
        headers = {"origin": ORIGIN}
        token = bearer(client["registration_access_token"])
        answers = [
            await server.client.get(OAUTH, headers=headers),
            await server.client.post("/register", json=MEMBERS, headers=headers),
            await server.client.get(client["registration_client_uri"], headers=headers | token),
            await server.client.options("/register", headers=headers | {"access-control-request-method": "POST"}),
        ]
        assert [answer.status_code for answer in answers] == [200, 201, 200, 204]
        assert not [name for answer in answers for name in answer.headers if name.startswith("access-control")]


@pytest.mark.requirement("OIDC-35")
@pytest.mark.parametrize(("origins", "named"), [('["*"]', "*"), (f'["https://a.example", "{ORIGIN}"]', ORIGIN)])
async def test_cors_for_the_configured_origins(origins: str, named: str) -> None:
    """Discovery, registration and management answer those pages, refusals too; credentials are never allowed."""
    async with served(configured(issuer=f"cors_origins = {origins}")) as server:
        client = await register(server)
        uri, token = client["registration_client_uri"], bearer(client["registration_access_token"])
        headers = {"origin": ORIGIN}
        answers = [
            await server.client.get(OAUTH, headers=headers),
            await server.client.get("/jwks", headers=headers),
            await server.client.post("/register", json=MEMBERS, headers=headers),
            await server.client.post("/register", json={}, headers=headers),
            await server.client.post("/register", json=MEMBERS, headers=headers | bearer("wrong")),
            await server.client.get(uri, headers=headers | token),
            await server.client.put(uri, json=as_update(client), headers=headers | token),
            await server.client.get(uri, headers=headers),
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 201, 400, 401, 200, 200, 401]
        for answer in answers:
            assert answer.headers["access-control-allow-origin"] == named
            assert "origin" in answer.headers["vary"]
            assert "access-control-allow-credentials" not in answer.headers
            assert "www-authenticate" in answer.headers["access-control-expose-headers"]
        for url, methods in ((f"{HOST}/register", {"POST"}), (uri, {"GET", "PUT", "DELETE"})):
            asked = headers | {
                "access-control-request-method": min(methods),
                "access-control-request-headers": "authorization,content-type",
            }
            preflight = await server.client.options(url, headers=asked)
            assert preflight.status_code == 204
            assert set(preflight.headers["access-control-allow-methods"].split(", ")) == methods
            allowed = preflight.headers["access-control-allow-headers"].split(", ")
            assert {"authorization", "content-type"} <= set(allowed)
            assert preflight.headers["access-control-allow-origin"] == named
            assert "access-control-allow-credentials" not in preflight.headers


@pytest.mark.requirement("OIDC-35")
async def test_cors_is_for_nobody_else() -> None:
    """Another origin, a prefix, a suffix or `null` is not named, and neither is any at the authorization endpoint."""
    async with served(configured(issuer=f'cors_origins = ["{ORIGIN}"]')) as server:
        for origin in (
            f"{ORIGIN}.evil.example",
            "https://evil.example",
            "http://spa.example",
            f"{ORIGIN}:8443",
            "null",
        ):
            answer = await server.client.get(OAUTH, headers={"origin": origin})
            assert "access-control-allow-origin" not in answer.headers, origin
        answer = await server.client.post("/authorize", headers={"origin": ORIGIN})
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.requirement("OIDC-35")
@pytest.mark.parametrize("origin", ["spa.example", "https://spa.example/", "https://spa.example/x", "file:", ""])
def test_what_is_no_origin_is_not_taken(origin: str) -> None:
    """A setting that no browser's Origin could ever equal is refused at start."""
    with pytest.raises(ConfigurationError, match=r"origin|list of strings"):
        parse(Document("test", configured(issuer=f'cors_origins = ["{origin}"]')))


@pytest.mark.requirement("R7592-4", "SEED-40")
async def test_from_the_issuer_to_a_managed_client() -> None:
    """Knowing the issuer alone, a client finds the endpoint, registers, reads, updates and leaves."""
    async with served(configured(url=f"{HOST}/t1")) as server:
        endpoint = (await fetched(server, f"{HOST}{OAUTH}/t1"))["registration_endpoint"]
        client = (await server.client.post(endpoint, json=MEMBERS)).json()
        assert (await manage(server, client)).json() == client
        updated = (await manage(server, client, "PUT", as_update(client, client_name="New"))).json()
        assert updated["client_name"] == "New"
        assert (await manage(server, client, "DELETE")).status_code == 204
        assert (await manage(server, client)).status_code == 401
