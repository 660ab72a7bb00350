"""The client registration endpoint as RFC 7591 describes it, asked over HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from registering import (
    MACHINE,
    MEMBERS,
    PUBLIC,
    configured,
    events,
    issue,
    manage,
    payloads,
    post,
    refused,
    register,
    registers,
    without,
)

from registrar.config import ConfigurationError, parse
from registrar.domain.client import Client
from registrar.domain.events import Event
from registrar.domain.metadata import MEMBERS as TABLE
from registrar.domain.metadata import Member, Role
from registrar.policy.document import Document
from registrar.service.ports import Change, ClientQuery, Spend, StoreUnavailable
from registrar.storage.memory import MemoryStore
from registrar.testing import FrozenClock, served

pytestmark = pytest.mark.anyio

P256 = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
"""The public key of RFC 7515 App. A.3."""

PAYLOADS = {name: one for name, one in payloads("clients", "gateways", "edge").items() if one["request"]}
WRITABLE = [row for row in TABLE.values() if row.role is Role.CLIENT and not row.feature]
WRONG: dict[str, list[Any]] = {
    "string": [5, True, ["a"], {"a": "b"}],
    "URL": [5, True, ["https://a.example"], {"a": "b"}],
    "integer": ["5", 5.5, True, [5]],
    "boolean": ["true", 1, 0, ["x"]],
    "object": ["{}", 5, [{}], True],
    "array of strings": ["https://a.example/cb", 5, True, {"a": "b"}, [5], ["a", None], [["a"]]],
}
WRONG["array of URLs"] = WRONG["array of strings"]


# --- shape ------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7591-2")
@pytest.mark.parametrize("row", WRITABLE, ids=lambda row: row.name)
async def test_every_member_has_its_json_type(row: Member) -> None:
    """A value of another JSON type is refused with the code of its member, and the fault names the member."""
    error = "invalid_redirect_uri" if row.name == "redirect_uris" else "invalid_client_metadata"
    async with served() as server:
        for wrong in WRONG[row.type]:
            body = refused(await post(server, {**MEMBERS, row.name: wrong}), error)
            named = [fault["member"].partition("[")[0] for fault in body["faults"]]
            assert row.name in named, (wrong, body)


@pytest.mark.requirement("R7591-1")
async def test_names_and_values_are_case_sensitive() -> None:
    """`Redirect_URIs` is an unknown member, and `Authorization_Code` is not the code grant."""
    async with served() as server:
        answer = await register(server, {**MACHINE, "Redirect_URIs": ["https://app.example/cb"]})
        assert "Redirect_URIs" not in answer
        assert "redirect_uris" not in answer
        mixed = await register(server, {**MEMBERS, "grant_types": ["Refresh_Token", "authorization_code"]})
        assert mixed["grant_types"] == ["authorization_code"]
        alone = await post(server, {**MEMBERS, "grant_types": ["Authorization_Code"]})
        refused(alone, "invalid_client_metadata", "grant_types")
        refused(
            await post(server, {**MEMBERS, "token_endpoint_auth_method": "None"}),
            "invalid_client_metadata",
            "token_endpoint_auth_method",
        )


@pytest.mark.requirement("R7591-20", "OIDC-38", "WILD-8")
async def test_unknown_members_are_ignored() -> None:
    """What the table does not know is neither an error nor stored nor echoed; a finding tells the auditor."""
    strange = {"zzz": 1, "resource": "x", "trusted": True, "owner": "root", "redirect_uris#fr": ["https://b.example/"]}
    async with served() as server:
        client = await register(server, {**MEMBERS, **strange})
        assert not set(strange) & set(client)
        assert not set(strange) & set((await manage(server, client)).json())
        (event,) = await events(server, "client.registered")
        assert {one["member"] for one in event["findings"] if one["rule"] == "metadata.unknown"} == set(strange)


@pytest.mark.requirement("R7591-43", "D-10")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b'"client"',
        b"5",
        b"[]",
        b'[{"client_name": "a"}]',
        b'{"client_name": "a", "client_name": "b", "redirect_uris": ["https://a.example/cb"]}',
        b'{"redirect_uris": ["https://a.example/cb"]} trailing',
        b'{"redirect_uris": ["https://a.example/cb"]}{}',
        b'{"client_name": "\xff", "redirect_uris": ["https://a.example/cb"]}',
        b'{"client_name": "\\ud800", "redirect_uris": ["https://a.example/cb"]}',
        b'{"default_max_age": NaN, "redirect_uris": ["https://a.example/cb"]}',
        b'{"x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"x": ' + b'{"x":' * 5_000 + b"1" + b"}" * 5_000 + b"}",
        b"client_name=a&redirect_uris=https%3A%2F%2Fa.example%2Fcb",
    ],
    ids=lambda body: body[:24].decode("ascii", "replace"),
)
async def test_the_body_is_one_json_object(body: bytes) -> None:
    """Anything but one strict JSON object is 400 invalid_client_metadata, and nothing is registered."""
    async with served() as server:
        answer = await server.client.post("/register", content=body, headers={"content-type": "application/json"})
        refused(answer, "invalid_client_metadata")
        assert not await server.registry.store.clients(ClientQuery())


@pytest.mark.requirement("R7591-36")
@pytest.mark.parametrize(
    "media",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'application/json; charset="utf-8"',
        "Application/JSON",
    ],
)
async def test_json_is_accepted_with_and_without_charset(media: str) -> None:
    """The registration endpoint takes application/json, whatever its spelling."""
    async with served() as server:
        answer = await server.client.post("/register", content=json.dumps(MEMBERS), headers={"content-type": media})
        assert answer.status_code == 201, answer.text


@pytest.mark.requirement("R7591-37", "D-10")
@pytest.mark.parametrize("media", [None, "", "application/x-www-form-urlencoded", "text/plain", "application/jwt"])
async def test_other_media_types_are_refused(media: str | None) -> None:
    """Without application/json the answer is 415, as JSON."""
    headers = {} if media is None else {"content-type": media}
    async with served() as server:
        answer = await server.client.post("/register", content=json.dumps(MEMBERS).encode(), headers=headers)
        refused(answer, "invalid_request", status=415)


@pytest.mark.requirement("R7591-37")
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD"])
async def test_only_post_registers(method: str) -> None:
    """Other methods at the registration endpoint are 405 with Allow: POST."""
    async with served() as server:
        answer = await server.client.request(method, "/register")
        assert answer.status_code == 405
        assert "POST" in [word.strip() for word in answer.headers["allow"].split(",")]
        assert answer.headers["cache-control"] == "no-cache, no-store"
        options = await server.client.options("/register")
        assert (options.status_code, options.headers["allow"]) == (204, "POST, OPTIONS")


@pytest.mark.requirement("D-10")
async def test_a_body_that_is_too_large_is_413() -> None:
    """A body over the limit is refused before it is read as JSON, with or without an honest Content-Length."""

    async def in_pieces() -> Any:
        for _ in range(100):
            yield b" " * 1024

    async with served() as server:
        refused(await post(server, {**MEMBERS, "client_name": "x" * 70_000}), "invalid_request", status=413)
        headers = {"content-type": "application/json"}
        streamed = await server.client.post("/register", content=in_pieces(), headers=headers)
        refused(streamed, "invalid_request", status=413)


# --- redirect URIs, grants and response types ---------------------------------------------------------------------------


@pytest.mark.requirement("R7591-3", "R7591-4", "SEED-55", "SEED-36", "WILD-20")
async def test_redirect_grants_need_redirect_uris_and_others_do_not() -> None:
    """Omitted or empty redirect_uris are invalid_redirect_uri with the code grant, and fine for a machine."""
    async with served() as server:
        for redirects in ({}, {"redirect_uris": None}, {"redirect_uris": []}):
            answer = await post(server, {"client_name": "Reader", **redirects})
            refused(answer, "invalid_redirect_uri", "redirect_uris")
            both = {"grant_types": ["client_credentials", "authorization_code"], **redirects}
            refused(await post(server, both), "invalid_redirect_uri", "redirect_uris")
        machine = await register(server, MACHINE)
        assert "redirect_uris" not in machine
        assert "authorization_code" in server.issuer.metadata()["grant_types_supported"]
        assert (await register(server))["redirect_uris"] == MEMBERS["redirect_uris"]


@pytest.mark.requirement("R7591-61", "WILD-1", "WILD-18", "R7591-58")
@pytest.mark.parametrize(
    "uri",
    [
        "http://example.com/cb",
        "http://localhost.evil.example/cb",
        "http://127.0.0.1.nip.io/cb",
        "http://[::ffff:127.0.0.1]/cb",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "blob:https://a.example/x",
        "about:blank",
        "vbscript:x",
        "ftp://a.example/cb",
        "ws://a.example/cb",
        "https://a.example/cb#x",
        "https://a.example/cb#",
        "https://good.example@evil.example/cb",
        "/relative",
        "https://a.example/*",
        "",
    ],
)
async def test_dangerous_redirect_uris_are_refused(uri: str) -> None:
    """Each is invalid_redirect_uri, and one bad URI among good ones refuses the whole registration."""
    async with served() as server:
        members = {**PUBLIC, "redirect_uris": ["https://app.example/cb", uri]}
        refused(await post(server, members), "invalid_redirect_uri", "redirect_uris[1]")
        assert not await server.registry.store.clients(ClientQuery())


@pytest.mark.requirement("D-7", "OIDC-37", "R7591-61", "D-1", "D-2")
@pytest.mark.parametrize("application_type", ["web", "native"])
async def test_redirect_uris_are_kept_byte_for_byte(application_type: str) -> None:
    """https, http on this machine and private-use schemes pass, in the order and the spelling in which they came."""
    uris = [
        "https://app.example",
        "https://app.example/",
        "https://APP.example/%7Eme?a=b&a=c",
        "http://localhost:9000/callback",
        "http://127.0.0.1/cb",
        "http://[::1]:4000/cb",
        "com.example.app:/cb",
        "cursor://anysphere.cursor-mcp/oauth/callback",
    ]
    async with served() as server:
        client = await register(server, {"redirect_uris": uris, "application_type": application_type})
        assert client["redirect_uris"] == uris
        assert (await manage(server, client)).json()["redirect_uris"] == uris


@pytest.mark.requirement("R7591-23", "D-6", "WILD-19", "OIDC-2")
@pytest.mark.parametrize(
    ("grants", "types"),
    [
        (["authorization_code"], ["token"]),
        (["authorization_code"], ["id_token"]),
        (["authorization_code"], ["code token"]),
        (["authorization_code", "refresh_token"], ["none"]),
        (["implicit"], ["code"]),
        (["implicit"], ["token"]),
    ],
)
async def test_grants_and_response_types_that_contradict_are_refused(grants: list[str], types: list[str]) -> None:
    """A response type without its grant is invalid_client_metadata."""
    async with served() as server:
        answer = await post(server, {**MEMBERS, "grant_types": grants, "response_types": types})
        refused(answer, "invalid_client_metadata")


@pytest.mark.requirement("D-6", "R7591-9", "R7591-23")
async def test_a_machine_has_no_response_types() -> None:
    """["code"] is the default only with the code grant; a gateway's moot ["code"] is dropped and told."""
    async with served() as server:
        assert "response_types" not in await register(server, MACHINE)
        assert "response_types" not in await register(server, {**MACHINE, "response_types": ["code"]})
        changed = [one for event in await events(server) for one in event.get("findings", ())]
        assert "offered.moot_response_types" in [one["rule"] for one in changed]
        assert (await register(server))["response_types"] == ["code"]


@pytest.mark.requirement("D-11", "WILD-9", "R7591-10", "R7591-21", "BASE-14", "BASE-15")
async def test_lists_keep_what_is_supported_and_single_values_are_refused() -> None:
    """Unsupported grants are dropped and the rest is registered and told; nothing left is an error."""
    asked = [
        "password",
        "authorization_code",
        "implicit",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
    ]
    async with served() as server:
        client = await register(server, {**MEMBERS, "grant_types": asked})
        assert client["grant_types"] == ["authorization_code", "refresh_token"]
        (event,) = await events(server, "client.registered")
        (dropped,) = [one for one in event["findings"] if one["member"] == "grant_types"]
        assert (dropped["verdict"], dropped["before"], dropped["after"]) == ("changed", asked, client["grant_types"])
        refused(await post(server, {**MEMBERS, "grant_types": ["password"]}), "invalid_client_metadata", "grant_types")
        for name, value in {
            "token_endpoint_auth_method": "client_secret_magic",
            "id_token_signed_response_alg": "RS999",
            "subject_type": "secret",
            "token_endpoint_auth_signing_alg": "none",
        }.items():
            refused(await post(server, {**MEMBERS, name: value}), "invalid_client_metadata", name)


@pytest.mark.requirement("R7591-7", "R7591-60")
async def test_every_published_authentication_method_registers_and_no_other() -> None:
    """Each published method is echoed; a short name that nobody registered is refused."""
    more: dict[str, dict[str, Any]] = {
        "private_key_jwt": {"jwks": {"keys": [P256]}},
        "self_signed_tls_client_auth": {"jwks_uri": "https://app.example/jwks"},
        "tls_client_auth": {"tls_client_auth_san_dns": "app.example"},
    }
    async with served() as server:
        methods = server.issuer.metadata()["token_endpoint_auth_methods_supported"]
        # The registry of RFC 7591 §4.2, whole: RFC 7591 §2, OpenID Connect Core §9 and RFC 8705 §2.
        assert set(methods) == {"none", "client_secret_post", "client_secret_basic", "client_secret_jwt", *more}
        for method in methods:
            members = {**MEMBERS, "token_endpoint_auth_method": method, **more.get(method, {})}
            assert (await register(server, members))["token_endpoint_auth_method"] == method
        for method in ("secret", "https://method.example/odd", "client_secret_basic "):
            answer = await post(server, {**MEMBERS, "token_endpoint_auth_method": method})
            refused(answer, "invalid_client_metadata", "token_endpoint_auth_method")


# --- the other members ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7591-13")
@pytest.mark.parametrize("name", ["client_uri", "logo_uri", "tos_uri", "policy_uri", "client_uri#fr", "logo_uri#de"])
async def test_pages_are_absolute_web_urls(name: str) -> None:
    """A URL for people is http or https with a host; its translations too."""
    async with served() as server:
        for bad in (
            "javascript:alert(1)",
            "data:image/png;base64,AA",
            "/logo.png",
            "https://",
            "ftp://a.example/x",
            "x",
        ):
            refused(await post(server, {**MEMBERS, name: bad}), "invalid_client_metadata", name)
        for good in ("https://app.example/x?y#z", "http://localhost:9000"):
            assert (await register(server, {**MEMBERS, name: good}))[name] == good


@pytest.mark.requirement("R7591-14", "WILD-10", "OIDC-37")
async def test_scope_is_words_of_the_catalogue() -> None:
    """Repetitions collapse, unknown words are dropped and told, and what is no scope at all is refused."""
    async with served() as server:
        client = await register(server, {**MEMBERS, "scope": "openid admin  email openid"})
        assert client["scope"] == "openid email"
        (event,) = await events(server, "client.registered")
        assert (event["requested_scope"], event["scope"]) == ("openid admin  email openid", "openid email")
        assert "scope" in [one["member"] for one in event["findings"] if one["verdict"] == "changed"]
        for bad in ('a"b', "a\\b", "a\tb", "é"):
            refused(await post(server, {**MEMBERS, "scope": bad}), "invalid_client_metadata", "scope")


@pytest.mark.requirement("D-16", "SEED-71", "SEED-85", "R7591-42", "WILD-10", "DISC-14")
async def test_the_default_scope_is_configured_and_small() -> None:
    """Without a registrable scope the configured default is registered and echoed; dcr and operators' scopes never."""
    tables = """
[issuer.main.scopes]
catalogue = ["openid", "email", "clients:write", "dcr"]
operator = ["clients:write"]
default = ["openid"]
"""
    async with served(configured(tables=tables)) as server:
        for asked in ({}, {"scope": ""}, {"scope": "dcr"}, {"scope": "clients:write nonsense"}):
            assert (await register(server, {**MEMBERS, **asked}))["scope"] == "openid"
        assert (await register(server, {**MEMBERS, "scope": "email dcr clients:write"}))["scope"] == "email"
        assert server.issuer.metadata()["scopes_supported"] == ["openid", "email"]
    async with served() as server:
        assert "scope" not in await register(server)


@pytest.mark.requirement("R7591-15")
async def test_contacts_are_strings() -> None:
    """Contacts need not be e-mail addresses (RFC 7591 is wider than OpenID Connect here)."""
    async with served() as server:
        contacts = ["ops@example.com", "https://example.com/support", "+44 20 7946 0000"]
        assert (await register(server, {**MEMBERS, "contacts": contacts}))["contacts"] == contacts


@pytest.mark.requirement("R7591-16", "D-15", "OIDC-11")
async def test_keys_come_from_one_place() -> None:
    """Members jwks and jwks_uri together are refused; jwks_uri alone is https."""
    async with served() as server:
        both = {**MEMBERS, "jwks": {"keys": [P256]}, "jwks_uri": "https://app.example/jwks"}
        refused(await post(server, both), "invalid_client_metadata", "jwks")
        refused(
            await post(server, {**MEMBERS, "jwks_uri": "http://app.example/jwks"}),
            "invalid_client_metadata",
            "jwks_uri",
        )
        uri = await register(server, without(both, "jwks"))
        value = await register(server, without(both, "jwks_uri"))
        assert (uri["jwks_uri"], "jwks" in uri) == ("https://app.example/jwks", False)
        assert (value["jwks"], "jwks_uri" in value) == ({"keys": [P256]}, False)


@pytest.mark.requirement("R7591-17", "OIDC-14")
@pytest.mark.parametrize(
    "bad",
    [
        "{}",
        {},
        {"keys": {}},
        {"keys": []},
        {"keys": ["x"]},
        {"keys": [{}]},
        {"keys": [{"kty": "EC", "crv": "P-256", "x": P256["x"]}]},
        {"keys": [{**P256, "y": P256["x"]}]},
        {"keys": [{**P256, "crv": "P-255"}]},
        {"keys": [{**P256, "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}]},
        {"keys": [{"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMko"}]},
        {"keys": [{**P256, "kid": "1"}, {**P256, "kid": "1"}]},
    ],
    ids=json.dumps,
)
async def test_jwks_is_a_valid_set_of_public_keys(bad: Any) -> None:
    """Not a set, a broken point, a private or symmetric key, two keys of one kid: each is refused."""
    async with served() as server:
        refused(await post(server, {**MEMBERS, "jwks": bad}), "invalid_client_metadata")
        for event in await events(server):
            assert "jpsQnnGQmL" not in json.dumps(event)
            assert "AyM1SysPpb" not in json.dumps(event)


@pytest.mark.requirement("R7591-19")
async def test_software_members_are_opaque() -> None:
    """software_id and software_version come back as they were, and the same pair registers again."""
    software = {"software_id": "4NRB1-0XZABZI9E6-5SM3R", "software_version": "01.0 "}
    async with served() as server:
        first = await register(server, {**MEMBERS, **software})
        again = await register(server, {**MEMBERS, **software})
        assert {name: first[name] for name in software} == {name: again[name] for name in software} == software


@pytest.mark.requirement("R7591-25", "OIDC-34")
async def test_translations_round_trip() -> None:
    """`name#tag` is registered, answered and read under the same key, beside the untagged value."""
    names = {
        "client_name#ja-Jpan-JP": "クライアント名",
        "client_name#fr-CA": "Lecteur",
        "tos_uri#fr": "https://app.example/conditions",
        "policy_uri#de": "https://app.example/datenschutz",
    }
    async with served() as server:
        client = await register(server, {**MEMBERS, **names})
        assert {name: client[name] for name in names} == names
        assert client["client_name"] == "Reader"
        read = (await manage(server, client)).json()
        assert {name: read[name] for name in names} == names


@pytest.mark.requirement("R7591-26")
async def test_language_tags_differ_by_more_than_case() -> None:
    """The same tag in another case is the same member twice."""
    names = {"client_name#ja-Jpan-JP": "a", "client_name#JA-jpan-jp": "b"}
    async with served() as server:
        refused(await post(server, {**MEMBERS, **names}), "invalid_client_metadata", "client_name#JA-jpan-jp")


@pytest.mark.requirement("R7591-27")
async def test_what_is_no_translation_is_unknown() -> None:
    """A suffix that is no language tag, or a tag on a member that no person reads, is ignored."""
    odd = {"client_name#": "a", "client_name#not a tag": "b", "client_name#123456789": "c", "grant_types#fr": ["x"]}
    async with served() as server:
        assert not set(odd) & set(await register(server, {**MEMBERS, **odd}))


@pytest.mark.requirement("R7591-11", "OIDC-46", "R7591-28")
async def test_no_name_is_invented_or_transformed() -> None:
    """Without client_name there is none in the answer; a name comes back code point by code point."""
    async with served() as server:
        assert "client_name" not in await register(server, without(MEMBERS, "client_name"))
        name = "Cafe\u0301 <b>&amp; 読者"
        assert (await register(server, {**MEMBERS, "client_name": name}))["client_name"] == name


@pytest.mark.requirement("R7591-45")
async def test_statements_have_no_effect_where_they_are_not_served() -> None:
    """A software statement is ignored, takes no precedence and is not returned."""
    statement = "eyJhbGciOiJub25lIn0.eyJjbGllbnRfbmFtZSI6IkV2aWwifQ."
    async with served() as server:
        client = await register(server, {**MEMBERS, "software_statement": statement})
        assert client["client_name"] == "Reader"
        assert "software_statement" not in client


@pytest.mark.requirement("OIDC-31", "OIDC-32")
async def test_urls_for_the_authorization_server_are_https() -> None:
    """initiate_login_uri and request_uris are https; the fragment of a request_uri is a digest, and stays."""
    uris = ["https://app.example/request.jwt#GkurKxf5T0Y-mnPFCHqWOMiZi4VS138cQO_V7PZHAdM", "https://app.example/two"]
    async with served() as server:
        for name, bad in (("initiate_login_uri", "http://app.example/"), ("request_uris", ["http://app.example/r"])):
            body = refused(await post(server, {**MEMBERS, name: bad}), "invalid_client_metadata")
            assert body["faults"][0]["member"].partition("[")[0] == name
        good = {"initiate_login_uri": "https://app.example/login", "request_uris": uris}
        client = await register(server, {**MEMBERS, **good})
        assert {name: client[name] for name in good} == good


@pytest.mark.requirement("SEED-1")
async def test_the_requests_of_both_specifications_are_answered() -> None:
    """One endpoint registers what the IETF's members say and what OpenID Connect's say, each as it was asked."""
    oauth = {
        "redirect_uris": ["https://client.example.org/callback", "https://client.example.org/callback2"],
        "client_name": "My Example Client",
        "client_name#ja-Jpan-JP": "\u30af\u30e9\u30a4\u30a2\u30f3\u30c8\u540d",
        "token_endpoint_auth_method": "client_secret_basic",
        "logo_uri": "https://client.example.org/logo.png",
        "jwks_uri": "https://client.example.org/my_public_keys.jwks",
    }
    openid = oauth | {
        "application_type": "native",
        "subject_type": "pairwise",
        "id_token_signed_response_alg": "ES256",
        "userinfo_encrypted_response_alg": "RSA-OAEP-256",
        "userinfo_encrypted_response_enc": "A128CBC-HS256",
        "default_max_age": 3600,
        "contacts": ["ve7jtb@example.org", "mary@example.org"],
        "request_uris": ["https://client.example.org/rf.txt#qpXaRLh_n93TTR9F252ValdatUQvQiJi5BDub2BeznA"],
    }
    async with served() as server:
        for members in (oauth, openid):
            client = await register(server, members)
            assert {name: client.get(name) for name in members} == members
            assert (await manage(server, client)).json() == client


@pytest.mark.requirement("SEED-78")
async def test_registration_is_only_registration() -> None:
    """It has an endpoint of its own, gives no token, and neither stands in metadata nor takes an identifier for a document."""
    async with served() as server:
        metadata = server.issuer.metadata()
        endpoints = [url for name, url in metadata.items() if name.endswith(("_endpoint", "jwks_uri"))]
        assert len(set(endpoints)) == len(endpoints) > 5
        more = {"grant_type": "client_credentials", "consent": True, "client_id": "https://app.example/client.json"}
        client = await register(server, {**MEMBERS, **more})
        assert not {"access_token", "id_token", "refresh_token", "grant_type", "consent"} & set(client)
        assert "://" not in client["client_id"]
        assert server.issuer.metadata() == metadata
        assert not {"client_id_metadata_document_supported", "resource", "client_id"} & set(metadata)
        assert (await server.client.get("/.well-known/oauth-protected-resource")).status_code == 404


# --- the answer -------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7591-47", "R7591-59", "R7592-30", "WILD-4", "OIDC-41", "SEED-44")
async def test_success_is_201_json_that_nobody_stores() -> None:
    """Status, media type and cache headers of a registration, and no name of the server's software."""
    async with served() as server:
        answer = await post(server)
        assert answer.status_code == 201
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache, no-store"
        assert answer.headers["pragma"] == "no-cache"
        assert not {"x-powered-by", "server", "set-cookie"} & set(answer.headers)
        assert isinstance(answer.json(), dict)
        assert "error" not in answer.json()


@pytest.mark.requirement("R7591-5", "R7591-8", "R7591-9", "R7591-42", "R7591-52", "OIDC-4", "OIDC-18", "OIDC-21")
async def test_defaults_are_registered_and_answered() -> None:
    """Every default of the specifications stands in the answer and in a read."""
    defaults = {
        "token_endpoint_auth_method": "client_secret_basic",
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "application_type": "web",
        "subject_type": "public",
        "id_token_signed_response_alg": "RS256",
        "require_auth_time": False,
        "require_signed_request_object": False,
    }
    async with served() as server:
        client = await register(server)
        assert {name: client[name] for name in defaults} == defaults
        assert len(client["client_secret"]) >= 43
        read = (await manage(server, client)).json()
        assert {name: read[name] for name in defaults} == defaults


@pytest.mark.requirement("R7591-6", "SEED-37", "WILD-16", "AUTHM-1")
async def test_a_public_client_has_no_secret_members() -> None:
    """With `none` neither client_secret nor client_secret_expires_at is a key of the answer."""
    async with served() as server:
        client = await register(server, PUBLIC)
        assert not {"client_secret", "client_secret_expires_at"} & set(client)
        assert client["token_endpoint_auth_method"] == "none"
        assert not {"client_secret", "client_secret_expires_at"} & set((await manage(server, client)).json())
        keyed = {**MEMBERS, "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [P256]}}
        assert "client_secret" not in await register(server, keyed)


@pytest.mark.requirement("R7591-50", "WILD-2")
async def test_a_secret_says_when_it_ends() -> None:
    """client_secret_expires_at is an integer whenever there is a secret: 0, or seconds since 1970."""
    async with served() as server:
        client = await register(server)
        assert client["client_secret_expires_at"] == 0
        assert type(client["client_secret_expires_at"]) is int
    async with served(configured(tables="[issuer.main.client_secret]\nlifetime = 3600")) as server:
        assert (await register(server))["client_secret_expires_at"] == server.clock.now + 3600


@pytest.mark.requirement("R7591-51", "SEED-49")
async def test_the_answer_says_when_the_identifier_was_issued() -> None:
    """client_id_issued_at is now, in whole seconds, and stays."""
    async with served(clock=FrozenClock(1_663_687_515_999)) as server:
        client = await register(server)
        assert client["client_id_issued_at"] == 1_663_687_515
        server.clock.advance(3600)
        assert (await manage(server, client)).json()["client_id_issued_at"] == 1_663_687_515


@pytest.mark.requirement(
    "R7591-41", "R7591-48", "R7591-49", "D-13", "SEED-3", "SEED-50", "SEED-52", "SEED-60", "OIDC-39", "OIDC-52"
)
async def test_identifiers_and_secrets_are_unique_and_long() -> None:
    """Of a thousand equal registrations none shares an identifier, a secret or a token, and each has its entropy."""
    async with served() as server:
        clients = [await register(server) for _ in range(1_000)]
    for name in ("client_id", "client_secret", "registration_access_token"):
        assert len({client[name] for client in clients}) == len(clients)
    for client in clients:
        assert re.fullmatch(r"[A-Za-z0-9_\-]{21,}", client["client_id"])
        assert re.fullmatch(r"[A-Za-z0-9_\-]{86}", client["client_secret"])
        assert re.fullmatch(r"[A-Za-z0-9_\-]{43}", client["registration_access_token"])


@pytest.mark.requirement("R7591-41", "R7591-44", "BASE-25")
async def test_server_members_in_a_request_have_no_effect() -> None:
    """A client chooses none of what the server issues, and no internal flag reaches the record."""
    own = {
        "client_id": "admin",
        "client_secret": "mine",
        "client_id_issued_at": 1,
        "client_secret_expires_at": 1,
        "registration_access_token": "mine",
        "registration_client_uri": "https://evil.example/",
        "state": "deleted",
        "assurance": "operator",
        "policy": "none",
        "issuer": "other",
    }
    async with served() as server:
        client = await register(server, {**MEMBERS, **own})
        assert not [name for name, value in own.items() if client.get(name) == value]
        assert (await manage(server, client, token="mine")).status_code == 401
        stored = await server.registry.store.find("main", client["client_id"])
        assert stored is not None
        assert (stored.state, stored.policy, stored.admission.assurance) == ("active", "default", "open")
        assert not set(own) & set(stored.metadata)


@pytest.mark.requirement("R7591-53", "WILD-3")
@pytest.mark.parametrize("name", PAYLOADS)
async def test_unset_members_are_absent(name: str) -> None:
    """No answer to a real client holds null, an empty string, or an array that is empty by accident."""
    payload = PAYLOADS[name]
    async with served() as server:
        answer = await post(server, payload["request"])
        if not registers(payload, answer):
            return
        empty = {name for name, value in answer.json().items() if value in (None, "", [], {})}
        assert empty <= {"request_uris", "post_logout_redirect_uris"}


@pytest.mark.requirement("R7591-53", "WILD-3")
@pytest.mark.parametrize("empty", [None, "", []], ids=["null", "an empty string", "an empty array"])
async def test_null_and_empty_mean_omitted(empty: Any) -> None:
    """Whatever member is sent empty, and even all of them at once, the answer is as if it had not been sent."""
    issued = ("client_id", "client_secret", "registration_client_uri", "registration_access_token")
    names = {row.name for row in WRITABLE} | {"client_name#fr", "logo_uri#de"}
    async with served() as server:
        plain = without(await register(server, MACHINE), *issued)
        emptied = dict.fromkeys(names, empty) | MACHINE
        answer = await post(server, emptied)
        assert answer.status_code == 201, answer.text
        assert without(answer.json(), *issued) == plain


@pytest.mark.requirement("R7591-55", "WILD-17", "OIDC-25")
@pytest.mark.parametrize(
    "members",
    [
        {"token_endpoint_auth_method": "client_secret_jwt"},
        {"id_token_signed_response_alg": "HS256"},
        {"userinfo_signed_response_alg": "HS512"},
        {"request_object_signing_alg": "HS256"},
        {"id_token_encrypted_response_alg": "dir"},
        {"request_object_encryption_alg": "A256KW"},
    ],
    ids=str,
)
async def test_a_secret_is_issued_where_it_is_a_key(members: dict[str, str]) -> None:
    """Symmetric algorithms get their secret even where the client authenticates with its own key."""
    keyed = {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [P256]}}
    async with served() as server:
        client = await register(server, {**MEMBERS, **keyed, **members})
        assert len(client["client_secret"]) == 86
        assert client["client_secret_expires_at"] == 0
        assert (await manage(server, client)).json()["client_secret"] == client["client_secret"]


@pytest.mark.requirement("OIDC-53", "OIDC-47")
async def test_public_clients_have_no_symmetric_keys() -> None:
    """`none` with an algorithm that is keyed by a secret is refused."""
    async with served() as server:
        answer = await post(server, {**PUBLIC, "id_token_signed_response_alg": "HS256"})
        refused(answer, "invalid_client_metadata", "id_token_signed_response_alg")


@pytest.mark.requirement("R7591-41", "SEED-39")
async def test_registration_grants_nothing() -> None:
    """A fresh client holds no grant that it did not ask for, and its credentials open no other endpoint."""
    async with served() as server:
        client = await register(server)
        assert "client_credentials" not in client["grant_types"]
        basic = (client["client_id"], client["client_secret"])
        token = await server.client.post("/token", data={"grant_type": "client_credentials"}, auth=basic)
        refused(token, "unauthorized_client")


# --- refusals ---------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7591-57", "R7591-58", "OIDC-42", "WILD-18")
async def test_a_refusal_is_ascii_json_that_names_every_fault() -> None:
    """All faults come at once, in ASCII whatever was sent, and a bad redirect URI names the error."""
    async with served() as server:
        bad = {
            "redirect_uris": ["http://é.example/\u202e"],
            "client_uri": 'é\\"',
            "subject_type": "ünknown",
            "scope": 5,
        }
        answer = await post(server, bad)
        body = refused(answer, "invalid_redirect_uri", "redirect_uris[0]")
        assert {fault["member"] for fault in body["faults"]} == {
            "redirect_uris[0]",
            "client_uri",
            "subject_type",
            "scope",
        }
        assert answer.content.isascii()
        said = [body["error_description"], *(fault["reason"] for fault in body["faults"])]
        assert all(re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", text) for text in said), said
        answer = await post(server, {**MEMBERS, "client_uri": "é"})
        refused(answer, "invalid_client_metadata", "client_uri")


@pytest.mark.requirement("R7591-56", "R7591-39", "OIDC-36", "BASE-30", "BASE-31", "BASE-32")
async def test_a_bad_initial_access_token_is_a_bearer_error() -> None:
    """Not a registration error: 401 with a challenge, which names an error only where a token was presented."""
    async with served(configured("client")) as server:
        missing = await post(server)
        refused(missing, "invalid_token", status=401)
        assert missing.headers["www-authenticate"].startswith("Bearer ")
        assert "error" not in missing.headers["www-authenticate"]
        wrong = await post(server, token="wrong")
        refused(wrong, "invalid_token", status=401)
        assert 'error="invalid_token"' in wrong.headers["www-authenticate"]
        value, _ = await issue(server, kind="client")
        assert (await post(server, token=value)).status_code == 201


@pytest.mark.requirement("R7591-59")
async def test_no_error_may_be_stored_either() -> None:
    """Cache-Control and Pragma stand on every refusal of the registration endpoint."""
    async with served(configured("client")) as server:
        value, _ = await issue(server, kind="client", max_uses=0)
        headers = {"content-type": "text/plain", "authorization": f"Bearer {value}"}
        answers = [
            await post(server),
            await post(server, {}, value),
            await post(server, [], value),
            await server.client.post("/register", content=b"x", headers=headers),
            await server.client.get("/register"),
            await server.client.post("/nowhere"),
        ]
        assert [answer.status_code for answer in answers] == [401, 400, 400, 415, 405, 404]
        for answer in answers:
            assert answer.headers["cache-control"] == "no-cache, no-store"
            assert answer.headers["pragma"] == "no-cache"


@pytest.mark.requirement("R7591-38", "R7592-1")
async def test_an_https_issuer_is_served_over_tls_only() -> None:
    """A request that came in the clear is refused, at the registration and at the configuration endpoint."""
    async with served(configured(url="https://as.example")) as server:
        client = await register(server)
        plain = await server.client.post("http://as.example/register", json=MEMBERS)
        refused(plain, "invalid_request")
        uri = client["registration_client_uri"].replace("https:", "http:")
        headers = {"authorization": f"Bearer {client['registration_access_token']}"}
        refused(await server.client.get(uri, headers=headers), "invalid_request")
        forwarded = {"x-forwarded-proto": "https"}
        refused(
            await server.client.post("http://as.example/register", json=MEMBERS, headers=forwarded), "invalid_request"
        )


@pytest.mark.requirement("R7591-38", "R7592-1", "DISC-6")
@pytest.mark.parametrize(
    "text",
    [
        '[server]\nhost = "0.0.0.0"\n[issuer.main]\nurl = "https://as.example"',
        '[issuer.main]\nurl = "http://as.example"',
        '[issuer.main]\nurl = "https://as.example?x=y"',
        '[issuer.main]\nurl = "https://as.example#x"',
        '[issuer.main]\nurl = "https://as.example/"',
        '[issuer.main]\nurl = "https://user@as.example"',
        '[issuer.main]\nurl = ""',
    ],
)
def test_a_configuration_without_tls_is_not_taken(text: str) -> None:
    """Listening in the clear beyond this machine, and an issuer that is not a plain https URL, are refused at start."""
    with pytest.raises(ConfigurationError):
        parse(Document("test", text))


class _Failing(MemoryStore):
    """A store whose writes of clients fail while it is told so."""

    fails = True

    async def create(
        self, client: Client, event: Event, spend: Spend | None = None, changes: Sequence[Change] = ()
    ) -> None:
        if self.fails:
            raise StoreUnavailable("the disk is full")
        await super().create(client, event, spend, changes)


@pytest.mark.requirement("R7591-72")
async def test_a_failed_write_leaves_nothing_behind() -> None:
    """No half-registered client, no event, and the token still has its one use."""
    store = _Failing()
    async with served(configured("client"), store=store) as server:
        value, _ = await issue(server, kind="client")
        answer = await post(server, token=value)
        refused(answer, "temporarily_unavailable", status=503)
        assert int(answer.headers["retry-after"]) > 0
        assert not await store.clients(ClientQuery())
        assert not await events(server, "client.registered")
        store.fails = False
        assert (await post(server, token=value)).status_code == 201
        assert (await post(server, token=value)).status_code == 401
