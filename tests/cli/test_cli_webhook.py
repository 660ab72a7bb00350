"""`registrar webhook`: who is told, what waits, and sending again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import anyio
import pytest

from registrar.service.delivery import Line
from webhook_receiver import Receiver, key_file, receiving, says

if TYPE_CHECKING:
    from conftest import Desk
    from registrar.service.registry import Registry


@pytest.fixture
def told(desk: Desk) -> Desk:
    """A desk with a webhook that leads nowhere."""
    path = key_file(desk.folder, os.urandom(32))
    text = desk.configuration.read_text("utf-8")
    desk.configuration.write_text(
        f'{text}\n[server.fetch]\nallow = ["http://127.0.0.1:1"]\n'
        f'[webhook.gateway]\nurl = "http://127.0.0.1:1/in"\nsecret_file = "{path}"\n'
    )
    return desk


def deliver(desk: Desk) -> None:
    """One round of what a server does."""

    async def act(registry: Registry) -> None:
        await Line(registry, "main", "gateway").deliver()

    desk.open(act)


def test_none(desk: Desk) -> None:
    """Without webhooks there is nothing to list, and an unknown one is told."""
    assert desk.done("webhook", "list") == "none\n"
    assert "there is no webhook gateway at main" in desk.refused("webhook", "show", "gateway")


def test_what_waits_and_sending_again(told: Desk) -> None:
    """What was registered waits; what the log tells is sent again under the same identifier."""
    client = told.register()
    (row,) = told.told("webhook", "list")
    shown = told.told("webhook", "show", "gateway")
    (message,) = shown["messages"]
    assert (row["webhook"], row["waiting"], row["state"]) == ("gateway", 1, "enabled")
    assert message["type"] == "client.registered"
    assert "client.registered" in told.done("webhook", "show", "gateway")
    deliver(told)
    assert told.told("webhook", "show", "gateway")["messages"][0]["problem"] == "its host cannot be reached"
    for options in (["--since", "2020-01-01"], ["--since", "0"], ["--id", message["id"]]):
        assert told.told("webhook", "replay", "gateway", *options)["replayed"] == 1
    assert told.told("webhook", "replay", "gateway", "--since", "2020-01-01", "--until", "2021-01-01T00:00Z") == {
        "webhook": "gateway",
        "replayed": 0,
    }
    assert told.told("webhook", "replay", "gateway", "--given-up")["replayed"] == 0
    assert "a running server sends it" in told.done("webhook", "replay", "gateway", "--id", message["id"])
    assert "Nothing of that is there" in told.done("webhook", "replay", "gateway", "--id", f"evt_{'0' * 43}")
    assert "is no identifier of a message" in told.refused("webhook", "replay", "gateway", "--id", f"evt_{'z' * 43}")
    ids = {one["id"] for one in told.told("webhook", "show", "gateway")["messages"]}
    assert ids == {message["id"]}
    assert client["client_id"]
    assert told.done("webhook", "dead", "gateway") == "none\n"


def test_misused(told: Desk) -> None:
    """One way of saying what is sent again, and times that are times."""
    for options in ([], ["--since", "2020-01-01", "--given-up"], ["--since", "yesterday"]):
        told.misused("webhook", "replay", "gateway", *options)
    assert "identifier" in told.refused("webhook", "replay", "gateway", "--id", "x")
    assert "enabled already" in told.refused("webhook", "enable", "gateway")


def test_tried_out(told: Desk) -> None:
    """What came of it is printed, and the exit status tells it too."""
    failed = told.run("webhook", "test", "gateway", "--json")
    assert failed.exit_code == 1
    assert '"problem": "its host cannot be reached"' in failed.stdout
    seen: list[Receiver] = []

    async def act() -> None:
        async with receiving() as receiver:
            receiver.key = b"k" * 32
            key_file(told.folder, receiver.key)
            text = told.configuration.read_text("utf-8").replace("http://127.0.0.1:1", receiver.origin)
            told.configuration.write_text(text)
            result = await anyio.to_thread.run_sync(lambda: told.run("webhook", "test", "gateway"))
            assert result.exit_code == 0, result.output
            receiver.answer = says(410)
            result = await anyio.to_thread.run_sync(lambda: told.run("webhook", "test", "gateway"))
            assert result.exit_code == 1, result.output
            seen.append(receiver)

    anyio.run(act)
    assert (len(seen[0].came), seen[0].unverified) == (2, 0)


def test_gone_and_enabled(told: Desk) -> None:
    """An endpoint that answered that it is gone is shown as such; what was given up is listed and sent again."""

    async def act() -> None:
        async with receiving() as receiver:
            receiver.answer = says(410)
            text = told.configuration.read_text("utf-8").replace("http://127.0.0.1:1", receiver.origin)
            told.configuration.write_text(text)
            await anyio.to_thread.run_sync(told.register)
            await anyio.to_thread.run_sync(lambda: deliver(told))

    anyio.run(act)
    assert told.told("webhook", "list")[0]["state"] == "gone"
    (dead,) = told.told("webhook", "dead", "gateway")
    assert dead["problem"] == "it answers with 410"
    assert told.told("webhook", "enable", "gateway", "--reason", "moved")["state"] == "enabled"
    assert told.told("webhook", "replay", "gateway", "--given-up")["replayed"] == 1
    assert told.done("webhook", "dead", "gateway") == "none\n"
