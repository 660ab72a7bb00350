"""Fixtures that several rooms share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

# Before any module imports it, wherever the run begins: its assertions are shown with their values.
pytest.register_assert_rewrite("registrar.testing.store_conformance")

import postgresql  # noqa: E402 (as above)
from manifest import counted  # noqa: E402 (as above)


@pytest.fixture
def anyio_backend() -> str:
    """The server runs on asyncio alone."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgresql.PostgreSQL]:
    """A PostgreSQL server for all tests of this process, with a database `migrated` to be copied from."""
    from registrar.domain.settings import PostgreSQL
    from registrar.storage.postgres.connection import Address
    from registrar.storage.postgres.migration import migrate

    with postgresql.running() as server:
        asyncio.run(server.execute("CREATE DATABASE migrated"))
        asyncio.run(migrate(Address(server.url("migrated"), PostgreSQL())))
        asyncio.run(server.execute("CREATE DATABASE shared TEMPLATE migrated"))
        yield server


@pytest.fixture
def database(postgres: postgresql.PostgreSQL) -> str:
    """The URL of an empty registry on it."""
    asyncio.run(postgres.empty("shared"))
    return postgres.url("shared")


@pytest.fixture
def own_database(postgres: postgresql.PostgreSQL) -> Iterator[str]:
    """The URL of an empty registry on it, for tests that change more than rows."""
    with postgres.database("migrated") as url:
        yield url


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end of each run, also of one that xdist spreads, how many requirements are held."""
    terminalreporter.write_line(counted())
