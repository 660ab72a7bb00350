"""Windows that several processes share, in Redis or Valkey, by the `limits` library.

Where the database does not answer, each process counts by itself for a while: registration goes on, and a flood is held
to as many times the rate as there are processes.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from typing import Any, Final, cast

from limits.aio.storage import RedisStorage
from redis.asyncio import BlockingConnectionPool

from registrar.service.windows import OwnWindows

SECONDS: Final = 0.25
"""How long an answer may take."""
CONNECTIONS: Final = 16
"""Connections of a process; who comes while all are in use waits for one."""
AGAIN: Final = 5
"""Seconds after a failure until the database is asked again."""

log = logging.getLogger("registrar")


class SharedWindows:
    """The windows of every process that names the same database.

    Args:
        address: `redis://host:6379/0`, `rediss://…` or `valkey://…`; it may hold a password.
    """

    def __init__(self, address: str) -> None:
        # The protocol is one, and one driver speaks it.
        uri = address.replace("valkeys://", "rediss://").replace("valkey://", "redis://")
        self._pool = BlockingConnectionPool.from_url(
            uri, max_connections=CONNECTIONS, timeout=SECONDS, socket_timeout=SECONDS, socket_connect_timeout=SECONDS
        )
        self._storage = RedisStorage(
            f"async+{uri}", implementation="redispy", key_prefix="registrar", connection_pool=cast("Any", self._pool)
        )
        self._own = OwnWindows()
        self._away_until = 0

    async def hit(self, key: str, seconds: int, now: int) -> int:
        """Count once, and tell how often that makes it."""
        if not self._away(now):
            try:
                return await self._storage.incr(_name(key), seconds)
            except Exception as problem:  # noqa: BLE001 (whatever a driver raises: who registers must not feel it)
                self._gone(problem, now)
        return await self._own.hit(key, seconds, now)

    async def look(self, key: str, now: int) -> int:
        """How often it happened, without counting."""
        if not self._away(now):
            try:
                return await self._storage.get(_name(key))
            except Exception as problem:  # noqa: BLE001 (as above)
                self._gone(problem, now)
        return await self._own.look(key, now)

    async def left(self, key: str, now: int) -> int:
        """Seconds until the window ends, 1 at the least."""
        if not self._away(now):
            try:
                return max(1, math.ceil(await self._storage.get_expiry(_name(key)) - time.time()))
            except Exception as problem:  # noqa: BLE001 (as above)
                self._gone(problem, now)
        return await self._own.left(key, now)

    async def forget(self, key: str, now: int) -> None:
        """End a window."""
        await self._own.forget(key, now)
        if not self._away(now):
            try:
                await self._storage.clear(_name(key))
            except Exception as problem:  # noqa: BLE001 (as above)
                self._gone(problem, now)

    async def close(self) -> None:
        """Let go."""
        await self._pool.disconnect()
        await self._own.close()

    def _away(self, now: int) -> bool:
        """Whether the database is not asked. Where the clock has gone back since, it is: how long ago that was is not known."""
        return self._away_until - AGAIN <= now < self._away_until

    def _gone(self, problem: Exception, now: int) -> None:
        if self._away(now):
            return  # those that were under way find out together
        self._away_until = now + AGAIN
        # The kind alone: what a driver says may repeat the address, and the address a password.
        log.warning("limits are counted by this process alone for %d s: %s", AGAIN, type(problem).__name__)


def _name(key: str) -> str:
    """A key without whose it is: what lies in another database should tell nobody's address at a glance."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]
