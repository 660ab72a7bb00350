"""Lookups that share statements: everybody is answered."""

from __future__ import annotations

import asyncio

import pytest

from registrar.storage.postgres.lookups import Lookups

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("at_once", [1, 2, 3, 32])
async def test_whoever_is_answered_may_ask_again_at_once(at_once: int) -> None:
    """Also at the very moment at which nothing else is asked, and those that asked for others have just ended."""

    async def fetch(keys: list[int]) -> dict[int, tuple[int]]:
        return {key: (key,) for key in keys}

    lookups = Lookups[int](fetch, 100)

    async def asks(key: int) -> None:
        for _ in range(5):
            assert await lookups.find(key) == (key,)

    async with asyncio.timeout(5):
        await asyncio.gather(*(asks(key) for key in range(at_once)))
