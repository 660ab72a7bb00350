"""The registrar as a server to be measured: its configuration, what it is to know beforehand, what it has stored."""

import abc
import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import msgspec
from bodies import CALLBACK, CHALLENGE, client
from load import LoadError
from servers import CODES, Ledger, Server, Site, basic, cluster, nothing_to_prepare

import postgresql
from registrar.authorization import code, grant
from registrar.authorization.grant import Grant
from registrar.authorization.request import Authentication, AuthorizationRequest
from registrar.config import assemble, create_key_file, read
from registrar.domain.metadata import Presented
from registrar.service.audit import Caller
from registrar.service.registration import register

REGISTRAR = [sys.executable, "-m", "registrar"]
SAMPLE = 1000


def registrar(mode: str, prepare: Callable[[Site], list[dict[str, str]]] = nothing_to_prepare) -> Server:
    """The registrar on an SQLite database of its own, as `registrar serve` runs it."""

    @contextlib.contextmanager
    def database(site: Site) -> Iterator[Ledger]:
        configure(site, mode, f"sqlite:///{site.database}")
        yield SQLiteLedger(site.database)

    return serving(prepare, database)


def on_postgresql(mode: str, prepare: Callable[[Site], list[dict[str, str]]] = nothing_to_prepare) -> Server:
    """The registrar on a PostgreSQL database of its own, which stands on the core of the load and commits durably."""

    @contextlib.contextmanager
    def database(site: Site) -> Iterator[Ledger]:
        # It inherits the core of the bench.
        with cluster() as server:
            asyncio.run(server.execute("CREATE DATABASE registry"))
            configure(site, mode, server.url("registry"))
            subprocess.run([*REGISTRAR, "migrate", "--config", str(site.config)], check=True, capture_output=True)
            yield PostgreSQLLedger(server)

    return serving(prepare, database, beside=True)


def serving(
    prepare: Callable[[Site], list[dict[str, str]]],
    database: Callable[[Site], contextlib.AbstractContextManager[Ledger]],
    *,
    beside: bool = False,
) -> Server:
    """`registrar serve` on a database."""
    return Server(
        command=lambda site: [*REGISTRAR, "serve", "--config", str(site.config), "--port", str(site.port)],
        ready="/healthz",
        prepare=prepare,
        database=database,
        beside=beside,
    )


def configure(site: Site, mode: str, database: str) -> None:
    """Write the configuration and the keys."""
    keys = site.folder / "registrar.key"
    create_key_file(keys)
    site.config.write_text(
        f'[server]\nhost = "127.0.0.1"\nport = {site.port}\ndatabase = "{database}"\nkey_file = "{keys}"\n'
        f'[issuer.main]\nurl = "http://127.0.0.1:{site.port}"\n'
        f'[issuer.main.registration]\nmode = "{mode}"\npolicy = "default"\nmanagement = true\n'
    )


def initial_access_token(site: Site) -> list[dict[str, str]]:
    """One initial access token that may be used without limit."""
    command = [*REGISTRAR, "token", "issue", "--config", str(site.config), "--issuer", "main"]
    command += ["--kind", "client", "--uses", "0", "--json"]
    issued = subprocess.run(command, check=True, capture_output=True, text=True)
    return [{"token": json.loads(issued.stdout)["token"]}]


def with_credentials(site: Site) -> list[dict[str, str]]:
    """A client that authenticates with a secret."""
    return [asyncio.run(token_client(site.config, 0))[0]]


def with_codes(site: Site) -> list[dict[str, str]]:
    """The same, and codes for it that a person is taken to have allowed."""
    return asyncio.run(token_client(site.config, CODES))


def with_codes_for_es256(site: Site) -> list[dict[str, str]]:
    """The same, for a client that registered to have its ID tokens signed with ES256."""
    return asyncio.run(token_client(site.config, CODES, id_token_signed_response_alg="ES256"))


async def token_client(config: Path, codes: int, **members: str) -> list[dict[str, str]]:
    """Register a client for tokens; known are its credentials, or its credentials with each of so many codes."""
    registry = assemble(read(config))
    issuer = registry.issuers["main"]
    wanted = {
        "redirect_uris": [CALLBACK],
        "grant_types": ["authorization_code", "client_credentials"],
        "token_endpoint_auth_method": "client_secret_basic",
        "scope": "openid",
        **members,
    }
    made = (await register(registry, issuer, Presented(wanted), Caller(issuer.registration_endpoint))).information
    client_id = made["client_id"]
    known = {"authorization": basic(client_id, made["client_secret"])}
    if not codes:
        await registry.store.close()
        return [known]
    now = registry.clock() // 1000
    request = AuthorizationRequest(
        issuer=issuer.name,
        client_id=client_id,
        redirect_uri=CALLBACK,
        redirect_uri_given=True,
        response_type="code",
        response_mode="query",
        scope=("openid",),
        code_challenge=CHALLENGE,
        code_challenge_method="S256",
    )
    values = []
    while len(values) < codes:
        puts = []
        for _ in range(1000):
            authentication = Authentication(subject="alice", time=now, session_id="s")
            allowed = Grant(
                issuer=issuer.name,
                grant_id=grant.new_id(registry),
                client_id=client_id,
                authentication=authentication,
                scope=("openid",),
                created_at=now,
            )
            value, put = code.issue(registry, issuer, request, allowed, now)
            values.append(value)
            puts.append(msgspec.structs.replace(put, item=msgspec.structs.replace(put.item, expires_at=now + 7200)))
        await registry.store.change(puts)
    await registry.store.close()
    return [{**known, "code": value} for value in values[:codes]]


def registered(count: int) -> Callable[[Site], list[dict[str, str]]]:
    """So many clients in the registry, by the use case itself; known are `SAMPLE` of them, evenly spread."""

    def prepare(site: Site) -> list[dict[str, str]]:
        return asyncio.run(register_many(site.config, count))

    return prepare


async def register_many(config: Path, count: int) -> list[dict[str, str]]:
    """Register the same public client so many times, as many at once as a commit takes together."""
    registry = assemble(read(config))
    issuer = registry.issuers["main"]
    caller = Caller(issuer.registration_endpoint)
    turns = iter(range(count))
    known = []

    async def work() -> None:
        for turn in turns:
            made = await register(registry, issuer, Presented(json.loads(client("none"))), caller)
            if turn % (count // SAMPLE) == 0:
                token = made.information["registration_access_token"]
                known.append({"client_id": made.information["client_id"], "token": token})

    await asyncio.gather(*(work() for _ in range(256)))
    await registry.store.close()
    return known


class Counting(abc.ABC):
    """Counts once the numbers have settled; each client must have its own audit event."""

    def new_clients(self) -> int:
        """Clients stored since the last count."""
        seen: list[tuple[int, int]] = []
        while len(seen) < 2 or seen[-1] != seen[-2]:
            time.sleep(0.1)
            seen.append(self._count())
        clients, events = seen[-1]
        if clients != events:
            raise LoadError(f"{clients} new clients are stored, with {events} audit events of their registration")
        self._counted()
        return clients

    @abc.abstractmethod
    def _count(self) -> tuple[int, int]:
        """Clients since the last count, and events of their registration."""

    @abc.abstractmethod
    def _counted(self) -> None:
        """Count from here on."""


class SQLiteLedger(Counting):
    """What an SQLite database holds; it may not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._clients = self._events = 0

    def _query(self, sql: str, *values: int) -> tuple[int, int]:
        database = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
        ((one, other),) = database.execute(sql, values)
        database.close()
        return one, other

    def _count(self) -> tuple[int, int]:
        return self._query(
            "SELECT (SELECT count(*) FROM client WHERE rowid > ?),"
            "(SELECT count(*) FROM event WHERE sequence > ? AND kind = 'client.registered')",
            self._clients,
            self._events,
        )

    def _counted(self) -> None:
        self._clients, self._events = self._query(
            "SELECT ifnull((SELECT max(rowid) FROM client), 0), ifnull((SELECT max(sequence) FROM event), 0)"
        )


class PostgreSQLLedger(Counting):
    """What a PostgreSQL database holds."""

    def __init__(self, server: postgresql.PostgreSQL) -> None:
        self._server = server
        self._client, self._event = "", 0

    def _query(self, sql: str, *values: object) -> Any:
        async def query() -> Any:
            connection = await self._server.connect("registry")
            row = await connection.fetchrow(sql, *values)
            await connection.close()
            return tuple(row)

        return asyncio.run(query())

    def _count(self) -> tuple[int, int]:
        found: tuple[int, int] = self._query(
            "SELECT (SELECT count(*) FROM client WHERE client_id > $1),"
            "(SELECT count(*) FROM event WHERE sequence > $2 AND kind = 'client.registered')",
            self._client,
            self._event,
        )
        return found

    def _counted(self) -> None:
        self._client, self._event = self._query(
            "SELECT coalesce((SELECT max(client_id) FROM client), ''), coalesce((SELECT max(sequence) FROM event), 0)"
        )
