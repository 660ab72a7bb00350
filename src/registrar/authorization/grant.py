"""A grant: what a person allowed a client, under which everything that is issued lives and dies."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from registrar.authorization.request import Authentication

KIND: Final = "grant"
"""What grants are called among the items of a store; the key is the grant's identifier."""


class Grant(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a person allowed. Codes, refresh and access tokens name their grant and are worth nothing without it."""

    issuer: str
    grant_id: str
    client_id: str
    authentication: Authentication
    scope: tuple[str, ...]
    resource: tuple[str, ...] = ()
    nonce: str | None = None
    claims: dict[str, Any] | None = None
    authorization_details: list[dict[str, Any]] | None = None
    created_at: int = 0
    expires_at: int = 0
