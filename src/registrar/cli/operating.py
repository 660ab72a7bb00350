"""The operator's desk: opens the registry of a configuration, acts through the use cases, and closes it."""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from registrar.cli.render import Failure
from registrar.config import Configuration, assemble
from registrar.domain.access_token import InitialAccessToken
from registrar.domain.client import Client, State
from registrar.domain.credentials import PresentedToken
from registrar.domain.errors import ProtocolError, RegistrationError
from registrar.policy.document import ConfigurationError
from registrar.service import administration
from registrar.service.administration import Operator, Refused
from registrar.service.ports import ClientQuery, StoreUnavailable
from registrar.service.registry import Issuer, Registry

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Desk:
    """An open registry, the issuer that the command is about, and who acts."""

    registry: Registry
    issuer: Issuer
    operator: Operator

    @property
    def now(self) -> int:
        """Seconds since 1970."""
        return self.registry.clock() // 1000


def run(configuration: Configuration, issuer: str, act: Callable[[Desk], Awaitable[None]]) -> None:
    """Open the registry, act, close it.

    Raises:
        Failure: whatever was to be expected, as one line.
    """

    async def session() -> None:
        registry = assemble(configuration)
        try:
            await act(Desk(registry, _chosen(registry, issuer), Operator(_person(), _door())))
        finally:
            await registry.store.close()

    try:
        asyncio.run(session())
    except RegistrationError as refusal:
        faults = [f"{one.member}: {one.reason}{_instead(one.accepted)}" for one in refusal.faults]
        raise Failure("; ".join(faults)) from None
    except (ConfigurationError, ProtocolError, StoreUnavailable, Refused, OSError) as problem:
        raise Failure(str(problem)) from None


def _instead(accepted: str) -> str:
    return f" (accepted: {accepted})" if accepted else ""


def _person() -> str:
    """Who acts, as this machine knows them; a container may run as a user without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def _door() -> str:
    """The command as it is documented, however it was started."""
    names: list[str] = []
    context: click.Context | None = click.get_current_context()
    while context is not None and context.parent is not None:
        names.append(context.info_name or "")
        context = context.parent
    return " ".join(["registrar", *reversed(names)])


def _chosen(registry: Registry, name: str) -> Issuer:
    if name in registry.issuers:
        return registry.issuers[name]
    known = ", ".join(registry.issuers)
    if name:
        raise Failure(f"there is no issuer {name}; these are: {known}")
    if len(registry.issuers) > 1:
        raise Failure(f"there are several issuers; choose one with --issuer: {known}")
    return next(iter(registry.issuers.values()))


async def issue_token(desk: Desk, **wanted: Any) -> tuple[PresentedToken, InitialAccessToken]:
    """Issue an initial access token at the issuer of the desk."""
    return await administration.issue_token(desk.registry, desk.issuer, desk.operator, **wanted)


async def tokens(desk: Desk) -> AsyncIterator[InitialAccessToken]:
    """Every initial access token of the issuer."""
    after = ("", "")
    while page := await desk.registry.store.tokens(desk.issuer.name, after=after, limit=_PAGE):
        for token in page:
            yield token
        after = (page[-1].issuer, page[-1].token_id)


async def revoke_token(desk: Desk, token_id: str) -> None:
    """Revoke an initial access token."""
    await administration.revoke_token(desk.registry, desk.issuer, desk.operator, token_id)


async def clients(
    desk: Desk,
    *,
    state: State | None,
    owner: str | None,
    token_id: str | None,
    template: str | None,
    after: str,
    limit: int,
) -> Sequence[Client]:
    """Clients of the issuer."""
    query = ClientQuery(desk.issuer.name, state, owner, token_id, template)
    return await desk.registry.store.clients(query, after=(desk.issuer.name, after), limit=limit)


async def client(desk: Desk, client_id: str) -> Client:
    """One client."""
    return await administration.find(desk.registry, desk.issuer, client_id)


async def change_state(desk: Desk, act: str, client_id: str, reason: str) -> Client:
    """Suspend, resume or delete a client."""
    acts = {"suspend": administration.suspend, "resume": administration.resume, "delete": administration.delete}
    return await acts[act](desk.registry, desk.issuer, desk.operator, client_id, reason)


async def rotate_secret(desk: Desk, client_id: str, overlap: int | None) -> tuple[str, Client]:
    """Give a client a new secret."""
    return await administration.rotate_secret(desk.registry, desk.issuer, desk.operator, client_id, overlap=overlap)


def client_row(client: Client) -> dict[str, Any]:
    """A client as a row of a table: what it is called and how it came in."""
    shown = client.public()
    metadata = shown.pop("metadata")
    return {
        **shown,
        **{
            name: metadata.get(name)
            for name in ("client_name", "software_id", "token_endpoint_auth_method", "redirect_uris")
        },
    }
