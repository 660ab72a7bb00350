"""The engine that writes: batches of operations on one connection, and the chain that their events are hashed into."""

from __future__ import annotations

import fcntl
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import apsw

from registrar.domain import chain, merkle
from registrar.domain.access_token import InitialAccessToken
from registrar.domain.client import Client, State
from registrar.domain.events import Event
from registrar.domain.terms import terms
from registrar.service.ports import (
    TALLY,
    Advance,
    Change,
    Conflict,
    Count,
    Drop,
    DropAll,
    Erase,
    Item,
    Look,
    NotFound,
    Place,
    Put,
    SigningKey,
    Spend,
    StoreError,
    Tell,
    TokenSpent,
)
from registrar.storage import records
from registrar.storage.group_commit import Engine
from registrar.storage.sqlite.connection import PATIENCE_MS
from registrar.storage.sqlite.migration import open_forward
from registrar.storage.sqlite.queries import FIND_TOKENS, whose
from registrar.storage.sqlite.writes import (
    ADVANCE,
    CLAIM,
    COUNT_ALL,
    COUNT_OFF,
    COUNTED,
    DELETE_TERM,
    DROP_ITEM,
    DROP_UNMADE,
    ERASE_EVENT,
    ERASE_PERSONAL,
    INSERT_BATCH,
    INSERT_CLIENT,
    INSERT_EVENT,
    INSERT_TERM,
    LIVING,
    LOOK,
    PLACE,
    PURGE,
    PUT_ITEM,
    PUT_NEW_ITEM,
    RENEW_ITEM,
    REPLACE_ITEM,
    RETREAT,
    UPDATE_CLIENT,
)


class SQLiteEngine(Engine):
    """The writing connection: statements on the loop, commits on the committer's thread, never both at once."""

    def __init__(self, path: Path) -> None:
        self._lock, self._db = open_forward(path)
        self._db.set_busy_timeout(0)  # whoever has to wait does it on the thread
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
        self._db.set_busy_timeout(PATIENCE_MS)
        try:
            self._begin()
        finally:
            self._db.set_busy_timeout(0)

    def commit(self) -> None:
        for counted in self._living.items():
            self._db.execute(COUNTED, counted)
        if not self._leaves:
            self._db.execute("COMMIT")
        else:
            batch = chain.batch(self._link, self._writer, self._batch + 1, self._leaves)
            self._db.execute(INSERT_BATCH, (batch.writer, batch.number, batch.events, batch.root, batch.link, 0))
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
        """Let go of the file and its lock."""
        self._db.close()
        self._lock.close()

    def _begin(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._leaves.clear()
        self._living.clear()

    # --- operations: each refuses before it has written anything, or undoes what it has ---

    def create(self, row: tuple[Any, ...], named: tuple[str, ...], event: Event) -> None:
        """Store a client, as a row, and its terms."""
        try:
            self._db.execute(INSERT_CLIENT, row)
        except apsw.ConstraintError:
            raise Conflict(row[1]) from None
        for one in named:
            self._db.execute(INSERT_TERM, (row[0], one, row[1]))
        self.tell(event)

    def create_and_claim(self, row: tuple[Any, ...], named: tuple[str, ...], event: Event, spend: Spend) -> None:
        """Store a client that spends a use of a token."""
        self._db.execute(CLAIM, (row[0], spend.digest, spend.now))
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
        """Store a client together with what changes besides."""
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
        """Replace a client of the version that is expected, and what changes besides."""
        key = (client.issuer, client.client_id)
        record = records.encode_client(client)
        before = self._db.execute("SELECT record, state FROM client WHERE issuer = ? AND client_id = ?", key).fetchone()
        if before is None:
            raise NotFound(key[1])
        held = (client.version, client.state, client.admission.owner, client.due_at, record)
        with self._whole() if changes else nullcontext():
            self._db.execute(UPDATE_CLIENT, (*held, *key, expected))
            if not self._db.changes():
                raise Conflict(key[1])
            self._make(changes)
        then, now = {*terms(records.decode_own(before[0]))}, {*terms(client)}
        for one in then - now:
            self._db.execute(DELETE_TERM, (key[0], one, key[1]))
        for one in now:  # all of them: a client from before there were terms gets its own with its next change
            self._db.execute(INSERT_TERM, (key[0], one, key[1]))
        if client.state is State.DELETED and before[1] != State.DELETED:
            self._count_off(key[0])
        for event in events:
            self.tell(event)

    def change(self, changes: Sequence[Change], events: Sequence[Event]) -> None:
        """Make changes to items."""
        # A token is one or a few such changes; two statements fewer are a third of them.
        with nullcontext() if _refuses_first(changes) else self._whole():
            self._make(changes)
        for event in events:
            self.tell(event)

    def with_changes(self, changes: Sequence[Change], act: Callable[[], None]) -> None:
        """Act together with what changes besides."""
        if not changes:
            act()
            return
        with self._whole():
            self._make(changes)
            act()

    def purge(self, now: int, limit: int) -> int:
        """Delete items that have expired; their number."""
        self._db.execute(PURGE, (now, limit))
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
                self._db.executemany(LOOK, one.dates)
            elif isinstance(one, Erase):
                self._db.execute(ERASE_EVENT if one.whole else ERASE_PERSONAL, (one.sequence,))
            else:
                where, values = whose(one.client_id, one.owner, one.kind)
                self._db.execute(f"DELETE FROM item WHERE issuer = ?{where}", (one.issuer, *values))  # noqa: S608 (words of our own)

    def _put(self, put: Put) -> None:
        item = put.item
        key = (item.issuer, item.kind, item.key)
        held = (item.body, item.version, item.client_id, item.owner, item.expires_at)
        if put.expected is None:
            self._db.execute(PUT_ITEM, (*key, *held))
            return
        if put.expected == 0:
            self._db.execute(PUT_NEW_ITEM, (*key, *held, put.now))
        else:
            self._replace(item, put.expected)
        if not self._db.changes():
            raise Conflict(item.key)

    def _replace(self, item: Item, expected: int) -> None:
        held = (item.body, item.version, item.expires_at)
        whose = (item.client_id, item.owner)
        at = (item.issuer, item.kind, item.key, expected)
        self._db.execute(RENEW_ITEM, (*held, *at, *whose))
        if not self._db.changes():
            self._db.execute(REPLACE_ITEM, (*held, *whose, *at))

    def _count(self, one: Count) -> None:
        living = self._living.get(one.issuer)
        if living is None:
            found = self._db.execute(LIVING, (one.issuer,)).fetchone()
            if found is None:  # the first to be counted, and nobody is refused
                self._db.execute(COUNT_ALL, (one.issuer,))
                return
            (living,) = found
        if one.most and living >= one.most:
            raise Conflict(TALLY)
        self._living[one.issuer] = living + 1

    def _count_off(self, issuer: str) -> None:
        if issuer in self._living:
            self._living[issuer] -= 1
            return
        self._db.execute(COUNT_OFF, (issuer,))

    def _advance(self, one: Advance) -> None:
        self._db.execute(ADVANCE, (one.issuer, one.kind, one.key, one.most))
        if not self._db.changes():
            raise Conflict(one.key)

    def _retreat(self, one: Advance) -> None:
        key = (one.issuer, one.kind, one.key)
        self._db.execute(RETREAT, key)
        self._db.execute(DROP_UNMADE, key)

    def _place(self, one: Place) -> None:
        try:
            self._db.execute(PLACE, (one.writer, one.number, one.place, one.count))
        except apsw.ConstraintError:
            raise Conflict(str(one.place)) from None
        if self._db.changes() != one.count:
            raise Conflict(str(one.place))

    def _drop(self, drop: Drop) -> None:
        key = (drop.issuer, drop.kind, drop.key)
        if drop.kind == TALLY:
            self._living.pop(drop.issuer, None)
        if drop.expected is None:
            self._db.execute(DROP_ITEM, key)
            return
        self._db.execute(f"{DROP_ITEM} AND version = ?", (*key, drop.expected))
        if not self._db.changes():
            raise Conflict(drop.key)

    def add_token(self, token: InitialAccessToken, event: Event) -> None:
        """Store an initial access token."""
        try:
            self._db.execute(
                "INSERT INTO initial_access_token VALUES (?, ?, ?, ?, ?, ?, ?, ?)", records.token_row(token)
            )
        except apsw.ConstraintError:
            raise Conflict(token.token_id) from None
        self.tell(event)

    def revoke_token(self, issuer: str, token_id: str, now: int, event: Event) -> None:
        """End an initial access token that nobody has ended."""
        self._db.execute(
            "UPDATE initial_access_token SET revoked_at = ? WHERE issuer = ? AND token_id = ? AND revoked_at = 0",
            (now, issuer, token_id),
        )
        if not self._db.changes():
            known = self._db.execute(f"{FIND_TOKENS} WHERE issuer = ? AND token_id = ?", (issuer, token_id)).fetchone()
            raise Conflict(token_id) if known else NotFound(token_id)
        self.tell(event)

    def add_key(self, key: SigningKey, event: Event) -> None:
        """Store a signing key."""
        try:
            self._db.execute("INSERT INTO signing_key VALUES (?, ?, ?, ?, ?, ?)", records.key_row(key))
        except apsw.ConstraintError:
            raise Conflict(key.kid) from None
        self.tell(event)

    def rewrap_key(self, key: SigningKey, event: Event) -> None:
        """Replace a signing key."""
        columns = (records.encode(key), key.issuer, key.kid)
        self._db.execute("UPDATE signing_key SET record = ? WHERE issuer = ? AND kid = ?", columns)
        if not self._db.changes():
            raise NotFound(key.kid)
        self.tell(event)

    def remove_key(self, issuer: str, kid: str, event: Event) -> None:
        """Delete a signing key."""
        self._db.execute("DELETE FROM signing_key WHERE issuer = ? AND kid = ?", (issuer, kid))
        if not self._db.changes():
            raise NotFound(kid)
        self.tell(event)

    def tell(self, event: Event) -> None:
        """Store an event, as the next one of the batch."""
        place = (self._writer, self._batch + 1, len(self._leaves))
        self._leaves.append(merkle.leaf(event.body))
        self._db.execute(
            INSERT_EVENT,
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
    ) and not any(
        isinstance(one, Place) for one in changes[:1]
    )  # of a run of batches, some are placed before it is refused
