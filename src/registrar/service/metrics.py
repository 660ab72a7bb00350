"""Counting: the numbers of one process, by the table of metrics.

They are plain numbers in dictionaries. One thread counts, the event loop's, so nothing is locked and an increment takes
a tenth of a microsecond; what they are turned into, and for whom, is the matter of whoever asks for them.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Final

from registrar.domain.findings import Finding
from registrar.domain.metrics import METRICS, Kind

MOST: Final = 1_000
"""Series of one metric: tables and configurations do not make as many, so what comes beyond is a mistake, and cheap."""
OTHER: Final = "other"
_LOOK_SECONDS: Final = 0.5

Labels = tuple[str, ...]


class Counter:
    """A number for each combination of labels."""

    __slots__ = ("cells",)

    def __init__(self) -> None:
        self.cells: dict[Labels, list[int]] = {}

    def cell(self, labels: Labels) -> list[int]:
        """The number of these labels, alone in a list, for whoever counts it often."""
        cell = self.cells.get(labels)
        return self.cells.setdefault(_bounded(self.cells, labels), [0]) if cell is None else cell

    def add(self, *labels: str) -> None:
        """Count one more."""
        self.cell(labels)[0] += 1


class Histogram:
    """How many numbers lay between the bounds, and their sum, for each combination of labels.

    Args:
        bounds: the upper bounds, rising.
    """

    __slots__ = ("bounds", "cells")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.cells: dict[Labels, list[float]] = {}

    def cell(self, labels: Labels) -> list[float]:
        """The numbers of these labels, for whoever counts them often: one for each bound, one beyond, and the sum."""
        cell = self.cells.get(labels)
        if cell is None:
            cell = self.cells.setdefault(_bounded(self.cells, labels), [0] * (len(self.bounds) + 1) + [0.0])
        return cell

    def observe(self, value: float, *labels: str) -> None:
        """Count a number."""
        self.put(self.cell(labels), value)

    def put(self, cell: list[float], value: float) -> None:
        """Count a number in a cell of this histogram."""
        cell[bisect_left(self.bounds, value)] += 1
        cell[-1] += value


def _bounded(known: Mapping[Labels, object], labels: Labels) -> Labels:
    return labels if len(known) < MOST else (OTHER,) * len(labels)


class Metrics:
    """The numbers of this process. Gauges are not here: they are looked at when somebody asks."""

    def __init__(self) -> None:
        self.counters: dict[str, Counter] = {
            name: Counter() for name, row in METRICS.items() if row.kind is Kind.COUNTER
        }
        self.histograms: dict[str, Histogram] = {
            name: Histogram(row.buckets) for name, row in METRICS.items() if row.kind is Kind.HISTOGRAM
        }
        self.requests = self.counters["registrar_requests_total"]
        self.request_seconds = self.histograms["registrar_request_seconds"]
        self.registrations = self.counters["registrar_registrations_total"]
        self.refusals = self.counters["registrar_refusals_total"]
        self.findings = self.counters["registrar_findings_total"]
        self.tokens = self.counters["registrar_tokens_total"]
        self.events = self.counters["registrar_events_total"]
        self.commit_operations = self.histograms["registrar_commit_operations"]
        self.commit_seconds = self.histograms["registrar_commit_seconds"]
        self.fetches = self.counters["registrar_fetches_total"]
        self.fetch_seconds = self.histograms["registrar_fetch_seconds"]
        self.webhook_attempts = self.counters["registrar_webhook_attempts_total"]
        self.loop_lag_seconds = self.histograms["registrar_loop_lag_seconds"]
        self.in_progress = 0

    def found(self, issuer: str, findings: Iterable[Finding]) -> None:
        """Count what rules found."""
        for one in findings:
            self.findings.add(issuer, one.rule, one.verdict)

    def committed(self, operations: int, seconds: float, *, durable: bool) -> None:
        """Count a batch of the store."""
        self.commit_operations.observe(operations)
        self.commit_seconds.observe(seconds, "durable" if durable else "failed")

    def fetched(self, seconds: float, *, failed: bool) -> None:
        """Count a fetch."""
        self.fetches.add("failed" if failed else "fetched")
        self.fetch_seconds.observe(seconds)

    async def watch_loop(self) -> None:
        """Look how late the event loop is, until cancelled."""
        while True:
            due = time.perf_counter() + _LOOK_SECONDS
            await asyncio.sleep(_LOOK_SECONDS)
            self.loop_lag_seconds.observe(max(0.0, time.perf_counter() - due))
