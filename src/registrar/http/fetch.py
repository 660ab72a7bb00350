"""The one guard for everything that is fetched because a stranger named it: key sets, logos, documents.

https to public addresses, one answer of status 200, no redirects, no credentials; bounded in time, in bytes and in how
many are under way. Exceptions are origins that the operator names in `[server.fetch]`.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar
from urllib.parse import urlencode
from weakref import WeakValueDictionary

from registrar.domain import uri as grammar
from registrar.domain.settings import Fetching
from registrar.service.metrics import Metrics
from registrar.service.ports import Fetched, FetchError, Sent
from registrar.service.tracing import Tracer, within

if TYPE_CHECKING:
    import httpcore2

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The numeric addresses of a host; an OSError where it has none."""

LIMIT: Final = 65_536
"""Bytes of a document where the caller names no limit."""
URL_LENGTH: Final = 2048
EXPIRES_AT_MOST: Final = 86_400

_HEAD_BYTES: Final = 16_384
_OK: Final = 200
_NO_CONTENT: Final = 204
_REDIRECTS: Final = range(300, 400)
_NOT_MODIFIED: Final = 304
_IF_NONE_MATCH: Final = "If-None-Match"
_ETAG: Final = re.compile(r'(?:W/)?"[\x21\x23-\x7e]{0,256}"')
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+\-]{1,127}/[a-z0-9!#$&^_.+\-]{1,127}")


class _Target(NamedTuple):
    """A URL that may be asked for, in parts."""

    origin: tuple[str, str, int | None]
    authority: str
    path: str


class _Question(NamedTuple):
    """What is asked of a URL: its document, or what it answers to something that is sent."""

    accept: tuple[str, ...]
    limit: int
    content: bytes | None = None
    fields: Mapping[str, str] = {}
    """Header fields that go with it."""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The fields as they are sent."""
        own = [(name.encode(), value.encode()) for name, value in self.fields.items()]
        if self.content is None:
            return own
        return [*own, (b"Content-Length", str(len(self.content)).encode())]


_Read = TypeVar("_Read")
_Reading = Callable[[str, "httpcore2.Response", _Question], Awaitable[_Read]]
"""What is made of an answer of whose head enough is known."""


class Fetcher:
    """Fetches, within the bounds of the settings.

    Args:
        settings: the bounds, and the origins that are exempt from https and public addresses.
        resolve: how a host's addresses are found, instead of the system's way.
        connect: how a numeric address is connected to, instead of a socket.
        metrics: counts fetches, where somebody asks for that.
        tracer: times them, where somebody asks for that.
    """

    def __init__(
        self,
        settings: Fetching,
        *,
        resolve: Resolve | None = None,
        connect: httpcore2.AsyncNetworkBackend | None = None,
        metrics: Metrics | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._metrics, self._tracer = metrics, tracer
        self._settings = settings
        self._allowed = frozenset(map(grammar.origin_of, settings.allow))
        self._connect = connect
        self._resolve = resolve or self._look_up
        # Threads of our own: a name server that never answers must not take those that others wait for.
        self._resolvers = ThreadPoolExecutor(settings.at_once, thread_name_prefix="registrar-resolve")
        self._turns = asyncio.Semaphore(settings.at_once)
        self._turns_of_hosts: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._closed = False

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """Certificates and names are verified, against the system's authorities and those that were configured."""
        context = ssl.create_default_context()
        if self._settings.ca_file:
            context.load_verify_locations(self._settings.ca_file)
        return context

    async def __call__(self, url: str, *, accept: tuple[str, ...], limit: int = LIMIT, etag: str = "") -> Fetched:
        """The document at a URL; see `Fetch`."""
        fields = {_IF_NONE_MATCH: etag} if etag else {}
        return await self._ask(url, _Question(accept, limit, fields=fields), _document)

    async def post(
        self,
        url: str,
        form: Mapping[str, str],
        *,
        accept: tuple[str, ...] = (),
        limit: int = LIMIT,
        authorization: str = "",
    ) -> Fetched:
        """What a URL answers to a form; see `Fetch`."""
        fields = {"Content-Type": "application/x-www-form-urlencoded"}
        if authorization:
            fields["Authorization"] = authorization
        return await self._ask(url, _Question(accept, limit, urlencode(form).encode(), fields), _document)

    async def send(self, url: str, content: bytes, headers: Mapping[str, str]) -> Sent:
        """Send something, for which only the status of the answer matters; see `Fetch`."""
        return await self._ask(url, _Question((), LIMIT, content, headers), _status)

    async def _ask(self, url: str, question: _Question, read: _Reading[_Read]) -> _Read:
        asked = within(self._tracer, "fetch", self._asked(url, question, read))
        if self._metrics is None:
            return await asked
        began, failed = time.perf_counter(), True
        try:
            fetched = await asked
            failed = False
        finally:
            self._metrics.fetched(time.perf_counter() - began, failed=failed)
        return fetched

    async def _asked(self, url: str, question: _Question, read: _Reading[_Read]) -> _Read:
        target = _target(url)
        exempt = target.origin in self._allowed
        if target.origin[0] != "https" and not exempt:
            raise FetchError("only https URLs are fetched")
        if self._closed:
            raise FetchError("the server is stopping")
        try:
            async with asyncio.timeout(self._settings.seconds), self._turn(target.origin[1]):
                limit = min(question.limit, self._settings.bytes)
                return await self._fetch(url, target, question._replace(limit=limit), read, exempt=exempt)
        except TimeoutError:
            raise FetchError(f"it was not fetched within {self._settings.seconds:g} seconds") from None

    async def close(self) -> None:
        """Let go; every later call raises FetchError."""
        self._closed = True
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def _turn(self, host: str) -> AsyncIterator[None]:
        # The host's turn first, so that fetches from one slow host do not wait at the expense of others.
        of_host = self._turns_of_hosts.setdefault(host, asyncio.Semaphore(self._settings.at_once_per_host))
        async with of_host, self._turns:
            yield

    async def _fetch(
        self, url: str, target: _Target, question: _Question, read: _Reading[_Read], *, exempt: bool
    ) -> _Read:
        # Loaded here: most programs that open a registry never fetch.
        import httpcore2

        from registrar.http.guarded_network import GuardedNetwork

        scheme, host, port = target.origin
        # Chunked framing may take as much again as the document; what is beyond is no document but an attack.
        network = GuardedNetwork(self._resolve, self._connect, budget=_HEAD_BYTES + 2 * question.limit, exempt=exempt)
        asked = httpcore2.URL(
            scheme=scheme.encode(), host=host.strip("[]").encode(), port=port, target=target.path.encode()
        )
        headers = [
            (b"Host", target.authority.encode()),
            (b"User-Agent", b"Registrar"),
            (b"Accept", ", ".join(kind for kind in question.accept if "*+" not in kind).encode() or b"*/*"),
            (b"Accept-Encoding", b"identity"),
            (b"Connection", b"close"),
            *question.headers,
        ]
        method = "GET" if question.content is None else "POST"
        try:
            async with (
                httpcore2.AsyncConnectionPool(ssl_context=self.tls, network_backend=network) as pool,
                pool.stream(method, asked, headers=headers, content=question.content) as answer,
            ):
                if sum(len(name) + len(value) for name, value in answer.headers) > _HEAD_BYTES:
                    raise FetchError(f"its header is larger than {_HEAD_BYTES} bytes")
                if answer.status in _REDIRECTS and not _unchanged(answer.status, question):
                    raise FetchError(f"it answers with {answer.status}, and redirects are not followed")
                return await read(url, answer, question)
        except httpcore2.ProtocolError:
            raise FetchError("its answer is not HTTP") from None
        except (httpcore2.NetworkError, httpcore2.TimeoutException, ssl.SSLError, OSError) as problem:
            raise FetchError(_unreachable(problem)) from None

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._resolvers, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return [str(address[0]) for *_, address in found]


def _target(url: str) -> _Target:
    if len(url) > URL_LENGTH:
        raise FetchError(f"its URL is longer than {URL_LENGTH} characters")
    parts = None if grammar.odd_character(url) or grammar.bad_percent(url) else grammar.split(url)
    if parts is None or parts.scheme not in ("https", "http") or not parts.authority:
        raise FetchError("only https URLs are fetched")
    if "@" in parts.authority:
        raise FetchError("its URL holds user information")
    if parts.fragment is not None:
        raise FetchError("its URL has a fragment")
    host, port = grammar.host_and_port(parts.authority)
    if not grammar.is_host(host) or (port is not None and not grammar.is_port(port)):
        raise FetchError("its URL has no valid host and port")
    query = f"?{parts.query}" if "?" in url else ""
    return _Target(grammar.origin_of(url), parts.authority, f"{parts.path or '/'}{query}")


async def _document(url: str, answer: httpcore2.Response, question: _Question) -> Fetched:
    etag = _etag(answer.headers)
    if _unchanged(answer.status, question):
        same = etag or question.fields[_IF_NONE_MATCH]
        return Fetched(url, "", b"", _expires_in(answer.headers), same, unchanged=True)
    media_type = _judged(answer.status, answer.headers, question)
    body = bytearray()
    async for piece in answer.aiter_stream():
        body += piece
        if len(body) > question.limit:
            raise FetchError(f"it is larger than {question.limit} bytes")
    return Fetched(url, media_type, bytes(body), _expires_in(answer.headers), etag)


def _unchanged(status: int, question: _Question) -> bool:
    """Whether an answer says that what the caller has is still what is there; only who asked that is told it."""
    return status == _NOT_MODIFIED and _IF_NONE_MATCH in question.fields


def _etag(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """The entity tag; empty where there is none, or none that could be sent back."""
    found = _values(headers, b"etag")
    return found[0] if len(found) == 1 and _ETAG.fullmatch(found[0]) else ""


async def _status(_url: str, answer: httpcore2.Response, _question: _Question) -> Sent:
    """The status alone: what else was sent may be of any size, and nobody reads it."""
    said = _values(answer.headers, b"retry-after")
    return Sent(answer.status, min(_seconds(said[0]), EXPIRES_AT_MOST) if said else 0)


def _judged(status: int, headers: Sequence[tuple[bytes, bytes]], question: _Question) -> str:
    """The media type of an answer that is taken; empty where the answer is only that there is one."""
    accept = question.accept
    if status == _NO_CONTENT and not accept:
        return ""
    if status != _OK:
        raise FetchError(f"it answers with {status} instead of 200")
    if [value for value in _values(headers, b"content-encoding") if value.lower() not in ("", "identity")]:
        raise FetchError("it comes with a content coding although none was asked for")
    if not accept:
        return ""
    media = [value.partition(";")[0].strip().lower() for value in _values(headers, b"content-type")]
    if (
        len(media) != 1
        or not _MEDIA_TYPE.fullmatch(media[0])
        or not any(fnmatchcase(media[0], kind) for kind in accept)
    ):
        raise FetchError(f"its media type is none of {', '.join(accept)}")
    return media[0]


def _values(headers: Sequence[tuple[bytes, bytes]], wanted: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for name, value in headers if name.lower() == wanted]


def _expires_in(headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    """How long an answer may be kept (RFC 9111 §4.2.1), within a day; None where it does not say."""
    said = ",".join(_values(headers, b"cache-control")).lower()
    directives = {
        name.strip(): value.strip(' "') for name, _, value in (part.partition("=") for part in said.split(","))
    }
    if "no-store" in directives or "no-cache" in directives:
        return 0
    age = _seconds([*_values(headers, b"age"), "0"][0])
    seconds = _seconds(directives["max-age"]) if "max-age" in directives else _until_expiry(headers)
    if seconds is None:
        return None
    return min(max(0, seconds - age), EXPIRES_AT_MOST)


def _seconds(digits: str) -> int:
    """A delta in seconds; 0, which is stale, where it is none (RFC 9111 §4.2.1)."""
    return int(digits) if re.fullmatch(r"[0-9]{1,10}", digits) else 0


def _until_expiry(headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    expires, date = _values(headers, b"expires"), _values(headers, b"date")
    if not expires or not date:
        return None
    try:
        return int((parsedate_to_datetime(expires[0]) - parsedate_to_datetime(date[0])).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0


def _unreachable(problem: Exception) -> str:
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "its certificate is not valid for its host"
        if isinstance(cause, ssl.SSLError):
            return "no TLS connection to its host came about"
        cause = cause.__cause__ or cause.__context__
    return "its host cannot be reached"
