"""/logo/{client_id}: a client's logo, fetched by the guard, so that no page of ours sends a person's browser elsewhere.

The image is shown alone under a policy that lets nothing in it run, because SVG may hold a script (RFC 7591 §5).
"""

from __future__ import annotations

from typing import Final

from registrar.authorization import clients
from registrar.domain.errors import ProtocolError
from registrar.http.endpoints import Exchange
from registrar.http.wire import Answer
from registrar.service.ports import FetchError
from registrar.web import languages

_HEADERS: Final = [
    (b"cache-control", b"private, max-age=3600"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; sandbox"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-disposition", b"inline"),
]


async def show(exchange: Exchange) -> Answer:
    """GET /logo/{client_id}.

    Raises:
        ProtocolError: `not_found`; there is no such client, it has no logo, or it cannot be fetched.
        StoreUnavailable: the store does not answer.
    """
    client = await clients.find(exchange.registry, exchange.issuer, exchange.client_id)
    if client is None or not client.in_reach:
        raise ProtocolError("not_found")
    query = exchange.scope["query_string"].decode("ascii", "replace")
    wanted = query.removeprefix("language=") if query.startswith("language=") else ""
    logo = languages.choose(client.metadata, "logo_uri", (wanted.lower(),) if wanted else ())
    if logo is None:
        raise ProtocolError("not_found")
    try:
        registry = exchange.registry
        fetched = await registry.pictures.find(registry.fetch, logo.value, registry.clock() // 1000)
    except FetchError:
        raise ProtocolError("not_found", "The logo cannot be fetched.") from None
    return Answer(200, [(b"content-type", fetched.media_type.encode()), *_HEADERS], fetched.body)
