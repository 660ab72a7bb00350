"""The store: writes through the one engine of the process, reads on the loop, and searches beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from registrar.domain.access_token import InitialAccessToken
from registrar.domain.chain import Batch
from registrar.domain.client import Client, State
from registrar.domain.credentials import Digest
from registrar.domain.events import Event
from registrar.domain.terms import terms
from registrar.service.metrics import Metrics
from registrar.service.ports import (
    Change,
    ClientQuery,
    DropAll,
    Due,
    EventQuery,
    Item,
    Load,
    SigningKey,
    Spend,
    StoredEvent,
    StoreUnavailable,
)
from registrar.service.tracing import Tracer
from registrar.storage import records
from registrar.storage.group_commit import GroupCommit, Long
from registrar.storage.sqlite.connection import connect
from registrar.storage.sqlite.engine import SQLiteEngine
from registrar.storage.sqlite.queries import (
    BATCHES,
    DUE,
    EVENT_TALLY,
    EVENTS,
    FEW,
    FEW_OF_TERM,
    FIND_CLIENT,
    FIND_TOKENS,
    ITEM_COLUMNS,
    TOLD,
    UNCHAINED,
    counting,
    is_found,
    listing,
    matching,
    whose,
)
from registrar.storage.sqlite.searches import Searches

_MANY: Final = 100
"""Rows of a page after which others have their turn: whoever reads page after page never waits for anything else."""
_DROPPED: Final = 250
"""Changes that are made and items that are dropped on the loop at the most; each takes some ten microseconds."""


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
            self._engine = SQLiteEngine(path)
            self._read = connect(path)
            self._read.execute("PRAGMA query_only = ON")
        except (apsw.Error, OSError) as problem:
            raise StoreUnavailable(f"{path}: {problem}") from problem
        self._writes = GroupCommit(self._engine, queue, metrics, tracer)
        self._searches = Searches(path)

    async def create(
        self, client: Client, event: Event, spend: Spend | None = None, changes: Sequence[Change] = ()
    ) -> None:
        engine = self._engine
        row = records.client_row(client)
        named = terms(client)
        if changes:
            await self._writes.write(lambda: engine.create_with(row, named, event, spend, changes))
        elif spend is None:
            await self._writes.write(lambda: engine.create(row, named, event))
        else:
            await self._writes.write(lambda: engine.create_and_claim(row, named, event, spend))

    async def find(self, issuer: str, client_id: str) -> Client | None:
        for row in self._query(FIND_CLIENT, (issuer, client_id)):
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
        where, values = whose(drop.client_id, drop.owner, drop.kind)
        sql = f"SELECT count(*) FROM (SELECT 1 FROM item WHERE issuer = ?{where} LIMIT {_DROPPED})"  # noqa: S608 (words of our own)
        ((number,),) = self._query(sql, (drop.issuer, *values))
        return bool(number == _DROPPED)

    async def item(self, issuer: str, kind: str, key: str) -> Item | None:
        sql = f"SELECT {ITEM_COLUMNS} FROM item WHERE issuer = ? AND kind = ? AND key = ?"  # noqa: S608 (words of our own)
        for row in self._query(sql, (issuer, kind, key)):
            return Item(*row)
        return None

    async def items(
        self, issuer: str, kind: str, *, client_id: str = "", owner: str = "", after: str = "", limit: int = 100
    ) -> Sequence[Item]:
        where, values = whose(client_id, owner)
        sql = f"SELECT {ITEM_COLUMNS} FROM item WHERE issuer = ? AND kind = ? AND key > ?{where} ORDER BY key LIMIT ?"  # noqa: S608 (words of our own)
        return [Item(*row) for row in await self._page(sql, (issuer, kind, after, *values, limit))]

    async def count_items(self, issuer: str, kind: str, owner: str) -> int:
        where, values = whose("", owner)
        ((number,),) = self._query(
            f"SELECT count(*) FROM item WHERE issuer = ? AND kind = ?{where}",  # noqa: S608 (words of our own)
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
        read = self._page if is_found(query) else self._search
        return [records.decode_client(*row) for row in await read(*listing(query, after, limit))]

    async def count(self, query: ClientQuery, *, most: int = 0) -> int:
        if is_found(query) and query.terms:
            # What a cap has is mostly few: they are counted in less time than it takes to have somebody else do it.
            limit = min(most or FEW, FEW)
            ((number,),) = self._query(*counting(query, limit))
            if number < limit or number == most:
                return int(number)
        ((number,),) = await self._search(*counting(await self._rarest_first(query), most))
        return int(number)

    async def _rarest_first(self, query: ClientQuery) -> ClientQuery:
        """The query with its terms in that order: the clients of the first are all looked at, however few have the others."""
        if len(query.terms) < 2:  # noqa: PLR2004 (of one there is no order)
            return query
        rows = [await self._search(FEW_OF_TERM, (query.issuer or "", one)) for one in query.indexed]
        counted = sorted(zip([number for ((number,),) in rows], query.terms, strict=True))
        return msgspec.structs.replace(query, terms=tuple(one for _, one in counted))

    async def due(self, now: int, *, limit: int = 500) -> Sequence[Due]:
        rows = await self._page(DUE, (now, limit))
        return [records.decode_due(*row) for row in rows]

    async def add_token(self, token: InitialAccessToken, event: Event, changes: Sequence[Change] = ()) -> None:
        await self._writes.write(
            lambda: self._engine.with_changes(changes, lambda: self._engine.add_token(token, event))
        )

    async def find_token(self, issuer: str, digest: Digest) -> InitialAccessToken | None:
        for row in self._query(f"{FIND_TOKENS} WHERE issuer = ? AND digest = ?", (issuer, digest)):
            return records.decode_token(*row)
        return None

    async def tokens(
        self, issuer: str | None = None, *, after: tuple[str, str] = ("", ""), limit: int = 100
    ) -> Sequence[InitialAccessToken]:
        where, values = matching({"issuer": issuer})
        place, seen = "(issuer, token_id) > (?, ?)", [*after]
        if issuer == after[0]:  # as in `queries.listing`
            place, seen = "token_id > ?", [after[1]]
        sql = f"{FIND_TOKENS} WHERE {place}{where} ORDER BY issuer, token_id LIMIT ?"
        return [records.decode_token(*row) for row in await self._page(sql, (*seen, *values, limit))]

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
        where, values = matching({"issuer": query.issuer, "kind": query.kind, "client_id": query.client_id})
        if query.client_id:
            where += " AND client_id <> ''"  # the index of clients' events is used only where the statement says so too
        elif query.kind and query.kind != records.REGISTERED:
            where += records.EVENT_OF_KIND
        # Even of one client there may be many others: one that reads itself every minute has half a million in a year.
        found = not query.kind and (query.client_id or not values)
        read = self._page if found else self._search
        rows = await read(f"{EVENTS} WHERE sequence > ?{where} ORDER BY sequence LIMIT ?", (after, *values, limit))
        return [records.decode_event(*row) for row in rows]

    async def batches(
        self, *, after: tuple[str, int] = ("", 0), limit: int = 1000, unplaced: bool = False
    ) -> Sequence[Batch]:
        where = " AND place = 0" if unplaced else ""
        sql = f"{BATCHES} WHERE (writer, number) > (?, ?){where} ORDER BY writer, number LIMIT ?"
        return [Batch(*row) for row in await self._page(sql, (*after, limit))]

    async def log(self, *, after: int = 0, limit: int = 1000) -> Sequence[Batch]:
        sql = f"{BATCHES} WHERE place > ? AND place <> 0 ORDER BY place LIMIT ?"
        return [Batch(*row) for row in await self._page(sql, (after, limit))]

    async def told(self, writer: str, first: int, last: int) -> Sequence[StoredEvent]:
        return [records.decode_event(*row) for row in await self._page(TOLD, (writer, first, last))]

    async def tally(self) -> tuple[int, int, int]:
        ((every, batched, unchained),) = await self._search(EVENT_TALLY, ())
        return every, batched, unchained

    async def unchained(self) -> int:
        ((number,),) = await self._search(UNCHAINED, ())
        return int(number)

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
