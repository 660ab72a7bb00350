"""Whatever is sent: a clear answer, never a failure of ours, and nothing changed."""

# ruff: noqa: PT017 (what is asserted is what an error says, where there is one)

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import urlencode

import anyio
from authorizing import APP, BATCH, CALLBACK, CHALLENGE, WEB, assertion, authorizing, key, proof, published
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from registering import register

from registrar.authorization import call as calls
from registrar.authorization import request
from registrar.authorization.call import Call, Parameters
from registrar.authorization.device import GRANT_TYPE
from registrar.authorization.request import AuthorizationRequest, RequestError
from registrar.authorization.sender import proved
from registrar.domain.errors import ProtocolError
from registrar.testing import served

CALM: Final = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
KEY: Final = key()
TEXT = st.text(max_size=40) | st.sampled_from(
    [
        "",
        "none",
        "code",
        "S256",
        "openid read",
        CALLBACK,
        CHALLENGE,
        "{}",
        "[]",
        "a.b.c",
        "\x00",
        "é",
        "0",
        "-1",
        "9" * 30,
    ]
)
GRANTS = st.sampled_from(
    ["authorization_code", "refresh_token", "client_credentials", GRANT_TYPE, "password", "implicit", "é"]
)
TOKEN_PARAMETERS: Final = [
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "code",
    "redirect_uri",
    "code_verifier",
    "refresh_token",
    "scope",
    "resource",
    "device_code",
    "token",
    "unknown",
]
REQUEST_PARAMETERS: Final = [
    "response_type",
    "response_mode",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "prompt",
    "max_age",
    "claims",
    "id_token_hint",
    "login_hint",
    "acr_values",
    "ui_locales",
    "code_challenge",
    "code_challenge_method",
    "resource",
    "authorization_details",
    "dpop_jkt",
    "request",
    "request_uri",
    "registration",
    "display",
    "unknown",
]
HEADER = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60)


@CALM
@given(
    grant_type=GRANTS,
    parameters=st.dictionaries(st.sampled_from(TOKEN_PARAMETERS), TEXT, max_size=6),
    headers=st.dictionaries(st.sampled_from(["authorization", "dpop", "accept"]), HEADER, max_size=2),
    path=st.sampled_from(["/token", "/introspect", "/revoke", "/par", "/device_authorization"]),
    as_client=st.booleans(),
)
def test_no_form_breaks_an_endpoint(
    grant_type: str, parameters: dict[str, str], headers: dict[str, str], path: str, as_client: bool
) -> None:
    """A well-formed form of any content gets an answer in JSON that is no 5xx, authenticated or not."""

    async def send() -> None:
        async with served(authorizing()) as server:
            more: dict[str, Any] = {}
            if as_client:
                client = await register(
                    server, {**WEB, "grant_types": [*WEB["grant_types"], "client_credentials", GRANT_TYPE]}
                )
                more = {"auth": (client["client_id"], client["client_secret"])}
                headers.pop("authorization", None)
            given = {"grant_type": grant_type, **parameters}
            answer = await server.client.post(path, data=given, headers=headers, **more)
            assert answer.status_code < 500, answer.text
            if answer.status_code >= 400:
                assert answer.json()["error"]
                assert answer.json()["error_description"].isascii()
                assert answer.headers["cache-control"] == "no-cache, no-store"

    anyio.run(send)


@CALM
@given(
    body=st.binary(max_size=200), media=st.sampled_from(["application/x-www-form-urlencoded", "text/plain", "", "é"])
)
def test_no_bytes_break_an_endpoint(body: bytes, media: str) -> None:
    """Any bytes under any media type get a 4xx."""

    async def send() -> None:
        async with served(authorizing()) as server:
            headers = {"content-type": media.encode()}
            answer = await server.client.post("/token", content=body, headers=headers)
            assert 400 <= answer.status_code < 500, answer.text

    anyio.run(send)


@CALM
@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_query_breaks_the_reading(encoded: bytes) -> None:
    """Parameters come out, each once, or an error does."""
    try:
        parameters = calls.read(encoded)
    except ProtocolError as error:
        assert error.kind.status < 500
        return
    assert all(parameters.values())


@CALM
@given(
    parameters=st.dictionaries(st.sampled_from(REQUEST_PARAMETERS), TEXT, max_size=8),
    plain=st.booleans(),
    public=st.booleans(),
)
def test_no_request_breaks_the_judgement(parameters: dict[str, str], plain: bool, public: bool) -> None:
    """A request of any content is judged good or refused, and what is good is what was registered."""

    async def judge() -> None:
        async with served(authorizing()) as server:
            client = await register(server, APP if public else WEB)
            good = {
                "response_type": "code",
                "redirect_uri": CALLBACK,
                "code_challenge": CHALLENGE,
                "code_challenge_method": "S256",
            }
            given = {"client_id": client["client_id"], **(good if plain else {}), **parameters}
            try:
                read = calls.read(urlencode(given, errors="surrogatepass").encode())
                made = await request.judge(server.registry, server.issuer, read, server.clock.now)
            except RequestError as error:
                assert error.kind.status < 500
                assert error.returns is None or error.returns.redirect_uri == CALLBACK
                return
            except ProtocolError as error:
                assert error.kind.status < 500
                return
            assert isinstance(made, AuthorizationRequest)
            assert made.redirect_uri == CALLBACK
            assert set(made.scope) <= {"read", "write"}
            assert made.code_challenge is not None

    anyio.run(judge)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@CALM
@given(
    name=st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "htm", "htu", "nonce", "ath", "x"]),
    value=JSON,
)
def test_no_claim_breaks_a_proof(name: str, value: Any) -> None:
    """A signed statement with a claim of any kind is taken or refused, as an assertion and as a proof."""

    async def send() -> None:
        async with served(authorizing()) as server:
            members = {**BATCH, "token_endpoint_auth_method": "private_key_jwt", "jwks": published(KEY)}
            client = await register(server, members)
            claims = {name: value}
            answer = await server.client.post(
                "/token",
                data={"grant_type": "client_credentials", **assertion(server, client, KEY, **claims)},
                headers=proof(server, key(kid=""), **claims),
            )
            assert answer.status_code < 500, answer.text
            endpoint = f"{server.issuer.url}/token"
            call = Call(endpoint, Parameters({}), dpop=(proof(server, key(kid=""), **claims)["dpop"],))
            try:
                await proved(server.registry, server.issuer, call, server.clock.now, access_token="token")
            except ProtocolError as error:
                assert error.kind.name == "invalid_dpop_proof"

    anyio.run(send)


@CALM
@given(details=JSON, claims=JSON)
def test_no_json_breaks_a_parameter(details: Any, claims: Any) -> None:
    """`claims` and `authorization_details` of any shape are judged."""

    async def judge() -> None:
        async with served(authorizing('authorization_details_types = ["t"]')) as server:
            client = await register(server, {**APP, "authorization_details_types": ["t"]})
            given = {
                "client_id": client["client_id"],
                "response_type": "code",
                "redirect_uri": CALLBACK,
                "code_challenge": CHALLENGE,
                "code_challenge_method": "S256",
                "claims": json.dumps(claims),
                "authorization_details": json.dumps([{"type": "t"}, details]),
            }
            try:
                await request.judge(
                    server.registry, server.issuer, calls.read(urlencode(given).encode()), server.clock.now
                )
            except ProtocolError as error:
                assert error.kind.status < 500

    anyio.run(judge)
