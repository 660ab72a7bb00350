"""What each endpoint does: an endpoint is a short list of steps, in the order of its specification."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

import msgspec

from registrar.authorization import signing
from registrar.domain import checkpoint
from registrar.domain.errors import ProtocolError
from registrar.domain.settings import Server
from registrar.http import certificates, wire
from registrar.http.wire import Answer, Fields, Receive, Scope
from registrar.service import checkpoints, keys, management, receipts, registration, statements
from registrar.service import limits as rates
from registrar.service import udap as udap_discovery
from registrar.service.audit import Caller
from registrar.service.operators import Unknown
from registrar.service.proof_of_management import authenticate
from registrar.service.registry import Issuer, Registry


class Exchange(NamedTuple):
    """One request at one issuer: what an endpoint is given."""

    registry: Registry
    issuer: Issuer
    limits: Server
    scope: Scope
    receive: Receive
    client_id: str = ""
    """The last segment of the path, where the route is for many; for the administration API, the path below it."""


Endpoint = Callable[[Exchange], Awaitable[Answer]]

_NOTHING: Final[Mapping[str, Any]] = {}
_SIZE: Final = re.compile(r"[0-9]{1,16}")
_CLIENT_ID: Final = 128
"""Characters that the audit keeps of a client_id in a path: more than any that is issued."""


async def register(exchange: Exchange) -> Answer:
    """POST at the client registration endpoint (RFC 7591 §3.1)."""
    registry, issuer, limits, scope, receive, _ = exchange
    presented: Any = _NOTHING
    token = certificate = None
    try:
        given = wire.fields(scope["headers"])
        certificate = certificates.presented(scope)
        token = wire.bearer(scope, given)
        await rates.arrives(registry, issuer, address_of(scope), token=token is not None)
        signed = wire.check_media_type(given)
        body = await wire.read_body(given, receive, limits.body_bytes, limits.body_seconds)
        chain = certificates.chain(scope) if certificate else ()
        attestation = wire.attestation(scope) if issuer.attest else ""
        caller = Caller(issuer.registration_endpoint, token, address_of(scope), certificate, chain, attestation)
        read = wire.read_signed(body) if signed else (presented := wire.read_object(body))
        made = await registration.register(registry, issuer, read, caller)
        return wire.answer(201 if made.new else 200, made.information)
    except ProtocolError as error:
        caller = Caller(issuer.registration_endpoint, token, address_of(scope), certificate)
        if token is not None and error.kind.name == "invalid_token":
            await rates.bad_token(registry, issuer, caller.address)
        await registry.audit.refused(issuer.name, issuer.settings.audit.refusals_per_minute, caller, error, presented)
        raise


async def read(exchange: Exchange) -> Answer:
    """GET at the client configuration endpoint (RFC 7592 §2.1)."""
    return await _managing(exchange, _read)


async def update(exchange: Exchange) -> Answer:
    """PUT at the client configuration endpoint (RFC 7592 §2.2)."""
    return await _managing(exchange, _update)


async def delete(exchange: Exchange) -> Answer:
    """DELETE at the client configuration endpoint (RFC 7592 §2.3)."""
    return await _managing(exchange, _delete)


async def _managing(exchange: Exchange, operation: Callable[[Exchange, Fields, Caller], Awaitable[Answer]]) -> Answer:
    registry, issuer, _, scope, _, client_id = exchange
    client_id = client_id[:_CLIENT_ID]
    endpoint = f"{issuer.registration_endpoint}/{client_id}"
    token = certificate = None
    try:
        given = wire.fields(scope["headers"])
        certificate = certificates.presented(scope)
        token = wire.bearer(scope, given)
        chain = certificates.chain(scope) if certificate else ()
        return await operation(exchange, given, Caller(endpoint, token, address_of(scope), certificate, chain))
    except ProtocolError as error:
        caller = Caller(endpoint, token, address_of(scope), certificate)
        quota = issuer.settings.audit.refusals_per_minute
        await registry.audit.refused(issuer.name, quota, caller, error, _NOTHING, client_id)
        raise


async def receipt(exchange: Exchange) -> Answer:
    """GET /receipts/{client_id}: a signed statement of what is registered, for the client itself."""
    return await _managing(exchange, _receipt)


async def _receipt(exchange: Exchange, _given: Fields, caller: Caller) -> Answer:
    registry, issuer = exchange.registry, exchange.issuer
    session = await authenticate(registry, issuer, exchange.client_id, caller, "read")
    return wire.jwt(await receipts.issue(registry, issuer, session.client))


async def _read(exchange: Exchange, _given: Fields, caller: Caller) -> Answer:
    return wire.answer(200, await management.read(exchange.registry, exchange.issuer, exchange.client_id, caller))


async def _update(exchange: Exchange, given: Fields, caller: Caller) -> Answer:
    registry, issuer, limits, _, receive, client_id = exchange
    read = wire.read_signed if wire.check_media_type(given) else wire.read_object
    body = read(await wire.read_body(given, receive, limits.body_bytes, limits.body_seconds))
    return wire.answer(200, await management.update(registry, issuer, client_id, body, caller))


async def _delete(exchange: Exchange, _given: Fields, caller: Caller) -> Answer:
    await management.delete(exchange.registry, exchange.issuer, exchange.client_id, caller)
    return Answer(204, wire.NO_STORE[1:])


async def metadata(exchange: Exchange) -> Answer:
    """The issuer's discovery document (RFC 8414 §3.2), and the same as a JWS where that is a setting (§2.1)."""
    registry, issuer = exchange.registry, exchange.issuer
    members = issuer.metadata()
    if issuer.settings.openid.signed_metadata:
        claims = {"iss": issuer.url, **members}
        members["signed_metadata"] = await signing.sign(registry, issuer, claims, "RS256", "JWT")
    return Answer(200, _PUBLIC, msgspec.json.encode(members))


async def udap(exchange: Exchange) -> Answer:
    """What a UDAP community finds of the issuer (UDAP Server Metadata §1)."""
    return Answer(200, _PUBLIC, msgspec.json.encode(udap_discovery.metadata(exchange.registry, exchange.issuer)))


async def jwks(exchange: Exchange) -> Answer:
    """The issuer's public keys."""
    return Answer(200, _PUBLIC, msgspec.json.encode(await keys.published(exchange.registry, exchange.issuer)))


async def audit(exchange: Exchange) -> Answer:
    """The newest checkpoint of the audit, to be kept by whoever wants to hold the registry to it, and its public keys.

    And the newest one that witnesses have signed, where there is one: it is older, for they needed their time.

    With the size of an earlier one in the query (`from`), also the proof that the log has only grown since: a witness needs
    it before signing, and nobody at the registry.

    Raises:
        ProtocolError: `not_found`, where nothing is signed; `invalid_request`, where the log never had that size.
    """
    registry = exchange.registry
    signed = await checkpoints.latest(registry)
    if signed is None:
        raise ProtocolError("not_found", "There is no checkpoint of the audit yet.")
    members = {"checkpoint": checkpoint.body(signed), **await checkpoints.published(registry)}
    if (witnessed := await checkpoints.witnessed(registry)) is not None:
        members["witnessed"] = checkpoint.body(witnessed)
    if given := parse_qs(exchange.scope["query_string"].decode("latin-1"), keep_blank_values=True).get("from"):
        size = int(given[0]) if _SIZE.fullmatch(given[0]) else 0
        try:
            grown = await receipts.consistency(registry, size)
        except IndexError:
            said = f"`from` is the size of an earlier checkpoint: from 1 to {signed.checkpoint.size}."
            raise ProtocolError("invalid_request", said) from None
        members |= {"size": size, "proof": grown.proof, "checkpoint": checkpoint.body(grown.checkpoint)}
    return Answer(200, _PUBLIC, msgspec.json.encode(members))


async def statement(exchange: Exchange) -> Answer:
    """What became of a software statement that this issuer issued: its state, and nothing else about it.

    Raises:
        ProtocolError: `not_found`, where there is none of that `jti`.
    """
    registry, issuer, jti = exchange.registry, exchange.issuer, exchange.client_id[:_CLIENT_ID]
    try:
        found = await statements.find(registry, issuer, jti)
    except Unknown:
        raise ProtocolError("not_found", "No statement of this jti was issued here.") from None
    return wire.answer(200, {"jti": found.jti, "state": found.state(registry.clock() // 1000).value})


_PUBLIC: Final = [
    (b"content-type", b"application/json"),
    (b"cache-control", b"public, max-age=60"),
    (b"x-content-type-options", b"nosniff"),
]


def address_of(scope: Scope) -> str:
    """Where a request came from."""
    peer = scope.get("client")
    return peer[0] if peer else ""
