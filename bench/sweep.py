"""How fast clients that nobody uses are swept, beside registrations: `bench/sweep.py [--clients N]`.

A file is filled with clients of which a third is due to be warned, a third to be suspended and a third to be deleted. They
are swept once by itself, and once more while registrations go on in the same process, whose 99th percentile is compared
with that of the same load alone.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import time
from pathlib import Path

import msgspec
from results import scratch

from registrar.config import assemble, parse
from registrar.config.key_file import create_key_file
from registrar.domain.client import Admission, Assurance, Client, State
from registrar.domain.credentials import Credentials
from registrar.domain.lifecycle import DAY, IDLE
from registrar.domain.metadata import Presented, Registered
from registrar.policy.document import Document
from registrar.service import sweep
from registrar.service.audit import Caller
from registrar.service.registration import register
from registrar.service.registry import Registry
from registrar.storage import records
from registrar.storage.sqlite.connection import connect

BORN = 1_790_000_000
NOW = BORN + 40 * DAY
LIFE = "unused = 2592000\nidle = 7776000\nwarning = 604800\nsuspended = 864000"
MEMBERS = {"client_name": "Agent", "redirect_uris": ["http://127.0.0.1:1/cb"], "token_endpoint_auth_method": "none"}


def opened(folder: Path) -> Registry:
    """A registry in a file, at the time of the sweep."""
    text = f"""
[server]
database = "sqlite:///{folder}/registrar.db"
key_file = "{folder}/registrar.key"
[issuer.main]
url = "http://127.0.0.1:8000"
[issuer.main.registration]
mode = "open"
policy = "short"
[policy.short]
[policy.short.lifetime]
{LIFE}
"""
    return dataclasses.replace(assemble(parse(Document("registrar.toml", text))), clock=lambda: NOW * 1000)


def fill(folder: Path, count: int, *, ending: bool) -> None:
    """Clients that are due, as the store would have them: such as have come to an end, or are to be looked at again."""
    client = Client(
        issuer="main",
        client_id="",
        version=1,
        state=State.ACTIVE,
        created_at=BORN,
        updated_at=BORN,
        metadata=Registered(MEMBERS),
        credentials=Credentials(),
        admission=Admission(Assurance.OPEN),
        policy="short",
        due_at=NOW - 1,
    )
    young = msgspec.structs.replace(client, created_at=NOW - DAY)
    kinds = (
        (young,) * 3
        if not ending
        else (
            client,
            msgspec.structs.replace(client, warned_at=NOW - 8 * DAY),
            msgspec.structs.replace(client, state=State.SUSPENDED, suspended_by=IDLE, suspended_at=NOW - 11 * DAY),
        )
    )
    db = connect(folder / "registrar.db")
    db.execute("DELETE FROM client_term")
    for start in range(0, count, 10_000):
        with db:
            rows = []
            for at in range(start, min(start + 10_000, count)):
                one = msgspec.structs.replace(
                    kinds[at % 3], client_id=f"{(BORN * 1000 + at):011x}abcdefghijklmnopqrstuv"
                )
                rows.append(
                    (one.issuer, one.client_id, 1, one.state.value, "", "", "", one.due_at, records.encode(one))
                )
            db.executemany("INSERT INTO client VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", _ordered(db, rows))
            suspended = [("main", "state=suspended", row[1]) for row in rows if row[3] == "suspended"]
            db.executemany("INSERT INTO client_term VALUES (?, ?, ?)", suspended)
    db.close()


def _ordered(db: object, rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """The rows in the order of the table's columns, which migrations have added to."""
    names = ("issuer", "client_id", "version", "state", "owner", "token_id", "template", "due_at", "record")
    held = [row[1] for row in db.execute("PRAGMA table_info(client)")]  # type: ignore[attr-defined]
    return [tuple(dict(zip(names, row, strict=True))[name] for name in held) for row in rows]


async def load(registry: Registry, stop: asyncio.Event, at_once: int = 64) -> list[float]:
    """Registrations until it is enough, with the time that each took."""
    issuer, caller = registry.issuers["main"], Caller("http://127.0.0.1:8000/register")
    took: list[float] = []

    async def one() -> None:
        while not stop.is_set():
            began = time.perf_counter()
            await register(registry, issuer, Presented(dict(MEMBERS)), caller)
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(one() for _ in range(at_once)))
    return took


def told(name: str, took: list[float], seconds: float) -> float:
    """The 99th percentile in milliseconds, printed with the rate."""
    p99 = sorted(took)[int(len(took) * 0.99)] * 1000
    print(f"{name}: {len(took) / seconds:,.0f} registrations/s, p99 {p99:.1f} ms")
    return p99


async def main() -> None:
    """Both, each with a file of its own."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--clients", type=int, default=1_000_000)
    count = arguments.parse_args().clients
    for ending, beside in ((False, False), (False, True), (True, False), (True, True)):
        print(f"--- {count:,} clients {'at an end' if ending else 'to be looked at again later'}")
        with scratch() as name:
            folder = Path(name)
            create_key_file(folder / "registrar.key")
            registry = opened(folder)
            fill(folder, count, ending=ending)
            usual = 0.0
            loading, stop = None, asyncio.Event()
            if beside:
                alone = asyncio.Event()
                loading = asyncio.create_task(load(registry, alone))
                await asyncio.sleep(5)
                alone.set()
                usual = told("alone", await loading, 5)
                loading = asyncio.create_task(load(registry, stop))
            began = time.perf_counter()
            counts = await sweep.sweep(registry, rest=0.0001 if beside else 0)
            seconds = time.perf_counter() - began
            steps = ", ".join(f"{step.value} {number:,}" for step, number in counts.most_common() if number)
            print(f"{counts.total():,} clients swept in {seconds:.1f} s ({counts.total() / seconds:,.0f}/s): {steps}")
            if loading is not None:
                stop.set()
                ratio = told("beside the sweep", await loading, seconds) / usual
                print(f"p99 of registrations beside the sweep is {ratio:.2f} times the usual")
            await registry.store.close()


if __name__ == "__main__":
    asyncio.run(main())
