"""Finding a client by the identifier of a request, and what its registration says of it."""

from __future__ import annotations

from registrar.domain import metadata_document
from registrar.domain.client import Client
from registrar.domain.server_metadata import Offered
from registrar.service import metadata_documents
from registrar.service.audit import Caller
from registrar.service.clients import find
from registrar.service.registry import Issuer, Registry, registrable_scopes

__all__ = ["arriving", "askable_scope", "find", "is_public", "offered_to", "registered_scope"]


async def arriving(registry: Registry, issuer: Issuer, client_id: str, caller: Caller) -> Client | None:
    """A client that somebody begins something with: as `find`, and one whose identifier is the URL of its document is met.

    Raises:
        ProtocolError: as `metadata_documents.meet`.
        StoreUnavailable: the store does not answer.
    """
    if issuer.documents is not None and metadata_document.is_url(client_id):
        return await metadata_documents.meet(registry, issuer, client_id, caller)
    return await find(registry, issuer, client_id)


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
