"""The server: uvicorn with its limits set, started and stopped in order, on one port or two."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from registrar.domain.settings import Server
from registrar.http.application import Application, create_app
from registrar.http.connection import Connection
from registrar.service.registry import Registry

if TYPE_CHECKING:
    from registrar.http.metrics import Exposition

log = logging.getLogger("registrar")

_IDLE_SECONDS = 75
FINISH_SECONDS = 20
"""Seconds in which a server that stops finishes what is under way."""
_TICK_SECONDS = 0.1
_COLLECTIONS = (20_000, 20, 20)


def listen(settings: Server) -> list[socket.socket]:
    """Sockets that listen, for several processes to share: whoever connects is served by the one that is free first.

    Raises:
        SystemExit: an address cannot be listened on.
    """
    ports = [settings.port, settings.mutual_tls.port] if settings.mutual_tls.port else [settings.port]
    certificates = [settings.tls_certificate, settings.mutual_tls.certificate or settings.tls_certificate]
    sockets = []
    for port, certificate in zip(ports, certificates, strict=False):
        config = uvicorn.Config("", host=settings.host, port=port, log_config=None, ssl_certfile=certificate or None)
        sockets.append(config.bind_socket())
        sockets[-1].listen(config.backlog)  # whoever comes before the first process is ready waits for it
    return sockets


def serve(registry: Registry, settings: Server, sockets: list[socket.socket] | None = None, number: int = 0) -> None:
    """Serve until SIGINT or SIGTERM; what was acknowledged is durable, and what is under way is finished first.

    On SIGTERM it goes on for `drain_seconds`, not ready, so that whoever spreads requests learns of it before it stops.

    Args:
        registry: what every use case is given.
        settings: the `[server]` settings.
        sockets: what `listen` gave, where several processes share it.
        number: which of these processes this is, from 0; its metrics have the port that lies so far above the configured one.

    Raises:
        SystemExit: a certificate cannot be used, or an address not listened on.
    """
    application = create_app(registry, settings)
    config = uvicorn.Config(
        application,
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
        timeout_graceful_shutdown=FINISH_SECONDS,
        ssl_certfile=settings.tls_certificate or None,
        ssl_keyfile=settings.tls_key or None,
        proxy_headers=False,  # the application reads them, so that nothing stands between it and the connection
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
    served = _certificates(settings, config)
    server = _Listening(
        config, _beside(registry, settings, number, served), served, application, settings.drain_seconds
    )
    # uvicorn raises the signal again once it has stopped in order, and to stop in order when asked to is no failure.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.run(sockets)
    except KeyboardInterrupt:
        log.info("stopped")


class _Listener(NamedTuple):
    """One more port of a server: where, how, and what is said of it in the log."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    shared: bool
    """Whether its socket is among those that several processes share."""
    said: str
    application: Callable[[], Any] | None = None
    """Makes what answers there; None is what answers at the first port too."""


class _Served(NamedTuple):
    """A certificate that is served, and where: it can be read again while the server runs."""

    certificate: str
    key: str
    context: ssl.SSLContext


def _certificates(settings: Server, config: uvicorn.Config) -> list[_Served]:
    served = []
    if config.ssl is not None:
        served.append(_Served(settings.tls_certificate, settings.tls_key, config.ssl))
    if settings.mutual_tls.port:
        served.append(_mutual_tls(settings))
    return served


def _beside(registry: Registry, settings: Server, number: int, served: Sequence[_Served]) -> list[_Listener]:
    listeners = []
    if port := settings.mutual_tls.port:
        said = "clients with certificates are served on https://%s:%d"
        listeners.append(_Listener(settings.host, port, served[-1].context, True, said))
    if (metrics := registry.metrics) is not None and settings.metrics.port:

        def exposition() -> Exposition:
            # Loaded once clients are served: it takes a tenth of a second, and nobody waits for it.
            from registrar.http.metrics import Exposition

            return Exposition(registry, metrics)

        host, port = settings.metrics.host, settings.metrics.port + number
        listeners.append(_Listener(host, port, None, False, "metrics are told on http://%s:%d/metrics", exposition))
    return listeners


class _Listening(uvicorn.Server):
    """uvicorn's server with more listeners, and an end that is told before it comes. What uvicorn stops, it stops for all."""

    def __init__(
        self,
        config: uvicorn.Config,
        beside: Sequence[_Listener],
        served: Sequence[_Served],
        application: Application,
        drain_seconds: int,
    ) -> None:
        super().__init__(config)
        self._beside, self._served = beside, served
        self._application, self._drain_seconds = application, drain_seconds

    async def main_loop(self) -> None:
        """Serve until told to stop, and then for as long as others need to notice.

        Answers end their connections meanwhile: a request on one that is kept alive must not meet its end. Who presses
        Ctrl-C waits for nobody, during that time too. More of SIGTERM changes nothing: systemd tells each process, and
        the first of several workers tells them all again.
        """
        await super().main_loop()
        if not self._drain_seconds or signal.SIGINT in self._captured_signals:
            return
        log.info("draining: not ready, and serving for another %d seconds", self._drain_seconds)
        self._application.draining = True
        until = asyncio.get_running_loop().time() + self._drain_seconds
        tick = 0
        while asyncio.get_running_loop().time() < until and signal.SIGINT not in self._captured_signals:
            await self.on_tick(tick)  # the date of answers goes on
            await asyncio.sleep(_TICK_SECONDS)
            tick += 1

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        own = sockets[1:] if sockets else None
        if self._served:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._read_certificates_again)
        await super().startup(sockets[:1] if sockets else None)
        for one in self._beside:
            if self.should_exit:
                return
            where: dict[str, Any] = {"sock": own.pop(0)} if one.shared and own else {"host": one.host, "port": one.port}
            config = self.config
            if one.application is not None:
                config = copy.copy(config)
                config.loaded_app = one.application()
            connection = functools.partial(
                self.config.http_protocol_class,
                config=config,  # type: ignore[call-arg]  # as uvicorn calls it
                server_state=self.server_state,
                app_state=self.lifespan.state,
            )
            try:
                listener = await asyncio.get_running_loop().create_server(
                    connection, ssl=one.tls, backlog=self.config.backlog, **where
                )
            except OSError as problem:
                log.error("%s", problem)  # noqa: TRY400 (the operator reads one line)
                await self.shutdown(sockets)
                sys.exit(STARTUP_FAILURE)
            self.servers.append(listener)
            log.info(one.said, one.host, one.port)

    def _read_certificates_again(self) -> None:
        """Serve new connections with what the files hold now, or go on as before: all of it, or nothing."""
        try:
            for one in self._served:
                # Tried first: a context that was given a certificate without its key could serve nobody.
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(one.certificate, one.key)
            for one in self._served:
                one.context.load_cert_chain(one.certificate, one.key)
        except OSError as problem:
            log.error("the certificates are served as they were: %s", problem)  # noqa: TRY400 (the operator reads one line)
            return
        log.info("the certificates were read again")


def _mutual_tls(settings: Server) -> _Served:
    """TLS that every client must present a certificate for; OpenSSL verifies it in the handshake."""
    own = settings.mutual_tls
    certificate, key = (own.certificate, own.key) if own.certificate else (settings.tls_certificate, settings.tls_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    # A resumed session brings back a certificate that is not looked at again, so none is offered to be kept.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    try:
        context.load_cert_chain(certificate, key)
    except OSError as problem:
        raise SystemExit(f"Error: {certificate} and {key} cannot be used for TLS: {problem}") from None
    try:
        context.load_verify_locations(own.client_ca)
    except OSError as problem:
        raise SystemExit(f"Error: {own.client_ca} does not hold the certificates of authorities: {problem}") from None
    return _Served(certificate, key, context)
