"""The token endpoint (RFC 6749 §3.2): a grant goes in, tokens come out; durable before they are answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn

import msgspec

from registrar.authorization import (
    client_authentication,
    clients,
    code,
    device,
    grant,
    id_token,
    logout,
    resource,
    sender,
    tokens,
)
from registrar.authorization.call import Call
from registrar.authorization.grant import Grant
from registrar.authorization.request import asked_scope
from registrar.authorization.sender import Binding
from registrar.authorization.tokens import Issued
from registrar.domain.access_token import SCOPE, AccessToken
from registrar.domain.claims import OPENID
from registrar.domain.client import Client
from registrar.domain.errors import ProtocolError
from registrar.domain.events import Actor, Event
from registrar.service.ports import Change, Conflict
from registrar.service.registry import Issuer, Registry


class TokenRequest(NamedTuple):
    """A token request of an authenticated client that registered the grant type."""

    registry: Registry
    issuer: Issuer
    call: Call
    client: Client
    binding: Binding
    now: int


async def answer(registry: Registry, issuer: Issuer, call: Call) -> dict[str, Any]:
    """Answer a token request (RFC 6749 §3.2.1, §5).

    Raises:
        ProtocolError: of RFC 6749 §5.2 and its companions; nothing was issued.
        StoreUnavailable: nothing was acknowledged.
    """
    now = registry.clock() // 1000
    grant_type = call.required("grant_type")
    exchange = _GRANTS.get(grant_type)
    if exchange is None:
        raise ProtocolError("unsupported_grant_type", f"The grant types here are {', '.join(_GRANTS)}.")
    client = await client_authentication.authenticate(registry, issuer, call, now)
    if grant_type not in client.metadata.get("grant_types", ()):
        raise ProtocolError("unauthorized_client", f"This client did not register the grant type {grant_type}.")
    binding = await sender.bind(registry, issuer, call, client, now)
    return await exchange(TokenRequest(registry, issuer, call, client, binding, now))


# --- client credentials: RFC 6749 §4.4 --------------------------------------------------------------------------------


async def _client_credentials(request: TokenRequest) -> dict[str, Any]:
    registry, issuer, call, client, binding, now = request
    if clients.is_public(client):
        raise ProtocolError("unauthorized_client", "A client without credentials cannot use client_credentials.")
    scope = asked_scope(call.parameters.get("scope", ""), clients.registered_scope(client))
    resources = resource.asked(issuer, call.parameters.get("resource", ""))
    issued = await tokens.issue(registry, issuer, client, binding, now, scope=scope, resources=resources)
    await _store(request, issued)
    return issued.answer


# --- authorization code: RFC 6749 §4.1.3 ------------------------------------------------------------------------------


async def _authorization_code(request: TokenRequest) -> dict[str, Any]:
    registry, issuer, call, client, _, now = request
    presented = call.required("code")
    found = await code.find(registry, issuer, presented, now)
    if found is None:
        raise ProtocolError("invalid_grant", "The code is unknown or has expired.")
    item, held = found
    if held.grant.client_id != client.client_id:
        raise ProtocolError("invalid_grant", "The code was issued to another client.")
    if item.version != code.FRESH:
        await _revoke_replayed(request, held.grant, "the code was used before")
    _check_redirect_uri(call, held)
    _check_verifier(call, held)
    if held.dpop_jkt and request.binding.dpop_jkt != held.dpop_jkt:
        raise ProtocolError("invalid_dpop_proof", "The code is bound to another key (RFC 9449 section 10).")
    try:
        return await _issue_first(request, held.grant, [code.used(issuer, item, held, now)])
    except Conflict:
        await _revoke_replayed(request, held.grant, "the code was used twice at once")


def _check_redirect_uri(call: Call, held: code.Code) -> None:
    """The same as in the authorization request, where that named one (RFC 6749 §4.1.3)."""
    given = call.parameters.get("redirect_uri", "")
    if given != held.redirect_uri and (given or held.redirect_uri_given):
        raise ProtocolError("invalid_grant", "redirect_uri is not the one of the authorization request.")


def _check_verifier(call: Call, held: code.Code) -> None:
    """RFC 7636 §4.6, and RFC 9700 §2.1.1: a verifier without a challenge is an attack on the challenge."""
    verifier = call.parameters.get("code_verifier", "")
    if held.code_challenge and not verifier:
        raise ProtocolError(
            "invalid_grant", "code_verifier is missing; the authorization request had a code_challenge."
        )
    if verifier and not held.code_challenge:
        raise ProtocolError("invalid_grant", "code_verifier is given; the authorization request had no code_challenge.")
    if verifier and not code.verifies(held.code_challenge, verifier):
        raise ProtocolError("invalid_grant", "code_verifier is not the one of the code_challenge.")


# --- refresh token: RFC 6749 §6 ---------------------------------------------------------------------------------------


async def _refresh_token(request: TokenRequest) -> dict[str, Any]:
    registry, issuer, call, client, binding, now = request
    presented = call.required("refresh_token")
    for _ in range(2):  # a second look, where another use of the same token was quicker
        found = await tokens.find_refresh_token(registry, issuer, presented, now)
        if found is None:
            raise ProtocolError("invalid_grant", "The refresh token is unknown, expired or revoked.")
        item, held = found
        if held.client_id != client.client_id:
            raise ProtocolError("invalid_grant", "The refresh token was issued to another client.")
        allowed = await grant.find(registry, issuer, held.grant_id, now)
        if allowed is None:
            raise ProtocolError("invalid_grant", "What the person allowed has ended.")
        grace = issuer.settings.authorization.refresh_token_grace
        if held.replaced_at and now - held.replaced_at >= grace:
            await _revoke_replayed(request, allowed, "a replaced refresh token was used")
        sender.check(binding, held.dpop_jkt, held.certificate_thumbprint)
        scope = _narrowed_scope(call, held.scope)
        rotates = tokens.rotates(issuer, client)
        changes: list[Change] = []
        if rotates:
            since = held.replaced_at or now
            changes.append(tokens.replaced(issuer, item, held, since))
        try:
            return await _issue_under(request, allowed, changes, refresh=rotates, scope=scope)
        except Conflict:
            continue
    raise ProtocolError("invalid_grant", "The refresh token is being used by another request.")


def _narrowed_scope(call: Call, granted: Sequence[str]) -> tuple[str, ...]:
    """The scopes of a refreshed token: no more than was granted (RFC 6749 §6)."""
    words = tuple(dict.fromkeys(call.parameters.get("scope", "").split()))
    if not set(words) <= set(granted):
        raise ProtocolError("invalid_scope", "A refreshed token has no more scopes than were granted.")
    return words or tuple(granted)


# --- device code: RFC 8628 §3.4 ---------------------------------------------------------------------------------------


async def _device_code(request: TokenRequest) -> dict[str, Any]:
    registry, issuer, call, client, _, now = request
    allowed, used = await device.poll(registry, issuer, client, call.required("device_code"), now)
    try:
        return await _issue_first(request, allowed, [used])
    except Conflict:
        raise ProtocolError("invalid_grant", "The device code was used at the same moment.") from None


# --- what the grants share --------------------------------------------------------------------------------------------


async def _issue_first(request: TokenRequest, allowed: Grant, changes: list[Change]) -> dict[str, Any]:
    """Issue the first tokens under a grant, which begins to last.

    Raises:
        Conflict: another request was quicker.
    """
    lifetimes = request.issuer.settings.authorization
    refreshable = tokens.refreshable(request.issuer, request.client, allowed.scope)
    lifetime = lifetimes.refresh_token_lifetime if refreshable else lifetimes.access_token_lifetime
    lasting = msgspec.structs.replace(allowed, expires_at=request.now + lifetime)
    changes.append(grant.stored(lasting))
    return await _issue_under(request, lasting, changes, refresh=refreshable, nonce=allowed.nonce)


async def _issue_under(
    request: TokenRequest,
    allowed: Grant,
    changes: list[Change],
    *,
    refresh: bool,
    scope: Sequence[str] = (),
    nonce: str | None = None,
) -> dict[str, Any]:
    """Issue tokens under a grant of a person.

    Raises:
        Conflict: another request was quicker.
    """
    registry, issuer, call, client, binding, now = request
    resources = resource.narrowed(issuer, allowed.resource, call.parameters.get("resource", ""))
    issued = await tokens.issue(
        registry, issuer, client, binding, now, scope=scope or allowed.scope, resources=resources, grant=allowed
    )
    issued.changes[:0] = changes  # what can be refused stands first: then nothing has to be taken back
    if OPENID in (scope or allowed.scope):
        access_token = issued.answer["access_token"]
        issued.answer["id_token"] = await id_token.make(
            registry, issuer, client, allowed, nonce=nonce, access_token=access_token, now=now
        )
        issued.changes.extend(logout.remembered(issuer, client, allowed.authentication))
    if refresh:
        value, stored = tokens.refresh_token(registry, issuer, client, binding, allowed, now)
        issued.answer["refresh_token"] = value
        issued.changes.append(stored)
    await _store(request, issued)
    return issued.answer


async def _store(request: TokenRequest, issued: Issued) -> None:
    registry, issuer, _, client, _, now = request
    noted = registry.last_use.note(issuer.name, client.client_id, now)
    told = [_told(request, issued.token)] if SCOPE in issued.token.scope else []
    await registry.store.change([*issued.changes, *noted], told)


def _told(request: TokenRequest, token: AccessToken) -> Event:
    """What registers clients is told of, as an operator's initial access token is."""
    detail = {
        "kind_of_token": token.kind.value,
        "expires_at": token.expires_at,
        "token_scope": list(token.scope),
    }
    return request.registry.audit.event(
        "token.issued",
        request.issuer.name,
        _actor(request, token.subject),
        endpoint=request.call.endpoint,
        client_id=token.client_id,
        token_id=token.token_id,
        detail=detail,
    )


async def _revoke_replayed(request: TokenRequest, allowed: Grant, reason: str) -> NoReturn:
    """End a grant of which something was used twice: one of the two users stole it (RFC 9700 §4.14.2).

    Raises:
        ProtocolError: `invalid_grant`, always.
    """
    await grant.revoke(request.registry, allowed, _actor(request), reason, endpoint=request.call.endpoint)
    raise ProtocolError("invalid_grant", f"Everything under this grant is revoked: {reason}.")


def _actor(request: TokenRequest, person: str = "") -> Actor:
    return Actor("client", "client_authentication", person=person, address=request.call.address)


_GRANTS: Final[Mapping[str, Callable[[TokenRequest], Awaitable[dict[str, Any]]]]] = {
    "authorization_code": _authorization_code,
    "refresh_token": _refresh_token,
    "client_credentials": _client_credentials,
    device.GRANT_TYPE: _device_code,
}
