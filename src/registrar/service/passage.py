"""Time that has really passed, and a clock that jumps: nothing is taken away because of a clock until an operator had a say.

A server whose clock goes wrong by a year would delete every client that is due in that year, every permission and the
audit's old events, and putting the clock right would not bring them back. So the registry keeps the latest time that was
seen while servers ran. Where a clock is further ahead of it than clocks are apart, whatever deletes waits: for the clock
to be put right, for an operator's word (`registrar sweep`), or for some time in which nobody objected. What has expired
counts as gone by each clock meanwhile, as always; only that can be mended.

Servers that did not run for a while come back to the same: to the registry it is the same jump.
"""

from __future__ import annotations

import logging
from typing import Final

import msgspec

from registrar.service.leases import APART, EVERYWHERE
from registrar.service.ports import Conflict, Item, Put
from registrar.service.registry import Registry

KIND: Final = "clock"
"""The item that says what time it was last."""
_OFTEN: Final = 30
"""Seconds after which it is said again, by whichever process comes first."""

log = logging.getLogger("registrar")


class Seen(msgspec.Struct, frozen=True):
    """The latest time that is believed, in seconds since 1970, and since when one is seen that is not; 0 where none is."""

    at: int
    ahead_since: int = 0


async def may_end_things(registry: Registry, rest: int) -> bool:
    """Whether what time ends may be taken away now; the time is noted by the way.

    Args:
        registry: what every use case is given.
        rest: seconds after which a clock that went ahead is believed, where nobody objects; 0: at once.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    now = registry.clock() // 1000
    held = await registry.store.item(EVERYWHERE, KIND, KIND)
    seen = msgspec.json.decode(held.body, type=Seen) if held else Seen(now)
    version = held.version if held else 0
    if now <= seen.at + APART:
        if seen.ahead_since or not held or abs(now - seen.at) >= _OFTEN:
            await _note(registry, Seen(now), version)
        return True
    if not rest or 0 < seen.ahead_since <= now - rest:
        await _note(registry, Seen(now), version)
        return True
    if not 0 < seen.ahead_since <= now:
        log.warning(
            "no server ran for %.1f hours, or the clock went ahead by them: nothing that time ends is taken away for %.1f hours, "
            "unless `registrar sweep` says that the clock is right",
            (now - seen.at) / 3_600,
            rest / 3_600,
        )
        await _note(registry, Seen(seen.at, now), version)
    return False


async def believe(registry: Registry) -> None:
    """Take this process's clock for right, from now on.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    held = await registry.store.item(EVERYWHERE, KIND, KIND)
    await _note(registry, Seen(registry.clock() // 1000), held.version if held else 0)


async def _note(registry: Registry, seen: Seen, version: int) -> None:
    put = Put(Item(EVERYWHERE, KIND, KIND, msgspec.json.encode(seen), version + 1), version)
    try:
        await registry.store.change([put])
    except Conflict:
        return  # another process has just noted the same
