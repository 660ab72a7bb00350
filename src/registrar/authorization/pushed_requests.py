"""Pushed authorization requests (RFC 9126): a client hands its request over by itself, before the browser comes."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from registrar.authorization import client_authentication, request, sender
from registrar.authorization.call import Call, Parameters
from registrar.authorization.request import KIND, PUSHED, AuthorizationRequest
from registrar.domain import credentials
from registrar.domain.credentials import TOKEN_BYTES
from registrar.domain.errors import ProtocolError
from registrar.service import access
from registrar.service.ports import Item, Put
from registrar.service.registry import Issuer, Registry

_ABOUT_THE_CLIENT: Final = frozenset({"client_secret", "client_assertion", "client_assertion_type"})
_encode: Final = msgspec.json.Encoder().encode


async def push(registry: Registry, issuer: Issuer, call: Call) -> dict[str, Any]:
    """Judge a request now, and give the URI that stands for it (RFC 9126 §2.1, §2.2).

    Raises:
        ProtocolError: of the client's authentication or of the request, as they are at the authorization endpoint.
        StoreUnavailable: nothing was acknowledged.
    """
    now = registry.clock() // 1000
    client = await client_authentication.authenticate(registry, issuer, call, now)
    given = {name: value for name, value in call.parameters.items() if name not in _ABOUT_THE_CLIENT}
    if "request_uri" in given:
        raise ProtocolError("invalid_request", "A pushed request has no request_uri (RFC 9126 section 2.1).")
    asked = Parameters({**given, "client_id": client.client_id})
    judged = await request.judged(registry, issuer, client, asked, now, pushed=True)
    judged = _bound(judged, await sender.proved(registry, issuer, call, now))
    value = credentials.token(registry.entropy(TOKEN_BYTES))
    lifetime = issuer.settings.authorization.pushed_request_lifetime
    item = Item(
        issuer.name,
        KIND,
        access.key(value),
        _encode(judged),
        client_id=client.client_id,
        expires_at=now + lifetime,
    )
    await registry.store.change([Put(item, expected=0)])
    return {"request_uri": f"{PUSHED}{value}", "expires_in": lifetime}


def _bound(judged: AuthorizationRequest, jkt: str) -> AuthorizationRequest:
    """A proof that comes with the request binds the code as `dpop_jkt` does (RFC 9449 §10.1)."""
    if not jkt:
        return judged
    if judged.dpop_jkt not in (None, jkt):
        raise ProtocolError("invalid_dpop_proof", "dpop_jkt is the thumbprint of another key than the proved one.")
    return msgspec.structs.replace(judged, dpop_jkt=jkt)
