"""What the chain of the audit and the limits cost, and how fast a million events are verified: `bench/audit.py`.

The chain cannot be switched off. So its cost is taken where it arises: the same batches of registrations through the
store, with the hashing and the row of each batch, and with both replaced by nothing, turn by turn in one run; and so with
limits and without: rates of the address, of the redirect host and in all, and a cap on all clients. A cap on the clients of
each address, which makes those of one address wait for one another and counts them each time, is taken by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest import mock

from results import scratch

from registrar.config import assemble, parse
from registrar.config.key_file import create_key_file
from registrar.domain import chain, merkle
from registrar.domain.events import Actor
from registrar.domain.metadata import Presented
from registrar.policy.document import Document
from registrar.service import checkpoints, limits, verification
from registrar.service.audit import Caller
from registrar.service.registration import register
from registrar.service.registry import Registry
from registrar.storage.sqlite import engine

ACTOR = Actor("anonymous", "none", address="192.0.2.7")
AT_ONCE = 128
ROUNDS = 7
LIMITS = """
[issuer.NAME.limits]
address = "1000000/minute;10000000/day"
redirect_host = "1000000/minute"
total = "10000000/minute"
[issuer.NAME.limits.clients]
total = 10000000
"""


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
[issuer.main.limits]
address = ""
[issuer.limited]
url = "http://127.0.0.1:8000/limited"
[issuer.limited.registration]
mode = "open"
{LIMITS.replace("NAME", "limited")}
[issuer.capped]
url = "http://127.0.0.1:8000/capped"
[issuer.capped.registration]
mode = "open"
{LIMITS.replace("NAME", "capped")}
address = 1000000
"""
    return assemble(parse(Document("registrar.toml", text)))


async def registrations(registry: Registry, name: str, count: int) -> tuple[float, float]:
    """Registrations a second at an issuer, in process, durable and audited, from 256 addresses; and by processor time."""
    issuer = registry.issuers[name]
    members = {
        "client_name": "Example Agent",
        "redirect_uris": ["http://127.0.0.1:33418/oauth/callback"],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
    }
    endpoint = f"{issuer.url}/register"

    async def come(number: int) -> None:
        caller = Caller(endpoint, address=f"192.0.2.{number % 256}")
        await limits.arrives(registry, issuer, caller.address, token=False)
        await register(registry, issuer, Presented(dict(members)), caller)

    began, processor = time.perf_counter(), time.process_time()
    for first in range(0, count, AT_ONCE):
        await asyncio.gather(*map(come, range(first, first + AT_ONCE)))
    return count / (time.perf_counter() - began), count / (time.process_time() - processor)


@contextmanager
def unchained() -> Iterator[None]:
    """Batches of events that nothing chains."""

    def batch(before: bytes, writer: str, number: int, _: object) -> chain.Batch:
        return chain.Batch(writer, number, 0, b"", before)

    def leaf(_: object) -> bytes:
        return b""

    with (  # functions, because a mock would cost more than what it stands for
        mock.patch.object(chain, "batch", batch),
        mock.patch.object(merkle, "leaf", leaf),
        mock.patch.object(engine, "INSERT_BATCH", "SELECT ?, ?, ?, ?, ?, ?"),
    ):
        yield


async def cost(registry: Registry, count: int) -> None:
    """With and without, turn by turn."""
    turns = {
        "neither": ("main", unchained),
        "the chain": ("main", nullcontext),
        "the limits": ("limited", unchained),
        "the chain and the limits": ("limited", nullcontext),
        "the chain, the limits and a cap on each address": ("capped", nullcontext),
    }
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in turns}
    for number in range(ROUNDS + 1):  # the first warms up; in every other one the last goes first
        for name in list(turns)[:: (-1) ** number]:
            issuer, how = turns[name]
            with how():
                rate = await registrations(registry, issuer, count)
            if number:
                rates[name].append(rate)
    found = {name: [statistics.median(every) for every in zip(*turn, strict=True)] for name, turn in rates.items()}
    rate, busy = found.pop("neither")
    print(f"registrations in process, median of {ROUNDS} turns of {count:,}: with neither {rate:,.0f} a second,")
    print(f"  {busy:,.0f} a second of processor time")
    for name, (its_rate, its_busy) in found.items():
        print(
            f"  with {name}: {its_rate:,.0f}, {1 - its_rate / rate:.1%} less; {its_busy:,.0f}, {1 - its_busy / busy:.1%} less"
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
    arguments.add_argument("--registrations", type=int, default=2_560)
    given = arguments.parse_args()
    with scratch() as folder:
        registry = opened(Path(folder))
        try:
            await cost(registry, given.registrations)
        finally:
            await registry.store.close()
    with scratch() as folder:
        registry = opened(Path(folder))
        try:
            await verified(registry, given.events)
        finally:
            await registry.store.close()


if __name__ == "__main__":
    asyncio.run(main())
