"""The reference store: what `Store` means, in dictionaries. For tests and for trying things out; it forgets."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator, Sequence

import msgspec

from registrar.domain import chain, merkle, template
from registrar.domain.access_token import InitialAccessToken
from registrar.domain.chain import Batch
from registrar.domain.client import Client, State
from registrar.domain.credentials import Digest
from registrar.domain.events import Event
from registrar.domain.terms import terms
from registrar.service import last_use
from registrar.service.ports import (
    TALLY,
    Advance,
    Change,
    ClientQuery,
    Conflict,
    Count,
    Date,
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
    StoreUnavailable,
    Tell,
    TokenSpent,
)
from registrar.storage import records


class MemoryStore:
    """Clients are kept as bytes, so that what goes in and what comes out are never the same object; the rest is frozen.

    No method awaits anything, so each is one step of the event loop: atomic, without a lock.
    """

    def __init__(self) -> None:
        self._clients: dict[tuple[str, str], bytes] = {}
        self._tokens: dict[tuple[str, str], InitialAccessToken] = {}
        self._keys: list[SigningKey] = []
        self._items: dict[tuple[str, str, str], Item] = {}
        self._events: list[StoredEvent] = []
        self._batches: list[Batch] = []
        self._sequence = itertools.count(1)
        self._writer = secrets.token_hex(8)
        self._closed = False

    async def create(
        self, client: Client, event: Event, spend: Spend | None = None, changes: Sequence[Change] = ()
    ) -> None:
        self._check()
        key = (client.issuer, client.client_id)
        if key in self._clients:
            raise Conflict(client.client_id)
        self._expect(changes)
        if spend is not None:
            self._claim(client.issuer, spend)
        self._clients[key] = records.encode_client(client)
        self._make(changes)
        self._append(*_told(changes), event)

    async def find(self, issuer: str, client_id: str) -> Client | None:
        self._check()
        record = self._clients.get((issuer, client_id))
        return self._decode(record) if record else None

    async def update(
        self, client: Client, events: Sequence[Event], *, expected: int, changes: Sequence[Change] = ()
    ) -> None:
        stored = await self.find(client.issuer, client.client_id)
        if stored is None:
            raise NotFound(client.client_id)
        if stored.version != expected:
            raise Conflict(client.client_id)
        self._expect(changes)
        # As it is written: one that ended with its template is counted until it is deleted itself.
        lived = records.decode_own(self._clients[client.issuer, client.client_id]).state is not State.DELETED
        self._clients[client.issuer, client.client_id] = records.encode_client(client)
        self._make(changes)
        if client.state is State.DELETED:
            self._make([DropAll(client.issuer, client.client_id)])
            if lived and (tally := self._tally(client.issuer)):
                self._keep(msgspec.structs.replace(tally, version=tally.version - 1))
        self._append(*_told(changes), *events)

    async def change(self, changes: Sequence[Change], events: Sequence[Event] = ()) -> None:
        self._check()
        self._expect(changes)
        self._make(changes)
        self._append(*_told(changes), *events)

    async def item(self, issuer: str, kind: str, key: str) -> Item | None:
        self._check()
        return self._items.get((issuer, kind, key))

    async def items(
        self, issuer: str, kind: str, *, client_id: str = "", owner: str = "", after: str = "", limit: int = 100
    ) -> Sequence[Item]:
        self._check()
        found = (self._items[key] for key in sorted(self._items) if key[:2] == (issuer, kind) and key[2] > after)
        return [one for one in found if client_id in ("", one.client_id) and owner in ("", one.owner)][:limit]

    async def count_items(self, issuer: str, kind: str, owner: str) -> int:
        self._check()
        return sum(key[:2] == (issuer, kind) and one.owner == owner for key, one in self._items.items())

    async def purge(self, now: int, limit: int = 1000) -> int:
        self._check()
        gone = [key for key, one in self._items.items() if not one.lives(now)][:limit]
        for key in gone:
            del self._items[key]
        return len(gone)

    async def clients(
        self, query: ClientQuery, *, after: tuple[str, str] = ("", ""), limit: int = 100
    ) -> Sequence[Client]:
        self._check()
        place, newest = query.place(after), query.newest
        keys = (key for key in sorted(self._clients, reverse=newest) if (key < place if newest else key > place))
        found = (self._decode(self._clients[key]) for key in keys)
        return [client for client in found if _matches(client, query)][:limit]

    async def count(self, query: ClientQuery, *, most: int = 0) -> int:
        return len(await self.clients(query, limit=most or len(self._clients)))

    async def due(self, now: int, *, limit: int = 500) -> Sequence[Due]:
        self._check()
        found = (self._decode(record) for record in self._clients.values())
        due = sorted((one for one in found if 0 < one.due_at <= now), key=lambda one: one.due_at)
        return [self._due(one) for one in due[:limit]]

    async def add_token(self, token: InitialAccessToken, event: Event, changes: Sequence[Change] = ()) -> None:
        self._check()
        if (token.issuer, token.token_id) in self._tokens or self._token(token.issuer, token.digest):
            raise Conflict(token.token_id)
        self._expect(changes)
        self._tokens[token.issuer, token.token_id] = token
        self._make(changes)
        self._append(*_told(changes), event)

    async def find_token(self, issuer: str, digest: Digest) -> InitialAccessToken | None:
        self._check()
        return self._token(issuer, digest)

    async def tokens(
        self, issuer: str | None = None, *, after: tuple[str, str] = ("", ""), limit: int = 100
    ) -> Sequence[InitialAccessToken]:
        self._check()
        return [self._tokens[key] for key in sorted(self._tokens) if key > after and issuer in (None, key[0])][:limit]

    async def revoke_token(
        self, issuer: str, token_id: str, now: int, event: Event, changes: Sequence[Change] = ()
    ) -> None:
        self._check()
        token = self._tokens.get((issuer, token_id))
        if token is None:
            raise NotFound(token_id)
        if token.revoked_at:
            raise Conflict(token_id)
        self._expect(changes)
        self._tokens[issuer, token_id] = msgspec.structs.replace(token, revoked_at=now)
        self._make(changes)
        self._append(*_told(changes), event)

    async def record(self, event: Event) -> None:
        self._check()
        self._append(event)

    async def events(self, query: EventQuery, *, after: int = 0, limit: int = 100) -> Sequence[StoredEvent]:
        self._check()
        return [one for one in self._events[after:] if _tells(one.event, query)][:limit]

    async def batches(
        self, *, after: tuple[str, int] = ("", 0), limit: int = 1000, unplaced: bool = False
    ) -> Sequence[Batch]:
        self._check()
        found = (one for one in self._batches if (one.writer, one.number) > after)
        return [one for one in found if not (unplaced and one.place)][:limit]

    async def log(self, *, after: int = 0, limit: int = 1000) -> Sequence[Batch]:
        self._check()
        return sorted((one for one in self._batches if one.place > after), key=lambda one: one.place)[:limit]

    async def told(self, writer: str, first: int, last: int) -> Sequence[StoredEvent]:
        self._check()
        return [one for one in self._events if one.writer == writer and first <= one.batch <= last]

    async def tally(self) -> tuple[int, int, int]:
        self._check()
        return len(self._events), sum(one.events for one in self._batches), 0

    async def unchained(self) -> int:
        self._check()
        return 0

    async def add_key(self, key: SigningKey, event: Event, changes: Sequence[Change] = ()) -> None:
        self._check()
        taken = {(one.issuer, one.algorithm, one.generation) for one in self._keys}
        if (key.issuer, key.algorithm, key.generation) in taken or self._key(key.issuer, key.kid):
            raise Conflict(key.kid)
        self._expect(changes)
        self._keys.append(key)
        self._make(changes)
        self._append(*_told(changes), event)

    async def rewrap_key(self, key: SigningKey, event: Event, changes: Sequence[Change] = ()) -> None:
        self._check()
        stored = self._key(key.issuer, key.kid)
        if stored is None:
            raise NotFound(key.kid)
        self._expect(changes)
        self._keys[self._keys.index(stored)] = msgspec.structs.replace(stored, private=key.private)
        self._make(changes)
        self._append(*_told(changes), event)

    async def remove_key(self, issuer: str, kid: str, event: Event, changes: Sequence[Change] = ()) -> None:
        self._check()
        key = self._key(issuer, kid)
        if key is None:
            raise NotFound(kid)
        self._expect(changes)
        self._keys.remove(key)
        self._make(changes)
        self._append(*_told(changes), event)

    async def keys(self, issuer: str) -> Sequence[SigningKey]:
        self._check()
        return sorted((key for key in self._keys if key.issuer == issuer), key=lambda key: (key.created_at, key.kid))

    async def ready(self) -> None:
        self._check()

    def load(self) -> Load:
        return Load()

    async def close(self) -> None:
        self._closed = True

    def _token(self, issuer: str, digest: Digest) -> InitialAccessToken | None:
        return next((one for one in self._tokens.values() if one.issuer == issuer and one.digest == digest), None)

    def _key(self, issuer: str, kid: str) -> SigningKey | None:
        return next((one for one in self._keys if (one.issuer, one.kid) == (issuer, kid)), None)

    def _claim(self, issuer: str, spend: Spend) -> None:
        token = self._token(issuer, spend.digest)
        if token is None or token.status(spend.now) != "active":
            raise TokenSpent
        self._tokens[issuer, token.token_id] = msgspec.structs.replace(token, uses=token.uses + 1)

    def _decode(self, record: bytes) -> Client:
        client = records.decode_client(record)
        if not client.template:
            return client
        found = self._items.get((client.issuer, template.KIND, client.template))
        return records.decode_client(record, found.body if found else None)

    def _due(self, client: Client) -> Due:
        key = (client.issuer, client.client_id)
        made = self._items.get((client.issuer, template.KIND, client.template))
        used = self._items.get((client.issuer, last_use.KIND, client.client_id))
        seen = (used.body, used.version) if used else (None, None)
        return records.decode_due(*key, client.due_at, self._clients[key], made.body if made else None, *seen)

    def _expect(self, changes: Sequence[Change]) -> None:
        """Refuse before anything is changed."""
        for one in changes:
            if isinstance(one, Place):
                for single in one.each():
                    self._unplaced(single)
                continue
            if isinstance(one, Count):
                if one.most and (tally := self._tally(one.issuer)) and tally.version >= one.most:
                    raise Conflict(TALLY)
                continue
            if isinstance(one, Advance):
                if self._version(one) >= one.most:
                    raise Conflict(one.key)
                continue
            if isinstance(one, (DropAll, Tell, Erase, Look)) or one.expected is None:
                continue
            at = one.item if isinstance(one, Put) else one
            stored = self._items.get((at.issuer, at.kind, at.key))
            if isinstance(one, Put) and one.expected == 0:
                if stored is not None and stored.lives(one.now):
                    raise Conflict(at.key)
            elif stored is None or stored.version != one.expected:
                raise Conflict(at.key)

    def _make(self, changes: Sequence[Change]) -> None:
        for one in changes:
            if isinstance(one, Put):
                self._keep(one.item)
            elif isinstance(one, Drop):
                self._items.pop((one.issuer, one.kind, one.key), None)
            elif isinstance(one, Place):
                for single in one.each():
                    at = self._unplaced(single)
                    self._batches[at] = chain.placed(self._batches[at], single.place)
            elif isinstance(one, Look):
                for date in one.dates:
                    self._look(date)
            elif isinstance(one, Count):
                number = tally.version + 1 if (tally := self._tally(one.issuer)) else self._living(one.issuer)
                self._keep(Item(one.issuer, TALLY, TALLY, b"", version=number))
            elif isinstance(one, Advance):
                key = (one.issuer, one.kind, one.key)
                found = self._items.get(key) or Item(*key, b"")
                self._keep(msgspec.structs.replace(found, version=self._version(one) + 1))
            elif isinstance(one, Erase):
                self._events = [*_erased(self._events, one)]
            elif isinstance(one, DropAll):
                self._items = {key: item for key, item in self._items.items() if not _goes(item, one)}

    def _keep(self, item: Item) -> None:
        self._items[item.issuer, item.kind, item.key] = item

    def _version(self, at: Advance) -> int:
        found = self._items.get((at.issuer, at.kind, at.key))
        return found.version if found else 0

    def _tally(self, issuer: str) -> Item | None:
        return self._items.get((issuer, TALLY, TALLY))

    def _living(self, issuer: str) -> int:
        records_of = (record for (of, _), record in self._clients.items() if of == issuer)
        return sum(records.decode_own(record).state is not State.DELETED for record in records_of)

    def _look(self, one: Date) -> None:
        key = (one.issuer, one.client_id)
        if (record := self._clients.get(key)) and (held := records.decode_own(record)).due_at == one.seen:
            self._clients[key] = records.encode_own(msgspec.structs.replace(held, due_at=one.due_at))

    def _unplaced(self, one: Place) -> int:
        """Where the batch stands that is to be placed."""
        if any(other.place == one.place for other in self._batches):
            raise Conflict(str(one.place))
        for at, batch in enumerate(self._batches):
            if (batch.writer, batch.number, batch.place) == (one.writer, one.number, 0):
                return at
        raise Conflict(str(one.place))

    def _append(self, *events: Event) -> None:
        if not events:
            return
        before = self._batches[-1] if self._batches else None
        number = before.number + 1 if before else 1
        leaves = [merkle.leaf(event.body) for event in events]
        self._batches.append(chain.batch(before.link if before else chain.BEGINNING, self._writer, number, leaves))
        for position, event in enumerate(events):
            self._events.append(StoredEvent(next(self._sequence), self._writer, number, position, event))

    def _check(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")


def _erased(events: Sequence[StoredEvent], erase: Erase) -> Iterator[StoredEvent]:
    for one in events:
        if one.sequence != erase.sequence:
            yield one
        elif not erase.whole:
            yield msgspec.structs.replace(one, event=msgspec.structs.replace(one.event, personal=b""))


def _told(changes: Sequence[Change]) -> list[Event]:
    return [one.event for one in changes if isinstance(one, Tell)]


def _goes(item: Item, all_of: DropAll) -> bool:
    return (
        item.issuer == all_of.issuer
        and (item.client_id, item.owner) == (all_of.client_id or item.client_id, all_of.owner or item.owner)
        and all_of.kind in ("", item.kind)
    )


def _matches(client: Client, query: ClientQuery) -> bool:
    return (
        query.issuer in (None, client.issuer)
        and query.state in (None, client.state)
        and query.owner in (None, client.admission.owner)
        and query.token_id in (None, client.admission.token_id)
        and query.template in (None, client.template)
        and {*query.indexed} <= {*terms(template.alone(client) if client.template else client)}
        and client.client_id >= query.bounds[0]
        and (not query.bounds[1] or client.client_id < query.bounds[1])
    )


def _tells(event: Event, query: EventQuery) -> bool:
    return (
        query.issuer in (None, event.issuer)
        and query.kind in (None, event.kind)
        and query.client_id in (None, event.client_id)
    )
