"""The answer to an authorization request (RFC 6749 §4.1.2): a code, or an error, on its way through the browser.

Each says who answers (`iss`, RFC 9207), so that a client of several servers cannot be made to mix them up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from registrar.authorization import clients, code, grant, id_token, logout, signing, tokens
from registrar.authorization.grant import Grant
from registrar.authorization.request import Authentication, AuthorizationRequest, ReturnAddress
from registrar.authorization.sender import Binding
from registrar.domain.client import Client, State
from registrar.domain.errors import ProtocolError
from registrar.service.ports import Change
from registrar.service.registry import Issuer, Registry

SIGNED_LIFETIME: Final = 600
"""Seconds that a signed answer counts (JARM §2.1)."""


class Redirect(msgspec.Struct, frozen=True):
    """An answer in the address that the browser is sent to."""

    location: str

    def __repr__(self) -> str:
        """Without the address: a code may stand in it."""
        return "Redirect(...)"


class FormPost(msgspec.Struct, frozen=True):
    """An answer in a form that the browser sends (OAuth 2.0 Form Post Response Mode)."""

    uri: str
    parameters: dict[str, str]

    def __repr__(self) -> str:
        """Without the parameters: a code may be among them."""
        return f"FormPost({self.uri!r})"


async def allow(
    registry: Registry,
    issuer: Issuer,
    request: AuthorizationRequest,
    authentication: Authentication,
    scope: Sequence[str],
) -> Redirect | FormPost:
    """The answer to a request that a person allowed; what it carries is durable before it is given.

    Args:
        registry: what every use case is given.
        issuer: whose endpoint was asked.
        request: what was asked for.
        authentication: who allowed it.
        scope: the scopes that they allowed, all of the request or less.

    Raises:
        ProtocolError: `access_denied`; the client ended meanwhile.
        StoreUnavailable: nothing was acknowledged.
    """
    client = await _client(registry, issuer, request.client_id)
    now = registry.clock() // 1000
    allowed = Grant(
        issuer=issuer.name,
        grant_id=grant.new_id(registry),
        client_id=request.client_id,
        authentication=authentication,
        scope=tuple(scope),
        resource=request.resource,
        nonce=request.nonce,
        claims=request.claims,
        authorization_details=request.authorization_details,
        created_at=now,
    )
    words = request.response_type.split()
    answer: dict[str, Any] = {}
    changes: list[Change] = []
    if "token" in words:
        lifetime = issuer.settings.authorization.access_token_lifetime
        allowed = msgspec.structs.replace(allowed, expires_at=now + lifetime)
        resources = request.resource
        issued = await tokens.issue(
            registry, issuer, client, Binding(), now, scope=scope, resources=resources, grant=allowed
        )
        answer |= issued.answer
        changes += [grant.stored(allowed), *issued.changes]
    if "code" in words:
        value, stored = code.issue(registry, issuer, request, allowed, now)
        answer["code"] = value
        changes.append(stored)
    if "id_token" in words:
        answer["id_token"] = await id_token.make(
            registry,
            issuer,
            client,
            allowed,
            nonce=request.nonce,
            access_token=answer.get("access_token", ""),
            code=answer.get("code", ""),
            alone=words == ["id_token"],
            now=now,
        )
        changes += logout.remembered(issuer, client, authentication)
    await registry.store.change(changes)
    return await _answer(registry, issuer, client, _address(request), answer, now)


async def refuse(
    registry: Registry, issuer: Issuer, to: AuthorizationRequest | ReturnAddress, error: ProtocolError
) -> Redirect | FormPost:
    """The answer that tells a client why it gets nothing (RFC 6749 §4.1.2.1).

    Args:
        registry: what every use case is given.
        issuer: whose endpoint was asked.
        to: the request, or where it said that an answer may go.
        error: why.

    Raises:
        ProtocolError: `access_denied`; the client ended meanwhile.
        StoreUnavailable: the store does not answer.
    """
    client = await _client(registry, issuer, to.client_id)
    answer = {"error": error.kind.code, "error_description": error.description}
    address = _address(to) if isinstance(to, AuthorizationRequest) else to
    return await _answer(registry, issuer, client, address, answer, registry.clock() // 1000)


async def _client(registry: Registry, issuer: Issuer, client_id: str) -> Client:
    client = await clients.find(registry, issuer, client_id)
    if client is not None and client.state is State.PENDING:
        raise ProtocolError("access_denied", "This application waits for its operator's review.")
    if client is None or not client.usable:
        raise ProtocolError("access_denied", "This application has been suspended or removed.")
    return client


def _address(request: AuthorizationRequest) -> ReturnAddress:
    return ReturnAddress(
        client_id=request.client_id,
        redirect_uri=request.redirect_uri,
        redirect_uri_given=request.redirect_uri_given,
        response_mode=request.response_mode,
        state=request.state,
    )


async def _answer(
    registry: Registry, issuer: Issuer, client: Client, to: ReturnAddress, answer: dict[str, Any], now: int
) -> Redirect | FormPost:
    members = {**answer, **({} if to.state is None else {"state": to.state}), "iss": issuer.url}
    mode, _, signed = to.response_mode.partition(".")
    if signed:
        members = {"response": await _signed(registry, issuer, client, members, now)}
    parameters = {name: value if isinstance(value, str) else _encode(value).decode() for name, value in members.items()}
    if mode == "form_post":
        return FormPost(to.redirect_uri, parameters)
    if mode == "fragment":
        return Redirect(f"{to.redirect_uri}#{urlencode(parameters)}")
    return Redirect(f"{to.redirect_uri}{'&' if '?' in to.redirect_uri else '?'}{urlencode(parameters)}")


async def _signed(registry: Registry, issuer: Issuer, client: Client, members: dict[str, Any], now: int) -> str:
    """The answer as a JWT (JARM §2.1): whom it is from and for, and for how long it counts."""
    claims = {**members, "aud": client.client_id, "exp": now + SIGNED_LIFETIME}
    return await signing.secured(registry, issuer, client, claims, "authorization", "JWT")


_encode: Final = msgspec.json.Encoder().encode
