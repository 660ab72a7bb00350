"""Events of the audit as Security Event Tokens (RFC 8417), for systems that gather those of many sources."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from registrar.service import checkpoints
from registrar.service.leases import EVERYWHERE
from registrar.service.ports import StoredEvent
from registrar.service.registry import Registry

TYPE: Final = "secevent+jwt"
"""RFC 8417 §2.3."""
_URN: Final = "urn:registrar:event:"
_REGISTRY: Final = "urn:registrar:registry"
"""Who tells what is of no issuer: of the keys of the audit, and of what was taken away."""


async def token(registry: Registry, stored: StoredEvent) -> str:
    """An event as a token, signed with the key of the audit; who it names stays a commitment.

    Raises:
        Unreadable: the key-encryption key is missing.
        StoreUnavailable: the store does not answer.
    """
    body: dict[str, Any] = msgspec.json.decode(stored.event.body)
    issuer = registry.issuers.get(stored.event.issuer)
    itself = _REGISTRY if stored.event.issuer == EVERYWHERE else stored.event.issuer
    claims: dict[str, Any] = {
        "iss": issuer.url if issuer else itself,
        "iat": registry.clock() // 1000,
        "toe": stored.event.time_ms // 1000,
        # The same event has the same identifier in every export.
        "jti": f"{stored.writer}.{stored.batch}.{stored.position}",
        "events": {_URN + stored.event.kind: body},
    }
    if stored.event.client_id:
        claims["sub"] = stored.event.client_id
    return await checkpoints.sign(registry, claims, TYPE)
