"""Strict JSON in, no-store JSON out, bearer tokens from the header alone, errors to answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Coroutine, Generator, MutableMapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple, cast

import msgspec

from registrar.domain import strict_json
from registrar.domain.credentials import PresentedToken
from registrar.domain.errors import BearerError, ProtocolError, RegistrationError
from registrar.domain.findings import rule
from registrar.domain.metadata import Presented, SignedRequest, read_plain
from registrar.domain.strict_json import NotStrict

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Collection[tuple[bytes, bytes]]

BODY: Final = rule("body.json", "RFC 7591 §3.1", "{problem}", "one JSON object in UTF-8, each member once")

_BEARER: Final = re.compile(rb"bearer +([A-Za-z0-9\-._~+/]+=*) *", re.IGNORECASE)


class Answer(NamedTuple):
    """A response, ready to be sent."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""


# Credential-bearing answers must not be kept anywhere on the way (RFC 7591 §3.2.1); errors neither.
NO_STORE: Final = [
    (b"content-type", b"application/json; charset=utf-8"),
    (b"cache-control", b"no-cache, no-store"),
    (b"pragma", b"no-cache"),
    (b"x-content-type-options", b"nosniff"),
]
_encode: Final = msgspec.json.Encoder().encode


def answer(status: int, members: Any) -> Answer:
    """A JSON answer that nobody may store."""
    return Answer(status, NO_STORE, _encode(members))


def jwt(compact: str) -> Answer:
    """A JWT that nobody may store (RFC 7519 §10.3.1)."""
    return Answer(200, [(b"content-type", b"application/jwt"), *NO_STORE[1:]], compact.encode())


def refusal(error: ProtocolError) -> Answer:
    """An error as the client sees it: code, sentence, and each fault as data."""
    members: dict[str, Any] = {"error": error.kind.code, "error_description": error.description}
    if isinstance(error, RegistrationError):
        members["faults"] = [fault.fault() for fault in error.faults]
    headers = [*NO_STORE, *error.headers]
    if isinstance(error, BearerError):
        headers.append((b"www-authenticate", _challenge(error)))
    if error.kind.name == "temporarily_unavailable":
        headers.append((b"retry-after", b"1"))
    return Answer(error.kind.status, headers, _encode(members))


def _challenge(error: BearerError) -> bytes:
    """RFC 6750 §3: a challenge, and an error in it only where a token was presented (§3.1)."""
    parts = [f'realm="{error.realm}"']
    if error.kind.name != "token_required":
        parts += [f'error="{error.kind.code}"', f'error_description="{error.description}"']
    if error.scope and error.kind.name != "invalid_token":
        parts.append(f'scope="{error.scope}"')
    return f"{error.scheme} {', '.join(parts)}".encode("ascii", "replace")


async def send_answer(send: Send, given: Answer, *, head: bool = False) -> None:
    """Send a response; `head` leaves the body out and its length in (RFC 9110 §9.3.2)."""
    headers = given.headers
    if given.status != HTTPStatus.NO_CONTENT:
        headers = [*headers, (b"content-length", str(len(given.body)).encode())]
    await send({"type": "http.response.start", "status": given.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else given.body})


# --- what a request carries -------------------------------------------------------------------------------------------


class Fields(NamedTuple):
    """The header fields that decide about a request, each of which may stand once."""

    authorization: bytes | None = None
    content_type: bytes = b""
    content_length: bytes = b""
    content_encoding: bytes = b""


_FIELDS: Final = tuple(name.replace("_", "-").encode() for name in Fields._fields)


def fields(headers: Headers) -> Fields:
    """Read the header fields.

    Raises:
        ProtocolError: one stands twice; which of the two a reader takes is how requests are smuggled.
    """
    found = dict(headers)
    if len(found) != len(headers):
        names = [name for name, _ in headers]
        for name in _FIELDS:
            if names.count(name) > 1:
                raise ProtocolError("invalid_request", f"The header {name.decode('ascii')} is repeated.")
    get = found.get
    return Fields(
        get(b"authorization"), get(b"content-type", b""), get(b"content-length", b""), get(b"content-encoding", b"")
    )


def bearer(scope: Scope, given: Fields) -> PresentedToken | None:
    """The bearer token of a request: from the Authorization header and nowhere else (RFC 6750 §2.1).

    Another authentication scheme is none of ours and counts as no token.

    Raises:
        BearerError: `invalid_request`, for a token in the query, or an empty or malformed one.
    """
    if b"access_token" in scope["query_string"]:
        raise BearerError("invalid_request", "A token is taken from the Authorization header, never from the query.")
    value = given.authorization
    if value is None or value[:6].lower() != b"bearer" or value[6:7].strip():
        return None
    token = _BEARER.fullmatch(value)
    if token is None:
        raise BearerError("invalid_request", "The Authorization header holds no bearer token of the form of RFC 6750.")
    return PresentedToken(token[1].decode("ascii"))


_ATTESTATION: Final = b"oauth-client-attestation"
_ATTESTATION_BYTES: Final = 16_384


def attestation(scope: Scope) -> str:
    """The attestation that came with a request; empty where there is none.

    Raises:
        ProtocolError: there are several, or it is longer than any that could be meant.
    """
    found = [value for name, value in scope["headers"] if name == _ATTESTATION]
    if len(found) > 1 or any(len(value) > _ATTESTATION_BYTES for value in found):
        raise ProtocolError("invalid_request", "OAuth-Client-Attestation is repeated or too long.")
    return found[0].decode("latin-1") if found else ""


_SIGNED: Final = (b"application/jwt", b"application/jose")


def check_media_type(given: Fields) -> bool:
    """The body is JSON in UTF-8, as it is (RFC 7591 §3.1), or a JWT of such a body; whether it is a JWT.

    Raises:
        ProtocolError: `unsupported_media_type`.
    """
    signed = False
    if given.content_type != b"application/json":
        media, _, parameters = given.content_type.partition(b";")
        signed = media.strip().lower() in _SIGNED
        if not signed and media.strip().lower() != b"application/json":
            raise ProtocolError("unsupported_media_type", "The body must be application/json.")
        for parameter in parameters.lower().split(b";"):
            name, _, charset = parameter.strip().partition(b"=")
            if name == b"charset" and charset.strip(b'"') not in (b"utf-8", b"utf8"):
                raise ProtocolError("unsupported_media_type", "JSON is UTF-8 (RFC 8259 section 8.1).")
    if given.content_encoding and given.content_encoding.strip().lower() != b"identity":
        raise ProtocolError("unsupported_media_type", "A content coding is not accepted here.")
    return signed


class Arrived:
    """What gives a body that has arrived whole, before anybody asks for it."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self._given = False

    async def __call__(self) -> Message:
        """The body, and then that there is no more of it."""
        body, self._given = b"" if self._given else self.body, True
        return {"type": "http.request", "body": body, "more_body": False}


async def read_body(given: Fields, receive: Receive, limit: int, seconds: float) -> bytes:
    """The body of a request, within `limit` bytes and `seconds`.

    Raises:
        ProtocolError: `content_too_large`, `request_timeout`, or `invalid_request` when the caller goes away.
    """
    if given.content_length.isdigit() and int(given.content_length[:20]) > limit:
        raise _too_large(limit)
    if type(receive) is Arrived:
        return _within(receive.body, limit)
    ends = asyncio.get_running_loop().time() + seconds
    try:
        message = await _first(receive, ends)
        if not message.get("more_body") and message["type"] == "http.request":
            return _within(message.get("body", b""), limit)
        async with asyncio.timeout_at(ends):
            return await _gathered(message, receive, limit)
    except TimeoutError:
        raise ProtocolError("request_timeout", headers=[(b"connection", b"close")]) from None


async def _first(receive: Receive, ends: float) -> Message:
    """The first message of a request. Nearly always it is at hand, and then no timer is started for it."""
    coming = receive()
    if not isinstance(coming, Coroutine):
        async with asyncio.timeout_at(ends):
            return await coming
    try:
        pending = coming.send(None)
    except StopIteration as at_hand:
        return cast("Message", at_hand.value)
    async with asyncio.timeout_at(ends):
        return await _Begun(coming, pending)


class _Begun:
    """A coroutine that was run to its first suspension: awaiting this goes on from there."""

    def __init__(self, coroutine: Coroutine[Any, Any, Message], pending: Any) -> None:
        self._coroutine, self._pending = coroutine, pending

    def __await__(self) -> Generator[Any, Any, Message]:
        yield self._pending
        return (yield from self._coroutine.__await__())


async def _gathered(message: Message, receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ProtocolError("invalid_request", "The request ended early.")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body"):
            return b"".join(chunks)
        message = await receive()


def _within(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _too_large(limit: int) -> ProtocolError:
    # The rest of the body is not read, so the connection cannot be used again.
    return ProtocolError("content_too_large", f"A body has at most {limit} bytes.", headers=[(b"connection", b"close")])


def read_signed(body: bytes) -> SignedRequest:
    """A body that is a JWT; its characters, and nothing more, are looked at here.

    Raises:
        RegistrationError: it is not ASCII.
    """
    try:
        return SignedRequest(body.decode("ascii").strip())
    except UnicodeDecodeError:
        raise RegistrationError([BODY.refuse("body", problem="it is not a JWT")]) from None


def read_object(body: bytes) -> Presented:
    """One JSON object, strictly.

    Raises:
        RegistrationError: saying what is wrong with the body.
    """
    if (plain := read_plain(body)) is not None:
        return Presented(plain)
    try:
        return Presented(strict_json.read_object(body))
    except NotStrict as problem:
        raise RegistrationError([BODY.refuse("body", problem=str(problem))]) from None
