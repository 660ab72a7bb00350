"""`registrar serve`: say what is about to happen, then serve."""

from __future__ import annotations

import asyncio
import logging

import click

from registrar.cli.render import Failure
from registrar.config import Configuration, assemble
from registrar.domain.settings import LogFormat, Mode, Server
from registrar.http.logs import configure
from registrar.http.server import listen, serve
from registrar.http.workers import supervise
from registrar.policy.document import ConfigurationError
from registrar.service.ports import StoreUnavailable
from registrar.service.registry import Registry
from registrar.storage import MEMORY, is_postgresql, open_store
from registrar.storage.migrations import SchemaMismatch

log = logging.getLogger("registrar")

_AGAIN_SECONDS = 1


def run(configuration: Configuration, workers: int = 1) -> None:
    """Serve a configuration until told to stop.

    Raises:
        Failure: the key file or the database cannot be used.
    """
    server = configuration.settings.server
    configure(server.log)
    if is_postgresql(server.database):
        try:
            asyncio.run(_answering(server))
        except SchemaMismatch as problem:
            raise Failure(str(problem)) from None
    if workers == 1:
        registry = _assembled(configuration)
        _announce(configuration)
        serve(registry, server)
        return
    if server.database == MEMORY:
        raise Failure(f"what one worker remembers in {MEMORY} the others do not know; --workers needs a database")
    _announce(configuration)
    sockets = listen(server)

    def let_go() -> None:
        for one in sockets:
            one.close()

    supervise(
        workers,
        lambda number: serve(_assembled(configuration), server, sockets, number),
        let_go,
        hang_up=bool(server.tls_certificate or server.mutual_tls.port),
    )


def _announce(configuration: Configuration) -> None:
    for issuer in configuration.settings.issuer.values():
        modes = ", ".join(issuer.registration.mode) or "disabled"
        log.info(
            "issuer %s: %s, registration %s, policy %s", issuer.name, issuer.url, modes, issuer.registration.policy
        )
        if Mode.OPEN in issuer.registration.mode:
            log.warning("issuer %s: registration is open: anybody who reaches it can register a client", issuer.name)
    if configuration.loopback:
        log.warning("every issuer is on loopback: this is for development")
    if configuration.settings.server.log.format is LogFormat.TEXT:  # who has programs read it is no newcomer
        click.echo(_welcome(configuration))


def _assembled(configuration: Configuration) -> Registry:
    try:
        return assemble(configuration)
    except (ConfigurationError, StoreUnavailable, OSError) as problem:
        raise Failure(str(problem)) from None


async def _answering(server: Server) -> None:
    """Return when the database answers. Whoever starts everything at once should not have to care about the order.

    Raises:
        SchemaMismatch: it answers, and its schema is not this program's.
    """
    while True:
        store = open_store(server.database, postgresql=server.postgresql)
        try:
            return await store.ready()
        except SchemaMismatch:
            raise
        except StoreUnavailable as problem:
            log.error("%s; trying again", problem)  # noqa: TRY400 (the operator reads one line)
        finally:
            await store.close()
        await asyncio.sleep(_AGAIN_SECONDS)


def _welcome(configuration: Configuration) -> str:
    """What a newcomer can type next."""
    for issuer in configuration.settings.issuer.values():
        if not issuer.registration.mode:
            continue
        endpoint = f"{issuer.url}{issuer.registration.path}"
        token = "" if Mode.OPEN in issuer.registration.mode else " -H 'Authorization: Bearer TOKEN'"
        hint = "" if not token else "\n(registrar token issue prints a TOKEN)"
        return (
            f"\nRegister your first client from another terminal:\n\n  curl {endpoint} -H 'Content-Type: application/json'{token} \\\n"
            '    -d \'{"client_name": "My app", "redirect_uris": ["http://127.0.0.1:9000/callback"]}\'\n\n'
            f"Discovery: {issuer.url}/.well-known/oauth-authorization-server   Stop: Ctrl-C{hint}\n"
        )
    return "\nRegistration is disabled at every issuer. `registrar init` writes a configuration to start from; `registrar serve --dev` tries things out.\n"
