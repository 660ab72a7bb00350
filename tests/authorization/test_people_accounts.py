"""Accounts that are kept here: names, passwords, wrong ones, and who disables them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from registrar.authorization import passwords, people, sessions
from registrar.authorization.people import Person, Unacceptable, Unrecognised
from registrar.domain.errors import ProtocolError
from registrar.service.ports import EventQuery
from registrar.testing import OPEN, Served, served

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse battery staple"


@pytest.fixture
async def server() -> AsyncIterator[Served]:
    """An issuer where people sign in."""
    async with served(OPEN) as server:
        yield server


async def add(server: Served, username: str = "alice", **more: Any) -> Person:
    """An account."""
    return await people.add(server.registry, server.issuer, username, PASSWORD, **more)


async def sign_in(server: Served, username: str, password: str, address: str = "192.0.2.1") -> Person:
    """The person whose these are."""
    return await people.authenticate(server.registry, server.issuer, username, password, address)


async def everything(server: Served) -> str:
    """What the store and the audit hold of people."""
    found = [
        repr(item.body)
        for kind in (people.KIND, people.NAME)
        for item in await server.registry.store.items("main", kind)
    ]
    stored = await server.registry.store.events(EventQuery(), limit=1000)
    return "\n".join([*found, *(repr(one.event.body + one.event.personal) for one in stored)])


async def test_a_person_signs_in_with_name_and_password(server: Served) -> None:
    """The name counts however it is capitalised, and the password exactly."""
    alice = await add(server, "Alice")
    assert await sign_in(server, "aLICE ", PASSWORD) == alice
    for wrong in (PASSWORD.upper(), PASSWORD + " ", "", "x" * 100_000):
        with pytest.raises(Unrecognised):
            await sign_in(server, "alice", wrong, f"192.0.2.{len(wrong) % 200}")


async def test_only_a_hash_of_the_password_is_kept(server: Served) -> None:
    """Neither the store nor the audit nor a repr has the password, and the hash is Argon2id."""
    alice = await add(server)
    assert alice.password.startswith("$argon2id$")
    assert PASSWORD not in await everything(server)
    assert "argon2" not in repr(alice)


async def test_a_name_is_taken_once(server: Served) -> None:
    """Of two who ask for a name at the same moment, one gets it; another spelling of it is the same name."""
    results = await asyncio.gather(add(server, "Bob"), add(server, "bob"), return_exceptions=True)
    assert sorted(type(one) for one in results if isinstance(one, Exception)) == [Unacceptable]
    with pytest.raises(Unacceptable, match="taken"):
        await add(server, "ＢＯＢ")


@pytest.mark.parametrize("username", ["", " ", "two words", "a" * 129, "a\u202eb", "a\x00b", "\u200b"])
async def test_a_name_is_visible_text_without_spaces(server: Served, username: str) -> None:
    """What would be invisible, or look like another name, is none."""
    with pytest.raises(Unacceptable, match="1 to 128 characters"):
        await add(server, username)


async def test_a_short_password_is_refused(server: Served) -> None:
    """The answer says how long a password is."""
    with pytest.raises(Unacceptable, match="12 to 512 characters"):
        await people.add(server.registry, server.issuer, "alice", "x" * 11)


async def test_guessing_is_slowed(server: Served) -> None:
    """After five wrong passwords the right one has to wait too, from that address and from no other."""
    await add(server)
    for _ in range(5):
        with pytest.raises(Unrecognised):
            await sign_in(server, "alice", "wrong")
    with pytest.raises(ProtocolError) as refused:
        await sign_in(server, "alice", PASSWORD)
    assert refused.value.kind.status == 429
    assert refused.value.headers[0][0] == b"retry-after"
    assert (await sign_in(server, "alice", PASSWORD, "198.51.100.7")).username == "alice"
    server.clock.advance(301)
    assert (await sign_in(server, "alice", PASSWORD)).username == "alice"


async def test_guessing_at_many_accounts_is_slowed_too(server: Served) -> None:
    """One password tried with many names counts for the address; an IPv6 household is one address."""
    for number in range(5):
        with pytest.raises(Unrecognised):
            await sign_in(server, f"person{number}", "wrong", f"2001:db8::{number}")
    with pytest.raises(ProtocolError):
        await sign_in(server, "another", "wrong", "2001:db8::ffff")


async def test_attempts_at_once_are_counted_before_they_are_looked_at(server: Served) -> None:
    """Twenty guesses at the same moment are not twenty guesses."""
    await add(server)
    results = await asyncio.gather(*(sign_in(server, "alice", "wrong") for _ in range(20)), return_exceptions=True)
    looked_at = [one for one in results if isinstance(one, Unrecognised)]
    assert len(looked_at) <= 5


async def test_nobody_takes_as_long_as_somebody(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nobody has costs a hash as well, so that time does not tell which names exist."""
    hashed: list[str] = []
    real = passwords._verified

    def watched(encoded: str, password: str) -> bool:
        hashed.append(encoded)
        return real(encoded, password)

    monkeypatch.setattr(passwords, "_verified", watched)
    with pytest.raises(Unrecognised):
        await sign_in(server, "nobody", PASSWORD)
    assert [encoded.split("$")[3] for encoded in hashed] == [(await add(server)).password.split("$")[3]]


async def test_a_disabled_account_ends_at_once(server: Served) -> None:
    """Its sessions are gone, its owner is not signed in, and enabling it brings no session back."""
    alice = await add(server)
    value, _ = await sessions.begin(server.registry, server.issuer, alice, amr=("pwd",))
    disabled = await people.set_disabled(server.registry, server.issuer, alice, True, server.operator.actor())
    assert await sessions.current(server.registry, server.issuer, value) is None
    with pytest.raises(Unrecognised):
        await sign_in(server, "alice", PASSWORD)
    assert await people.claims(server.registry, server.issuer, alice.subject) == {}
    await people.set_disabled(server.registry, server.issuer, disabled, False, server.operator.actor())
    assert (await sign_in(server, "alice", PASSWORD)).subject == alice.subject
    assert await sessions.current(server.registry, server.issuer, value) is None


async def test_two_changes_at_once_both_hold(server: Served) -> None:
    """A new password does not bring back an account that was disabled at the same moment."""
    alice = await add(server)
    actor = server.operator.actor()
    await asyncio.gather(
        people.set_password(server.registry, server.issuer, alice, "another long password", actor),
        people.set_disabled(server.registry, server.issuer, alice, True, actor),
    )
    now = await people.find(server.registry, server.issuer, alice.subject)
    assert now is not None
    assert now.disabled
    assert now.password != alice.password


async def test_a_subject_is_no_client_id(server: Served) -> None:
    """The two share no namespace, so neither is ever taken for the other."""
    alice = await add(server)
    registered = (await server.client.post("/register", json={"redirect_uris": ["https://a.example/cb"]})).json()
    assert "." in alice.subject
    assert "." not in registered["client_id"]


async def test_too_many_passwords_at_once_are_turned_away(server: Served) -> None:
    """A flood of sign-ins gets 503 instead of all the memory there is."""
    results = await asyncio.gather(
        *(sign_in(server, f"p{number}", "wrong", f"192.0.2.{number}") for number in range(40)), return_exceptions=True
    )
    refused = [one for one in results if isinstance(one, ProtocolError)]
    assert refused
    assert {one.kind.status for one in refused} == {503}
