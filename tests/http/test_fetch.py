"""The guarded fetcher, against real sockets: where it goes, what it takes, and how little it lets be done to it."""

from __future__ import annotations

import ast
import asyncio
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpcore2
import pytest
from far_server import Far, answering, certified, far

import registrar
from registrar.config import ConfigurationError, assemble, parse
from registrar.domain.settings import Fetching
from registrar.http import create_app
from registrar.http.fetch import Fetcher
from registrar.policy.document import Document
from registrar.service.ports import Fetched, FetchError
from registrar.testing import OPEN, served
from registrar.testing.authority import Authority

pytestmark = pytest.mark.anyio

JSON = ("application/json", "application/jwk-set+json", "application/*+json")


class Trust:
    """A private authority, and the settings that trust it."""

    def __init__(self, folder: Path) -> None:
        self.authority, self._folder = Authority(), folder
        self.settings = {"ca_file": str(self.authority.write(folder))}

    def tls(self, name: str, **members: Any) -> ssl.SSLContext:
        """A server's side of TLS, with a certificate for a name."""
        return certified(self.authority, self._folder, name, **members)


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    """One private authority for the module."""
    return Trust(tmp_path_factory.mktemp("authority"))


async def fetched(server: Far, limit: int = 65_536, path: str = "/jwks", **settings: Any) -> Fetched:
    """What comes from a server on loopback that the operator has named, over plain http."""
    origin = f"http://127.0.0.1:{server.port}"
    return await Fetcher(Fetching(allow=(origin,), **settings))(f"{origin}{path}", accept=JSON, limit=limit)


async def refused(fetch: Fetcher, url: str, reason: str) -> str:
    """That a fetch fails with this reason."""
    with pytest.raises(FetchError, match=reason) as error:
        await fetch(url, accept=JSON)
    return error.value.reason


class Resolver:
    """Answers with each list of addresses in turn, then with the last for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers, self.asked = list(answers), 0

    async def __call__(self, _host: str, _port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Rerouted(httpcore2.AsyncNetworkBackend):
    """A network in which every address leads to one real socket on loopback, as a router that translates would do."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[str] = []

    async def connect_tcp(self, host: str, _port: int, *_: Any) -> httpcore2.AsyncNetworkStream:
        self.asked.append(host)
        return await httpcore2.AnyIOBackend().connect_tcp("127.0.0.1", self.port)


class Public(Rerouted):
    """The same, and the socket says that it is connected to the address that was asked for."""

    async def connect_tcp(self, host: str, port: int, *_: Any) -> httpcore2.AsyncNetworkStream:
        return Named(await super().connect_tcp(host, port), (host, port))


class Named(httpcore2.AsyncNetworkStream):
    """A connection under another name."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream, name: tuple[str, int]) -> None:
        self.read, self.write, self.aclose, self.start_tls = stream.read, stream.write, stream.aclose, stream.start_tls  # type: ignore[method-assign]  # they are the stream's own
        self._stream, self._name = stream, name

    def get_extra_info(self, info: str) -> Any:
        return self._name if info == "server_addr" else self._stream.get_extra_info(info)


# --- where it goes -----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("WILD-7", "R7591-69")
@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.254",
        ),
        *("224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "[::1]", "[::]", "[::ffff:10.0.0.1]"),
        *("[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1]", "[fd00::1]"),
        *("[ff02::1]", "[2001:db8::1]", "[2001::1]", "localhost"),
    ],
)
async def test_a_host_that_is_not_public(host: str) -> None:
    """Loopback, private, link-local, metadata and translated addresses are refused before anything is connected to."""
    network = Rerouted(1)
    await refused(Fetcher(Fetching(), connect=network), f"https://{host}/jwks", "no public address")

    assert network.asked == []


@pytest.mark.requirement("WILD-7", "R7591-69")
@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["::ffff:10.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["fe80::1%eth0"], ["8.8.8.8", "word"], []],
)
async def test_a_name_that_resolves_to_what_is_not_public(addresses: list[str]) -> None:
    """One bad address among good ones is enough, and the reason does not tell which addresses a name has."""
    network = Rerouted(1)
    fetch = Fetcher(Fetching(), resolve=Resolver(addresses), connect=network)
    reason = await refused(fetch, "https://inside.example/jwks", "no public address")

    assert network.asked == []
    assert not any(address in reason for address in addresses)


async def test_a_name_that_does_not_resolve_is_told_as_one_that_is_not_public() -> None:
    """Whether a name exists inside the network of the server is not a stranger's to find out."""

    async def nobody(host: str, _port: int) -> Sequence[str]:
        raise OSError(f"{host} has no address")

    await refused(Fetcher(Fetching(), resolve=nobody), "https://inside.example/", "^its host has no public address$")


@pytest.mark.requirement("WILD-7", "R7591-69")
async def test_a_name_that_rebinds(trust: Trust) -> None:
    """What was checked is what is connected to: a name that changes its address in between changes nothing."""
    async with far(answering(), trust.tls("rebinding.example")) as server:
        resolver, network = Resolver(["93.184.215.14"], ["127.0.0.1"]), Public(server.port)
        fetch = Fetcher(Fetching(**trust.settings), resolve=resolver, connect=network)

        assert (await fetch("https://rebinding.example/", accept=JSON)).body == b"{}"
        assert (resolver.asked, network.asked) == (1, ["93.184.215.14"])
        await refused(fetch, "https://rebinding.example/", "no public address")
        assert (resolver.asked, network.asked) == (2, ["93.184.215.14"])


@pytest.mark.requirement("WILD-7", "R7591-69")
async def test_the_connected_socket_is_asked_again(trust: Trust) -> None:
    """Where the network leads a public address to loopback, nothing is sent there, not even a TLS greeting."""
    async with far(answering(), trust.tls("public.example")) as server:
        fetch = Fetcher(Fetching(**trust.settings), resolve=Resolver(["93.184.215.14"]), connect=Rerouted(server.port))
        await refused(fetch, "https://public.example/jwks", "no public address")

        assert server.requests == []


@pytest.mark.requirement("R7591-69", "OIDC-51")
async def test_a_public_host_over_tls(trust: Trust) -> None:
    """The certificate is checked for the name in the URL, and the request holds nothing but what is needed."""
    async with far(answering(b'{"keys":[]}'), trust.tls("public.example")) as server:
        fetch = Fetcher(Fetching(**trust.settings), resolve=Resolver(["93.184.215.14"]), connect=Public(server.port))
        document = await fetch("https://public.example/jwks?set=1", accept=JSON)

    assert document == Fetched("https://public.example/jwks?set=1", "application/json", b'{"keys":[]}')
    assert server.requests[0].splitlines() == [
        "GET /jwks?set=1 HTTP/1.1",
        "Host: public.example",
        "User-Agent: Registrar",
        "Accept: application/json, application/jwk-set+json",
        "Accept-Encoding: identity",
        "Connection: close",
        "",
    ]


@pytest.mark.requirement("OIDC-51")
@pytest.mark.parametrize(
    ("name", "members", "trusted"),
    [
        ("other.example", {}, True),
        ("public.example", {"not_after": 1_600_000_000}, True),
        ("public.example", {}, False),
    ],
)
async def test_a_certificate_that_is_not_valid(trust: Trust, name: str, members: dict[str, int], trusted: bool) -> None:
    """A certificate for another name, one that has expired, and one of an authority that nobody named."""
    async with far(answering(), trust.tls(name, **members)) as server:
        fetch = Fetcher(
            Fetching(**(trust.settings if trusted else {})),
            resolve=Resolver(["93.184.215.14"]),
            connect=Public(server.port),
        )
        await refused(fetch, "https://public.example/jwks", "^its certificate is not valid for its host$")

        assert server.requests == []


@pytest.mark.requirement("OIDC-51")
async def test_an_origin_that_is_allowed_is_still_verified(trust: Trust) -> None:
    """An exception for an address is no exception for the certificate."""
    async with far(answering(), trust.tls("localhost")) as server:
        origin = f"https://localhost:{server.port}"
        with_ca = Fetcher(Fetching(allow=(origin,), **trust.settings))

        assert (await with_ca(f"{origin}/", accept=JSON)).body == b"{}"
        await refused(Fetcher(Fetching(allow=(origin,))), f"{origin}/", "certificate")


@pytest.mark.requirement("R7591-69")
async def test_an_exception_is_one_origin() -> None:
    """Another port, scheme or spelling of the host that the operator named is no exception."""
    async with far(answering()) as server:
        fetch = Fetcher(Fetching(allow=(f"http://localhost:{server.port}",)))

        assert (await fetch(f"http://localhost:{server.port}/jwks", accept=JSON)).body == b"{}"
        await refused(fetch, f"http://127.0.0.1:{server.port}/jwks", "only https")
        await refused(fetch, f"https://localhost:{server.port}/jwks", "no public address")
        await refused(fetch, f"http://localhost:{server.port + 1}/jwks", "only https")
        await refused(fetch, f"http://localhost:{server.port}@public.example/", "user information")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://public.example/", "only https"),
        ("file:///etc/passwd", "only https"),
        ("gopher://public.example/", "only https"),
        ("https:public.example", "only https"),
        ("https:///jwks", "only https"),
        ("//public.example/", "only https"),
        ("", "only https"),
        ("https://public.example/a b", "only https"),
        ("https://public.example/%zz", "only https"),
        ("https://public.example/\r\nX-Evil: 1", "only https"),
        ("https://user@public.example/", "user information"),
        ("https://user:password@public.example/", "user information"),
        ("https://public.example/#here", "fragment"),
        ("https://public.example:0/", "valid host"),
        ("https://public.example:99999/", "valid host"),
        ("https://2130706433/", "valid host"),
        ("https://0x7f.1/", "valid host"),
        ("https://127.1/", "valid host"),
        ("https://[fe80::1%25eth0]/", "valid host"),
        (f"https://public.example/{'a' * 2048}", "longer than 2048"),
    ],
)
async def test_a_url_that_is_not_fetched(url: str, reason: str) -> None:
    """Other schemes, user information, fragments and hosts in strange spellings are refused unresolved."""
    resolver = Resolver(["93.184.215.14"])
    await refused(Fetcher(Fetching(), resolve=resolver), url, reason)

    assert resolver.asked == 0


# --- what it takes -----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7591-69")
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_a_redirect_is_not_followed(status: str) -> None:
    """Wherever it leads, also to the very same server."""
    async with far(answering(b"", "Location: /elsewhere", status=status)) as server:
        with pytest.raises(FetchError, match="redirects are not followed"):
            await fetched(server)

        assert server.connections == 1


@pytest.mark.parametrize("status", ["204 No Content", "206 Partial", "304 Not Modified", "404 Not Found", "500 Error"])
async def test_only_200_is_taken(status: str) -> None:
    """Anything else is no document."""
    async with far(answering(status=status)) as server:
        with pytest.raises(FetchError, match=f"answers with {status[:3]}"):
            await fetched(server)


@pytest.mark.parametrize(
    ("kind", "taken"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/jwk-set+json", True),
        ("application/vnd.example+json", True),
        ("text/html", False),
        ("text/json", False),
        ("application/json, text/html", False),
        ("application/octet-stream", False),
        ("", False),
    ],
)
async def test_the_media_type_is_one_that_was_asked_for(kind: str, taken: bool) -> None:
    """A page is not a key set, and an answer that does not say what it is is neither."""
    async with far(answering(kind=kind)) as server:
        if taken:
            assert (await fetched(server)).media_type == kind.partition(";")[0].lower()
            return
        with pytest.raises(FetchError, match="media type"):
            await fetched(server)


async def test_one_media_type() -> None:
    """Two of them are two readings."""
    async with far(answering(b"{}", "Content-Type: text/html")) as server:
        with pytest.raises(FetchError, match="media type"):
            await fetched(server)


async def test_a_picture_is_fetched_by_its_kind() -> None:
    """A caller names kinds with a star."""
    async with far(answering(b"\x89PNG", kind="image/png")) as server:
        origin = f"http://127.0.0.1:{server.port}"
        document = await Fetcher(Fetching(allow=(origin,)))(f"{origin}/logo", accept=("image/*",))

    assert (document.media_type, document.body) == ("image/png", b"\x89PNG")


async def test_a_form_is_sent_through_the_same_guard() -> None:
    """With what it says, who sends it, and no way around the checks; an answer that does not matter may be empty."""
    async with far(answering(b'{"a": 1}')) as server:
        origin = f"http://127.0.0.1:{server.port}"
        fetch = Fetcher(Fetching(allow=(origin,)))
        form = {"code": "a&b", "x": "\u20ac"}
        document = await fetch.post(f"{origin}/token", form, accept=("application/json",), authorization="Basic eA==")
        with pytest.raises(FetchError, match="only https"):
            await fetch.post("http://127.0.0.2:1/token", {})

    assert document.body == b'{"a": 1}'
    (head,) = server.requests
    assert head.startswith("POST /token HTTP/1.1")
    assert "content-type: application/x-www-form-urlencoded" in head.lower()
    assert "authorization: basic ea==" in head.lower()
    async with far(answering(b"", status="204 No Content", kind="")) as server:
        origin = f"http://127.0.0.1:{server.port}"
        assert (await Fetcher(Fetching(allow=(origin,))).post(f"{origin}/told", {"a": "b"})).body == b""


async def test_a_coded_answer_is_refused() -> None:
    """None was asked for, and what a kilobyte unpacks to nobody knows."""
    async with far(answering(b"{}", "Content-Encoding: gzip")) as server:
        with pytest.raises(FetchError, match="content coding"):
            await fetched(server)


@pytest.mark.requirement("R7591-69")
async def test_nothing_is_remembered_between_fetches() -> None:
    """A cookie that was set is not sent back, and neither is anything else."""
    async with far(answering(b"{}", "Set-Cookie: a=b")) as server:
        origin = f"http://127.0.0.1:{server.port}"
        fetch = Fetcher(Fetching(allow=(origin,)))
        for _ in range(2):
            await fetch(f"{origin}/jwks", accept=JSON)

    assert server.requests[0] == server.requests[1]
    assert not {"cookie", "authorization", "referer"} & {
        line.partition(":")[0].lower() for line in server.requests[1].splitlines()
    }


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        (["Cache-Control: max-age=60"], 60),
        (["Cache-Control: public, max-age=60, must-revalidate", "Age: 20"], 40),
        (["Cache-Control: max-age=60", "Age: 90"], 0),
        (["Cache-Control: max-age=99999999"], 86_400),
        (["Cache-Control: max-age=99999999999999999999"], 0),
        (["Cache-Control: max-age=soon"], 0),
        (["Cache-Control: max-age=60, no-store"], 0),
        (["Cache-Control: NO-CACHE"], 0),
        (["Date: Wed, 25 Nov 2026 10:00:00 GMT", "Expires: Wed, 25 Nov 2026 10:02:00 GMT"], 120),
        (["Date: Wed, 25 Nov 2026 10:00:00 GMT", "Expires: Wed, 25 Nov 2026 09:00:00 GMT"], 0),
        (["Date: Wed, 25 Nov 2026 10:00:00 GMT", "Expires: 0"], 0),
        (["Expires: Wed, 25 Nov 2026 10:02:00 GMT"], None),
    ],
)
async def test_how_long_a_document_may_be_kept(headers: list[str], seconds: int | None) -> None:
    """As HTTP caching says, within a day; nothing where it says nothing."""
    async with far(answering(b"{}", *headers)) as server:
        assert (await fetched(server)).expires_in == seconds


# --- what is done to it ------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7591-69")
async def test_a_document_that_is_too_large() -> None:
    """Neither a length that is told, nor one that is not, nor chunks bring more than the limit."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    for answer in (
        answering(b" " * 1_001),
        head + b"\r\n" + b" " * 1_001,
        head
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"200\r\n"
        + b" " * 512
        + b"\r\n200\r\n"
        + b" " * 512
        + b"\r\n0\r\n\r\n",
    ):
        async with far(answer) as server:
            with pytest.raises(FetchError, match="larger than 1000 bytes"):
                await fetched(server, limit=1_000)
    async with far(answering(b" " * 1_000)) as server:
        assert len((await fetched(server, limit=1_000)).body) == 1_000
    async with far(answering(b" " * 2_000)) as server:
        with pytest.raises(FetchError, match="larger than 1024 bytes"):
            await fetched(server, bytes=1_024)


@pytest.mark.requirement("R7591-69")
@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-Filler: xxxxxxxxxxxxxxxxxxxxxxxx\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (answering()[:-2].replace(b"Content-Length: 2", b"Transfer-Encoding: chunked"), b"1;extension\r\nx\r\n"),
        (b"", b"xxxxxxxxxxxxxxxxxxxxxxxx"),
    ],
)
async def test_an_answer_without_end(start: bytes, piece: bytes) -> None:
    """Headers, interim answers, chunks or noise for ever: reading stops after a bounded number of bytes."""
    sent = 0

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(start)
        while True:
            writer.write(piece * 20)
            await writer.drain()
            sent += len(piece) * 20
            await asyncio.sleep(0)

    async with far(endless) as server:
        with pytest.raises(FetchError, match=r"larger|not HTTP"):
            await fetched(server, limit=1_000)

    assert sent < 10_000_000  # the sockets' buffers are part of it


@pytest.mark.parametrize("count", [1, 200])
async def test_a_header_that_is_too_large(count: int) -> None:
    """One header of 20 kB, or hundreds of small ones, are no answer that anybody needs."""
    headers = [f"X-Filler-{at}: {'x' * (20_000 // count)}" for at in range(count)]
    async with far(answering(b"{}", *headers)) as server:
        with pytest.raises(FetchError, match=r"header|larger"):
            await fetched(server)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\x01\x02",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        answering(b"{}")[:-1],
        b"HTTP/1.1 101 Switching\r\n\r\n",
    ],
)
async def test_what_is_not_an_answer(answer: bytes) -> None:
    """Another protocol, or an answer that ends early."""
    async with far(answer) as server:
        with pytest.raises(FetchError, match=r"not HTTP|101"):
            await fetched(server)


@pytest.mark.requirement("R7591-69")
@pytest.mark.parametrize(
    ("said", "piece"), [(b"", b""), (b"HTTP/1.1 200 OK\r\n", b"x"), (answering(b"{}" * 40)[:-70], b" ")]
)
async def test_an_answer_that_trickles(said: bytes, piece: bytes) -> None:
    """Silence, and a byte now and then, both end when the time is up, whatever was said before."""

    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)

    async with far(trickle) as server:
        began = time.monotonic()
        with pytest.raises(FetchError, match=r"not fetched within 0\.3 seconds"):
            await fetched(server, seconds=0.3)

        assert time.monotonic() - began < 2


async def test_a_name_server_that_never_answers() -> None:
    """Resolving counts in the time."""

    async def never(_host: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    await refused(Fetcher(Fetching(seconds=0.1), resolve=never), "https://slow.example/", "within 0.1 seconds")


async def test_a_host_that_does_not_listen() -> None:
    """Told as unreachable, without the address or the system's words."""
    async with far(answering()) as server:
        port = server.port
    origin = f"http://127.0.0.1:{port}"
    await refused(Fetcher(Fetching(allow=(origin,))), f"{origin}/", "^its host cannot be reached$")


@pytest.mark.requirement("R7591-69")
async def test_a_slow_host_does_not_take_every_turn() -> None:
    """So many fetches at once and no more, fewer to one host; another host is fetched from meanwhile."""
    release = asyncio.Event()

    async def wait(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(answering())
        await writer.drain()

    async with far(wait) as slow, far(answering()) as quick:
        origins = (f"http://127.0.0.1:{slow.port}", f"http://localhost:{quick.port}")
        fetch = Fetcher(Fetching(allow=origins, at_once=3, at_once_per_host=2))
        waiting = [asyncio.create_task(fetch(f"{origins[0]}/{at}", accept=JSON)) for at in range(10)]
        document = await fetch(f"{origins[1]}/jwks", accept=JSON)

        assert document.body == b"{}"
        release.set()
        assert len(await asyncio.gather(*waiting)) == 10
        assert slow.most_together == 2


# --- the one place -----------------------------------------------------------------------------------------------------

PLACES = {
    "service/parts.py": 1,
    "service/metadata_documents.py": 1,
    "service/key_sets.py": 1,
    "service/pictures.py": 1,
    "service/token_issuers.py": 1,
    "authorization/request_object.py": 1,
    "authorization/upstream.py": 2,
    "authorization/backchannel.py": 1,
}
"""Where the server fetches: module and number of calls. A new place is added here by whoever has thought about it."""


@pytest.mark.requirement("R7591-69")
def test_every_place_that_fetches_is_listed() -> None:
    """A call of `fetch` stands in the modules of the list, and in no other of the server."""
    root = Path(registrar.__file__).parent
    found: dict[str, int] = {}
    for file in root.rglob("*.py"):
        name = file.relative_to(root).as_posix()
        if name.startswith(("client/", "cli/", "testing/", "storage/")):  # a database driver's fetch is another word
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called == "post" and isinstance(node.func, ast.Attribute):
                called = getattr(node.func.value, "attr", "")
            if called in ("fetch", "_fetch") and name != "http/fetch.py":
                found[name] = found.get(name, 0) + 1

    assert found == PLACES


async def test_what_is_there_already_is_not_sent_again() -> None:
    """Who has something asks with its entity tag (RFC 9110 §13.1.2); to nobody else is 304 an answer."""
    async with far(answering(b"{}", 'ETag: "1"')) as server:
        assert (await fetched(server)).etag == '"1"'
    for tag in ('"a" "b"', "1", '"a\x7f"', f'"{"a" * 300}"'):
        async with far(answering(b"{}", f"ETag: {tag}")) as server:
            assert (await fetched(server)).etag == ""
    async with far(answering(b"", "Cache-Control: max-age=7", status="304 Not Modified")) as server:
        allow = (f"http://127.0.0.1:{server.port}",)
        fetch = Fetcher(Fetching(allow=allow))
        same = await fetch(f"{allow[0]}/c", accept=JSON, etag='W/"1"')

        assert (same.unchanged, same.etag, same.body, same.expires_in) == (True, 'W/"1"', b"", 7)
        assert 'if-none-match: w/"1"' in server.requests[0].lower()
        await refused(fetch, f"{allow[0]}/c", "304")


async def test_the_application_closes_it() -> None:
    """After the lifespan nothing is fetched any more."""
    async with served() as server:
        app = create_app(server.registry)
        messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
        sent: list[Any] = []

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message)

        await app({"type": "lifespan"}, receive, send)
        with pytest.raises(FetchError, match="stopping"):
            await server.registry.fetch("https://public.example/", accept=JSON)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('[server.fetch]\nallow = ["https://keys.internal/path"]', "not an origin"),
        ('[server.fetch]\nallow = ["https://user@keys.internal"]', "not an origin"),
        ('[server.fetch]\nallow = ["keys.internal"]', "not an origin"),
        ('[server.fetch]\nallow = ["*"]', "not an origin"),
        ("[server.fetch]\nseconds = 0", "more than 0"),
        ("[server.fetch]\nbytes = 10", "at least 1024"),
        ("[server.fetch]\nat_once = 0", "at least 1"),
        ("[server.fetch]\nat_once_per_host = 0", "at least 1"),
        ("[server.fetch]\nproxy = 1", "unknown setting proxy"),
        ("[server.key_sets]\nsets = 0", "at least 1"),
        ("[server.key_sets]\nhard_seconds = 10", "do not decrease"),
    ],
)
def test_settings_that_are_not_taken(lines: str, problem: str) -> None:
    """A wrong exception or bound keeps the server from starting, and the message names the line."""
    with pytest.raises(ConfigurationError, match=problem) as error:
        parse(Document("registrar.toml", f"{OPEN}\n{lines}"))

    assert "registrar.toml:" in str(error.value)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read(tmp_path: Path, content: str | None) -> None:
    """A wrong `ca_file` shows at start, not at the first fetch."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match=r"ca\.pem.*not a file of certificates"):
        assemble(parse(Document("registrar.toml", f'{OPEN}\n[server.fetch]\nca_file = "{file}"')))
