"""What is done after the answer: bounded in number, never waited for, and given up when the server stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

MOST: Final = 1_000
"""Errands under way at once; what comes beyond is not done."""

log = logging.getLogger("registrar")


@dataclass(slots=True)
class Errands:
    """The tasks of this process that nobody waits for."""

    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def under_way(self) -> int:
        """How many are under way."""
        return len(self._under_way)

    def start(self, errand: Coroutine[Any, Any, None], name: str) -> None:
        """Begin an errand; a failure of it is written to the log.

        Args:
            errand: what is done.
            name: what it is called in the log.
        """
        if len(self._under_way) >= MOST:
            errand.close()
            log.warning("%s is not done: %d errands are under way", name, MOST)
            return
        task = asyncio.get_running_loop().create_task(errand, name=name)
        self._under_way.add(task)
        task.add_done_callback(self._ended)

    async def done(self) -> None:
        """Return when those are done that are under way now."""
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._under_way:
            task.cancel()
        await self.done()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (problem := task.exception()):
            log.error("%s failed", task.get_name(), exc_info=problem)
