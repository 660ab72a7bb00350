"""Serving a call: who makes it, whether that may be, what it says, and what is said of one that is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qsl

from registrar.domain.access_token import InitialAccessToken
from registrar.domain.errors import BearerError, ProtocolError, RegistrationError
from registrar.http import answers, certificates, openapi, wire
from registrar.http.admin.bodies import sayable
from registrar.http.admin.call import Call, Row
from registrar.http.admin.routes import ROUTES, row_of
from registrar.http.endpoints import Exchange, address_of
from registrar.http.wire import Answer, Fields, Scope
from registrar.service import admission
from registrar.service import limits as rates
from registrar.service.audit import Caller
from registrar.service.operators import Operator, Refused, Unknown
from registrar.service.registry import Issuer, Registry

PREFIX: Final = "/admin/api/"
"""What stands between the path of an issuer and that of a route below."""
DOCUMENT: Final = "openapi.json"
"""Where the description of all this is, for whoever asks: it holds nothing that is not in the documentation."""
_NAME: Final = 128
"""Characters of a segment of a path that the audit keeps."""
_NOTHING: Final[Mapping[str, Any]] = {}


async def serve(exchange: Exchange) -> Answer:
    """Answer a call of the administration API.

    Raises:
        ProtocolError: 401 and 403 as RFC 6750 has them, 404, 405, 409, or what is wrong with the body.
    """
    registry, issuer, _, scope, _, path = exchange
    if path == DOCUMENT and scope["method"] in ("GET", "HEAD"):
        return wire.answer(200, await asyncio.to_thread(document, issuer))
    door = f"{issuer.url}{PREFIX}{path[:_NAME]}"
    address = address_of(scope)
    caller = Caller(door, address=address)
    body: dict[str, Any] = {}
    try:
        given = wire.fields(scope["headers"])
        attestation = wire.attestation(scope) if issuer.attest else ""
        token, certificate = wire.bearer(scope, given), certificates.presented(scope)
        caller = Caller(door, token, address, certificate, attestation=attestation)
        if token is not None:
            await rates.arrives(registry, issuer, address, token=True)
        row, name = row_of(scope["method"], path)
        held = await admission.operator(registry, issuer, caller, row.scope)
        if held.within:
            await _check_within(registry, issuer, held, row, name)
        body = await _body(exchange, given)
        query = dict(parse_qsl(scope["query_string"].decode("ascii", "replace")))
        operator = Operator(held.owner, door, held.token_id, address, held.ceiling)
        call = Call(registry, issuer, operator, held, name, body, query, _seen(scope))
        return answers.answer(await row.act(call))
    except Unknown as problem:
        raise await _refused(exchange, caller, ProtocolError("not_found", sayable(problem)), body) from None
    except Refused as problem:
        raise await _refused(exchange, caller, ProtocolError("conflict", sayable(problem)), body) from None
    except ProtocolError as error:
        if error.kind.name == "invalid_token":
            await rates.bad_token(registry, issuer, address)
        await _refused(exchange, caller, error, body)
        raise


def _seen(scope: Scope) -> tuple[str, ...] | None:
    """What `If-Match` names; a list, so that several of the header are one."""
    named = [value.decode("latin-1") for field, value in scope["headers"] if field == b"if-match"]
    return tuple(one.strip() for one in ",".join(named).split(",")) if named else None


async def _check_within(registry: Registry, issuer: Issuer, held: InitialAccessToken, row: Row, name: str) -> None:
    """Keep a token within its labels: what is not within does not exist for it.

    Raises:
        Unknown: the client is none of those.
        BearerError: `insufficient_scope`; what the route does cannot be kept within labels.
    """
    if not row.confined:
        raise BearerError("insufficient_scope", "This token administers within labels, and this is not within any.")
    if row.of_client:
        client = await registry.store.find(issuer.name, name)
        if client is None or not held.within.items() <= client.labels.items():
            raise Unknown(f"there is no client {name} at {issuer.name}")


async def _body(exchange: Exchange, given: Fields) -> dict[str, Any]:
    """One JSON object, or nothing at all, which is an empty one."""
    limits = exchange.limits
    content = await wire.read_body(given, exchange.receive, limits.body_bytes, limits.body_seconds)
    if not content:
        return {}
    if wire.check_media_type(given):
        raise ProtocolError("unsupported_media_type", "The body must be application/json.")
    return wire.read_object(content)


async def _refused(exchange: Exchange, caller: Caller, error: ProtocolError, body: Mapping[str, Any]) -> ProtocolError:
    issuer = exchange.issuer
    quota = issuer.settings.audit.refusals_per_minute
    requested = body if isinstance(error, RegistrationError) else _NOTHING
    await exchange.registry.audit.refused(issuer.name, quota, caller, error, requested, kind="administration.refused")
    return error


def document(issuer: Issuer) -> Mapping[str, Any]:
    """The OpenAPI document of an issuer."""
    return _document(issuer.url, issuer.settings.registration.path)


@cache
def _document(url: str, registration: str) -> Mapping[str, Any]:
    return openapi.document(url, PREFIX, registration, ROUTES)
