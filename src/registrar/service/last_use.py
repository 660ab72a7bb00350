"""When a client last used its credentials: kept coarsely, in the transaction of something that is written anyway."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from registrar.service.ports import Item, Put, Store

KIND: Final = "last_use"
"""What these are called among the items of a store; the key is the client's identifier, the body the time."""
COARSE: Final = 3_600
"""Seconds in which one use at the most is noted."""
_REMEMBERED: Final = 100_000


@dataclass(slots=True)
class LastUse:
    """What this process has noted; another process may note the same hour again, which does no harm."""

    _noted: dict[tuple[str, str], int] = field(default_factory=dict)

    def note(self, issuer: str, client_id: str, now: int) -> tuple[Put, ...]:
        """The change that notes a use, to be made with another write; none where this hour's was noted already."""
        key = (issuer, client_id)
        if 0 <= now - self._noted.get(key, -COARSE) < COARSE:
            return ()
        if len(self._noted) >= _REMEMBERED:
            self._noted.clear()  # at worst, some uses are noted twice in an hour
        self._noted[key] = now
        return (Put(Item(issuer, KIND, client_id, str(now).encode(), client_id=client_id)),)


async def at(store: Store, issuer: str, client_id: str) -> int:
    """When a client was last seen, in seconds since 1970, to the hour; 0 where it never was.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    found = await store.item(issuer, KIND, client_id)
    return int(found.body) if found else 0
