"""The suite that every store must pass, in three tiers; it is what `registrar.service.ports.Store` means.

A store of your own is proven by a subclass with one fixture, an open and empty store:

    class TestMyStore(StoreConformance):
        @pytest.fixture
        async def store(self, tmp_path):
            store = MyStore(tmp_path)
            yield store
            await store.close()

The tiers are `StoreRecords` (what goes in comes out), `StoreTransactions` (all of a write, or nothing of it) and
`StoreParallel` (the same under concurrent callers). A store that cannot hold one of them says so, with its reason,
which pytest then reports beside every test that was left out:

    class TestMyStore(StoreConformance):
        exempt = {"StoreParallel": "one writer at a time, by construction; the server is not run on it"}

A key of `exempt` is a tier or a single test; an empty reason, or a key that names neither, is a failure.

The tests run under anyio's plugin for pytest, on asyncio. For the values in failed assertions, say
`pytest.register_assert_rewrite("registrar.testing.store_conformance")` in `conftest.py`, before this module is imported.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, ClassVar, Final

import msgspec
import pytest

from registrar.domain import chain
from registrar.domain.access_token import InitialAccessToken, Kind
from registrar.domain.chain import Batch
from registrar.domain.client import Admission, Assurance, Client, State, tombstone
from registrar.domain.credentials import Credentials, Sealed, SecretRecord, TokenRecord, Wrapped, digest
from registrar.domain.events import Event
from registrar.domain.lifecycle import COARSE
from registrar.domain.metadata import Registered
from registrar.domain.template import KIND as TEMPLATE
from registrar.domain.template import Template, TemplateState
from registrar.service.last_use import LastUse, unused_since
from registrar.service.ports import (
    TALLY,
    Advance,
    Change,
    ClientQuery,
    Conflict,
    Count,
    Date,
    Drop,
    DropAll,
    Erase,
    EventQuery,
    Item,
    Look,
    NotFound,
    Place,
    Put,
    SigningKey,
    Spend,
    Store,
    StoredEvent,
    StoreUnavailable,
    Tell,
    TokenSpent,
)

__all__ = [
    "StoreConformance",
    "StoreParallel",
    "StoreRecords",
    "StoreTransactions",
    "a_client",
    "a_key",
    "a_template",
    "a_token",
    "an_event",
    "an_instance",
    "an_item",
]

NOW: Final = 1_790_000_000
_LATER: Final = NOW + 60
_CROWD: Final = 50
_USES: Final = 3
_EVERYTHING: Final = 10_000
_PAGE: Final = 2

_UNICODE: Final = "Größe ☃ \U0001f9ea אבג 例え"


# --- records to store -------------------------------------------------------------------------------------------------


def a_client(client_id: str = "c1", *, issuer: str = "main", **changed: Any) -> Client:
    """A client with something in every field, so that a field that gets lost is noticed.

    Args:
        client_id: its identifier.
        issuer: its issuer.
        changed: fields with other values.
    """
    metadata = {
        "client_name": _UNICODE,
        "client_name#ja": "クライアント",
        "redirect_uris": ["https://app.example/cb?a=%C3%BC&b=1", "com.example.app:/cb", "http://[::1]:9000/"],
        "request_uris": [],
        "grant_types": ["authorization_code", "refresh_token"],
        "default_max_age": 2**31 - 1,
        "require_auth_time": False,
        "jwks": {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg", "odd": None, "ratio": 0.5}]},
        "scope": "openid read",
    }
    credentials = Credentials(
        tokens=(
            TokenRecord(digest("token 2"), Sealed(b"\0" * 12, b"\xff\x00data key")),
            TokenRecord(digest("token 1"), Sealed(b"\1" * 12, b"data key"), until=_LATER),
        ),
        secrets=(
            SecretRecord(digest("secret 2"), Sealed(b"\2" * 12, b"\x80secret"), 2, NOW, expires_at=_LATER),
            SecretRecord(digest("secret 1"), None, 1, NOW - 1, until=_LATER),
        ),
        data_key=Wrapped(b"\xfelabel", Sealed(b"\3" * 12, b"\x00wrapped")),
    )
    client = Client(
        issuer=issuer,
        client_id=client_id,
        version=1,
        state=State.ACTIVE,
        created_at=NOW,
        updated_at=NOW + 1,
        metadata=Registered(metadata),
        credentials=credentials,
        admission=Admission(
            Assurance.USER,
            "t0",
            label=f"label {_UNICODE}",
            owner="ålice",
            token_scope=("dcr", "read"),
            client_class="partner",
            statement_issuer="directory",
            statement_digest="5f" * 32,
            statement_software="software",
            statement_at=NOW,
            certificate_subject="CN=app,O=Größe",
            certificate_thumbprint="thumbprint",
            reached=Assurance.CERTIFICATE,
        ),
        policy="default",
        provenance={"scope": "policy", "client_name#ja": "policy"},
        expires_at=_LATER,
        due_at=_LATER,
        flags=("rule.brands",),
        warned_at=NOW,
        suspended_at=NOW,
        suspended_by="idle",
        expanded_at=NOW,
        labels={"tenant": f"acme {_UNICODE}"},
    )
    return msgspec.structs.replace(client, **changed)


def a_token(token_id: str = "t1", *, issuer: str = "main", **changed: Any) -> InitialAccessToken:  # noqa: S107 (an identifier, no value)
    """An initial access token with something in every field; its value is its identifier.

    Args:
        token_id: its identifier.
        issuer: its issuer.
        changed: fields with other values.
    """
    token = InitialAccessToken(
        issuer=issuer,
        token_id=token_id,
        digest=digest(token_id),
        kind=Kind.USER,
        scope=("dcr", "more"),
        policy="partner",
        label=f"label {_UNICODE}",
        owner="ålice",
        max_uses=_USES,
        created_at=NOW,
        expires_at=_LATER,
        addresses=("192.0.2.0/24",),
        certificate="thumbprint",
        attestation=True,
        labels={"tenant": "acme"},
        within={"tenant": "acme"},
    )
    return msgspec.structs.replace(token, **changed)


def an_event(client_id: str = "c1", *, kind: str = "client.registered", issuer: str = "main", **changed: Any) -> Event:
    """An event with something in every field.

    Args:
        client_id: the client that it is about.
        kind: a row of `registrar.domain.events.EVENTS`.
        issuer: where it happened.
        changed: fields with other values.
    """
    body = f'{{"client_id":"{client_id}","name":"{_UNICODE}"}}'.encode()
    return msgspec.structs.replace(
        Event(issuer, kind, NOW * 1000 + 7, client_id, body, b'{"person":["00","a"]}'), **changed
    )


def a_key(
    kid: str = "k1", *, issuer: str = "main", algorithm: str = "RS256", created_at: int = NOW, generation: int = 2
) -> SigningKey:
    """A signing key of an issuer.

    Args:
        kid: its identifier.
        issuer: its issuer.
        algorithm: what it signs with.
        created_at: seconds since 1970.
        generation: how many of its algorithm there were with it.
    """
    private = Wrapped(b"\xfe", Sealed(b"\0" * 12, b"\xff"))
    return SigningKey(issuer, kid, algorithm, b'{"kty":"RSA"}', private, created_at, generation)


def an_item(key: str = "i1", *, issuer: str = "main", **changed: Any) -> Item:
    """An item with something in every field.

    Args:
        key: its key.
        issuer: its issuer.
        changed: fields with other values.
    """
    item = Item(issuer, "code", key, b"\x00body\xff", 3, "c1", "\u00e5lice", _LATER)
    return msgspec.structs.replace(item, **changed)


def a_template(template_id: str = "app", *, issuer: str = "main", version: int = 1, **changed: Any) -> Template:
    """A template of a confidential application."""
    template = Template(
        issuer=issuer,
        template_id=template_id,
        version=version,
        state=TemplateState.ENABLED,
        metadata=Registered({"client_name": "App", "scope": "openid", "redirect_uris": ["https://app.example/cb"]}),
        policy="default",
        allowed=("client_name",),
    )
    return msgspec.structs.replace(template, **changed)


def _put_template(template: Template, expected: int | None = None) -> Put:
    body = msgspec.json.encode(template)
    return Put(Item(template.issuer, TEMPLATE, template.template_id, body, template.version), expected)


def an_instance(client_id: str = "c1", template_id: str = "app", **changed: Any) -> Client:
    """An instance of a template that varies its name."""
    given = {
        "metadata": Registered({"client_name": "Mine", "scope": "as composed"}),
        "provenance": {"scope": "template"},
        "template": template_id,
        "own": ("client_name",),
    }
    return a_client(client_id, **{**given, **changed})


def _next(client: Client, **changed: Any) -> Client:
    return msgspec.structs.replace(client, version=client.version + 1, **changed)


def _place(batch: Batch, place: int) -> Place:
    return Place(batch.writer, batch.number, place)


def _spend(token: InitialAccessToken) -> Spend:
    return Spend(token.digest, NOW)


async def _events(store: Store, **query: str) -> list[StoredEvent]:
    return list(await store.events(EventQuery(**query), limit=_EVERYTHING))


async def _clients(store: Store, **query: Any) -> list[Client]:
    return list(await store.clients(ClientQuery(**query), limit=_EVERYTHING))


async def _living(store: Store) -> int:
    item = await store.item("main", TALLY, TALLY)
    assert item is not None
    return item.version


async def _uses(store: Store, token: InitialAccessToken) -> int:
    found = await store.find_token(token.issuer, token.digest)
    assert found is not None
    return found.uses


async def _outcomes(writes: Iterable[Awaitable[None]]) -> list[BaseException | None]:
    """What became of writes that are made at the same time."""
    return list(await asyncio.gather(*writes, return_exceptions=True))


def _count(outcomes: Iterable[BaseException | None], kind: type[BaseException] | None) -> int:
    return sum(1 for outcome in outcomes if (outcome is None if kind is None else type(outcome) is kind))


# --- the tiers --------------------------------------------------------------------------------------------------------


class _Tier:
    """What the tiers share: asyncio, and exemptions."""

    pytestmark = pytest.mark.anyio

    exempt: ClassVar[Mapping[str, str]] = {}
    """Tier or test -> why this store does not hold it."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        """The server runs on asyncio alone."""
        return "asyncio"

    @pytest.fixture(autouse=True)
    def _exemptions(self, request: pytest.FixtureRequest) -> None:
        tiers = {tier.__name__ for tier in type(self).__mro__ if issubclass(tier, _Tier)}
        for name, reason in self.exempt.items():
            if name not in tiers and not hasattr(self, name):
                pytest.fail(f"exempt names {name}, which is neither a tier nor a test")
            if not reason.strip():
                pytest.fail(f"the exemption of {name} states no reason")
        tier, test = request.function.__qualname__.rpartition(".")[::2]
        exemption = self.exempt.get(tier) or self.exempt.get(test)
        if exemption:
            pytest.skip(exemption)


class StoreRecords(_Tier):
    """The first tier: what goes in comes out, in the order and to the issuer that it belongs to."""

    async def test_a_client_comes_back_as_it_was(self, store: Store) -> None:
        """Every field of a client survives, unicode, language tags, bytes and nested nulls included."""
        client = a_client()
        await store.create(client, an_event())
        assert await store.find("main", "c1") == client
        assert await _clients(store) == [client]

    async def test_an_updated_client_comes_back_as_it_was(self, store: Store) -> None:
        """Every field that an update may change is the new one, in a look and in a listing."""
        await store.create(a_client(), an_event())
        after = a_client(
            version=2,
            state=State.SUSPENDED,
            updated_at=_LATER,
            metadata=Registered({"client_name": "other"}),
            credentials=Credentials(),
            admission=Admission(Assurance.OPERATOR, owner="bob"),
            policy="other",
            provenance={},
        )
        await store.update(after, [an_event(kind="client.updated")], expected=1)
        assert await store.find("main", "c1") == after
        assert await _clients(store, owner="bob", state=State.SUSPENDED) == [after]
        assert await _clients(store, owner="ålice") == []

    async def test_absent_is_not_empty(self, store: Store) -> None:
        """A member that is absent stays absent, and an empty value stays the empty value that it was."""
        empty = Registered({"request_uris": [], "client_name": "", "jwks": {}})
        await store.create(a_client("bare", metadata=Registered({}), credentials=Credentials()), an_event("bare"))
        await store.create(a_client("empty", metadata=empty), an_event("empty"))
        bare, full = await store.find("main", "bare"), await store.find("main", "empty")
        assert bare is not None
        assert full is not None
        assert bare.metadata == {}
        assert bare.credentials == Credentials()
        assert full.metadata == {"request_uris": [], "client_name": "", "jwks": {}}

    async def test_a_token_comes_back_as_it_was(self, store: Store) -> None:
        """Every field of an initial access token survives."""
        token = a_token(uses=1, revoked_at=NOW)
        await store.add_token(token, an_event("", kind="token.issued"))
        assert await store.find_token("main", token.digest) == token
        assert list(await store.tokens("main")) == [token]

    async def test_an_event_comes_back_byte_for_byte(self, store: Store) -> None:
        """The bytes of an event are hashed into a chain, so not one of them may change."""
        event = an_event(body='{"a":"é ","b":  1}'.encode(), personal=b"")
        await store.record(event)
        [stored] = await _events(store)
        assert stored.event == event

    async def test_a_key_comes_back_as_it_was(self, store: Store) -> None:
        """Every field of a signing key survives."""
        key = a_key()
        await store.add_key(key, an_event("", kind="issuer.key_created"))
        assert list(await store.keys("main")) == [key]

    async def test_what_is_not_there_is_none(self, store: Store) -> None:
        """An empty store answers with nothing, and does not fail."""
        await store.ready()
        assert await store.find("main", "c1") is None
        assert await store.find_token("main", digest("t1")) is None
        assert (await _clients(store), list(await store.tokens()), await _events(store)) == ([], [], [])
        assert list(await store.keys("main")) == []

    async def test_records_are_the_callers_own(self, store: Store) -> None:
        """What a caller does to a record that it gave, or was given, changes nothing that is stored."""
        given = a_client()
        await store.create(given, an_event())
        given.metadata["client_name"] = "changed by who gave it"
        for _ in range(_PAGE):
            found = await store.find("main", "c1")
            assert found == a_client()
            found.metadata["redirect_uris"].append("https://evil.example/cb")
            found.provenance["scope"] = "changed by who was given it"
            [listed] = await _clients(store)
            assert listed == a_client()
            listed.metadata.clear()

    async def test_issuers_do_not_reach_across(self, store: Store) -> None:
        """The same identifiers at two issuers are different clients, tokens, keys and events."""
        for issuer, name in (("main", "one"), ("other", "two")):
            metadata = Registered({"client_name": name})
            await store.create(a_client(issuer=issuer, metadata=metadata), an_event(issuer=issuer))
            await store.add_token(a_token(issuer=issuer, label=name), an_event("", kind="token.issued", issuer=issuer))
            await store.add_key(a_key(issuer=issuer), an_event("", kind="issuer.key_created", issuer=issuer))
        for issuer, name in (("main", "one"), ("other", "two")):
            client = await store.find(issuer, "c1")
            assert client is not None
            assert client.metadata == {"client_name": name}
            assert [one.issuer for one in await _clients(store, issuer=issuer)] == [issuer]
            assert [one.label for one in await store.tokens(issuer)] == [name]
            assert [one.issuer for one in await store.keys(issuer)] == [issuer]
            assert {one.event.issuer for one in await _events(store, issuer=issuer)} == {issuer}
        assert await store.find("third", "c1") is None
        assert await store.find_token("third", digest("t1")) is None
        assert await _clients(store, issuer="third") == []
        await store.revoke_token("other", "t1", NOW, an_event("", kind="token.revoked", issuer="other"))
        await store.update(a_client(issuer="other", version=2), [], expected=1)
        untouched, token = await store.find("main", "c1"), await store.find_token("main", digest("t1"))
        assert untouched is not None
        assert untouched.version == 1
        assert token is not None
        assert token.status(NOW) == "active"

    async def test_clients_are_found_by_what_is_asked(self, store: Store) -> None:
        """A query narrows by issuer, state, owner and token, alone and together; None is any."""
        for client_id, state, owner, token_id in (
            ("a", State.ACTIVE, "ann", "t1"),
            ("b", State.DELETED, "ann", "t2"),
            ("c", State.SUSPENDED, "", ""),
            ("d", State.ACTIVE, "bob", "t1"),
        ):
            admission = Admission(Assurance.CLIENT, token_id=token_id, owner=owner)
            await store.create(a_client(client_id, state=state, admission=admission), an_event(client_id))
        for query, expected in (
            ({}, "abcd"),
            ({"issuer": "main"}, "abcd"),
            ({"state": State.ACTIVE}, "ad"),
            ({"state": State.DELETED}, "b"),
            ({"owner": "ann"}, "ab"),
            ({"owner": ""}, "c"),
            ({"token_id": "t1"}, "ad"),
            ({"token_id": "t1", "owner": "ann", "state": State.ACTIVE, "issuer": "main"}, "a"),
            ({"issuer": "other", "owner": "ann"}, ""),
        ):
            found = await _clients(store, **query)
            assert "".join(client.client_id for client in found) == expected, query

    async def test_clients_are_found_by_their_terms(self, store: Store) -> None:
        """By several together too; an update moves them, and tombstones are found where they are asked for."""
        for client_id, owner, tenant in (("a", "ann", "x"), ("b", "ann", "y"), ("c", "bob", "x"), ("d", "ann", "x")):
            admission = Admission(Assurance.CLIENT, owner=owner)
            made = a_client(client_id, admission=admission, labels={"tenant": tenant})
            await store.create(made, an_event(client_id))
        await store.update(a_client("b", version=2, labels={"tenant": "x"}), [an_event()], expected=1)
        await store.update(_next(a_client("d"), state=State.DELETED), [an_event()], expected=1)
        await store.create(a_client("a", issuer="other", labels={"tenant": "x"}), an_event("a", issuer="other"))
        for issuer, terms, state, expected in (
            ("main", ["label.tenant=x"], None, "abc"),
            ("main", ["label.tenant=y"], None, ""),
            ("main", ["label.tenant=x", "owner=ann"], None, "a"),
            ("main", ["owner=ålice"], None, "b"),
            ("main", ["owner=ålice"], State.DELETED, "d"),
            ("main", ["label.tenant=x"], State.ACTIVE, "abc"),
            ("main", ["owner=nobody"], None, ""),
            ("other", ["label.tenant=x"], None, "a"),
        ):
            query = ClientQuery(issuer, state, terms=tuple(terms))
            found = await store.clients(query)
            assert "".join(client.client_id for client in found) == expected, terms
            assert await store.count(query) == len(expected), terms
        query = ClientQuery("main", terms=("label.tenant=x",))
        assert [one.client_id for one in await store.clients(query, after=("main", "a"), limit=1)] == ["b"]
        assert await store.count(query, most=_PAGE) == _PAGE

    async def test_the_newest_clients_come_first_where_that_is_asked(self, store: Store) -> None:
        """Page by page, within the issuer, with terms and without; who comes meanwhile moves nothing."""
        for client_id in "abcde":
            await store.create(a_client(client_id, labels={"tenant": "x"}), an_event(client_id))
        for issuer in ("aaa", "other"):
            await store.create(a_client("c", issuer=issuer, labels={"tenant": "x"}), an_event("c", issuer=issuer))
        for terms, later in (((), "f"), (("label.tenant=x",), "g")):
            query, seen, after = ClientQuery("main", terms=terms, newest=True), "", ("", "")
            while found := await store.clients(query, after=after, limit=2):
                seen += "".join(one.client_id for one in found)
                after = ("main", found[-1].client_id)
                if later not in seen and await store.find("main", later) is None:
                    await store.create(a_client(later, labels={"tenant": "x"}), an_event(later))
            assert seen.removeprefix("f") == "edcba"
        with pytest.raises(ValueError, match="issuer"):
            ClientQuery(newest=True)

    async def test_clients_are_found_by_the_time_in_their_identifier(self, store: Store) -> None:
        """The first of the bounds is included, the second is not; with terms and without."""
        for at in (1, 2, 3):
            await store.create(a_client(f"{at:011x}x", labels={"tenant": "x"}), an_event())
        for terms in ((), ("label.tenant=x",)):
            found = await store.clients(ClientQuery("main", terms=terms, created_from=2, created_before=3))
            assert [one.client_id for one in found] == [f"{2:011x}x"]
            assert await store.count(ClientQuery("main", terms=terms, created_from=2)) == len("23")

    async def test_clients_are_due_in_the_order_of_their_time(self, store: Store) -> None:
        """Those whose time has come, with their last use; one that is looked at is given another time."""
        for client_id, due_at in (("a", NOW), ("b", NOW - 1), ("c", NOW + 1), ("d", 0)):
            await store.create(a_client(client_id, due_at=due_at), an_event(client_id))
        await store.change(LastUse().note("main", "a", NOW - 5))
        assert [(one.client_id, one.used_at) for one in await store.due(NOW)] == [("b", 0), ("a", NOW - 5)]
        (first,) = await store.due(NOW, limit=1)
        assert first[:3] == ("main", "b", NOW - 1)
        assert msgspec.to_builtins(first.life).items() <= msgspec.structs.asdict(a_client("b")).items()
        await store.change([Look([]), Put(an_item("beside"))])
        await store.change([Look([])])
        await store.change([Look([Date("main", "b", NOW - 2, NOW), Date("main", "x", 1)])])
        assert [one.client_id for one in await store.due(NOW)] == ["b", "a"]
        await store.change([Look([Date("main", "b", NOW + 7, NOW - 1), Date("main", "a", NOW + 6, NOW)])])
        assert not await store.due(NOW)
        assert [one.client_id for one in await store.due(NOW + 7)] == ["c", "a", "b"]
        await store.update(_next(a_client("b", due_at=NOW + 9)), [], expected=1)
        assert [one.client_id for one in await store.due(NOW + 8)] == ["c", "a"]

    async def test_a_client_that_was_used_since_is_not_ended(self, store: Store) -> None:
        """Whoever ends a client says what was known of its use: never, or then; what came since refuses it."""
        noted = LastUse()
        for used in (0, NOW + 1, NOW + COARSE + 1):
            client_id = f"c{used}"
            await store.create(a_client(client_id, due_at=NOW), an_event(client_id))
            if used:
                await store.change(noted.note("main", client_id, used))
            (seen,) = await store.due(NOW)
            stale = unused_since("main", client_id, seen.used_at, seen.noted)
            await store.change(noted.note("main", client_id, used + 2 * COARSE))
            after = _next(a_client(client_id, due_at=0), state=State.DELETED)
            with pytest.raises(Conflict):
                await store.update(after, [an_event(client_id)], expected=1, changes=[stale])
            assert await store.find("main", client_id) == a_client(client_id, due_at=NOW)
            (seen,) = await store.due(NOW)
            assert seen.used_at == used + 2 * COARSE
            suspended = _next(a_client(client_id, due_at=NOW), state=State.SUSPENDED)
            fresh = unused_since("main", client_id, seen.used_at, seen.noted)
            await store.update(suspended, [an_event(client_id)], expected=1, changes=[fresh])
            (seen,) = await store.due(NOW)
            assert (seen.life.state, seen.used_at) == (State.SUSPENDED, used + 2 * COARSE)
            fresh = unused_since("main", client_id, seen.used_at, seen.noted)
            await store.update(msgspec.structs.replace(after, version=3), [], expected=2, changes=[fresh])
            assert await store.item("main", "last_use", client_id) is None

    async def test_what_was_never_used_stays_so_when_it_is_suspended(self, store: Store) -> None:
        """That nobody used it is no use of it, and two who say so at once do not both suspend it."""
        await store.create(a_client("c", due_at=NOW), an_event("c"))
        (seen,) = await store.due(NOW)
        never = unused_since("main", "c", seen.used_at, seen.noted)
        await store.update(_next(a_client("c", due_at=NOW)), [], expected=1, changes=[never])
        (seen,) = await store.due(NOW)
        assert seen.used_at == 0
        await store.change([unused_since("main", "c", seen.used_at, seen.noted)])
        with pytest.raises(Conflict):
            await store.change([never])

    async def test_events_are_found_by_what_is_asked(self, store: Store) -> None:
        """A query narrows by issuer, kind and client, alone and together; None is any."""
        for client_id, kind, issuer in (
            ("a", "client.registered", "main"),
            ("a", "client.updated", "main"),
            ("b", "client.registered", "main"),
            ("a", "client.registered", "other"),
            ("", "registration.refused", "main"),
        ):
            await store.record(an_event(client_id, kind=kind, issuer=issuer))
        for query, expected in (
            ({}, 5),
            ({"issuer": "main"}, 4),
            ({"kind": "client.registered"}, 3),
            ({"client_id": "a"}, 3),
            ({"client_id": "a", "issuer": "main"}, 2),
            ({"client_id": "a", "issuer": "main", "kind": "client.updated"}, 1),
            ({"issuer": "third"}, 0),
        ):
            assert len(await _events(store, **query)) == expected, query

    async def test_clients_are_paged_in_order_while_more_arrive(self, store: Store) -> None:
        """Paging by the last row seen misses no client and shows none twice, whatever is added meanwhile.

        The order is that of issuer and identifier by code points: another collation would lose rows between pages.
        """
        places = sorted(itertools.product(("Main", "main", "other"), ("-x", "0a", "Zz", "_y", "aB", "ab")))
        for issuer, client_id in reversed(places):
            await store.create(a_client(client_id, issuer=issuer), an_event(client_id, issuer=issuer))
        seen: list[tuple[str, str]] = []
        late = itertools.count()
        while page := await store.clients(ClientQuery(), after=seen[-1] if seen else ("", ""), limit=_PAGE):
            assert len(page) <= _PAGE
            seen += [(client.issuer, client.client_id) for client in page]
            for issuer in ("A", seen[-1][0]):  # one before everything that was seen, one right at the place
                client_id = f"{seen[-1][1]}-late{next(late)}"
                if len(seen) < len(places):
                    await store.create(a_client(client_id, issuer=issuer), an_event(client_id, issuer=issuer))
        assert [place for place in seen if "-late" not in place[1]] == places
        assert seen == sorted(set(seen))

    async def test_tokens_are_paged_in_order(self, store: Store) -> None:
        """Tokens are listed by issuer and identifier, those of one issuer or all, a page at a time."""
        places = sorted(itertools.product(("main", "other"), ("-x", "0a", "Zz", "_y", "ab")))
        for issuer, token_id in reversed(places):
            await store.add_token(a_token(token_id, issuer=issuer), an_event("", kind="token.issued", issuer=issuer))
        seen: list[tuple[str, str]] = []
        while page := await store.tokens(after=seen[-1] if seen else ("", ""), limit=_PAGE):
            assert len(page) <= _PAGE
            seen += [(token.issuer, token.token_id) for token in page]
        assert seen == places
        assert [token.issuer for token in await store.tokens("other")] == ["other"] * 5

    async def test_events_are_paged_in_the_order_of_storing(self, store: Store) -> None:
        """Paging by sequence number misses no event and shows none twice while more are stored."""
        names = [f"c{number}" for number in range(7)]
        for name in names:
            await store.record(an_event(name))
        seen: list[StoredEvent] = []
        while page := await store.events(EventQuery(), after=seen[-1].sequence if seen else 0, limit=_PAGE):
            assert len(page) <= _PAGE
            seen += page
            if len(names) < 10:  # noqa: PLR2004 (any number of late ones would do)
                names.append(f"late{len(names)}")
                await store.record(an_event(names[-1]))
        assert [one.event.client_id for one in seen] == names
        assert [one.sequence for one in seen] == sorted({one.sequence for one in seen})

    async def test_an_item_comes_back_as_it_was(self, store: Store) -> None:
        """Every field of an item survives."""
        item = an_item()
        await store.change([Put(item, 0)], [an_event()])

        assert await store.item("main", "code", "i1") == item
        assert await store.items("main", "code") == [item]

    async def test_items_are_found_by_what_is_asked(self, store: Store) -> None:
        """By issuer and kind, by client and by person, in the order of their keys, page by page."""
        rows = [
            an_item("i2"),
            an_item("i1", owner="bob"),
            an_item("i3", client_id="c2"),
            an_item("i1", issuer="other"),
            an_item("i1", kind="session"),
        ]
        await store.change([Put(row, 0) for row in rows])

        async def keys(issuer: str = "main", kind: str = "code", **query: Any) -> list[str]:
            return [one.key for one in await store.items(issuer, kind, **query)]

        assert await keys() == ["i1", "i2", "i3"]
        assert await keys(client_id="c1") == ["i1", "i2"]
        assert await keys(owner="bob") == ["i1"]
        assert await keys(client_id="c1", owner="bob") == ["i1"]
        assert await keys(limit=_PAGE) == ["i1", "i2"]
        assert await keys(after="i2") == ["i3"]
        assert await keys("other") == ["i1"]
        assert await keys(kind="session") == ["i1"]
        assert await keys("nowhere") == []
        alice = an_item().owner
        asked = [("main", "code", alice), ("main", "code", "bob"), ("other", "code", alice), ("main", "code", "carl")]
        assert [await store.count_items(*one) for one in asked] == [2, 1, 1, 0]

    async def test_an_instance_is_what_its_template_makes_it(self, store: Store) -> None:
        """What is the template's comes from the template at every read, what is the instance's own from the instance."""
        await store.change([_put_template(a_template(), 0)])
        await store.create(an_instance(), an_event())
        before = await store.find("main", "c1")
        changed = a_template(version=2, metadata=Registered({"client_name": "App", "scope": "openid email"}))
        await store.change([_put_template(changed, 1)])
        after = await store.find("main", "c1")

        assert before is not None
        assert after is not None
        expected = {"client_name": "Mine", "scope": "openid", "redirect_uris": ["https://app.example/cb"]}
        assert before.metadata == expected
        assert before.provenance == {"scope": "template", "redirect_uris": "template"}
        assert after.metadata == {"client_name": "Mine", "scope": "openid email"}
        assert [one.metadata for one in await _clients(store, issuer="main", template="app")] == [after.metadata]
        assert await _clients(store, issuer="main", template="other") == []

    async def test_an_instance_lives_as_its_template_lets_it(self, store: Store) -> None:
        """Disabled: suspended. Enabled again: as before. Deleted, or never there: gone."""
        await store.create(an_instance(), an_event())
        orphan = await store.find("main", "c1")
        await store.change([_put_template(a_template(state=TemplateState.DISABLED), 0)])
        disabled = await store.find("main", "c1")
        await store.change([_put_template(a_template(version=2), 1)])
        enabled = await store.find("main", "c1")
        await store.change([_put_template(a_template(version=3, state=TemplateState.DELETED), 2)])
        deleted = await store.find("main", "c1")

        assert orphan is not None
        assert disabled is not None
        assert enabled is not None
        assert deleted is not None
        assert (orphan.state, orphan.usable) == (State.DELETED, False)
        assert (disabled.state, disabled.usable) == (State.ACTIVE, False)
        assert (enabled.state, enabled.usable) == (State.ACTIVE, True)
        assert (deleted.state, deleted.credentials) == (State.DELETED, Credentials())
        assert (deleted.ended_by_template, enabled.ended_by_template) == (True, False)

    async def test_an_instance_that_ended_is_counted_until_it_is_deleted(self, store: Store) -> None:
        """How many live is what is written, so that it is one number; deleting the instance itself takes it off, once."""
        await store.change([_put_template(a_template(), 0)])
        made = ("c1", "c2")
        for client_id in made:
            await store.create(an_instance(client_id), an_event(), changes=[Count("main")])
        await store.change([_put_template(a_template(version=2, state=TemplateState.DELETED), 1)])
        assert await _living(store) == len(made)

        ended = await store.find("main", "c1")
        assert ended is not None
        await store.update(tombstone(ended, 7), [], expected=1)
        deleted = await store.find("main", "c1")
        assert deleted is not None
        assert (deleted.state, deleted.ended_by_template) == (State.DELETED, False)
        await store.update(_next(deleted), [], expected=2)
        assert await _living(store) == 1

    async def test_an_instance_varies_what_its_template_allows(self, store: Store) -> None:
        """What the template allows no more is the template's again, though it lies in the record of the instance."""
        await store.change([_put_template(a_template(), 0)])
        await store.create(an_instance(), an_event())
        await store.change([_put_template(a_template(version=2, allowed=()), 1)])
        strict = await store.find("main", "c1")

        assert strict is not None
        assert strict.metadata == a_template().metadata
        assert set(strict.provenance.values()) == {"template"}

    async def test_instances_are_found_by_the_state_that_they_have(self, store: Store) -> None:
        """Instances of a deleted template are among the deleted clients, and among no others; a query counts alike."""
        await store.create(a_client("c0"), an_event("c0"))
        await store.create(an_instance("c1"), an_event())
        await store.create(an_instance("c2", "gone"), an_event("c2"))
        await store.change([_put_template(a_template(), 0)])
        for query, expected in (
            ({}, "c0c1c2"),
            ({"state": State.ACTIVE}, "c0c1"),
            ({"state": State.DELETED}, "c2"),
            ({"template": "gone", "state": State.ACTIVE}, ""),
            ({"template": "app"}, "c1"),
            ({"issuer": "other"}, ""),
        ):
            found = await _clients(store, **query)
            assert "".join(client.client_id for client in found) == expected, query
            assert await store.count(ClientQuery(**query)) == len(found), query

    async def test_what_has_expired_is_purged(self, store: Store) -> None:
        """In portions; what lives for ever, or still lives, stays."""
        rows = [an_item(f"i{at}", expires_at=expires_at) for at, expires_at in enumerate([0, NOW, NOW, NOW, NOW + 1])]
        await store.change([Put(row, 0) for row in rows])

        assert await store.purge(NOW, limit=_PAGE) == _PAGE
        assert await store.purge(NOW) == 1
        assert await store.purge(NOW) == 0
        assert [one.key for one in await store.items("main", "code")] == ["i0", "i4"]

    async def test_keys_are_listed_oldest_first(self, store: Store) -> None:
        """The oldest signing key comes first, whichever was stored first."""
        await store.add_key(a_key("new", algorithm="ES256", created_at=_LATER), an_event("", kind="issuer.key_created"))
        await store.add_key(a_key("old", algorithm="RS256", created_at=NOW), an_event("", kind="issuer.key_created"))
        assert [key.kid for key in await store.keys("main")] == ["old", "new"]

    async def test_a_closed_store_answers_nothing(self, store: Store) -> None:
        """After close every call raises StoreUnavailable; to close again does no harm."""
        await store.create(a_client(), an_event())
        await store.close()
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: store.create(a_client("c2"), an_event("c2")),
            lambda: store.update(a_client(version=2), [an_event()], expected=1),
            lambda: store.find("main", "c1"),
            lambda: store.clients(ClientQuery()),
            lambda: store.count(ClientQuery()),
            lambda: store.due(NOW),
            lambda: store.add_token(a_token(), an_event()),
            lambda: store.find_token("main", digest("t1")),
            store.tokens,
            store.batches,
            store.log,
            lambda: store.told("w", 1, 1),
            store.tally,
            lambda: store.revoke_token("main", "t1", NOW, an_event()),
            lambda: store.record(an_event()),
            lambda: store.events(EventQuery()),
            lambda: store.add_key(a_key(), an_event()),
            lambda: store.remove_key("main", "k1", an_event()),
            lambda: store.keys("main"),
            store.ready,
        ]
        for call in calls:
            with pytest.raises(StoreUnavailable):
                await call()
        await store.close()


class StoreTransactions(_Tier):
    """The second tier: all of a write, or nothing of it; every write has its event."""

    async def test_every_write_stores_its_event(self, store: Store) -> None:
        """Each of the verbs stores its event with what it changes, once and in order."""
        token = a_token()
        await store.add_token(token, an_event("", kind="token.issued"))
        await store.create(a_client(), an_event(), _spend(token))
        await store.update(a_client(version=2), [an_event(kind="client.updated")], expected=1)
        await store.revoke_token("main", "t1", NOW, an_event("", kind="token.revoked"))
        await store.add_key(a_key(), an_event("", kind="issuer.key_created"))
        await store.record(an_event(kind="client.read"))
        assert [one.event.kind for one in await _events(store)] == [
            "token.issued",
            "client.registered",
            "client.updated",
            "token.revoked",
            "issuer.key_created",
            "client.read",
        ]

    async def test_a_write_may_tell_more(self, store: Store) -> None:
        """An event among the changes is stored with them, or not at all."""
        more = Tell(an_event("", kind="statement.used"))
        await store.create(a_client(), an_event(), None, [Put(an_item(), 0), more])
        for refused in (
            store.create(a_client(), an_event(), None, [more]),
            store.create(a_client("c2"), an_event("c2"), None, [more, Put(an_item(), 0)]),
            store.update(a_client(version=3), [an_event()], expected=2, changes=[more]),
            store.change([more, Put(an_item(), 0)]),
        ):
            with pytest.raises(Conflict):
                await refused
        await store.update(a_client(version=2), [an_event(kind="client.updated")], expected=1, changes=[more])
        stored = await _events(store)
        assert sorted(one.event.kind for one in stored) == [
            "client.registered",
            "client.updated",
            "statement.used",
            "statement.used",
        ]
        places = [(one.batch, one.position) for one in stored]
        assert places == sorted(set(places))
        assert [position for _, position in places] == [0, 1, 0, 1]

    async def test_all_events_of_an_update_land_together(self, store: Store) -> None:
        """An update with several events stores them in their order, in one batch, side by side; none is none."""
        await store.create(a_client(), an_event())
        kinds = ["client.updated", "client.token_rotated", "client.secret_rotated"]
        await store.update(a_client(version=2), [an_event(kind=kind) for kind in kinds], expected=1)
        await store.update(a_client(version=3), [], expected=2)
        _, *stored = await _events(store)
        assert [one.event.kind for one in stored] == kinds
        assert len({(one.writer, one.batch) for one in stored}) == 1
        first = stored[0].position
        assert [one.position for one in stored] == [first, first + 1, first + 2]

    async def test_an_identifier_is_taken_once(self, store: Store) -> None:
        """To create an identifier that exists is a Conflict, which changes nothing; at another issuer it is free."""
        await store.create(a_client(), an_event())
        with pytest.raises(Conflict):
            await store.create(a_client(policy="other"), an_event())
        assert await store.find("main", "c1") == a_client()
        assert len(await _events(store)) == 1
        await store.create(a_client(issuer="other"), an_event(issuer="other"))

    async def test_a_create_that_conflicts_claims_no_use(self, store: Store) -> None:
        """A creation that fails leaves no client, no event, and the use of its token unclaimed."""
        token = a_token(max_uses=1)
        await store.add_token(token, an_event("", kind="token.issued"))
        await store.create(a_client(), an_event())
        before = await _events(store)
        with pytest.raises(Conflict):
            await store.create(a_client(policy="other"), an_event(), _spend(token))
        assert await _uses(store, token) == 0
        assert await _events(store) == before
        assert await _clients(store) == [a_client()]
        await store.create(a_client("c2"), an_event("c2"), _spend(token))

    @pytest.mark.parametrize(
        ("changed", "issuer"),
        [
            ({"max_uses": 2, "uses": 2}, "main"),
            ({"expires_at": NOW}, "main"),
            ({"revoked_at": NOW - 1}, "main"),
            ({}, "other"),
            ({"digest": digest("another value")}, "main"),
        ],
        ids=["used up", "expired", "revoked", "of another issuer", "unknown"],
    )
    async def test_a_token_that_is_not_good_registers_nothing(
        self, store: Store, changed: dict[str, Any], issuer: str
    ) -> None:
        """A creation with a token that is spent, expired, revoked, foreign or unknown stores no client and no event."""
        await store.add_token(a_token(**changed), an_event("", kind="token.issued"))
        with pytest.raises(TokenSpent):
            await store.create(a_client(issuer=issuer), an_event(issuer=issuer), Spend(digest("t1"), NOW))
        assert await _clients(store) == []
        assert [one.event.kind for one in await _events(store)] == ["token.issued"]
        assert list(await store.tokens()) == [a_token(**changed)]

    async def test_uses_are_counted_up_to_the_limit(self, store: Store) -> None:
        """A token registers as often as it has uses, each of which is counted; then it is spent."""
        token = a_token(max_uses=2)
        await store.add_token(token, an_event("", kind="token.issued"))
        for number in (1, 2):
            await store.create(a_client(f"c{number}"), an_event(f"c{number}"), _spend(token))
            assert await _uses(store, token) == number
        with pytest.raises(TokenSpent):
            await store.create(a_client("c3"), an_event("c3"), _spend(token))
        assert await store.find("main", "c3") is None

    async def test_a_token_without_limit_is_counted_too(self, store: Store) -> None:
        """`max_uses` 0 and `expires_at` 0 mean no end, and the uses are counted all the same."""
        token = a_token(max_uses=0, expires_at=0)
        await store.add_token(token, an_event("", kind="token.issued"))
        for number in range(_USES):
            await store.create(a_client(f"c{number}"), an_event(f"c{number}"), _spend(token))
        assert await _uses(store, token) == _USES

    async def test_a_token_is_stored_once(self, store: Store) -> None:
        """A second token with the identifier or the digest of the first is a Conflict and leaves no event."""
        await store.add_token(a_token(), an_event("", kind="token.issued"))
        for same in (a_token(digest=digest("another value")), a_token("t2", digest=digest("t1"))):
            with pytest.raises(Conflict):
                await store.add_token(same, an_event("", kind="token.issued"))
        assert list(await store.tokens()) == [a_token()]
        assert len(await _events(store)) == 1

    async def test_a_token_is_revoked_once(self, store: Store) -> None:
        """Revoking keeps the token and its count; a second time is a Conflict, an unknown token NotFound."""
        token = a_token()
        await store.add_token(token, an_event("", kind="token.issued"))
        await store.create(a_client(), an_event(), _spend(token))
        await store.revoke_token("main", "t1", NOW, an_event("", kind="token.revoked"))
        expected = msgspec.structs.replace(token, uses=1, revoked_at=NOW)
        with pytest.raises(Conflict):
            await store.revoke_token("main", "t1", _LATER, an_event("", kind="token.revoked"))
        with pytest.raises(NotFound):
            await store.revoke_token("main", "t2", NOW, an_event("", kind="token.revoked"))
        assert list(await store.tokens()) == [expected]
        assert len(await _events(store, kind="token.revoked")) == 1
        with pytest.raises(TokenSpent):
            await store.create(a_client("c2"), an_event("c2"), _spend(token))

    async def test_a_key_is_made_once_for_each_algorithm_and_generation(self, store: Store) -> None:
        """A second key of an issuer with the same algorithm and generation is a Conflict and leaves no event."""
        await store.add_key(a_key(), an_event("", kind="issuer.key_created"))
        with pytest.raises(Conflict):
            await store.add_key(a_key("k2"), an_event("", kind="issuer.key_created"))
        await store.add_key(a_key("k3", algorithm="ES256"), an_event("", kind="issuer.key_created"))
        assert {key.kid for key in await store.keys("main")} == {"k1", "k3"}
        assert len(await _events(store)) == 2  # noqa: PLR2004 (as many as keys)

    async def test_a_key_is_replaced_by_the_next_generation(self, store: Store) -> None:
        """Keys of one algorithm stand side by side by their generation, until one is removed; that happens once."""
        await store.add_key(a_key(), an_event("", kind="issuer.key_created"))
        newer = a_key("k2", generation=3, created_at=_LATER)
        await store.add_key(newer, an_event("", kind="issuer.key_created"))
        with pytest.raises(Conflict):
            await store.add_key(a_key("k3", generation=3), an_event("", kind="issuer.key_created"))
        assert [key.kid for key in await store.keys("main")] == ["k1", "k2"]
        rewrapped = msgspec.structs.replace(newer, private=Wrapped(b"other", Sealed(b"\1" * 12, b"\xfe")))
        await store.rewrap_key(rewrapped, an_event("", kind="issuer.key_rewrapped"))
        assert list(await store.keys("main")) == [a_key(), rewrapped]
        await store.rewrap_key(newer, an_event("", kind="issuer.key_rewrapped"))
        with pytest.raises(NotFound):
            await store.rewrap_key(a_key("k9"), an_event("", kind="issuer.key_rewrapped"))
        await store.remove_key("main", "k1", an_event("", kind="issuer.key_removed"))
        assert list(await store.keys("main")) == [newer]
        for issuer, kid in (("main", "k1"), ("other", "k2")):
            with pytest.raises(NotFound):
                await store.remove_key(issuer, kid, an_event("", kind="issuer.key_removed"))
        assert len(await _events(store)) == 5  # noqa: PLR2004 (two keys made, one wrapped anew twice, one removed)

    async def test_changes_go_with_tokens_and_keys(self, store: Store) -> None:
        """What comes with a token or a key is stored with it, and neither where one of the two is refused."""
        there = an_item("there", expires_at=0)
        await store.change([Put(there)])
        told = an_event("", kind="statement.used")
        await store.add_token(a_token(), an_event("", kind="token.issued"), [Put(an_item("a")), Tell(told)])
        await store.add_key(a_key(), an_event("", kind="issuer.key_created"), [Put(an_item("b"))])
        await store.rewrap_key(a_key(), an_event("", kind="issuer.key_rewrapped"), [Put(an_item("c"))])
        wrong = [Put(an_item("d")), Put(there, 7)]
        refused = [
            store.add_token(a_token("t2"), an_event("", kind="token.issued"), wrong),
            store.add_token(a_token(), an_event("", kind="token.issued"), [Put(an_item("d"))]),
            store.revoke_token("main", "t1", NOW, an_event("", kind="token.revoked"), wrong),
            store.add_key(a_key("k2", algorithm="ES256"), an_event("", kind="issuer.key_created"), wrong),
            store.rewrap_key(a_key("k9"), an_event("", kind="issuer.key_rewrapped"), [Put(an_item("d"))]),
            store.remove_key("main", "k1", an_event("", kind="issuer.key_removed"), wrong),
        ]
        for attempt in refused:
            with pytest.raises((Conflict, NotFound)):
                await attempt
        assert [one.key for one in await store.items("main", "code")] == ["a", "b", "c", "there"]
        assert [token.status(NOW) for token in await store.tokens("main")] == ["active"]
        assert [key.kid for key in await store.keys("main")] == ["k1"]
        kinds = ["issuer.key_created", "issuer.key_rewrapped", "statement.used", "token.issued"]
        assert sorted(one.event.kind for one in await _events(store)) == kinds
        await store.revoke_token("main", "t1", NOW, an_event("", kind="token.revoked"), [Drop("main", "code", "a")])
        await store.remove_key("main", "k1", an_event("", kind="issuer.key_removed"), [Drop("main", "code", "b")])
        assert [one.key for one in await store.items("main", "code")] == ["c", "there"]

    async def test_an_update_needs_the_version_that_is_stored(self, store: Store) -> None:
        """Another version is a Conflict, no such client NotFound; neither changes anything or leaves an event."""
        await store.create(a_client(), an_event())
        await store.update(a_client(version=2), [an_event(kind="client.updated")], expected=1)
        before = await _events(store)
        for expected in (0, 1, 3):
            with pytest.raises(Conflict):
                await store.update(a_client(version=9), [an_event(kind="client.updated")], expected=expected)
        with pytest.raises(NotFound):
            await store.update(a_client("c2", version=3), [an_event("c2")], expected=2)
        with pytest.raises(NotFound):
            await store.update(a_client(issuer="other", version=3), [an_event(issuer="other")], expected=2)
        assert await _events(store) == before
        assert await _clients(store) == [a_client(version=2)]

    async def test_an_item_is_put_where_it_is_expected(self, store: Store) -> None:
        """A new one where there is none or an expired one; a successor where the version is the expected one."""
        await store.change([Put(an_item(version=1), 0)])
        with pytest.raises(Conflict):
            await store.change([Put(an_item(body=b"again"), 0, NOW)], [an_event(kind="client.read")])
        with pytest.raises(Conflict):
            await store.change([Put(an_item(body=b"stale", version=3), 2)])
        with pytest.raises(Conflict):
            await store.change([Put(an_item("i2", version=2), 1)])
        await store.change([Put(an_item(body=b"next", version=2), 1)])
        with pytest.raises(Conflict):
            await store.change([Drop("main", "code", "i1", 1)])
        await store.change([Put(an_item(body=b"after its time", version=1), 0, _LATER)])
        await store.change([Put(an_item(body=b"whatever was there", version=7))])

        assert await store.item("main", "code", "i1") == an_item(body=b"whatever was there", version=7)
        assert await _events(store) == []
        await store.change([Drop("main", "code", "i1", 7), Drop("main", "code", "i9")])
        assert await store.item("main", "code", "i1") is None

    async def test_an_item_goes_over_to_whom_its_successor_names(self, store: Store) -> None:
        """Found by the client and the person that it has now, and by those before it no more."""
        await store.change([Put(an_item("i1", version=1), 0), Put(an_item("i2", version=1), 0)])
        await store.change([Put(an_item("i1", version=2, client_id="c2"), 1)])
        await store.change([Put(an_item("i2", version=2, owner="bob"), 1)])
        with pytest.raises(Conflict):
            await store.change([Put(an_item("i2", version=2, owner="eve"), 1)])

        for client_id, owner, key in (("c2", "", "i1"), ("", "\u00e5lice", "i1"), ("c1", "", "i2"), ("", "bob", "i2")):
            found = await store.items("main", "code", client_id=client_id, owner=owner)
            assert [one.key for one in found] == [key]

    async def test_changes_land_together_or_not_at_all(self, store: Store) -> None:
        """With each other, with the client that they accompany, with the use of its token and with the event."""
        token = a_token(max_uses=1)
        await store.add_token(token, an_event(kind="token.issued"))
        await store.change([Put(an_item("taken"), 0)])
        refused = [Put(an_item("new"), 0), Put(an_item("taken"), 0, NOW)]
        with pytest.raises(Conflict):
            await store.change(refused, [an_event()])
        with pytest.raises(Conflict):
            await store.create(a_client(), an_event(), _spend(token), refused)
        assert await store.find("main", "c1") is None
        await store.create(a_client(), an_event(), _spend(token), [Put(an_item("new"), 0)])
        with pytest.raises(Conflict):
            await store.update(_next(a_client()), [an_event(kind="client.updated")], expected=1, changes=refused)
        with pytest.raises(TokenSpent):
            await store.create(a_client("c2"), an_event("c2"), _spend(token), [Put(an_item("newer"), 0)])

        stored = await store.find("main", "c1")
        assert stored is not None
        assert stored.version == 1
        assert [one.key for one in await store.items("main", "code")] == ["new", "taken"]
        assert [one.event.kind for one in await _events(store)] == ["token.issued", "client.registered"]
        assert await _uses(store, token) == 1

    async def test_clients_are_counted_while_they_live(self, store: Store) -> None:
        """Those from before are counted with the first; who is deleted is counted off once, whatever is changed later."""
        await store.create(a_client("c1"), an_event())
        await store.create(a_client("c2"), an_event())
        await store.create(a_client("c2", issuer="other"), an_event(issuer="other"))
        gone = _next(a_client("c2"), state=State.DELETED)
        await store.update(gone, [an_event("c2", kind="client.deleted")], expected=1)
        assert await store.item("main", TALLY, TALLY) is None
        living = []

        await store.create(a_client("c3"), an_event("c3"), changes=[Count("main", 2)])
        living.append(await _living(store))
        with pytest.raises(Conflict, match=f"^{TALLY}$"):
            await store.create(a_client("c4"), an_event("c4"), changes=[Put(an_item("i1"), 0), Count("main", 2)])
        assert await store.find("main", "c4") is None
        assert await store.item("main", "code", "i1") is None
        await store.create(a_client("c4"), an_event("c4"), changes=[Count("main")])
        living.append(await _living(store))
        with pytest.raises(Conflict):
            await store.create(a_client("c4"), an_event("c4"), changes=[Count("main")])
        living.append(await _living(store))

        await store.update(_next(gone), [], expected=2)
        await store.update(_next(a_client("c3"), state=State.SUSPENDED), [an_event("c3")], expected=1)
        living.append(await _living(store))
        deleted = _next(a_client("c4"), state=State.DELETED)
        await store.update(deleted, [an_event("c4", kind="client.deleted")], expected=1)
        living.append(await _living(store))
        await store.update(a_client("c2", issuer="other", version=2, state=State.DELETED), [], expected=1)
        living.append(await _living(store))
        assert living == [2, 3, 3, 3, 2, 2]

    async def test_who_counts_first_is_not_refused(self, store: Store) -> None:
        """However many there are: from the next one on the number is known."""
        there = [f"c{number}" for number in range(3)]
        for one in there:
            await store.create(a_client(one), an_event())
        await store.create(a_client("c3"), an_event("c3"), changes=[Count("main", 2)])
        assert await _living(store) == len(there) + 1
        with pytest.raises(Conflict, match=f"^{TALLY}$"):
            await store.create(a_client("c4"), an_event("c4"), changes=[Count("main", 2)])
        await store.change([Drop("main", TALLY, TALLY)])
        outcomes = await _outcomes(
            store.create(a_client(f"d{number}"), an_event(), changes=[Count("main", 2)]) for number in range(5)
        )
        assert (_count(outcomes, None), _count(outcomes, Conflict), await _living(store)) == (1, 4, len(there) + 2)

    async def test_who_counts_anew_at_the_same_time_counts_right(self, store: Store) -> None:
        """Whatever order the store gives them: those that are there when the number is made again, and those that come."""
        for number in range(3):
            await store.create(a_client(f"a{number}"), an_event(), changes=[Count("main")])
        await _outcomes(
            [
                store.create(a_client("b1"), an_event(), changes=[Count("main")]),
                store.update(a_client("a0", version=2, state=State.DELETED), [], expected=1),
                store.change([Drop("main", TALLY, TALLY)]),
                store.create(a_client("b2"), an_event(), changes=[Count("main"), Put(an_item("i1"), 0)]),
                store.create(a_client("b2"), an_event(), changes=[Count("main"), Put(an_item("i1"), 0)]),
                store.update(a_client("a1", version=2, state=State.DELETED), [], expected=1),
            ]
        )
        assert await _living(store) == len(["a2", "b1", "b2"])

    async def test_a_version_is_raised_by_whoever_comes(self, store: Store) -> None:
        """Whatever it was; the item is made where it is missing, and keeps what it holds. Who would go beyond changes nothing."""
        await store.change([Put(an_item(version=5), 0)])
        for key, most in (("i1", 6), ("new", 1), ("new", 2)):
            await store.change([Advance("main", "code", key, most)])
        for key, most in (("i1", 6), ("new", 1), ("other", 0)):
            with pytest.raises(Conflict, match=f"^{key}$"):
                await store.change([Put(an_item("i2"), 0), Advance("main", "code", key, most)], [an_event()])

        assert await store.item("main", "code", "i1") == an_item(version=6)
        assert await store.item("main", "code", "new") == Item("main", "code", "new", b"", version=2)
        assert [await store.item("main", "code", key) for key in ("other", "i2")] == [None, None]
        assert not await _events(store)

    async def test_who_is_refused_for_another_reason_has_raised_nothing(self, store: Store) -> None:
        """A client that is there already, or a token that is spent: neither number moves, and no item is left behind."""
        token = a_token(max_uses=1)
        await store.add_token(token, an_event("", kind="token.issued"))
        numbers: list[Change] = [Count("main"), Advance("main", "cap", "there", 9), Advance("main", "cap", "new", 9)]
        await store.create(a_client(), an_event(), _spend(token), numbers[:2])
        for client_id, refusal in (("c1", Conflict), ("c2", TokenSpent)):
            with pytest.raises(refusal):
                await store.create(
                    a_client(client_id), an_event(), _spend(token) if client_id == "c2" else None, numbers
                )
        full: list[Change] = [numbers[2], numbers[0], Advance("main", "cap", "there", 1)]
        with pytest.raises(Conflict, match=r"^there$"):
            await store.create(a_client("c2"), an_event(), changes=full)

        there = await store.item("main", "cap", "there")
        assert there is not None
        assert there.version == 1
        assert await store.item("main", "cap", "new") is None
        assert await _living(store) == 1

    async def test_what_belongs_to_a_deleted_client_goes_with_it(self, store: Store) -> None:
        """Every kind of it, in the same transaction; what belongs to others stays."""
        await store.create(a_client(), an_event())
        rows = [
            an_item("i1"),
            an_item("i1", kind="session"),
            an_item("i2", client_id="c2"),
            an_item("i3", client_id=""),
        ]
        await store.change([Put(row, 0) for row in rows])
        await store.update(_next(a_client(), state=State.DELETED), [an_event(kind="client.deleted")], expected=1)

        assert [one.key for one in await store.items("main", "code")] == ["i2", "i3"]
        assert await store.items("main", "session") == []

    async def test_items_of_a_client_or_a_person_are_dropped_together(self, store: Store) -> None:
        """Of one kind or of all; never those of everybody."""
        rows = [an_item("i1"), an_item("i2", owner="bob"), an_item("i1", kind="session"), an_item("i1", issuer="other")]
        await store.change([Put(row, 0) for row in rows])
        with pytest.raises(ValueError, match="whose"):
            DropAll("main", kind="code")
        await store.change([DropAll("main", owner="bob")])
        assert [one.key for one in await store.items("main", "code")] == ["i1"]
        await store.change([DropAll("main", client_id="c1", kind="session")])
        assert await store.items("main", "session") == []
        assert [one.key for one in await store.items("main", "code")] == ["i1"]
        assert [one.key for one in await store.items("other", "code")] == ["i1"]

    async def test_every_event_is_in_a_batch_of_its_writers_chain(self, store: Store) -> None:
        """The batches of a writer follow each other, and the events of each are those that its root is over."""
        await store.create(a_client(), an_event())
        await store.update(a_client(version=2), [an_event(kind="client.updated")] * 3, expected=1)
        with pytest.raises(Conflict):
            await store.create(a_client(), an_event(), changes=[Tell(an_event())])
        await asyncio.gather(*(store.record(an_event(f"c{at}")) for at in range(5)), return_exceptions=True)
        before: Batch | None = None
        found: list[StoredEvent] = []
        for one in await store.batches():
            before = before if before and before.writer == one.writer else None
            assert chain.linked(before, one) == ""
            held = await store.told(one.writer, one.number, one.number)
            assert len(held) == one.events
            assert chain.holds(one, [event.event.body for event in held])
            everything = await store.told(one.writer, 1, one.number)
            assert everything[-one.events :] == held
            found, before = [*found, *held], one
        assert await store.told("nobody", 1, 9) == []
        assert await store.tally() == (len(found), len(found), 0)
        assert sorted(found, key=lambda one: one.sequence) == await _events(store)

    async def test_batches_are_placed_in_a_log(self, store: Store) -> None:
        """Each once, at a place that is free, with what else is to be changed; they are read in the order of it."""
        for at in range(3):
            await store.record(an_event(f"c{at}"))
        first, second, third = await store.batches(unplaced=True)
        await store.change([_place(second, 1), _place(first, 2), Put(an_item("log"), 0)])
        assert [(one.number, one.place) for one in await store.log()] == [(second.number, 1), (first.number, 2)]
        assert await store.log(after=1) == [chain.placed(first, 2)]
        assert await store.batches(unplaced=True) == [third]
        assert await store.batches(after=(first.writer, first.number), limit=1) == [chain.placed(second, 1)]
        for wrong in (_place(first, 3), _place(third, 2), Place("nobody", 1, 3)):
            with pytest.raises(Conflict):
                await store.change([Put(an_item("other"), 0), wrong], [an_event("lost")])
        with pytest.raises(Conflict):
            await store.change([_place(third, 3), Put(an_item("log"), 0)])
        assert await store.batches(unplaced=True) == [third]
        assert await store.item("main", "code", "other") is None

    async def test_a_run_of_batches_is_placed_at_once(self, store: Store) -> None:
        """Beside each other and all of them, or none: not where one has its place, is not there, or would take another's."""
        for at in range(6):
            await store.record(an_event(f"c{at}"))
        writer, numbers = (made := await store.batches())[0].writer, [one.number for one in made]
        await store.change([Place(writer, numbers[4], 3)])
        wrong = [(numbers[0], 3, 2), (numbers[0], 2, 2), (numbers[3], 4, 2), (numbers[5], 4, 2)]
        for number, place, count in wrong:
            with pytest.raises(Conflict):
                await store.change([Place(writer, number, place, count)], [an_event("lost")])
        assert [one.number for one in await store.batches(unplaced=True)] == [*numbers[:4], numbers[5]]
        await store.change([Place(writer, numbers[0], 1, 2), Place(writer, numbers[2], 4, 2)])
        order = [*numbers[:2], numbers[4], *numbers[2:4]]
        assert [(one.number, one.place) for one in await store.log()] == [*zip(order, range(1, 6), strict=True)]
        assert await store.unchained() == 0

    async def test_events_are_erased_and_their_batches_stay(self, store: Store) -> None:
        """What names a person, or the whole event; a number is not given to another one."""
        for at in range(3):
            await store.record(an_event(f"c{at}"))
        first, second, third = await _events(store)
        await store.change([Erase(first.sequence, whole=True), Erase(second.sequence)], [an_event("told")])
        held = await _events(store)
        bare = msgspec.structs.replace(second.event, personal=b"")
        assert [one.event for one in held[:2]] == [bare, third.event]
        assert len(held) == len([second, third, "told"])
        assert sum(one.events for one in await store.batches()) == len(held) + 1

    async def test_of_two_nested_updates_one_wins(self, store: Store) -> None:
        """An update that began before another and ends after it is refused: nothing is overwritten unseen."""
        await store.create(a_client(), an_event())
        outer, inner = await store.find("main", "c1"), await store.find("main", "c1")
        assert outer is not None
        assert inner is not None
        await store.update(_next(inner, policy="inner"), [an_event(kind="client.updated")], expected=inner.version)
        with pytest.raises(Conflict):
            await store.update(_next(outer, policy="outer"), [an_event(kind="client.updated")], expected=outer.version)
        winner = await store.find("main", "c1")
        assert winner is not None
        assert (winner.version, winner.policy) == (2, "inner")
        assert len(await _events(store, kind="client.updated")) == 1

    async def test_the_identifier_of_a_deleted_client_stays_taken(self, store: Store) -> None:
        """A tombstone is found and listed, and its identifier is never given out again (RFC 7592 §2.3)."""
        await store.create(a_client(), an_event())
        tombstone = a_client(version=2, state=State.DELETED, credentials=Credentials())
        await store.update(tombstone, [an_event(kind="client.deleted")], expected=1)
        with pytest.raises(Conflict):
            await store.create(a_client(), an_event())
        assert await store.find("main", "c1") == tombstone
        assert await _clients(store, state=State.DELETED) == [tombstone]
        assert await _clients(store, state=State.ACTIVE) == []


class StoreParallel(_Tier):
    """The third tier: concurrent callers see the same as callers one after another."""

    async def test_a_token_registers_as_often_as_it_has_uses(self, store: Store) -> None:
        """Of 50 concurrent registrations with a token of three uses, exactly three are stored."""
        token = a_token()
        await store.add_token(token, an_event("", kind="token.issued"))
        admission = Admission(Assurance.CLIENT, token_id=token.token_id)
        names = [f"c{number}" for number in range(_CROWD)]
        outcomes = await _outcomes(
            store.create(a_client(name, admission=admission), an_event(name), _spend(token)) for name in names
        )
        assert (_count(outcomes, None), _count(outcomes, TokenSpent)) == (_USES, _CROWD - _USES)
        stored = {name for name, outcome in zip(names, outcomes, strict=True) if outcome is None}
        assert {client.client_id for client in await _clients(store, token_id=token.token_id)} == stored
        assert {one.event.client_id for one in await _events(store, kind="client.registered")} == stored
        assert len(await _events(store)) == _USES + 1
        assert await _uses(store, token) == _USES

    async def test_updates_form_one_line_of_versions(self, store: Store) -> None:
        """50 writers that try again after a Conflict leave the versions 1 to 51, each with its event."""
        await store.create(a_client(), an_event(body=b"1"))

        async def write() -> None:
            while True:
                client = await store.find("main", "c1")
                assert client is not None
                after = _next(client, metadata=Registered({"line": [*client.metadata.get("line", []), client.version]}))
                try:
                    event = an_event(kind="client.updated", body=str(after.version).encode())
                    return await store.update(after, [event], expected=client.version)
                except Conflict:
                    continue

        await asyncio.gather(*(write() for _ in range(_CROWD)))
        last = await store.find("main", "c1")
        assert last is not None
        assert last.version == _CROWD + 1
        assert last.metadata["line"] == list(range(1, _CROWD + 1))
        assert [int(one.event.body) for one in await _events(store)] == list(range(1, _CROWD + 2))

    async def test_of_concurrent_updates_one_wins(self, store: Store) -> None:
        """Of 50 writers that have read the same version, one is stored and every other gets a Conflict."""
        await store.create(a_client(), an_event())
        outcomes = await _outcomes(
            store.update(a_client(version=2, policy=f"p{number}"), [an_event(kind="client.updated")], expected=1)
            for number in range(_CROWD)
        )
        assert (_count(outcomes, None), _count(outcomes, Conflict)) == (1, _CROWD - 1)
        stored = await store.find("main", "c1")
        assert stored is not None
        assert stored.policy == f"p{outcomes.index(None)}"
        assert len(await _events(store, kind="client.updated")) == 1

    async def test_of_concurrent_creations_one_wins(self, store: Store) -> None:
        """Of 50 that claim one identifier, one is stored, and of their tokens' uses one is claimed."""
        token = a_token(max_uses=0)
        await store.add_token(token, an_event("", kind="token.issued"))
        outcomes = await _outcomes(
            store.create(a_client(policy=f"p{number}"), an_event(), _spend(token)) for number in range(_CROWD)
        )
        assert (_count(outcomes, None), _count(outcomes, Conflict)) == (1, _CROWD - 1)
        stored = await store.find("main", "c1")
        assert stored is not None
        assert stored.policy == f"p{outcomes.index(None)}"
        assert len(await _events(store, kind="client.registered")) == 1
        assert await _uses(store, token) == 1

    async def test_a_crowd_is_counted_to_the_last(self, store: Store) -> None:
        """Of 50 that come at once, as many live as may; and while some go, others come."""
        outcomes = await _outcomes(
            store.create(a_client(f"c{number:02}"), an_event(f"c{number:02}"), changes=[Count("main", 20)])
            for number in range(_CROWD)
        )
        assert (_count(outcomes, None), _count(outcomes, Conflict), await _living(store)) == (20, _CROWD - 20, 20)
        created = [number for number, outcome in enumerate(outcomes) if outcome is None]
        both = [
            store.update(_next(a_client(f"c{number:02}"), state=State.DELETED), [], expected=1) for number in created
        ]
        both += [store.create(a_client(f"d{number:02}"), an_event(), changes=[Count("main")]) for number in range(20)]
        outcomes = await _outcomes(both)
        assert (_count(outcomes, None), await _living(store)) == (40, 20)

    async def test_a_crowd_raises_a_version_to_the_last(self, store: Store) -> None:
        """Of 50 that come at once as many pass as may, beside who puts the same item in its turn."""
        outcomes = await _outcomes(
            store.create(a_client(f"c{number:02}"), an_event(), changes=[Advance("main", "cap", "one", 20)])
            for number in range(_CROWD)
        )
        passed = outcomes
        assert (_count(outcomes, None), _count(outcomes, Conflict)) == (20, _CROWD - 20)
        both = [store.change([Advance("main", "cap", "one", 1_000)]) for _ in range(10)]
        both += [store.change([Put(Item("main", "cap", "one", b"", version=90), 20)])]
        both += [store.change([Advance("main", "cap", "one", 1_000)]) for _ in range(10)]
        outcomes = await _outcomes(both)
        stored = await store.item("main", "cap", "one")
        assert stored is not None
        # Where it was put before anybody else came, all of them count from there; else it was refused.
        assert stored.version == (90 + 20 if outcomes[10] is None else 20 + 20)
        assert [one.client_id for one in await _clients(store, issuer="main")] == [
            f"c{number:02}" for number in range(_CROWD) if passed[number] is None
        ]

    async def test_of_concurrent_claims_one_wins(self, store: Store) -> None:
        """An identifier that may be used once is used once, whoever comes at the same moment."""
        outcomes = await _outcomes(store.change([Put(an_item(), 0, NOW)], [an_event()]) for _ in range(_CROWD))

        assert _count(outcomes, None) == 1
        assert _count(outcomes, Conflict) == _CROWD - 1
        assert len(await _events(store)) == 1

    async def test_of_concurrent_keys_one_is_made(self, store: Store) -> None:
        """Of 50 that make the key of an issuer, one does; the others find that it is there."""
        outcomes = await _outcomes(
            store.add_key(a_key(f"k{number}"), an_event("", kind="issuer.key_created")) for number in range(_CROWD)
        )
        assert (_count(outcomes, None), _count(outcomes, Conflict)) == (1, _CROWD - 1)
        assert [key.kid for key in await store.keys("main")] == [f"k{outcomes.index(None)}"]
        assert len(await _events(store)) == 1

    async def test_events_have_an_order_without_gaps(self, store: Store) -> None:
        """Each event has a place of its own: sequence numbers rise; batches and positions of a writer have no gap."""
        await store.create(a_client(), an_event())
        for _ in range(_USES):  # several waves, so that there are several batches
            current = await store.find("main", "c1")
            assert current is not None
            updates = [an_event(kind="client.updated"), an_event(kind="client.token_rotated")]
            writes = [store.record(an_event("", kind="registration.refused")) for _ in range(_CROWD)]
            writes.append(store.update(_next(current), updates, expected=current.version))
            writes += [store.create(a_client(), an_event()) for _ in range(_USES)]  # refused: they leave no place free
            await _outcomes(writes)
            with pytest.raises(Conflict):
                await store.create(a_client(), an_event())  # nor does one that is refused alone
        stored = await _events(store)
        assert len(stored) == 1 + _USES * (_CROWD + 2)
        assert [one.sequence for one in stored] == sorted({one.sequence for one in stored})
        for writer in {one.writer for one in stored}:
            places = [(one.batch, one.position) for one in stored if one.writer == writer]
            assert places == sorted(places)
            batches = [
                (batch, [place[1] for place in group]) for batch, group in itertools.groupby(places, lambda at: at[0])
            ]
            first = batches[0][0]
            assert [batch for batch, _ in batches] == list(range(first, first + len(batches)))
            assert all(positions == list(range(len(positions))) for _, positions in batches)

    async def test_a_failure_does_not_spread_to_its_neighbours(self, store: Store) -> None:
        """Among writes that arrive together, each gets its own outcome, and the bad ones leave nothing."""
        spent = a_token(uses=_USES)
        await store.add_token(spent, an_event("", kind="token.issued"))
        await store.create(a_client("taken"), an_event("taken"))
        names = [f"c{number}" for number in range(_CROWD)]
        writes: list[Awaitable[None]] = []
        for name in names:
            writes += [
                store.create(a_client(name), an_event(name)),
                store.create(a_client("taken", policy="other"), an_event("taken")),
                store.create(a_client(f"{name}-spent"), an_event(f"{name}-spent"), _spend(spent)),
                store.update(a_client(f"{name}-none", version=2), [an_event(f"{name}-none")], expected=1),
            ]
        outcomes = await _outcomes(writes)
        assert [type(outcome) for outcome in outcomes] == [type(None), Conflict, TokenSpent, NotFound] * _CROWD
        assert {client.client_id for client in await _clients(store)} == {"taken", *names}
        assert {one.event.client_id for one in await _events(store, kind="client.registered")} == {"taken", *names}
        assert await store.find("main", "taken") == a_client("taken")

    async def test_readers_see_whole_writes(self, store: Store) -> None:
        """While clients are being created, whoever sees a client sees its event, and the other way round."""
        names = [f"c{number}" for number in range(_CROWD)]
        writing = asyncio.gather(*(store.create(a_client(name), an_event(name)) for name in names))
        done = False
        while not done:
            done = writing.done()
            told = {one.event.client_id for one in await _events(store)}
            found = {client.client_id for client in await _clients(store)}
            told_later = {one.event.client_id for one in await _events(store)}
            assert told <= found <= told_later
            await asyncio.sleep(0)
        await writing
        assert {client.client_id for client in await _clients(store)} == set(names)


class StoreConformance(StoreRecords, StoreTransactions, StoreParallel):
    """All three tiers."""
