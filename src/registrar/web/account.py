"""/account: which applications have access, who registered them, and taking it away. And signing out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from registrar.authorization import clients, consent, grant
from registrar.authorization.grant import Grant
from registrar.domain.client import State
from registrar.domain.events import Actor
from registrar.domain.terms import term
from registrar.http.wire import Answer
from registrar.service.ports import ClientQuery
from registrar.web import deciding, leaving, signing_in
from registrar.web.portrait import Portrait
from registrar.web.visitor import Visitor, redirect, render


@dataclass(frozen=True, slots=True)
class Application:
    """An application that has access, or that was let in before."""

    client: Portrait
    scopes: Sequence[dict[str, str]]
    since: int
    """Seconds since 1970; 0 where nothing is allowed at the moment."""
    usable: bool


async def show(visitor: Visitor) -> Answer:
    """GET /account."""
    if visitor.visit is None:
        return await signing_in.want(visitor, "account")
    who = visitor.visit.person.subject
    registered = await visitor.registry.store.clients(
        ClientQuery(visitor.issuer.name, State.ACTIVE, terms=(term("owner", who),))
    )
    return render(
        visitor,
        "account.html",
        person=visitor.visit.person,
        applications=await _applications(visitor, who),
        registered=[await deciding.show_client(visitor, client) for client in registered],
        done=visitor.given.get("done") == "1",
        proof=visitor.proof("account"),
    )


async def submit(visitor: Visitor) -> Answer:
    """POST /account: take away what an application has, or sign out."""
    if visitor.visit is None or not visitor.proved("account"):
        return await show(visitor)
    if "sign_out" in visitor.given:
        return await leaving.signed_out(visitor)
    if client_id := visitor.given.get("revoke"):
        who = visitor.visit.person.subject
        actor = Actor("person", "session", person=who, address=visitor.address)
        await grant.revoke_all(
            visitor.registry,
            visitor.issuer,
            actor,
            "withdrawn",
            client_id=client_id,
            subject=who,
            endpoint="/account",
        )
        return redirect(visitor, visitor.path("account", done="1"))
    return await show(visitor)


async def _applications(visitor: Visitor, who: str) -> list[Application]:
    """By client, those with access first; what was only consented to is there too, because it can be taken away."""
    allowed: dict[str, list[Grant]] = {}
    after = ""
    while page := await grant.of_person(visitor.registry, visitor.issuer, who, visitor.now, after=after):
        for one in page:
            allowed.setdefault(one.client_id, []).append(one)
        after = page[-1].grant_id
    agreed = {one.client_id for one in await visitor.registry.store.items(visitor.issuer.name, consent.KIND, owner=who)}
    found = []
    for client_id in [*allowed, *sorted(agreed - set(allowed))]:
        client = await clients.find(visitor.registry, visitor.issuer, client_id)
        if client is None:
            continue
        grants = allowed.get(client_id, [])
        scope = tuple(dict.fromkeys(token for one in grants for token in one.scope))
        found.append(
            Application(
                client=await deciding.show_client(visitor, client),
                scopes=deciding.describe(visitor, scope),
                since=min((one.created_at for one in grants), default=0),
                usable=client.usable,
            )
        )
    return found
