"""Finding a client by the identifier of a request: the one door, so that other kinds of identifiers can come in by it."""

from __future__ import annotations

from typing import Final

from registrar.domain import metadata_document
from registrar.domain.client import Client, State
from registrar.service import known_documents
from registrar.service.registry import Issuer, Registry

_CLIENT_ID: Final = 2048
"""Characters of an identifier at the most; one that is longer is nobody's."""


async def find(registry: Registry, issuer: Issuer, client_id: str) -> Client | None:
    """A client that exists, whatever its state; None for one that never did, was deleted or has expired.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    if not client_id or len(client_id) > _CLIENT_ID:
        return None
    if issuer.documents is not None and metadata_document.is_url(client_id):
        return await known_documents.find(registry, issuer, client_id)
    client = await registry.store.find(issuer.name, client_id)
    if client is None or client.state is State.DELETED or client.expired(registry.clock() // 1000):
        return None
    return client
