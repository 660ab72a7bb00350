"""Counting."""

from __future__ import annotations

import re

import pytest

from registrar.domain.metrics import METRICS, Kind
from registrar.service.metrics import MOST, Counter, Histogram, Metrics


def test_a_counter_counts_by_its_labels() -> None:
    """Each combination by itself."""
    counter = Counter()
    for kind in ("a", "b", "a"):
        counter.add("main", kind)

    assert counter.cells == {("main", "a"): [2], ("main", "b"): [1]}


def test_a_histogram_counts_what_is_not_larger_than_a_bound() -> None:
    """A number on a bound counts below it, as Prometheus has it (`le`)."""
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 7.0):
        histogram.observe(value)

    assert histogram.cells == {(): [2, 1, 1, 10.0]}


def test_series_are_bounded() -> None:
    """Whatever becomes a label, memory does not grow with it, and nothing is left uncounted."""
    counter, histogram = Counter(), Histogram((1.0,))
    for number in range(3 * MOST):
        counter.add("main", str(number))
        histogram.observe(1.0, str(number))

    assert (len(counter.cells), len(histogram.cells)) == (MOST + 1, MOST + 1)
    assert counter.cells["other", "other"] == [2 * MOST]
    assert histogram.cells["other",] == [2 * MOST, 0, 2.0 * MOST]


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_named_as_prometheus_names_them(name: str) -> None:
    """Counters end with `_total`, nothing else does, and what is measured has its unit in the name."""
    row = METRICS[name]
    assert re.fullmatch(r"registrar(_[a-z]+)+", name)
    assert name.endswith("_total") == (row.kind is Kind.COUNTER)
    assert bool(row.buckets) == (row.kind is Kind.HISTOGRAM)
    assert list(row.buckets) == sorted(set(row.buckets))
    if row.kind is Kind.HISTOGRAM:
        assert name.endswith(("_seconds", "_operations"))


def test_every_number_has_its_row() -> None:
    """What counts is made from the table, so that nothing is counted that no page tells of."""
    metrics = Metrics()
    gauges = {name for name, row in METRICS.items() if row.kind is Kind.GAUGE}

    assert {*metrics.counters, *metrics.histograms} | gauges == set(METRICS)
