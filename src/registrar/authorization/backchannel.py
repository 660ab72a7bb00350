"""Back-channel logout (OpenID Connect Back-Channel Logout): clients are told that a session ended, until they have heard.

What is to be told lies in an outbox as the messages to webhooks do, stored in the write that ends the session: no end of a
process loses it. What lies there is not the logout token, which lives for two minutes: each attempt signs one of its own.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import msgspec

from registrar.authorization import clients, signing, subject
from registrar.domain import webhook
from registrar.domain.client import Client
from registrar.domain.errors import ProtocolError
from registrar.domain.server_metadata import UNSIGNED
from registrar.service import outbox
from registrar.service.outbox import Queue
from registrar.service.ports import Change, Conflict, Drop, FetchError, Item, Put, StoreUnavailable
from registrar.service.registry import Issuer, Registry

WAITING: Final = "logout_waiting"
"""What is to be told, among the items of a store; the key is when it is due, and an identifier."""
EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
TYPE: Final = "logout+jwt"
LIFETIME: Final = 120
"""Seconds that a logout token is valid (§2.4)."""
_MARGIN: Final = 30
"""Seconds beyond an attempt's own after which another process takes it for broken off."""
_POLL: Final = 5
"""Seconds after which it is looked for what is due again, and for what a process left behind."""
_PAGE: Final = 100
_KEPT: Final = 604_800
"""Seconds after which a notice goes that nobody tries to deliver."""

log = logging.getLogger("registrar")


class Notice(msgspec.Struct, frozen=True):
    """That a client is to be told of the end of a session."""

    client_id: str
    subject: str
    """The person, as this server knows them."""
    session_id: str
    attempts: int = 0
    """How often it was tried."""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Notice).decode


def notice(registry: Registry, issuer: Issuer, client_id: str, subject: str, session_id: str, due_ms: int) -> Put:
    """What has to be stored where a session ends, for each client that wants to hear of it.

    Args:
        registry: what every use case is given.
        issuer: where the session was.
        client_id: of a client that registered an address for it.
        subject: the person's.
        session_id: the session's `sid`.
        due_ms: `began`, where `tell_at_once` follows; else now, and a server does it.
    """
    return Put(_item(issuer, Notice(client_id, subject, session_id), due_ms, registry.entropy(8).hex()), 0)


def _item(issuer: Issuer, notice: Notice, due_ms: int, identifier: str) -> Item:
    """A notice as it is stored; it goes with its client, who is nobody's client any more."""
    return Item(
        issuer.name,
        WAITING,
        outbox.key(due_ms, identifier),
        _encode(notice),
        client_id=notice.client_id,
        owner=notice.subject,
        expires_at=due_ms // 1000 + _KEPT,
    )


def began(registry: Registry, issuer: Issuer) -> int:
    """Until when whoever begins an attempt now is left alone with it, in milliseconds since 1970.

    This process makes it, and another one where this one is killed.
    """
    return registry.clock() + int((issuer.settings.openid.logout_seconds + _MARGIN) * 1000)


async def tell_at_once(registry: Registry, issuer: Issuer, item: Item) -> None:
    """Make the first attempt; where the store does not answer, it is made later."""
    try:
        await tell(registry, issuer, item)
    except StoreUnavailable as problem:
        log.warning("a client of %s is told of a sign-out later: %s", issuer.name, problem)


async def tell(registry: Registry, issuer: Issuer, item: Item) -> None:
    """Make the attempt that was begun with an item.

    Raises:
        StoreUnavailable: the store does not answer; it is tried again.
    """
    notice = _decode(item.body)
    done: list[Change] = [Drop(item.issuer, item.kind, item.key, item.version)]
    client = await clients.find(registry, issuer, notice.client_id)
    uri = client.metadata.get("backchannel_logout_uri", "") if client is not None and client.in_reach else ""
    if client is not None and uri and (problem := await _sent(registry, issuer, client, uri, notice)):
        tried = msgspec.structs.replace(notice, attempts=notice.attempts + 1)
        if tried.attempts >= issuer.settings.openid.logout_attempts:
            log.warning("%s is not told of a sign-out any more: %s", uri, problem)
        else:
            log.info("%s was not told of a sign-out: %s", uri, problem)
            delay = webhook.DELAYS[min(tried.attempts, len(webhook.DELAYS) - 1)]
            due = registry.clock() + webhook.jittered(delay, registry.entropy(2))
            done.append(Put(_item(issuer, tried, due, item.key.partition(".")[2])))
    try:
        await registry.store.change(done)
    except Conflict:
        return  # another process took this one for dead, or the client ended


async def _sent(registry: Registry, issuer: Issuer, client: Client, uri: str, notice: Notice) -> str:
    """Send a logout token once (§2.5); what went wrong, or nothing."""
    seconds = issuer.settings.openid.logout_seconds
    try:
        token = await logout_token(registry, issuer, client, notice, registry.clock() // 1000)
        async with asyncio.timeout(seconds):
            await registry.fetch.post(uri, {"logout_token": token})
    except FetchError as problem:
        return problem.reason
    except ProtocolError as problem:
        return str(problem)
    except TimeoutError:
        return f"it did not answer within {seconds:g} seconds"
    return ""


async def logout_token(registry: Registry, issuer: Issuer, client: Client, notice: Notice, now: int) -> str:
    """What a client is told (§2.4), signed as its ID tokens are, and never unsigned.

    Raises:
        ProtocolError: there is no key.
        StoreUnavailable: the store does not answer.
    """
    registered = client.metadata.get("id_token_signed_response_alg", "RS256")
    claims: dict[str, Any] = {
        "iss": issuer.url,
        "sub": await subject.for_client(registry, issuer, client, notice.subject),
        "aud": client.client_id,
        "iat": now,
        "exp": now + LIFETIME,
        "jti": registry.entropy(16).hex(),
        "events": {EVENT: {}},
        "sid": notice.session_id,
    }
    algorithm = "RS256" if registered == UNSIGNED else registered
    return await signing.secured(registry, issuer, client, claims, "id_token", TYPE, algorithm=algorithm)


async def keep_telling(registry: Registry) -> None:
    """Try again what is due, and what a process left behind that was killed, until cancelled."""
    queues = [(issuer, Queue(issuer.name, WAITING)) for issuer in registry.issuers.values()]
    while True:
        for issuer, queue in queues:
            try:
                await tell_due(registry, issuer, queue)
            except StoreUnavailable as problem:
                log.warning("clients of %s are told of sign-outs later: %s", issuer.name, problem)
            except Exception:
                # Whatever it is, it is ours, and what waits must not wait for a restart.
                log.exception("clients of %s are told of sign-outs later", issuer.name)
        await asyncio.sleep(_POLL)


async def tell_due(registry: Registry, issuer: Issuer, queue: Queue) -> None:
    """Make an attempt of what is due, one page of it.

    Raises:
        StoreUnavailable: the store does not answer; what was not told is tried again.
    """
    due = await queue.due(registry.store, registry.clock(), _PAGE)
    outcomes = await asyncio.gather(*(_again(registry, issuer, one) for one in due), return_exceptions=True)
    for failure in outcomes:
        if isinstance(failure, BaseException):
            raise failure


async def _again(registry: Registry, issuer: Issuer, item: Item) -> None:
    """Begin an attempt, which of many processes one does, and make it."""
    begun = _item(issuer, _decode(item.body), began(registry, issuer), item.key.partition(".")[2])
    try:
        await registry.store.change([Drop(item.issuer, item.kind, item.key, item.version), Put(begun)])
    except Conflict:
        return
    await tell(registry, issuer, begun)
