"""SQLite: one file, WAL, synchronous=FULL, one writer in each process, group commit.

apsw rather than the standard library's module, because it brings its own recent SQLite: versions before 3.51.3 can
corrupt a database in WAL mode when several connections write and checkpoint, and that is checked at start.
"""

from registrar.storage.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
