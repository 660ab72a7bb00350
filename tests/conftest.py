"""Fixtures that several rooms share."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# Before any module imports it, wherever the run begins: its assertions are shown with their values.
pytest.register_assert_rewrite("registrar.testing.store_conformance")

import postgresql  # noqa: E402 (as above)
from manifest import counted  # noqa: E402 (as above)

if TYPE_CHECKING:
    from registrar.service.ports import Store


@pytest.fixture
def anyio_backend() -> str:
    """The server runs on asyncio alone."""
    return "asyncio"


@pytest.fixture
def announce(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line that every run shows, captured output or not."""

    def line(text: str) -> None:
        with capsys.disabled():
            # On stderr, since a parallel run (pytest-xdist) drops what its workers write to stdout.
            print(f"\n    {text}", file=sys.stderr, end="", flush=True)

    return line


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


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/registrar.db"
    url: str = request.getfixturevalue("database")
    return url


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer to run what usually runs in memory on a real database."""
    parser.addoption("--on-postgresql", action="store_true", help="serve from PostgreSQL what is served from memory")


@pytest.fixture(autouse=True)
def _on_postgresql(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.config.getoption("--on-postgresql"):
        return
    server: postgresql.PostgreSQL = request.getfixturevalue("postgres")
    from registrar.config import assembly
    from registrar.storage import MEMORY, open_store

    def opened(url: str, **settings: Any) -> Store:
        if url != MEMORY:
            return open_store(url, **settings)
        # The test is on the loop already, and its database has to be empty before it goes on.
        with ThreadPoolExecutor(1) as beside:
            beside.submit(asyncio.run, server.empty("shared")).result()
        return open_store(server.url("shared"), **settings)

    monkeypatch.setattr(assembly, "open_store", opened)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end of each run, also of one that xdist spreads, how many requirements are held."""
    terminalreporter.write_line(counted())
