"""SQLite: one file, WAL, synchronous=FULL, one writer in each process, group commit.

apsw rather than the standard library's module, because it brings its own recent SQLite: versions before 3.51.3 can
corrupt a database in WAL mode when several connections write and checkpoint, and that is checked at start.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from registrar.domain import chain, merkle, template
from registrar.domain.access_token import InitialAccessToken
from registrar.domain.chain import Batch
from registrar.domain.client import Client, State
from registrar.domain.credentials import Digest
from registrar.domain.events import Event
from registrar.domain.terms import TOMBSTONE, terms
from registrar.service import last_use
from registrar.service.metrics import Metrics
from registrar.service.ports import (
    TALLY,
    Advance,
    Change,
    ClientQuery,
    Conflict,
    Count,
    Drop,
    DropAll,
    Due,
    Erase,
    EventQuery,
    Item,
    Load,
    Look,
    NotFound,
    Place,
    Put,
    SigningKey,
    Spend,
    StoredEvent,
    StoreError,
    StoreUnavailable,
    Tell,
    TokenSpent,
)
from registrar.service.tracing import Tracer
from registrar.storage import records
from registrar.storage.group_commit import GroupCommit, Long
from registrar.storage.migrations import newer, scripts

OLDEST: Final = (3, 51, 3)
_PAGE_BYTES: Final = 8192
# Half of SQLite's default: whoever commits when the log is full waits for the checkpoint, and a shorter wait twice as
# often took the 99th percentile of registrations from 19-27 ms to 10-17 ms at the same rate.
_CHECKPOINT_PAGES: Final = 500
_CACHE_KIB: Final = 16_384
_PATIENCE_MS: Final = 5_000
_MANY: Final = 100
"""Rows of a page after which others have their turn: whoever reads page after page never waits for anything else."""
_DROPPED: Final = 250
"""Changes that are made and items that are dropped on the loop at the most; each takes some ten microseconds."""
_FEW: Final = 1_000
"""Rows of an index that are counted on the loop; what may be more is counted beside it."""

_INSERT_CLIENT: Final = (
    "INSERT INTO client (issuer, client_id, version, state, owner, token_id, template, due_at, record) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE_CLIENT: Final = (
    "UPDATE client SET version = ?, state = ?, owner = ?, due_at = ?, record = ? "
    "WHERE issuer = ? AND client_id = ? AND version = ?"
)
_INSERT_TERM: Final = "INSERT OR IGNORE INTO client_term (issuer, term, client_id) VALUES (?, ?, ?)"
_DELETE_TERM: Final = "DELETE FROM client_term WHERE issuer = ? AND term = ? AND client_id = ?"
# The template comes with the instance, in one statement: the two are of one moment.
_OF_TEMPLATE: Final = (
    "LEFT JOIN item ON client.template <> '' AND item.issuer = client.issuer "
    f"AND item.kind = '{template.KIND}' AND item.key = client.template"
)
_CLIENTS: Final = f"SELECT client.record, item.body FROM client {_OF_TEMPLATE}"  # noqa: S608 (words of our own)
# The state of an instance is the template's to end: where that is deleted or gone, so is the instance.
_STATE: Final = (
    "iif(client.template <> '' AND ifnull(json_extract(CAST(item.body AS TEXT), '$.state'), 'deleted') = 'deleted', "
    "'deleted', client.state)"
)
_DUE: Final = (
    "SELECT client.issuer, client.client_id, client.due_at, client.record, item.body, used.body, used.version "  # noqa: S608 (as above)
    f"FROM client {_OF_TEMPLATE} "
    f"LEFT JOIN item AS used ON used.issuer = client.issuer AND used.kind = '{last_use.KIND}' AND used.key = client.client_id "
    "WHERE client.due_at <> 0 AND client.due_at <= ? ORDER BY client.due_at LIMIT ?"
)
# Of one moment too, and for a client of its own without a look at the templates: 5 microseconds, where a join takes 11.
_FIND_CLIENT: Final = (
    "SELECT record, CASE template WHEN '' THEN NULL ELSE (SELECT body FROM item WHERE item.issuer = client.issuer "  # noqa: S608 (as above)
    f"AND kind = '{template.KIND}' AND key = client.template) END FROM client WHERE issuer = ? AND client_id = ?"
)
_INSERT_EVENT: Final = "INSERT INTO event (writer, batch, position, issuer, kind, time_ms, client_id, body, personal) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_BATCH: Final = "INSERT INTO audit_batch (writer, number, events, root, link, place) VALUES (?, ?, ?, ?, ?, ?)"
_BATCHES: Final = "SELECT writer, number, events, root, link, place FROM audit_batch"
_ERASE_EVENT: Final = "DELETE FROM event WHERE sequence = ?"
_ERASE_PERSONAL: Final = "UPDATE event SET personal = x'' WHERE sequence = ?"
_LOOK: Final = "UPDATE client SET due_at = ?3 WHERE issuer = ?1 AND client_id = ?2 AND due_at = ?4"
_PLACE: Final = "UPDATE audit_batch SET place = ? WHERE writer = ? AND number = ? AND place = 0"
_EVENTS: Final = "SELECT sequence, writer, batch, position, issuer, kind, time_ms, client_id, body, personal FROM event"
# The index has the first event of each batch; the others come after it in the sequence.
_TALLY: Final = (
    "SELECT (SELECT count(*) FROM event), (SELECT coalesce(sum(events), 0) FROM audit_batch), "
    "(SELECT count(*) FROM event JOIN audit_unchained ON audit_unchained.writer = event.writer)"
)
_TOLD: Final = (
    "SELECT one.sequence, one.writer, one.batch, one.position, one.issuer, one.kind, one.time_ms, one.client_id, one.body, "
    "one.personal FROM event AS first JOIN audit_batch AS held ON held.writer = first.writer AND held.number = first.batch "
    "JOIN event AS one ON one.sequence BETWEEN first.sequence AND first.sequence + held.events - 1 "
    "WHERE first.writer = ? AND first.batch BETWEEN ? AND ? AND first.position = 0 ORDER BY first.batch, one.position"
)
_FEW_OF_TERM: Final = f"SELECT count(*) FROM (SELECT 1 FROM client_term WHERE issuer = ? AND term = ? LIMIT {_FEW})"  # noqa: S608 (a number of our own)
_CLAIM: Final = (
    "UPDATE initial_access_token SET uses = uses + 1 WHERE issuer = ? AND digest = ? AND revoked_at = 0 "
    "AND (max_uses = 0 OR uses < max_uses) AND (expires_at = 0 OR expires_at > ?)"
)
_ITEM_COLUMNS: Final = "issuer, kind, key, body, version, client_id, owner, expires_at"
_ITEM_VALUES: Final = "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_ITEM: Final = (
    f"INSERT INTO item ({_ITEM_COLUMNS}) {_ITEM_VALUES} ON CONFLICT (issuer, kind, key) DO UPDATE SET body = excluded.body, "
    "version = excluded.version, client_id = excluded.client_id, owner = excluded.owner, expires_at = excluded.expires_at"
)
_PUT_NEW_ITEM: Final = f"{_PUT_ITEM} WHERE item.expires_at <> 0 AND item.expires_at <= ?"
_REPLACE_ITEM: Final = (
    "UPDATE item SET body = ?, version = ?, client_id = ?, owner = ?, expires_at = ? "
    "WHERE issuer = ? AND kind = ? AND key = ? AND version = ?"
)
_DROP_ITEM: Final = "DELETE FROM item WHERE issuer = ? AND kind = ? AND key = ?"
_PURGE: Final = (
    "DELETE FROM item WHERE rowid IN (SELECT rowid FROM item WHERE expires_at <> 0 AND expires_at <= ? LIMIT ?)"
)
_AT_TALLY: Final = f"WHERE issuer = ?1 AND kind = '{TALLY}' AND key = '{TALLY}'"
_LIVING: Final = f"SELECT version FROM item {_AT_TALLY}"  # noqa: S608 (as in clients)
_COUNTED: Final = f"UPDATE item SET version = ?2 {_AT_TALLY}"  # noqa: S608 (as in clients)
_COUNT_OFF: Final = f"UPDATE item SET version = version - 1 {_AT_TALLY}"  # noqa: S608 (as in clients)
_ADVANCE: Final = (
    f"INSERT INTO item ({_ITEM_COLUMNS}) SELECT ?1, ?2, ?3, x'', 1, '', '', 0 WHERE ?4 >= 1 "
    "ON CONFLICT (issuer, kind, key) DO UPDATE SET version = version + 1 WHERE version < ?4"
)
_RETREAT: Final = "UPDATE item SET version = version - 1 WHERE issuer = ? AND kind = ? AND key = ?"
_DROP_UNMADE: Final = f"{_DROP_ITEM} AND version = 0"
# Both numbers are read from indexes alone: every tombstone has this term.
_COUNT_ALL: Final = (
    f"INSERT INTO item ({_ITEM_COLUMNS}) SELECT ?1, '{TALLY}', '{TALLY}', x'', "  # noqa: S608 (as above)
    "(SELECT count(*) FROM client WHERE issuer = ?1) + 1 - "
    f"(SELECT count(*) FROM client_term WHERE issuer = ?1 AND term = '{TOMBSTONE}'), '', '', 0"
)
_FIND_TOKENS: Final = "SELECT record, uses, revoked_at FROM initial_access_token"


class SQLiteStore:
    """A store in one SQLite file, which several processes may share.

    Args:
        path: the file; its folder is created.
        queue: writes that may wait at the most.
        metrics: counts commits, where somebody asks for that.
        tracer: times them, where somebody asks for that.

    Raises:
        StoreUnavailable: the file cannot be opened or was written by a newer program.
    """

    def __init__(
        self, path: Path, *, queue: int = 4096, metrics: Metrics | None = None, tracer: Tracer | None = None
    ) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._engine = _Engine(path)
            self._read = connect(path)
            self._read.execute("PRAGMA query_only = ON")
        except (apsw.Error, OSError) as problem:
            raise StoreUnavailable(f"{path}: {problem}") from problem
        self._writes = GroupCommit(self._engine, queue, metrics, tracer)
        self._searches = _Searches(path)

    async def create(
        self, client: Client, event: Event, spend: Spend | None = None, changes: Sequence[Change] = ()
    ) -> None:
        engine = self._engine
        row = (
            client.issuer,
            client.client_id,
            client.version,
            client.state,
            client.admission.owner,
            client.admission.token_id,
            client.template,
            client.due_at,
            records.encode_client(client),
        )
        named = terms(client)
        if changes:
            await self._writes.write(lambda: engine.create_with(row, named, event, spend, changes))
        elif spend is None:
            await self._writes.write(lambda: engine.create(row, named, event))
        else:
            await self._writes.write(lambda: engine.create_and_claim(row, named, event, spend))

    async def find(self, issuer: str, client_id: str) -> Client | None:
        for row in self._query(_FIND_CLIENT, (issuer, client_id)):
            return records.decode_client(*row)
        return None

    async def update(
        self, client: Client, events: Sequence[Event], *, expected: int, changes: Sequence[Change] = ()
    ) -> None:
        if client.state is State.DELETED:
            changes = [*changes, DropAll(client.issuer, client.client_id)]
        await self._write(changes, lambda: self._engine.update(client, events, expected, changes))

    async def change(self, changes: Sequence[Change], events: Sequence[Event] = ()) -> None:
        await self._write(changes, lambda: self._engine.change(changes, events))

    async def _write(self, changes: Sequence[Change], operation: Callable[[], None]) -> None:
        """Write; beside the loop where that is much, as what many people have allowed one client is, which goes with it."""
        drops = [one for one in changes if isinstance(one, DropAll)]
        many = len(changes) >= _DROPPED or any(map(self._are_many, drops))
        await self._writes.write(Long(operation) if many else operation)

    def _are_many(self, drop: DropAll) -> bool:
        where, values = _whose(drop.client_id, drop.owner, drop.kind)
        sql = f"SELECT count(*) FROM (SELECT 1 FROM item WHERE issuer = ?{where} LIMIT {_DROPPED})"  # noqa: S608 (as in clients)
        ((number,),) = self._query(sql, (drop.issuer, *values))
        return bool(number == _DROPPED)

    async def item(self, issuer: str, kind: str, key: str) -> Item | None:
        sql = f"SELECT {_ITEM_COLUMNS} FROM item WHERE issuer = ? AND kind = ? AND key = ?"  # noqa: S608 (as in clients)
        for row in self._query(sql, (issuer, kind, key)):
            return Item(*row)
        return None

    async def items(
        self, issuer: str, kind: str, *, client_id: str = "", owner: str = "", after: str = "", limit: int = 100
    ) -> Sequence[Item]:
        where, values = _whose(client_id, owner)
        sql = f"SELECT {_ITEM_COLUMNS} FROM item WHERE issuer = ? AND kind = ? AND key > ?{where} ORDER BY key LIMIT ?"  # noqa: S608 (as in clients)
        return [Item(*row) for row in await self._page(sql, (issuer, kind, after, *values, limit))]

    async def count_items(self, issuer: str, kind: str, owner: str) -> int:
        where, values = _whose("", owner)
        ((number,),) = self._query(
            f"SELECT count(*) FROM item WHERE issuer = ? AND kind = ?{where}",  # noqa: S608 (as in clients)
            (issuer, kind, *values),
        )
        return int(number)

    async def purge(self, now: int, limit: int = 1000) -> int:
        gone = 0

        def purge() -> None:
            nonlocal gone
            gone = self._engine.purge(now, limit)

        await self._writes.write(purge)
        return gone

    async def clients(
        self, query: ClientQuery, *, after: tuple[str, str] = ("", ""), limit: int = 100
    ) -> Sequence[Client]:
        query = await self._rarest_first(query)
        source, where, values = _of_clients(query)
        after, (sign, way) = query.place(after), ("<", " DESC") if query.newest else (">", "")
        place, seen = f"(client.issuer, client.client_id) {sign} (?, ?)", [*after]
        if query.issuer == after[0]:
            # The index is then entered at this place; a row value would be compared from the issuer's beginning on.
            place, seen = f"client.client_id {sign} ?", [after[1]]
        order = f"client.issuer{way}, client.client_id{way}"
        if query.indexed:
            place, order = place.replace("client.", "t0."), f"t0.client_id{way}"
        sql = f"{_CLIENTS.replace('FROM client', f'FROM {source}')} WHERE {place}{where} ORDER BY {order} LIMIT ?"
        read = self._page if _is_found(query) else self._search
        return [records.decode_client(*row) for row in await read(sql, (*seen, *values, limit))]

    async def count(self, query: ClientQuery, *, most: int = 0) -> int:
        if _is_found(query) and query.terms:
            # What a cap has is mostly few: they are counted in less time than it takes to have somebody else do it.
            limit = min(most or _FEW, _FEW)
            ((number,),) = self._query(*_counting(query, limit))
            if number < limit or number == most:
                return int(number)
        ((number,),) = await self._search(*_counting(await self._rarest_first(query), most))
        return int(number)

    async def _rarest_first(self, query: ClientQuery) -> ClientQuery:
        """The query with its terms in that order: the clients of the first are all looked at, however few have the others."""
        if len(query.terms) < 2:  # noqa: PLR2004 (of one there is no order)
            return query
        rows = [await self._search(_FEW_OF_TERM, (query.issuer or "", one)) for one in query.indexed]
        counted = sorted(zip([number for ((number,),) in rows], query.terms, strict=True))
        return msgspec.structs.replace(query, terms=tuple(one for _, one in counted))

    async def due(self, now: int, *, limit: int = 500) -> Sequence[Due]:
        rows = await self._page(_DUE, (now, limit))
        return [records.decode_due(*row) for row in rows]

    async def add_token(self, token: InitialAccessToken, event: Event, changes: Sequence[Change] = ()) -> None:
        await self._writes.write(
            lambda: self._engine.with_changes(changes, lambda: self._engine.add_token(token, event))
        )

    async def find_token(self, issuer: str, digest: Digest) -> InitialAccessToken | None:
        for row in self._query(f"{_FIND_TOKENS} WHERE issuer = ? AND digest = ?", (issuer, digest)):
            return _token(row)
        return None

    async def tokens(
        self, issuer: str | None = None, *, after: tuple[str, str] = ("", ""), limit: int = 100
    ) -> Sequence[InitialAccessToken]:
        where, values = _where({"issuer": issuer})
        place, seen = "(issuer, token_id) > (?, ?)", [*after]
        if issuer == after[0]:  # as in `clients`
            place, seen = "token_id > ?", [after[1]]
        sql = f"{_FIND_TOKENS} WHERE {place}{where} ORDER BY issuer, token_id LIMIT ?"
        return [_token(row) for row in await self._page(sql, (*seen, *values, limit))]

    async def revoke_token(
        self, issuer: str, token_id: str, now: int, event: Event, changes: Sequence[Change] = ()
    ) -> None:
        engine = self._engine
        await self._writes.write(
            lambda: engine.with_changes(changes, lambda: engine.revoke_token(issuer, token_id, now, event))
        )

    async def record(self, event: Event) -> None:
        await self._writes.write(lambda: self._engine.tell(event))

    async def events(self, query: EventQuery, *, after: int = 0, limit: int = 100) -> Sequence[StoredEvent]:
        where, values = _where({"issuer": query.issuer, "kind": query.kind, "client_id": query.client_id})
        if query.client_id:
            where += " AND client_id <> ''"  # the index of clients' events is used only where the statement says so too
        elif query.kind and query.kind != records.REGISTERED:
            where += records.EVENT_OF_KIND
        # Even of one client there may be many others: one that reads itself every minute has half a million in a year.
        found = not query.kind and (query.client_id or not values)
        read = self._page if found else self._search
        rows = await read(f"{_EVENTS} WHERE sequence > ?{where} ORDER BY sequence LIMIT ?", (after, *values, limit))
        return [_event(row) for row in rows]

    async def batches(
        self, *, after: tuple[str, int] = ("", 0), limit: int = 1000, unplaced: bool = False
    ) -> Sequence[Batch]:
        where = " AND place = 0" if unplaced else ""
        sql = f"{_BATCHES} WHERE (writer, number) > (?, ?){where} ORDER BY writer, number LIMIT ?"
        return [Batch(*row) for row in await self._page(sql, (*after, limit))]

    async def log(self, *, after: int = 0, limit: int = 1000) -> Sequence[Batch]:
        sql = f"{_BATCHES} WHERE place > ? AND place <> 0 ORDER BY place LIMIT ?"
        return [Batch(*row) for row in await self._page(sql, (after, limit))]

    async def told(self, writer: str, first: int, last: int) -> Sequence[StoredEvent]:
        return [_event(row) for row in await self._page(_TOLD, (writer, first, last))]

    async def tally(self) -> tuple[int, int, int]:
        ((every, batched, unchained),) = await self._search(_TALLY, ())
        return every, batched, unchained

    async def add_key(self, key: SigningKey, event: Event, changes: Sequence[Change] = ()) -> None:
        await self._writes.write(lambda: self._engine.with_changes(changes, lambda: self._engine.add_key(key, event)))

    async def rewrap_key(self, key: SigningKey, event: Event, changes: Sequence[Change] = ()) -> None:
        engine = self._engine
        await self._writes.write(lambda: engine.with_changes(changes, lambda: engine.rewrap_key(key, event)))

    async def remove_key(self, issuer: str, kid: str, event: Event, changes: Sequence[Change] = ()) -> None:
        engine = self._engine
        await self._writes.write(lambda: engine.with_changes(changes, lambda: engine.remove_key(issuer, kid, event)))

    async def keys(self, issuer: str) -> Sequence[SigningKey]:
        rows = self._query("SELECT record FROM signing_key WHERE issuer = ? ORDER BY created_at, kid", (issuer,))
        return [records.decode_key(record) for (record,) in rows]

    async def ready(self) -> None:
        self._query("SELECT 1 FROM client LIMIT 1", ())

    def load(self) -> Load:
        return self._writes.load

    async def close(self) -> None:
        await self._writes.close()
        self._searches.close()
        self._read.close()
        self._engine.close()

    def _query(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Rows that are found by their key, on the loop: everybody waits for them."""
        try:
            return self._read.execute(sql, values).fetchall()
        except apsw.Error as problem:
            raise StoreUnavailable(f"{type(problem).__name__}: {problem}") from problem

    async def _page(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Rows beside each other in an index; after many of them, others have their turn."""
        rows = self._query(sql, values)
        if len(rows) >= _MANY:
            await asyncio.sleep(0)
        return rows

    async def _search(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Rows that no index leads to alone: beside the loop, so that nobody else waits, however many are looked at."""
        try:
            return await self._searches.rows(sql, values)
        except apsw.Error as problem:
            raise StoreUnavailable(f"{type(problem).__name__}: {problem}") from problem


class _Searches:
    """A reading connection on a thread of its own, opened when it is first needed: one search after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._db: apsw.Connection | None = None
        self._closed = False

    async def rows(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """The rows of a statement.

        Raises:
            apsw.Error: the database does not answer.
            StoreUnavailable: the store is closed.
        """
        if self._closed:
            raise _closed()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._found, sql, values)

    def close(self) -> None:
        """Give up what is searched for, and let go."""
        self._closed = True
        if self._db is not None:
            self._db.interrupt()
        self._thread.shutdown()
        if self._db is not None:
            self._db.close()
            self._db = None

    def _found(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        if self._closed:
            raise _closed()
        if self._db is None:
            self._db = connect(self._path)
            self._db.execute("PRAGMA query_only = ON")
        return self._db.execute(sql, values).fetchall()


def _closed() -> StoreUnavailable:
    return StoreUnavailable("the store is closed")


class _Engine:
    """The writing connection: statements on the loop, commits on the committer's thread, never both at once."""

    def __init__(self, path: Path) -> None:
        # Between processes, a lock of the file system is fair where SQLite's own waiting is not (measured: 99th
        # percentile 11 ms against 134 ms with two processes).
        self._lock = os.fdopen(os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            path.touch(0o600)
            self._db = connect(path)
            bring_forward(self._db, path)
        except BaseException:
            self._lock.close()
            raise
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        self._writer = secrets.token_hex(8)
        self._batch = 0
        self._link = chain.BEGINNING
        self._leaves: list[bytes] = []
        """The hashes of the events of the batch that is open."""
        self._living: dict[str, int] = {}
        """Issuer -> how many of its clients live, of those that the open batch has counted. They are written once."""

    # --- batches ---

    def try_begin(self) -> bool:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        try:
            self._begin()
        except apsw.BusyError:  # some other program has the file
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            return False
        return True

    def begin(self) -> None:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._db.set_busy_timeout(_PATIENCE_MS)
        try:
            self._begin()
        finally:
            self._db.set_busy_timeout(0)

    def commit(self) -> None:
        for counted in self._living.items():
            self._db.execute(_COUNTED, counted)
        if not self._leaves:
            self._db.execute("COMMIT")
        else:
            batch = chain.batch(self._link, self._writer, self._batch + 1, self._leaves)
            self._db.execute(_INSERT_BATCH, (batch.writer, batch.number, batch.events, batch.root, batch.link, 0))
            self._db.execute("COMMIT")
            # The head moves only with what is durable, so that a chain of batches has no gaps.
            self._batch, self._link = batch.number, batch.link
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def rollback(self) -> None:
        try:
            if not self._db.get_autocommit():
                self._db.execute("ROLLBACK")
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        self._db.close()
        self._lock.close()

    def _begin(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._leaves.clear()
        self._living.clear()

    # --- operations: each refuses before it has written anything, or undoes what it has ---

    def create(self, row: tuple[Any, ...], named: tuple[str, ...], event: Event) -> None:
        try:
            self._db.execute(_INSERT_CLIENT, row)
        except apsw.ConstraintError:
            raise Conflict(row[1]) from None
        for one in named:
            self._db.execute(_INSERT_TERM, (row[0], one, row[1]))
        self.tell(event)

    def create_and_claim(self, row: tuple[Any, ...], named: tuple[str, ...], event: Event, spend: Spend) -> None:
        self._db.execute(_CLAIM, (row[0], spend.digest, spend.now))
        if not self._db.changes():
            raise TokenSpent
        try:
            self.create(row, named, event)
        except Conflict:
            self._db.execute(
                "UPDATE initial_access_token SET uses = uses - 1 WHERE issuer = ? AND digest = ?",
                (row[0], spend.digest),
            )
            raise

    def create_with(
        self,
        row: tuple[Any, ...],
        named: tuple[str, ...],
        event: Event,
        spend: Spend | None,
        changes: Sequence[Change],
    ) -> None:
        numbers = [one for one in changes if isinstance(one, (Count, Advance))]
        others = [one for one in changes if not isinstance(one, (Count, Advance))] if numbers else changes
        if numbers and _lands(others):
            self._create_counted(row, named, event, spend, numbers)
            self._make(others)
            return
        if not _lands(changes):
            with self._whole():
                self._make(changes)
                self._create(row, named, event, spend)
            return
        # Nothing of these changes can be refused. Two statements fewer, for the messages that webhooks are told by.
        self._create(row, named, event, spend)
        self._make(changes)

    def _create_counted(
        self,
        row: tuple[Any, ...],
        named: tuple[str, ...],
        event: Event,
        spend: Spend | None,
        numbers: Sequence[Count | Advance],
    ) -> None:
        """They refuse in turn: who is refused after being counted is counted off, which is cheaper than a savepoint."""
        counted: list[Count | Advance] = []
        try:
            for one in numbers:
                self._count(one) if isinstance(one, Count) else self._advance(one)
                counted.append(one)
            self._create(row, named, event, spend)
        except StoreError:
            for one in counted:
                self._count_off(one.issuer) if isinstance(one, Count) else self._retreat(one)
            raise

    def _create(self, row: tuple[Any, ...], named: tuple[str, ...], event: Event, spend: Spend | None) -> None:
        if spend is None:
            self.create(row, named, event)
        else:
            self.create_and_claim(row, named, event, spend)

    def update(self, client: Client, events: Sequence[Event], expected: int, changes: Sequence[Change]) -> None:
        key = (client.issuer, client.client_id)
        record = records.encode_client(client)
        before = self._db.execute("SELECT record, state FROM client WHERE issuer = ? AND client_id = ?", key).fetchone()
        if before is None:
            raise NotFound(key[1])
        held = (client.version, client.state, client.admission.owner, client.due_at, record)
        with self._whole() if changes else nullcontext():
            self._db.execute(_UPDATE_CLIENT, (*held, *key, expected))
            if not self._db.changes():
                raise Conflict(key[1])
            self._make(changes)
        then, now = {*terms(records.decode_own(before[0]))}, {*terms(client)}
        for one in then - now:
            self._db.execute(_DELETE_TERM, (key[0], one, key[1]))
        for one in now:  # all of them: a client from before there were terms gets its own with its next change
            self._db.execute(_INSERT_TERM, (key[0], one, key[1]))
        if client.state is State.DELETED and before[1] != State.DELETED:
            self._count_off(key[0])
        for event in events:
            self.tell(event)

    def change(self, changes: Sequence[Change], events: Sequence[Event]) -> None:
        # A token is one or a few such changes; two statements fewer are a third of them.
        with nullcontext() if _refuses_first(changes) else self._whole():
            self._make(changes)
        for event in events:
            self.tell(event)

    def with_changes(self, changes: Sequence[Change], act: Callable[[], None]) -> None:
        if not changes:
            act()
            return
        with self._whole():
            self._make(changes)
            act()

    def purge(self, now: int, limit: int) -> int:
        self._db.execute(_PURGE, (now, limit))
        return self._db.changes()

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """All statements, or none: a refusal must leave nothing behind for the neighbours in the batch to commit."""
        told, living = len(self._leaves), {**self._living}
        self._db.execute("SAVEPOINT whole")
        try:
            yield
        except StoreError:
            self._db.execute("ROLLBACK TO whole")
            del self._leaves[told:]
            self._living = living
            raise
        finally:
            self._db.execute("RELEASE whole")

    def _make(self, changes: Sequence[Change]) -> None:
        for one in changes:
            if isinstance(one, Put):
                self._put(one)
            elif isinstance(one, Drop):
                self._drop(one)
            elif isinstance(one, Tell):
                self.tell(one.event)
            elif isinstance(one, Place):
                self._place(one)
            elif isinstance(one, Count):
                self._count(one)
            elif isinstance(one, Advance):
                self._advance(one)
            elif isinstance(one, Look):
                self._db.executemany(_LOOK, one.dates)
            elif isinstance(one, Erase):
                self._db.execute(_ERASE_EVENT if one.whole else _ERASE_PERSONAL, (one.sequence,))
            else:
                where, values = _whose(one.client_id, one.owner, one.kind)
                self._db.execute(f"DELETE FROM item WHERE issuer = ?{where}", (one.issuer, *values))  # noqa: S608 (as in clients)

    def _put(self, put: Put) -> None:
        item = put.item
        key = (item.issuer, item.kind, item.key)
        held = (item.body, item.version, item.client_id, item.owner, item.expires_at)
        if put.expected is None:
            self._db.execute(_PUT_ITEM, (*key, *held))
            return
        if put.expected == 0:
            self._db.execute(_PUT_NEW_ITEM, (*key, *held, put.now))
        else:
            self._db.execute(_REPLACE_ITEM, (*held, *key, put.expected))
        if not self._db.changes():
            raise Conflict(item.key)

    def _count(self, one: Count) -> None:
        living = self._living.get(one.issuer)
        if living is None:
            found = self._db.execute(_LIVING, (one.issuer,)).fetchone()
            if found is None:  # the first to be counted, and nobody is refused
                self._db.execute(_COUNT_ALL, (one.issuer,))
                return
            (living,) = found
        if one.most and living >= one.most:
            raise Conflict(TALLY)
        self._living[one.issuer] = living + 1

    def _count_off(self, issuer: str) -> None:
        if issuer in self._living:
            self._living[issuer] -= 1
            return
        self._db.execute(_COUNT_OFF, (issuer,))

    def _advance(self, one: Advance) -> None:
        self._db.execute(_ADVANCE, (one.issuer, one.kind, one.key, one.most))
        if not self._db.changes():
            raise Conflict(one.key)

    def _retreat(self, one: Advance) -> None:
        key = (one.issuer, one.kind, one.key)
        self._db.execute(_RETREAT, key)
        self._db.execute(_DROP_UNMADE, key)

    def _place(self, one: Place) -> None:
        try:
            self._db.execute(_PLACE, (one.place, one.writer, one.number))
        except apsw.ConstraintError:
            raise Conflict(str(one.place)) from None
        if not self._db.changes():
            raise Conflict(str(one.place))

    def _drop(self, drop: Drop) -> None:
        key = (drop.issuer, drop.kind, drop.key)
        if drop.kind == TALLY:
            self._living.pop(drop.issuer, None)
        if drop.expected is None:
            self._db.execute(_DROP_ITEM, key)
            return
        self._db.execute(f"{_DROP_ITEM} AND version = ?", (*key, drop.expected))
        if not self._db.changes():
            raise Conflict(drop.key)

    def add_token(self, token: InitialAccessToken, event: Event) -> None:
        columns = (
            token.issuer,
            token.token_id,
            token.digest,
            token.max_uses,
            token.uses,
            token.expires_at,
            token.revoked_at,
            records.encode(token),
        )
        try:
            self._db.execute("INSERT INTO initial_access_token VALUES (?, ?, ?, ?, ?, ?, ?, ?)", columns)
        except apsw.ConstraintError:
            raise Conflict(token.token_id) from None
        self.tell(event)

    def revoke_token(self, issuer: str, token_id: str, now: int, event: Event) -> None:
        self._db.execute(
            "UPDATE initial_access_token SET revoked_at = ? WHERE issuer = ? AND token_id = ? AND revoked_at = 0",
            (now, issuer, token_id),
        )
        if not self._db.changes():
            known = self._db.execute(f"{_FIND_TOKENS} WHERE issuer = ? AND token_id = ?", (issuer, token_id)).fetchone()
            raise Conflict(token_id) if known else NotFound(token_id)
        self.tell(event)

    def add_key(self, key: SigningKey, event: Event) -> None:
        columns = (key.issuer, key.kid, key.algorithm, key.generation, key.created_at, records.encode(key))
        try:
            self._db.execute("INSERT INTO signing_key VALUES (?, ?, ?, ?, ?, ?)", columns)
        except apsw.ConstraintError:
            raise Conflict(key.kid) from None
        self.tell(event)

    def rewrap_key(self, key: SigningKey, event: Event) -> None:
        columns = (records.encode(key), key.issuer, key.kid)
        self._db.execute("UPDATE signing_key SET record = ? WHERE issuer = ? AND kid = ?", columns)
        if not self._db.changes():
            raise NotFound(key.kid)
        self.tell(event)

    def remove_key(self, issuer: str, kid: str, event: Event) -> None:
        self._db.execute("DELETE FROM signing_key WHERE issuer = ? AND kid = ?", (issuer, kid))
        if not self._db.changes():
            raise NotFound(kid)
        self.tell(event)

    def tell(self, event: Event) -> None:
        place = (self._writer, self._batch + 1, len(self._leaves))
        self._leaves.append(merkle.leaf(event.body))
        self._db.execute(
            _INSERT_EVENT,
            (*place, event.issuer, event.kind, event.time_ms, event.client_id, event.body, event.personal),
        )


def _lands(changes: Sequence[Change]) -> bool:
    """Whether nothing of some changes can be refused."""
    return all(isinstance(one, Put) and one.expected is None for one in changes)


def _refuses_first(changes: Sequence[Change]) -> bool:
    """Whether only the first of several changes can be refused, when nothing has been written yet."""
    return all(
        isinstance(one, (DropAll, Tell, Erase, Look))
        or (not isinstance(one, (Place, Count, Advance)) and one.expected is None)
        for one in changes[1:]
    )


def migrate(path: Path) -> tuple[int, int]:
    """Bring the schema of a file forward; the versions before and after.

    Raises:
        StoreUnavailable: the file cannot be opened or was written by a newer program.
    """
    before = 0
    try:
        if path.exists():
            db = connect(path)
            before = db.pragma("user_version")
            db.close()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _Engine(path).close()
    except (apsw.Error, OSError) as problem:
        raise StoreUnavailable(f"{path}: {problem}") from problem
    return before, len(scripts("sqlite"))


def connect(path: Path) -> apsw.Connection:
    """A connection with the settings that durability relies on.

    Raises:
        StoreUnavailable: the SQLite that is bundled is too old.
    """
    if tuple(map(int, apsw.sqlite_lib_version().split("."))) < OLDEST:
        raise StoreUnavailable(f"SQLite {apsw.sqlite_lib_version()} is older than {'.'.join(map(str, OLDEST))}")
    db = apsw.Connection(str(path))
    db.set_busy_timeout(_PATIENCE_MS)
    db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    # What is replaced or deleted leaves the file too: an ended token must not open anything in a stolen one.
    db.execute("PRAGMA secure_delete = FAST")
    return db


def bring_forward(db: apsw.Connection, path: Path) -> None:
    """Bring the schema forward, a file of `schema/sqlite/` at a time; it never goes back."""
    known = scripts("sqlite")
    version = db.pragma("user_version")
    if version > len(known):
        raise newer(str(path), version, len(known))
    for number, script in enumerate(known[version:], version + 1):
        with db:
            db.execute(script)
            db.execute(f"PRAGMA user_version = {number}")
    db.set_busy_timeout(0)


def _where(columns: dict[str, str | None]) -> tuple[str, tuple[str, ...]]:
    given = {name: value for name, value in columns.items() if value is not None}
    return "".join(f" AND {name} = ?" for name in given), tuple(given.values())


def _whose(client_id: str, owner: str, kind: str = "") -> tuple[str, tuple[str, ...]]:
    """Items of a client, a person, a kind, each where one is named.

    That the name is not empty is said to the planner: the indexes have no others, and it must know that they will do.
    """
    named = {"client_id": client_id, "owner": owner}
    where, values = _where({name: value or None for name, value in {**named, "kind": kind}.items()})
    return where + "".join(f" AND {name} <> ''" for name, value in named.items() if value), values


def _is_found(query: ClientQuery) -> bool:
    """Whether the clients that a query asks for stand beside each other in one index, with few others between them."""
    asked = [*query.terms, *([query.template] if query.template else [])]
    rest = (query.owner, query.token_id, None if asked else query.state)
    return len(asked) < 2 and not any(rest)  # noqa: PLR2004 (one)


def _counting(query: ClientQuery, most: int) -> tuple[str, tuple[Any, ...]]:
    """The statement that counts clients, to `most` where that is not 0, and its values."""
    source, where, values = _of_clients(query)
    if query.state:
        source += _CLIENTS.partition(" FROM client")[2]
    elif query.indexed and not (query.owner or query.token_id or query.template):
        named, where, values = _of_terms(query)
        source = " CROSS JOIN ".join(named)  # whoever has a term is a client, and need not be looked at
    found = f"SELECT 1 FROM {source} WHERE 1{where} LIMIT {most or -1:d}"  # noqa: S608 (as in clients)
    return f"SELECT count(*) FROM ({found})", values  # noqa: S608 (as in clients)


def _of_clients(query: ClientQuery) -> tuple[str, str, tuple[str, ...]]:
    """Where the clients are that a query asks for, its conditions, and their values."""
    where, values = _where(
        {
            "client.issuer": query.issuer,
            _STATE: query.state,
            "client.owner": query.owner,
            "client.token_id": query.token_id,
            "client.template": query.template,
        }
    )
    if query.template:
        # The index of instances has no clients of their own in it, and is used only where the statement says so too.
        where += " AND client.template <> ''"
    if not query.indexed:
        limits, bounds = _within(query, "client")
        return "client", where + limits, (*values, *bounds)
    named, of_terms, more = _of_terms(query)
    where += f"{of_terms} AND client.issuer = t0.issuer AND client.client_id = t0.client_id"
    # CROSS JOIN keeps this order: the terms are read, and the client of each is looked at.
    return " CROSS JOIN ".join([*named, "client"]), where, (*values, *more)


def _of_terms(query: ClientQuery) -> tuple[list[str], str, tuple[str, ...]]:
    """Where the terms of a query are, what has to hold for them, and the values."""
    named = [f"t{at}" for at in range(len(query.indexed))]
    where = "".join(f" AND {one}.issuer = ? AND {one}.term = ?" for one in named)
    where += "".join(f" AND {one}.client_id = t0.client_id" for one in named[1:])
    limits, bounds = _within(query, "t0")
    values = [value for one in query.indexed for value in (query.issuer or "", one)]
    return [f"client_term AS {one}" for one in named], where + limits, (*values, *bounds)


def _within(query: ClientQuery, source: str) -> tuple[str, tuple[str, ...]]:
    """The times between which clients were registered, which their identifiers begin with."""
    used = [(sign, bound) for sign, bound in zip((">=", "<"), query.bounds, strict=True) if bound]
    return "".join(f" AND {source}.client_id {sign} ?" for sign, _ in used), tuple(bound for _, bound in used)


def _event(row: tuple[Any, ...]) -> StoredEvent:
    return StoredEvent(row[0], row[1], row[2], row[3], Event(*row[4:]))


def _token(row: tuple[Any, ...]) -> InitialAccessToken:
    return msgspec.structs.replace(records.decode_token(row[0]), uses=row[1], revoked_at=row[2])
