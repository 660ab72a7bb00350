"""What an operator does, called as the command line calls it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from registrar.domain.client import Client, State
from registrar.domain.credentials import KeyEncryptionKeys, PresentedToken
from registrar.domain.errors import ProtocolError
from registrar.domain.events import Event
from registrar.domain.metadata import Presented
from registrar.service import (
    administration,
    bulk,
    client_administration,
    initial_access,
    management,
    registration,
    review,
    statements,
    templates,
    webhooks,
)
from registrar.service.audit import Caller
from registrar.service.bulk import Act, Selection
from registrar.service.operators import Refused
from registrar.service.ports import Change, EventQuery
from registrar.storage.memory import MemoryStore
from registrar.testing import OPEN, Served, served

pytestmark = pytest.mark.anyio

MEMBERS = Presented({"client_name": "Reader", "redirect_uris": ["https://app.example/cb"]})
ROTATING = '[issuer.main.registration_access_token]\nrotate = "update"\n'


async def registered(server: Served, **members: Any) -> dict[str, Any]:
    """A new client's information."""
    presented = Presented(MEMBERS | members)
    made = await registration.register(server.registry, server.issuer, presented, Caller("test"))
    return dict(made.information)


def holding(client: dict[str, Any]) -> tuple[str, Caller]:
    """A client that presents its token: the arguments of management."""
    return client["client_id"], Caller("test", PresentedToken(client["registration_access_token"]))


async def read(server: Served, client: dict[str, Any]) -> dict[str, Any]:
    """What the client reads with its token."""
    return await management.read(server.registry, server.issuer, *holding(client))


async def update(server: Served, client: dict[str, Any], **members: Any) -> dict[str, Any]:
    """What the client is told after an update with its token."""
    client_id, caller = holding(client)
    presented = Presented(MEMBERS | members | {"client_id": client_id})
    return await management.update(server.registry, server.issuer, client_id, presented, caller)


def acts(server: Served, client: dict[str, Any]) -> tuple[Any, ...]:
    """The first arguments of an act on a client."""
    return server.registry, server.issuer, server.operator, client["client_id"]


async def record(server: Served, client: dict[str, Any]) -> Client:
    """The record of a client."""
    return await administration.find(server.registry, server.issuer, client["client_id"])


# --- the state of clients ---------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7592-9")
async def test_suspending_and_resuming() -> None:
    """Each act is a version and a time of its own; the registration itself is untouched."""
    async with served() as server:
        client = await registered(server)
        before = await record(server, client)
        server.clock.advance(10)
        suspended = await administration.suspend(*acts(server, client), "why")
        assert (suspended.state, suspended.version, suspended.updated_at) == (State.SUSPENDED, 2, server.clock.now)
        with pytest.raises(ProtocolError, match="suspended"):
            await read(server, client)
        resumed = await administration.resume(*acts(server, client))
        assert (resumed.state, resumed.version) == (State.ACTIVE, 3)
        assert (resumed.metadata, resumed.credentials) == (before.metadata, before.credentials)
        assert await read(server, client) == client


@pytest.mark.requirement("SEED-62", "R7592-34")
async def test_deleting_leaves_a_tombstone_for_good() -> None:
    """A suspended client can be deleted, a deleted one can be nothing more, and its record is still found."""
    async with served() as server:
        client = await registered(server)
        await administration.suspend(*acts(server, client))
        deleted = await administration.delete(*acts(server, client), "abandoned")
        assert deleted == await record(server, client)
        assert deleted.state is State.DELETED
        assert not deleted.credentials.tokens
        assert not deleted.credentials.secrets
        for act in (administration.suspend, administration.resume, administration.delete, administration.rotate_secret):
            with pytest.raises(Refused, match="is deleted"):
                await act(*acts(server, client))
        with pytest.raises(Refused, match="no client nobody"):
            await administration.find(server.registry, server.issuer, "nobody")


@pytest.mark.requirement("R7592-33")
async def test_what_an_operator_is_shown_holds_no_credential() -> None:
    """The inventory says who, since when, by which policy and until when, and nothing that opens anything."""
    async with served(OPEN + "[issuer.main.client_secret]\nlifetime = 60") as server:
        client = await registered(server)
        shown = msgspec.to_builtins((await record(server, client)).public())
        assert shown["client_id"] == client["client_id"]
        assert shown["client_secret_expires_at"] == client["client_secret_expires_at"]
        assert (shown["state"], shown["policy"], shown["assurance"]) == ("active", "default", "open")
        assert shown["metadata"]["client_name"] == "Reader"
        for credential in (client["client_secret"], client["registration_access_token"]):
            assert credential not in repr(shown)
        assert not {"credentials", "tokens", "secrets", "digest"} & set(shown)


@pytest.mark.requirement("R7592-22")
async def test_an_act_lands_among_the_clients_own_updates(tmp_path: Path) -> None:
    """A client that updates itself twenty times is suspended all the same, and neither writes over the other."""
    text = OPEN.replace("memory:", f"sqlite:///{tmp_path}/registrar.db")
    async with served(text) as server:
        client = await registered(server)
        names: list[str] = []
        refusals: set[str] = set()

        async def renames() -> None:
            for number in range(20):
                try:
                    await update(server, client, client_name=f"Name {number}")
                except ProtocolError as error:
                    refusals.add(error.kind.name)
                else:
                    names.append(f"Name {number}")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(renames)
            tasks.start_soon(administration.suspend, *acts(server, client))
        assert refusals <= {"access_denied", "temporarily_unavailable"}
        after = await record(server, client)
        assert after.state is State.SUSPENDED
        assert after.metadata["client_name"] == (names[-1] if names else "Reader")
        assert after.version == 2 + len(names)


class _Contended(MemoryStore):
    """A store in which somebody else always writes first."""

    async def update(
        self, client: Client, events: Sequence[Event], *, expected: int, changes: Sequence[Change] = ()
    ) -> None:
        await super().update(client, events, expected=expected - 1, changes=changes)


@pytest.mark.requirement("R7592-22")
async def test_a_replaced_secret_works_no_longer_than_it_would_have() -> None:
    """Its own end comes before that of a longer overlap, and the operator is told so."""
    async with served(OPEN + "[issuer.main.client_secret]\nlifetime = 60\n") as server:
        client = await registered(server)
        ends = server.clock.now + 60
        server.clock.advance(20)
        _, after = await administration.rotate_secret(*acts(server, client), overlap=3_600)
        current, old = after.credentials.secrets
        assert (old.until, current.expires_at) == (ends, ends + 20)
        server.clock.advance(40)
        assert not after.credentials.secret_is(client["client_secret"], server.clock.now)


@pytest.mark.parametrize("overlap", [-1, 10**10 + 1, 10**30])
async def test_an_overlap_has_an_end(overlap: int) -> None:
    """Whoever names one that no store could hold the end of is told, and no secret is replaced."""
    async with served() as server:
        client = await registered(server)
        before = await record(server, client)
        with pytest.raises(Refused, match="an overlap is"):
            await administration.rotate_secret(*acts(server, client), overlap=overlap)
        with pytest.raises(Refused, match="an overlap is"):
            await bulk.start(*acts(server, client)[:3], Act.ROTATE_SECRET, Selection(everything=True), overlap=overlap)
        assert await record(server, client) == before


@pytest.mark.parametrize("reason", ["x" * 501, "bytes \udcff of a shell"])
async def test_a_reason_is_a_short_text(reason: str) -> None:
    """It goes into an event, which is kept for good and sent to every webhook: whatever is decided, none is longer."""
    async with served() as server:
        client = await registered(server)
        acting = acts(server, client)
        made = await templates.create(*acting[:3], "base", templates.Wanted(dict(MEMBERS)))
        _, statement = await statements.issue(*acting[:3], {}, software_id="s")
        before = len(await server.registry.store.events(EventQuery()))
        template, jti = made.template.template_id, statement.jti
        for act in (
            administration.suspend(*acting, reason),
            administration.resume(*acting, reason),
            administration.delete(*acting, reason),
            administration.rotate_secret(*acting, reason=reason),
            administration.reissue_token(*acting, reason),
            initial_access.issue_token(*acting[:3], label=reason),
            initial_access.issue_token(*acting[:3], owner=reason),
            bulk.start(*acting[:3], Act.SUSPEND, Selection(everything=True), reason=reason),
            review.approve(*acting, reason=reason),
            review.reject(*acting, reason=reason),
            statements.revoke(*acting[:3], jti, reason),
            templates.disable(*acting[:3], template, reason),
            templates.delete(*acting[:3], template, reason),
            webhooks.enable(*acting[:3], "gateway", reason),
        ):
            with pytest.raises(Refused, match=r"has 500 characters at the most|is text"):
                await act
        assert len(await server.registry.store.events(EventQuery())) == before
        await administration.suspend(*acting, "x" * 500)


async def test_contention_without_end_is_told() -> None:
    """After a few attempts the operator is told to try again, and the client gets temporarily_unavailable."""
    async with served(store=_Contended()) as server:
        client = await registered(server)
        with pytest.raises(Refused, match="try again"):
            await administration.suspend(*acts(server, client))
        with pytest.raises(ProtocolError) as refused:
            await update(server, client, client_name="New")
        assert refused.value.kind.name == "temporarily_unavailable"
        assert (await record(server, client)).metadata["client_name"] == "Reader"


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7592-29", "D-5")
async def test_rotating_a_secret_twice_before_its_client_reads_it() -> None:
    """Every secret lives out its own overlap, and the client reads the newest."""
    async with served() as server:
        client = await registered(server)
        first, _ = await administration.rotate_secret(*acts(server, client), overlap=100)
        server.clock.advance(50)
        second, after = await administration.rotate_secret(*acts(server, client), overlap=100)
        assert len({client["client_secret"], first, second}) == 3
        now = server.clock.now
        lives = [
            [after.credentials.secret_is(one, at) for one in (client["client_secret"], first, second)]
            for at in (now, now + 50, now + 100)
        ]
        assert lives == [[True, True, True], [False, True, True], [False, False, True]]
        assert (await read(server, client))["client_secret"] == second
        assert await read(server, client) == client | {"client_secret": second}


async def test_the_overlap_is_the_issuers_unless_the_operator_says() -> None:
    """Without an overlap given the setting counts; with 0 the old secret ends at once."""
    async with served(OPEN + "[issuer.main.client_secret]\noverlap = 7\nlifetime = 1000") as server:
        client = await registered(server)
        secret, after = await administration.rotate_secret(*acts(server, client))
        assert after.credentials.secret_is(client["client_secret"], server.clock.now + 6)
        assert not after.credentials.secret_is(client["client_secret"], server.clock.now + 7)
        assert after.credentials.secrets[0].expires_at == server.clock.now + 1000
        final, after = await administration.rotate_secret(*acts(server, client), overlap=0)
        assert not after.credentials.secret_is(secret, server.clock.now)
        assert after.credentials.secret_is(final, server.clock.now)


@pytest.mark.requirement("R7592-32", "R7592-29")
@pytest.mark.parametrize("answer_lost", [False, True])
async def test_a_rotated_secret_is_found_with_either_token(answer_lost: bool) -> None:
    """Between two tokens of a client an operator rotates its secret: whichever it holds opens the new one."""
    async with served(OPEN + ROTATING) as server:
        client = await registered(server)
        updated = await update(server, client)
        minted, _ = await administration.rotate_secret(*acts(server, client))
        shown = await read(server, client if answer_lost else updated)
        assert shown["client_secret"] == minted
        assert (shown["registration_access_token"] != updated["registration_access_token"]) is answer_lost
        assert await read(server, shown) == shown
        assert (await record(server, client)).credentials.data_key is None


@pytest.mark.requirement("R7591-55")
async def test_only_secrets_that_exist_rotate() -> None:
    """A public client has none, and without a key-encryption key there is nowhere to keep a new one."""
    import dataclasses

    async with served() as server:
        public = await registered(server, token_endpoint_auth_method="none")
        with pytest.raises(Refused, match="without a secret"):
            await administration.rotate_secret(*acts(server, public))
        client = await registered(server)
        keyless = dataclasses.replace(server.registry, keys=KeyEncryptionKeys(()))
        with pytest.raises(Refused, match="key-encryption key"):
            await administration.rotate_secret(keyless, *acts(server, client)[1:])
        assert await read(server, client) == client


async def test_a_secret_that_comes_later_ends_with_its_client() -> None:
    """An operator who gives a brief client a secret gives it one that is as brief."""
    text = (
        OPEN.replace('mode = "open"', 'mode = "open"\npolicy = "brief"') + "[policy.brief.lifetime]\nclient = 86400\n"
    )
    async with served(text) as server:
        made = await registered(server, token_endpoint_auth_method="none")
        confidential = Presented(MEMBERS | {"token_endpoint_auth_method": "client_secret_basic"})
        client, secret = await client_administration.change(*acts(server, made), confidential)
        assert secret
        assert client.credentials.secrets[0].expires_at == client.expires_at == made["client_id_issued_at"] + 86_400
