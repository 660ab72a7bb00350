"""`/metrics`: the numbers of this process as Prometheus reads them, on a port of their own."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from importlib.metadata import version
from itertools import accumulate
from typing import Final

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import CollectorRegistry

from registrar.domain.metrics import METRICS, Kind
from registrar.http import wire
from registrar.http.wire import Answer, Receive, Scope, Send
from registrar.service.metrics import Counter, Histogram, Metrics
from registrar.service.ports import StoreUnavailable
from registrar.service.registry import Registry

_READY_SECONDS: Final = 2.0
_TEXT: Final = b"text/plain; version=0.0.4; charset=utf-8"


class Exposition:
    """The ASGI application that tells the numbers of a registry's process.

    Args:
        registry: whose.
        metrics: its numbers.
    """

    def __init__(self, registry: Registry, metrics: Metrics) -> None:
        self._registry, self._metrics = registry, metrics
        self._collected = CollectorRegistry(auto_describe=False)
        self._collected.register(self)
        ProcessCollector(registry=self._collected)
        PlatformCollector(registry=self._collected)
        GCCollector(registry=self._collected)
        self._ready = 0
        self._version = version("oauth-registrar")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        if scope["type"] == "http":
            await wire.send_answer(send, await self.answer(scope), head=scope["method"] == "HEAD")
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def answer(self, scope: Scope) -> Answer:
        """The answer to an HTTP request."""
        if scope["path"] != "/metrics":
            return wire.answer(HTTPStatus.NOT_FOUND, {"error": "not_found"})
        if scope["method"] not in ("GET", "HEAD"):
            given = wire.answer(HTTPStatus.METHOD_NOT_ALLOWED, {"error": "invalid_request"})
            return given._replace(headers=[*given.headers, (b"allow", b"GET, HEAD")])
        self._ready = int(await self._is_ready())
        headers = [(b"content-type", _TEXT), *wire.NO_STORE[1:]]
        return Answer(HTTPStatus.OK, headers, generate_latest(self._collected))

    def collect(self) -> Iterator[Metric]:
        """The rows of the table with their numbers, as prometheus-client takes them."""
        for name, row in METRICS.items():
            if row.kind is Kind.COUNTER:
                yield _counter(name, self._metrics.counters[name])
            elif row.kind is Kind.HISTOGRAM:
                yield _histogram(name, self._metrics.histograms[name])
            else:
                family = GaugeMetricFamily(name, row.meaning, labels=row.labels)
                for labels, value in self._gauges(name):
                    family.add_metric(labels, value)
                yield family

    def _gauges(self, name: str) -> Iterable[tuple[tuple[str, ...], float]]:
        load = self._registry.store.load()
        now: dict[str, list[tuple[tuple[str, ...], float]]] = {
            "registrar_requests_in_progress": [((), self._metrics.in_progress)],
            "registrar_store_waiting": [((), load.waiting)],
            "registrar_store_waiting_limit": [((), load.limit)],
            "registrar_store_sessions": [(("used",), load.used), (("free",), load.free)],
            "registrar_errands": [((), self._registry.errands.under_way)],
            "registrar_ready": [((), self._ready)],
            "registrar_build_info": [((self._version, platform.python_version()), 1)],
        }
        return now[name]

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await self._registry.store.ready()
        except (StoreUnavailable, TimeoutError):
            return False
        return True


def _counter(name: str, counter: Counter) -> Metric:
    family = CounterMetricFamily(name, METRICS[name].meaning, labels=METRICS[name].labels)
    for labels, cell in counter.cells.items():
        family.add_metric(labels, cell[0])
    return family


def _histogram(name: str, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(name, METRICS[name].meaning, labels=METRICS[name].labels)
    bounds = [*map(str, histogram.bounds), "+Inf"]
    for labels, cell in histogram.cells.items():
        family.add_metric(labels, list(zip(bounds, accumulate(cell[:-1]), strict=True)), cell[-1])
    return family
