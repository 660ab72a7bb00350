"""The outbox: a message for every webhook that wants an event, stored in the transaction that stores the event.

So no message is lost that tells of something, and none tells of what did not happen. Without webhooks none of this is
there: the store is then the store itself.

Messages lie among the items of a store, those of each webhook by themselves, under the moment at which they are due. The
first of them is the next, and what waits for a slow endpoint is in nobody else's way.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from registrar.domain import webhook
from registrar.domain.access_token import InitialAccessToken
from registrar.domain.client import Client
from registrar.domain.events import Event
from registrar.domain.settings import Webhook
from registrar.domain.webhook import Message
from registrar.service.ports import Change, Fetch, Item, Put, SigningKey, Spend, Store, Tell

_encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(Message).decode


ABANDONED: Final = 5_184_000
"""Seconds after which a message goes that nobody tries to deliver: its webhook is configured no more."""
_FARTHEST: Final = 604_800_000
"""Milliseconds ahead that no attempt is put off to; one that lies further ahead was put there by a clock that was wrong."""


def waiting(name: str) -> str:
    """What the messages that wait for a webhook are called among the items of a store."""
    return f"webhook_waiting {name}"


def given_up(name: str) -> str:
    """And those that were given up."""
    return f"webhook_given_up {name}"


def key(time_ms: int, identifier: str) -> str:
    """The key of a message: when it is due, or was given up, in milliseconds since 1970."""
    return f"{time_ms:011x}.{identifier}"


def time_of(item_key: str) -> int:
    """The moment in a key."""
    return int(item_key.partition(".")[0], 16)


def item(issuer: str, kind: str, message: Message, time_ms: int, kept: int = ABANDONED) -> Item:
    """A message as it is stored, and kept for some seconds. It belongs to no client, whose end it may have to tell of."""
    expires_at = time_ms // 1000 + kept
    return Item(issuer, kind, key(time_ms, message.identifier), _encode(message), expires_at=expires_at)


class Queue:
    """Items of a kind in the order in which they are due.

    Args:
        issuer: whose.
        kind: what they are called among the items of a store.
    """

    def __init__(self, issuer: str, kind: str) -> None:
        self._issuer, self._kind = issuer, kind
        self._latest_ms = math.inf
        """The latest moment since those were last looked at that are too far ahead."""

    async def due(self, store: Store, now_ms: int, limit: int) -> list[Item]:
        """Those that are due, the first ones first.

        Args:
            store: where they lie.
            now_ms: milliseconds since 1970.
            limit: how many of them.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        page = await store.items(self._issuer, self._kind, limit=limit)
        due = [one for one in page if time_of(one.key) <= now_ms]
        if now_ms >= self._latest_ms:
            self._latest_ms = now_ms
        elif strays := await store.items(self._issuer, self._kind, after=key(now_ms + _FARTHEST, ""), limit=limit):
            due += strays  # at the start, and where the clock has gone back
        else:
            self._latest_ms = now_ms
        return due


class Webhooks:
    """The webhooks of this process: what is configured, the way out to them, and the bells that say there is work.

    Args:
        configured: by name; those that are disabled are left out.
        issuers: the names of all issuers.
        fetch: the way out, which no other fetch waits for; None where nothing is sent.
    """

    def __init__(
        self, configured: Mapping[str, Webhook] | None = None, issuers: Sequence[str] = (), fetch: Fetch | None = None
    ) -> None:
        self.configured = {name: one for name, one in (configured or {}).items() if not one.disabled}
        self.fetch = fetch
        self.holder = secrets.token_hex(8)
        """What this process is called where one of many delivers."""
        self.lines = [
            (issuer, name)
            for name, one in self.configured.items()
            for issuer in issuers
            if not one.issuers or issuer in one.issuers
        ]
        """Every issuer with every webhook that is told of it."""
        self.wanted = {
            (issuer, kind): tuple(
                other for place, other in self.lines if place == issuer and kind in self.configured[other].kinds
            )
            for issuer, name in self.lines
            for kind in self.configured[name].kinds
        }
        self.bells = {line: asyncio.Event() for line in self.lines}

    def of(self, issuer: str) -> dict[str, Webhook]:
        """The webhooks that are told of an issuer."""
        return {name: self.configured[name] for place, name in self.lines if place == issuer}

    def messages(self, events: Sequence[Event], client: Client | None = None) -> list[Put]:
        """What has to be stored with events."""
        found: list[Put] = []
        for event in events:
            names = self.wanted.get((event.issuer, event.kind), ())
            if not names:
                continue
            mine = client if client is not None and client.client_id == event.client_id else None
            body = msgspec.Raw(webhook.payload(event, mine))
            message = Message(webhook.identifier(event), event.kind, body)
            found += [Put(item(event.issuer, waiting(name), message, event.time_ms)) for name in names]
        return found

    def ring(self, messages: Sequence[Put]) -> None:
        """Say that there is work, to whoever delivers in this process."""
        for put in messages:
            self.bells[put.item.issuer, put.item.kind.partition(" ")[2]].set()


def with_outbox(store: Store, webhooks: Webhooks) -> Store:
    """A store that keeps messages with events, where there is anybody to send them to."""
    return cast("Store", Outbox(store, webhooks)) if webhooks.lines else store


class Outbox:
    """A store that adds messages to every write that has events. Everything else is the store's own."""

    def __init__(self, store: Store, webhooks: Webhooks) -> None:
        self._store, self._webhooks = store, webhooks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def create(
        self, client: Client, event: Event, spend: Spend | None = None, changes: Sequence[Change] = ()
    ) -> None:
        """As `Store.create`, and the messages about its events."""
        messages = self._webhooks.messages([*_told(changes), event], client)
        await self._store.create(client, event, spend, [*changes, *messages])
        self._webhooks.ring(messages)

    async def update(
        self, client: Client, events: Sequence[Event], *, expected: int, changes: Sequence[Change] = ()
    ) -> None:
        """As `Store.update`, and the messages about its events."""
        messages = self._webhooks.messages([*_told(changes), *events], client)
        await self._store.update(client, events, expected=expected, changes=[*changes, *messages])
        self._webhooks.ring(messages)

    async def change(self, changes: Sequence[Change], events: Sequence[Event] = ()) -> None:
        """As `Store.change`, and the messages about its events."""
        messages = self._webhooks.messages([*_told(changes), *events])
        await self._store.change([*changes, *messages], events)
        self._webhooks.ring(messages)

    async def add_token(self, token: InitialAccessToken, event: Event, changes: Sequence[Change] = ()) -> None:
        """As `Store.add_token`, and the messages about its events."""
        messages = self._webhooks.messages([*_told(changes), event])
        await self._store.add_token(token, event, [*changes, *messages])
        self._webhooks.ring(messages)

    async def revoke_token(
        self, issuer: str, token_id: str, now: int, event: Event, changes: Sequence[Change] = ()
    ) -> None:
        """As `Store.revoke_token`, and the messages about its events."""
        messages = self._webhooks.messages([*_told(changes), event])
        await self._store.revoke_token(issuer, token_id, now, event, [*changes, *messages])
        self._webhooks.ring(messages)

    async def record(self, event: Event) -> None:
        """As `Store.record`, and the messages about its events."""
        messages = self._webhooks.messages([event])
        if not messages:
            return await self._store.record(event)
        await self._store.change(messages, [event])
        self._webhooks.ring(messages)
        return None

    async def add_key(self, key: SigningKey, event: Event, changes: Sequence[Change] = ()) -> None:
        """As `Store.add_key`, and the messages about its events."""
        messages = self._webhooks.messages([*_told(changes), event])
        await self._store.add_key(key, event, [*changes, *messages])
        self._webhooks.ring(messages)

    async def rewrap_key(self, key: SigningKey, event: Event, changes: Sequence[Change] = ()) -> None:
        """As `Store.rewrap_key`, and the messages about its events."""
        messages = self._webhooks.messages([*_told(changes), event])
        await self._store.rewrap_key(key, event, [*changes, *messages])
        self._webhooks.ring(messages)

    async def remove_key(self, issuer: str, kid: str, event: Event, changes: Sequence[Change] = ()) -> None:
        """As `Store.remove_key`, and the messages about its events."""
        messages = self._webhooks.messages([*_told(changes), event])
        await self._store.remove_key(issuer, kid, event, [*changes, *messages])
        self._webhooks.ring(messages)


def _told(changes: Sequence[Change]) -> list[Event]:
    return [one.event for one in changes if isinstance(one, Tell)]
