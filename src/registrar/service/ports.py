"""What the use cases need from outside. Each is an argument; `config.assemble` chooses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from registrar.domain.access_token import InitialAccessToken
from registrar.domain.chain import Batch
from registrar.domain.client import Client, State
from registrar.domain.credentials import Digest, Wrapped
from registrar.domain.events import Event
from registrar.domain.lifecycle import Life
from registrar.domain.terms import of_deleted


class Clock(Protocol):
    """Now."""

    def __call__(self) -> int:
        """Milliseconds since 1970."""
        ...


class Entropy(Protocol):
    """Randomness for cryptography."""

    def __call__(self, count: int, /) -> bytes:
        """`count` random bytes."""
        ...


class FetchError(Exception):
    """Something was not fetched.

    Args:
        reason: for a client to read; it tells nothing about the network that the server stands in.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Fetched(msgspec.Struct, frozen=True):
    """A document as it was fetched: judged in size and media type, and in nothing else."""

    url: str
    media_type: str
    """In lower case, without parameters."""
    body: bytes
    expires_in: int | None = None
    """Seconds for which HTTP caching allows to keep it (RFC 9111); None where the answer says nothing."""


class Sent(NamedTuple):
    """What came back when something was sent."""

    status: int
    retry_after: int = 0
    """Seconds for which the other side wants to be left alone (RFC 9110 §10.2.3); 0 where it does not say."""


class Fetch(Protocol):
    """The one way to anything that a stranger's URL names."""

    async def __call__(self, url: str, *, accept: tuple[str, ...], limit: int = ...) -> Fetched:
        """The document at a URL.

        Args:
            url: as it was registered or presented.
            accept: media types, in which `*` stands for anything: `application/json`, `image/*`.
            limit: bytes of the document at the most.

        Raises:
            FetchError: saying why there is none.
        """
        ...

    async def post(
        self,
        url: str,
        form: Mapping[str, str],
        *,
        accept: tuple[str, ...] = ...,
        limit: int = ...,
        authorization: str = ...,
    ) -> Fetched:
        """What a URL answers to a form that is sent to it.

        Args:
            url: as it was registered or configured.
            form: what is sent.
            accept: media types of an answer of status 200; none where it does not matter, and 204 is as good.
            limit: bytes of the answer at the most.
            authorization: the header field that proves who sends it.

        Raises:
            FetchError: saying why there is no such answer.
        """
        ...

    async def send(self, url: str, content: bytes, headers: Mapping[str, str]) -> Sent:
        """Send something to a URL, for which the only answer that matters is its status.

        Args:
            url: as it was configured.
            content: the body.
            headers: header fields beside `Host` and `Content-Length`; names and values of our own making.

        Raises:
            FetchError: there was no answer, or one that leads elsewhere.
        """
        ...

    async def close(self) -> None:
        """Let go; every later call raises FetchError."""
        ...


class StoreError(Exception):
    """A write that was not made; nothing of it is stored."""


class NotFound(StoreError):  # noqa: N818 (a name that reads as what happened)
    """There is no such row."""


class Conflict(StoreError):  # noqa: N818 (a name that reads as what happened)
    """The row has another version than the writer had read, or exists already."""


class TokenSpent(StoreError):  # noqa: N818 (a name that reads as what happened)
    """The initial access token is used up, expired, revoked or gone."""


class StoreUnavailable(StoreError):  # noqa: N818 (a name that reads as what happened)
    """The store cannot say that the write is durable. Nothing was acknowledged; trying again later is right.

    Args:
        reason: for the log.
        overloaded: whether the queue was full, rather than the store failing.
    """

    def __init__(self, reason: str, *, overloaded: bool = False) -> None:
        super().__init__(reason)
        self.overloaded = overloaded


class Spend(msgspec.Struct, frozen=True):
    """One use of an initial access token, to be claimed in the transaction that registers."""

    digest: Digest
    now: int
    """Seconds since 1970, against which expiry is judged."""


class SigningKey(msgspec.Struct, frozen=True):
    """A signing key of an issuer: its public half as a JWK, its private half under the key-encryption key."""

    issuer: str
    kid: str
    algorithm: str
    public: bytes
    private: Wrapped
    created_at: int
    generation: int = 1
    """Each key of an algorithm replaces the one of the generation before."""


class ClientQuery(msgspec.Struct, frozen=True):
    """Which clients; None is any. What is asked together has to hold together.

    `template` and `terms` are found by an index, whatever the number of clients; the rest is looked at one by one.
    """

    issuer: str | None = None
    state: State | None = None
    owner: str | None = None
    token_id: str | None = None
    template: str | None = None
    terms: tuple[str, ...] = ()
    """Terms of `domain.terms` that it has; they need an issuer. Deleted clients are found by them where `state` asks for
    such."""
    created_from: int = 0
    """Milliseconds since 1970 at which it was registered, or later; 0 is any time. Read from the identifier."""
    created_before: int = 0
    """Milliseconds since 1970 before which it was registered; 0 is any time."""
    newest: bool = False
    """Whether they come in the other order, the newest first; that needs an issuer too."""

    def __post_init__(self) -> None:
        """Refuse terms of all issuers together: no query reaches across.

        Raises:
            ValueError: there are terms, or the newest come first, and there is no issuer.
        """
        if (self.terms or self.newest) and self.issuer is None:
            raise ValueError("terms are of an issuer, and so is an order")

    def place(self, after: tuple[str, str]) -> tuple[str, str]:
        """Where a page begins: the newest first, the first one is behind every identifier."""
        return (self.issuer or "", after[1] or "\U0010ffff") if self.newest else after

    @property
    def indexed(self) -> tuple[str, ...]:
        """The terms as they stand in the index."""
        return tuple(map(of_deleted, self.terms)) if self.state is State.DELETED else self.terms

    @property
    def bounds(self) -> tuple[str, str]:
        """The identifiers between which it lies, the first of them included; empty is no bound."""
        first, end = (f"{time:011x}" if time else "" for time in (self.created_from, self.created_before))
        return first, end


class Due(NamedTuple):
    """A client that the registry has to look at: so much of it as says what becomes of it, and when it was last used."""

    issuer: str
    client_id: str
    due_at: int
    life: Life
    used_at: int
    """Seconds since 1970; 0 is never."""
    noted: int
    """The version of the item that says so; 0 where there is none."""


class Item(msgspec.Struct, frozen=True):
    """A record of a kind that is found by its key: a template, a used identifier, a code, a session.

    Clients, counted tokens, signing keys and events have tables of their own, because they are counted, searched or
    ordered; whatever only has to be put, found, replaced and taken away is an item.
    """

    issuer: str
    kind: str
    key: str
    body: bytes
    version: int = 1
    client_id: str = ""
    """The client that it belongs to; it goes when the client does."""
    owner: str = ""
    """The person that it belongs to."""
    expires_at: int = 0
    """Seconds since 1970 from which it counts as gone; 0 is never."""

    def lives(self, now: int) -> bool:
        """Whether it still counts."""
        return not self.expires_at or now < self.expires_at


class Put(msgspec.Struct, frozen=True):
    """Store an item, where what is stored under its key has the version `expected`."""

    item: Item
    expected: int | None = None
    """0: there is none, or it has expired; None: whatever is there."""
    now: int = 0
    """Seconds since 1970, against which the expiry of what is there is judged."""


class Drop(msgspec.Struct, frozen=True):
    """Take an item away, where it has the version `expected`; with None it need not be there."""

    issuer: str
    kind: str
    key: str
    expected: int | None = None


class DropAll(msgspec.Struct, frozen=True):
    """Take away the items of a client or of a person, of one kind or of all."""

    issuer: str
    client_id: str = ""
    owner: str = ""
    kind: str = ""

    def __post_init__(self) -> None:
        """Refuse to mean everybody's items.

        Raises:
            ValueError: neither a client nor a person is named.
        """
        if not self.client_id and not self.owner:
            raise ValueError("whose items are dropped has to be said")


class Tell(msgspec.Struct, frozen=True):
    """Store one more event with the write."""

    event: Event


class Place(msgspec.Struct, frozen=True):
    """Give a batch of events, which has none, its place in the log of all writers; and those that follow it theirs."""

    writer: str
    number: int
    place: int
    count: int = 1
    """Batches of the writer from this number on, which come to stand beside each other from this place on."""

    def each(self) -> Iterator[Place]:
        """One for each batch."""
        return (Place(self.writer, self.number + at, self.place + at) for at in range(self.count))


class Erase(msgspec.Struct, frozen=True):
    """Take away what of an event names a person, or the event with it; its batch and its link stay."""

    sequence: int
    whole: bool = False


class Date(NamedTuple):
    """When to look at a client. Statements take many of them as they are."""

    issuer: str
    client_id: str
    due_at: int
    """Seconds since 1970; 0 is never."""
    seen: int = 0
    """The time that it had: where it has another by now, it keeps that."""


class Look(msgspec.Struct, frozen=True):
    """Look at clients at other times. It is no change of them: neither their versions nor events tell of it."""

    dates: Sequence[Date]


TALLY: Final = "tally"
"""The kind and the key of the item of which the version is how many clients of an issuer live."""


class Count(msgspec.Struct, frozen=True):
    """Count a client that is created among those of its issuer that live, by the item `TALLY`.

    The first time, the store counts them all and refuses nobody; from then on it keeps the number, and takes off each
    client in the write that deletes it. Where clients were created without being counted, the item is dropped, and they are counted anew.
    """

    issuer: str
    most: int = 0
    """Where there would be more, the write is refused: `Conflict(TALLY)`. 0 is any number."""


class Advance(msgspec.Struct, frozen=True):
    """Raise the version of an item by one, whatever it is; where there is none, one of version 1 is made, which holds nothing.

    Many at once stand in nobody's way, which is what it is for: a number that each of them only adds to.
    """

    issuer: str
    kind: str
    key: str
    most: int
    """Where the version would be greater, the write is refused: `Conflict(key)`."""


Change = Put | Drop | DropAll | Tell | Place | Erase | Look | Count | Advance


class EventQuery(msgspec.Struct, frozen=True):
    """Which events; None is any."""

    issuer: str | None = None
    kind: str | None = None
    client_id: str | None = None


class StoredEvent(msgspec.Struct, frozen=True):
    """An event with its place in the log: which writer, its which batch, and where in the batch."""

    sequence: int
    writer: str
    batch: int
    position: int
    event: Event


class Load(NamedTuple):
    """How busy a store is: writes that wait and that may wait, sessions for reading in use and not."""

    waiting: int = 0
    limit: int = 0
    used: int = 0
    free: int = 0


class Store(Protocol):
    """Remembering. Every write takes its audit event: both are durable when it returns, or neither is stored.

    All methods may raise `StoreUnavailable`. Records are values: what is returned is the caller's own.
    """

    async def create(
        self, client: Client, event: Event, spend: Spend | None = None, changes: Sequence[Change] = ()
    ) -> None:
        """Store a new client, claim one use of a token with it, and make the changes; all of it, or nothing.

        Raises:
            TokenSpent: the token has no use left; of concurrent callers exactly as many succeed as uses were left.
            Conflict: the identifier exists, or existed; or an item has another version than a change expects.
        """
        ...

    async def find(self, issuer: str, client_id: str) -> Client | None:
        """A client, tombstones included; one of a template as the template makes it at this moment."""
        ...

    async def update(
        self, client: Client, events: Sequence[Event], *, expected: int, changes: Sequence[Change] = ()
    ) -> None:
        """Replace a client whose stored version is `expected`; `client.version` is the new one. Of two, one wins.

        What a client of a template has from its template is not stored with it. The items of a client that is
        deleted go with it.

        Raises:
            NotFound: there is no such client.
            Conflict: the stored version is another, or that of an item.
        """
        ...

    async def change(self, changes: Sequence[Change], events: Sequence[Event] = ()) -> None:
        """Make changes to items and store the events, all of it or nothing.

        Raises:
            Conflict: an item has another version than a change expects; its key is the argument. Or a batch that is
                to be placed is not there, or has a place, or the place is taken.
        """
        ...

    async def item(self, issuer: str, kind: str, key: str) -> Item | None:
        """An item by its key, also one that has expired and is not yet purged."""
        ...

    async def items(
        self, issuer: str, kind: str, *, client_id: str = "", owner: str = "", after: str = "", limit: int = 100
    ) -> Sequence[Item]:
        """Items of a kind in the order of their keys, of one client or person where one is named."""
        ...

    async def count_items(self, issuer: str, kind: str, owner: str) -> int:
        """How many items of a kind belong to somebody."""
        ...

    async def purge(self, now: int, limit: int = 1000) -> int:
        """Take away items that have expired, `limit` at the most; tells how many. They counted as gone already."""
        ...

    async def clients(
        self, query: ClientQuery, *, after: tuple[str, str] = ("", ""), limit: int = 100
    ) -> Sequence[Client]:
        """Clients in the order of issuer and identifier, from the one after `after`; tombstones included.

        The newest first, it is the one before it; whatever is registered meanwhile stands before the first page.
        """
        ...

    async def count(self, query: ClientQuery, *, most: int = 0) -> int:
        """How many clients there are of which a query asks; with `most`, the count ends there."""
        ...

    async def due(self, now: int, *, limit: int = 500) -> Sequence[Due]:
        """Clients of which `due_at` has come, the one that waits longest first.

        Whoever looks at one updates it with another `due_at`, or it is there again.
        """
        ...

    async def add_token(self, token: InitialAccessToken, event: Event, changes: Sequence[Change] = ()) -> None:
        """Store a new initial access token, and make the changes.

        Raises:
            Conflict: its identifier or digest exists.
        """
        ...

    async def find_token(self, issuer: str, digest: Digest) -> InitialAccessToken | None:
        """An initial access token by the digest of what was presented."""
        ...

    async def tokens(
        self, issuer: str | None = None, *, after: tuple[str, str] = ("", ""), limit: int = 100
    ) -> Sequence[InitialAccessToken]:
        """Initial access tokens in the order of issuer and identifier."""
        ...

    async def revoke_token(
        self, issuer: str, token_id: str, now: int, event: Event, changes: Sequence[Change] = ()
    ) -> None:
        """Revoke an initial access token, and make the changes; a second time is a Conflict.

        Raises:
            NotFound: there is no such token.
            Conflict: it is revoked already.
        """
        ...

    async def record(self, event: Event) -> None:
        """Store an event that accompanies no other write: a refusal, a read."""
        ...

    async def events(self, query: EventQuery, *, after: int = 0, limit: int = 100) -> Sequence[StoredEvent]:
        """Events in the order in which they were stored, from the one after the sequence number `after`.

        Where several processes write to one database, the order between them may be that of their clocks.
        """
        ...

    async def batches(
        self, *, after: tuple[str, int] = ("", 0), limit: int = 1000, unplaced: bool = False
    ) -> Sequence[Batch]:
        """Batches of events in the order of writer and number; `unplaced`, those that are not in the log yet."""
        ...

    async def log(self, *, after: int = 0, limit: int = 1000) -> Sequence[Batch]:
        """Batches of events in the order of their places in the log, from the one after the place `after`."""
        ...

    async def told(self, writer: str, first: int, last: int) -> Sequence[StoredEvent]:
        """The events of a writer's batches from number `first` to `last`, in their order."""
        ...

    async def tally(self) -> tuple[int, int, int]:
        """How many events are stored, how many the batches say that there are, and how many are from before chains.

        All of one moment, so that it can be asked while others write. Every event is read for it.
        """
        ...

    async def unchained(self) -> int:
        """How many events are from before chains: known at once where there are none, as in every new registry."""
        ...

    async def add_key(self, key: SigningKey, event: Event, changes: Sequence[Change] = ()) -> None:
        """Store a signing key, and make the changes.

        Raises:
            Conflict: the issuer has a key of this algorithm and generation already; of two processes that start or
                rotate, one makes it.
        """
        ...

    async def rewrap_key(self, key: SigningKey, event: Event, changes: Sequence[Change] = ()) -> None:
        """Store the private half of a signing key as it is wrapped now, in the place of what is stored of this key.

        Raises:
            NotFound: there is no such key.
        """
        ...

    async def remove_key(self, issuer: str, kid: str, event: Event, changes: Sequence[Change] = ()) -> None:
        """Take a signing key away, its private half with it, and make the changes.

        Raises:
            NotFound: there is no such key.
        """
        ...

    async def keys(self, issuer: str) -> Sequence[SigningKey]:
        """The signing keys of an issuer, oldest first."""
        ...

    async def ready(self) -> None:
        """Return when the store answers."""
        ...

    def load(self) -> Load:
        """How busy it is at this moment."""
        ...

    async def close(self) -> None:
        """Finish what was acknowledged and let go; every later call raises StoreUnavailable."""
        ...
