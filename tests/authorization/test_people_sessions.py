"""Sessions: how they begin and end, and what is tied to a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from registrar.authorization import people, sessions
from registrar.authorization.people import Person
from registrar.testing import OPEN, Served, served

pytestmark = pytest.mark.anyio

LIMITS = "\n[issuer.main.people]\nsession_lifetime = 1000\nsession_idle = 300\n"


@pytest.fixture
async def server() -> AsyncIterator[Served]:
    """An issuer whose sessions are short."""
    async with served(OPEN + LIMITS) as server:
        yield server


@pytest.fixture
async def alice(server: Served) -> Person:
    """Somebody with an account."""
    return await people.add(server.registry, server.issuer, "alice", "correct horse battery staple")


async def current(server: Served, value: str) -> sessions.Visit | None:
    """The session of a cookie."""
    return await sessions.current(server.registry, server.issuer, value)


async def begin(server: Served, alice: Person, replaces: str = "") -> str:
    """A new session's cookie."""
    value, _ = await sessions.begin(server.registry, server.issuer, alice, amr=("pwd",), replaces=replaces)
    return value


async def test_a_session_says_who_signed_in_when_and_how(server: Served, alice: Person) -> None:
    """What ID tokens tell of a sign-in comes from it, and its sid is not the cookie."""
    value = await begin(server, alice)
    visit = await current(server, value)
    assert visit is not None
    told = visit.session.authentication
    assert (told.subject, told.time, told.amr) == (alice.subject, server.clock.now, ("pwd",))
    assert told.session_id not in value


async def test_signing_in_anew_gives_another_identifier(server: Served, alice: Person) -> None:
    """What the browser had before is worth nothing after, so that nobody plants a session (OWASP: fixation)."""
    before = await begin(server, alice)
    after = await begin(server, alice, replaces=before)
    assert after != before
    assert await current(server, before) is None
    assert await current(server, after) is not None


async def test_the_store_does_not_hold_the_cookie(server: Served, alice: Person) -> None:
    """A stolen database signs nobody in."""
    value = await begin(server, alice)
    (item,) = await server.registry.store.items("main", sessions.KIND)
    assert value not in repr(item)


async def test_an_idle_session_ends(server: Served, alice: Person) -> None:
    """A visit keeps it, silence ends it."""
    value = await begin(server, alice)
    server.clock.advance(200)
    assert await current(server, value) is not None
    server.clock.advance(200)
    assert await current(server, value) is not None
    server.clock.advance(300)
    assert await current(server, value) is None


async def test_a_busy_session_ends_too(server: Served, alice: Person) -> None:
    """After its lifetime, however often it was used."""
    value = await begin(server, alice)
    for _ in range(4):
        server.clock.advance(240)
        assert await current(server, value) is not None
    server.clock.advance(40)
    assert await current(server, value) is None


async def test_a_session_is_of_one_issuer() -> None:
    """The cookie of one issuer means nothing at another."""
    two = OPEN + '\n[issuer.other]\nurl = "http://127.0.0.1:8000/other"\n'
    async with served(two) as server:
        main, other = server.registry.issuers.values()
        bob = await people.add(server.registry, main, "bob", "correct horse battery staple")
        value, _ = await sessions.begin(server.registry, main, bob, amr=("pwd",))
        assert await sessions.current(server.registry, main, value) is not None
        assert await sessions.current(server.registry, other, value) is None


@pytest.mark.parametrize("value", ["", "x", "x" * 10_000, "\u20ac"])
async def test_no_cookie_of_any_shape_is_a_session(server: Served, value: str) -> None:
    """What was never issued signs nobody in."""
    assert await current(server, value) is None


def test_a_bound_value_is_of_one_browser_and_one_purpose() -> None:
    """Neither another browser nor another page has it, and an empty cookie has none."""
    value = sessions.bound("browser", "form", "consent")
    assert sessions.is_bound(value, "browser", "form", "consent")
    assert not sessions.is_bound(value, "another", "form", "consent")
    assert not sessions.is_bound(value, "browser", "form", "account")
    assert not sessions.is_bound(value, "browser", "formconsent")
    assert not sessions.is_bound(sessions.bound("", "form"), "", "form")
