"""Lookups by key that arrive together become one statement, as writes do."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Any, Final, Generic, TypeVar

from registrar.service.ports import StoreUnavailable
from registrar.storage.batches import BATCH, told

Key = TypeVar("Key", bound=Hashable)
Row = tuple[Any, ...]

_AT_ONCE: Final = 2
"""Statements under way: while one is being sent or read, the database works on the other."""


class Lookups(Generic[Key]):
    """Rows of one kind by their keys. While a statement is under way, the next ones gather.

    What is asked for is looked up after it was asked for, so whoever has written something finds it.

    Args:
        fetch: finds the rows that there are, by their keys.
        limit: lookups that may wait; beyond that, whoever asks is told to come back.
    """

    def __init__(self, fetch: Callable[[list[Key]], Awaitable[Mapping[Key, Row]]], limit: int) -> None:
        self._fetch, self._limit = fetch, limit
        self._waiting: deque[tuple[Key, asyncio.Future[Row | None]]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def find(self, key: Key) -> Row | None:
        """The row with a key.

        Raises:
            StoreUnavailable: the database does not answer, or too many are waiting.
        """
        if len(self._waiting) >= self._limit:
            raise StoreUnavailable("too many reads are waiting", overloaded=True)
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Row | None] = loop.create_future()
        self._waiting.append((key, found))
        if len(self._running) < _AT_ONCE:
            self._running.add(loop.create_task(self._run()))
        return await found

    async def _run(self) -> None:
        try:
            await self._answer()
        finally:
            # At once, and not when the loop comes to tell that a task is done: whoever was answered may ask again before.
            if (this := asyncio.current_task()) is not None:
                self._running.discard(this)

    async def _answer(self) -> None:
        while self._waiting:
            waiters = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            try:
                rows = await self._fetch(list({key for key, _ in waiters}))
            except BaseException as problem:
                for _, found in waiters:
                    if not found.done():
                        found.set_exception(StoreUnavailable(told(problem)))
                if not isinstance(problem, Exception):
                    raise
                continue
            for key, found in waiters:
                if not found.done():
                    found.set_result(rows.get(key))
