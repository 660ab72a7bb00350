"""What an operator does about clients that are described by documents: looks, blocks, allows again, forgets."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from registrar.domain import metadata_document
from registrar.domain.client import State
from registrar.domain.metadata import Registered
from registrar.service import known_documents, metadata_documents
from registrar.service.known_documents import KIND, OWNER, Document, Known
from registrar.service.operators import Operator, Refused, Unknown, check_reason
from registrar.service.ports import Conflict, Put
from registrar.service.registry import Issuer, Registry

_PAGE: Final = 100


class DocumentState(enum.StrEnum):
    """What the client of a document may do."""

    BELIEVED = "believed"
    HELD = "held"
    """It waits until somebody has looked at it."""
    BLOCKED = "blocked"
    LAPSED = "lapsed"
    """It was refused since, could not be fetched for too long, or documents of its host are believed no more."""


class ShownDocument(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A client that is described by a document, as operators see it. Times are in seconds since 1970."""

    id: str
    """The SHA-256 of its URL, for a path that cannot hold a URL."""
    client_id: str
    """The URL of the document, which is the client's identifier."""
    state: DocumentState
    """What it may do."""
    digest: str = ""
    """The SHA-256 of the document as it was fetched last; absent where it never was."""
    created_at: int
    """When it was first accepted, or blocked."""
    changed_at: int
    """When it last said something else."""
    fetched_at: int = 0
    """When it was fetched last; absent where it never was."""
    until: int = 0
    """Until when it is believed, where it cannot be fetched again; absent where it is not."""
    held: str = ""
    """Why it is held."""
    reason: str = ""
    """Why it was blocked, or allowed again."""
    flags: tuple[str, ...] = ()
    """The rules that found something odd about who it says that it is."""
    metadata: Registered
    """What was judged of it."""


def shown(issuer: Issuer, known: Known, now: int) -> ShownDocument:
    """A document as operators see it."""
    one = known.document
    return ShownDocument(
        id=known_documents.key(one.url),
        client_id=one.url,
        state=_state(issuer, known, now),
        digest=one.digest,
        created_at=one.created_at,
        changed_at=one.changed_at,
        fetched_at=one.fetched_at,
        until=one.until,
        held=one.held,
        reason=one.reason,
        flags=one.flags,
        metadata=one.metadata,
    )


def _state(issuer: Issuer, known: Known, now: int) -> DocumentState:
    if known.document.blocked_at:
        return DocumentState.BLOCKED
    client = known.client(issuer, now)
    if client.usable:
        return DocumentState.BELIEVED
    return DocumentState.HELD if client.state is State.PENDING else DocumentState.LAPSED


async def every(registry: Registry, issuer: Issuer, after: str = "") -> AsyncIterator[ShownDocument]:
    """Every document that is remembered, in the order of `id`."""
    now = registry.clock() // 1000
    while page := await registry.store.items(issuer.name, KIND, owner=OWNER, after=after, limit=_PAGE):
        for one in page:
            if known := known_documents.read(one):
                yield shown(issuer, known, now)
        after = page[-1].key


async def find(registry: Registry, issuer: Issuer, name: str) -> Known:
    """A document by its URL or by the SHA-256 of that.

    Raises:
        Unknown: there is none.
    """
    known = known_documents.read(await registry.store.item(issuer.name, KIND, _key(name)))
    if known is None:
        raise Unknown(f"there is no document {name} that {issuer.name} knows")
    return known


async def block(registry: Registry, issuer: Issuer, operator: Operator, name: str, reason: str = "") -> ShownDocument:
    """Block the client of a document, whatever the document says; one that nobody has named yet can be blocked by its URL.

    Raises:
        Refused: it is blocked already, or the URL could be no client's.
    """
    check_reason(reason)
    now = registry.clock() // 1000
    known = known_documents.read(await registry.store.item(issuer.name, KIND, _key(name)))
    if known is None:
        known = Known(_unseen(name, now), 0)
    if known.document.blocked_at:
        raise Refused(f"{known.document.url} is blocked already")
    after = msgspec.structs.replace(known.document, blocked_at=now, reason=reason)
    return await _decided(registry, issuer, operator, known, after, "document.blocked")


def _unseen(url: str, now: int) -> Document:
    if not metadata_document.is_url(url):
        raise Unknown(f"there is no document {url}; one that was never seen is named by its URL")
    if fault := metadata_document.judge_url(url):
        raise Refused(f"{fault.reason}; accepted: {fault.accepted}")
    return Document(url=url, created_at=now, changed_at=now, expanded_at=now)


async def allow(
    registry: Registry, issuer: Issuer, operator: Operator, name: str, *, digest: str = "", reason: str = ""
) -> ShownDocument:
    """Allow the client of a document that was blocked, or that is held until somebody has looked at it.

    Args:
        registry: what every use case is given.
        issuer: whose.
        operator: who decides.
        name: the URL, or its SHA-256.
        digest: of what was looked at, where it is held: nothing else is allowed.
        reason: why.

    Raises:
        Refused: there is nothing to allow, or it says something else by now.
    """
    check_reason(reason)
    known = await find(registry, issuer, name)
    before = known.document
    if not before.blocked_at and not before.held:
        raise Refused(f"{before.url} is neither blocked nor held")
    if before.held and digest != before.digest:
        raise Refused(
            f"{before.url} is held, and it is allowed by the digest of what was looked at; now that is {before.digest}"
        )
    # It is fetched the next time that somebody names it: what it says may have changed while nobody looked.
    after = msgspec.structs.replace(before, blocked_at=0, held="", reason=reason)
    return await _decided(registry, issuer, operator, known, after, "document.allowed")


async def forget(registry: Registry, issuer: Issuer, operator: Operator, name: str, reason: str = "") -> str:
    """Forget a document, with everything that people allowed its client; gives the URL.

    Who names it again has it fetched as if it had never been; so does one that was blocked.

    Raises:
        Unknown: there is none.
    """
    check_reason(reason)
    known = await find(registry, issuer, name)
    url = known.document.url
    gone = metadata_documents.forgotten(registry, issuer, url, operator.actor(), operator.door, reason)
    await registry.store.change(gone)
    registry.refusals.forget(issuer.name, url)
    return url


async def _decided(
    registry: Registry, issuer: Issuer, operator: Operator, known: Known, after: Document, kind: str
) -> ShownDocument:
    event = registry.audit.event(
        kind,
        issuer.name,
        operator.actor(),
        endpoint=operator.door,
        client_id=after.url,
        detail={"reason": after.reason, "document_digest": after.digest},
    )
    put = Put(known_documents.item(issuer, after, known.version + 1), expected=known.version)
    try:
        await registry.store.change([put], [event])
    except Conflict:
        raise Refused(f"{after.url} was fetched anew at this moment; look at it again") from None
    registry.refusals.forget(issuer.name, after.url)
    return shown(issuer, Known(after, known.version + 1), registry.clock() // 1000)


def _key(name: str) -> str:
    return known_documents.key(name) if metadata_document.is_url(name) else name
