"""Many clients at once: the right ones, each with its event, beside everything else that happens, and never half-way lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from registrar.domain.access_token import Kind
from registrar.domain.client import Admission, Assurance, Client, State
from registrar.domain.errors import ProtocolError
from registrar.domain.events import Event
from registrar.domain.metadata import Presented
from registrar.service import administration, bulk, initial_access, leases, management, registration
from registrar.service.admission import admit
from registrar.service.audit import Caller
from registrar.service.bulk import Act, Job, Selection
from registrar.service.operators import Refused, Unknown
from registrar.service.ports import Change, ClientQuery, EventQuery, Store, StoreUnavailable
from registrar.storage.memory import MemoryStore
from registrar.testing import OPEN, Served, served
from registrar.testing.store_conformance import a_client, an_event

pytestmark = pytest.mark.anyio

MEMBERS: Mapping[str, Any] = {"client_name": "Reader", "redirect_uris": ["https://app.example/cb"]}
CLIENT_MODE = OPEN.replace('"open"', '"client"')


async def register(server: Served, **members: Any) -> dict[str, Any]:
    """A new client's information."""
    presented = Presented({**MEMBERS, **members})
    made = await registration.register(server.registry, server.issuer, presented, Caller("test"))
    return dict(made.information)


async def run(server: Served, act: Act, selection: Selection, **more: Any) -> Job:
    """Start a job and do it."""
    job = await bulk.start(server.registry, server.issuer, server.operator, act, selection, **more)
    return await bulk.run(server.registry, server.issuer, job.job_id)


async def states(server: Served) -> dict[str, str]:
    """The state of every client."""
    found = await server.registry.store.clients(ClientQuery("main"), limit=10_000)
    return {one.client_id: one.state.value for one in found}


async def events(server: Served, kind: str) -> list[dict[str, Any]]:
    """The events of a kind."""
    found = await server.registry.store.events(EventQuery("main", kind), limit=10_000)
    return [json.loads(one.event.body) for one in found]


def other(client: Client, **changed: Any) -> Client:
    """A client that differs in something of its admission."""
    return msgspec.structs.replace(client, admission=msgspec.structs.replace(client.admission, **changed))


PLAIN = a_client("c1", admission=Admission(Assurance.OPEN), template="", own=(), labels={}, state=State.ACTIVE)
ASKED: Sequence[tuple[Selection, Client]] = [
    (
        Selection(software="planner"),
        msgspec.structs.replace(PLAIN, metadata={**PLAIN.metadata, "software_id": "planner"}),
    ),
    (Selection(token="t9"), other(PLAIN, token_id="t9")),
    (Selection(owner="ada@example.com"), other(PLAIN, owner="ada@example.com")),
    (Selection(statement_issuer="directory"), other(PLAIN, statement_issuer="directory")),
    (Selection(client_class="ephemeral"), other(PLAIN, client_class="ephemeral")),
    (Selection(policy="partner"), msgspec.structs.replace(PLAIN, policy="default partner")),
    (Selection(labels={"tenant": "acme"}), msgspec.structs.replace(PLAIN, labels={"tenant": "acme", "connector": "x"})),
    (
        Selection(labels={"tenant": "acme", "connector": "crm"}, owner="ada"),
        other(msgspec.structs.replace(PLAIN, labels={"tenant": "acme", "connector": "crm"}), owner="ada"),
    ),
    (
        Selection(host="evil.example"),
        msgspec.structs.replace(PLAIN, metadata={**PLAIN.metadata, "redirect_uris": ["https://evil.example/cb"]}),
    ),
]


@pytest.mark.requirement("SEED-59")
@pytest.mark.parametrize(("selection", "meant"), ASKED, ids=lambda one: str(one)[:40])
async def test_the_right_ones(selection: Selection, meant: Client) -> None:
    """Software, token, owner, issuer of statements, class, policy, host and labels: those that have it and no others."""
    async with served() as server:
        store = server.registry.store
        plain = msgspec.structs.replace(PLAIN, client_id="0a1")
        elsewhere = msgspec.structs.replace(meant, client_id="0b1", issuer="other")
        for client in (plain, msgspec.structs.replace(meant, client_id="0a2"), elsewhere):
            await store.create(client, an_event(client.client_id, issuer=client.issuer))
        counted = await bulk.survey(server.registry, server.issuer, Act.SUSPEND, selection, tell=lambda _: None)
        before = await states(server)
        job = await run(server, Act.SUSPEND, selection)

        assert counted == (1, 1, True)
        assert before == {"0a1": "active", "0a2": "active"}
        assert await states(server) == {"0a1": "active", "0a2": "suspended"}
        assert job.changed == 1
        there = await store.find("other", "0b1")
        assert there is not None
        assert there.state is State.ACTIVE


@pytest.mark.requirement("SEED-59")
async def test_each_has_its_event_and_the_job_has_two() -> None:
    """With the reason, and the job at the end of the endpoint; a person who was selected is not named."""
    async with served() as server:
        for at in range(3):
            await register(server, software_id="planner", client_name=f"P{at}")
        await register(server)
        job = await run(server, Act.SUSPEND, Selection(software="planner"), reason="CVE-2026-1")
        again = await run(server, Act.SUSPEND, Selection(software="planner"))
        deleted = await run(server, Act.DELETE, Selection(everything=True))
        await run(server, Act.RESUME, Selection(owner="ada@example.com"))

        assert (job.changed, again.changed, deleted.changed) == (3, 0, 4)
        told = await events(server, "client.suspended")
        assert len(told) == 3
        assert {one["reason"] for one in told} == {"CVE-2026-1"}
        assert {one["endpoint"] for one in told} == {f"test {job.job_id}"}
        (began, *_) = await events(server, "bulk.started")
        (ended, *_, last) = await events(server, "bulk.finished")
        assert began["selection"] == {"software": "planner"}
        assert (ended["count"], ended["job"], ended["act"]) == (3, job.job_id, "suspend")
        assert last["selection"] == {"owner": True}
        assert "ada@" not in json.dumps(await events(server, "bulk.started"))


@pytest.mark.parametrize("selection", [Selection(), Selection(labels={}), Selection(everything=True, software="x")])
async def test_a_selection_of_nothing_is_none(selection: Selection) -> None:
    """It is refused, and not taken for everything."""
    async with served() as server:
        await register(server)
        with pytest.raises(Refused, match="a selection asks for something"):
            await run(server, Act.DELETE, selection)
        with pytest.raises(Refused, match="a selection asks for something"):
            await bulk.survey(server.registry, server.issuer, Act.DELETE, selection, tell=lambda _: None)
        assert {*(await states(server)).values()} == {"active"}


class Failing(MemoryStore):
    """A store that fails after so many updates."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    async def update(
        self, client: Client, events: Sequence[Event], *, expected: int, changes: Sequence[Change] = ()
    ) -> None:
        if not self.left:
            raise StoreUnavailable("down")
        self.left -= 1
        await super().update(client, events, expected=expected, changes=changes)


@pytest.mark.requirement("SEED-59")
async def test_broken_off_and_gone_on_with() -> None:
    """Where it was: what is done is not done again, and all of it is done in the end."""
    store = Failing(130)
    async with served(store=store) as server:
        for at in range(250):
            await store.create(msgspec.structs.replace(PLAIN, client_id=f"0c{at:03}"), an_event(f"0c{at:03}"))
        job = await bulk.start(server.registry, server.issuer, server.operator, Act.SUSPEND, Selection(everything=True))
        with pytest.raises(StoreUnavailable):
            await bulk.run(server.registry, server.issuer, job.job_id)
        half = await bulk.find(server.registry, server.issuer, job.job_id)
        store.left = 1000
        seen: list[int] = []
        done = await bulk.run(server.registry, server.issuer, job.job_id, tell=lambda _, count: seen.append(count))

        assert (half.state, half.looked_at, half.changed) == ("open", 100, 100)
        assert (done.state, done.looked_at) == ("finished", 250)
        assert seen == [100, 50]
        assert set((await states(server)).values()) == {"suspended"}
        assert len(await events(server, "client.suspended")) == 250
        with pytest.raises(Refused, match="finished"):
            await bulk.run(server.registry, server.issuer, job.job_id)


async def test_killed_and_gone_on_with_by_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of a server's is found by the next one, once nobody is at it."""
    monkeypatch.setattr(bulk, "_AGAIN", 0.01)
    async with served() as server:
        for at in range(30):
            await register(server, client_name=f"C{at}")
        job = await bulk.start(
            server.registry, server.issuer, server.operator, Act.SUSPEND, Selection(everything=True), at_server=True
        )
        mine = await bulk.start(server.registry, server.issuer, server.operator, Act.RESUME, Selection(everything=True))
        assert await leases.take(server.registry.store, f"bulk {job.job_id}", "killed", server.clock.now, 60)
        server.registry.errands.start(bulk.keep_working(server.registry), "jobs")
        await asyncio.sleep(0.1)
        assert (await bulk.find(server.registry, server.issuer, job.job_id)).changed == 0
        server.clock.advance(61)
        for _ in range(200):
            await asyncio.sleep(0.01)
            if (await bulk.find(server.registry, server.issuer, job.job_id)).state == "finished":
                break

        assert set((await states(server)).values()) == {"suspended"}
        # What a command line began is its own to go on with.
        assert (await bulk.find(server.registry, server.issuer, mine.job_id)).state == "open"
        assert not await server.registry.store.items("main", bulk.OPEN)


async def test_one_at_a_time_and_stopped() -> None:
    """Two do not do one job; one that is stopped goes no further, and is not gone on with."""
    async with served() as server:
        for at in range(250):
            await server.registry.store.create(
                msgspec.structs.replace(PLAIN, client_id=f"0c{at:03}"), an_event(f"0c{at:03}")
            )
        acting = (server.registry, server.issuer)
        job = await bulk.start(*acting, server.operator, Act.SUSPEND, Selection(everything=True))
        refusals: list[str] = []

        async def second() -> None:
            try:
                await bulk.run(*acting, job.job_id)
            except Refused as problem:
                refusals.append(str(problem))
            await bulk.stop(*acting, server.operator, job.job_id)

        began: list[asyncio.Task[None]] = []
        with pytest.raises(Refused, match="was stopped"):
            await bulk.run(*acting, job.job_id, tell=_once(lambda: began.append(asyncio.create_task(second())), began))
        await began[0]

        assert len(refusals) == 1
        assert refusals[0].startswith(f"another process is at the job {job.job_id}")
        assert (await bulk.find(*acting, job.job_id)).state == "stopped"
        assert list((await states(server)).values()).count("suspended") in (100, 200)
        for again in (bulk.run(*acting, job.job_id), bulk.stop(*acting, server.operator, job.job_id)):
            with pytest.raises(Refused, match="is stopped"):
                await again
        with pytest.raises(Unknown, match="no job"):
            await bulk.find(*acting, "none")


def _once(act: Any, began: list[Any]) -> Any:
    def tell(_: Job, __: int) -> None:
        if not began:
            act()

    return tell


@pytest.fixture(params=["memory", "sqlite"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A configuration in memory, and one where writers really wait for each other."""
    return OPEN if request.param == "memory" else OPEN.replace("memory:", f"sqlite:///{tmp_path}/registrar.db")


@pytest.mark.requirement("SEED-59")
async def test_beside_updates_of_the_same_clients(where: str) -> None:
    """Every client is suspended, and no update that was acknowledged is lost."""
    async with served(where) as server:
        clients = [await register(server, client_name=f"C{at}") for at in range(40)]
        names: dict[str, str] = {}
        refusals: set[str] = set()
        ended = asyncio.Event()

        async def update(client: dict[str, Any]) -> None:
            for turn in range(100):
                caller = Caller("test", client["registration_access_token"])
                name = f"{client['client_id']} {turn}"
                presented = Presented({**MEMBERS, "client_name": name, "client_id": client["client_id"]})
                try:
                    await management.update(server.registry, server.issuer, client["client_id"], presented, caller)
                except ProtocolError as problem:
                    refusals.add(problem.kind.name)
                    return
                names[client["client_id"]] = name
                await asyncio.sleep(0)
                if ended.is_set():
                    return

        updating = [asyncio.create_task(update(one)) for one in clients]
        await asyncio.sleep(0.05)
        job = await run(server, Act.SUSPEND, Selection(host="app.example"))
        ended.set()
        await asyncio.gather(*updating)

        assert names
        assert (job.changed, job.left_alone) == (40, 0)
        assert refusals <= {"insufficient_scope", "access_denied"}, refusals
        found = await server.registry.store.clients(ClientQuery("main"), limit=100)
        assert {one.state for one in found} == {State.SUSPENDED}
        assert {one.client_id: one.metadata["client_name"] for one in found if one.client_id in names} == names


@pytest.mark.requirement("SEED-59")
async def test_new_secrets() -> None:
    """Handed out where somebody takes them, fetched by their clients where nobody does; the old ones work for the overlap."""
    async with served() as server:
        clients = [await register(server) for _ in range(3)]
        public = await register(server, token_endpoint_auth_method="none")
        handed: dict[str, str] = {}
        job = await bulk.start(
            server.registry,
            server.issuer,
            server.operator,
            Act.ROTATE_SECRET,
            Selection(everything=True),
            overlap=100,
            reason="leaked",
        )
        done = await bulk.run(server.registry, server.issuer, job.job_id, hand_out=handed.__setitem__)

        assert (done.changed, done.looked_at) == (3, 4)
        assert handed.keys() == {one["client_id"] for one in clients}
        for one in clients:
            record = await administration.find(server.registry, server.issuer, one["client_id"])
            caller = Caller("test", one["registration_access_token"])
            read = await management.read(server.registry, server.issuer, one["client_id"], caller)
            assert read["client_secret"] == handed[one["client_id"]]
            now = server.clock.now
            assert record.credentials.secret_is(handed[one["client_id"]], now)
            assert record.credentials.secret_is(one["client_secret"], now + 99)
            assert not record.credentials.secret_is(one["client_secret"], now + 100)
        assert {one["reason"] for one in await events(server, "client.secret_rotated")} == {"leaked; overlap 100 s"}
        untouched = await administration.find(server.registry, server.issuer, public["client_id"])
        assert untouched.version == 1
        everything = json.dumps(
            [one for kind in ("bulk.started", "bulk.finished") for one in await events(server, kind)]
        )
        item = await server.registry.store.item("main", bulk.KIND, job.job_id)
        assert item is not None
        for secret in handed.values():
            assert secret not in everything
            assert secret.encode() not in item.body


@pytest.mark.requirement("SEED-59")
async def test_a_cascade_beside_registrations(tmp_path: Path) -> None:
    """Once the token is revoked and the job done, nothing lives that was registered with it, however many tried."""
    text = CLIENT_MODE.replace("memory:", f"sqlite:///{tmp_path}/registrar.db")
    async with served(text) as server:
        acting = (server.registry, server.issuer, server.operator)
        value, token = await initial_access.issue_token(*acting, kind=Kind.CLIENT, max_uses=0)
        spared, _ = await initial_access.issue_token(*acting, kind=Kind.CLIENT, max_uses=0)
        made: list[str] = []
        refusals: set[str] = set()
        enough = asyncio.Event()
        ended = asyncio.Event()

        async def load() -> None:
            while not ended.is_set():
                caller = Caller("test", value)
                try:
                    await admit(server.registry, server.issuer, caller)
                    answer = await registration.register(server.registry, server.issuer, Presented({**MEMBERS}), caller)
                except ProtocolError as problem:
                    refusals.add(problem.kind.name)
                    return
                made.append(str(answer.information["client_id"]))
                if len(made) == 50:
                    enough.set()

        loading = [asyncio.create_task(load()) for _ in range(10)]
        await enough.wait()
        kept = await registration.register(
            server.registry, server.issuer, Presented({**MEMBERS}), Caller("test", spared)
        )
        await initial_access.revoke_token(*acting, token.token_id)
        job = await bulk.start(*acting, Act.DELETE, Selection(token=token.token_id), whenever=True)
        done = await bulk.run(server.registry, server.issuer, job.job_id)
        ended.set()
        await asyncio.gather(*loading)

        assert refusals <= {"invalid_token"}
        found = await states(server)
        assert found.pop(str(kept.information["client_id"])) == "active"
        assert set(found.values()) == {"deleted"}
        assert set(made) <= found.keys()
        assert done.changed == len(found)


async def test_later_ones_are_not_meant() -> None:
    """A job ends although clients keep coming: those of a minute after it began are left alone, and no earlier ones.

    Within the minute they are not told apart from those of a process whose clock is ahead.
    """
    async with served() as server:
        first = await register(server)
        job = await bulk.start(server.registry, server.issuer, server.operator, Act.SUSPEND, Selection(everything=True))
        server.clock.advance(59)
        ahead = await register(server)
        server.clock.advance(1)
        later = await register(server)
        await bulk.run(server.registry, server.issuer, job.job_id)
        assert await states(server) == {
            first["client_id"]: "suspended",
            ahead["client_id"]: "suspended",
            later["client_id"]: "active",
        }


async def test_those_that_are_left_alone_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason, so that somebody can look; the others are done."""
    async with served() as server:
        ids = [(await register(server))["client_id"] for _ in range(3)]
        real = administration.suspend

        async def suspend(registry: Any, issuer: Any, operator: Any, client_id: str, reason: str = "") -> Client:
            if client_id == ids[1]:
                raise Refused(f"{client_id} is being changed by others; try again")
            return await real(registry, issuer, operator, client_id, reason)

        monkeypatch.setitem(bulk._ACTS, Act.SUSPEND, suspend)
        job = await run(server, Act.SUSPEND, Selection(everything=True))
        assert (job.changed, job.left_alone) == (2, 1)
        assert job.left == {ids[1]: f"{ids[1]} is being changed by others; try again"}
        (shown,) = [one.public() async for one in bulk.every(server.registry, server.issuer)]
        assert shown.left == job.left
        assert (shown.state, shown.changed) == ("finished", 2)
        assert not hasattr(shown, "person")


def test_a_store_is_a_store() -> None:
    """The failing store of these tests is one of the port."""
    store: Store = Failing(0)
    assert store
