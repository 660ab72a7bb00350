"""What the chain of the audit costs, and how fast a million events are verified: `bench/audit.py [--events N]`.

The chain cannot be switched off. So its cost is taken where it arises: the same batches of registrations through the
store, with the hashing and the row of each batch, and with both replaced by nothing, turn by turn in one run.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from registrar.config import assemble, parse
from registrar.config.key_file import create_key_file
from registrar.domain import chain, merkle
from registrar.domain.events import Actor
from registrar.policy.document import Document
from registrar.service import checkpoints, verification
from registrar.service.audit import Caller
from registrar.service.registration import register
from registrar.service.registry import Registry
from registrar.storage import sqlite

ACTOR = Actor("anonymous", "none", address="192.0.2.7")
AT_ONCE = 128


def opened(folder: Path) -> Registry:
    """A registry in a file."""
    create_key_file(folder / "registrar.key")
    text = f"""
[server]
database = "sqlite:///{folder}/registrar.db"
key_file = "{folder}/registrar.key"
[issuer.main]
url = "http://127.0.0.1:8000"
[issuer.main.registration]
mode = "open"
"""
    return assemble(parse(Document("registrar.toml", text)))


async def registrations(registry: Registry, count: int) -> float:
    """Registrations a second, in process, durable and audited."""
    issuer = registry.issuers["main"]
    members = {
        "client_name": "Example Agent",
        "redirect_uris": ["http://127.0.0.1:33418/oauth/callback"],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
    }
    caller = Caller("http://127.0.0.1:8000/register", address="192.0.2.7")
    began = time.perf_counter()
    for _ in range(count // AT_ONCE):
        await asyncio.gather(*(register(registry, issuer, dict(members), caller) for _ in range(AT_ONCE)))  # type: ignore[arg-type]
    return count / (time.perf_counter() - began)


async def cost(registry: Registry, count: int) -> None:
    """With and without, turn by turn."""
    whole, leaf, insert = chain.batch, merkle.leaf, sqlite._INSERT_BATCH
    rates: dict[bool, list[float]] = {True: [], False: []}
    await registrations(registry, count)
    for _ in range(7):
        for chained in (True, False):
            if not chained:
                chain.batch = lambda before, writer, number, _: chain.Batch(writer, number, 0, b"", before)  # type: ignore[assignment]
                merkle.leaf = lambda _: b""  # type: ignore[assignment]
                sqlite._INSERT_BATCH = "SELECT ?, ?, ?, ?, ?, ?"  # type: ignore[misc]
            rates[chained].append(await registrations(registry, count))
            chain.batch, merkle.leaf = whole, leaf
            sqlite._INSERT_BATCH = insert  # type: ignore[misc]
    with_it, without = statistics.median(rates[True]), statistics.median(rates[False])
    print(
        f"registrations/s in process: {with_it:,.0f} chained, {without:,.0f} without: {1 - with_it / without:.1%} less"
    )


async def verified(registry: Registry, count: int) -> None:
    """Write events, and verify them."""
    for _ in range(count // 1000):
        events = [
            registry.audit.event("client.suspended", "main", ACTOR, client_id=f"c{at}", detail={"reason": "x" * 400})
            for at in range(1000)
        ]
        await asyncio.gather(*map(registry.store.record, events))
    began = time.perf_counter()
    await checkpoints.make(registry)
    sealed = time.perf_counter() - began
    began, processor = time.perf_counter(), time.process_time()
    report = await verification.verify(registry)
    took = time.perf_counter() - began
    assert report.sound, report.problems
    print(
        f"{report.events:,} events in {report.batches:,} batches: sealed in {sealed:.1f} s, "
        f"verified in {took:.1f} s ({time.process_time() - processor:.1f} s of processor time)"
    )


async def main() -> None:
    """Both, in a folder of their own."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--events", type=int, default=1_000_000)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        registry = opened(Path(folder))
        try:
            await cost(registry, 2_560)
        finally:
            await registry.store.close()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        registry = opened(Path(folder))
        try:
            await verified(registry, given.events)
        finally:
            await registry.store.close()


if __name__ == "__main__":
    asyncio.run(main())
