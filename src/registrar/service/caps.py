"""Caps: how many clients may live at once, of one owner, token, software or address.

Where a cap is full, the oldest of its clients that was never used makes room, and only where all are used is a new one
refused. A cap must never be a way to lock others out, so each counts what one caller is answerable for: a `software_id`
that nobody attested is counted together with the address that claims it.

Whoever registers under a cap replaces an item of that cap in the same transaction, so that of two who counted the same
clients one counts again: the number holds exactly, over all processes. What an update, or a smaller setting, brings above
it is made good by the next registration. The client that makes room is deleted in a transaction before that one; where
the registration then fails, there is room for another.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Final

import msgspec

from registrar.domain import terms
from registrar.domain.client import Client, State, tombstone
from registrar.domain.errors import ProtocolError
from registrar.domain.events import Actor, Event
from registrar.domain.rates import of_address
from registrar.domain.settings import ClientLimits
from registrar.service import last_use, limits
from registrar.service.ports import Change, ClientQuery, Conflict, Item, NotFound, Put, Spend
from registrar.service.registry import Issuer, Registry

KIND: Final = "cap"
"""What the caps are called among the items of a store; the key names the cap, the version how often it was moved."""
COUNTED: Final = "cap_client"
"""What the clients of a cap are called that no term finds; `owner` is the cap, and they go when their client goes."""
LOOKED_AT: Final = 2_000
"""Clients that are looked at for one that was never used; where all of these are used, the next is refused."""
_PAGE: Final = 200
_NO_CAPS: Final = ClientLimits()
_ATTEMPTS: Final = 50
_NAMES: Final = {
    "owner": "of this owner",
    "token": "of this initial access token",
    "software": "of this software",
    "address": "from this address",
}


class Cap(msgspec.Struct, frozen=True):
    """A cap that a client counts for."""

    name: str
    limit: int
    key: str
    terms: tuple[str, ...] = ()
    """What finds its clients; where there is none, items do."""


async def create(
    registry: Registry,
    issuer: Issuer,
    client: Client,
    event: Event,
    spend: Spend | None,
    changes: Sequence[Change],
    address: str,
) -> None:
    """Store a client within the caps of its issuer.

    Raises:
        ProtocolError: `too_many_clients`; `temporarily_unavailable`, where others were faster all the time.
        TokenSpent, Conflict, StoreUnavailable: as `Store.create`.
    """
    caps = _caps(issuer, client, address) if issuer.settings.limits.clients != _NO_CAPS else []
    if not caps:
        await registry.store.create(client, event, spend, changes)
        return
    async with AsyncExitStack() as turns:
        for cap in sorted(
            caps, key=lambda one: one.key
        ):  # all take them in one order, so that nobody waits in a circle
            await turns.enter_async_context(registry.turns.of(cap.key))
        for _ in range(_ATTEMPTS):
            moved = [change for cap in caps for change in await _moved(registry, issuer, cap, client)]
            try:
                await registry.store.create(client, event, spend, (*changes, *moved))
            except Conflict as conflict:
                if str(conflict) not in [cap.key for cap in caps]:
                    raise
                continue
            return
    raise ProtocolError("temporarily_unavailable")


def _caps(issuer: Issuer, client: Client, address: str) -> list[Cap]:
    settings = issuer.settings.limits.clients
    admission, found = client.admission, list[Cap]()
    if settings.owner and admission.owner:
        one = terms.term("owner", admission.owner)
        found.append(Cap("owner", settings.owner, _digest("owner", one), (one,)))
    if settings.token and admission.token_id:
        one = terms.term("token", admission.token_id)
        found.append(Cap("token", settings.token, _digest("token", one), (one,)))
    who, _ = of_address(address, issuer.settings.limits.ipv6_prefix)
    if settings.software and (software := client.metadata.get("software_id")):
        one = terms.term("software", software)
        if client.provenance.get("software_id", "").startswith("attested:"):
            both = (one, terms.term("statement", admission.statement_issuer))
            found.append(Cap("software", settings.software, _digest("software", *both), both))
        elif who:
            found.append(Cap("software", settings.software, _digest("software", one, who)))
    if settings.address and who:
        found.append(Cap("address", settings.address, _digest("address", who)))
    return found


def _digest(name: str, *parts: str) -> str:
    joined = "\0".join(parts)
    return f"{name}.{hashlib.sha256(joined.encode()).hexdigest()[:32]}"


async def _moved(registry: Registry, issuer: Issuer, cap: Cap, client: Client) -> list[Change]:
    """Make room, and give the changes that count the client."""
    stands = await registry.store.item(issuer.name, KIND, cap.key)
    version = stands.version if stands else 0
    living = await _count(registry, issuer, cap)
    for _ in range(living - cap.limit + 1):
        if not await _evict(registry, issuer, cap):
            raise ProtocolError(
                "too_many_clients",
                f"There are {cap.limit} clients {_NAMES[cap.name]}, as many as may be, and all are in use.",
            )
    settings = issuer.settings.limits
    if living + 1 == limits.near(cap.limit, settings.near):
        await limits.warn(registry, issuer, f"clients.{cap.name}", f"{cap.limit} clients {_NAMES[cap.name]}")
    changes: list[Change] = [Put(Item(issuer.name, KIND, cap.key, b"", version=version + 1), expected=version)]
    if not cap.terms:
        key = f"{cap.key}.{client.client_id}"
        changes.append(Put(Item(issuer.name, COUNTED, key, b"", client_id=client.client_id, owner=cap.key)))
    return changes


async def _count(registry: Registry, issuer: Issuer, cap: Cap) -> int:
    if cap.terms:
        return await registry.store.count(ClientQuery(issuer.name, terms=cap.terms))
    return len(await registry.store.items(issuer.name, COUNTED, owner=cap.key, limit=cap.limit + _PAGE))


async def _evict(registry: Registry, issuer: Issuer, cap: Cap) -> bool:
    """Delete the oldest client of a cap that was never used; False where there is none."""
    now_ms = registry.clock()
    async for client in _oldest(registry, issuer, cap):
        if client.state is not State.ACTIVE or await last_use.at(registry.store, issuer.name, client.client_id):
            continue
        unused = last_use.unused_since(issuer.name, client.client_id, 0, 0)
        event = registry.audit.event(
            "client.evicted",
            issuer.name,
            Actor("registrar", "none"),
            client_id=client.client_id,
            time_ms=now_ms,
            detail={"limit": f"clients.{cap.name}", "reason": "it was never used, and another one came"},
        )
        try:
            await registry.store.update(
                tombstone(client, now_ms // 1000), [event], expected=client.version, changes=[unused]
            )
        except (Conflict, NotFound):  # somebody has just done something with it: it lives
            continue
        return True
    return False


async def _oldest(registry: Registry, issuer: Issuer, cap: Cap) -> AsyncIterator[Client]:
    """The clients of a cap, the oldest first: their identifiers begin with the time."""
    after = ""
    for _ in range(LOOKED_AT // _PAGE):
        if cap.terms:
            query = ClientQuery(issuer.name, terms=cap.terms)
            page = await registry.store.clients(query, after=(issuer.name, after), limit=_PAGE)
            for client in page:
                yield client
            more, after = len(page), page[-1].client_id if page else ""
        else:
            found = await registry.store.items(issuer.name, COUNTED, owner=cap.key, after=after, limit=_PAGE)
            for one in found:
                if (held := await registry.store.find(issuer.name, one.client_id)) is not None:
                    yield held
            more, after = len(found), found[-1].key if found else ""
        if more < _PAGE:
            return
