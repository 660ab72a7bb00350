"""The inventory: which clients there are, found by what is known of them, in pages that each cost a bounded amount of work.

What an index knows is found by it: terms, templates, and the time of registration, which stands in the identifier. The rest
is looked at one by one, and a page ends after so many looks, full or not, with the place where the next one begins.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from registrar.domain import terms
from registrar.domain.client import Client, State
from registrar.domain.template import TemplateState
from registrar.domain.terms import term
from registrar.service import caps, last_use, templates
from registrar.service.ports import ClientQuery, Conflict, Drop, Item, NotFound, Put
from registrar.service.registry import Issuer, Registry

LOOKS: Final = 2_000
"""Clients that one page looks at."""
_PAGE: Final = 200
_DAY: Final = 86_400
REINDEXED: Final = "reindexed"
"""The kind and the key of the item that says how far the terms were written anew; it is there while they are."""
SURVEYED: Final = 100_000
"""Clients that are looked at for the statistics."""


class Filters(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """Which clients; what is asked together has to hold together. Times are in seconds since 1970."""

    state: State | None = None
    """Where it is in its life."""
    owner: str = ""
    """The person whose it is."""
    software: str = ""
    """Its `software_id`."""
    host: str = ""
    """A host that one of its redirect URIs leads to."""
    flag: str = ""
    """A rule that found something odd about who it says that it is."""
    client_class: str = msgspec.field(name="class", default="")
    """The class that the facts of the admission gave it."""
    statement: str = ""
    """The configured name of the issuer of its software statement."""
    token: str = ""
    """The initial access token that it was registered with."""
    template: str = ""
    """The template that it is an instance of."""
    policy: str = ""
    """The name of a policy that judges it, by itself or beside others."""
    labels: dict[str, str] = {}
    """What it is labelled with."""
    text: str = ""
    """A part of its name, in any case."""
    created_from: int = 0
    """Registered at this time or later."""
    created_before: int = 0
    """Registered before this time."""
    unused_since: int = 0
    """Last used before this time, or never."""
    never_used: bool = False
    """Nobody has ever used it."""
    expires_before: int = 0
    """It, or its secret, ends before this time."""
    keys_before: int = 0
    """Its current secret is from before this time."""

    def query(self, issuer: str) -> ClientQuery:
        """What an index knows of it."""
        named = {
            "owner": self.owner,
            "software": self.software,
            "host": self.host,
            "flag": self.flag,
            "class": self.client_class,
            "statement": self.statement,
            "token": self.token,
            **{f"label.{name}": value for name, value in self.labels.items()},
        }
        found = [term(name, value) for name, value in named.items() if value]
        if self.state in (State.PENDING, State.SUSPENDED):
            found.append(term("state", self.state.value))
        # Of the states no more is asked than which terms they have: whoever looks for one that is rare would look at all
        # clients at once.
        return ClientQuery(
            issuer,
            self.state if found and self.state is State.DELETED else None,
            template=self.template or None,
            terms=tuple(found),
            created_from=self.created_from * 1000,
            created_before=self.created_before * 1000,
        )

    def holds(self, client: Client) -> bool:
        """What has to be looked at."""
        secret = client.credentials.secrets[0] if client.credentials.secrets else None
        ends = [one for one in (client.expires_at, secret.expires_at if secret else 0) if one]
        return (
            (self.state is None or client.state is self.state)
            and (not self.policy or self.policy in client.policy.split())
            and (not self.text or self.text.casefold() in str(client.metadata.get("client_name", "")).casefold())
            and (not self.expires_before or any(one < self.expires_before for one in ends))
            and (not self.keys_before or (secret is not None and secret.issued_at < self.keys_before))
            and self.labels.items() <= client.labels.items()
        )

    @property
    def looks(self) -> bool:
        """Whether clients have to be looked at, beyond what an index knows."""
        rare = (self.policy, self.text, self.expires_before, self.keys_before, self.asks_for_use)
        return any(rare) or self.state in (State.ACTIVE, State.DELETED)

    @property
    def asks_for_use(self) -> bool:
        """Whether the last use has to be looked up."""
        return self.never_used or bool(self.unused_since)

    def holds_of_use(self, used_at: int) -> bool:
        """Whether a last use, 0 where there was none, is such a one."""
        if self.never_used and used_at:
            return False
        return not self.unused_since or used_at < self.unused_since


class Page(NamedTuple):
    """Some clients, and the identifier after which the next page begins; empty where there is none."""

    clients: list[Client]
    after: str


async def page(
    registry: Registry, issuer: Issuer, filters: Filters, *, after: str = "", limit: int = 100, newest: bool = False
) -> Page:
    """A page of clients, in the order in which they were registered, or the newest first.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    query, found, looked = await _query(registry, issuer, filters), list[Client](), 0
    query = msgspec.structs.replace(query, newest=newest)
    # Where everything that an index gives is meant, no more is read than is shown.
    size = max(limit, _PAGE) if filters.looks else limit
    while looked < LOOKS:
        wanted = min(size, LOOKS - looked)
        few = await registry.store.clients(query, after=(issuer.name, after), limit=wanted)
        for one in await _held(registry, issuer, filters, few):
            found.append(one)
            if len(found) == limit:
                return Page(found, one.client_id)
        if len(few) < wanted:
            return Page(found, "")
        looked, after = looked + len(few), few[-1].client_id
    return Page(found, after)


async def _query(registry: Registry, issuer: Issuer, filters: Filters) -> ClientQuery:
    """What an index knows of what is asked: of the deleted their term too, unless a template was deleted.

    Its instances are deleted with it, and nothing is written of each.
    """
    query = filters.query(issuer.name)
    if filters.state is not State.DELETED or query.terms or query.template:
        return query
    async for one in templates.every(registry, issuer):
        if one.state is TemplateState.DELETED:
            return query
    return msgspec.structs.replace(query, state=State.DELETED, terms=(term("state", State.DELETED.value),))


async def _held(registry: Registry, issuer: Issuer, filters: Filters, few: Sequence[Client]) -> list[Client]:
    """Those of some clients that are meant."""
    found = [one for one in few if filters.holds(one)]
    if not filters.asks_for_use:
        return found
    used = await _used_at(registry, issuer, found)
    return [one for one, at in zip(found, used, strict=True) if filters.holds_of_use(at)]


async def _used_at(registry: Registry, issuer: Issuer, clients: Sequence[Client]) -> Sequence[int]:
    """When each was last used; 0 where it never was."""
    return await asyncio.gather(*(last_use.at(registry.store, issuer.name, one.client_id) for one in clients))


async def every(registry: Registry, issuer: Issuer, filters: Filters) -> AsyncIterator[Client]:
    """All of them, page by page.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    after = ""
    while True:
        found = await page(registry, issuer, filters, after=after, limit=_PAGE)
        for one in found.clients:
            yield one
        if not found.after:
            return
        after = found.after


class Counted(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How many clients have each value of what is known of them; of 50 values at the most, the most frequent first."""

    state: dict[str, int] = {}
    """Where they are in their life."""
    policy: dict[str, int] = {}
    """The policies that judge them."""
    assurance: dict[str, int] = {}
    """What was verified when they were admitted."""
    client_class: dict[str, int] = msgspec.field(name="class", default_factory=dict)
    """Their class."""
    method: dict[str, int] = {}
    """How they authenticate at the token endpoint."""
    template: dict[str, int] = {}
    """The template that they are instances of."""
    age: dict[str, int] = {}
    """How long ago they were registered, roughly: `under a day`, …"""
    last_use: dict[str, int] = {}
    """How long ago they were last used, in the same words; `never` of those that never were."""


class Statistics(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How many clients there are."""

    clients: int
    """So many were asked for and counted."""
    more: bool = False
    """Whether there are more, that were not looked at."""
    by: Counted
    """How many of them there are by what is known of them."""


async def statistics(registry: Registry, issuer: Issuer, filters: Filters | None = None) -> Statistics:
    """How many clients there are, by what is known of them: of the first `SURVEYED` that an index gives.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    filters, now = filters or Filters(), registry.clock() // 1000
    query, counts = await _query(registry, issuer, filters), dict[str, Counter[str]]()
    total = looked = 0
    after, few = "", list[Client]()
    while looked < SURVEYED:
        few = list(await registry.store.clients(query, after=(issuer.name, after), limit=_PAGE))
        held = await _held(registry, issuer, filters, few)
        for one, used_at in zip(held, await _used_at(registry, issuer, held), strict=True):
            total += 1
            for name, value in _facts(one, used_at, now).items():
                counts.setdefault(name, Counter())[value] += 1
        looked += len(few)
        if len(few) < _PAGE:
            break
        after = few[-1].client_id
        await asyncio.sleep(0)  # others have their turn between two pages
    by = Counted(**{name: dict(counter.most_common(50)) for name, counter in counts.items()})
    return Statistics(clients=total, more=looked >= SURVEYED and len(few) == _PAGE, by=by)


def _facts(client: Client, used_at: int, now: int) -> Mapping[str, str]:
    used = _since(used_at, now) if used_at else "never"
    facts = {
        "state": client.state.value,
        "policy": client.policy,
        "assurance": client.admission.shown.value,
        "client_class": client.admission.client_class,
        "method": str(client.metadata.get("token_endpoint_auth_method", "")),
        "template": client.template,
        "age": _since(client.created_at, now),
        # Nothing is known any more of the use of what is deleted.
        "last_use": used if client.state is not State.DELETED else "",
    }
    return {name: value for name, value in facts.items() if value}


def _since(at: int, now: int) -> str:
    days = (now - at) // _DAY
    spans = ((1, "a day"), (7, "a week"), (30, "30 days"), (365, "a year"))
    return next((f"under {name}" for most, name in spans if days < most), "older")


async def reindex(registry: Registry, issuer: Issuer, told: Callable[[int], None] = lambda _: None) -> int:
    """Write the terms of clients from before there were any; how many clients have some.

    A client that changes meanwhile gets its terms with that change. How far it came is kept, so that the next call goes on
    where this one was broken off.

    Raises:
        StoreUnavailable: the store does not answer; the same call goes on from there.
    """
    begun = await registry.store.item(issuer.name, REINDEXED, REINDEXED)
    count, after = 0, begun.body.decode() if begun else ""
    while found := await registry.store.clients(ClientQuery(issuer.name), after=(issuer.name, after), limit=_PAGE):
        for one in found:
            if not terms.terms(one):
                continue
            again = msgspec.structs.replace(one, version=one.version + 1)
            try:
                await registry.store.update(again, [], expected=one.version)
            except (Conflict, NotFound):
                continue
            count += 1
        after = found[-1].client_id
        await registry.store.change([Put(Item(issuer.name, REINDEXED, REINDEXED, after.encode()))])
        told(len(found))
    await registry.store.change([Drop(issuer.name, REINDEXED, REINDEXED)])
    await caps.forget(registry, issuer)  # clients that were deleted before there were terms had been counted
    return count
