"""A store of which every write is a step that is timed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from registrar.service.ports import Store
from registrar.service.tracing import Tracer

_NOT_STEPS: Final = frozenset({"load", "close"})


def traced(store: Store, tracer: Tracer) -> Store:
    """The store, timing what it does; in everything it is the store itself.

    Args:
        store: the store.
        tracer: what times.
    """
    return cast("Store", _Traced(store, tracer))


class _Traced:
    def __init__(self, store: Store, tracer: Tracer) -> None:
        self._store, self._tracer = store, tracer

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        made = found if name in _NOT_STEPS or not callable(found) else self._timing(name, found)
        setattr(self, name, made)
        return made

    def _timing(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **more: Any) -> Any:
            result = method(*given, **more)
            return self._tracer.within(f"store {name}", result) if isinstance(result, Awaitable) else result

        return timed
