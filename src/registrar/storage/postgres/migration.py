"""Bringing the schema forward: by command, once, whoever else does the same at the same moment."""

from __future__ import annotations

import asyncpg

from registrar.service.ports import StoreUnavailable
from registrar.storage.migrations import adds, newer, scripts
from registrar.storage.postgres.connection import LOST, Address, let_go, open_session, unreachable

_LOCK = 0x72_65_67_69_73_74_72_61
"""One number for every registrar on a database cluster; the lock is of the database."""
_NAME = "registrar migrate"
_TABLE = "CREATE TABLE IF NOT EXISTS registrar_schema (version BIGINT PRIMARY KEY, adds BOOLEAN NOT NULL DEFAULT false)"
_ADDS_IS_KNOWN = "SELECT 1 FROM pg_attribute WHERE attrelid = 'registrar_schema'::regclass AND attname = 'adds'"
_ADD_ADDS = "ALTER TABLE registrar_schema ADD COLUMN adds BOOLEAN NOT NULL DEFAULT false"
_END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND usename = current_user AND application_name = 'registrar'"
)
"""Ends the sessions of programs that serve; whose program knows the schema opens others at once."""


async def migrate(address: Address) -> tuple[int, int]:
    """Bring the schema forward, all of it or nothing; the versions before and after.

    Replicas of the older program go on where scripts only add. Where one does more, their sessions are ended: what they
    do not know of, they could write wrongly, and what was under way in them is answered with 503.

    Raises:
        StoreUnavailable: the database does not answer, or a newer program made its schema.
    """
    known = scripts("postgres")
    connection = await open_session(address, patient=True)  # a large table takes its time, and so does another's turn
    try:
        await connection.execute(f"SET application_name = '{_NAME}'")
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            await connection.execute(_TABLE)
            if not await connection.fetchval(_ADDS_IS_KNOWN):
                await connection.execute(_ADD_ADDS)  # only then: it locks out who asks for the version
            version = await connection.fetchval("SELECT max(version) FROM registrar_schema") or 0
            if version > len(known):
                raise newer(str(address), version, len(known))
            for number, script in enumerate(known[version:], version + 1):
                await connection.execute(script)
                await connection.execute("INSERT INTO registrar_schema VALUES ($1, $2)", number, adds(script))
        if version and not all(map(adds, known[version:])):
            await connection.execute(_END)
    except LOST as problem:
        raise unreachable(address, problem) from None
    except asyncpg.PostgresError as problem:
        raise StoreUnavailable(f"{address}: {type(problem).__name__}: {problem}") from None
    finally:
        await let_go(connection, address)
    return version, len(known)
