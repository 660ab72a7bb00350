"""An issuer with a person, and their browser."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from browsing import Browser, add, issuing

from registrar.testing import Served


@pytest.fixture
async def server() -> AsyncIterator[Served]:
    """An open issuer where alice has an account."""
    async with issuing() as server:
        await add(server, name="Alice Liddell", email="alice@example.com")
        yield server


@pytest.fixture
def browser(server: Served) -> Browser:
    """Alice's browser, which has been nowhere yet."""
    return Browser(server.client)
