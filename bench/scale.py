"""How size matters: `bench/scale.py [--sizes 10000 100000 1000000] [--bulk 10000000]`, on one SQLite file that grows.

The clients are real records, each with its audit event, its batch and its term, and are written by the store's own group
commit. Beyond what that does in a bench's time, `--bulk` copies them inside the database under identifiers of later
times, row by row what the store would have written; the rates at that size are the store's again.
Before that: what a client takes on the disk, by its kind. Writes bench/results/scale.md.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from bodies import client as body
from load import resident_mib
from report import number, table
from results import keep, scratch

from registrar.config import assemble, parse
from registrar.config.key_file import create_key_file
from registrar.domain.client import Client
from registrar.domain.events import Event
from registrar.domain.metadata import Presented
from registrar.policy.document import Document
from registrar.service import templates
from registrar.service.audit import Caller
from registrar.service.operators import Operator
from registrar.service.ports import ClientQuery, EventQuery
from registrar.service.registration import register
from registrar.service.registry import Registry
from registrar.service.templates import Wanted
from registrar.storage.sqlite.connection import connect

AT_ONCE = 256
READS = 20_000
INSERTS = 4_000
TURNS = 5
PAGES = 200
RARE = 1_000
"""One client of so many has the label that is searched for."""
HOUR_MS = 3_600_000
START_MS = 1_790_000_000_000
FLAT = 1.5
BYTES_OF = 20_000
"""Clients of one kind, of which the file then grows by so many times as much as one takes."""


def opened(folder: Path) -> Registry:
    """A registry in a file of this folder."""
    create_key_file(folder / "registrar.key")
    text = f"""
[server]
database = "sqlite:///{folder}/registrar.db"
key_file = "{folder}/registrar.key"
[issuer.main]
url = "http://127.0.0.1:8000"
[issuer.main.registration]
mode = "open"
management = true
"""
    return assemble(parse(Document("registrar.toml", text)))


async def model(registry: Registry, body: bytes) -> tuple[Client, Event]:
    """A client as the use case stores it, and its event."""
    issuer = registry.issuers["main"]
    members: dict[str, object] = msgspec.json.decode(body)
    made = await register(registry, issuer, Presented(members), Caller(issuer.registration_endpoint))
    client_id = made.information["client_id"]
    found = await registry.store.find(issuer.name, client_id)
    [told] = await registry.store.events(EventQuery(client_id=client_id))
    assert found is not None
    return found, told.event


def identifier(at: int) -> str:
    """The identifier of the n-th client: its time, one each millisecond, and 22 characters that spread."""
    return f"{START_MS + at:011x}{random.Random(at).getrandbits(88):022x}"


def copies(of: tuple[Client, Event], first: int, count: int) -> Iterator[tuple[Client, Event]]:
    """The same client under other identifiers, a label on few of them."""
    client, event = of
    for at in range(first, first + count):
        client_id = identifier(at)
        labels = {"batch": "rare"} if at % RARE == 0 else {}
        yield (
            msgspec.structs.replace(client, client_id=client_id, labels=labels),
            msgspec.structs.replace(event, client_id=client_id, time_ms=START_MS + at),
        )


async def insert(registry: Registry, of: tuple[Client, Event], first: int, count: int) -> float:
    """Store so many, and say how many a second."""
    turns = copies(of, first, count)

    async def work() -> None:
        for client, event in turns:
            await registry.store.create(client, event)

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return count / (time.perf_counter() - began)


async def reads(registry: Registry, count: int) -> float:
    """Clients found a second, one after the other, spread over all there are."""
    chosen = [identifier(random.randrange(count)) for _ in range(READS)]
    began = time.perf_counter()
    for client_id in chosen:
        assert await registry.store.find("main", client_id)
    return READS / (time.perf_counter() - began)


async def page_ms(registry: Registry, queries: list[ClientQuery]) -> tuple[float, float]:
    """Median and worst of a page of a hundred, in milliseconds."""
    taken = []
    for query in queries:
        began = time.perf_counter()
        assert await registry.store.clients(query, limit=100)
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken), max(taken)


def by_term(_count: int) -> list[ClientQuery]:
    """The label that is rare, from some time on."""
    return [ClientQuery(issuer="main", terms=("label.batch=rare",))] * PAGES


def by_time(count: int) -> list[ClientQuery]:
    """From any moment on."""
    moments = [START_MS + random.randrange(max(1, count - 1000)) for _ in range(PAGES)]
    return [ClientQuery(issuer="main", created_from=at, created_before=at + HOUR_MS) for at in moments]


def bulk(path: Path, have: int, count: int) -> None:
    """Copy what there is until there are so many: the rows of a client, its term, its event and the batch.

    An identifier is the time and a hash-like remainder; both are made as `identifier` makes them.
    """
    db = connect(path)
    db.create_scalar_function("identifier", identifier, 1, deterministic=True)
    record, client_id = next(
        db.execute("SELECT record, client_id FROM client WHERE client_id = ?", (identifier(have - 1),))
    )
    marked = next(db.execute("SELECT record FROM client WHERE client_id = ?", (identifier(0),)))[0]
    columns = "issuer, version, state, owner, token_id, template, due_at"
    events = "writer, batch, position, issuer, kind"
    step = 100_000
    for first in range(have, count, step):
        last = min(first + step, count)
        with db:
            for at in range(first, last, 1000):
                names = [(START_MS + one, identifier(one)) for one in range(at, min(at + 1000, last))]
                db.executemany(
                    f"INSERT INTO client ({columns}, client_id, record) "
                    f"SELECT {columns}, ?1, ?2 FROM client WHERE issuer = 'main' AND client_id = ?3",
                    (
                        (name, _renamed(marked, identifier(0), name), client_id)
                        if (ms - START_MS) % RARE == 0
                        else (name, _renamed(record, client_id, name), client_id)
                        for ms, name in names
                    ),
                )
                db.executemany(
                    f"INSERT INTO event ({events}, time_ms, client_id, body, personal) "
                    f"SELECT {events}, ?1, ?2, body, personal FROM event "
                    "WHERE client_id = ?3 AND client_id <> ''",  # so that the index is used
                    ((ms, name, client_id) for ms, name in names),
                )
                rare = [("main", "label.batch=rare", name) for ms, name in names if (ms - START_MS) % RARE == 0]
                db.executemany("INSERT INTO client_term VALUES (?, ?, ?)", rare)
            # The store's batches held some 200 here; theirs are the fewest rows of all.
            db.executemany(
                "INSERT INTO audit_batch SELECT 'bulk', ?1, 200, root, link, 0 FROM (SELECT root, link FROM audit_batch LIMIT 1)",
                ((number,) for number in range(first, last, 200)),
            )
        print(f"bulk {last:12,}", flush=True)
    db.pragma("wal_checkpoint(truncate)")
    db.close()


def _renamed(record: bytes, one: str, other: str) -> bytes:
    return record.replace(one.encode(), other.encode())


async def bytes_of(kind: str) -> tuple[int, int, float]:
    """Bytes of the record, and of the file for each client, and of that the share of the audit."""
    with scratch() as name:
        folder = Path(name)
        registry = opened(folder)
        of = await model(registry, body("client_secret_basic" if kind == "confidential" else "none"))
        if kind == "instance":
            issuer = registry.issuers["main"]
            members = msgspec.json.decode(body("none"))
            wanted = Wanted(
                {
                    key: value
                    for key, value in members.items()
                    if key in ("client_name", "redirect_uris", "token_endpoint_auth_method")
                }
            )
            await templates.create(registry, issuer, Operator("bench", "bench/scale.py"), "field-app", wanted)
            of = (msgspec.structs.replace(of[0], template="field-app"), of[1])
        await registry.store.close()
        registry = assemble(parse(_again(folder)))
        path = folder / "registrar.db"
        before = path.stat().st_size
        await insert(registry, of, 1, BYTES_OF)
        await registry.store.close()
        db = connect(path)
        [(record,)] = db.execute("SELECT avg(length(record)) FROM client")
        audit = _share(path)
        db.close()
        return round(record), round((path.stat().st_size - before) / BYTES_OF), audit


def _again(folder: Path) -> Document:
    return Document(
        "registrar.toml",
        f'[server]\ndatabase = "sqlite:///{folder}/registrar.db"\nkey_file = "{folder}/registrar.key"\n'
        '[issuer.main]\nurl = "http://127.0.0.1:8000"\n[issuer.main.registration]\nmode = "open"\nmanagement = true\n',
    )


def _share(path: Path) -> float:
    """Of the bytes of all rows, those of events and batches."""
    db = connect(path)
    [(clients,)] = db.execute("SELECT sum(length(record) + length(client_id) * 2) FROM client")
    [(events,)] = db.execute(
        "SELECT sum(length(body) + length(personal) + length(writer) + length(client_id)) FROM event"
    )
    db.close()
    return float(events / (events + clients))


async def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--bulk", type=int, default=0, help="a last size, filled without the store: 10000000")
    options = parser.parse_args()
    sizes = [
        [kind, *map(str, rest[:2]), f"{rest[2]:.0%}"]
        for kind in ("instance", "public", "confidential")
        for rest in [await bytes_of(kind)]
    ]
    print(table(["client", "record, bytes", "on disk, bytes", "of it audit"], sizes), flush=True)
    rows: list[list[str]] = []
    rates: list[tuple[float, float]] = []
    with scratch() as name:
        folder = Path(name)
        registry = opened(folder)
        of = await model(registry, body("none"))
        have = 0
        for size in [*options.sizes, *([options.bulk] if options.bulk else [])]:
            if size == options.bulk:
                await registry.store.close()
                bulk(folder / "registrar.db", have, size)
                registry = assemble(parse(_again(folder)))
                have = size
            else:
                await insert(registry, of, have, max(0, size - have))
                have = max(have, size)
            turns, reached = [], have
            for _ in range(TURNS):
                turns.append((await insert(registry, of, have, INSERTS), await reads(registry, have)))
                have += INSERTS
            inserted, read = (statistics.median(column) for column in zip(*turns, strict=True))
            rates.append((inserted, read))
            term, time_ = await page_ms(registry, by_term(have)), await page_ms(registry, by_time(have))
            disk = (folder / "registrar.db").stat().st_size / have
            cells = [inserted, read, *term, *time_, disk, resident_mib(os.getpid())]
            rows.append([f"{reached:,}", *map(number, cells)])
            print(rows[-1], flush=True)
        await registry.store.close()
    header = [
        "clients",
        "inserts/s",
        "reads/s",
        "page by term, ms",
        "worst",
        "page by time, ms",
        "worst",
        "bytes each",
        "resident MiB",
    ]
    slower = [max(column) / min(column) for column in zip(*rates, strict=True)]
    verdict = ", ".join(
        f"{what} {one:.2f} times apart ({'flat' if one <= FLAT else '**not flat**'})"
        for what, one in zip(("inserts", "reads"), slower, strict=True)
    )
    keep(
        "scale",
        "Size (SQLite)",
        [
            table(["client", "record, bytes", "on disk, bytes", "of it audit"], sizes),
            table(header, rows),
            f"Between the sizes: {verdict}; the aim is at most {FLAT}.",
            f"Inserts through the group commit, {AT_ONCE} at once in the same process; reads one after the other, spread over "
            f"all clients; a page has a hundred clients; one client in {RARE:,} has the label that is searched for. The file is "
            "synchronised at each commit. The memory is that of the process that does all this."
            + (
                f" The size {options.bulk:,} was filled inside the database, without the store." if options.bulk else ""
            ),
        ],
    )


if __name__ == "__main__":
    asyncio.run(main())
