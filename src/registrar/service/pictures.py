"""Pictures of others: fetched through the guard and kept for a while.

So who looks at a page does not decide how often the place is asked that a stranger named.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from registrar.service.ports import Fetch, Fetched, FetchError

ACCEPT: Final = (
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "image/avif",
    "image/svg+xml",
    "image/x-icon",
    "image/vnd.microsoft.icon",
)
BYTES: Final = 262_144
"""Bytes of one picture at the most."""
KEPT: Final = 64
"""Pictures that are kept; with the largest of them, sixteen megabytes."""
FRESH: Final = 3_600
"""Seconds for which one is kept."""
AGAIN: Final = 60
"""Seconds after which one that could not be fetched is asked for again."""


@dataclass(slots=True)
class Pictures:
    """The pictures that this process has seen."""

    _kept: OrderedDict[str, tuple[int, Fetched | str]] = field(default_factory=OrderedDict)
    _under_way: dict[str, asyncio.Task[Fetched | str]] = field(default_factory=dict)

    async def find(self, fetch: Fetch, url: str, now: int) -> Fetched:
        """The picture at a URL.

        Raises:
            FetchError: saying why there is none.
        """
        until, found = self._kept.get(url, (0, ""))
        if not until - FRESH <= now < until:  # it is over, or the clock has gone back
            # One fetch for all who wait; who goes away meanwhile does not end it for the others.
            found = await asyncio.shield(self._under_way.get(url) or self._begin(fetch, url, now))
        if isinstance(found, str):
            raise FetchError(found)
        return found

    def _begin(self, fetch: Fetch, url: str, now: int) -> asyncio.Task[Fetched | str]:
        task = asyncio.get_running_loop().create_task(self._ask(fetch, url, now))
        self._under_way[url] = task
        task.add_done_callback(lambda _: self._under_way.pop(url, None))
        return task

    async def _ask(self, fetch: Fetch, url: str, now: int) -> Fetched | str:
        found: Fetched | str
        try:
            found = await fetch(url, accept=ACCEPT, limit=BYTES)
        except FetchError as problem:
            found = problem.reason
        self._kept[url] = (now + (AGAIN if isinstance(found, str) else FRESH), found)
        self._kept.move_to_end(url)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return found
