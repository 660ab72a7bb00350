"""Signing out (RP-Initiated Logout, Front-Channel Logout): of a session, and everywhere it was used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from registrar.authorization import backchannel, clients, sessions, signing, subject
from registrar.authorization.request import Authentication
from registrar.authorization.sessions import Visit
from registrar.domain.client import Client
from registrar.domain.errors import ProtocolError
from registrar.service.ports import Change, Drop, Item, Put
from registrar.service.registry import Issuer, Registry

KIND: Final = "session_client"
"""That a client knows of a session: among the items of a store, found by the session's identifier and the client's."""
_PAGE: Final = 500


class Request(msgspec.Struct, frozen=True):
    """A request to sign out, checked (RP-Initiated Logout §2)."""

    client: Client | None = None
    """The client that sends the person here, where it said so."""
    destination: str = ""
    """Where the person goes afterwards, `state` included: a registered address of the client, or nowhere."""
    hinted: str = ""
    """The `sub` of the ID token that was sent along, as the client knows it."""
    session_id: str = ""
    """The `sid` of that ID token."""
    ui_locales: tuple[str, ...] = ()


# --- RP-initiated -----------------------------------------------------------------------------------------------------


async def judge(registry: Registry, issuer: Issuer, parameters: Mapping[str, str]) -> Request:
    """A request at the end-session endpoint (RP-Initiated Logout §2, §4).

    An address that is not the client's is an error and never followed: the page would lead anybody anywhere (§3).

    Args:
        registry: what every use case is given.
        issuer: where the person signs out.
        parameters: each at most once.

    Raises:
        ProtocolError: `invalid_request`; for the page.
        StoreUnavailable: the store does not answer.
    """
    hint: Mapping[str, Any] = {}
    if compact := parameters.get("id_token_hint"):
        verified = await signing.verify_own(registry, issuer, compact)
        if verified is None or verified.header.get("typ", "JWT") != "JWT":
            raise ProtocolError("invalid_request", "id_token_hint is not an ID token of this server.")
        hint = verified.claims
    client = await _client(registry, issuer, parameters, hint)
    return Request(
        client=client,
        destination=_destination(client, parameters),
        hinted=str(hint.get("sub", "")),
        session_id=str(hint.get("sid", "")),
        ui_locales=tuple(parameters.get("ui_locales", "").split()),
    )


async def _client(
    registry: Registry, issuer: Issuer, parameters: Mapping[str, str], hint: Mapping[str, Any]
) -> Client | None:
    named, hinted = parameters.get("client_id", ""), signing.audience(hint)
    if named and hinted and named != hinted:
        raise ProtocolError("invalid_request", "id_token_hint was issued to another client than client_id names.")
    if not (named or hinted):
        return None
    client = await clients.find(registry, issuer, named or hinted)
    if client is None:
        raise ProtocolError("invalid_request", "There is no such client here, or there is no more.")
    return client


def _destination(client: Client | None, parameters: Mapping[str, str]) -> str:
    wanted = parameters.get("post_logout_redirect_uri", "")
    if not wanted:
        return ""
    if client is None:
        raise ProtocolError("invalid_request", "post_logout_redirect_uri needs id_token_hint or client_id beside it.")
    if wanted not in client.metadata.get("post_logout_redirect_uris", ()):
        raise ProtocolError("invalid_request", "post_logout_redirect_uri is not one that the client registered.")
    if not client.usable:
        return ""  # whoever waits for review, or was suspended, gets nobody sent; signing out goes on all the same
    state = parameters.get("state", "")
    return _with_query(wanted, {"state": state}) if state else wanted


async def needs_confirmation(registry: Registry, issuer: Issuer, request: Request, visit: Visit | None) -> bool:
    """Whether the person has to be asked (RP-Initiated Logout §2): unless the ID token shows that it is about them.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    if visit is None:
        return False
    if request.client is None or not request.hinted:
        return True
    seen_as = await subject.for_client(registry, issuer, request.client, visit.person.subject)
    return seen_as != request.hinted or request.session_id not in ("", visit.session.session_id)


# --- everywhere -------------------------------------------------------------------------------------------------------


def remembered(issuer: Issuer, client: Client, authentication: Authentication) -> list[Change]:
    """The change that keeps that a client knows of a session, where it wants to hear of its end.

    It belongs to the write that stores what the client is told: a write of its own would have the client wait for two.
    """
    if not {"backchannel_logout_uri", "frontchannel_logout_uri"} & client.metadata.keys():
        return []
    item = Item(
        issuer.name,
        KIND,
        f"{authentication.session_id} {client.client_id}",
        b"{}",
        client_id=client.client_id,
        owner=authentication.subject,
        expires_at=authentication.time + issuer.settings.people.session_lifetime,
    )
    return [Put(item)]


async def end(registry: Registry, issuer: Issuer, visit: Visit) -> list[str]:
    """End a session; its clients are told behind the scenes (`backchannel`), and nobody waits for them.

    Returns:
        The addresses that the page has to load in frames (Front-Channel Logout §3).

    Raises:
        StoreUnavailable: the store does not answer; the session goes on.
    """
    participants = await _participants(registry, issuer, visit)
    session_id, begun = visit.session.session_id, backchannel.began(registry, issuer)
    notices = [
        backchannel.notice(registry, issuer, client.client_id, visit.person.subject, session_id, begun)
        for client in participants
        if "backchannel_logout_uri" in client.metadata
    ]
    known = [Drop(issuer.name, KIND, f"{session_id} {client.client_id}") for client in participants]
    await sessions.end(registry, issuer, visit, [*known, *notices])
    for put in notices:
        registry.errands.start(backchannel.tell_at_once(registry, issuer, put.item), "telling a client of a sign-out")
    return [_frame(issuer, client, visit) for client in participants if "frontchannel_logout_uri" in client.metadata]


async def everywhere(registry: Registry, issuer: Issuer, subject: str) -> list[Change]:
    """What has to be stored where all sessions of a person end by somebody else's doing; a server tells their clients.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    changes, after, now_ms = list[Change](), "", registry.clock()
    while page := await registry.store.items(issuer.name, KIND, owner=subject, after=after, limit=_PAGE):
        for item in page:
            session_id, after = item.key.partition(" ")[0], item.key
            changes.append(Drop(issuer.name, KIND, item.key))
            if item.lives(now_ms // 1000):
                changes.append(backchannel.notice(registry, issuer, item.client_id, subject, session_id, now_ms))
    return changes


async def _participants(registry: Registry, issuer: Issuer, visit: Visit) -> list[Client]:
    """The clients that know of a session and may still do things."""
    prefix = f"{visit.session.session_id} "
    items = await registry.store.items(issuer.name, KIND, owner=visit.person.subject, after=prefix, limit=_PAGE)
    found = [await clients.find(registry, issuer, item.client_id) for item in items if item.key.startswith(prefix)]
    return [client for client in found if client is not None and client.in_reach]


def _frame(issuer: Issuer, client: Client, visit: Visit) -> str:
    uri = client.metadata["frontchannel_logout_uri"]
    return _with_query(uri, {"iss": issuer.url, "sid": visit.session.session_id})


def _with_query(uri: str, parameters: Mapping[str, str]) -> str:
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(parameters)}"


def origins(frames: Sequence[str]) -> tuple[str, ...]:
    """The origins of the frames, for the page's Content-Security-Policy (`frame-src`)."""
    return tuple(dict.fromkeys("/".join(frame.split("/", 3)[:3]) for frame in frames))
