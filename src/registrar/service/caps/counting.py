"""Counting a client for a cap: by what a process knows, by what the store has, and with room made."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

from registrar.domain import terms
from registrar.domain.client import Client
from registrar.domain.errors import ProtocolError
from registrar.service import limits
from registrar.service.caps.cap import COUNTED, TOTAL, Cap, place_of
from registrar.service.caps.eviction import PLACE, evict
from registrar.service.ports import TALLY, Advance, Change, ClientQuery, Count, Drop, Item, Put
from registrar.service.registry import Issuer, Registry

KIND: Final = "cap"
"""What the caps are called among the items of a store; the key names the cap, the version grows with each registration."""
ATTEMPTS: Final = 50
"""How often one is counted anew because others were faster."""
_AT_ONCE: Final = 8
"""Clients that make room for one, where a smaller setting left more than there may be."""
_REMEMBERED: Final = 100_000
"""Caps of which a process knows how many clients they have."""


def room(
    registry: Registry, issuer: Issuer, caps: Sequence[Cap], total: Cap | None, client: Client
) -> list[Change] | None:
    """What counts a client where there is room, as far as is known; None where somebody has to look, or to be warned."""
    found: list[Change] = []
    for cap in caps:
        nearly = limits.near(cap.limit, issuer.settings.limits.near) or cap.limit
        before, number = registry.caps.get((issuer.name, cap.key), (0, cap.limit))
        if number + 1 >= nearly:
            return None
        found += [Advance(issuer.name, KIND, cap.key, before + nearly - 1), *_noted(issuer, cap, client)]
    if total:
        nearly = limits.near(total.limit, issuer.settings.limits.near) or total.limit
        known, read_at = registry.tallies.get(issuer.name, (0, 0))
        if not known or known + 1 >= nearly or read_at != registry.clock() // 1000:
            return None
        found.append(Count(issuer.name, total.limit if total.refuses(client) else 0))
    return found


async def make_room(registry: Registry, issuer: Issuer, cap: Cap, client: Client) -> list[Change]:
    """Make room, and give the changes that count the client."""
    stands = await registry.store.item(issuer.name, KIND, cap.key)
    version = stands.version if stands else 0
    near = limits.near(cap.limit, issuer.settings.limits.near)
    known = registry.caps.get((issuer.name, cap.key))
    living = version - known[0] if known and version >= known[0] else cap.limit
    if living >= cap.limit or living + 1 == near:
        living = await _count(registry, issuer, cap)
    for _ in range(min(living - cap.limit + 1, _AT_ONCE)):
        if not (cap.evicts and await evict(registry, issuer, cap)):
            raise _full(cap)
        living -= 1
    if len(registry.caps) >= _REMEMBERED:
        registry.caps.clear()
    before = version - living
    registry.caps[issuer.name, cap.key] = before, living
    if living + 1 == near:
        await limits.warn(registry, issuer, f"clients.{cap.name}", f"{cap.limit} clients {cap.whose}")
    return [Advance(issuer.name, KIND, cap.key, before + max(cap.limit, living + 1)), *_noted(issuer, cap, client)]


async def make_room_in_all(
    registry: Registry, issuer: Issuer, cap: Cap, client: Client, turns: AsyncExitStack
) -> Count:
    """Make room among all clients of an issuer, and give the change that counts one more.

    What comes through the open door must not close the others: only who has nothing to show is refused, only such make
    room, and only such clients go.

    Raises:
        ProtocolError: `too_many_clients`.
    """
    living = await _living(registry, issuer, now=False)
    if living >= cap.limit and cap.refuses(client):
        await turns.enter_async_context(registry.turns.of(cap.key))
        living = await _living(registry, issuer, now=True)
    if 0 < limits.near(cap.limit, issuer.settings.limits.near) <= living + 1:
        await limits.warn_hourly(registry, issuer, f"clients.{TOTAL}", f"{cap.limit} clients {cap.whose}")
    if not cap.refuses(client):
        return Count(issuer.name)
    for _ in range(min(living - cap.limit + 1, _AT_ONCE)):
        if not await evict(registry, issuer, cap):
            raise _full(cap)
        living -= 1
    return Count(issuer.name, max(cap.limit, living + 1))


def one_more(registry: Registry, issuer: Issuer, caps: Sequence[Cap], total: Cap | None) -> None:
    """Know of a client that was stored."""
    for cap in caps:
        if known := registry.caps.get((issuer.name, cap.key)):
            registry.caps[issuer.name, cap.key] = known[0], known[1] + 1
    if total and (tally := registry.tallies.get(issuer.name)):
        registry.tallies[issuer.name] = tally[0] + 1, tally[1]


def mistaken(registry: Registry, issuer: Issuer, caps: Sequence[Cap], total: Cap | None, key: str) -> bool:
    """Believe no more that a cap has room; False where it is no cap that a write was refused for."""
    if total and key in (TALLY, total.key):
        registry.tallies.pop(issuer.name, None)
        return True
    for cap in caps:
        if cap.key == key:
            if known := registry.caps.get((issuer.name, key)):
                registry.caps[issuer.name, key] = known[0], cap.limit
            return True
    return False


async def synchronise(registry: Registry, issuer: Issuer) -> None:
    """Forget how many clients live, where they are not counted: what is not kept must not be believed later.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    if not issuer.settings.limits.clients.total and await registry.store.item(issuer.name, TALLY, TALLY):
        await forget(registry, issuer)


async def forget(registry: Registry, issuer: Issuer) -> None:
    """Have all clients counted anew, and looked at from the first.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    await registry.store.change([Drop(issuer.name, TALLY, TALLY), Drop(issuer.name, PLACE, f"{TOTAL}.{issuer.name}")])


async def _count(registry: Registry, issuer: Issuer, cap: Cap) -> int:
    if cap.terms is not None:
        most = 0 if cap.evicts else cap.limit
        apart = 0
        if cap.labels is not None and not cap.labels:  # no term says that a client has none
            for number in range(1, len(issuer.settings.labels.names) + 1):
                # Before all are counted: who comes in between is one too many, not one too few.
                labelled = (*cap.terms, terms.labelled(number))
                apart += await registry.store.count(ClientQuery(issuer.name, terms=labelled))
        return await registry.store.count(ClientQuery(issuer.name, terms=cap.terms), most=most) - apart
    return await registry.store.count_items(issuer.name, COUNTED, cap.key)


async def _living(registry: Registry, issuer: Issuer, *, now: bool) -> int:
    """How many clients live; 0 where nobody has counted them, as the first to be counted will.

    Unless it has to be what is so now, what was read within a second will do: the store refuses by what is so.
    """
    time = registry.clock() // 1000
    known, read_at = registry.tallies.get(issuer.name, (0, 0))
    if known and not now and read_at == time:
        return known
    item = await registry.store.item(issuer.name, TALLY, TALLY)
    living = item.version if item else 0
    registry.tallies[issuer.name] = living, time
    return living


def _noted(issuer: Issuer, cap: Cap, client: Client) -> tuple[Put, ...]:
    """What says that the client counts for a cap; nothing where a term finds it."""
    if cap.terms is not None:
        return ()
    return (Put(Item(issuer.name, COUNTED, place_of(client, cap), b"", client_id=client.client_id, owner=cap.key)),)


def _full(cap: Cap) -> ProtocolError:
    if not cap.evicts:
        said = f"There are {cap.limit} clients {cap.whose} already, and no more may be."
        return ProtocolError("access_denied", said)
    return ProtocolError(
        "too_many_clients",
        f"There are {cap.limit} clients {cap.whose}, as many as may be, and all are in use.",
    )
