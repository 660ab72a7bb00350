"""A batch of writes as values: which may share one, which are refused, and the statement that lands them. Pure.

What many callers want becomes a few arrays, and the arrays become rows by UNNEST: one statement, whatever the number of
writers. The statement lands everything that it was given, or fails; so there is nothing to take back and nothing that
is half there, and the writer may know beforehand what it is going to say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final, NamedTuple

import msgspec

from registrar.domain.client import State
from registrar.domain.credentials import Digest
from registrar.domain.events import Event
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
    Spend,
    Tell,
    TokenSpent,
)

Touch = Put | Drop | DropAll
"""A change to items."""
Row = tuple[Any, ...]
ItemKey = tuple[str, str, str]
Rows = dict[str, list[Row]]
"""The name of a part -> its rows."""

REFUSED: Final = "not every row landed: a batch of the registrar is looked at row by row"
"""What the statement fails with, as PostgreSQL's own log will show it."""


@dataclass(frozen=True, slots=True)
class Write:
    """One operation. `alone` runs by itself in a transaction of its own: for what is rare and has rules of its own."""

    events: Sequence[Event] = ()
    created: Row | None = None
    """Of `client`: issuer, client_id, version, state, owner, token_id, template, due_at, record."""
    updated: Row | None = None
    """issuer, client_id, version, state, owner, due_at, record, and the version that is expected."""
    terms: tuple[str, ...] = ()
    """All that the client has from now on."""
    spend: Spend | None = None
    changes: Sequence[Touch] = ()
    places: Sequence[Place] = ()
    erased: Sequence[Erase] = ()
    looks: Sequence[Look] = ()
    counts: Sequence[Count] = ()
    advances: Sequence[Advance] = ()
    alone: Callable[[Any], Awaitable[None]] | None = None

    @classmethod
    def of(cls, changes: Sequence[Change], events: Sequence[Event], **rest: Any) -> Write:
        """An operation with changes, of which some only tell of further events; those come first."""
        if not changes:
            return cls(events, **rest)
        told = [change.event for change in changes if isinstance(change, Tell)]
        places = [single for change in changes if isinstance(change, Place) for single in change.each()]
        erased = [change for change in changes if isinstance(change, Erase)]
        looks = [change for change in changes if isinstance(change, Look)]
        counts = [change for change in changes if isinstance(change, Count)]
        advances = [change for change in changes if isinstance(change, Advance)]
        touches = [change for change in changes if isinstance(change, Put | Drop | DropAll)]
        return cls(
            [*told, *events],
            changes=touches,
            places=places,
            erased=erased,
            looks=looks,
            counts=counts,
            advances=advances,
            **rest,
        )

    @property
    def client(self) -> tuple[str, str] | None:
        """The client row that it is about."""
        row = self.created or self.updated
        return (row[0], row[1]) if row else None

    @property
    def token(self) -> tuple[str, Digest] | None:
        """The initial access token that it spends."""
        return (self.created[0], self.spend.digest) if self.created and self.spend else None

    def items(self) -> Iterator[ItemKey]:
        """The items that it names."""
        return (_key(change) for change in self.changes if not isinstance(change, DropAll))

    def advanced(self) -> Iterator[ItemKey]:
        """The items of which it raises the version."""
        return ((one.issuer, one.kind, one.key) for one in self.advances)

    def added_to(self) -> Iterator[ItemKey]:
        """The items that it and others may add to in one statement, or take off."""
        yield from self.advanced()
        yield from ((one.issuer, TALLY, TALLY) for one in self.counts)
        if self.ends and self.client:
            yield self.client[0], TALLY, TALLY

    @property
    def ends(self) -> bool:
        """Whether it deletes a client, which is counted off then."""
        return self.updated is not None and self.updated[3] == State.DELETED.value

    @property
    def sweeps(self) -> bool:
        """Whether it takes items away without naming them."""
        return any(isinstance(change, DropAll) for change in self.changes)


class Company:
    """What is in a batch so far: each row is touched by one operation of it at the most, but for those that all add to."""

    def __init__(self) -> None:
        self._rows: set[Hashable] = set()
        self._advanced: set[Hashable] = set()
        self._items = self._sweeps = self._alone = self._counts = self._ends = False

    def admits(self, write: Write) -> bool:
        """Take an operation in, unless it has to wait for the next batch."""
        if self._alone or (write.alone and self._rows):
            return False
        # One statement changes a row once: what counts and what counts off is in another.
        if (write.counts and self._ends) or (write.ends and self._counts):
            return False
        rows: set[Hashable] = {write.client} if write.client else set()
        rows.update((one.writer, one.number, "") for one in write.places)
        rows.update((date.issuer, date.client_id) for one in write.looks for date in one.dates)
        if write.changes or write.advances:
            rows.update(write.items())
            if self._sweeps or (write.sweeps and self._items):
                return False
        advanced: set[Hashable] = {*write.added_to()}
        if not (self._rows.isdisjoint(rows | advanced) and self._advanced.isdisjoint(rows)):
            return False
        self._rows |= rows or {None}
        self._advanced |= advanced
        self._items = self._items or bool(write.changes or write.advances)
        self._sweeps = self._sweeps or write.sweeps
        self._counts = self._counts or bool(write.counts)
        self._ends = self._ends or write.ends
        self._alone = write.alone is not None
        return True


# --- what is refused ---------------------------------------------------------------------------------------------------


class SeenToken(NamedTuple):
    """The counted columns of an initial access token."""

    max_uses: int
    uses: int
    expires_at: int
    revoked_at: int

    def good(self, now: int) -> bool:
        """Whether it has a use left."""
        return (
            not self.revoked_at
            and (not self.max_uses or self.uses < self.max_uses)
            and (not self.expires_at or now < self.expires_at)
        )


class SeenItem(NamedTuple):
    """What of an item decides about changes to it."""

    version: int
    expires_at: int = 0
    client_id: str = ""
    owner: str = ""


@dataclass(slots=True)
class Seen:
    """The rows that a batch is about, as they are while they are locked."""

    clients: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Client -> its version."""
    tokens: dict[tuple[str, Digest], SeenToken] = field(default_factory=dict)
    items: Mapping[ItemKey, SeenItem] = field(default_factory=dict)
    unplaced: set[tuple[str, int]] = field(default_factory=set)
    """Batches that have no place in the log."""
    taken: set[int] = field(default_factory=set)
    """Places in the log that are taken."""
    tallies: dict[str, int] = field(default_factory=dict)
    """Issuer -> how many of its clients live."""
    advanced: dict[ItemKey, int] = field(default_factory=dict)
    """Items of which the versions are raised -> those."""
    uncounted: set[str] = field(default_factory=set)
    """Issuers of which the clients were counted for this batch; the first one more is not refused."""


def judge(write: Write, seen: Seen) -> Write:
    """The operation as it can be landed on what was seen; what it claims and counts is counted in `seen`.

    Raises:
        StoreError: why it is refused.
    """
    changes = _judged(write.changes, seen.items)
    known = (one for one in write.counts if one.issuer not in seen.uncounted)
    if any(one.most and seen.tallies[one.issuer] >= one.most for one in known):
        raise Conflict(TALLY)
    for key, advance in zip(write.advanced(), write.advances, strict=True):
        if seen.advanced.get(key, 0) >= advance.most:
            raise Conflict(advance.key)
    for one in write.places:
        if (one.writer, one.number) not in seen.unplaced or one.place in seen.taken:
            raise Conflict(str(one.place))
    seen.taken.update(one.place for one in write.places)
    version = seen.clients.get(write.client) if write.client else None
    if write.token is not None and write.spend is not None:
        token = seen.tokens.get(write.token)
        if token is None or not token.good(write.spend.now):
            raise TokenSpent
        if version is None:
            seen.tokens[write.token] = token._replace(uses=token.uses + 1)
    if write.created is not None and version is not None:
        raise Conflict(write.created[1])
    if write.updated is not None:
        if version is None:
            raise NotFound(write.updated[1])
        if version != write.updated[-1]:
            raise Conflict(write.updated[1])
    for count in write.counts:
        seen.tallies[count.issuer] += 1
        seen.uncounted.discard(count.issuer)
    for key in write.advanced():
        seen.advanced[key] = seen.advanced.get(key, 0) + 1
    return replace(write, changes=changes, counts=[Count(count.issuer) for count in write.counts])


def _judged(changes: Sequence[Touch], seen: Mapping[ItemKey, SeenItem]) -> list[Touch]:
    """The changes one after another; one that replaces what has expired says so."""
    now_there: dict[ItemKey, SeenItem] = dict(seen) if changes else {}
    judged: list[Touch] = []
    for change in changes:
        judged.append(change)
        if isinstance(change, DropAll):
            now_there = {key: one for key, one in now_there.items() if not _goes(key, one, change)}
            continue
        key = _key(change)
        there = now_there.get(key)
        expected = change.expected
        if isinstance(change, Put) and expected == 0 and there is not None:
            if not there.expires_at or change.now < there.expires_at:
                raise Conflict(change.item.key)
            expected = there.version
            judged[-1] = Put(change.item, expected)
        if expected and (there is None or there.version != expected):
            raise Conflict(key[2])
        now_there.pop(key, None)
        if isinstance(change, Put):
            now_there[key] = _seen(change.item)
    return judged


def _seen(item: Item) -> SeenItem:
    return SeenItem(item.version, item.expires_at, item.client_id, item.owner)


def _goes(key: ItemKey, item: SeenItem, all_of: DropAll) -> bool:
    return (
        (key[0], item.client_id, item.owner)
        == (all_of.issuer, all_of.client_id or item.client_id, all_of.owner or item.owner)
    ) and all_of.kind in ("", key[1])


def _key(change: Put | Drop) -> ItemKey:
    at = change.item if isinstance(change, Put) else change
    return at.issuer, at.kind, at.key


# --- what is landed ----------------------------------------------------------------------------------------------------


class Part(NamedTuple):
    """Rows of one kind and what becomes of them. In `sql`, `{given}` stands for the rows, and each that has landed is one of it.

    `whole`: each of them has to land.
    """

    columns: Mapping[str, str]
    sql: str
    whole: bool = True


_ITEM: Final = {
    "issuer": "text",
    "kind": "text",
    "key": "text",
    "body": "bytea",
    "version": "bigint",
    "client_id": "text",
    "owner": "text",
    "expires_at": "bigint",
}
_ITEM_KEY: Final = {"issuer": "text", "kind": "text", "key": "text"}
_AT: Final = "item.issuer = given.issuer AND item.kind = given.kind AND item.key = given.key"
_INSERT_ITEM: Final = f"INSERT INTO item ({', '.join(_ITEM)}) SELECT * FROM {{given}} ON CONFLICT (issuer, kind, key)"  # noqa: S608 (words of our own)
_HELD: Final = ("body", "version", "client_id", "owner", "expires_at")
_SWEPT: Final = {"issuer": "text", "client_id": "text", "owner": "text", "kind": "text"}

# In the order in which rows are locked, which is that of whoever looks at them before: else processes would wait for each
# other in a circle. How many clients live comes last, because all wait for that.
PARTS: Final[Mapping[str, Part]] = {
    "created": Part(
        {
            "issuer": "text",
            "client_id": "text",
            "version": "bigint",
            "state": "text",
            "owner": "text",
            "token_id": "text",
            "template": "text",
            "due_at": "bigint",
            "record": "bytea",
        },
        "INSERT INTO client (issuer, client_id, version, state, owner, token_id, template, due_at, record) "
        "SELECT * FROM {given} ON CONFLICT (issuer, client_id) DO NOTHING",
    ),
    "updated": Part(
        {
            "issuer": "text",
            "client_id": "text",
            "version": "bigint",
            "state": "text",
            "owner": "text",
            "due_at": "bigint",
            "record": "bytea",
            "expected": "bigint",
        },
        "UPDATE client SET version = given.version, state = given.state, owner = given.owner, due_at = given.due_at, "
        "record = given.record FROM {given} "
        "WHERE client.issuer = given.issuer AND client.client_id = given.client_id AND client.version = given.expected",
    ),
    # Terms that a client had and has no more; those that it has are there, or come by the next part.
    "terms_gone": Part(
        {"issuer": "text", "client_id": "text", "terms": "text"},
        "DELETE FROM client_term AS one USING {given} WHERE one.issuer = given.issuer AND one.client_id = given.client_id "
        "AND NOT (given.terms::jsonb ? one.term)",
        whole=False,
    ),
    "terms_here": Part(
        {"issuer": "text", "term": "text", "client_id": "text"},
        "INSERT INTO client_term (issuer, term, client_id) SELECT * FROM {given} ON CONFLICT (issuer, term, client_id) DO NOTHING",
        whole=False,
    ),
    # The rows are locked in the order of their keys, whatever plan the UPDATE has: processes that spend the same tokens
    # at the same time wait for each other and do not stand in each other's way.
    "claimed": Part(
        {"issuer": "text", "digest": "bytea", "asked": "bigint", "now": "bigint"},
        "UPDATE initial_access_token AS token SET uses = token.uses + locked.asked FROM ("
        "SELECT one.issuer, one.token_id, given.asked, given.now FROM initial_access_token AS one JOIN {given} "
        "ON one.issuer = given.issuer AND one.digest = given.digest ORDER BY one.issuer, one.token_id FOR UPDATE OF one"
        ") AS locked WHERE token.issuer = locked.issuer AND token.token_id = locked.token_id AND token.revoked_at = 0 "
        "AND (token.max_uses = 0 OR token.uses + locked.asked <= token.max_uses) "
        "AND (token.expires_at = 0 OR token.expires_at > locked.now)",
    ),
    "put": Part(
        _ITEM,
        f"{_INSERT_ITEM} DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _HELD)}",
    ),
    "put_new": Part(_ITEM, f"{_INSERT_ITEM} DO NOTHING"),
    "replaced": Part(
        {**_ITEM, "expected": "bigint"},
        f"UPDATE item SET {', '.join(f'{name} = given.{name}' for name in _HELD)} FROM {{given}} "  # noqa: S608 (as above)
        f"WHERE {_AT} AND item.version = given.expected",
    ),
    "dropped": Part(
        {**_ITEM_KEY, "expected": "bigint"},
        f"DELETE FROM item USING {{given}} WHERE {_AT} AND item.version = given.expected",  # noqa: S608 (as above)
    ),
    "dropped_if_there": Part(_ITEM_KEY, f"DELETE FROM item USING {{given}} WHERE {_AT}", whole=False),  # noqa: S608 (as above)
    "swept_of_client": Part(
        _SWEPT,
        "DELETE FROM item USING {given} WHERE item.issuer = given.issuer AND item.client_id = given.client_id "
        "AND item.client_id <> '' AND given.owner IN ('', item.owner) AND given.kind IN ('', item.kind)",
        whole=False,
    ),
    "swept_of_owner": Part(
        _SWEPT,
        "DELETE FROM item USING {given} WHERE item.issuer = given.issuer AND item.owner = given.owner "
        "AND item.owner <> '' AND given.kind IN ('', item.kind)",
        whole=False,
    ),
    "advanced": Part(
        {"issuer": "text", "kind": "text", "key": "text", "asked": "bigint", "most": "bigint"},
        "INSERT INTO item (issuer, kind, key, body, version, client_id, owner, expires_at) "  # noqa: S608 (as above)
        "SELECT given.issuer, given.kind, given.key, ''::bytea, given.asked, '', '', 0 FROM {given} WHERE given.asked <= given.most "
        "ON CONFLICT (issuer, kind, key) DO UPDATE SET version = item.version + excluded.version "
        f"WHERE item.version + excluded.version <= (SELECT given.most FROM {{given}} WHERE {_AT})",
    ),
    "counted": Part(
        {"issuer": "text", "asked": "bigint", "most": "bigint"},
        "UPDATE item SET version = item.version + given.asked FROM {given} "  # noqa: S608 (as above)
        f"WHERE item.issuer = given.issuer AND item.kind = '{TALLY}' AND item.key = '{TALLY}' "
        "AND (given.most = 0 OR item.version + given.asked <= given.most)",
    ),
    # Reads the states as they were before the statement: one that was deleted already is not counted off again.
    "counted_off": Part(
        {"issuer": "text", "client_id": "text"},
        "UPDATE item SET version = item.version - gone.number FROM (SELECT one.issuer, count(*) AS number FROM client AS one "  # noqa: S608 (as above)
        "JOIN {given} ON one.issuer = given.issuer AND one.client_id = given.client_id "
        f"WHERE one.state <> '{State.DELETED.value}' GROUP BY one.issuer) AS gone "
        f"WHERE item.issuer = gone.issuer AND item.kind = '{TALLY}' AND item.key = '{TALLY}'",
        whole=False,
    ),
    "placed": Part(
        {"writer": "text", "number": "bigint", "place": "bigint"},
        "UPDATE audit_batch AS one SET place = given.place FROM {given} "
        "WHERE one.writer = given.writer AND one.number = given.number AND one.place = 0",
    ),
    "looked": Part(
        {"issuer": "text", "client_id": "text", "due_at": "bigint", "seen": "bigint"},
        "UPDATE client SET due_at = given.due_at FROM {given} WHERE client.issuer = given.issuer "
        "AND client.client_id = given.client_id AND client.due_at = given.seen",
        whole=False,
    ),
    "personal_erased": Part(
        {"sequence": "bigint"},
        "UPDATE event SET personal = ''::bytea FROM {given} WHERE event.sequence = given.sequence",
        whole=False,
    ),
    "events_erased": Part(
        {"sequence": "bigint"}, "DELETE FROM event USING {given} WHERE event.sequence = given.sequence", whole=False
    ),
    "chained": Part(
        {"writer": "text", "number": "bigint", "events": "bigint", "root": "bytea", "link": "bytea", "place": "bigint"},
        "INSERT INTO audit_batch (writer, number, events, root, link, place) SELECT * FROM {given}",
    ),
    "told": Part(
        {
            "sequence": "bigint",
            "writer": "text",
            "batch": "bigint",
            "position": "bigint",
            "issuer": "text",
            "kind": "text",
            "time_ms": "bigint",
            "client_id": "text",
            "body": "bytea",
            "personal": "bytea",
        },
        "INSERT INTO event (sequence, writer, batch, position, issuer, kind, time_ms, client_id, body, personal) "
        "SELECT * FROM {given}",
    ),
}


def steps(writes: Sequence[Write]) -> list[Rows]:
    """The rows to land, in as few statements as their order allows: one, unless an operation touches an item twice."""
    found: list[Rows] = [{}]
    claims: dict[tuple[str, Digest], tuple[int, int]] = {}
    counts: dict[str, tuple[int, int]] = {}
    advances: dict[ItemKey, tuple[int, int]] = {}
    first = found[0]
    for write in writes:
        if write.created:
            first.setdefault("created", []).append(write.created)
        if write.updated:
            first.setdefault("updated", []).append(write.updated)
            held = msgspec.json.encode(write.terms).decode()
            first.setdefault("terms_gone", []).append((*write.updated[:2], held))
        if write.terms and write.client:
            issuer, client_id = write.client
            first.setdefault("terms_here", []).extend((issuer, one, client_id) for one in write.terms)
        if write.token is not None and write.spend is not None:
            asked, now = claims.get(write.token, (0, 0))
            claims[write.token] = asked + 1, max(now, write.spend.now)
        if write.ends and write.client:
            first.setdefault("counted_off", []).append(write.client)
        for count in write.counts:
            asked, most = counts.get(count.issuer, (0, 0))
            counts[count.issuer] = asked + 1, min(count.most or most, most or count.most)
        for key, advance in zip(write.advanced(), write.advances, strict=True):
            asked, most = advances.get(key, (0, advance.most))
            advances[key] = asked + 1, min(most, advance.most)
        if dates := [date for one in write.looks for date in one.dates]:
            first.setdefault("looked", []).extend(dates)
        for one in write.erased:
            first.setdefault("events_erased" if one.whole else "personal_erased", []).append((one.sequence,))
        if write.places:
            first.setdefault("placed", []).extend((one.writer, one.number, one.place) for one in write.places)
        for number, change in _in_turn(write.changes) if write.changes else ():
            while number >= len(found):
                found.append({})
            part, row = _row(change)
            found[number].setdefault(part, []).append(row)
    if claims:
        first["claimed"] = [(*token, *claim) for token, claim in sorted(claims.items())]
    if advances:
        first["advanced"] = [(*key, *advance) for key, advance in sorted(advances.items())]
    if counts:
        first["counted"] = [(issuer, *count) for issuer, count in sorted(counts.items())]
    return found


def _in_turn(changes: Sequence[Touch]) -> Iterator[tuple[int, Touch]]:
    """Each change with the number of the statement that it belongs to: one statement does not see what it has done."""
    number = 0
    touched: set[ItemKey] = set()
    swept = False
    for change in changes:
        key = None if isinstance(change, DropAll) else _key(change)
        if swept or key in touched or (key is None and touched):
            number, touched, swept = number + 1, set(), False
        if key is None:
            swept = True
        else:
            touched.add(key)
        yield number, change


def _row(change: Touch) -> tuple[str, Row]:
    if isinstance(change, DropAll):
        part = "swept_of_client" if change.client_id else "swept_of_owner"
        return part, (change.issuer, change.client_id, change.owner, change.kind)
    if isinstance(change, Drop):
        at = (change.issuer, change.kind, change.key)
        return ("dropped_if_there", at) if change.expected is None else ("dropped", (*at, change.expected))
    item = change.item
    row = (item.issuer, item.kind, item.key, item.body, item.version, item.client_id, item.owner, item.expires_at)
    if change.expected is None:
        return "put", row
    return ("put_new", row) if change.expected == 0 else ("replaced", (*row, change.expected))


def statement(rows: Rows) -> tuple[str, list[Any]]:
    """The statement that lands the rows of one step, and its arguments."""
    # Rows that several batches may touch are touched in the same order by all.
    names = tuple(name for name in PARTS if name in rows)
    arrays = [column for name in names for column in zip(*_ordered(name, rows[name]), strict=True)]
    whole = sum(len(rows[name]) for name in names if PARTS[name].whole)
    return _sql(names), [*arrays, whole]


def _ordered(name: str, rows: list[Row]) -> list[Row]:
    return rows if name in ("created", "told") else sorted(rows, key=lambda row: row[:3])


@cache
def _sql(names: tuple[str, ...]) -> str:
    """The statement for these parts. Every part lands in the one statement, which fails where a row has not.

    It fails by reading a sentence as a number, for SQL has no other way to say so that all databases know. Parts are run
    as they are asked for, and what nobody asks for at the end, in no order: so all are, and some count for nothing.
    """
    number = 0
    parts, landed = [], ["0"]
    for name in names:
        part = PARTS[name]
        arrays = []
        for kind in part.columns.values():
            number += 1
            arrays.append(f"${number}::{kind}[]")
        given = f"unnest({', '.join(arrays)}) AS given ({', '.join(part.columns)})"
        parts.append(f"{name} AS ({part.sql.format(given=given)} RETURNING 1)")
        landed.append(f"{'' if part.whole else '0 * '}(SELECT count(*) FROM {name})")  # noqa: S608 (words of our own)
    count = f"CASE WHEN {' + '.join(landed)} = ${number + 1}::bigint THEN '1' ELSE '{REFUSED}' END"
    return f"WITH {', '.join(parts)} SELECT CAST({count} AS integer)"
