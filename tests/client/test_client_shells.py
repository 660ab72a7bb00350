"""The clients: both kinds over the same flows, with a store, against an issuer in memory."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from ssl import CERT_NONE, create_default_context
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import httpx2
import pytest

from registrar.client import (
    ClientInformation,
    CredentialsNotSaved,
    CredentialStoreError,
    FileCredentialStore,
    IssuerMismatch,
    ManagementNotOffered,
    MetadataInvalid,
    MetadataNotFound,
    ProtocolError,
    RegistrationClient,
    RegistrationLost,
    RegistrationNotOffered,
    RequestInvalid,
    ServerMetadata,
    SyncRegistrationClient,
    TemporarilyUnavailable,
    Unreachable,
)

if TYPE_CHECKING:
    from conftest import FakeIssuer

pytestmark = pytest.mark.anyio

ISSUER = "https://as.example.com"
METADATA = {"client_name": "Example", "redirect_uris": ["https://client.example.org/cb"]}
WELL_KNOWN = "/.well-known/oauth-authorization-server"
CONFIGURATION = "/register/s6BhdRkqt3"

Connect = Callable[..., Any]
Settled = Callable[[Any], Awaitable[Any]]


def rotating(members: dict[str, Any], living: list[str]) -> Callable[[httpx2.Request], httpx2.Response]:
    """Answers only to the living token, and gives a new one each time, in the answer."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.headers["authorization"] != f"Bearer {living[-1]}":
            return httpx2.Response(401)
        living.append(f"token-{len(living) + 1}")
        sent = json.loads(request.content) if request.content else {}
        return httpx2.Response(200, json={**members, **sent, "registration_access_token": living[-1]})

    return answer


@pytest.mark.requirement("SEED-54", "SEED-40")
async def test_whole_life(connect: Connect, settled: Settled, issuer: FakeIssuer) -> None:
    """A client discovers, registers, reads, updates and deletes, each with the right request."""
    client = connect(issuer)

    metadata = await settled(client.discover(ISSUER))
    information = await settled(client.register(metadata, METADATA, initial_access_token="iat"))
    read = await settled(client.read(information))
    updated = await settled(client.update(read, client_name="New", **{"client_name#fr": "Neuf"}))
    await settled(client.delete(updated))

    assert issuer.asked == [
        f"GET {WELL_KNOWN}",
        "POST /register",
        f"GET {CONFIGURATION}",
        f"GET {CONFIGURATION}",
        f"PUT {CONFIGURATION}",
        f"DELETE {CONFIGURATION}",
    ]
    assert [issuer.token_of(number) for number in range(6)] == [None, "Bearer iat", *["Bearer token-1"] * 4]
    assert updated.members["client_name"] == "New"
    assert updated.members["client_name#fr"] == "Neuf"


async def test_requests_carry_nothing_else(connect: Connect, settled: Settled, issuer: FakeIssuer) -> None:
    """No cookie that a server sets comes back to it, and no compressed answer is asked for."""
    document = {"issuer": ISSUER, "registration_endpoint": f"{ISSUER}/register"}
    cookie = {"set-cookie": "_interaction=1; Path=/"}
    issuer.answers["GET", WELL_KNOWN] = httpx2.Response(200, json=document, headers=cookie)
    client = connect(issuer)

    await settled(client.register(ISSUER, METADATA))

    for request in issuer.requests:
        assert "cookie" not in request.headers
        assert request.headers["accept-encoding"] == "identity"
        assert request.headers["user-agent"] == "registrar-client"


async def test_contexts_close() -> None:
    """Both clients close their connections at the end of a with block."""
    async with RegistrationClient() as client:
        pass
    with SyncRegistrationClient() as sync_client:
        pass

    assert client._http.is_closed
    assert sync_client._http.is_closed


def test_made_outside_a_loop(issuer: FakeIssuer) -> None:
    """An asynchronous client may be made before its loop runs."""
    client = RegistrationClient(transport=httpx2.MockTransport(issuer))

    information = anyio.run(client.ensure_registered, ISSUER, METADATA)

    assert information.client_id == "s6BhdRkqt3"


@pytest.mark.requirement("DISC-23")
async def test_second_probe(connect: Connect, settled: Settled, issuer: FakeIssuer) -> None:
    """A page in place of the first document does not hide the second, of an issuer with a path."""
    path = f"{ISSUER}/t1"
    document = {"issuer": path, "registration_endpoint": f"{path}/register"}
    issuer.answers = {
        ("GET", f"{WELL_KNOWN}/t1"): httpx2.Response(200, html="<html>"),
        ("GET", "/t1/.well-known/openid-configuration"): httpx2.Response(200, json=document),
    }

    metadata = await settled(connect(issuer).discover(path))

    assert metadata.registration_endpoint == f"{path}/register"
    assert issuer.asked == [
        f"GET {WELL_KNOWN}/t1",
        "GET /.well-known/openid-configuration/t1",
        "GET /t1/.well-known/openid-configuration",
    ]


@pytest.mark.requirement("DISC-7", "SEED-66")
@pytest.mark.parametrize(
    ("documents", "error"),
    [
        ([(404, {}), (404, {})], MetadataNotFound),
        ([(200, {"json": []}), (404, {})], MetadataInvalid),
        ([(200, {"json": {}}), (200, {"json": {"issuer": f"{ISSUER}/"}})], IssuerMismatch),
        ([(503, {})], TemporarilyUnavailable),
        ([(301, {"headers": {"location": "https://evil.example/"}}), (404, {})], MetadataNotFound),
    ],
)
async def test_failed_discovery(
    connect: Connect, settled: Settled, issuer: FakeIssuer, documents: list[tuple[int, Any]], error: type[Exception]
) -> None:
    """The error that tells most is raised; nothing is redirected, and nothing is posted anywhere."""
    paths = (WELL_KNOWN, "/.well-known/openid-configuration")
    for path, (status, content) in zip(paths, documents, strict=False):
        issuer.answers["GET", path] = httpx2.Response(status, **content)

    with pytest.raises(error):
        await settled(connect(issuer).register(ISSUER, METADATA))

    assert len(issuer.requests) == len(documents)
    assert {request.url.host for request in issuer.requests} == {"as.example.com"}


@pytest.mark.requirement("SEED-57")
async def test_registration_not_offered(connect: Connect, settled: Settled, issuer: FakeIssuer) -> None:
    """Metadata without a registration endpoint is an error of its own, and no path is guessed."""
    issuer.answers["GET", WELL_KNOWN] = httpx2.Response(200, json={"issuer": ISSUER})

    with pytest.raises(RegistrationNotOffered):
        await settled(connect(issuer).register(ISSUER, METADATA))

    assert issuer.asked == [f"GET {WELL_KNOWN}"]


async def test_configured_endpoint(connect: Connect, settled: Settled, issuer: FakeIssuer) -> None:
    """Metadata that the operator vouches for needs no discovery."""
    metadata = ServerMetadata.trusted(ISSUER, registration_endpoint=f"{ISSUER}/register")

    information = await settled(connect(issuer).register(metadata, METADATA))

    assert information.issuer == ISSUER
    assert issuer.asked == ["POST /register"]


@pytest.mark.requirement("R7591-C12")
async def test_registered_once(
    connect: Connect, settled: Settled, issuer: FakeIssuer, store: FileCredentialStore
) -> None:
    """The second run takes what the first has stored, without a request, also when it asks for other metadata."""
    first = await settled(connect(issuer, credential_store=store).ensure_registered(ISSUER, METADATA))
    asked = len(issuer.requests)

    again = connect(issuer, credential_store=store)
    second = await settled(again.ensure_registered(ISSUER, {"client_name": "Other"}))

    assert first == second
    assert len(issuer.requests) == asked
    assert [difference.member for difference in second.differences({"client_name": "Other"})] == ["client_name"]


async def test_keys_are_registered_apart(
    connect: Connect, settled: Settled, issuer: FakeIssuer, store: FileCredentialStore
) -> None:
    """Two programs that share a store have a registration each."""
    for key in ("one", "two"):
        await settled(connect(issuer, credential_store=store, key=key).ensure_registered(ISSUER, METADATA))

    assert issuer.asked.count("POST /register") == 2


@pytest.mark.requirement("R7591-C10")
@pytest.mark.parametrize(("now", "posts"), [(1999, 0), (2000, 1)])
async def test_expired_secret(
    connect: Connect, settled: Settled, issuer: FakeIssuer, store: FileCredentialStore, *, now: int, posts: int
) -> None:
    """A stored client is registered again when its secret has expired, and not a second before."""
    members = {"client_id": "old", "client_secret": "s", "client_secret_expires_at": 2000}
    store.save(ClientInformation(ISSUER, f"{ISSUER}/register", members), "default")

    client = connect(issuer, credential_store=store, clock=lambda: float(now))
    information = await settled(client.ensure_registered(ISSUER, METADATA))

    assert issuer.asked.count("POST /register") == posts
    assert store.load(ISSUER, "default") == information


@pytest.mark.requirement("R7592-C5")
async def test_lost_registration(
    connect: Connect, settled: Settled, issuer: FakeIssuer, store: FileCredentialStore
) -> None:
    """401 at the configuration endpoint is recorded, keeps the credentials, and leads to a new registration."""
    client = connect(issuer, credential_store=store)
    information = await settled(client.ensure_registered(ISSUER, METADATA))
    issuer.answers["GET", CONFIGURATION] = httpx2.Response(401)

    with pytest.raises(RegistrationLost):
        await settled(client.read(information))
    recorded = store.load(ISSUER, "default")
    renewed = await settled(client.ensure_registered(ISSUER, METADATA))

    assert recorded is not None
    assert recorded.lost
    assert recorded.client_secret == "secret-1"
    assert not renewed.lost
    assert issuer.asked.count("POST /register") == 2
    assert issuer.asked.count(f"GET {CONFIGURATION}") == 1


@pytest.mark.requirement("R7592-C5")
@pytest.mark.parametrize("status", [403, 404, 405])
async def test_missing_capability_is_not_a_loss(
    connect: Connect, settled: Settled, issuer: FakeIssuer, store: FileCredentialStore, status: int
) -> None:
    """A server that does not manage registrations does not make its clients register at each start."""
    client = connect(issuer, credential_store=store)
    information = await settled(client.ensure_registered(ISSUER, METADATA))
    issuer.answers["GET", CONFIGURATION] = httpx2.Response(status)

    with pytest.raises(ManagementNotOffered):
        await settled(client.read(information))
    await settled(client.ensure_registered(ISSUER, METADATA))

    assert issuer.asked.count("POST /register") == 1


async def test_lost_without_a_store(connect: Connect, settled: Settled, issuer: FakeIssuer) -> None:
    """Without a store the loss is the caller's to know."""
    client = connect(issuer)
    information = await settled(client.register(ISSUER, METADATA))
    issuer.answers["GET", CONFIGURATION] = httpx2.Response(401)

    with pytest.raises(RegistrationLost):
        await settled(client.read(information))

    assert issuer.asked.count(f"GET {CONFIGURATION}") == 1


async def test_management_off(
    connect: Connect, settled: Settled, issuer: FakeIssuer, store: FileCredentialStore
) -> None:
    """An issuer without RFC 7592 is registered with and used; management is refused without a request."""
    issuer.answers["POST", "/register"] = httpx2.Response(201, json={"client_id": "public"})
    client = connect(issuer, credential_store=store)
    information = await settled(client.ensure_registered(ISSUER, METADATA))
    asked = len(issuer.requests)

    for method in (client.read, client.update, client.delete):
        with pytest.raises(ManagementNotOffered):
            await settled(method(information))

    assert len(issuer.requests) == asked
    assert information.notes == ()


@pytest.mark.requirement("R7592-C2", "R7592-C3")
async def test_rotation_is_followed(
    connect: Connect, settled: Settled, issuer: FakeIssuer, store: FileCredentialStore
) -> None:
    """Each new token is stored before it is returned, and is the one that the next request presents."""
    client = connect(issuer, credential_store=store)
    information = await settled(client.register(ISSUER, METADATA))
    living = ["token-1"]
    issuer.answers["GET", CONFIGURATION] = issuer.answers["PUT", CONFIGURATION] = rotating(
        dict(information.members), living
    )

    updated = await settled(client.update(information, client_name="New"))
    # The first information is out of date by two tokens; the store is not.
    read = await settled(client.read(information))

    assert updated.registration_access_token == "token-3"
    assert read.registration_access_token == "token-4"
    assert store.load(ISSUER, "default") == read
    sent = json.loads(issuer.requests[3].content)
    assert not {"registration_access_token", "registration_client_uri", "client_secret_expires_at"} & sent.keys()


async def test_rotation_by_another_process(
    connect: Connect, settled: Settled, issuer: FakeIssuer, store: FileCredentialStore
) -> None:
    """A 401 that meets a token which another process has replaced meanwhile is asked again, not taken for a loss."""
    client = connect(issuer, credential_store=store)
    information = await settled(client.register(ISSUER, METADATA))

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.headers["authorization"] == "Bearer token-2":
            return httpx2.Response(200, json=dict(information.members))
        members = {**information.members, "registration_access_token": "token-2"}
        store.save(ClientInformation(ISSUER, information.registration_endpoint, members), "default")
        return httpx2.Response(401)

    issuer.answers["GET", CONFIGURATION] = answer

    read = await settled(client.read(information))

    assert not read.lost
    assert issuer.token_of(-1) == "Bearer token-2"


@pytest.mark.requirement("R7592-C2", "R7592-C4")
async def test_stored_before_returned(
    connect: Connect,
    settled: Settled,
    issuer: FakeIssuer,
    store: FileCredentialStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When the store fails after the server has issued, the error holds the only copy, and does not show it."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    client = connect(issuer, credential_store=store)
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(CredentialsNotSaved) as caught:
        await settled(client.register(ISSUER, METADATA))

    assert caught.value.information.client_secret == "secret-1"
    assert "secret-1" not in f"{caught.value} {caught.value!r}"


async def test_broken_store_is_found_first(
    connect: Connect, settled: Settled, issuer: FakeIssuer, store: FileCredentialStore
) -> None:
    """A store that cannot be read is an error before anything is registered that it could not keep."""
    store.path(ISSUER, "default").write_bytes(b"")
    store.path(ISSUER, "default").chmod(0o600)
    client = connect(issuer, credential_store=store)

    for method in (client.register, client.ensure_registered):
        with pytest.raises(CredentialStoreError):
            await settled(method(ISSUER, METADATA))

    assert issuer.requests == []


async def test_deleted_is_forgotten(
    connect: Connect, settled: Settled, issuer: FakeIssuer, store: FileCredentialStore
) -> None:
    """After a deletion nothing is stored; after a refused one everything still is."""
    client = connect(issuer, credential_store=store)
    information = await settled(client.ensure_registered(ISSUER, METADATA))
    deletion = issuer.answers["DELETE", CONFIGURATION]
    issuer.answers["DELETE", CONFIGURATION] = httpx2.Response(405)

    with pytest.raises(ManagementNotOffered):
        await settled(client.delete(information))
    kept = store.load(ISSUER, "default")
    issuer.answers["DELETE", CONFIGURATION] = deletion
    await settled(client.delete(information))

    assert kept == information
    assert store.load(ISSUER, "default") is None


async def test_one_key_for_two_clients(
    connect: Connect, settled: Settled, issuer: FakeIssuer, store: FileCredentialStore
) -> None:
    """Managing a client that is not the stored one is refused: its new token would overwrite the other's."""
    client = connect(issuer, credential_store=store)
    stranger = await settled(connect(issuer).register(ISSUER, METADATA))
    store.save(ClientInformation(ISSUER, f"{ISSUER}/register", {"client_id": "another"}), "default")
    asked = len(issuer.requests)

    with pytest.raises(RequestInvalid):
        await settled(client.read(stranger))

    assert len(issuer.requests) == asked


@pytest.mark.requirement("R7592-C6")
async def test_foreign_configuration_endpoint(connect: Connect, settled: Settled, issuer: FakeIssuer) -> None:
    """The token goes to another origin only when the caller has named it."""
    answer = {
        "client_id": "c",
        "registration_access_token": "t",
        "registration_client_uri": f"https://manage.example.com{CONFIGURATION}",
    }
    issuer.answers["POST", "/register"] = httpx2.Response(201, json=answer)
    issuer.answers["GET", CONFIGURATION] = httpx2.Response(200, json=answer)
    information = await settled(connect(issuer).register(ISSUER, METADATA))

    with pytest.raises(ManagementNotOffered):
        await settled(connect(issuer).read(information))
    allowing = connect(issuer, configuration_origins=["https://manage.example.com"])
    await settled(allowing.read(information))

    assert [request.url.host for request in issuer.requests][2:] == ["manage.example.com"]


async def test_unusable_origin(connect: Connect) -> None:
    """An allowed origin must be one that a token may be sent to."""
    with pytest.raises(RequestInvalid):
        connect(configuration_origins=["http://manage.example.com"])


@pytest.mark.requirement("R7592-C4")
async def test_redirects_are_not_followed(connect: Connect, settled: Settled, issuer: FakeIssuer) -> None:
    """A redirect of the registration request is an error; nothing reaches where it points."""
    issuer.answers["POST", "/register"] = httpx2.Response(307, headers={"location": "https://evil.example/register"})

    with pytest.raises(ProtocolError, match="307"):
        await settled(connect(issuer).register(ISSUER, METADATA, initial_access_token="iat"))

    assert {request.url.host for request in issuer.requests} == {"as.example.com"}


class Chunks(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body in pieces, and how many of them were taken."""

    def __init__(self, count: int, size: int) -> None:
        """So many pieces of this size."""
        self.chunks = [b" " * size] * count
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        """For the synchronous client."""
        for chunk in self.chunks:
            self.taken += 1
            yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """For the asynchronous one."""
        for chunk in self:
            yield chunk


async def test_large_answers(connect: Connect, settled: Settled, issuer: FakeIssuer) -> None:
    """An answer above 1 MiB is given up at that size, whatever its length was said to be."""
    stream = Chunks(1000, 65536)
    issuer.answers["POST", "/register"] = httpx2.Response(201, stream=stream)

    with pytest.raises(ProtocolError, match="larger"):
        await settled(connect(issuer).register(ISSUER, METADATA))

    assert stream.taken == 17


async def test_slow_answers(connect: Connect, settled: Settled, issuer: FakeIssuer) -> None:
    """An answer that still comes when its time is over is given up, however steadily it comes."""
    issuer.answers["GET", WELL_KNOWN] = httpx2.Response(200, stream=Chunks(1000, 1))

    with pytest.raises(Unreachable, match="in time"):
        await settled(connect(issuer, timeout=0.0).discover(ISSUER))


async def test_compressed_answers(connect: Connect, settled: Settled, issuer: FakeIssuer) -> None:
    """A compressed answer is not inflated: its true size would be known too late."""
    stream = Chunks(1, 1)
    issuer.answers["POST", "/register"] = httpx2.Response(201, headers={"content-encoding": "gzip"}, stream=stream)

    with pytest.raises(ProtocolError, match="compressed"):
        await settled(connect(issuer).register(ISSUER, METADATA))

    assert stream.taken == 0


@pytest.mark.parametrize(
    "error",
    [httpx2.ConnectError, httpx2.ReadTimeout, httpx2.RemoteProtocolError, httpx2.ProxyError, httpx2.DecodingError],
)
async def test_no_answer(connect: Connect, settled: Settled, error: type[httpx2.RequestError]) -> None:
    """Whatever the transport fails with is one error of ours, which names the address and no token."""

    def fail(request: httpx2.Request) -> httpx2.Response:
        raise error("broken", request=request)

    metadata = ServerMetadata.trusted(ISSUER, registration_endpoint=f"{ISSUER}/register")
    with pytest.raises(Unreachable, match=f"{ISSUER}/register") as caught:
        await settled(connect(fail).register(metadata, METADATA, initial_access_token="hidden"))

    assert "hidden" not in str(caught.value)


@pytest.mark.requirement("R7591-C9", "R7592-C6")
async def test_unverifying_context(connect: Connect) -> None:
    """A TLS context that does not verify certificates or names is refused."""
    nameless, blind = create_default_context(), create_default_context()
    nameless.check_hostname = blind.check_hostname = False
    blind.verify_mode = CERT_NONE

    for context in (nameless, blind):
        with pytest.raises(RequestInvalid):
            connect(ssl_context=context)
    connect(ssl_context=create_default_context())


async def test_concurrent_starts(issuer: FakeIssuer, store: FileCredentialStore) -> None:
    """Tasks that ensure the registration at the same time make one."""
    found: list[ClientInformation] = []

    async def slow(request: httpx2.Request) -> httpx2.Response:
        await anyio.lowlevel.checkpoint()
        return issuer(request)

    async with RegistrationClient(transport=httpx2.MockTransport(slow), credential_store=store) as client:

        async def start() -> None:
            found.append(await client.ensure_registered(ISSUER, METADATA))

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(start)

    assert len(found) == 20
    assert issuer.asked.count("POST /register") == 1
