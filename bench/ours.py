"""The registrar as a server to be measured: its configuration, what it is to know beforehand, what it has stored."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import apsw
from bodies import client
from load import LoadError
from servers import Server, Site, nothing_to_prepare

from registrar.config import assemble, read
from registrar.domain.metadata import Presented
from registrar.service.audit import Caller
from registrar.service.registration import register

REGISTRAR = [sys.executable, "-m", "registrar"]
SAMPLE = 1000


def registrar(mode: str, prepare: Callable[[Site], list[dict[str, str]]] = nothing_to_prepare) -> Server:
    """The registrar on a database of its own, as `registrar serve` runs it."""

    def configured(site: Site) -> list[dict[str, str]]:
        site.config.write_text(
            f'[server]\nhost = "127.0.0.1"\nport = {site.port}\ndatabase = "sqlite:///{site.database}"\n'
            f'[issuer.main]\nurl = "http://127.0.0.1:{site.port}"\n'
            f'[issuer.main.registration]\nmode = "{mode}"\npolicy = "default"\nmanagement = true\n'
        )
        return prepare(site)

    return Server(
        command=lambda site: [*REGISTRAR, "serve", "--config", str(site.config), "--port", str(site.port)],
        ready="/healthz",
        prepare=configured,
    )


def initial_access_token(site: Site) -> list[dict[str, str]]:
    """One initial access token that may be used without limit."""
    command = [*REGISTRAR, "token", "issue", "--config", str(site.config), "--issuer", "main"]
    command += ["--kind", "client", "--uses", "0", "--json"]
    issued = subprocess.run(command, check=True, capture_output=True, text=True)
    return [{"token": json.loads(issued.stdout)["token"]}]


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


class Ledger:
    """What the database of a registrar holds, counted from the outside and from where it was counted last."""

    def __init__(self, database: Path) -> None:
        self._database = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
        self._clients = self._events = 0
        self.new_clients()

    def new_clients(self) -> int:
        """Clients stored since the last count, once their number has settled; each must have its own audit event."""
        seen: list[tuple[int, int]] = []
        while len(seen) < 2 or seen[-1] != seen[-2]:
            time.sleep(0.1)
            seen += self._database.execute(
                "SELECT (SELECT count(*) FROM client WHERE rowid > ?),"
                "(SELECT count(*) FROM event WHERE sequence > ? AND kind = 'client.registered')",
                (self._clients, self._events),
            )
        clients, events = seen[-1]
        if clients != events:
            raise LoadError(f"{clients} new clients are stored, with {events} audit events of their registration")
        ((self._clients, self._events),) = self._database.execute(
            "SELECT ifnull((SELECT max(rowid) FROM client), 0), ifnull((SELECT max(sequence) FROM event), 0)"
        )
        return clients
