"""What an attacker's reading of the code once found, each held so that it stays mended."""

from __future__ import annotations

import base64
import json
import random
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from registering import MEMBERS, as_update, configured, events, manage, on_disk, post, refused, register

from registrar.domain.credentials import PresentedToken
from registrar.domain.errors import RegistrationError
from registrar.domain.events import Event
from registrar.http import wire
from registrar.service.audit import Caller
from registrar.service.issuance import SUPERSEDED, Issued
from registrar.service.ports import Change, EventQuery, StoreUnavailable
from registrar.storage.memory import MemoryStore
from registrar.testing import served

pytestmark = pytest.mark.anyio

ROTATING = '[issuer.main.registration_access_token]\nrotate = "update"\noverlap = 3600\n'


async def test_a_superseded_token_ends_however_often_it_is_used() -> None:
    """The overlap runs from the rotation, and using the old token does not lengthen it."""
    async with served(configured(tables=ROTATING)) as server:
        client = await register(server)
        assert (await manage(server, client, "PUT", as_update(client))).status_code == 200
        server.clock.advance(3500)
        assert (await manage(server, client)).status_code == 200
        server.clock.advance(200)
        refused(await manage(server, client), "invalid_token", status=401)


async def test_superseded_secrets_do_not_pile_up() -> None:
    """A client that rotates with every update keeps a bounded number of old secrets."""
    rotating = "[issuer.main.client_secret]\nrotate_on_update = true\n"
    async with served(configured(tables=rotating)) as server:
        client = await register(server)
        for _ in range(3 * SUPERSEDED):
            client = (await manage(server, client, "PUT", as_update(client))).json()
        stored = await server.registry.store.find("main", client["client_id"])
        assert stored is not None
        assert len(stored.credentials.secrets) == 1 + SUPERSEDED


@pytest.mark.requirement("SEED-65")
async def test_the_size_of_a_refusal_is_bounded() -> None:
    """A request full of faults gives an event of a few kilobytes, and what refused it is in there."""
    async with served() as server:
        body = {f"x{at}": 1 for at in range(60)} | {"redirect_uris": [f"http://far{at}.example/cb" for at in range(20)]}
        body |= {f"client_name#{'a' * 8}-{at:08}": 7 for at in range(100)}
        refused(await post(server, body), "invalid_redirect_uri")
        (stored,) = await server.registry.store.events(EventQuery(kind="registration.refused"))
        assert len(stored.event.body) < 16_384
        assert "redirect_uri.plain_http" in {one["rule"] for one in json.loads(stored.event.body)["findings"]}


@pytest.mark.requirement("SEED-65")
async def test_a_change_of_keys_is_told_by_thumbprints() -> None:
    """The difference of an update holds no key material, which could be made as large as a body."""
    key = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    async with served() as server:
        client = await register(server)
        update = as_update(client, jwks={"keys": [{**key, "note": "n" * 20_000}]})
        assert (await manage(server, client, "PUT", update)).status_code == 200
        (told,) = await events(server, "client.updated")
        assert told["difference"]["jwks"] == [None, ["kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"]]


class _FailsOnce(MemoryStore):
    """A store that cannot take the first event that accompanies nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.failing = True

    async def record(self, event: Event) -> None:
        self._fail()
        await super().record(event)

    async def change(self, changes: Sequence[Change], events: Sequence[Event] = ()) -> None:
        if events:
            self._fail()
        await super().change(changes, events)

    def _fail(self) -> None:
        if self.failing:
            self.failing = False
            raise StoreUnavailable("too many writes are waiting", overloaded=True)


@pytest.mark.requirement("SEED-65")
async def test_a_read_that_is_answered_is_recorded() -> None:
    """When the event of a read could not be stored, the next read is recorded, though it is the same minute."""
    async with served(store=_FailsOnce()) as server:
        client = await register(server)
        assert (await manage(server, client)).status_code == 503
        assert (await manage(server, client)).status_code == 200
        assert len(await events(server, "client.read")) == 1


@pytest.mark.requirement("SEED-65")
async def test_counted_refusals_are_told_before_the_process_ends() -> None:
    """What a quota left out is told when the application shuts down, if nothing was refused since."""
    async with served(configured(tables="[issuer.main.audit]\nrefusals_per_minute = 2\n")) as server:
        for _ in range(5):
            refused(await post(server, {}), "invalid_redirect_uri")
        await server.registry.audit.flush()
        (told,) = await events(server, "registration.refusals_suppressed")
        assert told["count"] == 3
        await server.registry.audit.flush()
        assert len(await events(server, "registration.refusals_suppressed")) == 1


async def test_counted_refusals_outlive_a_store_that_fails() -> None:
    """When the summary could not be stored, its count is told with the next, and not forgotten."""
    async with served(
        configured(tables="[issuer.main.audit]\nrefusals_per_minute = 2\n"), store=_FailsOnce()
    ) as server:
        store = server.registry.store
        assert isinstance(store, _FailsOnce)
        store.failing = False
        for _ in range(5):
            refused(await post(server, {}), "invalid_redirect_uri")
        store.failing = True
        with pytest.raises(StoreUnavailable):
            await server.registry.audit.flush()
        await server.registry.audit.flush()
        (told,) = await events(server, "registration.refusals_suppressed")
        assert told["count"] == 3


async def test_ended_wrappings_leave_the_file(tmp_path: Path) -> None:
    """Once tokens have ended, no byte of what they opened is left in the closed database."""
    ended: list[bytes] = []
    async with served(on_disk(tmp_path, tables=ROTATING)) as server:
        clients = [
            await register(server, {**MEMBERS, "client_name": "n" * random.Random(at).randrange(200)})
            for at in range(40)
        ]
        for client in clients:
            stored = await server.registry.store.find("main", client["client_id"])
            assert stored is not None
            wrapping = stored.credentials.tokens[0].data_key
            assert wrapping is not None
            ended.append(wrapping.ciphertext)
            renewed = (await manage(server, client, "PUT", as_update(client))).json()
            assert (await manage(server, renewed)).status_code == 200
    with sqlite3.connect(tmp_path / "registrar.db") as database:
        database.execute("SELECT count(*) FROM client").fetchone()
    database.close()
    bytes_left = (tmp_path / "registrar.db").read_bytes()
    assert not [one for one in ended if base64.b64encode(one) in bytes_left]


def test_no_repr_shows_a_credential() -> None:
    """What a traceback prints of the values on the way holds no token and no secret."""
    assert "TOKEN" not in repr(Caller("e", PresentedToken("TOKEN"), "127.0.0.1"))
    assert "SECRET" not in repr(Issued(credentials=None, secret="SECRET", token="TOKEN"))  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [b"1" * 65, b"-" + b"1" * 80, b"1" * 4200])
def test_both_readers_refuse_endless_numbers(number: bytes) -> None:
    """A number of more digits than anybody needs is refused by the plain road as by the strict one."""
    with pytest.raises(RegistrationError, match="body"):
        wire.read_object(b'{"a":' + number + b"}")
