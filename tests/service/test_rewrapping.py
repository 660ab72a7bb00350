"""Key-encryption keys that change: nothing stops, nothing is lost, and a key goes only when nothing lies under it."""

from __future__ import annotations

import asyncio
import base64
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from registrar.authorization import subject
from registrar.config import key_file
from registrar.domain.client import Client
from registrar.domain.credentials import KeyEncryptionKeys, Unreadable, Wrapped, key_bytes
from registrar.domain.events import Event
from registrar.domain.metadata import Presented
from registrar.policy.document import ConfigurationError
from registrar.service import administration, issuance, keys, management, registration, rewrapping
from registrar.service.audit import Caller
from registrar.service.ports import Change, EventQuery, StoreUnavailable
from registrar.storage.sqlite import SQLiteStore
from registrar.testing import OPEN, Served, served

pytestmark = pytest.mark.anyio

SYMMETRIC: dict[str, Any] = {
    "redirect_uris": ["https://app.example/cb"],
    "token_endpoint_auth_method": "client_secret_jwt",
}


def where(folder: Path) -> str:
    """A configuration with a database and a key file of its own."""
    return OPEN.replace("memory:", f"sqlite:///{folder}/registrar.db")


async def register(server: Served, **members: Any) -> dict[str, Any]:
    """A client whose secret the server has to read."""
    presented = Presented({**SYMMETRIC, **members})
    made = await registration.register(server.registry, server.issuer, presented, Caller("test"))
    return dict(made.information)


async def readable(server: Served, client: dict[str, Any]) -> str:
    """Its secret as the server reads it."""
    record = await administration.find(server.registry, server.issuer, client["client_id"])
    return issuance.readable_secret(server.registry, server.issuer, record)


async def labels(server: Served) -> dict[str, int]:
    """How much lies under each key."""
    return dict((await rewrapping.counted(server.registry)).by_label)


async def test_everything_is_brought_under_the_newest(tmp_path: Path) -> None:
    """Clients, signing keys and the secret of pairwise identifiers; what they hold is what it was."""
    async with served(where(tmp_path)) as server:
        path = tmp_path / "registrar.key"
        await keys.ensure(server.registry, server.issuer)
        clients = [await register(server, client_name=f"C{at}") for at in range(5)]
        plain = await register(server, token_endpoint_auth_method="client_secret_basic")
        pairwise = await administration.find(server.registry, server.issuer, clients[0]["client_id"])
        pairwise = _pairwise(pairwise)
        seen_as = await subject.for_client(server.registry, server.issuer, pairwise, "alice")
        signed = await keys.sign(server.registry, server.issuer, "ES256", {"a": 1})
        (old,) = await labels(server)
        new = key_file.add_key(path, use=True)
        before = await labels(server)
        told: list[int] = []
        found = await rewrapping.rewrap(server.registry, server.operator, told.append)

        assert before == {old: 5 + 3 + 1}
        assert found.changed == 9
        assert found.unreadable == 0
        assert await labels(server) == {new: 9}
        assert sum(told) == 6
        assert (await rewrapping.rewrap(server.registry, server.operator)).changed == 0
        key_file.drop_key(path, old)
        server.registry.opened.forget("main")
        for client in clients:
            assert await readable(server, client) == client["client_secret"]
        assert await subject.for_client(server.registry, server.issuer, pairwise, "alice") == seen_as
        assert (await keys.sign(server.registry, server.issuer, "ES256", {"a": 1})).partition(".")[
            0
        ] == signed.partition(".")[0]
        read = await management.read(
            server.registry, server.issuer, plain["client_id"], Caller("test", plain["registration_access_token"])
        )
        assert read["client_secret"] == plain["client_secret"]
        (event,) = await server.registry.store.events(EventQuery("main", "issuer.rewrapped"))
        assert b'"count":9' in event.event.body
        assert len(await server.registry.store.events(EventQuery("main", "issuer.key_rewrapped"))) == 3


def _pairwise(client: Client) -> Client:
    import msgspec

    return msgspec.structs.replace(client, metadata={**client.metadata, "subject_type": "pairwise"})


async def test_beside_a_server_that_goes_on(tmp_path: Path) -> None:
    """Clients register, change and are rotated while keys are replaced; every acknowledged secret is readable after."""
    async with served(where(tmp_path)) as server:
        path = tmp_path / "registrar.key"
        secrets: dict[str, str] = {}
        ended = asyncio.Event()

        async def load(number: int) -> None:
            while not ended.is_set():
                client = await register(server, client_name=f"L{number}")
                secrets[client["client_id"]] = client["client_secret"]
                caller = Caller("test", client["registration_access_token"])
                update = Presented({**SYMMETRIC, "client_id": client["client_id"], "client_name": "changed"})
                await management.update(server.registry, server.issuer, client["client_id"], update, caller)
                acting = (server.registry, server.issuer, server.operator, client["client_id"])
                secrets[client["client_id"]], _ = await administration.rotate_secret(*acting)

        loading = [asyncio.create_task(load(at)) for at in range(4)]
        retired = []
        for _ in range(4):
            await asyncio.sleep(0.1)
            (*_, oldest) = server.registry.keys.labels
            new = key_file.add_key(path, use=True)
            for _ in range(20):
                await rewrapping.rewrap(server.registry, server.operator)
                if oldest.hex() not in await labels(server):
                    break
            key_file.drop_key(path, oldest.hex())
            retired.append(oldest.hex())
        ended.set()
        await asyncio.gather(*loading)

        assert set(await labels(server)) == {new}
        assert len(set(retired)) == 4
        assert len(secrets) > 20
        for client_id, secret in secrets.items():
            assert await readable(server, {"client_id": client_id}) == secret
            record = await administration.find(server.registry, server.issuer, client_id)
            assert record.metadata["client_name"] == "changed"


class Failing(SQLiteStore):
    """A store that fails after so many updates."""

    left = 300

    async def update(
        self, client: Client, events: Sequence[Event], *, expected: int, changes: Sequence[Change] = ()
    ) -> None:
        if not self.left:
            raise StoreUnavailable("down")
        self.left -= 1
        await super().update(client, events, expected=expected, changes=changes)


async def test_broken_off_and_gone_on_with(tmp_path: Path) -> None:
    """Where it was; under another newest key it begins anew."""
    store = Failing(tmp_path / "registrar.db")
    async with served(where(tmp_path), store=store) as server:
        for at in range(450):
            await register(server, client_name=f"C{at}")
        path = tmp_path / "registrar.key"
        new = key_file.add_key(path, use=True)
        with pytest.raises(StoreUnavailable):
            await rewrapping.rewrap(server.registry, server.operator)
        store.left = 10_000
        told: list[int] = []
        found = await rewrapping.rewrap(server.registry, server.operator, told.append)

        assert (found.changed, sum(told)) == (150, 250)
        assert await labels(server) == {new: 450}
        newer = key_file.add_key(path, use=True)
        assert (await rewrapping.rewrap(server.registry, server.operator)).changed == 450
        assert await labels(server) == {newer: 450}


async def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    """What lies under a key that is gone stays as it is, and is counted."""
    async with served(where(tmp_path)) as server:
        path = tmp_path / "registrar.key"
        await register(server)
        (lost,) = await labels(server)
        key_file.add_key(path, use=True)
        key_file.drop_key(path, lost)
        await register(server)
        found = await rewrapping.rewrap(server.registry, server.operator)
        assert (found.changed, found.unreadable) == (0, 1)
        assert (await labels(server))[lost] == 1


def test_whatever_is_wrapped_is_wrapped_anew() -> None:
    """Whoever wraps something else under a key-encryption key has to see to it here, or a retired key takes it along."""
    source = Path(rewrapping.__file__).parents[1]
    wrapping = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if re.search(r"keys\.wrap\b", path.read_text("utf-8"))
    }
    assert wrapping == {
        "authorization/sender.py",  # nonces, which last for minutes
        "authorization/subject.py",
        "service/issuance.py",
        "service/keys.py",
        "service/rewrapping.py",
    }


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A key file."""
    path = tmp_path / "registrar.key"
    key_file.create_key_file(path)
    return path


def test_the_file_is_replaced_as_a_whole(path: Path) -> None:
    """Readable by its owner alone at every moment; the first key wraps, and the one that wraps cannot be dropped."""
    first, added = _labels(path)[0], key_file.add_key(path, use=False)
    used = key_file.add_key(path, use=True)
    assert _labels(path) == [used, first, added]
    assert path.stat().st_mode & 0o777 == 0o600
    key_file.use_key(path, added)
    assert _labels(path) == [added, used, first]
    with pytest.raises(ConfigurationError, match="is the key that wraps"):
        key_file.drop_key(path, added)
    for act in (key_file.drop_key, key_file.use_key):
        with pytest.raises(ConfigurationError, match="there is no key 00; these are"):
            act(path, "00")
    key_file.drop_key(path, first)
    assert _labels(path) == [added, used]
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def _labels(path: Path) -> list[str]:
    return [label.hex() for label in KeyEncryptionKeys(key_bytes(path.read_text())).labels]


def test_a_spoilt_file_stops_nobody(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was known goes on, and it is told once; a good file is taken up again. No key is in the log."""
    watched = key_file._Watched(path)
    known = KeyEncryptionKeys(key_bytes(path.read_text()), watched)
    (label,) = known.labels
    text = path.read_text()
    for spoilt in ("nonsense", None):
        path.unlink() if spoilt is None else path.write_text(spoilt)
        for _ in range(3):
            assert known.labels == (label,)
            assert known.unwrap(known.wrap(b"0" * 12, b"value", b""), b"") == b"value"
    assert len(caplog.records) == 2
    path.write_text(text)
    new = key_file.add_key(path, use=True)
    assert [one.hex() for one in known.labels] == [new, label.hex()]
    assert all(line.strip() not in caplog.text for line in path.read_text().splitlines() if line[0] != "#")


def test_another_process_s_key_is_found(path: Path) -> None:
    """What another process wrapped under a key that came later is opened at once."""
    mine, theirs = (KeyEncryptionKeys(key_bytes(path.read_text()), key_file._Watched(path)) for _ in range(2))
    key_file.add_key(path, use=True)
    wrapped = theirs.wrap(b"0" * 12, b"value", b"")
    assert mine.unwrap(wrapped, b"") == b"value"
    with pytest.raises(Unreadable):
        mine.unwrap(Wrapped(os.urandom(8), wrapped.sealed), b"")


async def test_commands_at_once(path: Path) -> None:
    """Each change is made on what the one before left: no key is lost."""
    made = await asyncio.gather(*(asyncio.to_thread(key_file.add_key, path, use=False) for _ in range(8)))
    assert set(made) < set(_labels(path))
    assert len(_labels(path)) == 9


def test_a_link_stays_one(tmp_path: Path, path: Path) -> None:
    """The file that is linked to is replaced, not the link."""
    link = tmp_path / "link.key"
    link.symlink_to(path)
    added = key_file.add_key(link, use=True)
    assert link.is_symlink()
    assert _labels(path)[0] == added
    assert base64.b64decode(path.read_text().splitlines()[1])
