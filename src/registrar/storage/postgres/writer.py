"""The one writer of a process: batches on one connection, each in one round trip where nothing is in its way.

A batch is tried at once, in a statement that lands all of it or nothing. Where a row is in the way, its rows are locked
and looked at, every operation is judged by itself, and the same statement lands those that are left. Nobody is answered
before the commit; where the connection is lost at that moment, the batch is looked up before anything is said.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import asyncpg
from asyncpg import Connection

from registrar.domain import chain, merkle
from registrar.domain.terms import TOMBSTONE
from registrar.service.metrics import Metrics
from registrar.service.ports import TALLY, StoreError, StoreUnavailable
from registrar.service.tracing import Tracer
from registrar.storage.batches import BATCH, Batches, Waiter, fail, settle, told
from registrar.storage.postgres.batch import (
    Company,
    Row,
    Rows,
    Seen,
    SeenItem,
    SeenToken,
    Write,
    judge,
    statement,
    steps,
)
from registrar.storage.postgres.connection import AGAIN, LOST, Address, connect, let_go

_Outcomes = list[StoreError | None]

_ATTEMPTS: Final = 8
LANE_BITS: Final = 12
_EPOCH_US: Final = 1_735_689_600_000_000
"""Sequence numbers count microseconds from 2025 on: with the lane they fit into 63 bits until the year 2096."""
_REFUSED: Final = asyncpg.InvalidTextRepresentationError
"""What the statement of a batch fails with, where not everything that it was given has landed."""
_OF_ONE_ROW: Final = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, ValueError)
"""What one row can bring upon the batch that it is in."""

_CLIENTS: Final = (
    "SELECT one.issuer, one.client_id, one.version FROM client AS one "
    "JOIN unnest($1::text[], $2::text[]) AS given (issuer, client_id) "
    "ON one.issuer = given.issuer AND one.client_id = given.client_id "
    "ORDER BY one.issuer, one.client_id FOR UPDATE OF one"
)
_TOKENS: Final = (
    "SELECT one.issuer, one.digest, one.max_uses, one.uses, one.expires_at, one.revoked_at FROM initial_access_token AS one "
    "JOIN unnest($1::text[], $2::bytea[]) AS given (issuer, digest) "
    "ON one.issuer = given.issuer AND one.digest = given.digest "
    "ORDER BY one.issuer, one.token_id FOR UPDATE OF one"
)
_ITEMS: Final = (
    "SELECT one.issuer, one.kind, one.key, one.version, one.expires_at, one.client_id, one.owner FROM item AS one "
    "JOIN unnest($1::text[], $2::text[], $3::text[]) AS given (issuer, kind, key) "
    "ON one.issuer = given.issuer AND one.kind = given.kind AND one.key = given.key "
    "ORDER BY one.issuer, one.kind, one.key FOR UPDATE OF one"
)
_UNPLACED: Final = (
    "SELECT one.writer, one.number FROM audit_batch AS one JOIN unnest($1::text[], $2::bigint[]) AS given (writer, number) "
    "ON one.writer = given.writer AND one.number = given.number WHERE one.place = 0 "
    "ORDER BY one.writer, one.number FOR UPDATE OF one"
)
_COUNTED: Final = (
    f"SELECT issuer, version FROM item WHERE issuer = ANY($1::text[]) AND kind = '{TALLY}' AND key = '{TALLY}'"  # noqa: S608 (a word of our own)
)
_TALLIES: Final = f"{_COUNTED} ORDER BY issuer FOR UPDATE"
# Whoever writes clients at this moment is waited for, and nobody begins to: then the number is right from the first on.
_STILL: Final = "LOCK TABLE client IN SHARE ROW EXCLUSIVE MODE"
_COUNT_ALL: Final = (
    "INSERT INTO item (issuer, kind, key, body, version, client_id, owner, expires_at) "  # noqa: S608 (as above)
    f"SELECT given.issuer, '{TALLY}', '{TALLY}', '', (SELECT count(*) FROM client WHERE client.issuer = given.issuer) - "
    f"(SELECT count(*) FROM client_term AS one WHERE one.issuer = given.issuer AND one.term = '{TOMBSTONE}'), '', '', 0 "
    "FROM unnest($1::text[]) AS given (issuer) ON CONFLICT (issuer, kind, key) DO NOTHING"
)
_TAKEN: Final = "SELECT place FROM audit_batch WHERE place = ANY($1::bigint[])"
# A write of its own, which says nothing before everything until then is as durable as is asked for: a batch that is seen
# may be in the log of one server alone, when what waited for its standby was cut off.
_LANDED: Final = "UPDATE audit_batch SET place = place WHERE writer = $1 AND number = $2 RETURNING 1"


class Chain:
    """Where the next events of a connection go: its name, the number of its batch, and the sequence.

    A sequence number is the microsecond in which the batch was made ready and, below it, the lane of the writer, which
    is drawn by lot: writers make their numbers without asking each other. They rise with each writer; between writers
    they follow the clocks of their machines. Should two ever meet, the statement fails and is made again, on another lane.
    """

    def __init__(self) -> None:
        self.writer = secrets.token_hex(8)
        self.batch = 1
        self._link = self._made = chain.BEGINNING
        self._lane = secrets.randbits(LANE_BITS)
        self._last = 0

    def link(self, events: list[Row]) -> Row:
        """What is kept of a batch beside its events, which `rows` made."""
        made = chain.batch(self._link, self.writer, self.batch, [merkle.leaf(event[-2]) for event in events])
        self._made = made.link
        return (made.writer, made.number, made.events, made.root, made.link, 0)

    def move(self) -> None:
        """Go on from the batch that was made: it is durable. So a chain has no gaps."""
        self.batch += 1
        self._link = self._made

    def rows(self, writes: Sequence[Write]) -> list[Row]:
        """The events of a batch, in their places."""
        events = [event for write in writes for event in write.events]
        first = max(time.time_ns() // 1000 - _EPOCH_US, self._last + 1)
        self._last = first + len(events)
        return [
            (
                (first + position) << LANE_BITS | self._lane,
                self.writer,
                self.batch,
                position,
                event.issuer,
                event.kind,
                event.time_ms,
                event.client_id,
                event.body,
                event.personal,
            )
            for position, event in enumerate(events)
        ]

    def change_lane(self) -> None:
        """Draw another lot."""
        self._lane = secrets.randbits(LANE_BITS)


class Writer(Batches[Write]):
    """The one writer of a process.

    Args:
        address: the database.
        limit: operations that may wait; beyond that, writers are told to come back.
        metrics: counts commits, where somebody asks for that.
        tracer: times them, where somebody asks for that.
    """

    def __init__(
        self, address: Address, limit: int, metrics: Metrics | None = None, tracer: Tracer | None = None
    ) -> None:
        super().__init__(limit, metrics, tracer)
        self._address = address
        self._connection: Connection | None = None
        self._chain = Chain()
        self._promised: _Outcomes | None = None
        """What will be said once the statement that is under way has committed."""

    async def close(self) -> None:
        """Make durable what waits, and let go; a second time does nothing."""
        await super().close()
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            await let_go(connection, self._address)

    def _next(self) -> list[Waiter[Write]]:
        """The oldest that can share a batch; whoever cannot keeps its place and hinders nobody behind it."""
        company = Company()
        batch: list[Waiter[Write]] = []
        later: list[Waiter[Write]] = []
        while self._waiting and len(batch) < BATCH:
            waiter = self._waiting.popleft()
            (batch if company.admits(waiter[0]) else later).append(waiter)
        self._waiting.extendleft(reversed(later))
        return batch

    async def _write_batch(self, batch: list[Waiter[Write]]) -> None:
        try:
            connection = await self._connected()
        except StoreUnavailable as problem:
            fail(batch, problem)
            fail(self._waiting, problem)  # they would wait for the same answer, one batch after another
            self._waiting.clear()
            return
        settle(batch, await self._land(connection, [write for write, _ in batch]))

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            # What the last connection left under way may still land, so a new one never continues its chain.
            self._connection, self._chain = None, Chain()
            self._connection = await connect(self._address)
        return self._connection

    async def _land(self, connection: Connection, writes: list[Write]) -> _Outcomes:
        """The outcome of each operation, all of them durable.

        Raises:
            StoreUnavailable: nothing is stored, or nobody knows.
        """
        try:
            outcomes = await self._tried(connection, writes)
        except _OF_ONE_ROW as problem:
            if len(writes) == 1:
                raise StoreUnavailable(told(problem)) from None
            # One operation took the batch with it. Its neighbours must not suffer: each is tried alone.
            return [await self._alone(write) for write in writes]
        except LOST as problem:
            return await self._looked_up(connection, problem)
        except asyncpg.ReadOnlySQLTransactionError:
            connection.terminate()  # the next one may lead to the server that took over
            raise StoreUnavailable("the database takes no writes") from None
        except asyncpg.PostgresError as problem:
            raise StoreUnavailable(told(problem)) from None
        if self._promised is not None:
            self._chain.move()
        return outcomes

    async def _looked_up(self, connection: Connection, problem: BaseException) -> _Outcomes:
        """What became of a batch whose connection was lost before it could say so: it is there, or not."""
        connection.terminate()
        chain, promised = self._chain, self._promised
        again = await self._connected()
        if promised is not None:
            with suppress(*LOST, asyncpg.PostgresError):
                if await again.fetchval(_LANDED, chain.writer, chain.batch):
                    return promised
        raise StoreUnavailable(f"the connection to the database was lost: {told(problem)}")

    async def _alone(self, write: Write) -> StoreError | None:
        try:
            [outcome] = await self._land(await self._connected(), [write])
        except StoreUnavailable as problem:
            return problem
        return outcome

    async def _tried(self, connection: Connection, writes: list[Write]) -> _Outcomes:
        at_once = True
        for attempt in range(_ATTEMPTS):
            self._promised = None
            try:
                if writes[0].alone is not None:
                    return await self._by_itself(connection, writes[0].alone, writes)
                if at_once:
                    return await self._at_once(connection, writes)
                return await self._carefully(connection, writes)
            except _REFUSED:
                at_once = False
            except asyncpg.UniqueViolationError:
                self._chain.change_lane()
                at_once = False
            except AGAIN:
                await asyncio.sleep(secrets.randbelow(2**attempt) / 1000)
        raise StoreUnavailable("other writers were always first")

    async def _at_once(self, connection: Connection, writes: list[Write]) -> _Outcomes:
        """Land everything, in one statement that is its own transaction."""
        outcomes: _Outcomes = [None] * len(writes)
        stages = self._staged(writes, outcomes)
        if len(stages) == 1:
            await _send(connection, stages)
            return outcomes
        async with connection.transaction():
            await _send(connection, stages)
        return outcomes

    async def _carefully(self, connection: Connection, writes: list[Write]) -> _Outcomes:
        """Lock, look, judge, and land what is left."""
        async with connection.transaction():
            seen = await _look(connection, writes)
            good: list[Write] = []
            outcomes: _Outcomes = []
            for write in writes:
                try:
                    good.append(judge(write, seen))
                    outcomes.append(None)
                except StoreError as refusal:
                    outcomes.append(refusal)
            await _send(connection, self._staged(good, outcomes))
        return outcomes

    async def _by_itself(
        self, connection: Connection, alone: Callable[[Connection], Awaitable[None]], writes: list[Write]
    ) -> _Outcomes:
        try:
            async with connection.transaction():
                await alone(connection)
                if writes[0].changes:
                    writes = [judge(writes[0], await _look(connection, writes))]
                await _send(connection, self._staged(writes, [None]))
        except StoreError as refusal:
            return [refusal]
        return [None]

    def _staged(self, writes: list[Write], outcomes: _Outcomes) -> list[Rows]:
        """The rows of the statements that land operations, their events with the last; from here on they are promised."""
        stages = steps(writes)
        if events := self._chain.rows(writes):
            stages[-1]["told"] = events
            stages[-1]["chained"] = [self._chain.link(events)]
            self._promised = outcomes
        return stages


async def _send(connection: Connection, stages: list[Rows]) -> None:
    for rows in stages:
        if rows:
            sql, arguments = statement(rows)
            await connection.fetchval(sql, *arguments)


async def _look(connection: Connection, writes: Sequence[Write]) -> Seen:
    """The rows that a batch is about, locked until the transaction ends, in an order that all keep: that of `PARTS`."""
    seen = Seen()
    if counted := {one.issuer for write in writes for one in write.counts}:
        seen.uncounted = await _count(connection, counted)
    if clients := {write.client for write in writes if write.client}:
        rows = await connection.fetch(_CLIENTS, *zip(*clients, strict=True))
        seen.clients = {(row[0], row[1]): row[2] for row in rows}
    if tokens := {write.token for write in writes if write.token}:
        rows = await connection.fetch(_TOKENS, *zip(*tokens, strict=True))
        seen.tokens = {(row[0], row[1]): SeenToken(*row[2:]) for row in rows}
    if items := {key for write in writes for key in write.items()}:
        rows = await connection.fetch(_ITEMS, *zip(*items, strict=True))
        seen.items = {(row[0], row[1], row[2]): SeenItem(*row[3:]) for row in rows}
    if advanced := {key for write in writes for key in write.advanced()}:
        rows = await connection.fetch(_ITEMS, *zip(*advanced, strict=True))
        seen.advanced = {(row[0], row[1], row[2]): row[3] for row in rows}
    if counted:
        # Where somebody has just had them counted anew, nothing is there, and nothing lands: the next attempt counts.
        seen.tallies = {**dict.fromkeys(counted, 0), **dict(await connection.fetch(_TALLIES, [*counted]))}
    if places := [one for write in writes for one in write.places]:
        batches = zip(*((one.writer, one.number) for one in places), strict=True)
        seen.unplaced = {(row[0], row[1]) for row in await connection.fetch(_UNPLACED, *batches)}
        seen.taken = {row[0] for row in await connection.fetch(_TAKEN, [one.place for one in places])}
    return seen


async def _count(connection: Connection, issuers: set[str]) -> set[str]:
    """Count the clients of the issuers of which nobody has; those issuers."""
    missing = issuers - await _counted(connection, issuers)
    if not missing:
        return missing
    await connection.execute(_STILL)
    missing -= await _counted(connection, missing)  # another one may have counted them while this one waited
    if missing:
        await connection.execute(_COUNT_ALL, [*missing])
    return missing


async def _counted(connection: Connection, issuers: set[str]) -> set[str]:
    return {row[0] for row in await connection.fetch(_COUNTED, [*issuers])}
