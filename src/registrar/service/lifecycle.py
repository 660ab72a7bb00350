"""What has ended is taken away: codes, tokens, sessions and whatever else expired. It counted as gone before."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from registrar.service import passage
from registrar.service.agreement import Agreement
from registrar.service.ports import StoreUnavailable
from registrar.service.registry import Registry

INTERVAL: Final = 60
"""Seconds between two rounds."""
_PAGE: Final = 250
"""Items that are taken away in one write: in SQLite the loop stands still for so long, some 5 milliseconds."""
_REST: Final = 0.01
"""Seconds between two pages, in which those are answered who waited for the first."""

log = logging.getLogger("registrar")


async def clean(registry: Registry) -> int:
    """Take away what has expired, and tell how much that was. In pages, so that no writer waits long.

    Raises:
        StoreUnavailable: the store does not answer; the next round does it.
    """
    gone = 0
    while (page := await registry.store.purge(registry.clock() // 1000, _PAGE)) == _PAGE:
        gone += page
        await asyncio.sleep(_REST)
    return gone + page


async def keep_clean(registry: Registry, rest: int) -> None:
    """Clean at every interval, and see whether others are configured alike, until cancelled.

    Args:
        registry: what every use case is given.
        rest: seconds for which a clock that went ahead is not believed.
    """
    agreement = Agreement(registry)
    while True:
        await asyncio.sleep(INTERVAL)
        try:
            if await passage.may_end_things(registry, rest):
                await clean(registry)
            await agreement.look()
        except StoreUnavailable as problem:
            log.warning("what has expired is still there: %s", problem)
