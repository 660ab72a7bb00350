"""`registrar user`: add, list, disable, enable, passwd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from registrar.authorization import backchannel, logout, people
from registrar.authorization.people import Unrecognised
from registrar.service.ports import EventQuery, Item, Put

if TYPE_CHECKING:
    from conftest import Desk
    from registrar.service.registry import Registry

PASSWORD = "correct horse battery staple"


def signs_in(desk: Desk, password: str, username: str = "ann") -> bool:
    """Whether a name and a password belong together."""
    found: list[bool] = []

    async def act(registry: Registry) -> None:
        try:
            await people.authenticate(registry, registry.issuers["main"], username, password, "192.0.2.1")
        except Unrecognised:
            found.append(False)
        else:
            found.append(True)

    desk.open(act)
    return found[0]


def add(desk: Desk, username: str = "ann", *options: str) -> str:
    """The subject of a new account."""
    subject: str = desk.told("user", "add", username, "--password-file", "-", *options, input=f"{PASSWORD}\n")[
        "subject"
    ]
    return subject


def test_add(desk: Desk) -> None:
    """The account signs in; the list has it, and nothing that is printed has the password."""
    subject = add(desk, "ann", "--name", "Ann Example", "--email", "ann@example.com")
    (row,) = desk.told("user", "list")

    assert (row["subject"], row["username"], row["status"]) == (subject, "ann", "active")
    assert (row["name"], row["email"]) == ("Ann Example", "ann@example.com")
    assert PASSWORD not in desk.done("user", "list")
    assert signs_in(desk, PASSWORD)


def test_a_password_is_typed_twice(desk: Desk) -> None:
    """Without a file it is asked for, unseen."""
    printed = desk.run("user", "add", "ann", input=f"{PASSWORD}\n{PASSWORD}\n")

    assert printed.exit_code == 0
    assert PASSWORD not in printed.output
    assert signs_in(desk, PASSWORD)


def test_what_cannot_be_taken(desk: Desk) -> None:
    """A name that is taken, and a password that is too short, are told in a line; nothing is made."""
    add(desk)

    assert desk.refused("user", "add", "ANN", "--password-file", "-", input=PASSWORD) == "The name ANN is taken."
    assert "12 to 512" in desk.refused("user", "add", "bob", "--password-file", "-", input="short")
    assert len(desk.told("user", "list")) == 1


def test_disable_and_enable(desk: Desk) -> None:
    """By the name or by the subject; the audit tells who did it."""
    subject = add(desk)

    assert "Disabled." in desk.done("user", "disable", "ann")
    assert not signs_in(desk, PASSWORD)
    assert desk.told("user", "list")[0]["status"] == "disabled"
    assert desk.told("user", "enable", subject)["status"] == "active"
    assert signs_in(desk, PASSWORD)

    kinds: list[str] = []

    async def act(registry: Registry) -> None:
        kinds.extend(one.event.kind for one in await registry.store.events(EventQuery(kind="person.changed")))

    desk.open(act)
    assert len(kinds) == 2


def test_passwd(desk: Desk) -> None:
    """The new password counts and the old one does not."""
    add(desk)

    desk.done("user", "passwd", "ann", "--password-file", "-", input="another long password\n")

    assert not signs_in(desk, PASSWORD)
    assert signs_in(desk, "another long password")


@pytest.mark.parametrize("command", ["disable", "enable", "passwd"])
def test_nobody(desk: Desk, command: str) -> None:
    """Somebody who is not there is told so."""
    more = ("--password-file", "-") if command == "passwd" else ()

    assert desk.refused("user", command, "bob", *more, input=PASSWORD) == "nobody here is called bob"


def test_passwd_of_somebody_from_upstream(desk: Desk) -> None:
    """Their password is at the provider."""

    async def act(registry: Registry) -> None:
        told = {"sub": "1", "preferred_username": "carol"}
        await people.from_upstream(registry, registry.issuers["main"], "https://login.example", told)

    desk.open(act)
    subject = desk.told("user", "list")[0]["subject"]

    assert "which has the password" in desk.refused("user", "passwd", subject, "--password-file", "-", input=PASSWORD)


@pytest.mark.parametrize("command", [["disable", "ann"], ["passwd", "ann", "--password-file", "-"], ["enable", "ann"]])
def test_applications_hear_of_sessions_that_end(desk: Desk, command: list[str]) -> None:
    """What they are to be told lies in the database with the change, for a server to send."""
    subject = add(desk)
    client = desk.register({"backchannel_logout_uri": "https://app.example/out"})
    waiting: list[str] = []

    async def signed_in(registry: Registry) -> None:
        key = f"s1 {client['client_id']}"
        known = Item("main", logout.KIND, key, b"{}", client_id=client["client_id"], owner=subject)
        await registry.store.change([Put(known)])

    async def look(registry: Registry) -> None:
        waiting.extend(one.client_id for one in await registry.store.items("main", backchannel.WAITING))

    if command[0] == "enable":
        desk.done("user", "disable", "ann")
    desk.open(signed_in)
    desk.done("user", *command, input=f"{PASSWORD} two\n")
    desk.open(look)
    assert waiting == ([] if command[0] == "enable" else [client["client_id"]])
