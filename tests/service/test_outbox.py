"""The outbox: a message with every event that somebody wants, in the same write, and none without."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from registrar.domain.client import State
from registrar.domain.events import Actor, Event, event
from registrar.domain.settings import Webhook
from registrar.domain.webhook import Message, kinds
from registrar.service import outbox
from registrar.service.outbox import Outbox, Webhooks, with_outbox
from registrar.service.ports import (
    Conflict,
    Drop,
    DropAll,
    EventQuery,
    NotFound,
    Put,
    Spend,
    Store,
    StoreError,
    Tell,
    TokenSpent,
)
from registrar.storage import open_store
from registrar.storage.memory import MemoryStore
from registrar.testing.store_conformance import a_client, a_key, a_token, an_item

pytestmark = pytest.mark.anyio


def webhook(name: str, *events: str, issuers: tuple[str, ...] = (), disabled: bool = False) -> Webhook:
    """The settings of a webhook that wants these events."""
    return Webhook(name, "https://hook.example", "", events, issuers, disabled, kinds=kinds(events))


def webhooks(*configured: Webhook) -> Webhooks:
    """Webhooks of two issuers."""
    return Webhooks({one.name: one for one in configured}, ["main", "other"])


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind."""
    here = {"memory": "memory:", "sqlite": f"sqlite:///{tmp_path}/registrar.db"}
    found: str = here.get(request.param) or request.getfixturevalue("database")
    return found


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """A store with an outbox for everything."""
    opened = open_store(url)
    yield with_outbox(opened, webhooks(webhook("all", "*")))
    await opened.close()


def an_event(client_id: str, kind: str = "client.registered", issuer: str = "main") -> Event:
    """An event whose bytes are its own, as those of all events are."""
    return event(kind, issuer=issuer, time_ms=7, actor=Actor("operator", "local"), salt=b"", client_id=client_id)


async def waiting(store: Store, issuer: str = "main", name: str = "all") -> list[Message]:
    """The messages in the outbox."""
    return [outbox.decode(one.body) for one in await store.items(issuer, outbox.waiting(name), limit=1000)]


async def told(store: Store) -> list[str]:
    """The kinds of the messages that wait, sorted; and hold that they are those of the events, each once."""
    found = sorted(one.type for one in await waiting(store))
    assert found == sorted(one.event.kind for one in await store.events(EventQuery("main"), limit=1000))
    return found


async def test_every_write_has_its_messages(store: Store) -> None:
    """Whatever verb stores an event stores the message with it: of events, of those among the changes, of records."""
    client = a_client("c1")
    await store.add_token(a_token(uses=1), an_event("", kind="token.issued"), [Put(an_item("a"))])
    await store.create(
        client, an_event("c1"), Spend(a_token().digest, 0), [Tell(an_event("c1", kind="statement.used"))]
    )
    await store.update(a_client("c1", version=2), [an_event("c1", kind="client.updated")], expected=1)
    await store.change([Tell(an_event("", kind="grant.revoked"))], [an_event("", kind="consent.given")])
    await store.revoke_token("main", a_token().token_id, 5, an_event("", kind="token.revoked"), [Put(an_item("b"))])
    await store.record(an_event("", kind="registration.refused"))
    await store.add_key(a_key(), an_event("", kind="issuer.key_created"), [Put(an_item("c"))])
    await store.rewrap_key(a_key(), an_event("", kind="issuer.key_rewrapped"))
    await store.remove_key("main", a_key().kid, an_event("", kind="issuer.key_removed"), [Drop("main", "code", "c")])

    assert await told(store) == [
        "client.registered",
        "client.updated",
        "consent.given",
        "grant.revoked",
        "issuer.key_created",
        "issuer.key_removed",
        "issuer.key_rewrapped",
        "registration.refused",
        "statement.used",
        "token.issued",
        "token.revoked",
    ]
    assert [one.key for one in await store.items("main", "code")] == ["a", "b"]


async def test_what_is_refused_tells_of_nothing(store: Store) -> None:
    """Neither the event nor the message of a write that was not made is there."""
    await store.create(a_client("c1"), an_event("c1"))
    attempts = [
        store.create(a_client("c1"), an_event("c1", kind="client.read")),
        store.create(a_client("c2"), an_event("c2"), Spend(a_token().digest, 0)),
        store.update(a_client("c1", version=3), [an_event("c1", kind="client.updated")], expected=2),
        store.update(a_client("c9", version=2), [an_event("c9", kind="client.updated")], expected=1),
        store.change([Put(an_item("a"), 7)], [an_event("", kind="consent.given")]),
        store.add_token(a_token(), an_event("", kind="token.issued"), [Put(an_item("a"), 7)]),
        store.revoke_token("main", "none", 5, an_event("", kind="token.revoked"), [Put(an_item("b"))]),
        store.add_key(a_key(), an_event("", kind="issuer.key_created"), [Put(an_item("a"), 7)]),
        store.rewrap_key(a_key(), an_event("", kind="issuer.key_rewrapped"), [Put(an_item("b"))]),
        store.remove_key("main", "none", an_event("", kind="issuer.key_removed"), [Put(an_item("b"))]),
    ]
    for attempt in attempts:
        with pytest.raises((Conflict, NotFound, TokenSpent)):
            await attempt

    assert await told(store) == ["client.registered"]
    assert not await store.items("main", "code")
    assert not await store.tokens("main")
    assert not await store.keys("main")


async def test_the_end_of_a_client_is_told(store: Store) -> None:
    """What tells of it does not go with what belonged to the client."""
    await store.create(a_client("c1"), an_event("c1"), None, [Put(an_item("a", client_id="c1"))])
    await store.update(
        a_client("c1", version=2, state=State.DELETED), [an_event("c1", kind="client.deleted")], expected=1
    )
    await store.change([DropAll("main", client_id="c1")])

    assert await told(store) == ["client.deleted", "client.registered"]
    (deleted,) = [one for one in await waiting(store) if one.type == "client.deleted"]
    assert json.loads(bytes(deleted.payload))["data"]["client"]["state"] == "deleted"


async def test_what_nobody_delivers_goes_in_the_end(store: Store) -> None:
    """Messages of a webhook that is configured no more are taken away with what has expired, and not before."""
    await store.create(a_client("c1"), an_event("c1"))
    await store.purge(outbox.ABANDONED - 1)
    assert len(await waiting(store)) == 1
    await store.purge(outbox.ABANDONED + 1)
    assert not await waiting(store)


async def test_each_is_told_what_it_wants() -> None:
    """By kind and by issuer; one that is disabled is told nothing, and nothing is kept for it."""
    store = with_outbox(
        MemoryStore(),
        webhooks(
            webhook("clients", "client.*"),
            webhook("tokens", "token.issued", issuers=("other",)),
            webhook("off", "*", disabled=True),
        ),
    )
    for issuer in ("main", "other"):
        await store.create(a_client("c1", issuer=issuer), an_event("c1", issuer=issuer))
        await store.record(an_event("", issuer=issuer, kind="token.issued"))

    found = {
        (issuer, name): [one.type for one in await waiting(store, issuer, name)]
        for issuer in ("main", "other")
        for name in ("clients", "tokens", "off")
    }
    assert found == {
        ("main", "clients"): ["client.registered"],
        ("main", "tokens"): [],
        ("main", "off"): [],
        ("other", "clients"): ["client.registered"],
        ("other", "tokens"): ["token.issued"],
        ("other", "off"): [],
    }


def test_without_webhooks_there_is_no_outbox() -> None:
    """The store is then the store itself: nothing stands in the way of a registration."""
    store = MemoryStore()
    assert with_outbox(store, Webhooks()) is store
    assert with_outbox(store, webhooks(webhook("off", "*", disabled=True))) is store


def test_no_verb_goes_past_the_outbox() -> None:
    """Every method of the port that takes an event is one of the outbox's own."""
    with_events = {
        name
        for name, method in inspect.getmembers(Store, inspect.isfunction)
        if not name.startswith("_")
        and {inspect.signature(method, eval_str=True).parameters[one].annotation for one in _parameters(method)}
        & {Event, Sequence[Event]}
    }
    assert with_events == {"create", "update", "change", "add_token", "revoke_token", "record", "add_key"} | {
        "rewrap_key",
        "remove_key",
    }
    assert with_events <= vars(Outbox).keys()


def _parameters(method: object) -> list[str]:
    return list(inspect.signature(method, eval_str=True).parameters)  # type: ignore[arg-type]


def test_store_errors_are_those_of_the_store() -> None:
    """What the outbox does not know of is the store's own."""
    store = with_outbox(MemoryStore(), webhooks(webhook("all", "*")))
    with pytest.raises(AttributeError):
        store.no_such_method  # type: ignore[attr-defined]  # noqa: B018
    assert issubclass(Conflict, StoreError)
