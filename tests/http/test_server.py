"""The server on a socket: slow, broken and hostile connections, starting, stopping, TLS, proxies, overload."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import json
import select
import signal
import socket
import ssl
import stat
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import httpx2
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from real_server import ANSWER_SECONDS, Program, Reply, Start, configuration, replies, reply, request
from uvicorn.server import ServerState

from registrar.config import create_key_file
from registrar.http.application import create_app
from registrar.http.connection import Connection
from registrar.service.ports import ClientQuery
from registrar.storage import open_store
from registrar.testing import served

CLIENT: Final = {"redirect_uris": ["https://app.example/callback"], "token_endpoint_auth_method": "none"}
REGISTER: Final = request("POST", "/register", CLIENT)
LAST: Final = request("GET", "/healthz", None, "Connection: close")


def stored(folder: Path) -> set[str]:
    """The identifiers of every client in the database of a server that has stopped."""

    async def read() -> set[str]:
        store = open_store(f"sqlite:///{folder / 'registrar.db'}")
        found: set[str] = set()
        after = ("", "")
        while page := await store.clients(ClientQuery(), after=after, limit=1_000):
            found |= {client.client_id for client in page}
            after = (page[-1].issuer, page[-1].client_id)
        await store.close()
        return found

    return asyncio.run(read())


@asynccontextmanager
async def impatient() -> AsyncIterator[tuple[tuple[str, int], asyncio.Event]]:
    """The address of a server in this process that lets a connection idle for a second, and when one was lost."""
    lost = asyncio.Event()

    class Told(Connection):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            lost.set()

    async with served() as inside:
        config = uvicorn.Config(create_app(inside.registry), lifespan="off", log_config=None, timeout_keep_alive=1)
        config.load()
        state = ServerState()
        with socket.create_server(("127.0.0.1", 0)) as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # what nobody takes stays with the connection
            listener = await asyncio.get_running_loop().create_server(
                lambda: Told(seconds=1, config=config, server_state=state, app_state={}), sock=bound
            )
            async with listener:
                yield bound.getsockname(), lost


def refused(found: list[Reply], *statuses: int) -> None:
    """One answer, a refusal in JSON, after which the connection was closed."""
    assert [one.status for one in found] == [one.status for one in found if one.status in statuses]
    assert len(found) == 1
    assert found[0].error == "invalid_request"
    assert found[0].headers["connection"] == "close"


# --- time and size ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "begun",
    [
        request("POST", "/register", b"{" * 100)[:-99],
        b"POST /register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{",
    ],
    ids=["length", "chunked"],
)
def test_a_body_that_does_not_come_is_408(server: Program, begun: bytes) -> None:
    """A body has `body_seconds`; then the answer is 408 in JSON and the connection is closed."""
    began = time.monotonic()
    refused(server.send(begun), 408)
    assert 0.4 < time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("begun", "dripped"),
    [(b"POST /regi", b"x"), (b"GET / HTTP/1.1\r\nX-Slow: ", b"x"), (b"GET / HTTP/1.1\r\n", b"x: y\r\n")],
)
def test_a_head_that_does_not_come_is_408(server: Program, begun: bytes, dripped: bytes) -> None:
    """A head that drips in byte by byte is cut off as a body is, however lively the dripping."""
    with server.connect() as connection:
        connection.sendall(begun)
        until = time.monotonic() + ANSWER_SECONDS
        while not select.select([connection], [], [], 0.05)[0]:
            assert time.monotonic() < until
            connection.sendall(dripped)
        refused(replies(connection), 408)


def test_a_body_that_nobody_reads_does_not_hold_the_connection(server: Program) -> None:
    """A request that is answered before its body has come is not waited for any longer than others are."""
    with server.connect() as connection:
        connection.sendall(request("GET", "/healthz", None, "Content-Length: 1000"))
        assert reply(connection).status == 200
        assert replies(connection) == []


def test_a_caller_that_goes_away_is_forgotten(server: Program) -> None:
    """Half a request followed by a hang-up costs nothing and registers nothing."""
    for length in range(1, len(REGISTER), 17):
        with server.connect() as connection:
            connection.sendall(REGISTER[:length])
    assert [one.status for one in server.send(LAST)] == [200]


@pytest.mark.requirement("D-10")
@pytest.mark.parametrize("expect", [(), ("Expect: 100-continue",)])
def test_a_body_of_10_megabytes_is_413(server: Program, expect: tuple[str, ...]) -> None:
    """The refusal of a body that is announced as too large reaches a client that is still sending it."""
    body = b" " * 10_000_000
    refused(server.send(request("POST", "/register", body, *expect)), 413)


@pytest.mark.requirement("D-10")
def test_chunks_without_end_are_413(server: Program) -> None:
    """So does the refusal of a body whose length nobody announced."""
    head = b"POST /register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    refused(server.send(head, *[b"1000\r\n" + b" " * 4096 + b"\r\n"] * 2_500), 413)


def test_a_body_is_asked_for_where_it_is_waited_for(server: Program) -> None:
    """`Expect: 100-continue` is honoured, so that a refusal by the head alone spares the body."""
    with server.connect() as connection:
        head, _, body = request("POST", "/register", CLIENT, "Expect: 100-continue", "Connection: close").partition(
            b"\r\n\r\n"
        )
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert [one.status for one in replies(connection)] == [201]


@pytest.mark.parametrize(
    "flood",
    [
        [b"GET /", *[b"a" * 4096] * 64],
        [b"GET /healthz HTTP/1.1\r\nX: ", *[b"a" * 4096] * 64],
        [b"GET /healthz HTTP/1.1\r\n", *[b"X: y\r\n" * 512] * 256],
        [b"GET /healthz HTTP/1.1\r\nHost: x\r\n", *[b"a" * 4096] * 64],
    ],
    ids=["target", "value", "fields", "name"],
)
def test_a_head_without_end_is_refused(server: Program, flood: list[bytes]) -> None:
    """A head has a bounded size: whatever of it grows, the server stops reading and says so."""
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in flood:
            if select.select([connection], [], [], 0.002)[0]:
                break
            connection.sendall(piece)
        refused(replies(connection), 400)


@pytest.mark.anyio
@pytest.mark.parametrize("said", [b"", b"\r\n"])
async def test_a_silent_connection_is_closed(said: bytes) -> None:
    """A connection that never sends a request is let go after the idle time, as one is between two requests."""
    async with impatient() as (address, _):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(said)
        assert await asyncio.wait_for(reader.read(), ANSWER_SECONDS) == b""
        writer.close()
        await writer.wait_closed()


# --- what is no request --------------------------------------------------------------------------------------------------

_HOST: Final = b"Host: x\r\n"
_INNER: Final = REGISTER
_CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"


def _post(*fields: bytes, body: bytes = b"") -> bytes:
    return (
        b"POST /register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + b"".join(fields) + b"\r\n" + body
    )


BROKEN: Final = {
    "noise": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "a line": b"hello\r\n\r\n",
    "HTTP/3": b"GET /healthz HTTP/3.0\r\n" + _HOST + b"\r\n",
    "HTTP/1.9": b"GET /healthz HTTP/1.9\r\n" + _HOST + b"\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "other protocol": b"GET /healthz FTP/1.1\r\n\r\n",
    "unknown method": b"REGISTER /register HTTP/1.1\r\n" + _HOST + b"\r\n",
    "lower case method": b"post /register HTTP/1.1\r\n" + _HOST + b"\r\n",
    "space in target": b"GET /health z HTTP/1.1\r\n" + _HOST + b"\r\n",
    "NUL in target": b"GET /health\0z HTTP/1.1\r\n" + _HOST + b"\r\n",
    "NUL in a value": b"GET /healthz HTTP/1.1\r\nX: a\0b\r\n\r\n",
    "NUL in a name": b"GET /healthz HTTP/1.1\r\nX\0: a\r\n\r\n",
    "space before the colon": _post(b"Transfer-Encoding : chunked\r\n", body=b"0\r\n\r\n" + _INNER),
    "no colon": b"GET /healthz HTTP/1.1\r\nHost x\r\n\r\n",
    "bare CR": b"GET /healthz HTTP/1.1\rHost: x\r\r",
    "length and chunks": _post(b"Content-Length: 5\r\n", _CHUNKED, body=b"0\r\n\r\n" + _INNER),
    "chunks and length": _post(_CHUNKED, b"Content-Length: %d\r\n" % len(_INNER), body=b"0\r\n\r\n" + _INNER),
    "two lengths": _post(b"Content-Length: 2\r\n", b"Content-Length: 3\r\n", body=b"{} " + _INNER),
    "the same length twice": _post(b"Content-Length: 2\r\n" * 2, body=b"{}" + _INNER),
    "a list of lengths": _post(b"Content-Length: 2, 2\r\n", body=b"{}" + _INNER),
    "a signed length": _post(b"Content-Length: +2\r\n", body=b"{}" + _INNER),
    "a negative length": _post(b"Content-Length: -2\r\n", body=b"{}" + _INNER),
    "a hexadecimal length": _post(b"Content-Length: 0x2\r\n", body=b"{}" + _INNER),
    "a length beyond numbers": _post(b"Content-Length: " + b"9" * 30 + b"\r\n", body=b"{}" + _INNER),
    "an empty length": _post(b"Content-Length: \r\n", body=b"{}" + _INNER),
    "unknown transfer coding": _post(b"Transfer-Encoding: xchunked\r\n", body=b"0\r\n\r\n" + _INNER),
    "chunked not last": _post(b"Transfer-Encoding: chunked, identity\r\n", body=b"0\r\n\r\n" + _INNER),
    "a chunk size of letters": _post(_CHUNKED, body=b"zz\r\n{}\r\n0\r\n\r\n" + _INNER),
    "a chunk size beyond numbers": _post(_CHUNKED, body=b"f" * 17 + b"\r\n{}\r\n0\r\n\r\n" + _INNER),
    "a chunk longer than told": _post(_CHUNKED, body=b"1\r\n{}\r\n0\r\n\r\n" + _INNER),
}


@pytest.mark.requirement("SEED-41")
@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN)
def test_what_is_not_http_is_refused_in_json(server: Program, sent: bytes) -> None:
    """One 4xx in JSON, then the connection is closed: what a second reader would see in the rest is never served."""
    found = server.send(sent)
    refused(found, 400)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET http://127.0.0.1/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ],
)
def test_the_odd_forms_that_http_allows_are_served(server: Program, sent: bytes) -> None:
    """HTTP/1.0 and older, an absolute target and empty lines before a request (RFC 9112 §2.2, §3.2.2)."""
    assert [(one.status, one.body) for one in server.send(sent)] == [(200, b'{"status":"alive"}')]


@pytest.mark.parametrize(
    "target", [b"*", b"/\xff\xfe", b"/%ff%00", b"//evil.example/register", b"/%2e%2e/register", b"?"]
)
def test_a_strange_target_is_4xx(server: Program, target: bytes) -> None:
    """Targets that are no path of ours are refused, whoever notices it first."""
    found = server.send(b"POST " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert [one.status for one in found] in ([400], [404])
    assert found[0].error in ("invalid_request", "not_found")


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "TLS/1.0"])
@pytest.mark.parametrize("pieces", [1, 2, 7])
def test_an_upgrade_that_is_not_offered_is_ignored(server: Program, protocol: str, pieces: int) -> None:
    """The request keeps its body and is answered as HTTP/1.1 (RFC 9110 §7.8), and so is the next; the log stays quiet."""
    headers = (f"Upgrade: {protocol}", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQ")
    lines = len(server.lines)
    head, _, body = request("POST", "/register", REGISTER, *headers).partition(b"\r\n\r\n")
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for asked, status in (
            (request("GET", "/healthz", None, *headers), 200),
            (request("POST", "/register", CLIENT, *headers), 201),
            (head + b"\r\n\r\n" + body, 400),
            (_post(*(f"{header}\r\n".encode() for header in headers), _CHUNKED, body=b"2\r\n{}\r\n0\r\n\r\n"), 400),
            (REGISTER, 201),
        ):
            size = -(-len(asked) // pieces)
            for at in range(0, len(asked), size):
                connection.sendall(asked[at : at + size])
                select.select([connection], [], [], 0.01)
            assert reply(connection).status == status
    # What earlier tests sent may still be arriving in the log; of an upgrade it must not speak.
    assert [line for line in server.lines[lines:] if "upgrade" in line.lower() or "websocket" in line.lower()] == []


# --- several requests on a connection ---------------------------------------------------------------------------------------


def test_requests_in_a_row_are_answered_in_their_order(server: Program) -> None:
    """Requests that do not wait for answers (RFC 9112 §9.3.2) get them all, each its own."""
    found = server.send(REGISTER + request("GET", "/jwks") + request("POST", "/register", b"[]") + REGISTER + LAST)
    assert [one.status for one in found] == [201, 200, 400, 201, 200]
    assert "keys" in json.loads(found[1].body)
    assert json.loads(found[0].body)["client_id"] != json.loads(found[3].body)["client_id"]


@pytest.mark.parametrize("noise", [b"\0\0\0\0\r\n\r\n", BROKEN["length and chunks"], b"G" * 100_000])
def test_noise_behind_a_request_does_not_speak_for_it(server: Program, noise: bytes) -> None:
    """The answer to a whole request is its own and comes first, even where what follows it is nonsense."""
    first, *rest = server.send(REGISTER + REGISTER + noise)
    assert first.status == 201
    assert [one.status for one in rest] in ([201], [201, 400])


def test_a_connection_goes_on_after_an_error(server: Program) -> None:
    """A refusal is an answer like any other; the connection and what follows on it are unharmed."""
    with server.connect() as connection:
        for _ in range(2):
            for asked, status in (
                (request("POST", "/register", b"{"), 400),
                (request("GET", "/nothing"), 404),
                (request("DELETE", "/register"), 405),
                (request("POST", "/register", b"{}", "Authorization: Bearer x"), 401),
                (request("POST", "/register", b"{}", "Content-Encoding: gzip"), 415),
                (REGISTER, 201),
            ):
                connection.sendall(asked)
                assert reply(connection).status == status


@pytest.mark.requirement("R7592-40")
def test_a_path_is_compared_decoded_and_the_answer_is_not_built_from_it(server: Program) -> None:
    """A percent-encoded identifier is the same one (RFC 3986 §6.2.2.2); an encoded slash or NUL makes another."""
    registered = json.loads(server.send(request("POST", "/register", CLIENT, "Connection: close"))[0].body)
    client_id, bearer = registered["client_id"], f"Authorization: Bearer {registered['registration_access_token']}"
    encoded = "".join(f"%{ord(character):02X}" for character in client_id)
    for path, status in (
        (f"/register/{encoded}", 200),
        (f"/register%2F{client_id}", 200),
        (f"/register/{client_id}%00", 401),
        (f"/register/{client_id}%2F", 404),
        (f"/register/{client_id}%FF", 401),
    ):
        (answer,) = server.send(request("GET", path, None, bearer, "Host: evil.example", "Connection: close"))
        assert answer.status == status
        assert b"evil.example" not in answer.body
        assert status != 200 or json.loads(answer.body) == registered


# --- who abuses a connection --------------------------------------------------------------------------------------------------

JWKS: Final = request("GET", "/jwks")


def alive(server: Program) -> None:
    """The server answers somebody else."""
    assert [one.status for one in server.send(LAST)] == [200]


def chunked() -> bytes:
    """A registration in one chunk, up to where its trailers begin."""
    body = json.dumps(CLIENT).encode()
    return _post(_CHUNKED, body=b"%x\r\n%b\r\n0\r\n" % (len(body), body))


@pytest.mark.parametrize("pieces", [1, 2, 9])
def test_a_trailer_is_no_header(server: Program, pieces: int) -> None:
    """A token behind the body is none (RFC 9110 §6.5.1): the answer is that of a request without, also to the next."""
    trailer = b"Authorization: Bearer x\r\nContent-Encoding: gzip\r\nExpect: 100-continue\r\n\r\n"
    size = -(-len(trailer) // pieces)
    first, *others = [trailer[at : at + size] for at in range(0, len(trailer), size)]
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):
            for piece in (chunked() + first, *others):
                assert not select.select([connection], [], [], 0.01)[0]
                connection.sendall(piece)
            assert reply(connection).status == 201
        connection.sendall(request("POST", "/register", CLIENT, "Authorization: Bearer x"))
        assert reply(connection).status == 401


@pytest.mark.parametrize("piece", [b"a" * 4096, b"X: y\r\n" * 682], ids=["value", "fields"])
def test_trailers_without_end_are_refused(server: Program, piece: bytes) -> None:
    """What follows a body is bounded as a head is, and others are served as before."""
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(chunked() + b"X: ")
        with suppress(ConnectionError):
            for _ in range(200_000 // len(piece)):
                if select.select([connection], [], [], 0.002)[0]:
                    break
                connection.sendall(piece)
        refused(replies(connection), 400)
    alive(server)


def test_a_caller_that_never_reads_costs_no_memory(server: Program) -> None:
    """Of requests whose answers nobody takes no more are read than were at once; others are answered meanwhile."""
    asked = JWKS * 100

    def resident() -> int:
        lines = Path(f"/proc/{server.process.pid}/status").read_text("ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

    alive(server)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(("127.0.0.1", server.port))
        before, sent = resident(), 0
        while sent < 64_000_000 and select.select([], [connection], [], 0.3)[1]:
            sent += connection.send(asked, socket.MSG_DONTWAIT)
        alive(server)
        grown = resident() - before
    alive(server)
    assert 1_000 * len(JWKS) < sent < 64_000_000
    # What one read holds is kept until it is answered, some 6,000 requests; without that bound it is gigabytes.
    assert grown < 24_576, f"{grown} KiB for {sent // len(JWKS)} requests"


@pytest.mark.anyio
@pytest.mark.parametrize("requests", [200, 5_000])
async def test_a_caller_that_never_reads_is_disconnected(requests: int) -> None:
    """Answers that nobody takes, few or many, hold a connection no longer than silence does."""
    async with impatient() as (address, lost):
        loop = asyncio.get_running_loop()
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.setblocking(False)
            await loop.sock_connect(connection, address)
            sending = asyncio.create_task(loop.sock_sendall(connection, JWKS * requests))
            await asyncio.wait_for(lost.wait(), ANSWER_SECONDS)
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


def test_upgrades_in_a_row_are_all_answered(server: Program) -> None:
    """Each is parsed once more without the field, and however many come at once, none inside another."""
    asked = request("GET", "/healthz", None, "Connection: upgrade", "Upgrade: x")
    found = server.send(asked * 900 + LAST)
    assert [one.status for one in found] == [200] * 901
    assert "Traceback" not in server.output


@pytest.mark.parametrize(
    "line", [b"CONNECT a:443", b"CONNECT /register", b"GET http://a", b"GET http://a:80", b"OPTIONS *"]
)
def test_a_target_without_a_path_is_told_so(server: Program, line: bytes) -> None:
    """Not the silence of a connection that is merely closed: one 4xx in JSON."""
    (answer,) = server.send(line + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert 400 <= answer.status < 500
    assert answer.error in ("invalid_request", "not_found", "method_not_allowed")
    assert answer.headers["connection"] == "close"


# --- starting and stopping ---------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7591-72")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopping_under_load_loses_nothing(start: Start, how: signal.Signals) -> None:
    """Ctrl-C and SIGTERM finish what is under way and exit with 0; every client that was promised is in the database."""
    program = start(configuration()).listening()
    promised: list[str] = []
    enough = threading.Event()

    def register() -> list[int]:
        statuses: list[int] = []
        try:
            with httpx2.Client(base_url=f"http://127.0.0.1:{program.port}", trust_env=False) as client:
                while True:
                    answer = client.post("/register", json=CLIENT)
                    statuses.append(answer.status_code)
                    promised.append(answer.json()["client_id"])
                    if len(promised) >= 50:
                        enough.set()
        except httpx2.TransportError:  # the server has stopped listening
            return statuses

    with ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(register) for _ in range(4)]
        assert enough.wait(ANSWER_SECONDS)
        assert program.stop(how) == 0
        statuses = {status for caller in callers for status in caller.result()}
    assert "Traceback" not in program.output, program.output
    assert statuses == {201}
    assert len(promised) >= 50
    assert set(promised) <= stored(program.folder)


@pytest.mark.parametrize("begun", [b"", b"POST /reg", REGISTER[:-1], REGISTER])
def test_stopping_does_not_wait_for_the_idle(start: Start, begun: bytes) -> None:
    """Open connections, silent or in the middle of a request, do not keep the server from stopping in order."""
    program = start(configuration("body_seconds = 0.5")).listening()
    with program.connect() as connection:
        connection.sendall(begun)
        assert [one.status for one in program.send(LAST)] == [200]
        began = time.monotonic()
        assert program.stop() == 0
        assert time.monotonic() - began < 10
    assert "Traceback" not in program.output, program.output


def test_a_port_in_use_is_told_in_one_line(start: Start) -> None:
    """The operator reads which address is taken, once, and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        program = start(configuration(), "--port", str(port))
        assert program.wait() != 0
    assert [str(port) in line for line in program.lines if "address already in use" in line] == [True]
    assert "Traceback" not in program.output


@pytest.mark.requirement("SEED-13", "SEED-14", "D-9", "DISC-9")
def test_without_a_configuration_nobody_can_register(start: Start) -> None:
    """A server that was not configured serves discovery, without a registration endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    program = start("", "--port", str(port)).listening()
    discovery, registration = (
        program.send(request(method, path, body, "Connection: close"))[0]
        for method, path, body in (
            ("GET", "/.well-known/oauth-authorization-server", None),
            ("POST", "/register", CLIENT),
        )
    )
    assert (registration.status, registration.error) == (404, "not_found")
    assert discovery.status == 200
    assert "registration_endpoint" not in json.loads(discovery.body)
    assert "Registration is disabled" in program.output


@pytest.mark.requirement("R7591-38")
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_a_host_that_others_reach_needs_tls(start: Start, host: str) -> None:
    """Credentials in the clear are refused before anything listens, in one line that says what to set."""
    program = start(configuration(f'host = "{host}"'))
    assert program.wait() == 1
    (line,) = program.lines
    assert f"listening on {host} without TLS" in line
    assert "tls_certificate" in line


def test_a_key_file_that_others_can_read_is_refused(start: Start, tmp_path: Path) -> None:
    """The server makes its key file for itself alone, and does not start with one that others could have seen."""
    assert start(configuration()).listening().stop() == 0
    keys = tmp_path / "registrar.key"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    for mode in (0o640, 0o604, 0o620):
        keys.chmod(mode)
        program = start()
        assert program.wait() == 1
        (line,) = program.lines
        assert "registrar.key" in line
        assert "chmod 600" in line


def test_a_key_file_is_not_made_for_the_world(start: Start, tmp_path: Path) -> None:
    """Outside development a missing key file is an error: a new one could open nothing that is stored."""
    program = start(configuration(url="https://as.example"))
    assert program.wait() == 1
    (line,) = program.lines
    assert "there is no key file" in line
    assert not (tmp_path / "registrar.key").exists()


# --- TLS and proxies ---------------------------------------------------------------------------------------------------------


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine, signed by itself, and its private key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name.from_rfc4514_string("CN=localhost")
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "private.pem"
    paths[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


TLS: Final = 'tls_certificate = "certificate.pem"\ntls_key = "private.pem"'


@pytest.mark.requirement("R7591-38", "R7592-1", "SEED-51")
def test_tls_is_served_with_the_configured_certificate(start: Start, tmp_path: Path) -> None:
    """Over TLS 1.2 or newer a client registers and manages itself; what is not TLS gets nothing at all."""
    trusted, _ = certificate(tmp_path)
    program = start(configuration(TLS, "https://localhost:8000")).listening()
    context = ssl.create_default_context(cafile=str(trusted))
    with httpx2.Client(base_url=f"https://localhost:{program.port}", verify=context, trust_env=False) as client:
        registered = client.post("/register", json=CLIENT)
        assert registered.status_code == 201
        members = registered.json()
        assert members["registration_client_uri"] == f"https://localhost:8000/register/{members['client_id']}"
        bearer = {"authorization": f"Bearer {members['registration_access_token']}"}
        assert client.get(f"/register/{members['client_id']}", headers=bearer).json() == members
    with (
        socket.create_connection(("localhost", program.port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        assert tls.version() in ("TLSv1.2", "TLSv1.3")
        tls.sendall(BROKEN["length and chunks"])
        refused(replies(tls), 400)
    assert program.send(REGISTER) == []
    assert program.stop() == 0
    assert stored(tmp_path) == {members["client_id"]}


@pytest.mark.parametrize("files", [TLS, TLS.replace("private.pem", "certificate.pem")])
def test_a_certificate_that_cannot_be_used_is_told_in_one_line(start: Start, tmp_path: Path, files: str) -> None:
    """A missing or wrong file is named, and nothing listens."""
    (tmp_path / "certificate.pem").write_text("not a certificate", "ascii")
    program = start(configuration(files, "https://localhost:8000"))
    assert program.wait() == 1
    assert [line for line in program.lines if "certificate.pem" in line and "cannot be used for TLS" in line]
    assert "Traceback" not in program.output


FROM_TLS: Final = "X-Forwarded-Proto: https"


@pytest.mark.requirement("R7591-38", "R7592-1")
@pytest.mark.parametrize(
    ("proxies", "believed"),
    [("", False), ('trusted_proxies = ["192.0.2.1"]', False), ('trusted_proxies = ["127.0.0.1"]', True)],
)
def test_an_https_issuer_believes_its_proxies_alone(start: Start, tmp_path: Path, proxies: str, believed: bool) -> None:
    """Plain http to an https issuer is refused unless a trusted proxy says that TLS ended at it; nobody else is believed."""
    create_key_file(tmp_path / "registrar.key")
    program = start(configuration(proxies, "https://as.example")).listening()
    taken = 0
    for headers, good in (
        ((), False),
        (("X-Forwarded-Proto: http",), False),
        (("X-Forwarded-Proto: https, http",), False),
        (("Forwarded: proto=https", "X-Forwarded-Scheme: https", "X-Forwarded-Ssl: on"), False),
        ((FROM_TLS,), believed),
        ((FROM_TLS, "X-Forwarded-For: 192.0.2.1"), believed),
    ):
        (answer,) = program.send(request("POST", "/register", CLIENT, *headers, "Connection: close"))
        members = json.loads(answer.body)
        if good:
            taken += 1
            assert answer.status == 201
            assert members["registration_client_uri"] == f"https://as.example/register/{members['client_id']}"
        else:
            assert (answer.status, members["error"]) == (400, "invalid_request")
            assert "TLS" in members["error_description"]
    assert program.stop() == 0
    assert len(stored(tmp_path)) == taken


# --- overload ------------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7591-72")
def test_an_overloaded_server_asks_to_come_back(start: Start, tmp_path: Path) -> None:
    """Beyond the queue the answer is 503 in JSON with Retry-After, never another 5xx; what was promised is stored."""
    program = start(configuration("queue = 1")).listening()
    found: list[Reply] = []
    connections = [program.connect() for _ in range(64)]
    for _ in range(10):
        for connection in connections:
            connection.sendall(REGISTER)
        found += [reply(connection) for connection in connections]
    for connection in connections:
        connection.close()
    assert {one.status for one in found} == {201, 503}
    for one in found:
        if one.status == 503:
            assert one.error == "temporarily_unavailable"
            assert int(one.headers["retry-after"]) > 0
            assert one.headers["cache-control"] == "no-cache, no-store"
    assert program.stop() == 0
    assert "Traceback" not in program.output, program.output
    promised = {json.loads(one.body)["client_id"] for one in found if one.status == 201}
    assert stored(tmp_path) == promised
