"""A store that counts the events that it has made durable: every kind of event is a metric by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, cast

from registrar.domain.client import Client
from registrar.domain.events import Event
from registrar.service.metrics import Metrics
from registrar.service.ports import Change, Spend, Store, Tell


def counted(store: Store, metrics: Metrics) -> Store:
    """The store, counting what it has stored; in everything else it is the store itself.

    Args:
        store: the store.
        metrics: where the events are counted, and the clients that were registered.
    """
    return cast("Store", _Counted(store, metrics))


class _Counted:
    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store, self._metrics = store, metrics

    def __getattr__(self, name: str) -> Any:
        # Looked up once. A method is taken for a write where it is given events, whatever it is called: methods that
        # are added to the store need not be added here.
        found = getattr(self._store, name)
        made = found if name in _READS or not callable(found) else self._telling(found)
        setattr(self, name, made)
        return made

    async def create(
        self, client: Client, event: Event, spend: Spend | None = None, changes: Sequence[Change] = ()
    ) -> None:
        await self._store.create(client, event, spend, changes)
        self._metrics.registrations.add(client.issuer, client.policy, client.admission.assurance)
        self._metrics.events.add(event.issuer, event.kind)
        if changes:
            self._count(changes)

    def _telling(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def told(*given: Any, **more: Any) -> Any:
            result = write(*given, **more)
            return self._after(result, (*given, *more.values())) if isinstance(result, Awaitable) else result

        return told

    async def _after(self, write: Awaitable[Any], given: Iterable[Any]) -> Any:
        result = await write
        self._count(given)
        return result

    def _count(self, given: Iterable[Any]) -> None:
        for value in given:
            if isinstance(value, Event):
                self._metrics.events.add(value.issuer, value.kind)
            elif isinstance(value, Tell):
                self._metrics.events.add(value.event.issuer, value.event.kind)
            elif isinstance(value, (list, tuple)):
                self._count(value)


_READS: Final = frozenset(
    {
        "find",
        "find_token",
        "item",
        "items",
        "count_items",
        "clients",
        "count",
        "due",
        "tokens",
        "events",
        "keys",
        "load",
        "ready",
        "close",
        "purge",
    }
)
"""They are given no events, so nothing is put between."""
