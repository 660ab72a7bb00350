"""PostgreSQL: one database for any number of processes, group commit by statements of many rows."""

from registrar.storage.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
