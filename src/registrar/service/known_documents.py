"""Client ID Metadata Documents that are known: remembered with what was judged of them, for all processes at once.

What is known is read here and nothing is fetched: who looks at a token or at an account's page must not wait for
somebody else's server. Who begins something has it fetched anew when it is time (`service.metadata_documents`).
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from registrar.domain import metadata_document
from registrar.domain.client import Admission, Assurance, Client, State
from registrar.domain.credentials import Credentials
from registrar.domain.metadata import Registered
from registrar.service.ports import Item
from registrar.service.registry import Issuer, Registry

KIND: Final = "metadata_document"
"""What these are called among the items of a store; the key is the SHA-256 of the URL."""
OWNER: Final = "client metadata documents"
"""Whose they all are, so that they can be counted; no person is called so."""
SKEW: Final = 60
"""Seconds by which the clocks of processes may differ."""
_ADMISSION: Final = Admission(Assurance.DOCUMENT)
_NO_CREDENTIALS: Final = Credentials()


class Document(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What is known of a document. Times are in seconds since 1970."""

    url: str
    metadata: Registered = Registered({})
    """As it was judged, with everything that was decided."""
    provenance: dict[str, str] = {}
    digest: str = ""
    """The SHA-256 of the document as it was fetched."""
    etag: str = ""
    judged_by: str = ""
    """The terms of the policy that judged it; under others it is judged again."""
    created_at: int
    """When it was first accepted."""
    changed_at: int
    """When it last said something else."""
    fetched_at: int = 0
    fresh_until: int = 0
    """Until when it is not fetched again."""
    until: int = 0
    """Until when it is believed, where it cannot be fetched; 0 where it was refused since."""
    expanded_at: int = 0
    """When it last gave its client more than it had; consents from before do not cover what came."""
    flags: tuple[str, ...] = ()
    held: str = ""
    """Why it waits for the operator; empty where it does not."""
    blocked_at: int = 0
    reason: str = ""
    """Why it was blocked, or allowed."""

    def fresh(self, now: int) -> bool:
        """Whether it need not be fetched; a clock that has gone back far makes it."""
        return self.fetched_at - SKEW <= now < self.fresh_until


class Known(msgspec.Struct, frozen=True):
    """A document and the version of the item that it was read from."""

    document: Document
    version: int

    def client(self, issuer: Issuer, now: int) -> Client:
        """The client that it describes, as far as it may do anything now."""
        one = self.document
        return Client(
            issuer=issuer.name,
            client_id=one.url,
            version=self.version,
            state=_state(issuer, one, now),
            created_at=one.created_at,
            updated_at=one.changed_at,
            metadata=one.metadata,
            credentials=_NO_CREDENTIALS,
            admission=_ADMISSION,
            policy=issuer.settings.metadata_documents.policy,
            provenance=one.provenance,
            flags=one.flags,
            expanded_at=one.expanded_at,
        )


def _state(issuer: Issuer, one: Document, now: int) -> State:
    if one.blocked_at or now >= one.until or not issuer.believes(metadata_document.host(one.url)):
        return State.SUSPENDED
    return State.PENDING if one.held else State.ACTIVE


def key(url: str) -> str:
    """What the store knows a document by, and an operator who cannot write a URL into a path."""
    return hashlib.sha256(url.encode()).hexdigest()


def item(issuer: Issuer, one: Document, version: int) -> Item:
    """The record of a document; it belongs to the client that it describes."""
    return Item(issuer.name, KIND, key(one.url), _encode(one), version, client_id=one.url, owner=OWNER)


async def stored(registry: Registry, issuer: Issuer, url: str) -> Known | None:
    """What is known of a document; None where nobody has named it yet, or it was forgotten.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    return read(await registry.store.item(issuer.name, KIND, key(url)))


def read(found: Item | None) -> Known | None:
    """A document as it was stored."""
    return Known(_decode(found.body), found.version) if found else None


async def find(registry: Registry, issuer: Issuer, url: str) -> Client | None:
    """The client of a document that is known, whatever its state; one that is not believed any more may do nothing.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    known = await stored(registry, issuer, url)
    return known.client(issuer, registry.clock() // 1000) if known else None


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Document).decode
