"""How credentials are kept: what a stolen database yields, and what the keys outside it open."""

from __future__ import annotations

import base64
import dataclasses
import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest

from registrar.domain import credentials
from registrar.domain.client import Client
from registrar.domain.credentials import KeyEncryptionKeys, PresentedToken, Unreadable
from registrar.domain.errors import RegistrationError
from registrar.domain.metadata import Presented
from registrar.service import administration, initial_access, issuance, keys, management, registration
from registrar.service.audit import Caller
from registrar.service.registry import Registry
from registrar.testing import OPEN, Served, served

pytestmark = pytest.mark.anyio

MEMBERS = {"client_name": "Reader", "redirect_uris": ["https://app.example/cb"]}
SYMMETRIC = {"token_endpoint_auth_method": "client_secret_jwt"}
OLD, NEW = b"o" * 32, b"n" * 32


async def registered(server: Served, registry: Registry | None = None, **members: Any) -> dict[str, Any]:
    """A new client's information."""
    presented = Presented(MEMBERS | members)
    made = await registration.register(registry or server.registry, server.issuer, presented, Caller("test"))
    return dict(made.information)


async def updated(server: Served, registry: Registry, client: dict[str, Any], **members: Any) -> dict[str, Any]:
    """What the client is told after an update."""
    caller = Caller("test", PresentedToken(client["registration_access_token"]))
    presented = Presented(MEMBERS | members | {"client_id": client["client_id"]})
    return await management.update(registry, server.issuer, client["client_id"], presented, caller)


async def read(server: Served, registry: Registry, client: dict[str, Any]) -> dict[str, Any]:
    """What the client reads."""
    caller = Caller("test", PresentedToken(client["registration_access_token"]))
    return await management.read(registry, server.issuer, client["client_id"], caller)


async def record(server: Served, client: dict[str, Any]) -> Client:
    """The record of a client."""
    return await administration.find(server.registry, server.issuer, client["client_id"])


def keyed(server: Served, *keys: bytes) -> Registry:
    """The registry with other key-encryption keys."""
    return dataclasses.replace(server.registry, keys=KeyEncryptionKeys(keys))


def opened(registry: Registry, server: Served, client: Client, token: str, at: Client | None = None) -> str:
    """The secret of a client's record, opened with a token; `at` is where the record is said to belong."""
    held = client.credentials
    cabinet = issuance.open_with_token(
        registry, server.issuer, (at or client).client_id, held, held.tokens[0], PresentedToken(token)
    )
    assert cabinet is not None
    return cabinet.secret(held.secrets[0])


# --- a stolen database ------------------------------------------------------------------------------------------------


def files(folder: Path) -> bytes:
    """Every byte of a database, its journal included."""
    return b"".join(path.read_bytes() for path in folder.glob("registrar.db*"))


@pytest.mark.requirement("D-5", "R7592-33", "SEED-60")
async def test_a_stolen_database_holds_no_credential(tmp_path: Path) -> None:
    """In no file of it stands a secret, a token, or one of them in another spelling."""
    text = OPEN.replace("memory:", f"sqlite:///{tmp_path}/registrar.db")
    async with served(text) as server:
        value, _ = await initial_access.issue_token(server.registry, server.issuer, server.operator)
        clients = [
            await registered(server),
            await registered(server, **SYMMETRIC),
            await registered(server, token_endpoint_auth_method="none"),
        ]
        clients.append(await updated(server, server.registry, clients[0], client_name="New"))
        minted, _ = await administration.rotate_secret(
            server.registry, server.issuer, server.operator, clients[1]["client_id"]
        )
        known = {value, minted}
        known |= {
            one[name] for one in clients for name in ("client_secret", "registration_access_token") if name in one
        }
        await keys.ensure(server.registry, server.issuer)
        stolen = files(tmp_path)
    assert clients[0]["client_id"].encode() in stolen
    for credential in known:
        raw = base64.urlsafe_b64decode(credential + "=" * (-len(credential) % 4))
        for spelling in (credential.encode(), raw, raw.hex().encode(), base64.b64encode(raw).rstrip(b"=")):
            assert spelling not in stolen
    assert b'"d":' not in stolen, "a private signing key lies there in the clear"


@pytest.mark.requirement("D-5", "R7592-33")
async def test_what_the_record_holds_does_not_open_the_secret() -> None:
    """Digests, ciphertexts and nonces of a record, as keys or as tokens, open nothing; the token alone does."""
    async with served() as server:
        client = await registered(server)
        stored = await record(server, client)
        token, secret = stored.credentials.tokens[0], stored.credentials.secrets[0]
        assert token.data_key is not None
        assert secret.sealed is not None
        associated = [
            credentials.context("main", client["client_id"], purpose, version)
            for purpose, version in (("data_key", 0), ("client_secret", 1))
        ]
        material = [token.digest, secret.digest, token.data_key.ciphertext[:32], secret.sealed.ciphertext[:32]]
        for key, context in itertools.product(material, associated):
            for sealed in (token.data_key, secret.sealed):
                with pytest.raises(Unreadable):
                    credentials.unseal(key, sealed, context)
        for guess in (token.digest.hex(), base64.urlsafe_b64encode(token.digest).decode(), client["client_secret"]):
            with pytest.raises(Unreadable):
                opened(server.registry, server, stored, guess)
        assert opened(server.registry, server, stored, client["registration_access_token"]) == client["client_secret"]


@pytest.mark.requirement("D-5")
async def test_the_key_encryption_key_opens_only_what_needs_it() -> None:
    """For a client that merely presents its secret nothing is wrapped for the server; for a symmetric one it is."""
    async with served() as server:
        plain, symmetric = await registered(server), await registered(server, **SYMMETRIC)
        assert (await record(server, plain)).credentials.data_key is None
        stored = await record(server, symmetric)
        assert stored.credentials.data_key is not None
        context = credentials.context("main", symmetric["client_id"], "data_key", 0)
        key = server.registry.keys.unwrap(stored.credentials.data_key, context)
        sealed = stored.credentials.secrets[0].sealed
        assert sealed is not None
        purpose = credentials.context("main", symmetric["client_id"], "client_secret", 1)
        assert credentials.unseal(key, sealed, purpose).decode() == symmetric["client_secret"]
        with pytest.raises(Unreadable):
            KeyEncryptionKeys((b"x" * 32,)).unwrap(stored.credentials.data_key, context)
        back = await updated(server, server.registry, symmetric)
        assert back["client_secret"] == symmetric["client_secret"]
        assert (await record(server, symmetric)).credentials.data_key is None


# --- opening with a token ---------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7592-36", "R7592-10", "D-5")
async def test_a_sealed_secret_opens_only_where_it_was_made() -> None:
    """Another client's token does not open it, and neither does the right one once it is moved to another client."""
    async with served() as server:
        a, b = await registered(server), await registered(server)
        stored_a, stored_b = await record(server, a), await record(server, b)
        with pytest.raises(Unreadable):
            opened(server.registry, server, stored_a, b["registration_access_token"])
        with pytest.raises(Unreadable):
            opened(server.registry, server, stored_a, a["registration_access_token"], at=stored_b)
        moved = msgspec.structs.replace(stored_a.credentials, secrets=stored_b.credentials.secrets)
        swapped = msgspec.structs.replace(stored_a, credentials=moved)
        with pytest.raises(Unreadable):
            opened(server.registry, server, swapped, a["registration_access_token"])


async def test_a_public_client_has_nothing_to_open() -> None:
    """Its token opens no cabinet, because there is none."""
    async with served() as server:
        client = await registered(server, token_endpoint_auth_method="none")
        held = (await record(server, client)).credentials
        assert held.tokens[0].data_key is None
        token = PresentedToken(client["registration_access_token"])
        cabinet = issuance.open_with_token(
            server.registry, server.issuer, client["client_id"], held, held.tokens[0], token
        )
        assert cabinet is None


@pytest.mark.requirement("R7592-32")
async def test_a_superseded_secret_is_never_shown_again() -> None:
    """It is compared until its overlap ends, and its sealed copy is gone at once."""
    async with served(OPEN + "[issuer.main.client_secret]\nrotate_on_update = true\noverlap = 60") as server:
        client = await registered(server)
        await updated(server, server.registry, client)
        current, old = (await record(server, client)).credentials.secrets
        assert current.sealed is not None
        assert old.sealed is None
        assert (old.version, current.version) == (1, 2)
        assert old.until == server.clock.now + 60
        server.clock.advance(60)
        await updated(server, server.registry, client)
        kept = (await record(server, client)).credentials.secrets
        assert [one.version for one in kept] == [3, 2], "what no longer authenticates is not kept"


@pytest.mark.requirement("R7591-49", "R7592-36")
async def test_nothing_of_one_client_is_of_use_at_another() -> None:
    """Two equal registrations share no digest, no ciphertext, no nonce and no data key."""
    async with served() as server:
        held = [(await record(server, await registered(server, **SYMMETRIC))).credentials for _ in range(2)]
        parts = []
        for one in held:
            token, secret, wrapped = one.tokens[0], one.secrets[0], one.data_key
            assert token.data_key is not None
            assert secret.sealed is not None
            assert wrapped is not None
            sealed = (token.data_key, secret.sealed, wrapped.sealed)
            parts.append(
                {token.digest, secret.digest, *(part for pair in sealed for part in (pair.nonce, pair.ciphertext))}
            )
        assert not parts[0] & parts[1]
        assert len(parts[0]) == len(parts[1]) == 8


# --- without a key-encryption key -------------------------------------------------------------------------------------


@pytest.mark.requirement("D-5", "R7591-55")
@pytest.mark.parametrize("members", [SYMMETRIC, {"id_token_signed_response_alg": "HS256"}], ids=str)
async def test_without_a_key_a_readable_secret_is_refused(members: dict[str, str]) -> None:
    """At registration and at update, before anything is stored; a secret that is only compared needs no such key."""
    async with served() as server:
        keyless = keyed(server)
        with pytest.raises(RegistrationError) as refused:
            await registered(server, keyless, **members)
        assert refused.value.kind.name == "invalid_client_metadata"
        assert [fault.rule for fault in refused.value.faults] == ["credentials.kek"]
        client = await registered(server, keyless)
        with pytest.raises(RegistrationError):
            await updated(server, keyless, client, **members)
        assert await read(server, keyless, client) == client
        await keys.ensure(keyless, server.issuer)
        assert await keys.published(keyless, server.issuer) == {"keys": []}


# --- rotating the key-encryption key ----------------------------------------------------------------------------------


@pytest.mark.requirement("D-5")
async def test_the_key_encryption_key_is_rotated_with_both_at_hand() -> None:
    """New first, old second: what the old one wrapped opens, what is wrapped now needs the new one alone."""
    async with served() as server:
        before, both, after = keyed(server, OLD), keyed(server, NEW, OLD), keyed(server, NEW)
        first = await registered(server, before, **SYMMETRIC)
        rotated = await registered(server, before)
        minted, _ = await administration.rotate_secret(before, server.issuer, server.operator, rotated["client_id"])
        # the old key alone opens neither with `after`, both do with `both`
        wrapped = (await record(server, first)).credentials.data_key
        context = credentials.context("main", first["client_id"], "data_key", 0)
        assert wrapped is not None
        assert before.keys.unwrap(wrapped, context) == both.keys.unwrap(wrapped, context)
        with pytest.raises(Unreadable):
            after.keys.unwrap(wrapped, context)
        assert (await read(server, both, rotated))["client_secret"] == minted
        second = await registered(server, both, **SYMMETRIC)
        # each client that comes by moves to the new key, and then the old one can go
        assert (await updated(server, both, first, **SYMMETRIC))["client_secret"] == first["client_secret"]
        for client in (first, second):
            moved = (await record(server, client)).credentials.data_key
            assert moved is not None
            after.keys.unwrap(moved, credentials.context("main", client["client_id"], "data_key", 0))
            assert await read(server, after, client) == client
        assert (await read(server, after, rotated))["client_secret"] == minted


@pytest.mark.requirement("D-5", "DISC-18")
async def test_signing_keys_are_made_once_and_wrapped() -> None:
    """A second start makes none, their private halves open with the key-encryption key alone."""
    async with served() as server:
        before, both = keyed(server, OLD), keyed(server, NEW, OLD)
        await keys.ensure(before, server.issuer)
        published = await keys.published(before, server.issuer)
        await keys.ensure(both, server.issuer)
        assert await keys.published(both, server.issuer) == published
        stored = await server.registry.store.keys("main")
        assert {key.algorithm for key in stored} == set(keys.KEYS)
        for key in stored:
            assert b'"d"' not in key.public
            context = credentials.context("main", key.kid, "signing_key", 0)
            private = msgspec.json.decode(both.keys.unwrap(key.private, context))
            assert private["d"]
            with pytest.raises(Unreadable):
                keyed(server, NEW).keys.unwrap(key.private, context)
            with pytest.raises(Unreadable):
                both.keys.unwrap(key.private, credentials.context("other", key.kid, "signing_key", 0))
