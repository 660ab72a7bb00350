"""How long the audit is kept: what names people can be erased, and old events taken away; the chains stay whole.

Events are taken away in whole batches, whosever they are: a batch is a commit of a process, and a chain is a writer's, so
that an issuer has none of its own that could be shortened. What an issuer can have is its own time for whom events name.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from itertools import accumulate
from typing import Final

import msgspec

from registrar.domain.credentials import Unreadable
from registrar.domain.events import Actor, Event
from registrar.service import checkpoints, leases, passage
from registrar.service.leases import EVERYWHERE
from registrar.service.ports import Change, Conflict, Erase, EventQuery, Item, Put, StoredEvent, StoreUnavailable
from registrar.service.registry import Registry

KIND: Final = "forgotten"
"""The item that says how far whom an issuer's events name was erased."""
_PAGE: Final = 500
TAKEN: Final = "pruned"
"""The item that says how far in the log events were taken away."""
_BATCHES: Final = 100
_EVENTS: Final = 2_000
"""Events that one write takes away, or those of one batch: whoever registers meanwhile waits for it."""
_EVERY: Final = 3_600
_SELF: Final = Actor("operator", "local")
PRUNED: Final = "registrar-pruned"
"""The `typ` of the statement that events were taken away on purpose (RFC 8725 §3.11)."""


class Pruned(msgspec.Struct, frozen=True):
    """What that statement says."""

    log: str
    """Of which log."""
    until: int
    """The last place in it that events were taken away from."""
    before: int
    """Seconds since 1970: no event of then or later was."""


log = logging.getLogger("registrar")


async def redact(
    registry: Registry, actor: Actor, endpoint: str, query: EventQuery, *, before: int = 0, person: str = ""
) -> int:
    """Erase what opens the commitments of events; how many.

    Args:
        registry: what every use case is given.
        actor: who does it.
        endpoint: by which door.
        query: of which events.
        before: seconds since 1970: of events before that alone; 0 for all.
        person: of events that name this person, account or address, alone.

    Raises:
        StoreUnavailable: the store does not answer; what was erased stays so, and the same call goes on.
    """
    count, began = 0, registry.clock()
    async for page in _pages(registry, query):
        found: list[Change] = [
            Erase(one.sequence)
            for one in page
            if one.event.personal
            and not (one.event.kind == "audit.redacted" and one.event.time_ms >= began)  # its own
            and (not before or one.event.time_ms < before * 1000)
            and (not person or _names(one, person))
        ]
        if not found:
            continue
        count += len(found)
        issuer = query.issuer or EVERYWHERE
        detail = {"count": len(found), "reason": "of a person" if person else ""}
        event = registry.audit.event(
            "audit.redacted", issuer, actor, endpoint=endpoint, client_id=query.client_id or "", detail=detail
        )
        await registry.store.change(found, [event])
    return count


def _names(one: StoredEvent, person: str) -> bool:
    disclosed: dict[str, tuple[str, str]] = msgspec.json.decode(one.event.personal)
    return any(value == person for _, value in disclosed.values())


async def _pages(registry: Registry, query: EventQuery) -> AsyncIterator[list[StoredEvent]]:
    after = 0
    while page := await registry.store.events(query, after=after, limit=_PAGE):
        after = page[-1].sequence
        yield list(page)


class _Until(msgspec.Struct, frozen=True):
    """How far something was done, by sequence numbers or places in the log: what is done is not read again every hour."""

    until: int = 0


async def forget(registry: Registry, issuer: str, before: int) -> int:
    """Erase whom the events of an issuer before a time name, going on where it was; in how many events.

    Args:
        registry: what every use case is given.
        issuer: the configured name.
        before: seconds since 1970.

    Raises:
        StoreUnavailable: the store does not answer; the next call goes on.
    """
    count = 0
    while True:
        held = await registry.store.item(issuer, KIND, KIND)
        after = _until(held)
        # All issuers' are read, and each once: of an issuer that has few, the next one may lie behind all others'.
        page = await registry.store.events(EventQuery(), after=after, limit=_PAGE)
        mine = [one for one in page if one.event.issuer == issuer] or page
        old = mine[: _old([one.event.time_ms // 1000 for one in mine], before, registry.clock() // 1000)]
        if not old:
            return count
        found: list[Change] = [Erase(one.sequence) for one in old if one.event.personal and one.event.issuer == issuer]
        noted = _noted(issuer, KIND, old[-1].sequence, held)
        detail = {"count": len(found), "since": before}
        event = registry.audit.event("audit.redacted", issuer, _SELF, endpoint="retention", detail=detail)
        try:
            await registry.store.change([noted, *found], [event] if found else [])
        except Conflict:
            return count  # another process is at it
        count += len(found)


def _until(held: Item | None) -> int:
    return msgspec.json.decode(held.body, type=_Until).until if held else 0


def _noted(issuer: str, kind: str, until: int, held: Item | None) -> Put:
    version = held.version if held else 0
    return Put(Item(issuer, kind, kind, msgspec.json.encode(_Until(until)), version + 1), version)


def _old(times: Sequence[int], before: int, now: int) -> int:
    """How many of the first of some events are from before a time.

    One that is dated ahead of now was written by a clock that was wrong. What is written after it and is old says that it
    is old too, or nothing behind it would ever be forgotten.
    """
    last = max((at for at, time in enumerate(times) if time < before), default=-1)
    for at, time in enumerate(times[: last + 1]):
        if before <= time <= now + leases.APART:
            return at
    return last + 1


def _newest(events: Sequence[StoredEvent], now: int) -> int:
    """When the last event of a batch was written, in seconds since 1970, as far as its clock was right."""
    times = [one.event.time_ms // 1000 for one in events]
    return max((time for time in times if time <= now + leases.APART), default=max(times, default=0))


async def prune(registry: Registry, before: int, *, actor: Actor = _SELF, endpoint: str = "retention") -> int:
    """Take away the events of the oldest batches of the log, while all of a batch are older; how many events.

    Only what a checkpoint covers is taken away, so that it is on record that it was there.

    Args:
        registry: what every use case is given.
        before: seconds since 1970.
        actor: who does it.
        endpoint: by which door.

    Raises:
        StoreUnavailable: the store does not answer; the next call goes on.
        Unreadable: the key-encryption key of the signing key is missing.
    """
    latest = await checkpoints.latest(registry)
    if latest is None:
        return 0
    log, covered = latest.checkpoint.log, latest.checkpoint.size
    count = 0
    while True:
        noted = await registry.store.item(EVERYWHERE, TAKEN, TAKEN)
        place = _until(noted)
        batches = [one for one in await registry.store.log(after=place, limit=_BATCHES) if one.place <= covered]
        now = registry.clock() // 1000
        held = [await registry.store.told(one.writer, one.number, one.number) for one in batches]
        old = _few(held[: _old([_newest(events, now) for events in held], before, now)])
        if not old:
            return count
        changes: list[Change] = [Erase(event.sequence, whole=True) for events in held[:old] for event in events]
        until, told = batches[old - 1].place, list[Event]()
        if changes:
            # Signed, because it excuses what is missing: whoever can write events as a writer does could else write this.
            signed = await checkpoints.sign(registry, Pruned(log, until, before), PRUNED)
            detail = {"count": until, "since": before, "signed": signed}
            told.append(registry.audit.event("audit.pruned", EVERYWHERE, actor, endpoint=endpoint, detail=detail))
        try:
            await registry.store.change([_noted(EVERYWHERE, TAKEN, until, noted), *changes], told)
        except Conflict:
            return count  # another process is at it
        count += len(changes)


def _few(held: Sequence[Sequence[StoredEvent]]) -> int:
    """How many of the first of some batches have so few events that they are taken away together."""
    sums = accumulate(map(len, held))
    return max(min(1, len(held)), sum(number <= _EVENTS for number in sums))


def needed(registry: Registry, days: int) -> bool:
    """Whether anything is ever taken away."""
    return bool(days) or any(one.settings.audit.personal_days for one in registry.issuers.values())


async def keep(registry: Registry, days: int, rest: int) -> None:
    """Take away what is old, every hour, in one process of all, until cancelled.

    Args:
        registry: what every use case is given.
        days: how old events may become; 0 keeps them. Whom they name has the time of each issuer.
        rest: seconds for which a clock that went ahead is not believed.
    """
    holder = registry.entropy(8).hex()
    while True:
        await asyncio.sleep(_EVERY)
        now = registry.clock() // 1000
        try:
            mine = await leases.take(registry.store, "retention", holder, now, 2 * _EVERY)
            if mine and await passage.may_end_things(registry, rest):
                for name, issuer in registry.issuers.items():
                    if personal := issuer.settings.audit.personal_days:
                        await forget(registry, name, now - personal * 86_400)
                if days:
                    await prune(registry, now - days * 86_400)
        except (StoreUnavailable, Unreadable) as problem:
            log.warning("events that are too old are still there: %s", problem)
