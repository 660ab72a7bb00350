"""Finding a client by the identifier of a request, and what its registration says of it."""

from __future__ import annotations

from registrar.domain.client import Client
from registrar.service.clients import find

__all__ = ["find", "is_public", "registered_scope"]


def is_public(client: Client) -> bool:
    """Whether a client has nothing to authenticate with (RFC 6749 §2.1)."""
    return client.metadata.get("token_endpoint_auth_method") == "none"


def registered_scope(client: Client) -> tuple[str, ...]:
    """The scopes that a client may ask for."""
    return tuple(client.metadata.get("scope", "").split())
