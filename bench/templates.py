"""One change of a template with a million instances: what is written, when it is seen, and what reading costs.

python bench/templates.py [--instances 1000000] [--plain 100000]

The clients are loaded through the store. What is measured is the store's own `find` and the use case of a client that
reads its registration, for instances and for clients of their own in turn, so that whatever disturbs one disturbs both.
"""

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from results import scratch

from registrar.config import assemble, parse
from registrar.domain.client import Admission, Assurance, Client, State
from registrar.domain.credentials import Credentials, PresentedToken, TokenRecord, digest
from registrar.domain.events import Actor
from registrar.domain.metadata import Registered
from registrar.policy.document import Document
from registrar.service import management, templates
from registrar.service.audit import Caller
from registrar.service.operators import Operator
from registrar.service.registry import Issuer, Registry
from registrar.service.templates import Wanted

TEMPLATE = "field-app"
AT_ONCE = 256
READS = 20_000
MEMBERS = {
    "client_name": "Field App",
    "redirect_uris": ["https://app.example/callback"],
    "token_endpoint_auth_method": "none",
    "scope": "openid email",
}


def token_of(client_id: str) -> PresentedToken:
    """The registration access token of a client, so that none has to be remembered."""
    return PresentedToken(f"token-of-{client_id}")


def clients(issuer: Issuer, metadata: Registered, instances: int, plain: int) -> Iterator[Client]:
    """So many instances and clients of their own, mixed as they would register."""
    for number in range(instances + plain):
        own = number % ((instances + plain) // plain) == 0
        client_id = f"{'plain' if own else 'instance'}-{number:09}"
        yield Client(
            issuer=issuer.name,
            client_id=client_id,
            version=1,
            state=State.ACTIVE,
            created_at=1_790_000_000,
            updated_at=1_790_000_000,
            metadata=metadata,
            credentials=Credentials((TokenRecord(digest(token_of(client_id))),)),
            admission=Admission(Assurance.OPEN),
            policy="default",
            template="" if own else TEMPLATE,
        )


async def load(registry: Registry, issuer: Issuer, instances: int, plain: int) -> dict[str, list[str]]:
    """Store the clients, each with its event, as many at once as a commit takes together."""
    template = await templates.find(registry, issuer, TEMPLATE)
    turns = clients(issuer, template.metadata, instances, plain)
    names: dict[str, list[str]] = {"plain": [], "instance": []}

    async def work() -> None:
        for client in turns:
            event = registry.audit.event(
                "client.registered", issuer.name, Actor("anonymous", "none"), client_id=client.client_id
            )
            await registry.store.create(client, event)
            names["instance" if client.template else "plain"].append(client.client_id)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return names


async def timed(names: dict[str, list[str]], read: Callable[[str], Awaitable[Any]]) -> dict[str, dict[str, float]]:
    """Microseconds of a read of each kind, one after the other in turn, of clients chosen at random."""
    chosen = {kind: random.choices(known, k=READS) for kind, known in names.items()}
    taken: dict[str, list[float]] = {kind: [] for kind in names}
    for turn in range(READS):
        for kind, known in chosen.items():
            began = time.perf_counter_ns()
            await read(known[turn])
            taken[kind].append((time.perf_counter_ns() - began) / 1000)
    return {
        kind: {
            "median": round(statistics.median(times), 1),
            "p99": round(statistics.quantiles(times, n=100)[98], 1),
        }
        for kind, times in taken.items()
    }


async def measure(folder: Path, instances: int, plain: int) -> dict[str, Any]:
    """Load, change, read."""
    text = f'[server]\ndatabase = "sqlite:///{folder}/registrar.db"\n[issuer.main]\nurl = "http://127.0.0.1:8000"\n'
    registry = assemble(parse(Document("bench", f'{text}[issuer.main.registration]\nmode = "open"\n')))
    issuer, operator = registry.issuers["main"], Operator("bench", "bench/templates.py")
    await templates.create(registry, issuer, operator, TEMPLATE, Wanted(MEMBERS))
    began = time.perf_counter()
    names = await load(registry, issuer, instances, plain)
    loaded = time.perf_counter() - began

    async def find(client_id: str) -> None:
        await registry.store.find(issuer.name, client_id)

    async def use_case(client_id: str) -> dict[str, Any]:
        return await management.read(registry, issuer, client_id, Caller("bench", token_of(client_id)))

    database = registry.store._engine._db  # type: ignore[attr-defined]
    before = database.total_changes()
    began = time.perf_counter()
    changed = {**MEMBERS, "scope": "openid"}
    await templates.change(registry, issuer, operator, TEMPLATE, Wanted(changed))
    took = time.perf_counter() - began
    written = database.total_changes() - before - 1  # its audit event is the other one
    seen = random.choices(names["instance"], k=1000)
    assert all([(await use_case(one))["scope"] == "openid" for one in seen])
    found = await timed(names, find)
    # A client's read is told once a minute, which costs a commit: of few clients, so that most reads of both kinds are
    # reads and nothing else.
    few = {kind: random.sample(known, k=500) for kind, known in names.items()}
    for client_id in (*few["plain"], *few["instance"]):
        await use_case(client_id)
    used = await timed(few, use_case)
    await registry.store.close()
    return {
        "instances": len(names["instance"]),
        "clients of their own": len(names["plain"]),
        "loaded in s": round(loaded, 1),
        "rows written by the change": written,
        "the change in ms": round(took * 1000, 2),
        "instances that show it at the next read": f"{len(seen)} of {len(seen)}",
        "store.find in us": found,
        "read (RFC 7592) in us": used,
        "ratio of medians, store.find": round(found["instance"]["median"] / found["plain"]["median"], 2),
        "ratio of medians, read": round(used["instance"]["median"] / used["plain"]["median"], 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--instances", type=int, default=1_000_000)
    parser.add_argument("--plain", type=int, default=100_000)
    options = parser.parse_args()
    with scratch() as folder:
        print(json.dumps(asyncio.run(measure(Path(folder), options.instances, options.plain)), indent=2))


if __name__ == "__main__":
    main()
