"""Turns: those of this process who want the same thing wait for one another, instead of undoing one another's work."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from weakref import WeakValueDictionary


@dataclass(slots=True)
class Turns:
    """Whose turn it is in this process; between processes, the store decides."""

    _locks: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    def of(self, key: str) -> asyncio.Lock:
        """The lock of a thing; it is there as long as somebody holds it or waits."""
        if (found := self._locks.get(key)) is None:
            found = self._locks[key] = asyncio.Lock()
        return found
