"""Authorization requests: what is read, what is refused, and where the answer goes (RFC 6749 §4.1, RFC 9101, RFC 9126)."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from authorizing import (
    ALICE,
    APP,
    CALLBACK,
    CHALLENGE,
    VERIFIER,
    WEB,
    authorizing,
    call,
    exchange,
    key,
    proof,
    proof_of,
    published,
    signed,
)
from registering import refused, register, without

from registrar.authorization import authorization_response, request
from registrar.authorization import call as calls
from registrar.authorization.authorization_response import FormPost, Redirect
from registrar.authorization.request import AuthorizationRequest, RequestError
from registrar.service import administration
from registrar.testing import Documents, Served, served

pytestmark = pytest.mark.anyio

KEY = key()
OBJECT = "https://app.example/request.jwt"
DYNAMIC = 'policy = "oidc-dynamic"'


def asked(client: Any, **changes: Any) -> dict[str, str]:
    """A plain request of a client; None leaves a parameter out."""
    given = {
        "client_id": client["client_id"],
        "response_type": "code",
        "redirect_uri": CALLBACK,
        "scope": "read",
        "state": "s",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **changes,
    }
    return {name: value for name, value in given.items() if value is not None}


async def judged(server: Served, given: Any) -> AuthorizationRequest:
    """The request as the authorization endpoint would take it."""
    parameters = calls.read(urlencode(given, doseq=True).encode())
    return await request.judge(server.registry, server.issuer, parameters, server.clock.now)


async def error(server: Served, given: Any) -> RequestError:
    """Why a request is refused."""
    with pytest.raises(RequestError) as caught:
        await judged(server, given)
    assert caught.value.description.isascii()
    return caught.value


async def allowed(server: Served, made: AuthorizationRequest) -> dict[str, str]:
    """What reaches the client when Alice allows a request."""
    return parameters_of(await authorization_response.allow(server.registry, server.issuer, made, ALICE, made.scope))


def parameters_of(answer: Redirect | FormPost) -> dict[str, str]:
    """What an answer carries, wherever it does."""
    if isinstance(answer, FormPost):
        return answer.parameters
    parts = urlsplit(answer.location)
    return dict(parse_qsl(parts.fragment or parts.query))


# --- the way of a request ---------------------------------------------------------------------------------------------


@pytest.mark.requirement("BASE-39")
async def test_from_request_to_token() -> None:
    """A request becomes a code at the registered address, with its state and who answers; the code becomes tokens."""
    async with served(authorizing()) as server:
        client = await register(server, APP)
        made = await judged(server, asked(client, state="a b&c=é"))
        assert (made.scope, made.code_challenge, made.response_mode) == (("read",), CHALLENGE, "query")
        answer = await authorization_response.allow(server.registry, server.issuer, made, ALICE, made.scope)
        assert isinstance(answer, Redirect)
        assert answer.location.startswith(f"{CALLBACK}?")
        assert "code" not in repr(answer)
        given = parameters_of(answer)
        assert given.keys() == {"code", "state", "iss"}
        assert (given["state"], given["iss"]) == ("a b&c=é", server.issuer.url)
        issued = await exchange(server, client, given["code"])
        assert issued.json()["scope"] == "read"


async def test_a_person_may_allow_less() -> None:
    """The scopes that were allowed are the scopes that are granted."""
    async with served(authorizing()) as server:
        client = await register(server, APP)
        made = await judged(server, asked(client, scope="read write"))
        answer = await authorization_response.allow(server.registry, server.issuer, made, ALICE, ["read"])
        issued = await exchange(server, client, parameters_of(answer)["code"])
        assert issued.json()["scope"] == "read"


async def test_a_refusal_reaches_the_client() -> None:
    """An error goes where the answer would have gone, with state and issuer."""
    async with served(authorizing()) as server:
        client = await register(server, APP)
        refusal = await error(server, asked(client, scope="unknown"))
        assert refusal.returns is not None
        answer = await authorization_response.refuse(server.registry, server.issuer, refusal.returns, refusal)
        given = parameters_of(answer)
        assert (given["error"], given["state"], given["iss"]) == ("invalid_scope", "s", server.issuer.url)
        await administration.delete(server.registry, server.issuer, server.operator, client["client_id"])
        with pytest.raises(Exception, match="suspended or removed"):
            await authorization_response.refuse(server.registry, server.issuer, refusal.returns, refusal)


async def test_an_address_with_a_query_keeps_it() -> None:
    """A registered query stays, and the answer comes behind it (RFC 6749 §3.1.2)."""
    async with served(authorizing()) as server:
        uri = "https://app.example/cb?tenant=a"
        client = await register(server, {**APP, "redirect_uris": [uri]})
        answer = await authorization_response.allow(
            server.registry, server.issuer, await judged(server, asked(client, redirect_uri=uri)), ALICE, ["read"]
        )
        assert isinstance(answer, Redirect)
        assert answer.location.startswith(f"{uri}&code=")


# --- where it may go ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("BASE-13", "BASE-26")
@pytest.mark.parametrize(
    "uri",
    [
        f"{CALLBACK}/",
        f"{CALLBACK}?a=b",
        CALLBACK.upper(),
        CALLBACK.replace("https", "http"),
        CALLBACK.replace("https://", "https://user@"),
        CALLBACK.replace("callback", "%63allback"),
        CALLBACK.replace("app.example", "app.example.evil.example"),
        CALLBACK.replace("app.example", "app.example:444"),
        f"{CALLBACK}#x",
        "javascript:alert(1)",
        "//evil.example",
        "x",
    ],
)
async def test_an_unregistered_address_is_never_followed(uri: str) -> None:
    """Every variant of a registered address is another address: told to the person alone."""
    async with served(authorizing()) as server:
        refusal = await error(server, asked(await register(server, APP), redirect_uri=uri))
        assert (refusal.kind.name, refusal.returns) == ("invalid_request", None)


@pytest.mark.requirement("BASE-12")
async def test_several_addresses_have_to_be_told_apart() -> None:
    """With several registered, or none, the request names one; with one, it need not."""
    async with served(authorizing()) as server:
        one = await register(server, APP)
        made = await judged(server, asked(one, redirect_uri=None))
        assert (made.redirect_uri, made.redirect_uri_given) == (CALLBACK, False)
        two = await register(server, {**APP, "redirect_uris": [CALLBACK, f"{CALLBACK}2"]})
        assert (await error(server, asked(two, redirect_uri=None))).returns is None


async def test_the_port_of_this_machine_is_chosen_late() -> None:
    """Any port of a registered loopback address matches, and nothing else of it may differ (RFC 8252 §7.3)."""
    async with served(authorizing()) as server:
        client = await register(server, {**APP, "redirect_uris": ["http://127.0.0.1/cb"]})
        made = await judged(server, asked(client, redirect_uri="http://127.0.0.1:53124/cb"))
        assert made.redirect_uri == "http://127.0.0.1:53124/cb"
        for other in ("http://127.0.0.1:53124/other", "http://localhost:53124/cb", "https://127.0.0.1:53124/cb"):
            assert (await error(server, asked(client, redirect_uri=other))).returns is None


@pytest.mark.requirement("BASE-13")
async def test_nobody_and_the_suspended_are_told_to_the_person() -> None:
    """An unknown, a missing and a suspended client never send the browser anywhere."""
    async with served(authorizing()) as server:
        client = await register(server, APP)
        assert (await error(server, asked({"client_id": "nobody"}))).kind.name == "invalid_client"
        assert (await error(server, without(asked(client), "client_id"))).kind.name == "invalid_request"
        await administration.suspend(server.registry, server.issuer, server.operator, client["client_id"])
        refusal = await error(server, asked(client))
        assert (refusal.kind.name, refusal.returns) == ("access_denied", None)


# --- what is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("BASE-16", "BASE-36", "AUTHM-1")
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code token"}, "unsupported_response_type"),
        ({"response_mode": "jwt"}, "invalid_request"),
        ({"response_mode": "other"}, "invalid_request"),
        ({"scope": "unknown"}, "invalid_scope"),
        ({"scope": "dcr"}, "invalid_scope"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"resource": "https://nobody.example"}, "invalid_target"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "other"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"claims": "no"}, "invalid_request"),
        ({"claims": '{"userinfo": 1}'}, "invalid_request"),
        ({"claims": '{"id_token": {"a": 1}}'}, "invalid_request"),
        ({"claims": '{"a": 1, "a": 2}'}, "invalid_request"),
        ({"id_token_hint": "a.b.c"}, "invalid_request"),
        ({"dpop_jkt": "short"}, "invalid_request"),
        ({"authorization_details": "no"}, "invalid_authorization_details"),
        ({"authorization_details": "[]"}, "invalid_authorization_details"),
        ({"authorization_details": '[{"type": "payment"}]'}, "invalid_authorization_details"),
        ({"request": "a.b.c"}, "invalid_request_object"),
        ({"request_uri": "https://app.example/x"}, "invalid_request_uri"),
        ({"request_uri": "https://app.example/x", "request": "a.b.c"}, "invalid_request"),
    ],
)
async def test_what_is_refused_is_told_to_the_client(changes: dict[str, Any], code: str) -> None:
    """With a registered address, the client learns what was wrong, with its state."""
    async with served(authorizing()) as server:
        refusal = await error(server, asked(await register(server, APP), **changes))
        assert refusal.kind.name == code, refusal.description
        assert refusal.returns is not None
        assert (refusal.returns.redirect_uri, refusal.returns.state) == (CALLBACK, "s")


@pytest.mark.parametrize("name", ["state", "client_id", "redirect_uri", "scope", "unknown"])
async def test_nothing_is_repeated(name: str) -> None:
    """A parameter that stands twice is refused before anything is looked at; `resource` alone may (RFC 8707)."""
    async with served(authorizing("any_resource = true")) as server:
        client = await register(server, APP)
        with pytest.raises(Exception, match="is repeated"):
            await judged(server, [*asked(client, unknown="x").items(), (name, "y")])
        both = ["https://a.example", "https://b.example"]
        assert (await judged(server, {**asked(client), "resource": both})).resource == tuple(both)


async def test_pkce_can_be_relaxed_for_those_who_keep_secrets() -> None:
    """Where the operator says so, a confidential client may leave it out; a public one never, and a challenge counts."""
    async with served(authorizing('pkce = "public"')) as server:
        web, app = await register(server, WEB), await register(server, APP)
        plain = {"code_challenge": None, "code_challenge_method": None}
        given = await allowed(server, await judged(server, asked(web, **plain)))
        assert (await exchange(server, web, given["code"], code_verifier=None)).status_code == 200
        assert (await error(server, asked(app, **plain))).kind.name == "invalid_request"
        given = await allowed(server, await judged(server, asked(web)))
        refused(await exchange(server, web, given["code"], code_verifier=None), "invalid_grant")


@pytest.mark.requirement("OIDC-28")
async def test_what_a_registration_says_where_a_request_does_not() -> None:
    """The registered maximum age and authentication contexts count until the request says otherwise."""
    async with served(authorizing()) as server:
        client = await register(server, {**APP, "default_max_age": 600})
        assert (await judged(server, asked(client))).max_age == 600
        assert (await judged(server, asked(client, max_age="0"))).max_age == 0
        plain = await register(server, APP)
        assert (await judged(server, asked(plain))).max_age is None


async def test_who_registered_no_scope_asks_for_what_is_published() -> None:
    """Widespread clients register without a scope and ask later: the person decides, and `dcr` is never among it."""
    async with served(authorizing()) as server:
        client = await register(server, without(APP, "scope"))
        assert "scope" not in client
        assert (await judged(server, asked(client, scope="read other"))).scope == ("read",)
        assert (await judged(server, asked(client, scope=None))).scope == ()
        assert (await error(server, asked(client, scope="dcr"))).kind.name == "invalid_scope"


async def test_authorization_details_of_registered_types() -> None:
    """What was asked for in detail is granted, and told with the token (RFC 9396 §7)."""
    async with served(authorizing('authorization_details_types = ["payment"]')) as server:
        client = await register(server, {**APP, "authorization_details_types": ["payment"]})
        details = [{"type": "payment", "amount": "1"}]
        made = await judged(server, asked(client, authorization_details=json.dumps(details)))
        issued = await exchange(server, client, (await allowed(server, made))["code"])
        assert issued.json()["authorization_details"] == details
        bare = await register(server, APP)
        assert (await error(server, asked(bare, authorization_details=json.dumps(details)))).returns is not None


# --- response modes -------------------------------------------------------------------------------------------------------


async def test_answers_come_as_asked() -> None:
    """In the query, in the fragment, or in a form."""
    async with served(authorizing()) as server:
        client = await register(server, APP)
        for mode, mark in (("query", "?"), ("fragment", "#")):
            made = await judged(server, asked(client, response_mode=mode))
            answer = await authorization_response.allow(server.registry, server.issuer, made, ALICE, made.scope)
            assert isinstance(answer, Redirect)
            assert answer.location.startswith(f"{CALLBACK}{mark}code=")
        made = await judged(server, asked(client, response_mode="form_post"))
        form = await authorization_response.allow(server.registry, server.issuer, made, ALICE, made.scope)
        assert isinstance(form, FormPost)
        assert form.uri == CALLBACK
        assert form.parameters.keys() == {"code", "state", "iss"}


JARM = """
[policy.signed]
extends = ["default"]
features = ["JARM"]
"""


async def test_signed_answers() -> None:
    """Who registered signed responses gets them, and no others: issuer, audience and a short life stand in them."""
    from registering import started

    text = authorizing(registration='policy = "signed"', tables=JARM)
    async with served(text) as server:
        await started(server)
        client = await register(server, {**APP, "authorization_signed_response_alg": "ES256"})
        for mode, way in ((None, "query.jwt"), ("jwt", "query.jwt"), ("form_post.jwt", "form_post.jwt")):
            made = await judged(server, asked(client, response_mode=mode))
            assert made.response_mode == way
            given = await allowed(server, made)
            assert given.keys() == {"response"}
            claims = json.loads(base64.urlsafe_b64decode(given["response"].split(".")[1] + "=="))
            assert claims.keys() == {"iss", "aud", "exp", "code", "state"}
            assert (claims["iss"], claims["aud"]) == (server.issuer.url, client["client_id"])
            assert (await exchange(server, client, claims["code"])).status_code == 200
        refusal = await error(server, asked(client, response_mode="query"))
        assert refusal.kind.name == "invalid_request"
        plain = await register(server, APP)
        assert (await judged(server, asked(plain, response_mode="jwt"))).response_mode == "query.jwt"


async def test_hybrid_answers_under_their_policy() -> None:
    """Where the operator offers them, tokens come at once, never in a query, and bound to a nonce."""
    from registering import started

    async with served(authorizing(registration=DYNAMIC)) as server:
        await started(server)
        members = {**WEB, "scope": "openid read", "response_types": ["code id_token token", "id_token", "code"]}
        client = await register(server, {**members, "grant_types": ["authorization_code", "implicit"]})
        mixed = asked(client, response_type="token id_token code", scope="openid", nonce="n")
        made = await judged(server, mixed)
        assert made.response_mode == "fragment"
        given = await allowed(server, made)
        assert {"code", "id_token", "access_token", "token_type", "expires_in", "state", "iss"} <= given.keys()
        assert (await error(server, {**mixed, "response_mode": "query"})).kind.name == "invalid_request"
        assert (await error(server, without(mixed, "nonce"))).kind.name == "invalid_request"
        unregistered = asked(client, response_type="code token", scope="openid")
        assert (await error(server, unregistered)).kind.name == "unauthorized_client"


# --- request objects --------------------------------------------------------------------------------------------------------

SIGNS = {**WEB, "jwks": published(KEY)}


def object_of(
    server: Served, client: Any, key: Any = KEY, alg: str = "ES256", header: Any = None, **changes: Any
) -> str:
    """A request object; `changes` are to its claims, None leaves one out."""
    claims = {**asked(client), "iss": client["client_id"], "aud": server.issuer.url, **changes}
    return signed(key, claims, alg, **(header or {}))


@pytest.mark.requirement("OIDC-24")
async def test_a_request_by_value() -> None:
    """What stands in the object counts, and nothing beside it."""
    async with served(authorizing()) as server:
        client = await register(server, {**SIGNS, "request_object_signing_alg": "ES256"})
        given = {"client_id": client["client_id"], "request": object_of(server, client, max_age=5)}
        made = await judged(
            server, {**given, "scope": "write", "state": "other", "redirect_uri": "https://evil.example"}
        )
        assert (made.scope, made.state, made.redirect_uri, made.max_age) == (("read",), "s", CALLBACK, 5)
        rsa = key("rsa", "RSA")
        other = await register(server, {**SIGNS, "jwks": published(KEY, rsa), "request_object_signing_alg": "PS256"})
        assert (await judged(server, {**asked(other), "request": object_of(server, other, rsa, "PS256")})).scope
        wrong = await error(server, {**asked(other), "request": object_of(server, other)})
        assert wrong.kind.name == "invalid_request_object"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "other"},
        {"client_id": "other"},
        {"aud": "https://other.example"},
        {"exp": 1},
        {"nbf": 1_790_000_100},
        {"request": "x"},
        {"request_uri": "x"},
        {"state": 1.5},
        {"state": True},
        {"header": {"typ": "dpop+jwt"}},
        {"key": key()},
        {"alg": "HS256", "key": None},
    ],
)
async def test_an_object_is_strict(changes: dict[str, Any]) -> None:
    """Of this client, for this issuer, of this moment, signed with a registered key, and of no other kind."""
    from joserfc.jwk import OctKey

    async with served(authorizing()) as server:
        client = await register(server, SIGNS)
        if "key" in changes and changes["key"] is None:
            changes = {**changes, "key": OctKey.import_key("k" * 64)}
        given = {**asked(client), "request": object_of(server, client, **changes)}
        refusal = await error(server, given)
        assert refusal.kind.name == "invalid_request_object", refusal.description
        assertion = object_of(server, client, sub=client["client_id"])
        assert (await error(server, {**asked(client), "request": assertion})).kind.name == "invalid_request_object"


@pytest.mark.requirement("META-32")
@pytest.mark.parametrize(("alg", "enc"), [("dir", "A128CBC-HS256"), ("A256KW", "A256GCM")])
async def test_an_encrypted_object_is_opened_with_the_secret(alg: str, enc: str) -> None:
    """Signed, then encrypted under the client's secret, with the algorithms that it registered and no others."""
    from joserfc import jwe
    from joserfc.jwk import OctKey

    algorithms = {"request_object_encryption_alg": alg, "request_object_encryption_enc": enc}

    async with served(authorizing()) as server:
        client = await register(server, {**SIGNS, **algorithms})
        secret = OctKey.import_key(hashlib.sha256(client["client_secret"].encode()).digest())
        other = OctKey.import_key(bytes(32))

        def sealed(under: OctKey = secret, plain: str = "", **header: str) -> str:
            written = {"alg": alg, "enc": enc, "cty": "JWT", **header}
            return jwe.encrypt_compact(
                written, plain or object_of(server, client), under, algorithms=[written["alg"], written["enc"], "DEF"]
            )

        made = await judged(server, {**asked(client, state="outside"), "request": sealed()})
        assert made.state == "s"
        for bad in (sealed(other), sealed(zip="DEF"), sealed(plain="not a JWS"), sealed()[:-4] + "AAAA", "a.b.c.d.e"):
            refusal = await error(server, {**asked(client), "request": bad})
            assert refusal.kind.name == "invalid_request_object", refusal.description
        plain = await register(server, SIGNS)
        assert (await error(server, {**asked(plain), "request": sealed()})).kind.name == "invalid_request_object"


async def test_an_unsigned_object_counts_only_where_it_is_offered() -> None:
    """`none` is no algorithm, but under a policy that offers it for old suites."""
    async with served(authorizing()) as server:
        client = await register(server, SIGNS)
        unsigned = object_of(server, client).split(".")
        head = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
        bare = f"{head}.{unsigned[1]}."
        assert (await error(server, {**asked(client), "request": bare})).kind.name == "invalid_request_object"


@pytest.mark.requirement("BASE-38")
async def test_who_registered_to_sign_always_signs() -> None:
    """Without an object, or with one that says less than it has to, such a client gets nothing."""
    async with served(authorizing()) as server:
        client = await register(server, {**SIGNS, "require_signed_request_object": True})
        now = server.clock.now
        assert (await error(server, asked(client))).kind.name == "invalid_request_object"
        whole = {"nbf": now, "exp": now + 60}
        assert await judged(server, {**asked(client), "request": object_of(server, client, **whole)})
        for less in ({"aud": None}, {"exp": None}, {"nbf": None}, {"exp": now + 3_601}):
            given = {**asked(client), "request": object_of(server, client, **{**whole, **less})}
            assert (await error(server, given)).kind.name == "invalid_request_object"


@pytest.mark.requirement("OIDC-33")
async def test_a_request_by_reference() -> None:
    """Fetched from where the client registered it, and from nowhere else; a fragment is the digest of its content."""
    documents = Documents()
    async with served(authorizing(), fetch=documents) as server:
        client = await register(server, {**SIGNS, "request_uris": [OBJECT]})
        documents.documents[OBJECT] = object_of(server, client).encode()
        given = {"client_id": client["client_id"], "request_uri": OBJECT}
        assert (await judged(server, given)).scope == ("read",)
        assert (await error(server, {**given, "request_uri": f"{OBJECT}2"})).kind.name == "invalid_request_uri"
        assert documents.fetched == [OBJECT]
        content = object_of(server, client).encode()
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        exact = await register(server, {**SIGNS, "request_uris": [f"{OBJECT}#{digest}"]})
        documents.documents[OBJECT] = content
        uri = {"client_id": exact["client_id"], "request_uri": f"{OBJECT}#{digest}"}
        assert (await error(server, uri)).kind.name == "invalid_request_object"  # the right content, of another client
        documents.documents[OBJECT] = object_of(server, exact).encode()
        assert (await error(server, uri)).kind.name == "invalid_request_uri"
        del documents.documents[OBJECT]
        assert "404" in (await error(server, given)).description


# --- pushed requests ----------------------------------------------------------------------------------------------------------


async def pushed(server: Served, client: Any, **changes: Any) -> Any:
    """Push a request."""
    return await call(server, "/par", client, **asked(client, **changes))


async def test_a_pushed_request() -> None:
    """Judged when it is pushed, found by its URI once, by its client, for a while."""
    async with served(authorizing()) as server:
        client, other = await register(server, WEB), await register(server, WEB)
        answer = await pushed(server, client)
        assert answer.status_code == 201, answer.text
        assert answer.headers["cache-control"] == "no-cache, no-store"
        assert answer.json()["expires_in"] == 90
        uri = answer.json()["request_uri"]
        stranger = await error(server, {"client_id": other["client_id"], "request_uri": uri})
        assert (stranger.kind.name, stranger.returns) == ("invalid_request_uri", None)
        given = {"client_id": client["client_id"], "request_uri": uri}
        made = await judged(server, {**given, "scope": "write"})
        assert (made.scope, made.pushed) == (("read",), True)
        assert (await error(server, given)).kind.name == "invalid_request_uri"
        late = (await pushed(server, client)).json()["request_uri"]
        server.clock.advance(90)
        assert (await error(server, {**given, "request_uri": late})).kind.name == "invalid_request_uri"


async def test_a_push_is_refused_at_once() -> None:
    """The client must authenticate, and learns from the answer what is wrong with its request."""
    async with served(authorizing()) as server:
        client = await register(server, WEB)
        refused(await pushed(server, {**client, "client_secret": "wrong"}), "invalid_client", status=401)
        for changes, code in (
            ({"redirect_uri": "https://evil.example"}, "invalid_request"),
            ({"redirect_uri": None}, "invalid_request"),
            ({"scope": "unknown"}, "invalid_scope"),
            ({"response_type": "token"}, "unsupported_response_type"),
            ({"request_uri": "urn:ietf:params:oauth:request_uri:x"}, "invalid_request"),
            ({"request": "a.b.c"}, "invalid_request_object"),
        ):
            refused(await pushed(server, client, **changes), code)


@pytest.mark.requirement("BASE-38")
async def test_who_registered_to_push_always_pushes() -> None:
    """A request that was not pushed is refused, whatever else is right about it."""
    async with served(authorizing()) as server:
        client = await register(server, {**WEB, "require_pushed_authorization_requests": True})
        refusal = await error(server, asked(client))
        assert (refusal.kind.name, refusal.returns is None) == ("invalid_request", False)
        uri = (await pushed(server, client)).json()["request_uri"]
        assert await judged(server, {"client_id": client["client_id"], "request_uri": uri})


async def test_a_pushed_request_binds_its_code() -> None:
    """A proof beside a pushed request binds the code to its key (RFC 9449 §10.1); another dpop_jkt is refused."""
    async with served(authorizing()) as server:
        own, client = key(kid=""), await register(server, WEB)
        headers = proof(server, own, "/par")
        answer = await call(server, "/par", client, headers=headers, **asked(client))
        made = await judged(server, {"client_id": client["client_id"], "request_uri": answer.json()["request_uri"]})
        assert made.dpop_jkt == own.thumbprint()
        value = (await allowed(server, made))["code"]
        refused(await exchange(server, client, value), "invalid_dpop_proof")
        assert (await exchange(server, client, value, headers=proof(server, own))).status_code == 200
        other = asked(client, dpop_jkt=key().thumbprint())
        refused(await call(server, "/par", client, headers=proof(server, own, "/par"), **other), "invalid_dpop_proof")


async def test_a_pushed_request_dies_with_its_registration() -> None:
    """It is worth nothing once its client is deleted, suspended, or has taken its address back."""
    async with served(authorizing()) as server:
        client = await register(server, WEB)
        uri = (await pushed(server, client)).json()["request_uri"]
        given = {"client_id": client["client_id"], "request_uri": uri}
        await administration.suspend(server.registry, server.issuer, server.operator, client["client_id"])
        assert (await error(server, given)).kind.name == "access_denied"
        await administration.delete(server.registry, server.issuer, server.operator, client["client_id"])
        assert (await error(server, given)).kind.name == "invalid_client"
        assert await server.registry.store.items("main", "pushed_request") == []


async def test_a_signed_request_may_be_pushed() -> None:
    """Both ways of protecting a request go together (RFC 9126 §3)."""
    async with served(authorizing()) as server:
        client = await register(server, SIGNS)
        answer = await server.client.post(
            "/par",
            data={"client_id": client["client_id"], "request": object_of(server, client)},
            **proof_of(client),
        )
        assert answer.status_code == 201, answer.text
        assert VERIFIER
