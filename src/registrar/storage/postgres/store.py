"""The store: writes through the one writer of the process, reads through a pool, both at the server that takes writes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import asyncpg
from asyncpg import Connection

from registrar.domain import template
from registrar.domain.access_token import InitialAccessToken
from registrar.domain.chain import Batch
from registrar.domain.client import Client, State
from registrar.domain.credentials import Digest
from registrar.domain.events import Event
from registrar.domain.settings import PostgreSQL
from registrar.domain.terms import terms
from registrar.service import last_use
from registrar.service.metrics import Metrics
from registrar.service.ports import (
    Change,
    ClientQuery,
    Conflict,
    DropAll,
    Due,
    EventQuery,
    Item,
    Load,
    NotFound,
    SigningKey,
    Spend,
    StoredEvent,
    StoreUnavailable,
)
from registrar.service.tracing import Tracer
from registrar.storage import records
from registrar.storage.postgres.batch import Write
from registrar.storage.postgres.connection import LOST, Address, open_session, prepare, unreachable
from registrar.storage.postgres.lookups import Lookups
from registrar.storage.postgres.writer import LANE_BITS, Writer

# The template comes with the instance, in one statement: the two are of one moment.
_OF_TEMPLATE: Final = (
    "LEFT JOIN item ON client.template <> '' AND item.issuer = client.issuer "
    f"AND item.kind = '{template.KIND}' AND item.key = client.template"
)
_CLIENTS: Final = f"SELECT client.record, item.body FROM client {_OF_TEMPLATE}"  # noqa: S608 (words of our own)
_DUE: Final = (
    "SELECT client.issuer, client.client_id, client.due_at, client.record, item.body, used.body, used.version "  # noqa: S608 (as above)
    f"FROM client {_OF_TEMPLATE} "
    f"LEFT JOIN item AS used ON used.issuer = client.issuer AND used.kind = '{last_use.KIND}' AND used.key = client.client_id "
    "WHERE client.due_at <> 0 AND client.due_at <= $1 ORDER BY client.due_at LIMIT $2"
)
# The clients that have the terms. What ends the inner statement keeps it together: else all clients are walked through in
# their order to see whether one has the terms, in the belief that some come soon; of a term that is rare, none does.
_JOINED: Final = "JOIN ({}) AS named ON client.client_id = named.client_id"
# The state of an instance is the template's to end: where that is deleted or gone, so is the instance.
_STATE: Final = (
    "CASE WHEN client.template <> '' AND coalesce(convert_from(item.body, 'UTF8')::json ->> 'state', 'deleted') = 'deleted' "
    "THEN 'deleted' ELSE client.state END"
)
_FIND_CLIENTS: Final = (
    f"SELECT given.issuer, given.client_id, {_CLIENTS.removeprefix('SELECT ')} "
    "JOIN unnest($1::text[], $2::text[]) AS given (issuer, client_id) "
    "ON client.issuer = given.issuer AND client.client_id = given.client_id"
)
_ITEMS: Final = "SELECT issuer, kind, key, body, version, client_id, owner, expires_at FROM item"
_TOKENS: Final = "SELECT record, uses, revoked_at FROM initial_access_token"
_FIND_ITEMS: Final = (
    "SELECT item.issuer, item.kind, item.key, item.body, item.version, item.client_id, item.owner, item.expires_at FROM item "
    "JOIN unnest($1::text[], $2::text[], $3::text[]) AS given (issuer, kind, key) "
    "ON item.issuer = given.issuer AND item.kind = given.kind AND item.key = given.key"
)
_FIND_TOKENS: Final = (
    "SELECT token.issuer, token.digest, token.record, token.uses, token.revoked_at FROM initial_access_token AS token "
    "JOIN unnest($1::text[], $2::bytea[]) AS given (issuer, digest) "
    "ON token.issuer = given.issuer AND token.digest = given.digest"
)
_BATCHES: Final = "SELECT writer, number, events, root, link, place FROM audit_batch"
_EVENTS: Final = "SELECT sequence, writer, batch, position, issuer, kind, time_ms, client_id, body, personal FROM event"
# The index has the first event of each batch; the others come after it in the sequence.
# No index leads to the events of a writer: where there is none from before chains, no event is looked at.
_UNCHAINED: Final = (
    "SELECT CASE WHEN EXISTS (SELECT 1 FROM audit_unchained) "
    "THEN (SELECT count(*) FROM event JOIN audit_unchained ON audit_unchained.writer = event.writer) ELSE 0 END"
)
_TALLY: Final = (
    f"SELECT (SELECT count(*) FROM event), (SELECT coalesce(sum(events), 0)::bigint FROM audit_batch), ({_UNCHAINED})"  # noqa: S608 (words of our own)
)
_TOLD: Final = (
    "SELECT one.sequence, one.writer, one.batch, one.position, one.issuer, one.kind, one.time_ms, one.client_id, one.body, "  # noqa: S608 (a number of our own)
    "one.personal FROM event AS first JOIN audit_batch AS held ON held.writer = first.writer AND held.number = first.batch "
    f"JOIN event AS one ON one.sequence BETWEEN first.sequence AND first.sequence + held.events * {1 << LANE_BITS} "
    "AND one.writer = first.writer AND one.batch = first.batch "
    "WHERE first.writer = $1 AND first.batch BETWEEN $2 AND $3 AND first.position = 0 ORDER BY first.batch, one.position"
)
_PATIENCE: Final = 3_600.0
"""Seconds for which a count of everything may go on; ten million events take some three."""
_HALVES: Final = re.compile("[\ud800-\udfff]")
_READY: Final = "SELECT current_setting('transaction_read_only'), EXISTS (SELECT 1 FROM client)"
# Of several processes that clean up at the same moment, each takes other rows.
_PURGE: Final = (
    "DELETE FROM item USING (SELECT issuer, kind, key FROM item WHERE expires_at <> 0 AND expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED) AS gone "
    "WHERE item.issuer = gone.issuer AND item.kind = gone.kind AND item.key = gone.key RETURNING 1"
)


class PostgresStore:
    """A store in a PostgreSQL database, which any number of processes share. It connects when it is first used.

    Args:
        url: `postgresql://user@host,host/database`.
        settings: of the sessions.
        queue: writes that may wait at the most, and lookups.
        metrics: counts commits, where somebody asks for that.
        tracer: times them, where somebody asks for that.

    Raises:
        ValueError: the URL is none, saying what would be accepted.
    """

    def __init__(
        self,
        url: str,
        settings: PostgreSQL | None = None,
        *,
        queue: int = 4096,
        metrics: Metrics | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._address = Address(url, settings or PostgreSQL())
        self._writes = Writer(self._address, queue, metrics, tracer)
        self._clients = Lookups[tuple[str, str]](self._lookup(_FIND_CLIENTS, 2), queue)
        self._tokens = Lookups[tuple[str, Digest]](self._lookup(_FIND_TOKENS, 2), queue)
        self._items = Lookups[tuple[str, str, str]](self._lookup(_FIND_ITEMS, 3), queue)
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def create(
        self, client: Client, event: Event, spend: Spend | None = None, changes: Sequence[Change] = ()
    ) -> None:
        write = Write.of(changes, (event,), created=records.client_row(client), spend=spend, terms=terms(client))
        await self._writes.write(write)

    async def find(self, issuer: str, client_id: str) -> Client | None:
        row = await self._found(self._clients, issuer, client_id)
        return records.decode_client(*row) if row else None

    async def update(
        self, client: Client, events: Sequence[Event], *, expected: int, changes: Sequence[Change] = ()
    ) -> None:
        if client.state is State.DELETED:
            changes = [*changes, DropAll(client.issuer, client.client_id)]
        row = (
            client.issuer,
            client.client_id,
            client.version,
            client.state.value,
            client.admission.owner,
            client.due_at,
            records.encode_client(client),
            expected,
        )
        await self._writes.write(Write.of(changes, events, updated=row, terms=terms(client)))

    async def change(self, changes: Sequence[Change], events: Sequence[Event] = ()) -> None:
        await self._writes.write(Write.of(changes, events))

    async def item(self, issuer: str, kind: str, key: str) -> Item | None:
        row = await self._found(self._items, issuer, kind, key)
        return Item(issuer, kind, key, *row) if row else None

    async def items(
        self, issuer: str, kind: str, *, client_id: str = "", owner: str = "", after: str = "", limit: int = 100
    ) -> Sequence[Item]:
        where, values = _where({"client_id": client_id or None, "owner": owner or None}, 4)
        where += "".join(f" AND {name} <> ''" for name, value in (("client_id", client_id), ("owner", owner)) if value)
        sql = f"{_ITEMS} WHERE issuer = $1 AND kind = $2 AND key > $3{where} ORDER BY key LIMIT $4"
        return [Item(*row) for row in await self._rows(sql, issuer, kind, after, limit, *values)]

    async def count_items(self, issuer: str, kind: str, owner: str) -> int:
        sql = "SELECT count(*) FROM item WHERE issuer = $1 AND kind = $2 AND owner = $3 AND owner <> ''"
        ((number,),) = await self._rows(sql, issuer, kind, owner)
        return int(number)

    async def purge(self, now: int, limit: int = 1000) -> int:
        return len(await self._rows(_PURGE, now, limit))

    async def clients(
        self, query: ClientQuery, *, after: tuple[str, str] = ("", ""), limit: int = 100
    ) -> Sequence[Client]:
        sign, way = ("<", " DESC") if query.newest else (">", "")
        place, seen = _behind(query.issuer, query.place(after), "client.issuer", "client.client_id", sign)
        where, values = _of_clients(query, len(seen) + 1)
        source, order = _CLIENTS, f"client.issuer{way}, client.client_id{way}"
        if query.indexed:
            named, more = _of_terms(query, len(seen) + 1 + len(values))
            place, order = place.replace("client.", "t0."), f"named.client_id{way}"
            enough = "OFFSET 0" if _asks_more(query) else "LIMIT $1"
            named = f"{named} AND {place} ORDER BY t0.client_id{way} {enough}"
            source, place, values = f"{_CLIENTS} {_JOINED.format(named)}", "true", (*values, *more)
        sql = f"{source} WHERE {place}{where} ORDER BY {order} LIMIT $1"
        return [records.decode_client(*row) for row in await self._rows(sql, limit, *seen, *values)]

    async def count(self, query: ClientQuery, *, most: int = 0) -> int:
        if query.indexed and not _asks_more(query):
            sql, values = _of_terms(query, 1)  # whoever has a term is a client
        else:
            where, values = _of_clients(query, 1)
            source = _CLIENTS.partition(" FROM ")[2] if query.state else "client"
            if query.indexed:
                named, more = _of_terms(query, 1 + len(values))
                source, values = f"{source} {_JOINED.format(f'{named} OFFSET 0')}", (*values, *more)
            sql = f"SELECT 1 FROM {source} WHERE true{where}"  # noqa: S608 (as in clients)
        rows = await self._rows(f"SELECT count(*) FROM ({sql} LIMIT $1) AS found", most or None, *values)  # noqa: S608 (as in clients)
        return int(rows[0][0]) if rows else 0

    async def due(self, now: int, *, limit: int = 500) -> Sequence[Due]:
        rows = await self._rows(_DUE, now, limit)
        return [records.decode_due(*row) for row in rows]

    async def add_token(self, token: InitialAccessToken, event: Event, changes: Sequence[Change] = ()) -> None:
        row = records.token_row(token)

        async def add(connection: Connection) -> None:
            sql = "INSERT INTO initial_access_token VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING 1"
            if not await connection.fetchval(sql, *row):
                raise Conflict(token.token_id)

        await self._alone(add, event, changes)

    async def find_token(self, issuer: str, digest: Digest) -> InitialAccessToken | None:
        row = await self._found(self._tokens, issuer, digest)
        return records.decode_token(*row) if row else None

    async def tokens(
        self, issuer: str | None = None, *, after: tuple[str, str] = ("", ""), limit: int = 100
    ) -> Sequence[InitialAccessToken]:
        place, seen = _behind(issuer, after, "issuer", "token_id", ">")
        where, values = _where({"issuer": issuer}, len(seen) + 1)
        sql = f"{_TOKENS} WHERE {place}{where} ORDER BY issuer, token_id LIMIT $1"
        return [records.decode_token(*row) for row in await self._rows(sql, limit, *seen, *values)]

    async def revoke_token(
        self, issuer: str, token_id: str, now: int, event: Event, changes: Sequence[Change] = ()
    ) -> None:
        async def revoke(connection: Connection) -> None:
            sql = "SELECT revoked_at FROM initial_access_token WHERE issuer = $1 AND token_id = $2 FOR UPDATE"
            revoked_at = await connection.fetchval(sql, issuer, token_id)
            if revoked_at is None:
                raise NotFound(token_id)
            if revoked_at:
                raise Conflict(token_id)
            sql = "UPDATE initial_access_token SET revoked_at = $3 WHERE issuer = $1 AND token_id = $2"
            await connection.execute(sql, issuer, token_id, now)

        await self._alone(revoke, event, changes)

    async def record(self, event: Event) -> None:
        await self._writes.write(Write((event,)))

    async def events(self, query: EventQuery, *, after: int = 0, limit: int = 100) -> Sequence[StoredEvent]:
        where, values = _where({"issuer": query.issuer, "kind": query.kind, "client_id": query.client_id}, 2)
        if query.client_id:
            where += " AND client_id <> ''"  # the index of clients' events is used only where the statement says so too
        elif query.kind and query.kind != records.REGISTERED:
            where += records.EVENT_OF_KIND
        sql = f"{_EVENTS} WHERE sequence > $1{where} ORDER BY sequence LIMIT $2"
        return [records.decode_event(*row) for row in await self._rows(sql, after, limit, *values)]

    async def batches(
        self, *, after: tuple[str, int] = ("", 0), limit: int = 1000, unplaced: bool = False
    ) -> Sequence[Batch]:
        where = " AND place = 0" if unplaced else ""
        sql = f"{_BATCHES} WHERE (writer, number) > ($1, $2){where} ORDER BY writer, number LIMIT $3"
        return [Batch(*row) for row in await self._rows(sql, *after, limit)]

    async def log(self, *, after: int = 0, limit: int = 1000) -> Sequence[Batch]:
        sql = f"{_BATCHES} WHERE place > $1 AND place <> 0 ORDER BY place LIMIT $2"
        return [Batch(*row) for row in await self._rows(sql, after, limit)]

    async def told(self, writer: str, first: int, last: int) -> Sequence[StoredEvent]:
        return [records.decode_event(*row) for row in await self._rows(_TOLD, writer, first, last)]

    async def tally(self) -> tuple[int, int, int]:
        ((every, batched, unchained),) = await self._rows(_TALLY, patiently=True)
        return every, batched, unchained

    async def unchained(self) -> int:
        ((number,),) = await self._rows(_UNCHAINED, patiently=True)
        return int(number)

    async def add_key(self, key: SigningKey, event: Event, changes: Sequence[Change] = ()) -> None:
        row = records.key_row(key)

        async def add(connection: Connection) -> None:
            sql = "INSERT INTO signing_key VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING 1"
            if not await connection.fetchval(sql, *row):
                raise Conflict(key.kid)

        await self._alone(add, event, changes)

    async def rewrap_key(self, key: SigningKey, event: Event, changes: Sequence[Change] = ()) -> None:
        async def rewrap(connection: Connection) -> None:
            sql = "UPDATE signing_key SET record = $3 WHERE issuer = $1 AND kid = $2 RETURNING 1"
            if not await connection.fetchval(sql, key.issuer, key.kid, records.encode(key)):
                raise NotFound(key.kid)

        await self._alone(rewrap, event, changes)

    async def remove_key(self, issuer: str, kid: str, event: Event, changes: Sequence[Change] = ()) -> None:
        async def remove(connection: Connection) -> None:
            sql = "DELETE FROM signing_key WHERE issuer = $1 AND kid = $2 RETURNING 1"
            if not await connection.fetchval(sql, issuer, kid):
                raise NotFound(kid)

        await self._alone(remove, event, changes)

    async def keys(self, issuer: str) -> Sequence[SigningKey]:
        rows = await self._rows("SELECT record FROM signing_key WHERE issuer = $1 ORDER BY created_at, kid", issuer)
        return [records.decode_key(row[0]) for row in rows]

    async def ready(self) -> None:
        ((read_only, _),) = await self._rows(_READY)
        if read_only != "off":  # a session from before may read on; hardly anything is served without a write
            raise StoreUnavailable("the database takes no writes")

    def load(self) -> Load:
        pool = self._pool
        if pool is None or self._closed:
            return self._writes.load
        free = pool.get_idle_size()
        return self._writes.load._replace(
            used=pool.get_size() - free, free=free + pool.get_max_size() - pool.get_size()
        )

    async def close(self) -> None:
        self._closed = True
        await self._writes.close()
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                await asyncio.wait_for(pool.close(), self._address.settings.connect_seconds)
            except (*LOST, asyncpg.PostgresError):
                pool.terminate()

    async def _alone(
        self, act: Callable[[Connection], Awaitable[None]], event: Event, changes: Sequence[Change]
    ) -> None:
        await self._writes.write(Write.of(changes, (event,), alone=act))

    def _lookup(self, sql: str, keys: int) -> Callable[[list[Any]], Awaitable[Mapping[Any, tuple[Any, ...]]]]:
        """How rows are found whose first columns are their key."""

        async def fetch(wanted: list[tuple[Any, ...]]) -> Mapping[Any, tuple[Any, ...]]:
            rows = await self._rows(sql, *zip(*wanted, strict=True))
            return {tuple(row[:keys]): tuple(row[keys:]) for row in rows}

        return fetch

    async def _found(self, lookups: Lookups[Any], *key: str | Digest) -> tuple[Any, ...] | None:
        self._check()
        return await lookups.find(key) if all(map(_storable, key)) else None

    def _check(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")

    async def _rows(self, sql: str, *values: Any, patiently: bool = False) -> Sequence[Any]:
        """The rows of a statement that may be run twice.

        Args:
            sql: the statement.
            values: of its parameters.
            patiently: whether it may take longer than others, because it reads everything there is and nobody waits for it.
        """
        if not all(map(_storable, values)):
            return ()
        for lost_before in (False, True):
            try:
                async with self._reading(await self._opened()) as connection:
                    if patiently:
                        return await _slowly(connection, sql, *values)
                    rows: Sequence[Any] = await connection.fetch(sql, *values)
                    return rows
            except TimeoutError:
                raise StoreUnavailable("no connection became free, or the database did not answer in time") from None
            except LOST as problem:
                if lost_before or self._closed:
                    raise unreachable(self._address, problem) from None
            except asyncpg.PostgresError as problem:
                raise StoreUnavailable(f"{type(problem).__name__}: {problem}") from None
        raise AssertionError

    async def _connected(self, dsn: None, **given: Any) -> Connection:
        """What the pool calls in place of asyncpg's own."""
        del dsn
        return await open_session(self._address, **given)

    def _reading(self, pool: asyncpg.Pool) -> Any:
        return pool.acquire(timeout=self._address.settings.connect_seconds)

    async def _opened(self) -> asyncpg.Pool:
        self._check()
        if self._pool is not None:
            return self._pool
        async with self._opening:
            if self._pool is None:
                settings = self._address.settings
                pool = asyncpg.create_pool(
                    connect=self._connected,
                    min_size=0,
                    max_size=settings.connections,
                    max_inactive_connection_lifetime=settings.idle_seconds,
                    init=prepare,
                    reset=_as_it_is,
                )
                self._pool = await pool
        return self._pool


async def _slowly(connection: Connection, sql: str, *values: Any) -> Sequence[Any]:
    async with connection.transaction(readonly=True):
        await connection.execute("SET LOCAL statement_timeout = 0")
        rows: Sequence[Any] = await connection.fetch(sql, *values, timeout=_PATIENCE)
        return rows


def _storable(value: Any) -> bool:
    """Whether there may be anything to find under a value: no text in PostgreSQL has a NUL or half of a surrogate pair."""
    return not isinstance(value, str) or ("\0" not in value and (value.isascii() or not _HALVES.search(value)))


async def _as_it_is(connection: Any) -> None:
    """Reads leave nothing behind in a session, so it need not be reset, which would cost a round trip."""
    del connection


def _where(columns: dict[str, str | None], given: int) -> tuple[str, tuple[str, ...]]:
    """Conditions with the numbers of their parameters, which come after those that are given already."""
    used = {name: value for name, value in columns.items() if value is not None}
    return "".join(f" AND {name} = ${given + at}" for at, name in enumerate(used, 1)), tuple(used.values())


def _behind(
    issuer: str | None, after: tuple[str, str], of: str, identifier: str, sign: str
) -> tuple[str, tuple[str, ...]]:
    """What is behind a place in the order of issuer and identifier, from the second parameter on, and the values.

    Of one issuer, the index is entered at the identifier: both would be compared from the issuer's beginning on.
    """
    if issuer is not None and after[0] <= issuer:
        return f"{identifier} {sign} $2", (after[1] if after[0] == issuer else "",)
    return f"({of}, {identifier}) {sign} ($2, $3)", after


def _of_clients(query: ClientQuery, given: int) -> tuple[str, tuple[str, ...]]:
    """What clients have beside terms."""
    columns = {
        "client.issuer": query.issuer,
        _STATE: query.state.value if query.state else None,
        "client.owner": query.owner,
        "client.token_id": query.token_id,
        "client.template": query.template,
    }
    where, values = _where(columns, given)
    if query.template:
        # The index of instances has no clients of their own in it, and is used only where the statement says so too.
        where += " AND client.template <> ''"
    limits, bounds = _within(query, "client.client_id", given + len(values))
    return where + limits, (*values, *bounds)


def _of_terms(query: ClientQuery, given: int) -> tuple[str, tuple[str, ...]]:
    """The identifiers of the clients with some terms."""
    named = [f"t{at}" for at in range(len(query.indexed))]
    source = "client_term AS t0" + "".join(f" JOIN client_term AS {one} USING (issuer, client_id)" for one in named[1:])
    where = "".join(f" AND {one}.term = ${given + at}" for at, one in enumerate(named, 2))
    limits, bounds = _within(query, "t0.client_id", given + 1 + len(named))
    sql = f"SELECT t0.client_id FROM {source} WHERE t0.issuer = ${given + 1}{where}{limits}"  # noqa: S608 (as in clients)
    return sql, (query.issuer or "", *query.indexed, *bounds)


def _within(query: ClientQuery, identifier: str, given: int) -> tuple[str, tuple[str, ...]]:
    """The times between which clients were registered, which their identifiers begin with."""
    used = [(sign, bound) for sign, bound in zip((">=", "<"), query.bounds, strict=True) if bound]
    where = "".join(f" AND {identifier} {sign} ${given + at}" for at, (sign, _) in enumerate(used, 1))
    return where, tuple(bound for _, bound in used)


def _asks_more(query: ClientQuery) -> bool:
    """Whether a query asks for anything that has to be looked at in each client that has the terms."""
    return any((query.state, query.owner, query.token_id, query.template))
