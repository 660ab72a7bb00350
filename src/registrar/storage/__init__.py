"""Remembering: the stores behind `service.ports.Store`, chosen by the URL of the database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registrar.service.ports import Store

MEMORY = "memory:"
SQLITE = "sqlite:///"


def open_store(url: str, *, queue: int = 4096) -> Store:
    """Open the store that a database URL names, creating and migrating it as needed.

    Args:
        url: `memory:`, or `sqlite:///path` with the path taken from the working directory (a fourth slash makes it
            absolute).
        queue: writes that may wait at the most.

    Raises:
        ValueError: the URL names no store that this program has.
        StoreUnavailable: the database cannot be opened, or was written by a newer program.
    """
    if url == MEMORY:
        from registrar.storage.memory import MemoryStore

        return MemoryStore()
    if path := sqlite_path(url):
        from registrar.storage.sqlite import SQLiteStore

        return SQLiteStore(path, queue=queue)
    raise ValueError(f"{url} is no database URL; use {SQLITE}path or {MEMORY}")


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite database URL."""
    if not url.startswith(SQLITE) or len(url) == len(SQLITE):
        return None
    return Path(url.removeprefix(SQLITE))
