"""Connections: where the database is, what is asked of every session, and what its failures mean."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
from asyncpg import Connection

from registrar.domain.settings import PostgreSQL
from registrar.service.ports import StoreUnavailable
from registrar.storage.migrations import newer, older, scripts

LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""The connection is gone, or of no use: nobody knows what became of a statement that was under way."""

AGAIN: Final = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
"""The statement was undone so that another could go on; nothing is stored, and the same may be tried again."""

_URL: Final = re.compile(r"(postgres(?:ql)?://(?:[^/?#@\s]*@)?)([^/?#@\s]*)(/[^/?#@\s]+(?:\?[^#@\s]*)?)")
# The column is not there where a program made the schema that did not have it yet.
_VERSION: Final = (
    "SELECT max(version), bool_and(coalesce((to_jsonb(one) ->> 'adds')::boolean, false)) FILTER (WHERE version > $1) "
    "FROM registrar_schema AS one"
)


@dataclass(frozen=True, slots=True)
class Address:
    """A database by its URL, and how it is spoken to.

    Args:
        url: `postgresql://user:password@host:port,host:port/database`, with the parameters of libpq.
        settings: of the sessions.
    """

    url: str
    settings: PostgreSQL

    def __post_init__(self) -> None:
        """Take no address of which it is not plain what is the password.

        Raises:
            ValueError: saying what would be accepted.
        """
        if not _URL.fullmatch(self.url):
            raise ValueError(
                "is postgresql://user@host/database; several hosts are separated by commas, and what is not a letter or digit "
                "in a name or a password is percent-encoded"
            )

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        """The address without its password and its parameters, which may hold one."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def hosts(self) -> tuple[Address, ...]:
        """The address at each host, in their order."""
        before, hosts, after = _URL.fullmatch(self.url).groups()  # type: ignore[union-attr]  # it was looked at
        return tuple(Address(f"{before}{host}{after}", self.settings) for host in hosts.split(","))

    def arguments(self, *, patient: bool) -> dict[str, Any]:
        """What asyncpg is given."""
        limit = "0" if patient else str(int(self.settings.statement_seconds * 1000))
        return {
            "dsn": self.url,
            "target_session_attrs": "read-write",
            "command_timeout": None if patient else self.settings.statement_seconds + self.settings.connect_seconds,
            "server_settings": {
                "application_name": "registrar",
                "statement_timeout": limit,
                # A process that stands still in the middle of a transaction must not hold its rows for ever.
                "idle_in_transaction_session_timeout": limit,
                # A statement that waited for a row then sees the row as it is; the store is written for that.
                "default_transaction_isolation": "read committed",
            },
        }


async def connect(address: Address, *, patient: bool = False) -> Connection:
    """A session on a database of this program's schema.

    Args:
        address: the database.
        patient: whether statements may take as long as they need.

    Raises:
        StoreUnavailable: there is none, saying why.
    """
    connection = await open_session(address, patient=patient)
    try:
        await prepare(connection)
    except BaseException:
        await let_go(connection, address)
        raise
    return connection


async def let_go(connection: Connection, address: Address) -> None:
    """End a session in order, or otherwise."""
    try:
        await connection.close(timeout=address.settings.connect_seconds)
    except (*LOST, asyncpg.PostgresError):
        connection.terminate()


async def open_session(address: Address, *, patient: bool = False, **rest: Any) -> Connection:
    """A session on the first host of a database that can be written to, so a failover heals by itself; whatever the schema.

    Each host has its share of the time: one that says nothing, as a machine that is gone, leaves the others theirs.

    Args:
        address: the database.
        patient: whether statements may take as long as they need.
        rest: what asyncpg is given beside.

    Raises:
        StoreUnavailable: there is none, saying why of each host.
    """
    hosts, problems = address.hosts, []
    seconds = address.settings.connect_seconds / len(hosts)
    for host in hosts:
        try:
            return await asyncpg.connect(**host.arguments(patient=patient), timeout=seconds, **rest)
        except Exception as problem:  # noqa: BLE001 (the driver's errors are of many kinds, and mean the same)
            problems.append(str(unreachable(host, problem)))
    raise StoreUnavailable("; ".join(problems))


async def prepare(connection: Connection) -> None:
    """Ask of a session what the store relies on.

    Raises:
        StoreUnavailable: the database is not one that this program may use.
    """
    database = connection.get_settings()
    if database.server_encoding != "UTF8":
        raise StoreUnavailable(f"the database has the encoding {database.server_encoding}; it has to be UTF8")
    await check(connection)
    # Whoever asked for more than a local commit keeps it; nobody gets less.
    await connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')"
    )


async def check(connection: Connection) -> None:
    """Refuse a schema of another program, unless a newer one has only added to it.

    Raises:
        SchemaMismatch: it is older than this program, or newer and other.
    """
    known = len(scripts("postgres"))
    try:
        found, only_added = await connection.fetchrow(_VERSION, known)
    except asyncpg.UndefinedTableError:
        found, only_added = 0, False
    version = found or 0
    if version < known:
        raise older("the database", version, known)
    if version > known and not only_added:
        raise newer("the database", version, known)


def unreachable(address: Address, problem: BaseException) -> StoreUnavailable:
    """Why there is no session."""
    if isinstance(problem, StoreUnavailable):
        return problem
    if isinstance(problem, TimeoutError | asyncio.TimeoutError):
        return StoreUnavailable(f"{address} does not answer")
    if isinstance(problem, asyncpg.TargetServerAttributeNotMatched):
        return StoreUnavailable(f"{address} answers, and takes no writes")
    return StoreUnavailable(f"{address}: {type(problem).__name__}: {_first_line(problem)}")


def _first_line(problem: BaseException) -> str:
    return str(problem).partition("\n")[0]
