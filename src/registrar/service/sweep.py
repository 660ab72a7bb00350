"""The sweep: clients whose date has come are looked at, in pages, by one process of many, and it goes on where it was.

Each client is looked at by its date, which stands in an index, so that what is not due costs nothing. Writes expect what
was seen: a client that is changed or deleted meanwhile is left alone. One that is used between the look and the write may
be suspended all the same, and comes back by its next use; nothing is deleted that was not suspended before, and whatever
uses a suspended client changes it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec

from registrar.domain import lifecycle
from registrar.domain.access_token import GRANT
from registrar.domain.client import Client, State, tombstone
from registrar.domain.events import Actor
from registrar.domain.lifecycle import DAY, EVENT, IDLE, Lifetime, Look, Step
from registrar.policy import Contradiction
from registrar.service import leases, passage, ports
from registrar.service.audit import Caller
from registrar.service.leases import EVERYWHERE
from registrar.service.ports import Change, ClientQuery, Conflict, Due, Item, NotFound, Put, StoreUnavailable
from registrar.service.registry import Issuer, Registry

INTERVAL: Final = 60
"""Seconds between two rounds."""
KIND: Final = "sweep"
"""The item that says how far those were looked at that had no date."""
_PAGE: Final = 200
_AT_ONCE: Final = 32
_REST: Final = 0.0001
_ADOPTED: Final = 1_000
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
    while page := await registry.store.due(registry.clock() // 1000, limit=_PAGE):
        before = counts.total()
        found = [(one, await _look(registry, one)) for one in page]
        if dry:
            counts.update(look.step for _, look in found)
            return counts
        later = [
            ports.Look(one.client.issuer, one.client.client_id, look.due_at, one.client.due_at)
            for one, look in found
            if look.step is Step.NOTHING
        ]
        acts = [(one, look) for one, look in found if look.step is not Step.NOTHING]
        if later:
            await registry.store.change(later)
            counts[Step.NOTHING] += len(later)
        for at in range(0, len(acts), _AT_ONCE):
            few = acts[at : at + _AT_ONCE]
            done = await asyncio.gather(*(_act(registry, one, look) for one, look in few))
            counts.update(step for step in done if step is not None)
            await asyncio.sleep(rest * len(few))
        told(len(page))
        if counts.total() == before:
            break  # others are at the same clients
    return counts


def lifetime_of(registry: Registry, client: Client) -> Lifetime | None:
    """The lifetime of a client's policy; None where its issuer or its policy is configured no more."""
    issuer = registry.issuers.get(client.issuer)
    try:
        judge = issuer.judge(client.policy) if issuer else None
    except Contradiction:
        judge = None
    return judge.policy.lifetime if judge else None


async def _look(registry: Registry, one: Due) -> Look:
    now = registry.clock() // 1000
    lifetime = lifetime_of(registry, one.client)
    if lifetime is None:
        return Look(Step.NOTHING, now + DAY)
    found = lifecycle.look(one.client, one.used_at, lifetime, now, protected=False)
    if found.step in (Step.NOTHING, Step.EXPIRE) or not await _protected(registry, one.client, now):
        return found
    return lifecycle.look(one.client, one.used_at, lifetime, now, protected=True)


async def _protected(registry: Registry, client: Client, now: int) -> bool:
    """Whether something that a person allowed it still lives."""
    held = await registry.store.items(client.issuer, GRANT, client_id=client.client_id, limit=_GRANTS)
    return any(item.lives(now) for item in held)


async def _act(registry: Registry, one: Due, look: Look) -> Step | None:
    """Take a step; None where the client changed meanwhile."""
    client, now = one.client, registry.clock() // 1000
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
    try:
        await registry.store.update(after, [event], expected=client.version)
    except (Conflict, NotFound):
        return None
    return look.step


async def used(registry: Registry, issuer: Issuer, client: Client, caller: Caller) -> Client:
    """A client that comes back: where nobody had used it, being used resumes it, and anything else stays as it is.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    if client.state is not State.SUSPENDED or client.suspended_by != IDLE:
        return client
    now = registry.clock() // 1000
    lifetime = lifetime_of(registry, client) or Lifetime()
    after = msgspec.structs.replace(
        client,
        version=client.version + 1,
        state=State.ACTIVE,
        updated_at=now,
        suspended_at=0,
        suspended_by="",
        due_at=now + (lifetime.idle or DAY),
    )
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


async def adopt(registry: Registry, told: Callable[[int], None] = lambda _: None) -> int:
    """Give dates to clients that were registered before their policy had a lifetime, or a shorter one; how many.

    Once for each set of lifetimes that is configured; it goes on where it was.

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
        changes: list[Change] = []
        for client in page:
            lifetime = lifetime_of(registry, client)
            if lifetime is None or client.state is State.DELETED:
                continue
            first = lifecycle.first(client.created_at, client.expires_at, lifetime) or (
                client.created_at + lifetime.idle if lifetime.idle else 0
            )
            if first and (not client.due_at or first < client.due_at):
                changes.append(ports.Look(client.issuer, client.client_id, max(first, now), client.due_at))
        count += len(changes)
        last = (page[-1].issuer, page[-1].client_id) if page else place.after
        place = Place(wanted, last, done=len(page) < _ADOPTED)
        await registry.store.change([*changes, Put(Item(EVERYWHERE, KIND, KIND, msgspec.json.encode(place)))])
        told(len(page))
        await asyncio.sleep(0)
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
                await adopt(registry)
                await sweep(registry, rest=_REST)
        except StoreUnavailable as problem:
            log.warning("clients that are due are not looked at: %s", problem)
