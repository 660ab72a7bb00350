"""UserInfo on the wire (OpenID Connect Core §5.3): an access token comes in the header or in a form."""

from __future__ import annotations

import re
from typing import Final

from registrar.authorization import sender, userinfo
from registrar.authorization.call import Call
from registrar.authorization.sender import Binding
from registrar.domain.credentials import PresentedToken
from registrar.domain.errors import BearerError, ProtocolError
from registrar.http import oauth, wire
from registrar.http.endpoints import Exchange
from registrar.http.wire import Answer

_AUTHORIZATION: Final = re.compile(r"(bearer|dpop) +([A-Za-z0-9\-._~+/]+=*) *", re.IGNORECASE)
_REALM: Final = "userinfo"
_REFUSED: Final = {"invalid_dpop_proof": "proof_refused", "use_dpop_nonce": "proof_without_nonce"}


async def userinfo_endpoint(exchange: Exchange) -> Answer:
    """GET or POST at the UserInfo endpoint (OpenID Connect Core §5.3.1)."""
    registry, issuer = exchange.registry, exchange.issuer
    call = await oauth.received(exchange, "userinfo_endpoint")
    scheme, presented = _presented(call)
    binding = await _binding(exchange, call, presented) if scheme == "dpop" else _certificate(call)
    told = await userinfo.answer(registry, issuer, presented, binding)
    return Answer(200, [(b"content-type", told.media_type.encode()), *wire.NO_STORE[1:]], told.body)


def _presented(call: Call) -> tuple[str, PresentedToken | None]:
    """The token of a request, and the scheme of the header; from the form it is a bearer token (RFC 6750 §2)."""
    in_form = call.parameters.get("access_token")
    if not call.authorization:
        return "", PresentedToken(in_form) if in_form else None
    if in_form:
        raise BearerError(
            "invalid_request", "A token is sent in one way, not in two (RFC 6750 section 2).", realm=_REALM
        )
    found = _AUTHORIZATION.fullmatch(call.authorization)
    if found is None:
        raise BearerError("invalid_request", "The Authorization header holds no access token.", realm=_REALM)
    return found[1].lower(), PresentedToken(found[2])


async def _binding(exchange: Exchange, call: Call, presented: PresentedToken | None) -> Binding:
    now = exchange.registry.clock() // 1000
    try:
        jkt = await sender.proved(exchange.registry, exchange.issuer, call, now, access_token=presented or "")
    except ProtocolError as error:
        kind = _REFUSED.get(error.kind.name, error.kind.name)
        raise BearerError(kind, error.description, realm=_REALM, scheme="DPoP", headers=error.headers) from None
    if not jkt:
        raise BearerError("proof_refused", "The header DPoP is missing.", realm=_REALM, scheme="DPoP")
    return Binding(jkt, _certificate(call).certificate_thumbprint)


def _certificate(call: Call) -> Binding:
    return Binding("", call.certificate.thumbprint if call.certificate else "")
