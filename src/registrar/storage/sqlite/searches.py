"""Searches: what no index leads to alone is looked for beside the loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw

from registrar.service.ports import StoreUnavailable
from registrar.storage.sqlite.connection import connect


class Searches:
    """A reading connection on a thread of its own, opened when it is first needed: one search after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._db: apsw.Connection | None = None
        self._closed = False

    async def rows(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """The rows of a statement.

        Raises:
            apsw.Error: the database does not answer.
            StoreUnavailable: the store is closed.
        """
        if self._closed:
            raise _closed()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._found, sql, values)

    def close(self) -> None:
        """Give up what is searched for, and let go."""
        self._closed = True
        if self._db is not None:
            self._db.interrupt()
        self._thread.shutdown()
        if self._db is not None:
            self._db.close()
            self._db = None

    def _found(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        if self._closed:
            raise _closed()
        if self._db is None:
            self._db = connect(self._path)
            self._db.execute("PRAGMA query_only = ON")
        return self._db.execute(sql, values).fetchall()


def _closed() -> StoreUnavailable:
    return StoreUnavailable("the store is closed")
