"""What embedders need to test against Registrar: a served application, a clock and randomness that hold still.

`registrar.testing.store_conformance` holds the suite that every store must pass, `registrar.testing.authority` an
authority that issues certificates, `registrar.testing.directory` an ecosystem's directory that issues statements.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio.lowlevel
import httpx2

from registrar.config import assemble, parse
from registrar.http import create_app
from registrar.policy.document import Document
from registrar.service import caps, templates
from registrar.service.audit import Audit
from registrar.service.key_sets import KeySets
from registrar.service.operators import Operator
from registrar.service.outbox import with_outbox
from registrar.service.ports import Fetch, Fetched, FetchError, Sent, Store
from registrar.service.registry import Issuer, Registry

__all__ = ["OPEN", "Documents", "FrozenClock", "Served", "SteppedEntropy", "served"]

OPEN = """
[server]
database = "memory:"
[issuer.main]
url = "http://127.0.0.1:8000"
[issuer.main.registration]
mode = "open"
"""
"""A configuration to start from: one issuer, open, in memory."""


class FrozenClock:
    """A clock that moves only when told to."""

    def __init__(self, now_ms: int = 1_790_000_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        """Milliseconds since 1970."""
        return self.now_ms

    @property
    def now(self) -> int:
        """Seconds since 1970."""
        return self.now_ms // 1000

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ms += int(seconds * 1000)


class SteppedEntropy:
    """Randomness that is the same in every run and never repeats within one. For tests alone."""

    def __init__(self, seed: bytes = b"registrar") -> None:
        self._seed, self._step = seed, 0

    def __call__(self, count: int, /) -> bytes:
        """`count` bytes, other than any before."""
        self._step += 1
        return hashlib.shake_256(self._seed + self._step.to_bytes(8)).digest(count)


class Documents:
    """What can be fetched, held in memory by URL: a `Fetch` without a network.

    What stands under a URL may be changed at any time. An URL that nothing stands under fails.
    """

    def __init__(self, documents: Mapping[str, bytes | Fetched | FetchError] | None = None) -> None:
        self.documents: dict[str, bytes | Fetched | FetchError] = dict(documents or {})
        self.fetched: list[str] = []
        """The URLs in the order in which they were asked for."""
        self.posted: list[tuple[str, dict[str, str]]] = []
        """The forms that were sent, in their order, each with its URL."""
        self.sent: list[tuple[str, bytes, dict[str, str]]] = []
        """What else was sent: its URL, its content and its header fields."""

    async def __call__(self, url: str, *, accept: tuple[str, ...], limit: int = 65_536, etag: str = "") -> Fetched:
        """The document at a URL: bytes have the first media type that is accepted, an error is raised."""
        self.fetched.append(url)
        await anyio.lowlevel.checkpoint()  # as a fetch from a network: others get their turn meanwhile
        found = self.documents.get(url, FetchError("it answers with 404 instead of 200"))
        if isinstance(found, FetchError):
            raise FetchError(found.reason)
        document = found if isinstance(found, Fetched) else Fetched(url, accept[0], found)
        if len(document.body) > limit:
            raise FetchError(f"it is larger than {limit} bytes")
        if etag and etag == document.etag:
            return Fetched(url, "", b"", document.expires_in, etag, unchanged=True)
        return document

    async def post(
        self,
        url: str,
        form: Mapping[str, str],
        *,
        accept: tuple[str, ...] = (),
        limit: int = 65_536,
        authorization: str = "",
    ) -> Fetched:
        """What stands under the URL, whatever is sent to it."""
        del authorization
        self.posted.append((url, dict(form)))
        return await self(url, accept=accept or ("text/plain",), limit=limit)

    async def send(self, url: str, content: bytes, headers: Mapping[str, str]) -> Sent:
        """Status 200 where something stands under the URL, and 404 where nothing does."""
        self.sent.append((url, content, dict(headers)))
        await anyio.lowlevel.checkpoint()
        found = self.documents.get(url)
        if isinstance(found, FetchError):
            raise FetchError(found.reason)
        return Sent(200 if found is not None else 404)

    async def close(self) -> None:
        """Nothing is held."""


@dataclasses.dataclass(frozen=True, slots=True)
class Served:
    """An application in this process, with a client that talks to it without a socket."""

    registry: Registry
    client: httpx2.AsyncClient
    clock: FrozenClock

    @property
    def issuer(self) -> Issuer:
        """The first issuer."""
        return next(iter(self.registry.issuers.values()))

    @property
    def operator(self) -> Operator:
        """An operator, for the use cases that one is asked for."""
        return Operator("tester", "test")


@asynccontextmanager
async def served(
    configuration: str = OPEN,
    *,
    clock: FrozenClock | None = None,
    store: Store | None = None,
    fetch: Fetch | None = None,
) -> AsyncIterator[Served]:
    """Serve a configuration in this process.

    Args:
        configuration: TOML as in a configuration file.
        clock: the time; a frozen one where none is given.
        store: what remembers, instead of the configured database; it is closed at the end.
        fetch: what fetches, instead of the guarded fetcher; `Documents` needs no network.

    Raises:
        ConfigurationError: the configuration is not taken.
    """
    time = clock or FrozenClock()
    entropy = SteppedEntropy()
    settings = parse(Document("test", configuration))
    assembled = assemble(settings)
    if store is not None:
        await assembled.store.close()
    if fetch is not None:
        assembled.webhooks.fetch = fetch
    used = assembled.store if store is None else with_outbox(store, assembled.webhooks)
    fetching = fetch or assembled.fetch
    registry = dataclasses.replace(
        assembled,
        store=used,
        clock=time,
        entropy=entropy,
        audit=Audit(used, time, entropy, assembled.metrics),
        fetch=fetching,
        fetch_documents=assembled.fetch_documents if fetch is None else None,
        key_sets=KeySets(fetching, time, settings.settings.server.key_sets),
    )
    app = create_app(registry, settings.settings.server)
    # What goes wrong inside must show as the 500 that a client would see, not as an exception in the test.
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    first = next(iter(registry.issuers.values()))
    try:
        for issuer in registry.issuers.values():
            await templates.synchronise(registry, issuer)
            await caps.synchronise(registry, issuer)
        async with httpx2.AsyncClient(transport=transport, base_url=first.url) as client:
            yield Served(registry, client, time)
    finally:
        await registry.errands.close()
        await assembled.fetch.close()
        if assembled.fetch_documents is not None:
            await assembled.fetch_documents.close()
        await used.close()
