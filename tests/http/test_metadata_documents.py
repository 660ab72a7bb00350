"""Client ID Metadata Documents from real servers, over TLS and through the guard; and what operators do about them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from far_server import Far, answering, certified, far
from registering import bearer

from listening import Serve
from registrar.domain.access_token import Kind
from registrar.service import document_administration, initial_access, known_documents
from registrar.service.operators import Refused, Unknown
from registrar.service.ports import EventQuery
from registrar.testing import Documents, Served, served
from registrar.testing.authority import Authority

pytestmark = pytest.mark.anyio

URL = "https://app.example/client.json"


def body(url: str, **members: Any) -> bytes:
    """A document."""
    given = {"client_id": url, "client_name": "Reader", "redirect_uris": ["https://app.example/cb"], **members}
    return json.dumps(given).encode()


class Tls:
    """A private authority, and a server's side of TLS."""

    def __init__(self, folder: Path) -> None:
        authority = Authority()
        self.ca_file = str(authority.write(folder))
        self.context: ssl.SSLContext = certified(authority, folder, "localhost")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """One for the module."""
    return Tls(tmp_path_factory.mktemp("authority"))


@asynccontextmanager
async def believing(
    tls: Tls, answer: Serve | bytes, *, allowed: bool = True, also: str = "", more: str = ""
) -> AsyncIterator[tuple[Served, Far, str]]:
    """A server of documents, an issuer that believes them, and the URL of one."""
    async with far(answer, tls.context) as there:
        origin = f"https://localhost:{there.port}"
        allow = json.dumps([one for one in (origin if allowed else "", also) if one])
        configuration = f"""
[server]
database = "memory:"
[server.fetch]
ca_file = "{tls.ca_file}"
allow = {allow}
seconds = 0.5
{more}
[issuer.main]
url = "http://127.0.0.1:8000"
[issuer.main.metadata_documents]
enabled = true
"""
        async with served(configuration) as server:
            yield server, there, f"{origin}/client.json"


async def begin(server: Served, url: str) -> Any:
    """What a client is answered that begins something."""
    return await server.client.post("/par", data={"client_id": url})


def met(answer: Any) -> bool:
    """Whether the client was believed, and only what it asks for is not in order."""
    return bool(answer.json()["error"] != "invalid_client")


@pytest.mark.requirement("DISC-22")
async def test_a_document_from_a_real_server(tls: Tls) -> None:
    """Fetched over TLS, kept, and asked for again with its entity tag, which needs no body."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = there.requests[-1].lower()
        whole = answering(body(url), 'ETag: "1"', "Cache-Control: max-age=100", kind="application/client+json")
        writer.write(b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n' if 'if-none-match: "1"' in said else whole)
        await writer.drain()

    async with believing(tls, answer) as (server, there, url):
        for seconds in (0, 99, 2):
            server.clock.advance(seconds)
            assert met(await begin(server, url))
        known = await known_documents.stored(server.registry, server.issuer, url)

        assert len(there.requests) == 2
        assert "if-none-match" not in there.requests[0].lower()
        assert known is not None
        # The second answer said nothing of how long it counts, so the operator's word does.
        assert known.document.fresh_until == server.clock.now + 300
        assert known.document.etag == '"1"'


async def hanging(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """A server that never answers."""
    await asyncio.sleep(60)


HOSTILE: dict[str, tuple[Serve | bytes, str]] = {
    "a redirect": (answering(b"", "Location: https://app.example/c", status="302 Found"), "redirects are not followed"),
    "not modified": (answering(b"", status="304 Not Modified"), "304"),
    "forbidden": (answering(b"{}", status="403 Forbidden"), "403"),
    "html": (answering(b"<html>", kind="text/html"), "media type"),
    "no media type": (answering(b"{}", kind=""), "media type"),
    "javascript": (answering(b"{}", kind="application/javascript"), "media type"),
    "too large": (answering(b'{"a":"' + b"b" * 5_200 + b'"}'), "larger than 5120 bytes"),
    "compressed": (answering(b"{}", "Content-Encoding: gzip"), "content coding"),
    "endless": (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b" " * 200_000, "larger than"),
    "slow": (hanging, "within 0.5 seconds"),
    "no HTTP": (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
}


@pytest.mark.requirement("DISC-22")
@pytest.mark.parametrize("name", HOSTILE)
async def test_servers_that_give_no_document(tls: Tls, name: str) -> None:
    """The request ends there with the reason, nothing is remembered, and the next one a moment later asks nobody."""
    answer, reason = HOSTILE[name]
    async with believing(tls, answer) as (server, there, url):
        refused = await begin(server, url)

        assert refused.status_code == 401
        assert refused.json()["faults"][0]["rule"] == "document.fetched"
        assert reason in refused.json()["faults"][0]["reason"]
        assert not met(await begin(server, url))
        assert there.connections == 1
        assert await known_documents.stored(server.registry, server.issuer, url) is None


@pytest.mark.requirement("DISC-22", "WILD-7")
async def test_addresses_that_are_not_public(tls: Tls) -> None:
    """Loopback is fetched from only where the operator names the origin, and inner networks never are."""
    async with believing(tls, answering(b"{}"), allowed=False) as (server, there, url):
        for one in (url, "https://10.0.0.1/c", "https://169.254.169.254/latest/c", "https://[::1]/c"):
            refused = await begin(server, one)
            assert "no public address" in refused.text
        assert there.connections == 0


async def test_slow_documents_keep_nothing_else_from_being_fetched(tls: Tls) -> None:
    """Their way is one of its own: with all its turns taken, a key set is fetched as if nothing were under way."""
    taken = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.set()
        await hanging(reader, writer)

    async with far(answering(b'{"keys": []}')) as keys:
        origin = f"http://127.0.0.1:{keys.port}"
        async with believing(tls, answer, more="at_once = 1", also=origin) as (server, _, url):
            slow = [asyncio.create_task(begin(server, f"{url}{at}")) for at in range(3)]
            await taken.wait()

            assert await server.registry.key_sets.keys(f"{origin}/jwks") == ()

            assert not any(one.done() for one in slow)
            assert [met(one) for one in await asyncio.gather(*slow)] == [False] * 3


# --- operators ------------------------------------------------------------------------------------------------------------

ON = """
[server]
database = "memory:"
[issuer.main]
url = "http://127.0.0.1:8000"
admin_api = true
[issuer.main.metadata_documents]
enabled = true
policy = "looked"
[policy.looked]
extends = ["default"]
[policy.looked.review]
grants = ["urn:ietf:params:oauth:grant-type:device_code"]
"""


@asynccontextmanager
async def operated() -> AsyncIterator[tuple[Served, Documents]]:
    """An issuer that knows one document, and the web."""
    web = Documents({URL: body(URL)})
    async with served(ON, fetch=web) as server:
        assert met(await begin(server, URL))
        yield server, web


async def told(server: Served, kind: str) -> list[dict[str, Any]]:
    """The events of a kind."""
    return [json.loads(one.event.body) for one in await server.registry.store.events(EventQuery(kind=kind))]


async def test_blocked_and_allowed_again() -> None:
    """A blocked client may do nothing and is not fetched; allowed again, it is fetched when it comes."""
    async with operated() as (server, web):
        at = (server.registry, server.issuer, server.operator)
        blocked = await document_administration.block(*at, URL, "it imitates another")
        server.clock.advance(10_000)

        answer = await begin(server, URL)

        assert (answer.status_code, answer.json()["error"]) == (403, "access_denied")
        assert web.fetched == [URL]
        assert blocked.state == "blocked"
        with pytest.raises(Refused, match="blocked already"):
            await document_administration.block(*at, URL)
        assert (await document_administration.allow(*at, URL, reason="a mistake")).state == "believed"
        assert met(await begin(server, URL))
        assert web.fetched == [URL, URL]
        with pytest.raises(Refused, match="neither blocked nor held"):
            await document_administration.allow(*at, URL)
        (event,) = await told(server, "document.blocked")
        assert (event["reason"], event["actor"], event["client_id"]) == ("it imitates another", "operator", URL)
        assert [one["reason"] for one in await told(server, "document.allowed")] == ["a mistake"]


async def test_one_that_nobody_has_seen_is_blocked_before_it_comes() -> None:
    """By its URL; what could be no client's is refused."""
    async with operated() as (server, web):
        at = (server.registry, server.issuer, server.operator)
        await document_administration.block(*at, "https://evil.example/c")

        assert (await begin(server, "https://evil.example/c")).status_code == 403

        assert web.fetched == [URL]
        with pytest.raises(Refused, match="has no path"):
            await document_administration.block(*at, "https://evil.example")
        with pytest.raises(Unknown, match="named by its URL"):
            await document_administration.block(*at, "evil")


async def test_held_until_somebody_has_looked() -> None:
    """By the policy's review, as a registration would be; allowed by the digest of what was looked at, and nothing else."""
    async with operated() as (server, web):
        at = (server.registry, server.issuer, server.operator)
        grants = ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"]
        web.documents[URL] = body(URL, grant_types=grants)
        server.clock.advance(301)
        assert "waits for its operator" in (await begin(server, URL)).text
        (row,) = [one async for one in document_administration.every(server.registry, server.issuer)]
        assert (row.state, row.id) == ("held", hashlib.sha256(URL.encode()).hexdigest())

        with pytest.raises(Refused, match="by the digest"):
            await document_administration.allow(*at, URL, digest="another")
        allowed = await document_administration.allow(*at, row.id, digest=row.digest)

        assert allowed.state == "believed"
        assert met(await begin(server, URL))


async def test_forgotten_with_all_that_was_allowed() -> None:
    """It comes again as if it had never been."""
    async with operated() as (server, web):
        at = (server.registry, server.issuer, server.operator)
        assert await document_administration.forget(*at, URL, "gone") == URL
        with pytest.raises(Unknown):
            await document_administration.find(server.registry, server.issuer, URL)
        assert met(await begin(server, URL))
        assert web.fetched == [URL, URL]
        assert len(await told(server, "document.accepted")) == 2


async def test_over_http_with_a_token_for_clients() -> None:
    """Whoever may administer clients may administer these, and nobody else; a name in a path is the digest of the URL."""
    async with operated() as (server, _):
        right, wrong = [
            (
                await initial_access.issue_token(
                    server.registry, server.issuer, server.operator, kind=Kind.OPERATOR, scope=(scope,), max_uses=0
                )
            )[0]
            for scope in ("admin.clients", "admin.policies")
        ]
        listed = await server.client.get("/admin/api/documents", headers=bearer(str(right)))
        (row,) = listed.json()["documents"]
        at = f"/admin/api/documents/{row['id']}"

        assert (row["client_id"], row["state"]) == (URL, "believed")
        assert (await server.client.get(at, headers=bearer(str(wrong)))).status_code == 403
        assert (await server.client.post(f"{at}/block", json={}, headers=bearer(str(right)))).json()[
            "state"
        ] == "blocked"
        again = await server.client.post(f"{at}/block", json={}, headers=bearer(str(right)))
        assert again.status_code == 409
        assert (await server.client.delete(at, headers=bearer(str(right)))).status_code == 204
        assert (await server.client.get(at, headers=bearer(str(right)))).status_code == 404


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('policy = "none"', "there is no policy none"),
        ('policy = "brazil-open-finance"', "demands evidence"),
        ('hosts = ["https://app.example"]', "is no host"),
        ('address = "often"', "rate"),
        ("bytes = 0", "more than 0"),
        ("fresh_seconds = 10", "do not get smaller"),
        ("hard_seconds = 10", "do not get smaller"),
    ],
)
async def test_settings_that_could_not_work(settings: str, said: str) -> None:
    """They keep the server from starting, with the line."""
    text = ON.replace('policy = "looked"', settings if "policy" in settings else f'policy = "looked"\n{settings}')
    with pytest.raises(Exception, match=said):
        async with served(text):
            pass
