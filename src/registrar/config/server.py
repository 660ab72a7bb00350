"""`[server]`: what must hold between the settings of the process."""

from __future__ import annotations

import dataclasses
import re
from ipaddress import ip_address, ip_network
from typing import Final

from registrar.config.configuration import Configuration
from registrar.domain import uri as grammar
from registrar.domain.settings import Server
from registrar.policy.document import Document
from registrar.storage import ACCEPTED, MEMORY, is_postgresql, sqlite_path

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


def check_transport(configuration: Configuration, document: Document) -> None:
    """Registration carries credentials: TLS, except between programs of one machine (RFC 7591 §5)."""
    server = configuration.settings.server
    _check_database(server, document)
    if bool(server.tls_certificate) != bool(server.tls_key):
        raise document.error("tls_certificate and tls_key go together", "server", "tls_certificate")
    if not 0 <= server.port <= 65535:  # noqa: PLR2004 (ports; 0 lets the system choose)
        raise document.error("is a port from 0 to 65535", "server", "port")
    if server.limits_database and not re.match(r"(redis|rediss|valkey|valkeys)://[^/]", server.limits_database):
        raise document.error("is an address such as redis://127.0.0.1:6379/0", "server", "limits_database")
    for key, least in (("body_bytes", 1024), ("queue", 1), ("clock_rest", 0), ("drain_seconds", 0)):
        if getattr(server, key) < least:
            raise document.error(f"is at least {least}", "server", key)
    if server.body_seconds <= 0:
        raise document.error("is more than 0", "server", "body_seconds")
    _check_proxies(server, document)
    _check_audit(server, document)
    _check_mutual_tls(server, document)
    _check_log(server, document)
    _check_metrics(server, document)
    _check_tracing(server, document)
    if server.host not in _LOOPBACK and not server.tls_certificate and not server.trusted_proxies:
        raise document.error(
            f"listening on {server.host} without TLS would carry credentials in the clear; set tls_certificate and tls_key, "
            "or trusted_proxies where a proxy ends TLS",
            "server",
            "host",
        )


_LONGEST_STATEMENT: Final = 2_147_483
"""Seconds of which the milliseconds fit into PostgreSQL's setting."""


def _check_database(server: Server, document: Document) -> None:
    if is_postgresql(server.database):
        from registrar.storage.postgres.connection import Address  # the driver is loaded only where it is used

        try:
            Address(server.database, server.postgresql)
        except ValueError as problem:
            raise document.error(str(problem), "server", "database") from None
        if not server.key_file:
            raise document.error(
                "needs key_file with a PostgreSQL database: the keys do not live in it, and every process has to have the same",
                "server",
                "key_file",
            )
    elif server.database != MEMORY and sqlite_path(server.database) is None:
        raise document.error(f"is {ACCEPTED}", "server", "database")
    for field in dataclasses.fields(server.postgresql):
        if getattr(server.postgresql, field.name) <= 0:
            raise document.error("is more than 0", "server", "postgresql", field.name)
    if not 0.001 <= server.postgresql.statement_seconds <= _LONGEST_STATEMENT:  # noqa: PLR2004 (a millisecond)
        complaint = f"is from 0.001 to {_LONGEST_STATEMENT}: PostgreSQL counts milliseconds, and 0 of them as no limit"
        raise document.error(complaint, "server", "postgresql", "statement_seconds")


def _check_proxies(server: Server, document: Document) -> None:
    for proxy in server.trusted_proxies:
        try:
            everybody = ip_network(proxy).prefixlen == 0
        except ValueError:
            raise document.error(
                f"{proxy} is neither an address nor a network such as 10.0.0.0/24", "server", "trusted_proxies"
            ) from None
        if everybody:
            raise document.error(f"{proxy} is everybody; name your proxies", "server", "trusted_proxies")
    if not re.fullmatch(r"[a-z][a-z0-9\-]*", server.client_certificate_header):
        raise document.error("is the name of a header, in lower case", "server", "client_certificate_header")


def _check_mutual_tls(server: Server, document: Document) -> None:
    settings, at = server.mutual_tls, ("server", "mutual_tls")
    if not 0 <= settings.port <= 65535:  # noqa: PLR2004 (ports)
        raise document.error("is a port from 1 to 65535, or 0 for none", *at, "port")
    if bool(settings.certificate) != bool(settings.key):
        raise document.error("certificate and key go together", *at, "certificate")
    if not settings.port:
        if settings.client_ca or settings.certificate:
            raise document.error("needs a port; without one nothing listens", *at)
        return
    if settings.port == server.port:
        raise document.error("is a port of its own, not server.port", *at, "port")
    if not settings.client_ca:
        raise document.error("needs client_ca, the authorities of clients' certificates", *at)
    if not settings.certificate and not server.tls_certificate:
        raise document.error("needs certificate and key, or server.tls_certificate and server.tls_key", *at)


def _check_audit(server: Server, document: Document) -> None:
    for key in ("checkpoint_seconds", "retention_days"):
        if getattr(server.audit, key) < 0:
            raise document.error("is not negative", "server", "audit", key)


def _check_log(server: Server, document: Document) -> None:
    if not 0 <= server.log.requests <= 1:
        raise document.error("is a share from 0 to 1", "server", "log", "requests")


def _check_tracing(server: Server, document: Document) -> None:
    at = ("server", "tracing")
    endpoint = server.tracing.endpoint
    parts = None if grammar.odd_character(endpoint) else grammar.split(endpoint)
    if endpoint and (parts is None or parts.scheme not in ("http", "https") or not parts.authority or parts.fragment):
        raise document.error("is a URL such as http://127.0.0.1:4318/v1/traces", *at, "endpoint")
    if parts is not None and parts.authority and "@" in parts.authority:
        raise document.error("holds no credentials; OTEL_EXPORTER_OTLP_HEADERS does", *at, "endpoint")
    if not 0 <= server.tracing.share <= 1:
        raise document.error("is a share from 0 to 1", *at, "share")
    if not server.tracing.seconds > 0:
        raise document.error("is more than 0", *at, "seconds")


def _check_metrics(server: Server, document: Document) -> None:
    at = ("server", "metrics")
    if not 0 <= server.metrics.port <= 65535:  # noqa: PLR2004 (ports)
        raise document.error("is a port from 1 to 65535, or 0 for none", *at, "port")
    if server.metrics.port and server.metrics.port in (server.port, server.mutual_tls.port):
        raise document.error("is a port of its own, not one that clients are served on", *at, "port")
    try:
        ip_address(server.metrics.host)
    except ValueError:
        raise document.error("is an address such as 127.0.0.1 or ::1", *at, "host") from None


def check_fetching(server: Server, document: Document) -> None:
    """What is fetched has bounds, and every exception is one origin."""
    at = ("server", "fetch")
    for origin in server.fetch.allow:
        parts = None if grammar.odd_character(origin) else grammar.split(origin)
        authority = (parts.authority or "") if parts else ""
        host, port = grammar.host_and_port(authority)
        if (
            parts is None
            or parts.scheme not in ("http", "https")
            or origin != f"{parts.scheme}://{authority}"
            or not grammar.is_host(host)
            or (port is not None and not grammar.is_port(port))
        ):
            raise document.error(f"{origin} is not an origin such as https://keys.internal:8443", *at, "allow")
    if server.fetch.seconds <= 0:
        raise document.error("is more than 0", *at, "seconds")
    for key, least in (("bytes", 1024), ("at_once", 1), ("at_once_per_host", 1)):
        if getattr(server.fetch, key) < least:
            raise document.error(f"is at least {least}", *at, key)
    kept = server.key_sets
    for field in dataclasses.fields(kept):
        if getattr(kept, field.name) < 1:
            raise document.error("is at least 1", "server", "key_sets", field.name)
    if kept.hard_seconds < kept.fresh_seconds_at_most or kept.fresh_seconds_at_most < kept.fresh_seconds:
        raise document.error(
            "fresh_seconds, fresh_seconds_at_most and hard_seconds do not decrease in this order",
            "server",
            "key_sets",
            "hard_seconds",
        )
