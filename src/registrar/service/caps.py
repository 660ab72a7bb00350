"""Caps: how many clients may live at once, of one owner, token, software, address or label, and of an issuer in all.

Where a cap is full, the oldest of its clients that was never used makes room, and only where all are used is a new one
refused. A label's makes no room: what is labelled is somebody's by an operator's word, and not the next one's to end. A cap
must never be a way to lock others out, so each counts what one caller is answerable for: a `software_id` that nobody
attested is counted together with the address that claims it.

Every registration under a cap raises the version of an item of that cap in the same transaction. A process that has counted
the clients once knows from that version how many they are at the most, whoever else registers: while there is room by that
number, nobody waits and nothing is read. Where it is used up, who comes takes turns, counts the clients that live after
reading the version, has the oldest make room, and raises the version no further than there is room by that: of two that
counted the same clients one counts again. So the number holds exactly, over all processes. An update that
brings a client under a cap counts like a registration; what a smaller setting leaves above it goes in steps. The client that
makes room is deleted in a transaction before that one; where the registration then fails, there is room for another.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import lru_cache
from typing import Final

import msgspec

from registrar.domain import terms
from registrar.domain.client import Assurance, Client, State, tombstone
from registrar.domain.errors import ProtocolError
from registrar.domain.events import Actor, Event
from registrar.domain.rates import of_address
from registrar.domain.settings import ClientLimits
from registrar.service import last_use, limits
from registrar.service.ports import (
    TALLY,
    Advance,
    Change,
    ClientQuery,
    Conflict,
    Count,
    Drop,
    Item,
    NotFound,
    Put,
    Spend,
)
from registrar.service.registry import Issuer, Registry

KIND: Final = "cap"
"""What the caps are called among the items of a store; the key names the cap, the version grows with each registration."""
COUNTED: Final = "cap_client"
"""What the clients of a cap are called that no term finds; `owner` is the cap, and they go when their client goes."""
PLACE: Final = "cap_place"
"""What says how far the clients of a cap were looked at."""
TOTAL: Final = "total"
LOOKED_AT: Final = 2_000
"""Clients that one registration looks at for one that was never used; where all of these are used, it is refused."""
_GOES: Final = (State.ACTIVE, State.PENDING)
"""Who may make room. Who waits for a review does too: else a flood of what is held would close the door to all others. Who
was suspended does not: that is somebody's decision, and perhaps evidence.
"""
_UNUSED: Final = "it was never used, and another one came"
_ENDED: Final = "its template was deleted, and another one came"
_PAGE: Final = 200
_NO_CAPS: Final = ClientLimits()
_PAGES: Final = (4, *(_PAGE for _ in range(LOOKED_AT // _PAGE)))
_AGAIN: Final = 3_600
"""Seconds after which clients that were looked at are looked at again."""
_SETTLED_MS: Final = 60_000
_AT_ONCE: Final = 8
"""Clients that make room for one, where a smaller setting left more than there may be."""
_ATTEMPTS: Final = 50
_REMEMBERED: Final = 100_000
"""Caps of which a process knows how many clients they have."""
_NAMES: Final = {
    "owner": "of this owner",
    "token": "of this initial access token",
    "software": "of this software",
    "address": "from this address",
    TOTAL: "of this issuer",
}


class Cap(msgspec.Struct, frozen=True):
    """A cap that a client counts for."""

    name: str
    limit: int
    key: str
    terms: tuple[str, ...] | None = None
    """What finds its clients; where it is none, items do."""
    evicts: bool = True
    """Whether the oldest client that was never used makes room."""
    labels: Mapping[str, str] | None = None
    """The labels that its clients have, and no others; where it is none, whatever they have."""

    def has(self, client: Client) -> bool:
        """Whether a client that the terms find is one of its."""
        return self.labels is None or self.labels == client.labels

    @property
    def whose(self) -> str:
        """Of whom its clients are, in words."""
        return _NAMES.get(self.name) or f"with this {self.name.partition('.')[2]}"

    def refuses(self, client: Client) -> bool:
        """Whether it may refuse a client, or have it make room for another."""
        return self.name != TOTAL or client.admission.shown is Assurance.OPEN


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
        ProtocolError: `too_many_clients`; `access_denied`, naming a label that has as many as it may; or
            `temporarily_unavailable`, where others were faster all the time.
        TokenSpent, Conflict, StoreUnavailable: as `Store.create`.
    """
    settings, quotas = issuer.settings.limits.clients, of_labels(issuer, client.labels) if client.labels else []
    if settings == _NO_CAPS and not quotas:
        await registry.store.create(client, event, spend, changes)
        return
    # Those of labels first: nobody is to make room for one that is refused.
    caps, total = [*quotas, *_caps(issuer, client, address)], _total(issuer.name, settings.total)
    for _ in range(_ATTEMPTS):
        counted = _room(registry, issuer, caps, total, client)
        try:
            if counted is not None:
                await registry.store.create(client, event, spend, (*changes, *counted))
            elif not await _in_turn(registry, issuer, caps, total, client, event, spend, changes):
                continue
        except Conflict as conflict:
            if not _mistaken(registry, issuer, caps, total, str(conflict)):
                raise
            continue
        _one_more(registry, issuer, caps, total)
        return
    raise ProtocolError("temporarily_unavailable")


async def _in_turn(
    registry: Registry,
    issuer: Issuer,
    caps: Sequence[Cap],
    total: Cap | None,
    client: Client,
    event: Event,
    spend: Spend | None,
    changes: Sequence[Change],
) -> bool:
    """Store a client where room has to be made or nobody knows; False where somebody has found out, and nobody has to wait."""
    async with AsyncExitStack() as turns:
        for key in sorted(cap.key for cap in caps):  # all in one order, so that nobody waits in a circle
            await turns.enter_async_context(registry.turns.of(key))
        if caps and _room(registry, issuer, caps, total, client) is not None:
            return False
        counted = [change for cap in caps for change in await _moved(registry, issuer, cap, client)]
        if total:
            counted.append(await _counted(registry, issuer, total, client, turns))
        await registry.store.create(client, event, spend, (*changes, *counted))
    return True


def of_labels(issuer: Issuer, given: Mapping[str, str]) -> list[Cap]:
    """The caps of labels that a client counts for."""
    most, found = issuer.settings.labels.most, list[Cap]()
    for name, value in given.items() if most else ():
        if value and (limit := most.get(name, 0)):
            one = terms.term(f"label.{name}", value)
            found.append(Cap(f"label.{name}", limit, _digest("label", one), (one,), evicts=False))
    return found


async def labelled(registry: Registry, issuer: Issuer, client: Client, given: Mapping[str, str]) -> list[Change]:
    """The changes that count a client for labels that it did not have, and for what is counted within them.

    Raises:
        ProtocolError: `access_denied`; a label has as many clients as it may. As `joined`.
        StoreUnavailable: the store does not answer.
    """
    caps = of_labels(issuer, given)
    counted = [change for cap in caps for change in await _moved(registry, issuer, cap, client)]
    labels = {name: value for name, value in {**client.labels, **given}.items() if value}
    return [*counted, *await joined(registry, issuer, client, msgspec.structs.replace(client, labels=labels))]


async def joined(registry: Registry, issuer: Issuer, before: Client, after: Client, address: str = "") -> list[Change]:
    """The changes that count a client for caps that it did not count for: an update is no way round what registrations are held to.

    Raises:
        ProtocolError: `too_many_clients`; or `temporarily_unavailable`, where others were faster all the time.
        StoreUnavailable: the store does not answer.
    """
    if issuer.settings.limits.clients == _NO_CAPS:
        return []
    for _ in range(_ATTEMPTS):
        try:
            return await _joined(registry, issuer, before, after, address)
        except Conflict:  # another one has just had the same client make room
            continue
    raise ProtocolError("temporarily_unavailable")


async def _joined(registry: Registry, issuer: Issuer, before: Client, after: Client, address: str) -> list[Change]:
    had, has = ({cap.key: cap for cap in _caps(issuer, one, address)} for one in (before, after))
    left = [cap for key, cap in had.items() if key not in has and cap.terms is None]
    found: list[Change] = [Drop(issuer.name, COUNTED, _place(after, cap)) for cap in left]
    for key in sorted(has.keys() - had.keys()):
        found += await _moved(registry, issuer, has[key], after)
    # An item that is dropped and put would be two statements of one write.
    put = {one.item.key for one in found if isinstance(one, Put)}
    return [one for one in found if not (isinstance(one, Drop) and one.key in put)]


def _caps(issuer: Issuer, client: Client, address: str) -> list[Cap]:
    settings = issuer.settings.limits.clients
    admission, found = client.admission, list[Cap]()
    # Within its labels: no tenant uses up the cap of another by naming its owner, nor has its clients make room.
    within = terms.of_labels(client.labels)
    if settings.owner and admission.owner:
        one = terms.term("owner", admission.owner)
        found.append(Cap("owner", settings.owner, _digest("owner", one, *within), (one, *within), labels=client.labels))
    if settings.token and admission.token_id:
        one = terms.term("token", admission.token_id)
        found.append(Cap("token", settings.token, _digest("token", one), (one,)))
    who, _ = of_address(address, issuer.settings.limits.ipv6_prefix)
    if settings.software and (software := client.metadata.get("software_id")):
        one = terms.term("software", software)
        if client.provenance.get("software_id", "").startswith("attested:"):
            both = (one, terms.term("statement", admission.statement_issuer), *within)
            found.append(Cap("software", settings.software, _digest("software", *both), both, labels=client.labels))
        elif who:
            found.append(Cap("software", settings.software, _digest("software", one, who, *within)))
    if settings.address and who:
        found.append(Cap("address", settings.address, _digest("address", who, *within)))
    return found


@lru_cache
def _total(issuer: str, limit: int) -> Cap | None:
    return Cap(TOTAL, limit, f"{TOTAL}.{issuer}", ()) if limit else None


def _digest(name: str, *parts: str) -> str:
    joined = "\0".join(parts)
    return f"{name}.{hashlib.sha256(joined.encode()).hexdigest()[:32]}"


def _room(
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


def _noted(issuer: Issuer, cap: Cap, client: Client) -> tuple[Put, ...]:
    """What says that the client counts for a cap; nothing where a term finds it."""
    if cap.terms is not None:
        return ()
    return (Put(Item(issuer.name, COUNTED, _place(client, cap), b"", client_id=client.client_id, owner=cap.key)),)


def _place(client: Client, cap: Cap) -> str:
    """The key of what says that a client counts for a cap. They begin with the time: rows are added where the last ones were."""
    return f"{client.client_id}.{cap.name}"


def _mistaken(registry: Registry, issuer: Issuer, caps: Sequence[Cap], total: Cap | None, key: str) -> bool:
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


def _one_more(registry: Registry, issuer: Issuer, caps: Sequence[Cap], total: Cap | None) -> None:
    for cap in caps:
        if known := registry.caps.get((issuer.name, cap.key)):
            registry.caps[issuer.name, cap.key] = known[0], known[1] + 1
    if total and (tally := registry.tallies.get(issuer.name)):
        registry.tallies[issuer.name] = tally[0] + 1, tally[1]


async def _moved(registry: Registry, issuer: Issuer, cap: Cap, client: Client) -> list[Change]:
    """Make room, and give the changes that count the client."""
    stands = await registry.store.item(issuer.name, KIND, cap.key)
    version = stands.version if stands else 0
    near = limits.near(cap.limit, issuer.settings.limits.near)
    known = registry.caps.get((issuer.name, cap.key))
    living = version - known[0] if known and version >= known[0] else cap.limit
    if living >= cap.limit or living + 1 == near:
        living = await _count(registry, issuer, cap)
    for _ in range(min(living - cap.limit + 1, _AT_ONCE)):
        if not (cap.evicts and await _evict(registry, issuer, cap)):
            raise _full(cap)
        living -= 1
    if len(registry.caps) >= _REMEMBERED:
        registry.caps.clear()
    before = version - living
    registry.caps[issuer.name, cap.key] = before, living
    if living + 1 == near:
        await limits.warn(registry, issuer, f"clients.{cap.name}", f"{cap.limit} clients {cap.whose}")
    return [Advance(issuer.name, KIND, cap.key, before + max(cap.limit, living + 1)), *_noted(issuer, cap, client)]


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


def _full(cap: Cap) -> ProtocolError:
    if not cap.evicts:
        said = f"There are {cap.limit} clients {cap.whose} already, and no more may be."
        return ProtocolError("access_denied", said)
    return ProtocolError(
        "too_many_clients",
        f"There are {cap.limit} clients {cap.whose}, as many as may be, and all are in use.",
    )


async def _counted(registry: Registry, issuer: Issuer, cap: Cap, client: Client, turns: AsyncExitStack) -> Count:
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
        if not await _evict(registry, issuer, cap):
            raise _full(cap)
        living -= 1
    return Count(issuer.name, max(cap.limit, living + 1))


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


async def _evict(registry: Registry, issuer: Issuer, cap: Cap) -> bool:
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
