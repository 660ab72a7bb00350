"""The endpoints of the authorization server that clients call: a form in, JSON out; what they do is `authorization`'s."""

from __future__ import annotations

from typing import Final

from registrar.authorization import call as calls
from registrar.authorization import (
    device,
    introspection,
    introspection_response,
    pushed_requests,
    revocation,
    token_endpoint,
)
from registrar.authorization.call import Call
from registrar.domain import server_metadata
from registrar.domain.errors import ProtocolError
from registrar.domain.server_metadata import ENDPOINTS
from registrar.http import certificates, wire
from registrar.http.endpoints import Exchange, address_of
from registrar.http.wire import Answer
from registrar.service import limits
from registrar.service.metrics import OTHER

_FORM: Final = calls.FORM.encode()


async def token(exchange: Exchange) -> Answer:
    """POST at the token endpoint (RFC 6749 §3.2)."""
    call = await received(exchange, "token_endpoint")
    try:
        issued = await token_endpoint.answer(exchange.registry, exchange.issuer, call)
    except ProtocolError as error:
        _count(exchange, call, error.kind.name)
        raise
    _count(exchange, call, "issued")
    return wire.answer(200, issued)


def _count(exchange: Exchange, call: Call, outcome: str) -> None:
    if (metrics := exchange.registry.metrics) is None:
        return
    grant_type = call.parameters.get("grant_type", "")
    known = grant_type in exchange.issuer.offered["grant_types_supported"]
    metrics.tokens.add(exchange.issuer.name, grant_type if known else OTHER, outcome)


async def introspect(exchange: Exchange) -> Answer:
    """POST at the introspection endpoint (RFC 7662 §2)."""
    call = await received(exchange, "introspection_endpoint")
    registry, issuer = exchange.registry, exchange.issuer
    caller, members = await introspection.answer(registry, issuer, call)
    if not introspection_response.wanted(caller, call.accept):
        return wire.answer(200, members)
    signed = await introspection_response.make(registry, issuer, caller, members, registry.clock() // 1000)
    media_type = introspection_response.MEDIA_TYPE.encode()
    return Answer(200, [(b"content-type", media_type), *wire.NO_STORE[1:]], signed.encode())


async def revoke(exchange: Exchange) -> Answer:
    """POST at the revocation endpoint (RFC 7009 §2)."""
    await revocation.revoke(exchange.registry, exchange.issuer, await received(exchange, "revocation_endpoint"))
    return Answer(200, wire.NO_STORE)


async def push(exchange: Exchange) -> Answer:
    """POST at the pushed authorization request endpoint (RFC 9126 §2)."""
    await limits.asks(exchange.registry, exchange.issuer, address_of(exchange.scope))
    call = await received(exchange, "pushed_authorization_request_endpoint")
    return wire.answer(201, await pushed_requests.push(exchange.registry, exchange.issuer, call))


async def authorize_device(exchange: Exchange) -> Answer:
    """POST at the device authorization endpoint (RFC 8628 §3.1)."""
    await limits.asks(exchange.registry, exchange.issuer, address_of(exchange.scope))
    call = await received(exchange, "device_authorization_endpoint")
    return wire.answer(200, await device.authorize(exchange.registry, exchange.issuer, call))


async def received(exchange: Exchange, endpoint: str) -> Call:
    """The request, read.

    Raises:
        ProtocolError: `invalid_request`, `unsupported_media_type` and what else the wire refuses.
    """
    _, issuer, server, scope, receive, _ = exchange
    headers = scope["headers"]
    given = wire.fields(headers)
    if scope["query_string"] and _holds_credentials(scope["query_string"]):
        raise ProtocolError(
            "invalid_request", "Credentials are taken from the body or the header, never from the query."
        )
    if given.content_encoding and given.content_encoding.strip().lower() != b"identity":
        raise ProtocolError("unsupported_media_type", "A content coding is not accepted here.")
    body = await wire.read_body(given, receive, server.body_bytes, server.body_seconds)
    if body and given.content_type.partition(b";")[0].strip().lower() != _FORM:
        raise ProtocolError("unsupported_media_type", f"The body must be {calls.FORM}.")
    certificate = certificates.presented(scope)
    return Call(
        endpoint=server_metadata.endpoint_url(issuer.url, ENDPOINTS[endpoint]),
        parameters=calls.read(body),
        authorization=(given.authorization or b"").decode("latin-1"),
        dpop=tuple(value.decode("latin-1") for name, value in headers if name == b"dpop"),
        certificate=certificate,
        chain=certificates.chain(scope) if certificate else (),
        accept=next((value.decode("latin-1") for name, value in headers if name == b"accept"), ""),
        address=address_of(scope),
        method=scope["method"],
    )


def _holds_credentials(query: bytes) -> bool:
    return any(name in query for name in (b"client_secret", b"client_assertion", b"access_token", b"code="))
