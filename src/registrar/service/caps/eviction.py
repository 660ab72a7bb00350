"""Making room: the oldest client of a cap that was never used goes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from registrar.domain.client import Client, State, tombstone
from registrar.domain.events import Actor
from registrar.service import last_use
from registrar.service.caps.cap import COUNTED, TOTAL, Cap
from registrar.service.ports import ClientQuery, Conflict, Item, NotFound, Put
from registrar.service.registry import Issuer, Registry

PLACE: Final = "cap_place"
"""What says how far the clients of a cap were looked at."""
LOOKED_AT: Final = 2_000
"""Clients that one registration looks at for one that was never used; where all of these are used, it is refused."""
_GOES: Final = (State.ACTIVE, State.PENDING)
"""Who may make room. Who waits for a review does too: else a flood of what is held would close the door to all others. Who
was suspended does not: that is somebody's decision, and perhaps evidence.
"""
_UNUSED: Final = "it was never used, and another one came"
_ENDED: Final = "its template was deleted, and another one came"
_PAGE: Final = 200
_PAGES: Final = (4, *(_PAGE for _ in range(LOOKED_AT // _PAGE)))
_AGAIN: Final = 3_600
"""Seconds after which clients that were looked at are looked at again."""
_SETTLED_MS: Final = 60_000


async def evict(registry: Registry, issuer: Issuer, cap: Cap) -> bool:
    """Delete the oldest client of a cap that was never used; False where there is none, Conflict where others were faster.

    How far was looked is kept for a while, so that those who come to a full cap do not look at the same clients again; of
    all clients it is kept for good, because there stand all those that were deleted. It stays behind the last minute: of
    clients that came at the same time, the last to be stored need not stand last.
    """
    now = registry.clock() // 1000
    item = await registry.store.item(issuer.name, PLACE, cap.key)
    began = item.body.decode() if item and item.lives(now) else ""
    until = item.expires_at if item and item.lives(now) else 0 if cap.name == TOTAL else now + _AGAIN
    after, behind = began, f"{registry.clock() - _SETTLED_MS:011x}"

    def moved() -> list[Put]:
        place = min(after, behind)
        return [Put(Item(issuer.name, PLACE, cap.key, place.encode(), expires_at=until))] if place > began else []

    for size in _PAGES:
        rows = await _oldest(registry, issuer, cap, after, size)
        open_to = [(key, one) for key, one in rows if one and _may_go(one) and cap.refuses(one) and cap.has(one)]
        used = await asyncio.gather(*(_used(registry, one) for _, one in open_to))
        for (after, client), used_at in zip(open_to, used, strict=True):  # noqa: B007 (`moved` tells it)
            if not used_at:
                await _take_away(registry, issuer, cap, client, moved())
                return True
        after = rows[-1][0] if rows else after
        if len(rows) < size:
            break
    if changes := moved():
        await registry.store.change(changes)
    return False


def _may_go(client: Client) -> bool:
    return client.state in _GOES or client.ended_by_template


async def _used(registry: Registry, client: Client) -> int:
    """When a client was last used; 0 where it never was, or never will be again."""
    return 0 if client.ended_by_template else await last_use.at(registry.store, client.issuer, client.client_id)


async def _take_away(registry: Registry, issuer: Issuer, cap: Cap, client: Client, moved: Sequence[Put]) -> None:
    """Delete a client.

    Raises:
        Conflict: somebody has just done something with it. It may have been used, and may have made room for another one:
            who came second counts again, rather than be told that all are in use.
    """
    now_ms, ended = registry.clock(), client.ended_by_template
    event = registry.audit.event(
        "client.evicted",
        issuer.name,
        Actor("registrar", "none"),
        client_id=client.client_id,
        time_ms=now_ms,
        detail={"limit": f"clients.{cap.name}", "reason": _ENDED if ended else _UNUSED},
    )
    gone = tombstone(client, now_ms // 1000)
    unused = () if ended else (last_use.unused_since(issuer.name, client.client_id, 0, 0),)
    try:
        await registry.store.update(gone, [event], expected=client.version, changes=[*unused, *moved])
    except (Conflict, NotFound):
        raise Conflict(cap.key) from None


async def _oldest(
    registry: Registry, issuer: Issuer, cap: Cap, after: str, limit: int
) -> Sequence[tuple[str, Client | None]]:
    """Clients of a cap and where each stands, the oldest first: their identifiers begin with the time."""
    if cap.terms is not None:
        query = ClientQuery(issuer.name, terms=cap.terms)
        page = await registry.store.clients(query, after=(issuer.name, after), limit=limit)
        return [(client.client_id, client) for client in page]
    items = await registry.store.items(issuer.name, COUNTED, owner=cap.key, after=after, limit=limit)
    found = await asyncio.gather(*(registry.store.find(issuer.name, one.client_id) for one in items))
    return [(one.key, client) for one, client in zip(items, found, strict=True)]
