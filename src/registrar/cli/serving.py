"""`registrar serve`: say what is about to happen, then serve."""

from __future__ import annotations

import logging

import click

from registrar.cli.render import Failure
from registrar.config import Configuration, assemble
from registrar.domain.settings import Mode
from registrar.http.server import serve
from registrar.policy.document import ConfigurationError
from registrar.service.ports import StoreUnavailable

log = logging.getLogger("registrar")


def run(configuration: Configuration) -> None:
    """Serve a configuration until told to stop.

    Raises:
        Failure: the key file or the database cannot be used.
    """
    try:
        registry = assemble(configuration)
    except (ConfigurationError, StoreUnavailable, OSError) as problem:
        raise Failure(str(problem)) from None
    for issuer in registry.issuers.values():
        modes = ", ".join(issuer.settings.registration.mode) or "disabled"
        log.info("issuer %s: %s, registration %s, policy %s", issuer.name, issuer.url, modes, issuer.policy.name)
        if Mode.OPEN in issuer.modes:
            log.warning("issuer %s: registration is open: anybody who reaches it can register a client", issuer.name)
    if configuration.loopback:
        log.warning("every issuer is on loopback: this is for development")
    click.echo(_welcome(configuration))
    serve(registry, configuration.settings.server)


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
