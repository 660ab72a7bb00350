"""Whatever reaches an endpoint, it is answered with a 4xx that says why, and nothing has changed."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from registrar.domain.errors import RegistrationError
from registrar.domain.metadata import MEMBERS, Role
from registrar.domain.server_metadata import ENDPOINTS, PAGES
from registrar.domain.settings import Server
from registrar.http import wire
from registrar.http.application import create_app, routes
from registrar.service.ports import ClientQuery, EventQuery
from registrar.testing import Served, served

pytestmark = pytest.mark.anyio

JSON: Final = [(b"content-type", b"application/json")]
URIS: Final = ["https://app.example/callback"]
_BOUNDS: Final = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


@dataclass(frozen=True)
class Reply:
    """What the application sent."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Target:
    """A server that has one client, and the way to it."""

    server: Served
    registered: dict[str, Any]
    limits: Server = Server()

    @property
    def path(self) -> str:
        """The path of the client's configuration endpoint."""
        return f"/register/{self.registered['client_id']}"

    @property
    def bearer(self) -> tuple[bytes, bytes]:
        """The header that manages the client."""
        return (b"authorization", f"Bearer {self.registered['registration_access_token']}".encode())

    async def ask(
        self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]] = (), *body: bytes, query: bytes = b""
    ) -> Reply:
        """Send a request as a server hands it over: nothing between the test and the application repairs it."""
        chunks = list(body or [b""])
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if not chunks:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "path": path,
            "query_string": query,
            "root_path": "",
            "headers": list(headers),
            "client": ("192.0.2.7", 4711),
        }
        await create_app(self.server.registry, self.limits)(scope, receive, send)
        start, end = sent
        names = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        return Reply(start["status"], names, end["body"])

    async def remembered(self) -> Any:
        """Everything that a request could change, but for the audit."""
        store = self.server.registry.store
        return (await store.clients(ClientQuery()), await store.tokens(), await store.keys("main"))

    async def refused(
        self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]] = (), *body: bytes, query: bytes = b""
    ) -> Reply:
        """Send a request that must be refused with a 4xx in JSON that nobody stores, and must change nothing."""
        before = await self.remembered()
        reply = await self.ask(method, path, headers, *body, query=query)
        assert 400 <= reply.status < 500, reply
        assert reply.headers["content-type"] == "application/json; charset=utf-8"
        assert reply.headers["cache-control"] == "no-cache, no-store"
        if method != "HEAD":
            members = json.loads(reply.body)
            assert reply.body.isascii()
            assert members["error"]
            assert members["error_description"]
        assert await self.remembered() == before
        return reply


@asynccontextmanager
async def target(limits: Server = Server()) -> AsyncIterator[Target]:  # noqa: B008 (a frozen value)
    """Serve, and register the client that must stay as it is."""
    async with served() as server:
        answer = await server.client.post("/register", json={"redirect_uris": URIS, "client_name": "Bystander"})
        assert answer.status_code == 201
        yield Target(server, answer.json(), limits)


# --- bodies -----------------------------------------------------------------------------------------------------------


def _with(member: bytes) -> bytes:
    """A body that would be registered, or taken as an update, were it not for one member."""
    return b'{"redirect_uris": ["https://app.example/callback"], "client_id": "@", ' + member + b"}"


BAD_BODIES: Final = {
    "nothing": b"",
    "space": b" \r\n\t ",
    "null": b"null",
    "true": b"true",
    "number": b"12",
    "text": b'"redirect_uris"',
    "array": b'[{"redirect_uris": ["https://app.example/callback"]}]',
    "form": b"redirect_uris=https%3A%2F%2Fapp.example%2Fcallback",
    "xml": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
    "cut short": _with(b'"a": 1')[:-1],
    "trailing junk": _with(b'"a": 1') + b"x",
    "two objects": _with(b'"a": 1') * 2,
    "trailing NUL": _with(b'"a": 1') + b"\0",
    "trailing comma": _with(b'"a": 1,'),
    "comment": _with(b'"a": 1 /* one */'),
    "single quotes": _with(b"'a': 1"),
    "bare name": _with(b"a: 1"),
    "NaN": _with(b'"a": NaN'),
    "Infinity": _with(b'"a": Infinity'),
    "-Infinity": _with(b'"a": {"b": [-Infinity]}'),
    "beyond every float": _with(b'"a": 1e999'),
    "below every float": _with(b'"a": [-1.5E+400]'),
    "10,000 digits": _with(b'"a": ' + b"9" * 10_000),
    "leading zero": _with(b'"a": 01'),
    "plus sign": _with(b'"a": +1'),
    "hexadecimal": _with(b'"a": 0x10'),
    "member twice": _with(b'"redirect_uris": ["https://evil.example/callback"]'),
    "member twice, escaped": _with(b'"redirect\\u005furis": ["https://evil.example/callback"]'),
    "member twice inside": _with(b'"a": {"b": 1, "b": 1}'),
    "member twice deep inside": _with(b'"a": [[{"b": {"c": 1, "d": 2, "c": 3}}]]'),
    "no UTF-8": _with(b'"client_name": "\xff\xfe"'),
    "Latin-1": _with('"client_name": "Grün"'.encode("latin-1")),
    "overlong": _with(b'"client_name": "\xc0\xaf"'),
    "surrogate in UTF-8": _with(b'"client_name": "\xed\xa0\x80"'),
    "UTF-8 cut short": b'{"client_name": "\xe2\x82',
    "BOM": b"\xef\xbb\xbf" + _with(b'"a": 1'),
    "UTF-16 with BOM": _with(b'"a": 1').decode().encode("utf-16"),
    "UTF-16-LE": _with(b'"a": 1').decode().encode("utf-16-le"),
    "UTF-16-BE": _with(b'"a": 1').decode().encode("utf-16-be"),
    "UTF-32": _with(b'"a": 1').decode().encode("utf-32"),
    "high surrogate": _with(b'"a": "\\ud800"'),
    "low surrogate": _with(b'"a": ["\\udfff"]'),
    "surrogates reversed": _with(b'"a": "\\ude00\\ud83d"'),
    "surrogate in a name": _with(b'"client_name#\\ud800": "a"'),
    "raw NUL": _with(b'"client_name": "a\0b"'),
    "raw newline": _with(b'"client_name": "a\nb"'),
    "bad escape": _with(b'"client_name": "\\x41"'),
    "deep arrays": b"[" * 60_000,
    "deep objects": b'{"a":' * 10_000,
    "deep and closed": _with(b'"a": ' + b"[" * 20_000 + b"]" * 20_000),
    "wide": _with(b'"a": [' + b"[]," * 10_000 + b"[]]"),
    "gzip": gzip.compress(_with(b'"a": 1')),
}


@pytest.mark.requirement("R7591-43", "D-10", "R7592-11", "R7592-30")
@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
async def test_what_is_not_one_json_object_is_refused(body: bytes) -> None:
    """Neither endpoint takes a body that two readers could understand differently, or not at all."""
    async with target() as aim:
        of_the_client = body.replace(b'"@"', f'"{aim.registered["client_id"]}"'.encode())
        for method, path, headers in (("POST", "/register", JSON), ("PUT", aim.path, [*JSON, aim.bearer])):
            reply = await aim.refused(method, path, headers, of_the_client)
            assert reply.status == 400
            assert json.loads(reply.body)["error"] == "invalid_client_metadata"
            assert [fault["member"] for fault in json.loads(reply.body)["faults"]] == ["body"]


@pytest.mark.requirement("D-10")
@pytest.mark.parametrize("body", [[b"x" * 10_000_000], [b"x" * 100_000] * 100, [b" "] * 70_000, [b"{}", b" " * 65_536]])
@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_that_is_too_large_is_refused(body: list[bytes], announced: bool) -> None:
    """10 MB in one piece or in many, with its length announced or not, is 413, and the connection is not used again."""
    headers = [*JSON, (b"content-length", str(sum(map(len, body))).encode())] if announced else JSON
    async with target() as aim:
        for method, path, more in (("POST", "/register", []), ("PUT", aim.path, [aim.bearer])):
            reply = await aim.refused(method, path, [*headers, *more], *body)
            assert reply.status == 413
            assert reply.headers["connection"] == "close"


async def test_a_length_that_is_announced_is_not_waited_for() -> None:
    """A body announced as too large is refused before any of it is read."""
    async with target() as aim:
        for length in (b"65537", b"9" * 5_000):
            reply = await aim.refused("POST", "/register", [*JSON, (b"content-length", length)], b"{}")
            assert reply.status == 413


@pytest.mark.requirement("META-1")
@pytest.mark.parametrize("count", [21, 2_000, 10_000])
async def test_thousands_of_redirect_uris_are_refused(count: int) -> None:
    """A registration holds twenty redirect URIs; ten thousand are one fault, not ten thousand."""
    body = json.dumps({"redirect_uris": [f"https://a.example/{n}" for n in range(count)]}).encode()
    async with target(Server(body_bytes=1_000_000)) as aim:
        reply = await aim.refused("POST", "/register", JSON, body)
        assert (reply.status, json.loads(reply.body)["error"]) == (400, "invalid_redirect_uri")
        assert len(reply.body) < 1_000


async def test_an_update_that_is_interrupted_changes_nothing() -> None:
    """A caller that goes away while its body is read has asked for nothing."""
    async with target() as aim:
        before = await aim.remembered()
        messages = [{"type": "http.request", "body": b'{"client_id"', "more_body": True}, {"type": "http.disconnect"}]
        sent: list[Any] = []

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "PUT", "scheme": "http", "path": aim.path, "query_string": b""}
        await create_app(aim.server.registry)({**scope, "headers": [*JSON, aim.bearer]}, receive, send)
        assert sent[0]["status"] == 400
        assert await aim.remembered() == before


# --- members ------------------------------------------------------------------------------------------------------------

_WRONG: Final[dict[str, list[Any]]] = {
    "string": [0, 1.5, True, False, {}, {"a": 1}, ["a"]],
    "URL": [
        0,
        True,
        {"a": 1},
        ["https://app.example/"],
        "app.example",
        "//app.example",
        "javascript:alert(1)",
        "https:",
    ],
    "array of strings": ["a", 0, True, {"0": "a"}, [1], [None], [["a"]], [{}], ["a", False]],
    "array of URLs": [
        "https://app.example/",
        1,
        {"a": 1},
        [1],
        [None],
        [["https://app.example/"]],
        ["javascript:alert(1)"],
    ],
    "boolean": ["true", "false", 0, 1, {"a": 1}, ["a"]],
    "integer": ["1", 1.5, True, -1, 2**31, 10**60, 1e300, [1], {"a": 1}],
    "object": ["{}", 1, True, [1], ["a"], [{}]],
}
_CLIENTS: Final = [name for name, row in MEMBERS.items() if row.role is Role.CLIENT and not row.feature]


@pytest.mark.requirement("R7591-2", "R7591-58", "OIDC-47")
@pytest.mark.parametrize("name", _CLIENTS)
async def test_a_member_of_another_type_is_refused(name: str) -> None:
    """Each member has one JSON type, and nothing is converted into it."""
    async with target() as aim:
        for value in _WRONG[MEMBERS[name].type]:
            body = {"redirect_uris": URIS, "client_id": aim.registered["client_id"], name: value}
            for method, path, headers in (("POST", "/register", JSON), ("PUT", aim.path, [*JSON, aim.bearer])):
                reply = await aim.refused(method, path, headers, json.dumps(body).encode())
                members = json.loads(reply.body)
                assert members["error"] == (
                    "invalid_redirect_uri" if name == "redirect_uris" else "invalid_client_metadata"
                )
                assert {fault["member"].partition("[")[0] for fault in members["faults"]} == {name}


@pytest.mark.requirement("META-5", "META-64", "META-65")
@pytest.mark.parametrize(
    "character", ["\0", "\x07", "\x1b", "\x7f", "\x85", "\u200b", "\u202e", "\u2028", "\u2066", "\ufeff"]
)
@pytest.mark.parametrize(
    "name", ["client_name", "client_name#fr", "organization_name", "description", "software_id", "software_version"]
)
async def test_text_that_hides_or_reorders_is_refused(name: str, character: str) -> None:
    """What people read holds no control or direction-override character, escaped or not, and no message repeats one."""
    async with target() as aim:
        for value in (f"Bank{character}", f"{character}Bank", f"Ba{character}nk"):
            body = json.dumps({"redirect_uris": URIS, name: value}).encode()
            reply = await aim.refused("POST", "/register", JSON, body)
            assert [fault["member"] for fault in json.loads(reply.body)["faults"]] == [name]


# --- headers ------------------------------------------------------------------------------------------------------------

GOOD: Final = json.dumps({"redirect_uris": URIS}).encode()


@pytest.mark.requirement("R7591-36")
@pytest.mark.parametrize(
    "value",
    [
        b"application/json",
        b"application/json; charset=utf-8",
        b'Application/JSON ; Charset="UTF-8"',
        b"application/json;charset=utf8",
        b"application/json; profile=x",
    ],
)
async def test_json_is_taken_however_its_media_type_is_written(value: bytes) -> None:
    """The media type is compared without regard to case, and parameters that mean UTF-8 or nothing do no harm."""
    async with target() as aim:
        assert (await aim.ask("POST", "/register", [(b"content-type", value)], GOOD)).status == 201


@pytest.mark.requirement("R7591-37", "D-10", "R7592-11")
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-type", b"")],
        [(b"content-type", b"*/*")],
        [(b"content-type", b"text/plain")],
        [(b"content-type", b"text/json")],
        [(b"content-type", b"application/jsonp")],
        [(b"content-type", b"application/ld+json")],
        [(b"content-type", b"application/jwt")],
        [(b"content-type", b"application/json, text/plain")],
        [(b"content-type", b"application/x-www-form-urlencoded")],
        [(b"content-type", b"multipart/form-data; boundary=x")],
        [(b"content-type", b"\xff\x00")],
        [(b"content-type", b"a" * 100_000)],
        [(b"content-type", b"application/json; charset=utf-16")],
        [(b"content-type", b"application/json; charset=iso-8859-1")],
        [(b"content-type", b"application/json; profile=x; charset=utf-7")],
        [(b"content-type", b"application/json; charset=utf-8; charset=utf-16")],
        [*JSON, (b"content-encoding", b"gzip")],
        [*JSON, (b"content-encoding", b"br")],
        [*JSON, (b"content-encoding", b"identity, gzip")],
        [*JSON, (b"content-encoding", b"unknown")],
    ],
)
async def test_another_media_type_or_coding_is_415(headers: list[tuple[bytes, bytes]]) -> None:
    """Only JSON in UTF-8 as it is; a body is never unpacked, so that a small one cannot become a large one."""
    async with target() as aim:
        body = gzip.compress(GOOD) if (b"content-encoding", b"gzip") in headers else GOOD
        update = json.dumps({"redirect_uris": URIS, "client_id": aim.registered["client_id"]}).encode()
        assert (await aim.refused("POST", "/register", headers, body)).status == 415
        assert (await aim.refused("PUT", aim.path, [*headers, aim.bearer], update)).status == 415


@pytest.mark.requirement("BASE-32", "R7592-3")
@pytest.mark.parametrize("name", ["authorization", "content-type", "content-length", "content-encoding"])
async def test_a_repeated_header_is_refused(name: str) -> None:
    """Which of two values counts is a matter of taste, and requests are smuggled by it; even two equal ones are refused."""
    async with target() as aim:
        values = {
            "authorization": aim.bearer[1],
            "content-type": b"application/json",
            "content-length": str(len(GOOD)).encode(),
            "content-encoding": b"identity",
        }
        once = [(header.encode(), value) for header, value in values.items()]
        for value in (values[name], b"x", b""):
            for method, path in (("POST", "/register"), ("GET", aim.path), ("PUT", aim.path), ("DELETE", aim.path)):
                reply = await aim.refused(method, path, [*once, (name.encode(), value)], GOOD)
                assert (reply.status, json.loads(reply.body)["error"]) == (400, "invalid_request")


MALFORMED_TOKENS: Final = [
    b"Bearer",
    b"bearer ",
    b"Bearer   ",
    b"Bearer\ttoken",
    b"Bearer token\t",
    b"Bearer a b",
    b"Bearer a,b",
    b"Bearer a, Bearer b",
    b"Bearer Bearer a",
    b'Bearer "a"',
    b"Bearer =",
    b"Bearer a=b",
    b"Bearer a\0",
    b"Bearer a\r\nx-injected: 1",
    b"Bearer \xff\xfe",
    "Bearer gr\u00fcn".encode(),
    b"Bearer token=\xe2\x80\xae",
    b"Bearer " + b"a," * 50_000,
]
UNKNOWN_TOKENS: Final = [
    b"Bearer a",
    b"BEARER  A  ",
    b"Bearer null",
    b"Bearer undefined",
    b"Bearer -",
    b"Bearer ../../etc/passwd",
    b"Bearer " + b"a" * 100_000,
    b"Bearer " + b"A" * 43,
]


@pytest.mark.requirement("BASE-30", "BASE-32", "SEED-27", "R7592-7")
@pytest.mark.parametrize("value", [*MALFORMED_TOKENS, *UNKNOWN_TOKENS], ids=lambda value: ascii(value[:24]))
async def test_a_bearer_token_that_is_none_is_refused(value: bytes) -> None:
    """A malformed token is 400 and an unknown one 401, each with a challenge, wherever tokens are taken, even if open."""
    status, error = (400, "invalid_request") if value in MALFORMED_TOKENS else (401, "invalid_token")
    async with target() as aim:
        for method, path in (("POST", "/register"), ("GET", aim.path), ("PUT", aim.path), ("DELETE", aim.path)):
            reply = await aim.refused(method, path, [*JSON, (b"authorization", value)], GOOD)
            assert (reply.status, json.loads(reply.body)["error"]) == (status, error)
            challenge = reply.headers["www-authenticate"]
            assert challenge.startswith('Bearer realm="registration", ')
            assert f'error="{error}"' in challenge
            assert challenge.isprintable()


@pytest.mark.requirement("R7592-7", "BASE-31", "BASE-33", "R7592-3")
async def test_a_registration_access_token_counts_in_its_place_and_its_form_alone() -> None:
    """Not in the query, not in the body, not as another scheme, not in another case, not with anything around it."""
    async with target() as aim:
        token = aim.registered["registration_access_token"].encode()
        update = {"redirect_uris": URIS, "client_id": aim.registered["client_id"], "access_token": token.decode()}
        body = json.dumps(update).encode()
        for method in ("GET", "PUT", "DELETE"):
            form = [(b"content-type", b"application/x-www-form-urlencoded")]
            for query in (b"access_token=" + token, b"x=1&access_token=" + token, b"access_token="):
                assert (await aim.refused(method, aim.path, JSON, b"", query=query)).status == 400
                assert (await aim.refused(method, aim.path, [*JSON, aim.bearer], b"", query=query)).status == 400
            reply = await aim.refused(method, aim.path, form, b"access_token=" + token)
            assert reply.status == (415 if method == "PUT" else 401)
            reply = await aim.refused(method, aim.path, JSON, body)
            assert reply.status == 401
            assert reply.headers["www-authenticate"] == 'Bearer realm="registration"'
            for value in (b"Basic " + token, b"DPoP " + token, token, b"Bearer" + token, b""):
                assert (await aim.refused(method, aim.path, [*JSON, (b"authorization", value)], body)).status == 401
            for value in (token.swapcase(), token + b"=", token[:-1], token + b"A", b"." + token):
                credentials = (b"authorization", b"Bearer " + value)
                assert (await aim.refused(method, aim.path, [*JSON, credentials], body)).status == 401


# --- paths and methods ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("OIDC-45", "R7592-8", "R7592-10", "WILD-6")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_client_id_that_is_none_is_refused(method: str) -> None:
    """One segment that names no client is 401 as any other; what is no single segment is no path here."""
    async with target() as aim:
        known = aim.registered["client_id"]
        unknown = ["", ".", "..", "%2e%2e", "\0", f"{known}\0", f" {known}", f"{known} ", known.swapcase(), "*", "%"]
        unknown += [
            "\ufffd",
            "\u202e",
            "\U0001f512",
            "' OR 1=1 --",
            "a" * 100_000,
            f"{known}%00",
            f"{known};x",
            known[:-1],
        ]
        for client_id in unknown:
            assert (await aim.refused(method, f"/register/{client_id}", [*JSON, aim.bearer], GOOD)).status == 401
        for tail in (f"{known}/", f"../{known}", f"{known}/{known}", f"/{known}", "a/b/c", f"./{known}", "\\/"):
            assert (await aim.refused(method, f"/register/{tail}", [*JSON, aim.bearer], GOOD)).status == 404


async def test_an_endless_client_id_does_not_fill_the_audit() -> None:
    """What a stranger writes into the path is kept to a bounded length in the record of its refusal."""
    async with target() as aim:
        await aim.refused("GET", f"/register/{'a' * 100_000}", [aim.bearer])
        events = await aim.server.registry.store.events(EventQuery(kind="registration.refused"))
        assert [len(stored.event.body) < 2_000 for stored in events] == [True]


@pytest.mark.requirement("R7591-37", "R7592-2")
async def test_a_method_that_a_path_does_not_have_is_405() -> None:
    """Every route names its methods in Allow; HEAD is a GET without a body, OPTIONS answers and does nothing."""
    async with target() as aim:
        table = {path: set(route.methods) | {"OPTIONS"} for path, route in routes(aim.server.issuer).items()}
        table[aim.path] = table.pop("/register/")
        table["/healthz"] = table["/readyz"] = {"GET", "HEAD"}
        for path, allowed in table.items():
            for method in (
                "GET",
                "HEAD",
                "POST",
                "PUT",
                "PATCH",
                "DELETE",
                "TRACE",
                "CONNECT",
                "PROPFIND",
                "post",
                "A" * 999,
                "",
            ):
                if method in allowed:
                    continue
                reply = await aim.refused(method, path, [*JSON, aim.bearer], GOOD)
                assert reply.status == 405
                assert set(reply.headers["allow"].split(", ")) == allowed
                assert (reply.body == b"") is (method == "HEAD")
            before = await aim.remembered()
            reply = await aim.ask("OPTIONS", path, [aim.bearer])
            assert reply.status == (204 if "OPTIONS" in allowed else 405)
            assert set(reply.headers["allow"].split(", ")) == allowed
            if "HEAD" in allowed:
                got, head = await aim.ask("GET", path), await aim.ask("HEAD", path)
                assert (head.status, head.headers, head.body) == (got.status, got.headers, b"")
            assert await aim.remembered() == before


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "*",
        "//",
        "/registe",
        "/registerx",
        "//register",
        "/REGISTER",
        "/./register",
        "/\0",
        "/.env",
    ],
)
async def test_a_path_that_is_not_served_is_404(path: str) -> None:
    """No path is guessed, resolved or repaired."""
    async with target() as aim:
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
            reply = await aim.refused(method, path, JSON, GOOD)
            assert (reply.status, json.loads(reply.body)["error"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/register", "/healthz", "/nothing"])
async def test_a_websocket_is_closed(path: str) -> None:
    """There is nothing for a websocket to talk to."""
    async with target() as aim:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await create_app(aim.server.registry)({"type": "websocket", "path": path, "headers": []}, receive, send)
        assert [message["type"] for message in sent] == ["websocket.close"]


TWO_HOSTS: Final = """
[server]
database = "memory:"
[issuer.one]
url = "http://127.0.0.1:8000"
registration.mode = "open"
[issuer.two]
url = "http://localhost:8000"
registration.mode = "open"
"""


async def test_a_repeated_host_chooses_no_issuer() -> None:
    """Where the host tells two issuers apart, a request has exactly one (RFC 9112 §3.2)."""
    async with served(TWO_HOSTS) as server:
        aim = Target(server, {})
        for hosts in (["127.0.0.1:8000", "localhost:8000"], ["localhost:8000", "evil.example"]):
            reply = await aim.refused("POST", "/register", [*JSON, *((b"host", host.encode()) for host in hosts)], GOOD)
            assert reply.status == 400
        for hosts in ([], [""], ["evil.example"], ["localhost:8000.evil.example"]):
            reply = await aim.refused("POST", "/register", [*JSON, *((b"host", host.encode()) for host in hosts)], GOOD)
            assert reply.status == 404


# --- anything at all ------------------------------------------------------------------------------------------------------

_TEXT: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_NUMBERS: Final = st.integers(-(10**62), 10**62) | st.floats(allow_nan=False, allow_infinity=False)
_VALUES: Final = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)
_OBJECTS: Final = st.dictionaries(_TEXT, _VALUES, max_size=6)
_TOKENS: Final = [
    *'{}[],:"\\ \n\t',
    *("true", "false", "null", "NaN", "Infinity", "-", "0", "1", "12", "1.5", "1e3", "1E999", "0.0e-1", "9" * 65),
    *('"a"', '"b"', '"a":', '"\\u0061":', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\n"', '"\x00"', "{}", "[]", '{"a":1}'),
    *("\ufeff", "\u2028", "é", "😀", "/**/", "'"),
]


def _strictly(body: bytes) -> Any:
    """What the standard library makes of a body that is one strict object; None for every other body."""
    finite = True

    def number(digits: str) -> float:
        nonlocal finite
        finite = finite and math.isfinite(float(digits))
        return float(digits)

    def constant(_: str) -> float:
        nonlocal finite
        finite = False
        return 0.0

    def integer(digits: str) -> int:
        nonlocal finite
        finite = finite and len(digits) <= 64
        return int(digits)

    def members(pairs: list[tuple[str, Any]]) -> Any:
        nonlocal finite
        finite = finite and len({name for name, _ in pairs}) == len(pairs)
        return dict(pairs)

    try:
        text = body.decode("utf-8")
        value = json.loads(
            text, object_pairs_hook=members, parse_constant=constant, parse_float=number, parse_int=integer
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except ValueError:
        return None
    if not finite or not isinstance(value, dict) or body.count(b"[") + body.count(b"{") > 256:
        return None
    return value


def _agrees(body: bytes) -> None:
    expected = _strictly(body)
    if expected is None:
        with pytest.raises(RegistrationError):
            wire.read_object(body)
    else:
        assert wire.read_object(body) == expected


@pytest.mark.requirement("R7591-43")
@_BOUNDS
@given(_OBJECTS, st.booleans(), st.sampled_from([None, 1, "\t"]), st.sampled_from(["", " ", "\r\n\t "]))
def test_every_strict_object_is_read_as_json_loads_reads_it(
    value: dict[str, Any], ascii_only: bool, indent: Any, space: str
) -> None:
    """However an object is written, the reader gives exactly its members."""
    body = (space + json.dumps(value, ensure_ascii=ascii_only, indent=indent) + space).encode()
    assume(body.count(b"[") + body.count(b"{") <= 256)
    assert wire.read_object(body) == value


@pytest.mark.requirement("R7591-43")
@_BOUNDS
@given(st.lists(st.sampled_from(_TOKENS), max_size=14))
def test_pieces_of_json_in_any_order_are_read_or_refused(pieces: list[str]) -> None:
    """Nothing but RegistrationError comes out of the reader, and never for an object that is strict."""
    _agrees("".join(pieces).encode("utf-8", "surrogatepass"))


@pytest.mark.requirement("R7591-43")
@_BOUNDS
@given(_OBJECTS, st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=2), st.integers(0, 3)), max_size=3))
def test_damaged_json_is_read_or_refused(value: dict[str, Any], damage: list[tuple[int, bytes, int]]) -> None:
    """An object with bytes replaced, inserted or lost is either still one strict object or refused."""
    body = json.dumps(value).encode()
    for at, inserted, lost in damage:
        where = at % (len(body) + 1)
        body = body[:where] + inserted + body[where + lost :]
    _agrees(body)


@pytest.mark.requirement("R7591-43")
@_BOUNDS
@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """The reader is total."""
    _agrees(body)


_ELSEWHERE: Final = {*ENDPOINTS.values(), *PAGES.values()} - {ENDPOINTS["jwks_uri"]}
"""The authorization server and its pages, which have their own tests."""
_HEADER_VALUES: Final = st.sampled_from(
    [
        b"application/json",
        b"application/json; charset=utf-8",
        b"text/plain",
        b"Bearer a",
        b"Bearer",
        b"Basic a",
        b"gzip",
    ]
) | st.binary(max_size=20)
_HEADERS: Final = st.lists(
    st.tuples(
        st.sampled_from([b"content-type", b"authorization", b"content-length", b"content-encoding", b"host", b"origin"])
        | st.binary(min_size=1, max_size=10).map(bytes.lower),
        _HEADER_VALUES,
    ),
    max_size=4,
)
_LIKELY: Final = st.sampled_from(
    [
        "none",
        "private_key_jwt",
        "code",
        "web",
        "RS256",
        "HS256",
        "dir",
        "openid",
        "https://a.example/",
        "http://[::1]:1/x",
    ]
)
_MEMBERS: Final = st.dictionaries(
    st.sampled_from(list(MEMBERS)) | st.sampled_from(["client_name#fr", "client_name#", "zzz"]),
    _VALUES | _LIKELY | st.lists(_LIKELY, max_size=3) | st.fixed_dictionaries({"keys": st.lists(_VALUES, max_size=2)}),
    max_size=6,
)
_BODIES: Final = (
    st.binary(max_size=40)
    | _VALUES.map(lambda value: json.dumps(value).encode())
    | _MEMBERS.map(lambda value: json.dumps({"redirect_uris": URIS, **value}).encode())
)


@pytest.mark.requirement("R7591-72", "R7592-22")
@settings(_BOUNDS, max_examples=150)
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]) | _TEXT,
    path=st.sampled_from(["/register", "@", "/register/a", "/jwks", "/healthz", "/.well-known/openid-configuration"])
    | _TEXT.map(lambda text: f"/{text}"),
    query=st.sampled_from([b"", b"access_token=a"]) | st.binary(max_size=12),
    plain=st.booleans(),
    known=st.booleans(),
    headers=_HEADERS,
    body=st.lists(_BODIES, min_size=1, max_size=2),
)
async def test_no_request_is_answered_with_a_server_error(
    method: str,
    path: str,
    query: bytes,
    plain: bool,
    known: bool,
    headers: list[tuple[bytes, bytes]],
    body: list[bytes],
) -> None:
    """Any method, path, query, headers and body: what is answered with an error is 4xx and has changed nothing."""
    async with target() as aim:
        path = aim.path if path == "@" else path
        assume(path not in _ELSEWHERE)
        sent = [*(JSON if plain else headers), *([aim.bearer] if known else [])]
        before = await aim.remembered()
        reply = await aim.ask(method, path, sent, *body, query=query)
        assert reply.status < 500
        if reply.status >= 400:
            assert method == "HEAD" or json.loads(reply.body)["error"]
            assert await aim.remembered() == before


@pytest.mark.requirement("R7591-52", "R7591-53")
@settings(_BOUNDS, max_examples=150)
@given(members=_MEMBERS)
async def test_whatever_is_registered_is_whole(members: dict[str, Any]) -> None:
    """Any members give a clean refusal or a registration that reads back byte for byte and can be put again."""
    async with target() as aim:
        reply = await aim.ask("POST", "/register", JSON, json.dumps({"redirect_uris": URIS, **members}).encode())
        assert reply.status in (201, 400)
        if reply.status == 400:
            assert json.loads(reply.body)["faults"]
            return
        registered = json.loads(reply.body)
        there = Target(aim.server, registered)
        assert [name for name, value in registered.items() if value is None or value == ""] == []
        assert (await there.ask("GET", there.path, [there.bearer])).body == reply.body
        forbidden = {
            "registration_access_token",
            "registration_client_uri",
            "client_secret_expires_at",
            "client_id_issued_at",
        }
        again = {name: value for name, value in registered.items() if name not in forbidden}
        put = await there.ask("PUT", there.path, [*JSON, there.bearer], json.dumps(again).encode())
        assert (put.status, json.loads(put.body)) == (200, registered)
