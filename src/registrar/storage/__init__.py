"""Remembering: the stores behind `service.ports.Store`, chosen by the URL of the database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registrar.domain.settings import PostgreSQL
    from registrar.service.metrics import Metrics
    from registrar.service.ports import Store
    from registrar.service.tracing import Tracer

MEMORY = "memory:"
SQLITE = "sqlite:///"
POSTGRESQL = ("postgresql://", "postgres://")
ACCEPTED = f"{SQLITE}path, {POSTGRESQL[0]}user@host/database or {MEMORY}"


def open_store(
    url: str,
    *,
    queue: int = 4096,
    postgresql: PostgreSQL | None = None,
    metrics: Metrics | None = None,
    tracer: Tracer | None = None,
) -> Store:
    """Open the store that a database URL names, creating and migrating an SQLite file as needed.

    Args:
        url: `memory:`, or `sqlite:///path` with the path taken from the working directory (a fourth slash makes it
            absolute), or `postgresql://user@host/database`, to which it connects when it is first used.
        queue: writes that may wait at the most.
        postgresql: the settings of sessions.
        metrics: counts commits, where somebody asks for that.
        tracer: times them, where somebody asks for that.

    Raises:
        ValueError: the URL names no store that this program has.
        StoreUnavailable: the database cannot be opened, or was written by a newer program.
    """
    if url == MEMORY:
        from registrar.storage.memory import MemoryStore

        return MemoryStore()
    if path := sqlite_path(url):
        from registrar.storage.sqlite import SQLiteStore

        return SQLiteStore(path, queue=queue, metrics=metrics, tracer=tracer)
    if is_postgresql(url):
        from registrar.storage.postgres import PostgresStore

        return PostgresStore(url, postgresql, queue=queue, metrics=metrics, tracer=tracer)
    raise ValueError(f"that is no database URL; use {ACCEPTED}")


async def migrate(url: str, postgresql: PostgreSQL | None = None) -> tuple[int, int]:
    """Bring the schema of a database forward; the versions before and after. Any number of processes may do it at once.

    Raises:
        ValueError: as `open_store`.
        StoreUnavailable: as `open_store`.
    """
    if is_postgresql(url):
        from registrar.domain.settings import PostgreSQL
        from registrar.storage.postgres.connection import Address
        from registrar.storage.postgres.migration import migrate

        return await migrate(Address(url, postgresql or PostgreSQL()))
    if path := sqlite_path(url):
        from registrar.storage.sqlite.migration import migrate as migrate_file

        return migrate_file(path)
    raise ValueError(f"that is no database with a schema; use {ACCEPTED}")


def is_postgresql(url: str) -> bool:
    """Whether a database URL means PostgreSQL."""
    return url.startswith(POSTGRESQL)


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite database URL."""
    if not url.startswith(SQLITE) or len(url) == len(SQLITE):
        return None
    return Path(url.removeprefix(SQLITE))
