"""The operator's desk: opens the registry of a configuration, acts through the use cases, and closes it."""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from registrar.authorization import people as accounts
from registrar.authorization.people import Person, Unacceptable
from registrar.cli.render import Failure
from registrar.config import Configuration, assemble
from registrar.domain.access_token import InitialAccessToken
from registrar.domain.client import Client, State
from registrar.domain.credentials import PresentedToken
from registrar.domain.errors import ProtocolError, RegistrationError
from registrar.domain.metadata import Presented
from registrar.policy.document import ConfigurationError
from registrar.service import administration, client_administration, initial_access, issuance, keys
from registrar.service.administration import ReissuedToken
from registrar.service.inventory import Filters
from registrar.service.labels import parsed
from registrar.service.last_use import at as last_use_at
from registrar.service.operators import Operator, Refused
from registrar.service.ports import Change, SigningKey, StoreUnavailable
from registrar.service.registry import Issuer, Registry

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Desk:
    """An open registry, the name of the issuer that was asked for, if one was, and who acts."""

    registry: Registry
    asked: str
    operator: Operator

    @property
    def issuer(self) -> Issuer:
        """The issuer that the command is about. What is about the whole registry does not ask for it.

        Raises:
            Failure: there are several, and none was chosen.
        """
        return _chosen(self.registry, self.asked)

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
            if issuer:
                _chosen(registry, issuer)
            await act(Desk(registry, issuer, Operator(_operator(), _door())))
        finally:
            await registry.store.close()

    try:
        asyncio.run(session())
    except RegistrationError as refusal:
        faults = [f"{one.member}: {one.reason}{_instead(one.accepted)}" for one in refusal.faults]
        raise Failure("; ".join(faults)) from None
    except BrokenPipeError:
        raise  # whoever reads has seen enough, as `head` has: no failure to tell of, and click ends without a word
    except (ConfigurationError, ProtocolError, StoreUnavailable, Refused, Unacceptable, OSError) as problem:
        raise Failure(str(problem)) from None


def _instead(accepted: str) -> str:
    return f" (accepted: {accepted})" if accepted else ""


def _operator() -> str:
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


def built(value: Any) -> dict[str, Any]:
    """A record as JSON has it."""
    members: dict[str, Any] = msgspec.to_builtins(value)
    return members


async def issue_token(desk: Desk, **wanted: Any) -> tuple[PresentedToken, InitialAccessToken]:
    """Issue an initial access token at the issuer of the desk."""
    return await initial_access.issue_token(desk.registry, desk.issuer, desk.operator, **wanted)


async def tokens(desk: Desk) -> AsyncIterator[InitialAccessToken]:
    """Every initial access token of the issuer."""
    after = ("", "")
    while page := await desk.registry.store.tokens(desk.issuer.name, after=after, limit=_PAGE):
        for token in page:
            yield token
        after = (page[-1].issuer, page[-1].token_id)


async def revoke_token(desk: Desk, token_id: str, *, again: bool = False) -> None:
    """Revoke an initial access token; with `again`, it may be revoked already."""
    await initial_access.revoke_token(desk.registry, desk.issuer, desk.operator, token_id, again=again)


def filters(labelled: tuple[str, ...] = (), **asked: Any) -> Filters:
    """The filters of a command; times are given in UTC."""
    told: dict[str, Any] = {
        name: int(value.replace(tzinfo=UTC).timestamp()) if isinstance(value, datetime) else value
        for name, value in asked.items()
        if value not in (None, "")
    }
    if "state" in told:
        told["state"] = State(told["state"])
    return Filters(labels=parsed(labelled), **told)


def harmless(value: Any) -> str:
    """A cell that no spreadsheet takes for a formula: what strangers wrote must not be run where it is opened."""
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


async def create_client(desk: Desk, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Register a client by the operator's own word.

    Raises:
        Failure: the metadata may not be registered.
    """
    try:
        return await client_administration.create(desk.registry, desk.issuer, desk.operator, Presented(dict(metadata)))
    except ProtocolError as refusal:
        raise Failure(refusal.description) from None


async def last_use(desk: Desk, client_id: str) -> int:
    """When a client was last seen, to the hour; 0 where it never was."""
    return await last_use_at(desk.registry.store, desk.issuer.name, client_id)


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


async def before_reissue(desk: Desk, client_id: str) -> str:
    """What re-issuing a token does to a client, for whoever has to say yes to it."""
    client = await administration.find(desk.registry, desk.issuer, client_id)
    held, judge = client.credentials, desk.issuer.judge(client.policy)
    said = f"The registration access tokens of {client_id} end at once."
    if not held.secrets or held.data_key is not None:
        return said
    overlap = issuance.overlap(desk.issuer, judge.policy) if judge else desk.issuer.settings.client_secret.overlap
    return f"{said} It gets a new secret too, and the old one works for {overlap} s."


async def reissue_token(desk: Desk, client_id: str, reason: str) -> ReissuedToken:
    """Give a client a new registration access token."""
    token, secret, client = await administration.reissue_token(
        desk.registry, desk.issuer, desk.operator, client_id, reason
    )
    return administration.reissued(desk.issuer, client, token, secret)


async def rotate_keys(desk: Desk, algorithms: Sequence[str], *, withdraw: bool) -> list[SigningKey]:
    """Give the issuer new signing keys."""
    if not desk.registry.keys:
        raise Failure("there is no key-encryption key to keep a signing key under; set server.key_file")
    actor, door = desk.operator.actor(), desk.operator.door
    return await keys.rotate(
        desk.registry, desk.issuer, actor, endpoint=door, algorithms=algorithms or keys.KEYS, withdraw=withdraw
    )


async def key_rows(desk: Desk) -> list[dict[str, Any]]:
    """The signing keys of the issuer as the command line shows them."""
    return [
        {
            "kid": held.key.kid,
            "algorithm": held.key.algorithm,
            "status": "signs" if not held.until else "published" if held.published(desk.now) else "outlived",
            "created_at": held.key.created_at,
            "published_until": held.until,
        }
        for held in await keys.listed(desk.registry, desk.issuer)
    ]


async def add_person(desk: Desk, username: str, password: str, *, name: str, email: str) -> Person:
    """Make an account."""
    claims = {claim: value for claim, value in (("name", name), ("email", email)) if value}
    return await accounts.add(
        desk.registry, desk.issuer, username, password, claims=claims, actor=desk.operator.actor()
    )


async def people(desk: Desk) -> AsyncIterator[Person]:
    """Everybody with an account at the issuer."""
    after = ""
    while page := await accounts.listed(desk.registry, desk.issuer, after, _PAGE):
        for person in page:
            yield person
        after = page[-1].subject


async def _person(desk: Desk, who: str) -> Person:
    found = await accounts.find(desk.registry, desk.issuer, who) or await accounts.by_username(
        desk.registry, desk.issuer, who
    )
    if found is None:
        raise Failure(f"nobody here is called {who}")
    return found


async def _told_of_the_end(desk: Desk, person: Person) -> list[Change]:
    from registrar.authorization import logout

    return await logout.everywhere(desk.registry, desk.issuer, person.subject)


async def change_access(desk: Desk, who: str, *, disabled: bool) -> Person:
    """Disable or enable an account; applications are told of the sessions that end."""
    person = await _person(desk, who)
    told = await _told_of_the_end(desk, person) if disabled else []
    return await accounts.set_disabled(desk.registry, desk.issuer, person, disabled, desk.operator.actor(), told)


async def set_password(desk: Desk, who: str, password: str) -> Person:
    """Give somebody another password; applications are told of the sessions that end."""
    person = await _person(desk, who)
    told = await _told_of_the_end(desk, person)
    return await accounts.set_password(desk.registry, desk.issuer, person, password, desk.operator.actor(), told)


def person_row(person: Person) -> dict[str, Any]:
    """A person as the command line shows one."""
    return {
        "subject": person.subject,
        "username": person.username,
        "name": person.claims.get("name"),
        "email": person.claims.get("email"),
        "upstream": person.upstream or None,
        "status": "disabled" if person.disabled else "active",
        "created_at": person.created_at,
    }


def client_row(client: Client) -> dict[str, Any]:
    """A client as a row of a table: what it is called and how it came in."""
    shown: dict[str, Any] = msgspec.to_builtins(client.public())
    metadata = shown.pop("metadata")
    return {
        **shown,
        **{
            name: metadata.get(name)
            for name in ("client_name", "software_id", "token_endpoint_auth_method", "redirect_uris")
        },
    }
