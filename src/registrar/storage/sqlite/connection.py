"""Connections: which SQLite will do, and what is asked of every connection to it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw

from registrar.service.ports import StoreUnavailable

OLDEST: Final = (3, 51, 3)
_PAGE_BYTES: Final = 8192
# Half of SQLite's default: whoever commits when the log is full waits for the checkpoint, and a shorter wait twice as
# often took the 99th percentile of registrations from 19-27 ms to 10-17 ms at the same rate.
_CHECKPOINT_PAGES: Final = 500
_CACHE_KIB: Final = 16_384
PATIENCE_MS: Final = 5_000


def connect(path: Path) -> apsw.Connection:
    """A connection with the settings that durability relies on.

    Raises:
        StoreUnavailable: the SQLite that is bundled is too old.
    """
    if tuple(map(int, apsw.sqlite_lib_version().split("."))) < OLDEST:
        raise StoreUnavailable(f"SQLite {apsw.sqlite_lib_version()} is older than {'.'.join(map(str, OLDEST))}")
    db = apsw.Connection(str(path))
    db.set_busy_timeout(PATIENCE_MS)
    db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    # What is replaced or deleted leaves the file too: an ended token must not open anything in a stolen one.
    db.execute("PRAGMA secure_delete = FAST")
    return db
