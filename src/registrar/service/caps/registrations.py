"""Registrations within the caps of an issuer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

from registrar.domain.client import Client
from registrar.domain.errors import ProtocolError
from registrar.domain.events import Event
from registrar.service.caps.cap import NO_CAPS, Cap, of_client, of_issuer, of_labels
from registrar.service.caps.counting import ATTEMPTS, make_room, make_room_in_all, mistaken, one_more, room
from registrar.service.ports import Change, Conflict, Spend
from registrar.service.registry import Issuer, Registry


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
    if settings == NO_CAPS and not quotas:
        await registry.store.create(client, event, spend, changes)
        return
    # Those of labels first: nobody is to make room for one that is refused.
    caps, total = [*quotas, *of_client(issuer, client, address)], of_issuer(issuer.name, settings.total)
    for _ in range(ATTEMPTS):
        counted = room(registry, issuer, caps, total, client)
        try:
            if counted is not None:
                await registry.store.create(client, event, spend, (*changes, *counted))
            elif not await _in_turn(registry, issuer, caps, total, client, event, spend, changes):
                continue
        except Conflict as conflict:
            if not mistaken(registry, issuer, caps, total, str(conflict)):
                raise
            continue
        one_more(registry, issuer, caps, total)
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
        if caps and room(registry, issuer, caps, total, client) is not None:
            return False
        counted = [change for cap in caps for change in await make_room(registry, issuer, cap, client)]
        if total:
            counted.append(await make_room_in_all(registry, issuer, total, client, turns))
        await registry.store.create(client, event, spend, (*changes, *counted))
    return True
