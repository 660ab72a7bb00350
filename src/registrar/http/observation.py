"""What is observed of a request: how long it took, what came of it, and under which name the log knows it."""

from __future__ import annotations

import itertools
import random
import re
import secrets
import time
from typing import Any, Final, Protocol, cast

import msgspec

from registrar.domain.settings import Log
from registrar.http import proxies
from registrar.http.logs import REQUEST_ID, RequestLog
from registrar.http.wire import Answer, Scope
from registrar.service.metrics import OTHER, Metrics
from registrar.service.registry import Registry

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SERVER_ERRORS: Final = 500
_HEADER: Final = b"x-request-id"
_NAME: Final = re.compile(rb"[A-Za-z0-9._:+/=\-]{1,128}")


class Observation(msgspec.Struct):
    """What is known of a request: from its beginning, and once it was answered."""

    at: float
    """When it began, by a clock that only runs forward; in seconds."""
    name: str
    """What it is called; empty where requests have no names."""
    trace: Any = None
    issuer: str = ""
    """The configured name of the issuer that it was for; empty where it was for none."""
    endpoint: str = ""
    """The endpoint's name, one of few; empty where there is none."""
    error: str = ""
    """The name of the error that it was refused with; empty where it was not."""


class RequestTracer(Protocol):
    """What times requests as wholes."""

    def begin(self, scope: Scope) -> Any:
        """Begin with a request."""
        ...

    def end(self, begun: Any, status: int, **attributes: str) -> None:
        """A request has its answer."""
        ...


class Observer:
    """Observes requests.

    Args:
        metrics: where they are counted; None where nobody asks.
        settings: `[server.log]`.
        tracer: what times their steps; None where nobody asks.
    """

    def __init__(self, metrics: Metrics | None, settings: Log, tracer: RequestTracer | None = None) -> None:
        self._metrics, self._tracer = metrics, tracer
        self._named = settings.request_ids
        self._share = settings.requests
        self._log = RequestLog(settings) if self._share else None
        self._cells: dict[tuple[str, str, str, int], tuple[list[int], list[float]]] = {}
        # Names are told apart by the process and a number; nobody has to guess them, and none is worth a system call.
        self._process, self._numbers = secrets.token_hex(8), itertools.count(1)

    @property
    def log(self) -> RequestLog | None:
        """The lines of requests, where such are written."""
        return self._log

    def begin(self, scope: Scope) -> Observation:
        """Begin with a request."""
        name = ""
        if self._named:
            name = _given(scope) or f"{self._process}-{next(self._numbers):x}"
            REQUEST_ID.set(name)
        if self._metrics is not None:
            self._metrics.in_progress += 1
        return Observation(time.perf_counter(), name, self._tracer.begin(scope) if self._tracer else None)

    def give_up(self, scope: Scope, seen: Observation) -> None:
        """A request was given up: it has no answer, and nobody waits for one."""
        if self._metrics is not None:
            self._metrics.in_progress -= 1
        if self._tracer is not None:
            seen.error = "cancelled"
            self._tracer.end(seen.trace, 0, **_traced(scope, seen))

    def end(self, scope: Scope, seen: Observation, answer: Answer) -> Answer:
        """A request has its answer; with its name, where it has one."""
        seconds = time.perf_counter() - seen.at
        if self._metrics is not None:
            self._count(self._metrics, scope, seen, answer.status, seconds)
        if self._log is not None and (answer.status >= _SERVER_ERRORS or random.random() < self._share):  # noqa: S311 (a sample)
            said: dict[str, Any] = {
                "issuer": seen.issuer,
                "endpoint": seen.endpoint,
                "method": _method(scope),
                "status": answer.status,
                "error": seen.error,
                "milliseconds": round(seconds * 1000, 3),
                "request_id": seen.name,
            }
            self._log.add({name: value for name, value in said.items() if value != ""})
        if self._tracer is not None:
            self._tracer.end(seen.trace, answer.status, **_traced(scope, seen))
        if not seen.name:
            return answer
        return Answer(answer.status, [*answer.headers, (_HEADER, seen.name.encode())], answer.body)

    def _count(self, metrics: Metrics, scope: Scope, seen: Observation, status: int, seconds: float) -> None:
        metrics.in_progress -= 1
        key = (seen.issuer, seen.endpoint, scope["method"], status)
        number, histogram = self._cells.get(key) or self._made(metrics, key)
        number[0] += 1
        metrics.request_seconds.put(histogram, seconds)
        if seen.error:
            metrics.refusals.add(seen.issuer, seen.endpoint, seen.error)

    def _made(self, metrics: Metrics, key: tuple[str, str, str, int]) -> tuple[list[int], list[float]]:
        issuer, endpoint, method, status = key
        known = method in _METHODS
        labels = (issuer, endpoint, method if known else OTHER)
        cells = metrics.requests.cell((*labels, str(status))), metrics.request_seconds.cell(labels)
        if known:  # what a caller made up is not remembered
            self._cells[key] = cells
        return cells


def _method(scope: Scope) -> str:
    """The method of a request, where it is one."""
    return scope["method"] if scope["method"] in _METHODS else OTHER


def _traced(scope: Scope, seen: Observation) -> dict[str, str]:
    """What a trace tells of a request: nothing that a caller chose, but for the name that a trusted proxy gave it."""
    return {
        "http.request.method": _method(scope),
        "url.scheme": scope.get("scheme", "http"),
        "registrar.issuer": seen.issuer,
        "registrar.endpoint": seen.endpoint,
        "registrar.request_id": seen.name,
        "error.type": seen.error,
    }


def _given(scope: Scope) -> str:
    """The name that a trusted proxy gave a request, where it is one; a stranger's word would be found in the log."""
    if proxies.PROXIED not in scope:
        return ""
    said = [value for name, value in scope["headers"] if name == _HEADER]
    return said[0].decode("ascii") if len(said) == 1 and _NAME.fullmatch(said[0]) else ""


def observer(registry: Registry, settings: Log) -> Observer | None:
    """Who observes requests; None where nothing of them is wanted."""
    metrics, tracer = registry.metrics, cast("RequestTracer | None", registry.tracer)
    if metrics is None and tracer is None and not settings.request_ids and not settings.requests:
        return None
    return Observer(metrics, settings, tracer)
