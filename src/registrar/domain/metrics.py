"""Metrics: every number that the server counts, once; what counts, the reference and the dashboard's test read this table.

The values of a label are few and known beforehand: issuers, endpoints, policies and rules of the configuration, errors
and events of tables. No label is anything that a caller chose, and none names a client or a person.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import msgspec


class Kind(enum.StrEnum):
    """What a number does."""

    COUNTER = "counter"
    """It rises."""
    GAUGE = "gauge"
    """It is what it is now."""
    HISTOGRAM = "histogram"
    """Many numbers, counted by how large they are."""


class Metric(msgspec.Struct, frozen=True):
    """A row of the table."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()
    """Of a histogram: the upper bounds, in the unit that the name ends with."""


_ANSWERS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_OPERATIONS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
_LAGS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


def _table(*rows: Metric) -> dict[str, Metric]:
    return {row.name: row for row in rows}


METRICS: Final[Mapping[str, Metric]] = _table(
    Metric(
        "registrar_requests_total",
        Kind.COUNTER,
        ("issuer", "endpoint", "method", "status"),
        "Answers. `issuer` is empty for what is no issuer's.",
    ),
    Metric(
        "registrar_request_seconds",
        Kind.HISTOGRAM,
        ("issuer", "endpoint", "method"),
        "How long a request took, from its head to its answer.",
        _ANSWERS,
    ),
    Metric("registrar_requests_in_progress", Kind.GAUGE, (), "Requests under way."),
    Metric(
        "registrar_registrations_total",
        Kind.COUNTER,
        ("issuer", "policy", "mode"),
        "Clients that were registered. `mode` is what was verified when each was let in: `open`, `client`, `user` or `operator`.",
    ),
    Metric(
        "registrar_refusals_total",
        Kind.COUNTER,
        ("issuer", "endpoint", "error"),
        "Requests that were refused, by the name of the error; those too that the audit only counts.",
    ),
    Metric(
        "registrar_findings_total",
        Kind.COUNTER,
        ("issuer", "rule", "verdict"),
        "Rules that refused, changed, ignored or warned of something, in registrations and updates.",
    ),
    Metric(
        "registrar_tokens_total",
        Kind.COUNTER,
        ("issuer", "grant", "outcome"),
        "Answers of the token endpoint: `issued`, or the name of the error.",
    ),
    Metric(
        "registrar_events_total",
        Kind.COUNTER,
        ("issuer", "kind"),
        "Audit events that are durable, by kind.",
    ),
    Metric(
        "registrar_commit_operations",
        Kind.HISTOGRAM,
        (),
        "Writes that shared a commit.",
        _OPERATIONS,
    ),
    Metric(
        "registrar_commit_seconds",
        Kind.HISTOGRAM,
        ("outcome",),
        "How long it took until a commit was durable (`durable`), or until it was known that it is not (`failed`).",
        _ANSWERS,
    ),
    Metric("registrar_store_waiting", Kind.GAUGE, (), "Writes that wait for the store."),
    Metric("registrar_store_waiting_limit", Kind.GAUGE, (), "Writes that may wait; what comes beyond is answered 503."),
    Metric(
        "registrar_store_sessions",
        Kind.GAUGE,
        ("state",),
        "Sessions for reading from PostgreSQL, `used` and `free`; both are 0 elsewhere.",
    ),
    Metric(
        "registrar_fetches_total",
        Kind.COUNTER,
        ("outcome",),
        "Documents that were asked for at a stranger's word: `fetched` or `failed`.",
    ),
    Metric("registrar_fetch_seconds", Kind.HISTOGRAM, (), "How long a fetch took, waiting for its turn too.", _ANSWERS),
    Metric(
        "registrar_webhook_attempts_total",
        Kind.COUNTER,
        ("webhook", "outcome"),
        "Attempts to deliver a message: `delivered`, `again` where there will be another, or `given_up`.",
    ),
    Metric(
        "registrar_loop_lag_seconds",
        Kind.HISTOGRAM,
        (),
        "How much later than it should the event loop came round, looked at every half second.",
        _LAGS,
    ),
    Metric("registrar_errands", Kind.GAUGE, (), "What is being done after its answer: notices, clean-up."),
    Metric("registrar_ready", Kind.GAUGE, (), "1 where the store answers, as `/readyz` says."),
    Metric("registrar_build_info", Kind.GAUGE, ("version", "python"), "1, with the versions."),
)
