"""Moving a registry from one database to another, row by row, and looking at every row afterwards.

Rows are copied in the order of their keys, a page to a transaction. So what a copy that was broken off has left is the
beginning of its source, and the next one goes on behind it. At the end both sides are read again and compared.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import apsw
import asyncpg
from asyncpg import Connection

from registrar.domain.settings import PostgreSQL
from registrar.service.ports import StoreUnavailable
from registrar.storage import ACCEPTED, is_postgresql, migrate, sqlite_path
from registrar.storage.postgres.connection import LOST, Address, connect, let_go
from registrar.storage.sqlite.connection import connect as connect_file

Row = tuple[Any, ...]
Key = tuple[Any, ...]

PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Table:
    """A table by its columns, those of its key first; they are the same in every database."""

    keys: int
    columns: tuple[str, ...]

    @property
    def key(self) -> str:
        """The columns of the key, as SQL lists them."""
        return ", ".join(self.columns[: self.keys])


TABLES: Final[Mapping[str, Table]] = {
    "client": Table(
        2, ("issuer", "client_id", "version", "state", "owner", "token_id", "template", "due_at", "record")
    ),
    "client_term": Table(3, ("issuer", "term", "client_id")),
    "initial_access_token": Table(
        2, ("issuer", "token_id", "digest", "max_uses", "uses", "expires_at", "revoked_at", "record")
    ),
    "signing_key": Table(2, ("issuer", "kid", "algorithm", "generation", "created_at", "record")),
    "item": Table(3, ("issuer", "kind", "key", "version", "client_id", "owner", "expires_at", "body")),
    "event": Table(
        1,
        (
            "sequence",
            "writer",
            "batch",
            "position",
            "issuer",
            "kind",
            "time_ms",
            "client_id",
            "body",
            "personal",
        ),
    ),
    "audit_batch": Table(2, ("writer", "number", "events", "root", "link", "place")),
    "audit_unchained": Table(1, ("writer",)),
}


class CopyError(Exception):
    """The copy is not made, or is not what it should be; the argument says where."""


class Rows(Protocol):
    """A database as rows."""

    async def hold(self) -> None:
        """Let nobody write until this is closed; servers that have it open wait, and answer 503."""
        ...

    async def count(self, table: str) -> int:
        """How many rows there are."""
        ...

    async def page(self, table: str, after: Key | None, limit: int = PAGE) -> list[Row]:
        """Rows in the order of their keys, from the one after `after`."""
        ...

    async def last(self, table: str) -> Row | None:
        """The last row in the order of the keys."""
        ...

    async def at(self, table: str, key: Key) -> Row | None:
        """The row with a key."""
        ...

    async def put(self, table: str, rows: Sequence[Row]) -> None:
        """Store rows, all of them or none."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...


class SQLiteRows(Rows):
    """A file; while it is open here, servers that have it open wait with their writes."""

    def __init__(self, path: Path) -> None:
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._db = connect_file(path)

    async def hold(self) -> None:
        """The lock does that."""

    async def count(self, table: str) -> int:
        [(number,)] = self._db.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 (names of our own, here and below)
        return int(number)

    async def page(self, table: str, after: Key | None, limit: int = PAGE) -> list[Row]:
        of = TABLES[table]
        where = f" WHERE ({of.key}) > ({', '.join('?' * of.keys)})" if after else ""
        sql = f"SELECT {', '.join(of.columns)} FROM {table}{where} ORDER BY {of.key} LIMIT ?"  # noqa: S608
        return list(self._db.execute(sql, (*(after or ()), limit)))

    async def last(self, table: str) -> Row | None:
        of = TABLES[table]
        backwards = ", ".join(f"{name} DESC" for name in of.columns[: of.keys])
        return next(
            iter(self._db.execute(f"SELECT {', '.join(of.columns)} FROM {table} ORDER BY {backwards} LIMIT 1")),  # noqa: S608
            None,
        )

    async def at(self, table: str, key: Key) -> Row | None:
        of = TABLES[table]
        sql = f"SELECT {', '.join(of.columns)} FROM {table} WHERE ({of.key}) = ({', '.join('?' * of.keys)})"  # noqa: S608
        return next(iter(self._db.execute(sql, key)), None)

    async def put(self, table: str, rows: Sequence[Row]) -> None:
        columns = TABLES[table].columns
        with self._db:
            self._db.executemany(
                f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",  # noqa: S608
                rows,
            )

    async def close(self) -> None:
        self._db.close()
        os.close(self._lock)


class PostgresRows(Rows):
    """A database of PostgreSQL."""

    def __init__(self, connection: Connection, address: Address) -> None:
        self._connection, self._address = connection, address

    async def hold(self) -> None:
        await self._connection.execute(f"BEGIN; LOCK TABLE {', '.join(TABLES)} IN SHARE MODE")

    async def count(self, table: str) -> int:
        return int(await self._connection.fetchval(f"SELECT count(*) FROM {table}"))  # noqa: S608

    async def page(self, table: str, after: Key | None, limit: int = PAGE) -> list[Row]:
        of = TABLES[table]
        given = ", ".join(f"${number}" for number in range(2, 2 + of.keys))
        where = f" WHERE ({of.key}) > ({given})" if after else ""
        sql = f"SELECT {', '.join(of.columns)} FROM {table}{where} ORDER BY {of.key} LIMIT $1"  # noqa: S608
        return [tuple(row) for row in await self._connection.fetch(sql, limit, *(after or ()))]

    async def last(self, table: str) -> Row | None:
        of = TABLES[table]
        backwards = ", ".join(f"{name} DESC" for name in of.columns[: of.keys])
        row = await self._connection.fetchrow(
            f"SELECT {', '.join(of.columns)} FROM {table} ORDER BY {backwards} LIMIT 1"  # noqa: S608
        )
        return tuple(row) if row else None

    async def at(self, table: str, key: Key) -> Row | None:
        of = TABLES[table]
        given = ", ".join(f"${number}" for number in range(1, 1 + of.keys))
        sql = f"SELECT {', '.join(of.columns)} FROM {table} WHERE ({of.key}) = ({given})"  # noqa: S608
        row = await self._connection.fetchrow(sql, *key)
        return tuple(row) if row else None

    async def put(self, table: str, rows: Sequence[Row]) -> None:
        of = TABLES[table]
        if odd := next((row for row in rows if any(isinstance(one, str) and "\0" in one for one in row)), None):
            key = ", ".join(map(str, odd[: of.keys])).replace("\0", r"\x00")
            raise CopyError(f"{table} at {key}: PostgreSQL has no text with a NUL in it")
        await self._connection.copy_records_to_table(table, records=rows, columns=of.columns)

    async def close(self) -> None:
        await let_go(self._connection, self._address)


async def open_rows(url: str, postgresql: PostgreSQL | None = None) -> Rows:
    """A database as rows, by its URL, brought forward to this program's schema.

    Raises:
        ValueError: the URL names no database that can be copied.
        StoreUnavailable: the database cannot be opened, or was written by a newer program.
    """
    await migrate(url, postgresql)
    if is_postgresql(url):
        address = Address(url, postgresql or PostgreSQL())
        return PostgresRows(await connect(address, patient=True), address)  # counting ten million rows takes its time
    if path := sqlite_path(url):
        return SQLiteRows(path)
    raise ValueError(f"that is no database that can be copied; use {ACCEPTED}")


async def copy(source: Rows, target: Rows, told: Callable[[str, int], None]) -> int:
    """Copy what is missing and compare everything; the number of rows.

    Args:
        source: what is copied; nobody writes to it until it is closed.
        target: where to; empty, or with what an earlier copy of the same source has left.
        told: is told the table, and how many more of its rows are copied or compared.

    Raises:
        CopyError: the target holds something else, or the two are not the same at the end.
        StoreUnavailable: a database stopped answering; the copy can be gone on with.
    """
    try:
        await source.hold()
        starts = {table: await _start(table, source, target) for table in TABLES}
        for table, start in starts.items():
            await _copy(table, source, target, start, told)
        return sum([await _compare(table, source, target, told) for table in TABLES])
    except (*LOST, asyncpg.PostgresError, apsw.Error) as problem:
        raise StoreUnavailable(f"{type(problem).__name__}: {problem}; the same command goes on from here") from None


async def _start(table: str, source: Rows, target: Rows) -> Key | None:
    """The key behind which to go on."""
    last = await target.last(table)
    if last is None:
        return None
    key = last[: TABLES[table].keys]
    # That the source has this row says whose copy this is; the rows before it are compared in the end.
    if await source.at(table, key) != last:
        raise CopyError(f"the target has rows of its own in {table}; copy into an empty database")
    return key


async def _copy(table: str, source: Rows, target: Rows, after: Key | None, told: Callable[[str, int], None]) -> None:
    keys = TABLES[table].keys
    while page := await source.page(table, after):
        await target.put(table, page)
        after = page[-1][:keys]
        told(table, len(page))


async def _compare(table: str, source: Rows, target: Rows, told: Callable[[str, int], None]) -> int:
    keys, after, number = TABLES[table].keys, None, 0
    while True:
        rows, copies = await source.page(table, after), await target.page(table, after)
        if rows != copies:
            at = next((one for one, other in zip(rows, copies, strict=False) if one != other), None)
            where = f"at {', '.join(map(str, at[:keys]))}" if at else "at its end"
            raise CopyError(f"{table} is not the same {where}; was something written meanwhile?")
        if not rows:
            return number
        after, number = rows[-1][:keys], number + len(rows)
        told(table, len(rows))
