"""`assemble`: the one place that names concrete classes."""

from __future__ import annotations

import dataclasses
import os
import ssl
import time
from pathlib import Path

from registrar.config.configuration import Configuration
from registrar.config.key_file import key_encryption_keys
from registrar.config.policies import named_function
from registrar.domain.certificate import read_pem
from registrar.domain.settings import Issuer as IssuerSettings
from registrar.domain.settings import Server, Tracing
from registrar.http.fetch import Fetcher
from registrar.policy.document import ConfigurationError
from registrar.service.attempts import Attempts
from registrar.service.audit import Audit
from registrar.service.key_sets import KeySets
from registrar.service.metrics import Metrics
from registrar.service.outbox import Webhooks, with_outbox
from registrar.service.registry import Issuer, Registry
from registrar.service.tracing import Tracer
from registrar.service.windows import OwnWindows, Windows
from registrar.storage import open_store


def assemble(configuration: Configuration) -> Registry:
    """Open the store, read the keys, bind issuers to policies: everything that the use cases are given.

    Raises:
        ConfigurationError: the key file is missing, unreadable or open to others, or `ca_file` cannot be used.
        StoreUnavailable: the database cannot be opened.
    """
    keys = key_encryption_keys(configuration)
    server = configuration.settings.server
    metrics = Metrics() if server.metrics.port else None
    tracer = _tracer(server.tracing)
    fetch = _fetcher(configuration, metrics, tracer)
    webhooks = Webhooks(configuration.settings.webhook, [*configuration.settings.issuer], _way_out(configuration))
    opened = open_store(
        server.database, queue=server.queue, postgresql=server.postgresql, metrics=metrics, tracer=tracer
    )
    store = with_outbox(opened, webhooks)
    if metrics is not None:
        from registrar.storage.counted import counted

        store = counted(store, metrics)
    if tracer is not None:
        from registrar.storage.traced import traced

        store = traced(store, tracer)
    believed = configuration.settings.statement_issuer
    issuers = {
        name: Issuer(
            settings,
            configuration.policies,
            [believed[one] for one in settings.registration.statement_issuers],
            _authorities(settings, server),
            [configuration.classes[one] for one in settings.registration.classes],
            named_function(settings.registration.attestation) if settings.registration.attestation else None,
        )
        for name, settings in configuration.settings.issuer.items()
    }
    windows = _windows(server.limits_database)
    described = any(issuer.documents is not None for issuer in issuers.values())
    return Registry(
        store,
        _now_ms,
        os.urandom,
        keys,
        issuers,
        Audit(store, _now_ms, os.urandom, metrics),
        fetch,
        KeySets(fetch, _now_ms, server.key_sets),
        webhooks=webhooks,
        attempts=Attempts(windows) if server.limits_database else Attempts(),
        windows=windows,
        fetch_documents=Fetcher(server.fetch, metrics=metrics, tracer=tracer) if described else None,
        metrics=metrics,
        tracer=tracer,
    )


def _windows(database: str) -> Windows:
    if not database:
        return OwnWindows()
    try:
        from registrar.storage.shared_windows import SharedWindows  # the driver is loaded only where it is used

        return SharedWindows(database)
    except Exception as problem:  # noqa: BLE001 (the library has errors of its own for a driver that is not there)
        raise ConfigurationError(
            "server.limits_database",
            0,
            f"cannot be used ({type(problem).__name__}); it needs the extra redis: pip install 'oauth-registrar[redis]'",
        ) from None


def _tracer(settings: Tracing) -> Tracer | None:
    if not settings.endpoint:
        return None
    try:
        from registrar.http.tracing import OpenTelemetry
    except ImportError as problem:
        raise ConfigurationError(
            "server.tracing", 0, f"needs the extra traces: pip install 'oauth-registrar[traces]' ({problem})"
        ) from None
    return OpenTelemetry(settings)


def _fetcher(configuration: Configuration, metrics: Metrics | None, tracer: Tracer | None) -> Fetcher:
    settings = configuration.settings.server.fetch
    fetch = Fetcher(settings, metrics=metrics, tracer=tracer)
    if (
        settings.ca_file
    ):  # read now, so that a wrong path shows at start; without one, certificates are read when needed
        try:
            _ = fetch.tls
        except (OSError, ssl.SSLError) as problem:
            raise ConfigurationError(settings.ca_file, 0, f"not a file of certificates (PEM): {problem}") from None
    return fetch


def _way_out(configuration: Configuration) -> Fetcher | None:
    """The guarded way to webhooks, apart from every other: a slow endpoint must not keep a key set from being fetched."""
    configured = [one for one in configuration.settings.webhook.values() if not one.disabled]
    if not configured:
        return None
    at_once = sum(one.at_once for one in configured) * len(configuration.settings.issuer)
    bounds = configuration.settings.server.fetch
    seconds = max(one.seconds for one in configured)
    return Fetcher(dataclasses.replace(bounds, seconds=seconds, at_once=at_once, at_once_per_host=at_once))


def _now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _authorities(issuer: IssuerSettings, server: Server) -> tuple[bytes, ...]:
    """The authorities whose client certificates count as evidence at an issuer."""
    file = issuer.registration.certificate_authorities or server.mutual_tls.client_ca
    try:
        return read_pem(Path(file).read_bytes()) if file else ()
    except (OSError, ValueError) as problem:
        raise ConfigurationError(file, 0, f"certificate authorities cannot be read: {problem}") from None
