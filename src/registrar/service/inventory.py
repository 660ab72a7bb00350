"""The inventory: which clients there are, found by what is known of them, in pages that each cost a bounded amount of work.

What an index knows is found by it: terms, templates, and the time of registration, which stands in the identifier. The rest
is looked at one by one, and a page ends after so many looks, full or not, with the place where the next one begins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from registrar.domain import terms
from registrar.domain.client import Client, State
from registrar.domain.terms import term
from registrar.service import last_use
from registrar.service.ports import ClientQuery, Conflict, NotFound
from registrar.service.registry import Issuer, Registry

LOOKS: Final = 2_000
"""Clients that one page looks at."""
_PAGE: Final = 500
_DAY: Final = 86_400
SURVEYED: Final = 100_000
"""Clients that are looked at for the statistics."""


class Filters(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """Which clients; what is asked together has to hold together. Times are in seconds since 1970."""

    state: State | None = None
    owner: str = ""
    software: str = ""
    host: str = ""
    """A host that one of its redirect URIs leads to."""
    flag: str = ""
    """A rule that found something odd about who it says that it is."""
    client_class: str = msgspec.field(name="class", default="")
    statement: str = ""
    """The configured name of the issuer of its software statement."""
    token: str = ""
    """The initial access token that it was registered with."""
    template: str = ""
    policy: str = ""
    labels: dict[str, str] = {}
    text: str = ""
    """A part of its name, in any case."""
    created_from: int = 0
    created_before: int = 0
    unused_since: int = 0
    """Last used before this time, or never."""
    never_used: bool = False
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
        return ClientQuery(
            issuer,
            self.state,
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
            (not self.policy or self.policy in client.policy.split())
            and (not self.text or self.text.casefold() in str(client.metadata.get("client_name", "")).casefold())
            and (not self.expires_before or any(one < self.expires_before for one in ends))
            and (not self.keys_before or (secret is not None and secret.issued_at < self.keys_before))
            and self.labels.items() <= client.labels.items()
        )

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
    looked: int
    """Clients that were looked at for it."""


async def page(registry: Registry, issuer: Issuer, filters: Filters, *, after: str = "", limit: int = 100) -> Page:
    """A page of clients, in the order in which they were registered.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    query, found, looked = filters.query(issuer.name), list[Client](), 0
    while looked < LOOKS:
        few = await registry.store.clients(
            query, after=(issuer.name, after), limit=min(_PAGE, LOOKS - looked, limit * 4)
        )
        for one in few:
            looked, after = looked + 1, one.client_id
            if filters.holds(one) and await _use_holds(registry, issuer, filters, one):
                found.append(one)
                if len(found) == limit:
                    return Page(found, after, looked)
        if len(few) < min(_PAGE, limit * 4) and looked < LOOKS:
            return Page(found, "", looked)
    return Page(found, after, looked)


async def _use_holds(registry: Registry, issuer: Issuer, filters: Filters, client: Client) -> bool:
    if not filters.asks_for_use:
        return True
    return filters.holds_of_use(await last_use.at(registry.store, issuer.name, client.client_id))


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


async def statistics(registry: Registry, issuer: Issuer, filters: Filters | None = None) -> dict[str, Any]:
    """How many clients there are, by what is known of them: of the first `SURVEYED` that an index finds, where there are more.

    What no index knows is looked at one by one, so that it is looks that are bounded and not what they find: else a
    filter that holds for nobody would read every client there is.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    filters, now = filters or Filters(), registry.clock() // 1000
    counts: dict[str, Counter[str]] = {}
    total = looked = 0
    after = ""
    while looked < SURVEYED:
        found = await page(registry, issuer, filters, after=after, limit=min(_PAGE, SURVEYED - looked))
        total, looked, after = total + len(found.clients), looked + found.looked, found.after
        for one in found.clients:
            for name, value in _facts(one, now).items():
                counts.setdefault(name, Counter())[value] += 1
        if not after:
            break
    rest = await page(registry, issuer, filters, after=after, limit=1) if after else None
    more = rest is not None and bool(rest.clients or rest.after)
    by = {name: dict(counter.most_common(50)) for name, counter in counts.items()}
    return {"clients": total, **({"more": True} if more else {}), "by": by}


def _facts(client: Client, now: int) -> Mapping[str, str]:
    age = (now - client.created_at) // _DAY
    ages = ((1, "a day"), (7, "a week"), (30, "30 days"), (365, "a year"))
    facts = {
        "state": client.state.value,
        "policy": client.policy,
        "assurance": client.admission.shown.value,
        "class": client.admission.client_class,
        "method": str(client.metadata.get("token_endpoint_auth_method", "")),
        "template": client.template,
        "age": next((f"under {name}" for days, name in ages if age < days), "older"),
    }
    return {name: value for name, value in facts.items() if value}


async def reindex(registry: Registry, issuer: Issuer, told: Callable[[int], None] = lambda _: None) -> int:
    """Write the terms of clients from before there were any; how many clients have some.

    A client that changes meanwhile gets its terms with that change.

    Raises:
        StoreUnavailable: the store does not answer; the same call goes on from the beginning, which does no harm.
    """
    count, after = 0, ("", "")
    while found := await registry.store.clients(ClientQuery(issuer.name), after=after, limit=_PAGE):
        for one in found:
            if not terms.terms(one):
                continue
            again = msgspec.structs.replace(one, version=one.version + 1)
            try:
                await registry.store.update(again, [], expected=one.version)
            except (Conflict, NotFound):
                continue
            count += 1
        after = (found[-1].issuer, found[-1].client_id)
        told(len(found))
    return count
