"""The sweep: clients whose date has come are looked at, in pages, by one process of many, and it goes on where it was.

Each client is looked at by its date, which stands in an index, so that what is not due costs nothing. Writes expect what
was seen: a client that is changed, deleted or used meanwhile is left alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from registrar.domain import lifecycle
from registrar.domain.access_token import GRANT
from registrar.domain.client import IDLE, Client, State, tombstone
from registrar.domain.events import Actor
from registrar.domain.lifecycle import DAY, EVENT, Lifetime, Look, Step
from registrar.policy import Contradiction
from registrar.service import last_use, leases, passage, ports
from registrar.service.audit import Caller
from registrar.service.leases import EVERYWHERE
from registrar.service.ports import ClientQuery, Conflict, Date, Due, Item, NotFound, Put, StoreUnavailable
from registrar.service.registry import Issuer, Registry

INTERVAL: Final = 60
"""Seconds between two rounds."""
KIND: Final = "sweep"
"""The item that says how far those were looked at that had no date."""
_PAGE: Final = 400
_SLICE: Final = 200
_AT_ONCE: Final = 32
_REST: Final = 0.0001
_ADOPTED: Final = 100
_GRANTS: Final = 100
_TIME: Final = Actor("time", "none")

log = logging.getLogger("registrar")


async def sweep(
    registry: Registry, *, dry: bool = False, rest: float = 0, told: Callable[[int], None] = lambda _: None
) -> Counter[Step]:
    """Look at every client whose date has come; what became of how many.

    Args:
        registry: what every use case is given.
        dry: whether only to say what would become of the first that are due.
        rest: seconds to rest for each client that something became of: whoever registers goes first.
        told: is told how many more were looked at.

    Raises:
        StoreUnavailable: the store does not answer; what was done by then stays done.
    """
    counts: Counter[Step] = Counter()
    while page := await registry.store.due(now := registry.clock() // 1000, limit=_PAGE):
        before = counts.total()
        if dry:
            found = [(one, _look(_lifetime(registry, one), one, now)) for one in page]
            return Counter([(await _settled(registry, one, look, now)).step for one, look in found])
        acts = await _postponed(registry, page, now)
        counts[Step.NOTHING] += len(page) - len(acts)
        for at in range(0, len(acts), _AT_ONCE):
            few = acts[at : at + _AT_ONCE]
            done = await asyncio.gather(*(_act(registry, one, look) for one, look in few))
            counts.update(step for step in done if step is not None)
            await asyncio.sleep(rest * len(few))
        told(len(page))
        if counts.total() == before:
            break  # others are at the same clients
    return counts


async def _postponed(registry: Registry, page: Sequence[Due], now: int) -> list[tuple[Due, Look]]:
    """Give the next date to those of a page to whom nothing happens; the others.

    In slices, of which one waits while another is made durable: then every commit takes a few dates, and none so many
    that whoever registers beside them would wait for it.
    """
    acts: list[tuple[Due, Look]] = []
    turns = asyncio.Semaphore(2)

    async def slice_of(few: Sequence[Due]) -> None:
        async with turns:
            lifetimes = {key: lifetime_of(registry, *key) for key in {(one.issuer, one.life.policy) for one in few}}
            found = [(one, _look(lifetimes[one.issuer, one.life.policy], one, now)) for one in few]
            acts.extend(both for both in found if both[1].step is not Step.NOTHING)
            dates = [
                Date(one.issuer, one.client_id, look.due_at, one.due_at)
                for one, look in found
                if look.step is Step.NOTHING
            ]
            if dates:
                await registry.store.change([ports.Look(dates)])

    await asyncio.gather(*(slice_of(page[at : at + _SLICE]) for at in range(0, len(page), _SLICE)))
    return acts


def lifetime_of(registry: Registry, name: str, policy: str) -> Lifetime | None:
    """The lifetime of an issuer's policy; None where the issuer or the policy is configured no more."""
    issuer = registry.issuers.get(name)
    try:
        judge = issuer.judge(policy) if issuer else None
    except Contradiction:
        judge = None
    return judge.policy.lifetime if judge else None


def _lifetime(registry: Registry, one: Due) -> Lifetime | None:
    return lifetime_of(registry, one.issuer, one.life.policy)


def _look(lifetime: Lifetime | None, one: Due, now: int, *, protected: bool = False) -> Look:
    if lifetime is None:
        return Look(Step.NOTHING, now + DAY)
    return lifecycle.look(one.life, one.used_at, lifetime, now, protected=protected)


async def _settled(registry: Registry, one: Due, look: Look, now: int) -> Look:
    """What becomes of it once it is known whether something that a person allowed it still lives."""
    if look.step in (Step.NOTHING, Step.EXPIRE):
        return look
    after = ""
    while held := await registry.store.items(one.issuer, GRANT, client_id=one.client_id, after=after, limit=_GRANTS):
        if any(item.lives(now) for item in held):
            return _look(_lifetime(registry, one), one, now, protected=True)
        if len(held) < _GRANTS:
            break
        after = held[-1].key
    return look


async def _act(registry: Registry, one: Due, look: Look) -> Step | None:
    """Take a step; None where the client was changed or used meanwhile."""
    now = registry.clock() // 1000
    look = await _settled(registry, one, look, now)
    if look.step is Step.NOTHING:
        await registry.store.change([ports.Look([Date(one.issuer, one.client_id, look.due_at, one.due_at)])])
        return look.step
    client = await registry.store.find(one.issuer, one.client_id)
    if client is None or client.version != one.life.version:
        return None
    reason = "its time is over" if look.step is Step.EXPIRE else "nobody uses it"
    if look.step in (Step.DELETE, Step.EXPIRE):
        after = msgspec.structs.replace(tombstone(client, now), due_at=0)
    else:
        changed: dict[str, Any] = {"warned_at": now}
        if look.step is Step.SUSPEND:
            changed = {"state": State.SUSPENDED, "suspended_at": now, "suspended_by": IDLE}
        after = msgspec.structs.replace(
            client, version=client.version + 1, updated_at=now, due_at=look.due_at, **changed
        )
    detail = {"reason": reason, "expires_at": look.due_at}
    event = registry.audit.event(EVENT[look.step], client.issuer, _TIME, client_id=client.client_id, detail=detail)
    ends = look.step in (Step.SUSPEND, Step.DELETE)
    unused = [last_use.unused_since(one.issuer, one.client_id, one.used_at, one.noted)] if ends else []
    try:
        await registry.store.update(after, [event], expected=client.version, changes=unused)
    except (Conflict, NotFound):
        return None
    return look.step


async def used(registry: Registry, issuer: Issuer, client: Client, caller: Caller) -> Client:
    """A client that comes back: where nobody had used it, being used resumes it, and anything else stays as it is.

    To be named is not to be used: who calls this knows that it was the client, or a person who wants it.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    if not client.dormant:
        return client
    now = registry.clock() // 1000
    lifetime = lifetime_of(registry, client.issuer, client.policy) or Lifetime()
    after = msgspec.structs.replace(
        client,
        version=client.version + 1,
        state=State.ACTIVE,
        updated_at=now,
        suspended_at=0,
        suspended_by="",
    )
    after = msgspec.structs.replace(after, due_at=lifecycle.look(after, now, lifetime, now, protected=False).due_at)
    actor = Actor("client", "none", address=caller.address)
    event = registry.audit.event(
        "client.resumed",
        issuer.name,
        actor,
        endpoint=caller.endpoint,
        client_id=client.client_id,
        detail={"reason": "it is used again"},
    )
    try:
        await registry.store.update(
            after, [event], expected=client.version, changes=registry.last_use.note(issuer.name, client.client_id, now)
        )
    except (Conflict, NotFound):
        return await registry.store.find(issuer.name, client.client_id) or client
    return after


# --- clients that have no date yet ----------------------------------------------------------------------------------------


class Place(msgspec.Struct, frozen=True):
    """How far clients were given dates, under which lifetimes."""

    lifetimes: str
    after: tuple[str, str] = ("", "")
    done: bool = False


async def adopt(registry: Registry, *, rest: float = 0, told: Callable[[int], None] = lambda _: None) -> int:
    """Give dates to clients that were registered before their policy had a lifetime, or a shorter one; how many.

    Once for each set of lifetimes that is configured; it goes on where it was.

    Args:
        registry: what every use case is given.
        rest: seconds to rest for each client that was looked at: whoever registers or reads goes first.
        told: is told how many more were looked at.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    wanted = _lifetimes(registry)
    item = await registry.store.item(EVERYWHERE, KIND, KIND)
    place = msgspec.json.decode(item.body, type=Place) if item else Place("")
    if place.lifetimes != wanted:
        place = Place(wanted)
    count = 0
    while not place.done:
        page = await registry.store.clients(ClientQuery(), after=place.after, limit=_ADOPTED)
        now = registry.clock() // 1000
        dates: list[Date] = []
        for client in page:
            lifetime = lifetime_of(registry, client.issuer, client.policy)
            if lifetime is None or client.state is State.DELETED:
                continue
            first = lifecycle.first(client.created_at, client.expires_at, lifetime)
            if first and (not client.due_at or first < client.due_at):
                dates.append(Date(client.issuer, client.client_id, max(first, now), client.due_at))
        count += len(dates)
        last = (page[-1].issuer, page[-1].client_id) if page else place.after
        place = Place(wanted, last, done=len(page) < _ADOPTED)
        await registry.store.change([ports.Look(dates), Put(Item(EVERYWHERE, KIND, KIND, msgspec.json.encode(place)))])
        told(len(page))
        await asyncio.sleep(rest * len(page))
    return count


def _lifetimes(registry: Registry) -> str:
    """What is configured, in one hash."""
    rows = [
        (name, policy, msgspec.structs.astuple(held.lifetime))
        for name, issuer in sorted(registry.issuers.items())
        for policy, held in sorted(issuer.policies.items())
    ]
    return hashlib.sha256(msgspec.json.encode(rows)).hexdigest()


async def keep_sweeping(registry: Registry, rest: int) -> None:
    """Sweep at every interval, in one process of all, until cancelled.

    Args:
        registry: what every use case is given.
        rest: seconds for which a clock that went ahead is not believed.
    """
    holder = registry.entropy(8).hex()
    while True:
        await asyncio.sleep(INTERVAL)
        try:
            mine = await leases.take(registry.store, KIND, holder, registry.clock() // 1000, 5 * INTERVAL)
            if mine and await passage.may_end_things(registry, rest):
                await adopt(registry, rest=_REST)
                await sweep(registry, rest=_REST)
        except StoreUnavailable as problem:
            log.warning("clients that are due are not looked at: %s", problem)
