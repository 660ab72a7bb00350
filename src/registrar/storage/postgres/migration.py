"""Bringing the schema forward: by command, once, whoever else does the same at the same moment."""

from __future__ import annotations

import asyncpg

from registrar.service.ports import StoreUnavailable
from registrar.storage.migrations import newer, scripts
from registrar.storage.postgres.connection import LOST, Address, let_go, open_session, unreachable

_LOCK = 0x72_65_67_69_73_74_72_61
"""One number for every registrar on a database cluster; the lock is of the database."""


async def migrate(address: Address) -> tuple[int, int]:
    """Bring the schema forward, all of it or nothing; the versions before and after.

    Raises:
        StoreUnavailable: the database does not answer, or a newer program made its schema.
    """
    known = scripts("postgres")
    connection = await open_session(address)
    try:
        await connection.execute(
            "SET statement_timeout = 0"
        )  # a large table takes its time, and so does another's turn
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            await connection.execute("CREATE TABLE IF NOT EXISTS registrar_schema (version BIGINT PRIMARY KEY)")
            version = await connection.fetchval("SELECT max(version) FROM registrar_schema") or 0
            if version > len(known):
                raise newer(str(address), version, len(known))
            for number, script in enumerate(known[version:], version + 1):
                await connection.execute(script)
                await connection.execute("INSERT INTO registrar_schema (version) VALUES ($1)", number)
    except LOST as problem:
        raise unreachable(address, problem) from None
    except asyncpg.PostgresError as problem:
        raise StoreUnavailable(f"{address}: {type(problem).__name__}: {problem}") from None
    finally:
        await let_go(connection, address)
    return version, len(known)
