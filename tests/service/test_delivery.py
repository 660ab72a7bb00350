"""Delivering: signed, at least once, again after a failure, and nobody in anybody's way. The receiver is a real one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from registrar.domain.settings import Fetching
from registrar.domain.webhook import DELAYS
from registrar.http.fetch import Fetcher
from registrar.service import administration, delivery, outbox, webhooks
from registrar.service.delivery import Line, NoKeys, keep_delivering
from registrar.service.operators import Refused, Unknown
from registrar.service.ports import EventQuery, Item, Put, StoreUnavailable
from registrar.service.webhooks import ShownWebhook
from registrar.testing import FrozenClock, Served, served
from webhook_receiver import Delivered, Receiver, key_file, receiving, says

pytestmark = pytest.mark.anyio

MEMBERS = {"client_name": "Reader", "redirect_uris": ["https://app.example/callback"]}


def configured(*origins: str, tables: str = "", database: str = "memory:") -> str:
    """A configuration of an open issuer that may send to these origins."""
    return f"""
[server]
database = "{database}"
[server.fetch]
allow = {list(origins)}
[issuer.main]
url = "http://127.0.0.1:8000"
[issuer.main.registration]
mode = "open"
{tables}
"""


@asynccontextmanager
async def following(
    folder: Path, more: str = "", *, clock: FrozenClock | None = None
) -> AsyncIterator[tuple[Served, Receiver]]:
    """A server with a webhook to a receiver, which is told when the test says so."""
    async with (
        receiving() as receiver,
        served(configured(receiver.origin, tables=receiver.table(folder, more=more)), clock=clock) as server,
    ):
        yield server, receiver


async def register(server: Served, **members: Any) -> str:
    """Register a client."""
    answer = await server.client.post("/register", json={**MEMBERS, **members})
    assert answer.status_code == 201, answer.text
    client_id: str = answer.json()["client_id"]
    return client_id


async def state(server: Served, name: str = "gateway") -> ShownWebhook:
    """What is shown of the webhook."""
    return await webhooks.public(server.registry, server.issuer, name)


async def deliver(server: Served, name: str = "gateway") -> bool:
    """One round."""
    return await Line(server.registry, "main", name).deliver()


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_delivered(tmp_path: Path, status: int) -> None:
    """A message comes once, signed as of now, and leaves the outbox with any answer of 2xx."""
    async with following(tmp_path) as (server, receiver):
        receiver.answer = says(status)
        client_id = await register(server)
        server.clock.advance(60)
        assert await deliver(server)
        assert not await deliver(server)

        (message,) = receiver.came
        assert receiver.unverified == 0
        assert message.headers["content-type"] == "application/json"
        assert message.timestamp == server.clock.now
        assert message.body["type"] == "client.registered"
        assert message.body["timestamp"] == "2026-09-21T14:13:20.000Z"
        assert message.client_id == client_id == message.body["data"]["client"]["client_id"]
        assert (await state(server)).waiting == 0


async def test_the_whole_life_of_a_client_is_told(tmp_path: Path) -> None:
    """A gateway that follows the versions of a client knows its state."""
    async with following(tmp_path) as (server, receiver):
        client_id = await register(server)
        acting = (server.registry, server.issuer, server.operator, client_id)
        await administration.suspend(*acting, "looked odd")
        await administration.resume(*acting)
        await administration.delete(*acting)
        await deliver(server)

        told = sorted(receiver.came, key=lambda one: int(one.body["data"]["client"]["version"]))
        assert [(one.body["type"], one.body["data"]["client"]["state"]) for one in told] == [
            ("client.registered", "active"),
            ("client.suspended", "suspended"),
            ("client.resumed", "active"),
            ("client.deleted", "deleted"),
        ]
        assert told[1].body["data"]["reason"] == "looked odd"


async def test_tried_again_and_given_up(tmp_path: Path) -> None:
    """At each delay of the schedule, under the same identifier and signed anew; after the last one it is kept apart."""
    async with following(tmp_path) as (server, receiver):
        receiver.answer = says(500)
        await register(server)
        for delay in DELAYS:
            server.clock.advance(delay - 1)
            before = len(receiver.came)
            assert not delay or not await deliver(server), delay
            server.clock.advance(1 + delay / 10)
            assert await deliver(server)
            assert len(receiver.came) == before + 1

        assert len(receiver.came) == len(DELAYS)
        assert len(set(receiver.identifiers)) == 1
        assert len({one.timestamp for one in receiver.came}) == len(DELAYS)
        assert receiver.unverified == 0
        shown = await state(server)
        assert (shown.waiting, shown.given_up) == (0, 1)
        (dead,) = [one async for one in webhooks.given_up(server.registry, server.issuer, "gateway")]
        assert (dead.attempts, dead.problem) == (len(DELAYS), "it answers with 500")


async def test_an_endpoint_that_is_down_does_not_fill_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """However many messages a round could not deliver for the same reason, the log has a line of it, which names the first."""
    caplog.set_level("INFO", "registrar")
    async with following(tmp_path) as (server, receiver):
        receiver.answer = says(500)
        for _ in range(30):
            await register(server)
        first = (await server.registry.store.items("main", outbox.waiting("gateway")))[0]
        caplog.clear()
        assert await deliver(server)
        (line,) = [one for one in caplog.messages if "gateway" in one]
        named = outbox.decode(first.body).identifier
        assert line == f"gateway was not told of 30 messages, {named} first: it answers with 500"
        receiver.answer = says(410)
        server.clock.advance(10)
        caplog.clear()
        assert await deliver(server)
        assert [one.levelname for one in caplog.records if "gateway" in one.getMessage()] == ["WARNING"]
        assert "is told no more of 30 messages" in caplog.text


async def test_attempts_are_counted(tmp_path: Path) -> None:
    """By what came of them, where metrics are asked for."""
    async with (
        receiving() as receiver,
        served(
            "[server.metrics]\nport = 9464\n" + configured(receiver.origin, tables=receiver.table(tmp_path))
        ) as server,
    ):
        for status, seconds in ((500, 10), (204, 10), (410, 10)):
            receiver.answer = says(status)
            await register(server)
            await deliver(server)
            server.clock.advance(seconds)
        assert server.registry.metrics is not None
        counted = server.registry.metrics.webhook_attempts.cells
        assert counted == {("gateway", "again"): [1], ("gateway", "delivered"): [2], ("gateway", "given_up"): [1]}


async def test_given_up_is_sent_again_by_hand(tmp_path: Path) -> None:
    """With all its attempts before it; told by an event."""
    async with following(tmp_path) as (server, receiver):
        receiver.answer = says(500)
        await register(server)
        for delay in DELAYS:
            server.clock.advance(delay * 1.1)
            await deliver(server)
        receiver.answer = says(204)
        acting = (server.registry, server.issuer, server.operator, "gateway")
        assert await webhooks.replay_given_up(*acting, ["evt_other"]) == 0
        assert await webhooks.replay_given_up(*acting) == 1
        assert await webhooks.replay_given_up(*acting) == 0
        await deliver(server)

        assert len(set(receiver.identifiers)) == 1
        assert (await state(server)).given_up == (await state(server)).waiting == 0
        (event,) = await server.registry.store.events(EventQuery("main", "webhook.replayed"))
        assert b'"count":1' in event.event.body


async def test_what_was_given_up_is_not_kept_forever(tmp_path: Path) -> None:
    """It goes with whatever else has expired."""
    async with following(tmp_path, "keep_given_up = 100") as (server, receiver):
        receiver.answer = says(410)
        await register(server)
        await deliver(server)
        assert (await state(server)).given_up == 1
        await server.registry.store.purge(server.clock.now + 99)
        assert (await state(server)).given_up == 1
        await server.registry.store.purge(server.clock.now + 101)
        assert (await state(server)).given_up == 0


async def test_gone_is_gone(tmp_path: Path) -> None:
    """An endpoint that answers with 410 is told nothing more until an operator enables it; what came meanwhile is kept."""
    async with following(tmp_path) as (server, receiver):
        receiver.answer = says(410)
        await register(server)
        await deliver(server)
        await register(server)
        assert await deliver(server)

        assert len(receiver.came) == 1
        shown = await state(server)
        assert (shown.state, shown.given_up, shown.waiting) == ("gone", 2, 0)
        (event,) = await server.registry.store.events(EventQuery("main", "webhook.disabled"))
        assert b'"webhook":"gateway"' in event.event.body
        receiver.answer = says(204)
        acting = (server.registry, server.issuer, server.operator, "gateway")
        await webhooks.enable(*acting, "they moved")
        with pytest.raises(Refused, match="enabled already"):
            await webhooks.enable(*acting)
        assert await webhooks.replay_given_up(*acting) == 2
        await deliver(server)
        assert len(set(receiver.identifiers)) == 2
        assert (await state(server)).state == "enabled"


async def test_the_endpoint_says_when(tmp_path: Path) -> None:
    """Retry-After is heeded where it is longer than the delay, and not for longer than a day."""
    async with following(tmp_path) as (server, receiver):
        receiver.answer = says(429, "Retry-After: 60")
        await register(server)
        await deliver(server)
        server.clock.advance(59)
        assert not await deliver(server)
        server.clock.advance(7)
        receiver.answer = says(503, "Retry-After: 99999999")
        assert await deliver(server)
        server.clock.advance(96_000)
        assert await deliver(server)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (says(302, "Location: http://127.0.0.1:1/"), "redirects are not followed"),
        (says(404), "it answers with 404"),
        (b"nonsense\r\n\r\n", "its answer is not HTTP"),
        (b"", "cannot be reached|not HTTP"),
        (says(200, f"X: {'x' * 20_000}"), "header is larger|not HTTP|answer is"),
    ],
)
async def test_what_is_no_answer(tmp_path: Path, answer: bytes, problem: str) -> None:
    """It is told in words, and tried again."""
    async with following(tmp_path) as (server, receiver):
        receiver.answer = answer
        await register(server)
        await deliver(server)
        (waits,) = [one async for one in webhooks.waiting(server.registry, server.issuer, "gateway")]
        assert waits.attempts == 1
        assert any(one in waits.problem for one in problem.split("|")), waits


async def test_a_large_answer_is_not_read(tmp_path: Path) -> None:
    """Only the status matters: whatever follows, it was taken."""

    async def endless(_: Delivered) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\n\r\n" + b"x" * 50_000

    async with following(tmp_path) as (server, receiver):
        receiver.answer = endless
        await register(server)
        await deliver(server)
        assert (await state(server)).waiting == 0


async def test_a_silent_endpoint(tmp_path: Path) -> None:
    """It is waited for as long as the settings say, with so many messages at once and no more."""

    async def silent(_: Delivered) -> bytes:
        await asyncio.sleep(30)
        return b""

    async with following(tmp_path, "seconds = 0.2\nat_once = 3") as (server, receiver):
        receiver.answer = silent
        for _ in range(7):
            await register(server)
        await deliver(server)
        assert receiver.most_together <= 3
        waits = [one async for one in webhooks.waiting(server.registry, server.issuer, "gateway")]
        assert {one.problem for one in waits} == {"it was not fetched within 0.2 seconds"} or {
            one.problem for one in waits
        } == {"it did not answer within 0.2 seconds"}
        assert [one.attempts for one in waits] == [1] * 7


async def test_a_slow_endpoint_is_in_nobody_s_way(tmp_path: Path) -> None:
    """What is behind at one is not waited for by another, however much there is."""

    async def silent(_: Delivered) -> bytes:
        await asyncio.sleep(60)
        return b""

    (tmp_path / "slow").mkdir()
    async with receiving() as slow, receiving() as quick:
        slow.answer = silent
        tables = slow.table(tmp_path / "slow", "slow") + quick.table(tmp_path, "quick")
        async with served(configured(slow.origin, quick.origin, tables=tables)) as server:
            for line in server.registry.webhooks.lines:
                server.registry.errands.start(keep_delivering(server.registry, *line), "delivery")
            for _ in range(300):
                await register(server)
            await quick.until(300)
            assert len(set(quick.identifiers)) == 300
            assert len(slow.came) <= 8


async def test_private_addresses_are_refused(tmp_path: Path) -> None:
    """The guard of everything that is fetched stands here too: a webhook leads to public addresses alone."""
    key_file(tmp_path, os.urandom(32))
    table = f'[webhook.gateway]\nurl = "https://inside.example/"\nsecret_file = "{tmp_path}/webhook.keys"'

    async def resolve(_host: str, _port: int) -> list[str]:
        return ["10.0.0.7"]

    fetcher = Fetcher(Fetching(), resolve=resolve)
    async with served(configured(tables=table), fetch=fetcher) as server:
        await register(server)
        await deliver(server)
        (waits,) = [one async for one in webhooks.waiting(server.registry, server.issuer, "gateway")]
        assert "address" in waits.problem or "reached" in waits.problem
        told = await webhooks.try_out(server.registry, server.issuer, "gateway")
        assert not told.delivered


async def test_keys_change_without_a_restart(tmp_path: Path) -> None:
    """While both are in the file, both sign; then the new one alone. A file that is no good sends nothing and loses nothing."""
    async with following(tmp_path) as (server, receiver):
        old, receiver.key = receiver.key, os.urandom(32)
        key_file(tmp_path, receiver.key, old)
        await register(server)
        await deliver(server)
        assert receiver.unverified == 0
        assert len(receiver.came[0].headers["webhook-signature"].split(" ")) == 2
        (tmp_path / "webhook.keys").write_text("nonsense")
        await register(server)
        with pytest.raises(delivery.NoKeys, match="line 1"):
            await deliver(server)
        with pytest.raises(Refused, match="line 1"):
            await webhooks.try_out(server.registry, server.issuer, "gateway")
        key_file(tmp_path, receiver.key)
        await deliver(server)
        assert (len(receiver.came), receiver.unverified) == (2, 0)


async def test_tried_out(tmp_path: Path) -> None:
    """A message of a type of its own, at once, and what came of it."""
    async with following(tmp_path) as (server, receiver):
        told = await webhooks.try_out(server.registry, server.issuer, "gateway")
        assert (told.delivered, told.status) == (True, 204)
        assert receiver.came[0].body["type"] == "webhook.test"
        assert receiver.unverified == 0
        receiver.answer = says(401)
        told = await webhooks.try_out(server.registry, server.issuer, "gateway")
        assert (told.delivered, told.problem) == (False, "it answers with 401")
        with pytest.raises(Unknown, match="gateway"):
            await webhooks.try_out(server.registry, server.issuer, "other")


async def test_replayed_from_the_log(tmp_path: Path) -> None:
    """By time and by identifier, under the identifiers that they had, with the client as it is now."""
    clock = FrozenClock()
    async with following(tmp_path, clock=clock) as (server, receiver):
        ids = []
        for _ in range(5):
            ids.append(await register(server))
            clock.advance(3600)
        await administration.suspend(server.registry, server.issuer, server.operator, ids[2])
        await deliver(server)
        first = {one.client_id: one.identifier for one in receiver.came if one.body["type"] == "client.registered"}
        acting = (server.registry, server.issuer, server.operator, "gateway")
        began = clock.now_ms - 5 * 3_600_000
        receiver.came.clear()
        count = await webhooks.replay(*acting, since_ms=began + 3_600_000, until_ms=began + 4 * 3_600_000)
        await deliver(server)

        assert count == 3
        assert {one.client_id: one.identifier for one in receiver.came} == {one: first[one] for one in ids[1:4]}
        (suspended,) = [one for one in receiver.came if one.client_id == ids[2]]
        assert suspended.body["type"] == "client.registered"
        assert suspended.body["data"]["client"]["state"] == "suspended"
        receiver.came.clear()
        assert await webhooks.replay_named(*acting, [first[ids[4]], first[ids[0]], first[ids[0]]]) == 2
        await deliver(server)
        assert {one.client_id for one in receiver.came} == {ids[0], ids[4]}
        assert receiver.unverified == 0
        with pytest.raises(Refused, match="evt_"):
            await webhooks.replay_named(*acting, ["msg_1"])
        assert await webhooks.replay_named(*acting, []) == 0


async def test_where_a_replay_begins_is_found_among_all_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked for the next event of an issuer that has few would read all of the others', some sixty times."""
    async with following(tmp_path) as (server, _):
        await register(server)
        asked: list[tuple[EventQuery, int]] = []
        events = server.registry.store.events

        async def seen(query: EventQuery, *, after: int = 0, limit: int = 100) -> Any:
            asked.append((query, limit))
            return await events(query, after=after, limit=limit)

        monkeypatch.setattr(server.registry.store, "events", seen, raising=False)
        assert await webhooks.replay(server.registry, server.issuer, server.operator, "gateway", since_ms=1) == 1
        assert {query for query, _ in asked} == {EventQuery()}
        assert len(asked) < 70


async def test_two_processes_deliver_once(tmp_path: Path) -> None:
    """One of them has the lease; when it leaves, the other goes on."""
    async with receiving() as receiver:
        table = receiver.table(tmp_path)
        where = f"sqlite:///{tmp_path}/registrar.db"
        clock = FrozenClock()
        async with (
            served(configured(receiver.origin, tables=table, database=where), clock=clock) as one,
            served(configured(receiver.origin, tables=table, database=where), clock=clock) as other,
        ):
            first, second = Line(one.registry, "main", "gateway"), Line(other.registry, "main", "gateway")
            for _ in range(10):
                await register(one)
            assert await asyncio.gather(first.deliver(), second.deliver()) in ([True, False], [False, True])
            assert len(receiver.came) == len(set(receiver.identifiers)) == 10
            await register(one)
            assert (await first.deliver()) + (await second.deliver()) == 1
            await first.leave()
            await second.leave()
            await register(one)
            assert await second.deliver()
            assert len(receiver.came) == len(set(receiver.identifiers)) == 12


async def test_killed_between_the_answer_and_the_outbox(tmp_path: Path) -> None:
    """It is sent once more, under the same identifier: never not at all."""
    async with following(tmp_path) as (server, receiver):
        await register(server)
        task = asyncio.create_task(deliver(server))

        async def kill(_: Delivered) -> bytes:
            task.cancel()
            return says(204)

        receiver.answer = kill
        with pytest.raises(asyncio.CancelledError):
            await task
        receiver.answer = says(204)
        await deliver(server)
        assert len(receiver.came) == 2
        assert len(set(receiver.identifiers)) == 1


async def test_what_a_neighbour_has_delivered_is_no_failure(tmp_path: Path) -> None:
    """A process that was taken for dead and wakes up finds its message gone, and goes on."""
    async with following(tmp_path) as (server, receiver):
        await register(server)
        store = server.registry.store

        async def slow(_: Delivered) -> bytes:
            for one in await store.items("main", outbox.waiting("gateway")):
                await store.change([Put(_newer(one))])
            return says(500)

        receiver.answer = slow
        assert await deliver(server)
        assert (await state(server)).waiting == 1


def _newer(item: Item) -> Item:
    return Item(item.issuer, item.kind, item.key, item.body, item.version + 1)


async def test_a_bell_wakes_the_delivery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process registers is told at once, not at the next look at the outbox."""
    monkeypatch.setattr(delivery, "_POLL", 3600)
    async with following(tmp_path) as (server, receiver):
        server.registry.errands.start(keep_delivering(server.registry, "main", "gateway"), "delivery")
        await asyncio.sleep(0.05)
        await register(server)
        await receiver.until(1, 5)


@pytest.mark.parametrize("problem", [StoreUnavailable("down"), NoKeys("none"), RuntimeError("a mistake of ours")])
async def test_nothing_ends_the_delivery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    """It goes on when the store answers again, and when something unexpected happened."""
    monkeypatch.setattr(delivery, "_POLL", 0.01)
    monkeypatch.setattr(delivery, "_AGAIN", 0.01)
    async with following(tmp_path) as (server, receiver):
        failures = 3
        real: Callable[[Line], Awaitable[bool]] = Line.deliver

        async def failing(line: Line) -> bool:
            nonlocal failures
            if failures:
                failures -= 1
                raise problem
            return await real(line)

        monkeypatch.setattr(Line, "deliver", failing)
        server.registry.errands.start(keep_delivering(server.registry, "main", "gateway"), "delivery")
        await register(server)
        await receiver.until(1, 5)
