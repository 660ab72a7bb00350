"""Signing out everywhere: what a request to sign out may ask for, who is told, and how often it is tried."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from authorizing import code_for, exchange
from openid_connect import JWKS, RSA, alice, client_of, decrypted, openid, under_secret, verified

from registrar.authorization import backchannel, code, id_token, logout, people, sessions
from registrar.authorization.backchannel import Notice
from registrar.authorization.grant import Grant
from registrar.authorization.request import Authentication
from registrar.authorization.sessions import Visit
from registrar.domain.errors import ProtocolError
from registrar.service import administration, clients
from registrar.service.outbox import Queue
from registrar.service.ports import FetchError, Item, StoreUnavailable
from registrar.storage.memory import MemoryStore
from registrar.testing import Documents, Served, served

pytestmark = pytest.mark.anyio

AFTER = "https://app.example/bye"
HEARS = "https://app.example/backchannel"
FRAME = "https://app.example/frame?a=b"


async def visit_of(server: Served) -> Visit:
    """Alice, signed in."""
    _, visit = await sessions.begin(server.registry, server.issuer, await alice(server), amr=("pwd",))
    return visit


async def told(server: Served, visit: Visit, **members: Any) -> tuple[dict[str, Any], str]:
    """A client that was told of a session, and the ID token that told it."""
    registered = await client_of(server, post_logout_redirect_uris=[AFTER], **members)
    client = await clients.find(server.registry, server.issuer, registered["client_id"])
    assert client is not None
    grant = Grant("main", "g", client.client_id, visit.session.authentication, ("openid",))
    await server.registry.store.change(logout.remembered(server.issuer, client, grant.authentication))
    return registered, await id_token.make(
        server.registry, server.issuer, client, grant, nonce=None, now=server.clock.now
    )


async def judged(server: Served, **parameters: str) -> logout.Request:
    """A request to sign out."""
    return await logout.judge(server.registry, server.issuer, parameters)


# --- RP-initiated ------------------------------------------------------------------------------------------------------


async def test_a_request_of_the_client_leads_back_to_it() -> None:
    """With its ID token and its own address, state repeated, nobody is asked; an expired ID token is as good."""
    async with served(openid()) as server:
        visit = await visit_of(server)
        client, token = await told(server, visit)
        server.clock.advance(100_000)
        request = await judged(
            server, id_token_hint=token, post_logout_redirect_uri=AFTER, state="a b&c", client_id=client["client_id"]
        )
        assert request.destination == f"{AFTER}?state=a+b%26c"
        assert not await logout.needs_confirmation(server.registry, server.issuer, request, visit)


@pytest.mark.parametrize("wanted", [f"{AFTER}/", f"{AFTER}?a=b", "https://evil.example/", "https://app.example/BYE"])
async def test_an_address_that_is_not_registered_is_not_followed(wanted: str) -> None:
    """Compared code point by code point; and without a client there is no address at all."""
    async with served(openid()) as server:
        client, token = await told(server, await visit_of(server))
        for more in ({"id_token_hint": token}, {"client_id": client["client_id"]}, {}):
            with pytest.raises(ProtocolError, match="post_logout_redirect_uri"):
                await judged(server, post_logout_redirect_uri=wanted, **more)


async def test_hints_that_are_not_good_are_told() -> None:
    """Another client's ID token beside client_id, an altered one, a logout token, and a client that is no more."""
    async with served(openid()) as server:
        visit = await visit_of(server)
        one, token = await told(server, visit)
        other, _ = await told(server, visit)
        client = await clients.find(server.registry, server.issuer, one["client_id"])
        assert client is not None
        notice = Notice(client.client_id, visit.person.subject, visit.session.session_id)
        report = await backchannel.logout_token(server.registry, server.issuer, client, notice, server.clock.now)
        for bad in (
            {"id_token_hint": token, "client_id": other["client_id"]},
            {"id_token_hint": f"{token[:-4]}AAAA"},
            {"id_token_hint": report},
            {"id_token_hint": "x"},
            {"client_id": "nobody"},
        ):
            with pytest.raises(ProtocolError) as problem:
                await judged(server, **bad)
            assert problem.value.kind.name == "invalid_request"


async def test_who_is_asked() -> None:
    """Without a hint, with somebody else's, or with that of another session, the person decides; signed out, nobody does."""
    async with served(openid()) as server:
        visit, later = await visit_of(server), await visit_of(server)
        client, token = await told(server, visit)
        plain, named = await judged(server), await judged(server, client_id=client["client_id"])
        hinted = await judged(server, id_token_hint=token)
        for request, who, asked in (
            (plain, visit, True),
            (named, visit, True),
            (hinted, visit, False),
            (hinted, later, True),
            (plain, None, False),
        ):
            assert await logout.needs_confirmation(server.registry, server.issuer, request, who) is asked


async def test_a_pairwise_hint_is_recognised() -> None:
    """The identifier in the hint is the one that this client knows."""
    async with served(openid()) as server:
        visit = await visit_of(server)
        _, token = await told(server, visit, subject_type="pairwise")
        request = await judged(server, id_token_hint=token)
        assert request.hinted != visit.person.subject
        assert not await logout.needs_confirmation(server.registry, server.issuer, request, visit)


# --- everywhere ----------------------------------------------------------------------------------------------------------


async def test_clients_of_the_session_are_told() -> None:
    """Those that got an ID token in this session and want to hear: a logout token each, and no other client."""
    documents = Documents({HEARS: b""})
    async with served(openid(), fetch=documents) as server:
        visit, other = await visit_of(server), await visit_of(server)
        client, _ = await told(server, visit, backchannel_logout_uri=HEARS, backchannel_logout_session_required=True)
        await told(server, other, backchannel_logout_uri=HEARS)
        await told(server, visit)
        assert await logout.end(server.registry, server.issuer, visit) == []
        await server.registry.errands.done()
        ((url, form),) = documents.posted
        token = await verified(server, form["logout_token"])
        assert url == HEARS
        assert form.keys() == {"logout_token"}
        assert token.header["typ"] == "logout+jwt"
        assert token.claims.pop("jti")
        assert token.claims == {
            "iss": server.issuer.url,
            "sub": visit.person.subject,
            "aud": client["client_id"],
            "iat": server.clock.now,
            "exp": server.clock.now + 120,
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
            "sid": visit.session.session_id,
        }
        assert await server.registry.store.item("main", "session", visit.item.key) is None
        assert await server.registry.store.item("main", "session", other.item.key) is not None


@pytest.mark.parametrize(
    "members",
    [
        {"id_token_signed_response_alg": "HS256"},
        {"id_token_encrypted_response_alg": "RSA-OAEP-256", "jwks": JWKS},
        {"subject_type": "pairwise"},
    ],
)
async def test_a_logout_token_is_as_the_clients_id_tokens_are(members: dict[str, Any]) -> None:
    """Signed, encrypted and with the subject that this client has registered."""
    documents = Documents({HEARS: b""})
    async with served(openid(), fetch=documents) as server:
        visit = await visit_of(server)
        client, _ = await told(server, visit, backchannel_logout_uri=HEARS, **members)
        await logout.end(server.registry, server.issuer, visit)
        await server.registry.errands.done()
        compact = documents.posted[0][1]["logout_token"]
        if "jwks" in members:
            compact = decrypted(compact, RSA)[1]
        symmetric = members.get("id_token_signed_response_alg") == "HS256"
        token = under_secret(compact, client["client_secret"]) if symmetric else await verified(server, compact)
        assert token.claims["aud"] == client["client_id"]
        assert (token.claims["sub"] == visit.person.subject) is ("subject_type" not in members)


async def waiting(server: Served) -> list[Item]:
    """What is still to be told."""
    return list(await server.registry.store.items("main", backchannel.WAITING))


async def tried_again(server: Served) -> None:
    """What a server does every few seconds."""
    await backchannel.tell_due(server.registry, server.issuer, Queue("main", backchannel.WAITING))


async def test_telling_is_tried_a_few_times_and_waited_for_by_nobody() -> None:
    """The session ends at once; a client that cannot be reached is tried later and later, as often as the setting says."""
    documents = Documents({HEARS: FetchError("its host cannot be reached")})
    async with served(openid(), fetch=documents) as server:
        visit = await visit_of(server)
        await told(server, visit, backchannel_logout_uri=HEARS)
        await logout.end(server.registry, server.issuer, visit)
        assert documents.posted == []
        await server.registry.errands.done()
        for attempt, wait in enumerate((5, 300, 1_800, 7_200), 1):
            assert len(documents.posted) == attempt
            await tried_again(server)
            assert len(documents.posted) == attempt  # not yet
            server.clock.advance(int(wait * 1.1) + 1)
            await tried_again(server)
        assert len(documents.posted) == 5
        assert await waiting(server) == []
        tokens = [(await verified(server, form["logout_token"])).claims for _, form in documents.posted]
        assert len({one["jti"] for one in tokens}) == 5  # each is signed when it is sent, and valid then
        assert [one["exp"] - one["iat"] for one in tokens] == [120] * 5
        assert tokens[4]["iat"] == server.clock.now


async def test_a_client_that_hears_at_last_is_told_once() -> None:
    """What it did not hear at first is told as soon as it is there again, by one of many servers."""
    documents = Documents({HEARS: FetchError("its host cannot be reached")})
    async with served(openid(), fetch=documents) as server:
        visit = await visit_of(server)
        await told(server, visit, backchannel_logout_uri=HEARS)
        await logout.end(server.registry, server.issuer, visit)
        await server.registry.errands.done()
        documents.documents[HEARS] = b""
        server.clock.advance(6)
        await asyncio.gather(*(tried_again(server) for _ in range(8)))
        assert len(documents.posted) == 2
        assert await waiting(server) == []


async def test_what_a_killed_process_had_to_tell_is_told_by_another() -> None:
    """It was stored with the end of the session, so that nothing of it is lost; while it is being told nobody else does."""
    documents = Documents({HEARS: b""})
    async with served(openid(), fetch=documents) as server:
        visit = await visit_of(server)
        client, _ = await told(server, visit, backchannel_logout_uri=HEARS)
        await logout.end(server.registry, server.issuer, visit)
        await server.registry.errands.close()  # before anything was sent
        assert documents.posted == []
        assert await server.registry.store.items("main", logout.KIND) == []
        await tried_again(server)
        assert documents.posted == []
        server.clock.advance(36)
        await tried_again(server)
        ((_, form),) = documents.posted
        token = await verified(server, form["logout_token"])
        assert (token.claims["aud"], token.claims["sid"]) == (client["client_id"], visit.session.session_id)
        assert await waiting(server) == []


async def test_what_cannot_be_stored_is_not_half_done() -> None:
    """The session goes on, and nobody is told that it ended."""

    class Full(MemoryStore):
        full = False

        async def change(self, changes: Any, events: Any = ()) -> None:
            if self.full:
                raise StoreUnavailable("the disk is full")
            await super().change(changes, events)

    documents, store = Documents({HEARS: b""}), Full()
    async with served(openid(), store=store, fetch=documents) as server:
        visit = await visit_of(server)
        await told(server, visit, backchannel_logout_uri=HEARS)
        store.full = True
        with pytest.raises(StoreUnavailable):
            await logout.end(server.registry, server.issuer, visit)
        await server.registry.errands.done()
        assert documents.posted == []
        assert await store.item("main", "session", visit.item.key) is not None
        assert await waiting(server) == []


@pytest.mark.parametrize("act", ["disable", "password"])
async def test_sessions_that_an_operator_ends_are_told_of(act: str) -> None:
    """All sessions of that person, with what ended them, and nobody else's; a server sends it at its next look."""
    documents = Documents({HEARS: b""})
    async with served(openid(), fetch=documents) as server:
        registry, issuer, person = server.registry, server.issuer, await alice(server)
        visits = [await visit_of(server) for _ in range(2)]
        clients_told = [(await told(server, visit, backchannel_logout_uri=HEARS))[0] for visit in visits]
        bob = await people.add(registry, issuer, "bob", "correct horse battery")
        _, other = await sessions.begin(registry, issuer, bob, amr=("pwd",))
        await told(server, other, backchannel_logout_uri=HEARS)

        changes = await logout.everywhere(registry, issuer, person.subject)
        actor = server.operator.actor()
        if act == "disable":
            await people.set_disabled(registry, issuer, person, True, actor, changes)
        else:
            await people.set_password(registry, issuer, person, "another long password", actor, changes)
        assert documents.posted == []
        await tried_again(server)

        tokens = [(await verified(server, form["logout_token"])).claims for _, form in documents.posted]
        assert {(one["aud"], one["sid"]) for one in tokens} == {
            (client["client_id"], visit.session.session_id) for client, visit in zip(clients_told, visits, strict=True)
        }
        assert await waiting(server) == []
        assert [one.owner for one in await registry.store.items("main", logout.KIND)] == [bob.subject]


async def test_a_client_that_is_gone_is_not_told() -> None:
    """Deleted or suspended meanwhile: what was to be told of it goes."""
    documents = Documents({HEARS: FetchError("its host cannot be reached")})
    async with served(openid(), fetch=documents) as server:
        visit = await visit_of(server)
        deleted, _ = await told(server, visit, backchannel_logout_uri=HEARS)
        suspended, _ = await told(server, visit, backchannel_logout_uri=HEARS)
        await logout.end(server.registry, server.issuer, visit)
        await server.registry.errands.done()
        acting = (server.registry, server.issuer, server.operator)
        await administration.delete(*acting, deleted["client_id"])
        await administration.suspend(*acting, suspended["client_id"])
        assert [one.client_id for one in await waiting(server)] == [suspended["client_id"]]
        server.clock.advance(10)
        await tried_again(server)
        assert len(documents.posted) == 2
        assert await waiting(server) == []


async def test_a_client_that_does_not_answer_is_given_up() -> None:
    """Neither the page nor the end of the server waits for it."""

    class Silent(Documents):
        async def post(self, url: str, form: Any, **more: Any) -> Any:
            del more
            self.posted.append((url, dict(form)))
            await asyncio.Event().wait()

    documents = Silent()
    async with served(openid(), fetch=documents) as server:
        visit = await visit_of(server)
        await told(server, visit, backchannel_logout_uri=HEARS)
        await logout.end(server.registry, server.issuer, visit)
        await asyncio.sleep(0)
        assert len(documents.posted) == 1


async def test_frames_are_for_the_page_to_load() -> None:
    """The registered address with iss and sid, its own query kept; and the origins that the page may frame."""
    async with served(openid()) as server:
        visit = await visit_of(server)
        await told(server, visit, frontchannel_logout_uri=FRAME, frontchannel_logout_session_required=True)
        (frame,) = await logout.end(server.registry, server.issuer, visit)
        assert frame.startswith(f"{FRAME}&")
        query = dict(parse_qsl(urlsplit(frame).query))
        assert query == {"a": "b", "iss": server.issuer.url, "sid": visit.session.session_id}
        assert logout.origins([frame]) == ("https://app.example",)


async def test_what_is_known_of_a_session_goes_with_the_client() -> None:
    """A deleted client is neither told nor framed."""
    documents = Documents({HEARS: b""})
    async with served(openid(), fetch=documents) as server:
        visit = await visit_of(server)
        client, _ = await told(server, visit, backchannel_logout_uri=HEARS, frontchannel_logout_uri=FRAME)
        header = {"authorization": f"Bearer {client['registration_access_token']}"}
        assert (await server.client.delete(client["registration_client_uri"], headers=header)).status_code == 204
        assert await logout.end(server.registry, server.issuer, visit) == []
        await server.registry.errands.done()
        assert documents.posted == []


async def test_an_exchange_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client waits for a commit once, also where it wants to hear of the end of the session; a refusal writes nothing.

    Who signed in is looked up where something of them is told, and not otherwise.
    """
    async with served(openid()) as server:
        person = await alice(server)
        who = Authentication(person.subject, server.clock.now - 5, "s1", "", ("pwd",))
        client = await client_of(server, backchannel_logout_uri=HEARS)
        plain = await code_for(server, client, scope="openid", who=who)
        claims = {"id_token": {"email": None}}
        telling = await code_for(server, client, scope="openid", who=who, claims=claims)
        store = server.registry.store
        change, item = store.change, store.item
        writes, reads = list[int](), list[str]()

        async def counted(changes: Any, events: Any = ()) -> None:
            writes.append(len(changes))
            await change(changes, events)

        async def seen(issuer: str, kind: str, key: str) -> Any:
            reads.append(kind)
            return await item(issuer, kind, key)

        monkeypatch.setattr(store, "change", counted)
        monkeypatch.setattr(store, "item", seen)
        assert (await exchange(server, client, plain, code_verifier="wrong" * 12)).status_code == 400
        assert writes == []
        reads.clear()
        answer = await exchange(server, client, plain)
        assert answer.status_code == 200, answer.text
        assert "email" not in (await verified(server, answer.json()["id_token"])).claims
        assert len(writes) == 1
        assert reads == [code.KIND]
        [kept] = await store.items("main", logout.KIND, client_id=client["client_id"])
        assert kept.owner == person.subject
        answer = await exchange(server, client, telling)
        assert (await verified(server, answer.json()["id_token"])).claims["email"] == "alice@example.com"
