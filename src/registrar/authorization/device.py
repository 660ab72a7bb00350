"""Device authorization (RFC 8628): who has no browser shows a code, and a person decides elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from registrar.authorization import client_authentication, clients, grant, resource
from registrar.authorization.call import Call
from registrar.authorization.grant import Grant
from registrar.authorization.request import Authentication, asked_scope
from registrar.domain import credentials
from registrar.domain.client import Client
from registrar.domain.credentials import TOKEN_BYTES
from registrar.domain.errors import ProtocolError
from registrar.domain.events import Event
from registrar.domain.server_metadata import PAGES, endpoint_url
from registrar.service import access
from registrar.service.ports import Change, Conflict, Drop, Item, Put
from registrar.service.registry import Issuer, Registry

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"
KIND: Final = "device_code"
"""What these are called among the items of a store; the key is the digest of the device code."""
USER_CODE: Final = "user_code"
"""What leads to them from what a person types; the key is its digest."""

ALPHABET: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""Letters without vowels, so that no code is a word, and without what is mistaken for another (RFC 8628 §6.1)."""
LENGTH: Final = 8
"""20 letters to the power of 8: 34 bits, which half an hour of slowed guessing does not exhaust (§5.1)."""
SLOWER: Final = 5
"""Seconds that the interval grows by when a device polls too often (§3.5)."""
_ATTEMPTS: Final = 5


class DeviceRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a device asks for, and what has become of it."""

    client_id: str
    user_code: str
    scope: tuple[str, ...]
    resource: tuple[str, ...]
    created_at: int
    expires_at: int
    interval: int
    polled_at: int = 0
    decided: bool = False
    grant: Grant | None = None
    """What the person allowed; None where they refused, or have not decided."""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(DeviceRequest).decode


# --- the endpoint -----------------------------------------------------------------------------------------------------


async def authorize(registry: Registry, issuer: Issuer, call: Call) -> dict[str, Any]:
    """Answer a device authorization request (RFC 8628 §3.1, §3.2).

    Raises:
        ProtocolError: of the client's authentication; `unauthorized_client`, `invalid_scope`, `invalid_target`.
        StoreUnavailable: nothing was acknowledged.
    """
    now = registry.clock() // 1000
    client = await client_authentication.authenticate(registry, issuer, call, now)
    if GRANT_TYPE not in client.metadata.get("grant_types", ()):
        raise ProtocolError("unauthorized_client", f"This client did not register the grant type {GRANT_TYPE}.")
    wanted = call.parameters.get("scope", "")
    settings = issuer.settings.authorization
    value = credentials.token(registry.entropy(TOKEN_BYTES))
    asked = DeviceRequest(
        client_id=client.client_id,
        user_code="",
        scope=asked_scope(
            wanted, clients.askable_scope(issuer, client) if wanted else clients.registered_scope(client)
        ),
        resource=resource.asked(issuer, call.parameters.get("resource", "")),
        created_at=now,
        expires_at=now + settings.device_code_lifetime,
        interval=settings.device_code_interval,
    )
    user_code = await _stored(registry, issuer, access.key(value), asked, now)
    page = endpoint_url(issuer.url, PAGES["device"])
    return {
        "device_code": value,
        "user_code": user_code,
        "verification_uri": page,
        "verification_uri_complete": f"{page}?user_code={user_code}",
        "expires_in": settings.device_code_lifetime,
        "interval": settings.device_code_interval,
    }


async def _stored(registry: Registry, issuer: Issuer, key: str, asked: DeviceRequest, now: int) -> str:
    """Keep a request under a user code that no other living request has."""
    for _ in range(_ATTEMPTS):
        user_code = _new_user_code(registry)
        request = msgspec.structs.replace(asked, user_code=user_code)
        pointer = Item(
            issuer.name,
            USER_CODE,
            _key(user_code),
            key.encode(),
            client_id=asked.client_id,
            expires_at=asked.expires_at,
        )
        try:
            changes = [Put(pointer, expected=0, now=now), Put(_item(issuer, key, request, 1), expected=0)]
            await registry.store.change(changes)
        except Conflict:
            continue
        return user_code
    raise ProtocolError("temporarily_unavailable")


def _new_user_code(registry: Registry) -> str:
    number = int.from_bytes(registry.entropy(16)) % len(ALPHABET) ** LENGTH
    letters = ""
    for _ in range(LENGTH):
        number, at = divmod(number, len(ALPHABET))
        letters += ALPHABET[at]
    return f"{letters[: LENGTH // 2]}-{letters[LENGTH // 2 :]}"


def _key(user_code: str) -> str:
    """People type in lower case, and leave out or put in what they like between the letters (RFC 8628 §6.1)."""
    return access.key("".join(letter for letter in user_code.upper() if letter in ALPHABET))


def _item(issuer: Issuer, key: str, request: DeviceRequest, version: int) -> Item:
    owner = request.grant.authentication.subject if request.grant else ""
    return Item(
        issuer.name,
        KIND,
        key,
        _encode(request),
        version=version,
        client_id=request.client_id,
        owner=owner,
        expires_at=request.expires_at,
    )


# --- the person -------------------------------------------------------------------------------------------------------


async def find(registry: Registry, issuer: Issuer, user_code: str) -> tuple[Client, DeviceRequest] | None:
    """The request that a user code stands for, while nobody has decided it, and the client that makes it.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    found = await _undecided(registry, issuer, user_code)
    if found is None:
        return None
    _, request = found
    client = await clients.find(registry, issuer, request.client_id)
    if client is None or not client.usable or not set(request.scope) <= set(clients.askable_scope(issuer, client)):
        return None  # it ended meanwhile, or what it asked for is registered no more
    return client, request


async def decide(
    registry: Registry,
    issuer: Issuer,
    user_code: str,
    authentication: Authentication | None,
    scope: Sequence[str] = (),
    *,
    event: Event | None = None,
) -> bool:
    """Write down what a person decided about a device; False where it is over, or was decided already.

    Args:
        registry: what every use case is given.
        issuer: where the device asked.
        user_code: what it showed.
        authentication: who allowed it; None where they refused.
        scope: the scopes that they allowed; all that were asked for where none is said.
        event: what tells of it.

    Raises:
        StoreUnavailable: nothing was acknowledged.
    """
    for _ in range(_ATTEMPTS):  # the device polls meanwhile, and its polls are written down
        found = await _undecided(registry, issuer, user_code)
        if found is None:
            return False
        item, request = found
        allowed = None if authentication is None else _grant(registry, issuer, request, authentication, scope)
        decided = msgspec.structs.replace(request, decided=True, grant=allowed)
        changes: list[Change] = [
            Put(_item(issuer, item.key, decided, item.version + 1), expected=item.version),
            Drop(issuer.name, USER_CODE, _key(user_code)),
        ]
        try:
            await registry.store.change(changes, [event] if event else [])
        except Conflict:
            continue
        return True
    return False


async def _undecided(registry: Registry, issuer: Issuer, user_code: str) -> tuple[Item, DeviceRequest] | None:
    now = registry.clock() // 1000
    pointer = await registry.store.item(issuer.name, USER_CODE, _key(user_code))
    item = await registry.store.item(issuer.name, KIND, pointer.body.decode()) if pointer else None
    if item is None or not item.lives(now):
        return None
    request = _decode(item.body)
    return None if request.decided else (item, request)


def _grant(
    registry: Registry, issuer: Issuer, request: DeviceRequest, authentication: Authentication, scope: Sequence[str]
) -> Grant:
    return Grant(
        issuer=issuer.name,
        grant_id=grant.new_id(registry),
        client_id=request.client_id,
        authentication=authentication,
        scope=tuple(scope) or request.scope,
        resource=request.resource,
        created_at=registry.clock() // 1000,
    )


# --- the device ---------------------------------------------------------------------------------------------------------


async def poll(registry: Registry, issuer: Issuer, client: Client, device_code: str, now: int) -> tuple[Grant, Drop]:
    """What the person allowed, and the change that uses the device code up (RFC 8628 §3.4, §3.5).

    Raises:
        ProtocolError: `authorization_pending`, `slow_down`, `declined`, `expired_token` or `invalid_grant`.
        StoreUnavailable: the store does not answer.
    """
    item = await registry.store.item(issuer.name, KIND, access.key(device_code))
    if item is None or item.client_id != client.client_id:
        raise ProtocolError("invalid_grant", "The device code is unknown, used, or was issued to another client.")
    if not item.lives(now):
        raise ProtocolError("expired_token")
    request = _decode(item.body)
    if request.decided and request.grant is None:
        raise ProtocolError("declined", "The person refused.")
    if request.grant is not None:
        return request.grant, Drop(issuer.name, KIND, item.key, expected=item.version)
    hasty = bool(request.polled_at) and now - request.polled_at < request.interval
    after = msgspec.structs.replace(
        request, polled_at=now, interval=request.interval + SLOWER if hasty else request.interval
    )
    try:
        await registry.store.change([Put(_item(issuer, item.key, after, item.version + 1), expected=item.version)])
    except Conflict:
        hasty = False  # the person decided this very moment, or the device polls twice at once: it asks again
    raise ProtocolError("slow_down" if hasty else "authorization_pending")
