"""Windows: how often something happened since the first time, counted by this process or by all of them together."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, Protocol

REMEMBERED: Final = 100_000
"""Windows that a process keeps at the most; beyond, the ones begun first are forgotten: memory is worth more."""
_LOOKED_AT: Final = 8


class Windows(Protocol):
    """Counting in windows, each of which begins with the first time and ends by itself."""

    async def hit(self, key: str, seconds: int, now: int) -> int:
        """Count once, and tell how often that makes it in this window.

        Args:
            key: what is counted.
            seconds: how long a window is.
            now: seconds since 1970.
        """
        ...

    async def look(self, key: str, now: int) -> int:
        """How often it happened in this window, without counting."""
        ...

    async def left(self, key: str, now: int) -> int:
        """Seconds until the window ends; 1 at the least, for whoever is told to wait."""
        ...

    async def forget(self, key: str, now: int) -> None:
        """End a window."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...


@dataclass(slots=True)
class _Window:
    """One that is open or was; it counts in place, as it is hit with every registration."""

    number: int
    began: int
    ends: int

    def counts(self, now: int) -> bool:
        """Whether it is open. Where the clock has gone back behind its begin it is not: it might last for a year."""
        return self.began <= now < self.ends


@dataclass(slots=True)
class OwnWindows:
    """The windows of this process alone."""

    _kept: OrderedDict[str, _Window] = field(default_factory=OrderedDict)
    """By their keys, in the order in which they began. A plain dictionary would look for its first entry through all that
    were taken away before."""

    async def hit(self, key: str, seconds: int, now: int) -> int:
        """Count once, and tell how often that makes it."""
        found = self._kept.get(key)
        if found is not None and found.began <= now < found.ends:
            found.number += 1
            return found.number
        if found is not None:
            del self._kept[key]
        self._make_room(now)
        self._kept[key] = _Window(1, now, now + seconds)
        return 1

    async def look(self, key: str, now: int) -> int:
        """How often it happened, without counting."""
        found = self._kept.get(key)
        return found.number if found is not None and found.counts(now) else 0

    async def left(self, key: str, now: int) -> int:
        """Seconds until the window ends, 1 at the least."""
        found = self._kept.get(key)
        return max(1, found.ends - now) if found is not None and found.counts(now) else 1

    async def forget(self, key: str, now: int) -> None:  # noqa: ARG002 (of the protocol)
        """End a window."""
        self._kept.pop(key, None)

    async def close(self) -> None:
        """Let go."""
        self._kept.clear()

    def _make_room(self, now: int) -> None:
        """Forget a few windows that are over, and the oldest where there are too many."""
        kept = self._kept
        for _ in range(min(_LOOKED_AT, len(kept))):
            oldest = next(iter(kept))
            if kept[oldest].counts(now) and len(kept) < REMEMBERED:
                return
            del kept[oldest]
