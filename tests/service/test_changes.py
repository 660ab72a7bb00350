"""Review: every road to a changed registration is held to the same, on every store, and what is decided is what was seen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from registrar.domain.client import State
from registrar.domain.events import Event
from registrar.service import (
    administration,
    client_administration,
    holding,
    initial_access,
    inventory,
    labels,
    lifecycle,
    review,
    statements,
    templates,
)
from registrar.service.operators import Operator, Refused, Unknown
from registrar.service.ports import ClientQuery, EventQuery
from registrar.storage import open_store
from registrar.testing import FrozenClock, Served, served
from registrar.testing.directory import Directory, Software

pytestmark = pytest.mark.anyio

APP: dict[str, Any] = {
    "client_name": "Reader",
    "redirect_uris": ["https://app.example/callback"],
    "token_endpoint_auth_method": "none",
    "scope": "openid",
}
OTHER = ["https://other.example/cb"]
ISSUED = ("registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at")
CHANGES = """
[policy.careful.changes]
redirect_host = "review"
software = "review"
authentication = "refuse"
"""


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind."""
    here = {"memory": "memory:", "sqlite": f"sqlite:///{tmp_path}/registrar.db"}
    found: str = here.get(request.param) or request.getfixturevalue("database")
    return found


def configured(policy: str = CHANGES, *, own: str = "", issuer: str = "") -> str:
    """An issuer under the policy `careful`: `own` is what the policy says for itself, and `policy` its tables."""
    return f"""
[server]
database = "memory:"
[policy.careful]
extends = ["default"]
{own}
{policy}
[issuer.main]
url = "https://as.example"
{issuer}
[issuer.main.registration]
mode = "open"
policy = "careful"
"""


async def register(server: Served, members: Mapping[str, Any] = APP, status: int = 201) -> dict[str, Any]:
    """Register."""
    answer = await server.client.post("/register", json=dict(members))
    assert answer.status_code == status, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def put(server: Served, client: Mapping[str, Any], status: int = 200, **changes: Any) -> dict[str, Any]:
    """Update, with what the client had but for the changes."""
    members = {name: value for name, value in client.items() if name not in ISSUED} | changes
    own = {"authorization": f"Bearer {client['registration_access_token']}"}
    answer = await server.client.put(client["registration_client_uri"], json=members, headers=own)
    assert answer.status_code == status, answer.text
    answered: dict[str, Any] = answer.json()
    return answered


async def stored(server: Served, client: Mapping[str, Any]) -> Any:
    """A client as it is stored."""
    return await server.registry.store.find("main", client["client_id"])


async def told(server: Served, kind: str) -> list[dict[str, Any]]:
    """The events of a kind."""
    found = await server.registry.store.events(EventQuery("main", kind=kind), limit=1000)
    return [json.loads(one.event.body) for one in found]


async def kinds(server: Served) -> list[str]:
    """The kinds of all events, in their order."""
    found = await server.registry.store.events(EventQuery("main"), limit=1000)
    events: list[Event] = [one.event for one in found]
    return [one.kind for one in events]


def acts(server: Served, operator: Operator | None = None) -> tuple[Any, ...]:
    """The first arguments of what an operator does."""
    return server.registry, server.issuer, operator or server.operator


async def held(server: Served, **changes: Any) -> dict[str, Any]:
    """A client of which an update is held."""
    made = await register(server)
    assert (await put(server, made, **(changes or {"redirect_uris": OTHER})))["pending_update"]
    return made


# --- one version, one client ----------------------------------------------------------------------------------------------

SINGLE = 'rules = [{ rule = "single_instance" }]'


async def test_an_approved_change_moves_the_version(url: str) -> None:
    """The software that it is by then is its own, and what it was is free: as after an update that nobody held."""
    async with served(configured(own=SINGLE), store=open_store(url)) as server:
        made = await register(server, {**APP, "software_id": "a"})
        assert (await put(server, made, software_id="b"))["pending_update"]["reason"] == "software"
        await register(server, {**APP, "software_id": "a"}, 400)
        await review.approve(*acts(server), made["client_id"])

        assert (await stored(server, made)).metadata["software_id"] == "b"
        await register(server, {**APP, "software_id": "b"}, 400)
        await register(server, {**APP, "software_id": "a"})


async def test_a_version_that_was_taken_meanwhile_is_not_taken_twice(url: str) -> None:
    """Nothing is reserved by what is held: who decides is told, and can reject it."""
    async with served(configured(own=SINGLE), store=open_store(url)) as server:
        made = await register(server, {**APP, "software_id": "a"})
        await put(server, made, software_id="b")
        other = await register(server, {**APP, "software_id": "b"})
        with pytest.raises(Refused, match="another client has come to have the software"):
            await review.approve(*acts(server), made["client_id"])
        assert (await stored(server, made)).metadata["software_id"] == "a"
        await review.reject(*acts(server), made["client_id"])

        await register(server, {**APP, "software_id": "a"}, 400)
        await administration.delete(*acts(server), other["client_id"])
        await put(server, made, software_id="b")
        await review.approve(*acts(server), made["client_id"])
        await register(server, {**APP, "software_id": "b"}, 400)


async def test_of_a_registration_and_an_approval_at_once_one_has_the_version(url: str) -> None:
    """Whoever is first; there are never two clients of one version."""
    async with served(configured(own=SINGLE), store=open_store(url)) as server:
        made = await register(server, {**APP, "software_id": "a"})
        await put(server, made, software_id="b")
        outcomes = await asyncio.gather(
            review.approve(*acts(server), made["client_id"]),
            *(server.client.post("/register", json={**APP, "software_id": "b"}) for _ in range(3)),
            return_exceptions=True,
        )
        approved, registered = outcomes[0], [one for one in outcomes[1:] if getattr(one, "status_code", 0) == 201]
        assert isinstance(approved, Refused) == bool(registered)
        found = await server.registry.store.clients(ClientQuery("main", terms=("software=b",)))
        assert len(found) == 1


# --- the same again -------------------------------------------------------------------------------------------------------

EVERY = "[policy.careful.review]\nall = true"


async def test_the_same_again_is_the_same_that_waits(url: str) -> None:
    """Agents that register at every connect leave one thing to look at, told to each of them as it is."""
    async with served(configured(EVERY, own='repeat = "same"'), store=open_store(url)) as server:
        first = await register(server)
        at_once = await asyncio.gather(*(register(server) for _ in range(5)))
        assert {one["client_id"] for one in (first, *at_once)} == {first["client_id"]}
        assert {one["registration_state"] for one in at_once} == {"pending"}
        assert [one.client_id async for one in holding.every(server.registry, server.issuer)] == [first["client_id"]]
        assert len(await told(server, "registration.held")) == 1

        await review.approve(*acts(server), first["client_id"])
        again = await register(server)
        assert again["client_id"] == first["client_id"]
        assert "registration_state" not in again


async def test_a_configuration_that_changed_elsewhere_makes_nobody_another(tmp_path: Path) -> None:
    """Agents are known by what the policy says, and not by the file that it is in."""
    database = f"sqlite:///{tmp_path}/registrar.db"
    text = configured(EVERY, own='repeat = "same"')
    async with served(text, store=open_store(database)) as server:
        first = await register(server)
    async with served(f"# Another line.\n{text}", store=open_store(database)) as server:
        assert (await register(server))["client_id"] == first["client_id"]
    later = FrozenClock(1_790_000_001_000)
    async with served(text.replace("all = true", "flagged = true"), store=open_store(database), clock=later) as server:
        assert (await register(server))["client_id"] != first["client_id"]


async def test_many_first_ones_at_once_wait_as_one(url: str) -> None:
    """Of those that come before any is stored, too."""
    async with served(configured(EVERY, own='repeat = "same"'), store=open_store(url)) as server:
        made = await asyncio.gather(*(register(server) for _ in range(6)))
        assert len({one["client_id"] for one in made}) == 1
        assert await server.registry.store.count(ClientQuery("main")) == 1


async def test_what_was_rejected_is_asked_anew(url: str) -> None:
    """A rejection ends that registration, and forbids nobody to send another."""
    async with served(configured(EVERY, own='repeat = "same"'), store=open_store(url)) as server:
        first = await register(server)
        await review.reject(*acts(server), first["client_id"])
        second = await register(server)
        assert second["client_id"] != first["client_id"]
        assert second["registration_state"] == "pending"


# --- templates ------------------------------------------------------------------------------------------------------------


def wanted(*allowed: str, **changes: Any) -> templates.Wanted:
    """A template."""
    return templates.Wanted({**APP, **changes}, allowed)


async def test_a_template_that_expands_tells_so_once(url: str) -> None:
    """One event for all instances, with its kinds, beside that of the change; none where nothing is more."""
    async with served(configured(), store=open_store(url)) as server:
        await templates.create(*acts(server), "fleet", wanted())
        made = [await register(server, {"template_id": "fleet"}) for _ in range(3)]
        await templates.change(*acts(server), "fleet", wanted(redirect_uris=OTHER, client_name="Other"))
        (event,) = await told(server, "template.expanded")
        assert (event["template"], event["version"], event["reason"]) == ("fleet", 2, "redirect_host, name")
        assert event["actor"] == (await told(server, "template.changed"))[0]["actor"]
        assert await told(server, "client.expanded") == []
        assert {(await stored(server, one)).expanded_at for one in made} == {server.clock.now}

        await templates.change(*acts(server), "fleet", wanted(redirect_uris=OTHER, client_name="Other", contacts=[]))
        assert len(await told(server, "template.expanded")) == 1
        assert len(await told(server, "template.changed")) == 2


async def test_each_expansion_of_a_template_is_another(url: str) -> None:
    """Two in one second are two: a consent that knows of the first does not cover the second."""
    async with served(configured(), store=open_store(url)) as server:
        await templates.create(*acts(server), "fleet", wanted())
        made = await register(server, {"template_id": "fleet"})
        await templates.change(*acts(server), "fleet", wanted(client_name="One"))
        first = (await stored(server, made)).expanded_at
        await templates.change(*acts(server), "fleet", wanted(client_name="Two"))
        assert (await stored(server, made)).expanded_at > first


async def test_what_an_instance_may_say_again_counts_again(url: str) -> None:
    """An address of its own lies in its record while the template allows none; allowing it again is an expansion."""
    async with served(configured(""), store=open_store(url)) as server:
        await templates.create(*acts(server), "fleet", wanted("redirect_uris"))
        made = await register(server, {"template_id": "fleet", "redirect_uris": OTHER})
        await templates.change(*acts(server), "fleet", wanted())
        assert (await stored(server, made)).metadata["redirect_uris"] == APP["redirect_uris"]
        assert (await stored(server, made)).expanded_at == 0
        await templates.change(*acts(server), "fleet", wanted("redirect_uris", "contacts"))
        assert (await stored(server, made)).metadata["redirect_uris"] == OTHER
        assert (await stored(server, made)).expanded_at == server.clock.now
        (event,) = await told(server, "template.expanded")
        assert event["reason"] == "allowed: contacts, allowed: redirect_uris"


async def test_a_template_of_the_configuration_that_expands_tells_so(tmp_path: Path) -> None:
    """Whoever changes it there has nobody else to be asked; it is told at the start."""
    database = f"sqlite:///{tmp_path}/registrar.db"
    table = """
[issuer.main.template.fleet.metadata]
client_name = "Reader"
redirect_uris = ["https://app.example/callback"]
token_endpoint_auth_method = "none"
"""
    async with served(configured() + table, store=open_store(database)):
        pass
    other = table.replace("https://app.example", "https://other.example")
    async with served(configured() + other, store=open_store(database)) as server:
        (event,) = await told(server, "template.expanded")
        assert event["reason"] == "redirect_host"


async def test_a_held_update_of_an_instance_is_undecidable_after_its_template_changed(url: str) -> None:
    """What was looked at was put together with a template that is another now."""
    async with served(configured(), store=open_store(url)) as server:
        await templates.create(*acts(server), "fleet", wanted("redirect_uris"))
        made = await register(server, {"template_id": "fleet"})
        assert (await put(server, made, redirect_uris=OTHER))["pending_update"]
        await templates.change(*acts(server), "fleet", wanted("redirect_uris", client_name="Other"))
        with pytest.raises(Refused, match="has changed since"):
            await review.approve(*acts(server), made["client_id"])
        await review.reject(*acts(server), made["client_id"])
        assert (await put(server, {**made, "client_name": "Other"}, redirect_uris=OTHER))["pending_update"]
        await review.approve(*acts(server), made["client_id"])
        assert (await stored(server, made)).metadata["redirect_uris"] == OTHER
        assert (await stored(server, made)).own == ("redirect_uris",)
        await templates.change(*acts(server), "fleet", wanted("redirect_uris", client_name="Third"))
        assert (await stored(server, made)).metadata["client_name"] == "Third"


# --- a registration in the place of another ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def software() -> Software:
    """Software that a directory knows."""
    return Directory().software("app-1", {"client_name": "App"})


def replacing(software: Software, policy: str = CHANGES, own: str = "") -> str:
    """An issuer at which a newer statement takes the place of an older one."""
    text = configured(
        f'[policy.careful.registration]\nauthentication = ["statement"]\n{policy}', own=f'repeat = "replace"\n{own}'
    )
    directory = software.directory
    return f"""{text}
statement_issuers = ["directory"]
[statement_issuer.directory]
issuer = "{directory.url}"
jwks_uri = "{directory.jwks_uri}"
"""


def serve(software: Software, text: str, url: str) -> Any:
    """Serve it at the directory's time, fetching what the directory publishes."""
    clock = software.directory.clock
    assert isinstance(clock, FrozenClock)
    return served(text, clock=clock, fetch=software.directory.documents, store=open_store(url))


def said(software: Software, **members: Any) -> dict[str, Any]:
    """A registration of the software."""
    return {**APP, **members, "software_statement": software.statement()}


async def test_a_replacement_that_expands_is_held(software: Software, url: str) -> None:
    """As an update is: it answers with what is in force, gives no credentials, and is in force when it is approved."""
    async with serve(software, replacing(software), url) as server:
        first = await register(server, said(software))
        answer = await register(server, said(software, redirect_uris=OTHER), 200)
        assert answer["client_id"] == first["client_id"]
        assert answer["redirect_uris"] == APP["redirect_uris"]
        assert answer["pending_update"] == {"since": server.clock.now, "reason": "redirect_host"}
        assert "registration_access_token" not in answer
        own = {"authorization": f"Bearer {first['registration_access_token']}"}
        read = await server.client.get(first["registration_client_uri"], headers=own)
        assert read.json()["pending_update"] == answer["pending_update"]
        assert await told(server, "client.updated") == []
        (event,) = await told(server, "update.held")
        assert event["difference"]["redirect_uris"] == [APP["redirect_uris"], OTHER]

        shown = await review.show(server.registry, server.issuer, first["client_id"])
        assert (shown.what, shown.policy) == ("replacement", "careful")
        await review.approve(*acts(server), first["client_id"], digest=shown.digest)
        after = await stored(server, first)
        assert after.metadata["redirect_uris"] == OTHER
        assert after.metadata["software_statement"] == shown.metadata["software_statement"]
        assert (await server.client.get(first["registration_client_uri"], headers=own)).status_code == 200
        assert len(await told(server, "client.expanded")) == 1
        again = await register(server, said(software, redirect_uris=OTHER), 200)
        assert "pending_update" not in again
        assert again["registration_access_token"] != first["registration_access_token"]


async def test_a_replacement_that_expands_may_be_refused(software: Software, url: str) -> None:
    """With the member and the rule; what was registered stays, and so do its credentials."""
    secret = {"token_endpoint_auth_method": "client_secret_basic"}
    async with serve(software, replacing(software), url) as server:
        first = await register(server, said(software, **secret))
        before = await stored(server, first)
        answer = await register(server, said(software), 400)
        assert [(one["member"], one["rule"]) for one in answer["faults"]] == [
            ("token_endpoint_auth_method", "update.expands")
        ]
        assert await stored(server, first) == before


async def test_a_replacement_that_narrows_takes_back_what_is_held(software: Software, url: str) -> None:
    """It is in force at once, and what was looked at until then is gone."""
    async with serve(software, replacing(software), url) as server:
        first = await register(server, said(software))
        await register(server, said(software, redirect_uris=OTHER), 200)
        assert "pending_update" not in await register(server, said(software, contacts=["a@b.example"]), 200)
        with pytest.raises(Unknown):
            await review.approve(*acts(server), first["client_id"])
        assert len(await told(server, "review.superseded")) == 1


@pytest.mark.requirement("SEED-59")
@pytest.mark.parametrize("grants", [["authorization_code"], []])
async def test_what_another_tenant_has_is_not_replaced(software: Software, url: str, grants: list[str]) -> None:
    """Nor ended, by whoever shows a statement of the same software and a token of theirs; its own tenant's token may."""
    async with serve(software, replacing(software), url) as server:
        mine, theirs = [
            (await initial_access.issue_token(*acts(server), labels={"tenant": name}, max_uses=0))[0]
            for name in ("acme", "other")
        ]

        async def sent(token: str, **members: Any) -> Any:
            body = {**APP, "software_statement": software.statement(**members)}
            return await server.client.post("/register", json=body, headers={"authorization": f"Bearer {token}"})

        first = (await sent(mine)).json()
        before = await stored(server, first)
        refusal = await sent(theirs, grant_types=grants)
        assert (refusal.status_code, refusal.json()["error"]) == (403, "access_denied")
        assert first["client_id"] not in refusal.text
        assert await stored(server, first) == before
        answer = await sent(mine, grant_types=grants)
        assert answer.status_code == 200, answer.text
        assert answer.json()["client_id"] == first["client_id"]


async def test_a_replacement_of_what_waits_is_what_is_looked_at(software: Software, url: str) -> None:
    """A registration that is held may be sent anew; it still waits, and not as another client."""
    async with serve(software, replacing(software, EVERY), url) as server:
        first = await register(server, said(software))
        digest = (await review.show(server.registry, server.issuer, first["client_id"])).digest
        second = await register(server, said(software, redirect_uris=OTHER), 200)
        assert (second["client_id"], second["registration_state"]) == (first["client_id"], "pending")
        with pytest.raises(Refused, match="not what was looked at"):
            await review.approve(*acts(server), first["client_id"], digest=digest)
        await review.approve(*acts(server), first["client_id"])
        assert (await stored(server, first)).state is State.ACTIVE
        assert (await stored(server, first)).metadata["redirect_uris"] == OTHER


async def test_what_would_be_held_as_a_registration_is_held_as_a_replacement(software: Software, url: str) -> None:
    """Where the policy names no expansion, but what it looks at when it is registered."""
    policy = '[policy.careful.review]\ngrants = ["refresh_token"]'
    async with serve(software, replacing(software, policy), url) as server:
        await register(server, said(software))
        more = {"grant_types": ["authorization_code", "refresh_token"]}
        assert (await register(server, said(software, **more), 200))["pending_update"]["reason"] == "grant"


async def test_an_approved_replacement_lives_as_long_again(software: Software, url: str) -> None:
    """Its life begins when it is approved, and the software's place and version are its own for as long."""
    life = "[policy.careful.lifetime]\nclient = 1000"
    async with serve(software, replacing(software, CHANGES + life, SINGLE), url) as server:
        first = await register(server, said(software))
        server.clock.advance(900)
        await register(server, said(software, redirect_uris=OTHER), 200)
        await review.approve(*acts(server), first["client_id"])
        assert (await stored(server, first)).expires_at == server.clock.now + 1000
        server.clock.advance(900)
        await lifecycle.clean(server.registry)
        again = await register(server, said(software, redirect_uris=OTHER), 200)
        assert again["client_id"] == first["client_id"]


async def test_who_was_suspended_for_not_being_used_comes_back_by_a_newer_statement(
    software: Software, url: str
) -> None:
    """It is used, as by an update; whom the operator suspended stays so."""
    life = "[policy.careful.lifetime]\nunused = 86400\nsuspended = 864000"
    async with serve(software, replacing(software, CHANGES + life), url) as server:
        first = await register(server, said(software))
        before = await stored(server, first)
        idle = msgspec.structs.replace(before, version=2, state=State.SUSPENDED, suspended_by="idle")
        await server.registry.store.update(idle, [], expected=1)
        assert (await register(server, said(software), 200))["client_id"] == first["client_id"]
        assert (await stored(server, first)).state is State.ACTIVE
        assert len(await told(server, "client.resumed")) == 1
        await administration.suspend(*acts(server), first["client_id"])
        await register(server, said(software), 403)


async def test_an_operators_replacement_is_not_held(software: Software, url: str) -> None:
    """By their own word, as what they register and change."""
    async with serve(software, replacing(software), url) as server:
        first = await register(server, said(software))
        made = await client_administration.create(*acts(server), said(software, redirect_uris=OTHER))  # type: ignore[arg-type]
        assert (made["client_id"], made["redirect_uris"]) == (first["client_id"], OTHER)
        assert len(await told(server, "client.expanded")) == 1


async def test_what_an_update_may_not_be_a_replacement_may_not_be(software: Software, url: str) -> None:
    """A rule about updates is asked about what takes the place of another too: here, that a client keeps its type."""
    rule = 'rules = [{ rule = "same_client_type" }]'
    async with serve(software, replacing(software, "", rule), url) as server:
        first = await register(server, said(software))
        answer = await register(server, said(software, token_endpoint_auth_method="client_secret_basic"), 400)
        assert answer["faults"][0]["rule"] == "rule.same_client_type"
        assert (await register(server, said(software), 200))["client_id"] == first["client_id"]


async def test_another_way_in_is_no_way_round_the_policy_that_let_it_in(software: Software, url: str) -> None:
    """Software that came with a token, under a policy that refuses, is held to that one without the token too."""
    lax = """
[policy.strict]
extends = ["careful"]
[policy.strict.changes]
redirect_host = "refuse"
"""
    async with serve(software, replacing(software, "") + lax, url) as server:
        value, _ = await initial_access.issue_token(*acts(server), policy="strict")
        own = {"authorization": f"Bearer {value}"}
        answer = await server.client.post("/register", json=said(software), headers=own)
        assert answer.status_code == 201, answer.text
        refused = await register(server, said(software, redirect_uris=OTHER), 400)
        assert refused["faults"][0]["rule"] == "update.expands"


# --- deciding, when everything else moves ------------------------------------------------------------------------------------


async def test_of_many_reviewers_at_once_one_decides(url: str) -> None:
    """Whatever they decide: there is one decision, in the record and in the audit, and the others are told."""
    async with served(configured(), store=open_store(url)) as server:
        made = await held(server)
        outcomes = await asyncio.gather(
            *(review.approve(*acts(server), made["client_id"]) for _ in range(3)),
            *(review.reject(*acts(server), made["client_id"]) for _ in range(3)),
            return_exceptions=True,
        )
        refused = [one for one in outcomes if isinstance(one, (Refused, Unknown))]
        assert len(refused) == len(outcomes) - 1
        decided = [one for one in await kinds(server) if one in ("review.approved", "review.rejected")]
        assert len(decided) == 1
        in_force = (await stored(server, made)).metadata["redirect_uris"]
        assert in_force == (OTHER if decided == ["review.approved"] else APP["redirect_uris"])
        assert await holding.of_client(server.registry, server.issuer, made["client_id"]) is None


async def test_who_sends_the_same_again_and_again_does_not_keep_it_from_being_decided(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digest stands for what is asked for, not for when; and it waits since the first time."""
    found, times = review._found, 3

    async def overtaken(*arguments: Any) -> Any:
        nonlocal times
        seen = await found(*arguments)
        if times:
            times -= 1
            await put(server, made, redirect_uris=OTHER)
        return seen

    async with served(configured(), store=open_store(url)) as server:
        made = await held(server)
        first = await review.show(server.registry, server.issuer, made["client_id"])
        server.clock.advance(60)
        assert (await put(server, made, redirect_uris=OTHER))["pending_update"]["since"] == first.since
        monkeypatch.setattr(review, "_found", overtaken)
        await review.approve(*acts(server), made["client_id"], digest=first.digest)
        assert times == 0
        assert (await stored(server, made)).metadata["redirect_uris"] == OTHER
        assert len(await told(server, "review.approved")) == 1


async def test_nothing_is_decided_of_a_client_that_ended(url: str) -> None:
    """Deleted or over: the answer is that nothing is held, and it does not come back."""
    life = "[policy.careful.lifetime]\nclient = 1000"
    async with served(configured(CHANGES + life), store=open_store(url)) as server:
        deleted, over = await held(server), await held(server)
        await administration.delete(*acts(server), deleted["client_id"])
        server.clock.advance(1000)
        for made in (deleted, over):
            for decide in (review.approve, review.reject):
                with pytest.raises(Unknown):
                    await decide(*acts(server), made["client_id"])
            with pytest.raises(Unknown):
                await review.show(server.registry, server.issuer, made["client_id"])
        assert "review.approved" not in await kinds(server)


async def test_what_ended_is_listed_no_more(url: str) -> None:
    """Nor what ended with its template, or by time, of which nothing is written beside the client yet."""
    life = "[policy.careful.lifetime]\nclient = 1000"
    async with served(configured(CHANGES + life, issuer="admin_api = true"), store=open_store(url)) as server:
        value, _ = await initial_access.issue_token(*acts(server), scope=("admin.reviews",))
        own = {"authorization": f"Bearer {value}"}

        async def listed() -> list[str]:
            answer = await server.client.get("/admin/api/reviews", headers=own)
            return [one["client_id"] for one in answer.json()["reviews"]]

        await templates.create(*acts(server), "fleet", wanted("redirect_uris"))
        made = await register(server, {"template_id": "fleet"})
        await put(server, made, redirect_uris=OTHER)
        other = await held(server)
        assert await listed() == sorted([made["client_id"], other["client_id"]])
        await templates.delete(*acts(server), "fleet")
        assert await listed() == [other["client_id"]]
        with pytest.raises(Unknown):
            await review.approve(*acts(server), made["client_id"])
        server.clock.advance(1000)
        assert await listed() == []


async def test_a_suspended_client_gets_nothing_more(url: str) -> None:
    """What is held of it waits until it is resumed, and may be rejected meanwhile."""
    async with served(configured(), store=open_store(url)) as server:
        made, other = await held(server), await held(server)
        for one in (made, other):
            await administration.suspend(*acts(server), one["client_id"])
            with pytest.raises(Refused, match="suspended"):
                await review.approve(*acts(server), one["client_id"])
        await review.reject(*acts(server), other["client_id"])
        assert (await stored(server, other)).state is State.SUSPENDED
        await administration.resume(*acts(server), made["client_id"])
        await review.approve(*acts(server), made["client_id"])
        assert (await stored(server, made)).metadata["redirect_uris"] == OTHER


@pytest.mark.parametrize("first", ["update", "registration"])
async def test_a_configuration_that_changed_elsewhere_changes_nothing_that_is_held(tmp_path: Path, first: str) -> None:
    """The policy says what it said, though the file that it is in is another: it is decided about as before."""
    database = f"sqlite:///{tmp_path}/registrar.db"
    text = configured(f"{CHANGES}[policy.careful.review]\nflagged = true")
    async with served(text, store=open_store(database)) as server:
        made = await held(server) if first == "update" else await register(server, {**APP, "client_name": "PayPal"})
        digest = (await review.show(server.registry, server.issuer, made["client_id"])).digest
    async with served(f"# Another line.\n{text}\n[policy.new]\n", store=open_store(database)) as server:
        if first == "update":
            await put(server, made, redirect_uris=OTHER)
        await review.approve(*acts(server), made["client_id"], digest=digest)
        assert (await stored(server, made)).state is State.ACTIVE


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        (configured(), configured(CHANGES + 'scope = "refuse"'), "policy careful has changed"),
        (
            configured(),
            configured().replace("policy.careful", "policy.other").replace('"careful"', '"other"'),
            "changed",
        ),
        (
            configured(issuer='[issuer.main.scopes]\ncatalogue = ["openid", "email"]'),
            configured(issuer='[issuer.main.scopes]\ncatalogue = ["openid"]'),
            "what main offers has changed",
        ),
    ],
)
@pytest.mark.parametrize("first", ["update", "registration"])
async def test_what_was_judged_otherwise_is_not_put_into_force(
    tmp_path: Path, then: str, now: str, said: str, first: str
) -> None:
    """Another policy, none of that name, or less on offer than when it was held; it may be rejected still."""
    database = f"sqlite:///{tmp_path}/registrar.db"
    looked = "\n[policy.careful.review]\nflagged = true\n"
    then, now = then + looked, now + looked
    now = now.replace("policy.careful.review", "policy.other.review") if "policy.other" in now else now
    async with served(then, store=open_store(database)) as server:
        made = await held(server) if first == "update" else await register(server, {**APP, "client_name": "PayPal"})
        digest = (await review.show(server.registry, server.issuer, made["client_id"])).digest
        before = await stored(server, made)
    async with served(now, store=open_store(database)) as server:
        with pytest.raises(Refused, match=said):
            await review.approve(*acts(server), made["client_id"], digest=digest)
        assert await stored(server, made) == before
        await review.reject(*acts(server), made["client_id"], digest=digest)
        assert await holding.of_client(server.registry, server.issuer, made["client_id"]) is None


OWN = """
statement_issuers = ["ours"]
[statement_issuer.ours]
issuer = "https://as.example"
"""


async def attested(server: Served, **members: Any) -> tuple[str, str]:
    """A software statement of the server's own, and its jti."""
    compact, made = await statements.issue(*acts(server), members, software_id="app")
    return compact, made.jti


async def test_what_a_revoked_statement_attested_is_not_put_into_force(url: str) -> None:
    """What was registered with it stays; what waits is not registered yet."""
    text = configured(f'{CHANGES}[policy.careful.review]\ngrants = ["refresh_token"]') + OWN
    async with served(text, store=open_store(url)) as server:
        compact, jti = await attested(server, redirect_uris=OTHER)
        made = await register(server)
        assert (await put(server, made, redirect_uris=OTHER, software_statement=compact))["pending_update"]
        other, revoked = await attested(server, grant_types=["authorization_code", "refresh_token"])
        waits = await register(server, {**APP, "software_statement": other})
        assert waits["registration_state"] == "pending"
        await statements.revoke(*acts(server), jti)
        await statements.revoke(*acts(server), revoked)
        for one in (made, waits):
            before = await stored(server, one)
            with pytest.raises(Refused, match="was revoked meanwhile"):
                await review.approve(*acts(server), one["client_id"])
            assert await stored(server, one) == before
            await review.reject(*acts(server), one["client_id"])


async def test_what_was_registered_with_a_revoked_statement_may_change(url: str) -> None:
    """The statement that it has already is not asked about again."""
    async with served(configured() + OWN, store=open_store(url)) as server:
        compact, jti = await attested(server, contacts=["a@b.example"])
        made = await register(server, {**APP, "software_statement": compact})
        await put(server, made, redirect_uris=OTHER, software_statement=compact)
        await statements.revoke(*acts(server), jti)
        await review.approve(*acts(server), made["client_id"])
        assert (await stored(server, made)).metadata["redirect_uris"] == OTHER


async def test_of_an_approval_and_a_revocation_at_once_the_first_counts(url: str) -> None:
    """What is in force was attested when it came into force."""
    async with served(configured() + OWN, store=open_store(url)) as server:
        compact, jti = await attested(server, redirect_uris=OTHER)
        made = await register(server)
        await put(server, made, redirect_uris=OTHER, software_statement=compact)
        outcomes = await asyncio.gather(
            review.approve(*acts(server), made["client_id"]),
            statements.revoke(*acts(server), jti),
            return_exceptions=True,
        )
        assert all(isinstance(one, Refused) or not isinstance(one, BaseException) for one in outcomes), outcomes
        happened = [one for one in await kinds(server) if one in ("review.approved", "statement.revoked")]
        assert happened in (["review.approved"], ["statement.revoked"], ["review.approved", "statement.revoked"])


async def test_two_replicas_decide_once(database: str) -> None:
    """Reviewers at two processes on one database: one decides, the other is told, and both read the same."""
    async with (
        served(configured(), store=open_store(database)) as one,
        served(configured(), store=open_store(database)) as other,
    ):
        made = await held(one)
        for server in (one, other):
            assert [each.client_id async for each in holding.every(server.registry, server.issuer)] == [
                made["client_id"]
            ]
        outcomes = await asyncio.gather(
            *(review.approve(*acts(server), made["client_id"]) for server in (one, other)),
            *(review.reject(*acts(server), made["client_id"]) for server in (other, one)),
            return_exceptions=True,
        )
        assert sum(isinstance(each, (Refused, Unknown)) for each in outcomes) == 3, outcomes
        assert await stored(one, made) == await stored(other, made)
        assert len([kind for kind in await kinds(other) if kind in ("review.approved", "review.rejected")]) == 1


async def test_a_held_registration_that_changes_again_and_again_is_one_thing(url: str) -> None:
    """Each change of it is in force for the record and looked at anew; it waits since it came, for the reason it has now."""
    async with served(
        configured('[policy.careful.review]\ngrants = ["refresh_token"]'), store=open_store(url)
    ) as server:
        grants = ["authorization_code", "refresh_token"]
        made = await register(server, {**APP, "grant_types": grants})
        first = await review.show(server.registry, server.issuer, made["client_id"])
        server.clock.advance(60)
        members = {name: value for name, value in made.items() if name != "registration_state"}
        answers = await asyncio.gather(*(put(server, members, client_name=f"Name {n}") for n in range(4)))
        assert {one["registration_state"] for one in answers} == {"pending"}
        assert not any("pending_update" in one for one in answers)
        (one,) = [one async for one in holding.every(server.registry, server.issuer)]
        assert (one.what, one.since) == ("registration", first.since)
        assert one.metadata["client_name"] == (await stored(server, made)).metadata["client_name"]
        # What it was held for is gone by now; it waits still, for nobody has looked at it.
        await put(server, members, grant_types=["authorization_code"])
        assert (await stored(server, made)).state is State.PENDING
        await review.approve(*acts(server), made["client_id"])
        assert (await stored(server, made)).state is State.ACTIVE


async def test_what_was_answered_may_be_sent_back() -> None:
    """As RFC 7592 has clients do it: what this server says beside the metadata is no fault, and changes nothing."""
    async with served(configured(f'{CHANGES}[policy.careful.review]\ngrants = ["refresh_token"]')) as server:
        made = await register(server)
        answer = await put(server, made, redirect_uris=OTHER)
        assert answer["pending_update"]
        again = await put(server, {**made, **answer})
        assert "pending_update" not in again
        assert again["redirect_uris"] == APP["redirect_uris"]
        waits = await register(server, {**APP, "grant_types": ["authorization_code", "refresh_token"]})
        assert (await put(server, waits))["registration_state"] == "pending"
        assert (await put(server, waits, registration_state="active"))["registration_state"] == "pending"


async def test_an_operator_registers_what_nobody_else_may(url: str) -> None:
    """Whose own word it is, is who would look at it; a token of an operator's in a stranger's hands is no such word."""
    async with served(configured(EVERY), store=open_store(url)) as server:
        made = await client_administration.create(*acts(server), APP)  # type: ignore[arg-type]
        assert "registration_state" not in made
        assert "registration.held" not in await kinds(server)
        value, _ = await initial_access.issue_token(*acts(server))
        own = {"authorization": f"Bearer {value}"}
        answer = await server.client.post("/register", json=APP, headers=own)
        assert answer.json()["registration_state"] == "pending"


HOSTILE = [
    "\x1b[2J\x00\x07",
    "a\r\nb: c",
    "\u202egnp.exe",
    "=1+1",
    "'; DROP TABLE client; --",
    "x" * 500,
    "\N{PILE OF POO}",
]


@pytest.mark.parametrize("reason", HOSTILE)
async def test_a_reason_is_what_was_said(url: str, reason: str) -> None:
    """Whatever it holds, it is in the audit as it is, and steers nothing."""
    async with served(configured(), store=open_store(url)) as server:
        made, other = await held(server), await held(server)
        await review.approve(*acts(server), made["client_id"], reason=reason)
        await review.reject(*acts(server), other["client_id"], reason=reason)
        for kind in ("review.approved", "review.rejected"):
            assert [one["reason"] for one in await told(server, kind)] == [reason]


async def test_an_operators_token_gives_away_no_more_than_it_has(url: str) -> None:
    """Whose token registers certain scopes alone approves no others, nor sets them; what a client has, it may keep."""
    policy = '[policy.careful.changes]\nscope = "review"'
    catalogue = '[issuer.main.scopes]\ncatalogue = ["openid", "email", "profile"]'
    async with served(configured(policy, issuer=catalogue), store=open_store(url)) as server:
        made = await held(server, scope="openid email")
        bounded = Operator("bounded", "test", ceiling=("profile",))
        with pytest.raises(Refused, match="has not email"):
            await review.approve(*acts(server, bounded), made["client_id"])
        with pytest.raises(Refused, match="has not email"):
            await client_administration.change(
                *acts(server, bounded), made["client_id"], {**APP, "scope": "openid email"}
            )  # type: ignore[arg-type]
        bare = {name: value for name, value in APP.items() if name != "scope"}
        with pytest.raises(Refused, match="every scope"):
            await client_administration.change(*acts(server, bounded), made["client_id"], bare)  # type: ignore[arg-type]
        assert (await stored(server, made)).metadata["scope"] == "openid"
        await review.approve(*acts(server, Operator("able", "test", ceiling=("email",))), made["client_id"])
        assert (await stored(server, made)).metadata["scope"] == "openid email"


async def test_nor_by_a_template(url: str) -> None:
    """Whose instances it could make as many of as it likes."""
    catalogue = '[issuer.main.scopes]\ncatalogue = ["openid", "email", "profile"]'
    async with served(configured(issuer=catalogue), store=open_store(url)) as server:
        bounded = Operator("bounded", "test", ceiling=("openid",))
        bare = {name: value for name, value in APP.items() if name != "scope"}
        for beyond in (wanted(scope="openid email"), templates.Wanted(bare), wanted("scope")):
            with pytest.raises(Refused, match="the token"):
                await templates.create(*acts(server, bounded), "fleet", beyond)
        await templates.create(*acts(server, bounded), "fleet", wanted())
        with pytest.raises(Refused, match="has not email"):
            await templates.change(*acts(server, bounded), "fleet", wanted(scope="openid email"))
        await templates.change(*acts(server), "fleet", wanted(scope="openid email"))
        await templates.change(*acts(server, bounded), "fleet", wanted(scope="openid email", client_name="Other"))


async def test_nor_to_a_registration_that_could_ask_for_any(url: str) -> None:
    """One that registered no scope may ask people for all that there are."""
    async with served(configured(EVERY), store=open_store(url)) as server:
        bare = {name: value for name, value in APP.items() if name != "scope"}
        made, other = await register(server, bare), await register(server)
        bounded = Operator("bounded", "test", ceiling=("openid",))
        with pytest.raises(Refused, match="every scope"):
            await review.approve(*acts(server, bounded), made["client_id"])
        assert (await stored(server, made)).state is State.PENDING
        await review.approve(*acts(server, bounded), other["client_id"])


# --- over HTTP --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["\x00", "%00", "x" * 5_000, "a/b", "..", "\ud7ff", "{}", "%ff"])
async def test_names_of_nothing(url: str, name: str) -> None:
    """Whatever is asked for, by whatever name, is not there, or is no name at all; nothing of it is our fault."""
    async with served(configured(issuer="admin_api = true"), store=open_store(url)) as server:
        value, _ = await initial_access.issue_token(*acts(server), scope=("admin.reviews",))
        own = {"authorization": f"Bearer {value}"}
        path = f"/admin/api/reviews/{quote(name, safe='%')}"
        decided = {"json": {"digest": "x", "reason": name}, "headers": own}
        answers = [
            await server.client.get(path, headers=own),
            await server.client.post(f"{path}/approve", **decided),
            await server.client.post(f"{path}/reject", **decided),
            await server.client.get("/admin/api/reviews", params={"after": name}, headers=own),
        ]
        assert all(one.status_code < 500 for one in answers), [one.status_code for one in answers]


@pytest.mark.parametrize(
    "body",
    [
        b'{"digest": "%s", "reason": "\\ud800"}',
        b'{"digest": "%s", "reason": ["a"]}',
        b'{"digest": "%s", "reason": null}',
        b'{"digest": "%s", "reason": "\xff"}',
        b'{"digest": "%s", "reason": "a", "reason": "b"}',
        b'{"digest": ["%s"]}',
        b'{"digest": "%s", "reason": "' + b"x" * 100_000 + b'"}',
        b'["%s"]',
        b"",
    ],
)
async def test_decisions_that_cannot_be_read_decide_nothing(url: str, body: bytes) -> None:
    """They are refused with what is wrong, and what is held is held."""
    async with served(configured(issuer="admin_api = true"), store=open_store(url)) as server:
        made = await held(server)
        value, _ = await initial_access.issue_token(*acts(server), scope=("admin.reviews",), max_uses=0)
        own = {"authorization": f"Bearer {value}", "content-type": "application/json"}
        path = f"/admin/api/reviews/{made['client_id']}"
        digest = (await server.client.get(path, headers=own)).json()["digest"].encode()
        for decision in ("approve", "reject"):
            content = body.replace(b"%s", digest)
            answer = await server.client.post(f"{path}/{decision}", content=content, headers=own)
            assert answer.status_code in (400, 413), answer.text
        assert await holding.of_client(server.registry, server.issuer, made["client_id"]) is not None


async def test_pages_of_what_is_held(url: str) -> None:
    """In the order of the clients' identifiers, each once, also while some are decided."""
    async with served(configured(issuer="admin_api = true"), store=open_store(url)) as server:
        made = sorted([(await held(server))["client_id"] for _ in range(5)])
        value, _ = await initial_access.issue_token(*acts(server), scope=("admin.reviews",))
        own = {"authorization": f"Bearer {value}"}
        seen: list[str] = []
        after = ""
        for _ in range(4):
            page = (
                await server.client.get("/admin/api/reviews", params={"limit": 2, "after": after}, headers=own)
            ).json()
            seen += [one["client_id"] for one in page["reviews"]]
            for one in page["reviews"]:
                await review.reject(*acts(server), one["client_id"])
            if not (after := page.get("after", "")):
                break
        assert seen == made


async def test_a_tenants_page_looks_at_so_many_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends there, full or not, and says where the next one begins: others' queues cost a tenant's calls no more."""
    monkeypatch.setattr(inventory, "LOOKS", 3)
    async with served(configured(issuer="admin_api = true")) as server:
        made = sorted([(await held(server))["client_id"] for _ in range(5)])
        await labels.label(*acts(server), made[-1], {"tenant": "ours"})
        value, _ = await initial_access.issue_token(*acts(server), scope=("admin.reviews",), within={"tenant": "ours"})
        own = {"authorization": f"Bearer {value}"}
        first = (await server.client.get("/admin/api/reviews", headers=own)).json()
        assert first == {"reviews": [], "after": made[2]}
        second = (await server.client.get("/admin/api/reviews", params={"after": made[2]}, headers=own)).json()
        assert [one["client_id"] for one in second["reviews"]] == [made[-1]]
        assert "after" not in second


async def test_a_ceiling_holds_over_http_too(url: str) -> None:
    """What the token does not let be registered, it does not approve either: 409, and nothing happened."""
    catalogue = 'admin_api = true\n[issuer.main.scopes]\ncatalogue = ["openid", "email"]'
    policy = '[policy.careful.changes]\nscope = "review"'
    async with served(configured(policy, issuer=catalogue), store=open_store(url)) as server:
        made = await held(server, scope="openid email")
        value, _ = await initial_access.issue_token(*acts(server), scope=("admin.reviews", "openid"))
        own = {"authorization": f"Bearer {value}"}
        path = f"/admin/api/reviews/{made['client_id']}"
        digest = (await server.client.get(path, headers=own)).json()["digest"]
        answer = await server.client.post(f"{path}/approve", json={"digest": digest}, headers=own)
        assert answer.status_code == 409
        assert "email" in answer.json()["error_description"]
        assert (await stored(server, made)).metadata["scope"] == "openid"
