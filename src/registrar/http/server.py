"""The server: uvicorn with its limits set, started and stopped in order."""

from __future__ import annotations

import functools
import gc
import logging
import signal

import uvicorn

from registrar.domain.settings import Server
from registrar.http.application import create_app
from registrar.http.connection import Connection
from registrar.service.registry import Registry

log = logging.getLogger("registrar")

_IDLE_SECONDS = 75
_DRAIN_SECONDS = 20
_COLLECTIONS = (20_000, 20, 20)


def serve(registry: Registry, settings: Server) -> None:
    """Serve until SIGINT or SIGTERM; what was acknowledged is durable, and what is under way is finished first.

    Raises:
        SystemExit: the certificate cannot be used, or the address not listened on.
    """
    config = uvicorn.Config(
        create_app(registry, settings),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=functools.partial(Connection, seconds=settings.body_seconds),  # type: ignore[arg-type]  # it is only called
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        ssl_certfile=settings.tls_certificate or None,
        ssl_keyfile=settings.tls_key or None,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies) or None,
    )
    # What is loaded by now lives as long as the process; the collector need not look at it again.
    gc.collect()
    gc.freeze()
    # Requests leave next to no cycles, and what is under way is large: looking through it less often costs nothing.
    gc.set_threshold(*_COLLECTIONS)
    try:
        config.load()
    except OSError as problem:
        files = f"{settings.tls_certificate} and {settings.tls_key}"
        raise SystemExit(f"Error: {files} cannot be used for TLS: {problem}") from None
    # uvicorn raises the signal again once it has stopped in order, and to stop in order when asked to is no failure.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        uvicorn.Server(config).run()
    except KeyboardInterrupt:
        log.info("stopped")
