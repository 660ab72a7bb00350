"""Finding a client by the identifier of a request, and what its registration says of it."""

from __future__ import annotations

from registrar.domain.client import Client
from registrar.domain.server_metadata import Offered
from registrar.service.clients import find
from registrar.service.registry import Issuer, registrable_scopes

__all__ = ["askable_scope", "find", "is_public", "offered_to", "registered_scope"]


def is_public(client: Client) -> bool:
    """Whether a client has nothing to authenticate with (RFC 6749 §2.1)."""
    return client.metadata.get("token_endpoint_auth_method") == "none"


def registered_scope(client: Client) -> tuple[str, ...]:
    """The scopes that a client registered: what it may have for itself."""
    return tuple(client.metadata.get("scope", "").split())


def askable_scope(issuer: Issuer, client: Client) -> tuple[str, ...]:
    """The scopes that a client may ask a person for.

    One that registered none is not bound to none (RFC 7591 §2): widespread clients register without a scope and ask for
    what the issuer publishes; the person decides.
    """
    return registered_scope(client) or registrable_scopes(issuer.settings)


def offered_to(issuer: Issuer, client: Client) -> Offered:
    """What is offered under the policy of a client."""
    judge = issuer.judge(client.policy)
    return judge.offered if judge else issuer.offered
