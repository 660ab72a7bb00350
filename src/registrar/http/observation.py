"""What is observed of a request: how long it took, what came of it, and under which name the log knows it."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from registrar.http.wire import Answer, Scope
from registrar.service.metrics import OTHER, Metrics

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Outcome(NamedTuple):
    """What came of a request: its answer, where it was for, and the name of the error if it was refused."""

    answer: Answer
    issuer: str = ""
    """The issuer's configured name; empty where it was for none."""
    endpoint: str = ""
    """The endpoint's name, one of few; empty where there is none."""
    error: str = ""


class Observer:
    """Observes requests.

    Args:
        metrics: where they are counted.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._cells: dict[tuple[str, str, str, int], tuple[list[int], list[float]]] = {}

    def begin(self) -> float:
        """Begin with a request; what `end` is given."""
        self._metrics.in_progress += 1
        return time.perf_counter()

    def end(self, scope: Scope, outcome: Outcome | None, began: float) -> None:
        """A request has its answer, or was given up."""
        metrics = self._metrics
        metrics.in_progress -= 1
        if outcome is None:
            return
        answer, issuer, endpoint, error = outcome
        key = (issuer, endpoint, scope["method"], answer.status)
        count, seconds = self._cells.get(key) or self._made(key)
        count[0] += 1
        metrics.request_seconds.put(seconds, time.perf_counter() - began)
        if error:
            metrics.refusals.add(issuer, endpoint, error)

    def _made(self, key: tuple[str, str, str, int]) -> tuple[list[int], list[float]]:
        issuer, endpoint, method, status = key
        known = method in _METHODS
        labels = (issuer, endpoint, method if known else OTHER)
        cells = self._metrics.requests.cell((*labels, str(status))), self._metrics.request_seconds.cell(labels)
        if known:  # what a caller made up is not remembered
            self._cells[key] = cells
        return cells
